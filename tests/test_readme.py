"""The generated table of the README is what the published records give."""

import write_readme_table as script


def test_the_table_is_not_stale() -> None:
    text = script.README.read_text()
    assert "±" in script.table(), "the records of quickstart are complete"
    assert text == script.generated(text), "README.md is stale: run make readme"
