"""Shards: planned within limits, the same bytes every time, and open to every stock reader."""

import hashlib
import io
import json
import subprocess
import tarfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import webdataset
from PIL import Image
from skimage import data

from curation import tar
from curation.errors import SourceError
from curation.schema import CAPTIONS, IMAGES, OCR, SCORES, SELECTION, SHARDS, TAGS
from curation.shards import JSON_ALLOWANCE_BYTES, count_words, plan_shards, write_shard

FORMATS = ("jpeg", "png", "webp", "gif", "png", "tiff", "jpeg", "bmp")


def _table(schema: pa.Schema, **columns: list[object]) -> pa.Table:
    num = len(columns["id"])
    return pa.table({name: columns.get(name, [None] * num) for name in schema.names}, schema=schema)


def _encoded(index: int, format_name: str) -> bytes:
    picture = Image.fromarray(data.astronaut()[index * 20 : index * 20 + 96, 100:228])
    buffer = io.BytesIO()
    picture.save(buffer, format=format_name.upper())
    return buffer.getvalue()


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pa.Table]:
    """Eight real images of six formats; the last two hold the same bytes."""
    folder = tmp_path_factory.mktemp("source")
    encoded = [_encoded(index, name) for index, name in enumerate(FORMATS)]
    encoded[6] = encoded[0]
    paths = [folder / f"picture number {index}.v2.{name}" for index, name in enumerate(FORMATS)]
    for path, content in zip(paths, encoded, strict=True):
        path.write_bytes(content)
    num = len(FORMATS)
    ids = [hashlib.sha256(content).hexdigest()[:32] for content in encoded]
    images = _table(
        IMAGES,
        id=ids,
        uri=[str(path) for path in paths],
        container=["file"] * num,
        offset=[0] * num,
        length=[len(content) for content in encoded],
        key=[path.name for path in paths],
        group=["space"] * num,
        format=list(FORMATS),
        width=[128] * num,
        height=[96] * num,
        caption=["an astronaut", None] * 4,
        metadata=['{"photographer": "\u674e"}', None] * 4,
        flags=[[]] * num,
    )
    selection = _table(SELECTION, id=ids, keep=[True] * num, status=["kept"] * num, weight=[1.0] * num, bucket=["128x96"] * num)
    evidence = [{"clause": "orange suit", "source": "metrics.dominant_colours", "value": "orange 0.4"}]
    made = {"level": "medium", "backend": "facts", "flags": []}
    chinese = made | {"language": "zh", "text": "\u6a59\u8272\u7684\u822a\u5929\u670d", "evidence": []}
    english = [made | {"language": "en", "text": f"An orange suit, {i}.", "evidence": evidence} for i in range(num)]
    captions = [[caption, chinese] if i != 1 else [] for i, caption in enumerate(english)]
    line = {"text": 'NASA "</script>', "confidence": 0.9, "language": "en", "polygon": [0.0, 0, 9, 0, 9, 9, 0, 9]}
    sharpness = pa.array([0.1, None] * 4, pa.float32())
    return {
        "images": images,
        "selection": selection,
        "metrics": pa.table({"id": ids, "sharpness": sharpness, "error": pa.nulls(num, pa.string())}),
        "scores": _table(SCORES, id=ids, nsfw=[0.01] * num, aesthetics=[None, 5.0] * 4),
        "ocr": _table(OCR, id=ids, lines=[[line], []] * 4),
        "tags": _table(TAGS, id=ids, tags=[[], [{"label": "suit", "score": 0.5, "source": "m"}]] * 4),
        "captions": _table(CAPTIONS, id=ids, captions=captions),
    }


@pytest.fixture(scope="module")
def written(tables: dict[str, pa.Table], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pa.Table]:
    """One shard of all eight samples and its index."""
    path = tmp_path_factory.mktemp("shards") / "shard-000000.tar"
    return path, write_shard(path, rows=np.arange(len(FORMATS)), **tables)


def _stored(tables: dict[str, pa.Table]) -> list[bytes]:
    return [Path(uri).read_bytes() for uri in tables["images"]["uri"].to_pylist()]


def test_the_index_points_at_the_original_bytes_and_the_json(written: tuple[Path, pa.Table], tables: dict[str, pa.Table]) -> None:
    path, index = written
    archive = path.read_bytes()
    assert index.schema.equals(SHARDS)
    for row, original in zip(index.to_pylist(), _stored(tables), strict=True):
        assert archive[row["image_offset"] :][: row["image_length"]] == original
        described = json.loads(archive[row["json_offset"] :][: row["json_length"]])
        assert described["id"] == row["id"] == hashlib.sha256(original).hexdigest()[:32]
    assert index["row"].to_pylist() == list(range(len(FORMATS)))


def test_the_json_holds_captions_text_tags_scores_and_provenance(written: tuple[Path, pa.Table]) -> None:
    path, index = written
    row = index.to_pylist()[0]
    described = json.loads(path.read_bytes()[row["json_offset"] :][: row["json_length"]])
    assert described["captions"]["en"]["medium"] == "An orange suit, 0."
    assert described["captions"]["zh"]["medium"] == "\u6a59\u8272\u7684\u822a\u5929\u670d"
    assert described["caption"] == "an astronaut"
    assert json.loads(described["captions_json"])[0]["evidence"][0]["clause"] == "orange suit"
    assert json.loads(described["ocr_json"])[0]["text"] == 'NASA "</script>'
    assert json.loads(described["scores_json"]) == {"nsfw": 0.01}
    assert json.loads(described["metrics_json"]) == {"sharpness": 0.1}
    assert json.loads(described["metadata_json"]) == {"photographer": "\u674e"}
    assert described["key"] == "picture number 0.v2.jpeg"


def test_two_writes_give_the_same_bytes(written: tuple[Path, pa.Table], tables: dict[str, pa.Table], tmp_path: Path) -> None:
    path, index = written
    again = write_shard(tmp_path / "attempt", shard=path.name, rows=np.arange(len(FORMATS)), **tables)
    assert (tmp_path / "attempt").read_bytes() == path.read_bytes()
    assert again.equals(index)


def test_equal_bytes_in_one_shard_stay_two_samples(written: tuple[Path, pa.Table]) -> None:
    keys = written[1]["key"].to_pylist()
    assert keys[6] == f"{keys[0]}-1"
    assert len(set(keys)) == len(keys)


def test_the_text_is_the_wanted_caption_or_the_source_or_empty(
    written: tuple[Path, pa.Table], tables: dict[str, pa.Table], tmp_path: Path
) -> None:
    def texts(path: Path) -> list[str]:
        with tarfile.open(path) as archive:
            return [archive.extractfile(m).read().decode() for m in archive if m.name.endswith("txt")]  # type: ignore[union-attr]

    assert texts(written[0])[:3] == ["An orange suit, 0.", "", "An orange suit, 2."]
    write_shard(tmp_path / "a.tar", rows=np.arange(len(FORMATS)), images=tables["images"], selection=tables["selection"])
    assert texts(tmp_path / "a.tar")[:2] == ["an astronaut", ""]


def test_webdataset_reads_every_sample_and_decodes_every_format(written: tuple[Path, pa.Table]) -> None:
    samples = list(webdataset.WebDataset(str(written[0]), shardshuffle=False, empty_check=False).decode("pil"))
    assert [sample["__key__"] for sample in samples] == written[1]["key"].to_pylist()
    assert {sample["jpg"].size for sample in samples} == {(128, 96)}
    assert all(sample["json"]["width"] == 128 for sample in samples)


def test_datasets_reads_every_sample_and_decodes_every_format(
    written: tuple[Path, pa.Table], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    loaded = datasets.load_dataset("webdataset", data_files=str(written[0]), split="train", cache_dir=str(tmp_path))
    assert [row["__key__"] for row in loaded] == written[1]["key"].to_pylist()
    assert {row["jpg"].size for row in loaded} == {(128, 96)}
    assert loaded[0]["json"]["captions"]["en"]["medium"] == loaded[0]["txt"]


def test_gnu_tar_lists_and_extracts_it(written: tuple[Path, pa.Table], tables: dict[str, pa.Table], tmp_path: Path) -> None:
    path, index = written
    listed = subprocess.run(
        ["tar", "tvf", str(path)], check=True, capture_output=True, text=True, env={"TZ": "UTC", "PATH": "/usr/bin:/bin"}
    )
    assert listed.stderr == ""
    assert len(listed.stdout.splitlines()) == 3 * len(FORMATS)
    assert "1970-01-01 00:00" in listed.stdout
    subprocess.run(["tar", "xf", str(path), "-C", str(tmp_path)], check=True)
    first = tmp_path / index["image_member"][0].as_py()
    assert first.read_bytes() == _stored(tables)[0]


def test_a_shard_ends_with_two_zero_blocks_and_tarfile_agrees_on_offsets(written: tuple[Path, pa.Table]) -> None:
    path, index = written
    assert path.read_bytes()[-1024:] == bytes(1024)
    with tarfile.open(path) as archive:
        offsets = {member.name: member.offset_data for member in archive}
    assert [offsets[name] for name in index["image_member"].to_pylist()] == index["image_offset"].to_pylist()


def test_an_image_that_changed_or_went_since_ingest_is_never_sharded(tables: dict[str, pa.Table], tmp_path: Path) -> None:
    changed = tmp_path / "changed.jpg"
    changed.write_bytes(b"other bytes")
    one = {name: table.slice(0, 1) for name, table in tables.items()}
    for uri, message in ((str(changed), "changed since ingest"), (str(tmp_path / "gone"), "cannot be read")):
        one["images"] = one["images"].set_column(1, IMAGES.field("uri"), pa.array([uri]))
        with pytest.raises(SourceError, match=message):
            write_shard(tmp_path / "x.tar", rows=np.arange(1), **one)


def _planned(num: int, **limits: int) -> tuple[list[list[int]], pa.Table, pa.Table]:
    generator = np.random.default_rng(0)
    ids = [f"{i:032x}" for i in range(num)]
    keep = (generator.random(num) < 0.8).tolist()
    buckets = [str(b) if k else None for b, k in zip(generator.choice(["32x32", "64x64", "48x80"], num), keep, strict=True)]
    status = ["kept" if k else "dropped" for k in keep]
    selection = _table(SELECTION, id=ids, keep=keep, status=status, weight=[1.0] * num, bucket=buckets)
    lengths = generator.integers(100, 50_000, num).tolist()
    same = {"uri": ["/a"] * num, "container": ["file"] * num, "key": ids, "group": ["g"] * num}
    images = _table(IMAGES, id=ids, length=lengths, **same)
    return plan_shards(selection=selection, images=images, **limits), selection, images


def test_a_plan_holds_every_kept_row_once_within_the_limits() -> None:
    shards, selection, images = _planned(400, max_bytes=300_000, max_samples=20)
    rows = [row for shard in shards for row in shard]
    assert sorted(rows) == np.flatnonzero(selection["keep"].to_numpy()).tolist()
    lengths = images["length"].to_numpy()
    for shard in shards:
        size = sum(tar.padded_bytes(int(lengths[row])) + JSON_ALLOWANCE_BYTES for row in shard)
        assert len(shard) <= 20
        assert size <= 300_000 - 1024


def test_a_sample_beyond_the_limit_gets_its_own_shard() -> None:
    shards, _, _ = _planned(30, max_bytes=1)
    assert all(len(shard) == 1 for shard in shards)


def test_a_plan_is_contiguous_by_bucket_and_mixed_inside() -> None:
    shards, selection, _ = _planned(400, max_samples=50)
    rows = [row for shard in shards for row in shard]
    buckets = selection["bucket"].take(rows).to_pylist()
    changes = [a for a, b in pairwise(buckets) if a != b]
    assert changes == ["32x32", "48x80"]
    assert rows[: len(rows) // 3] != sorted(rows[: len(rows) // 3])
    assert _planned(400, max_samples=50)[0] == shards
    assert _planned(400, max_samples=50, seed=1)[0] != shards


def test_no_kept_row_gives_no_shard() -> None:
    shards, _, _ = _planned(0)
    assert shards == []


@pytest.mark.parametrize(
    ("text", "words"), [("A red circle.", 3), ("\u7ea2\u8272\u5706", 3), ("logo \u9152 50%", 3), ("size\u5927", 2), ("", 0)]
)
def test_words_are_runs_or_single_chinese_characters(text: str, words: int) -> None:
    assert count_words(text) == words


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../up", "n" * 101, "\u6587.txt"])
def test_a_member_name_that_readers_disagree_on_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no member name"):
        tar.append(io.BytesIO(), name, b"")
