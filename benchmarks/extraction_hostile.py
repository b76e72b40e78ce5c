"""What hostile pages cost an extractor: CPU time and memory of each, in a process of its own that can be killed.

    python -m benchmarks.extraction_hostile [--extractors winnow "trafilatura fast"] [--fit | --raised]

The pages are those of `benchmarks/hostile_pages.py`, and most are beyond what an extractor lets in. With --fit they are
smaller, so that they just get in: the worst that a run can meet. With --raised, every extractor takes pages of any
number of bytes and tags; its other limits stay. Memory is the most that the process held beyond
what it held with the extractor loaded and warm, the page itself included. "killed": it took more than --timeout
seconds of CPU time, or more address space than --memory has MiB.
"""

from __future__ import annotations

import ctypes
import dataclasses
import json
import math
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.extraction import Extract, choose
from benchmarks.hostile_pages import KINDS, page
from curation.document import Document, Page
from curation.errors import CommandLine, DataError, InputError, exit_on_user_error
from curation.extractors.trafilatura import Trafilatura

EXTRACTORS = ("winnow", "resiliparse", "trafilatura fast")
_RAISED = 1 << 30
_PATIENCE = 20  # seconds on the clock for each of CPU time, should a page make the process wait
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one page. `verdict`: a Drop's rule, a DataError's reason, "N characters", "killed: ..." or "crashed: ..."."""

    seconds: float  # CPU; of a page that was killed, the limit
    peak_bytes: int
    verdict: str

    def cell(self) -> str:
        if self.verdict.startswith("killed"):
            return f"**{self.verdict}**"
        return f"{self.seconds:.2f} s, {self.peak_bytes / 1e6:.0f} MB, {self.verdict}"


def cost(name: str, kind: str, *, raised: bool, size: float, timeout_s: int, memory_bytes: int) -> Cost:
    """Of one extractor on one page, in a fresh interpreter."""
    asked = [name, kind, json.dumps(raised), str(size), str(timeout_s), str(memory_bytes), str(os.getpid())]
    command = [sys.executable, "-m", "benchmarks.extraction_hostile", "--child", *asked]
    paths = os.pathsep.join(os.path.abspath(path) for path in sys.path)
    environment = {**os.environ, "PYTHONPATH": paths}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, bufsize=0
    ) as process:
        try:
            assert process.stdout is not None
            first = process.stdout.readline()  # the extractor is loaded, and the page is made; the clock begins
            if first != b"ready\n":
                raise RuntimeError(f"{name} did not start: {process.communicate()[1].decode(errors='replace')}")
            out, complaint = process.communicate(timeout=timeout_s * _PATIENCE)
        except subprocess.TimeoutExpired:
            return Cost(timeout_s, 0, f"killed: more than {timeout_s * _PATIENCE} s on the clock")
        finally:
            process.kill()
    if process.returncode == -signal.SIGXCPU:
        return Cost(timeout_s, 0, f"killed: more than {timeout_s} s")
    if status := process.returncode:
        how = signal.Signals(-status).name if status < 0 else complaint.decode(errors="replace")
        return Cost(0.0, 0, f"crashed: {how[-200:].strip()}")
    return Cost(**json.loads(out))


def raise_limits(extract: Extract) -> Extract:
    """The same extractor with `max_bytes` and `max_tags` beyond any page."""
    assert dataclasses.is_dataclass(extract)
    assert not isinstance(extract, type)
    return dataclasses.replace(extract, max_bytes=_RAISED, max_tags=_RAISED)  # type: ignore[return-value]


def fitting(kind: str) -> float:
    """The size at which the page has no more bytes and tags than extractors let in by default; 1 at most."""
    limits, body = Trafilatura(), page(kind).body
    return min(1.0, 0.99 * limits.max_bytes / len(body), 0.99 * limits.max_tags / max(1, body.count(b"<")))


def table(costs: dict[tuple[str, str], Cost], sizes: dict[str, int]) -> str:
    names = list(dict.fromkeys(name for name, _ in costs))
    lines = [f"| page | MB | {' | '.join(names)} |", "|---" * (2 + len(names)) + "|"]
    for kind, size in sizes.items():
        cells = (costs[name, kind].cell() for name in names)
        lines.append(f"| {kind} | {size / 1e6:.1f} | {' | '.join(cells)} |")
    return "\n".join(lines)


# --- in the child ---


def child(name: str, kind: str, raised: bool, size: float, timeout_s: int, memory_bytes: int, parent: int) -> int:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before we asked to end with it
        return 1
    extract = choose([name])[name]
    if raised:
        extract = raise_limits(extract)
    for _ in range(2):
        _verdict(extract, page("paragraphs, 50 thousand", 0.001), memory_bytes)
    held = _memory("VmRSS")
    hostile = page(kind, size)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    until = math.ceil(time.process_time()) + timeout_s
    resource.setrlimit(resource.RLIMIT_CPU, (until, until + 1))
    Path("/proc/self/clear_refs").write_text("5")  # the peak is from here on
    print("ready", flush=True)
    began = time.process_time()
    verdict = _verdict(extract, hostile, memory_bytes)
    seconds = time.process_time() - began
    print(json.dumps(dataclasses.asdict(Cost(round(seconds, 4), max(0, _memory("VmHWM") - held), verdict))))
    return 0


def _verdict(extract: Extract, hostile: Page, memory_bytes: int) -> str:
    try:
        result = extract(hostile)
    except DataError as error:
        return error.reason
    except MemoryError:
        return f"killed: more than {memory_bytes >> 20} MiB"
    except Exception as error:  # a run calls it `extractor_error` and goes on
        return f"{type(error).__name__}: {error}"[:200]
    return f"{len(result.text)} characters" if isinstance(result, Document) else result.rule


def _memory(field: str) -> int:
    """Bytes, of /proc/self/status."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) << 10


def main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["--child"]:
        name, kind, raised, share, timeout_s, memory_bytes, parent = arguments[1:]
        return child(name, kind, json.loads(raised), float(share), int(timeout_s), int(memory_bytes), int(parent))
    parser = CommandLine(prog="python -m benchmarks.extraction_hostile", description=__doc__.partition("\n")[0])
    parser.add_argument("--extractors", nargs="+", metavar="NAME", help=f"default: {', '.join(EXTRACTORS)}")
    parser.add_argument("--kinds", nargs="+", metavar="KIND", help="only these pages, as the table names them")
    parser.add_argument("--fit", action="store_true", help="make each page as small as extractors let in")
    parser.add_argument("--raised", action="store_true", help="take pages of any number of bytes and tags")
    parser.add_argument("--size", type=float, default=1.0, help="of the pages; less for a quick look")
    parser.add_argument("--timeout", type=int, default=20, help="CPU seconds for a page")
    parser.add_argument("--memory", type=int, default=4096, help="MiB of address space that a process may have")
    asked = parser.parse_args(arguments)
    if not sys.platform.startswith("linux"):
        raise InputError("peak memory is read from /proc, which only Linux has")
    if unknown := set(asked.kinds or ()) - set(KINDS):
        raise InputError(f"there is no page {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    names = asked.extractors or [name for name in choose(None) if name in EXTRACTORS]
    choose(names)
    costs, sizes = {}, {}
    limits = {"timeout_s": asked.timeout, "memory_bytes": asked.memory << 20}
    for kind in asked.kinds or KINDS:
        size = fitting(kind) if asked.fit else asked.size
        sizes[kind] = len(page(kind, size).body)
        for name in names:
            costs[name, kind] = cost(name, kind, raised=asked.raised, size=size, **limits)
        print(f"{kind}: {', '.join(costs[name, kind].cell() for name in names)}", file=sys.stderr, flush=True)
    print(table(costs, sizes))
    return 0


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
