"""Where bytes lie: local paths, http(s) for reading, and whatever Beam's FileSystems know (gs://, s3://).

Commit rule: a file appears under its name only when it is whole, so a second identical writer is harmless.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from curation.errors import InputError
from pipelines import remote


def configure(flags: Sequence[str]) -> None:
    """Give Beam's file systems its options. S3's does not work without, and files are listed before any pipeline is."""
    FileSystems.set_options(PipelineOptions(list(flags)))


if FileSystems._pipeline_options is None:  # a worker has them
    configure(())


def is_local(path: str) -> bool:
    return "://" not in path


def is_http(path: str) -> bool:
    return path.startswith(("http://", "https://"))


def check(path: str) -> None:
    """Raise InputError for a kind of path that nothing here can read or write."""
    try:
        if not is_local(path):
            FileSystems.get_filesystem(path)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None


def join(root: str, *names: str) -> str:
    return "/".join([root.rstrip("/"), *names])


def open_input(path: str, expected: remote.RemoteStat | None = None) -> BinaryIO:
    """A seekable stream of the file's own bytes: compression is never undone behind our back.

    `expected` is what a file behind a URL was when it was listed; another one is an InputError.
    """
    if is_local(path):
        return open(path, "rb")
    if is_http(path):
        return remote.open_url(path, expected)
    stream: BinaryIO = FileSystems.open(path, "application/octet-stream", CompressionTypes.UNCOMPRESSED)
    return stream


def is_file(path: str) -> bool:
    return os.path.isfile(path) if is_local(path) else exists(path)


def check_writable(folder: str) -> None:
    """Raise InputError if a folder cannot be made or written to."""
    check(folder)
    try:
        write_bytes(join(folder, ".writable"), b"")
        remove(join(folder, ".writable"))
    except OSError as error:  # Beam's errors of remote file systems among them
        raise InputError(f"cannot write to {folder}: {error}") from None


def exists(path: str) -> bool:
    return os.path.exists(path) if is_local(path) else bool(FileSystems.exists(path))


def read_bytes(path: str) -> bytes:
    with open_input(path) as stream:
        return stream.read()


def read_json(path: str) -> Any:
    return json.loads(read_bytes(path))


def publish(local: Path, path: str) -> None:
    """Move a finished local file to its final name, in one step that others see entirely or not at all."""
    if not is_local(path):
        with FileSystems.create(path, "application/octet-stream", CompressionTypes.UNCOMPRESSED) as stream:
            with local.open("rb") as finished:
                shutil.copyfileobj(finished, stream, 1 << 20)
        local.unlink()
        return
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(local, target)


def write_bytes(path: str, content: bytes) -> None:
    with scratch(path) as directory:
        file = directory / "file"
        file.write_bytes(content)
        publish(file, path)


def write_json(path: str, value: Any) -> None:
    write_bytes(path, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode())


@contextmanager
def scratch(near: str) -> Iterator[Path]:
    """A temporary directory on the file system where `near` will lie, so that publishing is a rename."""
    parent = None
    if is_local(near):
        parent = Path(near).parent
        parent.mkdir(parents=True, exist_ok=True)
    directory = tempfile.mkdtemp(prefix=".writing-", dir=parent)
    try:
        yield Path(directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def remove(path: str) -> None:
    """Remove a file, or a folder with all that is in it; nothing there is as good."""
    if not is_local(path):
        files = FileSystems.match([path, join(path, "**")])
        if paths := [found.path for match in files for found in match.metadata_list]:
            FileSystems.delete(paths)
    elif os.path.isdir(path):
        shutil.rmtree(path)
    elif os.path.exists(path):
        os.remove(path)


def names_in(directory: str) -> list[str]:
    """Names of the files in a directory, sorted; none if it is not there."""
    if is_local(directory):
        return sorted(os.listdir(directory)) if os.path.isdir(directory) else []
    matches = FileSystems.match([join(directory, "*")])[0].metadata_list
    return sorted(match.path.rsplit("/", 1)[-1] for match in matches)
