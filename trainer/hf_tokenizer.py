"""The tokenizer as files of Hugging Face: tokenizer.json and tokenizer_config.json, whatever it was made from.

Ids are those of `models.tokenizer`, but for what only that one does: a text that spells a control token such as `<s>`
yields the control id there, a real U+2581 is read as a space where pieces hold one for it, and very long runs of one
kind are not cut as Meta's code cuts them.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from curation.errors import UserError
from models.tokenizer import PROBES, Tokenizer


def write(file: Path, directory: Path, length: int) -> list[str]:
    """Write a tokenizer's files into a directory, and return their names. `length` is the context of the model.

    A tokenizer.json is copied, and one that puts no BOS before a text is made to; of the others the file is copied as
    tokenizer.model and a tokenizer.json is made. Raises UserError for a SentencePiece model that is not plain BPE.
    """
    tokenizer = Tokenizer.load(file)
    own = tokenizer.format == "tokenizer.json"
    table = json.loads(file.read_bytes()) if own else made(tokenizer)
    if not own:
        shutil.copyfile(file, directory / "tokenizer.model")
    if own and _begins_with_bos(file, tokenizer):
        shutil.copyfile(file, directory / "tokenizer.json")
    else:
        table["post_processor"] = _put_bos_first(tokenizer)
        (directory / "tokenizer.json").write_text(json.dumps(table, ensure_ascii=False) + "\n")
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": _name(tokenizer, tokenizer.bos),
        "eos_token": _name(tokenizer, tokenizer.eos),
        "model_max_length": length,
        "model_input_names": ["input_ids", "attention_mask"],
        "clean_up_tokenization_spaces": False,
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    return ["tokenizer.json", "tokenizer_config.json", *([] if own else ["tokenizer.model"])]


def made(tokenizer: Tokenizer) -> dict[str, Any]:
    """The table of a tokenizer.json that encodes as this SentencePiece model or these tiktoken ranks do."""
    description = tokenizer._description  # what a format says is the business of models.token_formats
    table = description.converted()
    if table is None:
        raise UserError(
            f"this {tokenizer.format} has pieces of the user or no merges, which a tokenizer.json cannot say:"
            " train one with models.train_tokenizer"
        )
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    controls = sorted((id, name) for name, id in description.controls.items())
    table["added_tokens"] = [{"id": id, "content": name, "special": True, **flags} for id, name in controls]
    if not description.marks:
        table["decoder"] = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
        return table
    spaces = {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}
    steps: list[dict[str, Any]] = [spaces, {"type": "ByteFallback"}, {"type": "Fuse"}]
    if description.prefix:
        before = {"type": "Prepend", "prepend": "\u2581"}
        table["normalizer"] = {"type": "Sequence", "normalizers": [before, table["normalizer"]]}
        steps.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    table["decoder"] = {"type": "Sequence", "decoders": steps}
    return table


def check_same(file: Path, directory: Path) -> None:
    """Raise UserError unless the tokenizer in a directory of Hugging Face gives the ids of the one in `file`."""
    names = ("tokenizer.model", "tokenizer.json")
    theirs = next((path for name in names if (path := directory / name).is_file()), None)
    if theirs is None:
        raise UserError(f"{directory} has no tokenizer.model and no tokenizer.json")
    one, other = Tokenizer.load(file), Tokenizer.load(theirs)
    same = one.sha256 == other.sha256 or (
        (one.bos, one.eos) == (other.bos, other.eos)
        and all(np.array_equal(one.encode(text), other.encode(text)) for text in PROBES)
    )
    if not same:
        raise UserError(f"{theirs} is another tokenizer than {file}: the model would read other tokens than it learned")


def _put_bos_first(tokenizer: Tokenizer) -> dict[str, Any]:
    name = _name(tokenizer, tokenizer.bos)
    begin = {"SpecialToken": {"id": name, "type_id": 0}}
    first, second = ({"Sequence": {"id": id, "type_id": 0}} for id in "AB")
    return {
        "type": "TemplateProcessing",
        "single": [begin, first],
        "pair": [begin, first, begin, second],
        "special_tokens": {name: {"id": name, "ids": [tokenizer.bos], "tokens": [name]}},
    }


def _begins_with_bos(file: Path, tokenizer: Tokenizer) -> bool:
    from tokenizers import Tokenizer as Backend

    return list(Backend.from_file(str(file)).encode("").ids) == [tokenizer.bos]


def _name(tokenizer: Tokenizer, wanted: int) -> str:
    return next(name for name, id in tokenizer._description.controls.items() if id == wanted)
