"""Against a web server on the loopback that breaks off, stalls, refuses, and changes the file under way."""

from __future__ import annotations

import hashlib
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from curation.errors import ModelError
from models import fetch, published
from models.artifact import open_artifact, read_manifest
from models.download import Patience, obtain, place, recorded

ROOT = Path(__file__).parents[2]
BODY = bytes(range(256)) * 20_000  # 5 MB
SHA256 = hashlib.sha256(BODY).hexdigest()


@dataclass
class Fault:
    """What becomes of one request."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int = -1
    stall_after: int = -1
    no_ranges: bool = False
    change_to: bytes | None = None  # from this request on, the file is another
    wrong_range: bool = False
    no_length: bool = False


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.body, self.etag = BODY, '"one"'
        self.faults: list[Fault] = []
        self.ranges: list[str] = []
        self.over = threading.Event()
        self.root = f"http://127.0.0.1:{self.server_address[1]}"
        self.url = f"{self.root}/lm/xx.arpa.bin"

    def handle_error(self, request: object, client_address: object) -> None:
        pass


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        server = self.server
        server.ranges.append(self.headers.get("Range", ""))
        fault = server.faults.pop(0) if server.faults else Fault()
        if fault.change_to is not None:
            server.body, server.etag = fault.change_to, '"two"'
        if fault.status:
            self.send_response(fault.status)
            for name, value in fault.headers.items():
                self.send_header(name, value)
            self.end_headers()
            return
        start, match = 0, re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if match and not fault.no_ranges and self.headers.get("If-Range") == server.etag:
            start = int(match[1])
            if start >= len(server.body):
                self.send_response(416)
                self.end_headers()
                return
            self.send_response(206)
            shown = start + 1 if fault.wrong_range else start
            self.send_header("Content-Range", f"bytes {shown}-{len(server.body) - 1}/{len(server.body)}")
        else:
            self.send_response(200)
        if server.etag:
            self.send_header("ETag", server.etag)
        body = server.body[start:]
        if not fault.no_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault.cut_after >= 0:
            self.wfile.write(body[: fault.cut_after])
        elif fault.stall_after >= 0:
            self.wfile.write(body[: fault.stall_after])
            server.over.wait(20)
        else:
            self.wfile.write(body)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def patience(waits: list[float]) -> Patience:
    return Patience(tries=4, timeout=0.5, sleep=waits.append)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_file_is_fetched_once_and_kept_on_record(server: Server, patience: Patience, tmp_path: Path) -> None:
    got = obtain(server.url, None, tmp_path, patience)
    assert got.path.read_bytes() == BODY
    assert got == (tmp_path / "127.0.0.1/lm/xx.arpa.bin", SHA256, False)
    assert files(tmp_path) == ["127.0.0.1/lm/xx.arpa.bin", "127.0.0.1/lm/xx.arpa.bin.json"]
    assert recorded(server.url, tmp_path) == SHA256
    assert obtain(server.url, SHA256, tmp_path, patience).pinned
    assert server.ranges == [""]


def test_it_goes_on_where_a_connection_broke(
    server: Server, patience: Patience, waits: list[float], tmp_path: Path
) -> None:
    server.faults = [Fault(cut_after=1_000_000), Fault(cut_after=2_000_000), Fault(stall_after=500_000), Fault()]
    assert obtain(server.url, SHA256, tmp_path, patience).path.read_bytes() == BODY
    assert server.ranges == ["", "bytes=1000000-", "bytes=3000000-", "bytes=3500000-"]
    assert waits == [1, 1, 1]  # each try came further


def test_a_later_call_goes_on_too(server: Server, tmp_path: Path) -> None:
    server.faults = [Fault(cut_after=3_000_000)]
    with pytest.raises(ModelError, match="the connection broke off"):
        obtain(server.url, SHA256, tmp_path, Patience(tries=1))
    assert place(server.url, tmp_path).with_name("xx.arpa.bin.part").stat().st_size == 3_000_000
    obtain(server.url, SHA256, tmp_path)
    assert server.ranges[1:] == ["bytes=3000000-"]


@pytest.mark.parametrize(
    "faults",
    [
        [Fault(cut_after=1_000_000), Fault(no_ranges=True)],
        [Fault(cut_after=1_000_000), Fault(wrong_range=True)],
        [Fault(status=503), Fault(status=429, headers={"Retry-After": "7"}), Fault(cut_after=0)],
        [Fault(no_length=True)],
    ],
)
def test_whatever_the_server_does_the_bytes_are_right(
    server: Server, patience: Patience, waits: list[float], tmp_path: Path, faults: list[Fault]
) -> None:
    asked = [float(fault.headers["Retry-After"]) for fault in faults if fault.headers]
    server.faults = list(faults)
    assert obtain(server.url, SHA256, tmp_path, patience).path.read_bytes() == BODY
    assert set(asked) <= set(waits)
    assert waits == sorted(waits[:1]) + waits[1:]


def test_two_versions_are_never_spliced(server: Server, patience: Patience, tmp_path: Path) -> None:
    """It changes between two requests: the beginning of the old one is thrown away."""
    other = BODY[::-1]
    server.faults = [Fault(cut_after=1_000_000), Fault(change_to=other)]
    assert obtain(server.url, None, tmp_path, patience).path.read_bytes() == other


def test_a_server_without_versions_is_asked_from_the_start(server: Server, patience: Patience, tmp_path: Path) -> None:
    server.etag = ""
    server.faults = [Fault(cut_after=1_000_000)]
    assert obtain(server.url, SHA256, tmp_path, patience).path.read_bytes() == BODY
    assert server.ranges == ["", ""]


def test_it_gives_up_in_one_line_that_says_what_to_put_where(
    server: Server, patience: Patience, waits: list[float], tmp_path: Path
) -> None:
    server.faults = [Fault(status=503)] * 9
    with pytest.raises(ModelError) as error:
        obtain(server.url, None, tmp_path, patience)
    path = place(server.url, tmp_path)
    assert str(error.value) == (
        f"cannot fetch {server.url} (HTTP status 503): fetch it elsewhere, put it at {path}, and run again"
    )
    assert (len(server.ranges), waits) == (4, [1, 2, 4])
    server.faults, server.ranges = [Fault(status=404)], []
    with pytest.raises(ModelError, match="HTTP status 404"):
        obtain(server.url, None, tmp_path, patience)
    assert len(server.ranges) == 1
    path.write_bytes(BODY)  # as the line says
    assert obtain(server.url, None, tmp_path, patience).sha256 == SHA256


def test_another_file_than_the_pinned_one_is_refused_and_removed(
    server: Server, patience: Patience, tmp_path: Path
) -> None:
    server.body = b"something else"
    with pytest.raises(ModelError, match=r"is not the expected file .* it was removed"):
        obtain(server.url, SHA256, tmp_path, patience)
    assert not any(name.endswith(".bin") for name in files(tmp_path))
    assert recorded(server.url, tmp_path) is None


def test_a_later_fetch_that_differs_is_refused(server: Server, patience: Patience, tmp_path: Path) -> None:
    path = obtain(server.url, None, tmp_path, patience).path
    path.unlink()
    server.body, server.etag = b"changed", '"two"'
    with pytest.raises(ModelError, match=r"is not the file that it was when it was first fetched .* on purpose"):
        obtain(server.url, None, tmp_path, patience)
    assert not path.exists()
    assert recorded(server.url, tmp_path) == SHA256
    path.with_name(path.name + ".json").unlink()  # as the message says
    assert obtain(server.url, None, tmp_path, patience).path.read_bytes() == b"changed"


def test_two_processes_do_not_write_one_file(server: Server, patience: Patience, tmp_path: Path) -> None:
    part = place(server.url, tmp_path).with_name("xx.arpa.bin.part")
    part.parent.mkdir(parents=True)
    held = f"import fcntl, sys; f = open({str(part)!r}, 'ab'); fcntl.flock(f, fcntl.LOCK_EX)"
    held += "; print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", held], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ModelError, match="another process"):
            obtain(server.url, None, tmp_path, patience)
        other.communicate("")


def test_no_place_to_write(server: Server, patience: Patience, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ModelError, match="--cache"):
        obtain(server.url, None, tmp_path / "file", patience)
    with pytest.raises(ValueError, match="web address"):
        place("ftp://a/b", tmp_path)


# By name, into an artifact.


@pytest.fixture
def ccnet(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """CCNet's models, from the server here."""
    monkeypatch.setattr(published, "_FACEBOOK", server.root)
    monkeypatch.setitem(published.PUBLISHED, "ccnet-lm-en", published._ccnet("en"))
    return server


def test_a_model_by_name(ccnet: Server, patience: Patience, tmp_path: Path) -> None:
    models, cache = tmp_path / "models", tmp_path / "cache"
    directory = fetch.fetch_published("ccnet-lm-en", models, cache, patience)
    assert open_artifact(models, "perplexity-en") == directory
    manifest = read_manifest(directory)
    assert manifest["files"] == {"model.binary": SHA256, "pieces.model": SHA256}
    assert manifest["parameters"]["family"] == "cc_net"
    assert manifest["parameters"]["sources"]["model.binary"] == {
        "url": f"{ccnet.root}/cc_net/lm/en.arpa.bin",
        "sha256": "unverified",
    }
    assert not any(name.endswith((".bin", ".model")) for name in files(cache))  # gigabytes, twice
    asked = len(ccnet.ranges)
    assert fetch.fetch_published("ccnet-lm-en", models, cache, patience) == directory
    assert len(ccnet.ranges) == asked


@pytest.mark.parametrize("forget_the_cache", [False, True])
def test_a_damaged_model_is_fetched_again_and_must_be_the_same(
    ccnet: Server, patience: Patience, tmp_path: Path, forget_the_cache: bool
) -> None:
    models, cache = tmp_path / "models", tmp_path / "cache"
    directory = fetch.fetch_published("ccnet-lm-en", models, cache, patience)
    (directory / "model.binary").write_bytes(b"damaged")
    if forget_the_cache:
        for name in files(cache):
            (cache / name).unlink()
    body, ccnet.body, ccnet.etag = ccnet.body, b"another", '"two"'
    with pytest.raises(ModelError, match=r"is not the file that .* on purpose"):
        fetch.fetch_published("ccnet-lm-en", models, cache, patience)
    ccnet.body, ccnet.etag = body, '"one"'
    if forget_the_cache:
        for name in files(cache):
            (cache / name).unlink()
    fetch.fetch_published("ccnet-lm-en", models, cache, patience)
    assert open_artifact(models, "perplexity-en") == directory


def test_the_list(ccnet: Server, patience: Patience, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch.main(["--list", "--cache", str(tmp_path)]) == 0
    first = capsys.readouterr().out
    names = [line.split()[0] for line in first.splitlines() if not line.startswith(" ")]
    assert names[:3] == ["language_id", "lid.176", "lid.176.ftz"]
    assert sum(name.startswith("ccnet-lm-") for name in names) == 48
    assert f"  model.binary  size not stated  sha256 unverified  {ccnet.root}/cc_net/lm/en.arpa.bin" in first
    assert all(line.count(";") >= 2 for line in first.splitlines() if not line.startswith(" "))
    fetch.fetch_published("ccnet-lm-en", tmp_path / "models", tmp_path, patience)
    fetch.main(["--list", "--cache", str(tmp_path)])
    assert f"sha256 {SHA256} (unverified: as it first came)  {ccnet.root}" in capsys.readouterr().out


def test_only_what_was_hashed_here_is_pinned() -> None:
    pinned = {file.sha256 for model in published.PUBLISHED.values() for file in model.files.values()} - {None}
    assert pinned == {fetch._LANGUAGE_ID_SHA256}
    for model in published.PUBLISHED.values():
        assert model.licence
        assert all(file.url.startswith("https://") for file in model.files.values())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["lid.167", "--out", "x"], "there is no model 'lid.167' (did you mean 'lid.176'?); see --list"),
        ([], "name the models to fetch; --list says what there is"),
        (["lid.176"], "--out is missing: the folder of model artifacts"),
    ],
)
def test_users_mistakes(arguments: list[str], says: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "models.fetch", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {says}\n")


def test_without_network_it_ends_in_one_line(
    server: Server, tmp_path: Path, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*args: object, **options: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", unknown)
    with pytest.raises(ModelError) as error:
        obtain("https://models.invalid/lm/en.arpa.bin", None, tmp_path, Patience(sleep=waits.append))
    assert str(error.value) == (
        "cannot fetch https://models.invalid/lm/en.arpa.bin (Name or service not known): fetch it elsewhere, "
        f"put it at {tmp_path}/models.invalid/lm/en.arpa.bin, and run again"
    )
    assert waits == []  # nobody waits a minute to be told that there is no network
