"""Other tools on one folder, each with its own defaults; run by the Python that has them installed.

    PEERS_PYTHON benchmarks/peers.py TOOL FOLDER OUT.json

Tools: imagededup-phash, imagededup-dhash, cleanvision, fastdup, pdq, pdq-dihedral, phash. OUT.json holds the pairs (file names),
the version, CPU seconds without imports, and peak memory. Stands alone: it imports nothing of imageloom.
"""

import json
import os
import resource
import shutil
import sys
import tempfile
from importlib.metadata import version
from itertools import combinations
from pathlib import Path
from typing import Any

PDQ_BITS = 31
"""Hamming distance at which PDQ's authors call two pictures the same."""
PHASH_BITS = 10
"""imagededup's default for 64-bit hashes."""

Pairs = list[tuple[str, str]]


def main() -> None:
    tool, folder, out = sys.argv[1], Path(sys.argv[2]).absolute(), Path(sys.argv[3]).absolute()
    package, imported, find = TOOLS[tool]
    for name in imported:
        __import__(name)
    before = _cpu_seconds()
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        pairs = find(folder)
    record = {
        "tool": tool,
        "version": f"{package} {version(package)}",
        "cpu_seconds": _cpu_seconds() - before,
        "peak_rss_bytes": max(_own_peak(), 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss),
        "pairs": sorted({tuple(sorted(pair)) for pair in pairs if pair[0] != pair[1]}),
    }
    out.write_text(json.dumps(record))


def _own_peak() -> int:
    """Peak memory of this program, bytes; getrusage would count what the process held before it became this program."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def _cpu_seconds() -> float:
    return sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


def _images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix != ".csv")


def _imagededup(method: str, folder: Path) -> Pairs:
    from imagededup import methods

    hasher = getattr(methods, method)(verbose=False)
    found = hasher.find_duplicates(
        encoding_map=hasher.encode_images(image_dir=str(folder), num_enc_workers=1), num_dist_workers=1
    )
    return [(name, other) for name, others in found.items() for other in others]


def _cleanvision(folder: Path) -> Pairs:
    from cleanvision import Imagelab

    lab = Imagelab(data_path=str(folder))
    lab.find_issues({"exact_duplicates": {}, "near_duplicates": {}}, n_jobs=1, verbose=False)
    sets = [group for kind in ("exact_duplicates", "near_duplicates") for group in lab.info[kind]["sets"]]
    return [pair for group in sets for pair in combinations([Path(path).name for path in group], 2)]


def _fastdup(folder: Path) -> Pairs:
    """Return the pairs inside the connected components at the default threshold .96."""
    import fastdup

    with tempfile.TemporaryDirectory() as alone:  # it would read truth.csv as a list of images
        for path in _images(folder):
            shutil.copy(path, alone)
        job = fastdup.create(input_dir=alone, work_dir=str(Path.cwd() / "work"))
        job.run(ccthreshold=0.96, num_threads=1, print_summary=False, verbose=False)
        table = job.connected_components()[0]
    groups = table.groupby("component_id")["filename"].apply(list) if len(table) else []
    return [pair for group in groups for pair in combinations(sorted({Path(name).name for name in group}), 2)]


def _pdq(folder: Path, dihedral: bool = False) -> Pairs:
    import numpy as np
    import pdqhash
    from PIL import Image

    names, plain, forms = [], [], []
    for path in _images(folder):
        with Image.open(path) as opened:
            pixels = np.asarray(opened.convert("RGB"))
        found = pdqhash.compute_dihedral(pixels)[0] if dihedral else [pdqhash.compute(pixels)[0]]
        names.append(path.name)
        plain.append(found[0])
        forms.append(np.stack(found))
    packed = np.packbits(np.stack(plain).astype(bool), axis=1)
    pairs: Pairs = []
    for place, form in enumerate(forms):
        bits = np.unpackbits(packed[None] ^ np.packbits(form.astype(bool), axis=1)[:, None], axis=2).sum(2).min(0)
        pairs += [(names[place], names[other]) for other in np.flatnonzero(bits <= PDQ_BITS)]
    return pairs


def _phash(folder: Path) -> Pairs:
    import imagehash
    import numpy as np
    from PIL import Image

    paths = _images(folder)
    hashes = []
    for path in paths:
        with Image.open(path) as opened:
            hashes.append(imagehash.phash(opened.convert("RGB")).hash.ravel())
    bits = np.stack(hashes)
    distance = (bits[:, None] != bits[None]).sum(2)
    return [(paths[a].name, paths[b].name) for a, b in zip(*np.nonzero(np.triu(distance <= PHASH_BITS, 1)), strict=True)]


TOOLS: dict[str, tuple[str, tuple[str, ...], Any]] = {
    "imagededup-phash": ("imagededup", ("imagededup.methods",), lambda folder: _imagededup("PHash", folder)),
    "imagededup-dhash": ("imagededup", ("imagededup.methods",), lambda folder: _imagededup("DHash", folder)),
    "cleanvision": ("cleanvision", ("cleanvision",), _cleanvision),
    "fastdup": ("fastdup", ("fastdup",), _fastdup),
    "pdq": ("pdqhash", ("pdqhash", "numpy", "PIL.Image"), _pdq),
    "pdq-dihedral": ("pdqhash", ("pdqhash", "numpy", "PIL.Image"), lambda folder: _pdq(folder, dihedral=True)),
    "phash": ("ImageHash", ("imagehash",), _phash),
}
"""Name -> distribution, modules imported before the clock starts, how it finds pairs."""


if __name__ == "__main__":
    main()
