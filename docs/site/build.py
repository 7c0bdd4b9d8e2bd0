"""Builds the documentation site: ``make docs`` writes ``.site/html``.

The pages of ``docs/`` and the README are taken as they are. What the code knows better is generated: on the page of a
method its wiring, settings, cost, recipes and citation; a page for every paper that has a recipe, with its audit; and
the reference of the Python modules. A link or an anchor that leads nowhere fails the build.
"""

import inspect
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch
from wiring import Wiring

from okdbench import methods, networks
from okdbench.kinds import AnyPlan
from okdbench.methods import MethodConfig
from okdbench.plan import expand
from okdbench.plan.cost import relative_cost
from okdbench.recipe import RecipeHeader, available, load
from okdbench.report import formats
from okdbench.report.audit import AuditReport
from okdbench.studies.audit import audit

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SITE = ROOT / ".site"
MERMAID = ROOT / ".tools" / "mermaid.min.js"
"""What draws the drawings in the reader's browser; without this file it comes from the network."""
SCRIPT = "javascripts/mermaid.min.js"
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
FENCE = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)

GUIDE = {
    "First run": ["first-run.md", "reproduce-a-table.md", "read-a-verdict.md", "protocols.md"],
    "Results": ["use-the-results.md", "figures.md", "track-runs.md", "json.md"],
    "Methods": ["methods.md", "methods/*.md"],
    "Papers": ["papers/*.md"],
    "Networks": ["networks.md"],
    "Studies": ["results/*.md", "transfer.md", "monte-carlo.md"],
    "Long trainings": ["full-cells.md", "scale-out.md", "speed.md", "reliability.md", "reproducibility.md"],
    "Add your own": ["write-a-recipe.md", "add-*.md"],
    "Reference": ["architecture.md", "api/*.md", "contributing.md", "changelog.md"],
}
"""The navigation, as patterns of pages; a page that none names goes to a last section."""

REFERENCE = {
    "methods": ["okdbench.methods.base", "okdbench.methods.registry"],
    "networks": ["okdbench.networks.base", "okdbench.networks.registry"],
    "configuration": ["okdbench.config", "okdbench.seeds", "okdbench.errors"],
    "recipes": ["okdbench.recipe.header", "okdbench.recipe.schema", "okdbench.recipe.loader"],
    "plans": ["okdbench.plan.table", "okdbench.plan.selection", "okdbench.plan.jobs", "okdbench.plan.cost"],
    "runs": ["okdbench.runs.records", "okdbench.runs.folder"],
    "results": ["okdbench.results.frame", "okdbench.results.cells", "okdbench.results.stats"],
    "reports": ["okdbench.report", "okdbench.report.model", "okdbench.report.formats"],
    "extension points": [
        "okdbench.kinds",
        "okdbench.engines",
        "okdbench.plugins",
        "okdbench.tracking",
        "okdbench.testing",
    ],
}
"""Pages of the reference and their modules."""


def main() -> None:
    """Write all pages and build the site."""
    torch.set_num_threads(1)
    shutil.rmtree(SITE, ignore_errors=True)
    pages = {place: translated(path, place) for path, place in written().items() if path.suffix == ".md"}
    for name in methods.available():
        pages[f"methods/{name}.md"] = with_facts(pages[f"methods/{name}.md"], name)
    pages |= papers() | reference()
    if MERMAID.exists():
        write(SCRIPT, MERMAID.read_bytes())
        pages = {place: with_script(text, place) for place, text in pages.items()}
    else:
        print(f"{MERMAID} is not there: drawings need a network; make docs fetches it where there is npm")
    for place, text in pages.items():
        write(place, text.encode())
    for path, place in written().items():
        if path.suffix != ".md":
            write(place, path.read_bytes())
    write("extra.css", (HERE / "extra.css").read_bytes())
    settings = (HERE / "zensical.toml").read_text()
    (SITE / "zensical.toml").write_text(settings.replace("[project]\n", f"[project]\n{navigation(pages)}\n", 1))
    zensical = [Path(sys.executable).with_name("zensical"), "build", "--strict", "--clean"]
    sys.exit(subprocess.run(zensical, cwd=SITE, check=False).returncode)


def write(place: str, content: bytes) -> None:
    """Write a page or an image."""
    path = SITE / "pages" / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@cache
def written() -> dict[Path, str]:
    """Return the files of the repository that are on the site, and where."""
    docs = ROOT / "docs"
    found = {path: path.relative_to(docs).as_posix() for path in sorted(docs.rglob("*.md"))}
    found |= {path: path.relative_to(docs).as_posix() for end in ("png", "svg") for path in docs.rglob(f"*.{end}")}
    found |= {path: f"results/{path.parent.name}.md" for path in sorted((ROOT / "results").glob("*/README.md"))}
    return found | {
        ROOT / "README.md": "index.md",
        ROOT / "CONTRIBUTING.md": "contributing.md",
        ROOT / "CHANGELOG.md": "changelog.md",
    }


def translated(path: Path, place: str) -> str:
    """Return the text of a page with its links leading to pages of the site; other links become plain text."""

    def link(found: re.Match[str]) -> str:
        mark, text, target = found.groups()
        file, hash, anchor = target.partition("#")
        if not file or re.match(r"[a-z]+:", target):
            return found[0]
        to = written().get((path.parent / file).resolve())
        return f"{mark}[{text}]({relative(place, to)}{hash}{anchor})" if to else text

    text = path.read_text()
    fences = iter([*FENCE.finditer(text)])
    prose = [LINK.sub(link, part) for part in FENCE.sub("\0", text).split("\0")]
    return prose[0] + "".join(next(fences)[0] + part for part in prose[1:])


def with_script(text: str, place: str) -> str:
    """Return the text of a page with the script that draws its drawings, if it has any."""
    needed = re.search(r"^```mermaid$", text, re.MULTILINE)
    return f'{text}\n<script src="{relative(place, SCRIPT)}"></script>\n' if needed else text


def relative(place: str, to: str) -> str:
    """Return the path from one page of the site to another."""
    return "../" * place.count("/") + to


def navigation(pages: Iterable[str]) -> str:
    """Return the line ``nav`` of the settings."""
    left = [page for page in pages if page != "index.md"]
    entries = ['{"okdbench" = "index.md"}']
    for section, patterns in {**GUIDE, "More": ["*.md"]}.items():
        chosen = [page for pattern in patterns for page in left if Path(page).match(pattern) and depth(page, pattern)]
        chosen = list(dict.fromkeys(chosen))
        left = [page for page in left if page not in chosen]
        if chosen:
            entries.append(f'{{"{section}" = [{", ".join(f"{chr(34)}{page}{chr(34)}" for page in chosen)}]}}')
    return f"nav = [{', '.join(entries)}]"


def depth(page: str, pattern: str) -> bool:
    """Whether a page lies in the folder of the pattern, not below another."""
    return page.count("/") == pattern.count("/")


def with_facts(text: str, name: str) -> str:
    """Return the page of a method with what the code knows about it."""
    wiring = f"""## Wiring

```mermaid
{Wiring(name).mermaid()}
```

Boxes are parts with weights and the loss terms that train them alone; the thick frame is the deployed head. Thin
arrows carry data; thick ones teach, in the loss terms that they name, in both directions where parts teach one another.
The drawing is measured on the code, with the default settings.

"""
    before, heading, after = text.partition("## Loss\n")
    sections = [settings(name), cost(name), trained_by(name), citation(name)]
    return f"{before}{wiring}{heading}{after}\n" + "\n".join(filter(None, sections))


def settings(name: str) -> str:
    """Return all settings of a method with their values in every preset."""
    kind = methods.get(name).Config
    presets = {preset: methods.configure(f"{name}@{preset}", {}) for preset in kind.presets}
    rows = [
        [f"`{field}`", *(f"{value(config, field)}" for config in presets.values()), meaning(kind, field)]
        for field in kind.model_fields
    ]
    return section("All settings", table(["setting", *(f"`{p}`" for p in presets), "meaning"], rows))


def value(config: MethodConfig, field: str) -> str:
    """Return a setting's value as YAML writes it."""
    found = getattr(config, field)
    return "null" if found is None else str(found).lower() if isinstance(found, bool) else str(found)


def meaning(kind: type[MethodConfig], field: str) -> str:
    """Return what a setting means, and the words that it may be."""
    info = kind.model_fields[field]
    words = [each for each in getattr(info.annotation, "__args__", ()) if isinstance(each, str)]
    return "; ".join(filter(None, [info.description or "", " or ".join(f"`{word}`" for word in words)]))


@cache
def plans() -> dict[str, AnyPlan]:
    """Return the plans of all recipes."""
    return {name: expand(load(name)) for name in available()}


@cache
def equal_terms() -> list[Any]:
    """Return the costs of the recipe that trains every method on equal terms."""
    return list(plans()["fair-cifar100"].costs())


def cost(name: str) -> str:
    """Return the arithmetic of a training step and the parameters in training."""
    rows = [
        [networks.get(c.cell.network).title, f"{c.parameters:,}", f"{c.macs / 1e6:.1f}", f"{c.step:.2f}"]
        for c in equal_terms()
        if c.cell.method.partition("@")[0] == name
    ]
    rows = [list(row) for row in dict.fromkeys(map(tuple, rows))]
    head = ["network", "parameters in training", "MACs of the plain network (M)", "step, relative to plain training"]
    small = (
        f"A training step with default settings on ResNet-8 takes {relative_cost(name):.2f} times the arithmetic of "
    )
    text = f"{small}plain training."
    if rows:
        text += f" In the recipe `fair-cifar100`:\n\n{table(head, rows)}"
    return section("Cost", text)


def trained_by(name: str) -> str:
    """Return the recipes that train a method."""
    rows = []
    for recipe, plan in plans().items():
        labels = sorted({cell.method for cell in plan.cells if getattr(cell, "method", "").partition("@")[0] == name})
        if labels:
            link = papers_of().get(recipe)
            shown = f"[`{recipe}`](../papers/{link}.md)" if link else f"`{recipe}`"
            rows.append([shown, ", ".join(f"`{label}`" for label in labels), plan.recipe.title])
    return section("Recipes that train it", table(["recipe", "as", "title"], rows)) if rows else ""


def citation(name: str) -> str:
    """Return the paper of a method, and where to read the code."""
    kind = methods.get(name)
    known = {load(r).source.paper: slug for r, slug in papers_of().items()}
    page = next((slug for paper, slug in known.items() if kind.paper.startswith(paper)), "")
    lines = [f"{kind.paper}." if kind.paper else ""]
    lines += [f"Its tables, printed numbers and audit: [the paper's page](../papers/{page}.md)." if page else ""]
    lines += [f"The code is `{Path(inspect.getfile(kind)).relative_to(ROOT)}`."]
    return section("Citation", "\n".join(filter(None, lines)))


@cache
def papers_of() -> dict[str, str]:
    """Return the page of the paper of every recipe that has one."""
    found = {}
    for name in available():
        if source := load(name).source:
            words = re.sub(r"[^a-z0-9 ]", "", source.paper.lower().replace("-", " ")).split()
            found[name] = "-".join([*words[:6], str(source.year)])
    return found


def papers() -> dict[str, str]:
    """Return a page for every paper that has a recipe."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name, slug in papers_of().items():
        groups[slug].append(name)
    return {f"papers/{slug}.md": paper(slug, names) for slug, names in groups.items()}


def paper(slug: str, names: list[str]) -> str:
    """Return the page of a paper: its citation, its recipes, the audit of its printed numbers."""
    source = load(names[0]).source
    assert source
    places = {
        "arXiv": f"[arXiv:{source.arxiv}](https://arxiv.org/abs/{source.arxiv})" if source.arxiv else "",
        "doi": f"[doi:{source.doi}](https://doi.org/{source.doi})" if source.doi else "",
        "url": f"<{source.url}>" if source.url else "",
    }
    fields = {"title": f"{{{source.paper}}}", "author": source.authors.replace(", ", " and "), "year": str(source.year)}
    fields |= {"eprint": source.arxiv, "archivePrefix": "arXiv" if source.arxiv else "", "doi": source.doi}
    bibtex = ",\n".join(f"  {key} = {{{text}}}" for key, text in fields.items() if text)
    lines = [
        f"# {source.paper}",
        ", ".join(filter(None, [source.authors, str(source.year), *places.values()])) + ".",
        f"```bibtex\n@misc{{{slug},\n{bibtex}\n}}\n```",
        *(recipe(plans()[name]) for name in names),
        "## Audit",
        *findings(names),
    ]
    return "\n\n".join(lines) + "\n"


def recipe(plan: AnyPlan) -> str:
    """Return what a recipe trains, as ``okdbench show`` says it."""
    head: RecipeHeader = plan.recipe
    rows = [[key, escaped(text)] for key, text in plan.description()]
    rows += [["size", f"{len(plan.cells)} cells, {len(plan.runs)} runs"]]
    command = f"```bash\nokdbench run {head.name}\nokdbench report {head.name}\n```"
    return "\n\n".join(
        filter(None, [f"## {head.name}", head.title, command, table(["setting", "value"], rows), head.notes])
    )


def escaped(text: str) -> str:
    """Return text whose signs mean nothing in a table of Markdown."""
    return re.sub(r"([|*_<\[])", r"\\\1", text)


@cache
def recipes() -> tuple[RecipeHeader, ...]:
    """Return all recipes."""
    return tuple(load(name) for name in available())


def findings(names: list[str]) -> Iterator[str]:
    """Return what the audit says about these recipes."""
    found = list(dict.fromkeys(finding for name in names for finding in audit(recipes(), name)))
    if not found:
        yield "Nothing was found that can be compared."
        return
    text = formats.get("markdown").write(AuditReport(found), formats.Screen(None, False))
    yield re.sub(r"^\*\*(.+)\*\*$", r"### \1", re.sub(r"^### .*\n", "", text), flags=re.MULTILINE)


def reference() -> dict[str, str]:
    """Return the pages of the reference."""
    return {
        f"api/{page.replace(' ', '-')}.md": f"# API: {page}\n\n"
        + "\n\n".join(f"::: {module}" for module in modules)
        + "\n"
        for page, modules in REFERENCE.items()
    }


def section(heading: str, text: str) -> str:
    """Return a section of a page."""
    return f"## {heading}\n\n{text}\n"


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a table in Markdown."""

    def line(cells: list[str]) -> str:
        return f"| {' | '.join(cells)} |"

    return "\n".join([line(head), line(["---"] * len(head)), *map(line, rows)])


if __name__ == "__main__":
    main()
