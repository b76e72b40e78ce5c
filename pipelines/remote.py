"""Read files over https as if they were local.

A crawl is read over days from a server shared with everybody: connections break and requests are refused as a matter of
course. So every read is a byte-range request that can be continued, every wait is bounded, and what cannot be mended
ends in one line that names the URL. The bytes are those of one version of the file: if it changes, that is an error.
Of HTTP only GET with Range is used (RFC 9110, section 14), through requests, which apache-beam itself depends on.
"""

from __future__ import annotations

import email.utils
import io
import logging
import re
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO, NamedTuple
from urllib.parse import urlsplit

import requests
import urllib3

from curation.errors import InputError
from pipelines.pace import LISTING_RATE, PROCESS_RATE, Patience, RequestRate

logger = logging.getLogger(__name__)

# 403 too: it is how Common Crawl refuses an address that asks too often.
RETRIED_STATUS = frozenset({403, 429, 500, 502, 503, 504})
REFUSED_STATUS = frozenset({403, 429, 503})  # about us, not about this request: everything waits
LISTING_THREADS = 16
BLOCK_BYTES = 8 << 20
RECEIVE_BYTES = 256 << 10
SIZE_ONLY = re.compile(r"bytes \*/(\d+)\Z")
CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)\Z")


class RemoteStat(NamedTuple):
    """Which version of a remote file: its length in bytes and its ETag (Last-Modified where there is none, else "")."""

    size: int
    etag: str


class HttpFile(io.RawIOBase):
    """A remote file, read-only and seekable, one block of at most `block_bytes` in memory. For one thread at a time.

    `expected` is what `stat` said when the inputs were listed; without it the server is asked now. InputError names the
    URL if the file is not that version, if the server does not do byte ranges, or if one block fails `patience.tries`
    times. `read(n)` gives n bytes unless the file ends.
    """

    def __init__(
        self,
        url: str,
        expected: RemoteStat | None = None,
        *,
        block_bytes: int = BLOCK_BYTES,
        patience: Patience | None = None,
        rate: RequestRate = PROCESS_RATE,
    ) -> None:
        super().__init__()
        self.name = url
        self._remote = _Remote(url, patience or Patience(), rate)
        self._block_bytes = block_bytes
        self._block = bytearray()
        self._block_start = 0
        self._position = 0
        try:
            self.stat = expected or self._remote.stat()
        except BaseException:
            self.close()
            raise

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        self._check_open()
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._check_open()
        position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.stat.size}[whence]
        if position < 0:
            raise ValueError(f"negative seek position {position}")
        self._position = position
        return position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        self._check_open()
        target = memoryview(buffer).cast("B")
        done = 0
        while done < len(target) and self._position < self.stat.size:
            inside = self._position - self._block_start
            if not 0 <= inside < len(self._block):
                self._read_block()
                inside = 0
            count = min(len(target) - done, len(self._block) - inside)
            with memoryview(self._block) as block:
                target[done : done + count] = block[inside : inside + count]
            done += count
            self._position += count
        return done

    def close(self) -> None:
        if not self.closed and "_remote" in self.__dict__:  # else the URL was refused and there is nothing to close
            self._block = bytearray()
            self._remote.close()
        super().close()

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")

    def _read_block(self) -> None:
        self._block = bytearray()  # before the next one fills, so that there is never more than one
        block = bytearray()
        last = min(self._position + self._block_bytes, self.stat.size) - 1
        self._remote.fetch(self._position, last, block, self.stat)
        self._block, self._block_start = block, self._position


class HttpRanges:
    """Byte ranges of a remote file that was not listed before. It is read in the version of its first answer.

    Errors as for HttpFile; RemoteMissingError if there is no such file.
    """

    def __init__(self, url: str, *, patience: Patience | None = None, rate: RequestRate = PROCESS_RATE) -> None:
        self._remote = _Remote(url, patience or Patience(), rate)
        self._known: RemoteStat | None = None

    def read(self, start: int, end: int) -> bytes:
        """Bytes [start, end), fewer where the file ends."""
        if self._known:
            end = min(end, self._known.size)
        block = bytearray()
        if start < end:
            self._known = self._remote.fetch(start, end - 1, block, self._known)
        return bytes(block)

    def close(self) -> None:
        self._remote.close()


def open_url(url: str, expected: RemoteStat | None = None) -> BinaryIO:
    """A seekable stream of a remote file's own bytes, whatever they are compressed with. Errors as for HttpFile."""
    return io.BufferedReader(HttpFile(url, expected), 64 << 10)


def stat(url: str, *, patience: Patience | None = None, rate: RequestRate = PROCESS_RATE) -> RemoteStat:
    """Length and version of a remote file. InputError if it is not there or cannot be read by ranges."""
    remote = _Remote(url, patience or Patience(), rate)
    try:
        return remote.stat()
    finally:
        remote.close()


def stat_all(
    urls: Sequence[str], *, patience: Patience | None = None, rate: RequestRate = LISTING_RATE
) -> list[RemoteStat]:
    """`stat` of many files, several at a time and each thread on one connection. The first error ends it."""
    threads = threading.local()

    def one(url: str) -> RemoteStat:
        if not hasattr(threads, "session"):
            threads.session = _session()
        return _Remote(url, patience or Patience(), rate, threads.session).stat()

    with ThreadPoolExecutor(LISTING_THREADS) as pool:
        return list(pool.map(one, urls))  # on an error it drops those that have not begun


class RemoteMissingError(InputError):
    """The server says that there is no such file."""


class _TryAgainError(Exception):
    """This try failed in a way that the next may not. `asked` is the server's Retry-After in seconds, or 0."""

    def __init__(self, why: str, asked: float = 0.0, refused: bool = False) -> None:
        super().__init__(why)
        self.asked = asked
        self.refused = refused


def _session() -> requests.Session:
    session = requests.Session()
    session.max_redirects = 5
    # Ranges count the bytes as stored, so nothing may be compressed on the way.
    session.headers.update({"Accept-Encoding": "identity", "User-Agent": "winnow"})
    return session


class _Remote:
    """One URL, one connection, any number of byte ranges."""

    def __init__(
        self, url: str, patience: Patience, rate: RequestRate, session: requests.Session | None = None
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(f"{url!r} is not an http or https URL")
        self._url = url
        # Passwords and signed queries have no place in a log.
        self._shown = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
        self._patience = patience
        self._rate = rate
        self._session = session or _session()

    def close(self) -> None:
        self._session.close()

    def stat(self) -> RemoteStat:
        # One byte by range, not HEAD: this also finds out whether the server does ranges.
        return self.fetch(0, 0, bytearray(), None)

    def fetch(self, first: int, last: int, into: bytearray, known: RemoteStat | None) -> RemoteStat:
        """Append bytes first..last (both included) to `into`, trying again where the last try stopped."""
        failures = 0
        while True:
            self._rate.take()
            try:
                return self._try(first, last, into, known)
            except _TryAgainError as fault:
                failures += 1
                if failures >= self._patience.tries:
                    raise InputError(f"{self._shown}: {fault}; gave up after {failures} tries") from None
                if fault.asked > self._patience.longest_asked:
                    raise InputError(f"{self._shown}: {fault}; asked to wait {fault.asked:.0f} s, try later") from None
                wait = self._patience.wait(failures, fault.asked)
                if fault.refused:
                    self._rate.pause(wait)
                tries = f"try {failures + 1} of {self._patience.tries}"
                logger.warning("%s: %s; %s in %.1f s", self._shown, fault, tries, wait)
                self._patience.sleep(wait)

    def _try(self, first: int, last: int, into: bytearray, known: RemoteStat | None) -> RemoteStat:
        start = first + len(into)
        headers = {"Range": f"bytes={start}-{last}"}
        if known and known.etag and not known.etag.startswith("W/"):  # a weak tag never matches in If-Range
            headers["If-Range"] = known.etag
        try:
            timeout = (self._patience.connect_timeout, self._patience.read_timeout)
            response = self._session.get(self._url, headers=headers, stream=True, timeout=timeout)
        except requests.exceptions.SSLError as error:
            raise InputError(f"{self._shown}: no secure connection: {_cause(error)}") from None
        except (requests.ConnectionError, requests.Timeout) as error:
            raise _TryAgainError(f"no answer ({_cause(error)})") from None
        except requests.RequestException as error:
            raise InputError(f"{self._shown}: {_cause(error)}") from None
        with response:
            found = self._check(response, start, last, known)
            if found.size > start:
                self._receive(response.raw, min(last + 1, found.size) - start, into)
        return found

    def _check(self, response: requests.Response, start: int, last: int, known: RemoteStat | None) -> RemoteStat:
        """The version of the file that this answer is about, if it is the one range that was asked for."""
        status, headers = response.status_code, response.headers
        if status in RETRIED_STATUS:
            asked = _retry_after(headers.get("Retry-After", ""))
            raise _TryAgainError(f"status {status} {response.reason}", asked, status in REFUSED_STATUS)
        if status in (404, 410):
            raise RemoteMissingError(f"{self._shown}: status {status} {response.reason}")
        etag = headers.get("ETag") or headers.get("Last-Modified") or ""
        content_range = headers.get("Content-Range", "")
        length = headers.get("Content-Length", "")
        empty = (status == 416 and content_range == "bytes */0") or (status == 200 and length == "0")
        if known is None and start == 0 and empty:
            return RemoteStat(0, etag)
        if known is None and status == 416 and (beyond := SIZE_ONLY.match(content_range)) and int(beyond[1]) <= start:
            return RemoteStat(int(beyond[1]), etag)
        if status == 200:  # the whole file: If-Range found another version, or the server never looked at Range
            if known and (etag != known.etag or length != str(known.size)):
                raise self._changed(known, f"{length or '?'} bytes, {etag or 'no ETag'}")
            raise InputError(f"{self._shown}: the server ignores byte ranges; download the file and give its path")
        if status == 416 and known:
            raise self._changed(known, content_range or "shorter")
        if status != 206:
            raise InputError(f"{self._shown}: status {status} {response.reason}")
        match = CONTENT_RANGE.match(content_range)
        if not match or int(match[1]) != start or int(match[2]) > last:
            sent = content_range or "no Content-Range"
            raise InputError(f"{self._shown}: asked for bytes {start}-{last}, the server sent {sent!r}")
        found = RemoteStat(int(match[3]), etag)
        if known and found != known:
            raise self._changed(known, f"{found.size} bytes, {found.etag or 'no ETag'}")
        return found

    def _changed(self, known: RemoteStat, now: str) -> InputError:
        was = f"{known.size} bytes, {known.etag or 'no ETag'}"
        return InputError(f"{self._shown}: the file changed since it was listed: it was {was}, it is {now}")

    def _receive(self, raw: urllib3.HTTPResponse, wanted: int, into: bytearray) -> None:
        """Append `wanted` bytes. We count ourselves: to the layers below a short body can look like an ordinary end."""
        goal = len(into) + wanted
        deadline = time.monotonic() + self._patience.request_seconds
        while len(into) < goal:
            try:
                piece = raw.read1(min(goal - len(into), RECEIVE_BYTES), decode_content=False)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                left = goal - len(into)
                raise _TryAgainError(f"the connection broke with {left} bytes to come ({_cause(error)})") from None
            if not piece:
                raise _TryAgainError(f"the connection closed with {goal - len(into)} bytes to come")
            into += piece
            if len(into) < goal and time.monotonic() > deadline:
                raise _TryAgainError(
                    f"slow: {goal - len(into)} bytes to come after {self._patience.request_seconds:g} s"
                )


def _retry_after(value: str) -> float:
    """Seconds in a Retry-After header (RFC 9110, section 10.2.3): a number or a date. Anything else asks nothing."""
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return 0.0


def _cause(error: BaseException) -> str:
    """The innermost reason: the outer ones repeat the URL and object addresses."""
    reason: BaseException = error
    while True:
        inner = [getattr(reason, "reason", None), *reason.args]
        found = next((candidate for candidate in inner if isinstance(candidate, BaseException)), None)
        if found is None:
            break
        reason = found
    text = reason.args[-1] if reason.args else type(reason).__name__
    return str(text).rpartition(">: ")[2][:200]
