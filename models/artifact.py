"""A model on disk: a directory whose manifest pins every file by SHA-256, written last.

`MODELS/NAME/manifest.json` holds name, kind, format, files (file name to sha256), licence, origin and parameters. A
directory without a manifest is not an artifact, so one that was interrupted while it was written is never read.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curation.errors import ModelError

MANIFEST = "manifest.json"

# What makes the artifact of each name (as far as its first "-"; `{rest}` is the rest, `{name}` all of it), where it
# is missing.
_MAKERS = {
    "evals": "models.make_evals --evals DIR --name {rest}",
    "extractor": "models.train_extractor --warc FILES --name {name}",
    "language_id": "models.fetch language_id",
    "list": "models.make_list --name {rest}",
    "quality": "models.fetch dclm-quality",
    "perplexity": "models.fetch ccnet-lm-{rest}` or `python -m models.train_perplexity --language {rest}",
    "reference": "pipelines.reference",
    "token_distribution": "models.train_token_distribution --language {rest}",
    "tokenizer": "models.train_tokenizer",
}

# Directories verified by this process: their manifest and the size and time of each file, as they were then.
_verified: dict[Path, tuple[object, ...]] = {}


def write_artifact(
    directory: Path,
    files: Mapping[str, bytes | Path],
    *,
    kind: str,
    format: str,
    licence: str,
    origin: str,
    parameters: Mapping[str, Any] | None = None,
) -> Path:
    """Write `files` (contents, or a file to copy) and their manifest as the artifact `directory`, replacing it.

    Files of the artifact that is replaced can be named to stay. `format` says how the files are read, `origin` where
    they come from or what taught them. The name of the artifact is that of the directory. No date or path enters the
    manifest: equal files and arguments give equal bytes.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        hashes = {}
        for name, content in sorted(files.items()):
            if not _is_plain(name) or name == MANIFEST:
                raise ValueError(f"not a file name for an artifact: {name!r}")
            if isinstance(content, Path):
                _take(content, temporary / name, keep=content.parent == directory)
            else:
                (temporary / name).write_bytes(content)
            hashes[name] = _sha256(temporary / name)
        manifest = {
            "name": directory.name,
            "kind": kind,
            "format": format,
            "files": hashes,
            "licence": licence,
            "origin": origin,
            "parameters": dict(parameters or {}),
        }
        text = json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        (temporary / MANIFEST).write_text(text, encoding="utf-8")
        temporary.chmod(0o755)
        if directory.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{directory.name}.old.", dir=directory.parent))
            os.replace(directory, old / "old")
            os.replace(temporary, directory)
            shutil.rmtree(old)
        else:
            os.replace(temporary, directory)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return directory


def npy(array: npt.NDArray[Any]) -> bytes:
    """An array as the content of a .npy file."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def open_artifact(models_dir: Path, name: str) -> Path:
    """The directory of artifact `name`, every file of it verified (once per process, and again if a file changes).

    Raises ModelError when the artifact or a file of it is missing, or a file is not the one that the manifest pins.
    """
    directory = Path(models_dir) / name
    files = read_manifest(directory)["files"]
    state = (tuple(sorted(files.items())), *(_stat(directory, file) for file in sorted(files)))
    if _verified.get(directory.resolve()) != state:
        for file, expected in sorted(files.items()):
            if (found := _sha256(directory / file)) != expected:
                raise ModelError(
                    f"{directory / file} is not the file its manifest describes (sha256 {found[:12]}…, "
                    f"not {expected[:12]}…): {_remedy(directory)}"
                )
        _verified[directory.resolve()] = state
    return directory


def artifact_identity(models_dir: Path, name: str) -> str:
    """SHA-256 (hex) over the names and hashes of the verified files: what a stage's key knows of a model."""
    return files_identity(read_manifest(open_artifact(models_dir, name))["files"])


def files_identity(files: Mapping[str, str]) -> str:
    """SHA-256 (hex) over names of files and their hashes."""
    return hashlib.sha256("".join(f"{file}\0{files[file]}\n" for file in sorted(files)).encode()).hexdigest()


def read_manifest(directory: Path) -> dict[str, Any]:
    """The manifest of an artifact. Its files are not verified: `open_artifact` does that. Raises ModelError."""
    path = directory / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise ModelError(f"no model at {directory} ({MANIFEST} is missing): {_remedy(directory)}") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read ({error}): {_remedy(directory)}") from None
    files = manifest.get("files") if isinstance(manifest, dict) else None
    if not isinstance(files, dict) or not files or not all(_is_plain(file) for file in files):
        raise ModelError(f"{path} names no files: {_remedy(directory)}")
    return dict(manifest)


def _take(source: Path, target: Path, *, keep: bool) -> None:
    """Copy a file; one of the very artifact that is replaced goes over as it is, since models can be of gigabytes."""
    if keep:
        try:
            os.link(source, target)
            return
        except OSError:
            pass  # a file system without links
    shutil.copyfile(source, target)


def _is_plain(name: str) -> bool:
    return Path(name).name == name and name not in ("", ".", "..")


def _stat(directory: Path, file: str) -> tuple[int, int]:
    try:
        stat = (directory / file).stat()
    except OSError:
        raise ModelError(f"{directory / file} is missing: {_remedy(directory)}") from None
    return stat.st_size, stat.st_mtime_ns


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remedy(directory: Path) -> str:
    kind, _, rest = directory.name.partition("-")
    if kind not in _MAKERS:
        return f"put the artifact {directory.name} there"
    return f"make it with `python -m {_MAKERS[kind].format(rest=rest, name=directory.name)} --out {directory.parent}`"


def check_there(models_dir: Path, names: Iterable[str]) -> None:
    """Raise a ModelError that names every artifact that is missing, and how each is made."""
    missing = [Path(models_dir) / name for name in dict.fromkeys(names)]
    missing = [directory for directory in missing if not (directory / MANIFEST).is_file()]
    if len(missing) == 1:
        raise ModelError(f"no model at {missing[0]} ({MANIFEST} is missing): {_remedy(missing[0])}")
    if missing:
        first = ", ".join(f"{directory.name}: {_remedy(directory)}" for directory in missing[:3])
        others = [directory.name for directory in missing[3:]]
        more = f"; and {len(others)} more: {', '.join(others)}" if others else ""
        raise ModelError(f"{models_dir} lacks {len(missing)} models. {first}{more}")
