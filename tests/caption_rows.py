"""Rows that captions are written from: aligned tables, and a poster, a photograph and a shape."""

from typing import Any

import pyarrow as pa

from curation.metrics import METRICS_SCHEMA
from curation.schema import IMAGES, OCR, TAGS

Row = dict[str, Any]


def tables(rows: list[Row]) -> dict[str, pa.Table]:
    """Return aligned IMAGES, METRICS, TAGS and OCR; a row gives the columns that matter to its test."""
    built = {}
    schemas = {"images": IMAGES, "metrics": METRICS_SCHEMA, "tags": TAGS, "ocr": OCR}
    for name, schema in schemas.items():
        filled = []
        for number, row in enumerate(rows):
            every = {"id": f"{number:032x}", "uri": "/x", "container": "file", "key": f"{number}", "group": "g"}
            every |= {"width": 640, "height": 480, "is_grayscale": False} | row
            filled.append({column: every.get(column) for column in schema.names})
        built[name] = pa.Table.from_pylist(filled, schema=schema)
    return built


def line(text: str, top: float = 10.0, height: float = 40.0, confidence: float = 0.99, language: str = "en") -> Row:
    corners = [20.0, top, 620.0, top, 620.0, top + height, 20.0, top + height]
    return {"text": text, "confidence": confidence, "language": language, "polygon": corners}


POSTER: Row = {
    "flatness": 0.9,
    "noise": 0.0,
    "brightness": 0.5,
    "dominant_colours": [{"hex": "#fdf6e3", "share": 0.8}, {"hex": "#12355b", "share": 0.15}],
    "lines": [line("Tea Tasting", 20, 90), line("品茶会", 200, 60, language="zh"), line("28 April, 12:30", 430)],
}
PHOTO: Row = {
    "flatness": 0.2,
    "noise": 1.0,
    "brightness": 0.5,
    "dominant_colours": [{"hex": "#9a7357", "share": 0.54}, {"hex": "#3b2a1e", "share": 0.2}],
    "tags": [
        {"label": "cat", "score": 0.97, "source": "imagenet:efficientnet-lite0"},
        {"label": "Egyptian cat", "score": 0.81, "source": "imagenet:efficientnet-lite0"},
    ],
    "lines": [],
}
SHAPE: Row = {"width": 32, "height": 32, "caption": "a red circle on a dark background", "lines": [], "tags": []}
