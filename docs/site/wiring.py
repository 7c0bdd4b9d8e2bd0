"""Draws how a method is wired, by asking its code: parts are disturbed one by one, and what follows is the drawing.

Nothing about a method is written down here. A method is built with its default settings on a small network, in float64:

* a part *feeds* another if disturbing its weights changes what the other takes in;
* a part *teaches* another in a loss term if disturbing its weights changes the gradient of that term in the other's
  weights, though what it feeds is held as it was;
* a part is a *moving average* of another if disturbing the other changes what `Method.after_step` makes of it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from okdbench import methods, networks
from okdbench.methods import Batch, Build, Method, Progress
from okdbench.networks import Single
from okdbench.networks.base import Branch

CLASSES, IMAGES, SIDE, LATE, EPOCHS = 10, 4, 8, 150, 300
"""Ramp-ups have ended at epoch LATE; terms whose weight has decayed to nothing by then are counted at epoch 0."""
DISTURBANCE, CHANGED = 1e-2, 1e-9
Edges = set[tuple[str, str]]


def build(name: str) -> Method:
    """Return the method with the settings of its preset ``paper`` on ResNet-8, in float64, ready to train."""
    kind, architecture = methods.get(name), networks.get("resnet8")
    teacher = build("baseline") if kind.needs_teacher else None
    method = kind(Build([architecture], CLASSES, seed=0, teacher=teacher), methods.configure(name, {}))
    method = method.double().train()
    method.prepare(batch(method, number) for number in range(100, 200))
    return method


def batch(method: Method, number: int = 0) -> Batch:
    """Return a batch of noise."""
    generator = torch.Generator().manual_seed(number)
    noise = torch.randn(method.views, IMAGES, 3, SIDE, SIDE, generator=generator, dtype=torch.float64)
    return Batch(tuple(noise), torch.arange(IMAGES) // max(1, method.images_per_class))


def progress(method: Method) -> Progress:
    """Return the progress at which every term of the loss counts."""
    first, late = (method.schedule(epoch, EPOCHS) for epoch in (0, LATE))
    weights = {name: torch.tensor(max(first[name], late[name]), dtype=torch.float64) for name in first}
    number = torch.tensor(float(LATE), dtype=torch.float64)
    return Progress(number, number * 10, weights, torch.tensor(0.1, dtype=torch.float64))


def parts(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Return the trained or frozen parts by path: wirings and lists are taken apart, whatever else is one part."""
    for name, child in module.named_children():
        peers = [each for each in child.modules() if isinstance(each, (Single, Branch))]
        wired = isinstance(child, nn.ModuleList) or (peers and peers[0] is not child)
        if wired:
            yield from parts(child, f"{prefix}{name}.")
        elif any(True for _ in child.parameters()):
            yield f"{prefix}{name}", child


class Wiring:
    """What disturbing each part of a method changes.

    ``feeds``, ``averages`` and ``teaches`` (by loss term) are pairs of paths (from, to); ``own_terms`` are the terms
    that train a part and that no other part teaches it; ``heads`` are the heads that a part has a share in; the parts
    ``apart`` learn by a rule of their own.
    """

    def __init__(self, name: str) -> None:
        self.method = build(name)
        self.parts = dict(parts(self.method))
        grouped = {id(p) for group in self.method.parameter_groups() for p in group.parameters}
        self.trained = {p for p, part in self.parts.items() if any(id(w) in grouped for w in part.parameters())}
        self.apart = {
            p for p, part in self.parts.items() if p not in self.trained and next(part.parameters()).requires_grad
        }
        self._state = deepcopy(self.method.state_dict())
        self._cut, self._held = False, dict[str, Iterator[Any]]()
        self._inputs, self._outputs = defaultdict[str, list[Any]](list), defaultdict[str, list[Any]](list)
        for path, part in self.parts.items():
            part.register_forward_pre_hook(self._before(path), with_kwargs=True)
            part.register_forward_hook(self._after(path))
        self.heads, self.feeds, self.averages = self._flow()
        self.teaches, self.own_terms = self._teaching()
        self.feeds -= {(a, b) for a, b in self.feeds for c in self.parts if {(a, c), (c, b)} <= self.feeds}

    def _before(self, path: str) -> Callable[..., Any]:
        def remember(module: nn.Module, args: Any, kwargs: Any) -> Any:
            self._inputs[path].append((args, kwargs))
            return _detached((args, kwargs)) if self._cut else None

        return remember

    def _after(self, path: str) -> Callable[..., Any]:
        def replace(module: nn.Module, args: Any, output: Any) -> Any:
            self._outputs[path].append(output)
            return next(self._held[path]) if path in self._held else None

        return replace

    @contextmanager
    def _disturbed(self, path: str) -> Iterator[None]:
        """A context in which the weights of a part are a little different."""
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for weight in self.parts[path].parameters():
                weight.add_(torch.randn(weight.shape, generator=generator, dtype=torch.float64), alpha=DISTURBANCE)
        changed = deepcopy(self.method.state_dict())
        intact, self._state = self._state, changed
        yield
        self._state = intact
        self.method.load_state_dict(intact)

    def _run(self, act: Callable[[], Any]) -> Any:
        """Return the result of ``act``, with the method's state as it was before."""
        self._inputs.clear()
        self._outputs.clear()
        result = act()
        self.method.load_state_dict(self._state)
        return result

    def _gradients(self) -> dict[tuple[str, str], Tensor]:
        """Return the gradient of each term in the weights of each part that it trains."""
        terms = self.method.losses(batch(self.method), progress(self.method))
        weights = {path: list(self.parts[path].parameters()) for path in self.parts if path in self.trained}
        flat = [weight for each in weights.values() for weight in each]
        found = {}
        for term, value in terms.items():
            if not value.requires_grad:
                continue
            gradients = iter(torch.autograd.grad(value, flat, retain_graph=True, allow_unused=True))
            for path, each in weights.items():
                own = [gradient.flatten() for _, gradient in zip(each, gradients, strict=False) if gradient is not None]
                if own and (joined := torch.cat(own)).abs().max() > 0:
                    found[term, path] = joined
        return found

    def _averaged(self) -> dict[str, Tensor]:
        """Return the weights of the frozen parts after `Method.after_step`."""
        self.method.after_step(progress(self.method))
        frozen = {path: part for path, part in self.parts.items() if path not in self.trained | self.apart}
        return {path: torch.cat([w.detach().flatten() for w in part.parameters()]) for path, part in frozen.items()}

    def _predictions(self) -> dict[str, Tensor]:
        self.method.eval()
        with torch.no_grad():
            predicted = self.method.predict(batch(self.method, 1).views[0])
        self.method.train()
        return predicted

    def _taken(self) -> dict[str, list[Tensor]]:
        """Return what went into every part."""
        self.method.losses(batch(self.method), progress(self.method))
        return {path: _tensors(inputs) for path, inputs in self._inputs.items()}

    def _flow(self) -> tuple[dict[str, set[str]], Edges, Edges]:
        """Return the heads that each part has a share in, what feeds what, and what is the average of what."""
        heads, feeds, averages = {}, set(), set()
        acts = (self._predictions, self._taken, self._averaged)
        predicted, taken, averaged = (self._run(act) for act in acts)
        for source in self.parts:
            with self._disturbed(source):
                other_predicted, other_taken, other_averaged = (self._run(act) for act in acts)
            heads[source] = {head for head in predicted if _differ(predicted[head], other_predicted[head])}
            for path, inputs in taken.items():
                pairs = zip(inputs, other_taken[path], strict=True)
                if path != source and any(_differ(*pair) for pair in pairs):
                    feeds.add((source, path))
            averages |= {(source, p) for p in averaged if p != source and _differ(averaged[p], other_averaged[p])}
        return heads, feeds, averages

    def _teaching(self) -> tuple[dict[str, Edges], dict[str, list[str]]]:
        """Return who teaches whom in which term, and which terms train each part on its own.

        Only parts that a term trains directly are asked, not those that learn through parts that they feed; and what a
        source feeds is held as it was, so that an influence is the source's own.
        """
        self._cut = True
        direct = set(self._run(self._gradients))
        self._cut = False
        outputs = self._run(self._given)
        teaches: dict[str, Edges] = defaultdict(set)
        for source in self.parts:
            fed = [path for start, path in self.feeds if start == source]

            def gradients(held: tuple[str, ...] = tuple(fed)) -> dict[tuple[str, str], Tensor]:
                self._held = {path: iter(outputs[path]) for path in held}
                return self._gradients()

            before = self._run(gradients)
            with self._disturbed(source):
                after = self._run(gradients)
            self._held = {}
            for term, path in direct & set(before):
                changed = (term, path) not in after or _differ(before[term, path], after[term, path])
                through = (path, source) in self.feeds and (term, source) in direct  # ordinary back-propagation
                if path not in (source, *fed) and changed and not through:
                    teaches[term].add((source, path))
        own: dict[str, list[str]] = defaultdict(list)
        for path in self.parts:
            for term, learner in sorted(direct):
                if learner == path and path not in {taught for _, taught in teaches[term]}:
                    own[path].append(term)
        return {term: edges for term, edges in teaches.items() if edges}, dict(own)

    def _given(self) -> dict[str, list[Any]]:
        """Return what every part gives, call by call."""
        self.method.losses(batch(self.method), progress(self.method))
        return {path: _detached(each) for path, each in self._outputs.items()}

    def label(self, path: str) -> str:
        """Return what a part is called: the heads that it alone of its list gives, or its path."""
        stem, _, last = path.rpartition(".")
        if last.isdigit():
            siblings = [self.heads[p] for p in self.parts if p != path and p.rpartition(".")[0] == stem]
            own = self.heads[path].difference(*siblings)
            return ", ".join(head for head in self.method.heads() if head in own) or f"{stem.rpartition('.')[2]} {last}"
        return {"backbone": f"network {stem.rpartition('.')[2]}", "student": path.split(".")[0]}.get(last, last)

    def mermaid(self) -> str:
        """Return the drawing: parts with the terms that train them, arrows for data, teaching and averages."""
        ids = {path: f"n{number}" for number, path in enumerate(self.parts)}
        families: dict[str, list[str]] = defaultdict(list)
        for path in self.parts:
            families[path.split(".")[0]].append(path)
        lines = ["flowchart TB"]
        for family, members in families.items():
            nodes = [f'{ids[path]}["{self._text(path)}"]' for path in members]
            grouped = len(members) > 1 and len(families) > 1
            lines += [f'subgraph {family}_["{family}"]', *nodes, "end"] if grouped else nodes
        lines += [f"{ids[a]} --> {ids[b]}" for a, b in sorted(self.feeds)]
        lines += [f"{a} -. moving average .-> {b}" for a, b in self._averages(ids, families)]
        terms: dict[frozenset[tuple[str, str]], list[str]] = defaultdict(list)
        for term, edges in sorted(self.teaches.items()):
            terms[frozenset(edges)].append(term)
        for number, (edges, names) in enumerate(terms.items()):
            sources, learners = (sorted({edge[side] for edge in edges}) for side in (0, 1))
            missing = [sum((a, b) not in edges and a != b for a in sources) for b in learners]
            others = " of the others" if max(missing) else ""
            if max(missing) <= 1 and len(edges) > 2:
                lines.append(f'h{number}(["{", ".join(names)}{others}"])')
                lines += [f"{ids[a]} === h{number}" for a in sources if a not in learners]
                lines += [f"h{number} ==> {ids[b]}" for b in learners if b not in sources]
                lines += [f"{ids[a]} <==> h{number}" for a in sources if a in learners]
            else:
                lines += [f'{ids[a]} == "{", ".join(names)}" ==> {ids[b]}' for a, b in sorted(edges)]
        lines += [
            f"style {ids[path]} stroke-width:4px" for path in self.parts if self.method.deployed in self._own(path)
        ]
        return "\n".join(lines)

    def _averages(self, ids: dict[str, str], families: dict[str, list[str]]) -> list[tuple[str, str]]:
        """Return what is averaged into what; one pair where a whole family is."""
        whole: dict[tuple[str, str], int] = defaultdict(int)
        for a, b in self.averages:
            whole[a.split(".")[0], b.split(".")[0]] += 1
        pairs = [(a, b) for (a, b), count in whole.items() if 1 < count == len(families[a]) == len(families[b])]
        single = [(a, b) for a, b in sorted(self.averages) if (a.split(".")[0], b.split(".")[0]) not in pairs]
        return [*((f"{a}_", f"{b}_") for a, b in pairs), *((ids[a], ids[b]) for a, b in single)]

    def _own(self, path: str) -> list[str]:
        return self.label(path).split(", ")

    def _text(self, path: str) -> str:
        if path in self.apart:
            note = "learns by meta steps"
        elif path in self.trained:
            note = ", ".join(self.own_terms.get(path, []))
        else:
            averaged = any(path == average for _, average in self.averages)
            note = "" if averaged else "trained before, frozen"
        return f"<b>{self.label(path)}</b>" + (f"<br>{note}" if note else "")


def _tensors(value: Any) -> list[Tensor]:
    return [leaf.detach().clone() for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]


def _detached(value: Any) -> Any:
    return tree_map(lambda leaf: leaf.detach() if isinstance(leaf, Tensor) else leaf, value)


def _differ(one: Tensor, other: Tensor) -> bool:
    scale = max(one.abs().max().item(), other.abs().max().item())
    return one.shape != other.shape or (one - other).abs().max().item() > CHANGED * scale


if __name__ == "__main__":
    import sys
    import time

    torch.set_num_threads(1)

    for name in sys.argv[1:] or methods.available():
        start = time.perf_counter()
        wiring = Wiring(name)
        print("==", name, f"{time.perf_counter() - start:.1f} s")
        for path in wiring.parts:
            print("  ", path, "|", wiring.label(path), "|", wiring.own_terms.get(path), path in wiring.apart)
        print("  feeds", sorted(wiring.feeds))
        print("  averages", sorted(wiring.averages))
        print(wiring.mermaid())
