import json
from importlib.resources import files

import numpy as np
import pyarrow as pa
import pytest
from image_rows import image_rows, save
from PIL import Image, ImageDraw
from skimage import data
from sklearn.datasets import load_digits

from curation.embedding import Embedder
from curation.encoders import EfficientNetLite0
from curation.errors import ConfigError
from curation.pixels import read_pixels
from curation.schema import TAGS
from curation.tags import Tagger, dense, label_groups, labels

RIGHT = {
    "chelsea": ["cat", "Egyptian cat"],
    "coffee": ["espresso"],
    "camera": ["tripod"],
    "motorcycle": ["motorcycle"],
}
NO_LABEL = ("astronaut", "rocket", "page", "text", "moon", "coins", "horse", "retina", "brick")


def pictures():
    for name in (*RIGHT, *NO_LABEL):
        made = data.stereo_motorcycle()[0] if name == "motorcycle" else getattr(data, name)()
        yield name, np.asarray(Image.fromarray(made).convert("RGB"))
    for number, digit in enumerate(load_digits().images[:5]):
        yield f"digit{number}", np.asarray(Image.fromarray((digit * 15).astype(np.uint8)).resize((32, 32)).convert("RGB"))
    disc = Image.new("RGB", (64, 64), "navy")
    ImageDraw.Draw(disc).ellipse((10, 10, 50, 50), fill="orange")
    yield "disc", np.asarray(disc)


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    paths = [save(folder, f"{name}.png", pixels) for name, pixels in pictures()]
    broken = folder / "broken.png"
    broken.write_bytes(b"no picture")
    images = image_rows([*paths, broken])
    return images, Embedder(device="cpu")(images=images)


@pytest.fixture(scope="module")
def tagged(embedded):
    images, embeddings = embedded
    rows = Tagger()(embeddings=embeddings).to_pylist()
    return {key.removesuffix(".png"): row for key, row in zip(images["key"].to_pylist(), rows, strict=True)}


def test_labels_above_the_cut_are_right(tagged):
    found = {name: [tag["label"] for tag in tagged[name]["tags"]] for name in RIGHT}
    assert found == RIGHT


def test_pictures_that_show_no_imagenet_object_get_no_label(tagged):
    others = [name for name in tagged if name not in RIGHT and name != "broken"]
    assert {name: tagged[name]["tags"] for name in others if tagged[name]["tags"]} == {}


def test_a_failed_row_has_null_tags_and_its_error(tagged):
    assert (tagged["broken"]["tags"], tagged["broken"]["error"]) == (None, "not_an_image")


def test_labels_come_best_first_with_probability_and_source(tagged):
    tags = tagged["chelsea"]["tags"]
    assert [tag["score"] for tag in tags] == sorted((tag["score"] for tag in tags), reverse=True)
    assert tags[1]["score"] == pytest.approx(0.77, abs=0.02)
    assert {tag["source"] for tag in tags} == {"imagenet:efficientnet-lite0"}


def test_probabilities_from_stored_vectors_are_those_of_timms_whole_model(embedded):
    import torch

    images, embeddings = embedded
    encoder = EfficientNetLite0(device="cpu")
    first = next(read_pixels(images, max_side_px=2 * encoder.side_px))
    pixels = torch.tensor(encoder.prepare(first.pixels)).permute(2, 0, 1)[None]
    with torch.inference_mode():
        expected = encoder._model((pixels - 127.0) / 128.0).softmax(dim=1)[0].numpy()
    found = Tagger()._probabilities(embeddings.slice(0, 1))[0, :1000]
    np.testing.assert_allclose(found, expected, atol=2e-3)  # float16 vectors move logits by about .002


def test_max_tags_and_min_score_bound_the_list(embedded):
    _, embeddings = embedded
    rows = Tagger(min_score=0.01, max_tags=3)(embeddings=embeddings)["tags"].to_pylist()
    assert max(len(tags) for tags in rows if tags is not None) == 3
    assert all(tag["score"] >= 0.01 for tags in rows if tags for tag in tags)


def test_an_embedder_without_a_head_gives_no_tags(embedded):
    _, embeddings = embedded
    table = Tagger(model="open_clip:ViT-B-32/openai")(embeddings=embeddings)
    assert table.schema.equals(TAGS, check_metadata=True)
    assert [tags for tags in table["tags"].to_pylist() if tags is not None] == [[]] * (len(embeddings) - 1)


def test_vectors_of_another_length_are_refused():
    units = np.full((1, 8), 8**-0.5, np.float16)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(units.ravel()), 8)
    table = pa.table({"id": ["a"], "embedding": vectors, "norm": [1.0], "error": pa.array([None], pa.string())})
    with pytest.raises(ConfigError, match="vectors of 1280, but these have 8"):
        Tagger()(embeddings=table)


def test_dense_keeps_rows_of_sliced_and_chunked_columns(embedded):
    column = embedded[1]["embedding"].slice(0, 5)
    both = pa.chunked_array([*column.slice(1, 2).chunks, *column.slice(3, 2).chunks])
    np.testing.assert_array_equal(dense(both), np.array(column.to_pylist()[1:5], np.float32))


def test_every_group_is_made_of_labels_and_named_like_none():
    names, members = label_groups()
    assert len(labels()) == 1000 and not set(names) & set(labels())
    assert members.sum(axis=1).min() >= 2


def test_chinese_names_are_of_labels_or_groups_and_cover_most():
    chinese = json.loads(files("curation").joinpath("data/imagenet_zh.json").read_text("utf-8"))
    assert set(chinese) <= set(labels()) | set(label_groups()[0])
    assert set(label_groups()[0]) <= set(chinese) and len(chinese) > 900
    assert (chinese["espresso"], chinese["tripod"], chinese["cat"]) == ("浓缩咖啡", "三脚架", "猫")


@pytest.mark.parametrize("wrong", [{"min_score": 0.0}, {"min_score": 1.5}, {"max_tags": 0}])
def test_impossible_cuts_are_refused(wrong):
    with pytest.raises(ConfigError, match="min_score"):
        Tagger(**wrong)
