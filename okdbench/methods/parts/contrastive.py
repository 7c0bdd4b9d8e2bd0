"""What MCL and L-MCL share: embeddings, and contrast within and between networks (arXiv 2104.12565, 2207.11518).

Embeddings are unit rows Z^a [B, E] of m networks or exits a. S^{ab} = Z^a (Z^b)^T / tau is a tile, [B, B]; anchor i is
its row, and P(i) are the other images of the anchor's class. Terms are made per anchor: a method says how they are
weighted. Sums of exponentials are taken in the log domain, where the authors' code sums exp(S) up to exp(10).
"""

from typing import Literal, NamedTuple, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from okdbench.methods.base import MethodConfig


class ContrastiveConfig(MethodConfig):
    """Settings of mutual contrastive learning; the defaults are those of the authors' CIFAR-100 scripts."""

    alpha: float = Field(default=0.1, ge=0, description="weight of VCL, contrast within a network")
    beta: float = Field(default=0.1, ge=0, description="weight of ICL, contrast between two networks")
    gamma: float = Field(default=1.0, ge=0, description="weight of Soft-VCL: mimic a network's own contrast")
    lam: float = Field(default=1.0, ge=0, description="weight of Soft-ICL: mimic the contrast between two networks")
    tau: float = Field(default=0.1, gt=0, description="similarities are cosines divided by this")
    temperature: float = Field(default=3.0, gt=0, description="T, of the soft terms and of logit distillation")
    diagonal: Literal["in", "masked"] = Field(
        default="in", description="whether soft terms compare an image's similarity to itself, too"
    )
    icl_same_image: Literal["exclude", "positive"] = Field(
        default="exclude",
        description="an image's own embedding by the other network: left out of ICL, or a positive (the ImageNet code)",
    )
    embedding: int = Field(default=128, ge=1, description="E, width of the embeddings")
    images_per_class: int = Field(
        default=2, ge=0, description="of each class in a class-aware batch; 0: ordinary shuffled batches"
    )
    bank: bool = Field(
        default=False,
        description="contrast with a memory of all training images, one for each network, not within the batch"
        " (the ImageNet code)",
    )
    negatives: int = Field(default=8192, ge=1, description="rows of other classes that an image is contrasted with")
    bank_momentum: float = Field(default=0.5, ge=0, lt=1, description="what a row keeps when its image is seen again")

    @model_validator(mode="after")
    def _classes_have_company(self) -> Self:
        if self.images_per_class == 1:
            raise ValueError("images_per_class: 1 leaves no anchor a positive; set 2 or more, or 0 for a plain shuffle")
        return self

    @property
    def contrasts(self) -> bool:
        """Whether any contrastive term counts."""
        return any((self.alpha, self.beta, self.gamma, self.lam))

    def weighted(self, terms: "Contrast") -> dict[str, Tensor]:
        """Return the terms that count, by name and times their weights."""
        weights = (self.alpha, self.beta, self.gamma, self.lam)
        return {name: w * term for (name, term), w in zip(terms._asdict().items(), weights, strict=True) if w}


class Embedding(nn.Module):
    """The head that makes embeddings: D -> E -> E with a ReLU between, unit length, without batch normalisation."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(features, width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, features: Tensor) -> Tensor:
        """Return the embeddings [B, E] of pooled features [B, D]."""
        return functional.normalize(self.layers(features), dim=-1)


class Contrast(NamedTuple):
    """The four terms, each per anchor or, after `total`, as 0-d tensors.

    Per anchor: ``vcl`` [m, B] of S^{aa}; [m, m, B] for ordered pairs (a, b): ``icl`` of S^{ab}, ``soft_vcl`` of S^{aa}
    mimicking S^{bb}, ``soft_icl`` of S^{ab} mimicking S^{ba}. Pairs (a, a) must have weight 0.
    """

    vcl: Tensor
    icl: Tensor
    soft_vcl: Tensor
    soft_icl: Tensor

    def total(self, singles: Tensor, pairs: Tensor) -> "Contrast":
        """Return the sums of the anchors' means, with weights [m, B or 1] of ``vcl`` and [m, m, B or 1] of the terms of
        pairs."""
        weights = (singles, pairs, pairs, pairs)
        return Contrast(*((w * term).mean(dim=-1).sum() for w, term in zip(weights, self, strict=True)))


def contrast(embeddings: Tensor, labels: Tensor, config: ContrastiveConfig) -> Contrast:
    """Return all terms of m embeddings [m, B, E] of the same images, labels [B], from one product of the stacked rows.

    An anchor whose class has no other image in the batch contributes 0 to ``vcl`` and ``icl`` and still counts in their
    means; so it is for many anchors with a plain shuffle.
    """
    networks, batch, width = embeddings.shape
    rows = embeddings.reshape(networks * batch, width)
    tiles = (rows @ rows.T / config.tau).view(networks, batch, networks, batch).transpose(1, 2)
    same_image = torch.eye(batch, dtype=torch.bool, device=labels.device)
    others, everyone = ~same_image, torch.ones_like(same_image)
    same_class = labels.unsqueeze(0) == labels.unsqueeze(1)
    own = tiles.diagonal().permute(2, 0, 1)
    excluded = config.icl_same_image == "exclude"
    compared = everyone if config.diagonal == "in" else others
    return Contrast(
        vcl=hard(own, same_class & others, others),
        icl=hard(tiles, same_class & others, others) if excluded else hard(tiles, same_class, everyone),
        soft_vcl=soft(own.unsqueeze(1), own.unsqueeze(0), config.temperature, compared),
        soft_icl=soft(tiles, tiles.transpose(0, 1), config.temperature, compared),
    )


def hard(tiles: Tensor, positive: Tensor, counted: Tensor) -> Tensor:
    """Return per anchor -1/|P| sum_{p in P} [S_ip - log sum_j exp S_ij], 0 where P is empty: [..., B, B] -> [..., B].

    Masks [B, B]: row i of ``positive`` is P(i), that of ``counted`` the j in the sum.
    """
    count = positive.sum(dim=-1)
    mean = (tiles * positive).sum(dim=-1) / count.clamp(min=1)
    return (_masked(tiles, counted).logsumexp(dim=-1) - mean) * (count > 0)


def soft(student: Tensor, target: Tensor, temperature: float, counted: Tensor | None = None) -> Tensor:
    """Return per anchor T^2 KL(softmax(R_i / T) || softmax(S_i / T)), R the constant target: [..., B, J] -> [..., B].

    Row i of the mask ``counted`` [B, J] says which columns the distributions are over; all where there is none.
    """
    tiles = (each if counted is None else _masked(each, counted) for each in (student, target.detach()))
    log_student, log_target = ((tile / temperature).log_softmax(dim=-1) for tile in tiles)
    return (log_target.exp() * (log_target - log_student)).sum(dim=-1) * temperature**2


def _masked(tiles: Tensor, kept: Tensor) -> Tensor:
    """Return the tiles with the least finite number where they are not kept: unlike -inf it gives no NaN anywhere."""
    return tiles.masked_fill(~kept, torch.finfo(tiles.dtype).min)
