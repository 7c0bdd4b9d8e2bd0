"""Golden cases of MCL and L-MCL with memory banks: given slots, banks that start as given, golden names."""

import json
from typing import Any

import torch
from golden.checker import load
from golden.maps import Golden, Tensors, architecture, check
from torch import Tensor

from okdbench.methods import Build, Method, configure, get
from okdbench.methods.l_mcl import LMCL
from okdbench.methods.mcl import MCL

FOLDER = "mcl_imagenet"
TERMS = ("vcl", "icl", "soft_vcl", "soft_icl")


def case(name: str) -> Golden:
    found: Golden = load(f"{name}.npz", FOLDER)
    return {**found, "meta": json.loads(str(found["meta"]))}


def tensor(found: Golden, key: str, *, grad: bool = False) -> Tensor:
    return torch.from_numpy(found[key]).requires_grad_(grad)


def banked(label: str, found: Golden, width: int, **settings: Any) -> Any:
    """The method in float64, with the banks of the case; contrast as on ImageNet, with 1 positive."""
    meta = found["meta"]
    network = architecture([(1, 1, 1, 1)] * 3 + [(1, width, 1, 1)])
    given = {"bank": True, "tau": 0.07, "embedding": meta["D"], "images_per_class": 0, **settings}
    kind = get(label.partition("@")[0])
    m: Method = kind(Build([network], meta["classes"], seed=0), configure(label, given)).double()
    assert isinstance(m, MCL | LMCL)
    m.remember(torch.arange(meta["n_data"]) % meta["classes"])
    for number, rows in enumerate(m.bank.rows):
        rows.copy_(
            tensor(found, f"in_bank{number}_before" if f"in_bank{number}_before" in found else f"in_bank{number}")
        )
    return m


def slots(found: Golden, before: str = "in_") -> Tensor:
    return torch.cat([tensor(found, f"{before}pos_idx"), tensor(found, f"{before}neg_idx")], dim=1)


def check_banks(m: Any, found: Golden, after: str) -> None:
    for number, rows in enumerate(m.bank.rows):
        check(rows, found, f"out_bank{number}_{after}")


def drop_gradients(tensors: Tensors) -> None:
    for each in tensors.values():
        each.grad = None
