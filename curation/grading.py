"""Light, colour, sharpness and grain of a whole picture as values of its state.

Identity is the value of a picture as it is; every other value is applied to the base, so going from one value to another never
multiplies roundings.
"""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from curation.text_lines import Pixels

IDENTITY: dict[str, float] = {"brightness": 1.0, "warmth": 0.0, "saturation": 1.0, "blur": 0.0, "grain": 0.0}
"""brightness, saturation: factors; warmth: levels of red up and blue down; blur: sigma over the long side; grain: levels."""

STRENGTHS: dict[str, tuple[float, ...]] = {
    "brightness": (0.6, 1.4),
    "warmth": (-28.0, 28.0),
    "saturation": (0.0, 0.4, 1.8),
    "blur": (0.006, 0.012),
    "grain": (14.0, 24.0),
}
"""Values an edit may set."""


def graded(pixels: Pixels, state: Mapping[str, Any]) -> Pixels:
    """Return the picture with the state's light and colour; uint8 (H, W, 3) in and out."""
    values = {name: float(state.get(name, neutral)) for name, neutral in IDENTITY.items()}
    if values == IDENTITY:
        return pixels
    if values["blur"]:
        pixels = np.asarray(cv2.GaussianBlur(pixels, (0, 0), values["blur"] * max(pixels.shape[:2])), np.uint8)
    changed = pixels.astype(np.float32)
    if values["saturation"] != 1.0:
        grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[:, :, None].astype(np.float32)
        changed = grey + (changed - grey) * np.float32(values["saturation"])
    changed = _lit(changed, values["brightness"]) + np.array([values["warmth"], 0, -values["warmth"]], np.float32)
    if values["grain"]:
        generator = np.random.Generator(np.random.Philox(key=pixels.shape[0] * 65536 + pixels.shape[1]))
        grain = generator.standard_normal(pixels.shape[:2], dtype=np.float32)
        changed = changed + np.float32(values["grain"]) * grain[:, :, None]
    return np.clip(np.rint(changed), 0, 255).astype(np.uint8)


def _lit(changed: np.ndarray, factor: float) -> np.ndarray:
    """Darken by a factor; brighten by a power, which keeps white white and loses no highlights."""
    if factor <= 1.0:
        return np.asarray(changed * np.float32(factor))
    return np.asarray(255 * (np.clip(changed, 0, 255) / 255) ** np.float32(1 / factor))
