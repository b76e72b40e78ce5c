"""Train the language model that perplexity is measured with: python -m models.train_perplexity --dump DUMP --out MODELS

As CCNet trains its own (Wenzek et al. 2020, section 3.3): Wikipedia text, normalised, in SentencePiece unigram pieces,
under a 5-gram Kneser-Ney model. One article is one sentence to the model, as one document is when it is scored.

`--cutoffs RUN_OR_JSONL` adds the percentiles of perplexity of your own documents to the model that scored them, for
`{ score = "perplexity", cutoffs = "model" }`: alone to a model that is there, or after training.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import sentencepiece

from curation.errors import CommandLine, InputError, UserError, exit_on_user_error
from curation.normalize import normalize
from curation.sources.wikipedia import articles
from models.artifact import write_artifact
from models.ngram import write_arpa
from models.perplexity import ARPA, BINARY, PIECES
from models.train_cutoffs import make_cutoffs

_LONGEST_PARAGRAPH = 16384  # bytes that SentencePiece looks at


def train_perplexity(
    texts: Iterable[str],
    models_dir: Path,
    language: str,
    *,
    origin: str,
    licence: str,
    vocabulary: int = 65536,
    order: int = 5,
    prune: Sequence[int] | None = None,
    lmplz: bool = False,
) -> Path:
    """Train on `texts` and write the artifact `models_dir/perplexity-LANGUAGE`. Returns its directory.

    `vocabulary` is the most pieces there may be (CCNet's 65,536); a small text gives fewer. `prune` as in
    `models.ngram.write_arpa`; by default n-grams of three pieces and more must occur twice. `lmplz` estimates with
    KenLM's program, which sorts on disk, and makes a KenLM binary: the same model, for more text than memory holds.
    Equal texts in equal order give equal bytes. Raises UserError when there is too little text.
    """
    prune = list(prune) if prune is not None else [0, 0, 1, 1, 1][:order]
    if lmplz and (missing := [program for program in ("lmplz", "build_binary") if shutil.which(program) is None]):
        raise UserError(f"{missing[0]} is not on the PATH: build KenLM's programs, or leave out --lmplz")
    with tempfile.TemporaryDirectory() as temporary:
        lines = Path(temporary) / "lines.txt"
        paragraphs = Path(temporary) / "paragraphs.txt"
        if not _write_text(texts, lines, paragraphs):
            raise UserError("there is no text to train a language model on")
        _say("learning pieces")
        pieces = _train_pieces(paragraphs, vocabulary)
        processor = sentencepiece.SentencePieceProcessor()
        processor.LoadFromSerializedProto(pieces)
        _say(f"counting n-grams of up to {order} of {processor.vocab_size()} pieces")
        model = Path(temporary) / (BINARY if lmplz else ARPA)
        if lmplz:
            _lmplz(_sentences(lines, processor), model, order, prune)
        else:
            write_arpa(_sentences(lines, processor), model, order, prune)
        return write_artifact(
            models_dir / f"perplexity-{language}",
            {PIECES: pieces, model.name: model},
            kind="perplexity",
            format="SentencePiece unigram; KenLM binary" if lmplz else "SentencePiece unigram; ARPA",
            licence=licence,
            origin=origin,
            parameters={"language": language, "vocabulary": processor.vocab_size(), "order": order, "prune": prune},
        )


def _write_text(texts: Iterable[str], lines: Path, paragraphs: Path) -> int:
    """Write normalised texts, one a line, for counting, and their paragraphs for learning pieces; return how many."""
    count = 0
    with (
        open(lines, "w", encoding="utf-8", newline="\n") as whole,
        open(paragraphs, "w", encoding="utf-8", newline="\n") as parts,
    ):
        for text in texts:
            line = normalize(text, newline=" ")
            if not line:
                continue
            count += 1
            whole.write(line + "\n")
            for paragraph in text.split("\n"):
                normal = normalize(paragraph)
                for start in range(0, len(normal), _LONGEST_PARAGRAPH // 4):
                    parts.write(normal[start : start + _LONGEST_PARAGRAPH // 4] + "\n")
    return count


def _train_pieces(paragraphs: Path, vocabulary: int) -> bytes:
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_lines(paragraphs),  # the name of an input file would be written into the model
            model_writer=model,
            model_type="unigram",
            vocab_size=vocabulary,
            hard_vocab_limit=False,
            character_coverage=0.9995,
            max_sentence_length=_LONGEST_PARAGRAPH,
            num_threads=1,  # with more, the order in which counts are added up is not fixed
            minloglevel=2,
        )
    except RuntimeError as error:
        reason = str(error).rpartition("] ")[2] or str(error)
        raise UserError(f"cannot learn up to {vocabulary} pieces from this text: {reason}") from None
    return model.getvalue()


def _sentences(lines: Path, processor: sentencepiece.SentencePieceProcessor) -> Iterator[list[str]]:
    return map(processor.encode_as_pieces, _lines(lines))


def _lines(path: Path) -> Iterator[str]:
    with open(path, encoding="utf-8", newline="\n") as file:
        for line in file:
            yield line.rstrip("\n")


def _lmplz(sentences: Iterable[Sequence[str]], out: Path, order: int, prune: Sequence[int]) -> None:
    """Estimate with KenLM's lmplz and make a KenLM binary `out` with its build_binary, both from the PATH."""
    text, arpa = out.with_suffix(".txt"), out.with_suffix(".arpa")
    with open(text, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(" ".join(sentence) + "\n" for sentence in sentences)
    estimate = ["lmplz", "-o", str(order), "-S", "50%", "-T", str(out.parent), "--discount_fallback"]
    estimate += ["--prune", *map(str, prune), "--text", str(text), "--arpa", str(arpa)]
    for command in (estimate, ["build_binary", "trie", str(arpa), str(out)]):
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if done.returncode:
            reason = done.stderr.decode("utf-8", "replace").strip()[-300:]
            raise UserError(f"{command[0]} failed with status {done.returncode}: {reason}")


def _say(phase: str) -> None:
    print(phase, file=sys.stderr, flush=True)


def _dump_texts(path: Path) -> Iterator[str]:
    for count, (_, text) in enumerate(articles(path), 1):
        if count % 1000 == 0:
            _say(f"read {count} articles")
        yield text


def _file_texts(path: Path) -> Iterator[str]:
    try:
        with open(path, encoding="utf-8", errors="replace", newline="\n") as file:
            yield from file
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None


def _first(texts: Iterable[str], most: int | None) -> Iterator[str]:
    """Whole texts from the first on, until they make `most` bytes."""
    room = most
    for text in texts:
        if room is not None:
            room -= len(text.encode("utf-8", "replace"))
            if room < 0:
                return
        yield text


def main(argv: Sequence[str] | None = None) -> int:
    parser = CommandLine(prog="python -m models.train_perplexity", description=__doc__.partition("\n")[0])
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--dump", type=Path, help="a Wikipedia dump: pages-articles .xml.bz2")
    source.add_argument("--text", type=Path, help="plain text, UTF-8, one document a line")
    parser.add_argument(
        "--cutoffs", type=Path, metavar="RUN_OR_JSONL", help="your own documents, scored, or with text: for cutoffs"
    )
    parser.add_argument("--glue-lines", action="store_true", help="score those of --cutoffs as glue_lines = true does")
    parser.add_argument("--language", default="en", help="its language, as language id calls it (default: en)")
    parser.add_argument("--out", type=Path, required=True, metavar="MODELS", help="directory of the model artifacts")
    parser.add_argument("--vocabulary", type=int, default=65536, help="most pieces (default: 65536, CCNet's)")
    parser.add_argument("--order", type=int, default=5, choices=range(2, 7), help="longest n-gram (default: 5)")
    parser.add_argument("--max-bytes", type=int, help="stop reading texts before this many bytes")
    parser.add_argument("--lmplz", action="store_true", help="estimate with KenLM's lmplz from the PATH, on disk")
    arguments = parser.parse_args(argv)
    path = arguments.dump or arguments.text
    if path is None and arguments.cutoffs is None:
        raise UserError("nothing to do: give --dump or --text to train on, or --cutoffs")
    if path is not None:
        directory = _train(arguments, path)
    if arguments.cutoffs is not None:
        directory = make_cutoffs(arguments.out, arguments.language, arguments.cutoffs, glue_lines=arguments.glue_lines)
    _say(f"wrote {directory}")
    return 0


def _train(arguments: argparse.Namespace, path: Path) -> Path:
    _say(f"reading {path}")
    texts = _dump_texts(path) if arguments.dump else _file_texts(path)
    return train_perplexity(
        _first(texts, arguments.max_bytes),
        arguments.out,
        arguments.language,
        origin=path.name,
        licence="CC-BY-SA (trained on Wikipedia text)" if arguments.dump else "that of the text it was trained on",
        vocabulary=arguments.vocabulary,
        order=arguments.order,
        lmplz=arguments.lmplz,
    )


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
