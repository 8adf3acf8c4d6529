"""Parts, commits, manifests: what a crash or a second writer can do to them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from curation.errors import CorruptPart, SchemaError
from curation.schema import SELECTION, conform, embeddings_schema
from curation.tables import Cost, Run, part_stem

COST = Cost(1.0, 0.5)


def rows(part: int, count: int = 4, error: str | None = None) -> pa.Table:
    return pa.table({"id": [f"{part}-{i}" for i in range(count)], "error": pa.array([error] + [None] * (count - 1), pa.string())})


def filled(root: Path, parts: int = 3, table: str = "images") -> Run:
    run = Run(root)
    for part in range(parts):
        run.commit_part(table, part, rows(part, error="bomb"), fingerprint="f", cost=COST)
    return run


def test_parts_are_read_back_in_order(tmp_path: Path) -> None:
    run = filled(tmp_path)
    assert run.read("images").column("id").to_pylist() == [f"{p}-{i}" for p in range(3) for i in range(4)]


def test_stock_arrow_reads_a_table_folder(tmp_path: Path) -> None:
    run = filled(tmp_path)
    run.finish("images", {"stage": "ingest"})
    assert ds.dataset(run.folder("images"), format="parquet").to_table().num_rows == 12


def test_take_returns_rows_in_the_order_asked_with_repeats(tmp_path: Path) -> None:
    found = filled(tmp_path).take("images", np.array([11, 0, 5, 5]))
    assert found.column("id").to_pylist() == ["2-3", "0-0", "1-1", "1-1"]


def test_take_beyond_the_end_is_an_index_error(tmp_path: Path) -> None:
    with pytest.raises(IndexError, match="12 rows"):
        filled(tmp_path).take("images", np.array([12]))


def test_take_of_no_rows_keeps_the_columns(tmp_path: Path) -> None:
    assert filled(tmp_path).take("images", np.array([], dtype=np.int64)).column_names == ["id", "error"]


def test_counts_by_status_come_from_the_error_column(tmp_path: Path) -> None:
    assert filled(tmp_path).finish("images", {})["counts"] == {"bomb": 3, "ok": 9}


def test_of_two_attempts_at_a_part_the_first_counts(tmp_path: Path) -> None:
    run = filled(tmp_path, parts=1)
    second = run.commit_part("images", 0, rows(9), fingerprint="f", cost=COST)
    assert second.counts == {"bomb": 1, "ok": 3}
    assert run.read_part("images", 0).column("id").to_pylist()[0] == "0-0"
    assert list(run.store.list("images/_attempts")) == []


def test_a_publish_cut_off_by_a_crash_is_finished_by_recover(tmp_path: Path) -> None:
    run = filled(tmp_path, parts=1)
    (commit,) = run.commits("images")
    ((target, attempt),) = commit.attempts.items()
    run.store.publish(target, attempt)  # as if the process had died before the rename
    assert not run.store.exists(target)
    assert [found.part for found in run.recover("images")] == [0]
    assert run.read("images").num_rows == 4


def test_a_commit_whose_file_is_gone_is_forgotten(tmp_path: Path) -> None:
    run = filled(tmp_path, parts=2)
    run.store.delete(f"images/{part_stem('images', 1)}.parquet")
    assert [commit.part for commit in run.recover("images")] == [0]


def test_verify_names_the_file_with_a_flipped_byte(tmp_path: Path) -> None:
    run = filled(tmp_path, parts=2)
    path = run.folder("images") / "part-00001.parquet"
    value = bytearray(path.read_bytes())
    value[100] ^= 1
    path.write_bytes(value)
    (error,) = run.verify("images")
    assert "part-00001.parquet has changed" in str(error)


def test_digest_depends_on_content_only(tmp_path: Path) -> None:
    first, second = filled(tmp_path / "a"), Run(tmp_path / "b")
    for part in (2, 0, 1):
        second.commit_part("images", part, rows(part, error="bomb"), fingerprint="other", cost=Cost(9, 9))
    assert first.digest("images") == second.digest("images")


def test_tables_with_other_ids_are_not_aligned(tmp_path: Path) -> None:
    run = filled(tmp_path, parts=1)
    run.commit_part("metrics", 0, rows(7), fingerprint="f", cost=COST)
    with pytest.raises(SchemaError, match="metrics/ part 0 is not aligned"):
        run.aligned(("images", "metrics"), 0)


def test_extra_files_are_published_beside_the_part(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    tar = tmp_path / "x.tar"
    tar.write_bytes(b"tar")
    commit = run.commit_part("shards", 0, rows(0), fingerprint="f", cost=COST, files={"shard-000000.tar": tar})
    assert set(commit.files) == {"shards/shard-000000.tar", "shards/shard-000000.parquet"}
    assert (run.folder("shards") / "shard-000000.tar").read_bytes() == b"tar"


def test_conform_names_the_missing_column() -> None:
    with pytest.raises(SchemaError, match="missing \\['keep'"):
        conform(pa.table({"id": ["a"]}), SELECTION)


def test_conform_refuses_nulls_where_a_value_is_required() -> None:
    schema = pa.schema([pa.field("id", pa.string(), nullable=False)])
    with pytest.raises(SchemaError, match="id has 1 nulls"):
        conform(pa.table({"id": pa.array([None], pa.string())}), schema)


def test_float16_vectors_survive_parquet_to_the_bit(tmp_path: Path) -> None:
    schema = embeddings_schema(4)
    vectors = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float16)
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), type=schema.field("embedding").type)
    table = pa.table({"id": ["a", "b", "c"], "embedding": column, "norm": [1.0] * 3, "error": pa.nulls(3, pa.string())})
    run = Run(tmp_path)
    run.commit_part("embeddings", 0, conform(table, schema), fingerprint="f", cost=COST)
    found = run.read("embeddings").column("embedding").combine_chunks().flatten().to_numpy().reshape(-1, 4)
    assert found.dtype == np.float16
    assert np.array_equal(found, vectors)


def test_a_table_complete_without_parts_is_empty(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.finish("shards", {"stage": "shard"})
    assert run.read("shards", ["key", "row"]).num_rows == 0


def test_damaged_files_are_corrupt_parts_not_tracebacks(tmp_path: Path) -> None:
    run = filled(tmp_path)
    run.finish("images", {"stage": "ingest"})
    folder = run.folder("images")
    (folder / "part-00000.parquet").write_bytes(b"PAR1")
    (folder / "part-00001.parquet").unlink()
    with pytest.raises(CorruptPart, match=r"part-00000.parquet cannot be read"):
        run.read("images")
    with pytest.raises(CorruptPart, match=r"part-00001.parquet was committed but is missing"):
        run.read_part("images", 1)
    (folder / "_manifest.json").write_bytes(b'{"rows": ')
    with pytest.raises(CorruptPart, match=r"_manifest.json is no JSON"):
        run.manifest("images")
    (folder / "_commits" / "part-00002.json").write_bytes(b"{}")
    with pytest.raises(CorruptPart, match=r"part-00002.json is no commit"):
        run.commits("images")
