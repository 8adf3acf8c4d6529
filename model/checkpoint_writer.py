"""Writing checkpoints while training goes on: one process writes at once, several write their parts in threads.

The next checkpoint, and the end of training, wait until the one before is complete. What a killed writer leaves has a hidden name
and is removed; a folder with its final name is whole.
"""

import logging
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import torch.distributed as dist
from safetensors import SafetensorError
from torch.distributed.checkpoint.api import CheckpointException

from curation.errors import StageFailed
from model.autoencoder import Autoencoder
from model.checkpoint import Base, Progress, complete, hidden_folder, is_there, prune, save_checkpoint
from model.config import TrainConfig
from model.ranks import Ranks
from model.sharded import FOLDER, write_sharded, write_whole
from model.train_state import TrainState

logger = logging.getLogger(__name__)


class CheckpointWriter:
    """Writes the checkpoints of one training; every process calls it at the same steps."""

    def __init__(self, out: Path, config: TrainConfig, autoencoder: Autoencoder, *, base: Base | None, ranks: Ranks) -> None:
        self.out, self.config, self.autoencoder, self.base, self.ranks = out, config, autoencoder, base, ranks
        self._group: dist.ProcessGroup | None = None
        if ranks.size > 1:
            group = dist.new_group(backend="gloo")
            assert isinstance(group, dist.ProcessGroup), "this process is a member of the group"
            self._group = group
        self._thread = ThreadPoolExecutor(1)
        self._pending: Future[object] | None = None

    def save(self, state: TrainState) -> None:
        """Write the checkpoint of `state`, and remove those that are too old."""
        self.wait()
        if self._group is None:
            with _failures(self.out):
                save_checkpoint(
                    self.out, progress=state.progress, config=self.config, weights=dict(state.trained), ema=state.ema,
                    optimizer=state.moments(), autoencoder=self.autoencoder, base=self.base,
                )  # fmt: skip
            prune(self.out, keep=self.config.keep_checkpoints)
            return
        folder = self.ranks.first_does(lambda: self._begin(state.progress))
        if folder is None:
            return
        written = write_sharded(state.tensors(), folder / FOLDER, self._group)
        progress = state.progress
        self._pending = self._thread.submit(self._finish, written, folder, progress) if self.ranks.first else written

    def wait(self) -> None:
        """Return when the last checkpoint is complete; raises what went wrong with it."""
        pending, self._pending = self._pending, None
        if pending is not None:
            with _failures(self.out):
                pending.result()

    def __enter__(self) -> "CheckpointWriter":
        return self

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        """Wait in all processes, so that each finds the last checkpoint; after a failure for this one's own part alone."""
        if failed is None:
            self.wait()
            self.ranks.wait()
        elif self._pending is not None and self._pending.exception() is not None:
            logger.warning("the last checkpoint is not complete: %s", self._pending.exception())
        self._thread.shutdown(wait=True)

    def _begin(self, progress: Progress) -> Path | None:
        return None if is_there(self.out, progress.step) else hidden_folder(self.out, progress.step)

    def _finish(self, written: "Future[object]", folder: Path, progress: Progress) -> None:
        written.result()
        for group in ("model", "ema"):
            write_whole(folder / FOLDER, f"{group}/", folder / f"{group}.safetensors")
        complete(folder, progress=progress, config=self.config, autoencoder=self.autoencoder, base=self.base)
        prune(self.out, keep=self.config.keep_checkpoints)


@contextmanager
def _failures(out: Path) -> Iterator[None]:
    """Turn what a full or lost disk makes the writers raise into StageFailed."""
    try:
        yield
    except (OSError, SafetensorError, CheckpointException) as error:
        reason = str(error).strip().splitlines()[-1]
        raise StageFailed(
            f"{out}: no checkpoint can be written ({reason}); make room, and the same command goes on from the last one there"
        ) from error
