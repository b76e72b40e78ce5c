"""Fetch one large file over HTTP: continued after a break, tried again with growing waits, never without an end.

What was fetched once is remembered beside it, as FILE.json with its SHA-256: a later fetch that gives other bytes is
refused. So a hash that nobody published is at least one that does not change unseen.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import http.client
import json
import os
import re
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple
from urllib.parse import unquote, urlsplit

from curation.errors import ModelError

_RETRIED_STATUS = frozenset({403, 408, 425, 429, 500, 502, 503, 504})
_CHUNK = 1 << 20
_REPORT_SECONDS = 10.0
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait (seconds), and how often to try without getting a byte further."""

    tries: int = 6
    first_wait: float = 1.0
    longest_wait: float = 60.0
    timeout: float = 30.0  # to connect, and without a single byte
    sleep: Callable[[float], None] = time.sleep

    def wait(self, failures: int, asked: float) -> float:
        return max(min(asked, 10 * self.longest_wait), min(self.longest_wait, self.first_wait * 2.0 ** (failures - 1)))


class Obtained(NamedTuple):
    """A file that is there. `pinned`: its SHA-256 is one that we computed ourselves, not only what came at first."""

    path: Path
    sha256: str
    pinned: bool


class _TryAgainError(Exception):
    """Worth another try; the message says what went wrong, `asked` for how many seconds the server wants to be left."""

    def __init__(self, message: str, asked: float = 0.0) -> None:
        super().__init__(message)
        self.asked = asked


def place(url: str, cache: Path) -> Path:
    """Where the file behind a URL is kept: CACHE/HOST/PATH."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"not a web address: {url}")
    return cache / parts.hostname / unquote(parts.path).lstrip("/")


def recorded(url: str, cache: Path) -> str | None:
    """The SHA-256 (hex) that the file behind a URL had when it was first fetched; None if it never was."""
    try:
        return str(json.loads(_record(place(url, cache)).read_text(encoding="utf-8"))["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def obtain(url: str, sha256: str | None, cache: Path, patience: Patience | None = None) -> Obtained:
    """The file behind `url`, from the cache or fetched into it.

    Raises ModelError in one line: which file to put where when it cannot be fetched; and when it is not the file that
    `sha256` pins, or that came the first time.
    """
    path = place(url, cache)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file():
            fetched = _fetch(url, path, patience or Patience())
            digest = _checked(fetched, url, sha256, cache)
            _write_record(path, url, digest)
            os.replace(fetched, path)
            _state(path).unlink(missing_ok=True)
        else:
            digest = _checked(path, url, sha256, cache)
            _write_record(path, url, digest)
    except OSError as error:
        raise ModelError(
            f"cannot write below {cache} ({error.strerror or error}): choose another folder with --cache"
        ) from None
    return Obtained(path, digest, sha256 is not None)


def _checked(path: Path, url: str, sha256: str | None, cache: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    first = recorded(url, cache)
    expected = sha256 or first or digest
    if digest == expected:
        return digest
    path.unlink()
    if sha256:
        raise ModelError(
            f"{url} is not the expected file (sha256 {digest[:12]}…, not {sha256[:12]}…); it was removed: run again"
        )
    raise ModelError(
        f"{url} is not the file that it was when it was first fetched (sha256 {digest[:12]}…, not {expected[:12]}…); "
        f"it was removed. If it was changed on purpose, remove {_record(place(url, cache))} and run again"
    )


def _fetch(url: str, path: Path, patience: Patience) -> Path:
    """Download to PATH.part, which a later call goes on with. Returns it when it is complete."""
    part = path.with_name(path.name + ".part")
    print(f"fetching {url}", file=sys.stderr, flush=True)
    with part.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ModelError(f"{part} is being written by another process: wait for it, and run again") from None
        failures = 0
        while True:
            before = file.tell()
            try:
                _receive(url, file, _state(path), patience.timeout)
                return part
            except _TryAgainError as error:
                failures = 1 if file.tell() > before else failures + 1
                if failures >= patience.tries:
                    raise ModelError(_by_hand(url, path, str(error))) from None
                wait = patience.wait(failures, error.asked)
                print(f"{error}; trying again in {wait:.0f} s", file=sys.stderr, flush=True)
                patience.sleep(wait)
            except _GiveUpError as error:
                raise ModelError(_by_hand(url, path, str(error))) from None


class _GiveUpError(Exception):
    """Not worth another try."""


def _receive(url: str, file: IO[bytes], state: Path, timeout: float) -> None:
    """One request for what is missing, appended to `file`. Returns when the file is complete."""
    have, version = file.tell(), _read_state(state)
    if have and not version:
        have = _start_over(file)
    headers = {"User-Agent": "winnow", "Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": version}
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:
            _start_over(file)
            raise _TryAgainError("the file is shorter than the part that was fetched") from None
        if error.code in _RETRIED_STATUS:
            raise _TryAgainError(f"HTTP status {error.code}", _asked(error.headers.get("Retry-After"))) from None
        raise _GiveUpError(f"HTTP status {error.code}") from None
    except (OSError, http.client.HTTPException) as error:
        if not have and _offline(error):
            raise _GiveUpError(_reason(error)) from None
        raise _TryAgainError(_reason(error)) from None
    with response:
        total = _total(response, have)
        if response.status != 206:
            have = _start_over(file)
        elif total is None:
            _start_over(file)
            raise _TryAgainError("the server sent another range than was asked for")
        etag = response.headers.get("ETag", "")
        strong = etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")
        state.write_text(json.dumps({"version": strong}), encoding="utf-8")
        _append(response, file, total)


def _append(response: http.client.HTTPResponse, file: IO[bytes], total: int | None) -> None:
    said = time.monotonic()
    while True:
        try:
            chunk = response.read1(_CHUNK)
        except (OSError, http.client.HTTPException) as error:
            file.flush()
            raise _TryAgainError(_reason(error)) from None
        if not chunk:
            break
        file.write(chunk)
        if time.monotonic() - said > _REPORT_SECONDS:
            said = time.monotonic()
            of = f" of {total / 1e6:.0f}" if total else ""
            print(f"  {file.tell() / 1e6:.0f}{of} MB", file=sys.stderr, flush=True)
    file.flush()
    if total is not None and file.tell() != total:
        if file.tell() > total:
            _start_over(file)
        raise _TryAgainError("the connection broke off")


def _total(response: http.client.HTTPResponse, have: int) -> int | None:
    """How long the whole file is; None if that is not said, or if a part comes that was not asked for."""
    if response.status == 206:
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        return int(match[2]) if match and int(match[1]) == have else None
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


def _start_over(file: IO[bytes]) -> int:
    file.seek(0)
    file.truncate()
    return 0


def _asked(value: str | None) -> float:
    return float(value) if value and value.isdigit() else 0.0


def _offline(error: BaseException) -> bool:
    """No name service or no way there: where nothing has come yet, waiting is no use."""
    inner = getattr(error, "reason", error)
    unreachable = getattr(inner, "errno", None) in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN)
    return isinstance(inner, socket.gaierror) or unreachable


def _reason(error: BaseException) -> str:
    inner = getattr(error, "reason", error)
    return str(getattr(inner, "strerror", None) or inner or type(inner).__name__)


def _by_hand(url: str, path: Path, reason: str) -> str:
    return f"cannot fetch {url} ({reason}): fetch it elsewhere, put it at {path}, and run again"


def _record(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _write_record(path: Path, url: str, sha256: str) -> None:
    """What came first stays on record."""
    record = _record(path)
    if not record.exists():
        temporary = record.with_name(f".{record.name}.{os.getpid()}")
        temporary.write_text(json.dumps({"url": url, "sha256": sha256}) + "\n", encoding="utf-8")
        os.replace(temporary, record)


def _state(path: Path) -> Path:
    """Which version of the file PATH.part is the beginning of."""
    return path.with_name(path.name + ".part.json")


def _read_state(state: Path) -> str:
    try:
        return str(json.loads(state.read_text(encoding="utf-8"))["version"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
