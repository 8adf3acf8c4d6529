"""The GPU benchmark's code, at toy size on a CPU."""

import pytest
import torch

from benchmarks.dit_gpu import main


def test_every_candidate_runs_and_agrees_with_diffusers(capsys: pytest.CaptureFixture[str]):
    rows = main(["--smoke", "--px", "64", "--batch", "2", "--repeats", "1", "--backward", "--no-compile"])
    names = [row["candidate"] for row in rows]
    assert names[:3] == ["diffusers", "ours", "fused"]
    assert all(row["away"] < 1e-4 and row["seconds"] > 0 and row["mfu"] > 0 for row in rows)
    assert len(names) + capsys.readouterr().out.count("left out: attention flash") == 5


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here: it would be measured")
def test_without_a_gpu_nothing_is_measured_and_said_so(capsys: pytest.CaptureFixture[str]):
    assert main([]) == []
    assert capsys.readouterr().out.startswith("no CUDA device: nothing was measured")
