"""benchmarks/results/gpu.md: what was measured on a GPU, from the JSON files beside it.

.venv/bin/python -m benchmarks.gpu_page
"""

import json
import statistics
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
GB = 1e9


def main() -> None:
    """Write the page from those of its files that are there."""
    parts = [
        _part("sampling_gpu", _sampling),
        _part("dit_gpu", _forward),
        _part("dit_gpu_step", _forward),
        _part("train_gpu", _training),
        _part("train_gpu_ragged", _ragged),
        _part("gpu_tests", _tests),
        _part("dit_bf16", _bf16),
        _part("join_gpu", _joins),
    ]
    (RESULTS / "gpu.md").write_text("# On a GPU\n\n" + "\n".join(part for part in parts if part))


def _part(name: str, section: Any) -> str:
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        return ""
    found = json.loads(path.read_text())
    versions = ", ".join(f"{package} {number}" for package, number in found["versions"].items())
    lines: list[str] = section(found)
    return "\n".join(
        [
            lines[0],
            "",
            f"{found['date']}, {found.get('device', found['cpu'])}; {versions}. `{found['command']}`",
            "",
            *lines[1:],
            "",
        ]
    )


def _sampling(found: dict[str, Any]) -> list[str]:
    rows = [
        f"| {row['way']} | {_gb(row['allocated_bytes'])} | {_gb(row['reserved_bytes'])} | {row['seconds']:.2f} |"
        for row in found["rows"]
    ]
    return [
        "## A pipeline of the released size",
        "| way | tensors at most, GB | held from the driver, GB | seconds an image |",
        "|---|---|---|---|",
        *rows,
        "",
        "1024 x 1024 px, 8 steps without guidance, prompt to pixels; bf16, random weights of the true shapes (transformer 6.15B,",
        "Qwen3-4B, VAE; ours decodes in float32). Ways that load parts for every image have loading, from files in the page",
        "cache, in their seconds. A 16 GB card holds what stays below 16 in the third column." + found.get("note", ""),
    ]


def _forward(found: dict[str, Any]) -> list[str]:
    backward = found["rows"][0]["backward"]
    rows = []
    for row in found["rows"]:
        first = next(other for other in found["rows"] if other["px"] == row["px"])
        rows.append(
            f"| {row['px']} | {row['candidate']} | {1e3 * row['seconds']:.1f} | {first['seconds'] / row['seconds']:.2f}x "
            f"| {row['mfu']:.1%} | {_gb(row['peak_bytes'])} | {row['away']:.4f} |"
        )
    return [
        "## The model, forward and backward" if backward else "## The model, forward",
        "| px | candidate | ms | times as fast | MFU | peak GB | away |",
        "|---|---|---|---|---|---|---|",
        *rows,
        "",
        f"{found['rows'][0]['batch']} samples with captions of {', '.join(map(str, found['rows'][0]['texts']))} tokens, bf16, "
        + f"{found['shape']}; medians.",
        "MFU is of the data sheet's 989 TFLOP/s, with operations by closed form. `away` is the relative distance of the outputs",
        "from diffusers'. Two bf16 computations differ by rounding.",
    ]


def _training(found: dict[str, Any]) -> list[str]:
    rows = [
        f"| {row['option']} | {row['batch']} | {row['images_per_second']:.1f} | {row['tokens_per_second']:,.0f} "
        f"| {row['tflops']:.0f} | {row['mfu']:.1%} | {row['memory_gb']:.1f} | {row['data_share']:.1%} |"
        if "error" not in row
        else f"| {row['option']} | - | {row['error']} | | | | | |"
        for row in found["rows"]
    ]
    return [
        "## The trainer",
        "| option | batch | images/s | tokens/s | TFLOP/s | MFU | peak GB | waiting for data |",
        "|---|---|---|---|---|---|---|---|",
        *rows,
        "",
        found["shape"] + ", 512 px, AdamW and average in float32, bf16 products; the trainer's own log.",
    ]


def _ragged(found: dict[str, Any]) -> list[str]:
    """Return the section of the trainer on captions of 20 to 300 words."""
    heading, *lines = _training(found)
    return [
        heading + " on captions of 20 to 300 words",
        *lines,
        "Not to be compared with the section above: other blocks, another card, other captions. `plain` is of one call, the rows",
        "with compiled blocks of a second one on a card of the same type. Compiling took 23 s of the first step where a compiled",
        "form was cached and 69 s where it was not; it made steps no faster here; why, nobody has looked into yet.",
    ]


def _tests(found: dict[str, Any]) -> list[str]:
    """Return what tests/test_gpu.py said."""
    rows = [f"| {row['test'].removeprefix('test_').replace('_', ' ')} | {row['outcome']} |" for row in found["rows"]]
    return [
        "## What a GPU computes beside the CPU",
        "| test | |",
        "|---|---|",
        *rows,
        "",
        "Skipped: flash-attn was not installed.",
    ]


def _bf16(found: dict[str, Any]) -> list[str]:
    """Return the section of benchmarks/dit.py's bf16 rows, which its own machine could not measure."""

    def ratio(rounds: list[dict[str, float]], theirs: str) -> float:
        return statistics.median(one[theirs] / one["bf16"] for one in rounds)

    rows = [
        f"| {row['case']} | {ratio(row['rounds'], 'diffusers'):.2f}x | {ratio(row['rounds'], 'diffusers bf16'):.2f}x "
        f"| {len(row['rounds'])} |"
        for row in found["rows"]
    ]
    return [
        "## bf16 on a CPU that has units for it",
        "| batch | beside diffusers' float32 | beside diffusers' bf16 | rounds |",
        "|---|---|---|---|",
        *rows,
        "",
        "Times as fast, forward, one thread, width 512, medians of interleaved rounds; the batches are those of dit.md.",
    ]


def _joins(found: dict[str, Any]) -> list[str]:
    """Return the section of benchmarks/join_gpu.py: one row per piece, with the recall that a later piece measured of it."""
    rows, recall = [], {row["vectors"]: row for row in found["rows"] if row["piece"] == "ivf recall" and "recall" in row}
    keys = [(row["piece"], row.get("vectors")) for row in found["rows"]]
    for at, row in enumerate(found["rows"]):
        name = row["piece"] + (", again" if keys[at] in keys[:at] else ", first run" if keys[at] in keys[at + 1 :] else "")
        if "error" in row:
            rows.append(f"| {name} | - | {row['error']} | | | | | |")
        elif row["piece"] not in ("warm-up", "ivf recall", "faiss"):
            rows.append(_join((recall.get(row["vectors"], {}) if row["piece"] == "ivf" else {}) | row | {"piece": name}))
    return [
        "## The similarity graph",
        "| | vectors | seconds | of which | s per million | pairs | recall | peak GB |",
        "|---|---|---|---|---|---|---|---|",
        *rows,
        "",
        "One GPU. Planted vectors of 512 dimensions (benchmarks/planted.py), float16 in host memory when the clock starts,",
        "pairs of at least .70 in host memory when it stops; no files and no Ray. `ivf` and `exact` are our joins, `100",
        "nearest` our k-NN by lists. Recall is of the true pairs: where `exact` has run, all of those, else those of 4,096",
        "rows (`copies`: of those that are planted copies of one another); for `nearest` it is of the true 100 nearest of",
        "1,024 rows. The first run of `ivf` loads kernels and takes memory. The CPU's row is CPU seconds of one thread of the",
        "same machine while other cores made vectors.",
        "",
        "`faiss` rows are FAISS 1.15.1 with cuVS by graph/faiss_index.py, in float16 on the GPU, 16 lists probed: the 100",
        "nearest of every row are brought to the CPU, cosines near the threshold are computed again there, and pairs above",
        "it kept. That is in the search's seconds, so they are not those of FAISS's kernels alone. Recall of k nearest is",
        "bounded: a group of s alike vectors has s (s - 1) / 2 pairs, of which 100 s at most are named, so Flat, which",
        "compares everything, has .70 of all pairs at a million. `asked`: so many rows were asked in the time there was;",
        "seconds are scaled up to all rows, pairs are those found, recall is of the pairs among the rows asked.",
    ]


def _join(row: dict[str, Any]) -> str:
    seconds = row.get("seconds", row.get("cpu_seconds"))
    steps = ", ".join(f"{name} {value:.1f}" for name, value in row.get("steps", {}).items())
    million = 1e6 * seconds / row["vectors"]
    recall = f"{row['recall']:.4f}" if "recall" in row else "all" if row["piece"] == "exact" else ""
    recall += f" (copies {row['recall_copies']:.4f})" if "recall_copies" in row else ""
    asked = f" ({row['asked']:,} asked)" if row.get("asked", row["vectors"]) < row["vectors"] else ""
    used = max(row.get("peak_gpu_bytes") or 0, row.get("used_gpu_bytes") or 0) or None
    pairs = f"{row['pairs']:,}" if "pairs" in row else ""
    cells = row["piece"], f"{row['vectors']:,}{asked}", f"{seconds:.1f}", steps, f"{million:.2f}", pairs, recall, _gb(used)
    return "| " + " | ".join(cells) + " |"


def _gb(count: float | None) -> str:
    return "-" if count is None else f"{count / GB:.1f}"


if __name__ == "__main__":
    main()
