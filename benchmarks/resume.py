"""What a loader repeats and skips when training is interrupted: ours beside torchdata's StatefulDataLoader; and reading speed.

    .venv/bin/python -m benchmarks.resume --torchdata PYTHON      # benchmarks/results/resume.{json,md}

Both read the same eight WebDataset tars of 192 photographs. A scenario is a row of segments (ranks, workers, batches of 8);
between segments all loaders are made anew from the saved state. Batches of all ranks are put together and compared, epoch by
epoch of 24 batches, with "every sample once"; and, order included, with a straight run of as many batches under the first
segment's ranks and workers. Our workers are the threads that read ahead. PYTHON is an interpreter with torchdata and webdataset.

Reading: CPU seconds of one process for bytes alone, for pixels at 256 px, and for whole training batches at 64 px with a PCA
autoencoder (the second epoch finds its latents in memory); webdataset decodes the same tars. Medians of interleaved rounds.
Noise, plan and queue are what batches cost beyond pixels, latents and text.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import skimage.data
import torch
import webdataset
from PIL import Image

from benchmarks.about import about, heading
from benchmarks.knn import RESULTS, ROOT
from benchmarks.raw_shards import write_raw_shards
from model.autoencoder import PCAAutoencoder, to_signed
from model.config import DataConfig, TrainConfig
from model.data import Batches, make_plan
from model.plan import Shape
from model.shard_reader import ShardReader
from model.text import HashText, TextCache

SAMPLES, SHARDS, BATCH = 192, 8, 8
EPOCH = SAMPLES // BATCH

Segment = dict[str, int]


def at(batches: int, *, world: int = 1, workers: int = 2) -> Segment:
    """Return a segment."""
    return {"world": world, "workers": workers, "batches": batches}


SCENARIOS: dict[str, list[Segment]] = {
    "in the middle of an epoch": [at(10), at(14)],
    "twice in a row": [at(6), at(4), at(14)],
    "twice in a row, no workers": [at(6, workers=0), at(4, workers=0), at(14, workers=0)],
    "at the end of an epoch": [at(EPOCH), at(EPOCH)],
    "2 ranks -> 1 -> 2": [at(6, world=2), at(4), at(14, world=2)],
    "2 workers -> 0": [at(10), at(14, workers=0)],
    "0 workers -> 2": [at(10, workers=0), at(14)],
}


def main() -> None:
    """Run every scenario with every loader, measure reading, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torchdata", type=Path, help="Python interpreter with torchdata installed")
    options = parser.parse_args()
    load = round(os.getloadavg()[0], 1)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        shards = make_shards(Path(scratch))
        rows = [judged("imageloom", name, ours(shards, segments), ours(shards, straight(segments)))
                for name, segments in SCENARIOS.items()]  # fmt: skip
        for arm in ("webdataset", "map") if options.torchdata else ():
            pairs = [(segments, straight(segments)) for segments in SCENARIOS.values()]
            told = theirs(options.torchdata, arm, [one for pair in pairs for one in pair], shards)
            rows += [judged(f"torchdata, {arm}", name, *told[2 * k : 2 * k + 2]) for k, name in enumerate(SCENARIOS)]
        reading = measure_reading(shards)
    facts = about("python -m benchmarks.resume --torchdata PYTHON", load=load, packages=("torch", "webdataset", "numpy"))
    if options.torchdata:
        facts["versions"]["torchdata"] = version_of(options.torchdata)
    result = {**facts, "samples": SAMPLES, "scenarios": rows, "reading": reading}
    (RESULTS / "resume.json").write_text(json.dumps(result, indent=1) + "\n")
    (RESULTS / "resume.md").write_text(page(result))


def make_shards(scratch: Path) -> Path:
    """Write eight tars with 25 crops of photographs each, as JPEG, and their index."""
    generator = np.random.default_rng(0)
    photos = [skimage.data.astronaut(), skimage.data.coffee(), skimage.data.chelsea(), skimage.data.rocket()]
    shards = scratch / "shards"
    shards.mkdir()
    for number in range(SHARDS):
        source, own = scratch / f"source{number}", scratch / f"own{number}"
        source.mkdir()
        for k in range(SAMPLES // SHARDS):
            photo = photos[int(generator.integers(len(photos)))]
            top, left = (int(generator.integers(side - 255)) for side in photo.shape[:2])
            Image.fromarray(photo[top : top + 256, left : left + 256]).save(source / f"{k:03d}.jpg", quality=90)
            (source / f"{k:03d}.txt").write_text(f"photograph {number} {k}")
        write_raw_shards(source, own)
        name = f"shard-{number:06d}"
        (own / "shard-000000.tar").rename(shards / f"{name}.tar")
        index = pq.read_table(own / "shard-000000.parquet")
        place = index.schema.get_field_index("shard")
        pq.write_table(
            index.set_column(place, index.schema.field(place), [[f"{name}.tar"] * len(index)]), shards / f"{name}.parquet"
        )
    return shards


def straight(segments: list[Segment]) -> list[Segment]:
    """Return the same batches without interruption."""
    return [segments[0] | {"batches": sum(segment["batches"] for segment in segments)}]


def opened(shards: Path, *, prefetch: int = 2, resolution_px: int = 64) -> Batches:
    """Return our loader."""
    config = TrainConfig(batch_size=BATCH, data=DataConfig(resolution_px=resolution_px, prefetch=prefetch))
    reader = ShardReader(shards)
    pixels = [torch.from_numpy(reader.pixels(row, Shape(64, 64)))[None] for row in range(8)]
    autoencoder = PCAAutoencoder.fit(map(to_signed, pixels), downsample=4, channels=12)
    return Batches(make_plan(config, reader, unit_px=8), reader, autoencoder, TextCache(HashText(width=64)), config, patch=2)


def ours(shards: Path, segments: list[Segment]) -> list[dict[str, Any]]:
    """Return the batches of ids of each segment; the state between two is (epoch, number)."""
    told, epoch, number = [], 0, 0
    for segment in segments:
        world, count = segment["world"], segment["batches"]
        loader = opened(shards, prefetch=1 + segment["workers"])
        ranks = [list(loader.run(epoch, number, count=count, rank=rank, world_size=world)) for rank in range(world)]
        told.append({"batches": [[name for rank in ranks for name in rank[k].ids] for k in range(count)]})
        epoch, number = ranks[0][-1].epoch, ranks[0][-1].number + 1
    return told


def theirs(python: Path, arm: str, scenarios: list[list[Segment]], shards: Path) -> list[list[dict[str, Any]]]:
    """Return the same of each scenario from torchdata."""
    command = [str(python), "-m", "benchmarks.resume_torchdata", arm, json.dumps(scenarios), str(shards)]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    if answer.returncode:
        raise SystemExit(answer.stderr)
    told: list[list[dict[str, Any]]] = json.loads(answer.stdout.splitlines()[-1])
    return told


def judged(loader: str, scenario: str, told: list[dict[str, Any]], whole: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what was repeated and skipped within epochs, and whether the order is that of the straight run."""
    row: dict[str, Any] = {"loader": loader, "scenario": scenario}
    error = next((part["error"] for part in told if "error" in part), None)
    if error:
        return row | {"error": error}
    batches, expected = ([batch for part in parts for batch in part["batches"]] for parts in (told, whole))
    repeated = skipped = 0
    for start in range(0, len(batches), EPOCH):
        names = [name for batch in batches[start : start + EPOCH] for name in batch]
        repeated += len(names) - len(set(names))
        skipped += SAMPLES - len(set(names))
    return row | {"repeated": repeated, "skipped": skipped, "same_order": batches == expected}


def measure_reading(shards: Path, rounds: int = 3) -> dict[str, float]:
    """Return images per CPU second by what is done with them."""
    reader = ShardReader(shards)
    urls = sorted(str(path) for path in shards.glob("*.tar"))

    def decoded() -> None:
        for row in range(SAMPLES):
            reader.pixels(row, Shape(256, 256))

    def by_webdataset() -> None:
        for sample in webdataset.WebDataset(urls, shardshuffle=False).decode("rgb8"):
            assert sample["jpg"].shape == (256, 256, 3)

    def by_hand(loader: Batches) -> None:
        for row in range(SAMPLES):
            loader.autoencoder.encode(to_signed(torch.from_numpy(loader.reader.pixels(row, Shape(64, 64)))[None]))
            loader.text.encode([loader.reader.captions(row)[0].text])

    def batches(loader: Batches, epoch: int) -> None:
        assert sum(len(batch) for batch in loader.run(epoch, 0, count=EPOCH)) == SAMPLES

    ways: dict[str, Callable[[Batches], object]] = {
        "bytes": lambda _: [reader.members.read(row, "image") for row in range(SAMPLES)],
        "pixels at 256 px": lambda _: decoded(),
        "webdataset, pixels at 256 px": lambda _: by_webdataset(),
        "pixels at 64 px, latents and text, by hand": by_hand,
        "training batches at 64 px, first epoch": lambda loader: batches(loader, 0),
        "training batches at 64 px, second epoch": lambda loader: batches(loader, 1),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        fresh, loader = opened(shards), opened(shards)
        for name, way in ways.items():
            began = time.process_time()
            way(fresh if way is by_hand else loader)
            seconds[name].append(time.process_time() - began)
    found = {name: round(SAMPLES / median(took), 1) for name, took in seconds.items()}
    hand, first = (seconds[name] for name in list(ways)[3:5])
    return found | {"overhead": round(median(b / a - 1 for a, b in zip(hand, first, strict=True)), 3)}


def version_of(python: Path) -> str:
    """Return the version of torchdata there."""
    asked = [str(python), "-c", "from importlib.metadata import version; print(version('torchdata'))"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


def page(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    lines = ["# Resuming in the middle of the data", "", heading(result), ""]
    lines.append(
        f"{SAMPLES} samples in {SHARDS} tars, global batches of {BATCH}; an epoch is {EPOCH} batches. Repeated and skipped: "
        "samples seen more than once, or never, in an epoch; 0 and 0 is right."
    )
    lines.append("")
    lines += [
        "| interrupted | loader | repeated | skipped | order of a straight run |",
        "|---|---|---|---|---|",
    ]
    for scenario in SCENARIOS:
        for row in (row for row in result["scenarios"] if row["scenario"] == scenario):
            if "error" in row:
                lines.append(f"| {scenario} | {row['loader']} | {row['error']} | | |")
                continue
            numbers = " | ".join(str(row[name]) for name in ("repeated", "skipped"))
            lines.append(f"| {scenario} | {row['loader']} | {numbers} | {'yes' if row['same_order'] else 'no'} |")
    lines.append("")
    lines.append(
        "`webdataset`: the tars as an iterable data set, split by rank and worker, not shuffled. `map`: torchdata's "
        "distributed sampler over a data set with random access. A rank without a saved state of its own is given rank 0's."
    )
    lines.append("")
    reading = result["reading"]
    lines += ["## Reading", "", "| what | images per CPU second |", "|---|---|"]
    lines += [f"| {name} | {speed:,.0f} |" for name, speed in reading.items() if name != "overhead"]
    lines += ["", f"Training batches cost {reading['overhead']:+.1%} CPU beside the same pixels, latents and text made by hand "
              "(plan, noise, queue and stacking)."]  # fmt: skip
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
