"""The generated table of the README is what the published records give."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_table_is_not_stale() -> None:
    spec = importlib.util.spec_from_file_location("write_readme_table", ROOT / "docs" / "write_readme_table.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    text = script.README.read_text()
    assert "±" in script.table(), "the records of quickstart are complete"
    assert text == script.generated(text), "README.md is stale: run make readme"
