"""The modules of FFL, FFSD and DCCL against the numbers computed with the authors' code (float64)."""

import pytest
import torch
from golden import maps
from golden.maps import Tensors, architecture, check, check_all, dccl_tensors, fill, method, only
from torch import Tensor

from okdbench.methods.ffsd import diversity, module_losses, self_distillation, shift, shifted
from okdbench.methods.parts.fusion import FusionModule, MapShape, SelfDistillation, attention, attention_loss
from okdbench.methods.parts.fusion import separable_block as transfusion_head
from okdbench.methods.parts.losses import distillation


def run_fusion(module: FusionModule, golden: maps.Golden) -> tuple[Tensors, Tensor, Tensor]:
    names = [name for name in ("x", "x1", "x2") if f"in_{name}" in golden]
    inputs = {name: torch.from_numpy(golden[f"in_{name}"]).requires_grad_() for name in names}
    fused = module([*inputs.values()])
    return inputs, fused.logits, fused.map


@pytest.mark.parametrize("case", ["ffl_1", "dccl_1_vgg", "ffsd_1"])
def test_fusion_module(case: str) -> None:
    golden = maps.golden(f"modules/fusion_module_{case}.npz")
    module = FusionModule(golden["out_fused_feature"].shape[1], 2, golden["out_logits"].shape[1]).double()
    tensors = maps.fusion(module)
    fill(tensors, golden, "w_")
    inputs, logits, map = run_fusion(module, golden)
    check(logits, golden, "out_logits")
    check(map, golden, "out_fused_feature")
    scalar = (logits * torch.from_numpy(golden["cotangent_logits"])).sum()
    if "cotangent_fused_feature" in golden:
        scalar = scalar + (map * torch.from_numpy(golden["cotangent_fused_feature"])).sum()
    scalar.backward()
    assert check_all(inputs, only(golden, "grad_x"), "grad_", gradients=True) == len(inputs)
    assert check_all(tensors, golden, "grad_w_", gradients=True) == 8
    assert check_all(tensors, golden, "after_") == 4
    fill(tensors, golden, "w_")
    _, logits, map = run_fusion(module.eval(), golden)
    check(logits, golden, "out_eval_logits")
    check(map, golden, "out_eval_fused_feature")


def test_transfusion_head() -> None:
    golden = maps.golden("modules/ffsd_transfusion_1.npz")
    channels = golden["in_x"].shape[1]
    module = transfusion_head(channels, 2 * channels).double()
    tensors = maps.separable(module)
    fill(tensors, golden, "w_")
    x = torch.from_numpy(golden["in_x"]).requires_grad_()
    out = module(x)
    check(out, golden, "out")
    (out * torch.from_numpy(golden["cotangent_out"])).sum().backward()
    check(x.grad, golden, "grad_x")
    assert check_all(tensors, golden, "grad_w_", gradients=True) == 6
    assert check_all(tensors, golden, "after_") == 4
    fill(tensors, golden, "w_")
    check(module.eval()(x), golden, "out_eval")


@pytest.mark.parametrize("case", [1, 2])
def test_attention_of_ffsd(case: int) -> None:
    golden = maps.golden(f"modules/ffsd_attention_{case}.npz")
    current, previous = (torch.from_numpy(golden[f"in_{name}"]).requires_grad_() for name in ("current", "previous"))
    check(attention(current), golden, "out_attention_current")
    check(attention(previous), golden, "out_attention_previous")
    moved = shift(previous)
    check(moved.length, golden, "out_div_norm_r")
    check(moved.length, golden, "out_shift_r")
    check(moved.target, golden, "out_div_target_g")
    check(moved.target, golden, "out_shift_g")
    third = moved.attention.shape[1] // 3
    threshold = moved.attention.sort(dim=1).values[:, third - 1 : third]
    check(threshold, golden, "out_div_threshold")
    check(threshold, golden, "out_shift_threshold")
    check(shifted(previous), golden, "out_shiftmap_previous")
    losses = {
        "div": diversity(current, previous.detach()),
        "al_attention": attention_loss(attention(current), attention(previous)),
        "al_whole": attention_loss(current, previous),
    }
    for name, loss in losses.items():
        check(loss, golden, f"out_{name}")
        current.grad = previous.grad = None
        loss.backward()
        inputs = {"current": current, "previous": previous}
        assert check_all(inputs, golden, f"grad_{name}_", gradients=True) == 2


@pytest.mark.parametrize("case", [1, 2])
def test_self_distillation_module(case: int) -> None:
    golden = maps.golden(f"modules/ffsd_self_distillation_{case}.npz")
    names = [f"map_{level}" for level in (1, 2, 3, 4) if f"in_map_{level}" in golden]
    inputs = {name: torch.from_numpy(golden[f"in_{name}"]).requires_grad_() for name in names}
    own, other = [*inputs.values()], torch.from_numpy(golden["in_other_deep"])
    module = SelfDistillation([MapShape(map.shape[1], map.shape[2]) for map in own]).double()
    tensors = maps.distiller(module)
    fill(tensors, golden, "w_")
    pseudo = module(other, frozen=True)
    check_all(dict(zip(names, pseudo, strict=False)), golden, "out_eval_pseudo_")
    loss = self_distillation(module, own, other)
    check(loss, golden, "out_eval_sd_loss")
    check(self_distillation(module, own, own[-1]), golden, "out_eval_sd_loss_own")
    loss.backward()
    assert check_all(inputs, golden, "grad_eval_sd_loss_", gradients=True) == len(names)
    assert all(p.grad is None for p in module.parameters())
    check_all(dict(zip(names, module(own[-1].detach()), strict=False)), golden, "out_train_pseudo_")

    fill(tensors, golden, "w_")
    for map in own:
        map.grad = None
    whole, attentions = module_losses(module, own)
    m = method("ffsd", architecture([(4, 2, 4, 4), (4, 2, 2, 2)]), 10)
    weight = m.schedule(golden["meta"]["epoch"] - 1, 300)["sd"]
    assert weight == pytest.approx(float(golden["out_lambda_sd"]), rel=1e-12)
    check(weight * whole, golden, "out_train_feature_loss")
    check(weight * attentions, golden, "out_train_attention_loss")
    (weight * (whole + attentions)).backward()
    assert check_all(inputs, only(golden, "grad_train_map"), "grad_train_", gradients=True) == len(names)
    assert check_all(tensors, golden, "grad_train_w_", gradients=True) == 3 * len(module.steps)
    assert check_all(tensors, only(golden, "after_layer"), "after_") == 2 * len(module.steps)
    torch.optim.Adam(module.parameters(), lr=1e-3, weight_decay=1e-4).step()
    assert check_all(tensors, golden, "after_adam_") == 3 * len(module.steps)


@pytest.mark.parametrize(("case", "raw"), [("1_resnet", False), ("2_wrn", True)])
def test_projections(case: str, raw: bool) -> None:
    golden = maps.golden(f"modules/dccl_projection_{case}.npz")
    network = architecture([golden[f"in_net1_stage{stage}"].shape for stage in (1, 2, 3)], neck=raw)
    m = method("dccl@released", network, golden["out_z1"].shape[1])
    tensors = dccl_tensors(m, shared=False)
    fill(tensors, golden, "w_", "in_")
    traces = m.network([torch.zeros(4, 3, 2, 2, dtype=torch.float64)])
    integrated = m.integrate(traces)
    flat = {f"net{k}_G{t}": map[k - 1].flatten(1) for t, map in enumerate(integrated, 1) for k in (1, 2)}
    assert check_all(flat, only(golden, "out_net"), "out_") == 6
    for k, trace in enumerate(traces, 1):
        check(trace.logits, golden, f"out_z{k}")
        check(trace.final, golden, f"out_last_map{k}")
    scalar = sum((flat[name] * torch.from_numpy(golden[f"cotangent_{name}"])).sum() for name in flat)
    scalar.backward(retain_graph=True)
    assert check_all(tensors, only(golden, "grad_net"), "grad_", gradients=True) == 6
    assert check_all(tensors, golden, "grad_w_", gradients=True) == 6 * (5 if raw else 3)
    assert check_all(tensors, golden, "after_") == 6 * (4 if raw else 2)

    m.zero_grad()
    logits = torch.stack([trace.logits for trace in traces])
    terms = m.terms(logits, m.fuse(traces).logits, integrated, torch.zeros(len(logits[0]), dtype=torch.long))
    check(terms["features"].flatten(), golden, "out_feature_kl_terms")
    check(terms["features"].sum(), golden, "out_feature_loss")
    terms["features"].sum().backward()
    assert check_all(tensors, golden, "grad_feature_loss_", gradients=True) == 6


@pytest.mark.parametrize("classes", [1, 2])
def test_divergences(classes: int) -> None:
    for path, temperature, epsilon in ((f"kl_ffl_dccl_{classes}", 3, 1e-7), ("kl_ffsd_1", 2, 0.0)):
        golden = maps.golden(f"modules/{path}.npz")
        student, teacher = (torch.from_numpy(golden[f"in_{who}"]).requires_grad_() for who in ("student", "teacher"))
        loss = distillation(student, teacher.detach(), temperature, epsilon=epsilon)
        check(loss, golden, "out_loss")
        loss.backward()
        assert check_all({"student": student, "teacher": teacher}, golden, "grad_", gradients=True) == 2
