"""How many operations a training step launches: what is counted, and the totals."""

from pathlib import Path

import pytest
import torch

from okdbench.bench import BenchGrid, TimedRun, cases, count_operations
from okdbench.bench.operations import LaunchCounter


def test_views_allocations_and_metadata_are_not_counted() -> None:
    values = [torch.ones(4, 2), torch.ones(4, 2)]
    with LaunchCounter() as counter:
        made = torch.empty(4, 2)
        made.copy_(values[0].view(2, 4).t()[:, 0].expand(2, 4).t().detach())
        torch._foreach_add_(values, 1.0)
        torch.cat(made.chunk(2))
    assert counter.counts == {"copy_": 1, "_foreach_add_": 1, "cat": 1}


@pytest.mark.parametrize(("method", "total"), [("baseline", (274, 159)), ("dkel", (950, 447))])
def test_totals_of_resnet32(method: str, total: tuple[int, int], tmp_path: Path) -> None:
    """At a small batch: the counts do not depend on its size. Fewer are welcome; more need a reason."""
    [case] = cases(BenchGrid(["digits"], ["resnet32"], [method], [4], {}, subset=8), tmp_path)
    counted = count_operations(TimedRun(case, tmp_path, torch.device("cpu")))
    assert (counted.total, counted.evaluation_total) == total
    assert counted.evaluation["convolution"] == counted.counts["convolution"]
