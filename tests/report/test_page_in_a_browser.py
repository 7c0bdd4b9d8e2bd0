"""The page in a real browser: Debian's Chromium, since Playwright's own cannot be downloaded everywhere.

``make test-all`` installs the browser where it can, and axe-core, which checks accessibility, below ``.tools``.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fabricate
import pytest

from okdbench.plan import Plan, Selection, expand
from okdbench.recipe import load
from okdbench.report import build, render
from okdbench.report.table import TableReport

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
AXE = ROOT / ".tools" / "node_modules" / "axe-core" / "axe.min.js"
HOSTILE = """</script><script>document.title = "taken"</script><img src=x onerror="document.title = 'taken'">"""
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync")
OPEN_ALL = "for (const each of document.querySelectorAll('details')) each.open = true;"


PRINTED = ("baseline", "dml", "cl", "one", "okddip", "kdcl", "pcl", "dkel")
"""The methods of the paper's table, without the cells of our own."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not program:
        pytest.skip("no Chromium on this machine; make test-all installs one on Debian, or set CHROMIUM")
    playwright = pytest.importorskip("playwright.sync_api").sync_playwright().start()
    opened = playwright.chromium.launch(executable_path=program, args=list(QUIET))
    yield opened
    opened.close()
    playwright.stop()


@pytest.fixture
def show(browser: Any, tmp_path: Path) -> Iterator[Any]:
    contexts = []

    def shown(page: str, scheme: str = "light", width: int = 1200) -> Any:
        """The page in a new window that must have no message in its console."""
        file = tmp_path / "page.html"
        file.write_text(page)
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme))
        window = contexts[-1].new_page()
        window.messages = []
        window.on("console", lambda message: window.messages.append(message.text))
        window.on("pageerror", lambda error: window.messages.append(str(error)))
        window.on("request", lambda request: window.messages.append(request.url) if request.url != file.as_uri() else 0)
        window.goto(file.as_uri())
        return window

    yield shown
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def table1(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("table1")
    plan = expand(load("dkel-table1"), Selection(methods=PRINTED))
    assert isinstance(plan, Plan)
    fabricate.table(folder, plan, epochs=20)
    return render([build(plan, folder)], "html")


def test_it_sorts_filters_and_expands(show: Any, table1: str) -> None:
    window = show(table1)
    long = window.locator(".long", has=window.locator("input")).first
    heading = long.locator("th", has_text="diff.")
    cells = long.locator(f"tbody tr td:nth-child({1 + heading.evaluate('each => each.cellIndex')})")
    for order in ("ascending", "descending"):
        heading.locator("button").click()
        assert heading.get_attribute("aria-sort") == order
        numbers = [float(text.replace("−", "-")) for text in cells.all_inner_texts()]
        assert len(set(numbers)) > 1 and numbers == sorted(numbers, reverse=order == "descending")
    long.locator("input").fill("resnet-110 dml")
    assert long.locator("output").inner_text() == "2 of 80 rows"
    assert long.locator("tbody tr:visible").count() == 2
    cell = window.locator("button.cell").first
    cell.hover()
    assert "By seed" in window.locator("#tip").inner_text()
    cell.click()
    assert cell.get_attribute("aria-expanded") == "true"
    assert window.locator(".more .curves path.line").count() >= 3, "a curve for each seed"
    assert window.messages == []


def test_it_is_usable_by_keyboard(show: Any, table1: str) -> None:
    window = show(table1)
    window.keyboard.press("Tab")
    assert window.evaluate("document.activeElement.className") == "skip", "the first stop leads past everything"
    window.locator("button.cell").first.focus()
    assert window.locator("#tip").is_visible(), "what the pointer shows, the focus shows"
    window.keyboard.press("Enter")
    assert window.locator(".more").count() == 1


@pytest.mark.parametrize("width", [1200, 600])
def test_the_window_never_scrolls_sideways(show: Any, table1: str, width: int) -> None:
    window = show(table1, width=width)
    window.evaluate(OPEN_ALL)
    assert window.evaluate("document.documentElement.scrollWidth") <= width
    if width == 1200:
        assert window.evaluate("(e => e.scrollWidth <= e.clientWidth)(document.querySelector('.scroll'))"), (
            "all eight methods of the paper's table are in sight"
        )


def test_hostile_names_run_nothing(show: Any, tmp_path: Path) -> None:
    names = {"resnet8": HOSTILE, "baseline": HOSTILE, "cifar100": HOSTILE}
    plan = fabricate.plan(tmp_path, table={**fabricate.RECIPE["table"], "names": names}, title=HOSTILE)
    for run in plan.runs:
        fabricate.run(tmp_path, run.config, {"student": [50.0, 60.0]})
    window = show(render([build(plan, tmp_path)], "html"))
    window.evaluate(OPEN_ALL)
    window.locator("button.cell").first.click()
    assert window.title() != "taken" and window.locator("main img").count() == 0
    assert HOSTILE in window.locator("h1").inner_text()
    assert window.messages == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(show: Any, report: TableReport, scheme: str) -> None:
    if not AXE.exists():
        pytest.skip(f"{AXE.relative_to(ROOT)} is not there; make test-all installs it with npm")
    window = show(render([report], "html"), scheme)
    window.locator("button.cell").first.click()
    window.evaluate(OPEN_ALL)
    window.evaluate(AXE.read_text())
    found = window.evaluate("axe.run().then(each => each.violations.map(v => [v.impact, v.id, v.nodes[0].html]))")
    assert [each for each in found if each[0] in ("serious", "critical")] == []
