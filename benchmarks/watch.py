"""What a command costs: CPU seconds and peak memory of its process tree, sampled while it runs."""

import os
import resource
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

EVERY_SECONDS = 0.3


@dataclass(frozen=True)
class Cost:
    """CPU seconds and memory (resident, shared pages counted once) of a process tree."""

    cpu_seconds: float
    peak_bytes: int
    wall_seconds: float


def run_watched(command: Sequence[str], *, cwd: Path, log: Path) -> Cost:
    """Run a command with one thread per process and return its cost; raises SystemExit when it fails."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(cwd),
    }
    with log.open("w") as stream:
        process = subprocess.Popen(command, cwd=cwd, env=environment, stdout=stream, stderr=subprocess.STDOUT)
        cost = watch(process)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed with exit code {process.returncode}; see {log}")
    return cost


def watch(process: "subprocess.Popen[bytes]") -> Cost:
    """Return what a process that has just been started costs, once it has ended."""
    started = time.monotonic()
    cpu: dict[tuple[int, float], float] = {}
    peak = 0
    while process.poll() is None:
        peak = max(peak, _sample(process.pid, cpu))
        time.sleep(EVERY_SECONDS)
    return Cost(sum(cpu.values()), peak, time.monotonic() - started)


def cpu_seconds() -> float:
    """Return the CPU seconds that this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _sample(pid: int, cpu: dict[tuple[int, float], float]) -> int:
    """Note the CPU seconds of every process of the tree and return its memory."""
    memory = 0
    try:
        tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return 0
    for process in tree:
        try:
            times = process.cpu_times()
            cpu[process.pid, process.create_time()] = times.user + times.system
            memory += process.memory_full_info().pss
        except psutil.Error:
            continue
    return memory
