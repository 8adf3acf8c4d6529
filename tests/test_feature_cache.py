"""Features on disk: kept to the bit, verified, bounded, shared."""

from pathlib import Path

import torch
from tiny_shards import squares, write_tiny_shards

from model.autoencoder import PCAAutoencoder, to_signed
from model.config import DataConfig, TrainConfig
from model.data import Batches, make_plan
from model.feature_cache import FeatureCache, autoencoder_fingerprint, folder_bytes
from model.shard_reader import ShardReader
from model.text import HashText, TextCache


def pca(seed: int = 0) -> PCAAutoencoder:
    images = [to_signed(torch.from_numpy(picture.pixels)[None]) for picture in squares(4, seed=seed)]
    return PCAAutoencoder.fit(images, downsample=4, channels=12)


def test_what_is_stored_comes_back_to_the_bit_in_another_process_and_under_its_encoder_alone(tmp_path: Path):
    tensor = torch.randn(3, 5, dtype=torch.float32)
    FeatureCache("a", memory_bytes=0, folder=tmp_path).put("x/16x16", tensor)
    again = FeatureCache("a", memory_bytes=0, folder=tmp_path)
    assert again.has("x/16x16") and torch.equal(again.get("x/16x16"), tensor)
    other = FeatureCache("b", memory_bytes=0, folder=tmp_path)
    assert not other.has("x/16x16") and other.get("x/16x16") is None


def test_a_damaged_entry_is_missing_and_counted(tmp_path: Path):
    cache = FeatureCache("a", memory_bytes=0, folder=tmp_path)
    for key in "xyz":
        cache.put(key, torch.ones(4))
    flipped, cut, _ = sorted(tmp_path.rglob("*.features"))
    content = bytearray(flipped.read_bytes())
    content[-1] ^= 1
    flipped.write_bytes(content)
    cut.write_bytes(cut.read_bytes()[:20])
    found = [cache.get(key) for key in "xyz"]
    assert cache.corrupt == 2 and sum(tensor is None for tensor in found) == 2
    assert len(list(tmp_path.rglob("*.features"))) == 1


def test_a_full_folder_is_left_as_it_is(tmp_path: Path):
    FeatureCache("a", memory_bytes=0, folder=tmp_path).put("x", torch.zeros(1000))
    held = folder_bytes(tmp_path)
    full = FeatureCache("b", memory_bytes=0, folder=tmp_path, folder_bytes=held)
    full.put("y", torch.zeros(1000))
    assert folder_bytes(tmp_path) == held and full.get("y") is None


def test_memory_has_its_own_limit():
    cache = FeatureCache("a", memory_bytes=4 * 10)
    for key in "xy":
        cache.put(key, torch.zeros(10))
    assert (cache.has("x"), cache.has("y"), cache.size_bytes) == (True, False, 40)


def test_a_folder_that_cannot_be_written_does_not_stop_anything(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    cache = FeatureCache("a", memory_bytes=100, folder=tmp_path / "file")
    cache.put("x", torch.zeros(2))
    assert torch.equal(cache.get("x"), torch.zeros(2))


def test_an_autoencoder_is_named_by_its_numbers():
    assert autoencoder_fingerprint(pca()) == autoencoder_fingerprint(pca())
    assert autoencoder_fingerprint(pca()) != autoencoder_fingerprint(pca(seed=1))


def test_batches_from_cached_latents_are_those_without_and_need_no_image(tmp_path: Path):
    shards = write_tiny_shards(tmp_path, squares(20))
    config = TrainConfig(batch_size=4, data=DataConfig(resolution_px=16, cache_bytes=1))

    def opened(folder: Path | None) -> Batches:
        reader = ShardReader(shards)
        plan = make_plan(config, reader, unit_px=8)
        return Batches(plan, reader, pca(), TextCache(HashText(width=8)), config, patch=2, folder=folder)

    plain = list(opened(None).run(0, 0, count=5))
    list(opened(tmp_path / "features").run(0, 0, count=5))
    index = ShardReader(shards).index.to_pylist()
    for row in index:  # the images are gone, the captions are not
        with (shards / row["shard"]).open("r+b") as file:
            file.seek(row["image_offset"])
            file.write(bytes(row["image_length"]))
    again = list(opened(tmp_path / "features").run(0, 0, count=5))
    for a, b in zip(plain, again, strict=True):
        assert a.ids == b.ids and a.captions == b.captions and torch.equal(a.latents, b.latents)
