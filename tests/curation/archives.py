"""Inputs for tests of readers: archives that are the same bytes whenever they are made, and what a reader is given."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import zstandard

from curation.sources.given import Given


def gz(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    ".gz": gz,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: zstandard.ZstdCompressor().compress(data),
}
Files = Mapping[str, str] | Mapping[str, bytes]


def _bytes(body: str | bytes) -> bytes:
    return body if isinstance(body, bytes) else body.encode()


def tar(files: Files, format: int = tarfile.PAX_FORMAT) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=format) as archive:
        for name, body in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(_bytes(body))
            archive.addfile(info, io.BytesIO(_bytes(body)))
    return sink.getvalue()


def tar_gz(files: Files) -> bytes:
    return gz(tar(files))


def zipped(files: Files, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for name, body in files.items():
            archive.writestr(zipfile.ZipInfo(name), _bytes(body), method)  # its date is a constant
    return sink.getvalue()


def given(source: str, file: str, data: bytes) -> Given:
    return Given(source, file, lambda: io.BytesIO(data))


def given_folder(source: str, path: Path) -> Given:
    """All of a folder, which is never opened as a file."""
    return Given(source, path.name, lambda: pytest.fail("a folder"), path, tuple(sorted(os.listdir(path))))
