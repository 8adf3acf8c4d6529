"""The demo collection is what it says it is: the same every time, with truth beside it."""

import csv
import hashlib
import io
import json
import tarfile
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from fontTools.ttLib import TTCollection
from PIL import Image, ImageOps

from curation.decode import decode
from curation.errors import ConfigError, DecodeError
from curation.sources import list_source
from jobs.demo_altered import ALTERATIONS
from jobs.demo_broken import BROKEN, UNUSUAL
from jobs.demo_data import make_demo_data
from jobs.demo_photos import LISTED, PHOTOS
from jobs.demo_posters import EVENTS, PLACES, SLOGANS
from jobs.demo_shapes import COLOURS, DIGIT_WORDS, POSITIONS
from jobs.demo_text import SIMPLIFIED_CHINESE

SMALL = {"digits": 80, "shapes": 96, "posters": 60, "alterations_per_photo": 3}
IMAGE_SUFFIXES = {".jpg", ".png", ".webp", ".avif", ".gif", ".bmp", ".tiff"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("collection") / "demo-data"
    make_demo_data(folder, **SMALL)
    return folder


def images_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix in IMAGE_SUFFIXES)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def posters(folder: Path) -> list[dict]:
    return lines_of(folder / "posters" / "metadata.jsonl")


def test_the_same_seed_gives_the_same_bytes(folder, tmp_path):
    make_demo_data(tmp_path / "again", **SMALL)
    assert digests(tmp_path / "again") == digests(folder)


def test_another_seed_changes_everything_but_the_photos(folder, tmp_path):
    make_demo_data(tmp_path / "other", seed=1, **(SMALL | {"alterations_per_photo": 1}))
    here, there = digests(folder), digests(tmp_path / "other")
    assert {name for name in here if name.startswith("photos/")} <= {name for name in there if here.get(name) == there[name]}
    assert here["digits.tar"] != there["digits.tar"]
    assert here["shapes.parquet"] != there["shapes.parquet"]
    assert here["posters/metadata.jsonl"] != there["posters/metadata.jsonl"]


@pytest.mark.slow
def test_the_default_collection_has_about_2500_images_and_is_made_in_half_a_minute(tmp_path):
    started = time.process_time()
    counts = make_demo_data(tmp_path / "whole")
    assert time.process_time() - started < 30
    assert 2400 <= sum(counts.values()) <= 2600
    assert 280 <= counts["altered"] <= 320
    names = {row["alteration"] for row in rows_of(tmp_path / "whole" / "altered" / "truth.csv")}
    assert names == {*ALTERATIONS, "same-bytes"}


def test_a_folder_with_files_is_left_alone(folder):
    before = digests(folder)
    with pytest.raises(ConfigError, match="not empty"):
        make_demo_data(folder)
    assert digests(folder) == before


def test_every_photo_names_its_source_and_licence(folder):
    photos = images_in(folder / "photos")
    assert len(photos) == len(PHOTOS)
    listed = {line["path"]: line for line in lines_of(folder / "paths.jsonl")}
    assert len(listed) == len(LISTED)
    text = (folder / "photos" / "CREDITS.txt").read_text("utf-8")
    for path in photos:
        sidecar = path.with_suffix(".json")
        about = json.loads(sidecar.read_text("utf-8")) if sidecar.exists() else listed.pop(f"photos/{path.name}")
        assert about["credit"] and about["licence"]
        assert f"{path.name}: {about['credit']}; {about['licence']}" in text
    assert listed == {}


def test_photos_and_copies_and_posters_decode(folder):
    for name in ("photos", "altered", "posters"):
        for path in images_in(folder / name):
            decoded = decode(path.read_bytes())
            assert max(decoded.width_px, decoded.height_px) <= 1.5 * 1024, path


def test_the_truth_names_every_altered_copy_and_an_original_that_exists(folder):
    truth = rows_of(folder / "altered" / "truth.csv")
    assert [row["name"] for row in truth] == [path.name for path in images_in(folder / "altered")]
    assert {row["original"] for row in truth} == {path.name for path in images_in(folder / "photos")}


def test_byte_identical_copies_are_byte_identical(folder):
    copies = [row for row in rows_of(folder / "altered" / "truth.csv") if row["alteration"] == "same-bytes"]
    assert len(copies) == 2
    for row in copies:
        original = folder / "photos" / row["original"]
        assert (folder / "altered" / row["name"]).read_bytes() == original.read_bytes()


@pytest.mark.parametrize(
    ("alteration", "undo"),
    [
        ("jpeg-q75", lambda image, original: image),
        ("half", lambda image, original: image.resize(original.size)),
        ("mirror", lambda image, original: ImageOps.mirror(image)),
        ("rotate-90", lambda image, original: image.rotate(-90, expand=True)),
        ("border-white", lambda image, original: ImageOps.crop(image, round(max(original.size) * 0.06))),
        ("to-avif", lambda image, original: image),
    ],
)
def test_undoing_an_alteration_gives_the_original_back(alteration, undo):
    alter, extension, options = ALTERATIONS[alteration]
    original = Image.open(io.BytesIO((Path(skimage_data()) / "coffee.png").read_bytes())).convert("RGB")
    encoded = io.BytesIO()
    altered = alter(original, np.random.default_rng(0))
    altered.save(encoded, Image.registered_extensions()["." + extension], **options)
    restored = undo(Image.open(encoded).convert("RGB"), original)
    assert restored.size == original.size
    difference = np.asarray(restored, dtype=float) - np.asarray(original, dtype=float)
    assert np.abs(difference).mean() < 8  # of 255: JPEG and halving lose detail, a wrong place or turn gives 40 and more


def skimage_data() -> str:
    import skimage

    return skimage.data_dir


def test_no_two_posters_carry_the_same_text(folder):
    texts = [tuple(poster["lines"]) for poster in posters(folder)]
    assert len(texts) == len(set(texts)) == 60
    assert {poster["language"] for poster in posters(folder)} == {"en", "zh", "mixed"}


def test_posters_quote_their_title_in_the_caption_and_exist(folder):
    for poster in posters(folder):
        assert poster["lines"][0] in poster["text"]
        assert (folder / "posters" / poster["file_name"]).is_file()


def test_every_chinese_character_of_the_posters_has_a_glyph():
    import manimgx_fonts_cjk

    collection = Path(manimgx_fonts_cjk.__file__).parent / "NotoSansCJK-VF.otf.ttc"
    known = TTCollection(str(collection), lazy=True)[SIMPLIFIED_CHINESE].getBestCmap()
    characters = {character for _, chinese in (*EVENTS, *PLACES, *SLOGANS) for character in chinese}
    assert [character for character in sorted(characters) if ord(character) not in known] == []


def test_posters_are_as_large_as_promised_and_show_ink(folder):
    for path in images_in(folder / "posters"):
        pixels = np.asarray(Image.open(path).convert("L"), dtype=float)
        assert 400 <= max(pixels.shape) <= 900
        assert pixels.std() > 8, path


def test_digits_open_with_stock_webdataset_and_captions_name_the_label(folder):
    webdataset = pytest.importorskip("webdataset")
    samples = list(webdataset.WebDataset(str(folder / "digits.tar"), shardshuffle=False))
    assert len(samples) == SMALL["digits"]
    for sample in samples:
        label = json.loads(sample["json"])["label"]
        assert DIGIT_WORDS[label] in sample["txt"].decode().split() or f"{DIGIT_WORDS[label]}," in sample["txt"].decode()
        assert Image.open(io.BytesIO(sample["png"])).size == (32, 32)


def test_tar_members_carry_no_time_and_no_owner(folder):
    with tarfile.open(folder / "digits.tar") as tar:
        assert {(member.mtime, member.uid, member.gid, member.uname) for member in tar} == {(0, 0, 0, "")}


def test_enlarged_digits_shrink_back_to_the_real_ones(folder):
    from sklearn.datasets import load_digits

    real = load_digits().images
    with tarfile.open(folder / "digits.tar") as tar:
        for position in range(20):
            index = json.load(tar.extractfile(f"{position:06d}.json"))["sklearn_index"]
            image = Image.open(tar.extractfile(f"{position:06d}.png")).resize((8, 8), Image.Resampling.BOX)
            correlation = np.corrcoef(np.asarray(image, dtype=float).ravel(), real[index].ravel())[0, 1]
            assert correlation > 0.98


def test_shapes_show_the_colour_and_place_that_they_name(folder):
    for row in pq.read_table(folder / "shapes.parquet").to_pylist():
        pixels = np.asarray(Image.open(io.BytesIO(row["image"]["bytes"])), dtype=float)
        ink = np.abs(pixels - pixels[0, 0]).sum(axis=2) > 120  # a corner always shows the background
        nearest = min(COLOURS, key=lambda name: np.abs(np.median(pixels[ink], axis=0) - COLOURS[name]).sum())
        assert nearest == row["colour"]
        centre = np.argwhere(ink).mean(axis=0)[::-1] / len(pixels) - 0.5
        # A triangle's centre of ink is its centroid, so only the place varies: by at most 0.06 and a pixel's share.
        assert np.abs(centre - 0.2 * np.array(POSITIONS[row["position"]])).max() < 0.1
        assert row["shape"] in row["text"] and row["colour"] in row["text"]


def test_no_two_shapes_and_no_two_digits_are_the_same_picture(folder):
    shapes = [row["bytes"] for row in pq.read_table(folder / "shapes.parquet")["image"].to_pylist()]
    with tarfile.open(folder / "digits.tar") as tar:
        digits = [tar.extractfile(member).read() for member in tar if member.name.endswith(".png")]
    assert len(set(shapes)) == SMALL["shapes"]
    assert len(set(digits)) == SMALL["digits"]


def test_the_parquet_declares_an_image_feature(folder):
    described = json.loads(pq.read_schema(folder / "shapes.parquet").metadata[b"huggingface"])
    assert described["info"]["features"]["image"] == {"_type": "Image"}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_fails_with_its_code(folder, name):
    expected = {row["name"]: row["error"] for row in rows_of(folder / "broken" / "expected.csv")}
    with pytest.raises(DecodeError) as caught:
        decode((folder / "broken" / name).read_bytes())
    assert caught.value.code == expected[name]


@pytest.mark.parametrize("name", UNUSUAL)
def test_an_unusual_file_is_read_right(folder, name):
    decoded = decode((folder / "unusual" / name).read_bytes())
    assert decoded.pixels.shape == (300, 400, 3)
    assert 40 < decoded.pixels.mean() < 225  # neither clipped to white nor lost in black


def test_ingest_reads_each_image_once_and_takes_no_truth_for_a_list(folder):
    listing = list_source(str(folder), part_rows=64)
    photos, copies = len(PHOTOS), len(images_in(folder / "altered"))
    odd = len(BROKEN) + len(UNUSUAL)
    assert listing.num_items == photos + copies + odd + SMALL["posters"] + SMALL["digits"] + SMALL["shapes"]
    assert listing.ignored == {".csv": 2, ".txt": 1, ".xml": 1}  # the two truths, the credits, the encyclopedia
