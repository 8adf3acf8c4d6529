"""Shards in an object store equal shards in a folder; what cannot be read is named, or replaced and counted."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from object_server import object_server
from tiny_pairs import write_tiny_pairs
from tiny_shards import squares, write_tiny_shards

from curation.errors import ConfigError, SchemaError, SourceError
from curation.schema import PAIR_SHARDS
from curation.store import open_store
from jobs.direct import train_on
from model.autoencoder import PCAAutoencoder, to_signed
from model.config import TINY, DataConfig, TrainConfig, to_dict
from model.data import Batches, feature_folder, make_plan
from model.pair_reader import PairReader
from model.plan import Shape
from model.shard_reader import ShardReader, UnreadableSample, read_index
from model.text import HashText, TextCache
from model.train import train

SMALL = replace(TINY, dim=32, n_layers=1, n_heads=2, n_kv_heads=2, axes_dims=(4, 6, 6))


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_shards(tmp_path_factory.mktemp("shards"), squares(30), per_shard=8)


@pytest.fixture(scope="module")
def bucket(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pairs = write_tiny_pairs(tmp_path_factory.mktemp("pairs") / "pairs", 6)
    with object_server("loom") as url:
        for folder, name in ((shards, "shards"), (pairs, "pairs")):
            for path in folder.glob("shard-*"):
                open_store(f"{url}/{name}").put(path.name, path.read_bytes())
        yield url


def batches(shards: Path | str, **settings: object) -> Batches:
    config = TrainConfig(batch_size=8, data=DataConfig(resolution_px=16, **settings))  # type: ignore[arg-type]
    reader = ShardReader(shards)
    images = [to_signed(torch.from_numpy(pixels)[None]) for pixels in (squares(4)[k].pixels for k in range(4))]
    autoencoder = PCAAutoencoder.fit(images, downsample=4, channels=12)
    return Batches(make_plan(config, reader, unit_px=8), reader, autoencoder, TextCache(HashText(width=8)), config, patch=2)


def test_shards_of_an_object_store_give_the_batches_of_the_folder(shards: Path, bucket: str):
    assert read_index(f"{bucket}/shards").equals(read_index(shards))
    here, there = batches(shards), batches(f"{bucket}/shards", prefetch=3)
    assert here.plan.digest == there.plan.digest
    for a, b in zip(here.run(0, 0, count=6), there.run(0, 0, count=6), strict=True):
        assert (a.ids, a.captions, a.levels, a.languages) == (b.ids, b.captions, b.levels, b.languages)
        assert torch.equal(a.latents, b.latents) and torch.equal(a.noise, b.noise)


def test_bytes_of_many_samples_are_asked_for_at_once_and_are_those_of_each(shards: Path, bucket: str):
    reader = ShardReader(f"{bucket}/shards")
    places = [(row, member) for row in range(0, 30, 3) for member in ("image", "json")]
    assert reader.members.fetch(places) == {place: ShardReader(shards).members.read(*place) for place in places}


def test_pairs_are_read_from_a_store_too(bucket: str):
    reader = PairReader(f"{bucket}/pairs")
    assert reader.index.schema.equals(PAIR_SHARDS)
    cropped, whole = reader.reference(1, Shape(16, 16))
    assert np.array_equal(cropped, whole) and whole[..., 0].mean() > 150 > whole[..., 2].mean()  # red becomes blue
    assert reader.target(1, Shape(16, 16))[..., 2].mean() > 150
    texts = [caption.text for captions in reader.texts(1) for caption in captions]
    assert texts == [
        "make it blue",
        "变成蓝色",
        "a blue square",
        "方块",
    ]


def test_a_model_trains_on_the_shards_of_a_store(shards: Path, bucket: str, tmp_path: Path):
    config = TrainConfig(model=SMALL, batch_size=4, num_steps=2, data=DataConfig(resolution_px=16, pairs=f"{bucket}/pairs"))
    (tmp_path / "train.yaml").write_text(json.dumps({"train": to_dict(config)}))
    here = train(config, shards=shards, out=tmp_path / "a")
    train_on(f"{bucket}/shards", tmp_path / "train.yaml", tmp_path / "b")
    lines = [json.loads(line)["loss"] for line in (tmp_path / "b" / "log.jsonl").read_text().splitlines()]
    assert sum(lines[-1:]) == here.loss


def test_a_store_without_shards_is_named(bucket: str):
    with pytest.raises(SourceError, match=rf"{bucket}/empty holds no shard-\*\.parquet"):
        read_index(f"{bucket}/empty")


@pytest.fixture
def damaged(shards: Path, tmp_path: Path) -> tuple[Path, set[str]]:
    """A copy of the shards in which two images are overwritten and one shard is gone; and the ids that cannot be read."""
    folder = shutil.copytree(shards, tmp_path / "damaged")
    rows = read_index(folder).to_pylist()
    for row in (rows[3], rows[9]):
        with (folder / row["shard"]).open("r+b") as file:
            file.seek(row["image_offset"])
            file.write(bytes(row["image_length"]))
    (folder / "shard-000002.tar").unlink()
    return folder, {row["id"] for row in rows if row in (rows[3], rows[9]) or row["shard"] == "shard-000002.tar"}


def test_an_unreadable_sample_stops_training_and_is_named_with_its_shard(damaged: tuple[Path, set[str]]):
    folder, lost = damaged
    with pytest.raises(UnreadableSample, match=r"sample [0-9a-f]{32} of shard shard-00000\d.tar cannot be used: ") as stopped:
        list(batches(folder).run(0, 0, count=4))
    assert str(stopped.value).split()[1] in lost


def test_with_skip_it_is_replaced_alike_on_every_rank_and_counted(shards: Path, damaged: tuple[Path, set[str]]):
    folder, lost = damaged
    whole = list(batches(folder, on_error="skip").run(0, 0, count=8))
    straight = list(batches(shards).run(0, 0, count=8))
    for batch, intact in zip(whole, straight, strict=True):
        changed = [slot for slot in range(8) if intact.ids[slot] in lost]
        assert batch.replaced == len(changed) and not lost & set(batch.ids)
        assert all(batch.ids[slot] == intact.ids[slot] for slot in range(8) if slot not in changed)
        assert torch.equal(batch.noise, intact.noise) and torch.equal(batch.t, intact.t)
    assert sum(batch.replaced for batch in whole) > 5
    parts = [list(batches(folder, on_error="skip").run(0, 0, count=8, rank=rank, world_size=3)) for rank in range(3)]
    assert [[i for part in parts for i in part[n].ids] for n in range(8)] == [batch.ids for batch in whole]
    assert [sum(part[n].replaced for part in parts) for n in range(8)] == [batch.replaced for batch in whole]


def test_a_store_that_fails_altogether_stops_also_with_skip(shards: Path, tmp_path: Path):
    folder = shutil.copytree(shards, tmp_path / "gone")
    for path in folder.glob("*.tar"):
        path.unlink()
    with pytest.raises(UnreadableSample):
        next(batches(folder, on_error="skip").run(0, 0, count=1))


NUMBER = json.dumps([{"level": "short", "language": "en", "text": 5}])


def overwritten(shards: Path, folder: Path, content: Callable[[int], bytes]) -> Path:
    """A copy of the shards in which row k's JSON member is `content(k)`, filled up with blanks."""
    shutil.copytree(shards, folder)
    for path in folder.glob("*.parquet"):
        index, tar = pq.read_table(path), path.with_suffix(".tar")
        content_of_tar = bytearray(tar.read_bytes())
        for row, (offset, length) in enumerate(zip(*(index[f"json_{n}"].to_pylist() for n in ("offset", "length")), strict=True)):
            content_of_tar[offset : offset + length] = content(row).ljust(length)[:length]
        tar.write_bytes(bytes(content_of_tar))
    return folder


@pytest.mark.parametrize(
    "member",
    [b"", b"[1]", b"null", b"{}", b'{"captions_json": 3}', b'{"captions_json": "[{}]"}', b'{"captions_json": "{}"}',
     b'{"captions_json": "[3]"}', json.dumps({"captions_json": NUMBER}).encode(), b"\xff\xfe"],
)  # fmt: skip
def test_a_json_member_of_any_other_form_is_an_unreadable_sample(shards: Path, tmp_path: Path, member: bytes):
    reader = ShardReader(overwritten(shards, tmp_path / "shards", lambda row: member))
    with pytest.raises(UnreadableSample, match=f"sample {reader.ids[0]} of shard shard-000000.tar cannot be used"):
        reader.captions(0)


def with_column(shards: Path, folder: Path, name: str, bad: object) -> Path:
    """A copy of the shards whose second and fifth rows have `bad` in a column of the index."""
    shutil.copytree(shards, folder)
    for path in sorted(folder.glob("*.parquet"))[:1]:
        index = pq.read_table(path)
        values = [bad if row in (1, 4) else value for row, value in enumerate(index[name].to_pylist())]
        place = index.column_names.index(name)
        pq.write_table(index.set_column(place, index.schema.field(name), pa.array(values, index.schema.field(name).type)), path)
    return folder


@pytest.mark.parametrize(
    ("column", "bad"),
    [("width", 0), ("height", -3), ("image_offset", -5), ("json_length", 0), ("bucket", "wide"), ("bucket", "0x0"),
     ("weight", float("inf")), ("weight", float("nan"))],
)  # fmt: skip
def test_samples_with_impossible_numbers_in_the_index_are_reported_and_left_out(
    shards: Path, tmp_path: Path, column: str, bad: object
):
    loaded = batches(with_column(shards, tmp_path / "shards", column, bad))
    reason = "weight is 0" if bad != bad else "size, place or weight in the index is impossible"
    assert loaded.plan.report()["excluded"] == {reason: 2}
    assert {row for batch in loaded.run(0, 0, count=6) for row in batch.ids}.isdisjoint(
        {loaded.reader.ids[1], loaded.reader.ids[4]}
    )


def test_a_length_beyond_all_memory_and_a_place_outside_the_folder_are_unreadable_samples(shards: Path, tmp_path: Path):
    for column, bad in (("image_length", 1 << 60), ("shard", "../../etc/passwd")):
        loaded = batches(with_column(shards, tmp_path / column, column, bad), on_error="skip")
        with pytest.raises(UnreadableSample, match=loaded.reader.ids[4]):
            loaded.reader.pixels(4, Shape(16, 16))
        assert sum(batch.replaced for batch in loaded.run(0, 0, count=6)) >= 2


@pytest.mark.parametrize("content", [b"", b"PAR1", None])
def test_a_damaged_index_is_named(shards: Path, tmp_path: Path, content: bytes | None):
    shutil.copytree(shards, tmp_path / "shards")
    path = tmp_path / "shards" / "shard-000001.parquet"
    path.write_bytes(path.read_bytes()[:700] if content is None else content)
    with pytest.raises(SourceError, match=r"shard-000001\.parquet of .* is damaged"):
        read_index(tmp_path / "shards")


def test_an_index_of_another_version_is_named(shards: Path, tmp_path: Path):
    shutil.copytree(shards, tmp_path / "shards")
    path = tmp_path / "shards" / "shard-000001.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["json_offset"]), path)
    with pytest.raises(SchemaError, match=r"shard-000001\.parquet of .*missing \['json_offset'\].*another version"):
        read_index(tmp_path / "shards")


def test_features_lie_beside_the_shards_or_in_a_named_folder(tmp_path: Path):
    chosen = {setting: TrainConfig(data=DataConfig(latent_cache=setting)) for setting in (False, True, "/tmp/features")}
    assert feature_folder(chosen[False], tmp_path) is None
    assert feature_folder(chosen[True], tmp_path) == tmp_path / "_features"
    assert feature_folder(chosen["/tmp/features"], "s3://bucket/x") == Path("/tmp/features")
    with pytest.raises(ConfigError, match="latent_cache: FOLDER"):
        feature_folder(chosen[True], "s3://bucket/x")


def test_a_mixed_training_with_replaced_samples_goes_on_to_the_same_bits_twice(damaged: tuple[Path, set[str]], tmp_path: Path):
    pairs = write_tiny_pairs(tmp_path / "pairs", 6)
    data = DataConfig(
        resolution_px=16, pairs=str(pairs), pair_share=0.3, token_budget=60, batch_multiple=2, on_error="skip", cache_bytes=1
    )
    config = TrainConfig(model=SMALL, num_steps=9, checkpoint_every=2, data=data, warmup_steps=1)

    def stop_at(step: int) -> Callable[[dict[str, Any]], None]:
        def progress(record: dict[str, Any]) -> None:
            if record["step"] == step:
                raise KeyboardInterrupt

        return progress

    straight = train(config, shards=damaged[0], out=tmp_path / "straight")
    for step in (3, 6):
        with pytest.raises(KeyboardInterrupt):
            train(config, shards=damaged[0], out=tmp_path / "cut", progress=stop_at(step))
    cut = train(config, shards=damaged[0], out=tmp_path / "cut")
    weights = [(result.checkpoint / "model.safetensors").read_bytes() for result in (straight, cut)]
    assert weights[0] == weights[1]
    logs = [(tmp_path / name / "log.jsonl").read_text().splitlines() for name in ("straight", "cut")]
    lines = [[json.loads(line) for line in log] for log in logs]
    assert [line["loss"] for line in lines[0]] == [line["loss"] for line in lines[1]]
    assert sum(line["replaced"] for line in lines[0]) > 0
