"""Text to token ids and back, without loss: SentencePiece BPE as LLaMA's (Touvron et al. 2023, section 2.1).

Convention: digits are split, characters outside the vocabulary become their UTF-8 bytes, nothing is normalised, and no
space is put before the text, so `encode(a)` followed by `encode(b)` decodes to `a + b`. No BOS or EOS is added: whoever
writes a document into a shard does that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sentencepiece import SentencePieceProcessor

from curation.errors import ModelError

_SPACE_MARK = "\u2581"  # stands for a space inside pieces, so a real one in the text must go in as bytes


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """A loaded tokenizer. `vocabulary` is the number of ids, `sha256` the hex digest of its file."""

    vocabulary: int
    bos: int
    eos: int
    sha256: str
    _processor: SentencePieceProcessor
    _space_mark: tuple[int, ...]  # ids of the UTF-8 bytes of a real U+2581

    @classmethod
    def load(cls, path: Path | str) -> Tokenizer:
        """Raises ModelError for a file that is missing, or that is not such a tokenizer."""
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise ModelError(
                f"no tokenizer at {path} ({error.strerror}): train one with models.train_tokenizer"
            ) from None
        processor = SentencePieceProcessor()
        try:
            processor.LoadFromSerializedProto(content)
        except RuntimeError:
            raise ModelError(f"{path} is not a SentencePiece model: train one with models.train_tokenizer") from None
        marks = tuple(processor.piece_to_id(f"<0x{byte:02X}>") for byte in _SPACE_MARK.encode())
        if processor.unk_id() in marks or processor.bos_id() < 0 or processor.eos_id() < 0:
            raise ModelError(f"{path} has no byte fallback or no BOS and EOS: train one with models.train_tokenizer")
        if processor.decode(processor.encode(" a")) != " a" or len(processor.encode("")) != 0:
            raise ModelError(f"{path} normalises text or adds a space to it: train one with models.train_tokenizer")
        return cls(
            vocabulary=processor.vocab_size(),
            bos=processor.bos_id(),
            eos=processor.eos_id(),
            sha256=hashlib.sha256(content).hexdigest(),
            _processor=processor,
            _space_mark=marks,
        )

    def encode(self, text: str) -> npt.NDArray[np.int32]:
        """The ids of `text`: int32, shape (tokens,). Text never yields a control id, whatever it spells."""
        head, *rest = text.split(_SPACE_MARK)
        ids = self._processor.encode(head)
        for part in rest:
            ids += self._space_mark
            ids += self._processor.encode(part)
        return np.array(ids, dtype=np.int32)

    def encode_batch(self, texts: Iterable[str]) -> list[npt.NDArray[np.int32]]:
        """`encode` of each text, in order."""
        return [self.encode(text) for text in texts]

    def decode(self, ids: Sequence[int] | npt.NDArray[np.integer]) -> str:
        """The text of `ids`; BOS and EOS are silent. Bytes that are not UTF-8 come out as U+FFFD."""
        return str(self._processor.decode([int(id) for id in ids]))
