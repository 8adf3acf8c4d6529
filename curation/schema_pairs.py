"""Tables of edit pairs: a source, a target, the instruction between them, and the shards that hold them."""

import pyarrow as pa

from curation.fields import ERROR, field
from curation.schema_training import EVIDENCE

EDIT = pa.struct(
    [
        pa.field("operation", pa.string()),  # replace_text, add_text, remove_text, recolour, move, resize, refont, crop, ...
        pa.field("parameters", pa.string()),  # JSON: subject, before, after, region: what makes it reversible
    ]
)
EDIT_PICTURE = pa.struct(
    [
        pa.field("row", pa.int64()),  # global row in IMAGES whose bytes these are; null: made by the edit
        pa.field("file", pa.string()),  # tar beside the part; null: the bytes of `row`
        pa.field("offset", pa.int64()),  # where its bytes begin there
        pa.field("length", pa.int64()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
    ]
)
EDIT_PAIRS = pa.schema(
    [
        field("pair", pa.string(), "name of the pair: 32 hex digits over source, target and operations", nullable=False),
        field("kind", pa.string(), "text, parametric or mined", nullable=False),
        field("task", pa.string(), "addition, swap, removal, attribute, background, environment or style", nullable=False),
        field("source", pa.string(), "name of the source picture", nullable=False),
        field("target", pa.string(), "name of the target picture", nullable=False),
        field("base", pa.string(), "id of the image that both come from; null for two images, or a layout drawn from nothing"),
        field("group", pa.string(), "sub-collection of the source's image; layouts for what was drawn", nullable=False),
        field("operations", pa.list_(EDIT), "what turns source into target, in order"),
        field("instruction_en", pa.string(), "the edit instruction in English", nullable=False),
        field("instruction_zh", pa.string(), "the edit instruction in Chinese", nullable=False),
        field("caption_source_en", pa.string(), "caption of the source in English", nullable=False),
        field("caption_source_zh", pa.string(), "caption of the source in Chinese", nullable=False),
        field("caption_target_en", pa.string(), "caption of the target in English", nullable=False),
        field("caption_target_zh", pa.string(), "caption of the target in Chinese", nullable=False),
        field("region", pa.list_(pa.float32()), "x0 y0 x1 y1 of what changed; null: everywhere", unit="px"),
        field("source_picture", EDIT_PICTURE, "where the source's bytes are; null for a refused pair"),
        field("target_picture", EDIT_PICTURE, "where the target's bytes are; null for a refused pair"),
        field("mask_picture", EDIT_PICTURE, "white where source and target differ; null: everywhere"),
        field("evidence", pa.list_(EVIDENCE), "what each clause of the instruction rests on"),
        field("backend", pa.string(), "facts, or the backend that wrote the instruction", nullable=False),
        field("checks", pa.string(), "what was verified, as a JSON object", nullable=False),
        field("error", pa.string(), "why the pair was refused; null: it goes into the shards"),
    ]
)

PAIR_SHARDS = pa.schema(
    [
        field("pair", pa.string(), "name of the pair", nullable=False),
        field("shard", pa.string(), "file name of the tar", nullable=False),
        field("key", pa.string(), "WebDataset key inside the tar", nullable=False),
        field("images", pa.list_(pa.string()), "ids of the images the pair is made of; none: drawn from nothing", nullable=False),
        field("kind", pa.string(), "text, parametric or mined", nullable=False),
        field("task", pa.string(), "addition, swap, removal, attribute, background, environment or style", nullable=False),
        field("group", pa.string(), "sub-collection of the source's image; layouts for what was drawn", nullable=False),
        *(
            field(f"{member}_{name}", pa.int64(), f"{what} of the {member} member in the tar", unit="bytes", nullable=False)
            for member in ("source", "target", "mask", "json")
            for name, what in (("offset", "where the bytes begin"), ("length", "number of bytes"))
        ),
        field("source_width", pa.int32(), "width of the source", unit="px", nullable=False),
        field("source_height", pa.int32(), "height of the source", unit="px", nullable=False),
        field("width", pa.int32(), "width of the target", unit="px", nullable=False),
        field("height", pa.int32(), "height of the target", unit="px", nullable=False),
        field("bucket", pa.string(), "resolution bucket of the target, 'WIDTHxHEIGHT'", unit="px", nullable=False),
        field("weight", pa.float32(), "sampling weight in training", unit="relative", nullable=False),
        field("masked", pa.bool_(), "true: the mask says what changed; false: it is white all over", nullable=False),
        field("words_en", pa.int32(), "words of the English instruction", nullable=False),
        field("words_zh", pa.int32(), "words of the Chinese instruction", nullable=False),
    ]
)

PAIR_LOSS = pa.schema(
    [
        field("pair", pa.string(), "name of the pair", nullable=False),
        field("kind", pa.string(), "text, parametric or mined", nullable=False),
        field("task", pa.string(), "addition, swap, removal, attribute, background, environment or style", nullable=False),
        field("group", pa.string(), "sub-collection of the source's image; layouts for what was drawn", nullable=False),
        field("level", pa.string(), "what the model was told: instruction, or the target's caption; null with an error"),
        field("language", pa.string(), "language of that; null with an error"),
        field("held_out", pa.bool_(), "true: training never saw the pair", nullable=False),
        field("step", pa.int64(), "updates of the model that was asked", nullable=False),
        field("t", pa.float32(), "time of the loss: 0 noise, 1 data; compare losses of one t only", unit="share"),
        field("loss", pa.float32(), "loss of the target, mean over the noise of all targets of its size and its negative"),
        field("loss_empty", pa.float32(), "the same from the reference alone; null when training never left texts out"),
        ERROR,
    ]
)
