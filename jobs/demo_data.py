"""The demo collection: about 2,500 images out of installed packages, without a download.

    photos/         real photographs with captions, sources and licences        jobs/demo_photos.py
    paths.jsonl     some of them, listed by relative path                       jobs/demo_photos.py
    altered/        altered copies of them, and truth.csv                       jobs/demo_altered.py
    posters/        rendered bilingual posters, metadata.jsonl                  jobs/demo_posters.py
    digits.tar      handwritten digits, a WebDataset                            jobs/demo_shapes.py
    shapes.parquet  drawn shapes, in the layout of Hugging Face datasets        jobs/demo_shapes.py
    broken/         files that must fail, and expected.csv with the codes       jobs/demo_broken.py
    unusual/        files that must not fail                                    jobs/demo_broken.py
    wiki.xml        a small encyclopedia of what all these show                 jobs/demo_wiki.py

The same arguments give the same bytes with the same versions of Pillow, NumPy, pyarrow and the two packages.
"""

import shutil
from pathlib import Path

from curation.errors import ConfigError
from jobs.demo_altered import write_altered
from jobs.demo_broken import write_broken, write_unusual
from jobs.demo_photos import write_photos
from jobs.demo_posters import write_posters
from jobs.demo_shapes import write_digits, write_shapes
from jobs.demo_wiki import write_wiki


def make_demo_data(
    folder: Path,
    *,
    seed: int = 0,
    digits: int = 1200,
    shapes: int = 900,
    posters: int = 60,
    alterations_per_photo: int = 12,
) -> dict[str, int]:
    """Write the demo collection to `folder` and return the number of images by kind.

    The folder appears only when it is complete. Raises ConfigError if it exists and is not empty.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} already exists and is not empty: name a new folder, or delete this one first")
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    photos = write_photos(partial / "photos")
    counts = {
        "photos": len(photos),
        "altered": write_altered(partial / "altered", photos, per_photo=alterations_per_photo, seed=seed),
        "posters": write_posters(partial / "posters", count=posters, seed=seed),
        "digits": write_digits(partial / "digits.tar", count=digits, seed=seed),
        "shapes": write_shapes(partial / "shapes.parquet", count=shapes, seed=seed),
        "broken": write_broken(partial / "broken", seed=seed),
        "unusual": write_unusual(partial / "unusual", seed=seed),
    }
    write_wiki(partial / "wiki.xml")
    partial.replace(folder)
    return counts
