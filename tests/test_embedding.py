import json

import numpy as np
import pytest
from image_rows import image_rows, save
from skimage import data

from curation.embedding import Embedder
from curation.encoders import load_encoder
from curation.errors import ConfigError, ModelError
from curation.schema import embeddings_schema

PICTURES = {"astronaut": data.astronaut, "coffee": data.coffee, "chelsea": data.chelsea, "rocket": data.rocket}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pictures")


@pytest.fixture(scope="module")
def images(folder):
    """Four photographs, the third row broken, the last a recompressed half-size copy of the first."""
    paths = [save(folder, f"{name}.jpg", make(), quality=92) for name, make in PICTURES.items()]
    broken = folder / "broken.jpg"
    broken.write_bytes(b"no picture")
    copy = save(folder, "copy.jpg", np.ascontiguousarray(data.astronaut()[::2, ::2]), quality=60)
    captions = ["an astronaut", "a cup of coffee", "broken", None, "a rocket", ""]
    return image_rows([*paths[:2], broken, *paths[2:], copy], captions=captions)


@pytest.fixture(scope="module")
def embedder():
    return Embedder(device="cpu")


def vectors(table, column="embedding"):
    return np.array([vector for vector in table[column].to_pylist() if vector is not None], np.float32)


def test_rows_are_aligned_and_vectors_have_unit_length(images, embedder):
    table = embedder(images=images)
    assert table.schema.equals(embeddings_schema(1280), check_metadata=True)
    assert table["id"].to_pylist() == images["id"].to_pylist()
    rows = table.to_pylist()
    assert [row["error"] for row in rows] == [None, None, "not_an_image", None, None, None]
    assert rows[2]["embedding"] is None and rows[2]["norm"] is None
    # float16 keeps 11 bits: each of 1280 values is off by at most 2^-11 of itself
    np.testing.assert_allclose(np.linalg.norm(vectors(table), axis=1), 1, atol=1e-3)


def test_a_copy_is_nearer_than_any_other_picture(images, embedder):
    found = vectors(embedder(images=images))
    similarities = found[:-1] @ found[-1]
    assert similarities.argmax() == 0
    assert similarities[0] > 0.9 and np.sort(similarities)[-2] < 0.63


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_a_vector_does_not_depend_on_its_batch(images, embedder, batch_size):
    alone = Embedder(device="cpu", batch_size=batch_size)(images=images)
    # other batch sizes sum in another order: 1e-6 in float32, then one float16 step of values below .25
    np.testing.assert_allclose(vectors(alone), vectors(embedder(images=images)), atol=2**-12)


def test_the_same_part_gives_the_same_bytes(images, embedder):
    assert embedder(images=images).equals(embedder(images=images))


def test_a_part_without_any_readable_picture_is_all_nulls(images, embedder):
    table = embedder(images=images.slice(2, 1))
    assert table.to_pylist()[0]["embedding"] is None and len(table) == 1


def test_lite0_equals_timm_on_the_same_weights_by_path(images, folder, embedder):
    import timm
    import torch

    from curation.encoders import EfficientNetLite0

    model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    model.load_state_dict(EfficientNetLite0(device="cpu")._model.state_dict())
    torch.save(model.state_dict(), folder / "lite0.pt")
    other = Embedder(model=f"timm:tf_efficientnet_lite0/{folder / 'lite0.pt'}", device="cpu")
    found, expected = vectors(other(images=images)), vectors(embedder(images=images))
    # timm normalises by mean and deviation .5, the checkpoint by (x - 127) / 128: half a grey level apart
    assert ((found * expected).sum(axis=1) > 0.995).all()


def test_timm_weights_of_another_architecture_are_refused(folder):
    import torch

    torch.save({"conv.weight": torch.zeros(1)}, folder / "other.pt")
    with pytest.raises(ModelError, match="do not fit: missing"):
        Embedder(model=f"timm:resnet10t/{folder / 'other.pt'}", device="cpu")


def test_torchscript_files_are_run_as_they_are(images, folder):
    import torch

    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 7, stride=4), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten()
    )
    torch.jit.script(net).save(str(folder / "net.torchscript.pt"))
    table = Embedder(model=f"torchscript:{folder / 'net.torchscript.pt'}", device="cpu")(images=images)
    assert table.schema.equals(embeddings_schema(32))
    assert table["embedding"].null_count == 1


TINY_CLIP = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}


@pytest.fixture(scope="module")
def clip_folder(folder):
    """An open_clip folder as its own tools write it: configuration beside weights, here random ones."""
    import open_clip
    import torch

    target = folder / "tiny-clip"
    target.mkdir()
    torch.manual_seed(0)
    model = open_clip.CLIP(**TINY_CLIP)
    torch.save(model.state_dict(), target / "open_clip_pytorch_model.bin")
    preprocess = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bicubic", "resize_mode": "squash"}
    (target / "open_clip_config.json").write_text(json.dumps({"model_cfg": TINY_CLIP, "preprocess_cfg": preprocess}))
    return target


def test_open_clip_folders_give_image_and_text_vectors(images, clip_folder):
    embedder = Embedder(model=f"open_clip:{clip_folder}", device="cpu")
    assert (embedder.dimension, embedder.text_dimension) == (24, 24)
    table = embedder(images=images)
    assert table.schema.equals(embeddings_schema(24, 24), check_metadata=True)
    # a caption belongs to the row even when its picture is broken; an empty one is none
    assert [vector is None for vector in table["text_embedding"].to_pylist()] == [False, False, False, True, False, True]
    np.testing.assert_allclose(np.linalg.norm(vectors(table, "text_embedding"), axis=1), 1, atol=1e-3)


def test_open_clip_vectors_are_those_of_open_clip_itself(images, clip_folder):
    import open_clip
    import torch
    from PIL import Image

    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{clip_folder}")
    model.eval()
    row = images.slice(0, 1)
    table = Embedder(model=f"open_clip:{clip_folder}", device="cpu")(images=row)
    with torch.inference_mode():
        text = model.encode_text(open_clip.get_tokenizer(f"local-dir:{clip_folder}")(row["caption"].to_pylist()))[0].numpy()
        with Image.open(row["uri"][0].as_py()) as image:
            pixels = model.encode_image(transform(image.convert("RGB"))[None])[0].numpy()
    np.testing.assert_allclose(vectors(table, "text_embedding")[0], text / np.linalg.norm(text), atol=2**-11)  # float16
    # we shrink while decoding, open_clip resizes from full size
    assert float(vectors(table)[0] @ (pixels / np.linalg.norm(pixels))) > 0.999


def test_open_clip_architectures_take_a_weights_file(folder):
    import open_clip
    import torch

    config = folder / "imageloom-tiny.json"
    config.write_text(json.dumps(TINY_CLIP))
    open_clip.add_model_config(str(config))
    torch.save(open_clip.CLIP(**TINY_CLIP).state_dict(), folder / "tiny.pt")
    assert load_encoder(f"open_clip:imageloom-tiny/{folder / 'tiny.pt'}", device="cpu").dimension == 24


def test_transformers_clip_folders_have_both_towers(images, folder):
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    target = folder / "hf-clip"
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**small, "vocab_size": 300, "max_position_embeddings": 16, "eos_token_id": 299, "bos_token_id": 298}
    config = CLIPConfig(text_config=text, vision_config={**small, "image_size": 32, "patch_size": 8}, projection_dim=20)
    torch.manual_seed(0)
    CLIPModel(config).save_pretrained(target)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(target)
    without_text = Embedder(model=f"transformers:{target}", device="cpu")
    assert (without_text.dimension, without_text.text_dimension) == (20, None)
    byte_level_tokenizer().save_pretrained(target)
    embedder = Embedder(model=f"transformers:{target}", device="cpu")
    assert (embedder.dimension, embedder.text_dimension) == (20, 20)
    table = embedder(images=images)
    assert table["embedding"].null_count == 1 and table["text_embedding"].null_count == 2


def byte_level_tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: row for row, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=alphabet[0], model_max_length=16)


def test_transformers_vision_models_give_their_class_token(images, folder):
    from transformers import ViTConfig, ViTImageProcessor, ViTModel

    target = folder / "vit"
    config = ViTConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=8
    )
    ViTModel(config).save_pretrained(target)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(target)
    table = Embedder(model=f"transformers:{target}", device="cpu")(images=images)
    assert table.schema.equals(embeddings_schema(32))
    assert table["embedding"].null_count == 1


class GreyThumbnails:
    """A user's own encoder: the 8 x 8 grey picture."""

    dimension, text_dimension, side_px = 64, None, 8

    def prepare(self, pixels):
        from PIL import Image

        return np.asarray(Image.fromarray(pixels).convert("L").resize((8, 8)), np.float32).ravel()

    def encode_images(self, batch):
        return batch


def test_own_encoders_come_by_import_path(images):
    table = Embedder(model=f"test_embedding:{GreyThumbnails.__name__}", device="cpu")(images=images)
    assert table.schema.equals(embeddings_schema(64))


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        ("efficientnet", ConfigError, "unknown; one of efficientnet-lite0"),
        ("timm:resnet50/nowhere.pt", ModelError, "downloads nothing"),
        ("timm:no_such_net/nowhere.pt", ModelError, "no architecture"),
        ("torchscript:nowhere.pt", ModelError, "no weights file"),
        ("open_clip:ViT-B-32/laion2b_s34b_b79k", ModelError, "not on this machine"),
        ("open_clip:ViT-B-32/nonsense", ModelError, "neither a file nor a tag"),
        ("open_clip:nonsense", ModelError, "neither a folder"),
        ("transformers:facebook/dinov2-small", ModelError, "save_pretrained"),
        ("no_such_package.module:Class", ModelError, "cannot be imported"),
    ],
)
def test_absent_models_are_errors_that_say_what_to_do(model, error, message):
    with pytest.raises(error, match=message):
        load_encoder(model, device="cpu")
