"""The record of a training run: log.jsonl and TensorBoard events.

An update is one event with all its numbers, written by the loop's own thread. tensorboardX's SummaryWriter makes an event of each
number and hands each to another thread through a queue of ten: an update with more of them waits until that thread has had its
turn.
"""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

FLUSH_SECONDS = 10.0
"""Between waits for the disk, so that TensorBoard can follow; log.jsonl is written with every update."""


class TrainLog:
    """log.jsonl (one line per update) and TensorBoard events, cut back to the step that training goes on from."""

    def __init__(self, out: Path, step: int) -> None:
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        path = out / "log.jsonl"
        lines = path.read_text().splitlines() if path.is_file() else []
        path.write_text("".join(f"{line}\n" for line in lines[:step]))
        self._out, self._file = out, path.open("a", buffering=1)
        (out / "tensorboard").mkdir(exist_ok=True)
        self._events = EventsWriter(str(out / "tensorboard" / "events"))
        self._flushed = time.monotonic()
        if step:  # TensorBoard then hides what an earlier process wrote from there on
            log = SessionLog(status=SessionLog.START)
            self._events.write_event(Event(step=step + 1, session_log=log, wall_time=time.time()))

    def write(self, record: dict[str, Any]) -> None:
        """Append the record of an update: `step`, numbers, and paths of PNG files, which become images in TensorBoard."""
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary
        from tensorboardX.summary import image

        plain = {
            name: value.relative_to(self._out).as_posix() if isinstance(value, Path) else value for name, value in record.items()
        }
        self._file.write(json.dumps(plain) + "\n")
        shown = list[Any]()
        for name, value in record.items():
            tag = name if "/" in name else f"train/{name}"
            if isinstance(value, Path):
                shown += image(tag, np.asarray(Image.open(value).convert("RGB")), dataformats="HWC").value
            elif name not in ("step", "epoch") and isinstance(value, int | float):
                shown.append(Summary.Value(tag=tag, simple_value=value))
        self._events.write_event(Event(step=record["step"], summary=Summary(value=shown), wall_time=time.time()))
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self._events.flush()
            self._flushed = time.monotonic()

    def __enter__(self) -> "TrainLog":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._events.close()
