"""Training inside a run: the trainer keeps its own checkpoints and resumes from them; the run records the last one."""

from typing import Any

from curation.errors import SourceError
from curation.tables import Run
from jobs.stage import Item, Output
from model.checkpoint import latest_checkpoint
from model.config import TrainConfig, from_dict
from model.train import train


def plan(run: Run, **_: object) -> list[Item]:
    """Return one item; raises SourceError when nothing was kept."""
    if not run.num_parts("shards"):
        raise SourceError(f"no image was kept, so there is nothing to train on: `imageloom status {run.root}` says why")
    return [{"parts": [0]}]


def work(run: Run, item: Item, **parameters: Any) -> list[Output]:
    """Train to the last step and record the final checkpoint's files."""
    folder = run.folder("checkpoints")
    result = train(from_dict(TrainConfig, parameters), shards=run.folder("shards"), out=folder)
    last = latest_checkpoint(folder)
    assert last is not None, "a finished training has a checkpoint"
    files = sorted(path.relative_to(run.root).as_posix() for path in last.rglob("*") if path.is_file())
    return [Output(0, None, published=files, counts={"ok": result.step})]
