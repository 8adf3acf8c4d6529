"""Starting or joining Ray: a private one on this machine by default, a cluster's with its address."""

import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from curation.errors import ConfigError

log = logging.getLogger(__name__)

WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK": "True",
}
"""One thread per process: two processes that each start a thread per core run several times slower."""


@contextmanager
def session(*, address: str, num_cpus: int | None, object_store_mb: int) -> Iterator[dict[str, float]]:
    """Connect to Ray, yield the resources it offers, and leave it; a Ray that is already running here is shared.

    Raises ConfigError when Ray does not start or no cluster answers at the address.
    """
    if ray.is_initialized():
        yield dict(ray.cluster_resources())
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "240")
    try:
        if address == "local":
            _start_local(num_cpus, object_store_mb)
        else:
            # Workers on other machines get this folder's code; runs must lie on storage that every node sees.
            ray.init(address=address, runtime_env={"working_dir": ".", "env_vars": WORKER_ENVIRONMENT}, log_to_driver=True)
    except Exception as error:  # Ray has no type for it: a node that is slow to start is a bare Exception
        line = (str(error).splitlines() or [type(error).__name__])[0]
        hint = "is the disk full, or memory short?" if address == "local" else "is the cluster up, and the address right?"
        raise ConfigError(f"ray.address {address}: Ray cannot be started or joined ({line}); {hint}") from error
    try:
        yield dict(ray.cluster_resources())
    finally:
        ray.shutdown()


def _start_local(num_cpus: int | None, object_store_mb: int) -> None:
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # a private cluster on the loopback interface needs no token
    os.environ.update(WORKER_ENVIRONMENT)
    os.environ["PYTHONPATH"] = os.pathsep.join(_own_code())
    ray.init(
        address="local",
        num_cpus=num_cpus,
        include_dashboard=False,
        object_store_memory=object_store_mb << 20,
        logging_level=logging.WARNING,
        log_to_driver=True,
        _temp_dir=tempfile.mkdtemp(prefix="loom-"),  # unix socket paths end at about 107 characters
    )


def _own_code() -> list[str]:
    """Return the folders from which workers import: what the driver sees outside its environment, and where it was started.

    An embedder or judge of the user's own (`my_package.module:Class`) lies there.
    """
    base = (sys.prefix, sys.base_prefix)
    folders = [os.getcwd(), *(os.path.abspath(path) for path in sys.path if path and not path.startswith(base))]
    return list(dict.fromkeys(folders))
