"""Makes the pictures of the program in the documentation again, from the published records: ``make pictures``.

The page of a report is drawn by Chromium, in light and dark; the terminal by rich.
"""

import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
COLOURS = 128
"""Colours of a picture; so few make a small file."""


def main() -> None:
    """Make all pictures."""
    terminal("report-terminal.svg", "report", "quickstart", "--results", "results")
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not browser:
        sys.exit("the pictures of the page need Chromium; install it")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        okdbench("report", "quickstart", "--results", "results", "-o", str(page))
        for scheme in ("light", "dark"):
            photograph(page, browser, scheme, IMAGES / f"report-page-{scheme}.png")


def okdbench(*words: str) -> str:
    """Return what a command prints in a terminal of 80 columns that shows colours."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80", "FORCE_COLOR": "1", "TERM": "xterm-256color"}
    command = [sys.executable, "-m", "okdbench", *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout


def terminal(name: str, *words: str) -> None:
    """Draw a command and what it prints."""
    shown = [word for word in words if word not in ("--results", "results")]
    console = Console(record=True, width=80, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(f"$ okdbench {' '.join(shown)}\n{okdbench(*words)}"))
    drawn = console.export_svg(title="okdbench", unique_id="okdbench")
    # Readers see a font of their own: the one that rich names would come from the network.
    drawn = re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL).replace("Fira Code", "ui-monospace")
    (IMAGES / name).write_text(re.sub(r"[ \t]+$", "", drawn, flags=re.MULTILINE).rstrip("\n") + "\n")


def photograph(page: Path, browser: str, scheme: str, target: Path) -> None:
    """Take a picture of a page with the details of its last cell."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        view = chromium.new_page(viewport={"width": 1000, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
        view.goto(page.as_uri())
        view.locator("button.cell").last.click()
        picture = view.screenshot()
        chromium.close()
    Image.open(io.BytesIO(picture)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(
        target, optimize=True
    )


if __name__ == "__main__":
    main()
