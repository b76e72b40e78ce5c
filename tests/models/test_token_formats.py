"""Every kind of tokenizer file: real ones, made here by the libraries that define them, which are the oracles too."""

from __future__ import annotations

import base64
import io
import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastokens
import numpy as np
import pytest
import sentencepiece
import tiktoken
import tokenizers
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from curation.errors import ModelError
from models.token_formats import huggingface_json, tiktoken_ranks
from models.token_formats.description import SPACE_MARK
from models.token_formats.sentencepiece_model import read as read_sentencepiece
from models.tokenizer import PROBES, Tokenizer
from models.train_tokenizer import train_tokenizer

SPECIAL = ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"]


def sentencepiece_file(texts: list[str], **options: Any) -> bytes:
    """A SentencePiece BPE model. The defaults are LLaMA's settings, dummy prefix included."""
    settings = {
        "model_type": "bpe",
        "vocab_size": 600,
        "byte_fallback": True,
        "split_digits": True,
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "allow_whitespace_only_pieces": True,
        "character_coverage": 0.99995,
        "num_threads": 1,
        "minloglevel": 2,
    }
    model = io.BytesIO()
    lines = [line for text in texts for line in text.split("\n") if line]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, **{**settings, **options}
    )
    return model.getvalue()


def byte_level(texts: list[str], words: str) -> tokenizers.Tokenizer:
    """Byte-level BPE, cut into words as Llama 3's."""
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(words), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=700, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    made.train_from_iterator(texts, trainer)
    return made


def tiktoken_file(made: tokenizers.Tokenizer) -> bytes:
    """Its pieces as ranks: all bytes first, then each joined piece in the order of the merges."""
    characters = {character: byte for byte, character in _byte_characters().items()}
    pieces = [
        bytes(characters[c] for c in piece) for piece, _ in sorted(made.get_vocab().items(), key=lambda item: item[1])
    ]
    return b"".join(base64.b64encode(piece) + b" %d\n" % rank for rank, piece in enumerate(pieces))


def _byte_characters() -> dict[int, str]:
    """What the library itself writes for each byte."""
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    found = {}
    for code in range(0x800):  # two bytes of UTF-8 at most; the other bytes are found in longer characters
        for byte, character in zip(chr(code).encode(), level.pre_tokenize_str(chr(code))[0][0], strict=True):
            found[byte] = character
    for code in range(0x800, 0x110000, 0x1000):
        if not 0xD800 <= code < 0xE000:
            found.update(zip(chr(code).encode(), level.pre_tokenize_str(chr(code))[0][0], strict=True))
    for byte in set(range(256)) - set(found):  # never in UTF-8, so whatever is left over, in order
        found[byte] = sorted(set(pre_tokenizers.ByteLevel.alphabet()) - set(found.values()))[0]
    return found


def llama2_json(model: bytes) -> dict[str, Any]:
    """The tokenizer.json that goes with a SentencePiece model, as transformers writes it for LLaMA."""
    description = read_sentencepiece(model)
    assert description is not None
    table = description.converted()
    assert table is not None
    backend = tokenizers.Tokenizer.from_str(json.dumps(table))
    backend.add_special_tokens(["<unk>", "<s>", "</s>"])
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return json.loads(backend.to_str())


@pytest.fixture(scope="module")
def files(english: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """One file of each kind, by name."""
    texts = [text[:4000] for text in english[:30]]
    ours = tmp_path_factory.mktemp("tokenizer") / "m"
    train_tokenizer(texts, ours, 600)
    llama = sentencepiece_file(texts)
    level = byte_level(texts, tiktoken_ranks.WORDS)
    ranks = tiktoken_file(level)
    level.add_special_tokens(SPECIAL)
    metaspace = llama2_json(llama)
    metaspace["normalizer"] = None
    metaspace["pre_tokenizer"] = {
        "type": "Metaspace",
        "replacement": "▁",
        "prepend_scheme": "first",
        "split": False,
    }
    return {
        "ours": ours.read_bytes(),
        "llama": llama,
        "llama.json": json.dumps(llama2_json(llama)).encode(),
        "metaspace.json": json.dumps(metaspace).encode(),
        "byte_level.json": level.to_str().encode(),
        "llama3": ranks,
    }


NAMES = ["ours", "llama", "llama.json", "metaspace.json", "byte_level.json", "llama3"]
REFERENCE = dict(zip(NAMES, ["sentencepiece"] * 2 + ["tokenizers"] * 3 + ["tiktoken"], strict=True))


@pytest.fixture(scope="module")
def loaded(files: dict[str, bytes]) -> dict[str, tuple[Tokenizer, Tokenizer]]:
    """Of each kind, through the library that defines it, and fast."""
    return {name: (Tokenizer.read(files[name], name), Tokenizer.read(files[name], name, fast=True)) for name in NAMES}


@pytest.mark.parametrize(
    ("name", "ends", "vocabulary"),
    [
        ("ours", (1, 2), 600),
        ("llama", (1, 2), 600),
        ("llama.json", (1, 2), 600),
        ("metaspace.json", (1, 2), 600),
        ("byte_level.json", (700, 701), 703),
        ("llama3", (700, 701), 956),
    ],
)
def test_what_a_file_says(loaded, name: str, ends: tuple[int, int], vocabulary: int) -> None:
    for tokenizer in loaded[name]:
        assert ((tokenizer.bos, tokenizer.eos), tokenizer.vocabulary) == (ends, vocabulary)
    assert [tokenizer.encoder.split()[0] for tokenizer in loaded[name]] == [REFERENCE[name], "fastokens"]


SPELLED = ["<s>", "</s>", "<unk>", "<0x41>", *SPECIAL, "<|special_7|>"]
TEXTS = st.one_of(
    st.text(),
    st.text(alphabet=st.sampled_from("".join(PROBES))),
    st.lists(st.one_of(st.sampled_from([*SPELLED, " the", "ing ", "12", "\n", "\r", "\0", "▁"]), st.text())).map(
        "".join
    ),
)


@pytest.mark.parametrize("name", NAMES)
@given(text=TEXTS)
@example("".join(PROBES))
@example(" ")
@example("")
@settings(max_examples=150, deadline=None)
def test_any_text_comes_back_and_never_yields_a_control_id(loaded, name: str, text: str) -> None:
    reference, fast = loaded[name]
    ids = reference.encode(text)
    assert ids.dtype == np.int32
    assert reference.decode(ids) == text
    assert fast.encode(text).tolist() == ids.tolist()
    assert fast.decode(ids) == text
    silent = {"ours": {0, 1, 2}, "byte_level.json": set(range(700, 703)), "llama3": set(range(700, 956))}
    assert not silent.get(name, {0, 1, 2}) & set(ids.tolist())
    assert reference.decode([reference.bos, *ids, reference.eos]) == text


@pytest.mark.parametrize("name", ["llama.json", "byte_level.json"])
def test_the_library_alone_would_let_a_text_forge_a_control_id(files, loaded, name: str) -> None:
    """So that the test above is known to test something."""
    backend = tokenizers.Tokenizer.from_str(files[name].decode())
    bos = loaded[name][0].bos
    spelled = {"llama.json": "<s>"}.get(name, SPECIAL[0])
    assert bos in backend.encode(f"a {spelled} b", add_special_tokens=False).ids
    assert bos not in loaded[name][0].encode(f"a {spelled} b")


def test_real_text_is_the_same_through_every_encoder(english: list[str], loaded) -> None:
    for reference, fast in loaded.values():
        for text in english[30:60]:
            assert np.array_equal(reference.encode(text), fast.encode(text))
            assert reference.decode(reference.encode(text)) == text


@given(text=st.text(min_size=1))
@settings(max_examples=100, deadline=None)
def test_the_ids_of_a_prefix_model_are_sentencepieces_own(files, loaded, text: str) -> None:
    text = text.replace(SPACE_MARK, "")
    processor = sentencepiece.SentencePieceProcessor(model_proto=files["llama"])
    for name in ("llama", "llama.json", "metaspace.json"):
        assert loaded[name][1].encode(text).tolist() == processor.encode(text)
    assert processor.encode("a") == processor.encode("a", add_bos=True)[1:] != processor.encode_as_ids("▁a")


@given(text=st.text())
@settings(max_examples=100, deadline=None)
def test_the_ids_of_a_tokenizer_json_are_the_librarys_own(files, loaded, text: str) -> None:
    backend = tokenizers.Tokenizer.from_str(files["byte_level.json"].decode())
    assert loaded["byte_level.json"][1].encode(text).tolist() == backend.encode(text, add_special_tokens=False).ids
    backend = tokenizers.Tokenizer.from_str(files["llama.json"].decode())
    text = text.replace(SPACE_MARK, "")
    assert loaded["llama.json"][1].encode(text).tolist() == backend.encode(text, add_special_tokens=False).ids


@given(text=st.text())
@settings(max_examples=100, deadline=None)
def test_the_ids_of_ranks_are_tiktokens_own(files, loaded, text: str) -> None:
    ranks = {base64.b64decode(line.split()[0]): int(line.split()[1]) for line in files["llama3"].splitlines()}
    encoding = tiktoken.Encoding("x", pat_str=tiktoken_ranks.WORDS, mergeable_ranks=ranks, special_tokens={})
    assert loaded["llama3"][1].encode(text).tolist() == encoding.encode_ordinary(text)


def reference_stretches(text: str, longest: int, run: int) -> list[str]:
    """Character by character: a new stretch at every multiple of `longest`, and after `run` of one kind in a row."""
    stretches: list[str] = []
    for start in range(0, len(text), longest):
        count, kind, current = 0, None, ""
        for character in text[start : start + longest]:
            count = count + 1 if character.isspace() == kind else 1
            kind = character.isspace()
            if count > run:
                stretches.append(current)
                current, count = "", 1
            current += character
        stretches.append(current)
    return stretches


@given(text=st.text(alphabet="ab \n\u3000\x1c", max_size=60), longest=st.integers(5, 30), run=st.integers(1, 4))
def test_long_texts_are_cut_where_metas_code_cuts_them(text: str, longest: int, run: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiktoken_ranks, "_LONGEST", longest)
        patch.setattr(tiktoken_ranks, "_LONGEST_RUN", run)
        assert tiktoken_ranks.stretches(text) == reference_stretches(text, longest, run)


def test_a_million_characters_without_a_space(loaded) -> None:
    for text in ("a" * 1_000_000, " " * 1_000_000, "=-" * 500_000):
        for name in ("ours", "llama3"):
            assert loaded[name][1].decode(loaded[name][1].encode(text)) == text


@pytest.mark.parametrize("name", NAMES)
def test_the_name_of_a_file_does_not_matter(files, tmp_path: Path, name: str) -> None:
    path = tmp_path / {"llama3": "tokenizer.json"}.get(name, "ranks.tiktoken")
    path.write_bytes(files[name])
    assert Tokenizer.load(path).encoder.startswith(REFERENCE[name])


@pytest.mark.parametrize("name", NAMES)
def test_it_survives_pickling(loaded, name: str) -> None:
    again = pickle.loads(pickle.dumps(loaded[name][1]))
    assert again.encoder == loaded[name][1].encoder
    assert again.encode("The ▁ text").tolist() == loaded[name][1].encode("The ▁ text").tolist()


@pytest.mark.parametrize("name", NAMES)
def test_without_the_fast_encoder(files, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(sys.modules, "fastokens", None)
    assert Tokenizer.read(files[name], name, fast=True).encoder.startswith(REFERENCE[name])


def test_a_fast_encoder_that_errs_is_not_used(files, monkeypatch: pytest.MonkeyPatch) -> None:
    class Errs:
        def __init__(self, table: str) -> None:
            self._right = RIGHT.from_json_str(table)

        from_json_str = classmethod(lambda cls, table: cls(table))

        def encode_batch_flat(self, texts: list[str]) -> tuple[bytes, bytes]:
            return self._right.encode_batch_flat([text.replace("\0", "") for text in texts])

    RIGHT = fastokens.Tokenizer
    monkeypatch.setattr(fastokens, "Tokenizer", Errs)
    assert Tokenizer.read(files["ours"], "m", fast=True).encoder.startswith("sentencepiece")


def test_a_model_that_the_fast_encoder_cannot_express(english: list[str]) -> None:
    texts = [text[:4000] for text in english[:20]]
    for options in ({"user_defined_symbols": ["ation the"]}, {"model_type": "unigram"}):
        tokenizer = Tokenizer.read(sentencepiece_file(texts, **options), "m", fast=True)
        assert tokenizer.encoder.startswith("sentencepiece")
        assert tokenizer.decode(tokenizer.encode("  The nation the\0")) == "  The nation the\0"


@pytest.mark.parametrize(("package", "name"), [("tiktoken", "llama3"), ("tokenizers", "llama.json")])
def test_a_missing_package_is_named(files, monkeypatch: pytest.MonkeyPatch, package: str, name: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModelError, match=f"needs the package {package}"):
        Tokenizer.read(files[name], "file")


def changed(table: bytes, **parts: Any) -> bytes:
    return json.dumps({**json.loads(table), **parts}).encode()


def normalizer(**parts: Any) -> Callable[[dict[str, bytes]], bytes]:
    return lambda files: changed(files["byte_level.json"], normalizer=parts)


LINES = b"".join(base64.b64encode(bytes([byte])) + b" %d\n" % byte for byte in range(256))
REFUSED: dict[str, tuple[Callable[[dict[str, bytes]], bytes], str]] = {
    "nothing": (lambda files: b"", "is not a tokenizer"),
    "text": (lambda files: b"not a model", "is not a tokenizer"),
    "zeros": (lambda files: bytes(1000), "is not a tokenizer"),
    "a cut model": (lambda files: files["ours"][:-1], "is not a tokenizer"),
    "other JSON": (lambda files: b'{"a": 1}', "is not a tokenizer"),
    "a list": (lambda files: b"[1]", "is not a tokenizer"),
    "a cut tokenizer.json": (lambda files: files["llama.json"][:-9], "is not a tokenizer"),
    "no BPE": (
        lambda files: changed(files["llama.json"], model={"type": "WordLevel", "vocab": {"<s>": 1}, "unk_token": "a"}),
        "holds a WordLevel model",
    ),
    "no ends": (lambda files: changed(files["byte_level.json"], added_tokens=[]), "has no BOS and EOS"),
    "no bytes": (
        lambda files: changed(files["llama.json"], model={"type": "BPE", "vocab": {"<s>": 0, "</s>": 1}, "merges": []}),
        "neither byte-level nor has byte fallback",
    ),
    "a broken part": (normalizer(type="Nonsense"), "is not a tokenizer.json that"),
    "lower case": (normalizer(type="Lowercase"), "changes text"),
    "NFKC": (normalizer(type="NFKC"), "changes text"),
    "strip": (normalizer(type="Strip", strip_left=True, strip_right=True), "changes text"),
    "other ranks": (
        lambda files: LINES + b"".join(base64.b64encode(b"%d" % n) + b" %d\n" % n for n in range(256, 100256)),
        "so it is cl100k's",
    ),
    "a rank too many": (lambda files: LINES + b"YWI= 300\n", "line 257 is not the piece of rank 256"),
    "no base64": (lambda files: LINES + b"YWI 256\n", "line 257 is not"),
    "a piece twice": (lambda files: LINES + b"YQ== 256\n", "line 257 is not"),
    "a byte missing": (lambda files: LINES[: LINES.rindex(b"/w==")], "lacks some of the 256 bytes"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_is_refused(files, name: str) -> None:
    make, says = REFUSED[name]
    with pytest.raises(ModelError, match=says) as caught:
        Tokenizer.read(make(files), "the/file")
    assert str(caught.value).startswith("the/file ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"byte_fallback": False}, "no byte fallback"),
        ({"normalization_rule_name": "nmt_nfkc"}, "changes text .nmt_nfkc."),
        ({"remove_extra_whitespaces": True}, "changes text"),
        ({"bos_id": -1}, "no BOS"),
    ],
)
def test_sentencepiece_models_that_are_refused(english: list[str], options: dict[str, Any], says: str) -> None:
    with pytest.raises(ModelError, match=says):
        Tokenizer.read(sentencepiece_file([english[0]], vocab_size=400, **options), "m")


def test_a_control_id_that_text_can_reach_is_refused(files) -> None:
    table = json.loads(files["byte_level.json"])
    table["model"]["vocab"]["zq"] = 999
    table["model"]["merges"].append(["z", "q"])
    table["added_tokens"][0].update(id=999, content="zq")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(huggingface_json, "ENDS", (("zq", SPECIAL[1]),))
        with pytest.raises(ModelError, match="'zq' into a control id"):
            Tokenizer.read(json.dumps(table).encode(), "m")


def test_composed_characters_may_be_composed(files) -> None:
    """NFC is what GPT-NeoX's and Qwen's files do: the text is the same by Unicode's rules, though not its bytes."""
    tokenizer = Tokenizer.read(normalizer(type="NFC")(files), "m")
    assert tokenizer.decode(tokenizer.encode("e\u0301 ﬁ")) == "é ﬁ"


def test_added_tokens_that_are_not_special_are_kept(files) -> None:
    table = json.loads(files["byte_level.json"])
    table["added_tokens"].append({**table["added_tokens"][0], "id": 703, "content": "    é", "special": False})
    for fast in (False, True):
        tokenizer = Tokenizer.read(json.dumps(table).encode(), "m", fast=fast)
        assert tokenizer.vocabulary == 704
        assert tokenizer.encode("a    éb").tolist().count(703) == 1
        assert tokenizer.decode(tokenizer.encode("a    éb")) == "a    éb"
