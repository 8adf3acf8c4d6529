"""Every table of a run, field by field. Read this file first.

A per-image table is row-aligned with IMAGES: the same ids in the same order, part by part, so tables join by position.
A failed image stays as a row: its measured columns are null and `error` says why. Every field carries a `doc` (and, where it
has one, a `unit`) in its Arrow metadata; docs/tables.md is generated from them. A list of rows is written as a list column,
so that alignment holds for captions and text lines too.

This file is the index: it says which room's file has a table, and everything outside imports tables from here.
"""

# mypy: implicit-reexport
# ruff: noqa: F401

from curation.fields import VERSION, conform, vector_type
from curation.schema_graph import (
    CAPTION_FIT,
    COMMUNITIES,
    COMPONENTS,
    DUPLICATES,
    EDGES,
    EXACT,
    FORESTS,
    HIERARCHY,
    KEYPOINTS,
    LISTS,
    MERGED,
    NEAREST,
    NEIGHBOURS,
    PAIRS,
    PARTITIONS,
    PLACEHOLDERS,
    VERDICTS,
    centroids_schema,
)
from curation.schema_images import IMAGES, OCR, SCORES, TAGS, WATERMARKS, embeddings_schema, metrics_schema
from curation.schema_knowledge import ANCHORS, CONCEPTS, ENTITIES, FORMS, LANGUAGES, LINKS, MENTIONS, OCCURRENCES, PAGES, TITLES
from curation.schema_pairs import EDIT_PAIRS, PAIR_LOSS, PAIR_SHARDS
from curation.schema_training import (
    BALANCE,
    CAPTION_LANGUAGES,
    CAPTION_LEVELS,
    CAPTIONS,
    CONCEPT_SHARES,
    SAMPLE_LOSS,
    SELECTION,
    SHARDS,
    TAXONOMY,
)
