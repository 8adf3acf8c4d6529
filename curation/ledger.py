"""The book-keeping of a run as rows for a person: what came in, what became of it, what each table cost, what was packed.

Reads manifests, commits and a few narrow columns; every number is counted from the tables, none is kept beside them.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from curation.buckets import area_px
from curation.decisions import decisions
from curation.tables import Run

TABLES: Mapping[str, str] = {
    "images": "reads, hashes and decodes every file once",
    "metrics": "measures size, sharpness, colour and compression",
    "embeddings": "turns each picture into a vector; alike pictures get near vectors",
    "tags": "names what the picture shows",
    "scores": "asks trained judges, such as the not-safe-for-work one",
    "ocr": "reads the text in the picture",
    "exact": "finds files with the same bytes or the same pixels",
    "centroids": "divides the vectors into lists of near ones",
    "lists": "puts vectors into the order of those lists",
    "nearest": "finds nearest vectors list by list, in large collections",
    "neighbours": "finds each picture's nearest vectors",
    "hierarchy": "sorts pictures by what they show, from coarse to fine",
    "caption_fit": "compares each caption with those of pictures that look alike",
    "pairs": "proposes pairs that may be copies",
    "edges": "lists every near pair once",
    "keypoints": "marks corners and blobs that survive resizing and cropping",
    "verdicts": "looks at each near pair again: copy, part of, or different",
    "forests": "notes what every part of the pairs connects",
    "components": "gathers what is connected, however indirectly",
    "partitions": "divides what is connected into groups of copies",
    "communities": "joins copies of copies into groups",
    "confirmations": "looks at the members of each group beside each other",
    "duplicates": "names one keeper for every group",
    "placeholders": "names pictures that stand where others should",
    "watermarks": "names lines of text that are on many pictures of a source",
    "selection": "keeps or drops each image, with the reason",
    "mentions": "links names in each image's texts to a knowledge base",
    "captions": "writes captions from what was measured",
    "taxonomy": "gathers all that the kept images show into one forest of concepts",
    "balance": "weighs each kept image, so that rare concepts are seen more often and common ones less",
    "concept_shares": "counts what the balance made of every concept",
    "shards": "packs the kept images into tar files for training",
    "edit_pairs": "makes pairs of pictures with the edit between them, and checks it",
    "pair_shards": "packs those pairs into tar files",
    "checkpoints": "trains the image model on the shards",
    "samples": "draws new images from prompts",
    "evaluation": "tests whether the samples show what was asked for",
    "sample_loss": "asks the trained model how well it knows each picture",
}
"""The tables of a run in the order of their making, and what making them does, in a newcomer's words."""

LEFT_OUT = "images/_left_out.json"
"""Key of the source's files that claim no image, counted by suffix when the source was listed."""

MAX_FAILURES = 200
"""Failed files that the report lists one by one."""


def balance(run: Run) -> dict[str, Any]:
    """Return images in, kept, undecided, dropped by reason and failed by code.

    `adds_up`: the last four add up to the first, which is counted from IMAGES' own commits. Before selection every readable
    image is undecided; before ingest everything is 0. `left_out` counts the source's files that claim no image, by suffix.
    """
    total = sum(commit.rows for commit in run.commits("images"))
    if run.has("selection"):
        rows = decisions(run)
        counts = Counter(zip(rows["status"].to_pylist(), rows["reason"].to_pylist(), strict=True))
    else:
        codes: Counter[str] = Counter()
        for commit in run.commits("images"):
            codes.update(commit.counts)
        counts = Counter({("undecided", "") if code == "ok" else ("failed", code): number for code, number in codes.items()})

    def by_reason(status: str) -> dict[str, int]:
        found = {str(reason): number for (kind, reason), number in counts.items() if kind == status}
        return dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))

    return {
        "in": total,
        "kept": sum(by_reason("kept").values()),
        "undecided": sum(by_reason("undecided").values()),
        "dropped": by_reason("dropped"),
        "failed": by_reason("failed"),
        "adds_up": total == sum(counts.values()),
        "left_out": json.loads(run.store.get(LEFT_OUT)) if run.store.exists(LEFT_OUT) else {},
    }


def stage_rows(run: Run) -> Iterator[dict[str, Any]]:
    """Yield one row per started table: state, rows, rows that failed there first, cost and parts, from manifests and commits."""
    failed_before = 0
    for table, meaning in TABLES.items():
        manifest, started, commits = run.manifest(table), run.started(table), run.commits(table)
        if manifest is None and started is None and not commits:
            continue
        counts: Counter[str] = Counter()
        for commit in commits:
            counts.update(commit.counts)
        failed = sum(counts.values()) - sum(counts[status] for status in ("ok", "kept", "dropped"))
        yield {
            "table": table,
            "meaning": meaning,
            "complete": manifest is not None,
            "rows": sum(commit.rows for commit in commits),
            "failed": max(0, failed - failed_before),
            "wall_seconds": (manifest or {}).get("elapsed_seconds", sum(commit.wall_seconds for commit in commits)),
            "cpu_seconds": sum(commit.cpu_seconds for commit in commits),
            "parts": len(commits),
            "of_parts": len(commits) if manifest is not None else int((started or {}).get("parts", 0)),
        }
        if table == "images":
            failed_before = failed


def bucket_rows(run: Run) -> list[dict[str, Any]]:
    """Return kept images and their summed weights per resolution bucket, smallest area first."""
    if not run.has("selection"):
        return []
    table = decisions(run).select(["bucket", "weight"]).filter(pc.field("bucket").is_valid())
    grouped = table.group_by("bucket").aggregate([("weight", "count"), ("weight", "sum")]).to_pylist()
    rows = [{"bucket": row["bucket"], "images": row["weight_count"], "weight": row["weight_sum"]} for row in grouped]
    return sorted(rows, key=lambda row: (area_px(row["bucket"]), row["bucket"]))


def failure_rows(run: Run) -> list[dict[str, Any]]:
    """Return the first MAX_FAILURES failed images: key, error, error_detail, length."""
    if not run.has("images"):
        return []
    columns = ["key", "error", "error_detail", "length"]
    failed = run.read("images", columns).filter(pc.field("error").is_valid())
    rows: list[dict[str, Any]] = failed.slice(0, MAX_FAILURES).to_pylist()
    return rows


def shard_rows(run: Run) -> list[dict[str, Any]]:
    """Return one row per shard: samples, buckets, bytes of the images and of the tar."""
    if not run.has("shards") or not run.commits("shards"):
        return []
    index = run.read("shards", ["shard", "image_length", "bucket"])
    sizes = {Path(key).name: size for commit in run.commits("shards") for key, (_, size) in commit.files.items()}
    measures = [("image_length", "count"), ("image_length", "sum"), ("bucket", "count_distinct")]
    rows = index.group_by("shard").aggregate(measures).sort_by("shard").to_pylist()
    return [
        {
            "shard": row["shard"],
            "samples": row["image_length_count"],
            "image_bytes": row["image_length_sum"],
            "bytes": sizes.get(row["shard"]),
            "buckets": row["bucket_count_distinct"],
        }
        for row in rows
    ]
