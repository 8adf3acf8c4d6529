"""Tables of what is trained on, and how it went: what was kept, its captions, its weights, its shards, its losses."""

import pyarrow as pa

from curation.fields import ERROR, ID, field

SELECTION = pa.schema(
    [
        ID,
        field("keep", pa.bool_(), "true: no rule drops the image; with a budget, BALANCE has the last word", nullable=False),
        field("status", pa.string(), "kept, dropped or failed", nullable=False),
        field("reason", pa.string(), "the rule that dropped it, or the failure code; null when kept"),
        field("detail", pa.string(), "the measured value and the limit, or the keeper"),
        field("bucket", pa.string(), "resolution bucket 'WIDTHxHEIGHT'; null when not kept", unit="px"),
    ]
)

EVIDENCE = pa.struct([pa.field("clause", pa.string()), pa.field("source", pa.string()), pa.field("value", pa.string())])
CAPTION = pa.struct(
    [
        pa.field("language", pa.string()),  # en, zh, or the source's
        pa.field("level", pa.string()),  # tags, short, medium, long, prompt, source
        pa.field("text", pa.string()),
        pa.field("backend", pa.string()),  # facts, vlm, endpoint, source
        pa.field("evidence", pa.list_(EVIDENCE)),
        pa.field("flags", pa.list_(pa.string())),
        pa.field("model", pa.string()),  # name of the model that wrote it; null for facts and source
        pa.field("prompt", pa.string()),  # hash of the resolved prompt; null for facts and source
    ]
)
USAGE = pa.struct(
    [
        pa.field("requests", pa.int32()),  # sent for this image, repeated ones included; 0: answered from the cache
        pa.field("input_tokens", pa.int64()),
        pa.field("output_tokens", pa.int64()),
        pa.field("cost", pa.float64()),  # by the configured prices, in their currency
    ]
)
CAPTIONS = pa.schema(
    [
        ID,
        field("captions", pa.list_(CAPTION), "every caption of the image, language by level"),
        field("usage", USAGE, "what the captions of a model took; null for captions from facts"),
        ERROR,
    ]
)

CAPTION_LEVELS = ("tags", "short", "medium", "long", "prompt", "source")
CAPTION_LANGUAGES = ("en", "zh")

TAXONOMY = pa.schema(  # a forest; which concepts an image shows: curation.bags; targets belong to the tables of the balance
    [
        field("concept", pa.int64(), "number of the concept: its row here", nullable=False),
        field("name", pa.string(), "its name in English, or as its tags spell it", nullable=False),
        field("name_zh", pa.string(), "its Chinese name; null without one"),
        field("kind", pa.string(), "tag, entity or cluster", nullable=False),
        field(
            "forms", pa.list_(pa.string()), "folded tags that mean it (curation.bags.fold); none for a cluster", nullable=False
        ),
        field("entity", pa.int64(), "row in ENTITIES; null for tags and clusters outside the knowledge base"),
        field("parent", pa.int64(), "row of the parent; null for a root"),
        field("level", pa.int16(), "distance from the root", nullable=False),
        field("named_by", pa.string(), "source, shared class, shared words, foremost member, or the model", nullable=False),
        field("own", pa.int64(), "kept images that show the concept itself", nullable=False),
        field("images", pa.int64(), "kept images that show it or one of its descendants", nullable=False),
        field("pagerank", pa.float64(), "of the entity; null without one", unit="probability"),
        field("prior", pa.float64(), "factor from the frequency in user prompts; 1 without", nullable=False),
    ]
)

BALANCE = pa.schema(
    [
        ID,
        field("keep", pa.bool_(), "true: the image goes into the shards", nullable=False),
        field("weight", pa.float32(), "sampling weight in training, mean 1 over kept; 0 when not kept", nullable=False),
        field("concepts", pa.list_(pa.int64()), "rows of TAXONOMY that the image shows"),
        field("bm25", pa.list_(pa.float32()), "BM25 of each of them"),
        field("detail", pa.string(), "why a kept image is left out: budget, with its key; null when kept"),
    ]
)
CONCEPT_SHARES = pa.schema(
    [
        field("concept", pa.int64(), "row of TAXONOMY; descendants are counted apart", nullable=False),
        field("images", pa.int64(), "images that the selection kept and that show it", nullable=False),
        field("kept", pa.int64(), "those of them within the budget", nullable=False),
        field("target", pa.float64(), "images wanted of it, out of those within the budget; null unless mode is concepts"),
        field("weighted", pa.float64(), "sum of the weights of the images within the budget", nullable=False),
    ]
)

SHARDS = pa.schema(
    [
        ID,
        field("shard", pa.string(), "file name of the tar", nullable=False),
        field("key", pa.string(), "WebDataset key inside the tar", nullable=False),
        field("row", pa.int64(), "global row in IMAGES", nullable=False),
        field("image_member", pa.string(), "name of the image's member", nullable=False),
        field("image_offset", pa.int64(), "where the image's bytes begin in the tar", unit="bytes", nullable=False),
        field("image_length", pa.int64(), "number of bytes of the image", unit="bytes", nullable=False),
        field("json_offset", pa.int64(), "where the JSON member's bytes begin in the tar", unit="bytes", nullable=False),
        field("json_length", pa.int64(), "number of bytes of the JSON member", unit="bytes", nullable=False),
        field("width", pa.int32(), "width after EXIF orientation", unit="px", nullable=False),
        field("height", pa.int32(), "height after EXIF orientation", unit="px", nullable=False),
        field("bucket", pa.string(), "resolution bucket 'WIDTHxHEIGHT'", unit="px", nullable=False),
        field("group", pa.string(), "sub-collection of the source", nullable=False),
        field("weight", pa.float32(), "sampling weight in training", unit="relative", nullable=False),
        field(
            "caption_lengths",
            pa.list_(
                pa.struct(
                    [
                        pa.field("language", pa.string()),
                        pa.field("level", pa.string()),
                        pa.field("characters", pa.int32()),
                        pa.field("words", pa.int32()),
                    ]
                )
            ),
            "length of every caption of the sample",
        ),
    ]
)

SAMPLE_LOSS = pa.schema(
    [
        ID,
        field("row", pa.int64(), "global row in IMAGES", nullable=False),
        field("group", pa.string(), "sub-collection of the source", nullable=False),
        field("level", pa.string(), "level of the caption; null with an error"),
        field("language", pa.string(), "language of the caption; null with an error"),
        field("held_out", pa.bool_(), "true: training never saw the image", nullable=False),
        field("step", pa.int64(), "updates of the model that was asked", nullable=False),
        field("t", pa.float32(), "time of the loss: 0 noise, 1 data; compare losses of one t only", unit="share"),
        field("loss", pa.float32(), "loss with the caption, mean over the noise of all images of its size and its negative"),
        field("loss_empty", pa.float32(), "the same without a caption; null when training never left captions out"),
        ERROR,
    ]
)
