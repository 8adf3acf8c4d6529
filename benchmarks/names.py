"""The index of names at scale: building, loading and looking up, on synthetic names of real words.

    .venv/bin/python -m benchmarks.names --names 1000000       # 1 CPU minute
    .venv/bin/python -m benchmarks.names --names 10000000      # 10 CPU minutes

Names are runs of one to four words as they follow one another in gensim's sample of English Wikipedia, with a number behind those
that are taken already, so that a text of the sample meets as many names as it would with a full dictionary. Captions are runs of
60 words from the same text. CPU seconds of one thread; results go to benchmarks/results/names.json.
"""

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.about import about
from benchmarks.linking_set import articles
from captioning.dictionary import ARRAYS, Dictionary, build
from captioning.surface import tokens

RESULTS = Path(__file__).parent / "results"
BATCH = 250_000
CAPTIONS, CAPTION_WORDS = 4096, 60


def words() -> list[str]:
    """Return the words of all articles of the sample in a row."""
    return [word for article in articles() for word in article.text.split()]


def names(spoken: list[str], number: int) -> Iterator[pa.Table]:
    """Yield ANCHORS of `number` distinct names in batches; names that the text has come first."""
    generator = np.random.default_rng(0)
    known: dict[str, None] = {}
    for size in (1, 2, 3, 4):
        for first in range(0, len(spoken) - size, size):
            known.setdefault(" ".join(spoken[first : first + size]), None)
            if len(known) >= number // 2:
                break
    real = list(known)[:number]
    for begin in range(0, number, BATCH):
        texts = real[begin : begin + BATCH]
        while len(texts) < min(BATCH, number - begin):
            first, size = int(generator.integers(len(spoken) - 3)), int(generator.integers(1, 4))
            texts.append(" ".join(spoken[first : first + size]) + f" {begin + len(texts)}")
        count = len(texts)
        columns = {
            "text": texts,
            "language": ["en"] * count,
            "entity": generator.integers(0, number // 2, count),
            "origin": ["anchor"] * count,
            "links": generator.integers(0, 20, count),
            "occurrences": generator.integers(0, 400, count),
        }
        yield pa.table(columns)


def main() -> None:
    """Build the index, look captions up, and write what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", type=int, default=1_000_000)
    number, load = parser.parse_args().names, os.getloadavg()[0]
    spoken = words()
    captions = [" ".join(spoken[first : first + CAPTION_WORDS]) for first in range(0, CAPTIONS * CAPTION_WORDS, CAPTION_WORDS)]
    with tempfile.TemporaryDirectory() as folder:
        begun = time.process_time()
        build(names(spoken, number), Path(folder))
        built = time.process_time() - begun
        wall = time.perf_counter()
        index = Dictionary(Path(folder))
        loaded = time.perf_counter() - wall
        rates, hits = [], 0
        for _ in range(5):
            begun, hits = time.process_time(), 0
            for first in range(0, CAPTIONS, 256):
                hits += len(index.matches(tokens(captions[first : first + 256]), min_rate=0.03).first)
            rates.append(CAPTIONS / (time.process_time() - begun))
        size = sum((Path(folder) / f"{name}.npy").stat().st_size for name in ARRAYS)
    result = about(f"python -m benchmarks.names --names {number}", load=load, packages=("numpy",)) | {
        "names": len(index),
        "build_cpu_seconds_with_generation": round(built, 1),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "files_mb": round(size / 1e6, 1),
        "load_milliseconds": round(loaded * 1000, 1),
        "captions_per_cpu_second": {"first": round(rates[0]), "median": round(float(np.median(rates)))},
        "names_per_caption": round(hits / CAPTIONS, 1),
    }
    path = RESULTS / "names.json"
    every = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(every | {str(number): result}, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
