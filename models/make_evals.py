"""Make evaluation sets that documents are compared with: python -m models.make_evals --evals DIR --out MODELS

Each file in DIR, and each folder with all files below it, is a set, called by its name: `gsm8k.jsonl`, `mmlu/…`. Read
are .jsonl, .parquet and .txt, the first and the last gzipped or not. A row is an example; in a text, what stands
between blank lines is, or a line where there are none. Of a row the fields of `--fields` are taken, each compared by
itself, with all strings that lie in them (a list of choices, say). Passages that a question is about (`context`,
`passage`, `article`) are not among them: they are mostly pages of Wikipedia or books, which would all go.
{ filter = "decontaminate" } drops documents that hold a piece of an example (docs/decontamination.md).
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation.errors import CommandLine, InputError, UserError, exit_on_user_error
from curation.evals import (
    EXAMPLES,
    HASHES,
    NGRAM,
    SETS,
    SHORTEST,
    STARTS,
    TOTALS,
    Evals,
    collect,
    to_json,
)
from curation.word_hashes import LONGEST, Hashes
from models.artifact import npy, write_artifact

FIELDS = (
    *("question", "query", "problem", "prompt", "instruction", "input", "goal", "premise", "hypothesis", "claim"),
    *("sentence", "sentence1", "sentence2", "ctx", "ctx_a", "ctx_b", "text", "content", "body"),
    *("choices", "options", "endings", "sol1", "sol2", "option1", "option2", "mc1_targets", "mc2_targets"),
    *("answer", "answers", "target", "targets", "solution", "canonical_solution", "best_answer", "correct_answers"),
)
# GPT-3 leaves out what more than 10 training documents hold; of a corpus nothing is known here (`--common`).
MAX_EXAMPLES = 10

Read = Callable[[Path, Sequence[str]], Iterator[tuple[list[str], set[str]]]]  # texts of a row, and fields not taken


def make_evals(
    name: str,
    evals_dir: Path,
    models_dir: Path,
    *,
    fields: Sequence[str] = FIELDS,
    ngram: int = NGRAM,
    shortest: int = SHORTEST,
    max_examples: int = MAX_EXAMPLES,
    common: Path | None = None,
    licence: str = "that of the sets",
) -> Evals:
    """Write the artifact `models_dir/evals-NAME`, of all sets in `evals_dir`.

    `common` (.npy) has hashes of n-grams to leave out, as `python -m pipelines.contamination --common` writes them.
    Equal rows give equal bytes. Raises UserError.
    """
    if shortest < 1 or not 1 <= ngram <= LONGEST:
        raise UserError(f"--shortest is at least 1 and --ngram 1 to {LONGEST}, not {shortest} and {ngram}")
    if max_examples < 0:
        raise UserError("--max-examples is a number of examples, or 0 for no limit")
    out = read_common(common) if common else None
    found = {set_name: list(_examples(set_name, files, fields)) for set_name, files in find_sets(evals_dir).items()}
    evals = collect(found, ngram=ngram, shortest=shortest, max_examples=max_examples, common=out)
    if not len(evals.hashes):
        raise UserError(f"{evals_dir}: no example has {shortest} words in any of its fields")
    content = (json.dumps(to_json(evals), indent=1, sort_keys=True) + "\n").encode()
    files = {HASHES: npy(evals.hashes), STARTS: npy(evals.starts), EXAMPLES: npy(evals.examples)}
    write_artifact(
        models_dir / f"evals-{name}",
        {**files, TOTALS: npy(evals.totals), SETS: content},
        kind="evals",
        format="sorted 64-bit hashes of word n-grams, the examples that hold each (numpy); sets (JSON)",
        licence=licence,
        origin=f"{len(evals.totals)} examples of " + ", ".join(one.name for one in evals.sets),
        parameters={
            "ngram": ngram,
            "shortest": shortest,
            "max_examples": max_examples,
            "common": 0 if out is None else len(out),
            "fields": list(fields),
        },
    )
    return evals


def read_common(path: Path) -> Hashes:
    """Hashes of n-grams, sorted. Raises InputError."""
    try:
        hashes = np.load(path, allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise InputError(f"cannot read {path}: {error}") from None
    if hashes.dtype != np.uint64 or hashes.ndim != 1:
        raise InputError(f"{path} holds no hashes of n-grams; python -m pipelines.contamination --common writes them")
    return cast(Hashes, np.unique(hashes))


def find_sets(folder: Path) -> dict[str, list[Path]]:
    """Files of each set, sorted. What is of another kind is left out, and said to be. Raises InputError."""
    if not folder.is_dir():
        raise InputError(f"no folder {folder}")
    found: dict[str, list[Path]] = {}
    origins: dict[str, Path] = {}
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        files = sorted(path for path in entry.rglob("*") if path.is_file()) if entry.is_dir() else [entry]
        mine = [path for path in files if reader_of(path) and not path.name.startswith(".")]
        for path in files:
            if path not in mine:
                _say(f"left out {path}: not .jsonl, .parquet or .txt")
        if not mine:
            continue
        stem = entry.name if entry.is_dir() else re.sub(r"(\.txt|\.jsonl|\.parquet)(\.gz)?$", "", entry.name)
        name = re.sub(r"[^a-z0-9]+", "_", stem.lower()).strip("_")
        if not name:
            raise InputError(f"{entry}: a set's name has a letter or a digit of ASCII")
        if name in found:
            raise InputError(f"{origins[name]} and {entry} would both be the set {name}: rename one")
        found[name], origins[name] = mine, entry
    if not found:
        raise InputError(f"{folder} holds no .jsonl, .parquet or .txt")
    return found


def _examples(name: str, files: Sequence[Path], fields: Sequence[str]) -> Iterator[list[str]]:
    taken, others = 0, set[str]()
    for path in files:
        for texts, beside in cast(Read, reader_of(path))(path, fields):
            taken += bool(texts)
            others |= beside
            yield texts
    if not taken:
        raise InputError(
            f"set {name} ({files[0]}): no row has a text in the fields that are taken"
            + (f"; its fields are {', '.join(sorted(others))}: name them with --fields" if others else "")
        )
    _say(f"{name}: fields not taken: {', '.join(sorted(others))}" if others else f"{name}: all fields taken")


def reader_of(path: Path) -> Read | None:
    name = path.name.removesuffix(".gz")
    if name.endswith(".jsonl"):
        return _read_jsonl
    if path.name.endswith(".parquet"):
        return _read_parquet
    return _read_text if name.endswith(".txt") else None


def _read_jsonl(path: Path, fields: Sequence[str]) -> Iterator[tuple[list[str], set[str]]]:
    with _open(path) as stream:
        for number, line in enumerate(_lines(stream, path), 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict):
                raise InputError(f"{path}: line {number} is not a JSON object")
            yield _taken(row, fields)


def _read_parquet(path: Path, fields: Sequence[str]) -> Iterator[tuple[list[str], set[str]]]:
    try:
        with pq.ParquetFile(path) as file:
            others = set(file.schema_arrow.names) - set(fields)
            for batch in file.iter_batches(1024):
                for row in batch.to_pylist():
                    yield _taken(row, fields)[0], others
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"cannot read {path}: {error}") from None


def _read_text(path: Path, fields: Sequence[str]) -> Iterator[tuple[list[str], set[str]]]:
    with _open(path) as stream:
        text = b"".join(_lines(stream, path)).decode("utf-8", "replace").strip()
    apart = re.split(r"\n\s*\n", text)
    for example in apart if len(apart) > 1 else text.splitlines():
        if example.strip():
            yield [example], set()


def _open(path: Path) -> BinaryIO:
    try:
        return cast(BinaryIO, gzip.open(path)) if path.name.endswith(".gz") else path.open("rb")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error}") from None


def _lines(stream: BinaryIO, path: Path) -> Iterator[bytes]:
    try:
        yield from stream
    except (OSError, EOFError) as error:
        raise InputError(f"cannot read {path}: {error}") from None


def _taken(row: Mapping[str, Any], fields: Sequence[str]) -> tuple[list[str], set[str]]:
    """Texts of the fields, in the fields' order, and the names of the other fields."""
    texts = [text for name in fields for text in _strings(row.get(name)) if text.strip()]
    return texts, set(row) - set(fields)


def _strings(value: Any) -> Iterator[str]:
    """All strings in a value, however it is nested."""
    pending = [value]
    while pending:
        one = pending.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, Mapping):
            pending.extend(reversed(list(one.values())))
        elif isinstance(one, list | tuple):
            pending.extend(reversed(one))


def describe(evals: Evals) -> str:
    """A line a set."""
    width = max(3, *(len(one.name) for one in evals.sets)) + 2
    titles = ("examples", "compared", "too short", "too common", "n-grams", "left out")
    lines = [f"{'set':<{width}}" + "".join(f"{title:>12}" for title in titles)]
    for one in evals.sets:
        counts = (one.examples, one.compared, one.too_short, one.too_common, one.ngrams, one.left_out)
        lines.append(f"{one.name:<{width}}" + "".join(f"{count:>12,}" for count in counts))
    return "\n".join(lines)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    parser = CommandLine(prog="python -m models.make_evals", description=__doc__.partition("\n")[0])
    parser.add_argument("--evals", type=Path, required=True, metavar="DIR", help="each file or folder in it is a set")
    parser.add_argument("--out", type=Path, required=True, metavar="MODELS", help="directory of the model artifacts")
    parser.add_argument("--name", default="all", help="the artifact is evals-NAME")
    parser.add_argument(
        "--fields", default=",".join(FIELDS), metavar="A,B,…", help="which fields of a row are taken (%(default)s)"
    )
    parser.add_argument("--ngram", type=int, default=NGRAM, help="words (%(default)s)")
    parser.add_argument(
        "--shortest", type=int, default=SHORTEST, help="words of the shortest text that is compared (%(default)s)"
    )
    parser.add_argument(
        "--max-examples",
        type=int,
        default=MAX_EXAMPLES,
        help="n-grams that more examples of a set hold are left out; 0: none (%(default)s)",
    )
    parser.add_argument(
        "--common", type=Path, metavar="FILE", help="n-grams to leave out, from pipelines.contamination --common"
    )
    parser.add_argument("--licence", default="that of the sets", help="written into the manifest")
    arguments = parser.parse_args(argv)
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", arguments.name):
        raise UserError(f"--name is of a-z, 0-9, _ and -, not {arguments.name!r}")
    fields = [field.strip() for field in arguments.fields.split(",") if field.strip()]
    evals = make_evals(
        arguments.name,
        arguments.evals,
        arguments.out,
        fields=fields,
        ngram=arguments.ngram,
        shortest=arguments.shortest,
        max_examples=arguments.max_examples,
        common=arguments.common,
        licence=arguments.licence,
    )
    _say(describe(evals))
    _say(f"wrote {arguments.out / f'evals-{arguments.name}'}")
    return 0


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
