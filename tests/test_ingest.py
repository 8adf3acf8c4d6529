"""IMAGES from every kind of source: the bytes come back equal, the source's words are kept, and bad input is a row."""

import hashlib
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

from curation.decode import DecodePolicy
from curation.errors import DecodeError, SourceError
from curation.ingest import ingest
from curation.isolated import IsolatedVerifier
from curation.pixels import read_encoded, read_pixels
from curation.schema import IMAGES
from curation.sources import list_source


def picture(number: int, image_format: str = "PNG", side: int = 24) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, image_format)
    return buffer.getvalue()


def write(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def write_tar(path: Path, members: list[tuple[str | tarfile.TarInfo, bytes]]) -> Path:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in members:
            member = tarfile.TarInfo(name) if isinstance(name, str) else name
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def images(source: Path, part_rows: int = 512, **options: object) -> pa.Table:
    listing = list_source(str(source), part_rows=part_rows)
    parts = [ingest(json.loads(json.dumps(chunk)), **options) for chunk in listing.chunks]
    table = pa.concat_tables(parts)
    assert table.num_rows == listing.num_items
    assert table.schema.equals(IMAGES, check_metadata=True)
    return table


def rows(source: Path, part_rows: int = 512, **options: object) -> list[dict[str, object]]:
    return images(source, part_rows, **options).to_pylist()


def one(source: Path, **options: object) -> dict[str, object]:
    (row,) = rows(source, **options)
    return row


def metadata(row: dict[str, object]) -> dict[str, object]:
    return json.loads(str(row["metadata"]))


# Bytes come back equal, container by container.


def folder_source(root: Path) -> Path:
    for number in range(5):
        write(root / f"{number}/{number}.png", picture(number))
    return root


def tar_source(root: Path) -> Path:
    long_name = "folder/" * 20 + "x"  # needs a pax header
    return write_tar(root / "t.tar", [(f"{long_name}{number}.png", picture(number)) for number in range(5)])


def cells_source(root: Path) -> Path:
    cells = [{"bytes": picture(number), "path": None} for number in range(5)]
    pq.write_table(pa.table({"image": cells}), root / "c.parquet", row_group_size=2)
    return root / "c.parquet"


def binary_source(root: Path) -> Path:
    pq.write_table(pa.table({"jpg": [picture(number) for number in range(5)], "n": range(5)}), root / "b.parquet")
    return root / "b.parquet"


def path_parquet_source(root: Path) -> Path:
    folder_source(root)
    pq.write_table(pa.table({"path": [f"{number}/{number}.png" for number in range(5)]}), root / "p.parquet")
    return root / "p.parquet"


def jsonl_source(root: Path) -> Path:
    folder_source(root)
    return write(root / "l.jsonl", "".join(json.dumps({"file": f"{number}/{number}.png"}) + "\n" for number in range(5)))


def csv_source(root: Path) -> Path:
    folder_source(root)
    return write(root / "metadata.csv", "file_name,text\n" + "".join(f"{n}/{n}.png,number {n}\n" for n in range(5)))


SOURCES = [folder_source, tar_source, cells_source, binary_source, path_parquet_source, jsonl_source, csv_source]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("part_rows", [2, 512])
def test_bytes_equal_the_original(tmp_path, source, part_rows):
    table = images(source(tmp_path), part_rows)
    assert table.column("error").null_count == 5
    assert list(read_encoded(table)) == [picture(number) for number in range(5)]


@pytest.mark.parametrize("source", SOURCES)
def test_rows_are_read_in_any_order(tmp_path, source):
    order = [4, 0, 3, 1, 1]
    table = images(source(tmp_path)).take(order)
    assert list(read_encoded(table)) == [picture(number) for number in order]


@pytest.mark.parametrize("source", [folder_source, tar_source, cells_source])
def test_offset_and_length_point_at_the_bytes(tmp_path, source):
    for number, row in enumerate(rows(source(tmp_path))):
        assert row["length"] == len(picture(number))
        if row["container"] == "parquet":
            assert row["offset"] is None and row["member"] == f"image#{number}"
        else:
            whole = Path(str(row["uri"])).read_bytes()
            assert whole[row["offset"] : row["offset"] + row["length"]] == picture(number)


def test_id_is_the_start_of_the_sha256_of_the_bytes(tmp_path):
    row = one(write(tmp_path / "a.png", picture(0)))
    assert row["id"] == hashlib.sha256(picture(0)).hexdigest()[:32]


def test_same_bytes_are_two_rows_with_one_id(tmp_path):
    write(tmp_path / "a.png", picture(0))
    write(tmp_path / "b.png", picture(0))
    first, second = rows(tmp_path)
    assert first["id"] == second["id"]


def test_format_and_size_are_measured(tmp_path):
    row = one(write(tmp_path / "named.png", picture(0, "JPEG", 32)))
    assert (row["format"], row["width"], row["height"], row["error"]) == ("jpeg", 32, 32, None)


# What the source says is kept.


@pytest.mark.parametrize("sidecar", ["a.txt", "a.caption", "a.png.txt"])
def test_sidecar_text_is_the_caption(tmp_path, sidecar):
    write(tmp_path / "a.png", picture(0))
    write(tmp_path / sidecar, "\ufeff a caption \n")
    assert one(tmp_path)["caption"] == "a caption"


def test_sidecar_json_gives_caption_and_fields(tmp_path):
    write(tmp_path / "a.png", picture(0))
    write(tmp_path / "a.json", '{"caption": "from json", "licence": "CC0", "score": NaN}')
    row = one(tmp_path)
    assert row["caption"] == "from json"
    assert metadata(row) == {"caption": "from json", "licence": "CC0", "score": None}


def test_unreadable_sidecar_json_is_kept_as_text(tmp_path):
    write(tmp_path / "a.png", picture(0))
    write(tmp_path / "a.json", "{broken")
    assert metadata(one(tmp_path)) == {"json_unreadable": "{broken"}


def test_webdataset_members_become_caption_and_metadata(tmp_path):
    members = [
        ("s/1.jpg", picture(0, "JPEG")),
        ("s/1.txt", b"a caption"),
        ("s/1.json", b'{"url": "u", "text": "other"}'),
        ("s/1.cls", b"7"),
        ("s/1.npy", b"\x93NUMPY"),
    ]
    row = one(write_tar(tmp_path / "t.tar", members))
    assert (row["key"], row["member"], row["caption"]) == ("s/1", "s/1.jpg", "a caption")
    assert metadata(row) == {"url": "u", "text": "other", "cls": "7", "other_members": ["npy"]}


def test_key_ends_at_the_first_dot_of_the_last_component(tmp_path):
    assert one(write_tar(tmp_path / "t.tar", [("a.b/c.left.png", picture(0))]))["key"] == "a.b/c"


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_imagefolder_metadata_gives_captions_and_fields(tmp_path, kind):
    write(tmp_path / "train" / "cats" / "a.png", picture(0))
    table = {"file_name": ["cats/a.png"], "text": ["a cat"], "label": ["x"]}
    if kind == "parquet":
        pq.write_table(pa.table(table), tmp_path / "train" / "metadata.parquet")
    elif kind == "csv":
        write(tmp_path / "train" / "metadata.csv", "file_name,text,label\ncats/a.png,a cat,x\n")
    else:
        write(tmp_path / "train" / "metadata.jsonl", json.dumps({name: values[0] for name, values in table.items()}))
    row = one(tmp_path)
    assert (row["key"], row["group"], row["caption"]) == ("train/cats/a.png", "train", "a cat")
    assert metadata(row) == {"file_name": "cats/a.png", "text": "a cat", "label": "x"}


def test_sidecar_of_a_file_that_a_table_names_is_read(tmp_path):
    write(tmp_path / "a.png", picture(0))
    write(tmp_path / "a.txt", "beside")
    write(tmp_path / "metadata.jsonl", '{"file_name": "a.png", "label": 3}')
    row = one(tmp_path)
    assert row["caption"] == "beside" and metadata(row)["label"] == 3


def test_two_image_columns_give_two_rows(tmp_path):
    cells = {name: [{"bytes": picture(number), "path": "p.png"}] for number, name in enumerate(("before", "after"))}
    pq.write_table(pa.table({**cells, "prompt": ["change it"]}), tmp_path / "pairs.parquet")
    before, after = rows(tmp_path / "pairs.parquet")
    assert (before["member"], after["member"]) == ("before#0", "after#0")
    assert before["caption"] == after["caption"] == "change it"


def test_exif_basics_are_kept(tmp_path):
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    Image.new("RGB", (20, 20)).save(tmp_path / "a.jpg", exif=exif.tobytes())
    assert metadata(one(tmp_path))["exif"] == {"make": "Maker"}


def test_flags_of_decoding_are_recorded(tmp_path):
    Image.new("RGBA", (20, 20)).save(tmp_path / "a.png")
    assert one(tmp_path)["flags"] == ["alpha"]


# Bad input is a row.


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty"),
        (b"<html>404</html>", "not_an_image"),
        (picture(0)[:300], "truncated"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unsupported_format"),
        (picture(0, side=2), "too_small"),
    ],
)
def test_bad_image_is_a_row_with_its_code(tmp_path, content, code):
    row = one(write(tmp_path / "a.png", content))
    assert row["error"] == code and row["error_detail"]
    assert row["id"] == hashlib.sha256(content).hexdigest()[:32]
    assert row["width"] is row["height"] is row["format"] is None


def test_failed_rows_read_as_none(tmp_path):
    write(tmp_path / "a.png", picture(0))
    write(tmp_path / "b.png", b"broken")
    table = images(tmp_path)
    assert [encoded is None for encoded in read_encoded(table)] == [False, True]
    assert [decoded is None for decoded in read_pixels(table)] == [False, True]


def test_policy_of_the_caller_decides(tmp_path):
    source = write(tmp_path / "a.png", picture(0, side=8))
    assert one(source)["error"] == "too_small"
    assert one(source, policy=DecodePolicy(min_side_px=8))["error"] is None


def test_what_a_lenient_policy_accepted_is_decoded_later(tmp_path):
    table = images(write(tmp_path / "a.png", picture(0, side=2)), policy=DecodePolicy(min_side_px=1))
    (decoded,) = read_pixels(table)
    assert decoded.pixels.shape == (2, 2, 3)


def test_missing_file_is_a_row_named_by_its_uri(tmp_path):
    row = one(write(tmp_path / "l.jsonl", '{"path": "gone.png", "text": "it was here"}\n'))
    assert (row["error"], row["caption"]) == ("missing", "it was here")
    assert row["id"] == hashlib.sha256(str(tmp_path / "gone.png").encode()).hexdigest()[:32]


@pytest.mark.parametrize("line", ["not json", '{"path": null}', '{"path": 7}', "[1, 2]", '{"path": "http://example.org/a.png"}'])
def test_useless_line_of_a_list_is_a_missing_row(tmp_path, line):
    write(tmp_path / "a.png", picture(0))
    first, second = rows(write(tmp_path / "l.jsonl", '{"path": "a.png"}\n\n' + line))
    assert (first["error"], second["error"]) == (None, "missing")


def test_pipes_and_folders_are_missing_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    write(tmp_path / "l.jsonl", json.dumps({"path": "pipe.png"}) + "\n" + json.dumps({"path": str(tmp_path)}))
    assert [row["error"] for row in rows(tmp_path / "l.jsonl")] == ["missing", "missing"]


def test_file_over_the_byte_cap_is_too_large_and_still_named_by_its_hash(tmp_path):
    row = one(write(tmp_path / "a.png", picture(0)), policy=DecodePolicy(max_encoded_bytes=100))
    assert row["error"] == "too_large"
    assert row["id"] == hashlib.sha256(picture(0)).hexdigest()[:32]


def test_null_cell_is_missing(tmp_path):
    cells = pa.array([{"bytes": picture(0), "path": None}, {"bytes": None, "path": None}, None])
    pq.write_table(pa.table({"image": cells}), tmp_path / "c.parquet")
    assert [row["error"] for row in rows(tmp_path / "c.parquet")] == [None, "missing", "missing"]


def test_cell_without_bytes_is_read_from_its_path(tmp_path):
    write(tmp_path / "a.png", picture(0))
    pq.write_table(pa.table({"image": [{"bytes": None, "path": "a.png"}]}, _cell_schema()), tmp_path / "c.parquet")
    table = images(tmp_path / "c.parquet")
    assert table.column("container").to_pylist() == ["file"]
    assert list(read_encoded(table)) == [picture(0)]


def _cell_schema() -> pa.Schema:
    return pa.schema([("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))])


def test_damaged_row_group_loses_only_its_own_rows(tmp_path):
    cells = [{"bytes": picture(number), "path": None} for number in range(6)]
    path = tmp_path / "c.parquet"
    pq.write_table(pa.table({"image": cells}), path, row_group_size=2, compression="snappy", use_dictionary=False)
    column = pq.ParquetFile(path).metadata.row_group(1).column(0)
    whole = bytearray(path.read_bytes())
    whole[column.data_page_offset : column.data_page_offset + column.total_compressed_size] = (
        b"\xff" * column.total_compressed_size
    )
    path.write_bytes(whole)
    assert [row["error"] for row in rows(path)] == [None, None, "corrupt", "corrupt", None, None]


def test_broken_container_in_a_folder_is_one_row(tmp_path):
    write(tmp_path / "a.png", picture(0))
    write(tmp_path / "b.parquet", "no parquet")
    assert [row["error"] for row in rows(tmp_path)] == [None, "corrupt"]


def test_container_that_vanished_raises(tmp_path):
    source = tar_source(tmp_path)
    (chunk,) = list_source(str(source)).chunks
    source.unlink()
    with pytest.raises(SourceError, match="list the source again"):
        ingest(chunk)


# Hostile tars.


def tar_of_three(path: Path) -> bytes:
    return write_tar(
        path, [(f"{n}.{suffix}", c) for n in range(3) for suffix, c in (("png", picture(n)), ("txt", b"t"))]
    ).read_bytes()


@pytest.mark.parametrize("part_rows", [1, 512])
def test_tar_cut_inside_an_image_keeps_the_samples_before(tmp_path, part_rows):
    whole = tar_of_three(tmp_path / "t.tar")
    cut = write(tmp_path / "cut.tar", whole[: whole.index(picture(2)) + 700])
    table = images(cut, part_rows)
    assert table.column("error").to_pylist() == [None, None, "truncated"]
    assert list(read_encoded(table)) == [picture(0), picture(1), None]


@pytest.mark.parametrize("where", ["header", "text", "boundary"])
def test_tar_cut_between_images_says_so_in_one_row(tmp_path, where):
    whole = tar_of_three(tmp_path / "t.tar")
    third = whole.index(b"2.png")
    length = {"header": third + 100, "text": third - 512 + 0, "boundary": third}[where]
    assert [row["error"] for row in rows(write(tmp_path / "cut.tar", whole[:length]))] == [None, None, "truncated"]


@pytest.mark.parametrize("part_rows", [1, 512])
def test_damaged_tar_header_costs_one_sample(tmp_path, part_rows):
    whole = bytearray(tar_of_three(tmp_path / "t.tar"))
    second = whole.index(b"1.png")
    whole[second : second + 512] = b"\xaa" * 512
    table = images(write(tmp_path / "bad.tar", bytes(whole)), part_rows)
    assert table.column("error").to_pylist() == [None, "truncated", None]
    assert list(read_encoded(table)) == [picture(0), None, picture(2)]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_tar_member_that_is_no_file_is_an_error_row(tmp_path, kind):
    link = tarfile.TarInfo("link.png")
    link.type, link.linkname = kind, "/etc/passwd"
    first, second = rows(write_tar(tmp_path / "t.tar", [(link, b""), ("a.png", picture(0))]))
    assert (first["error"], second["error"]) == ("unsupported_format", None)


@pytest.mark.parametrize("name", ["/etc/a.png", "../../a.png", "x/../a.png"])
def test_tar_names_that_would_escape_are_kept_as_text_and_flagged(tmp_path, name):
    row = one(write_tar(tmp_path / "t.tar", [(name, picture(0))]))
    assert row["flags"] == ["unsafe_name"] and row["member"] == name and row["error"] is None


def test_two_images_under_one_key_are_two_rows(tmp_path):
    table = images(write_tar(tmp_path / "t.tar", [("a.png", picture(0)), ("a.webp", picture(1, "WEBP")), ("a.txt", b"both")]))
    assert table.column("key").to_pylist() == ["a", "a"]
    assert table.column("caption").to_pylist() == ["both", "both"]
    assert table.column("flags").to_pylist() == [["shared_key"], ["shared_key"]]


def test_empty_tar_is_one_row(tmp_path):
    assert one(write(tmp_path / "t.tar", b""))["error"] == "truncated"


# Names and text in other encodings.


def test_file_name_that_is_not_utf8_is_read_back(tmp_path):
    write(tmp_path / os.fsdecode(b"caf\xe9.png"), picture(0))
    table = images(tmp_path)
    assert table.column("key").to_pylist() == ["caf\\xe9.png"]
    assert list(read_encoded(table)) == [picture(0)]


def test_caption_that_is_not_utf8_does_not_crash(tmp_path):
    write(tmp_path / "a.png", picture(0))
    write(tmp_path / "a.txt", b"caf\xe9")
    assert one(tmp_path)["caption"] == "caf\ufffd"


def test_utf16_caption_is_read(tmp_path):
    write(tmp_path / "a.png", picture(0))
    write(tmp_path / "a.txt", "\u732b".encode("utf-16"))
    assert one(tmp_path)["caption"] == "\u732b"


def test_lone_surrogate_in_json_does_not_crash(tmp_path):
    row = one(write_tar(tmp_path / "t.tar", [("a.png", picture(0)), ("a.json", b'{"caption": "x\\ud800"}')]))
    assert row["caption"] == metadata(row)["caption"] == "x\\ud800"


def test_tar_member_name_that_is_not_utf8_is_read_back(tmp_path):
    table = images(write_tar(tmp_path / "t.tar", [(os.fsdecode(b"caf\xe9.png"), picture(0))]))
    assert list(read_encoded(table)) == [picture(0)]


# Pixels.


def test_pixels_come_in_order_and_shrunk(tmp_path):
    table = images(folder_source(tmp_path))
    decoded = [one.pixels.shape for one in read_pixels(table, max_side_px=12)]
    assert decoded == [(12, 12, 3)] * 5


def test_threads_do_not_change_the_pixels(tmp_path):
    table = images(folder_source(tmp_path))
    pairs = zip(read_pixels(table), read_pixels(table, num_threads=3), strict=True)
    assert all(np.array_equal(one.pixels, other.pixels) for one, other in pairs)


def test_file_changed_after_ingest_reads_as_none(tmp_path):
    table = images(write(tmp_path / "a.png", picture(0)))
    write(tmp_path / "a.png", picture(0, side=200))
    assert list(read_pixels(table)) == [None]


# The killable process.


def test_isolated_ingest_gives_the_same_table(tmp_path):
    write(tmp_path / "b.png", b"broken")
    table = images(folder_source(tmp_path))
    assert images(tmp_path, isolated=True).equals(table)


JUDGE = """
import os, time
from curation.decode import verify
def judge(data, policy):
    if data == b"crash":
        os._exit(3)
    if data == b"abort":
        os.abort()
    if data == b"hang":
        time.sleep(60)
    if data == b"raise":
        raise KeyError("unforeseen")
    return verify(data, policy)
"""


@pytest.mark.parametrize(
    ("data", "code", "detail"),
    [
        (b"crash", "worker_crash", "3"),
        (b"abort", "worker_crash", "-6"),
        (b"raise", "worker_crash", "1"),
        (b"hang", "timeout", "s"),
    ],
)
def test_image_that_takes_the_process_down_gets_the_blame_alone(tmp_path, monkeypatch, data, code, detail):
    write(tmp_path / "judge_of_test.py", JUDGE)
    monkeypatch.syspath_prepend(str(tmp_path))
    with IsolatedVerifier(DecodePolicy(), timeout_seconds=1.0, judge="judge_of_test:judge") as verifier:
        with pytest.raises(DecodeError, match=detail) as caught:
            verifier.verify(data)
        assert caught.value.code == code
        assert verifier.verify(picture(0)).width_px == 24


def test_texts_of_a_dotted_name_belong_to_its_image(tmp_path):
    red, blue = picture(1), picture(2)
    members = [("x.left.jpg", red), ("x.left.txt", b"left"), ("x.right.jpg", blue), ("x.right.txt", b"right")]
    members += [("x.json", b'{"camera": "c"}'), ("x.right.json", b'{"camera": "d"}'), ("x.en.txt", b"both")]
    write_tar(tmp_path / "a.tar", members)
    left, right = rows(tmp_path)
    assert (left["caption"], metadata(left)) == ("left", {"camera": "c", "en.txt": "both"})
    assert (right["caption"], metadata(right)) == ("right", {"camera": "d", "en.txt": "both"})


@pytest.mark.parametrize(
    "text", ['{"captions": ["a cat", "x"]}', '{"caption": {"en": "a cat"}}', '{"captions": [{"id": 1, "caption": "a cat"}]}']
)
def test_nested_captions_of_a_sidecar_are_found(tmp_path, text):
    write(tmp_path / "a.png", picture(1))
    write(tmp_path / "a.json", text.encode())
    (row,) = rows(tmp_path)
    assert row["caption"] == "a cat"
