"""The list of stages, in order: what each reads, what it writes, and the code that does it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from rapidfuzz import process

from curation.errors import ConfigError
from curation.remedies import file_sha256
from curation.tables import Run, fingerprint
from jobs.backends import answer_settings, free_settings
from jobs.config import Config
from jobs.config_captions import CaptionConfig, LinkConfig
from jobs.config_selection import PairConfig
from jobs.known_columns import check_grouping, check_rules
from jobs.link import LINK_TABLES, TAXONOMY_TABLES, knowledge_parameters
from jobs.runner import Planned
from jobs.stage import Stage
from model.specs import check_fit

STAGES: tuple[Stage, ...] = (
    Stage("ingest", "images", (), "jobs.ingest:work", "read, hash and verify every image of the source",
          plan="jobs.ingest:plan", digest="jobs.ingest:source_digest"),
    Stage("profile", "metrics", ("images",), "curation.metrics:profile", "measure size, sharpness, noise, colour, hashes",
          version=4),
    Stage("exact", "exact", ("images", "metrics"), "jobs.exact:work", "files of the same bytes or the same pixels",
          plan="jobs.exact:plan"),
    Stage("embed", "embeddings", ("images",), "curation.embedding:Embedder", "pixels to unit vectors"),
    Stage("tag", "tags", ("embeddings",), "curation.tags:Tagger", "labels from the embedder's own head"),
    Stage("score", "scores", ("images", "embeddings"), "curation.scores:Scorer", "learned judges"),
    Stage("ocr", "ocr", ("images",), "captioning.ocr:Reader", "text lines in reading order",
          version=3),
    Stage("quantise", "centroids", ("embeddings",), "jobs.quantise:work", "centroids that divide the vectors into lists",
          plan="jobs.quantise:plan", optional=("exact",)),
    Stage("lists", "lists", ("embeddings", "centroids"), "jobs.lists:Assigner", "vectors in the order of their lists",
          plan="jobs.lists:plan", optional=("exact",), version=4),
    Stage("nearest", "nearest", ("embeddings", "centroids", "lists"), "jobs.nearest:work", "nearest neighbours, list by list",
          plan="jobs.nearest:plan", methods=("verified", "fast")),
    Stage("knn", "neighbours", ("images", "embeddings", "nearest"), "jobs.knn:Searcher", "nearest neighbours of every image",
          plan="jobs.knn:plan", optional=("exact",), version=3, methods=("verified", "fast")),
    Stage("hierarchy", "hierarchy", ("exact", "neighbours", "centroids", "lists"), "jobs.hierarchy:work",
          "semantic levels, from coarse to fine", plan="jobs.hierarchy:plan", methods=("verified", "fast")),
    Stage("caption_fit", "caption_fit", ("images", "neighbours"), "jobs.caption_fit:work",
          "captions that belong to other pictures, by those of lookalikes", plan="jobs.caption_fit:plan",
          methods=("verified", "fast")),
    Stage("candidates", "pairs", ("neighbours", "metrics", "embeddings"), "jobs.candidates:work",
          "pairs that neighbours or hashes name", plan="jobs.candidates:plan", methods=("verified", "fast")),
    Stage("edges", "edges", ("pairs",), "jobs.edges:merge_heaviest", "candidate pairs, once each",
          plan="jobs.edges:plan_ranges", version=3, methods=("verified", "fast")),
    Stage("join", "pairs", ("embeddings", "centroids", "lists"), "jobs.join:Joiner", "pairs above the threshold, list by list",
          plan="jobs.join:plan", version=2, methods=("similarity",)),
    Stage("edges", "edges", ("pairs",), "jobs.edges:merge", "pairs above the threshold, sorted", plan="jobs.edges:plan_ranges",
          methods=("similarity",)),
    Stage("keypoints", "keypoints", ("images",), "graph.keypoints:describe", "local features for the second look", version=3,
          methods=("verified",)),
    Stage("verify", "verdicts", ("images", "metrics", "edges", "keypoints"), "jobs.verify:work",
          "a second look at every candidate pair", plan="jobs.verify:plan", version=7, methods=("verified",)),
    Stage("verify", "verdicts", ("images", "edges", "metrics"), "jobs.verify:work_fast", "hashes of every candidate pair",
          plan="jobs.verify:plan", methods=("fast",)),
    Stage("forests", "forests", ("edges",), "jobs.forests:work", "what the edges of every part connect",
          plan="jobs.forests:plan", methods=("similarity",)),
    Stage("forests", "forests", ("verdicts",), "jobs.forests:work_verdicts", "what the copies of every part connect",
          plan="jobs.forests:plan_verdicts", methods=("verified", "fast")),
    Stage("components", "components", ("images", "metrics", "embeddings", "exact", "forests", "edges"), "jobs.components:work",
          "connected components, dealt into units of work", plan="jobs.components:plan", optional=("scores",), version=4,
          methods=("similarity",)),
    Stage("components", "components", ("images", "metrics", "embeddings", "exact", "forests", "verdicts"),
          "jobs.components:work_verdicts", "connected components, dealt into units of work", plan="jobs.components:plan",
          optional=("scores",), version=4, methods=("verified", "fast")),
    Stage("partition", "partitions", ("components", "lists"), "jobs.partition:work",
          "communities and stars inside the components", plan="jobs.partition:plan", version=4, methods=("similarity",)),
    Stage("partition", "partitions", ("components",), "jobs.partition:work_verified",
          "communities inside the components", plan="jobs.partition:plan", version=2, methods=("verified",)),
    Stage("partition", "partitions", ("components",), "jobs.partition:work_verdicts",
          "communities inside the components", plan="jobs.partition:plan", version=2, methods=("fast",)),
    Stage("communities", "communities", ("images", "partitions"), "jobs.communities:work", "groups of copies",
          plan="jobs.communities:plan", version=2),
    Stage("confirm", "confirmations", ("metrics", "embeddings", "keypoints", "verdicts", "components", "partitions"),
          "jobs.confirm:work", "members of a group compared with each other", plan="jobs.confirm:plan", version=7,
          methods=("verified",)),
    Stage("duplicates", "duplicates", ("images", "exact", "verdicts", "components", "partitions", "communities", "confirmations"),
          "jobs.duplicates:work", "who stands for whom", plan="jobs.duplicates:plan", version=4, methods=("verified",)),
    Stage("duplicates", "duplicates", ("images", "exact", "verdicts", "components", "partitions", "communities"),
          "jobs.duplicates:work", "who stands for whom", plan="jobs.duplicates:plan", version=5, methods=("fast",)),
    Stage("duplicates", "duplicates", ("images", "components", "partitions"), "jobs.duplicates:work_similarity",
          "who stands for whom", plan="jobs.duplicates:plan", version=2, methods=("similarity",)),
    Stage("placeholders", "placeholders", ("images", "metrics", "ocr", "duplicates"), "jobs.placeholders:work",
          "pictures that stand where others should", plan="jobs.placeholders:plan"),
    Stage("watermarks", "watermarks", ("images", "ocr", "duplicates"), "jobs.watermarks:work",
          "lines of text that are on many images of a source", plan="jobs.watermarks:plan"),
    Stage("select", "selection",
          ("images", "metrics", "scores", "ocr", "tags", "duplicates", "placeholders", "watermarks"), "jobs.choose:work",
          "keep or drop, with the reason", plan="jobs.choose:plan", optional=("hierarchy", "caption_fit"), version=2),
    Stage("link", "mentions", ("images", "tags", "ocr", "watermarks"), "jobs.linker:NameLinker",
          "entities that the texts of an image name", version=2),
    Stage("caption", "captions", ("images", "metrics", "tags", "ocr", "watermarks", "selection"), "jobs.caption:Captioner",
          "captions from evidence, five levels in two languages", optional=("mentions",), version=5),
    Stage("concepts", "taxonomy", ("tags", "selection", "captions"), "jobs.taxonomy:work",
          "one forest of all that kept images show", plan="jobs.taxonomy:plan", optional=("mentions",), version=2),
    Stage("balance", "balance",
          ("images", "metrics", "scores", "ocr", "tags", "duplicates", "placeholders", "captions", "selection", "taxonomy"),
          "jobs.balance:work", "how often each image is trained on, and which fit into the budget", plan="jobs.balance:plan",
          optional=("hierarchy", "mentions")),
    Stage("shares", "concept_shares", ("taxonomy", "balance"), "jobs.balance:work_shares",
          "what the balance made of every concept", plan="jobs.balance:plan_shares"),
    Stage("shard", "shards", ("images", "metrics", "scores", "ocr", "tags", "captions", "duplicates", "selection",
                              "balance"),
          "jobs.shard:work", "WebDataset tars with an index", plan="jobs.shard:plan", version=3),
    Stage("pairs", "edit_pairs", ("images", "metrics", "tags", "ocr", "edges", "captions", "selection"), "jobs.pairs:Pairer",
          "edit pairs with exact instructions, checked", plan="jobs.pair_plan:plan", optional=("neighbours", "verdicts")),
    Stage("pair_shard", "pair_shards", ("images", "edit_pairs"), "jobs.pair_shard:work", "WebDataset tars of edit pairs",
          plan="jobs.pair_shard:plan", version=2),
    Stage("train", "checkpoints", ("shards",), "jobs.train:work", "train an S3-DiT on the shards", plan="jobs.train:plan"),
    Stage("sample", "samples", ("checkpoints",), "jobs.sample:work", "images from prompts", plan="jobs.sample:plan"),
    Stage("evaluate", "evaluation", ("shards", "checkpoints"), "jobs.evaluate:work", "do samples follow their prompts?",
          plan="jobs.evaluate:plan"),
    Stage("losses", "sample_loss", ("shards", "checkpoints"), "jobs.losses:Meter", "how well the model knows each image",
          plan="jobs.losses:plan"),
    Stage("report", "report", ("images", "metrics", "selection", "balance", "concept_shares", "duplicates", "captions", "shards"),
          "jobs.report:work",
          "the whole run as one page", plan="jobs.report:plan",
          optional=("checkpoints", "samples", "evaluation", "sample_loss")),
)  # fmt: skip

NAMES = tuple(dict.fromkeys(stage.name for stage in STAGES))
"""Names of all stages in order; a name has several lines in STAGES where the methods of deduplication go about it differently."""


def pipeline(config: Config) -> list[Planned]:
    """Return the stages that `config` asks for, each with its parameters as plain values.

    Raises ConfigError when ray.gpus names no stage, source and out are one folder, a section has no effect without another one,
    or a rule or the balance names a column that no stage writes.
    """
    if _absolute(config.source) == _absolute(config.out):
        raise ConfigError(f"source and out are the same folder, {_absolute(config.out)}: a run needs a folder of its own")
    for name in config.ray.gpus:
        _position(name, list(NAMES), "ray.gpus")
    if config.dedup.method == "similarity" and config.components.min_similarity < config.join.min_similarity:
        raise ConfigError(
            f"components.min_similarity = {config.components.min_similarity} is below join.min_similarity = "
            f"{config.join.min_similarity}: there are no such edges; raise the one or lower the other"
        )
    if config.dedup.method == "similarity" and _fit_asked(config):
        raise ConfigError(
            "a rule of select names caption_fit, which is found among nearest neighbours; dedup.method similarity has none: "
            "take verified or fast, or leave the rule out"
        )
    if config.knowledge is None and config.link != LinkConfig():
        raise ConfigError("section link has no effect without knowledge.path, the folder of a knowledge base")
    for section in ("sample", "losses", "evaluate"):
        if config.train is None and getattr(config, section) is not None:
            raise ConfigError(f"section {section} has no effect without section train: there is no model to ask")
    if config.train is not None:
        settings = config.train
        check_fit(
            autoencoder=settings.autoencoder, in_channels=settings.model.in_channels,
            text=settings.text, cap_feat_dim=settings.model.cap_feat_dim,
        )  # fmt: skip
    if config.select.rules is not None:
        check_rules(config.select.rules, method=config.dedup.method)
    if config.balance.mode == "communities":
        check_grouping(config.balance.by, method=config.dedup.method)
    base = _base(config)
    grown = NAMES[: NAMES.index("balance") + 1]
    return [
        Planned(stage, _parameters(stage.name, config), base if stage.name in grown else None, _how(stage.name, config))
        for stage in (_asked(stage, config) for stage in STAGES)
        if _wanted(stage, config)
    ]


def _base(config: Config) -> Path | None:
    """Return the run folder that the configured run grows from; raises ConfigError when it cannot."""
    if config.base is None:
        if config.duplicates.rekey_base:
            raise ConfigError("duplicates.rekey_base has no effect without `base`")
        return None
    if config.dedup.method == "similarity" and config.join.engine == "faiss":
        raise ConfigError(
            "base does not work with join.engine faiss, which searches one index over all images; take exact or ivf"
        )
    if _absolute(config.base) == _absolute(config.out):
        raise ConfigError(f"base and out are the same folder, {_absolute(config.out)}: a run grows into a folder of its own")
    return Path(_absolute(config.base))


def _asked(stage: Stage, config: Config) -> Stage:
    """Return the stage with the inputs that it has under this configuration."""
    if stage.name == "link" and config.link.rerank == "image":
        return replace(stage, inputs=(*stage.inputs, "embeddings"))
    return stage


def _wanted(stage: Stage, config: Config) -> bool:
    needs = {
        "link": ("knowledge",),
        "pairs": ("pairs",),
        "pair_shard": ("pairs",),
        "train": ("train",),
        "sample": ("train", "sample"),
        "evaluate": ("train", "evaluate"),
        "losses": ("train", "losses"),
    }
    asked = all(getattr(config, section) is not None for section in needs.get(stage.name, ()))
    if stage.name == "caption_fit":  # costs nothing unless a rule of the selection asks for it
        asked = _fit_asked(config)
    return asked and (not stage.methods or config.dedup.method in stage.methods)


def _fit_asked(config: Config) -> bool:
    return any(str(rule.get("column", "")).startswith("caption_fit.") for rule in config.select.rules or ())


_JOIN_KEYS = {
    "quantise": {"engine", "nlist", "two_level"},
    "lists": {"nprobe", "margin", "descend", "memory_mb", "device"},
    "join": {"engine", "min_similarity", "dtype", "device", "memory_mb", "factory", "k"},
}
"""Keys of `join` by the stage whose result depends on them, so that another threshold does not sort the vectors anew."""


_LIST_KEYS: dict[str, Callable[[Config], dict[str, Any]]] = {
    "quantise": lambda config: {
        key: value
        for key, value in config.knn.model_dump(mode="json", include={"engine", "nlist", "centre"}).items()
        if value is not None
    },
    "lists": lambda config: {
        "nprobe": config.knn.nprobe, "memory_mb": config.knn.memory_mb, "margin": 2.0, "descend": 8, "divided": True
    },
    "nearest": lambda config: config.knn.model_dump(mode="json", include={"k", "min_similarity"}),
}  # fmt: skip
"""Parameters of the stages that divide the vectors for nearest neighbours."""


_GROUP_KEYS: dict[str, Callable[[Config], dict[str, Any]]] = {
    "forests": lambda config: config.components.model_dump(mode="json", include={"min_similarity"}),
    "components": lambda config: config.components.model_dump(mode="json", exclude={"min_similarity"}),
    "partition": lambda config: (
        config.communities.model_dump(mode="json")
        | config.duplicates.model_dump(mode="json", exclude=None if config.dedup.method == "similarity" else {"rekey_base"})
    ),
    "communities": lambda config: {},
}
"""Parameters of the stages between the edges and the keepers, whose sections in the YAML are `components` and `communities`."""


def _parameters(name: str, config: Config) -> dict[str, Any]:
    if name == "confirm":  # the same comparison as verify, of pairs found later
        return _parameters("verify", config)
    if name == "edges":
        return {}
    if name == "candidates":
        return config.edges.model_dump(mode="json")
    if name == "verify" and config.dedup.method == "fast":
        return config.fast.model_dump(mode="json")
    if name in _LIST_KEYS and config.dedup.method != "similarity":
        return _LIST_KEYS[name](config)
    if name in _JOIN_KEYS:
        chosen = config.join.model_dump(mode="json", include=_JOIN_KEYS[name])
        return {key: value for key, value in chosen.items() if value is not None}
    if name in ("pairs", "pair_shard") and config.pairs is not None:
        return _pair_parameters(name, config, config.pairs)
    if name in _GROUP_KEYS:
        return _GROUP_KEYS[name](config)
    if name == "link":
        return _link_parameters(config)
    if name == "caption":
        return _caption_parameters(config)
    if name == "shares":
        return config.balance.model_dump(mode="json", include={"mode", "max_weight"})
    if name == "concepts":
        return _concept_parameters(config)
    own = getattr(config, name, None)
    values = Config.model_dump(config, include={name}, mode="json")[name] if own is not None else {}
    if name == "ingest":
        values["source"] = _absolute(config.source)
    if name == "tag":
        values["model"] = config.embed.model
    values = _with_remedies(name, values)
    return {key: value for key, value in values.items() if value is not None or name == "score"}


def _with_remedies(name: str, values: dict[str, Any]) -> dict[str, Any]:
    for key in REMEDIES.get(name, ()):
        if values.get(key) is not None:  # the file's content belongs to the parameters: a changed list makes the stage stale
            values[key] = _absolute(values[key])
            values[f"{key}_sha256"] = file_sha256(values[key])
    return values


def _caption_parameters(config: Config) -> dict[str, Any]:
    """Return what the stage `caption` depends on; how a model is asked stands under `model`, and not at all for facts."""
    asked = set(CaptionConfig.model_fields) - _FACTS_KEYS
    values = _with_remedies("caption", config.caption.model_dump(mode="json", exclude=asked))
    values = {key: value for key, value in values.items() if value is not None}
    if config.caption.backend == "facts":
        others = set() if config.vlm is None and config.endpoint is None else _BACKEND_KEYS  # other stages ask models too
        changed = sorted(key for key in asked - others if getattr(config.caption, key) != CaptionConfig.model_fields[key].default)
        if changed:
            raise ConfigError(f"caption.{changed[0]} has no effect with caption.backend facts; set backend to vlm or endpoint")
        return values
    model = config.caption.model_dump(mode="json", include=asked - _BACKEND_KEYS, exclude_none=True)
    return values | {"model": model | model_parameters(config, prompts=config.caption.prompts)}


def model_parameters(config: Config, *, prompts: str | None) -> dict[str, Any]:
    """Return the settings of the captions' backend that answers depend on, and the prompts by content."""
    from captioning.prompting import CAPTION_TEMPLATES, Prompts

    name = config.caption.backend
    settings = answer_settings(config, name)
    found = Prompts(_absolute(prompts) if prompts else None)
    found.check()
    return {"settings": settings, "prompts_sha256": fingerprint(found.sources(CAPTION_TEMPLATES))} | (
        {"prompts": _absolute(prompts)} if prompts else {}
    )


def _how(name: str, config: Config) -> dict[str, Any]:
    """Return the settings of a stage that change no result: where a model runs, how much at a time."""
    asking = {"link": config.link, "caption": config.caption, "pairs": config.pairs, "concepts": config.concepts}
    section = asking.get(name)
    if section is None or section.backend in ("facts", "none"):
        return {}
    return {"how": free_settings(config, section.backend)}


_BACKEND_KEYS = {"min_pixels", "max_pixels", "input_price", "output_price"}
"""Keys of `caption` that are handed to the backend and stand among its settings."""
_FACTS_KEYS = {
    "backend", "languages", "levels", "min_tag_score", "max_tags", "min_line_confidence", "min_colour_share", "min_mention_score",
    "max_entities", "corrections",
}  # fmt: skip
"""Keys of `caption` that facts depend on; the others say how a model is asked."""


def _pair_parameters(name: str, config: Config, section: PairConfig) -> dict[str, Any]:
    """Return what the stages of edit pairs depend on: their shards on some keys, the pairs on the others and on the model."""
    of_shards = {"language", "max_bytes", "max_samples"}
    if name == "pair_shard":
        return section.model_dump(mode="json", include=of_shards | {"seed"})
    values = section.model_dump(mode="json", exclude=of_shards, exclude_none=True)
    if section.backend == "facts":
        if section.prompts is not None:
            raise ConfigError("pairs.prompts has no effect with pairs.backend facts; set backend to vlm or endpoint")
        return values
    from captioning.difference import TEMPLATES
    from captioning.prompting import Prompts

    settings = answer_settings(config, section.backend)
    folder = _absolute(section.prompts) if section.prompts else None
    values |= {"settings": settings, "prompts_sha256": fingerprint(Prompts(folder).sources(TEMPLATES))}
    return values | ({"prompts": folder} if folder else {})


def _link_parameters(config: Config) -> dict[str, Any]:
    """Return what the stage `link` depends on: its section, and the knowledge base by content."""
    assert config.knowledge is not None
    values = config.link.model_dump(mode="json", exclude_none=True) | knowledge_parameters(config.knowledge.path, LINK_TABLES)
    if config.link.rerank == "image":
        values["embedder"] = config.embed.model
    if config.link.backend != "none":
        values["settings"] = answer_settings(config, config.link.backend)
    return values


def _concept_parameters(config: Config) -> dict[str, Any]:
    """Return what the stage `concepts` depends on: its section, the prompts and the knowledge base by content."""
    values = {key: value for key, value in config.concepts.model_dump(mode="json").items() if value is not None}
    if config.knowledge is not None:
        values |= knowledge_parameters(config.knowledge.path, TAXONOMY_TABLES)
    if config.concepts.prompts is not None:
        path = Path(config.concepts.prompts).expanduser().absolute()
        if not path.is_file():
            raise ConfigError(f"concepts.prompts: there is no file {path}")
        values |= {"prompts": str(path), "prompts_sha256": fingerprint(path.read_text(encoding="utf-8", errors="replace"))}
    if config.concepts.backend != "none":
        values["settings"] = answer_settings(config, config.concepts.backend)
    return values


REMEDIES = {"select": ("exclude",), "caption": ("corrections",)}
"""Keys that name a file of remedies, by stage."""


def _absolute(source: str) -> str:
    return source if "://" in source else str(Path(source).expanduser().absolute())


TABLES = tuple({(stage.name, stage.table): None for stage in STAGES})
"""Every stage with its table, in order."""


def between(plan: list[Planned], run: Run, *, start: str | None, until: str | None) -> list[Planned]:
    """Return the stages from `start` to `until`, both included.

    Raises ConfigError for an unknown stage, a stage that the configuration leaves out, or a `start` whose inputs are not there.
    """
    names = [planned.stage.name for planned in plan]
    first = _position(start, names, "--from") if start else 0
    last = _position(until, names, "--until") if until else len(plan) - 1
    if first > last:
        raise ConfigError(f"--from {start} comes after --until {until}")
    for planned in plan[:first]:
        if not run.has(planned.stage.table):
            raise ConfigError(f"--from {start}: {planned.stage.name} is not complete in {run.root}; run it first")
    return plan[first : last + 1]


def needed_for(plan: list[Planned], name: str) -> list[Planned]:
    """Return the stages that stage `name` rests on, itself included, in order; inputs that are optional count as well.

    Raises ConfigError as `between` does.
    """
    last = _position(name, [planned.stage.name for planned in plan], "--only")
    wanted = {plan[last].stage.table}
    for planned in reversed(plan[: last + 1]):
        if planned.stage.table in wanted:
            wanted |= {*planned.stage.inputs, *planned.stage.optional}
    return [planned for planned in plan[: last + 1] if planned.stage.table in wanted]


def _position(name: str, names: list[str], option: str) -> int:
    if name in names:
        return names.index(name)
    if name in NAMES:
        raise ConfigError(f"{option} {name}: the configuration has no section `{name}`, so the stage is not part of this run")
    match = process.extractOne(name, names, score_cutoff=50)
    raise ConfigError(
        f"{option} {name}: no such stage" + (f"; did you mean {match[0]}?" if match else f"; stages are {', '.join(names)}")
    )
