"""Train the tokenizer: python -m models.train_tokenizer --vocabulary 32000 --out tokenizer.model TEXT..."""

from __future__ import annotations

import io
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import sentencepiece

from curation.errors import CommandLine, InputError, UserError, exit_on_user_error

_COVERAGE = 0.99995  # of the text is to have its own single-character pieces: LLaMA's, by its tokenizer.model
_RESERVED = "\0\t\u2581\u2585"  # SentencePiece uses these for itself and leaves out lines that hold them
_CONTROL_PIECES = 3 + 256  # <unk> <s> </s> and the bytes
_ALPHABET = 128  # characters that even a small vocabulary has room for
_LONGEST_LINE = 16384  # bytes; a longer one is cut, for SentencePiece would leave it out


def train_tokenizer(texts: Iterable[str], out: Path, vocabulary: int) -> None:
    """Train SentencePiece BPE of exactly `vocabulary` pieces on the lines of `texts`; write the model file `out`.

    Byte fallback, digits split, identity normalisation, no dummy prefix. Equal texts in equal order give equal bytes.
    At most a quarter of the pieces are single characters (or an alphabet of 128, if more); the rarer ones are left to
    the bytes. SentencePiece holds all lines in memory: hand it a sample. Raises UserError when there is too little text
    for so many pieces.
    """
    if vocabulary <= _CONTROL_PIECES:
        raise UserError(f"a vocabulary of {vocabulary} is too small: {_CONTROL_PIECES} pieces are bytes and controls")
    model = io.BytesIO()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "lines.txt"
        characters = _write_lines(texts, path)
        if not any(character not in _RESERVED and not character.isspace() for character in characters):
            raise UserError("there is no text to train a tokenizer on")
        room = vocabulary - _CONTROL_PIECES
        rare = _rare(characters, max(room // 4, min(room * 3 // 4, _ALPHABET)))
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=_lines(path, rare),  # the name of an input file would be written into the model
                model_writer=model,
                model_type="bpe",
                vocab_size=vocabulary,
                byte_fallback=True,
                split_digits=True,
                normalization_rule_name="identity",
                add_dummy_prefix=False,
                remove_extra_whitespaces=False,
                allow_whitespace_only_pieces=True,
                character_coverage=1.0,
                max_sentence_length=_LONGEST_LINE + 4,
                num_threads=1,  # with more, the order in which counts are added up is not fixed
                minloglevel=2,
            )
        except RuntimeError as error:
            most = re.search(r"<= (\d+)", str(error))
            advice = (
                f"ask for at most {most[1]} ([tokenizer] vocabulary in a recipe), or give a tokenizer"
                if most
                else "give more text or ask for fewer"
            )
            raise UserError(f"the text is too small for a vocabulary of {vocabulary}: {advice}") from None
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    temporary.write_bytes(model.getvalue())
    os.replace(temporary, out)


def _write_lines(texts: Iterable[str], path: Path) -> Counter[str]:
    """Write the non-blank lines of `texts` to `path`; return how often each character occurs in them."""
    characters: Counter[str] = Counter()
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        for text in texts:
            for line in text.split("\n"):
                for start in range(0, len(line), _LONGEST_LINE // 4):
                    part = line[start : start + _LONGEST_LINE // 4]
                    if part and not part.isspace():
                        characters.update(part)
                        file.write(part + "\n")
    return characters


def _rare(characters: Counter[str], most: int) -> str:
    """The characters that get no piece of their own: all but the `most` commonest, or fewer if they cover the text."""
    wanted = _COVERAGE * characters.total()
    ranked = sorted(characters, key=lambda character: (-characters[character], character))
    for rank, character in enumerate(ranked):
        if rank == most or wanted <= 0:
            return "".join(ranked[rank:])
        wanted -= characters[character]
    return ""


def _lines(path: Path, rare: str) -> Iterator[str]:
    """The lines to train on, cut at each rare or reserved character: such a one is bytes, and part of no piece."""
    cuts = str.maketrans(dict.fromkeys(rare + _RESERVED, "\n"))
    with open(path, encoding="utf-8", newline="\n") as file:
        for line in file:
            yield from (part for part in line.translate(cuts).split("\n") if part and not part.isspace())


def _read_texts(paths: Sequence[Path]) -> Iterator[str]:
    for path in paths:
        print(f"reading {path}", file=sys.stderr)
        try:
            yield path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}") from None


def main(argv: Sequence[str] | None = None) -> int:
    parser = CommandLine(prog="python -m models.train_tokenizer", description=__doc__)
    parser.add_argument("texts", nargs="+", type=Path, metavar="TEXT", help="plain text files, UTF-8")
    parser.add_argument("--out", type=Path, required=True, help="the model file to write")
    parser.add_argument("--vocabulary", type=int, default=32000, help="number of pieces (LLaMA: 32000)")
    arguments = parser.parse_args(argv)
    train_tokenizer(_read_texts(arguments.texts), arguments.out, arguments.vocabulary)
    print(f"wrote {arguments.out} ({arguments.vocabulary} pieces)", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(exit_on_user_error(main))
