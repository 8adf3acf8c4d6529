"""The benchmarks of learning: their sets hold what they say, and their arithmetic is right."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

from benchmarks.curation_pool import read_truth, write_pool
from benchmarks.learning import shares
from benchmarks.learning_sets import ALL_FACTS, NEVER_TRAINED, TRAIN_DIGITS, Digits, digit_pixels, drawings, write_shape_folder
from benchmarks.raw_shards import write_raw_shards
from curation.decode import decode
from model.shard_reader import ShardReader, read_index


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shapes")
    write_shape_folder(folder / "raw", count=60, seed=3)
    write_raw_shards(folder / "raw", folder / "shards")
    return folder


def test_the_held_out_pairs_are_never_captioned(shapes: Path):
    captions = [path.read_text() for path in (shapes / "raw").glob("*.txt")]
    assert len(captions) == 60
    assert not any(shape in caption and colour in caption for caption in captions for shape, colour in NEVER_TRAINED)
    assert sum(not facts.trained for facts in ALL_FACTS) == len(NEVER_TRAINED) * 5


def test_raw_shards_hold_every_image_with_its_own_caption(shapes: Path):
    reader = ShardReader(shapes / "shards")
    read = Counter(
        caption.text for row in range(len(reader.ids)) for caption in reader.captions(row) if caption.level == "source"
    )
    assert read == Counter(path.read_text().strip() for path in (shapes / "raw").glob("*.txt"))


def test_digits_to_train_and_to_compare_with_are_apart(tmp_path: Path):
    digits = Digits.load(seed=0)
    assert len(digits.pictures) == 1797 and set(digits.labels) == set(range(10))
    assert np.abs(digit_pixels(digits.pictures)).max() == 1
    assert digits.judge().score(digit_pixels(digits.pictures[TRAIN_DIGITS:]), digits.labels[TRAIN_DIGITS:]) > 0.97


def test_drawings_show_every_combination_equally_often():
    pictures, labels = drawings(240, seed=0)
    assert pictures.shape == (240, 32, 32, 3)
    assert set(Counter(map(tuple, labels)).values()) == {2}


def test_shares_have_wilsons_interval():
    right = np.arange(200) < 170
    found = shares([right[:100], right[100:]])
    exact = binomtest(170, 200).proportion_ci(method="wilson")
    assert found == {"value": 0.85, "low": pytest.approx(exact.low, abs=1e-4), "high": pytest.approx(exact.high, abs=1e-4)}


def test_the_pool_holds_what_its_truth_says(tmp_path: Path):
    planted = write_pool(tmp_path / "pool", count=90, seed=5)
    assert read_truth(tmp_path / "pool") == planted
    assert sum(bool(one.copy_of) for one in planted) == 24
    assert sum(one.swapped for one in planted) == round(0.3 * len(planted))
    for one in planted:
        path = tmp_path / "pool" / one.file
        assert path.with_suffix(".txt").read_text().strip() == one.caption
        if not one.swapped:
            assert one.facts.shape in one.caption and one.facts.colour in one.caption
        if one.quality == "flat":
            assert decode(path.read_bytes()).pixels.std() < 10
    images = write_raw_shards(tmp_path / "pool", tmp_path / "shards")
    unreadable = {
        Path(uri).name for uri, error in zip(images["uri"].to_pylist(), images["error"].to_pylist(), strict=True) if error
    }
    assert unreadable == {Path(one.file).name for one in planted if one.quality == "corrupt"}
    assert read_index(tmp_path / "shards").num_rows == len(planted) - len(unreadable)
