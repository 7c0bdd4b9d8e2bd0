"""The page as a file; `test_page_in_a_browser` opens it."""

import re
from html.parser import HTMLParser
from pathlib import Path

import fabricate
import pytest

from okdbench.plan import Plan, Selection, expand
from okdbench.recipe import load
from okdbench.report import build, render
from okdbench.report.charts import Plot, Series
from okdbench.report.svg import MOST_POINTS, drawing
from okdbench.report.table import TableReport

HOSTILE = """</script><script>alert(1)</script><img src=x onerror="alert(2)">'"{{7*7}}"""
VOID = {"meta", "link", "br", "input", "img"}
MEGABYTES = 2**20


class Elements(HTMLParser):
    """All elements of a page, their attributes and texts; fails on a wrong nesting."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def test_page_needs_no_other_file_and_no_network(report: TableReport) -> None:
    elements = Elements(render([report], "html"))
    addresses = [each[key] for _, each in elements.found for key in ("src", "href", "data", "action") if key in each]
    assert addresses
    assert all(address and address.startswith(("#", "data:")) for address in addresses)
    (policy,) = [each for each in elements.all("meta") if each.get("http-equiv") == "Content-Security-Policy"]
    assert str(policy["content"]).startswith("default-src 'none'")
    assert "url(" not in render([report], "html")


def test_page_has_the_paper_s_table_with_details(report: TableReport) -> None:
    page = render([report], "html")
    elements = Elements(page)
    assert {each.get("scope") for each in elements.all("th")} == {"col", "row", "rowgroup"}
    cells = [each for each in elements.all("button") if each.get("class") == "cell"]
    assert len(cells) == 16
    ids = [each["id"] for each in elements.all("template")]
    assert [each["data-cell"] for each in cells] == ids == list(dict.fromkeys(ids))
    assert all(run.id in page for run in report.plan.runs)
    assert "80.10 ± 0.10" in page
    assert "0: 80.00, 1: 80.10, 2: 80.20" in page
    assert "okdbench run small.yaml" in page


def test_verdicts_are_counted(report: TableReport) -> None:
    page = " ".join(re.sub(r"<[^>]*>", " ", render([report], "html")).split())
    for chip in ("1 ✓ reproduced", "1 ↓ lower", "1 ? inconclusive", "1 ↑ higher"):
        assert chip in page


def test_names_are_never_markup(tmp_path: Path) -> None:
    table = {**fabricate.RECIPE["table"], "names": {"resnet8": HOSTILE, "baseline": HOSTILE}}
    page = render([build(fabricate.plan(tmp_path, table=table, title=HOSTILE), tmp_path)], "html")
    elements = Elements(page)
    assert len(elements.all("script")) == 1
    assert not elements.all("img")
    assert "{{7*7}}" in page


@pytest.mark.slow
def test_page_of_240_runs_stays_small(tmp_path: Path) -> None:
    plan = expand(load("dkel-table1"))
    assert isinstance(plan, Plan)
    measured = fabricate.table(tmp_path, plan, epochs=300)
    assert measured >= 240
    page = render([build(plan, tmp_path)], "html")
    Elements(page)
    assert len(page.encode()) < 2 * MEGABYTES


def test_several_recipes_have_an_index(plan: Plan, tmp_path: Path) -> None:
    elements = Elements(render([build(plan, tmp_path), build(expand(load("dkel-figure5")), tmp_path)], "html"))
    sections = [each["id"] for each in elements.all("section")]
    assert len(sections) == 2
    links = [each["href"] for each in elements.all("a")]
    assert [f"#{id}" for id in sections] == [link for link in links if link != "#main"]


def test_the_command_on_the_page_has_the_selection(tmp_path: Path) -> None:
    selection = Selection(methods=("dkel",), seeds=(0,), settings={"training.schedule": {"name": "cosine"}})
    page = render([build(fabricate.plan(tmp_path, selection), tmp_path)], "html")
    words = "-m dkel -s 0 --set &#39;training.schedule={&#34;name&#34;: &#34;cosine&#34;}&#39;"
    assert f"okdbench run small.yaml {words}" in page


def test_long_curves_keep_their_ends() -> None:
    steps = tuple(map(float, range(10_000)))
    drawn = drawing(Plot("", "Epoch", "y", (Series("a", steps, steps),), dense=True), ["a"])
    (line,) = drawn.lines
    pairs = re.findall(r"-?\d+ ?-?\d+", line.path[1:])
    assert drawn.thinned
    assert len(pairs) <= MOST_POINTS + 1
    end = [sum(int(number) for number in re.findall(r"-?\d+", pair)[i : i + 1]) for pair in pairs for i in (0,)]
    assert sum(end) == pytest.approx(drawn.right, abs=1)
    assert [tick.label for tick in drawn.x_ticks] == ["0", "2000", "4000", "6000", "8000"]
