"""Measured facts of one image: decoded pixels in, one row of METRICS out.

A metric is a function of a Picture and a line in the dict METRICS; the table's schema, its documentation and the report's
histograms follow from the dict. Nothing is judged here: thresholds belong to selection. Z-Image (arXiv 2511.22699, section 2.1)
profiles size, compression, border variance, re-encoded bytes per pixel and degradations; its own degradation model is not
released, so blur, noise and cast are measured by published formulae instead.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import pyarrow as pa

from curation import palette, spectrum, traces
from curation.hashing import dihedral_hashes, pdq_hash
from curation.palette import ColourShare
from curation.picture import ANALYSED_SIDE_PX, COMPLEXITY_SIDE_PX, DETAIL_SIDE_PX, MIDDLE_SIDE_PX, Picture, resized
from curation.pixels import read_pixels
from curation.quantisation import comb_step
from curation.schema import conform, metrics_schema

COMB_PART_PX = slice(64, 448)
"""Rows and columns of a whole middle that are looked at for earlier compression: 2,304 blocks are enough."""

Value = int | float | bool | str | bytes | list[str] | list[ColourShare]


@dataclass(frozen=True)
class Metric:
    """One measurement: its function, Arrow type, unit and meaning (with its source)."""

    function: Callable[[Picture], Value]
    kind: pa.DataType
    unit: str
    doc: str


def bits_per_pixel(picture: Picture) -> float:
    """Return the bits per pixel of the JPEG (quality 75, without its headers) of the picture at COMPLEXITY_SIDE_PX.

    Enlarged if need be, so that a small picture's few details do not look dense.
    """
    fixed = resized(picture.small, COMPLEXITY_SIDE_PX, enlarge=True)
    bgr = np.ascontiguousarray(fixed[:, :, ::-1])
    encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 75])[1].tobytes()
    start_of_scan = encoded.rindex(b"\xff\xda")  # the scan itself holds no FF DA: FF is always stuffed there
    return float(8 * (len(encoded) - start_of_scan) / (fixed.shape[0] * fixed.shape[1]))


def compression_ratio(picture: Picture) -> float:
    """Return file bytes over bytes of the raw 8-bit RGB picture: low means strongly compressed.

    Z-Image names the inverse and calls low values over-compressed, which fits this direction only.
    """
    return picture.size_bytes / (3 * picture.width_px * picture.height_px)


def border_variance(picture: Picture) -> float:
    """Return the variance of the grey levels in the outermost 2 % of the short side (1 px at least) all round."""
    grey = picture.grey
    edge = max(1, round(0.02 * min(grey.shape)))
    beside = grey[edge:-edge]
    strips = (grey[:edge], grey[-edge:], beside[:, :edge], beside[:, -edge:])
    return float(np.concatenate([strip.ravel() for strip in strips]).var())


def entropy(picture: Picture) -> float:
    """Return the Shannon entropy of the grey histogram, 0 to 8 bits."""
    share = picture.histogram[picture.histogram > 0]
    return float(abs((share * np.log2(share)).sum()))


def sharpness(picture: Picture) -> float:
    """Return the variance of the Laplacian at a long side of exactly DETAIL_SIDE_PX: an enlarged thumbnail is not sharp.

    Pech-Pacheco et al. 2000, https://doi.org/10.1109/ICPR.2000.903548
    """
    fixed = resized(picture.grey, DETAIL_SIDE_PX, enlarge=True)
    return float(cv2.Laplacian(fixed, cv2.CV_32F).var())


def noise(picture: Picture) -> float:
    """Return the standard deviation of white noise in grey levels, at a long side of at most DETAIL_SIDE_PX.

    The median of Immerkaer's structure-cancelling operator (https://doi.org/10.1006/cviu.1996.0060), whose norm is 6, over
    .6745 as in Donoho and Johnstone 1994: unlike the mean it ignores edges. Not enlarged, because that would hide noise.
    0 for a picture of less than 3 px.
    """
    if min(picture.detail.shape) < 3:
        return 0.0
    operator = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)
    response = np.abs(cv2.filter2D(picture.detail, cv2.CV_16S, operator)[1:-1, 1:-1])
    below = np.bincount(response.ravel()).cumsum()  # the response is integral: its median needs no sort
    return float(np.searchsorted(below, response.size / 2) / (6 * 0.6745))


def is_grayscale(picture: Picture) -> bool:
    """Say whether at most one pixel in a thousand has channels more than 12 levels apart (JPEG chroma noise is less)."""
    red, green, blue = cv2.split(picture.small)
    spread = cv2.max(cv2.max(red, green), blue) - cv2.min(cv2.min(red, green), blue)
    return bool((spread > 12).mean() <= 0.001)


def flatness(picture: Picture) -> float:
    """Return the share of the two fullest of 32 grey bins: over half for flat graphics, less for photographs."""
    bins = picture.histogram.reshape(32, 8).sum(axis=1)
    return float(np.sort(bins)[-2:].sum())


def contrast(picture: Picture) -> float:
    """Return the standard deviation of the grey levels as a share of full scale (RMS contrast).

    Peli 1990, https://doi.org/10.1364/JOSAA.7.002032
    """
    levels = np.arange(256) / 255
    mean = picture.histogram @ levels
    return float(np.sqrt(picture.histogram @ (levels - mean) ** 2))


def detail(picture: Picture) -> float:
    """Return the share of the picture's resolution that holds detail: about .75 for a sharp photograph, half at twice the size.

    See curation/spectrum.py. Measured on the middle of the picture in its own pixels; a JPEG from four times ANALYSED_SIDE_PX on
    is decoded at a smaller size, and enlargement beyond that does not show.
    """
    return spectrum.detail(picture.spectrum)


def quantisation_step(picture: Picture) -> float:
    """Return the larger of the quantisation steps that the file states and that its pixels show, see curation/quantisation.py."""
    part = picture.middle[COMB_PART_PX, COMB_PART_PX] if min(picture.middle.shape[:2]) >= MIDDLE_SIDE_PX else picture.middle
    luma = part.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)  # unrounded, unlike `grey`
    return max(picture.stated_step, comb_step(luma))


def pixel_hash(picture: Picture) -> str:
    """Return 32 hex digits of the SHA-256 over the size of the image and its analysed pixels; equal for the same pixels."""
    height, width = picture.rgb.shape[:2]
    size = f"{picture.width_px}x{picture.height_px}:{width}x{height}:".encode()
    return hashlib.sha256(size + np.ascontiguousarray(picture.rgb).tobytes()).hexdigest()[:32]


def _border(side: str) -> Metric:
    doc = f"width of the one-coloured border at the {side}; a wholly uniform picture counts as top border"
    return Metric(lambda picture: picture.borders_px[side], pa.int32(), "px", doc)


def _pdq_hash(picture: Picture) -> str:
    return pdq_hash(picture.pdq[0])


def _dihedral_hashes(picture: Picture) -> list[str]:
    return dihedral_hashes(picture.pdq[0])


FLOAT = pa.float32()
COLOURS = pa.list_(pa.struct([pa.field("hex", pa.string()), pa.field("share", FLOAT)]))

METRICS: dict[str, Metric] = {
    "width_px": Metric(lambda p: p.width_px, pa.int32(), "px", "width after EXIF orientation"),
    "height_px": Metric(lambda p: p.height_px, pa.int32(), "px", "height after EXIF orientation"),
    "size_bytes": Metric(lambda p: p.size_bytes, pa.int64(), "bytes", "length of the encoded file"),
    "aspect": Metric(lambda p: p.width_px / p.height_px, FLOAT, "ratio", "width over height"),
    "bits_per_pixel": Metric(bits_per_pixel, FLOAT, "bits/px", "complexity: JPEG quality 75 at a long side of 256 px"),
    "compression_ratio": Metric(compression_ratio, FLOAT, "ratio", "file bytes over raw 8-bit RGB bytes; low: over-compressed"),
    "border_variance": Metric(border_variance, FLOAT, "levels^2", "variance of the grey levels in the outermost 2 %"),
    "border_left_px": _border("left"),
    "border_right_px": _border("right"),
    "border_top_px": _border("top"),
    "border_bottom_px": _border("bottom"),
    "entropy": Metric(entropy, FLOAT, "bits", "Shannon entropy of the grey histogram"),
    "sharpness": Metric(sharpness, FLOAT, "levels^2", "variance of the Laplacian at a long side of 512 px"),
    "detail": Metric(detail, FLOAT, "share", "share of the resolution that holds detail; half after enlarging to twice"),
    "grain": Metric(lambda p: spectrum.grain(p.spectrum), FLOAT, "dB", "finest over coarse power: noise and sharpening raise it"),
    "quantisation_step": Metric(
        quantisation_step,
        FLOAT,
        "levels",
        "as the file states or its pixels show; 7: JPEG quality 75, 1: none",
    ),
    "tonal_gaps": Metric(
        lambda p: traces.tonal_gaps(p.middle, p.middle_grey),
        FLOAT,
        "share",
        "unevenness of levels: edited, or a palette",
    ),
    "clipped": Metric(lambda p: traces.clipped(p.rgb), FLOAT, "share", "pixels at 0 or 255, of the channel with most"),
    "padding": Metric(lambda p: traces.padding(p.rgb), FLOAT, "share", "ground of exactly one colour that begins in a corner"),
    "noise": Metric(noise, FLOAT, "levels", "robust noise deviation (Immerkaer) at a long side of at most 512 px"),
    "colour_cast": Metric(lambda p: palette.colour_cast(p.thumbnail), FLOAT, "OKLab", "distance of the mean colour from grey"),
    "colourfulness": Metric(lambda p: palette.colourfulness(p.thumbnail), FLOAT, "levels", "Hasler and Suesstrunk 2003, M3"),
    "saturation": Metric(lambda p: palette.saturation(p.thumbnail), FLOAT, "share", "mean HSV saturation"),
    "brightness": Metric(lambda p: float(p.histogram @ np.arange(256) / 255), FLOAT, "share", "mean grey level"),
    "contrast": Metric(contrast, FLOAT, "share", "standard deviation of the grey levels"),
    "clipped_dark": Metric(lambda p: float(p.histogram[:3].sum()), FLOAT, "share", "pixels with grey level 2 or less"),
    "clipped_bright": Metric(lambda p: float(p.histogram[253:].sum()), FLOAT, "share", "pixels with grey level 253 or more"),
    "flatness": Metric(flatness, FLOAT, "share", "the two fullest of 32 grey bins; over half: flat graphics, no photograph"),
    "is_grayscale": Metric(is_grayscale, pa.bool_(), "", "no colour beyond JPEG noise"),
    "dominant_colours": Metric(
        lambda p: palette.dominant_colours(p.thumbnail), COLOURS, "share", "k-means in OKLab, largest share first"
    ),
    "layout": Metric(lambda p: traces.layout(p.small), pa.binary(), "RGB", "the picture squeezed to 8 x 8 pixels of uint8"),
    "pixel_hash": Metric(pixel_hash, pa.string(), "hex", "hash of size and analysed pixels; equal for the same pixels"),
    "pdq": Metric(_pdq_hash, pa.string(), "hex", "PDQ perceptual hash, 256 bits"),
    "pdq_quality": Metric(lambda p: p.pdq[1], pa.int32(), "0-100", "structure PDQ found; below 50 the hash is unreliable"),
    "pdq_dihedral": Metric(_dihedral_hashes, pa.list_(pa.string()), "hex", "PDQ in eight orientations, see hashing.ORIENTATIONS"),
}
"""Every metric by name. Add a line and it is a column."""

METRICS_SCHEMA: pa.Schema = metrics_schema({name: (m.kind, m.unit, m.doc) for name, m in METRICS.items()})


def measure(picture: Picture) -> dict[str, Value]:
    """Return every metric of one picture by name."""
    return {name: metric.function(picture) for name, metric in METRICS.items()}


def profile(*, images: pa.Table) -> pa.Table:
    """Return METRICS for one part of IMAGES.

    Pictures are decoded to a long side of at most ANALYSED_SIDE_PX (JPEG shrinks while loading); sizes and borders are those
    of the image itself.
    """
    decoded = read_pixels(images, max_side_px=ANALYSED_SIDE_PX, middle_px=MIDDLE_SIDE_PX)
    columns = (images.column(name).to_pylist() for name in ("id", "length", "error"))
    rows = []
    for image, identity, length, error in zip(decoded, *columns, strict=True):
        row: dict[str, Value | None] = {"id": identity, "error": error}
        if error is None:
            try:
                if image is None:
                    raise ValueError("cannot be decoded")
                sizes = (image.width_px, image.height_px, length)
                row |= measure(Picture(image.pixels, *sizes, image.middle, image.stated_step))
            except Exception as failure:  # one bad image must not lose the part
                row["error"] = f"{type(failure).__name__}: {failure}"[:200]
        rows.append(row)
    return conform(pa.Table.from_pylist(rows, schema=METRICS_SCHEMA), METRICS_SCHEMA)
