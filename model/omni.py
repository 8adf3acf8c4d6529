"""The omni / edit variant of S3-DiT: reference images, their SigLIP features and several text segments beside the target.

In: samples with any number of references, each a latent or None, text features by segment, optional SigLIP grids, and which of
the images are noisy (the target) or clean (references: their tokens are modulated by t = 1). Out: the velocity of every target.
Texts and SigLIP grids do not see t, so `refine` runs their branches once per prompt; references do meet the noisy target in the
noise refiner, as in the released model, and are computed in every step.

Two quirks of the released code are switches of DiTConfig: `scrambled_siglip` and `shifted_text_positions`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from model.layout import check_latent, with_padding
from model.omni_layout import OmniLayout, OmniShape, omni_layout

if TYPE_CHECKING:
    from model.dit import DiT

# B samples, T tokens of all samples, D width, C latent channels, S width of SigLIP features


@dataclass(frozen=True)
class OmniSample:
    """One sample: `images` are references, then the target (C, h, w); None stands for an image that is missing.

    text: features (L_j, cap_feat_dim) by segment, at least one per image. siglip: features (h, w, S) of each image, None where
    there are none; None as a whole: no SigLIP sequence. noisy: one flag per image; default: the target alone.
    """

    images: tuple[Tensor | None, ...]
    text: tuple[Tensor, ...]
    siglip: tuple[Tensor | None, ...] | None = None
    noisy: tuple[bool, ...] | None = None

    @property
    def target(self) -> Tensor:
        """The image whose velocity is wanted."""
        target = self.images[-1]
        assert target is not None, "the layout refuses such a sample"
        return target


@dataclass(frozen=True)
class RefinedCondition:
    """Text and SigLIP tokens after their refiners, packed as the layout of their batch says."""

    text_TD: Tensor
    siglip_TD: Tensor | None


def layout_of(model: "DiT", samples: Sequence[OmniSample]) -> OmniLayout:
    """Return the cached layout of a batch of samples; raises ValueError for a sample that does not fit the model."""
    config = model.config
    if len({sample.siglip is None for sample in samples}) > 1:
        raise ValueError("one batch mixes samples with and without SigLIP features; make two batches of it")
    return omni_layout(
        tuple(_shape(model, sample) for sample in samples),
        patch=config.patch_px,
        pad_to=config.pad_to,
        axes_dims=config.axes_dims,
        theta=config.rope_theta,
        shifted_text=config.shifted_text_positions,
        device=model.x_pad_token.device,
    )


def refine(model: "DiT", samples: Sequence[OmniSample]) -> RefinedCondition:
    """Return texts and SigLIP features after embedding, padding and refiners; what a whole sampling run can reuse."""
    layout = layout_of(model, samples)
    text = model.cap_embedder(torch.cat([features for sample in samples for features in sample.text]).to(model.dtype))
    text = with_padding(text, model.cap_pad_token, layout.text.rows_T)
    for block in model.context_refiner:
        text = block(text, layout.text.packing)
    if layout.siglip is None:
        return RefinedCondition(text, None)
    grids = [grid for sample in samples for grid in sample.siglip or () if grid is not None]
    flat = [_flattened(grid, scrambled=model.config.scrambled_siglip) for grid in grids]
    width = model.config.siglip_feat_dim or 0
    siglip = model.siglip_embedder(torch.cat(flat).to(model.dtype) if flat else model.x_pad_token.new_empty(0, width))
    siglip = with_padding(siglip, model.siglip_pad_token, layout.siglip.rows_T)
    for block in model.siglip_refiner:
        siglip = block(siglip, layout.siglip.packing)
    return RefinedCondition(text, siglip)


def velocity(model: "DiT", samples: Sequence[OmniSample], t_B: Tensor, condition: RefinedCondition | None = None) -> list[Tensor]:
    """Return the velocity x_data - x_noise of every sample's target, (C, h, w) each.

    t_B: times in [0, 1] of the samples, 0 noise and 1 data; one value serves all. condition: what `refine` returned for them.
    """
    from model.dit import patchify, unpatchify

    layout = layout_of(model, samples)
    condition = refine(model, samples) if condition is None else condition
    times = torch.cat([t_B.expand(len(samples)), torch.ones_like(t_B).expand(len(samples))])
    cond_R = model.t_embedder(times.float() * model.config.t_scale).to(model.dtype)
    images = [image for sample in samples for image in sample.images if image is not None]
    x_TD = model.all_x_embedder[model.patch_key](patchify(images, model.config.patch_px).to(model.dtype))
    x_TD = with_padding(x_TD, model.x_pad_token, layout.image.rows_T)
    for block in model.noise_refiner:
        x_TD = block(x_TD, layout.image.packing, cond_R)
    parts = [condition.text_TD, x_TD, *([] if condition.siglip_TD is None else [condition.siglip_TD])]
    x_TD = torch.cat(parts).index_select(0, layout.join_T)
    for block in model.layers:
        x_TD = block(x_TD, layout.joint, cond_R)
    tokens = model.all_final_layer[model.patch_key](x_TD.index_select(0, layout.target_T), layout.target, cond_R)
    shapes = [(int(c), int(h), int(w)) for c, h, w in (sample.target.shape for sample in samples)]
    return unpatchify(tokens, shapes, model.config.patch_px)


def _shape(model: "DiT", sample: OmniSample) -> OmniShape:
    config, patch = model.config, model.config.patch_px
    noisy = (False,) * (len(sample.images) - 1) + (True,) if sample.noisy is None else sample.noisy
    if len(sample.text) < len(sample.images) or len(noisy) != len(sample.images):
        raise ValueError(
            f"{len(sample.images)} images need at least as many text segments and as many noise flags; "
            f"there are {len(sample.text)} and {len(noisy)}"
        )
    if sample.siglip is not None and (config.siglip_feat_dim is None or len(sample.siglip) != len(sample.images)):
        raise ValueError(
            f"{len(sample.siglip)} SigLIP grids for {len(sample.images)} images in a model "
            f"{'without' if config.siglip_feat_dim is None else 'with'} siglip_feat_dim; None stands for a missing one"
        )
    for image in sample.images:
        if image is not None:
            check_latent(image.shape, channels=config.in_channels, patch=patch)
    if sample.images[-1] is None:
        raise ValueError("an omni sample needs a target: its last image must not be None")
    return OmniShape(
        texts=tuple(len(features) for features in sample.text),
        images=tuple(None if image is None else (image.shape[1] // patch, image.shape[2] // patch) for image in sample.images),
        siglips=None
        if sample.siglip is None
        else tuple(None if grid is None else (grid.shape[0], grid.shape[1]) for grid in sample.siglip),
        noisy=noisy,
    )


def _flattened(grid: Tensor, *, scrambled: bool) -> Tensor:
    """Return the features of a grid (h, w, S) as (h * w, S); scrambled: channels read as positions, as the released code does."""
    rows, columns, width = grid.shape
    return (grid.permute(2, 0, 1) if scrambled else grid).reshape(rows * columns, width)
