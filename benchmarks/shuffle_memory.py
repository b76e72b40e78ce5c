"""What a global deduplication costs: seconds and peak memory over the number of hashes, with a fixed --memory.

    python -m benchmarks.shuffle_memory --claims 1000000 4000000 --memory 256MiB

Synthetic claims, a third of them in two parts, 20 parts, local runner, one process. Each size runs in a process of its
own, so that its peak is its own. The peak should stay where it is while the claims grow: only the passes become more.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from curation.dedup.lines import Lines
from curation.dedup.verdict import Rule
from curation.errors import CommandLine, exit_on_user_error
from curation.hashing import splitmix64
from pipelines import dedup, inputs, runner, storage
from pipelines.inputs import InputFile
from pipelines.part_files import StageFiles
from pipelines.plan import BoundStep, Stage
from pipelines.runner import parse_size
from pipelines.stages import Run, part_name

PARTS = 20


def prepare(output: str, total: int) -> None:
    """Claims of PARTS parts, as a stage before would have left them."""
    files = [InputFile("synthetic", f"/{n}", f"{n:03d}", 1, "") for n in range(PARTS)]
    inputs.freeze(output, files, 1)
    stage = StageFiles(storage.join(output, "synthetic", "documents"))
    each = total // PARTS
    for part in range(PARTS):
        # The last third of a part's hashes is the first third of the next one's.
        numbers = np.arange(part * each * 2 // 3, part * each * 2 // 3 + each, dtype=np.uint64)
        nothing = np.zeros(each, dtype=np.uint32)
        mine = Rule("smallest").claims(splitmix64(numbers), nothing, nothing)
        path = Path(stage.claims(part))
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, mine)
        storage.write_json(stage.ledger(part), {"key": "before", "part": part_name(part), "claims": len(mine)})


def measure(total: int, memory: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as output:
        prepare(output, total)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        run = Run(output, "", runner.executor(runner.beam_flags([], 1, CommandLine())), memory, progress=False)
        step = BoundStep("dedup", "lines", Lines())
        stage = Stage("synthetic", "lines", "claims", "key", upstream="documents", applies=step)
        started = time.perf_counter()
        result = dedup.run_stage(run, stage, inputs.load(output), "before")
        seconds = time.perf_counter() - started
        lost = result.balances["claims"].dropped["repeated"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"claims": total, "lost": lost, "passes": result.notes["passes"], "s": seconds, "base": before, "peak": peak}


def main(argv: Sequence[str] | None = None) -> int:
    parser = CommandLine(prog="python -m benchmarks.shuffle_memory", description=__doc__.partition("\n")[0])
    parser.add_argument("--claims", type=int, nargs="+", default=[1_000_000, 4_000_000])
    parser.add_argument("--memory", type=parse_size, default=parse_size("256MiB"))
    parser.add_argument("--here", action="store_true", help="measure one size in this process, and print JSON")
    arguments = parser.parse_args(argv)
    if arguments.here:
        print(json.dumps(measure(arguments.claims[0], arguments.memory)))
        return 0
    print(f"{'claims':>12}{'lost':>12}{'passes':>8}{'seconds':>9}{'us/claim':>10}{'peak MiB':>10}{'B/claim/pass':>14}")
    for total in arguments.claims:
        command = [sys.executable, "-m", "benchmarks.shuffle_memory", "--here", "--claims", str(total)]
        done = subprocess.run([*command, "--memory", str(arguments.memory)], check=True, capture_output=True, text=True)
        row = json.loads(done.stdout)
        in_pass = (row["peak"] - row["base"]) * 1024 / (total / row["passes"])
        print(
            f"{total:>12,}{row['lost']:>12,}{row['passes']:>8}{row['s']:>9.1f}{row['s'] / total * 1e6:>10.2f}"
            f"{row['peak'] / 1024:>10.0f}{in_pass:>14.0f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
