"""MLflow: an experiment for each recipe, a run for each run. The place is a tracking URI; MLflow knows a usual one."""

import re
from collections.abc import Mapping

from okdbench.errors import needs_extra
from okdbench.runs.records import State
from okdbench.tracking import TrackedRun, TrackerKind

RUN_TAG = "okdbench.run"
_STATUS = {State.finished: "FINISHED", State.interrupted: "KILLED"}
_LONGEST = 6000
"""Characters that MLflow keeps of a parameter's value."""


class MLflow:
    """See `okdbench.tracking.Tracker`."""

    def __init__(self, place: str) -> None:
        try:
            import mlflow
            from mlflow.entities import Metric, Param
        except ImportError:
            raise needs_extra("mlflow", "mlflow-skinny", "mlflow") from None
        self._client = mlflow.MlflowClient(place or None)
        uri = self._client.tracking_uri
        self.see = uri if re.match("https?:", uri) else f"mlflow ui --backend-store-uri {uri}"
        self._metric, self._param = Metric, Param
        self._experiments: dict[str, str] = {}
        self._runs: dict[str, str] = {}
        self._client.search_experiments(max_results=1)

    def begin(self, run: TrackedRun) -> None:
        """Create a run, and delete those of the same id (which MLflow keeps in its trash)."""
        experiment = self._experiment(run.recipe)
        for old in self._client.search_runs([experiment], f"tags.`{RUN_TAG}` = '{run.id}'"):
            self._client.delete_run(old.info.run_id)
        made = self._client.create_run(experiment, tags={RUN_TAG: run.id}, run_name=run.name)
        self._runs[run.id] = made.info.run_id
        params = [self._param(key, value[:_LONGEST]) for key, value in run.settings.items()]
        self._client.log_batch(made.info.run_id, params=params)

    def add(self, run: TrackedRun, epoch: int, time: float, values: Mapping[str, float]) -> None:
        """Log the epoch as one batch."""
        metrics = [self._metric(_name(key), value, int(time * 1000), epoch) for key, value in values.items()]
        self._client.log_batch(self._runs[run.id], metrics=metrics)

    def end(self, run: TrackedRun, state: State) -> None:
        """Say how the run stands; one that is still trained stays open."""
        if not state.under_way:
            self._client.set_terminated(self._runs[run.id], _STATUS.get(state, "FAILED"))

    def _experiment(self, name: str) -> str:
        if name not in self._experiments:
            found = self._client.get_experiment_by_name(name)
            self._experiments[name] = found.experiment_id if found else self._client.create_experiment(name)
        return self._experiments[name]


def _name(key: str) -> str:
    """Return a name that MLflow allows."""
    return re.sub(r"[^\w\-./ ]", "-", key)


TRACKER = TrackerKind("mlflow", MLflow)
