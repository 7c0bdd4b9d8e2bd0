"""Golden names of what MCL and L-MCL add to networks."""

from golden.maps import Tensors
from torch import nn

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
