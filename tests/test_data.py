from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_shards import Picture, squares, write_tiny_shards

from curation.errors import ConfigError, SourceError
from model.autoencoder import PCAAutoencoder, to_signed
from model.config import DataConfig, TrainConfig
from model.data import Batches, make_plan
from model.plan import Shape
from model.shard_reader import Caption, ShardReader, cover_crop, draw_caption, read_index
from model.text import HashText, TextCache


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_shards(tmp_path_factory.mktemp("data"), squares(50), per_shard=20)


def batches(shards: Path, **settings: object) -> Batches:
    config = TrainConfig(batch_size=8, data=DataConfig(resolution_px=16, **settings))  # type: ignore[arg-type]
    reader = ShardReader(shards)
    images = [to_signed(torch.from_numpy(reader.pixels(row, Shape(16, 16)))[None]) for row in range(10)]
    autoencoder = PCAAutoencoder.fit(images, downsample=4, channels=12)
    return Batches(make_plan(config, reader, unit_px=8), reader, autoencoder, TextCache(HashText(width=8)), config, patch=2)


def test_the_index_of_all_shards_is_read_in_order(shards: Path, tmp_path: Path):
    index = read_index(shards)
    assert index.column("row").to_pylist() == list(range(50))
    with pytest.raises(SourceError, match=r"no shard-\*\.parquet"):
        read_index(tmp_path)


def test_samples_are_read_by_byte_range(shards: Path):
    reader = ShardReader(shards)
    for row, picture in list(enumerate(squares(50)))[::7]:
        assert np.array_equal(reader.pixels(row, Shape(16, 16)), picture.pixels)
        assert Caption("source", "en", picture.caption) in reader.captions(row)
        assert {c.language for c in reader.captions(row)} == {"en", "zh"}


def test_what_a_looser_ingest_accepted_is_read_for_training(tmp_path: Path):
    tiny, long = (np.full((height, width, 3), 120, np.uint8) for width, height in ((8, 8), (400, 10)))  # too small, too long
    reader = ShardReader(write_tiny_shards(tmp_path, [Picture(tiny, "tiny"), Picture(long, "long")]))
    for row in range(2):
        assert np.array_equal(reader.pixels(row, Shape(16, 16)), np.full((16, 16, 3), 120, np.uint8))


def test_images_cover_the_shape_and_are_cropped_in_the_middle():
    pixels = np.zeros((20, 60, 3), np.uint8)
    pixels[:, 20:40] = 255
    assert cover_crop(pixels, Shape(10, 10)).min() > 200
    assert cover_crop(pixels, Shape(30, 10)).shape == (10, 30, 3)


def test_captions_are_drawn_by_level_and_language():
    captions = [Caption("short", "en", "a"), Caption("short", "zh", "b"), Caption("source", "", "c"), Caption("long", "en", "d")]
    uniform = np.random.default_rng(0).random(4000)

    def shares(levels: dict[str, float], languages: dict[str, float]) -> dict[str, float]:
        texts = [draw_caption(captions, u, level_weights=levels, language_weights=languages) for u in uniform]
        return {text: texts.count(text) / 4000 for text in set(texts)}

    assert shares({"short": 1.0}, {"en": 3.0, "zh": 1.0}) == pytest.approx({"a": 0.75, "b": 0.25}, abs=0.03)
    assert shares({"short": 1.0, "source": 1.0}, {"zh": 1.0}) == pytest.approx({"b": 0.5, "c": 0.5}, abs=0.03)
    assert shares({"tags": 1.0}, {"en": 1.0}) == {"": 1.0}


def test_a_slice_holds_what_the_whole_batch_holds_in_its_slots(shards: Path):
    loader = batches(shards)
    planned = loader.plan.batch(0, 1)
    whole = loader.load(planned)
    for rank in range(4):
        part = batches(shards).load(planned, rank=rank, world_size=4)
        slots = slice(2 * rank, 2 * rank + 2)
        assert part.ids == whole.ids[slots]
        assert part.captions == whole.captions[slots]
        for a, b in ((part.latents, whole.latents), (part.noise, whole.noise), (part.t, whole.t)):
            assert torch.equal(a, b[slots])


def test_ranks_hold_every_slot_once_also_when_they_do_not_divide_the_batch(shards: Path):
    loader = batches(shards)
    whole = next(loader.run(0, 1, count=1))
    parts = [next(loader.run(0, 1, count=1, rank=rank, world_size=3)) for rank in range(3)]
    assert [len(part) for part in parts] == [2, 3, 3]
    assert [i for part in parts for i in part.ids] == whole.ids
    assert torch.equal(torch.cat([part.noise for part in parts]), whole.noise)
    assert {part.global_size for part in parts} == {8}
    with pytest.raises(ConfigError, match="a batch of 8 cannot be cut into 9 parts"):
        loader.load(loader.plan.batch(0, 1), rank=0, world_size=9)


def test_micro_batches_are_the_batch_in_order(shards: Path):
    whole = batches(shards).load(batches(shards).plan.batch(0, 0))
    parts = whole.split(3)
    assert [len(part) for part in parts] == [2, 3, 3]
    assert [c for part in parts for c in part.captions] == whole.captions
    assert torch.equal(torch.cat([part.latents for part in parts]), whole.latents)
    assert [x for part in parts for x in part.text] == whole.text
    with pytest.raises(ConfigError, match="cannot be cut into 9 parts"):
        whole.split(9)


def test_running_from_the_middle_gives_the_same_batches(shards: Path):
    straight = list(batches(shards).run(0, 0, count=20))
    for cut in (5, 6, 7, 13):
        epoch, number = straight[cut - 1].epoch, straight[cut - 1].number + 1
        again = next(batches(shards).run(epoch, number, count=1))
        assert (again.ids, again.captions) == (straight[cut].ids, straight[cut].captions)
        assert torch.equal(again.noise, straight[cut].noise)
        assert torch.equal(again.latents, straight[cut].latents)


def test_caption_dropout_and_noise_have_their_distributions(shards: Path):
    loader = batches(shards, caption_dropout=0.25, level_weights={"source": 1.0})
    drawn = list(loader.run(0, 0, count=100))
    captions = [caption for batch in drawn for caption in batch.captions]
    assert captions.count("") / len(captions) == pytest.approx(0.25, abs=0.05)
    noise = torch.stack([batch.noise for batch in drawn])
    assert float(noise.std()) == pytest.approx(1, abs=0.02)
    assert float(torch.stack([batch.t for batch in drawn]).mean()) == pytest.approx(0.5, abs=0.03)


def test_a_full_cache_changes_nothing(shards: Path):
    small, large = batches(shards, cache_bytes=1), batches(shards)
    for a, b in zip(small.run(0, 0, count=9), large.run(0, 0, count=9), strict=True):
        assert torch.equal(a.latents, b.latents)
        assert a.captions == b.captions


def test_large_images_are_shrunk_to_the_training_shape(tmp_path: Path):
    pictures = [Picture(np.full((40, 120, 3), 90 + i, np.uint8), f"grey {i}", bucket="96x32") for i in range(9)]
    loader = batches(write_tiny_shards(tmp_path, [*pictures, *squares(10)]), use_weights=False)
    shapes = {tuple(batch.latents.shape[2:]) for batch in loader.run(0, 0, count=12)}
    assert shapes == {(2, 6), (4, 4)}  # 24 x 8 px and 16 x 16 px in blocks of 4
