"""What networks compute: the final map, and blocks against their formulas written out."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, conv2d, relu

from okdbench import networks
from okdbench.networks import Branched, Single
from okdbench.networks.counting import weightless
from okdbench.networks.googlenet import Inception
from okdbench.networks.hcgnet import HybridGate, gated_transition
from okdbench.networks.mobilenet import separable
from okdbench.networks.resnet import EightPaths, TwoPaths
from okdbench.networks.wide_resnet import BiasBlock, PlainBlock
from okdbench.seeds import seeded

NECKS = {"densenet40_12_plain", "hcgnet_a1", "shufflenetv2_05", "wrn16_2", "wrn16_2_bias"}
CIFAR = [name for name, a in networks.available().items() if a.image_size == 32]
DROPOUT = {"vgg16_mlp_dropout": (2, 0.5), "wrn28_10_bias": (12, 0.3), "wrn22_8_bias": (9, 0.3)}


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def made(module: nn.Module) -> nn.Module:
    """In float64 and train mode, with scales and shifts of BN that are not 1 and 0."""
    with torch.no_grad():
        for index, norm in enumerate(m for m in module.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.weight.add_(0.3 * noise(norm.num_features, seed=index).float())
            norm.bias.add_(0.3 * noise(norm.num_features, seed=100 + index).float())
    return module.double()


def bn(map: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    """Batch normalisation of a map [B, C, H, W] or of vectors [B, C] by the batch's statistics."""
    return batch_norm(map, None, None, norm.weight, norm.bias, training=True)


def conv(
    map: Tensor, layer: nn.Conv2d, stride: int = 1, padding: int = 0, dilation: int = 1, groups: int = 1
) -> Tensor:
    return conv2d(map, layer.weight, layer.bias, stride, padding, dilation, groups)


@torch.no_grad()
@pytest.mark.parametrize("name", [*sorted(NECKS), "resnet8", "vgg16_dccl"])
def test_the_final_map_is_what_the_head_pools(name: str) -> None:
    with seeded(0, "init"):
        network = Single(networks.get(name).build(10)).eval()
    trace = network.trace(noise(2, 3, 32, 32, dtype=torch.float32))
    head = network.branch.head
    pooled = trace.final.flatten(1) if name == "vgg16_dccl" else trace.final.mean(dim=(2, 3))
    assert torch.equal(trace.features, pooled)
    assert torch.equal(trace.logits, head.classifier(pooled))
    assert torch.equal(trace.final, head.neck(trace.taps[-1]))
    if name in NECKS:
        assert trace.final.min() >= 0
        assert not torch.equal(trace.final, trace.taps[-1])
    else:
        assert trace.final is trace.taps[-1]
    if name in NECKS - {"shufflenetv2_05"}:
        assert all(tap.min() < 0 for tap in trace.taps)  # before any activation


def test_a_neck_runs_once() -> None:
    network = Single(networks.get("wrn16_2").build(10))
    network.trace(noise(2, 3, 32, 32, dtype=torch.float32))
    assert network.branch.head.neck[0].num_batches_tracked == 1


def test_branches_may_share_their_stages() -> None:
    parts = [networks.get("densenet40_12_bc_shared").build(10) for _ in range(3)]
    branched = Branched(parts, "independent")
    first, *others = branched.branches
    branched([noise(4, 3, 32, 32, dtype=torch.float32)])
    assert next(m for m in first.stages.modules() if isinstance(m, nn.BatchNorm2d)).num_batches_tracked == 3
    for other in others:
        assert other.stages is first.stages
        assert other.head.neck[0].num_batches_tracked == 1
        assert other.head is not first.head
        assert not torch.equal(other.head.classifier.weight, first.head.classifier.weight)


@pytest.mark.parametrize(("channels", "stride"), [(8, 1), (4, 1), (4, 2)])
def test_block_of_the_wide_resnet_of_mcl(channels: int, stride: int) -> None:
    block, x = made(PlainBlock(channels, 8, stride)), noise(3, channels, 6, 6)
    active = relu(bn(x, block.bn1))
    inner = relu(bn(conv(active, block.conv1, stride, padding=1), block.bn2))
    shortcut = x if channels == 8 else conv(active, block.shortcut, stride)
    assert torch.allclose(block(x), conv(inner, block.conv2, padding=1) + shortcut)


@pytest.mark.parametrize(("channels", "stride"), [(8, 1), (8, 2), (4, 1), (4, 2)])
def test_block_of_the_wide_resnet_with_biases(channels: int, stride: int) -> None:
    block, x = made(BiasBlock(channels, 8, stride, dropout=0.0)), noise(3, channels, 6, 6)
    inner = relu(bn(conv(relu(bn(x, block.bn1)), block.conv1, padding=1), block.bn2))
    shortcut = x if (channels, stride) == (8, 1) else conv(x, block.shortcut, stride)
    assert torch.allclose(block(x), conv(inner, block.conv2, stride, padding=1) + shortcut)


def test_dropout_follows_the_first_convolution() -> None:
    with seeded(0, "init"):
        block = made(BiasBlock(8, 8, 1, dropout=0.3))
    x = noise(3, 8, 6, 6)
    torch.manual_seed(0)
    inner = torch.nn.functional.dropout(conv(relu(bn(x, block.bn1)), block.conv1, padding=1), 0.3)
    torch.manual_seed(0)
    assert torch.allclose(block(x), conv(relu(bn(inner, block.bn2)), block.conv2, padding=1) + x)


@pytest.mark.parametrize("name", CIFAR)
def test_which_networks_drop_out(name: str) -> None:
    with weightless():
        network = Single(networks.get(name).build(10))
    rates = [layer.p for layer in network.modules() if isinstance(layer, nn.Dropout)]
    count, rate = DROPOUT.get(name, (0, 0.0))
    assert rates == [rate] * count


def test_dropout_is_in_the_classifier_and_only_in_training() -> None:
    with seeded(0, "init"):
        plain = Single(networks.get("vgg16_mlp").build(10)).eval()
    with seeded(0, "init"):
        dropping = Single(networks.get("vgg16_mlp_dropout").build(10)).eval()
    images = noise(4, 3, 32, 32, dtype=torch.float32)
    assert torch.equal(plain(images), dropping(images))
    dropping.branch.head.classifier.train()
    passes = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        passes.append(dropping.trace(images))
    assert torch.equal(passes[0].logits, passes[1].logits)
    assert not torch.equal(passes[0].logits, passes[2].logits)
    assert torch.equal(passes[0].features, passes[2].features)


@pytest.mark.parametrize(("block", "paths"), [(TwoPaths, 2), (EightPaths, 8)])
@pytest.mark.parametrize(("channels", "stride"), [(4, 2), (16, 1)])
def test_block_of_resnext_is_a_sum_over_its_paths(block: type, paths: int, channels: int, stride: int) -> None:
    """Equation 2 and figure 3 (a) of Xie et al.: x + sum_i T_i(x), each path as wide as the block is named."""
    block, x = made(block(channels, 4, stride)), noise(3, channels, 6, 6)
    narrow = relu(bn(conv(x, block.conv1), block.bn1)).chunk(paths, dim=1)
    assert {path.shape[1] for path in narrow} == {4}
    transformed = [
        conv2d(path, weight, None, stride, padding=1)
        for path, weight in zip(narrow, block.conv2.weight.chunk(paths), strict=True)
    ]
    active = relu(bn(torch.cat(transformed, dim=1), block.bn2)).chunk(paths, dim=1)
    total = sum(conv2d(path, w) for path, w in zip(active, block.conv3.weight.chunk(paths, dim=1), strict=True))
    shortcut = x if channels == 16 else bn(conv(x, block.shortcut[0], stride), block.shortcut[1])
    assert torch.allclose(block(x), relu(bn(total, block.bn3) + shortcut))


def test_a_separable_block_filters_each_channel_by_itself() -> None:
    """Figure 3 (right) of Howard et al."""
    block, x = made(nn.Sequential(*separable(4, 6, stride=2))), noise(3, 4, 8, 8)
    depthwise, first, _, pointwise, second, _ = block
    maps = [conv2d(x[:, i : i + 1], depthwise.weight[i : i + 1], None, 2, padding=1) for i in range(4)]
    inner = relu(bn(torch.cat(maps, dim=1), first))
    assert torch.allclose(
        block(x), relu(bn(torch.einsum("oc,bchw->bohw", pointwise.weight[:, :, 0, 0], inner), second))
    )


@pytest.mark.parametrize(
    ("name", "sides", "weighted"),
    [
        ("resnext29_8x64d", [32, 16, 8], 29),
        ("resnext29_2x64d", [32, 16, 8], 29),
        ("densenet190_40_bc", [16, 8, 8], 190),
        ("mobilenet", [16, 8, 4, 2], 28),
    ],
)
def test_maps_and_depth_of_networks_without_golden_numbers(name: str, sides: list[int], weighted: int) -> None:
    """Side of the map after each stage; layers with weights, as the papers count them: without shortcuts."""
    with weightless():
        network = Single(networks.get(name).build(10))
        taps = network.trace(torch.zeros(2, 3, 32, 32)).taps
    assert [tap.shape[-1] for tap in taps] == sides
    counted = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    shortcuts = [m for key, m in network.named_modules() if "shortcut" in key and isinstance(m, nn.Conv2d)]
    assert len(counted) - len(shortcuts) == weighted


def pooled(map: Tensor, score: nn.Conv2d) -> Tensor:
    """Context of each image: positions weighted by the softmax of their score, [B, C]."""
    contexts = []
    for image in map:
        scores = torch.einsum("c,chw->hw", score.weight[0, :, 0, 0], image) + score.bias
        contexts.append((image * scores.flatten().softmax(dim=0).view_as(scores)).sum(dim=(1, 2)))
    return torch.stack(contexts)


def linear(vectors: Tensor, layer: nn.Conv2d) -> Tensor:
    return vectors @ layer.weight[:, :, 0, 0].T + layer.bias


@pytest.mark.parametrize("reduction", [2, 4])
def test_gate_of_hcgnet(reduction: int) -> None:
    gate, u = made(HybridGate(8, reduction)), noise(4, 8, 5, 5)
    context, narrow, norm, _, widen, _ = gate.forget
    assert narrow.out_channels == 8 // reduction
    forget = linear(torch.tanh(bn(linear(pooled(u, context.score), narrow), norm)), widen).sigmoid()
    vectors = []
    for dilation, (before, _, view), head in zip((1, 2), gate.views, gate.contexts, strict=True):
        seen = conv(relu(bn(u, before)), view, padding=dilation, dilation=dilation, groups=8)
        vectors.append(pooled(seen, head.score))
    squeeze, after, _ = gate.query
    assert squeeze.out_channels == 16 // reduction
    q = torch.tanh(bn(linear(torch.cat(vectors, dim=1), squeeze), after))
    three, five = (linear(q, key).exp() for key in gate.keys)
    update = (three * vectors[0] + five * vectors[1]) / (three + five)
    assert torch.allclose(gate(u), u * forget[:, :, None, None] + update[:, :, None, None])


def test_transition_of_hcgnet_halves_the_channels_in_two_steps() -> None:
    first, second, gate = gated_transition(120, 60)
    assert (first[2].in_channels, first[2].out_channels, first[2].kernel_size) == (120, 90, (1, 1))
    assert (second[2].in_channels, second[2].out_channels, second[2].stride) == (90, 60, (2, 2))
    assert gate.forget[1].out_channels == 15


def test_inception_joins_four_paths() -> None:
    block, x = made(Inception(4, (2, 3, 5, 3, 6, 7))), noise(2, 4, 6, 6)
    out = block(x)
    assert out.shape == (2, 2 + 5 + 6 + 7, 6, 6)
    one, _, _, pool = out.split([2, 5, 6, 7], dim=1)
    conv1, norm, _ = block.paths[0]
    assert torch.allclose(one, relu(bn(conv(x, conv1), norm)))
    _, conv1, norm, _ = block.paths[3]
    widest = nn.functional.max_pool2d(x, 3, stride=1, padding=1)
    assert torch.allclose(pool, relu(bn(conv(widest, conv1), norm)))
    kernels = [[layer.kernel_size[0] for layer in path if isinstance(layer, nn.Conv2d)] for path in block.paths]
    assert kernels == [[1], [1, 3], [1, 3, 3], [1]]


@torch.no_grad()
@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "shufflenet_v2_x1_0"])
def test_imagenet_networks_are_those_of_torchvision(name: str) -> None:
    from okdbench.torchvision_shim import torchvision

    ours = {"shufflenet_v2_x1_0": "imagenet_shufflenetv2_1"}.get(name, f"imagenet_{name}")
    with seeded(0, "init"):
        whole = getattr(torchvision.models, name)(num_classes=7).eval()
    with seeded(0, "init"):
        pieces = Single(networks.get(ours).build(7)).eval()
    images = noise(1, 3, 64, 64, dtype=torch.float32)
    assert torch.equal(pieces(images), whole(images))


@torch.no_grad()
def test_small_shufflenet_is_that_of_torchvision_behind_another_stem() -> None:
    from okdbench.torchvision_shim import torchvision

    with seeded(0, "init"):
        network = Single(networks.get("shufflenetv2_1").build(7)).eval()
    whole = torchvision.models.shufflenet_v2_x1_0(num_classes=7).eval()
    for child, part in zip(
        ("stage2", "stage3", "stage4", "conv5", "fc"),
        (*network.trunk.stages, *network.branch.stages, network.branch.head.neck, network.branch.head.classifier),
        strict=True,
    ):
        getattr(whole, child).load_state_dict(part.state_dict())
    whole.maxpool = nn.Identity()
    whole.conv1 = network.trunk.stem[0]
    images = noise(2, 3, 32, 32, dtype=torch.float32)
    assert torch.equal(network(images), whole(images))
    assert network.trunk.stem(images).shape == (2, 24, 32, 32)
