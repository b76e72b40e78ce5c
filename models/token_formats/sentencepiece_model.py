"""SentencePiece's .model: what `models.train_tokenizer` writes, and the tokenizer.model of LLaMA-1 and Llama 2.

LLaMA's puts a space before each text. That setting is turned off here and left to `Tokenizer`, which puts the space
before a whole document, so that the ids are those of Meta's code.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sentencepiece import SentencePieceProcessor

from models.token_formats.description import (
    SPACE_MARK,
    Description,
    UnfitFileError,
    array,
    json_table,
    package,
    ways_to_halve,
)

_BPE = 2  # TrainerSpec.ModelType
_NORMAL, _USER_DEFINED, _UNUSED = 1, 4, 5  # SentencePiece.Type
_NO_PREFIX = b"\x1a\x02\x18\x00"  # normalizer_spec { add_dummy_prefix: false }; appended to a message, it overrides


def read(content: bytes) -> Description | None:
    """None if this is no SentencePiece model."""
    processor = SentencePieceProcessor()
    try:
        processor.LoadFromSerializedProto(content + _NO_PREFIX)
        fields = list(_fields(content))
        pieces = [dict(_fields(value)) for number, value in fields if number == 1]
        trainer, normalizer = (
            dict(field for number, value in fields if number == wanted for field in _fields(value)) for wanted in (2, 3)
        )
    except (RuntimeError, ValueError, IndexError, TypeError):
        return None
    bytes_of = {byte: processor.piece_to_id(f"<0x{byte:02X}>") for byte in range(256)}
    if not all(processor.is_byte(id) for id in bytes_of.values()):
        raise UnfitFileError("has no byte fallback, so rare characters would be lost")
    if min(processor.bos_id(), processor.eos_id()) < 0:
        raise UnfitFileError("has no BOS or no EOS")
    if normalizer.get(2):  # precompiled_charsmap
        raise UnfitFileError(f"changes text ({_text(normalizer.get(1))}), so what it encodes is not what was kept")
    size = processor.vocab_size()
    controls = {processor.id_to_piece(id): id for id in range(size) if _is_control(processor, id)}
    types = [piece.get(3, _NORMAL) for piece in pieces]
    plain = trainer.get(3) == _BPE and _USER_DEFINED not in types and _UNUSED not in types
    return Description(
        format="SentencePiece model",
        pieces=tuple(_bytes(processor, id) for id in range(size)),
        bos=processor.bos_id(),
        eos=processor.eos_id(),
        controls=controls,
        encoder=package("sentencepiece"),
        encode=lambda text: array(processor.encode(text)),
        converted=lambda: _converted(processor) if plain else None,
        prefix=bool(normalizer.get(3, 1)),
        marks=tuple(bytes_of[byte] for byte in SPACE_MARK.encode()),
    )


def _is_control(processor: SentencePieceProcessor, id: int) -> bool:
    return bool(processor.is_control(id) or processor.is_unknown(id))


def _bytes(processor: SentencePieceProcessor, id: int) -> bytes:
    if _is_control(processor, id):
        return b""
    piece: str = processor.id_to_piece(id)
    return bytes([int(piece[3:5], 16)]) if processor.is_byte(id) else piece.replace(SPACE_MARK, " ").encode()


def _converted(processor: SentencePieceProcessor) -> dict[str, Any]:
    """SentencePiece joins the neighbours whose joint piece has the best score: merges in the order of those scores."""
    ids = range(processor.vocab_size())
    vocabulary = {processor.id_to_piece(id): id for id in ids}
    joined = [id for id in ids if not _is_control(processor, id) and not processor.is_byte(id)]
    merges = []
    for _, id in sorted((-processor.get_score(id), id) for id in joined):
        piece = processor.id_to_piece(id)
        merges += [[piece[:at], piece[at:]] for at in ways_to_halve(piece, vocabulary)]
    return json_table(
        {
            "unk_token": processor.id_to_piece(processor.unk_id()),
            "fuse_unk": True,
            "byte_fallback": True,
            "vocab": vocabulary,
            "merges": merges,
        },
        normalizer={"type": "Replace", "pattern": {"String": " "}, "content": SPACE_MARK},
    )


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else "its own normalization"


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Number and value of each field of a protocol buffers message: bytes, or an int for a varint."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield tag >> 3, value
            continue
        length, at = (8, at) if kind == 1 else (4, at) if kind == 5 else _varint(message, at)
        if kind not in (1, 2, 5) or at + length > len(message):
            raise ValueError("not a message")
        yield tag >> 3, message[at : at + length]
        at += length


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
