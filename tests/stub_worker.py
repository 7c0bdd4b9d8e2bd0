"""Stands in for okdbench.worker: does at once what the run's ``settings["does"]`` (or a file) says, without torch.

It is started as ``python stub_worker.py RUN_DIR --data DIR --device D --threads N`` and notes in ``stub.json`` what it
was started with, when, and how many SIGINTs it got.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from okdbench.runs.machine import machine, start_of, still_runs

FOLDER = Path(sys.argv[1])
NOTES: dict[str, Any] = {"options": sys.argv[2:], "began": time.time(), "interrupts": 0, "session": os.getsid(0)}


def note(**more: Any) -> None:
    NOTES.update(more)
    write("stub.json", NOTES)


def write(name: str, content: Any) -> None:
    temporary = FOLDER / f"{name}.tmp"
    temporary.write_text(json.dumps(content))
    temporary.replace(FOLDER / name)


def progress(epoch: int, epochs: int, accuracy: float | None) -> None:
    state = {"epoch": epoch, "epochs": epochs, "step": 1, "steps": 2, "loss": 1.25, "head": "student"}
    write("progress.json", {**state, "accuracy": accuracy, "images_per_second": 1500.0, "time": time.time()})


def epoch(number: int) -> str:
    """A line of metrics."""
    metrics = {"student": {"top1": 55.5, "top5": 99.0, "ce": 1.5, "ece": 2.5, "max_logit": 3.5}}
    line = {"epoch": number, "lr": 0.1, "losses": {"ce": 1.25}, "heads": metrics, "seconds": 1.0}
    return json.dumps({**line, "images_per_second": 1500.0}) + "\n"


def record(config: dict[str, Any], status: str, reason: str | None) -> None:
    (FOLDER / "metrics.jsonl").write_text("".join(map(epoch, range(3))))
    identity = {"id": FOLDER.name.rpartition(".")[2], "config": config, "environment": {}, "wall_seconds": 1.0}
    heads = {"heads": ["student"], "deployed": "student", "epochs": 3}
    write("weights.pt", "stands for the trained weights")
    write("record.json", {**identity, **heads, "status": status, "reason": reason})


def interrupted(number: int, frame: FrameType | None) -> None:
    note(interrupts=NOTES["interrupts"] + 1)


def wait_for_interrupt(patient: bool) -> int:
    """Train on until interrupted; a patient one waits a little for a second interrupt, the other never stops."""
    while not (patient and NOTES["interrupts"]):
        time.sleep(0.02)
    time.sleep(0.3)
    (FOLDER / "checkpoint-000000001.pt").write_text("")
    return 75


def main() -> int:
    signal.signal(signal.SIGINT, interrupted)
    lease = take_lease()
    if lease is None:
        return 76
    try:
        (FOLDER / "failure.json").unlink(missing_ok=True)
        config = json.loads((FOLDER / "config.json").read_text())
        note()
        progress(0, 3, None)
        print("stub at work", flush=True)
        return work(config, what_to_do(config))
    finally:
        note(ended=time.time())
        lease.write_text(json.dumps({"released": True}))


def take_lease() -> Path | None:
    """The lease as the worker takes it; None if a process of this machine holds it."""
    leases = sorted(FOLDER.glob("lease.*"), key=lambda path: int(path.suffix[1:]))
    beat = json.loads(leases[-1].read_text()) if leases else {"released": True}
    if not beat.get("released") and still_runs(beat["pid"], beat["start"]):
        return None
    number, pid = int(leases[-1].suffix[1:]) + 1 if leases else 1, os.getpid()
    lease = FOLDER / f"lease.{number}"
    try:
        with lease.open("x") as file:
            process = {"host": "here", "machine": machine(), "pid": pid, "start": start_of(pid)}
            json.dump({**process, "since": time.time(), "decided": True}, file)
    except FileExistsError:
        return None
    return lease


def first_try() -> bool:
    """Whether no worker has asked before in this folder."""
    seen = (FOLDER / "tried").exists()
    (FOLDER / "tried").touch()
    return not seen


def what_to_do(config: dict[str, Any]) -> str:
    """The word in the settings, or in a file ``does`` where the settings must be those of a real method."""
    file = FOLDER / "does"
    return file.read_text() if file.exists() else str(config["settings"].get("does", "finish"))


def work(config: dict[str, Any], does: str) -> int:
    if does == "wait" and not (FOLDER / "checkpoint-000000001.pt").exists():
        return wait_for_interrupt(patient=True)
    if does == "stall once" and first_try():
        return 79
    if does == "never stop" or (does == "freeze once" and first_try()):
        return wait_for_interrupt(patient=False)
    if does == "fail":
        write("failure.json", {"error": "ValueError: out of luck", "time": time.time()})
        return 1
    if does == "run out of memory" and first_try():
        write("failure.json", {"error": "OutOfMemoryError: too much", "time": time.time(), "out_of_memory": True})
        return 1
    if does == "die" or (does == "die once" and first_try()):
        os.kill(os.getpid(), signal.SIGKILL)
    if does == "leave":
        return 0
    time.sleep(0.2)
    progress(2, 3, 55.5)
    record(config, *(("diverged", "loss is not finite") if does == "diverge" else ("finished", None)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
