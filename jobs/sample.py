"""Samples of the trained model inside a run."""

from collections.abc import Sequence
from pathlib import Path

from curation.errors import ModelError
from curation.tables import Run
from jobs.stage import Item, Output
from model.checkpoint import latest_checkpoint
from model.sampler import sample


def plan(run: Run, **_: object) -> list[Item]:
    """Return one item."""
    return [{"parts": [0]}]


def work(
    run: Run,
    item: Item,
    *,
    prompts: Sequence[str],
    seeds_per_prompt: int,
    width_px: int,
    height_px: int,
    num_steps: int,
    guidance: float,
    seed: int,
) -> list[Output]:
    """Write one PNG per prompt and seed, and the contact sheet."""
    paths = sample(
        newest(run),
        prompts=[prompt for prompt in prompts for _ in range(seeds_per_prompt)],
        width_px=width_px,
        height_px=height_px,
        num_steps=num_steps,
        guidance=guidance,
        seed=seed,
        out=run.folder("samples"),
    )
    files = [path.relative_to(run.root).as_posix() for path in paths]
    return [Output(0, None, published=files, counts={"ok": len(paths) - 1})]


def newest(run: Run) -> Path:
    """Return the run's last checkpoint; raises ModelError when there is none."""
    found = latest_checkpoint(run.folder("checkpoints"))
    if found is None:
        raise ModelError(f"{run.folder('checkpoints')} holds no complete checkpoint; train first")
    return found
