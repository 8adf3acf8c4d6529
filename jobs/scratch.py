"""Files that a worker makes to be committed: in the run folder, so that committing is a rename, and mapped from there later."""

from pathlib import Path
from uuid import uuid4

import numpy as np

from curation.tables import Run


def scratch(run: Run, table: str, name: str) -> Path:
    """Return a new path for an unfinished file of `table`; what is not committed is cleared when the stage finishes."""
    folder = run.folder(table) / "_attempts"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{uuid4().hex}.{name}"


def saved(run: Run, table: str, **arrays: np.ndarray) -> dict[str, Path]:
    """Return file names and paths of arrays that have been written as .npy, to be committed with a part."""
    files = {}
    for name, array in arrays.items():
        path = scratch(run, table, f"{name}.npy")
        np.save(path, array)
        files[f"{name}.npy"] = path
    return files


def mapped(run: Run, table: str, name: str) -> np.ndarray:
    """Return a committed array, mapped from disk, so that workers of one machine share its memory."""
    path = run.folder(table) / f"{name}.npy"
    return np.asarray(np.load(path, mmap_mode="r")) if path.stat().st_size > 256 else np.load(path)
