"""Reading over HTTP, against a loopback server with the layout of Common Crawl that misbehaves on purpose."""

from __future__ import annotations

import email.utils
import gzip
import io
import random
import re
import socket
import threading
import time
from typing import Any

import pytest

from curation.errors import InputError
from pipelines import crawl as crawls
from pipelines import remote
from pipelines.crawl import crawl_files
from pipelines.pace import Patience, RequestRate
from pipelines.remote import HttpFile, RemoteStat, open_url, stat

Server = Any  # CrawlServer of conftest.py
CRAWL = "CC-MAIN-2024-10"
WARC = f"crawl-data/{CRAWL}/segments/1707947473347.0/warc/CC-MAIN-20240220211055-20240221001055-00000.warc.gz"
BODY = random.Random(7).randbytes(1_000_003)
PATHS = [WARC.replace("00000.warc", f"{number:05}.warc") for number in range(12)]


@pytest.fixture
def server(crawl_server: Server) -> Server:
    crawl_server.files[WARC] = BODY
    crawl_server.etags[WARC] = '"v1"'
    listing = "".join(f"{path}\n" for path in PATHS)
    crawl_server.files[f"crawl-data/{CRAWL}/warc.paths.gz"] = gzip.compress(listing.encode())
    return crawl_server


class Naps:
    """Stands in for time.sleep: remembers, and does not wait."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def patience(naps: Naps, **changes: float) -> Patience:
    settings: dict[str, float] = {"tries": 4, "connect_timeout": 2.0, "read_timeout": 2.0} | changes
    return Patience(sleep=naps, **settings)  # type: ignore[arg-type]


def fast() -> RequestRate:
    return RequestRate(per_second=1e6, burst=1000, sleep=lambda seconds: None)


def open_warc(server: Server, naps: Naps | None = None, block_bytes: int = 100_000, **changes: float) -> HttpFile:
    settings = patience(naps or Naps(), **changes)
    return HttpFile(f"{server.url}/{WARC}", block_bytes=block_bytes, patience=settings, rate=fast())


def test_a_file_reads_like_a_local_one(server: Server) -> None:
    local = io.BytesIO(BODY)
    chance = random.Random(3)
    with open_warc(server, block_bytes=4096) as file:
        assert file.stat == RemoteStat(len(BODY), '"v1"')
        assert file.readable()
        assert file.seekable()
        assert not file.writable()
        for _ in range(300):
            match chance.randrange(4):
                case 0:
                    offset = chance.randrange(len(BODY) + 10_000)
                    assert file.seek(offset) == local.seek(offset)
                case 1:
                    assert file.seek(-5, io.SEEK_END) == local.seek(-5, io.SEEK_END)
                case 2:
                    assert file.seek(3, io.SEEK_CUR) == local.seek(3, io.SEEK_CUR)
                case _:
                    count = chance.choice([0, 1, 4095, 4096, 4097, 9000])
                    assert file.read(count) == local.read(count)
            assert file.tell() == local.tell()
        with pytest.raises(ValueError, match="negative"):
            file.seek(-1)
        file.seek(0)
        assert file.read() == BODY
    with pytest.raises(ValueError, match="closed"):
        file.read(1)


def test_reading_ahead_is_one_request_per_block_and_holds_one_block(server: Server) -> None:
    with open_warc(server, block_bytes=400_000) as file:
        while file.read(1000):
            assert len(file._block) <= 400_000
    assert server.ranges == ["bytes=0-0", "bytes=0-399999", "bytes=400000-799999", "bytes=800000-1000002"]


def test_a_gzip_member_in_the_middle_is_read_without_what_comes_before(server: Server) -> None:
    members = [gzip.compress(bytes([65 + number]) * 5000) for number in range(20)]
    server.files["members.gz"] = b"".join(members)
    with open_url(f"{server.url}/members.gz") as stream:
        stream.seek(sum(map(len, members[:7])))
        assert gzip.GzipFile(fileobj=stream).read(5001) == b"H" * 5000 + b"I"


def test_what_the_inputs_were_listed_with_saves_asking_again(server: Server) -> None:
    with HttpFile(f"{server.url}/{WARC}", RemoteStat(len(BODY), '"v1"'), rate=fast()) as file:
        assert file.read(10) == BODY[:10]
    assert len(server.ranges) == 1


@pytest.mark.parametrize("status", [403, 429, 500, 502, 503, 504])
def test_a_refusal_is_tried_again_with_growing_jittered_waits(server: Server, status: int) -> None:
    naps = Naps()
    server.faults = [server.fault(), *[server.fault(status=status)] * 3]
    with open_warc(server, naps) as file:
        assert file.read(200_000) == BODY[:200_000]
    assert len(naps.seconds) == 3
    for wait, longest in zip(naps.seconds, [1.0, 2.0, 4.0], strict=True):
        assert longest / 2 <= wait <= longest


def test_waits_are_bounded_and_differ_between_workers() -> None:
    waits = [Patience(first_wait=1.0, longest_wait=8.0).wait(failures, 0.0) for failures in range(1, 200)]
    assert max(waits) <= 8.0
    assert len(set(waits)) > 100


def test_giving_up_names_the_url_the_status_and_the_tries(server: Server) -> None:
    naps = Naps()
    server.always = server.fault(status=503)
    with pytest.raises(InputError, match=re.escape(f"{server.url}/{WARC}: status 503") + ".*gave up after 4 tries"):
        open_warc(server, naps)
    assert (len(server.ranges), len(naps.seconds)) == (4, 3)


def test_retry_after_in_seconds_and_as_a_date_is_honoured(server: Server) -> None:
    naps = Naps()
    late = email.utils.formatdate(time.time() + 90, usegmt=True)
    server.faults = [server.fault(status=429, headers={"Retry-After": value}) for value in ("17", late, "soon")]
    with open_warc(server, naps) as file:
        assert file.read(5) == BODY[:5]
    assert naps.seconds[0] == 17.0
    assert 80 < naps.seconds[1] <= 90
    assert naps.seconds[2] <= 4.0
    assert remote._retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0


def test_a_server_that_asks_for_hours_is_left_alone(server: Server) -> None:
    naps = Naps()
    server.always = server.fault(status=429, headers={"Retry-After": "86400"})
    with pytest.raises(InputError, match=r"status 429 .* asked to wait 86400 s"):
        open_warc(server, naps)
    assert (len(server.ranges), naps.seconds) == (1, [])


@pytest.mark.parametrize("reset", [False, True])
def test_a_broken_connection_continues_where_it_stopped(server: Server, reset: bool) -> None:
    naps = Naps()
    server.faults = [
        server.fault(),
        server.fault(cut_after=60_000, reset=reset),
        server.fault(cut_after=1, reset=reset),
    ]
    with open_warc(server, naps, block_bytes=1 << 21) as file:
        assert file.read() == BODY
    starts = [int(asked.removeprefix("bytes=").partition("-")[0]) for asked in server.ranges]
    assert starts[:2] == [0, 0]
    assert len(starts) == 4
    assert len(naps.seconds) == 2
    # After a reset the kernel may throw away what had arrived; after an orderly close nothing is lost.
    assert reset or starts[2:] == [60_000, 60_001]


def test_a_connection_that_closes_before_it_answers_is_tried_again(server: Server) -> None:
    naps = Naps()
    server.faults = [server.fault(close_at_once=True), server.fault(), server.fault(close_at_once=True)]
    with open_warc(server, naps) as file:
        assert file.read(5) == BODY[:5]
    assert len(naps.seconds) == 2


def test_a_connection_that_breaks_every_time_ends(server: Server) -> None:
    server.faults = [server.fault()]
    server.always = server.fault(cut_after=10)
    with open_warc(server) as file, pytest.raises(InputError, match=r"connection broke .*gave up after 4 tries"):
        file.read(1000)


def test_silence_ends_by_timeout_and_continues(server: Server) -> None:
    server.faults = [server.fault(), server.fault(stall_after=50_000)]
    began = time.monotonic()
    with open_warc(server, read_timeout=0.3) as file:
        assert file.read(100_000) == BODY[:100_000]
    assert time.monotonic() - began < 5
    assert server.ranges[2] == "bytes=50000-99999"


def test_a_slow_body_is_dropped_and_continued_where_it_was(server: Server) -> None:
    naps = Naps()
    server.faults = [server.fault(), server.fault(drip=0.05)]  # 20 KiB/s: never silent, but five seconds for this block
    began = time.monotonic()
    with open_warc(server, naps, request_seconds=0.4) as file:
        assert file.read(100_000) == BODY[:100_000]
    assert time.monotonic() - began < 3
    assert len(naps.seconds) == 1
    assert 1000 < int(server.ranges[2].removeprefix("bytes=").partition("-")[0]) < 50_000


def test_a_slow_but_quick_enough_body_is_not_dropped(server: Server) -> None:
    server.faults = [server.fault(), server.fault(drip=0.002)]
    with open_warc(server, block_bytes=20_000) as file:
        assert file.read(20_000) == BODY[:20_000]
    assert len(server.ranges) == 2


def test_a_server_that_ignores_ranges_is_an_error_at_once(server: Server) -> None:
    server.always = server.fault(ignore_range=True)
    with pytest.raises(InputError, match="ignores byte ranges"):
        open_warc(server)
    assert len(server.ranges) == 1


def test_a_server_that_stops_doing_ranges_is_an_error_not_wrong_bytes(server: Server) -> None:
    with open_warc(server) as file:
        server.always = server.fault(ignore_range=True)
        file.seek(500)
        with pytest.raises(InputError, match="ignores byte ranges"):
            file.read(10)


@pytest.mark.parametrize("etag", ['"v2"', 'W/"v2"', ""])
def test_a_file_that_changes_under_the_reader_is_an_error(server: Server, etag: str) -> None:
    with open_warc(server) as file:
        assert file.read(10) == BODY[:10]
        server.etags[WARC] = etag  # same length: only the tag tells
        file.seek(500_000)
        with pytest.raises(InputError, match=r'changed since .*it was 1000003 bytes, "v1"'):
            file.read(10)


def test_a_change_between_two_tries_of_one_block_is_an_error(server: Server) -> None:
    server.faults = [server.fault(), server.fault(cut_after=10)]
    with open_warc(server) as file:
        original = file._remote._patience.sleep

        def replace_file(seconds: float) -> None:
            server.etags[WARC] = '"v2"'
            original(seconds)

        object.__setattr__(file._remote._patience, "sleep", replace_file)
        with pytest.raises(InputError, match="changed since"):
            file.read(100)


def test_the_server_is_told_which_version_is_meant(server: Server) -> None:
    with open_warc(server) as file:
        file.read(1)
    assert server.conditions == ["", '"v1"']


def test_a_weak_tag_is_compared_but_not_sent(server: Server) -> None:
    server.etags[WARC] = 'W/"v1"'
    with open_warc(server) as file:
        assert file.read(10) == BODY[:10]
        server.etags[WARC] = 'W/"v2"'
        file.seek(500_000)
        with pytest.raises(InputError, match="changed since"):
            file.read(10)


@pytest.mark.parametrize("size", [500, len(BODY) - 1, len(BODY) + 1])
def test_without_a_tag_the_length_tells(server: Server, size: int) -> None:
    del server.etags[WARC]
    with open_warc(server) as file:
        server.files[WARC] = (BODY + b"x")[:size]
        file.seek(1000)
        with pytest.raises(InputError, match="changed since"):
            file.read(10)


@pytest.mark.parametrize(
    "content_range",
    ["", "bytes 0-9/*", "bytes 1-9/1000003", "bytes 0-99999/1000003", "bytes=0-0/1000003", "bytes 0-0/1000003x"],
)
def test_an_answer_about_another_range_is_an_error(server: Server, content_range: str) -> None:
    server.always = server.fault(headers={"Content-Range": content_range})
    with pytest.raises(InputError, match="asked for bytes 0-0, the server sent"):
        open_warc(server)


def test_a_missing_file_is_one_line_and_one_request(server: Server) -> None:
    with pytest.raises(InputError, match=r"nothing\.warc\.gz: status 404"):
        stat(f"{server.url}/nothing.warc.gz", rate=fast())
    assert len(server.ranges) == 1


def test_another_status_is_an_error_at_once(server: Server) -> None:
    server.always = server.fault(status=401)
    with pytest.raises(InputError, match="status 401"):
        open_warc(server)
    assert len(server.ranges) == 1


def test_an_empty_file_has_no_bytes(server: Server) -> None:
    server.files["empty"] = b""
    with HttpFile(f"{server.url}/empty", rate=fast()) as file:
        assert (file.stat.size, file.read(10)) == (0, b"")
    server.always = server.fault(ignore_range=True)
    assert stat(f"{server.url}/empty", rate=fast()).size == 0


def test_nobody_listening_ends_in_one_line(server: Server) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/file"
        with pytest.raises(InputError, match=r"/file: no answer \(.*refused.*gave up after 4 tries"):
            stat(url, patience=patience(Naps()), rate=fast())


@pytest.mark.parametrize("url", ["ftp://host/file", "file:///etc/passwd", "https://", "crawl-data/x"])
def test_only_http_is_spoken(url: str) -> None:
    with pytest.raises(InputError, match="not an http or https URL"):
        stat(url)
    with pytest.raises(InputError, match="not an http or https URL"):
        HttpFile(url)


def test_a_password_in_the_url_is_not_shown(server: Server) -> None:
    server.always = server.fault(status=404)
    with pytest.raises(InputError) as caught:
        stat(f"{server.url.replace('//', '//user:hidden@')}/file?signature=hidden", rate=fast())
    assert "hidden" not in str(caught.value)


def test_redirects_are_followed_but_not_in_circles(server: Server) -> None:
    server.faults = [server.fault(status=302, headers={"Location": f"/{WARC}"})]
    assert stat(f"{server.url}/moved", rate=fast()).size == len(BODY)
    server.always = server.fault(status=302, headers={"Location": "/moved"})
    with pytest.raises(InputError, match="redirects"):
        stat(f"{server.url}/moved", rate=fast())
    assert len(server.ranges) == 2 + 6


def test_a_crawl_lists_its_files_in_its_own_order(server: Server) -> None:
    every = [f"{server.url}/{path}" for path in PATHS]
    assert crawl_files(CRAWL, "warc", 0, None, server.url, rate=fast()) == every
    assert crawl_files(CRAWL, "warc", 3, 5, server.url + "/", rate=fast()) == every[3:5]
    assert crawl_files(CRAWL, "warc", 11, 12, server.url, rate=fast()) == every[11:]
    with HttpFile(crawl_files(CRAWL, "warc", 0, 1, server.url, rate=fast())[0], rate=fast()) as file:
        assert file.read(10) == BODY[:10]


@pytest.mark.parametrize(
    ("crawl", "kind", "first", "last", "message"),
    [
        (CRAWL, "warc", 0, 13, "it has 12 warc files, 0:12"),
        (CRAWL, "warc", 12, None, "it has 12 warc files, 0:12"),
        (CRAWL, "warc", 5, 5, "files 5:5 is empty"),
        (CRAWL, "warc", -1, 5, "files -1:5 is empty"),
        (CRAWL, "wat", 0, 1, "warc and wet, not 'wat'"),
        (CRAWL, "wet", 0, 1, f"there is no crawl {CRAWL} with wet files: .*status 404"),
        ("CC-MAIN-2042-10", "warc", 0, 1, "there is no crawl CC-MAIN-2042-10"),
        ("../CC-MAIN-2024-10", "warc", 0, 1, "is not the name of a crawl"),
        ("", "warc", 0, 1, "is not the name of a crawl"),
    ],
)
def test_a_wrong_crawl_or_range_is_one_line(
    server: Server, crawl: str, kind: str, first: int, last: int | None, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        crawl_files(crawl, kind, first, last, server.url, rate=fast())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("listing", "cut"),
    [
        ("a/b\n", 6),
        ("a/b\n", 100),
        ("/etc/passwd\n", 0),
        ("a/../b\n", 0),
        ("https://elsewhere/file\n", 0),
        ("päth\n", 0),
    ],
)
def test_a_broken_listing_is_one_line(server: Server, listing: str, cut: int) -> None:
    packed = gzip.compress(listing.encode())
    server.files[f"crawl-data/{CRAWL}/warc.paths.gz"] = packed[: max(0, len(packed) - cut)]
    with pytest.raises(InputError, match=r"warc\.paths\.gz|it has 0 warc files"):
        crawl_files(CRAWL, "warc", 0, 1, server.url, rate=fast())


def test_a_listing_that_is_not_packed_is_one_line(server: Server) -> None:
    server.files[f"crawl-data/{CRAWL}/warc.paths.gz"] = b"a/b\n"
    with pytest.raises(InputError, match="is not a gzipped list of paths"):
        crawl_files(CRAWL, "warc", 0, 1, server.url, rate=fast())


def test_a_listing_that_unpacks_without_end_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crawls, "LISTING_BYTES", 1000)
    server.files[f"crawl-data/{CRAWL}/warc.paths.gz"] = gzip.compress(b"a\n" * 501)
    with pytest.raises(InputError, match="longer than 1000 bytes"):
        crawl_files(CRAWL, "warc", 0, 1, server.url, rate=fast())
    server.files[f"crawl-data/{CRAWL}/warc.paths.gz"] = gzip.compress(b"a\n" * 500)
    assert len(crawl_files(CRAWL, "warc", 0, None, server.url, rate=fast())) == 500


def test_requests_are_spread_over_time() -> None:
    clock = [100.0]
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        clock[0] += seconds

    rate = RequestRate(per_second=4.0, burst=3, clock=lambda: clock[0], sleep=sleep)
    for _ in range(3):
        rate.take()
    assert naps == []
    for _ in range(8):
        rate.take()
    assert naps == [0.25] * 8
    clock[0] += 1000  # a long rest gives no more than one burst
    for _ in range(4):
        rate.take()
    assert len(naps) == 9


def test_threads_queue_for_the_same_rate() -> None:
    rate = RequestRate(per_second=100.0, burst=1)
    began = time.monotonic()
    threads = [threading.Thread(target=rate.take) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert 0.18 <= time.monotonic() - began < 2


def test_every_request_and_every_retry_takes_from_the_rate(server: Server) -> None:
    naps: list[float] = []
    rate = RequestRate(per_second=1.0, burst=1, clock=lambda: 0.0, sleep=naps.append)
    server.faults = [server.fault(status=500), server.fault(), server.fault(cut_after=5)]
    url = f"{server.url}/{WARC}"
    with HttpFile(url, block_bytes=1000, patience=patience(Naps()), rate=rate) as file:
        file.read(1000)
    assert len(server.ranges) == 4
    assert naps == [1.0, 2.0, 3.0]


def test_a_refusal_holds_up_every_thread() -> None:
    clock, naps = [0.0], list[float]()
    rate = RequestRate(per_second=10.0, burst=5, clock=lambda: clock[0], sleep=naps.append)
    rate.take()
    rate.pause(3.0)
    rate.pause(2.0)  # a shorter one changes nothing
    rate.take()
    assert naps == pytest.approx([3.0])
    clock[0] = 10.0
    rate.take()
    assert len(naps) == 1


@pytest.mark.parametrize(("status", "paused"), [(403, 1), (429, 1), (503, 1), (500, 0), (502, 0)])
def test_what_a_server_says_about_us_pauses_the_rate(server: Server, status: int, paused: int) -> None:
    pauses: list[float] = []
    rate = fast()
    rate.pause = pauses.append  # type: ignore[method-assign]
    server.faults = [server.fault(status=status, headers={"Retry-After": "7"})]
    assert stat(f"{server.url}/{WARC}", patience=patience(Naps()), rate=rate).size == len(BODY)
    assert pauses == [7.0] * paused


def test_many_files_are_asked_about_at_once_and_in_order(server: Server) -> None:
    names = [f"crawl-data/{number}" for number in range(60)]
    for number, name in enumerate(names):
        server.files[name] = bytes(number + 1)
    server.faults = [server.fault(), server.fault(status=503), server.fault(cut_after=0)]
    server.always = server.fault(delay=0.02)
    began = time.monotonic()
    stats = remote.stat_all([f"{server.url}/{name}" for name in names], patience=patience(Naps()), rate=fast())
    assert [found.size for found in stats] == list(range(1, 61))
    assert time.monotonic() - began < 60 * 0.02
    assert server.connections <= remote.LISTING_THREADS + 2  # each thread keeps its own
    assert remote.stat_all([]) == []


def test_one_missing_file_ends_the_listing(server: Server) -> None:
    for number in range(200):
        server.files[str(number)] = b"x"
    urls = [f"{server.url}/{number}" for number in (0, 1, 999, *range(2, 200))]
    with pytest.raises(InputError, match="999: status 404"):
        remote.stat_all(urls, patience=patience(Naps()), rate=fast())
    assert len(server.ranges) < 200


def test_ranges_of_a_file_that_was_not_listed(server: Server) -> None:
    url = f"{server.url}/{WARC}"
    ranges = remote.HttpRanges(url, patience=patience(Naps()), rate=fast())
    assert ranges.read(1000, 3000) == BODY[1000:3000]
    assert ranges.read(len(BODY) - 5, len(BODY) + 50) == BODY[-5:]
    assert ranges.read(len(BODY) + 5, len(BODY) + 50) == b""
    assert ranges.read(7, 7) == b""
    assert len(server.ranges) == 2
    server.etags[WARC] = '"v2"'
    with pytest.raises(InputError, match="changed since"):
        ranges.read(0, 10)
    ranges.close()


@pytest.mark.parametrize(
    ("start", "end", "count"), [(len(BODY) + 10, len(BODY) + 20, 0), (len(BODY) - 3, 2 * len(BODY), 3)]
)
def test_ranges_beyond_the_end_are_short_at_once(server: Server, start: int, end: int, count: int) -> None:
    naps = Naps()
    ranges = remote.HttpRanges(f"{server.url}/{WARC}", patience=patience(naps), rate=fast())
    assert ranges.read(start, end) == BODY[start:end]
    assert len(ranges.read(start, end)) == count
    assert naps.seconds == []
