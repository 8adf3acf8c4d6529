"""Deduplication on altered photographs: imageloom and its peers on the same files, with truth by construction.

    python -m benchmarks.dedup make PHOTOS SET --ranges dev --seed 1     # a set of your own, with truth.csv
    python -m benchmarks.dedup score RUN SET/truth.csv                   # any run over SET
    python -m benchmarks.dedup compare --photos PHOTOS --peers PYTHON    # the table in benchmarks/results/dedup.md

PHOTOS holds the folders photos, series, textures and objects (benchmarks/altered_set.py says what is in them). Such pictures come
with Debian: lomiri-wallpapers, plasma-workspace-wallpapers, mate-backgrounds, gcompris-qt-data (its .rcc files hold WebP
photographs), palapeli-data, opencv-doc (samples/data: photographs, stereo pairs, checkerboards), stellarium-data (textures),
gnome-backgrounds, tuxpaint-stamps-default (objects); and in scikit-image. Check that photographs are distinct.
PYTHON is an interpreter that has imagededup, cleanvision, fastdup, pdqhash and ImageHash; without it only imageloom is measured.
What counts as a pair is stated in benchmarks/truth.py, what is done to pictures in benchmarks/altered.py.
"""

import argparse
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from benchmarks.altered_set import make_set
from benchmarks.found import read_run, stage_seconds
from benchmarks.truth import Score, Truth, read_truth, score, survivors

ROOT = Path(__file__).parent.parent
OPTIONAL = ("tag", "score", "ocr")
"""Stages whose tables `duplicates` only reads where they are there; no default setting asks for them."""
SECOND_LOOK = ("profile", "keypoints", "verify", "confirm")
"""Stages whose CPU is compared with that of the embedding: hashing, keypoints and verification."""


def main() -> None:
    options = _options()
    if options.command == "make":
        entries = make_set(options.photos, options.out, ranges=options.ranges, seed=options.seed)
        print(f"{len(entries)} files in {options.out}")
    elif options.command == "score":
        print(score_run(options.run, options.truth, false_pairs=options.false_pairs))
    elif options.command == "ours":
        run_ours(options.source, options.out, options.method, options.workers, options.redo)
    else:
        from benchmarks.compare import compare

        compare(
            options.photos,
            peers=options.peers,
            background=options.background,
            seeds=options.seeds,
            scratch=options.scratch or Path(tempfile.mkdtemp()),
        )


def run_ours(source: Path, out: Path, method: str, workers: int, redo: list[str]) -> None:
    """Run `duplicates` and the stages it rests on by the real runner, with default settings."""
    from curation.tables import Run
    from jobs import summary
    from jobs.config import read_config
    from jobs.pipeline import needed_for, pipeline
    from jobs.runner import Limits, run_stages

    settings = read_config(
        None, {"source": str(source), "out": str(out), "dedup": {"method": method}, "ray": {"num_cpus": workers}}
    )
    plan = [planned for planned in needed_for(pipeline(settings), "duplicates") if planned.stage.name not in OPTIONAL]
    with summary.progress() as bars:
        run_stages(Run(out), plan, limits=Limits(**settings.ray.model_dump()), redo=redo, progress=bars)


def score_run(run: Path, truth_csv: Path, *, false_pairs: int = 20) -> str:
    """Return what a run over an altered set got right and wrong, as text: per step, misses by kind, false pairs by kind."""
    truth = Truth.of(read_truth(truth_csv))
    found = read_run(run, truth.entries)
    grouped = score(truth, found.grouped)
    left = survivors(truth, found.keepers)
    lines = [f"{len(truth.entries)} files, {len(truth.copies)} pairs of copies, {len(truth.neutral)} neutral pairs"]
    for name, pairs in (("candidates", found.candidates), ("verified", found.verified), ("groups", found.grouped)):
        s = score(truth, pairs)
        lines.append(
            f"{name:11} precision {s.precision:.4f}  recall {s.recall:.4f}  ({s.true_pairs} right, {s.false_pairs} wrong)"
        )
    lines.append(", ".join(f"{name} {value}" for name, value in asdict(left).items()))
    seconds = stage_seconds(run)
    look = sum(seconds.get(name, 0) for name in SECOND_LOOK)
    lines.append(
        f"CPU of {', '.join(SECOND_LOOK)}: {look:.1f} s, {look / max(seconds.get('embed', 0), 1e-9):.2f} times the embedding"
    )
    lines += ["", "copies joined with their original:", *_misses(grouped), "", "false pairs in groups:"]
    lines += [f"  {count:5}  {name}" for name, count in grouped.false_by_kind.items()]
    wrong = sorted(found.grouped - truth.copies - truth.neutral)[:false_pairs]
    lines += [
        f"  {truth.entries[a].path} ({truth.entries[a].source}) - {truth.entries[b].path} ({truth.entries[b].source})"
        for a, b in wrong
    ]
    return "\n".join(lines)


def _misses(result: Score) -> list[str]:
    """Return the kinds of alteration, the worst first."""
    cells = sorted(result.by_kind.items(), key=lambda item: item[1][0] / item[1][1])
    return [f"  {joined:4} of {total:4}  {name}" for name, (joined, total) in cells]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="command", required=True)
    make = verbs.add_parser("make", help="write an altered set")
    make.add_argument("photos", type=Path)
    make.add_argument("out", type=Path)
    make.add_argument("--ranges", choices=("dev", "test"), default="dev")
    make.add_argument("--seed", type=int, default=1)
    judge = verbs.add_parser("score", help="score a run")
    judge.add_argument("run", type=Path)
    judge.add_argument("truth", type=Path)
    judge.add_argument("--false-pairs", type=int, default=20, help="how many wrong pairs are listed")
    ours = verbs.add_parser("ours", help="run imageloom up to duplicates")
    ours.add_argument("source", type=Path)
    ours.add_argument("out", type=Path)
    ours.add_argument("--method", choices=("verified", "fast", "similarity"), default="verified")
    ours.add_argument("--redo", nargs="*", default=[], help="stages to compute again")
    ours.add_argument("--workers", type=int, default=1, help="processes; changes no result")
    table = verbs.add_parser("compare", help="imageloom and its peers, with tables")
    table.add_argument("--photos", type=Path, required=True)
    table.add_argument("--peers", type=Path, help="Python interpreter with the peers installed")
    table.add_argument("--background", type=Path, help=".npy of float16 embeddings of other pictures by the default embedder")
    table.add_argument("--seeds", type=int, nargs="+", default=[101])
    table.add_argument("--scratch", type=Path, help="folder for sets and runs; default: a temporary one")
    return parser.parse_args(sys.argv[1:])


if __name__ == "__main__":
    main()
