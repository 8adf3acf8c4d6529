"""A run's YAML, typed: its sections, which lie by room in config_*.py beside this file, and how it is read and checked.

Only `source` and `out` are required, and the command line can give both. A section is the parameters of one stage and goes to
that stage's code as plain keyword arguments, so nothing below jobs/ knows of configuration. An unknown key is an error that
names the nearest known one. docs/config.md is generated from all of this.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import yaml
from pydantic import ConfigDict, Field, NonNegativeFloat, ValidationError, field_validator

from curation.errors import ConfigError
from jobs.config_captions import CaptionConfig, EndpointConfig, KnowledgeConfig, LinkConfig, VlmConfig
from jobs.config_errors import explain_errors
from jobs.config_graph import (
    CommunityConfig,
    ComponentConfig,
    DedupConfig,
    DuplicateConfig,
    EdgeConfig,
    FastConfig,
    HierarchyConfig,
    JoinConfig,
    KeypointConfig,
    KnnConfig,
    PlaceholderConfig,
    VerifyConfig,
)
from jobs.config_images import (
    EmbedConfig,
    IngestConfig,
    OcrConfig,
    ProfileConfig,
    ScoreConfig,
    TagConfig,
    WatermarkConfig,
)
from jobs.config_samples import EvaluateConfig, LossConfig, SampleConfig
from jobs.config_section import Section, refuse_switch
from jobs.config_selection import BalanceConfig, ConceptConfig, PairConfig, SelectConfig, ShardConfig
from model.config import SECTIONS, TrainConfig

for _settings in (TrainConfig, *SECTIONS.values()):  # pydantic reads this attribute of a plain dataclass
    setattr(_settings, "__pydantic_config__", ConfigDict(extra="forbid"))  # noqa: B010


class RayConfig(Section):
    """Where and how the work runs; never changes a result."""

    address: str = Field("local", description="local: a private Ray on this machine; auto or an address: join that cluster")
    num_cpus: int | None = Field(None, ge=1, description="CPUs of the private Ray; default: all of this machine")
    object_store_mb: int = Field(200, ge=80, description="Ray's shared memory; images never pass through it, so little is needed")
    max_attempts: int = Field(3, ge=1, description="times a part is tried when its worker dies or storage fails")
    item_timeout_seconds: float = Field(3600.0, gt=0, description="a part that runs longer is ended and tried again")
    gpus: dict[str, NonNegativeFloat] = Field(
        {}, description="GPUs per worker of a stage: {embed: 1, ocr: 0.5}; others use CPUs alone"
    )
    max_failed_share: float = Field(0.5, ge=0, le=1, description="stop after ingest when more than this share of images failed")


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

    @field_validator("train", mode="before")
    @classmethod
    def _no_switch_in_training(cls, values: object) -> object:
        sections = {"": values, **values} if isinstance(values, dict) else {}
        for name, kind in {"": TrainConfig, **SECTIONS}.items():
            given = sections.get(name)
            if isinstance(given, dict):
                for key, hint in get_type_hints(kind).items():
                    refuse_switch(given.get(key), hint, f"{name}.{key}: " if name else f"{key}: ")
        return values


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
    except ConfigError as error:  # the model's own settings refuse what does not go together
        raise ConfigError(f"{origin}: train: {error}") from None


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file; raises ConfigError when it cannot be read, is none, or names a key twice."""
    try:
        text = path.read_text(encoding="utf-8")
        values, node = yaml.safe_load(text), yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        where = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{path} cannot be read as YAML{where}: {error.problem}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must be a mapping of keys, but it is {type(values).__name__}")
    for key in _repeated_keys(node):
        raise ConfigError(
            f"{path} names the key {key.value!r} again in line {key.start_mark.line + 1}: only one of them can count"
        )
    return values


def _repeated_keys(root: yaml.Node | None) -> Iterator[yaml.Node]:
    """Yield the keys below `root` that their mapping has already: YAML forbids them, and PyYAML takes the last."""
    waiting, seen = [root], set()
    while waiting:
        node = waiting.pop()
        if not isinstance(node, yaml.CollectionNode) or id(node) in seen:
            continue
        seen.add(id(node))  # an alias leads to the same node, even to one that it lies in
        if isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _ in node.value]
            yield from (key for place, (key, _) in enumerate(node.value) if key.value in keys[:place])
        waiting += [value for _, value in node.value] if isinstance(node, yaml.MappingNode) else node.value
