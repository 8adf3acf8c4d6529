"""The record of a training run: log.jsonl and TensorBoard events."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


class TrainLog:
    """log.jsonl (one line per update) and TensorBoard events, cut back to the step that training goes on from."""

    def __init__(self, out: Path, step: int) -> None:
        from tensorboardX import SummaryWriter

        path = out / "log.jsonl"
        lines = path.read_text().splitlines() if path.is_file() else []
        path.write_text("".join(f"{line}\n" for line in lines[:step]))
        self._out, self._file = out, path.open("a", buffering=1)
        self._events = SummaryWriter(str(out / "tensorboard"), purge_step=step + 1 if step else None)

    def write(self, record: dict[str, Any]) -> None:
        """Append the record of an update: `step`, numbers, and paths of PNG files, which become images in TensorBoard."""
        plain = {
            name: value.relative_to(self._out).as_posix() if isinstance(value, Path) else value for name, value in record.items()
        }
        self._file.write(json.dumps(plain) + "\n")
        for name, value in record.items():
            tag = name if "/" in name else f"train/{name}"
            if isinstance(value, Path):
                self._events.add_image(tag, np.asarray(Image.open(value).convert("RGB")), record["step"], dataformats="HWC")
            elif name not in ("step", "epoch") and isinstance(value, int | float):
                self._events.add_scalar(tag, value, record["step"])

    def __enter__(self) -> "TrainLog":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._events.close()
