"""The start of one process of sixteen, without the other fifteen: what it holds, and the memory it took to get there."""

import json
import sys
import threading
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch.testing._internal.distributed.fake_pg import FakeStore

from model.config import DiTConfig, TrainConfig
from model.initial import find_base
from model.parallel import local
from model.ranks import Ranks
from model.train_state import TrainState

MODEL = DiTConfig(
    dim=384, n_layers=6, n_refiner_layers=1, n_heads=6, n_kv_heads=6, in_channels=3, cap_feat_dim=32, axes_dims=(16, 24, 24)
)
CONFIG = TrainConfig(model=MODEL, num_threads=1)


class Peak:
    """Watches the most memory of the program's own, without pages of files that are mapped, which the system may take back."""

    def __init__(self) -> None:
        self.bytes, self._done = own_bytes(), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._done.wait(0.001):
            self.bytes = max(self.bytes, own_bytes())

    def stop(self) -> int:
        self._done.set()
        self._thread.join()
        return max(self.bytes, own_bytes())


def own_bytes() -> int:
    return int(Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0]) * 1024


def held(state: TrainState) -> int:
    """Bytes of what this process holds of everything that training changes."""
    return sum(local(tensor).numel() * 4 for tensor in state.tensors().values())


def main(released: str, checkpoint: str, out: Path, rank: int) -> None:
    dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=16)
    ranks = Ranks(rank=rank, size=16, local_rank=rank, local_size=16)
    tiny = replace(CONFIG, model=replace(MODEL, dim=24, axes_dims=(0, 2, 2)))
    TrainState.create(tiny, None, "", ranks=ranks)  # imports, and pools of threads
    found, kept = dict[str, int](), list[TrainState]()
    starts = {"drawn": (CONFIG, None), "released": (replace(CONFIG, init=released), None), "resumed": (CONFIG, Path(checkpoint))}
    for name, (config, resumed) in starts.items():
        before, peak = own_bytes(), Peak()
        state = TrainState.create(config, resumed, "", base=find_base(config.init), ranks=ranks)
        found[name], found[f"{name} peak"] = held(state), peak.stop() - before
        save_file({key: local(x).clone() for key, x in state.tensors().items()}, out / f"{name}.safetensors")
        kept.append(state)  # else the next one would be built in memory that is already there
    (out / "bytes.json").write_text(json.dumps(found))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
