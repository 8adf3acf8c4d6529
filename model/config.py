"""Every setting of the model, its data and its training, as frozen dataclasses that import no framework.

The YAML layer of jobs/ builds these; a checkpoint stores them as config.json and rebuilds them with `from_dict`. Time runs as in
the released Z-Image code: t = 0 is pure noise, t = 1 is data.
"""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, TypeVar

from curation.errors import ConfigError
from model.specs import check_device, check_weights, parse_autoencoder, parse_text

T = TypeVar("T")


MOST_THREADS = 1024
"""More than any machine has cores for; with far more the process cannot start them."""


def _at_least_zero(prefix: str, **numbers: float) -> None:
    for name, value in numbers.items():
        if not 0 <= value < math.inf:
            raise ConfigError(f"{prefix}{name} is {value}; it must be 0 or more, and finite")


def _positive(section: str, **numbers: float) -> None:
    for name, value in numbers.items():
        if not 0 < value < math.inf:
            raise ConfigError(f"{section}.{name} is {value}; it must be finite and greater than 0")


@dataclass(frozen=True, kw_only=True)
class DiTConfig:
    """Shape of an S3-DiT; fields and defaults are those of the released 6B model (Z-Image, arXiv 2511.22699, table 2).

    The last three fields are not in the released configuration. `pad_to` is a constant there, 32: image and caption tokens are
    each padded to a multiple of it with a learned token THAT IS ATTENDED TO. Models trained here may choose any multiple; 1 means
    no padding.
    """

    all_patch_size: tuple[int, ...] = (2,)
    """Side of a token in latent cells; the first entry is used."""
    all_f_patch_size: tuple[int, ...] = (1,)
    """The same along frames: 1 for images."""
    in_channels: int = 16
    """Channels of the latents; must be those of the autoencoder."""
    dim: int = 3840
    """Width of a token."""
    n_layers: int = 30
    """Blocks over image and caption together."""
    n_refiner_layers: int = 2
    """Blocks over the image alone, and as many over the caption alone, before them."""
    n_heads: int = 30
    """Attention heads."""
    n_kv_heads: int = 30
    """Stored, but the released forward ignores it: there is no grouped-query attention."""
    norm_eps: float = 1e-5
    """Added to the mean square inside RMSNorm; norms of queries and keys have 1e-5 always."""
    qk_norm: bool = True
    """Normalise queries and keys per head."""
    cap_feat_dim: int = 2560
    """Width of the caption's features; must be that of the text encoder."""
    siglip_feat_dim: int | None = None
    """Set by the omni / edit variant."""
    rope_theta: float = 256.0
    """Base of the rotary frequencies."""
    t_scale: float = 1000.0
    """What t in [0, 1] is multiplied by before its sinusoidal embedding."""
    axes_dims: tuple[int, ...] = (32, 48, 48)
    """Rotary dimensions of frame or caption position, row and column; they add up to dim / n_heads."""
    axes_lens: tuple[int, ...] = (1024, 512, 512)
    """Stored; positions are computed, so no length is too long."""
    pad_to: int = 32
    """Image and caption tokens are each padded to a multiple of this."""
    scrambled_siglip: bool = True
    """Omni only: read SigLIP grids as the released code does, channels as positions; false for models trained here."""
    shifted_text_positions: bool = True
    """Omni only: positions of text segments after the first as in the released code; false: each where its padding leaves it."""

    def __post_init__(self) -> None:
        """Check ranges and what must fit together; raises ConfigError with the numbers."""
        counts = ("dim", "n_heads", "n_kv_heads", "n_layers", "in_channels", "cap_feat_dim", "pad_to", "rope_theta", "t_scale")
        _positive("model", **{name: getattr(self, name) for name in counts})
        if self.siglip_feat_dim is not None:
            _positive("model", siglip_feat_dim=self.siglip_feat_dim)
        if self.n_refiner_layers < 0 or not 0 <= self.norm_eps < math.inf:
            raise ConfigError(
                f"model.n_refiner_layers is {self.n_refiner_layers} and norm_eps {self.norm_eps}; both must be 0 or more"
            )
        sizes, frames = self.all_patch_size, self.all_f_patch_size
        if not sizes or min(sizes) < 1 or len(sizes) != len(frames) or frames[0] != 1:
            raise ConfigError(
                f"all_patch_size is {list(sizes)} and all_f_patch_size {list(frames)}; as many of each, the first frame size 1"
            )
        if self.dim % self.n_heads:
            raise ConfigError(f"dim {self.dim} is not a multiple of n_heads {self.n_heads}")
        if self.head_dim != sum(self.axes_dims):
            raise ConfigError(
                f"dim / n_heads = {self.head_dim}, but axes_dims {list(self.axes_dims)} add up to {sum(self.axes_dims)}"
            )
        if any(axis % 2 for axis in self.axes_dims):
            raise ConfigError(f"axes_dims {list(self.axes_dims)} must be even: RoPE turns pairs of numbers")

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.dim // self.n_heads

    @property
    def ffn_dim(self) -> int:
        """Hidden width of the feed-forward layer."""
        return int(self.dim / 3 * 8)

    @property
    def cond_dim(self) -> int:
        """Width of the time vector that modulates the blocks."""
        return min(self.dim, 256)

    @property
    def patch_px(self) -> int:
        """Side of one token in latent cells."""
        return self.all_patch_size[0]


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What is read from the shards, and in which mixture."""

    resolution_px: int = 32
    """Training images have about resolution_px^2 pixels, at the aspect of their bucket."""
    groups: tuple[str, ...] = ()
    """Only these sub-collections (SHARDS.group); empty: all."""
    level_weights: dict[str, float] = field(
        default_factory=lambda: {"tags": 1.0, "short": 1.0, "medium": 1.0, "long": 1.0, "prompt": 1.0, "source": 1.0}
    )
    """How often each caption level is drawn, relative; a level that is not named is never drawn."""
    language_weights: dict[str, float] = field(default_factory=lambda: {"en": 1.0, "zh": 1.0})
    """How often each language is drawn, relative; multiplies level_weights. The source caption's unknown language counts 1."""
    caption_dropout: float = 0.1
    """Share of positions trained with the empty caption, for classifier-free guidance."""
    use_weights: bool = True
    """Repeat samples in proportion to SHARDS.weight; false: every sample once per epoch."""
    pairs: str = ""
    """Folder or URL of pair shards whose edits are trained too; empty: text to image alone."""
    pair_share: float = 0.2
    """Share of the samples that are edits when there are pairs: 0.2 is text-to-image to image-to-image 4:1."""
    instruction_share: float = 0.8
    """Share of the edits that are told by their instruction; the others are told by the target's own caption."""
    token_budget: int = 0
    """Tokens of a global batch (image, references, mean caption): as many samples as fit; 0: batch_size samples each."""
    batch_multiple: int = 1
    """With a token budget, sizes of global batches are multiples of it: the largest ranks x accumulation to support."""
    on_error: str = "stop"
    """A sample that cannot be read: `stop` names it, `skip` trains on another of its bucket instead and counts."""
    prefetch: int = 2
    """Batches whose bytes are read ahead, each in a thread of its own."""
    cache_bytes: int = 1 << 30
    """Latents and text features kept in memory, each."""
    latent_cache: bool | str = False
    """Keep latents and text features on disk too: true: beside the shards, in `_features`; or a folder."""
    latent_cache_bytes: int = 100 << 30
    """The cache on disk is not filled beyond this."""

    def __post_init__(self) -> None:
        """Check ranges; raises ConfigError with the value and the allowed range."""
        check_weights(self.level_weights, self.language_weights)
        _positive("data", resolution_px=self.resolution_px, batch_multiple=self.batch_multiple, prefetch=self.prefetch)
        if self.pairs and not 0 < self.pair_share < 1:
            raise ConfigError(f"data.pair_share is {self.pair_share}; it must be between 0 and 1")
        for name in ("instruction_share", "caption_dropout"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"data.{name} is {getattr(self, name)}; it must be in [0, 1]")
        names = ("token_budget", "cache_bytes", "latent_cache_bytes")
        _at_least_zero("data.", **{name: getattr(self, name) for name in names})
        if self.on_error not in ("stop", "skip"):
            raise ConfigError(f"data.on_error is {self.on_error!r}; it must be stop or skip")


@dataclass(frozen=True, kw_only=True)
class ValidationConfig:
    """Loss on images that training never sees, at fixed times and with fixed noise, with and without averaged weights."""

    every: int = 100
    """Updates between validations; the last update always has one."""
    samples: int = 64
    """Images it is computed on: the first of those held out, by the hash of their ids."""
    times: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9)
    """Times of the loss, each logged by itself; t = 0 is noise."""
    share: float = 0.05
    """Share of the images held out of training by a hash of their id."""
    seed: int = 0
    """Of that hash and of the noise; apart from the training's seed, so that all stages of a curriculum hold out the same."""

    def __post_init__(self) -> None:
        """Check ranges; raises ConfigError with the value and the allowed range."""
        _positive("validation", every=self.every, samples=self.samples)
        _times("validation", self.times)
        if not 0 < self.share < 1:
            raise ConfigError(f"validation.share is {self.share}; it must be between 0 and 1")


@dataclass(frozen=True, kw_only=True)
class PreviewConfig:
    """Grids of samples while training: samples/step-NNNNNN.png beside the checkpoints, and images in TensorBoard."""

    every: int = 500
    """Updates between grids; the last update always has one."""
    prompts: tuple[str, ...] = ()
    """What is sampled; empty: captions of `count` images, held-out ones first."""
    count: int = 8
    """How many prompts are taken from the data when none are given."""
    num_steps: int = 8
    """Euler steps of a sample."""
    guidance: float = 3.0
    """w in u + w (c - u); 1 is none."""
    width_px: int | None = None
    """Width of a sample; default: data.resolution_px."""
    height_px: int | None = None
    """Height of a sample; default: data.resolution_px."""
    seed: int = 0
    """Of the noise; the same in every grid."""

    def __post_init__(self) -> None:
        """Check ranges; raises ConfigError with the value and the allowed range."""
        _positive("preview", every=self.every, count=self.count, num_steps=self.num_steps)


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """Low-rank adapters: only they are trained, the base weights stay as `init` gave them (Hu et al., arXiv 2106.09685)."""

    rank: int = 16
    """Rank of the update of each matrix."""
    alpha: float = 16.0
    """The update is scaled by alpha / rank."""
    targets: tuple[str, ...] = ("to_q", "to_k", "to_v", "to_out.0", "w1", "w2", "w3")
    """Linear layers that get an adapter, by the end of their name."""

    def __post_init__(self) -> None:
        """Check ranges; raises ConfigError with the value and the allowed range."""
        _positive("lora", rank=self.rank, alpha=self.alpha)
        if not self.targets:
            raise ConfigError("lora.targets is empty; name at least one layer, such as to_q")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training run. Steps are optimiser updates; the schedule counts steps, never seconds."""

    model: DiTConfig = field(default_factory=DiTConfig)
    """Section `train.model` below."""
    data: DataConfig = field(default_factory=DataConfig)
    """Section `train.data` below."""
    autoencoder: str = "pca:4:12"
    """`pca:<downsample>:<channels>` (fitted to the shards) or `flux:<folder of an AutoencoderKL>`."""
    text: str = "hash:64"
    """`hash:<width>`, `minilm`, or `qwen3:<folder>`."""
    siglip: str = ""
    """Folder of a SigLIP 2 vision model that shows references to a model with siglip_feat_dim; empty: they enter as latents."""
    num_steps: int = 900
    """Optimiser updates of the whole run."""
    batch_size: int = 32
    """Images per update, of all processes together."""
    accumulation: int = 1
    """Micro-batches that a process goes through per update, one after the other: less memory, the same gradient."""
    learning_rate: float = 1.5e-3
    """Peak rate of AdamW."""
    betas: tuple[float, float] = (0.9, 0.99)
    """AdamW's decays of the first and second moment."""
    weight_decay: float = 0.01
    """AdamW's decoupled weight decay, on every parameter."""
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this norm."""
    schedule: str = "linear"
    """How the rate goes on after the warm-up: `constant`, or constant at first and then falling: `linear` or `cosine`."""
    warmup_steps: int = 50
    """Updates over which the rate rises linearly."""
    constant_share: float = 0.6
    """Schedules linear and cosine: the rate is constant up to this share of num_steps, then falls."""
    final_lr_share: float = 0.02
    """Learning rate of the last step over the peak."""
    ema_decay: float = 0.99
    """Limit of the decay of the moving average of the weights, which sampling uses; shorter at first."""
    time_mean: float = 0.0
    """Mean of the normal behind the logit-normal t."""
    time_std: float = 1.0
    """Standard deviation of that normal."""
    shift: float = 1.0
    """Static timestep shift of training and sampling; > 1 spends more steps near noise."""
    dynamic_shift: bool = False
    """Shift by token count instead (Flux's line through 256 and 4096 tokens)."""
    seed: int = 0
    """Of the initial weights, the order of samples and every draw."""
    device: str = "cpu"
    """cpu, cuda or cuda:<n>."""
    precision: str = "fp32"
    """fp32, or bf16 (autocast; weights stay fp32)."""
    num_threads: int = 2
    """CPU threads of a training process."""
    shard: str = "full"
    """Over which of several processes weights and moments are divided: `none`, `hybrid` (those of a machine) or `full`."""
    deterministic: bool = False
    """Only GPU kernels with one order of additions: slower; a resumed run has the bits of an uninterrupted one, as on a CPU."""
    gradient_checkpointing: bool = False
    """Compute a block's activations again in the backward pass instead of keeping them: a third more time, far less memory."""
    attention: str = "sdpa"
    """Kernel of attention: sdpa; varlen (PyTorch's own), flash2 or flash3 (packages of their own), all three bf16 on CUDA."""
    compile: bool = False
    """Compile every block (torch.compile); the first updates take minutes."""
    init: str | None = None
    """Where the first weights come from: a checkpoint, a folder of them, or a pipeline folder of diffusers; default: drawn."""
    init_distilled: bool = False
    """Train from `init` although it is distilled to few steps, which this objective undoes."""
    checkpoint_every: int = 300
    """Updates between checkpoints; the last update always has one."""
    keep_checkpoints: int = 2
    """Older checkpoints are removed; 0 keeps all."""
    validation: ValidationConfig | None = None
    """Section `train.validation` below; absent: nothing is held out."""
    preview: PreviewConfig | None = None
    """Section `train.preview` below; absent: no grids."""
    lora: LoraConfig | None = None
    """Section `train.lora` below; absent: all weights are trained."""
    peak_tflops: float | None = None
    """Dense peak of the device at `precision`, for the logged MFU; default: that of a known accelerator, none on a CPU."""

    def __post_init__(self) -> None:
        """Check ranges; raises ConfigError with the value and the allowed range."""
        positive = (
            "num_steps",
            "batch_size",
            "accumulation",
            "learning_rate",
            "max_grad_norm",
            "checkpoint_every",
            "num_threads",
            "shift",
            "time_std",
        )
        for name in positive:
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be finite and greater than 0")
        names = ("warmup_steps", "keep_checkpoints", "weight_decay")
        _at_least_zero("", **{name: getattr(self, name) for name in names})
        if not all(0 <= beta < 1 for beta in self.betas) or not math.isfinite(self.time_mean):
            raise ConfigError(f"betas are {list(self.betas)}, in [0, 1), and time_mean is {self.time_mean}, a finite number")
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed is {self.seed}; it must be in [0, 2^63)")
        if self.num_threads > MOST_THREADS:
            raise ConfigError(f"num_threads is {self.num_threads}; it must be at most {MOST_THREADS}")
        for name in ("constant_share", "final_lr_share", "ema_decay"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be in [0, 1]")
        parse_autoencoder(self.autoencoder)
        parse_text(self.text)
        check_device(self.device)
        if self.attention not in ("sdpa", "varlen", "flash2", "flash3"):
            raise ConfigError(f"attention is {self.attention!r}; it must be sdpa, varlen, flash2 or flash3")
        if self.attention != "sdpa" and self.precision != "bf16":
            raise ConfigError(f"attention {self.attention} needs precision bf16, not {self.precision}")
        if self.precision not in ("fp32", "bf16"):
            raise ConfigError(f"precision is {self.precision!r}; it must be fp32 or bf16")
        if self.schedule not in ("constant", "linear", "cosine"):
            raise ConfigError(f"schedule is {self.schedule!r}; it must be constant, linear or cosine")
        if self.shard not in ("none", "full", "hybrid"):
            raise ConfigError(f"shard is {self.shard!r}; it must be none, full or hybrid")
        if self.lora is not None and self.init is None:
            raise ConfigError("lora adapts given weights; name them: init: a checkpoint or a pipeline folder of diffusers")


DATA_BOOKKEEPING = frozenset({"on_error", "prefetch", "cache_bytes", "latent_cache", "latent_cache_bytes"})
"""Settings of DataConfig that may change when a run is resumed."""

SECTIONS: dict[str, type] = {
    "data": DataConfig, "validation": ValidationConfig, "preview": PreviewConfig, "lora": LoraConfig, "model": DiTConfig
}  # fmt: skip
"""Fields of TrainConfig that are configurations of their own."""

Z_IMAGE = DiTConfig()
"""The released 6B model: 6,154,908,736 parameters."""

TINY = DiTConfig(dim=128, n_layers=4, n_refiner_layers=1, n_heads=4, n_kv_heads=4, in_channels=12, cap_feat_dim=64,
                 axes_dims=(8, 12, 12), axes_lens=(512, 64, 64), pad_to=8)  # fmt: skip
"""About 2 million parameters: learns captioned 32 px shapes on two CPU cores in minutes."""


def to_dict(config: DiTConfig | TrainConfig | DataConfig) -> dict[str, Any]:
    """Return `config` as JSON-ready values; tuples become lists."""
    return {key: _plain(value) for key, value in dataclasses.asdict(config).items()}


def from_dict(kind: type[T], values: dict[str, Any]) -> T:
    """Return a `kind` from values as `to_dict` writes them, nested configurations included.

    Keys that begin with an underscore (diffusers' `_class_name`) are ignored. Raises ConfigError for an unknown key.
    """
    known = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    values = {key: value for key, value in values.items() if not key.startswith("_")}
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ConfigError(f"{kind.__name__} has no {unknown[0]!r}; it has {', '.join(known)}")
    return kind(
        **{
            key: from_dict(SECTIONS[key], value) if key in SECTIONS and value is not None else _frozen(value)
            for key, value in values.items()
        }
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, tuple | list) else value


def _frozen(value: Any) -> Any:
    return tuple(_frozen(inner) for inner in value) if isinstance(value, list) else value


def _times(section: str, times: tuple[float, ...]) -> None:
    if not times or not all(0 <= t <= 1 for t in times):
        raise ConfigError(f"{section}.times is {list(times)}; it must name at least one time in [0, 1]")
