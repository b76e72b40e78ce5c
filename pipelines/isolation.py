"""Run an extractor in a child process that can be killed: for pages that hang, crash or eat memory.

No thread, timer or signal handler of ours can stop C code that loops, and a crash takes the process with it. So the
child is a fresh interpreter (`python -m pipelines.isolation`; forking one that runs gRPC is not safe) that reads pages
and writes documents, length-prefixed pickles, over two pipes. It also makes an extractor that is not thread-safe usable
from threads. A kill depends on the clock and the machine, so it is a failure, never a Drop.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import pickle
import select
import signal
import struct
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO, NoReturn

from curation.document import Document, Drop, Page
from curation.errors import DataError
from curation.steps import Extractor

START_TIMEOUT_S = 300.0  # for imports and for compiling, on a slow or busy machine; not part of a page's time
_RECYCLE_AFTER = 1000
_LENGTH = struct.Struct("<Q")
_PIPE_BYTES = 1 << 20
_PR_SET_PDEATHSIG = 1
_OUT_OF_MEMORY = 137  # our child's exit status after a MemoryError: a shell's code for SIGKILL, the kernel's way

# Linux kills the child when the *thread* that started it ends, so one thread that lives as long as we do starts all.
_starter: ThreadPoolExecutor | None = None
_starter_lock = threading.Lock()


class Isolated:
    """An extractor in a child process, with a time limit for each page and a memory limit for the process.

    `__call__` gives what the extractor gives, and raises DataError: the extractor's own, `extractor_error` (any other
    exception: class and message), `killed_timeout`, `killed_memory`, `crashed`. After each of the last three, and
    every `recycle_after` pages (libxml2 and its callers leak), the next page gets a new child. The extractor must
    pickle; its own `recycle_after` counts where it has one, and its `prepare` is called once in each child, outside of
    a page's time. `memory_bytes` limits the child's address space where the system can (Linux); 0 is no limit.
    """

    def __init__(
        self,
        extractor: Extractor,
        *,
        timeout_s: float = 30.0,
        memory_bytes: int = 2 << 30,
        recycle_after: int | None = None,
    ) -> None:
        self.extractor = extractor
        self.timeout_s = timeout_s
        self.memory_bytes = memory_bytes
        self.recycle_after = recycle_after or int(getattr(extractor, "recycle_after", _RECYCLE_AFTER))
        self._lock = threading.Lock()
        self._child: _Child | None = None

    def __call__(self, page: Page) -> Document | Drop:
        request = pickle.dumps(page, protocol=5)
        with self._lock:
            child = self._ready()
            try:
                kind, value = pickle.loads(child.ask(request, self.timeout_s))
            except _TimeoutError:
                self._stop()
                raise DataError("killed_timeout", f"more than {self.timeout_s:g} s") from None
            except EOFError:
                raise self._cause_of_death() from None
        if kind == "error":
            raise DataError(*value)
        return value  # type: ignore[no-any-return]

    def close(self) -> None:
        """End the child. A later call starts a new one."""
        with self._lock:
            self._stop()

    def __enter__(self) -> Isolated:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _make, (self.extractor, self.timeout_s, self.memory_bytes, self.recycle_after)

    def _ready(self) -> _Child:
        child = self._child
        if child is not None and (child.pages >= self.recycle_after or child.process.poll() is not None):
            self._stop()
        if self._child is None:
            self._child = _Child(self.extractor, self.memory_bytes)
            weakref.finalize(self, self._child.kill)
        return self._child

    def _stop(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child = None

    def _cause_of_death(self) -> DataError:
        assert self._child is not None
        status = self._child.process.wait()
        self._stop()
        # SIGKILL that is not ours is the kernel's, for memory.
        if status in (_OUT_OF_MEMORY, -signal.SIGKILL):
            return DataError("killed_memory", f"more than {self.memory_bytes} bytes" if self.memory_bytes else "")
        how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        return DataError("crashed", how)


class _TimeoutError(Exception):
    pass


class _Child:
    def __init__(self, extractor: Extractor, memory_bytes: int) -> None:
        self.pages = -1  # the extractor itself goes over first
        self.process = _start(memory_bytes)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._requests = self.process.stdin.fileno()
        self._replies = self.process.stdout.fileno()
        for end in (self._requests, self._replies):
            os.set_blocking(end, False)
            with contextlib.suppress(AttributeError, OSError):
                fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        try:
            kind, value = pickle.loads(self.ask(pickle.dumps(extractor, protocol=5), START_TIMEOUT_S))
        except (EOFError, _TimeoutError):
            self.kill()
            raise RuntimeError("the child process for the extractor did not start; its errors are above") from None
        if kind != "ready":
            self.kill()
            raise RuntimeError(f"the child process cannot load the extractor: {value}")

    def ask(self, request: bytes, timeout_s: float) -> bytes:
        """Send a request and wait for its reply. Raises _TimeoutError, or EOFError if the child is gone."""
        self.pages += 1
        deadline = time.monotonic() + timeout_s
        self._send([_LENGTH.pack(len(request)), request], deadline)
        (length,) = _LENGTH.unpack(self._receive(_LENGTH.size, deadline))
        return self._receive(length, deadline)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def _send(self, data: list[bytes], deadline: float) -> None:
        views = [memoryview(part) for part in data]
        while views:
            try:
                sent = os.writev(self._requests, views)  # together, so that the child is woken once
                while views and sent >= len(views[0]):
                    sent -= len(views.pop(0))
                if views:
                    views[0] = views[0][sent:]
            except BlockingIOError:
                self._wait(self._requests, select.POLLOUT, deadline)
            except BrokenPipeError:
                raise EOFError from None

    def _receive(self, count: int, deadline: float) -> bytes:
        parts: list[bytes] = []
        while count:
            try:
                part = os.read(self._replies, min(count, _PIPE_BYTES))
            except BlockingIOError:
                self._wait(self._replies, select.POLLIN, deadline)
                continue
            if not part:
                raise EOFError
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    @staticmethod
    def _wait(descriptor: int, event: int, deadline: float) -> None:
        poll = select.poll()
        poll.register(descriptor, event)
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise _TimeoutError


def _make(extractor: Extractor, timeout_s: float, memory_bytes: int, recycle_after: int) -> Isolated:
    return Isolated(extractor, timeout_s=timeout_s, memory_bytes=memory_bytes, recycle_after=recycle_after)


def _start(memory_bytes: int) -> subprocess.Popen[bytes]:
    global _starter
    # The child must find the modules that we find, and its sets must be in the same order every time.
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path),
        "PYTHONHASHSEED": "0",
    }
    command = [sys.executable, "-m", "pipelines.isolation", str(os.getpid()), str(memory_bytes)]
    with _starter_lock:
        if _starter is None:
            _starter = ThreadPoolExecutor(1, thread_name_prefix="isolation")
        starter = _starter
    start = starter.submit(
        subprocess.Popen, command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    )
    return start.result()


# --- in the child ---


def _die_with(parent: int) -> None:
    """Be killed when the parent dies, also by SIGKILL. Elsewhere than on Linux its closed pipe tells, between pages."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before we asked
        os._exit(0)


def _limit_memory(memory_bytes: int) -> None:
    if memory_bytes and sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


def _reply(replies: BinaryIO, kind: str, value: object) -> None:
    try:
        data = pickle.dumps((kind, value), protocol=5)
    except Exception as error:
        data = pickle.dumps(("error", ("extractor_error", f"its result does not pickle: {error}"[:500])), protocol=5)
    replies.write(_LENGTH.pack(len(data)) + data)
    replies.flush()


def _request(requests: BinaryIO) -> bytes | None:
    prefix = requests.read(_LENGTH.size)
    return requests.read(_LENGTH.unpack(prefix)[0]) if len(prefix) == _LENGTH.size else None


def _serve(requests: BinaryIO, replies: BinaryIO) -> None:
    request = _request(requests)
    if request is None:
        return
    try:
        extractor: Extractor = pickle.loads(request)
        getattr(extractor, "prepare", lambda: None)()
    except Exception as error:
        _reply(replies, "error", f"{type(error).__name__}: {error}")
        return
    _reply(replies, "ready", None)
    while (request := _request(requests)) is not None:
        try:
            result = extractor(pickle.loads(request))
        except DataError as error:
            _reply(replies, "error", (error.reason, error.message))
        except MemoryError:
            os._exit(_OUT_OF_MEMORY)
        except Exception as error:
            _reply(replies, "error", ("extractor_error", f"{type(error).__name__}: {error}"[:500]))
        else:
            _reply(replies, "result", result)


def main() -> NoReturn:
    parent, memory_bytes = (int(argument) for argument in sys.argv[1:3])
    _die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    _limit_memory(memory_bytes)
    # What an extractor prints must not get between the replies.
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _serve(os.fdopen(os.dup(0), "rb"), replies)
    os._exit(0)


if __name__ == "__main__":
    main()
