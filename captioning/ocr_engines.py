"""Engines that find and recognise text, behind three calls: detect, recognise, glimpse.

`paddle` runs any PaddleOCR model from a folder: ONNX files on ONNX Runtime (no paddlepaddle needed), Paddle's own format on
paddlepaddle, safetensors on transformers; what the folder holds decides. `rapidocr` runs the PP-OCR models of that package; its
OpenCV wheel and PaddleOCR's own overwrite each other, so it needs an environment of its own (docs/captioning.md).

Detection and recognition are called one by one rather than as a pipeline, because pieces must be joined to lines, strips cut to
tiles and lines turned the right way up in between.
"""

import logging
import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from captioning.lines import Corners
from captioning.ocr_models import NORMALIZE, OcrModels, cache_folder
from curation.errors import ModelError

Pixels = NDArray[np.uint8]
Recognised = tuple[str, float]
"""Text and confidence in [0, 1]."""
SINGLE_THREAD = {"intra_op_num_threads": 1, "inter_op_num_threads": 1, "log_severity_level": 3}
"""ONNX Runtime's options; severity 3 hides a warning about the packaged models' dynamic output shapes."""
MEAN, DEVIATION = np.array(NORMALIZE["mean"], np.float32), np.array(NORMALIZE["std"], np.float32)
TEXT_PROBABILITY = 0.3
"""Probability above which a pixel counts as text (PP-OCRv5's own `thresh`)."""
BOX_PROBABILITY = 0.5
"""Mean probability from which a box counts as text. The models' own .6 loses Latin lines turned by a quarter, whose boxes reach
.5 to .6; what is no text after all is refused by the recogniser's confidence."""
CUDA = "CUDAExecutionProvider"


class Engine(Protocol):
    """What a reader needs of an engine; pictures are BGR (H, W, 3)."""

    def detect(self, bgr: Pixels) -> list[Corners]:
        """Return the corners of every piece of text, at the picture's own size, which the caller keeps small."""

    def recognise(self, crops: Sequence[Pixels]) -> list[Recognised]:
        """Return text and confidence of level lines."""

    def glimpse(self, bgr: Pixels) -> bool:
        """Tell whether any pixel of a small picture, whose sides are multiples of 32, looks like text."""


class PaddleEngine:
    """PaddleOCR's detection and recognition models, loaded once, one thread.

    side_px: largest long side that the detector is given. device: auto, cpu, cuda or cuda:<n>.
    Raises ModelError if the models cannot be loaded or the device is not there.
    """

    def __init__(self, models: OcrModels, *, side_px: int, device: str = "auto") -> None:
        # PaddleX asks model hubs for their health when it is imported, and makes folders in the home.
        os.environ.setdefault("PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK", "True")
        os.environ.setdefault("PADDLE_PDX_CACHE_HOME", str(cache_folder() / "paddlex"))
        from paddleocr import TextDetection, TextRecognition

        logging.getLogger("paddlex").setLevel(logging.ERROR)
        place = paddle_device(device)
        runtimes = {folder: runtime_of(folder) for folder in (models.detection, models.recognition)}
        try:
            self._detection = TextDetection(
                model_name=models.detection_name,
                model_dir=str(models.detection),
                engine=runtimes[models.detection],
                engine_config=SINGLE_THREAD if runtimes[models.detection] == "onnxruntime" else None,
                device=place,
                limit_side_len=side_px,
                limit_type="max",
                box_thresh=BOX_PROBABILITY,
            )
            self._recognition = TextRecognition(
                model_name=models.recognition_name,
                model_dir=str(models.recognition),
                engine=runtimes[models.recognition],
                engine_config=SINGLE_THREAD if runtimes[models.recognition] == "onnxruntime" else None,
                device=place,
            )
        except _load_errors() as error:
            raise ModelError(f"PaddleOCR cannot load {models.detection} and {models.recognition} on {place}: {error}") from error
        self._batch_size = 1 if place == "cpu" else 16
        onnx = models.detection / "inference.onnx"
        self._glimpser = OnnxGlimpse(onnx, place) if onnx.is_file() else None

    def detect(self, bgr: Pixels) -> list[Corners]:
        """Return the corners of every piece of text."""
        (found,) = self._detection.predict(bgr)
        return [np.asarray(corners, dtype=np.float64) for corners in found["dt_polys"]]

    def recognise(self, crops: Sequence[Pixels]) -> list[Recognised]:
        """Return text and confidence of level lines."""
        if not crops:
            return []
        # On a CPU one by one: a batch is padded to its widest line, which costs more than it saves on one thread.
        found = self._recognition.predict(list(crops), batch_size=self._batch_size)
        return [(line["rec_text"], float(line["rec_score"])) for line in found]

    def glimpse(self, bgr: Pixels) -> bool:
        """Tell whether any pixel looks like text."""
        return self._glimpser(bgr) if self._glimpser else bool(self.detect(bgr))


class OnnxGlimpse:
    """A detector's bare probabilities, without its boxes."""

    def __init__(self, onnx: Path, device: str = "cpu") -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        for name, value in SINGLE_THREAD.items():
            setattr(options, name, value)
        providers = ["CPUExecutionProvider"] if device == "cpu" else [CUDA, "CPUExecutionProvider"]
        self._session = onnxruntime.InferenceSession(str(onnx), options, providers=providers)

    def __call__(self, bgr: Pixels) -> bool:
        """Tell whether any pixel looks like text."""
        scaled = (bgr.astype(np.float32) / 255.0 - MEAN) / DEVIATION
        batch = np.ascontiguousarray(scaled.transpose(2, 0, 1)[None])  # (1, 3, H, W)
        (probability,) = self._session.run(None, {self._session.get_inputs()[0].name: batch})
        return bool((np.asarray(probability) > TEXT_PROBABILITY).any())


class RapidEngine:
    """The PP-OCR models of the package rapidocr, loaded once, one thread.

    side_px: largest long side that the detector is given. device: cpu; another one is refused, for rapidocr's wheel has none.
    Raises ModelError if rapidocr is not installed.
    """

    def __init__(self, *, side_px: int, device: str = "auto") -> None:
        if device not in ("auto", "cpu"):
            raise ModelError(f"ocr.device = {device}: the engine rapidocr runs on cpu here; take engine paddle for a GPU")
        try:
            rapidocr = import_module("rapidocr")
        except ImportError as error:
            raise ModelError(
                f"ocr.engine = rapidocr, but it cannot be imported ({error}). Install it with `pip install rapidocr` in an "
                "environment without paddleocr, whose OpenCV it would overwrite, or take engine paddle"
            ) from error
        threads = {f"EngineConfig.onnxruntime.{name}": 1 for name in ("intra_op_num_threads", "inter_op_num_threads")}
        limits = {"Det.limit_side_len": side_px, "Det.limit_type": "max", "Global.log_level": "error"}
        self._ocr = rapidocr.RapidOCR(params={**limits, **threads})

    def detect(self, bgr: Pixels) -> list[Corners]:
        """Return the corners of every piece of text."""
        found = self._ocr(bgr, use_det=True, use_cls=False, use_rec=False)
        boxes = getattr(found, "boxes", None)  # a picture without text gives another type, without boxes
        return [] if boxes is None else [np.asarray(corners, dtype=np.float64) for corners in boxes]

    def recognise(self, crops: Sequence[Pixels]) -> list[Recognised]:
        """Return text and confidence of level lines."""
        lines: list[Recognised] = []
        for crop in crops:
            found = self._ocr(crop, use_det=False, use_cls=False, use_rec=True)
            read = bool(found.txts)
            lines.append((str(found.txts[0]), float(found.scores[0])) if read else ("", 0.0))
        return lines

    def glimpse(self, bgr: Pixels) -> bool:
        """Tell whether any text is found."""
        return bool(self.detect(bgr))


def _load_errors() -> tuple[type[Exception], ...]:
    """Return what PaddleOCR and ONNX Runtime raise on models that they cannot load; ONNX Runtime's have no common base class."""
    state = import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    own = (
        getattr(state, name)
        for name in ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoSuchFile", "NotImplemented")
    )
    return (RuntimeError, ValueError, OSError, ImportError, KeyError, TypeError, AttributeError, *own)


def paddle_device(device: str) -> str:
    """Return PaddleOCR's name of a device: auto is the first GPU that ONNX Runtime and this process can use, else cpu.

    Raises ModelError for a device that is not there.
    """
    import onnxruntime

    if device == "cpu":
        return "cpu"
    usable = CUDA in onnxruntime.get_available_providers() and any(Path("/dev").glob("nvidia[0-9]*"))
    if device == "auto":
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1")
        return "gpu:0" if usable and not hidden else "cpu"
    kind, _, number = device.partition(":")
    if kind not in ("cuda", "gpu") or not (number or "0").isdigit():
        raise ModelError(f"ocr.device = {device}: should be auto, cpu, cuda or cuda:<n>")
    if not usable:
        raise ModelError(f"ocr.device = {device}, but ONNX Runtime sees no GPU here; install onnxruntime-gpu, or take cpu")
    return f"gpu:{number or 0}"


def runtime_of(folder: Path) -> str:
    """Return PaddleOCR's name of the engine that runs the model in `folder`: by the files in it.

    Raises ModelError when there is none.
    """
    kinds = (("inference.onnx", "onnxruntime"), ("inference.json", "paddle"), ("inference.pdmodel", "paddle"))
    for name, runtime in (*kinds, ("model.safetensors", "transformers")):
        if (folder / name).is_file():
            return runtime
    names = ", ".join(name for name, _ in kinds)
    raise ModelError(f"{folder} holds no model: none of {names}, model.safetensors is there")
