"""Edit pairs of a small run: posters and photographs in, checked pairs and shards that stock readers read out."""

import hashlib
import io
import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import webdataset
from image_rows import image_rows
from PIL import Image
from skimage import data

from captioning.facts import caption
from captioning.ocr import Reader
from curation.edits import Operation, edit
from curation.errors import EditError
from curation.layouts import layout
from curation.metrics import profile
from curation.pairs import generator_of, versions
from curation.phrases import phrases
from curation.schema import EDGES, EDIT_PAIRS, SELECTION, TAGS, conform
from curation.tables import Cost, Run
from curation.text_checks import check_text, plain, text_at
from curation.text_lines import TextLine, coverage
from jobs import pair_shard
from jobs.demo_posters import write_posters
from jobs.pair_plan import plan
from jobs.pairs import Pairer
from jobs.pairs_view import examples, overview, picture_pixels, write_sheet

PLAN = {"layouts": 1, "text_images": 1, "pictures": 1, "near": 2, "seed": 0, "min_side_px": 256,
        "min_similarity": 0.5, "max_similarity": 0.97}  # fmt: skip
MAKE = {"seed": 0, "versions": 2, "max_operations": 2, "text_kinds": ["replace", "remove", "recolour"],
        "picture_kinds": ["sticker", "brightness", "mirror"], "max_side_px": 640, "min_ssim": 0.2, "max_ssim": 0.95}  # fmt: skip


def commit(run: Run, name: str, table: pa.Table, **files_: Any) -> None:
    run.start(name, {"parameters": {}, "inputs": {}, "fingerprint": "test", "parts": 1})
    run.commit_part(name, 0, table, fingerprint="test", cost=Cost(0, 0), **files_)
    run.finish(name, {"parameters": {}, "inputs": {}, "fingerprint": "test"})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of a poster, two photographs and a brightened one, up to what the stage `pairs` reads."""
    folder = tmp_path_factory.mktemp("pairs")
    write_posters(folder / "posters", count=1, seed=0)
    paths = sorted(path for path in (folder / "posters").iterdir() if path.suffix in (".png", ".jpg"))
    photo = data.astronaut()
    darker = np.rint(photo * 0.6).astype(np.uint8)
    for name, pixels in (("astronaut", photo), ("darker", darker), ("chelsea", data.chelsea())):
        paths.append(folder / f"{name}.png")
        Image.fromarray(pixels).save(paths[-1])
    made = Run(folder / "run")
    images = image_rows(paths)
    tables = {"images": images, "metrics": profile(images=images), "ocr": Reader()(images=images)}
    ids = images["id"].to_pylist()
    tables["tags"] = pa.Table.from_pylist([{"id": one, "tags": [], "error": None} for one in ids], schema=TAGS)
    kept = [{"id": one, "keep": True, "status": "kept", "weight": 1.0, "bucket": "512x512"} for one in ids]
    tables["selection"] = pa.Table.from_pylist(kept, schema=SELECTION)
    tables["captions"] = caption(**{name: tables[name] for name in ("images", "metrics", "tags", "ocr", "selection")})
    edges = [{"row_a": 1, "row_b": 2, "similarity": 0.93}, {"row_a": 0, "row_b": 3, "similarity": 0.2}]
    tables["edges"] = conform(pa.Table.from_pylist(edges, schema=EDGES), EDGES)
    for name, table in tables.items():
        commit(made, name, table)
    return made


@pytest.fixture(scope="module")
def pairs(run: Run) -> Iterator[list[dict[str, Any]]]:
    (item,) = plan(run, **PLAN)
    (output,) = Pairer(**MAKE)(run, item)
    assert output.rows is not None
    commit(run, "edit_pairs", output.rows, files=output.files)
    yield run.read("edit_pairs").to_pylist()


def test_every_kind_gives_pairs_in_both_directions_with_words_in_both_languages(pairs: list[dict[str, Any]]) -> None:
    good = [pair for pair in pairs if pair["error"] is None]
    assert {pair["kind"] for pair in good} == {"text", "parametric", "mined"}
    directions = {(pair["source"], pair["target"]) for pair in good}
    assert directions == {(target, source) for source, target in directions}
    assert len({pair["pair"] for pair in pairs}) == len(pairs)
    for pair in good:
        assert pair["instruction_en"].endswith(".") and pair["instruction_zh"].endswith("。")
        assert all(pair[f"caption_{side}_{language}"] for side in ("source", "target") for language in ("en", "zh"))
        assert pair["evidence"]


def test_text_pairs_are_verified_and_equal_outside_their_masks(run: Run, pairs: list[dict[str, Any]]) -> None:
    masked = [pair for pair in pairs if pair["error"] is None and pair["mask_picture"]]
    assert any(pair["kind"] == "text" for pair in masked)
    for pair in masked:
        source, target, mask = (picture_pixels(run, pair[f"{name}_picture"]) for name in ("source", "target", "mask"))
        assert ((source != target).any(axis=2) == (mask[:, :, 0] > 0)).all()
        x0, y0, x1, y1 = (int(value) for value in pair["region"])
        assert mask[y0:y1, x0:x1].any() and mask.sum() == mask[y0:y1, x0:x1].sum()
        checks = json.loads(pair["checks"])
        if pair["kind"] == "text":
            for side in ("source", "target"):
                assert all(plain(one["asked"]) == plain(one["read"]) for one in checks[side].get("changed_lines", []))


def test_quoted_strings_are_verbatim_texts_of_the_operations(pairs: list[dict[str, Any]]) -> None:
    for pair in pairs:
        if pair["kind"] != "text" or pair["error"]:
            continue
        texts = set()
        for operation in pair["operations"]:
            told = json.loads(operation["parameters"])
            texts |= {value["text"] for value in (told["before"], told["after"]) if isinstance(value, dict)}
        english, chinese = pair["instruction_en"].split('"')[1::2], pair["instruction_zh"].replace("”", "“").split("“")[1::2]
        assert set(english) <= texts and set(chinese) <= texts and sorted(english) == sorted(chinese)


def test_a_mined_pair_is_told_by_what_was_measured(pairs: list[dict[str, Any]]) -> None:
    mined = [pair for pair in pairs if pair["kind"] == "mined"]
    assert len(mined) == 2 and not any(pair["error"] for pair in mined)
    forth, back = sorted(mined, key=lambda pair: "darker" in pair["instruction_en"])[::-1]
    assert "darker" in forth["instruction_en"] and "brighter" in back["instruction_en"]
    assert json.loads(forth["checks"])["cosine"] == pytest.approx(0.93)
    assert any(one["source"] == "light" and "brightness" in one["value"] for one in forth["evidence"])


def test_bytes_do_not_depend_on_the_worker_or_on_what_it_did_before(run: Run, pairs: list[dict[str, Any]]) -> None:
    (item,) = plan(run, **PLAN)
    worker = Pairer(**MAKE)
    worker(run, {**item, "units": item["units"][:1]})
    (again,) = worker(run, item)
    assert again.rows is not None and again.rows.to_pylist() == pairs
    (path,) = again.files.values()
    first = run.folder("edit_pairs") / path.name
    assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(first.read_bytes()).digest()


def test_the_choice_of_images_depends_on_ids_and_seed_alone(run: Run) -> None:
    chosen = [plan(run, **{**PLAN, "seed": seed})[0]["units"] for seed in (0, 0, 1, 2, 3)]
    assert chosen[0] == chosen[1] and any(other != chosen[0] for other in chosen[2:])


def test_refused_edits_are_rows_with_a_code_and_a_reason(run: Run) -> None:
    item = {
        "parts": [0],
        "units": [{"kind": "text", "row": 3}, {"kind": "mined", "rows": [1, 1], "similarity": 1.0}],
        "phrases": [],
    }
    (output,) = Pairer(**MAKE)(run, item)
    assert output.rows is not None
    assert output.rows["error"].to_pylist() == ["unreadable", "too_alike"]
    assert all(json.loads(checks)["refused"] for checks in output.rows["checks"].to_pylist())
    assert output.rows["source_picture"].null_count == 2


def test_stock_webdataset_reads_pairs_and_the_index_points_at_their_bytes(run: Run, pairs: list[dict[str, Any]]) -> None:
    (item,) = pair_shard.plan(run, max_bytes=1 << 30, max_samples=100, seed=0)
    outputs = [pair_shard.work(run, item, language="en")[0] for _ in range(2)]
    tars = [next(iter(output.files.values())) for output in outputs]
    assert tars[0].read_bytes() == tars[1].read_bytes()
    samples = list(webdataset.WebDataset(str(tars[0]), shardshuffle=False, empty_check=False).decode("pil"))
    index = outputs[0].rows
    assert index is not None
    good = {pair["pair"]: pair for pair in pairs if pair["error"] is None}
    assert [sample["__key__"] for sample in samples] == index["key"].to_pylist() and set(index["key"].to_pylist()) == set(good)
    content, ids = tars[0].read_bytes(), run.read("images", ["id"])["id"].to_pylist()
    for sample, row in zip(samples, index.to_pylist(), strict=True):
        pair = good[row["pair"]]
        shown = {ids[pair[side]["row"]] for side in ("source_picture", "target_picture") if pair[side]["row"] is not None}
        assert shown <= set(row["images"]) <= shown | ({pair["base"]} - {None})
        assert len(row["images"]) == {"mined": 2}.get(pair["kind"], len({pair["base"]} - {None}))
        assert sample["txt"] == sample["json"]["instruction"]["en"] == pair["instruction_en"]
        assert sample["source.jpg"].size == (row["source_width"], row["source_height"])
        assert sample["target.jpg"].size == sample["mask.png"].size == (row["width"], row["height"])
        assert sample["json"]["masked"] == row["masked"] == (pair["mask_picture"] is not None)
        begin = row["target_offset"]
        with Image.open(io.BytesIO(content[begin : begin + row["target_length"]])) as target:
            assert np.array_equal(np.asarray(target.convert("RGB")), picture_pixels(run, pair["target_picture"]))
        told = json.loads(content[row["json_offset"] : row["json_offset"] + row["json_length"]])
        assert told["task"] == row["task"] and told["captions"]["target"]["zh"] == pair["caption_target_zh"]
    assert len({tuple(sorted(sample["json"])) for sample in samples}) == 1  # the same keys in every sample


def test_shards_stay_within_their_limits_and_leave_refused_pairs_out(run: Run, pairs: list[dict[str, Any]]) -> None:
    items = pair_shard.plan(run, max_bytes=1 << 30, max_samples=3, seed=0)
    rows = [row for item in items for row in item["rows"]]
    assert sorted(rows) == [row for row, pair in enumerate(pairs) if pair["error"] is None]
    assert all(len(item["rows"]) <= 3 for item in items)
    with pytest.raises(ValueError, match="must be positive"):
        pair_shard.plan(run, max_bytes=0, max_samples=3, seed=0)


def test_the_page_shows_pairs_and_counts(run: Run, pairs: list[dict[str, Any]], tmp_path: Path) -> None:
    write_sheet(run, tmp_path / "pairs.html", number=6)
    text = (tmp_path / "pairs.html").read_text(encoding="utf-8")
    assert text.count('class="edit"') == 6 and "<script" not in text
    numbers = overview(run)
    assert numbers["num_pairs"] == sum(pair["error"] is None for pair in pairs) == len(examples(run, number=1000))


def test_a_reader_that_reads_something_else_refuses_the_version() -> None:
    scene = layout("layout", phrases=phrases(), generator=generator_of("checks"))
    subject = next(iter(name for name in scene.state if name.startswith("line:")))
    line = scene.state[subject]
    change = edit([Operation(subject, line, {**line, "text": "Hot Tea" if line["text"].isascii() else "热茶"})])

    def truth(state: dict[str, Any]) -> list[dict[str, Any]]:
        lines = []
        for value in (value for name, value in state.items() if name.startswith("line:")):
            x0, y0, x1, y1 = coverage(TextLine(**value)).box
            lines.append({"text": value["text"], "confidence": 1.0, "polygon": [x0, y0, x1, y0, x1, y1, x0, y1]})
        return lines

    after = {**scene.state, subject: change[0].after}
    checked = {"state": after, "reference": truth(scene.state), "base": scene.state}
    assert check_text(truth(after), **checked)["changed_lines"][0]["asked"] == change[0].after["text"]
    for read, code in (
        (truth(scene.state), "misread"),
        (truth(after)[:-1], "lost_line" if len(after) > 2 else "misread"),
        ([*truth(after), {"text": "ghost", "confidence": 1.0, "polygon": [0, 0, 5, 0, 5, 5, 0, 5]}], "left_over"),
    ):
        with pytest.raises(EditError) as caught:
            check_text(read, **checked)
        assert caught.value.code == code
    with pytest.raises(EditError, match="misread"):
        versions(scene, [change], read=lambda _: [])


def test_pieces_of_a_line_are_read_from_left_to_right() -> None:
    read = [
        {"text": "Street", "polygon": [60, 0, 99, 0, 99, 9, 60, 9]},
        {"text": "Harbour", "polygon": [0, 1, 50, 1, 50, 9, 0, 9]},
    ]
    assert text_at(read, (0, 0, 100, 10)) == "Harbour Street"
    assert plain(" Ａ b\u3000c") == "Abc"


def test_the_schema_of_pairs_is_what_is_written(pairs: list[dict[str, Any]]) -> None:
    assert set(pairs[0]) == set(EDIT_PAIRS.names)
    assert files("captioning").joinpath("prompts", "difference.j2").is_file()
