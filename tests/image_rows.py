"""IMAGES rows for files on disk, for tests that start behind ingest."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from curation.schema import IMAGES


def image_rows(paths: Sequence[Path], *, captions: Sequence[str | None] | None = None) -> pa.Table:
    """Return IMAGES for picture files; what Pillow cannot open gets the error not_an_image."""
    rows = []
    for path, caption in zip(paths, captions or [None] * len(paths), strict=True):
        data = path.read_bytes()
        row = {
            "id": hashlib.sha256(data).hexdigest()[:32],
            "uri": str(path),
            "container": "file",
            "offset": 0,
            "length": len(data),
            "key": path.name,
            "group": path.parent.name,
            "caption": caption,
        }
        try:
            with Image.open(path) as image:
                row |= {"format": (image.format or "").lower(), "width": image.width, "height": image.height}
        except OSError as error:
            row |= {"error": "not_an_image", "error_detail": str(error)}
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=IMAGES)


def save(folder: Path, name: str, pixels: np.ndarray, **options: int) -> Path:
    """Write pixels as the format its name says and return the path."""
    Image.fromarray(pixels).save(folder / name, **options)
    return folder / name
