"""MCL: the terms as loops over images, what is constant, who is taught, and how its networks are made."""

import math
from itertools import permutations

import pytest
import torch
from golden.checker import load
from methods.build import batch, method, progress
from torch import Tensor
from torch.nn.functional import normalize

from okdbench import networks
from okdbench.methods import Batch, Build, configure, get
from okdbench.methods.parts.contrastive import Contrast, ContrastiveConfig, contrast
from okdbench.networks.base import count_parameters
from okdbench.networks.counting import weightless

LABELS = torch.tensor([0, 0, 1, 1, 2, 2, 1])
SETTINGS = [
    {},
    {"tau": 0.5, "temperature": 1.0},
    {"diagonal": "masked"},
    {"icl_same_image": "positive"},
]


def unit_rows(peers: int, count: int = len(LABELS), width: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(peers)
    return normalize(torch.randn(peers, count, width, dtype=torch.float64, generator=generator), dim=-1)


def summed(rows: Contrast) -> dict[str, float]:
    """MCL's totals: over the peers, and over ordered pairs of different peers."""
    peers = len(rows.vcl)
    pairs = 1 - torch.eye(peers, dtype=torch.float64)[..., None]
    return {name: float(term) for name, term in rows.total(torch.ones(peers, 1), pairs)._asdict().items()}


def hard(a: Tensor, b: Tensor, config: ContrastiveConfig, same_image: bool) -> float:
    """Image by image."""
    total = 0.0
    for i in range(len(a)):
        others = [j for j in range(len(b)) if j != i or same_image]
        score = {j: float(a[i] @ b[j]) / config.tau for j in others}
        positives = [j for j in others if LABELS[j] == LABELS[i]]
        total -= sum(score[p] - math.log(sum(map(math.exp, score.values()))) for p in positives) / len(positives)
    return total / len(a)


def soft(a: Tensor, b: Tensor, c: Tensor, d: Tensor, config: ContrastiveConfig) -> float:
    """S^{ab} learns from S^{cd}."""
    total = 0.0
    for i in range(len(a)):
        columns = [j for j in range(len(a)) if j != i or config.diagonal == "in"]
        student, target = (
            torch.stack([x[i] @ y[j] for j in columns]) / config.tau / config.temperature for x, y in ((a, b), (c, d))
        )
        p, q = student.softmax(0), target.softmax(0)
        total += float((q * (q / p).log()).sum())
    return config.temperature**2 * total / len(a)


@pytest.mark.parametrize("peers", [2, 4])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_terms_are_sums_over_images_and_ordered_pairs(peers: int, settings: dict) -> None:
    z, config = unit_rows(peers), ContrastiveConfig(**settings)
    pairs = list(permutations(range(peers), 2))
    same_image = config.icl_same_image == "positive"
    expected = {
        "vcl": sum(hard(z[m], z[m], config, False) for m in range(peers)),
        "icl": sum(hard(z[m], z[n], config, same_image) for m, n in pairs),
        "soft_vcl": sum(soft(z[m], z[m], z[n], z[n], config) for m, n in pairs),
        "soft_icl": sum(soft(z[m], z[n], z[n], z[m], config) for m, n in pairs),
    }
    assert summed(contrast(z, LABELS, config)) == pytest.approx(expected, rel=1e-12)


def test_targets_of_soft_terms_are_constant() -> None:
    z = unit_rows(2).requires_grad_()
    rows = contrast(z, LABELS, ContrastiveConfig())
    rows.soft_vcl[0, 1].sum().backward(retain_graph=True)  # peer 0 mimics peer 1
    assert z.grad[0].abs().max() > 0
    assert z.grad[1].abs().max() == 0
    z.grad = None
    rows.soft_icl[0, 1].sum().backward()
    assert (z.grad.abs().amax(dim=(1, 2)) > 0).all()  # S^{01} is made of both


@pytest.mark.parametrize("same_image", ["exclude", "positive"])
def test_an_anchor_alone_in_its_class_adds_nothing(same_image: str) -> None:
    z = unit_rows(2, 4).requires_grad_()
    rows = contrast(z, torch.tensor([0, 0, 1, 2]), ContrastiveConfig(icl_same_image=same_image))
    alone = rows.icl[0, 1, 2:] if same_image == "exclude" else rows.vcl[:, 2:]
    assert (alone == 0).all()
    assert (rows.icl[0, 1, 2:] == 0).all() == (same_image == "exclude")
    (rows.vcl.sum() + rows.icl.sum()).backward()
    assert z.grad.isfinite().all()


def test_a_batch_of_one_image_is_harmless() -> None:
    z = unit_rows(2, 1).float().requires_grad_()
    for diagonal in ("in", "masked"):
        rows = contrast(z, torch.tensor([3]), ContrastiveConfig(diagonal=diagonal))
        sum(row.sum() for row in rows).backward()
        assert all(row.isfinite().all() for row in rows)
    assert z.grad.isfinite().all()


def test_equal_embeddings_of_a_large_batch_stay_finite_in_single_precision() -> None:
    z = torch.ones(2, 256, 1).requires_grad_()
    rows = contrast(z, torch.arange(128).repeat_interleave(2), ContrastiveConfig(tau=0.005))
    assert all(row.isfinite().all() for row in rows)
    # The sum of exponentials itself would be infinite.
    assert rows.vcl[0, 0].detach() == pytest.approx(math.log(255), rel=1e-4)


@pytest.mark.parametrize(("taught", "students"), [("off", []), ("all", [0, 1, 2]), ("last", [2])])
def test_who_learns_from_the_mean_of_the_logits(taught: str, students: list[int]) -> None:
    m = method("mcl@ce", peers=3, logit_kd=taught)
    logits = torch.randn(3, 8, 10, generator=torch.Generator().manual_seed(0)).requires_grad_()
    terms = m.terms([], logits, batch().labels)
    assert ("kd" in terms) == bool(students)
    if students:
        terms["kd"].backward()
        assert logits.grad.abs().amax(dim=(1, 2)).nonzero().flatten().tolist() == students


def test_a_term_of_weight_zero_is_left_out() -> None:
    assert set(method("mcl", alpha=0.0, lam=0.0).losses(batch(), progress(method("mcl")))) == {"ce", "icl", "soft_vcl"}
    control = method("mcl@ce")
    assert not control.embeddings
    assert control.images_per_class == 2
    assert set(control.losses(batch(), progress(control))) == {"ce"}


def test_structure_does_not_follow_from_the_number_of_peers() -> None:
    images = batch().views[0]
    for peers in (2, 4):
        separate, branched = (method("mcl", peers=peers, structure=s) for s in ("independent", "branched"))
        assert len(separate.network.networks) == len(branched.network.branches) == peers
        assert [len(branch.stages) for branch in branched.network.branches] == [2] * peers
        predictions = branched.eval().predict(images)
        assert list(predictions) == [*(f"peer{i}" for i in range(peers)), "ensemble"]
        mean = torch.stack(list(predictions.values())[:-1]).mean(dim=0)
        assert torch.allclose(predictions["ensemble"], mean)
    assert method("mcl@x4").config == method("mcl", peers=4, structure="branched").config


def test_branches_share_the_trunk_and_classifiers_start_apart() -> None:
    network = method("mcl@x4", "tiny_resnet18").network
    assert (len(network.trunk.stages), len(network.branches[0].stages)) == (2, 2)  # of four stages, as on ImageNet
    first, second, *_ = (branch.head.classifier.weight for branch in network.branches)
    assert not torch.equal(first, second)


def test_networks_may_differ_and_branches_may_not() -> None:
    pair = [networks.get("resnet8"), networks.get("resnet110_bottleneck")]
    with weightless():
        m = get("mcl")(Build(pair, 10, seed=0), configure("mcl", {}))
    assert [head.layers[0].in_features for head in m.embeddings] == [64, 256]
    with pytest.raises(ValueError, match=r"MCL with branches .* resnet8\+resnet110_bottleneck"):
        get("mcl")(Build(pair, 10, seed=0), configure("mcl@x4", {}))


def test_one_image_per_class_leaves_no_positive() -> None:
    with pytest.raises(ValueError, match="images_per_class: 1 leaves no anchor a positive"):
        configure("mcl", {"images_per_class": 1})
    assert method("mcl", images_per_class=0).images_per_class == 0


def test_labels_decide_who_is_a_positive() -> None:
    m = method("mcl", images_per_class=0)
    views = batch().views
    first, second = (
        m.losses(Batch(views, labels), progress(m)) for labels in (torch.arange(8) // 2, torch.arange(8) % 4)
    )
    assert not torch.isclose(first["vcl"], second["vcl"])


COUNTS = load("networks.json", "fusion")
IDENTIFIERS = {
    "mcl/resnet32": "resnet32",
    "mcl/resnet110": "resnet110_bottleneck",
    "mcl/wrn_16_2": "wrn16_2",
    "mcl/wrn_28_4": "wrn28_4",
    "mcl/ShuffleNetV2_05x": "shufflenetv2_05",
    "mcl/hcgnet_A1": "hcgnet_a1",
    "mcl/resnet18_imagenet": "imagenet_resnet18",
}


@pytest.mark.parametrize("entry", IDENTIFIERS)
def test_parameters(entry: str) -> None:
    classes = 1000 if entry.endswith("imagenet") else 100
    width = COUNTS[entry]["embedding_dim"]
    for label, peers in (("mcl", 2), ("mcl@x4", 4)):
        with weightless():
            m = method(label, IDENTIFIERS[entry], classes)
        assert count_parameters(m.network) == COUNTS[entry][f"params_x{peers}"]
        heads = peers * (128 * (width + 1) + 128 * 129)
        assert count_parameters(m) == count_parameters(m.network) + heads
