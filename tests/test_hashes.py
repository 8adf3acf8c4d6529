"""Hashes of pairs in eight orientations, on the photographs of scikit-image, against brute force."""

import json

import numpy as np
import pyarrow as pa
import pytest
from image_rows import image_rows
from PIL import Image, ImageOps
from skimage import data

from curation import schema
from curation.hashing import ORIENTATIONS, hamming
from curation.metrics import profile
from graph.fast import verify_fast
from graph.hashes import Hashes, HashIndex, distances, hash_pairs, unpack

NAMES = ("astronaut", "coffee", "chelsea", "camera", "rocket", "coins", "immunohistochemistry", "hubble_deep_field")
"""Eight photographs, rows 0 to 7; row 8 + i is the i-th in orientation i."""
CROPPED, FLAT, FAILED = 16, 17, 18


def turned(picture: Image.Image, orientation: str) -> Image.Image:
    T = Image.Transpose
    turns = {"rotate180": T.ROTATE_180, "transpose": T.TRANSPOSE, "transverse": T.TRANSVERSE, "flip": T.FLIP_TOP_BOTTOM}
    turns |= {"mirror": T.FLIP_LEFT_RIGHT, "rotate90": T.ROTATE_270, "rotate270": T.ROTATE_90}
    return picture if orientation == "same" else picture.transpose(turns[orientation])


@pytest.fixture(scope="module")
def metrics(tmp_path_factory) -> pa.Table:
    folder = tmp_path_factory.mktemp("hashes")
    pictures = [Image.fromarray(getattr(data, name)()).convert("RGB").resize((320, 320)) for name in NAMES]
    pictures += [turned(p, o).resize((240, 240)) for p, o in zip(list(pictures), ORIENTATIONS, strict=True)]
    pictures += [ImageOps.crop(pictures[1], 60), Image.new("RGB", (200, 200), "grey")]
    paths = [folder / f"{number:02d}.png" for number in range(len(pictures) + 1)]
    for picture, path in zip(pictures, paths, strict=False):
        picture.save(path)
    paths[-1].write_bytes(b"not a picture")
    return profile(images=image_rows(paths))


def edge_rows(pairs: list[tuple[int, int]], similarity: float = 0.9) -> pa.Table:
    columns = {"row_a": [a for a, _ in pairs], "row_b": [b for _, b in pairs], "similarity": [similarity] * len(pairs)}
    return schema.conform(pa.table(columns), schema.EDGES)


def test_the_distance_is_the_least_over_eight_orientations(metrics):
    left, right = np.arange(8), np.arange(8)[::-1] + 8
    bits, orientation = distances(unpack(metrics), left, right)
    texts = metrics["pdq_dihedral"].to_pylist()
    brute = [[hamming(form, texts[b][0]) for form in texts[a]] for a, b in zip(left, right, strict=True)]
    assert bits.tolist() == [min(row) for row in brute]
    assert orientation.tolist() == [int(np.argmin(row)) for row in brute]


def test_a_turned_copy_is_found_in_the_orientation_it_was_turned_by(metrics):
    bits, orientation = distances(unpack(metrics), np.arange(8), np.arange(8) + 8)
    assert [ORIENTATIONS[o] for o in orientation] == list(ORIENTATIONS)
    assert bits.max() <= 31


def test_hashes_propose_what_brute_force_finds_and_nothing_of_plain_or_failed_pictures(metrics):
    hashes = unpack(metrics)
    row_a, row_b = np.triu_indices(len(metrics), 1)
    near = (distances(hashes, row_a, row_b)[0] <= 31) & (np.minimum(hashes.quality[row_a], hashes.quality[row_b]) >= 50)
    expected = set(zip(row_a[near].tolist(), row_b[near].tolist(), strict=True))
    assert set(zip(*(side.tolist() for side in hash_pairs(hashes)), strict=True)) == expected >= {(i, i + 8) for i in range(8)}


def test_blocks_that_ask_and_answer_propose_what_all_pictures_together_do(metrics):
    hashes = unpack(metrics)
    found = set()
    for answering in (slice(0, 9), slice(9, None)):
        index = HashIndex(Hashes(hashes.bits[answering], hashes.quality[answering]))
        for asking in (slice(0, 5), slice(5, None)):
            left, right = index.pairs(Hashes(hashes.bits[asking], hashes.quality[asking]))
            pairs = zip((left + asking.start).tolist(), (right + answering.start).tolist(), strict=True)
            found |= {(min(pair), max(pair)) for pair in pairs if pair[0] != pair[1]}
    assert found == set(zip(*(side.tolist() for side in hash_pairs(hashes)), strict=True))


def test_fast_takes_turned_copies_and_leaves_crops_and_unlike_embeddings(metrics):
    pairs = [(i, i + 8) for i in range(8)] + [(1, CROPPED), (0, 1), (0, FLAT), (0, FAILED)]
    relations = verify_fast(pairs=edge_rows(pairs), metrics=metrics)["relation"].to_pylist()
    assert relations == ["copy"] * 8 + ["different"] * 4
    unlike = verify_fast(pairs=edge_rows([(0, 8)], similarity=0.1), metrics=metrics)
    assert unlike["relation"].to_pylist() == ["different"]


def test_fast_says_distance_and_orientation(metrics):
    (verdict,) = verify_fast(pairs=edge_rows([(1, 9)]), metrics=metrics).to_pylist()
    evidence = json.loads(verdict["evidence"])
    assert (evidence["method"], evidence["orientation"]) == ("hash", "mirror")
    assert verdict["confidence"] == pytest.approx(1 - evidence["hash_distance"] / 256)


def test_a_slice_of_metrics_with_its_rows_gives_the_same_verdicts(metrics):
    rows = np.array([1, 9, 16])
    part = verify_fast(pairs=edge_rows([(1, 9), (1, 16)]), metrics=metrics.take(rows), rows=rows)
    assert part.equals(verify_fast(pairs=edge_rows([(1, 9), (1, 16)]), metrics=metrics))
