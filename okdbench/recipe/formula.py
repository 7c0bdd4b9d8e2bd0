"""The language of claims: arithmetic over the numbers that a recipe reports.

    cell(cifar100, resnet32, dkel) - cell(cifar100, resnet32, pcl)
    cell(cifar10, vgg16_mlp, dkel, alpha=0.05)
    mean(cell(cifar10, n, dkel) - cell(cifar10, n, pcl) for n in network)
    all(cell(d, n, dml) < cell(d, n, one) for d in dataset for n in [vgg16_mlp, wrn20_8_tv])

``cell`` is the printed mean, in the metric printed; its keywords are the method's own axes, without the method's name.
A name that is not a Python name is quoted: ``'dkel@released'``. Loops go over a list or over an axis of the grid.
Formulas are parsed, never executed: what is not listed in this file is refused.
"""

import ast
import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from okdbench.recipe.axes import DEFAULT_READING, NAMED_AXES, Axes, CellKey, label_and_reading, own_axes
from okdbench.recipe.claims import Claim
from okdbench.recipe.label import Label
from okdbench.recipe.problems import Problem, unknown
from okdbench.recipe.schema import ReportedNumbers

LIMIT = 10_000
"""Rounds of all loops of a formula together."""

_ARITHMETIC: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_SIGNS: dict[type[ast.unaryop], Callable[[float], float]] = {ast.USub: operator.neg, ast.UAdd: operator.pos}
_COMPARISONS: dict[type[ast.cmpop], tuple[str, Callable[[float, float], bool]]] = {
    ast.Lt: ("<", operator.lt),
    ast.LtE: ("<=", operator.le),
    ast.Gt: (">", operator.gt),
    ast.GtE: (">=", operator.ge),
}
_OF_ONE: dict[str, Callable[[float], float]] = {"abs": abs, "exp": math.exp}
_OF_MANY: dict[str, Callable[[Sequence[float]], float]] = {
    "mean": lambda values: math.fsum(values) / len(values),
    "min": min,
    "max": max,
    "sum": math.fsum,
}
_WORDS = ("all", "cell", *_OF_ONE, *_OF_MANY)

Scope = Mapping[str, Any]
"""Values of the loops' variables."""


@dataclass(frozen=True)
class Statement:
    """Whether a comparison holds, what was found (``0.135 <= 0.01`` or ``11 of 12``), and for what it does not hold."""

    holds: bool
    found: str
    exceptions: tuple[str, ...] = ()


def compute(formula: str, axes: Axes, numbers: Mapping[CellKey, float]) -> float | Statement:
    """Return a formula's value, or whether its comparison holds; raise ValueError with problem and remedy."""
    try:
        tree = ast.parse(formula.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError("is not a formula; write for instance cell(cifar100, resnet32, dkel) - 74.14") from None
    try:
        value = _Evaluation(axes, numbers).whole(tree)
    except ZeroDivisionError:
        raise ValueError("divides by zero; fix the formula") from None
    except (OverflowError, RecursionError):
        raise ValueError("is too large to compute; make it smaller") from None
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("is too large to compute; make it smaller")
    return value


class _Anything(dict[CellKey, float]):
    """A number for every cell; it notes which are asked for."""

    def __contains__(self, key: object) -> bool:
        return True

    def __missing__(self, key: CellKey) -> float:
        self[key] = 50.0 + len(self)
        return self[key]


def cells_of(formula: str, axes: Axes) -> tuple[CellKey, ...]:
    """Return the cells that a formula is about, whether a number is printed for them or not."""
    asked = _Anything()
    compute(formula, axes, asked)
    return tuple(asked)


def numbers_of(reported: ReportedNumbers | None) -> dict[CellKey, float]:
    """Return what ``cell`` looks up."""
    return {key: cell.mean for key, cell in reported.by_key.items()} if reported else {}


def claim_problems(claims: Sequence[tuple[int, Claim]], axes: Axes, reported: ReportedNumbers | None) -> list[Problem]:
    """Return what keeps claims, given with their index in the file, from being computed."""
    numbers, problems = numbers_of(reported), []
    seen: dict[str, int] = {}
    for index, claim in claims:
        if claim.id in seen:
            what = f'claims[{seen[claim.id]}] has the id "{claim.id}" too; give each its own'
            problems.append(Problem(("claims", index, "id"), what))
        seen.setdefault(claim.id, index)
        try:
            value = compute(claim.formula, axes, _Anything() if claim.own_runs_only else numbers)
        except ValueError as error:
            problems.append(Problem(("claims", index, "formula"), str(error)))
            continue
        if isinstance(value, float) and claim.printed is None:
            what = "is missing; add the number that the source prints, or compare in the formula: ... > 0"
            problems.append(Problem(("claims", index, "printed"), what))
        elif isinstance(value, Statement) and claim.printed is not None:
            what = "has no place beside a comparison, which holds or not; remove it"
            problems.append(Problem(("claims", index, "printed"), what))
    return problems


class _Evaluation:
    """One computation of one formula."""

    def __init__(self, axes: Axes, numbers: Mapping[CellKey, float]) -> None:
        self.axes = axes
        self.numbers = numbers
        self.rounds = 0

    def whole(self, node: ast.expr) -> float | Statement:
        """Return the formula as a whole; comparisons stand here or inside ``all``, nowhere deeper."""
        if isinstance(node, ast.Compare):
            left, sign, right = self.sides(node, {})
            return Statement(self.holds(node, {}), f"{left:.4g} {sign} {right:.4g}")
        if isinstance(node, ast.Call) and _function(node) == "all":
            rounds = [(self.holds(inner, names), names) for inner, names in self.items(node, {})]
            wrong = [" / ".join(map(str, names.values())) for holds, names in rounds if not holds]
            return Statement(not wrong, f"{len(rounds) - len(wrong)} of {len(rounds)}", tuple(filter(None, wrong)))
        return float(self.number(node, {}))

    def sides(self, node: ast.expr, names: Scope) -> tuple[float, str, float]:
        """Return the two numbers of a comparison and the sign between them."""
        if not isinstance(node, ast.Compare) or len(node.ops) != 1 or type(node.ops[0]) not in _COMPARISONS:
            raise ValueError(f'"{_text(node)}" is not a comparison; write one of a < b, a <= b, a > b, a >= b')
        sign = _COMPARISONS[type(node.ops[0])][0]
        return self.number(node.left, names), sign, self.number(node.comparators[0], names)

    def holds(self, node: ast.expr, names: Scope) -> bool:
        """Return whether a comparison is true; a rounding error of the arithmetic does not decide."""
        left, sign, right = self.sides(node, names)
        compare = next(compare for known, compare in _COMPARISONS.values() if known == sign)
        return compare(round(left, 9), round(right, 9))

    def number(self, node: ast.expr, names: Scope) -> float:
        """Return the number that an expression stands for."""
        match node:
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                return value
            case ast.Name(id=name) if isinstance(names.get(name), int | float):
                return float(names[name])
            case ast.BinOp() if type(node.op) in _ARITHMETIC:
                return _ARITHMETIC[type(node.op)](self.number(node.left, names), self.number(node.right, names))
            case ast.UnaryOp() if type(node.op) in _SIGNS:
                return _SIGNS[type(node.op)](self.number(node.operand, names))
            case ast.Call():
                return self.function(node, names)
        raise _not_understood(node)

    def function(self, call: ast.Call, names: Scope) -> float:
        """Return the number that a function gives."""
        name = _function(call)
        if name == "cell":
            return self.cell(call, names)
        if name in _OF_MANY:
            return _OF_MANY[name]([self.number(inner, scope) for inner, scope in self.items(call, names)])
        if name in _OF_ONE and len(call.args) == 1 and not call.keywords:
            return _OF_ONE[name](self.number(call.args[0], names))
        raise _not_understood(call) if name in _WORDS else ValueError(unknown("there is no function", name, _WORDS))

    def items(self, call: ast.Call, names: Scope) -> list[tuple[ast.expr, Scope]]:
        """Return an aggregate function's operands: arguments, the items of a list, or the rounds of a loop."""
        found = [(node, names) for node in call.args]
        if len(call.args) == 1:
            match call.args[0]:
                case ast.GeneratorExp(elt=inner, generators=loops) | ast.ListComp(elt=inner, generators=loops):
                    found = [(inner, scope) for scope in self.scopes(loops, names)]
                case ast.List(elts=nodes) | ast.Tuple(elts=nodes):
                    found = [(node, names) for node in nodes]
        if not found or call.keywords:
            raise ValueError(f'"{_text(call)}" has nothing to work on; give it a list or a loop')
        return found

    def scopes(self, loops: Sequence[ast.comprehension], names: Scope) -> Iterator[Scope]:
        """The variables' values in every round of nested loops."""
        if not loops:
            self.rounds += 1
            if self.rounds > LIMIT:
                raise ValueError(f"loops more than {LIMIT} times; make it smaller")
            yield names
            return
        loop, *inner = loops
        if not isinstance(loop.target, ast.Name) or loop.ifs or loop.is_async:
            raise ValueError("a loop is understood only as: for name in [...] or in an axis; write it so")
        for value in self.values(loop.iter, names):
            yield from self.scopes(inner, {**names, loop.target.id: value})

    def values(self, node: ast.expr, names: Scope) -> Sequence[Any]:
        """Return what a loop goes over: a list of values, or all of an axis."""
        match node:
            case ast.List(elts=nodes) | ast.Tuple(elts=nodes):
                return [self.label(item, names) for item in nodes]
            case ast.Name(id=name):
                short = {axis if axis in NAMED_AXES else _keyword(axis): axis for axis in self.axes}
                if name in short:
                    return self.axes[short[name]]
                raise ValueError(unknown("the grid has no axis", name, tuple(short)))
        raise ValueError(f'"{_text(node)}" is not something to loop over; give a list or an axis of the grid')

    def label(self, node: ast.expr, names: Scope) -> Any:
        """Return a value of an axis: a loop's variable, a name as it stands, a text in quotes, a number."""
        match node:
            case ast.Name(id=name):
                return names.get(name, name)
            case ast.Constant(value=str() | int() | float() as value):
                return value
        raise ValueError(f'"{_text(node)}" is not a value of an axis; put names with other signs in quotes')

    def cell(self, call: ast.Call, names: Scope) -> float:
        """Return the printed number of a cell; its reading may stand behind the method, ``'dml@net2'``."""
        if len(call.args) != len(NAMED_AXES):
            raise ValueError(f'"{_text(call)}" is not a cell; write cell(dataset, network, method)')
        dataset, network, method = (self.label(node, names) for node in call.args)
        method, reading = label_and_reading(str(method), self.axes)
        for axis, value in zip(NAMED_AXES, (dataset, network, method), strict=True):
            _check(axis, value, self.axes.get(axis, ()))
        own = {_keyword(axis): axis for axis in own_axes(self.axes, Label(method))}
        given = {keyword.arg: self.label(keyword.value, names) for keyword in call.keywords}
        for name, value in given.items():
            if name not in own:
                known = ", ".join(own) or "nothing"
                raise ValueError(f"{method} has no {name} in the grid; what it has there: {known}")
            _check(own[name], value, self.axes[own[name]])
        missing = [name for name in own if name not in given]
        if missing:
            raise ValueError(f'"{_text(call)}" leaves {missing[0]} open; add {missing[0]}=...')
        settings = tuple(sorted((own[name], value) for name, value in given.items() if name))
        key = CellKey(dataset, network, Label(method), settings, reading or DEFAULT_READING)
        if key not in self.numbers:
            raise ValueError(f"{key} has no reported number; add it to reported.cells, or leave it out here")
        return self.numbers[key]


def _not_understood(node: ast.expr) -> ValueError:
    words = ", ".join(_WORDS)
    return ValueError(f'"{_text(node)}" is not understood there; use numbers, + - * / and {words}')


def _text(node: ast.expr) -> str:
    text = ast.unparse(node)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _function(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else _text(call.func)


def _keyword(axis: str) -> str:
    """How a formula calls an axis of a method: ``alpha`` for ``dkel.alpha``."""
    return axis.partition(".")[2].replace(".", "_")


def _check(axis: str, value: Any, choices: tuple[Any, ...]) -> None:
    if value not in choices:
        raise ValueError(unknown(f"grid.{axis} has no", str(value), tuple(map(str, choices))))
