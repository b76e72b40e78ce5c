"""Train language identification on a corpus of your own:

    python -m models.train_language_id --text gsw=texts/gsw --dump de=dewiki.xml.bz2 --jsonl more.jsonl --out MODELS

makes the artifact that `{ score = "language_id" }` reads, in place of a fetched one. It is fastText's supervised
classifier on words and on n-grams of characters (Joulin et al. 2016), with the sizes of lid.176.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import fasttext

from curation.errors import CommandLine, InputError, UserError, exit_on_user_error
from curation.sources.wikipedia import articles
from models import jsonl
from models.artifact import write_artifact
from models.language_id import LABEL, UNDETERMINED

HELD_OUT = 10  # one sample in so many is not trained on
_CHARACTERS = 1000  # of a sample; a line of a page is rarely longer
_PILES = 256  # files that the samples are sorted in, one at a time in memory
_CODE = re.compile(r"[a-z]{2,3}(?:[_-][A-Za-z0-9]+)*")

Sample = tuple[str, str]  # language, text


def train_language_id(
    samples: Iterable[Sample],
    models_dir: Path,
    *,
    origin: str,
    licence: str,
    most: int = 100_000,
    dim: int = 16,
    buckets: int = 2_000_000,
    epochs: int = 5,
    learning_rate: float = 0.5,
    quantize: bool = False,
) -> Path:
    """Train on (language, text) and write the artifact `models_dir/language_id`. Returns its directory.

    Each line of a text is a sample; the first `most` of a language are taken. A line that two languages claim is left
    out, a repeated one counts once, and one in ten, by its hash, is held out: accuracy and F1 on these are printed and
    go into the manifest. Equal samples give equal bytes, in any order if no language has more than `most`. Raises
    UserError for fewer than two languages, or one with too little.
    """
    with tempfile.TemporaryDirectory() as folder:
        train, test = Path(folder) / "train.txt", Path(folder) / "test.txt"
        counts = _sort(_capped(samples, most), Path(folder), train, test)
        _check(counts)
        _say(f"training on {sum(n for n, _ in counts.values())} lines in {len(counts)} languages")
        settings = {"dim": dim, "bucket": buckets, "epoch": epochs, "lr": learning_rate}
        # With more threads, or another seed, the same samples would give another model.
        model = fasttext.train_supervised(
            str(train), **settings, minn=2, maxn=4, minCount=10, loss="softmax", thread=1, seed=1, verbose=0
        )
        name = "model.bin"
        if quantize:
            model.quantize(input=str(train), retrain=True, qnorm=True, cutoff=50_000, thread=1, verbose=0)
            name = "model.ftz"
        model.save_model(str(Path(folder) / name))
        measured = _measure(model, test)
        for line in report(measured):
            _say(line)
        return write_artifact(
            models_dir / "language_id",
            {name: Path(folder) / name},
            kind="language_id",
            format="fastText, quantised" if quantize else "fastText",
            licence=licence,
            origin=origin,
            parameters={**settings, "languages": len(counts), "held_out": measured},
        )


def _capped(samples: Iterable[Sample], most: int) -> Iterator[Sample]:
    """Lines of the texts, up to `most` of a language."""
    taken: Counter[str] = Counter()
    for language, text in samples:
        for line in text.split("\n"):
            if taken[language] == most:
                break
            if words := " ".join(line.split())[:_CHARACTERS]:
                taken[language] += 1
                yield language, words


def _sort(samples: Iterable[Sample], folder: Path, train: Path, test: Path) -> dict[str, tuple[int, int]]:
    """Write what to train on and what to hold out, in the order of their hashes, as fastText reads it.

    fastText learns in the order of the file, so languages must be mixed; by hash they are, and repeats are neighbours.
    Returns how many lines of each language went where.
    """
    with ExitStack() as stack:
        piles = [stack.enter_context(open(folder / f"{n:03d}", "w", encoding="utf-8")) for n in range(_PILES)]
        for language, text in samples:
            digest = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()
            # fastText takes a word that begins so for a label.
            text = text.replace(LABEL, "label").encode("utf-8", "replace").decode()
            piles[digest[0]].write(f"{digest.hex()}\t{language}\t{text}\n")
    counts: dict[str, list[int]] = {}
    with open(train, "w", encoding="utf-8") as training, open(test, "w", encoding="utf-8") as held:
        for n in range(_PILES):
            rows = sorted((folder / f"{n:03d}").read_text(encoding="utf-8").split("\n"))
            for digest_hex, group in itertools.groupby(filter(None, rows), key=lambda row: row[:16]):
                same = [row.split("\t", 2)[1:] for row in group]
                if len({language for language, _ in same}) > 1:
                    continue
                language, text = same[0]
                out = int(digest_hex, 16) % HELD_OUT == 0
                counts.setdefault(language, [0, 0])[out] += 1
                (held if out else training).write(f"{LABEL}{language} {text}\n")
    return {language: (counts[language][0], counts[language][1]) for language in sorted(counts)}


def _check(counts: dict[str, tuple[int, int]]) -> None:
    if len(counts) < 2:
        raise UserError(f"there are samples of {len(counts)} language(s); it takes two to tell them apart")
    for language, (trained, held) in counts.items():
        if not trained or not held:
            raise UserError(f"{trained + held} different lines in {language} are too few to train on and to hold out")


def _measure(model: Any, test: Path) -> dict[str, Any]:
    """Accuracy, and precision, recall, F1 and number of lines by language, to 4 decimals."""
    right, said, there = Counter[str](), Counter[str](), Counter[str]()
    with open(test, encoding="utf-8") as file:
        for line in file:
            truth, _, text = line.removesuffix("\n").removeprefix(LABEL).partition(" ")
            labels, _ = model.predict(text)
            answer = labels[0].removeprefix(LABEL) if labels else UNDETERMINED
            there[truth] += 1
            said[answer] += 1
            right[truth] += answer == truth
    languages = {}
    for language in sorted(there):
        precision = right[language] / said[language] if said[language] else 0.0
        recall = right[language] / there[language]
        f1 = 2 * precision * recall / (precision + recall) if right[language] else 0.0
        values = (("precision", precision), ("recall", recall), ("f1", f1))
        languages[language] = {**{name: round(value, 4) for name, value in values}, "lines": there[language]}
    return {
        "lines": there.total(),
        "accuracy": round(right.total() / there.total(), 4),
        "macro_f1": round(sum(row["f1"] for row in languages.values()) / len(languages), 4),
        "languages": languages,
    }


def report(measured: dict[str, Any]) -> list[str]:
    """What was measured on the lines held out, as lines to print."""
    first = f"held out: {measured['lines']} lines, accuracy {measured['accuracy']}, mean F1 {measured['macro_f1']}"
    rows = [
        f"  {language:<8} F1 {row['f1']:.4f}  precision {row['precision']:.4f}  recall {row['recall']:.4f}  "
        f"{row['lines']} lines"
        for language, row in measured["languages"].items()
    ]
    return [first, *rows]


def _text_samples(language: str, path: Path) -> Iterator[Sample]:
    paths = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    if not paths:
        raise InputError(f"{path} holds no file")
    for one in paths:
        try:
            with open(one, encoding="utf-8", errors="replace") as file:
                for line in file:
                    yield language, line
        except OSError as error:
            raise InputError(f"cannot read {one}: {error.strerror}") from None


def _json_samples(path: Path) -> Iterator[Sample]:
    for row in jsonl.rows(path, "text", "language"):
        if not _CODE.fullmatch(row["language"]):
            raise InputError(f"{path}: {row['language']!r} is not the code of a language")
        yield row["language"], row["text"]


def _named(argument: str) -> tuple[str, Path]:
    language, mark, path = argument.partition("=")
    if not mark or not _CODE.fullmatch(language):
        raise argparse.ArgumentTypeError(f"{argument!r} is not LANGUAGE=PATH, such as de=texts/de")
    return language, Path(path)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    parser = CommandLine(prog="python -m models.train_language_id", description=__doc__.partition(":")[0])
    more: dict[str, Any] = {"action": "append", "default": [], "type": _named}
    parser.add_argument("--text", **more, metavar="LANGUAGE=PATH", help="a file of plain text, or a folder of them")
    parser.add_argument("--dump", **more, metavar="LANGUAGE=DUMP", help="a Wikipedia dump: pages-articles .xml.bz2")
    parser.add_argument("--jsonl", action="append", default=[], type=Path, help='JSON lines with "text" and "language"')
    parser.add_argument("--out", type=Path, required=True, metavar="MODELS", help="directory of the model artifacts")
    parser.add_argument("--licence", default="that of the texts it was trained on", help="for the manifest")
    parser.add_argument("--most", type=int, default=100_000, help="lines of a language, from the first (100000)")
    parser.add_argument("--dim", type=int, default=16, help="size of a vector (16)")
    parser.add_argument("--buckets", type=int, default=2_000_000, help="for n-grams of characters (2000000)")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--learning-rate", type=float, default=0.5)
    parser.add_argument("--quantize", action="store_true", help="compress: smaller, slower, a little worse")
    arguments = parser.parse_args(argv)
    sources = [(f"{language}={path.name}", _text_samples(language, path)) for language, path in arguments.text]
    for language, path in arguments.dump:
        texts = ((language, text) for language, (_, text) in zip(itertools.repeat(language), articles(path)))
        sources.append((f"{language}={path.name}", texts))
    sources += [(path.name, _json_samples(path)) for path in arguments.jsonl]
    if not sources:
        raise UserError("nothing to train on: give --text, --dump or --jsonl")
    _say("reading")
    directory = train_language_id(
        itertools.chain.from_iterable(samples for _, samples in sources),
        arguments.out,
        origin=f"trained on {', '.join(name for name, _ in sources)}",
        licence=arguments.licence,
        most=arguments.most,
        dim=arguments.dim,
        buckets=arguments.buckets,
        epochs=arguments.epochs,
        learning_rate=arguments.learning_rate,
        quantize=arguments.quantize,
    )
    _say(f"wrote {directory}")
    return 0


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
