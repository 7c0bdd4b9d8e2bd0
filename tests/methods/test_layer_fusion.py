"""Layer fusion, a reconstruction: that it is marked as one, its relation to FFL, and its settings."""

import pytest
import torch
from golden.maps import architecture
from methods.build import batch, method, progress

from okdbench.methods import Batch, Build, configure, get
from okdbench.methods.layer_fusion import AttendingFusion
from okdbench.methods.parts.fusion import FusionModule, attention, attention_loss, stage_maps
from okdbench.methods.parts.losses import distillation


def losses(m, epoch: int = 100) -> dict[str, torch.Tensor]:
    return m.losses(batch(), progress(m, epoch=epoch))


def test_its_name_says_what_it_is() -> None:
    assert get("layer-fusion").title.endswith("(reconstruction)")


def test_with_one_stage_it_is_ffl_without_sharing() -> None:
    network = architecture([(8, 6, 4, 4)])
    values = torch.rand(2, 8, 6, 4, 4, generator=torch.Generator().manual_seed(0))
    found = []
    for name, settings in (("layer-fusion", {"beta": 0.0}), ("ffl", {"sharing": "networks", "epsilon": 1e-7})):
        m = get(name)(Build([network], 10, seed=0), configure(name, settings)).train()
        with torch.no_grad():
            for single, map in zip(m.network.networks, values, strict=True):
                single.branch.stages[0].value.copy_(map)
        terms = m.losses(Batch((torch.zeros(8, 3, 2, 2),), batch().labels), progress(m, epoch=40))
        sum(terms.values()).backward()
        found.append((terms, [p.grad for p in m.parameters()]))
    (layer_fusion, gradients), (ffl, wanted) = found
    assert layer_fusion.keys() == ffl.keys()
    assert all(torch.equal(term, ffl[name]) for name, term in layer_fusion.items())
    assert all(torch.equal(got, want) for got, want in zip(gradients, wanted, strict=True))


def test_every_stage_has_a_module_that_learns() -> None:
    m = method("layer-fusion")
    assert [module.classifier.in_features for module in m.fusions] == [16, 32, 64]
    losses(m)["ce_fused"].backward()
    assert all(module.mix[0].weight.grad.abs().max() > 0 for module in m.fusions)
    assert all(p.grad is not None for p in m.network.networks[0].trunk.parameters()), "teachers train the networks"


@pytest.mark.parametrize(
    ("auxiliary", "terms"),
    [("logits", {"kl_auxiliary"}), ("attention", {"attention"}), ("both", {"kl_auxiliary", "attention"})],
)
def test_what_auxiliary_teachers_teach(auxiliary: str, terms: set[str]) -> None:
    m = method("layer-fusion", auxiliary=auxiliary)
    assert losses(m).keys() == {"ce", "ce_fused", "kl", "kl_fused"} | terms


def test_students_learn_from_auxiliary_teachers_and_not_the_reverse() -> None:
    m = method("layer-fusion")
    for name in ("kl_auxiliary", "attention", "kl"):
        m.zero_grad()
        losses(m)[name].backward()
        assert all(p.grad is None for p in m.fusions.parameters())
        assert m.network.networks[0].trunk.stem[0].weight.grad.abs().max() > 0


def test_the_auxiliary_teachers_terms_by_hand() -> None:
    m, view = method("layer-fusion").double(), batch().views[0].double()
    traces = m.network([view])
    maps = [stage_maps(trace) for trace in traces]
    logits = torch.stack([trace.logits for trace in traces])
    fused = m.fuse(maps)
    terms = m.terms(logits, maps, fused, batch().labels)
    for k in range(2):
        low, high = (distillation(logits[k], fused[stage].logits, 3.0, epsilon=1e-7) for stage in (0, 1))
        assert torch.allclose(terms["kl_auxiliary"][k], (low + high) / 2)
        low, high = (attention_loss(attention(maps[k][stage]), attention(fused[stage].map)) for stage in (0, 1))
        assert torch.allclose(terms["attention"][k], low + high)
        assert torch.allclose(terms["kl"][k], distillation(logits[k], fused[2].logits, 3.0, epsilon=1e-7))
    assert terms["ce_fused"].shape == (3,)


def test_weights() -> None:
    def value(name: str, **settings: float) -> float:
        return losses(method("layer-fusion", **settings), epoch=40)[name].item()

    assert value("attention", beta=1000.0) == pytest.approx(100 * value("attention"))
    assert value("attention", beta=0.0) == 0
    assert value("kl_auxiliary", auxiliary_weight=0.5) == pytest.approx(value("kl_auxiliary") / 2)
    m = method("layer-fusion")
    assert losses(m, epoch=0)["attention"].item() == pytest.approx(value("attention")), "no ramp-up"
    assert losses(m, epoch=0)["kl"].item() < 0.1 * value("kl")


def test_detached_modules_leave_the_networks_alone() -> None:
    m = method("layer-fusion", detach_fusion=True)
    losses(m)["ce_fused"].backward()
    assert all(p.grad is None for p in m.network.parameters())
    assert all(p.grad is not None for module in m.fusions for p in module.mix.parameters())


def test_spatial_attention_weighs_positions_by_1_on_average_and_in_the_middle_only() -> None:
    m, plain = method("layer-fusion", spatial_attention=True), method("layer-fusion")
    assert [type(module) for module in m.fusions] == [AttendingFusion, AttendingFusion, FusionModule]
    maps = [torch.rand(4, 16, 8, 8, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    got, without = m.fusions[0](maps), plain.fusions[0](maps)
    weights = attention(without.map) / attention(without.map).mean(dim=(2, 3), keepdim=True)
    assert torch.allclose(weights.mean(dim=(2, 3)), torch.ones(4, 1))
    assert torch.allclose(got.map, without.map * weights, atol=1e-5)
    assert torch.allclose(got.logits, m.fusions[0].classifier(got.map.mean(dim=(2, 3))), atol=1e-5)
    assert m.fusions[0](2 * [torch.zeros(4, 16, 8, 8)]).logits.isfinite().all()


def test_heads() -> None:
    m = method("layer-fusion").eval()
    predictions = m.predict(batch().views[0])
    assert m.heads() == ("peer0", "peer1", "fused", "ensemble")
    assert torch.allclose(predictions["ensemble"], (predictions["peer0"] + predictions["peer1"]) / 2)
