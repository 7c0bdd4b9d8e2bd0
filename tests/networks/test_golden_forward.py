"""Forward values with formula-filled weights, against the authors' code: eval, train, and eval with what train left."""

import numpy as np
import pytest
import torch
from golden.checker import close, execution_order, fill, fill_layer, images, load
from golden.students import ENTRIES, Student, identifier, single
from torch import nn

from okdbench import networks
from okdbench.networks import Branched

CASES = ["resnet32-10", "resnet110-10", "vgg16-10", "densenet40-12-10", "densenet40-12-nofinalbn-10", "wrn20-8-10"]
CASES += ["tiny-resnet18-200"]
ALL = [*CASES, pytest.param("tiny-resnet34-200", marks=pytest.mark.slow)]


def views(entry: str) -> list[torch.Tensor]:
    return [images(4, ENTRIES[entry]["input_size"], view) for view in range(3)]


def check(got: torch.Tensor, golden: dict, key: str) -> None:
    assert close(got, golden[key]), key


@torch.no_grad()
@pytest.mark.parametrize("entry", ALL)
def test_three_branch_student(entry: str) -> None:
    golden, student = load(f"forward/{entry}.npz"), Student(*identifier(entry)).double()
    inputs, maps = views(entry), []
    layers = fill(student, inputs)
    assert len(layers) == ENTRIES[entry]["num_filled_layers"]["total"]
    trunk = student.branched.trunk
    [trunk.stem, *trunk.stages][-1].register_forward_hook(lambda *call: maps.append(call[2]))
    for tag, train in (("eval", False), ("train", True), ("eval_after_train", False)):
        maps.clear()
        traces, ensemble = student.train(train)(inputs)
        check(torch.stack([trace.logits for trace in traces]), golden, f"logits_{tag}")
        check(ensemble, golden, f"logits_en_{tag}")
        assert len(maps) == 3
        check(maps[0].mean(), golden, f"stem_mean_{tag}")
        check(maps[0].std(unbiased=False), golden, f"stem_std_{tag}")
        if tag == "eval_after_train":
            break
        check(maps[0].flatten()[:16], golden, f"stem_first16_{tag}")
        features = torch.stack([trace.features for trace in traces]).flatten(1)
        check(features[:, :16], golden, f"feat_first16_{tag}")
        check(features.mean(1), golden, f"feat_mean_{tag}")
        check(features.std(1, unbiased=False), golden, f"feat_std_{tag}")
        if train:
            check_running_statistics(layers, golden)


def check_running_statistics(layers: list[nn.Module], golden: dict) -> None:
    norms = [layer for layer in layers if isinstance(layer, nn.BatchNorm2d)]
    chosen = [norms[index] for index in golden["bn_after_train_index"]]
    check(torch.stack([norm.running_mean[:8] for norm in chosen]), golden, "bn_after_train_mean_first8")
    check(torch.stack([norm.running_var[:8] for norm in chosen]), golden, "bn_after_train_var_first8")


@torch.no_grad()
@pytest.mark.parametrize("entry", ALL)
def test_single_network_is_the_first_branch(entry: str) -> None:
    golden, network = load(f"forward/{entry}.npz"), single(*identifier(entry)).double()
    view = views(entry)[0]
    fill(network, view)
    assert close(network.eval()(view), golden["logits_eval"][0])
    assert close(network.train()(view), golden["logits_train"][0])


@torch.no_grad()
@pytest.mark.parametrize("method", ["okddip", "one"])
def test_branches_that_share_a_view(method: str) -> None:
    golden = load(f"forward/{method}-resnet32-10.npz")
    network = Branched([networks.get("resnet32").build(10) for _ in range(int(golden["num_branches"]))]).double()
    view = [images(4, 32, 0)]
    fill(network, view)
    for tag, train in (("eval", False), ("train", True), ("eval_after_train", False)):
        logits = torch.stack([trace.logits for trace in network.train(train)(view)])
        leader = [golden[f"leader_logits_{tag}"][None]] if method == "okddip" else []
        assert close(logits, np.concatenate([golden[f"logits_{tag}"], *leader])), tag


@pytest.mark.parametrize("entry", CASES[:1])
def test_a_wrong_network_is_noticed(entry: str) -> None:
    golden, network = load(f"forward/{entry}.npz"), single(*identifier(entry)).double().eval()
    view = views(entry)[0]
    order = execution_order(network, view)
    for k, layer in enumerate(reversed(order)):
        fill_layer(layer, k)
    assert not close(network(view), golden["logits_eval"][0])


def test_fill_formula() -> None:
    golden = load("fill_formula.npz")
    conv, norm, linear = nn.Conv2d(3, 16, 3, bias=False), nn.BatchNorm2d(16), nn.Linear(64, 10)
    for k, layer in enumerate((conv.double(), norm.double(), linear.double())):
        fill_layer(layer, k)
    for view in (0, 2, 8):
        assert close(images(4, 32, view)[1, 2, 5, :8], golden[f"image_view{view}"], 1e-14)
    assert close(conv.weight.flatten()[:16], golden["conv_k0"], 1e-14)
    assert close(norm.weight, golden["bn_weight_k1"], 1e-14)
    assert close(norm.bias, golden["bn_bias_k1"], 1e-14)
    assert close(linear.weight.flatten()[:16], golden["linear_weight_k2"], 1e-14)
    assert close(linear.bias, golden["linear_bias_k2"], 1e-14)
