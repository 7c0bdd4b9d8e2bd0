"""TensorBoard: event files in PLACE/RECIPE/RUN, in the folder ``tensorboard`` if no place is given."""

import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from okdbench.errors import needs_extra
from okdbench.runs.records import State
from okdbench.tracking import TrackedRun, TrackerKind

DEFAULT_PLACE = "tensorboard"


class TensorBoard:
    """See `okdbench.tracking.Tracker`."""

    def __init__(self, place: str) -> None:
        self._root = Path(place or DEFAULT_PLACE)
        self._writers: dict[str, Any] = {}
        self.see = f"tensorboard --logdir {shlex.quote(str(self._root))}"
        try:
            from tensorboard.compat.proto.event_pb2 import Event
            from tensorboard.compat.proto.summary_pb2 import Summary
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ImportError:
            raise needs_extra("tensorboard", "tensorboard", "tensorboard") from None
        self._event, self._summary, self._writer = Event, Summary, EventFileWriter

    def begin(self, run: TrackedRun) -> None:
        """Begin an event file, in place of those that are there."""
        self._close(run)
        folder = self._root / run.recipe / run.name
        shutil.rmtree(folder, ignore_errors=True)
        self._writers[run.id] = self._writer(str(folder))

    def add(self, run: TrackedRun, epoch: int, time: float, values: Mapping[str, float]) -> None:
        """Write one event for the epoch."""
        scalars = [self._summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        writer = self._writers[run.id]
        writer.add_event(self._event(wall_time=time, step=epoch, summary=self._summary(value=scalars)))
        writer.flush()

    def end(self, run: TrackedRun, state: State) -> None:
        """Close the event file."""
        self._close(run)

    def _close(self, run: TrackedRun) -> None:
        if writer := self._writers.pop(run.id, None):
            writer.close()


TRACKER = TrackerKind("tensorboard", TensorBoard)
