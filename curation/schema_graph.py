"""Tables of what images have to do with each other: neighbours, candidate pairs, verdicts, groups, keepers, placeholders.

Rows of IMAGES stand for images here, because millions of pairs of numbers are small and pairs of ids are not.
"""

import pyarrow as pa

from curation.fields import ERROR, ID, field

ROW_A = field("row_a", pa.int64(), "the smaller global row number in IMAGES", nullable=False)
ROW_B = field("row_b", pa.int64(), "the larger global row number in IMAGES", nullable=False)
SIMILARITY = field("similarity", pa.float32(), "cosine of the two embeddings, higher is closer", unit="cosine")

KEYPOINTS = pa.schema(
    [
        ID,
        field("count", pa.int32(), "number of keypoints"),
        field("scale", pa.float32(), "long side of the analysed picture over that of the image"),
        field("points", pa.binary(), "float32 (n, 4): x, y in px of the analysed picture, size in px, angle in degrees"),
        field("descriptors", pa.binary(), "uint8 (n, 128): RootSIFT"),
        field("picture", pa.binary(), "the analysed picture in colour, as PNG or JPEG; its grey values have the keypoints"),
        field("thumbnail", pa.binary(), "uint8 (32, 32, 3): the whole picture squeezed into a square, sRGB"),
        field("pixel_hash", pa.string(), "32 hex digits of SHA-256 over size and analysed colours; equal for same pixels"),
        ERROR,
    ]
)

EXACT = pa.schema(
    [
        ID,
        field("representative", pa.int64(), "smallest global row of the same image; its own row when alone", nullable=False),
        field("how", pa.string(), "same_bytes or same_pixels as the representative; null for the representative itself"),
    ]
)

NEIGHBOURS = pa.schema(
    [
        ID,
        field(
            "rows",
            pa.list_(pa.int64()),
            "global rows of the nearest images, nearest first, without itself",
            nullable=False,
        ),
        field("similarities", pa.list_(pa.float32()), "cosine to each of `rows`", unit="cosine", nullable=False),
    ]
)

HIERARCHY = pa.schema(
    [
        ID,
        field("level_0", pa.int64(), "smallest global row of the semantic community, coarsest level", nullable=False),
        field("level_1", pa.int64(), "the same, inside level_0", nullable=False),
        field("level_2", pa.int64(), "the same, inside level_1: the finest level", nullable=False),
    ]
)

CAPTION_FIT = pa.schema(
    [
        ID,
        field(
            "rank",
            pa.float32(),
            "share of captions that fit its lookalikes' captions better, equals counted half; null: unknown",
            unit="share",
        ),
        field(
            "misplaced",
            pa.float32(),
            "estimated chance that the caption belongs to another picture; null: unknown, or lookalikes know too little",
            unit="probability",
        ),
    ]
)

EDGES = pa.schema([ROW_A, ROW_B, SIMILARITY])


def centroids_schema(dimension: int) -> pa.Schema:
    """Return CENTROIDS for vectors of `dimension`: the coarse quantiser, its cells (if it has two levels) before its lists."""
    return pa.schema(
        [
            field("level", pa.int8(), "0: a cell of the first level; 1: a list", nullable=False),
            field("number", pa.int32(), "number of the cell or list, counted from 0 in its level", nullable=False),
            field("cell", pa.int32(), "the cell that holds the list; null with one level"),
            field("centroid", pa.list_(pa.field("element", pa.float32()), dimension), "unit vector", nullable=False),
        ]
    )


LISTS = pa.schema(
    [
        field("list", pa.int32(), "number of the list", nullable=False),
        field("rows", pa.int64(), "rows of this group whose nearest centroid is the list's", nullable=False),
        field("guests", pa.int64(), "rows of this group that probe the list and are at home in another", nullable=False),
    ]
)

NEAREST = pa.schema(
    [
        field("images", pa.int64(), "images that the lists of this part were asked for", nullable=False),
        field("neighbours", pa.int64(), "neighbours named for them, in the files beside this part", nullable=False),
    ]
)

PAIRS = pa.schema(
    [
        field("first_row", pa.int64(), "the smallest row_a that is counted here", nullable=False),
        field("pairs", pa.int64(), "pairs of this task with row_a from first_row to before the next first_row", nullable=False),
    ]
)

VERDICTS = pa.schema(
    [
        ROW_A,
        ROW_B,
        SIMILARITY,
        field(
            "relation",
            pa.string(),
            "copy, contains, contained or different; contains: row_a shows all of row_b",
            nullable=False,
        ),
        field("confidence", pa.float32(), "strength of the verdict in [0, 1]; 1 for same pixels", unit="share"),
        field("evidence", pa.string(), "what was measured, as a JSON object", nullable=False),
    ]
)

ROW = field("row", pa.int64(), "global row in IMAGES", nullable=False)
COMPONENT = field("component", pa.int64(), "smallest global row of the connected component", nullable=False)

FORESTS = pa.schema(
    [ROW, field("root", pa.int64(), "smallest global row that the edges of this part join the row to", nullable=False)]
)

COMPONENTS = pa.schema([ROW, COMPONENT, field("representative", pa.int64(), "EXACT.representative of the row", nullable=False)])

PARTITIONS = pa.schema(
    [
        ROW,
        COMPONENT,
        field("community", pa.int64(), "smallest global row of the community", nullable=False),
        field("keeper_row", pa.int64(), "global row of the keeper, its own when it stays; null until copies are confirmed"),
        field("similarity", pa.float32(), "cosine to the keeper; null as above", unit="cosine"),
    ]
)

COMMUNITIES = pa.schema(
    [
        ID,
        field("component", pa.int64(), "smallest global row of the connected component", nullable=False),
        field("community", pa.int64(), "smallest global row of the community", nullable=False),
        field("size", pa.int32(), "images in the community", nullable=False),
    ]
)

MERGED = pa.struct([pa.field("caption", pa.string()), pa.field("uri", pa.string()), pa.field("id", pa.string())])

DUPLICATES = pa.schema(
    [
        ID,
        field("keeper", pa.string(), "id of the image that stands for this one; null: it stands for itself"),
        field("keeper_row", pa.int64(), "global row of the keeper; null: it stands for itself"),
        field("similarity", pa.float32(), "measured similarity to the keeper", unit="cosine"),
        field("evidence", pa.string(), "how the pair was recognised, as a JSON object; null: not a duplicate"),
        field("group_size", pa.int32(), "images that share this keeper, the keeper included", nullable=False),
        field(
            "contained_in",
            pa.string(),
            "id of an image that shows all of this one; `select.contained` says what follows",
        ),
        field("merged_captions", pa.list_(MERGED), "other captions of the images this one stands for, with their sources"),
    ]
)

PLACEHOLDERS = pa.schema(
    [
        ID,
        field("keeper_row", pa.int64(), "global row of the group's keeper", nullable=False),
        field("size", pa.int64(), "images of the group, the keeper included", nullable=False),
        field("share", pa.float32(), "size over all images", unit="share", nullable=False),
        field(
            "reason",
            pa.string(),
            "telling_text: the picture says that it stands for another; diverse_captions: captions have nothing in common",
            nullable=False,
        ),
        field("captions", pa.int64(), "distinct captions of the group", nullable=False),
        field("caption_agreement", pa.float32(), "mean Jaccard similarity of two captions' words; null below two", unit="share"),
        field("background_agreement", pa.float32(), "the same for captions of the whole collection", unit="share"),
        field("sources", pa.int64(), "distinct hosts or sub-collections of the group", nullable=False),
        field("flatness", pa.float32(), "METRICS.flatness of the keeper", unit="share"),
        field("text", pa.string(), "text read in the keeper"),
        field("examples", pa.list_(pa.string()), "up to five of the captions"),
    ]
)
