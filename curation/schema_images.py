"""Tables of what is known of single images: their bytes, what was measured and learned of them, text and watermarks."""

import pyarrow as pa

from curation.fields import ERROR, ID, field, vector_type

IMAGES = pa.schema(
    [
        ID,
        field("uri", pa.string(), "absolute path or URL of the file or container that holds the bytes", nullable=False),
        field("container", pa.string(), "file, tar or parquet", nullable=False),
        field("member", pa.string(), "name inside the container: tar member, or parquet 'column#row'; null for a file"),
        field("offset", pa.int64(), "where the image's bytes begin in uri; null for parquet", unit="bytes"),
        field("length", pa.int64(), "number of bytes of the encoded image", unit="bytes"),
        field("key", pa.string(), "the source's own name of the sample: relative path or WebDataset key", nullable=False),
        field(
            "group",
            pa.string(),
            "sub-collection: first folder below the source, or the container's stem",
            nullable=False,
        ),
        field("format", pa.string(), "format by magic bytes: jpeg, png, webp, gif, avif, bmp, tiff"),
        field("width", pa.int32(), "width after EXIF orientation", unit="px"),
        field("height", pa.int32(), "height after EXIF orientation", unit="px"),
        field("caption", pa.string(), "the source's own caption"),
        field("metadata", pa.string(), "everything else the source said of the image, as a JSON object"),
        field("flags", pa.list_(pa.string()), "what decoding noted: animated, alpha, icc, cmyk, 16bit, oriented, ..."),
        ERROR,
        field("error_detail", pa.string(), "the decoder's message"),
    ]
)


def metrics_schema(metrics: dict[str, tuple[pa.DataType, str, str]]) -> pa.Schema:
    """Return METRICS for a dict of metric name to (Arrow type, unit, doc)."""
    measured = [field(name, kind, doc, unit=unit) for name, (kind, unit, doc) in metrics.items()]
    return pa.schema([ID, *measured, ERROR])


def embeddings_schema(dimension: int, text_dimension: int | None = None) -> pa.Schema:
    """Return EMBEDDINGS for vectors of `dimension`, with a text column when the model has a text tower."""
    columns = [
        ID,
        field("embedding", vector_type(dimension), "unit vector of the image; null when the image failed"),
        field("norm", pa.float32(), "length of the vector before normalisation"),
    ]
    if text_dimension is not None:
        columns.append(field("text_embedding", vector_type(text_dimension), "unit vector of the source caption"))
    return pa.schema([*columns, ERROR])


TAG = pa.struct(
    [
        pa.field("label", pa.string()),
        pa.field("score", pa.float32()),
        pa.field("source", pa.string()),
    ]
)
TAGS = pa.schema([ID, field("tags", pa.list_(TAG), "labels above the calibrated cut, best first", unit="probability"), ERROR])

SCORES = pa.schema(
    [
        ID,
        field("nsfw", pa.float32(), "probability that the image is not safe for work", unit="probability"),
        field("aesthetics", pa.float32(), "aesthetic score of the configured judge; null without one"),
        field("watermark", pa.float32(), "probability of a visible watermark; null without a judge", unit="probability"),
        field(
            "ai_generated",
            pa.float32(),
            "probability that the image is generated; null without a judge",
            unit="probability",
        ),
        field(
            "image_text_match",
            pa.float32(),
            "cosine of image and source caption; null without a text tower",
            unit="cosine",
        ),
        ERROR,
    ]
)

LINE = pa.struct(
    [
        pa.field("text", pa.string()),
        pa.field("confidence", pa.float32()),
        pa.field("language", pa.string()),
        pa.field("polygon", pa.list_(pa.float32())),  # x0 y0 ... x3 y3, px of the oriented image, clockwise
    ]
)
OCR = pa.schema([ID, field("lines", pa.list_(LINE), "text lines in reading order", unit="px"), ERROR])

WATERMARKS = pa.schema(
    [
        ID,
        field("text", pa.string(), "the line that is on the most images of the group; null when none is a watermark"),
        field(
            "share", pa.float32(), "share of the group's readable images, copies counted once, that carry `text`", unit="share"
        ),
        field("texts", pa.list_(pa.string()), "all lines of the image that are watermarks, in reading order; null: not read"),
    ]
)
