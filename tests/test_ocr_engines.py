"""Engines by name, models by path, devices, and pictures that are not as they should be."""

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image
from test_ocr import ENGLISH, poster, table

from captioning.ocr import Reader, open_engine
from captioning.ocr_engines import CUDA, paddle_device, runtime_of
from captioning.ocr_models import chosen_models, packaged_models
from captioning.recognition import read_lines
from curation.errors import ConfigError, ModelError

NONE = {"models": None, "detection": None, "recognition": None, "detection_name": None, "recognition_name": None}


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader()


def test_models_are_taken_from_the_folders_that_are_named(tmp_path: Path) -> None:
    packaged = packaged_models()
    shutil.copytree(packaged.recognition, tmp_path / "own")
    chosen = chosen_models(recognition=str(tmp_path / "own"))
    assert (chosen.detection, chosen.recognition) == (packaged.detection, tmp_path / "own")
    assert chosen.recognition_name == "PP-OCRv5_mobile_rec"
    reader = Reader(recognition=str(tmp_path / "own"), recognition_name="PP-OCRv5_mobile_rec")
    assert [line["text"] for line in reader.read(np.asarray(poster(ENGLISH)))] == [text for text, _, _ in ENGLISH]


def test_the_runtime_follows_from_the_files(tmp_path: Path) -> None:
    for name, runtime in (("model.safetensors", "transformers"), ("inference.json", "paddle"), ("inference.onnx", "onnxruntime")):
        (tmp_path / name).write_bytes(b"")
        assert runtime_of(tmp_path) == runtime
    with pytest.raises(ModelError, match="holds no model"):
        runtime_of(tmp_path / "empty")


def test_a_broken_model_is_a_typed_error(tmp_path: Path) -> None:
    shutil.copytree(packaged_models().recognition, tmp_path / "own")
    (tmp_path / "own" / "inference.onnx").write_bytes(b"not a model")
    with pytest.raises(ModelError, match="cannot load"):
        Reader(recognition=str(tmp_path / "own"))


@pytest.mark.skipif(CUDA in onnxruntime.get_available_providers(), reason="ONNX Runtime has CUDA here")
def test_a_missing_gpu_is_named_and_auto_goes_without() -> None:
    assert paddle_device("auto") == "cpu"
    with pytest.raises(ModelError, match="onnxruntime-gpu"):
        paddle_device("cuda:1")
    with pytest.raises(ModelError, match="auto, cpu, cuda"):
        paddle_device("tpu")


@pytest.mark.skipif(importlib.util.find_spec("rapidocr") is not None, reason="rapidocr is installed here")
def test_rapidocr_says_how_to_install_it() -> None:
    with pytest.raises(ModelError, match="pip install rapidocr"):
        open_engine("rapidocr", NONE, side_px=960, device="auto")


@pytest.mark.skipif(importlib.util.find_spec("rapidocr") is None, reason="rapidocr is not installed here")
def test_rapidocr_reads_a_poster() -> None:
    assert [line["text"] for line in Reader(engine="rapidocr").read(np.asarray(poster(ENGLISH)))] == [
        text for text, _, _ in ENGLISH
    ]


def test_unknown_engines_and_useless_models_are_refused() -> None:
    with pytest.raises(ConfigError, match="paddle or rapidocr"):
        open_engine("tesseract", NONE, side_px=960, device="cpu")
    with pytest.raises(ConfigError, match=r"ocr\.models"):
        open_engine("rapidocr", NONE | {"models": "x"}, side_px=960, device="cpu")


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "I;16", "CMYK"])
def test_every_kind_of_pixels_is_read(reader: Reader, tmp_path: Path, mode: str) -> None:
    image = poster(ENGLISH[:1])
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    path = tmp_path / ("poster.jpg" if mode == "CMYK" else "poster.png")
    (image if mode == "I;16" else image.convert(mode)).save(path)
    (lines,) = reader(images=table([path]))["lines"].to_pylist()
    assert [line["text"] for line in lines] == [ENGLISH[0][0]]


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (16, 16), (15, 4000), (2000, 100)])
def test_pictures_too_thin_or_empty_for_text_have_none(reader: Reader, size: tuple[int, int]) -> None:
    assert reader.read(np.full((size[1], size[0], 3), 200, np.uint8)) == []


def test_polygons_lie_inside_the_picture(reader: Reader) -> None:
    image = poster([("Harbour Concert", (-30, -8), 64), ("until the very edge", (420, 450), 40)])
    for line in reader.read(np.asarray(image)):
        corners = np.reshape(line["polygon"], (4, 2))
        assert (corners >= 0).all() and (corners <= image.size).all()


def test_a_polygon_beyond_the_picture_is_read_as_far_as_it_goes(reader: Reader) -> None:
    bgr = np.ascontiguousarray(np.asarray(poster(ENGLISH[:1]))[..., ::-1])
    (reading,) = read_lines(reader.engine, bgr, [np.array([(-40, 30), (740, 30), (740, 130), (-40, 130)], float)])
    assert reading.text == ENGLISH[0][0]


def test_text_in_scripts_the_model_does_not_know_is_recorded_when_asked() -> None:
    from importlib.resources import files

    from bidi import get_display
    from PIL import ImageDraw, ImageFont

    font = ImageFont.truetype(str(files("matplotlib") / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"), 48)
    image = poster(ENGLISH[:1])
    ImageDraw.Draw(image).text((60, 250), get_display("שלום עולם"), font=font, fill="black")
    below = [line for line in Reader(min_confidence=0).read(np.asarray(image)) if line["polygon"][1] > 200]
    assert len(below) == 1  # its place is known, whatever was made of its letters
