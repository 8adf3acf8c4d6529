"""Features of frozen encoders, each computed once: latents of images, token features of captions, SigLIP grids.

In memory up to a limit, and optionally in a folder that all ranks and later runs share: one file per entry below the fingerprint
of the encoder, written under a temporary name and renamed, with the SHA-256 of its content in front. A file that does not match
is computed again and counted; a full folder or disk means that nothing more is written, never that training stops. Values are
kept to the bit, so a run with a cache equals one without.
"""

import hashlib
import logging
import os
import threading
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from model.autoencoder import Autoencoder, FluxVAE, PCAAutoencoder

logger = logging.getLogger(__name__)

RECOUNT = 256
"""Entries written between two looks at how full the folder is: ranks do not tell each other."""


class FeatureCache:
    """Tensors by key, for one encoder."""

    def __init__(self, fingerprint: str, *, memory_bytes: int, folder: Path | None = None, folder_bytes: int = 100 << 30) -> None:
        """fingerprint: names the encoder and all that its features depend on. folder_bytes: of all encoders in `folder`.

        Several processes together may exceed folder_bytes by RECOUNT entries each.
        """
        self.memory_bytes, self.root, self.folder_bytes = memory_bytes, folder, folder_bytes
        self.folder = folder / hashlib.sha256(fingerprint.encode()).hexdigest()[:16] if folder else None
        self.size_bytes = 0
        self.corrupt = 0
        """Entries that were on disk and could not be used."""
        self._tensors: dict[str, Tensor] = {}
        self._written = 0
        self._full = False

    def has(self, key: str) -> bool:
        """Say whether `get` will probably find `key`; a file is not opened."""
        path = self._path(key)
        return key in self._tensors or (path is not None and path.is_file())

    def get(self, key: str) -> Tensor | None:
        """Return the tensor of `key`, or None."""
        known = self._tensors.get(key)
        if known is not None:
            return known
        path = self._path(key)
        stored = self._read(path) if path is not None else None
        if stored is not None:
            self._keep(key, stored)
        return stored

    def put(self, key: str, tensor: Tensor) -> None:
        """Keep a tensor that was computed."""
        self._keep(key, tensor)
        path = self._path(key)
        if path is not None and not self._is_full():
            self._write(path, tensor)

    def _keep(self, key: str, tensor: Tensor) -> None:
        size = tensor.numel() * tensor.element_size()
        if key not in self._tensors and self.size_bytes + size <= self.memory_bytes:
            self._tensors[key] = tensor
            self.size_bytes += size

    def _path(self, key: str) -> Path | None:
        if self.folder is None:
            return None
        name = hashlib.sha256(key.encode()).hexdigest()
        return self.folder / name[:2] / f"{name[2:]}.features"

    def _read(self, path: Path) -> Tensor | None:
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            logger.warning("cached features cannot be read, they are computed again: %s", error)
            content = b""
        try:
            if hashlib.sha256(content[32:]).digest() == content[:32]:
                stored: Tensor = load(content[32:])["x"]
                return stored
        except (SafetensorError, KeyError):
            pass  # another format under a right checksum: not ours, as corrupt as a wrong one
        self.corrupt += 1
        logger.warning("%s is damaged, the %d. such entry; its features are computed again", path, self.corrupt)
        path.unlink(missing_ok=True)
        return None

    def _write(self, path: Path, tensor: Tensor) -> None:
        payload = save({"x": tensor.detach().cpu().contiguous()})
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(hashlib.sha256(payload).digest() + payload)
            temporary.replace(path)
        except OSError as error:
            logger.warning("features are not cached any more: %s", error)
            self._full = True
            with suppress(OSError):
                temporary.unlink()

    def _is_full(self) -> bool:
        """Look now and then at how much the folder holds; once full, it stays so for this process."""
        if not self._full and self._written % RECOUNT == 0:
            self._full = self.root is not None and folder_bytes(self.root) >= self.folder_bytes
            if self._full:
                logger.warning("%s holds %d bytes or more; no more features are cached", self.root, self.folder_bytes)
        self._written += 1
        return self._full


def weights_fingerprint(folder: Path) -> str:
    """Return a hash of a model folder's configuration and of the names and sizes of its weight files."""
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    for path in sorted(folder.glob("*.safetensors")):
        digest.update(f"{path.name}:{path.stat().st_size}".encode())
    return digest.hexdigest()[:16]


def folder_bytes(folder: Path) -> int:
    """Return the bytes of the files below a folder; what vanishes meanwhile counts nothing."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(where, name)).st_size
            except FileNotFoundError:
                continue
    return total


def autoencoder_fingerprint(autoencoder: Autoencoder) -> str:
    """Return a name of an autoencoder and of everything its latents depend on: its numbers and the kind of device."""
    digest = hashlib.sha256()
    if isinstance(autoencoder, PCAAutoencoder):
        kind, device = "pca", "cpu"
        tensors = {"mean": autoencoder.mean, "components": autoencoder.components, "scale": autoencoder.scale}
    else:
        assert isinstance(autoencoder, FluxVAE)
        kind, device = f"flux:{autoencoder.scaling}:{autoencoder.shift}", autoencoder.model.device.type
        tensors = dict(autoencoder.model.state_dict())
    for name in sorted(tensors):
        digest.update(f"{name}:{tensors[name].dtype}:{tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return f"latents:{kind}:{device}:{digest.hexdigest()}"
