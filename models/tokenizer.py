"""Text to token ids and back, without loss.

`Tokenizer.load` takes what `models.train_tokenizer` writes (SentencePiece BPE as LLaMA's, Touvron et al. 2023, section
2.1), LLaMA-1's and Llama 2's tokenizer.model, Hugging Face's tokenizer.json and Llama 3's tiktoken file, and tells them
apart by what is in them (docs/models.md).

Whatever the file: `encode` adds no BOS or EOS, and no text yields a control id, whatever it spells.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from curation.errors import ModelError
from models.token_formats import huggingface_json, sentencepiece_model, tiktoken_ranks
from models.token_formats.description import SPACE_MARK, Description, Encode, UnfitFileError, package

_FORMATS = (huggingface_json.read, tiktoken_ranks.read, sentencepiece_model.read)

# Texts that some tokenizer, or some encoder, is known to get wrong. Each must come back as it was.
PROBES = (
    " a",
    "a ",
    "  a  b   c    d",
    "\n",
    "\n\n a\n",
    "a\r\nb\rc",
    "\t\ta",
    "\x00a\x00",
    "\x1c\x1d\x85\u2028\u3000a",
    "    ",
    "A\xe9 e\u0301",
    "ﬁ １ Å ſ İ",
    "中文字符 日本語テキスト",
    "مرحبا ١٢٣",
    "नमस्ते",
    "\U0001f642\u200d\U0001f642 \U0001f1e9\U0001f1ea",
    "\ufeffa\ufffd\u200b",
    "\ue000\U0010ffff",
    "▁",
    "a▁ ▁b",
    "<0x41> ⁇",
    "2023 1234567 3.14",
    "I'll you'RE 'sa",
    "it's. (a) [b] {c} x=y;",
    "www.a-b.org/c?d=e",
    "na na banana anana",
    "the  The THE ing ation",
    "a" * 97,
    "ab" * 61,
    "= " * 33,
    "=" * 131,
    "-" * 64 + "\n" + "_" * 33,
)


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """A loaded tokenizer. `vocabulary` is the number of ids, `sha256` the hex digest of its file.

    `encoder` names the library that turns text into ids, with its version.
    """

    vocabulary: int
    bos: int
    eos: int
    sha256: str
    format: str
    encoder: str
    _description: Description
    _encode: Encode
    _again: tuple[bytes, str, bool]

    @classmethod
    def load(cls, path: Path | str, fast: bool = False) -> Tokenizer:
        """`fast`: through the package fastokens, if it is there and gives the same ids; takes seconds to load.

        Raises ModelError for a file that is missing, or that is not a tokenizer which keeps text as it is.
        """
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise ModelError(
                f"no tokenizer at {path} ({error.strerror}): train one with models.train_tokenizer"
            ) from None
        return cls.read(content, str(path), fast)

    @classmethod
    def read(cls, content: bytes, name: str, fast: bool = False) -> Tokenizer:
        """`load`, given what is in the file."""
        try:
            description = next((found for read in _FORMATS if (found := read(content)) is not None), None)
        except UnfitFileError as error:
            raise ModelError(f"{name} {error}; or train one with models.train_tokenizer") from None
        if description is None:
            raise ModelError(
                f"{name} is not a tokenizer: neither a SentencePiece model, nor a tokenizer.json, nor tiktoken ranks"
            )

        def made(encoder: str, encode: Encode) -> Tokenizer:
            return cls(
                vocabulary=len(description.pieces),
                bos=description.bos,
                eos=description.eos,
                sha256=hashlib.sha256(content).hexdigest(),
                format=description.format,
                encoder=encoder,
                _description=description,
                _encode=encode,
                _again=(content, name, fast),
            )

        tokenizer = made(description.encoder, description.encode)
        tokenizer._check(name)
        if fast and (encode := _fast(description)):
            faster = made(package("fastokens"), encode)
            if all(np.array_equal(faster.encode(text), tokenizer.encode(text)) for text in tokenizer._probes()):
                return faster
        return tokenizer

    def encode(self, text: str) -> npt.NDArray[np.int32]:
        """The ids of `text`: int32, shape (tokens,). Text never yields a control id, whatever it spells."""
        if not text:
            return np.empty(0, dtype=np.int32)
        if self._description.prefix:
            text = " " + text
        if not self._description.marks or SPACE_MARK not in text:
            return self._stretch(text)
        head, *rest = text.split(SPACE_MARK)
        ids = [self._stretch(head)]
        for part in rest:
            ids += [np.array(self._description.marks, dtype=np.int32), self._stretch(part)]
        return np.concatenate(ids)

    def _stretch(self, text: str) -> npt.NDArray[np.int32]:
        stretches = self._description.cut(text) if self._description.cut else [text]
        return self._encode(text) if len(stretches) == 1 else np.concatenate([self._encode(s) for s in stretches])

    def decode(self, ids: Sequence[int] | npt.NDArray[np.integer]) -> str:
        """The text of one document's ids; control ids are silent. Bytes that are not UTF-8 come out as U+FFFD."""
        text = b"".join([self._description.pieces[id] for id in ids]).decode("utf-8", "replace")
        return text[1:] if self._description.prefix and text.startswith(" ") else text

    def _probes(self) -> list[str]:
        names = self._description.controls
        return [*PROBES, *(form for name in names for form in (name, f"a {name}", f"a{name}b", f" {name}{name}"))]

    def _check(self, name: str) -> None:
        """Raise ModelError if a text does not come back, or yields a control id."""
        silent = np.array(sorted(self._description.controls.values()))
        for text in self._probes():
            ids = self.encode(text)
            if np.isin(ids, silent).any():
                raise ModelError(f"{name} turns the text {text!r} into a control id, so a page could forge one")
            back = self.decode(ids)
            # Unicode's canonical composition is let pass: by the standard, both forms are the same text.
            if back not in (text, unicodedata.normalize("NFC", text)):
                raise ModelError(
                    f"{name} changes text ({text[:20]!r} comes back as {back[:20]!r}): "
                    "train one with models.train_tokenizer"
                )

    def __reduce__(self) -> tuple[Callable[..., Tokenizer], tuple[bytes, str, bool]]:
        return Tokenizer.read, self._again


def _fast(description: Description) -> Encode | None:
    """The encoder of fastokens, where it is installed and can read the tokenizer."""
    try:
        import fastokens
    except ModuleNotFoundError:
        return None
    table = description.converted()
    if table is None:
        return None
    try:
        backend = fastokens.Tokenizer.from_json_str(json.dumps(table))
    except ValueError:
        return None

    def encode(text: str) -> npt.NDArray[np.int32]:
        ids, _ = backend.encode_batch_flat([text])
        return np.frombuffer(ids, dtype="<u4").astype(np.int32)

    return encode
