"""Thresholds for one collection and one embedder, from altered copies of the collection's own images.

A sample of images is altered in memory (curation/alterations.py), embedded by the model that EMBEDDINGS names and hashed; that
gives the closeness of known copies. The collection's nearest pairs, closest first, get the second look of graph/verify.py, which
needs no threshold of the embedder; those that are no copies give the false pairs at the full number of images. The two are
weighed in graph/calibration.py. Alterations of held-out strength, looked up among all images, say whether the promise is kept.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import yaml
from numpy.typing import NDArray

from curation.alterations import Alteration, Pixels, alterations, altered, spread
from curation.embedding import Embedder
from curation.errors import ConfigError
from curation.hashing import pdq_coefficients, pdq_hash
from curation.picture import DETAIL_SIDE_PX, resized
from curation.pixels import read_pixels
from curation.tables import Run
from graph.calibration import (
    COSINES,
    HASH_BITS,
    Threshold,
    hash_closeness,
    knee,
    largest_components,
    operating_curve,
    propose,
    relations,
)
from graph.edges import edges
from graph.keypoints import describe
from graph.knn import embedding_matrix, knn
from graph.verify import verify

SIDE_PX = 768
"""Long side of the decoded picture that is altered."""
FLOOR = 0.05
"""Copy pairs per image assumed when fewer were found: the promise then holds for a collection that has at least so many."""
BASE_ROWS = 20_000
"""Images among which altered copies are looked up for wrong answers; of a larger collection so many are drawn."""
MEASURES = {"cosine": COSINES, "centred": COSINES, "hash": np.arange(HASH_BITS + 1)[::-1] / HASH_BITS}
"""Measures of closeness, and the thresholds tried for each."""

Floats = NDArray[np.float32]


def calibrate(
    run: Run,
    *,
    sample: int = 200,
    precision: float = 0.99,
    seed: int = 0,
    copies_per_image: float | None = None,
    tuning_per_image: int = 8,
    held_out_per_image: int = 4,
    max_looked: int = 2000,
) -> dict[str, Any]:
    """Return what was measured and proposed, as a JSON object.

    sample: images to alter. precision: promised share of true copies among the pairs above a threshold. copies_per_image: copy
    pairs over images that the promise is for; default: as found among the nearest pairs, at least FLOOR. max_looked: nearest
    pairs that get a second look where the run has no verdict of its own.
    Raises ConfigError when a table is missing, or the sample cannot support the precision for any measure.
    """
    model = _embedder_of(run)
    vectors = embedding_matrix(run.read("embeddings", ["embedding"]))
    usable = np.flatnonzero(np.isfinite(vectors).all(1))
    if len(usable) < 2:
        raise ConfigError(f"{run.root} has {len(usable)} embedded images; calibration compares at least two")
    mean = vectors[usable].mean(0)
    chosen = np.sort(np.random.default_rng(seed).choice(usable, min(sample, len(usable)), replace=False))
    copies = _copies(run, chosen, Embedder(**model), vectors, mean, seed, (tuning_per_image, held_out_per_image))
    pairs = _nearest_pairs(run, vectors)
    wanted = int(np.ceil(len(usable) * (1 - precision) / precision)) + 1
    found = np.array(relations(pairs=pairs, look=_second_look(run), max_false=wanted, max_looked=max_looked))
    rate = copies_per_image or max(FLOOR, float((found == "copy").sum()) / len(usable))
    near = _closeness(run, pairs, vectors, mean)
    false = np.isin(found, ("different", "unseen"))
    false_pairs = {name: (near["row_a"][false], near["row_b"][false], near[name][false]) for name in MEASURES}
    related = pairs.filter(pa.array(~false))
    base = (
        usable if len(usable) <= BASE_ROWS else np.sort(np.random.default_rng([seed, 1]).choice(usable, BASE_ROWS, replace=False))
    )
    answers = _wrong_answers(run, copies.filter(pc.invert(copies["held_out"])), vectors, mean, base, related)
    proposed, refused, curves = _proposals(copies, false_pairs, answers, len(usable), rate, precision)
    steps = np.round(np.arange(0.2, 1.0001, 0.02), 2)
    components = largest_components(pairs=pairs, num_images=len(vectors), thresholds=steps)
    result: dict[str, Any] = {
        "run": str(run.root),
        "embedder": model,
        "images": len(usable),
        "sample": len(chosen),
        "seed": seed,
        "precision": precision,
        "copies_per_image": rate,
        "pairs": {name: int((found == name).sum()) for name in sorted(set(found.tolist()))},
        "thresholds": {name: asdict(threshold) for name, threshold in proposed.items()},
        "refused": refused,
        "held_out": _held_out(copies, vectors, proposed, related),
        "by_alteration": _by_alteration(copies, proposed),
        "candidates": _candidates(copies),
        "components": components.to_pylist(),
        "knee": knee(components, num_images=len(usable)),
        "curves": {name: curve.to_pydict() for name, curve in curves.items()},
    }
    result["snippet"] = snippet(result)
    return result


def snippet(result: Mapping[str, Any]) -> str:
    """Return the proposed keys as YAML, with a comment where a measure supports no threshold."""
    lines = [f"# imageloom calibrate: precision {result['precision']}, {result['images']} images, {result['embedder']['model']}"]
    lines += [f"# no threshold for {name}: {reason}" for name, reason in result["refused"].items()]
    values: dict[str, Any] = {"knn": {"min_similarity": result["candidates"]["min_similarity"]}}
    if at := result["thresholds"].get("hash"):
        distance = int(np.floor((1 - at["value"]) * HASH_BITS + 1e-9))
        values["fast"] = {"max_distance": min(distance, 128), "min_similarity": result["candidates"]["min_similarity"]}
        lines.append(f"# fast: read by dedup.method fast; expected recall {at['recall']:.3f}")
    if at := result["thresholds"].get("cosine"):
        cosine = float(np.ceil(at["value"] * 1000) / 1000)
        between = round(cosine * cosine, 3)  # two copies, each as far from their original, are about this far from each other
        values |= {
            "join": {"min_similarity": between},
            "components": {"min_similarity": max(cosine, result["knee"])},
            "communities": {"accepted_similarity": between, "keeper_similarity": cosine, "sure_similarity": cosine},
        }
        lines.append(f"# join, components, communities: read by dedup.method similarity; expected recall {at['recall']:.3f}")
    return "\n".join(lines) + "\n" + str(yaml.safe_dump(values, sort_keys=False))


def pdq_of(pixels: Pixels) -> str:
    """Return PDQ of decoded pixels as METRICS.pdq has it."""
    grey = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)
    return pdq_hash(pdq_coefficients(resized(grey, DETAIL_SIDE_PX, enlarge=False))[0])


def _embedder_of(run: Run) -> dict[str, Any]:
    manifest = run.manifest("embeddings")
    if manifest is None or not run.has("metrics"):
        raise ConfigError(f"{run.root} is not embedded yet: run it with --until embed first")
    return dict(manifest["parameters"])


def _copies(
    run: Run, rows: NDArray[np.int64], embedder: Embedder, vectors: Floats, mean: Floats, seed: int, numbers: tuple[int, int]
) -> pa.Table:
    """Return one row per altered copy: kind, level, row of the original, closeness to it, its place when looked up."""
    described: list[dict[str, Any]] = []

    def pictures() -> Iterator[Pixels]:
        for row, alteration, pixels in _altered(run, rows, seed, numbers):
            held_out = alteration.level == "held_out"
            described.append(
                {"row": row, "kind": alteration.kind, "level": alteration.level, "held_out": held_out, "pdq": pdq_of(pixels)}
            )
            yield pixels

    found = embedder.vectors(pictures())
    table = pa.Table.from_pylist(described)
    forms = run.take("metrics", table["row"].to_numpy(), ["pdq_dihedral"])["pdq_dihedral"].to_pylist()
    originals = vectors[table["row"].to_numpy()]
    table = table.append_column("cosine", pa.array(_cosines(found, originals)))
    table = table.append_column("centred", pa.array(_cosines(found - mean, originals - mean)))
    table = table.append_column("hash", pa.array(hash_closeness(table["pdq"].to_pylist(), forms)))
    table = table.append_column("place", pa.array(_places(found - mean, vectors - mean, table["row"].to_numpy())))
    keep = np.isfinite(found).all(1)
    flat = found[keep].astype(np.float32).ravel()
    table = table.filter(pa.array(keep))
    return table.append_column("vector", pa.FixedSizeListArray.from_arrays(pa.array(flat), vectors.shape[1]))


def _altered(run: Run, rows: NDArray[np.int64], seed: int, numbers: tuple[int, int]) -> Iterator[tuple[int, Alteration, Pixels]]:
    choices = alterations(held_out=False), alterations(held_out=True)
    for turn, (row, decoded) in enumerate(
        zip(rows.tolist(), read_pixels(run.take("images", rows), max_side_px=SIDE_PX), strict=True)
    ):
        if decoded is None:
            continue
        picks = [pick for choice, number in zip(choices, numbers, strict=True) for pick in spread(choice, number, turn=turn)]
        for alteration, pixels in altered(decoded.pixels, picks, np.random.default_rng([seed, row])):
            yield row, alteration, pixels


def _cosines(a: Floats, b: Floats) -> Floats:
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray(np.einsum("nd,nd->n", a, b) / np.where(norms > 0, norms, 1), np.float32)


def _places(queries: Floats, base: Floats, originals: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many of `base` are closer to each query than its original is: below k, the original is a candidate."""
    unit = np.nan_to_num(base / np.linalg.norm(base, axis=1, keepdims=True))
    places: list[NDArray[np.int64]] = []
    for begin in range(0, len(queries), 64):
        cosine = queries[begin : begin + 64] @ unit.T
        own = np.take_along_axis(cosine, originals[begin : begin + 64, None], 1)
        places.append((cosine > own).sum(1))
    return np.concatenate([np.empty(0, np.int64), *places])


def _nearest_pairs(run: Run, vectors: Floats) -> pa.Table:
    """Return EDGES of the nearest pairs of all images, closest first."""
    if run.has("neighbours"):
        lists = run.read("neighbours")
    else:
        lists = knn(vectors=vectors, ids=run.read("images", ["id"])["id"].to_pylist(), k=16)
    return edges(neighbours=lists).sort_by([("similarity", "descending"), ("row_a", "ascending"), ("row_b", "ascending")])


def _second_look(run: Run) -> Callable[[pa.Table], list[str]]:
    """Return a function from pairs to relations: VERDICTS that saw pixels where the run has them, else computed here."""
    known: dict[tuple[int, int], str] = {}
    if run.has("verdicts") and run.has("keypoints"):
        columns = (
            run.read("verdicts", ["row_a", "row_b", "relation"])[name].to_pylist() for name in ("row_a", "row_b", "relation")
        )
        known = {(a, b): relation for a, b, relation in zip(*columns, strict=True)}

    def look(pairs: pa.Table) -> list[str]:
        named = list(zip(pairs["row_a"].to_pylist(), pairs["row_b"].to_pylist(), strict=True))
        fresh = pairs.filter(pa.array([pair not in known for pair in named]))
        if len(fresh):
            rows = np.unique(np.concatenate([fresh["row_a"].to_numpy(), fresh["row_b"].to_numpy()]))
            keypoints = run.take("keypoints", rows) if run.has("keypoints") else describe(images=run.take("images", rows))
            seen = verify(pairs=fresh, keypoints=keypoints, rows=rows)["relation"].to_pylist()
            known.update(zip(zip(fresh["row_a"].to_pylist(), fresh["row_b"].to_pylist(), strict=True), seen, strict=True))
        return [known[pair] for pair in named]

    return look


def _closeness(run: Run, pairs: pa.Table, vectors: Floats, mean: Floats) -> dict[str, NDArray[Any]]:
    """Return rows and closeness of the pairs by every measure."""
    row_a, row_b = pairs["row_a"].to_numpy(), pairs["row_b"].to_numpy()
    metrics = run.read("metrics", ["pdq", "pdq_dihedral"])
    hashes, forms = metrics["pdq"].to_pylist(), metrics["pdq_dihedral"].to_pylist()
    none = "0" * 64
    return {
        "row_a": row_a,
        "row_b": row_b,
        "cosine": pairs["similarity"].to_numpy(),
        "centred": np.concatenate(
            [
                _cosines(vectors[row_a[at : at + 4096]] - mean, vectors[row_b[at : at + 4096]] - mean)
                for at in range(0, max(len(row_a), 1), 4096)
            ]
        ),
        "hash": hash_closeness([hashes[a] or none for a in row_a], [forms[b] or [none] for b in row_b]),
    }


def _wrong_answers(
    run: Run, copies: pa.Table, vectors: Floats, mean: Floats, base: NDArray[np.int64], related: pa.Table, num_each: int = 8
) -> dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Return, by measure, originals and closeness of the nearest wrong answers to every copy, at most `num_each`."""
    queries = copies["vector"].combine_chunks().flatten().to_numpy().reshape(len(copies), -1)
    forms = _packed(run.read("metrics", ["pdq_dihedral"])["pdq_dihedral"].take(base).to_pylist())
    hashes = _packed([[code] for code in copies["pdq"].to_pylist()])[:, 0]
    closeness: dict[str, Callable[[int], NDArray[np.float64]]] = {
        "cosine": lambda i: _cosines_to(vectors[base], queries[i]),
        "centred": lambda i: _cosines_to(vectors[base] - mean, queries[i] - mean),
        "hash": lambda i: 1 - np.bitwise_count(forms ^ hashes[i]).sum(-1).min(-1) / HASH_BITS,
    }
    excluded = _related_rows(related)
    found: dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]] = {}
    for name, measure in closeness.items():
        wrong: list[tuple[int, float]] = []
        for i, original in enumerate(copies["row"].to_pylist()):
            near = measure(i)
            near[np.isin(base, [original, *excluded.get(original, ())])] = -2.0
            best = np.sort(near)[-num_each:]
            wrong += [(original, float(value)) for value in best]
        found[name] = np.array([row for row, _ in wrong], np.int64), np.array([value for _, value in wrong])
    return found


def _cosines_to(base: Floats, query: Floats) -> NDArray[np.float64]:
    norms = np.linalg.norm(base, axis=1) * np.linalg.norm(query)
    return np.asarray(np.nan_to_num(base @ query / np.where(norms > 0, norms, 1)), np.float64)


def _packed(hashes: list[list[str] | None]) -> NDArray[np.uint64]:
    """Return hex hashes as (images, forms, 4) words."""
    forms = max((len(codes) for codes in hashes if codes), default=1)
    text = ["".join(codes or ["0" * 64] * forms) for codes in hashes]
    return np.frombuffer(bytes.fromhex("".join(text)), ">u8").astype(np.uint64).reshape(len(hashes), forms, 4)


def _related_rows(related: pa.Table) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for a, b in zip(related["row_a"].to_pylist(), related["row_b"].to_pylist(), strict=True):
        found.setdefault(a, []).append(b)
        found.setdefault(b, []).append(a)
    return found


def _proposals(
    copies: pa.Table, false_pairs: Mapping[str, Any], answers: Mapping[str, Any], num_images: int, rate: float, precision: float
) -> tuple[dict[str, Threshold], dict[str, str], dict[str, pa.Table]]:
    tuning = copies.filter(pc.invert(copies["held_out"]))
    proposed: dict[str, Threshold] = {}
    refused: dict[str, str] = {}
    curves: dict[str, pa.Table] = {}
    for name, thresholds in MEASURES.items():
        curves[name] = operating_curve(
            copies=tuning[name].to_numpy(),
            originals=tuning["row"].to_numpy(),
            false_pairs=false_pairs[name],
            answers=answers[name],
            answer_scale=num_images / min(num_images, BASE_ROWS),
            num_images=num_images,
            copies_per_image=rate,
            thresholds=thresholds,
        )
        try:
            proposed[name] = propose(curves[name], precision=precision)
        except ConfigError as error:
            refused[name] = str(error)
    if not proposed:
        raise ConfigError(next(iter(refused.values())))
    return proposed, refused, curves


def _held_out(copies: pa.Table, vectors: Floats, proposed: Mapping[str, Threshold], true: pa.Table) -> dict[str, Any]:
    """Look every held-out copy up among all images at the proposed cosine: how often its original answers, and who else does."""
    held = copies.filter(copies["held_out"])
    checked: dict[str, Any] = {"copies": len(held)}
    checked |= {f"recall_{name}": float((held[name].to_numpy() >= at.value).mean()) for name, at in proposed.items()}
    if "cosine" not in proposed or not len(held):
        return checked
    related = set(zip(true["row_a"].to_pylist(), true["row_b"].to_pylist(), strict=True))
    queries = held["vector"].combine_chunks().flatten().to_numpy().reshape(len(held), -1)
    hits = wrong = 0
    for begin in range(0, len(held), 64):
        copy, answer = np.nonzero(queries[begin : begin + 64] @ vectors.T >= proposed["cosine"].value)
        originals = held["row"].to_numpy()[begin + copy]
        hits += int((originals == answer).sum())
        wrong += sum((min(o, a), max(o, a)) not in related for o, a in zip(originals, answer, strict=True) if o != a)
    return checked | {"answers_right": hits, "answers_wrong": wrong, "precision_cosine": hits / max(1, hits + wrong)}


def _by_alteration(copies: pa.Table, proposed: Mapping[str, Threshold]) -> list[dict[str, Any]]:
    rows = []
    kinds = zip(copies["kind"].to_pylist(), copies["level"].to_pylist(), strict=True)
    for kind, level in sorted(set(kinds)):
        these = copies.filter(pc.and_(pc.equal(copies["kind"], kind), pc.equal(copies["level"], level)))
        row: dict[str, Any] = {"kind": kind, "level": level, "copies": len(these)}
        row |= {f"median_{name}": round(float(np.median(these[name].to_numpy())), 4) for name in MEASURES}
        row |= {f"recall_{name}": float((these[name].to_numpy() >= at.value).mean()) for name, at in proposed.items()}
        rows.append(row)
    return rows


def _candidates(copies: pa.Table) -> dict[str, Any]:
    """Return how often the original is among the k nearest of its copy, and the cosine that nearly all copies reach."""
    place, cosine = copies["place"].to_numpy(), copies["cosine"].to_numpy()
    low = float(np.floor(np.quantile(cosine, 0.005) * 100) / 100)
    return {
        "recall_at": {str(k): float((place < k).mean()) for k in (1, 5, 10, 20, 50, 100)},
        "min_similarity": round(max(-1.0, low), 2),
    }
