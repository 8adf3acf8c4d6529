"""Evaluation of the trained model inside a run: do samples follow their prompts?"""

from collections.abc import Mapping, Sequence

from curation.tables import Run
from jobs.sample import newest
from jobs.stage import Item, Output
from model.evaluate import evaluate


def plan(run: Run, **_: object) -> list[Item]:
    """Return one item."""
    return [{"parts": [0]}]


def work(
    run: Run,
    item: Item,
    *,
    classes: Mapping[str, str | Sequence[str]],
    prompts: Mapping[str, Sequence[str]],
    num_samples: int,
    num_edits: int,
    num_steps: int,
    guidance: float,
    seed: int,
) -> list[Output]:
    """Write evaluation.json and a grid of the samples that were judged."""
    folder = run.folder("evaluation")
    evaluate(
        newest(run),
        shards=run.folder("shards"),
        classes=classes,
        prompts={
            name: prompts.get(name) or ([phrases] if isinstance(phrases, str) else phrases) for name, phrases in classes.items()
        },
        num_samples=num_samples,
        num_edits=num_edits,
        num_steps=num_steps,
        guidance=guidance,
        seed=seed,
        out=folder,
    )
    files = sorted(path.relative_to(run.root).as_posix() for path in folder.glob("[!_]*") if path.is_file())
    return [Output(0, None, published=files, counts={"ok": num_samples})]
