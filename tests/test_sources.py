"""What a source holds: which files are images, which are containers, what is left out, and that the plan never wavers."""

import io
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from curation.errors import SourceError
from curation.ingest import chunk_items
from curation.sources import list_source


def picture(number: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (20, 24, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write(path: Path, content: bytes | str = b"") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def write_cells(path: Path, numbers: range, **options: int) -> Path:
    cells = [{"bytes": picture(number), "path": f"{number}.png"} for number in numbers]
    pq.write_table(pa.table({"image": cells, "text": [f"caption {number}" for number in numbers]}), path, **options)
    return path


def keys(source: Path, **options: int) -> list[str]:
    return [item.key for chunk in list_source(str(source), **options).chunks for item in chunk_items(chunk)]


def test_folder_is_listed_at_any_depth_in_sorted_order(tmp_path):
    for name in ("b/deep/er/2.png", "a/1.jpg", "3.webp"):
        write(tmp_path / name, picture(1))
    assert keys(tmp_path) == ["3.webp", "a/1.jpg", "b/deep/er/2.png"]


def test_image_like_and_nameless_suffixes_are_items(tmp_path):
    for name in ("a.svg", "b.heic", "c.PDF", "d", "e.JPG"):
        write(tmp_path / name)
    assert keys(tmp_path) == ["a.svg", "b.heic", "c.PDF", "d", "e.JPG"]


def test_other_files_are_ignored_but_counted(tmp_path):
    for name in ("a.png", "notes.txt", "x/readme.txt", "code.py", "list.json"):
        write(tmp_path / name)
    listing = list_source(str(tmp_path))
    assert listing.num_items == 1
    assert listing.ignored == {".txt": 2, ".py": 1, ".json": 1}


def test_hidden_files_are_skipped(tmp_path):
    for name in (".hidden.png", ".git/a.png", "__MACOSX/b.png", "c.png"):
        write(tmp_path / name)
    assert keys(tmp_path) == ["c.png"]


def test_sidecars_are_not_ignored_files(tmp_path):
    for name in ("a.png", "a.txt", "a.json", "b.png", "b.png.caption"):
        write(tmp_path / name, "{}")
    assert list_source(str(tmp_path)).ignored == {}


def test_parts_hold_at_most_the_asked_rows(tmp_path):
    for number in range(7):
        write(tmp_path / f"{number}.png")
    write_tar(tmp_path / "t.tar", {f"{number}.png": picture(number) for number in range(5)})
    write_cells(tmp_path / "p.parquet", range(5))
    listing = list_source(str(tmp_path), part_rows=3)
    rows = [sum(1 for _ in chunk_items(chunk)) for chunk in listing.chunks]
    assert sum(rows) == listing.num_items == 17
    assert max(rows) == 3


def test_chunks_survive_json(tmp_path):
    write(tmp_path / os.fsdecode(b"caf\xe9.png"), picture(0))
    write_tar(tmp_path / "t.tar", {"a.png": picture(1)})
    chunks = list_source(str(tmp_path)).chunks
    assert json.loads(json.dumps(chunks)) == chunks


def test_two_listings_are_equal(tmp_path):
    for number in range(20):
        write(tmp_path / f"{number % 3}/{number}.png")
    assert list_source(str(tmp_path)) == list_source(str(tmp_path))


def test_listing_does_not_depend_on_where_the_folder_is(tmp_path):
    write(tmp_path / "one" / "a.png", picture(0))
    before = list_source(str(tmp_path / "one")).fingerprint
    (tmp_path / "one").rename(tmp_path / "two")
    assert list_source(str(tmp_path / "two")).fingerprint == before


@pytest.mark.parametrize("name", ["a.png", "a.txt", "t.tar", "metadata.jsonl"])
def test_fingerprint_follows_every_file_that_is_read(tmp_path, name):
    write(tmp_path / "a.png", picture(0))
    write(tmp_path / "a.txt", "old")
    write_tar(tmp_path / "t.tar", {"a.png": picture(1)})
    write(tmp_path / "metadata.jsonl", '{"file_name": "a.png"}\n')
    before = list_source(str(tmp_path)).fingerprint
    os.utime(tmp_path / name, ns=(1, 1))
    assert list_source(str(tmp_path)).fingerprint != before


def test_fingerprint_follows_files_that_a_list_names_elsewhere(tmp_path):
    image = write(tmp_path / "far" / "a.png", picture(0))
    names = write(tmp_path / "list.jsonl", json.dumps({"path": str(image)}))
    before = list_source(str(names)).fingerprint
    os.utime(image, ns=(1, 1))
    assert list_source(str(names)).fingerprint != before


def test_files_named_by_a_table_are_not_listed_twice(tmp_path):
    write(tmp_path / "train" / "a.png", picture(0))
    write(tmp_path / "train" / "b.png", picture(1))
    write(tmp_path / "train" / "metadata.csv", "file_name,text\na.png,first\n")
    assert keys(tmp_path) == ["train/b.png", "train/a.png"]


def test_tables_without_images_are_ignored_in_a_folder(tmp_path):
    write(tmp_path / "a.png", picture(0))
    write(tmp_path / "log.jsonl", '{"step": 1}\n')
    write(tmp_path / "numbers.csv", "x,y\n1,2\n")
    pq.write_table(pa.table({"x": [1]}), tmp_path / "x.parquet")
    listing = list_source(str(tmp_path))
    assert listing.num_items == 1
    assert listing.ignored == {".csv": 1, ".jsonl": 1, ".parquet": 1}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", '{"step": 1}\n'),
        ("a.csv", "x,y\n1,2\n"),
        ("a.parquet", "no parquet"),
        ("a.tar", b"\x1f\x8b" + bytes(600)),
        ("a.tar", b"no tar at all " * 100),
        ("a.py", "print()"),
    ],
)
def test_file_that_is_no_source_raises(tmp_path, name, content):
    with pytest.raises(SourceError, match=name):
        list_source(str(write(tmp_path / name, content)))


def test_absent_source_raises(tmp_path):
    with pytest.raises(SourceError, match="does not exist"):
        list_source(str(tmp_path / "nothing"))


def test_single_image_is_a_source(tmp_path):
    assert keys(write(tmp_path / "a.png", picture(0))) == ["a.png"]


def test_empty_folder_has_no_chunks(tmp_path):
    assert list_source(str(tmp_path)).chunks == []


def test_broken_container_in_a_folder_is_one_chunk_and_loses_nothing_else(tmp_path):
    write(tmp_path / "a.png", picture(0))
    write(tmp_path / "b.parquet", "no parquet")
    write_tar(tmp_path / "c.tar", {"a.png": picture(1)})
    assert keys(tmp_path) == ["a.png", "b.parquet", "a"]


def test_small_row_groups_are_packed_and_large_ones_cut(tmp_path):
    write_cells(tmp_path / "a.parquet", range(10), row_group_size=2)
    write_cells(tmp_path / "b.parquet", range(10), row_group_size=10)
    ranges = [(chunk["start"], chunk["stop"]) for chunk in list_source(str(tmp_path), part_rows=4).chunks]
    assert ranges == [(0, 4), (4, 8), (8, 10), (0, 4), (4, 8), (8, 10)]


def test_tar_members_without_an_image_are_counted(tmp_path):
    tar = write_tar(tmp_path / "t.tar", {"a.png": picture(0), "a.txt": b"x", "notes.md": b"", "b.txt": b""})
    assert list_source(str(tar)).ignored == {"tar:.md": 1, "tar:.txt": 1}


@pytest.mark.parametrize("part_rows", [1, 2, 3, 100])
def test_cutting_a_tar_keeps_every_sample_in_order(tmp_path, part_rows):
    members = {f"{number:02d}.{suffix}": picture(number) for number in range(9) for suffix in ("png", "txt")}
    assert keys(write_tar(tmp_path / "t.tar", members), part_rows=part_rows) == [f"{number:02d}" for number in range(9)]


def test_group_is_the_first_folder_else_the_container_else_the_source(tmp_path):
    root = tmp_path / "mine"
    write(root / "top.png", picture(0))
    write(root / "cats" / "young" / "a.png", picture(0))
    write_tar(root / "shapes.tar", {"a.png": picture(0)})
    write_tar(root / "dogs" / "x.tar", {"a.png": picture(0)})
    groups = [item.group for chunk in list_source(str(root)).chunks for item in chunk_items(chunk)]
    assert groups == ["cats", "mine", "dogs", "shapes"]


def test_part_rows_below_one_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="part_rows"):
        list_source(str(tmp_path), part_rows=0)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_broken_links_and_pipes_that_claim_images_are_missing_rows(tmp_path):
    write(tmp_path / "a.png", picture(1))
    (tmp_path / "gone.png").symlink_to("nowhere.png")
    (tmp_path / "self.tar").symlink_to("self.tar")
    os.mkfifo(tmp_path / "pipe.jpg")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(".")
    listing = list_source(str(tmp_path))
    items = {item.key: (item.code, item.detail) for chunk in listing.chunks for item in chunk_items(chunk)}
    assert items == {
        "a.png": (None, None),
        "gone.png": ("missing", "the link leads to no file: nowhere.png"),
        "self.tar": ("missing", "the link leads to no file: self.tar"),
        "pipe.jpg": ("missing", "not a regular file"),
    }
    assert listing.num_items == 4
    assert listing.ignored == {"link to a folder": 1, "special": 1}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list everything")
def test_a_folder_that_cannot_be_listed_is_a_missing_row(tmp_path):
    write(tmp_path / "a.png", picture(1))
    closed = tmp_path / "closed"
    write(closed / "b.png", picture(2))
    closed.chmod(0)
    try:
        assert keys(tmp_path) == ["a.png", "closed"]
        with pytest.raises(SourceError, match="cannot be listed"):
            list_source(str(closed))
    finally:
        closed.chmod(0o755)


def test_run_folders_inside_a_source_are_left_out(tmp_path):
    write(tmp_path / "a.png", picture(1))
    alone = list_source(str(tmp_path)).fingerprint
    write(tmp_path / "runs" / "x" / "_lock")
    write(tmp_path / "runs" / "x" / "samples" / "grid.png", picture(2))
    assert keys(tmp_path) == ["a.png"]
    listing = list_source(str(tmp_path))
    assert listing.ignored == {"run folder": 1}
    assert listing.fingerprint == alone


def test_a_url_is_refused_as_a_source():
    with pytest.raises(SourceError, match="is a URL"):
        list_source("s3://bucket/images")
