"""tokenizer.json of Hugging Face's tokenizers: byte-level BPE, or BPE with byte fallback as LLaMA's.

Special tokens are taken out before it is loaded, so that text which spells one stays text. A setting that puts a space
before the text is taken out too and left to `Tokenizer`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from models.token_formats import byte_characters
from models.token_formats.description import SPACE_MARK, Description, UnfitFileError, array, package

# How BOS and EOS are called, most specific first: the file itself does not say which they are.
ENDS = (
    ("<|begin_of_text|>", "<|end_of_text|>"),
    ("<s>", "</s>"),
    ("<bos>", "<eos>"),
    ("[BOS]", "[EOS]"),
    ("<|startoftext|>", "<|endoftext|>"),
    ("<|endoftext|>", "<|endoftext|>"),
)


def read(content: bytes) -> Description | None:
    """None if this is no tokenizer.json."""
    try:
        table = json.loads(content)
        model, added = table["model"], table.get("added_tokens") or []
        vocabulary: dict[str, int] = model["vocab"]
        special = {token["content"]: int(token["id"]) for token in added if token["special"]}
        ordinary = {token["content"]: int(token["id"]) for token in added if not token["special"]}
    except (ValueError, KeyError, TypeError):
        return None
    if model.get("type", "BPE") != "BPE" or not isinstance(vocabulary, dict):
        raise UnfitFileError(f"holds a {model.get('type')} model; of tokenizer.json files only BPE is taken")
    names = {**vocabulary, **ordinary, **special}
    ends = next((pair for pair in ENDS if all(name in names for name in pair)), None)
    if ends is None:
        raise UnfitFileError(f"has no BOS and EOS of a name that is known: {', '.join(bos for bos, _ in ENDS)}")
    controls = {**special, **{name: names[name] for name in ends}}
    if model.get("unk_token") in vocabulary:
        controls[model["unk_token"]] = vocabulary[model["unk_token"]]
    table["added_tokens"] = [token for token in added if token["content"] not in controls]
    vocabulary.update(ordinary)  # or the library numbers them anew, now that the special ones are gone
    prefix = _take_out_prefix(table)
    byte_level = any(part.get("type") == "ByteLevel" for part in _parts(table))
    if not byte_level and not all(f"<0x{byte:02X}>" in vocabulary for byte in range(256)):
        raise UnfitFileError("is neither byte-level nor has byte fallback, so rare characters would be lost")
    try:
        from tokenizers import Tokenizer as Backend
    except ModuleNotFoundError:
        raise UnfitFileError("needs the package tokenizers: pip install tokenizers") from None
    try:
        backend = Backend.from_str(json.dumps(table))
    except Exception as error:  # the library raises nothing more exact
        raise UnfitFileError(f"is not a tokenizer.json that the package tokenizers reads: {error}") from None
    pieces = [b""] * (max(names.values()) + 1)
    for name, id in names.items():
        if id not in controls.values():
            pieces[id] = name.encode() if name in ordinary else _bytes(name, byte_level)
    return Description(
        format="tokenizer.json",
        pieces=tuple(pieces),
        bos=names[ends[0]],
        eos=names[ends[1]],
        controls=controls,
        encoder=package("tokenizers"),
        encode=lambda text: array(backend.encode(text, add_special_tokens=False).ids),
        converted=lambda: table,
        prefix=prefix,
        marks=() if byte_level else tuple(vocabulary[f"<0x{byte:02X}>"] for byte in SPACE_MARK.encode()),
    )


def _take_out_prefix(table: dict[str, Any]) -> bool:
    """Whether a space goes before each text. Also takes out all that is about batches, pairs or chance."""
    for name in ("truncation", "padding", "post_processor"):
        table[name] = None
    table["model"]["dropout"] = None
    normalizer = table.get("normalizer")
    before = normalizer["normalizers"] if normalizer and normalizer.get("type") == "Sequence" else [normalizer]
    stay = [part for part in before if part and part.get("type") != "Prepend"]
    prefix = any(part and part.get("type") == "Prepend" for part in before)
    cutter = table.get("pre_tokenizer") or {}
    for part in cutter.get("pretokenizers", [cutter]):
        if part.get("type") == "Metaspace":
            scheme = part.pop("prepend_scheme", None) or ("always" if part.get("add_prefix_space", True) else "never")
            part.pop("add_prefix_space", None)
            part["prepend_scheme"], prefix = "never", prefix or scheme != "never"
    if cutter.get("type") == "Metaspace" and cutter.get("split") is False:  # then all it does is to replace spaces
        table["pre_tokenizer"] = None
        stay.append({"type": "Replace", "pattern": {"String": " "}, "content": cutter["replacement"]})
    table["normalizer"] = {"type": "Sequence", "normalizers": stay} if stay else None
    return prefix


def _parts(table: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every normalizer and pre-tokenizer, inside sequences too."""
    for name in ("normalizer", "pre_tokenizer"):
        part = table.get(name)
        if part:
            yield from part.get("normalizers") or part.get("pretokenizers") or [part]


def _bytes(piece: str, byte_level: bool) -> bytes:
    if byte_level:
        return byte_characters.read(piece)
    if len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">"):
        return bytes([int(piece[3:5], 16)])
    return piece.replace(SPACE_MARK, " ").encode()
