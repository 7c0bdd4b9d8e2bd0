"""Golden names of what MCL and L-MCL add to networks, and what happens within an episode of L-MCL."""

from collections.abc import Callable
from typing import Any

import pytest
from golden.maps import Tensors
from torch import Tensor, nn

from okdbench.methods import l_mcl
from okdbench.methods.l_mcl import LMCL, WeightNetwork


def mlp(prefix: str, layers: nn.Sequential) -> Tensors:
    """Golden names of two linear layers with a ReLU between."""
    return {
        f"{prefix}.{number}.{kind}": getattr(layers[number], kind) for number in (0, 2) for kind in ("weight", "bias")
    }


def embedding_heads(m: LMCL) -> Tensors:
    heads = [(n, j, head) for n, each in enumerate(m.embeddings) for j, head in enumerate(each.layers)]
    found = [mlp(f"embed_list.{n}.{j}.proj_head", head.layers) for n, j, head in heads]
    return {name: tensor for each in found for name, tensor in each.items()}


def aggregators(m: LMCL) -> Tensors:
    found = [mlp(f"proj_head_{n}", each.layers) for n, each in enumerate(m.aggregators)]
    return {name: tensor for each in found for name, tensor in each.items()}


def weight_network(module: WeightNetwork) -> Tensors:
    """Golden names of its parameters."""
    layers = [(n, j, layer) for n, each in enumerate(module.projections) for j, layer in enumerate(each.layers)]
    return {f"proj.{n}.{j}.{kind}": getattr(layer, kind) for n, j, layer in layers for kind in ("weight", "bias")}


def watched_episode(
    monkeypatch: pytest.MonkeyPatch, m: LMCL, state: Callable[[], Any]
) -> tuple[list[tuple[Any, Tensor]], list[Tensor]]:
    """Lists that a meta step fills: ``state()`` before every loss, with its value; the hypergradient applied."""
    seen: list[tuple[Any, Tensor]] = []
    stepped: list[Tensor] = []

    def watched(loss: Callable[..., Any]) -> Callable[..., Any]:
        def watch(*arguments: Any) -> Any:
            before, value = state(), loss(*arguments)
            seen.append((before, sum(value.values()) if isinstance(value, dict) else value))
            return value

        return watch

    take = WeightNetwork.step
    monkeypatch.setattr(l_mcl, "cross_entropy_of_exits", watched(l_mcl.cross_entropy_of_exits))
    monkeypatch.setattr(m, "contrastive", watched(m.contrastive))
    monkeypatch.setattr(
        WeightNetwork, "step", lambda self, given, *rest: (stepped.extend(given), take(self, given, *rest))
    )
    return seen, stepped
