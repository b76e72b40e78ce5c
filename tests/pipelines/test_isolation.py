"""Real poison: pages that hang, crash, eat memory or raise, in a real child process."""

from __future__ import annotations

import os
import pickle
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from curation.document import Document, Drop, Page
from curation.errors import DataError
from curation.extractors.plain import Plain
from pipelines.isolation import Isolated

MEMORY = 400 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Poison:
    """Does what the page says."""

    def __call__(self, page: Page) -> Document | Drop:
        order = page.body.decode()
        if order == "sleep":
            time.sleep(60)
        elif order == "regex":  # holds the interpreter lock for hours
            re.match(r"(a+)+$", "a" * 40 + "b")
        elif order == "abort":
            os.abort()
        elif order == "exit":
            os._exit(3)
        elif order == "memory":
            bytearray(8 << 30)
        elif order == "more memory":
            hoard = []
            while True:
                hoard.append(bytearray(50 << 20))
        elif order == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif order == "raise":
            raise ValueError("no such page")
        elif order == "recursion":
            return self(page)
        elif order == "data error":
            raise DataError("binary_body", "a message")
        elif order == "print":
            print("this goes between the replies" * 100, flush=True)
            os.system("echo and this too")
        elif order == "not a result":
            return lambda: None  # type: ignore[return-value]
        elif order == "drop":
            return Drop("a_rule", 1.5, 2)
        return Document(id=page.id, url=page.url, date="", digest="", text=f"{os.getpid()}")


def page(order: str | bytes) -> Page:
    body = order if isinstance(order, bytes) else order.encode()
    return Page(id="s:f#0", url="", date="", digest="", status=200, content_type="text/plain", charset="", body=body)


def pid(isolated: Isolated) -> int:
    result = isolated(page("fine"))
    assert isinstance(result, Document)
    return int(result.text)


@pytest.fixture(scope="module")
def isolated():  # type: ignore[no-untyped-def]
    with Isolated(Poison(), timeout_s=2.0, memory_bytes=MEMORY) as extractor:
        yield extractor


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ("sleep", "killed_timeout"),
        ("regex", "killed_timeout"),
        ("abort", "crashed"),
        ("exit", "crashed"),
        ("kill", "killed_memory"),  # as the kernel does it
        pytest.param(
            "memory", "killed_memory", marks=pytest.mark.skipif(sys.platform != "linux", reason="no limit there")
        ),
        pytest.param(
            "more memory", "killed_memory", marks=pytest.mark.skipif(sys.platform != "linux", reason="no limit there")
        ),
    ],
)
def test_poison_costs_one_page_and_one_child(isolated: Isolated, order: str, reason: str) -> None:
    if "memory" in order:  # a busy machine may need more than two seconds to fill it
        isolated = Isolated(Poison(), memory_bytes=MEMORY)
    before = pid(isolated)
    with pytest.raises(DataError) as raised:
        isolated(page(order))
    assert raised.value.reason == reason
    assert pid(isolated) != before
    with pytest.raises(ProcessLookupError):
        os.kill(before, 0)


@pytest.mark.parametrize(
    ("order", "reason", "message"),
    [
        ("raise", "extractor_error", "ValueError: no such page"),
        ("recursion", "extractor_error", "RecursionError: "),
        ("not a result", "extractor_error", "its result does not pickle"),
        ("data error", "binary_body", "a message"),
    ],
)
def test_exceptions_cost_one_page_and_no_child(isolated: Isolated, order: str, reason: str, message: str) -> None:
    before = pid(isolated)
    with pytest.raises(DataError) as raised:
        isolated(page(order))
    assert raised.value.reason == reason
    assert raised.value.message.startswith(message)
    assert pid(isolated) == before


def test_values_come_back_as_they_are(isolated: Isolated) -> None:
    assert isolated(page("drop")) == Drop("a_rule", 1.5, 2)
    assert isinstance(isolated(page("print")), Document)
    body = b"x" * (9 << 20)  # more than any pipe holds, both ways
    with Isolated(Plain(max_bytes=1 << 30)) as plain:
        document = plain(page(body))
        assert document == Plain(max_bytes=1 << 30)(page(body))


def test_time_spent_elsewhere_is_not_the_pages(isolated: Isolated) -> None:
    before = pid(isolated)
    time.sleep(2.3)  # longer than the limit
    assert pid(isolated) == before


def test_a_child_killed_between_pages_costs_no_page(isolated: Isolated) -> None:
    before = pid(isolated)
    os.kill(before, signal.SIGKILL)
    time.sleep(0.2)
    assert pid(isolated) != before


def test_recycled_after_so_many_pages() -> None:
    with Isolated(Poison(), recycle_after=3) as extractor:
        children = [pid(extractor) for _ in range(7)]
    assert [children[0] == child for child in children] == [True, True, True, False, False, False, False]
    assert children[3] == children[5] != children[6]


@dataclass(frozen=True, slots=True)
class Slow(Poison):
    """Takes longer to get ready than a page may take, and says when its process is to go."""

    recycle_after: ClassVar[int] = 2

    def prepare(self) -> None:
        time.sleep(1.0)


def test_an_extractor_says_itself_when_and_getting_ready_is_no_pages_time() -> None:
    with Isolated(Slow(), timeout_s=0.5) as extractor:
        children = [pid(extractor) for _ in range(3)]
    assert children[0] == children[1] != children[2]
    assert pickle.loads(pickle.dumps(extractor)).recycle_after == 2


def test_what_cannot_get_ready_is_said() -> None:
    with pytest.raises(RuntimeError, match="cannot load the extractor: OSError: no model"):
        Isolated(Unready())(page("fine"))


@dataclass(frozen=True, slots=True)
class Unready(Poison):
    def prepare(self) -> None:
        raise OSError("no model")


def test_close_ends_the_child_and_a_later_call_starts_one() -> None:
    extractor = Isolated(Poison())
    before = pid(extractor)
    extractor.close()
    extractor.close()
    with pytest.raises(ProcessLookupError):
        os.kill(before, 0)
    assert pid(extractor) != before
    last = pid(extractor)
    del extractor  # forgotten, not closed
    assert gone(last)


def test_survives_the_thread_that_started_it() -> None:
    """Linux kills such a child when the thread that started it ends; pages of other threads must not pay for that."""
    with Isolated(Poison()) as extractor:
        children: list[int] = []
        for _ in range(3):
            thread = threading.Thread(target=lambda: children.append(pid(extractor)))
            thread.start()
            thread.join()
            time.sleep(0.1)
        assert len(set(children)) == 1


def test_threads_take_turns() -> None:
    with Isolated(Poison()) as extractor:
        children: list[int] = []
        threads = [
            threading.Thread(target=lambda: children.extend(pid(extractor) for _ in range(20))) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(children) == 80
        assert len(set(children)) == 1


def test_travels_without_its_child(isolated: Isolated) -> None:
    before = pid(isolated)
    copy = pickle.loads(pickle.dumps(isolated))
    assert (copy.extractor, copy.timeout_s, copy.memory_bytes) == (Poison(), 2.0, MEMORY)
    with copy:
        assert pid(copy) != before


def gone(process: int) -> bool:
    for _ in range(100):
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":  # dead; whoever inherited it has yet to look
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can promise this")
def test_no_orphan_after_the_parent_is_killed(tmp_path: Path) -> None:
    """Also when the child is busy in C code and would never look at its pipe again."""
    program = textwrap.dedent(
        """
        import re, sys, threading
        from dataclasses import dataclass
        from curation.document import Page
        from curation.extractors.plain import Plain
        from pipelines.isolation import Isolated
        from poison import Hang
        extractor = Isolated(Hang(), timeout_s=600)
        page = Page(id="", url="", date="", digest="", status=0, content_type="", charset="", body=b"")
        threading.Timer(1.0, lambda: print(extractor._child.process.pid, flush=True)).start()
        extractor(page)
        """
    )
    (tmp_path / "poison.py").write_text(
        "import re\nclass Hang:\n    def __call__(self, page):\n        re.match(r'(a+)+$', 'a' * 40 + 'b')\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    parent = subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        os.kill(child, 0)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        assert gone(child)
    finally:
        parent.kill()
        parent.wait()
        assert parent.stdout is not None
        parent.stdout.close()


def test_an_extractor_that_cannot_start_says_so() -> None:
    with pytest.raises(RuntimeError, match="the child process"):
        Isolated(Poison(), memory_bytes=1 << 20)(page("fine"))
