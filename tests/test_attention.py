"""Attention over packed sequences of many lengths."""

import pytest
import torch
from closed_form import fill
from test_dit import CONFIG

from curation.errors import ConfigError, ModelError
from model.attention import BACKENDS, attend, use_attention, varlen_kernel
from model.config import TrainConfig
from model.dit import DiT
from model.layout import Packing

LENGTHS = (3, 3, 5, 8)
PACKING = Packing(groups=((2, 3), (1, 5), (1, 8)), rope_TP=torch.empty(0), rows_T=torch.zeros(19, dtype=torch.long))


def test_each_sequence_attends_to_itself_alone():
    q, k, v = torch.randn(3, 19, 2, 4, generator=torch.Generator().manual_seed(0))
    found = attend(q, k, v, PACKING)
    for start, stop in zip(PACKING.cu_seqlens[:-1], PACKING.cu_seqlens[1:], strict=True):
        scores = torch.einsum("qhk,thk->hqt", q[start:stop], k[start:stop]) / 2
        wanted = torch.einsum("hqt,thk->qhk", scores.softmax(-1), v[start:stop]).flatten(1)
        assert torch.allclose(found[start:stop], wanted, atol=1e-6)


def test_varlen_kernels_are_told_where_sequences_begin_and_end():
    assert PACKING.cu_seqlens.tolist() == [0, 3, 6, 11, 19]
    assert PACKING.cu_seqlens.dtype == torch.int32
    assert PACKING.longest == 8
    model = fill(DiT(CONFIG))
    layout = model.layout([(4, 8, 12), (4, 16, 8)], (7, 40))
    assert layout.joint.cu_seqlens.tolist() == [0, 64, 160]
    assert len(layout.joint.rope_TP) == 160


def test_a_backend_that_is_not_there_is_named():
    model = DiT(CONFIG)
    with pytest.raises(ConfigError, match="one of sdpa, varlen, flash2, flash3"):
        use_attention(model, "xformers")
    for backend in BACKENDS[1:]:
        try:
            varlen_kernel(backend)
        except ModelError as error:
            assert "needs the package flash-attn" in str(error)
            with pytest.raises(ModelError, match="or use sdpa"):
                use_attention(model, backend)
        else:  # it is installed: it must still refuse what it cannot do
            use_attention(model, backend)
            with pytest.raises(ConfigError, match="bf16 on CUDA"):
                model([torch.zeros(4, 8, 8)], torch.tensor([0.5]), [torch.zeros(3, 24)])
    assert use_attention(model, "sdpa") is model


def test_flash_refuses_float32_and_the_cpu():
    q = torch.zeros(19, 2, 4)
    with pytest.raises(ConfigError, match=r"flash2 needs bf16 on CUDA; tokens are torch.float32 on cpu"):
        attend(q, q, q, PACKING, backend="flash2")


def test_flash_is_configured_with_bf16_alone():
    assert TrainConfig(attention="flash3", precision="bf16").attention == "flash3"
    with pytest.raises(ConfigError, match="flash3 needs precision bf16, not fp32"):
        TrainConfig(attention="flash3")
    with pytest.raises(ConfigError, match="'flash'; it must be sdpa, varlen, flash2 or flash3"):
        TrainConfig(attention="flash")
