"""GPT-2's way of writing bytes as printable characters, which byte-level tokenizer.json files use for their pieces."""

from __future__ import annotations

_PRINTABLE = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
_OTHERS = [byte for byte in range(256) if byte not in _PRINTABLE]

# Printable bytes stand for themselves as Latin-1; the others, in order, for the characters from U+0100 on.
CHARACTER_OF = {byte: chr(byte) for byte in _PRINTABLE} | {byte: chr(0x100 + n) for n, byte in enumerate(_OTHERS)}
BYTE_OF = {character: byte for byte, character in CHARACTER_OF.items()}


def written(piece: bytes) -> str:
    return "".join(CHARACTER_OF[byte] for byte in piece)


def read(characters: str) -> bytes:
    """The bytes that were written so. Characters that stand for no byte, as in an added token, are UTF-8."""
    if not all(character in BYTE_OF for character in characters):
        return characters.encode()
    return bytes(BYTE_OF[character] for character in characters)
