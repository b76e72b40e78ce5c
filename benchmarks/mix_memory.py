"""What mixing costs: seconds and peak memory over the number of tokens, with a fixed --memory.

    python -m benchmarks.mix_memory --tokens 5000000 20000000 --memory 128MiB

One synthetic source seen once, local runner, one process; each size in a process of its own, for a peak of its own.
Many small parts and many shards are the hard case: each part sends each shard a payload.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from benchmarks.table1 import mix, random_lengths, write_source
from curation.errors import CommandLine, exit_on_user_error
from curation.mixture import Mixture
from pipelines.mix import SHUFFLE_BYTES_PER_TOKEN
from pipelines.runner import parse_size


def measure(tokens: int, parts: int, shard_tokens: int, memory: int, mean: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as output:
        source = write_source(output, 0, "synthetic", random_lengths(tokens, 0, mean), parts)
        mix(output + "/warm", Mixture(), 1000, [write_source(output + "/warm", 0, "synthetic", [1000])])
        base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.perf_counter()
        mix(output, Mixture(), shard_tokens, [source], memory)
        seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    in_pass = min(tokens, max(shard_tokens, memory // SHUFFLE_BYTES_PER_TOKEN))
    return {"tokens": tokens, "s": seconds, "base": base, "peak": peak, "in_pass": in_pass}


def main(argv: Sequence[str] | None = None) -> int:
    parser = CommandLine(prog="python -m benchmarks.mix_memory", description=__doc__.partition("\n")[0])
    parser.add_argument("--tokens", type=int, nargs="+", default=[5_000_000, 20_000_000])
    parser.add_argument("--parts", type=int, default=20)
    parser.add_argument("--document", type=int, default=500, help="tokens of an average document")
    parser.add_argument("--shard-tokens", type=int, default=1_000_000)
    parser.add_argument("--memory", type=parse_size, default=parse_size("128MiB"))
    parser.add_argument("--here", action="store_true", help="measure one size in this process, and print JSON")
    arguments = parser.parse_args(argv)
    options = arguments.parts, arguments.shard_tokens, arguments.memory, arguments.document
    if arguments.here:
        print(json.dumps(measure(arguments.tokens[0], *options)))
        return 0
    print(f"{'tokens':>12}{'in a pass':>12}{'seconds':>9}{'base MiB':>10}{'peak MiB':>10}{'B/token/pass':>14}")
    flags = ("--parts", "--shard-tokens", "--memory", "--document")
    for tokens in arguments.tokens:
        command = [sys.executable, "-m", "benchmarks.mix_memory", "--here", "--tokens", str(tokens)]
        command += [word for flag, value in zip(flags, options, strict=True) for word in (flag, str(value))]
        row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        grown = (row["peak"] - row["base"]) * 1024 / row["in_pass"]
        print(
            f"{tokens:>12,}{row['in_pass']:>12,}{row['s']:>9.1f}{row['base'] / 1024:>10.0f}{row['peak'] / 1024:>10.0f}"
            f"{grown:>14.1f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
