"""A whole run from top to bottom: images, method, epochs of steps, evaluation of every head, record."""

import copy
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from okdbench import data, methods
from okdbench.config import LearningConfig, RunConfig
from okdbench.errors import UsageError
from okdbench.methods import Method
from okdbench.runs.execution import DEFAULT_EXECUTION, Execution, GraphError, Precision
from okdbench.runs.folder import RunFolder
from okdbench.runs.heads import AVERAGE
from okdbench.runs.interleave import Turns, drain
from okdbench.runs.records import Cause, Epoch, HeadMetrics, LearnedRecord, Record, Snapshot, State
from okdbench.runs.weights import final_weights, fingerprint
from okdbench.seeds import seeded
from okdbench.training import checkpoint
from okdbench.training.computation import resolve
from okdbench.training.distributed import ALONE, Processes
from okdbench.training.environment import environment, peak_memory, with_earlier
from okdbench.training.evaluation import Divergence, Evaluation, collapsed, not_finite
from okdbench.training.images import OpenDataset, RunImages, open_dataset
from okdbench.training.journal import Journal
from okdbench.training.memory import require_room


class Interrupted(Exception):
    """The run was asked to stop and has written a checkpoint to continue from."""


def build_method(
    config: RunConfig, device: torch.device, runs: Path | None = None, classes: int | None = None
) -> Method:
    """Build the run's method with its keyed initial weights, on its device, in train mode.

    A run that needs a teacher finds the trained weights of that run in its folder below ``runs``. ``classes`` is the
    number that the images show, where it differs from what the data set declares.
    """
    teacher = None
    if config.teacher:
        teacher = build_method(config.teacher, device, runs, classes)
        folder = RunFolder((runs or Path()) / config.teacher.folder)
        require_trained(folder, config.needed_as)
        teacher.load_state_dict(final_weights(folder))
    classes = classes or data.get(config.dataset).classes
    method = methods.make(config, classes, teacher)
    method.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return method.train()


def require_trained(folder: RunFolder, role: str) -> None:
    """Raise UsageError unless a run that another needs, as its teacher for instance, has left a network."""
    if (state := folder.state) is State.damaged:
        raise UsageError(f"the {role}'s run: {folder.reason}")
    if state is State.diverged:
        raise UsageError(f"{folder}: the {role}'s run diverged, so there is nothing to learn from it")
    if state is not State.finished or not folder.weights.exists():
        raise UsageError(f"{folder.weights}: the {role}'s weights are not there; train that run first")


def draw_apart(method: Method, processes: Processes) -> None:
    """Give the parameters that each process keeps for itself initial weights of its own; the first one's stay."""
    own = {id(parameter) for parameter in method.apart()}
    for module in method.modules():
        if not processes.first and any(id(parameter) in own for parameter in module.parameters(recurse=False)):
            module.reset_parameters()  # type: ignore[operator]


class Trainer:
    """Trains one run in its folder and writes ``record.json`` there.

    ``stop`` is called after every step; when it returns True, a checkpoint is written and `Interrupted` raised. A run
    whose loss is not finite or whose logits have collapsed ends with status ``diverged`` and keeps its earlier epochs.
    Where several ``processes`` train the run together, the first of them writes, and all stop when one is asked to.
    ``execution`` says how to compute it.

    What is trained, and on which images, is opened by `open`; another kind of run that learns overrides it, and
    `ready` for what takes long before the first step.
    """

    record_type: type[LearnedRecord] = Record
    precision: Precision | None = None
    """In which runs of this kind compute, whatever the execution says; None: as it says."""

    def __init__(
        self,
        config: LearningConfig,
        folder: RunFolder,
        root: Path,
        device: torch.device,
        stop: Callable[[], bool],
        processes: Processes = ALONE,
        execution: Execution = DEFAULT_EXECUTION,
    ) -> None:
        if self.precision:
            execution = replace(execution, precision=self.precision)
        self.config, self.folder, self.device, self.stop = config, folder, device, stop
        self.processes = processes
        self._started, self._spent = time.monotonic(), 0.0
        self._earlier: list[dict[str, Any]] = []
        first = execution.jobs > 1 and device.type == "cuda" and not torch.cuda.memory_reserved(device)
        dataset, self.method = self.open(root)
        self.classes, self._images_sha256 = dataset.classes, dataset.sha256
        self.images = RunImages(dataset, config, self.method.images_per_class, processes)
        self.computation = resolve(execution, device, self.method, processes, folder.fallback)
        self.step = self.computation.prepare(self.method, config.training, processes)
        with seeded(config.seed, "memory"):
            self.method.remember(self.images.labels)
        self._jobs = execution.jobs
        self._evaluated = False
        self._measures_memory = first
        averaged = [self.step.average.method] if self.step.average else []
        self._evaluations = [Evaluation(each, self.step.run, processes) for each in (self.method, *averaged)]

    def open(self, root: Path) -> tuple[OpenDataset, Method]:
        """Return the images, below the data folder ``root``, and the method on the device with its initial weights."""
        config = self.config.source
        dataset = open_dataset(config, root, self.device)
        return dataset, build_method(config, self.device, self.folder.path.parent, dataset.classes)

    def ready(self) -> Turns[None]:
        """Do what must be done before the first step of this process, whether the run starts or continues."""
        yield from ()

    def train(self) -> None:
        """Train all epochs, resuming where an earlier process stopped."""
        drain(self.turns())

    def turns(self) -> Turns[None]:
        """Train, yielding after every step and every batch of an evaluation: the run has advanced, and others can.

        GraphError where a graph has failed: the process cannot go on, and the folder says how another one does.
        """
        if self.computation.backend.recorded:
            self.folder.graphs_used(self.computation.backend)
        try:
            yield from self._epochs()
        except (GraphError, torch.AcceleratorError) as error:  # an error of a replay may show at any later call
            backend = self.computation.backend
            if not backend.recorded:
                raise
            now = self.folder.graphs_failed(backend, str(error).partition("\n")[0])
            raise GraphError(f"{now.reason}; continue with {now.backend}") from error

    def _epochs(self) -> Turns[None]:
        """Train from the checkpoint on and write the record."""
        self._computed_on = {**environment(self.device), "images_sha256": self._images_sha256}
        yield from self.ready()
        epoch, batch = self._start_or_continue()
        self._saved = time.monotonic()
        divergence = None
        while epoch < self.config.training.epochs and not divergence:
            divergence = yield from self._epoch(epoch, batch)
            epoch, batch = epoch + 1, 0
            if not divergence and epoch < self.config.training.epochs and self._checkpoint_due():
                self._save(epoch, 0)
        if self.processes.first:
            self.journal.check()
            self.journal.repair()
            checkpoint.write_tensors(self.method.state_dict(), self.folder.weights)
            self.folder.write_record(self._record(divergence))

    def _start_or_continue(self) -> tuple[int, int]:
        """Start or resume; return the epoch and the batch within it to train next."""
        processes = self.processes
        state = self._resume()
        self.journal = Journal(self.folder, state["epochs"] if state else [], writes=processes.first)
        if state is None:
            if processes.first:
                with seeded(self.config.seed, "step"):
                    self.method.prepare(self.images.endless(self.method.views))
            processes.wait()  # preparing may take longer than the timeout of an exchange between GPUs
            processes.copy_first(self.method.state_dict().values())
            with seeded(self.config.seed, "method", *processes.key):
                draw_apart(self.method, processes)
            return 0, 0
        self._spent, self._earlier = state["seconds"], json.loads(state.get("environments", "[]"))
        return state["epoch"], state["batch"]

    def _resume(self) -> dict[str, Any] | None:
        """Load the newest checkpoint that can be used and return it; None, with nothing changed, if there is none."""
        processes, fresh = self.processes, None
        # The first process reads for all, since folders on a network disk need not look the same everywhere.
        found = checkpoint.readable(self.folder, self.config.id) if processes.first else iter(())
        while state := processes.from_first(next(found, None)):
            if (before := state["processes"]) != processes.size:
                raise UsageError(
                    f"{self.folder}: its checkpoint is not of --processes {processes.size}; "
                    f"continue with --processes {before}, or train again with --force"
                )
            fresh = fresh or copy.deepcopy(self.step.state())
            try:
                self.step.load(state.get("others", {}).get(processes.rank, state["step"]))
            except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
                if processes.first:
                    why = " ".join(str(error).split())
                    print(
                        f"a checkpoint of epoch {state['epoch']}: of another network, not used ({why:.200})", flush=True
                    )
                self.step.load(fresh)
            else:
                return state
        if processes.first and self.folder.checkpoints:
            print("no checkpoint can be used: training starts again", flush=True)
        return None

    def steps(self, epoch: int, first: int = 0) -> Iterator[int]:
        """Train on the batches of an epoch from number ``first`` on; yield after each step how many are done."""
        for number, pending in enumerate(self.images.pending_batches(epoch, self.method.views, first), first):
            with seeded(self.config.seed, "step", epoch, number, *self.processes.key):
                self.step.train_pending(pending, number)
            if self._measures_memory:  # after the first step of the first run of this process
                free, _ = torch.cuda.mem_get_info(self.device)
                require_room(self._jobs, torch.cuda.max_memory_reserved(self.device), free)
                self._measures_memory = False
            yield number + 1

    def _epoch(self, epoch: int, first: int) -> Turns[Divergence | None]:
        """Train from batch ``first`` on, evaluate and record one epoch; return why if the run has diverged."""
        self.step.begin_epoch(epoch, fresh=first == 0, steps=self.images.steps)
        begun, images_before = time.monotonic(), self.step.images
        for done in self.steps(epoch, first):
            yield
            if self.journal.due():
                self._report(epoch, done, (self.step.images - images_before) / (time.monotonic() - begun))
            if done < self.images.steps:
                self._stop_if_asked(epoch, done)
        losses = self.step.mean_losses()
        rate = (self.step.images - images_before) / (time.monotonic() - begun)
        if bad := not_finite("loss", losses):
            return Divergence(Cause.not_finite, f"{bad} in epoch {epoch + 1}")
        self._report(epoch, self.images.steps, rate)
        if not self._evaluated and self._checkpoint_due():
            self._save(epoch, self.images.steps)  # the first evaluation may find files that cannot be read
        self._evaluated = True
        metrics = {}
        for images in ("test", "validation") if self.config.data.validation else ("test",):
            metrics[images] = heads = yield from self._evaluate(images)
            if bad := not_finite(f"cross-entropy on {images} images", {head: heads[head].ce for head in heads}):
                return Divergence(Cause.not_finite, f"{bad} after epoch {epoch + 1}")
        self.journal.append(
            Epoch(
                epoch=epoch,
                lr=self.step.rate,
                losses=losses,
                heads=metrics["test"],
                validation=metrics.get("validation"),
                seconds=time.monotonic() - begun,
                images_per_second=rate,
            )
        )
        self._report(epoch + 1, 0, rate)
        divergence = collapsed([past.heads[self.method.deployed] for past in self.journal.epochs], self.classes)
        if not divergence and epoch + 1 < self.config.training.epochs:
            self._stop_if_asked(epoch + 1, 0)
        return divergence

    def _evaluate(self, name: str) -> Turns[dict[str, HeadMetrics]]:
        """Metrics of all heads on the "test" or "validation" images, the moving average's after the method's own."""
        batches = self.images.test if name == "test" else self.images.validation
        metrics: dict[str, HeadMetrics] = {}
        for evaluation, suffix in zip(self._evaluations, ("", AVERAGE), strict=False):
            found = yield from evaluation.turns(name, batches())
            metrics |= {head + suffix: values for head, values in found.items()}
        return metrics

    def _stop_if_asked(self, epoch: int, batch: int) -> None:
        if self.processes.any(self.stop()):
            self._save(epoch, batch)
            raise Interrupted

    def _checkpoint_due(self) -> bool:
        """Return whether the end of an epoch should write a checkpoint, by its age; the first process decides."""
        return self.processes.from_first(time.monotonic() - self._saved >= checkpoint.INTERVAL)

    def _save(self, epoch: int, batch: int) -> None:
        """Write a checkpoint from which training resumes at ``batch`` of ``epoch``."""
        others: dict[str, Any] = {}
        if self.method.apart():
            _, *states = self.processes.collect(self.step.state())
            others["others"] = dict(enumerate(states, start=1))
        if self.processes.first:
            self.journal.check()
            state = {
                "run": self.config.id,
                "epoch": epoch,
                "batch": batch,
                "seconds": self._seconds(),
                "processes": self.processes.size,
                "environments": json.dumps(self._environments()),
                "metrics": "\n".join(each.model_dump_json(exclude_none=True) for each in self.journal.epochs),
                "step": self.step.state(),
                **others,
            }
            checkpoint.save_checkpoint(self.folder, epoch * self.images.steps + batch, state)
        self.processes.wait()
        self._saved = time.monotonic()

    def _seconds(self) -> float:
        return self._spent + time.monotonic() - self._started

    def _environment(self) -> dict[str, Any]:
        """Return where and how this process computes."""
        how = self.computation.record(self.step.run)
        return {**self._computed_on, **how, "jobs": self._jobs, "processes": self.processes.size}

    def _environments(self) -> list[dict[str, Any]]:
        """Return those of all processes that have trained the run, each once."""
        now = self._environment()
        return [*(each for each in self._earlier if each != now), now]

    def _report(self, epoch: int, batch: int, rate: float) -> None:
        """Write progress for the live view. It reads losses back from the device, so `Journal.due` keeps it rare."""
        last = self.journal.epochs[-1].heads[self.method.deployed].top1 if self.journal.epochs else None
        self.journal.progress(
            Snapshot(
                epoch=epoch,
                epochs=self.config.training.epochs,
                step=batch,
                steps=self.images.steps,
                loss=sum(self.step.mean_losses().values()),
                head=self.method.deployed,
                accuracy=last,
                images_per_second=rate,
                time=time.time(),
                compute_summary=self.computation.summary(self.step.run),
            )
        )

    def _record(self, divergence: Divergence | None) -> LearnedRecord:
        """Make the record of the finished run."""
        epochs = self.journal.epochs
        trained = sum(epoch.seconds for epoch in epochs)
        return self.record_type(
            id=self.config.id,
            status=State.diverged if divergence else State.finished,
            cause=divergence.cause if divergence else None,
            reason=divergence.reason if divergence else None,
            config=self.config,
            heads=(*self.method.heads(), *(head + AVERAGE for head in self.method.heads() if self.step.average)),
            deployed=self.method.deployed,
            epochs=len(epochs),
            environment=with_earlier(self._environment(), self._earlier),
            metrics_sha256=self.folder.metrics_sha256,
            wall_seconds=self._seconds(),
            images_per_second=sum(e.images_per_second * e.seconds for e in epochs) / trained if trained else None,
            peak_memory_bytes=peak_memory(self.device),
            weights_sha256=fingerprint(self.method.state_dict()),
        )
