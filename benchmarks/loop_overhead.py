"""What the training loop costs beside the updates: waiting for data, watching and logging, as a share of a step.

    .venv/bin/python -m benchmarks.loop_overhead        # benchmarks/results/loop_overhead.{json,md}

Trains the demo's model (2 million parameters, batches of 32 drawn shapes at 32 px, PCA autoencoder) on one thread: a first epoch,
which decodes and encodes, and later ones, which find their latents in memory. The log says of each update how long it took and
how long it waited for its batch; what lies between the updates is watching, logging and the progress callback. CPU seconds of the
whole process are set beside those of the updates alone, called again on the same batches without a loop.
"""

import argparse
import json
import os
import resource
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.about import about, heading
from benchmarks.knn import RESULTS
from benchmarks.learning_sets import write_shape_folder
from benchmarks.raw_shards import write_raw_shards
from model.config import TINY, DataConfig, TrainConfig
from model.parallel import clip
from model.ranks import Ranks
from model.run_inputs import open_batches
from model.train import gradients, train
from model.train_batch import TrainBatch
from model.train_state import TrainState
from model.watch import Update

IMAGES, BATCH, STEPS, EPOCH = 512, 32, 64, 16
"""One epoch is 16 updates: the first epoch is measured by itself."""


class Clock:
    """A watch that notes wall and CPU time when an update has ended, before it is logged, and when it was logged."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.seconds: list[float] = []
        self.waited: list[float] = []
        self.cpu: list[float] = []
        self.thread: list[float] = []
        self.logged: list[float] = []

    def __call__(self, update: Update) -> dict[str, Any]:
        """Note the times and log nothing."""
        self.ends.append(time.monotonic())
        self.seconds.append(update.seconds)
        self.waited.append(update.data_seconds)
        self.cpu.append(cpu_seconds())
        self.thread.append(time.thread_time())
        return {}

    def told(self, line: dict[str, Any]) -> None:
        """Note what the loop's thread has used once a line is written."""
        self.logged.append(time.thread_time())


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


CONFIG = TrainConfig(model=TINY, data=DataConfig(caption_dropout=0.1), num_steps=STEPS, batch_size=BATCH, num_threads=1,
                     checkpoint_every=STEPS)  # fmt: skip


def measure(folder: Path) -> dict[str, Any]:
    """Return seconds of the first and of the later epochs, per update, and CPU seconds of bare updates."""
    write_shape_folder(folder / "pictures", count=IMAGES, seed=0)
    write_raw_shards(folder / "pictures", folder / "shards")
    clock = Clock()
    train(CONFIG, shards=folder / "shards", out=folder / "out", watches=[clock], progress=clock.told)
    batches = open_batches(CONFIG, folder / "shards", folder / "out", checkpoint=None, base=None, ranks=Ranks())
    bare = bare_updates(list(batches.run(0, 0, count=EPOCH)))
    return {
        "first_epoch": of_updates(clock, range(1, EPOCH)),
        "later_epochs": of_updates(clock, range(EPOCH, STEPS)) | {"bare_update_cpu_seconds": bare},
    }


def of_updates(clock: Clock, steps: range) -> dict[str, float]:
    """Return medians over updates: the whole time from end to end, waiting for data, and what lay between two updates."""
    whole = [clock.ends[i] - clock.ends[i - 1] for i in steps]
    between = [max(0.0, whole[k] - clock.seconds[i]) for k, i in enumerate(steps)]
    shares = [(clock.waited[i] + between[k]) / whole[k] for k, i in enumerate(steps)]
    return {
        "wall_seconds": median(whole),
        "data_seconds": median(clock.waited[i] for i in steps),
        "logging_seconds": median(between),
        "logging_thread_cpu_seconds": median(clock.logged[i] - clock.thread[i] for i in steps),
        "overhead_share": median(shares),
        "cpu_seconds": (clock.cpu[steps[-1]] - clock.cpu[steps[0] - 1]) / len(steps),
    }


def bare_updates(batches: list[TrainBatch]) -> float:
    """Return the CPU seconds of one update without a loop: loss, gradient, clipping, optimiser, average."""
    torch.set_num_threads(1)
    state = TrainState.create(CONFIG, None, "")
    started = cpu_seconds()
    for step, batch in enumerate(batches):
        state.optimizer.zero_grad(set_to_none=True)
        gradients(state, batch, CONFIG, Ranks())
        clip(state.trained.values(), CONFIG.max_grad_norm)
        state.optimizer.step()
        state.follow(step, CONFIG.ema_decay)
    return (cpu_seconds() - started) / len(batches)


def page(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    first, later = result["first_epoch"], result["later_epochs"]
    rows = [
        ("from update to update, wall ms", "wall_seconds"),
        ("waiting for the batch, wall ms", "data_seconds"),
        ("watching and logging, wall ms", "logging_seconds"),
        ("logging, CPU ms of the loop's thread", "logging_thread_cpu_seconds"),
        ("CPU ms per update, all threads", "cpu_seconds"),
    ]
    lines = [
        "# What the training loop costs beside the updates",
        "",
        heading(result["about"], how="one thread, "),
        "",
        f"{IMAGES} drawn shapes, batches of {BATCH}, the 2-million-parameter model; medians over the updates of an epoch. On a "
        "machine with more to do than cores, wall times hold the turns of others: what logging itself takes is its CPU time.",
        "",
        "| | first epoch (decodes and encodes) | later epochs |",
        "|---|---|---|",
        *(f"| {name} | {1e3 * first[key]:.2f} | {1e3 * later[key]:.2f} |" for name, key in rows),
        f"| **waiting and logging, share of a step** | {first['overhead_share']:.2%} | **{later['overhead_share']:.2%}** |",
        "",
        f"An update alone, without loop, reader and log, takes {1e3 * later['bare_update_cpu_seconds']:.2f} ms of CPU: in later "
        f"epochs all else is {max(0.0, 1 - later['bare_update_cpu_seconds'] / later['cpu_seconds']):.1%} of the CPU time, "
        "in threads of its own where a core is free.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure and write the result."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    load = round(os.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder))
    result["about"] = about("python -m benchmarks.loop_overhead", load=load, packages=["torch", "numpy"])
    (RESULTS / "loop_overhead.json").write_text(json.dumps(result, indent=1) + "\n")
    (RESULTS / "loop_overhead.md").write_text(page(result))
    print(page(result))


if __name__ == "__main__":
    main()
