"""gs:// and s3:// through Beam's file systems, against a loopback server that speaks enough of both."""

from __future__ import annotations

import gzip
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from curation.errors import InputError
from curation.ledger import Balance
from pipelines import inputs, selection, storage
from pipelines.apply_steps import Account
from pipelines.part_files import PartWriter, StageFiles
from pipelines.read import Reading, check_tiling
from tests.curation.test_records import BODIES, WARC, WARC_RECORDS, pages

FILES = {f"crawl-data/CC-MAIN-2024-10/{n}.warc.gz": WARC for n in range(2)} | {"other/x.txt": b"x"}


class Store(BaseHTTPRequestHandler):
    """One bucket, `crawl`: metadata, listing, download by range, in Cloud Storage's JSON API and in S3's."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    ranges: ClassVar[list[str]] = []

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        google = "/b/crawl" in parts.path
        name = unquote(parts.path.partition("/b/crawl/o" if google else "/crawl")[2].lstrip("/"))
        found = [key for key in sorted(FILES) if key.startswith(query.get("prefix", [""])[0])]
        if "/crawl" not in parts.path or (name and name not in FILES):
            self._answer(404, b"{}" if google else b"")
        elif not name and google:
            self._answer(200, json.dumps({"kind": "storage#objects", "items": list(map(_about, found))}).encode())
        elif not name:
            keys = "".join(f"<Contents><Key>{key}</Key>{_ABOUT % len(FILES[key])}</Contents>" for key in found)
            listing = f"<KeyCount>{len(found)}</KeyCount><IsTruncated>false</IsTruncated>{keys}"
            self._answer(200, f"<ListBucketResult>{listing}</ListBucketResult>".encode())
        elif google and query.get("alt") != ["media"]:
            self._answer(200, json.dumps(_about(name)).encode())
        else:
            self._send(FILES[name])

    def do_HEAD(self) -> None:
        self.do_GET()

    def _send(self, body: bytes) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if self.command == "GET":
            self.ranges.append(self.headers.get("Range", ""))
        if wanted:
            first, last = int(wanted[1]), min(int(wanted[2] or len(body)), len(body) - 1)
            self._answer(206, body[first : last + 1], f"bytes {first}-{last}/{len(body)}")
        else:
            self._answer(200, body)

    def _answer(self, status: int, body: bytes, content_range: str = "") -> None:
        self.send_response(status)
        headers = {"Content-Length": str(len(body)), "ETag": '"x"', "Last-Modified": "Fri, 01 Mar 2024 00:00:00 GMT"}
        headers["Content-Type"] = "application/xml" if body[:1] == b"<" else "application/json"
        for header, value in (headers | ({"Content-Range": content_range} if content_range else {})).items():
            self.send_header(header, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


_ABOUT = "<Size>%d</Size><ETag>x</ETag><LastModified>2024-03-01T00:00:00.000Z</LastModified>"


def _about(name: str) -> dict[str, str]:
    made = "2024-03-01T00:00:00.000Z"
    about = {"kind": "storage#object", "bucket": "crawl", "name": name, "size": str(len(FILES[name]))}
    return about | {"updated": made, "timeCreated": made, "generation": "1", "etag": "x"}


@pytest.fixture(params=["gs", "s3"])
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The scheme of the bucket."""
    pytest.importorskip({"gs": "google.cloud.storage", "s3": "boto3"}[request.param])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Store)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    for name, value in {
        "STORAGE_EMULATOR_HOST": url,
        "NO_GCE_CHECK": "true",
        "GOOGLE_CLOUD_PROJECT": "test",
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "NO_PROXY": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    Store.ranges = []
    yield request.param
    server.shutdown()
    server.server_close()
    thread.join(5)


def test_files_of_a_bucket_are_found_cut_and_read(store: str, tmp_path) -> None:
    files = inputs.find([f"{store}://crawl/crawl-data/**.warc.gz"])
    assert [(file.file, file.size) for file in files] == [(name, len(WARC)) for name in FILES if name.endswith(".gz")]
    parts = inputs.cut(files[:1], len(WARC) // 3 + 1)
    assert len(parts) == 3
    found, spans = [], {}
    for part in parts:
        with PartWriter(StageFiles(str(tmp_path / "out")), part.number) as writer:
            account = Account(Balance("records"), writer)
            with Reading(part, account) as reading:
                found += [page.body for page in reading.pages()]
            spans[part.number] = reading.span
    check_tiling(parts, spans)
    assert found == BODIES


def test_only_the_bytes_that_are_asked_for_are_read(store: str) -> None:
    record = next(r for r in WARC_RECORDS if r.value is pages(WARC_RECORDS)[3])
    row = selection.Row(record.start, record.end - record.start, "")
    ((_, data),) = selection.stored(f"{store}://crawl/crawl-data/CC-MAIN-2024-10/0.warc.gz", [row])
    assert data == WARC[record.start : record.end]
    assert gzip.decompress(data)
    assert len(Store.ranges) == 1
    assert Store.ranges[0].startswith(f"bytes={record.start}-")


def test_nothing_there_is_one_line(store: str) -> None:
    with pytest.raises(InputError, match=f"no input file matches {store}://crawl/nowhere"):
        inputs.find([f"{store}://crawl/nowhere/*.warc.gz"])
    assert not storage.exists(f"{store}://crawl/nowhere.gz")
    assert storage.exists(f"{store}://crawl/other/x.txt")
