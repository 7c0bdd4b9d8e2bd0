"""Where on_gpu.py works, and how much of it: the real thing, or a rehearsal of seconds."""

from dataclasses import dataclass
from pathlib import Path

from children import Children

REHEARSAL = "REHEARSAL: tiny networks and images, single operations in place of graphs: no figure means anything"


@dataclass(frozen=True)
class Place:
    """Folders, device, and what starts the commands; in a ``rehearsal`` all sizes are the smallest that work."""

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
