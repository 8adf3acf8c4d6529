"""Large groups are named placeholders by what their captions and texts say, and copies of a picture are not."""

from pathlib import Path

import pyarrow as pa
import pytest
from image_rows import image_rows, save
from skimage import data

from curation.schema import DUPLICATES, IMAGES, OCR
from curation.selection import select
from curation.tables import Cost, Run
from graph.placeholders import by_image, placeholders
from jobs.placeholders import work

CAPTIONS = (
    "red kite over the hills", "two cups of coffee", "portrait of a sailor", "old bridge in Prague", "map of the underground",
    "a bowl of noodles", "goalkeeper saves the penalty", "blue vintage car", "wedding cake with roses", "snow on the pass",
    "violin lesson for children", "harbour at dusk",
)  # fmt: skip


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[Path, Path]:
    return save(tmp_path, "logo.png", data.coffee()[:200, :200]), save(tmp_path, "cat.png", data.chelsea())


def collection(pictures: tuple[Path, Path], first: list[str | None], second: list[str | None]) -> tuple[pa.Table, pa.Table]:
    """Return IMAGES and DUPLICATES of two groups, each of one picture with the given captions; row 0 of each is the keeper."""
    groups = list(zip(pictures, (first, second), strict=True))
    images = image_rows([path for path, said in groups for _ in said], captions=[text for _, said in groups for text in said])
    rows = []
    begin = 0
    for _, said in groups:
        for place in range(len(said)):
            keeper = None if place == 0 else begin
            row = {"id": images["id"][begin + place].as_py(), "keeper_row": keeper, "group_size": len(said)}
            rows.append(row | {"keeper": images["id"][begin].as_py() if place else None})
        begin += len(said)
    return images, pa.Table.from_pylist(rows, schema=DUPLICATES)


def lines(images: pa.Table, texts: dict[int, str]) -> pa.Table:
    rows = [
        {"id": images["id"][row].as_py(), "lines": [{"text": texts[row], "confidence": 0.9}] if row in texts else []}
        for row in range(len(images))
    ]
    return pa.Table.from_pylist(rows, schema=OCR)


def test_a_group_whose_captions_have_nothing_in_common_is_a_placeholder(pictures: tuple[Path, Path]) -> None:
    copied = [f"a tabby cat looks into the camera, photo {number}" for number in range(12)]
    images, duplicates = collection(pictures, list(CAPTIONS), list(copied))
    (row,) = placeholders(images=images, duplicates=duplicates).to_pylist()
    assert (row["keeper_row"], row["size"], row["reason"], row["captions"]) == (0, 12, "diverse_captions", 12)
    assert row["caption_agreement"] < row["background_agreement"]
    assert set(row["examples"]) <= set(CAPTIONS)


@pytest.mark.parametrize(
    "text", ["Sorry, this image is no longer available", "NO IMAGE", "404 Not Found", "photo has been removed", "暂无图片"]
)
def test_a_picture_that_says_so_is_a_placeholder_without_captions(pictures: tuple[Path, Path], text: str) -> None:
    images, duplicates = collection(pictures, [None] * 12, [None] * 12)
    (row,) = placeholders(images=images, duplicates=duplicates, ocr=lines(images, {0: text})).to_pylist()
    assert (row["keeper_row"], row["reason"], row["text"]) == (0, "telling_text", text)


@pytest.mark.parametrize("text", ["Coffee House", "available in all good shops", "Gate 40", "image processing with Python"])
def test_ordinary_words_in_a_picture_name_no_placeholder(pictures: tuple[Path, Path], text: str) -> None:
    images, duplicates = collection(pictures, [None] * 12, [None] * 12)
    assert placeholders(images=images, duplicates=duplicates, ocr=lines(images, {0: text})).num_rows == 0


def test_small_groups_are_never_placeholders(pictures: tuple[Path, Path]) -> None:
    images, duplicates = collection(pictures, list(CAPTIONS), [None])
    assert placeholders(images=images, duplicates=duplicates, min_size=13).num_rows == 0
    assert placeholders(images=images, duplicates=duplicates, min_share=0.95).num_rows == 0


def test_a_rule_can_drop_what_was_named(pictures: tuple[Path, Path]) -> None:
    images, duplicates = collection(pictures, list(CAPTIONS), [None])
    named = by_image(placeholders(images=images, duplicates=duplicates), num_images=len(images))
    rule = {"name": "placeholder", "column": "placeholders.reason", "in": ["telling_text", "diverse_captions"]}
    chosen = select(images=images, duplicates=duplicates, placeholders=named, rules=[rule])
    assert chosen["reason"].to_pylist() == ["placeholder", *["duplicate"] * 11, None]


def test_an_empty_collection_has_none() -> None:
    assert placeholders(images=IMAGES.empty_table(), duplicates=DUPLICATES.empty_table()).num_rows == 0


def test_the_stage_names_the_same_groups_part_by_part(pictures: tuple[Path, Path], tmp_path: Path) -> None:
    images, duplicates = collection(pictures, list(CAPTIONS), [None, *[f"tabby cat, photo {number}" for number in range(13)]])
    read, flat = lines(images, {12: "image not available"}), pa.table({"flatness": [0.5] * len(images)})
    whole = placeholders(images=images, duplicates=duplicates, ocr=read, metrics=flat)
    run = Run(tmp_path / "run")
    for name, table in {"images": images, "duplicates": duplicates, "ocr": read, "metrics": flat}.items():
        for part, begin in enumerate(range(0, len(images), 5)):
            run.commit_part(name, part, table.slice(begin, 5), fingerprint="x", cost=Cost(0, 0))
        run.finish(name, {})
    (output,) = work(run, {"parts": [0]}, min_size=10, min_share=0.001, min_caption_share=0.3)
    assert whole.num_rows == 2
    assert output.rows.equals(whole)
