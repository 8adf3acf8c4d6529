"""Which weights keep the most concepts: a quarter of 200,000 images of twelve Zipf tags, drawn by each of them.

    OMP_NUM_THREADS=1 python -m benchmarks.balance

Tags follow Zipf's law (exponent 1) over 20,000 concepts; an image that draws a tag twice shows it once. What is drawn is counted:
the effective number of concepts, exp(entropy of the tags); the share of the 100 most frequent concepts; and how many of the
images of rare concepts (at most 5 images) stay. Rows up to `mean 1/df` weigh each image once, by a formula; `proportional, as
published` is iterative scaling towards min(4 K/N df, twice the uniform share); the rest is the
product's, `curation.balance`. The last section is the cost of the product at a million images.
"""

import argparse
import json
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from benchmarks.about import about, heading
from benchmarks.watch import cpu_seconds
from curation.any_of import any_of
from curation.balance import Weighing, balance
from curation.bm25 import concept_images, inverse_frequency
from curation.draw import draw
from curation.scaling import scale
from curation.targets import effective_number

RESULTS = Path(__file__).parent / "results"
Floats = NDArray[np.float64]


def zipf_tags(num_images: int, *, num_concepts: int = 20_000, per_image: int = 12, seed: int = 0) -> sparse.csr_matrix:
    """Return (images, concepts) of ones: `per_image` draws each from Zipf's law of exponent 1, each concept once."""
    share = 1 / np.arange(1, num_concepts + 1)
    drawn = np.random.default_rng(seed).random(num_images * per_image)
    tags = np.searchsorted(np.cumsum(share / share.sum()), drawn).clip(max=num_concepts - 1)
    rows = np.repeat(np.arange(num_images), per_image)
    named = sparse.csr_matrix((np.ones(len(tags)), (rows, tags)), shape=(num_images, num_concepts))
    named.data[:] = 1
    return named


def formulas(named: sparse.csr_matrix) -> Iterator[tuple[str, Floats]]:
    """Yield weights that need one pass, by name."""
    images = concept_images(named)
    idf = inverse_frequency(images, named.shape[0])
    each = np.maximum(np.asarray(named.sum(axis=1)).ravel(), 1)
    yield "uniform", np.ones(named.shape[0])
    for threshold in (200, 20):
        yield f"any of: 1 - prod(1 - min(1, t/df)), t = {threshold} (metaclip)", any_of(named, threshold)
    yield "mean idf", named @ idf / each
    yield "sum idf", named @ idf
    yield "mean idf^2", named @ idf**2 / each
    yield "mean 1/sqrt(df)", named @ np.maximum(images, 1) ** -0.5 / each
    for threshold in (200, 20):
        yield f"mean min(1, t/df), t = {threshold}", named @ np.minimum(1, threshold / np.maximum(images, 1)) / each
    yield "mean 1/df", named @ (1 / np.maximum(images, 1)) / each


def narrow(named: sparse.csr_matrix, number: int) -> Floats:
    """Return the weights of iterative scaling with a doubled uniform target and narrow ratios."""
    images, num = concept_images(named), named.shape[0]
    target = np.minimum(4 * images, 2 * images.sum() / len(images))
    return scale(named, target, least=0.0, most=4 * num / number, steps=30, rate=0.5, limit=5.0)


def flat(named: sparse.csr_matrix, *, bm25_power: float = 0.5) -> Weighing:
    """Return the product's weighing over concepts without parents."""
    concepts = named.shape[1]
    return Weighing(mode="concepts", named=named, parent=np.full(concepts, -1), prior=np.ones(concepts), bm25_power=bm25_power)


def row(name: str, named: sparse.csr_matrix, taken: NDArray[np.bool_], cpu: float) -> dict[str, object]:
    """Return what a draw holds."""
    images, left = concept_images(named), concept_images(named[np.flatnonzero(taken)])
    rare = (images > 0) & (images <= 5)
    return {
        "weights": name,
        "images": int(taken.sum()),
        "effective_concepts": round(effective_number(left)),
        "head_100_share": round(float(left[:100].sum() / left.sum()), 3),
        "rare_kept": round(float(left[rare].sum() / images[rare].sum()), 3),
        "cpu_seconds": round(cpu, 2),
    }


def compare(num_images: int, *, share: float = 0.25, seed: int = 0) -> list[dict[str, object]]:
    """Return one row per way to weigh."""
    named, number = zipf_tags(num_images, seed=seed), round(share * num_images)
    ids = [f"{n:032x}" for n in range(num_images)]
    rows = [row(f"{name}", named, draw(ids, weights, number, seed=seed), 0.0) for name, weights in formulas(named)]
    start = cpu_seconds()
    weights = narrow(named, number)
    rows.append(row("proportional, ratios within 1/5..5", named, draw(ids, weights, number, seed=seed), cpu_seconds() - start))
    for power in (0.0, 0.5, 1.0):
        start = cpu_seconds()
        made = balance(ids=ids, kept=np.ones(num_images, bool), weighing=flat(named, bm25_power=power), budget=number, seed=seed)
        taken = made["keep"].to_numpy()
        rows.append(row(f"imageloom concepts, bm25_power = {power:g}", named, taken, cpu_seconds() - start))
        exposed = named.T @ made["weight"].to_numpy().astype(float)
        rows[-1]["effective_with_weights"] = round(effective_number(exposed))
    return rows


def cost(num_images: int) -> dict[str, object]:
    """Return what a budget of a quarter of `num_images` takes: CPU seconds, and the peak of this process."""
    named = zipf_tags(num_images)
    ids = [f"{n:032x}" for n in range(num_images)]
    start = cpu_seconds()
    balance(ids=ids, kept=np.ones(num_images, bool), weighing=flat(named), budget=num_images // 4)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"images": num_images, "cpu_seconds": round(cpu_seconds() - start, 1), "peak_bytes": peak}


def page(result: dict[str, object]) -> str:
    """Return the result as Markdown."""
    rows: list[dict[str, object]] = result["rows"]  # type: ignore[assignment]
    names = ("weights", "effective_concepts", "head_100_share", "rare_kept", "cpu_seconds")
    lines = ["# Balanced draws", "", heading(result["about"]), "", (__doc__ or "").split("\n\n", 2)[2].replace("\n", " "), ""]  # type: ignore[arg-type]
    lines += ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(str(one[name] or "") for name in names) + " |" for one in rows]
    million: dict[str, float] = result["cost"]  # type: ignore[assignment]
    lines += [
        "",
        f"{million['images']:,} images: {million['cpu_seconds']} CPU seconds, peak {million['peak_bytes'] / 1e9:.2f} GB.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run and record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--large", type=int, default=1_000_000)
    given = parser.parse_args()
    facts = about("python -m benchmarks.balance", load=round(os.getloadavg()[0], 1), packages=("numpy", "scipy", "pyarrow"))
    result: dict[str, object] = {"about": facts, "rows": compare(given.images), "cost": cost(given.large)}
    (RESULTS / "balance.json").write_text(json.dumps(result, indent=1) + "\n")
    (RESULTS / "balance.md").write_text(page(result))
    print(page(result))


if __name__ == "__main__":
    main()
