"""Every table of a run, field by field. Read this file first.

A per-image table is row-aligned with IMAGES: the same ids in the same order, part by part, so tables join by position.
A failed image stays as a row: its measured columns are null and `error` says why. Every field carries a `doc` (and, where it
has one, a `unit`) in its Arrow metadata; docs/tables.md is generated from them. A list of rows is written as a list column,
so that alignment holds for captions and text lines too.
"""

import pyarrow as pa

from curation.errors import SchemaError

VERSION = 1
"""Version of all schemas; it grows when a column is added and old files must still read."""


def field(name: str, kind: pa.DataType, doc: str, *, unit: str = "", nullable: bool = True) -> pa.Field:
    """Return an Arrow field whose metadata holds its meaning and unit."""
    metadata = {"doc": doc} | ({"unit": unit} if unit else {})
    return pa.field(name, kind, nullable=nullable, metadata=metadata)


ID = field("id", pa.string(), "first 32 hex digits of the SHA-256 of the file's bytes", nullable=False)
ERROR = field("error", pa.string(), "why this row has no result; null when it has one")
ROW_A = field("row_a", pa.int64(), "the smaller global row number in IMAGES", nullable=False)
ROW_B = field("row_b", pa.int64(), "the larger global row number in IMAGES", nullable=False)
SIMILARITY = field("similarity", pa.float32(), "cosine of the two embeddings, higher is closer", unit="cosine")

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

TAG = pa.struct(
    [
        pa.field("label", pa.string()),
        pa.field("score", pa.float32()),
        pa.field("source", pa.string()),
    ]
)
TAGS = pa.schema([ID, field("tags", pa.list_(TAG), "labels above the calibrated cut, best first", unit="probability"), ERROR])

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

EDGES = pa.schema([ROW_A, ROW_B, SIMILARITY])

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

ENTITY = field("entity", pa.int64(), "row of the entity in ENTITIES: its node in the graph", nullable=False)

PAGE_LINK = pa.struct([pa.field("target", pa.string()), pa.field("shown", pa.string()), pa.field("count", pa.int32())])
PAGES = pa.schema(
    [
        field("page", pa.int64(), "number of the page in its wiki; null when unknown"),
        field("title", pa.string(), "title in normal form, without its namespace", nullable=False),
        field(
            "kind",
            pa.string(),
            "article, disambiguation, list, date, redirect, other (another namespace) or failed",
            nullable=False,
        ),
        field("redirect", pa.string(), "title that a redirect leads to; empty when that is no article's"),
        field("text", pa.string(), "running text outside of links, U+001F where a link was"),
        field("lead", pa.string(), "first sentence as plain text"),
        field("description", pa.string(), "short description, or the first sentence's predicate"),
        field("image", pa.string(), "file name of the infobox or lead image"),
        field("categories", pa.list_(pa.string()), "categories without their namespace"),
        field("infobox", pa.string(), "name of the infobox template"),
        field("coordinates", pa.bool_(), "true: the article carries geographical coordinates"),
        field("title_zh", pa.string(), "Chinese title by a language link in the text"),
        field("wikidata", pa.string(), "Q identifier, where the input names it"),
        field("links", pa.list_(PAGE_LINK), "links to articles: title in normal form, shown text, times"),
        field("error", pa.string(), "truncated, corrupt, too_large or unparsable; null when the page was read"),
        field("error_detail", pa.string(), "the parser's message"),
    ]
)

LANGUAGES = pa.schema(
    [
        field("page", pa.int64(), "number of the page; null when the input names titles"),
        field("title", pa.string(), "title of the page; null when the input names numbers"),
        field("title_zh", pa.string(), "title of the Chinese article"),
        field("wikidata", pa.string(), "Q identifier"),
        field("description", pa.string(), "Wikidata's description in the dump's language"),
        field("classes", pa.list_(pa.string()), "Wikidata classes (P31) as Q identifiers"),
        field("error", pa.string(), "why a line of the input could not be read"),
    ]
)

TITLES = pa.schema(
    [
        field("title", pa.string(), "title in normal form", nullable=False),
        ENTITY,
        field("origin", pa.string(), "title, redirect or outside", nullable=False),
    ]
)

FORMS = pa.schema(
    [
        field("text", pa.string(), "surface form as written", nullable=False),
        field("language", pa.string(), "en, zh, or the dump's language", nullable=False),
        ENTITY,
        field("origin", pa.string(), "as in ANCHORS", nullable=False),
        field("links", pa.int64(), "times the text links to the entity", nullable=False),
    ]
)

OCCURRENCES = pa.schema(
    [
        field("form", pa.int64(), "number of the form's tokens in LEXICON", nullable=False),
        field("count", pa.int64(), "times they stand in the part's running text without being linked", nullable=False),
    ]
)

ENTITIES = pa.schema(
    [
        field("title", pa.string(), "title of the page in the dump's language, spaces for underscores", nullable=False),
        field("kind", pa.string(), "article, disambiguation, list, date or outside (linked, not in the dump)", nullable=False),
        field("title_zh", pa.string(), "title of the Chinese article; null without one"),
        field("description", pa.string(), "short description, or the first sentence's predicate"),
        field("lead", pa.string(), "first sentence of the article as plain text"),
        field("image", pa.string(), "file name of the lead or infobox image"),
        field("categories", pa.list_(pa.string()), "categories without their namespace"),
        field("infobox", pa.string(), "name of the infobox template"),
        field("coordinates", pa.bool_(), "true: the article carries geographical coordinates"),
        field("wikidata", pa.string(), "Q identifier; null when unknown"),
        field("classes", pa.list_(pa.string()), "Wikidata classes (P31) as Q identifiers; null when unknown"),
        field("links_in", pa.int64(), "links from other entities", nullable=False),
    ]
)

LINKS = pa.schema(
    [
        field("source", pa.int64(), "row in ENTITIES of the page that links", nullable=False),
        field("target", pa.int64(), "row in ENTITIES of the page linked to, redirects resolved", nullable=False),
        field("count", pa.int32(), "times the source links to the target", nullable=False),
    ]
)

ANCHORS = pa.schema(
    [
        field(
            "text", pa.string(), "surface form as written, blanks collapsed: a title, a redirect or a link's text", nullable=False
        ),
        field("language", pa.string(), "en, zh, or the dump's language", nullable=False),
        ENTITY,
        field(
            "origin",
            pa.string(),
            "title, redirect, langlink or anchor (a link's text, or a title without its brackets): the strongest that names it",
            nullable=False,
        ),
        field("links", pa.int64(), "times the text links to the entity", nullable=False),
        field("occurrences", pa.int64(), "times the text occurs in articles, linked or not", nullable=False),
    ]
)

CONCEPTS = pa.schema(
    [
        ENTITY,
        field("pagerank", pa.float64(), "stationary probability of the entity", unit="probability", nullable=False),
        field("visual", pa.float32(), "how surely the entity can be shown in a picture", unit="share", nullable=False),
        field("judge", pa.string(), "who said so: evidence, or the model's name", nullable=False),
        field("reason", pa.string(), "the evidence, or the judge's reason; why it was pruned"),
        field("keep", pa.bool_(), "true: the entity stays in the concept graph", nullable=False),
        field("parent", pa.int64(), "row in ENTITIES of the parent concept; null for a root"),
        field("level", pa.int16(), "distance from the root", nullable=False),
    ]
)

MENTION = pa.struct(
    [
        pa.field("entity", pa.int64()),  # row in ENTITIES of the knowledge base
        pa.field("title", pa.string()),
        pa.field("title_zh", pa.string()),
        pa.field("description", pa.string()),
        pa.field("score", pa.float32()),  # calibrated probability that the link is right
        pa.field("link_probability", pa.float32()),
        pa.field("commonness", pa.float32()),
        pa.field("coherence", pa.float32()),
        pa.field("source", pa.string()),  # metadata, caption, ocr or tag
        pa.field("field", pa.string()),  # which one of them: language of a caption, number of a line, a metadata key
        pa.field("text", pa.string()),  # the span as written
        pa.field("start", pa.int32()),  # characters in that field
        pa.field("end", pa.int32()),
    ]
)
MENTIONS = pa.schema([ID, field("mentions", pa.list_(MENTION), "linked entities with the spans that evidence them"), ERROR])

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


def vector_type(dimension: int) -> pa.DataType:
    """Return the type of a float16 vector; the child is called element because Parquet returns it so."""
    return pa.list_(pa.field("element", pa.float16()), dimension)


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return `table` with exactly the columns, order and types of `schema`.

    Raises SchemaError naming the first missing or extra column, or the column that cannot be cast.
    """
    missing = [name for name in schema.names if name not in table.column_names]
    extra = [name for name in table.column_names if name not in schema.names]
    if missing or extra:
        raise SchemaError(f"columns do not match: missing {missing}, not in the schema {extra}")
    columns = [_cast(table.column(field.name), field) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def _cast(column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
    try:
        cast = column if column.type.equals(field.type) else column.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SchemaError(f"column {field.name}: {column.type} cannot become {field.type}: {error}") from error
    if not field.nullable and cast.null_count:
        raise SchemaError(f"column {field.name} has {cast.null_count} nulls, but every row must have a value")
    return cast
