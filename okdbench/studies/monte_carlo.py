"""The Monte Carlo simulation of the DKEL paper (arXiv 2312.11218, Figure 5): networks are points in the plane.

Students start at random points and move towards the data, their ensemble and the teachers of the other peers; teachers
follow their students as moving averages; the gap is the distance to the ground truth. The paper leaves several choices
open, so each is a setting of `okdbench.config.SimulationSettings`, and ``claims`` says which of the paper's statements
hold under it.

Points are complex numbers, the data lie at 0. All functions are pure: no files, no global random state.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from okdbench.config import Direction, SimulationSettings
from okdbench.seeds import key

FloatArray = NDArray[np.float64]
Points = NDArray[np.complex128]
"""[peers, trials] points in the plane."""

QUANTILES = (0.05, 0.25, 0.75, 0.95)
"""Edges of the bands over trials."""
SETTLED = 0.01
"""A curve has arrived once it stays within this share of its start value from where it ends."""
NEAR = 5
"""Epochs: "near 70" is 65 to 75, "earlier" is at least this much earlier. The printed 60 and 70 stay apart."""
LEAD = 0.001
"""A gap counts as lower from this share on, and only beyond two standard errors of the paired difference."""
EARLY = 10
"""The paper's "first 10 epochs"."""


def grid(trials: int = 1000) -> tuple[SimulationSettings, ...]:
    """448 variants: every combination of the two-valued choices, with 7 moving averages each."""
    axes: dict[str, tuple[object, ...]] = {
        "direction": ("raw", "unit"),
        "peer_mean": ("mean", "sum"),
        "ensemble": ("additive", "convex"),
        "pcl_teacher": ("copy", "independent"),
        "gap": ("teacher", "student"),
        "truth_offset": (0.0, 0.5),
    }
    averages = [{"b": b} for b in (0.5, 0.8, 0.85, 0.9, 0.99, 0.999)] + [{"ema": "warmup", "b": 0.999}]
    choices = [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]
    return tuple(
        SimulationSettings.model_validate({**choice, **average, "trials": trials})
        for choice in choices
        for average in averages
    )


class _Rule(NamedTuple):
    """The differences between the three methods."""

    decoupled: bool  # the teacher takes ``init_steps`` steps of its own before training
    decaying: bool  # the midpoint of the other teachers is one more target, with weight r(e)


METHODS = {"pcl": _Rule(False, False), "dk": _Rule(True, False), "dkel": _Rule(True, True)}
"""The methods of the figure, all simulated from the same starting points."""


@dataclass(frozen=True)
class Curve:
    """The gap of one method, epoch by epoch (index 0 is after the first epoch), over trials.

    ``mean`` and ``standard_error`` are [epochs], ``quantiles`` [len(QUANTILES), epochs]. ``differences`` holds, for
    each other method, the mean of this gap minus the other's in the same trial and its standard error, [epochs] each.
    """

    mean: FloatArray
    standard_error: FloatArray
    quantiles: FloatArray
    differences: Mapping[str, tuple[FloatArray, FloatArray]]

    @property
    def convergence_epoch(self) -> int | None:
        """First epoch, counted from 1, from which on the mean stays within 1% of its start value from where it ends.

        None if the curve has not levelled off: in the last tenth of the epochs it still moves by more than 1% of its
        whole range, so that where it ends is not where it leads.
        """
        tail = max(1, len(self.mean) // 10)
        if abs(self.mean[-1] - self.mean[-1 - tail]) > SETTLED * np.ptp(self.mean):
            return None
        outside = np.flatnonzero(np.abs(self.mean - self.mean[-1]) > SETTLED * self.mean[0])
        return int(outside[-1]) + 2 if len(outside) else 1

    def lower_than(self, other: str) -> NDArray[np.bool_]:
        """[epochs] whether this gap is lower than the other method's, see ``LEAD``."""
        difference, error = self.differences[other]
        return -difference > np.maximum(2 * error, LEAD * (self.mean - difference))

    def final_change(self, other: str) -> float:
        """Return the last gap relative to the other method's: -0.07 is 7% smaller."""
        change = self.differences[other][0][-1]
        return float(change / (self.mean[-1] - change))


def simulate(settings: SimulationSettings) -> dict[str, Curve]:
    """Return all trials of the three methods; keys ``pcl``, ``dk``, ``dkel``.

    The methods share starting points, so their differences are far more precise than the curves themselves.
    """
    means, errors, quantiles = [], [], []
    root = np.sqrt(settings.trials)
    for epoch in zip(*(_gaps(settings, rule) for rule in METHODS.values()), strict=True):
        gaps = np.stack(epoch)  # [methods, trials]
        pairs = np.concatenate((gaps[None], gaps[None] - gaps[:, None]))  # [1 + methods, methods, trials]
        means.append(pairs.mean(axis=2))
        errors.append(pairs.std(axis=2, ddof=1) / root)
        quantiles.append(np.quantile(gaps, QUANTILES, axis=1))
    mean, error, quantile = (np.stack(values, axis=-1) for values in (means, errors, quantiles))
    return {
        name: Curve(
            mean=mean[0, i],
            standard_error=error[0, i],
            quantiles=quantile[:, i],
            differences={o: (mean[1 + j, i], error[1 + j, i]) for j, o in enumerate(METHODS) if j != i},
        )
        for i, name in enumerate(METHODS)
    }


def _gaps(settings: SimulationSettings, rule: _Rule) -> Iterator[FloatArray]:
    """The gap of every trial, [trials], after each epoch: the mean over peers of their distance to the truth."""
    students = starting_points(settings, 0)
    start = settings.dk_teacher if rule.decoupled else settings.pcl_teacher
    teachers = students if start == "copy" else starting_points(settings, 1)
    if rule.decoupled:
        for _ in range(settings.init_steps):
            teachers = teachers + settings.learning_rate * _towards(-teachers, settings.init_direction)
    for epoch in range(settings.epochs):
        ensemble = students.mean(axis=0)
        step = _towards(-students, settings.direction) + _towards(ensemble - students, settings.direction)
        step += _peer_teaching(settings, rule, students, teachers, epoch)
        students = students + settings.learning_rate * step
        keep = min(1 - 1 / (epoch + 1), settings.b) if settings.ema == "warmup" else settings.b
        teachers = keep * teachers + (1 - keep) * students
        reported = teachers if settings.gap == "teacher" else students
        yield np.abs(reported - settings.truth_offset).mean(axis=0)


def _peer_teaching(settings: SimulationSettings, rule: _Rule, students: Points, teachers: Points, epoch: int) -> Points:
    """Return what the teachers of the other peers add to each student's step: PM, and DKEL's decaying ensemble."""
    others = range(1, settings.peers)
    total: Points = np.zeros_like(students)
    for shift in others:
        total += _towards(np.roll(teachers, shift, axis=0) - students, settings.direction)
    if settings.peer_mean == "mean":
        total /= len(others)
    if not rule.decaying:
        return total
    weight = math.exp(-settings.alpha * epoch)
    midpoint = (teachers.sum(axis=0) - teachers) / len(others)
    if settings.ensemble == "convex":
        total *= 1 - weight
    return total + weight * _towards(midpoint - students, settings.direction)


def _towards(difference: Points, direction: Direction) -> Points:
    """Return the difference itself, or its unit vector; a point that has arrived stays."""
    if direction == "raw":
        return difference
    length = np.abs(difference)
    unit: Points = np.divide(difference, length, out=np.zeros_like(difference), where=length > 0)
    return unit


def starting_points(settings: SimulationSettings, stream: int) -> Points:
    """Return points from N(0, I); the first trials are the same however many there are."""
    draws = np.random.default_rng(key(settings.seed, "init", stream)).standard_normal(
        (settings.trials, settings.peers, 2)
    )
    return np.ascontiguousarray((draws[..., 0] + 1j * draws[..., 1]).T)


@dataclass(frozen=True)
class ClaimOutcome:
    """Whether one of `okdbench.config.CLAIMS`, the paper's statements about the figure, holds in a simulation.

    ``numbers`` are the quantities compared (epochs, or shares of a gap; None: not converged), ``finding`` says the same
    in words.
    """

    name: str
    holds: bool
    numbers: Mapping[str, float | None]
    finding: str

    @property
    def outcome(self) -> str:
        """``holds`` or ``does not hold``."""
        return "holds" if self.holds else "does not hold"


def claims(settings: SimulationSettings) -> list[ClaimOutcome]:
    """Simulate and compare with the paper's statements; see ``judge``."""
    return judge(simulate(settings))


def judge(curves: Mapping[str, Curve]) -> list[ClaimOutcome]:
    """Return the paper's statements about Figure 5 against the curves of ``simulate``, in the order of ``CLAIMS``."""
    arrival = {name: curve.convergence_epoch for name, curve in curves.items()}
    return [
        _lower_throughout(curves, "dk-better", "dk", ["pcl"], len(curves["dk"].mean)),
        _converges_near(arrival, "pcl-dk-near-70", ("pcl", "dk"), 70),
        _lower_throughout(curves, "dkel-faster", "dkel", ["pcl", "dk"], EARLY),
        _converges_near(arrival, "dkel-near-60", ("dkel",), 60),
        _converges_earlier(arrival),
        _smaller_final_gap(curves),
    ]


def _lower_throughout(
    curves: Mapping[str, Curve], name: str, method: str, others: Iterable[str], epochs: int
) -> ClaimOutcome:
    """Return whether a method is below all others at every one of the first epochs."""
    curve = curves[method]
    lower = np.all([curve.lower_than(other)[:epochs] for other in others], axis=0)
    count, changes = int(lower.sum()), {other: curve.final_change(other) for other in others}
    words = f"{method.upper()} is lower at {count} of {len(lower)} epochs"
    numbers = {"epochs_lower": count, "epochs": len(lower), **{f"last_against_{o}": c for o, c in changes.items()}}
    return ClaimOutcome(name, count == len(lower), numbers, f"{words}; {_last_gap(method, changes)}")


def _converges_near(arrival: Mapping[str, int | None], name: str, methods: Iterable[str], printed: int) -> ClaimOutcome:
    """Return whether the methods converge within ``NEAR`` epochs of a printed epoch."""
    epochs = {method: arrival[method] for method in methods}
    holds = all(epoch is not None and abs(epoch - printed) <= NEAR for epoch in epochs.values())
    return ClaimOutcome(name, holds, dict(epochs), _arrivals(epochs))


def _converges_earlier(arrival: Mapping[str, int | None]) -> ClaimOutcome:
    """Return whether DKEL converges at least ``NEAR`` epochs before the two others, where all three converge."""
    own, *others = (arrival[method] for method in ("dkel", "pcl", "dk"))
    holds = own is not None and all(other is not None and own + NEAR <= other for other in others)
    return ClaimOutcome("dkel-earlier", holds, dict(arrival), _arrivals(arrival))


def _smaller_final_gap(curves: Mapping[str, Curve]) -> ClaimOutcome:
    """Return whether DKEL's last gap is below both others'."""
    curve = curves["dkel"]
    changes = {other: curve.final_change(other) for other in curve.differences}
    holds = all(curve.lower_than(other)[-1] for other in changes)
    numbers = {f"last_against_{other}": change for other, change in changes.items()}
    return ClaimOutcome("dkel-smaller-gap", holds, numbers, _last_gap("dkel", changes))


def _last_gap(method: str, changes: Mapping[str, float]) -> str:
    parts = [
        f"{abs(c):.1%} {'lower' if c < 0 else 'higher'} than {o.upper()}'s"
        if abs(c) >= LEAD
        else f"within {LEAD:.1%} of {o.upper()}'s"
        for o, c in changes.items()
    ]
    return f"{method.upper()}'s last gap is {' and '.join(parts)}"


def _arrivals(epochs: Mapping[str, int | None]) -> str:
    parts = [f"{m.upper()} {'not converged' if e is None else f'at epoch {e}'}" for m, e in epochs.items()]
    return ", ".join(parts)
