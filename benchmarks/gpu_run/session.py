"""Settings that all parts of the run share: device, folders, and whether it is a rehearsal."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.gpu_run.children import Children

REHEARSAL = "REHEARSAL: tiny networks and images, single operations in place of graphs: its figures mean nothing"


@dataclass(frozen=True)
class Session:
    """Device, folders, and what starts the commands; a ``rehearsal`` takes the smallest sizes that work."""

    device: str
    data: Path
    output: Path
    results: Path
    rehearsal: bool
    children: Children

    def file(self, part: str) -> Path:
        """The findings of a part."""
        return self.output / f"{part}.json"

    @property
    def there(self) -> list[str]:
        """Options of `okdbench bench` and `run`."""
        return [*self.folders, "--device", self.device]

    @property
    def folders(self) -> list[str]:
        """Options of all verbs that read records and images."""
        return ["--data", str(self.data), "--results", str(self.results)]
