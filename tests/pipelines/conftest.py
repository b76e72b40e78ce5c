"""A web server on the loopback that serves files as Common Crawl does, and misbehaves when told to."""

from __future__ import annotations

import re
import shutil
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


@dataclass
class Fault:
    """What the server does to one request instead of answering it well."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int = -1  # bytes of body, then the connection is closed
    reset: bool = False  # closed with RST, not FIN
    ignore_range: bool = False
    stall_after: int = -1  # bytes of body, then silence until the client leaves
    drip: float = 0.0  # seconds between single KiBs
    close_at_once: bool = False
    delay: float = 0.0  # seconds before the answer


class CrawlServer(ThreadingHTTPServer):
    """Serves `files` by byte ranges, except where `faults` say otherwise."""

    fault = Fault
    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}  # path without leading slash: content
        self.etags: dict[str, str] = {}
        self.faults: list[Fault] = []  # one for each coming request, then none
        self.always: Fault | None = None
        self.ranges: list[str] = []  # the Range of each request so far
        self.conditions: list[str] = []  # and its If-Range
        self.connections = 0
        self.over = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # the client hung up, as some tests mean it to


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else every answer waits 40 ms for an acknowledgement
    server: CrawlServer

    def log_message(self, format: str, *args: object) -> None:
        pass

    def setup(self) -> None:
        self.server.connections += 1
        super().setup()

    def do_GET(self) -> None:
        crawl = self.server
        crawl.ranges.append(self.headers.get("Range", ""))
        crawl.conditions.append(self.headers.get("If-Range", ""))
        fault = crawl.faults.pop(0) if crawl.faults else crawl.always or Fault()
        path = self.path.lstrip("/")
        self.server.over.wait(fault.delay)
        if fault.close_at_once:
            self.close_connection = True
        elif fault.status:
            self._answer(fault.status, fault.headers, b"refused", fault)
        elif path not in crawl.files:
            self._answer(404, {}, b"no such key", fault)
        else:
            self._send_file(crawl.files[path], crawl.etags.get(path, ""), fault)

    def _send_file(self, body: bytes, etag: str, fault: Fault) -> None:
        headers = {"ETag": etag} if etag else {}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        unmet = condition is not None and (condition != etag or condition.startswith("W/"))
        if not wanted or fault.ignore_range or unmet:
            self._answer(200, headers, body, fault)
        elif int(wanted[1]) >= len(body):
            self._answer(416, {"Content-Range": f"bytes */{len(body)}"}, b"", fault)
        else:
            first, last = int(wanted[1]), min(int(wanted[2]), len(body) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
            self._answer(206, headers | fault.headers, body[first : last + 1], fault)

    def _answer(self, status: int, headers: dict[str, str], body: bytes, fault: Fault) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault.drip:
            for at in range(0, len(body), 1024):
                self.wfile.write(body[at : at + 1024])
                if self.server.over.wait(fault.drip):
                    return
        elif fault.cut_after >= 0 or fault.stall_after >= 0:
            self.wfile.write(body[: max(fault.cut_after, fault.stall_after)])
            self.close_connection = True
            if fault.stall_after >= 0:
                self.server.over.wait(20)
            elif fault.reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                self.connection.close()
        else:
            self.wfile.write(body)


@pytest.fixture
def crawl_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[CrawlServer]:
    """An empty server, listening on `crawl_server.url`."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = CrawlServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the inputs of `small_run.py`, and its finished run in `run`. Tests change a copy."""
    from pipelines import run
    from tests.pipelines import small_run

    folder = tmp_path_factory.mktemp("small")
    small_run.write_inputs(folder)
    assert run.main(small_run.arguments(folder, folder / "run")) == 0
    return folder


@pytest.fixture
def live(small: Path, tmp_path: Path) -> Path:
    """A copy of the run that may be changed."""
    return Path(shutil.copytree(small / "run", tmp_path / "run"))
