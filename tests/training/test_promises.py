"""What a whole run promises of its steps: evaluation in eval mode, the rate that methods see, when meta steps run."""

import pytest
import torch

from okdbench.config import RunConfig
from okdbench.methods import Progress
from okdbench.methods.l_mcl import LMCL
from okdbench.runs.folder import RunFolder
from okdbench.training import build_method
from okdbench.training.images import RunImages, open_dataset

CPU = torch.device("cpu")


def test_recorded_accuracy_is_that_of_the_final_weights_in_eval_mode(small, trainer, tmp_path, data_root) -> None:
    config: RunConfig = small("baseline")
    run = tmp_path / config.folder
    trainer(config, run).train()
    method = build_method(config, CPU)
    method.load_state_dict(torch.load(RunFolder(run).weights, weights_only=True))
    [test] = [pending.batch() for pending in RunImages(open_dataset(config, data_root, CPU), config).test()]
    with torch.no_grad():
        logits = method.eval().predict(test.views[0])["student"]
        moved = method.train().predict(test.views[0])["student"]
    loss, of_batch = (torch.nn.functional.cross_entropy(each, test.labels).item() for each in (logits, moved))
    assert RunFolder(run).epochs[-1].heads["student"].ce == pytest.approx(loss, rel=1e-3), "apart from the precision"
    assert of_batch != pytest.approx(loss, rel=1e-2), "batch statistics would not have shown in this test"


def test_methods_see_the_rate_of_every_step(small, trainer, tmp_path) -> None:
    config: RunConfig = small("baseline")
    training = trainer(config, tmp_path / config.folder)
    seen = list[float]()
    training.method.after_step = lambda now: seen.append(float(now.rate))  # type: ignore[method-assign]
    training.train()
    recorded = [epoch.lr for epoch in RunFolder(tmp_path / config.folder).epochs]
    assert seen == pytest.approx([rate for rate in recorded for _ in range(training.images.steps)], rel=1e-6)
    assert recorded == pytest.approx([0.1, 0.075, 0.025])


def test_a_meta_step_follows_the_first_step_of_an_epoch_and_then_every_few(
    small, trainer, tmp_path, monkeypatch
) -> None:
    config: RunConfig = small("l-mcl", meta_every=2, exits="final", images_per_class=0)
    config = config.model_copy(update={"data": config.data.model_copy(update={"subset": 200})})
    training = trainer(config, tmp_path / "run")
    meta, batches = list[tuple[int, list[int]]](), list[list[int]]()
    learn = training.method.training_step

    def watched(batch, now: Progress, update):
        batches.append(batch.labels.tolist())
        return learn(batch, now, update)

    monkeypatch.setattr(training.method, "training_step", watched)
    monkeypatch.setattr(LMCL, "meta_step", lambda m, batch, now: meta.append((int(now.step), batch.labels.tolist())))
    training.train()
    assert training.images.steps == 5
    assert [step for step, _ in meta] == [0, 2, 4, 5, 7, 9, 10, 12, 14]
    assert all(labels == batches[step] for step, labels in meta), "on the batch of the step before"
