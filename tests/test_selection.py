"""Selection: reasons in order, rules as written in YAML, resolution buckets."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.buckets import area_px, bucket
from curation.errors import ConfigError
from curation.schema import DUPLICATES, IMAGES, OCR, SCORES, SELECTION, TAGS
from curation.selection import select

NUM = 6


def _table(schema: pa.Schema, **columns: list[object]) -> pa.Table:
    num = len(columns["id"])
    return pa.table({name: columns.get(name, [None] * num) for name in schema.names}, schema=schema)


def _tables() -> dict[str, pa.Table]:
    """Six images: fine, broken, a copy of the first, unsafe, dark, unmeasured."""
    ids = [f"{i:032x}" for i in range(NUM)]
    error = [None, "truncated", None, None, None, None]
    images = _table(
        IMAGES,
        id=ids,
        uri=["/data/a"] * NUM,
        container=["file"] * NUM,
        key=[f"a/{i}.png" for i in range(NUM)],
        group=["photos", "photos", "photos", "photos", "digits", "digits"],
        format=["png", None, "jpeg", "png", "png", "gif"],
        width=[640, None, 320, 64, 32, 100],
        height=[480, None, 240, 64, 32, 50],
        flags=[["icc"], None, [], ["alpha", "icc"], [], None],
        error=error,
        error_detail=[None, "EOF after 100 bytes", None, None, None, None],
    )
    measured = {"id": ids, "entropy": [7.0, None, 7.0, 6.0, 0.5, None], "brightness": [0.5, None, 0.5, 0.4, 0.02, None]}
    metrics = pa.table(measured, schema=pa.schema([("id", pa.string()), ("entropy", pa.float32()), ("brightness", pa.float32())]))
    scores = _table(SCORES, id=ids, nsfw=[0.1, None, 0.1, 0.97, 0.0, None], error=error)
    line = {"text": "SALE", "confidence": 0.9, "language": "en", "polygon": [0.0] * 8}
    ocr = _table(OCR, id=ids, lines=[[line, line], None, [], [], [], []], error=error)
    tag = [{"label": "cat", "score": 0.9, "source": "m"}, {"label": "tabby", "score": 0.5, "source": "m"}]
    tags = _table(TAGS, id=ids, tags=[tag, None, tag, [], tag[1:], []], error=error)
    duplicates = _table(
        DUPLICATES,
        id=ids,
        keeper=[None, None, ids[0], None, None, None],
        keeper_row=[None, None, 0, None, None, None],
        similarity=[None, None, 0.98, None, None, None],
        group_size=[2, 1, 2, 1, 1, 1],
    )
    return {"images": images, "metrics": metrics, "scores": scores, "ocr": ocr, "tags": tags, "duplicates": duplicates}


def _reasons(*rules: dict[str, object]) -> list[str | None]:
    return list(select(**_tables(), rules=rules)["reason"].to_pylist())


def test_every_row_is_kept_dropped_or_failed_and_says_why() -> None:
    selected = select(**_tables())
    assert selected.schema.equals(SELECTION)
    assert selected["status"].to_pylist() == ["kept", "failed", "dropped", "dropped", "kept", "kept"]
    assert selected["reason"].to_pylist() == [None, "truncated", "duplicate", "nsfw", None, None]
    assert selected["detail"].to_pylist()[1:4] == [
        "EOF after 100 bytes",
        f"copy of {0:032x}, cosine 0.9800",
        "scores.nsfw is 0.97, dropped when above 0.8",
    ]
    assert selected["bucket"].to_pylist() == ["592x432", None, None, None, "32x32", "80x48"]


def test_the_first_rule_that_hits_is_the_reason() -> None:
    dark = {"name": "dark", "column": "metrics.brightness", "below": 0.1}
    small = {"name": "small", "column": "images.width", "below": 64}
    assert _reasons(dark, small)[4] == "dark"
    assert _reasons(small, dark)[4] == "small"


def test_a_failed_image_and_a_copy_never_get_a_rules_name() -> None:
    everything = {"name": "all", "column": "images.width", "above": 0, "missing": "drop"}
    assert _reasons(everything) == ["all", "truncated", "duplicate", "all", "all", "all"]


@pytest.mark.parametrize(
    ("rule", "dropped"),
    [
        ({"column": "metrics.entropy", "below": 6.5}, [3, 4]),
        ({"column": "metrics.entropy", "below": 6.5, "missing": "drop"}, [3, 4, 5]),
        ({"column": "metrics.entropy", "below": 6.5, "groups": ["digits"]}, [4]),
        ({"column": "images.format", "equals": "gif"}, [5]),
        ({"column": "images.format", "not_in": ["png", "jpeg"]}, [5]),
        ({"column": "images.flags", "in": ["alpha", "cmyk"]}, [3]),
        ({"column": "images.aspect", "above": 1.9}, [5]),
        ({"column": "images.megapixels", "above": 0.3}, [0]),
        ({"column": "tags.labels", "equals": "tabby"}, [0, 4]),
        ({"column": "tags.best", "equals": "tabby"}, [4]),
        ({"column": "tags.labels", "not_in": ["cat"]}, [3, 4, 5]),
        ({"column": "ocr.num_lines", "above": 1}, [0]),
        ({"column": "ocr.num_characters", "below": 1, "groups": ["photos"]}, [3]),
    ],
)
def test_a_rule_drops_exactly_the_rows_beyond_its_limit(rule: dict[str, object], dropped: list[int]) -> None:
    reasons = _reasons({"name": "r", **rule})
    assert [row for row, reason in enumerate(reasons) if reason == "r"] == dropped


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"name": "r", "column": "metrics.entropi", "below": 1}, 'did you mean "metrics.entropy"'),
        ({"name": "r", "column": "metrics.entropy", "belo": 1}, 'did you mean "below"'),
        ({"name": "r", "column": "images.format", "below": 1}, "cannot be compared"),
        ({"name": "r", "column": "metrics.entropy", "equals": "high"}, "cannot be compared"),
        ({"name": "r", "column": "metrics.entropy", "below": "1"}, "takes a number"),
        ({"name": "r", "column": "images.format", "in": "png"}, "takes a list"),
        ({"name": "r", "column": "images.format"}, "exactly one of"),
        ({"name": "r", "column": "images.width", "below": 1, "above": 2}, "exactly one of"),
        ({"name": "r", "column": "images.width", "below": 1, "missing": "maybe"}, "keep, drop"),
        ({"name": "duplicate", "column": "images.width", "below": 1}, "meaning of its own"),
    ],
)
def test_a_wrong_rule_is_refused_with_the_way_out(rule: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _reasons(rule)


def test_selection_works_without_optional_measurements() -> None:
    tables = {name: table for name, table in _tables().items() if name in ("images", "duplicates")}
    assert select(**tables, rules=())["keep"].to_pylist() == [True, False, False, True, True, True]


def test_known_sizes_fall_into_known_buckets() -> None:
    known = {(1024, 1024): "1024x1024", (512, 500): "512x512", (60, 60): "64x64", (8, 8): "32x32", (4000, 1000): "2048x512"}
    assert {size: bucket(*size) for size in known} == known


@given(width=st.integers(1, 5000), height=st.integers(1, 5000))
def test_a_bucket_is_aligned_bounded_and_symmetric(width: int, height: int) -> None:
    name = bucket(width, height)
    w, h = map(int, name.split("x"))
    base = min(b for b in (32, 64, 128, 256, 512, 1024) if w * h <= b * b)
    assert w % 16 == h % 16 == 0
    assert max(w / h, h / w) <= 4
    assert w * h >= 0.7 * base * base
    assert base == 32 or max(w / width, h / height) <= 1.1
    assert area_px(bucket(height, width)) == w * h


def test_a_bucket_refuses_an_empty_image_and_a_base_off_the_grid() -> None:
    with pytest.raises(ValueError, match="has no bucket"):
        bucket(0, 10)
    with pytest.raises(ValueError, match="no multiple"):
        bucket(10, 10, bases_px=(40,))


def test_the_policy_of_containment_is_asked_last_and_names_the_other_picture() -> None:
    tables = _tables()
    inside = tables["duplicates"].to_pylist()
    inside[4]["contained_in"], inside[5]["contained_in"] = inside[0]["id"], inside[3]["id"]
    tables["duplicates"] = pa.Table.from_pylist(inside, schema=DUPLICATES)
    unsafe = {"name": "nsfw", "column": "scores.nsfw", "above": 0.8}
    found = select(**tables, rules=[unsafe], contained="drop_part").to_pylist()
    assert (found[4]["reason"], found[4]["detail"]) == ("contained", f"lies inside {found[0]['id']}")
    assert found[5]["keep"]  # what would contain it is unsafe
    assert select(**tables, rules=[unsafe], contained="drop_whole").to_pylist()[0]["reason"] == "container"


def test_the_reasons_of_containment_are_reserved() -> None:
    with pytest.raises(ConfigError, match="a meaning of its own"):
        _reasons({"name": "contained", "column": "metrics.entropy", "below": 1.0})
