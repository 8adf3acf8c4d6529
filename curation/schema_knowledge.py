"""Tables of a knowledge base, from a wiki's pages to its concepts, and the entities that images are linked to."""

import pyarrow as pa

from curation.fields import ERROR, ID, field

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
