"""What people, scripts and damaged disks give to okdbench that is wrong; docs/reliability.md is made from it.

Every input is a command in a folder with a few files, and what its one line must say.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

RECIPE = """\
title: A recipe
kind: training
grid: {dataset: digits, network: resnet8, method: [baseline, dml]}
seeds: [0]
training:
  epochs: 1
  batch_size: 32
  optimizer: {lr: 0.1}
  schedule: {name: cosine}
table: {rows: network, columns: method}
"""
SIMULATION = """\
title: A simulation
kind: simulation
variants: {plain: {trials: 10}}
"""
LONG = "x" * 5000
Content = str | bytes | Callable[[Path], object]


@dataclass(frozen=True)
class BadInput:
    """One wrong input: ``words`` are given to okdbench in a folder with ``files``; ``says`` are in its message."""

    kind: str
    what: str
    words: tuple[str, ...]
    says: tuple[str, ...]
    files: Mapping[str, Content] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    def prepare(self, folder: Path) -> None:
        """Put the files there."""
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                path.write_bytes(content)
            elif isinstance(content, str):
                path.write_text(content)
            else:
                content(path)


def every() -> Iterator[BadInput]:
    """All of them, kind by kind."""
    yield from _texts()
    yield from _values()
    yield from _simulations()
    yield from _names_of_files()
    yield from _words()
    yield from _paths()
    yield from _settings()
    yield from _plugins()


def _bomb(first: str, again: Callable[[str], str], levels: int) -> str:
    """Aliases of aliases: few lines that stand for 9 to the power of ``levels`` values."""
    lines = [f"a0: &a0 {first}"]
    lines += [f"a{level}: &a{level} {again(','.join([f'*a{level - 1}'] * 9))}" for level in range(1, levels)]
    return "\n".join(lines) + "\n"


def _texts() -> Iterator[BadInput]:
    """The text of a recipe, before anything of it is understood."""
    at = "mine.yaml:"
    more = {
        "an empty file": ("", at, "must be a mapping"),
        "comments only": ("# a comment\n", "must be a mapping"),
        "a list": ("- 1\n", "must be a mapping"),
        "a word": ("hello\n", "must be a mapping"),
        "a bracket that is not closed": ("a: [1, 2\nb: 3\n", "mine.yaml:2:2", "not valid YAML"),
        "a tab as indentation": ("a:\n\tb: 1\n", "mine.yaml:2:1", "not valid YAML"),
        "a key twice": (RECIPE + "title: B\n", "mine.yaml:11", "appears twice", "keep one"),
        "an alias of nothing": ("a: *x\n", "undefined alias"),
        "two documents": (RECIPE + "---\na: 1\n", "mine.yaml:11:1", "another document"),
        "a tag that calls Python": ("title: !!python/object/apply:os.system [x]\n", "mine.yaml:1:8", "a tag"),
        "a tag of one's own": ("title: !mine x\n", "a tag", "recipes do not have"),
        "a tag for another type": (RECIPE + "notes: !!timestamp x\n", "a tag"),
        "a tag that does not fit": (RECIPE + "notes: !!int x\n", "a tag"),
        "binary content": (RECIPE + "notes: !!binary aGVsbG8=\n", "a tag"),
        "a NUL": (b"title: \x00\n", at, "control characters are not allowed"),
        "an escape sequence": (b"title: \x1b[31m\n", "control characters are not allowed"),
        "UTF-16": (RECIPE.encode("utf-16"), "is not text in UTF-8"),
        "Latin-1": ("title: é\n".encode("latin-1"), "is not text in UTF-8"),
        "half a character": (RECIPE + 'notes: "\\ud800"\n', "invalid Unicode character"),
        "half a character in a key": (RECIPE + '"\\udfff": 1\n', "invalid Unicode character"),
        "20,000 brackets": (RECIPE + "notes: " + "[" * 20_000, "mine.yaml:11:39", "more than 32 levels"),
        "5,000 brackets, closed": (RECIPE + "notes: " + "[" * 5000 + "]" * 5000, "more than 32 levels"),
        "3,000 braces": (RECIPE + "notes: " + "{a: " * 3000 + "}" * 3000, "more than 32 levels"),
        "500 levels of indentation": ("".join(" " * level + "a:\n" for level in range(500)), "more than 32 levels"),
        "a key of 100,000 characters": (RECIPE + LONG * 20 + ": 1\n", "could not find expected ':'"),
        "a value of 100,000 characters": (RECIPE.replace("lr: 0.1", f"lr: {LONG * 20}"), "must be a number"),
        "2 MB": ("# " + "x" * (2 << 20), "more than 1,048,576 bytes"),
        "51,000 values": (RECIPE + f"notes: [{'1,' * 51_000}]\n", "more than 50,000 values"),
        "a list in itself": (RECIPE + "notes: &a [*a]\n", "mine.yaml:11", "an alias of what it is in"),
        "a mapping in itself": (RECIPE + "notes: &a {b: *a}\n", "an alias of what it is in"),
        "a file in itself": ("&a\nb: *a\n", "an alias of what it is in"),
        "a grid in itself": (RECIPE.replace("[baseline, dml]", "&m [baseline, *m]"), "an alias of what it is in"),
        "a merge with itself": ("a: &a\n  <<: *a\n", "an alias of what it is in"),
        "aliases that stand for 9^9 values": (
            RECIPE + _bomb("[x]", lambda all: f"[{all}]", 10) + "notes: *a9\n",
            "more than 50,000 values",
        ),
        "merges that stand for 9^7 values": (
            RECIPE + _bomb("{x: 1}", lambda all: f"{{<<: [{all}]}}", 8),
            "more than 50,000 values",
        ),
        "a merge with a number": (RECIPE + "<<: 3\n", "for merging"),
        "a mapping as a key": (RECIPE + "? {a: 1}\n: x\n", "unhashable key"),
        "a number as a key": (RECIPE + "1: x\n", "mine.yaml:11", "a key must be text"),
        "true as a key": (RECIPE + "true: x\n", "a key must be text"),
        "a number of 5,000 digits": (RECIPE.replace("epochs: 1", f"epochs: {'9' * 5000}"), "a number of more than"),
        "1,000 mistakes": (
            RECIPE.replace("[baseline, dml]", f"[baseline, dml], x: [{'1,' * 3}]") + _lines(1_000),
            "more mistakes; correct these first",
        ),
    }  # fmt: skip
    for what, (content, *says) in more.items():
        yield BadInput("A recipe's text", what, ("validate", "mine.yaml"), tuple(says), {"mine.yaml": content})


def _lines(count: int) -> str:
    return "".join(f"key{number}: 1\n" for number in range(count))


_VALUES = (
    ("epochs: 1", "epochs: true", "training.epochs: must be a number, not true"),
    ("epochs: 1", "epochs: 1.5", "training.epochs: must be a whole number, not 1.5"),
    ("epochs: 1", "epochs: 0", "training.epochs: must be above 0"),
    ("epochs: 1", "epochs: 100000000000", "training.epochs: must be at most 1e+06"),
    ("epochs: 1", "epochs: 99999999999999999999", "training.epochs: must be at most"),
    ("epochs: 1", "epochs: .nan", "training.epochs: must be finite"),
    ("epochs: 1", "epochs:", "training.epochs: has no value"),
    ("epochs: 1", "epochs: [1]", "training.epochs: must be a whole number, not [1]"),
    ("batch_size: 32", "batch_size: true", "training.batch_size: must be a number"),
    ("batch_size: 32", "batch_size: 1", "training.batch_size: 1 makes batches of one image"),
    ("batch_size: 32", "batch_size: 131", "training.batch_size: 131 leaves a last batch of one image"),
    ("batch_size: 32", "batch_size: 99999999", "training.batch_size: must be at most"),
    ("lr: 0.1", "lr: true", "training.optimizer.lr: must be a number, not true"),
    ("lr: 0.1", "lr: 0", "training.optimizer.lr: must be above 0"),
    ("lr: 0.1", "lr: fast", 'training.optimizer.lr: must be a number, not "fast"'),
    ("lr: 0.1", "lr: 1e400", "training.optimizer.lr: must be finite"),
    ("lr: 0.1", "lr: 0.1, momentum: 1", "momentum: must be below 1"),
    ("lr: 0.1", "lr: 0.1, momentum: 0", "nesterov needs a momentum above 0"),
    ("lr: 0.1", "lr: 0.1, nesterov: 3", "nesterov: must be true or false"),
    ("{name: cosine}", "cosine", 'training.schedule: must be a mapping (key: value), not "cosine"'),
    ("{name: cosine}", "{name: cosin}", 'did you mean "cosine"?'),
    ("{name: cosine}", "{}", "training.schedule.name: is missing"),
    ("{name: cosine}", "{name: multistep, milestones: [5, 3]}", "milestones must rise"),
    ("{name: cosine}", "{name: multistep, milestones: [-1]}", "milestones[0]: must be at least 0"),
    ("{name: cosine}", "{name: multistep, milestones: [true]}", "milestones: must be a number, not"),
    ("{name: cosine}", "{name: multistep, milestones: [1], warmup: 100000000000}", "warmup: must be at most"),
    ("seeds: [0]", "seeds: [-1]", "seeds[0]: must be at least 0"),
    ("seeds: [0]", "seeds: [true]", "seeds: must be a number"),
    ("seeds: [0]", "seeds: []", "seeds: is empty"),
    ("seeds: [0]", "seeds: [0, 0]", "seeds: 0 is listed twice"),
    ("seeds: [0]", "seeds: [0.5]", "seeds[0]: must be a whole number"),
    ("seeds: [0]", f"seeds: [{', '.join(map(str, range(3_000)))}]", "seeds: has 3,000 values; name at most 1,000"),
    ("seeds: [0]", "seeds: [99999999999999999999999]", "seeds: must be at most"),
    ("network: resnet8", "network: []", "grid.network: is empty"),
    ("network: resnet8", "network: 5", "grid.network[0]: must be text"),
    ("network: resnet8", "network: a++b", '"a++b" is not a network'),
    ("network: resnet8", "network: ''", '"" is not a network'),
    ("[baseline, dml]", "[baseline, baseline]", '"baseline" is listed twice'),
    ("[baseline, dml]", "[baseline, dml@nope]", 'dml has no preset "nope"'),
    ("[baseline, dml]", "[baseline, dml@]", '"dml@" is not a label'),
    ("[baseline, dml]", "['@', dml]", '"@" is not a label'),
    ("[baseline, dml]", "[baseline, dml], dml.peers: [100000000000]", "grid.dml.peers: must be at most 64"),
    ("[baseline, dml]", "[baseline, dml], dml.peers: [true]", "grid.dml.peers: must be a number"),
    ("[baseline, dml]", "[baseline, dml], dml.nope: [0]", "grid.dml.nope: unknown setting"),
    ("[baseline, dml]", f"[baseline, dml], dml.peers: {list(range(2, 200))}, dml.temperature: {list(range(1, 200))}",
     "grid: makes 39,403 cells; name fewer values"),
    ("rows: network", "rows: nope", 'table.rows: the grid has no axis "nope"'),
    ("rows: network", "rows: method", "must be different axes"),
    ("columns: method", "columns: method, reference: nope", "table.reference: grid.method has no"),
    ("columns: method", "columns: method, names: 3", "table.names: must be a mapping"),
    ("kind: training", "kind: trainnig", 'did you mean "training"?'),
    ("kind: training", "kind: [a]", "kind: there is no"),
    ("kind: training", "kind: ../x", "kind: there is no"),
)  # fmt: skip
_MORE_KEYS = (
    ("data: {subset: 100000000000}", "data.subset: must be at most 1442"),
    ("data: {subset: true}", "data.subset: must be a number"),
    ("data: {validation: 1442}", "data.validation: must be below 1442"),
    ("data: {normalisation: x}", "data.normalisation: there is no preset"),
    ("data: 3", "data: must be a mapping"),
    ("overrides: {}", "overrides: must be a list"),
    ("overrides: [3]", "overrides[0]: must be a mapping"),
    ("overrides: [{set: {}}]", "overrides[0].set: is empty"),
    ("overrides: [{set: {training.epochs: 0}}]", "overrides[0].set.training.epochs: must be above 0"),
    ("overrides: [{set: {network: 3}}]", "network must be text"),
    ("overrides: [{set: {'.': 1}}]", "unknown setting; a key begins with one of"),
    ("overrides: [{set: {dml.peers: 100000000000}}]", "overrides[0].set.dml.peers: must be at most 64"),
    ("overrides: [{when: {method: nope}, set: {training.epochs: 2}}]", "when.method[0]: grid.method has no"),
    ("variants: {dml: {peers: 3}}", "variants.dml: is a method; name the variant after it"),
    ("protocol: {default: {epoch: never}}", '"never" is not understood; write last, best'),
    ("protocol: {default: {epoch: last, head: 'mean('}}", '"mean(" is not understood'),
    ("protocol: {nope: {epoch: last}}", "protocol.nope: grid.method has no"),
    ("readings: {'a b': {}}", '"a b" cannot name a reading'),
    ("source: {paper: a, year: x, table: t}", "source.year: must be a whole number"),
    ("source: {paper: a, year: true, table: t}", "source.year: must be a number"),
    ("teachers: {dml: {network: resnet8, method: kd}}", "no method that trains by itself is called"),
    ("claims: [{id: a, text: b, formula: '1/0', printed: '3', source: s}]", "divides by zero"),
    (f"claims: [{{id: a, text: b, formula: '{'(' * 900}', source: s}}]", "is not a formula"),
    ("claims: [{id: a, text: b, formula: '__import__(\"os\")', source: s}]", 'there is no function "__import__"'),
    ("claims: [{id: a, text: b, formula: '9**9**9', printed: '1', source: s}]", "is not understood there"),
    ("margin: -1", "margin: must be at least 0"),
    ("margin: true", "margin: must be a number"),
    ("smoke: {set: {training.epochs: 0}}", "smoke.set.training.epochs: must be above 0"),
    ("figure: {x: nope}", 'figure.x: the grid has no axis "nope"'),
    ("kindly: 1", 'kindly: unknown key; did you mean "kind"?'),
)


def _values() -> Iterator[BadInput]:
    """A recipe with one wrong value, or one wrong key more."""
    for old, new, says in _VALUES:
        text = RECIPE.replace(old, new, 1)
        assert text != RECIPE, old
        yield _valued(new, text, says)
    for line, says in _MORE_KEYS:
        yield _valued(line, f"{RECIPE}{line}\n", says)
    variant = RECIPE.replace("dml]", "dml@x]") + "variants: {dml@x: {dml.peers: 3}}\n"
    yield _valued("variants: {dml@x: {dml.peers: 3}}", variant, "come without the method's name; write peers")


def _valued(what: str, content: str, says: str) -> BadInput:
    what = what if len(what) <= 70 else f"{what[:67]}..."
    return BadInput("A recipe's values", f"`{what}`", ("validate", "mine.yaml"), (says,), {"mine.yaml": content})


def _simulations() -> Iterator[BadInput]:
    for old, new, says in (
        ("{plain: {trials: 10}}", "{}", "variants: is empty"),
        ("plain", "'../x'", "becomes a folder's"),
        ("trials: 10", "trials: 100000000000", "trials: must be at most"),
        ("trials: 10", "trials: true", "trials: must be a number"),
        ("trials: 10", "epochs: 100000000000", "epochs: must be at most"),
        ("trials: 10", "peers: 100000000000", "peers: must be at most 64"),
        ("trials: 10", "trial: 10", 'trial: unknown key; did you mean "trials"?'),
    ):
        content = {"mine.yaml": SIMULATION.replace(old, new)}
        yield BadInput("A simulation's values", f"`{new}`", ("validate", "mine.yaml"), (says,), content)


def _names_of_files() -> Iterator[BadInput]:
    """The name of a recipe's file becomes that of a folder."""
    for name in ("...yaml", "..yaml", ".hidden.yaml", "bench.yaml", "a\tb.yaml", f"{'x' * 230}.yaml"):
        what, words = f"`{name!r:.40}`", ("status", f"./{name}")
        says = "has control characters" if "\t" in name else "the runs of a recipe go to a folder of its name"
        yield BadInput("The name of a recipe's file", what, words, (says,), {name: RECIPE})
    yield BadInput(
        "The name of a recipe's file", "a folder", ("show", "mine.yaml"), ("there is no such file",),
        {"mine.yaml": Path.mkdir},
    )  # fmt: skip


def _words() -> Iterator[BadInput]:
    """Words of a command line, beside a good recipe."""
    for words, says in (
        (("nope",), "No such command"),
        (("run",), "Missing argument"),
        (("run", "mine.yaml", "--nope"), "No such option"),
        (("show", LONG), "has 5,000 characters; shorten it"),
        (("show", "x" * 4000), "File name too long"),
        (("show", f"/{'a/' * 2040}m.yaml"), "there is no such file"),
        (("show", "nowhere.yaml"), "there is no such file"),
        (("show", "a\x1b[31m"), "has control characters"),
        (("show", "\u202eresnet"), "has control characters"),
        (("run", "mine.yaml", "--device", LONG), "has 5,000 characters"),
        (("run", "mine.yaml", "--device", ""), "choose auto, cpu, or cuda:N"),
        (("run", "mine.yaml", "--device", "cuda:999"), "GPU"),
        (("run", "mine.yaml", "--device", "meta"), "choose auto, cpu, or cuda:N"),
        (("run", "mine.yaml", "--set", "epochs"), "write KEY=VALUE"),
        (("run", "mine.yaml", "--set", "nope=1"), "unknown setting"),
        (("run", "mine.yaml", "--set", "training.epochs=true"), "must be a number"),
        (("run", "mine.yaml", "--set", "training.epochs=[[[["), "not valid YAML"),
        (("run", "mine.yaml", "--set", f"training.epochs={'[' * 100}{']' * 100}"), "more than 32 levels"),
        (("run", "mine.yaml", "--set", "training.epochs=&a [*a]"), "an alias of what it is in"),
        (("run", "mine.yaml", "--epochs", "0"), "Invalid value for '--epochs'"),
        (("run", "mine.yaml", "--epochs", "9" * 4000), "training.epochs=9999"),
        (("run", "mine.yaml", "--epochs", "99999999999"), "must be at most"),
        (("run", "mine.yaml", "-s", "x"), "Invalid value for '--seed'"),
        (("run", "mine.yaml", "-s", "5"), "is not among the seeds"),
        (("run", "mine.yaml", "-m", "x"), "is not in the grid"),
        (("run", "mine.yaml", "--subset", "99999999999"), "must be at most 1442"),
        (("run", "mine.yaml", "--jobs", "0"), "Invalid value for '--jobs'"),
        (("run", "mine.yaml", "--jobs-per-device", "-1"), "give a number from 1 on, or auto"),
        (("run", "mine.yaml", "--jobs-per-device", "²"), "give a number from 1 on, or auto"),
        (("run", "mine.yaml", "--engine", "slrm", "--dry-run"), 'did you mean "slurm"?'),
        (("run", "mine.yaml", "--engine-option", "time=30"), "--engine local: has no settings; leave out time"),
        (("report", "mine.yaml", "--head", "mean("), "is not understood"),
        (("report", "mine.yaml", "--epoch", "never"), "is not understood"),
        (("report", "mine.yaml", "--format", "docx"), 'there is no format "docx"'),
        (("report", "mine.yaml", "--figure", "figure.docx"), "figure.docx"),
        (("data", "fetch", "nope"), 'unknown data set "nope"'),
        (("data", "verify", "nope"), 'unknown data set "nope"'),
        (("export", "nope"), "no run whose id or folder begins with"),
        (("copy", "quickstart", "mine.yaml"), "exists already and is not overwritten"),
        (("copy", "quickstart", "mine.txt"), "a recipe's file ends in .yaml"),
        (("results", "merge", "nowhere"), "has no runs as DIR/RECIPE/RUN"),
    ):
        what = " ".join(word if len(word) < 60 else f"{word[:20]}... ({len(word):,} characters)" for word in words)
        yield BadInput("The command line", f"`{_shown(what)}`", words, (says,), {"mine.yaml": RECIPE})


def _shown(text: str) -> str:
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def _paths() -> Iterator[BadInput]:
    """Paths of the wrong kind, or that no system takes."""
    for words, says in (
        (("status", "mine.yaml", "--results", ""), "is empty; name a file or a folder"),
        (("status", "mine.yaml", "--results", "mine.yaml"), "is not a folder"),
        (("status", "mine.yaml", "--results", "~nobody-of-that-name/x"), "there is no such user"),
        (("status", "mine.yaml", "--results", "x" * 4000), "File name too long"),
        (("run", "mine.yaml", "--results", "a\nb"), "has control characters"),
        (("run", "mine.yaml", "--data", ""), "is empty"),
        (("run", "mine.yaml", "--data", "mine.yaml"), "is not a folder"),
        (("data", "list", "--data", "mine.yaml"), "is not a folder"),
        (("data", "verify", "--data", "x" * 4000), "File name too long"),
        (("data", "pack", "digits", "--data", "mine.yaml/below"), "mine.yaml/below"),
        (("report", "mine.yaml", "-o", ""), "is empty"),
        (("report", "mine.yaml", "-o", "."), "is a folder; name a file in it"),
        (("report", "mine.yaml", "-o", "/"), "is a folder; name a file in it"),
        (("report", "mine.yaml", "-o", "new/"), "is a folder; name a file in it"),
        (("report", "mine.yaml", "-o", "mine.yaml/x.md"), "cannot be written"),
        (("report", "mine.yaml", "-o", f"{'x' * 300}.md"), "File name too long"),
        (("report", "mine.yaml", "--figures", "mine.yaml"), "is not a folder"),
        (("results", "merge", "mine.yaml"), "is not a folder"),
        (("--plugin", "nowhere.py", "list"), "there is no such file"),
        (("--plugin", "", "list"), "is empty"),
    ):
        files = {"mine.yaml": RECIPE}
        what = _shown(
            " ".join(word if len(word) < 60 else f"{word[:10]}... ({len(word)} characters)" for word in words)
        )
        yield BadInput("Paths", f"`{what}`", words, (says,), files)


def _settings() -> Iterator[BadInput]:
    """The file okdbench.toml, and variables."""
    words = ("status", "mine.yaml")
    for what, content, *says in (
        ("a bracket that is not closed", "a = [", "cannot be read as TOML"),
        ("UTF-16", "jobs = 2".encode("utf-16"), "cannot be read as TOML"),
        ("5,000 brackets", f"a = {'[' * 5000}", "cannot be read as TOML"),
        ("a folder", Path.mkdir, "cannot be read as TOML"),
        ("`jbs = 2`", "jbs = 2", 'did you mean "jobs"?'),
        ("`[rnu]`", "[rnu]\njobs = 2", 'did you mean "run"?'),
        ("`results = 3`", "results = 3", "3 is not a path", "okdbench.toml"),
        ("`results = true`", "results = true", "needs a value, not true or false"),
        ("a NUL in a path", 'results = "a\\u0000b"', "has a character that no path can have"),
    ):
        files: dict[str, Content] = {"mine.yaml": RECIPE, "okdbench.toml": content}
        yield BadInput("okdbench.toml", what, words, ("okdbench.toml", *says), files)
    for name, value, says in (
        ("OKDBENCH_SEED", "x", "it comes from OKDBENCH_SEED"),
        ("OKDBENCH_RESULTS", "mine.yaml", "is not a folder"),
        ("OKDBENCH_RESULTS", "~nobody-of-that-name", "there is no such user"),
        ("OKDBENCH_STATUS_FORMAT", "xml", "it comes from OKDBENCH_STATUS_FORMAT"),
    ):
        yield BadInput("Variables", f"`{name}={value}`", words, (says,), {"mine.yaml": RECIPE}, {name: value})


_METHOD = "from okdbench.methods.baseline import Baseline\nclass Mine(Baseline):\n    {}\n"
_FORMAT = (
    "from okdbench.report.formats import Format\ndef write(content, screen):\n    {}\nFORMAT = Format({}, (), write)"
)


def _plugins() -> Iterator[BadInput]:
    """Plugins that do not load, or offer what cannot be used; in a process of their own, because they are cached."""
    for what, content, *says in (
        ("calls sys.exit", "import sys\nsys.exit(0)\n", "mine.py: does not load (SystemExit: 0)"),
        ("raises what is no Exception", "raise GeneratorExit\n", "does not load (GeneratorExit"),
        ("is no Python", "def (\n", "does not load (SyntaxError"),
        ("has a NUL", b"x = 1\x00\n", "does not load (SyntaxError"),
        ("is in Latin-1", b"x = '\xe9'\n", "does not load (SyntaxError"),
        ("never returns", "def f(): f()\nf()\n", "does not load (RecursionError"),
        ("raises with control characters", "raise ValueError('a\\x1b[31mb\\nc')\n", "(ValueError: a\\x1b[31mb c)"),
        ("has a method without a name", _METHOD.format("pass"), "mine.py, class Mine: has no name of its own"),
        ("has a method `My Agree/2`", _METHOD.format("name = 'My Agree/2'"), "'My Agree/2'", "rename it"),
        ("has a method `../x`", _METHOD.format("name = '../x'"), "a name is one word"),
        ("has a method called 3", _METHOD.format("name = 3"), "a name is one word"),
        ("has a method called ''", _METHOD.format("name = ''"), "a name is one word"),
        ("has a method called training", _METHOD.format("name = 'training'"), "has another meaning"),
        ("has a method of our name", _METHOD.format("name = 'dml'"), "both offer it; rename one"),
        ("has a method without Config", _METHOD.format("name = 'mine'; Config = None"), "Config is no subclass"),
        ("has a method without losses", "from okdbench.methods import Method\nclass Mine(Method):\n    name = 'mine'\n",
         "lacks losses, predict; define it"),
        ("has a network `a/b`", "from dataclasses import replace\nfrom okdbench.networks.resnet import ARCHITECTURES\n"
         "ARCHITECTURES = [replace(ARCHITECTURES[0], name='a/b')]\n", "a name is one word"),
    ):  # fmt: skip
        files = {"mine.py": content, "mine.yaml": RECIPE}
        yield BadInput("A plugin that", what, ("--plugin", "mine.py", "show", "mine.yaml"), tuple(says), files)
    for what, body, name, says in (
        ("has a format that fails", "raise ValueError('boo')", "'mine'", 'format "mine": ValueError: boo'),
        ("has a format that gives bytes", "return b''", "'mine'", "gives bytes, not text"),
        ("has a format called 3", "return ''", "3", "a name is one word"),
    ):
        files = {"mine.py": _FORMAT.format(body, name), "mine.yaml": RECIPE}
        words = ("--plugin", "mine.py", "report", "mine.yaml", "--format", "mine")
        yield BadInput("A plugin that", what, words, (says,), files)
