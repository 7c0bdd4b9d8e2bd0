import csv
import io
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import get_args

import fabricate
import pytest
from markdown_it import MarkdownIt

from okdbench.errors import UsageError
from okdbench.plan import Plan, Selection, expand
from okdbench.recipe import load
from okdbench.report import Style, build, formats, render
from okdbench.report.formats.latex import escape_latex
from okdbench.report.formats.markdown import escape_markdown
from okdbench.report.table import TableReport

FORMATS = formats.available()
NASTY = r"a_b|c*d*e `f` <b>g</b> [h](i) ~~j~~ $k$ & #l %m {n} ^o \p 'q' \"r\" α ± ✓"


@pytest.mark.parametrize("format", FORMATS)
def test_the_same_runs_give_the_same_report(plan: Plan, tmp_path: Path, format: str) -> None:
    first = render([build(plan, tmp_path)], format)
    for folder in sorted((tmp_path / "small").iterdir(), reverse=True):  # another order on disk
        shutil.copytree(folder, tmp_path / "copy" / "small" / folder.name)
    assert render([build(plan, tmp_path / "copy")], format) == first
    assert str(tmp_path) not in first
    assert first.endswith("\n")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("choice", ["last", "best", "all"])
def test_every_protocol_in_every_format(plan: Plan, tmp_path: Path, format: str, choice: str) -> None:
    assert "teacher0" in render([build(plan, tmp_path, choice)], format)  # type: ignore[arg-type]


@pytest.mark.parametrize("format", FORMATS)
def test_a_recipe_without_any_run_is_printed_all_the_same(tmp_path: Path, format: str) -> None:
    assert render([build(fabricate.plan(tmp_path), tmp_path)], format)


def test_text_keeps_to_the_width(report: TableReport) -> None:
    for width in (60, 80, 100):
        lines = render([report], "text", width).splitlines()
        assert max(map(len, lines)) <= width
        assert lines == [line.rstrip() for line in lines]
    assert "(continued)" in render([report], "text", 60)
    assert "(continued)" not in render([report], "text")


def test_text_stacks_ours_theirs_and_note(report: TableReport) -> None:
    lines = render([report], "text", 100).splitlines()
    row = next(i for i, line in enumerate(lines) if line.startswith("ResNet-8") and "61.00" in line)
    assert re.split(r"\s{2,}", lines[row]) == ["ResNet-8", "61.00 ± 0.10† ↑", "—", "63.50 ± 0.71†", "—"]
    assert lines[row + 1].split() == ["60.00", "±", "0.10", "—", "—", "65.00"]
    assert lines[row + 2].strip() == "2/3, 1 diverged"
    at = lines[row].index("61.00")
    assert lines[row + 1].index("60.00") == at  # the digits stand above each other


def test_text_has_colour_only_where_asked(report: TableReport) -> None:
    assert "\x1b[" not in render([report], "text", 100)
    coloured = render([report], "text", 100, colour=True)
    assert "\x1b[" in coloured
    words, plain = (
        " ".join(re.sub(r"\x1b\[[0-9;]*m", "", t).split()) for t in (coloured, render([report], "text", 100))
    )
    assert words.replace("Best in bold, second underlined, for each data set and network. ", "", 1) == plain
    assert words != plain, "only what is emphasised is said"


def test_text_takes_no_name_for_markup(tmp_path: Path) -> None:
    table = {**fabricate.RECIPE["table"], "names": {"resnet8": "[bold]x[/bold]", "baseline": "[red]"}}
    printed = render([build(fabricate.plan(tmp_path, table=table, title="A [green]title"), tmp_path)], "text")
    for name in ("[bold]x[/bold]", "[red]", "A [green]title"):
        assert name in printed


def test_markdown_puts_ours_over_theirs(report: TableReport) -> None:
    printed = render([report], "markdown")
    assert "80.10 ± 0.10† ✓<br>*80.00 ± 0.10°*" in printed
    assert "—<br>*65.00*" in printed
    assert "63.50 ± 0.71† (2/3, 1 diverged)<br>—" in printed
    assert r"**C\|10**" in printed


def test_markdown_tables_are_tables(report: TableReport) -> None:
    html = MarkdownIt("commonmark").enable("table").render(render([report], "markdown"))
    assert html.count("<table>") == 3
    headings = re.findall(r"<th[^>]*>(.*?)</th>", html)
    assert headings[:5] == ["Network", "Baseline", "PCL", "DKEL", "La_ter"]
    for table in html.split("<table>")[1:]:
        rows = [len(re.findall(r"<t[hd]", row)) for row in re.findall(r"<tr>.*?</tr>", table, re.DOTALL)]
        assert len(set(rows)) == 1


def test_markdown_escapes(report: TableReport) -> None:
    reader = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    shown = reader.renderInline(escape_markdown(NASTY))
    assert shown.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"') == NASTY
    assert "|" not in re.sub(r"\\\|", "", escape_markdown(NASTY))


def test_latex_has_the_papers_layout(report: TableReport) -> None:
    lines = render([report], "latex").splitlines()
    assert r"\begin{tabular}{lllll}" in lines
    assert r"Network & Baseline & PCL & DKEL & La\_ter \\" in lines
    assert r"\multicolumn{5}{l}{\textbf{C$|$10}} \\" in lines
    ours = r"61.00$\,\pm\,$0.10$^\dagger$ $\uparrow$ & --- & 63.50$\,\pm\,$0.71$^\dagger$"
    row = lines.index(rf"ResNet-8 & {ours} & --- \\")
    assert lines[row + 1] == r"& \textit{60.00$\,\pm\,$0.10} & --- & --- & \textit{65.00} \\"
    assert lines[row + 2] == r"&  &  & 2/3, 1 diverged & \\"
    printed = "\n".join(lines)
    assert printed.count(r"\begin{") == printed.count(r"\end{")
    assert printed.isascii()


def test_latex_escapes() -> None:
    escaped = escape_latex(NASTY)
    assert escaped.isascii()
    plain = re.sub(r"\\[&#%_{}$]|\\\w+\{[^{}]*\}|\{\\\w+\}|\$[^$]*\$|\{\[\}", "", escaped)
    assert not set(plain) & set(r"\&#%_{}$^~|<>[")
    assert escape_latex("Ω → 中").count("U+4E2D") == 1


def article(body: str, columns: str) -> str:
    head = rf"\documentclass[{columns}]{{article}}\usepackage{{booktabs,amssymb,graphicx}}\hbadness=10000"
    return rf"{head}\begin{{document}}{body}\end{{document}}"


def compiled(text: str, folder: Path) -> str:
    """What pdflatex says of a document, which it must compile."""
    (folder / "t.tex").write_text(text)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    return done.stdout


needs_latex = pytest.mark.skipif(
    not shutil.which("pdflatex")
    or subprocess.run(["kpsewhich", "booktabs.sty", "amssymb.sty"], capture_output=True).returncode != 0,
    reason="needs pdflatex with the packages booktabs and amssymb",
)


@needs_latex
def test_latex_compiles_as_it_stands(plan: Plan, tmp_path: Path) -> None:
    reports = [build(plan, tmp_path), build(plan, tmp_path, "all")]
    names = {"resnet8": "[" + NASTY, "resnet32": "ϵ Ω √2 ∞ ≈ é Ł “quoted” … x² λ₁ → ∈ 中 − ½"}
    nasty = fabricate.plan(tmp_path, title=NASTY, table={**fabricate.RECIPE["table"], "names": names})
    compiled(render([*reports, build(nasty, tmp_path / "none")], "latex"), tmp_path)


@pytest.mark.slow
@needs_latex
@pytest.mark.parametrize("recipe", ["dkel-table1", "fair-cifar100"])
def test_latex_fits_a_page(recipe: str, tmp_path: Path) -> None:
    plan = expand(load(recipe))
    assert isinstance(plan, Plan) and fabricate.table(tmp_path, plan, epochs=4) == len(plan.runs)
    report = build(plan, tmp_path)
    for style in get_args(Style):
        body = render([report], "latex", style=style, fragment=True)
        assert body.count(rf"\label{{tab:{recipe}}}") == 1
        for columns in ("onecolumn", "twocolumn"):
            log = compiled(article(body, columns), tmp_path)
            assert "Float too large" not in log
            assert not [width for width in re.findall(r"Overfull .?hbox \(([\d.]+)pt", log) if float(width) > 3]
    alone = compiled(render([report], "latex", style="paper"), tmp_path)
    assert "Float too large" not in alone and not re.findall(r"Overfull .*", alone)
    assert (tmp_path / f"{recipe}-references.bib").read_text().startswith("@misc{okdbench,")


def test_the_best_and_the_second_are_marked(report: TableReport) -> None:
    markdown, latex = render([report], "markdown"), render([report], "latex")
    assert "**89.10 ± 0.10†** ↓<br>" in markdown
    assert "<ins>88.50 ± 0.50†</ins><br>" in markdown
    assert r"\textbf{89.10$\,\pm\,$0.10$^\dagger$ $\downarrow$}" in latex
    assert r"\underline{88.50" in latex
    assert "**63.50" not in markdown, "an incomplete cell is not compared"


def test_csv_has_one_row_for_each_cell(report: TableReport) -> None:
    rows = list(csv.DictReader(io.StringIO(render([report], "csv"))))
    assert len(rows) == 16
    first = rows[0]
    assert (first["dataset"], first["network"], first["method"]) == ("cifar10", "resnet8", "baseline")
    assert first["verdict"] == "reproduced"
    assert first["seeds"] == "0 1 2"
    assert [float(value) for value in first["values"].split()] == [80.0, 80.1, 80.2]
    assert float(first["reported_n"]) == 3
    assert (rows[3]["mean"], rows[3]["verdict"]) == ("", "unavailable")


def test_csv_of_several_recipes_has_one_header(plan: Plan, tmp_path: Path) -> None:
    grid = {"dataset": ["cifar100"], "network": ["resnet8"], "method": ["dkel"], "dkel.alpha": [0.1, 0.2]}
    other = fabricate.plan(tmp_path, grid=grid, table={"columns": "dkel.alpha"})
    rows = list(csv.DictReader(io.StringIO(render([build(plan, tmp_path), build(other, tmp_path)], "csv"))))
    assert len(rows) == 18
    assert [row["dkel.alpha"] for row in rows[-3:]] == ["", "0.1", "0.2"]


def test_json_is_strict_and_complete(report: TableReport) -> None:
    content = json.loads(render([report], "json"), parse_constant=pytest.fail)
    (found,) = content["reports"]
    assert (found["recipe"], found["protocol"], found["margin"]) == ("small", "recipe", 0.3)
    cell = found["cells"][2]
    assert cell["head"] == "max(teacher?)"
    assert cell["chosen"] == "head on the test set"
    assert cell["values"] == [89.0, 89.1, 89.2]
    assert cell["mean"] == pytest.approx(89.1)
    assert cell["std"] == pytest.approx(0.1)
    assert cell["ci95_high"] - cell["mean"] == pytest.approx(4.302652729911275 * 0.1 / 3**0.5)
    assert (cell["reported_mean"], cell["reported_std"], cell["reported_n"]) == (90.0, 0.2, None)
    assert cell["difference"] == pytest.approx(-0.9)
    assert (cell["test"], cell["verdict"], len(cell["runs"])) == ("one-sample", "lower", 3)


def test_json_names_changed_settings(tmp_path: Path) -> None:
    plan = fabricate.plan(tmp_path, Selection(settings={"data.subset": 400}))
    cells = json.loads(render([build(plan, tmp_path)], "json"))["reports"][0]["cells"]
    assert {tuple(cell["changed"]) for cell in cells} == {("data.subset=400",)}


def test_several_recipes_become_one_document(plan: Plan, tmp_path: Path) -> None:
    reports = [build(plan, tmp_path)] * 2
    assert render(reports, "markdown").count("### A small table") == 2
    assert render(reports, "latex").count(r"\begin{table") == 2
    assert len(json.loads(render(reports, "json"))["reports"]) == 2


def test_csv_is_safe_in_spreadsheets_and_rounded() -> None:
    class Rows:
        def rows(self) -> list[dict[str, object]]:
            return [{"method": "=1+1", "difference": -0.1, "mean": 0.1 + 0.2, "values": [71.1, 70.30000000000001]}]

    printed = formats.get("csv").write(Rows(), formats.Screen())  # type: ignore[arg-type]
    assert printed == "method,difference,mean,values\n'=1+1,-0.1,0.3,71.1 70.3\n"


def test_the_ending_of_a_file_names_its_format() -> None:
    assert [formats.of(Path(name)).name for name in ("a.md", "a.tex", "a.txt", "table", "/dev/stdout")] == [
        "markdown",
        "latex",
        "text",
        "text",
        "text",
    ]
    with pytest.raises(
        UsageError, match=r'a\.pdf: no format has the ending "\.pdf"; choose from: .*\.md.*; or add --format'
    ):
        formats.of(Path("a.pdf"))
