"""Sections of what is said of images: captions, the models that write them, and the entities that texts name."""

from typing import Any, Literal

from pydantic import Field

from jobs.config_section import Section


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
