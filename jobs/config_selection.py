"""Sections of what is trained on and how often: rules, concepts, the balance, shards and edit pairs."""

from typing import Any, Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from curation.errors import ConfigError
from curation.rules import parse_rules
from jobs.config_section import Section


class SelectConfig(Section):
    """Keep or drop, with the reason."""

    rules: list[dict[str, Any]] | None = Field(
        None, description="e.g. {name: too_blurry, column: metrics.sharpness, below: 5.0}; default: unsafe and blank images go"
    )
    exclude: str | None = Field(None, description="JSONL of remedies, by `imageloom remediate --apply`: images that go, by id")
    contained: Literal["keep", "drop_part", "drop_whole"] = Field(
        "keep", description="a picture that lies inside another one (tile, heavy crop, collage, screenshot): which of them goes"
    )
    bases_px: list[PositiveInt] = Field(
        [32, 64, 128, 256, 512, 1024], min_length=1, description="side lengths of the square resolution buckets"
    )
    multiple_px: int = Field(16, ge=1, description="both sides of a bucket are multiples of this")
    max_aspect: float = Field(4.0, ge=1, description="most extreme bucket, long side over short side")
    max_enlargement: float = Field(1.1, ge=1, description="how far an image may be enlarged to fill a bucket")

    @field_validator("rules")
    @classmethod
    def _checked(cls, rules: list[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
        try:  # here already: the stages before the selection can take hours
            parse_rules(rules or [])
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return rules

    @model_validator(mode="before")
    @classmethod
    def _moved(cls, values: Any) -> Any:
        if isinstance(values, dict) and "balance" in values and values["balance"] is None:  # as older runs' config.yaml has it
            return {key: value for key, value in values.items() if key != "balance"}
        if isinstance(values, dict) and "balance" in values:
            raise ValueError("`balance` is a section of its own now: balance: {mode: communities, by: images.group, alpha: 0.5}")
        return values


class ConceptConfig(Section):
    """What the collection shows, as one forest of tags, linked entities and groups of them: what the balance weighs by."""

    languages: list[Literal["en", "zh"]] = Field(
        ["en", "zh"], min_length=1, description="captions of level tags are read in the first of these that an image has"
    )
    min_tag_score: float = Field(0.5, ge=0, le=1, description="labels of the tagger below do not count")
    min_mention_score: float = Field(0.5, ge=0, le=1, description="linked entities below do not count")
    min_images: int = Field(1, ge=1, description="tags and entities that fewer kept images show are no concepts")
    group: bool = Field(True, description="group what has no parent by hierarchical k-means on text embeddings (MiniLM)")
    branching: int = Field(8, ge=2, description="mean number of children of a group")
    max_levels: int = Field(3, ge=1, description="levels of groups above tags and top entities")
    backend: Literal["none", "vlm", "endpoint"] = Field(
        "none", description="who names the groups: none (their members do), or the model of section vlm or endpoint"
    )
    prompts: str | None = Field(None, description="user prompts: .txt, one a line, or .jsonl or .csv with prompt and count")
    prior_limit: float = Field(4.0, ge=1, description="largest factor of a concept that users ask for")


class BalanceConfig(Section):
    """How often each kept image is trained on, and which of them fit into a budget."""

    mode: Literal["concepts", "metaclip", "communities", "none"] = Field(
        "concepts",
        description="concepts: every concept nears its share of the taxonomy; metaclip: any rare concept keeps an image; "
        "communities: weight n^-alpha for a group of n; none: all alike",
    )
    budget: int | float | None = Field(
        None, gt=0, description="images to keep: a whole number, or a share such as 0.25; what is left out has the reason budget"
    )
    languages: dict[str, float] = Field(
        {}, description="shares of the languages that images come from, e.g. {en: 0.5, zh: 0.5}; others stay as they are"
    )
    max_weight: float = Field(
        4.0, ge=1, description="most that an image weighs, in means, and least (its inverse); how far a concept may be raised"
    )
    steps: int = Field(30, ge=0, description="mode concepts: steps of proportional scaling")
    bm25_power: float = Field(
        0.5, ge=0, le=2, description="mode concepts: exponent of BM25, by which an image's concepts pull at its weight; 0: alike"
    )
    threshold: float | None = Field(
        None, gt=0, description="mode metaclip: images up to which a concept of English images keeps all; absent: the mean"
    )
    by: str = Field("images.group", description="mode communities: column whose values are groups, e.g. hierarchy.level_1")
    alpha: float = Field(0.5, ge=0, le=1, description="mode communities: 0 leaves the shares of groups, 1 makes them equal")
    seed: int = Field(0, description="another seed, another draw of the budget")

    @model_validator(mode="after")
    def _meant(self) -> "BalanceConfig":
        for key, mode in {
            "steps": "concepts",
            "bm25_power": "concepts",
            "threshold": "metaclip",
            "by": "communities",
            "alpha": "communities",
        }.items():
            # What a run wrote down of itself names every key, so only another value than the default is a mistake.
            if getattr(self, key) != type(self).model_fields[key].default and self.mode != mode:
                raise ValueError(f"{key} has no effect with mode {self.mode}; it belongs to mode {mode}")
        if isinstance(self.budget, float) and self.budget > 1:
            raise ValueError(f"budget {self.budget} is neither a whole number of images nor a share of at most 1")
        if any(not 0 < share <= 1 for share in self.languages.values()):
            raise ValueError(f"shares of languages lie in (0, 1], not {self.languages}")
        return self


class ShardConfig(Section):
    """WebDataset tars."""

    max_bytes: int = Field(1 << 30, gt=0, description="a shard is closed before it grows beyond this")
    max_samples: int = Field(10_000, ge=1, description="samples per shard")
    seed: int = Field(0, description="another seed, another order inside the buckets")
    caption_language: str = Field("en", description="language of the caption that becomes the text member")
    caption_level: Literal["tags", "short", "medium", "long", "prompt", "source"] = Field(
        "medium", description="level of the caption that becomes the text member"
    )


class PairConfig(Section):
    """Edit pairs: a source, a target and the instruction that turns one into the other, checked, and their shards."""

    layouts: int = Field(20, ge=0, description="drawn layouts whose text is edited; each gives up to N(N + 1) pairs")
    text_images: int = Field(20, ge=0, description="images of the collection whose text is edited; those with 2 lines or more")
    pictures: int = Field(20, ge=0, description="photographs edited as a whole: light, colour, blur, geometry, stickers, holes")
    near: int = Field(100, ge=0, description="pairs of alike images taken from the edges; both directions of each")
    versions: int = Field(3, ge=1, le=16, description="N: edits of one base; with the base they give N(N + 1) ordered pairs")
    max_operations: int = Field(2, ge=1, le=4, description="operations of one edit at most")
    text_kinds: list[Literal["replace", "add", "remove", "recolour", "move", "resize", "refont", "background"]] = Field(
        ["replace", "add", "remove", "recolour", "move", "resize", "refont", "background"],
        min_length=1,
        description="what may happen to text; background: of drawn layouts alone",
    )
    picture_kinds: list[
        Literal["brightness", "warmth", "saturation", "blur", "grain", "crop", "turn", "mirror", "tilt", "sticker", "hole"]
    ] = Field(
        ["brightness", "warmth", "saturation", "blur", "grain", "crop", "turn", "mirror", "tilt", "sticker", "hole"],
        min_length=1,
        description="what may happen to a picture as a whole, or be put into it",
    )
    min_side_px: int = Field(256, ge=32, description="images with a shorter short side give no pairs")
    max_side_px: int = Field(1024, ge=64, description="larger images are shrunk to this long side")
    min_similarity: float = Field(0.75, ge=-1, le=1, description="near pairs: least cosine")
    max_similarity: float = Field(0.97, ge=-1, le=1, description="near pairs: cosine from which two images count as one")
    max_ssim: float = Field(0.95, gt=0, le=1, description="near pairs: structural similarity from which they are too alike")
    min_ssim: float = Field(0.4, ge=0, le=1, description="near pairs: structural similarity below which they are two scenes")
    backend: Literal["facts", "vlm", "endpoint"] = Field(
        "facts", description="who says what differs in near pairs: facts, or the model of section `vlm` or `endpoint`"
    )
    prompts: str | None = Field(None, description="folder of jinja files that replace difference_system.j2 or difference.j2")
    encoding: Literal["png", "jpeg"] = Field(
        "png", description="of edited pictures; png: source and target agree to the bit outside the mask; jpeg is smaller"
    )
    language: Literal["en", "zh"] = Field("en", description="language of the instruction that becomes the text member")
    max_bytes: int = Field(1 << 30, gt=0, description="a shard of pairs is closed before it grows beyond this")
    max_samples: int = Field(10_000, ge=1, description="pairs per shard")
    seed: int = Field(0, description="another seed, other images, edits and wordings")

    @model_validator(mode="after")
    def _band(self) -> "PairConfig":
        if self.min_similarity >= self.max_similarity:
            raise ValueError(f"min_similarity {self.min_similarity} must be below max_similarity {self.max_similarity}")
        if self.min_ssim >= self.max_ssim:
            raise ValueError(f"min_ssim {self.min_ssim} must be below max_ssim {self.max_ssim}")
        return self
