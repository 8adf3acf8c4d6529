"""S3-DiT, the single-stream diffusion transformer of Z-Image (arXiv 2511.22699), with the released state-dict keys.

Notable features: sandwich RMSNorm, QK-norm, 3-axis RoPE, SwiGLU, one shared low-rank time vector with one up-projection per
block, tanh gates, refiner blocks for image and text before the joint ones. In: latents of any sizes, times t (0 noise, 1 data)
and text features of any lengths. Out: the velocity x_data - x_noise of each latent. Ragged batches are packed (layout.py), so
nothing is computed for the sake of equal lengths. The text branch does not see t: `refine_text` runs it once per prompt.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.aligned import Linear
from model.attention import Attention
from model.config import DiTConfig
from model.drawn import drawn_weights
from model.layout import Layout, Packing, check_latent, text_packing, text_to_image_layout, with_padding
from model.modulation import gated_sum, modulate, scaled_norm
from model.omni import OmniSample, RefinedCondition, velocity
from model.swiglu import swiglu

# B samples, T tokens of all samples, D width, R rows of time conditioning, C latent channels


@dataclass(frozen=True)
class RefinedText:
    """Text tokens after the context refiner, packed, with the true lengths of the texts in batch order."""

    tokens_TD: Tensor
    lengths: tuple[int, ...]


class FeedForward(nn.Module):
    """SwiGLU: w2(SiLU(w1 x) * w3 x)."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.w1, self.w2, self.w3 = Linear(dim, hidden), Linear(hidden, dim), Linear(dim, hidden)

    def forward(self, x_TD: Tensor) -> Tensor:
        """Return (T, D)."""
        out: Tensor = self.w2(swiglu(self.w1(x_TD), self.w3(x_TD)))
        return out


class Block(nn.Module):
    """One transformer block with norms before and after each branch; modulated by time when `modulated`."""

    def __init__(self, config: DiTConfig, *, modulated: bool) -> None:
        super().__init__()
        self.eps = config.norm_eps
        self.attention: nn.Module = Attention(config)
        self.feed_forward: nn.Module = FeedForward(config.dim, config.ffn_dim)
        self.attention_norm1, self.attention_norm2 = (nn.RMSNorm(config.dim, eps=config.norm_eps) for _ in range(2))
        self.ffn_norm1, self.ffn_norm2 = (nn.RMSNorm(config.dim, eps=config.norm_eps) for _ in range(2))
        self.adaLN_modulation = nn.Sequential(nn.Linear(config.cond_dim, 4 * config.dim)) if modulated else None

    def forward(self, x_TD: Tensor, packing: Packing, cond_R: Tensor | None = None) -> Tensor:
        """Return the tokens after attention and feed-forward, (T, D)."""
        before, after, before_ffn, after_ffn = self._factors(cond_R)
        attended = self.attention(scaled_norm(x_TD, before, packing, eps=self.eps), packing)
        x_TD = gated_sum(x_TD, attended, after, packing, eps=self.eps)
        fed = self.feed_forward(scaled_norm(x_TD, before_ffn, packing, eps=self.eps))
        return gated_sum(x_TD, fed, after_ffn, packing, eps=self.eps)

    def _factors(self, cond_R: Tensor | None) -> list[Tensor]:
        """Return what normed tokens are multiplied by at the block's four places, (R, D) each: gain of the norm and time."""
        norms = (self.attention_norm1, self.attention_norm2, self.ffn_norm1, self.ffn_norm2)
        gains = [norm.weight.unsqueeze(0) for norm in norms]
        if self.adaLN_modulation is None:
            return gains
        s1, g1, s2, g2 = self.adaLN_modulation(cond_R).chunk(4, dim=-1)
        return [gain * factor for gain, factor in zip(gains, (1 + s1, g1.tanh(), 1 + s2, g2.tanh()), strict=True)]


class TimeEmbedder(nn.Module):
    """Sinusoid of the scaled time (cosines first), then a two-layer MLP."""

    def __init__(self, out_dim: int, *, width: int = 256, hidden: int = 1024) -> None:
        super().__init__()
        self.width = width
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.SiLU(), nn.Linear(hidden, out_dim))

    def forward(self, time_R: Tensor) -> Tensor:
        """Return (R, out_dim); `time_R` is t * t_scale."""
        half = self.width // 2
        frequencies = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32, device=time_R.device) / half)
        angles = time_R.float()[:, None] * frequencies
        wave = torch.cat([angles.cos(), angles.sin()], dim=-1)
        out: Tensor = self.mlp(wave.to(next(self.mlp.parameters()).dtype))
        return out


class FinalLayer(nn.Module):
    """LayerNorm, time scale, projection to the patch."""

    def __init__(self, config: DiTConfig, out_dim: int) -> None:
        super().__init__()
        self.norm_final = nn.LayerNorm(config.dim, eps=1e-6, elementwise_affine=False)
        self.linear = nn.Linear(config.dim, out_dim)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(config.cond_dim, config.dim))

    def forward(self, x_TD: Tensor, packing: Packing, cond_R: Tensor) -> Tensor:
        """Return (T, out_dim)."""
        out: Tensor = self.linear(modulate(self.norm_final(x_TD), 1 + self.adaLN_modulation(cond_R), packing))
        return out


def patchify(latents: Sequence[Tensor], patch: int) -> Tensor:
    """Return the tokens of latents (C, h, w), sample by sample: (T, patch * patch * C), channel fastest inside a token."""
    if all(x.shape == latents[0].shape for x in latents):
        return _tokens(torch.stack(tuple(latents)), patch)
    return torch.cat([_tokens(x[None], patch) for x in latents])


def unpatchify(tokens: Tensor, shapes: Sequence[tuple[int, int, int]], patch: int) -> list[Tensor]:
    """Return latents (C, h, w) of `shapes` from tokens as `patchify` writes them."""
    if all(shape == shapes[0] for shape in shapes):
        return list(_latents(tokens, len(shapes), shapes[0], patch).unbind())
    parts = torch.split(tokens, [h * w // patch**2 for _, h, w in shapes])
    return [_latents(part, 1, shape, patch)[0] for part, shape in zip(parts, shapes, strict=True)]


def _tokens(x_BChw: Tensor, patch: int) -> Tensor:
    batch, channels, height, width = x_BChw.shape
    x = x_BChw.reshape(batch, channels, height // patch, patch, width // patch, patch)
    return x.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(0, 2)


def _latents(tokens: Tensor, batch: int, shape: tuple[int, int, int], patch: int) -> Tensor:
    channels, height, width = shape
    x = tokens.view(batch, height // patch, width // patch, patch, patch, channels)
    return x.permute(0, 5, 1, 3, 2, 4).reshape(batch, channels, height, width)


class DiT(nn.Module):
    """The S3-DiT. Keys and shapes of its state dict are those of the released checkpoints, the omni variant's included."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.config = config
        patches = {f"{p}-{f}": f * p * p * config.in_channels
                   for p, f in zip(config.all_patch_size, config.all_f_patch_size, strict=True)}  # fmt: skip
        self.all_x_embedder = nn.ModuleDict({key: nn.Linear(width, config.dim) for key, width in patches.items()})
        self.all_final_layer = nn.ModuleDict({key: FinalLayer(config, width) for key, width in patches.items()})
        self.noise_refiner = _blocks(config, config.n_refiner_layers, modulated=True)
        self.context_refiner = _blocks(config, config.n_refiner_layers, modulated=False)
        self.t_embedder = TimeEmbedder(config.cond_dim)
        self.cap_embedder = nn.Sequential(
            nn.RMSNorm(config.cap_feat_dim, eps=config.norm_eps), nn.Linear(config.cap_feat_dim, config.dim)
        )
        if config.siglip_feat_dim is not None:
            self.siglip_embedder = nn.Sequential(
                nn.RMSNorm(config.siglip_feat_dim, eps=config.norm_eps), nn.Linear(config.siglip_feat_dim, config.dim)
            )
            self.siglip_refiner = _blocks(config, config.n_refiner_layers, modulated=False)
            self.siglip_pad_token = nn.Parameter(torch.empty(1, config.dim))
        self.x_pad_token = nn.Parameter(torch.empty(1, config.dim))
        self.cap_pad_token = nn.Parameter(torch.empty(1, config.dim))
        self.layers = _blocks(config, config.n_layers, modulated=True)

    @property
    def patch_key(self) -> str:
        """Key of the patch size in use: the first of the configuration."""
        return f"{self.config.all_patch_size[0]}-{self.config.all_f_patch_size[0]}"

    @property
    def dtype(self) -> torch.dtype:
        """What tokens are computed in: the dtype of the weights."""
        return self.x_pad_token.dtype

    def lower(self) -> "DiT":
        """Turn the weights to bfloat16, in place, and return self; the embedding of t, where 1000 t needs its digits, stays."""
        self.to(torch.bfloat16)
        self.t_embedder.float()
        return self

    @torch.no_grad()
    def initialize(self, *, seed: int) -> "DiT":
        """Fill all weights for training from scratch, as `model.drawn` says, and return self."""
        named = dict(self.named_parameters())
        for name, value in drawn_weights(((name, tuple(p.shape)) for name, p in named.items()), seed=seed):
            named[name].copy_(value)
        return self

    def refine_text(self, text: Sequence[Tensor]) -> RefinedText:
        """Return text features (L_i, cap_feat_dim) after embedding, padding and context refiner; does not depend on t."""
        config = self.config
        lengths = tuple(len(features) for features in text)
        packing, rows = text_packing(
            lengths,
            pad_to=config.pad_to,
            axes_dims=config.axes_dims,
            theta=config.rope_theta,
            device=self.x_pad_token.device,
        )
        tokens: Tensor = self.cap_embedder(torch.cat(tuple(text)).to(self.dtype))
        tokens = with_padding(tokens, self.cap_pad_token, rows)
        for block in self.context_refiner:
            tokens = block(tokens, packing)
        return RefinedText(tokens, lengths)

    def forward(
        self,
        latents: Sequence[Tensor] | Sequence[OmniSample],
        t_B: Tensor,
        text: Sequence[Tensor] | RefinedText | RefinedCondition | None = None,
        *,
        copies: int = 1,
    ) -> list[Tensor]:
        """Return the velocity x_data - x_noise of every latent, or of every omni sample's target.

        latents: (C, h, w) each, h and w multiples of the patch; sizes may differ. A tensor (B, C, h, w) is a sequence too.
        t_B: times in [0, 1], 0 noise and 1 data; one value (shape (1,)) serves the whole batch.
        text: features (L_i, cap_feat_dim) each, or what `refine_text` returned for them. Omni samples hold their own texts:
            None, or what `model.omni.refine` returned for them.
        copies: texts per latent: latent i has the texts i, i + B, ..., and one velocity for each in their order. What does not
            depend on the text is computed once: guidance is two copies.
        """
        samples = [sample for sample in latents if isinstance(sample, OmniSample)]
        if samples:
            return velocity(self, samples, t_B, text if isinstance(text, RefinedCondition) else None)
        if text is None or isinstance(text, RefinedCondition):
            raise ValueError("latents need the features of their captions, or what refine_text returned for them")
        return self._text_to_image([x for x in latents if isinstance(x, Tensor)], t_B, text, copies)

    def _text_to_image(
        self, latents: Sequence[Tensor], t_B: Tensor, text: Sequence[Tensor] | RefinedText, copies: int
    ) -> list[Tensor]:
        refined = text if isinstance(text, RefinedText) else self.refine_text(text)
        shapes = [(int(x.shape[0]), int(x.shape[1]), int(x.shape[2])) for x in latents]
        if copies > 1 and any(h * w // self.config.patch_px**2 % self.config.pad_to for _, h, w in shapes):
            # Image padding lies at position 0, real tokens behind the text: the noise refiner sees how long the text is.
            t_B = t_B if len(t_B) == 1 else t_B.repeat(copies)
            latents, shapes, copies = list(latents) * copies, shapes * copies, 1
        layout = self.layout(shapes, refined.lengths, copies=copies)
        cond_R = self.t_embedder(t_B.float() * self.config.t_scale).to(self.dtype)
        x_TD = self.all_x_embedder[self.patch_key](patchify(latents, self.config.patch_px).to(self.dtype))
        x_TD = with_padding(x_TD, self.x_pad_token, layout.pad_image_T)
        for block in self.noise_refiner:
            x_TD = block(x_TD, layout.image, cond_R)
        x_TD = _join(x_TD, refined.tokens_TD, layout)
        for block in self.layers:
            x_TD = block(x_TD, layout.joint, cond_R)
        tokens = self.all_final_layer[self.patch_key](_real(x_TD, layout), layout.real, cond_R)
        return unpatchify(tokens, shapes * copies, self.config.patch_px)

    def layout(self, shapes: Sequence[tuple[int, int, int]], text_lengths: tuple[int, ...], *, copies: int = 1) -> Layout:
        """Return the cached layout for latents of `shapes` (C, h, w) and texts of `text_lengths` tokens, `copies` per latent."""
        config, patch = self.config, self.config.patch_px
        for shape in shapes:
            check_latent(shape, channels=config.in_channels, patch=patch)
        if len(shapes) * copies != len(text_lengths):
            raise ValueError(f"{len(shapes)} latents, but {len(text_lengths)} texts" + f" for {copies} copies" * (copies > 1))
        sizes = tuple((height // patch, width // patch) for _, height, width in shapes)
        return text_to_image_layout(
            sizes,
            text_lengths,
            pad_to=config.pad_to,
            axes_dims=config.axes_dims,
            theta=config.rope_theta,
            device=self.x_pad_token.device,
        )


def _blocks(config: DiTConfig, count: int, *, modulated: bool) -> nn.ModuleList:
    return nn.ModuleList([Block(config, modulated=modulated) for _ in range(count)])


def _join(image_TD: Tensor, text_TD: Tensor, layout: Layout) -> Tensor:
    if layout.join_T is not None:
        return torch.cat([image_TD, text_TD]).index_select(0, layout.join_T)
    batch = layout.joint.groups[0][0]
    image, text = (x.view(batch, -1, x.shape[-1]) for x in (image_TD, text_TD))
    return torch.cat([image, text], dim=1).flatten(0, 1)


def _real(x_TD: Tensor, layout: Layout) -> Tensor:
    if layout.join_T is None and layout.real.uniform:
        batch, length = layout.real.groups[0]
        return x_TD.view(batch, -1, x_TD.shape[-1])[:, :length].flatten(0, 1)
    return x_TD.index_select(0, layout.real_T)
