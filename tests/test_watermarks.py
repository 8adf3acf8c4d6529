"""Strings that are on many images of a source: counted by brute force, named by share."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from captioning.watermarks import key, watermarks
from curation.schema import IMAGES, OCR, WATERMARKS
from curation.selection import select
from curation.tables import Cost, Run
from jobs.watermarks import work


def tables(texts: list[list[str] | None], groups: list[str], keepers: list[str | None] | None = None) -> dict[str, pa.Table]:
    """Return IMAGES, OCR and DUPLICATES with these texts, row by row."""
    rows = [
        {"id": f"{row:032x}", "uri": "x", "container": "file", "key": str(row), "group": group}
        for row, group in enumerate(groups)
    ]
    lines = [
        None
        if own is None
        else [{"text": text, "confidence": 1.0, "language": "en", "polygon": [0.0, 0, 9, 0, 9, 9, 0, 9]} for text in own]
        for own in texts
    ]
    ids = [row["id"] for row in rows]
    copies = keepers or [None] * len(rows)
    return {
        "images": pa.Table.from_pylist(rows, schema=IMAGES),
        "ocr": pa.table({"id": ids, "lines": pa.array(lines, OCR.field("lines").type), "error": pa.nulls(len(ids), pa.string())}),
        "duplicates": pa.table({"id": ids, "keeper": pa.array(copies, pa.string())}),
    }


def test_a_string_on_more_than_the_share_of_its_own_group_is_named() -> None:
    texts = [["StockPix.com", f"picture {row}"] if row % 40 == 0 else [f"line {row}"] for row in range(800)]
    texts += [["StockPix.com"]] * 3 + [["other"]] * 797
    found = watermarks(**tables(texts, ["stock"] * 800 + ["blog"] * 800))
    assert found.schema.equals(WATERMARKS)
    named = [row for row, text in enumerate(found["text"].to_pylist()) if text == "StockPix.com"]
    assert named == list(range(0, 800, 40))  # 20 of 800; in the other group 3 of 800 are too few
    assert found["share"][0].as_py() == pytest.approx(0.025) and found["texts"][0].as_py() == ["StockPix.com"]


def test_spelling_of_width_case_and_marks_does_not_matter() -> None:
    variants = ["© StockPix", "STOCKPIX.", "ＳｔｏｃｋＰｉｘ", "stock pix"]
    found = watermarks(**tables([[variants[row % 4]] for row in range(20)], ["a"] * 20))
    assert found["text"].to_pylist() == [variants[row % 4] for row in range(20)]


def test_copies_count_once_and_are_marked_all_the_same() -> None:
    texts = [["Same poster"]] * 12 + [[f"line {row} x"] for row in range(100)]
    keepers = [None] + ["0" * 32] * 11 + [None] * 100
    assert watermarks(**tables(texts, ["a"] * 112, keepers), min_images=2)["text"].null_count == 112
    brand = [["Brand name"]] * 12 + [[f"line {row} x"] for row in range(100)]
    found = watermarks(**tables(brand, ["a"] * 112, [None] * 6 + ["0" * 32] * 6 + [None] * 100), min_images=5)
    assert found["text"].to_pylist()[:12] == ["Brand name"] * 12


def test_numbers_and_single_letters_are_no_watermarks() -> None:
    assert [key(text) for text in ("12", "2024", "A", "图", "图库", "ab", "abc")] == ["", "", "", "", "图库", "", "abc"]


def test_shares_equal_a_count_by_brute_force() -> None:
    generator = np.random.default_rng(3)
    words = ["alpha", "beta", "gamma", "delta"]
    texts = [list(generator.choice(words, generator.integers(0, 4))) if generator.random() > 0.1 else None for _ in range(200)]
    found = watermarks(**tables(texts, ["a"] * 200), min_share=0.5, min_images=2).to_pylist()
    readable = [own for own in texts if own is not None]
    share = {word: sum(word in own for own in readable) / len(readable) for word in words}
    for own, row in zip(texts, found, strict=True):
        expected = None if own is None else [word for word in own if share[word] > 0.5]
        assert row["texts"] == expected
        assert row["share"] is None or row["share"] == pytest.approx(max(share[word] for word in expected))


def test_a_rule_of_select_drops_watermarked_images() -> None:
    given = tables([["StockPix.com"]] * 12 + [["a line"]], ["a"] * 13)
    images = given["images"].to_pydict() | {"width": [600] * 13, "height": [400] * 13}
    given["images"] = pa.table(images, schema=IMAGES)
    named = watermarks(**given)
    ids = given["images"]["id"]
    empty = {
        name: pa.nulls(13, kind)
        for name, kind in (("keeper_row", pa.int64()), ("similarity", pa.float32()), ("contained_in", pa.string()))
    }
    duplicates = pa.table({"id": ids, "keeper": pa.nulls(13, pa.string()), **empty})
    rules = [{"name": "watermark", "column": "watermarks.share", "above": 0.5}]
    chosen = select(images=given["images"], duplicates=duplicates, ocr=given["ocr"], watermarks=named, rules=rules)
    assert chosen["reason"].to_pylist() == ["watermark"] * 12 + [None]


def test_the_stage_counts_in_bins_what_one_look_counts(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    names = ["StockPix", "图片来源 某某网", "Fotos"]
    texts = [[names[n] for n in draw.integers(0, 3, 2)] if row % 7 == 0 else [f"line {row}"] for row in range(200)]
    texts[3:5] = [None, []]
    made = tables(texts, ["a", "b"] * 100, [None if row % 5 else "x" for row in range(200)])
    run = Run(tmp_path)
    for name, table in made.items():
        for part, begin in enumerate(range(0, 200, 30)):
            run.commit_part(name, part, table.slice(begin, 30), fingerprint="x", cost=Cost(0, 0))
        run.finish(name, {})
    item = {"parts": list(range(7))}
    outputs = list(work(run, item, min_share=0.01, min_images=2, images_per_bin=40))
    found = pa.concat_tables([output.rows for output in outputs])
    assert found.equals(watermarks(**made, min_share=0.01, min_images=2))
    assert set(found["text"].drop_null().to_pylist()) == set(names)
