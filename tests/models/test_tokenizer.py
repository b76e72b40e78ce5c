from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from curation.errors import InputError, ModelError, UserError
from models.tokenizer import Tokenizer
from models.train_tokenizer import main, train_tokenizer


@pytest.fixture(scope="module")
def path(english: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.model"
    train_tokenizer([*english, "In 2023 and 2024 there were 1000. " * 2000], path, 1000)
    return path


@pytest.fixture(scope="module")
def tokenizer(path: Path) -> Tokenizer:
    return Tokenizer.load(path)


def test_what_it_says_of_itself(tokenizer: Tokenizer, path: Path) -> None:
    assert tokenizer.vocabulary == 1000
    assert (tokenizer.bos, tokenizer.eos) == (1, 2)
    assert tokenizer.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


AWKWARD = (
    "\u2581 \u2581\u2581 <s> </s> <unk> <0x41> \0 \t\r\n  é e\u0301 "
    "ﬁ １ 🙂\u200d🙂 \ufffd \ufeff \u2585 \U0010ffff \ue000 ⁇ "
)


@given(
    st.one_of(
        st.text(),
        st.text(alphabet=st.sampled_from(AWKWARD)),
        st.lists(st.sampled_from(AWKWARD.split(" "))).map(" ".join),
    )
)
@example("")
@example(AWKWARD)
@example(" leading and trailing ")
@example("a  b\n\n\nc\t\td")
def test_nothing_is_lost(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert ids.dtype == np.int32
    assert ids.ndim == 1
    assert tokenizer.decode(ids) == text
    assert not np.isin(ids, [0, tokenizer.bos, tokenizer.eos]).any()
    assert ((ids >= 0) & (ids < tokenizer.vocabulary)).all()


@given(st.text(), st.text())
def test_texts_joined_are_ids_joined(tokenizer: Tokenizer, first: str, second: str) -> None:
    assert tokenizer.decode([*tokenizer.encode(first), *tokenizer.encode(second)]) == first + second


def test_no_space_is_put_before_the_text(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("the").tolist() != tokenizer.encode(" the").tolist()
    assert len(tokenizer.encode("")) == 0


def test_control_pieces_are_only_text(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("<s>Hello</s><unk>")
    assert tokenizer.decode(ids) == "<s>Hello</s><unk>"
    assert tokenizer.decode([tokenizer.bos, *tokenizer.encode("Hello"), tokenizer.eos]) == "Hello"


def test_each_digit_is_a_token(tokenizer: Tokenizer) -> None:
    assert len(tokenizer.encode("2023")) == 4
    assert len(tokenizer.encode("1234567890" * 3)) == 30


def test_prose_is_compressed(tokenizer: Tokenizer, english: list[str]) -> None:
    assert len(tokenizer.encode(english[0])) < 0.5 * len(english[0].encode())


def test_bytes_that_are_no_text_decode_to_the_replacement_character(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("🙂")
    assert tokenizer.decode(ids[:2]).startswith("\ufffd")


def test_it_survives_pickling(tokenizer: Tokenizer) -> None:
    again = pickle.loads(pickle.dumps(tokenizer))
    assert again.sha256 == tokenizer.sha256
    assert again.encode("The same ▁ text").tolist() == tokenizer.encode("The same ▁ text").tolist()


def test_training_again_in_another_process_gives_the_same_bytes(tmp_path: Path, in_new_process) -> None:
    code = """
import sys
from pathlib import Path
from pydoc_data.topics import topics
from models.train_tokenizer import train_tokenizer
train_tokenizer([topics[name] for name in sorted(topics)][:20], Path(sys.argv[1]), 600)
"""
    for seed in ("1", "2"):
        in_new_process(code, seed, tmp_path / seed)
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_a_text_of_many_scripts_fits_a_small_vocabulary(tmp_path: Path, english: list[str]) -> None:
    han = "".join(map(chr, range(0x4E00, 0x4E00 + 3000)))
    text = english[0] + han * 2
    train_tokenizer([text], tmp_path / "m", 600)
    tokenizer = Tokenizer.load(tmp_path / "m")
    assert tokenizer.vocabulary == 600
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(tokenizer.encode("statement")) < 9


def test_long_lines_are_trained_on(tmp_path: Path, english: list[str]) -> None:
    line = " ".join(english[0].split())
    assert len(line) > 5000
    train_tokenizer([line * 5], tmp_path / "m", 500)
    assert len(Tokenizer.load(tmp_path / "m").encode(line)) < 0.6 * len(line)


@pytest.mark.parametrize("reserved", ["\t", "\u2581", "\u2585", "\0", "\r", "\u2028"])
def test_lines_with_reserved_characters_are_trained_on(tmp_path: Path, english: list[str], reserved: str) -> None:
    lines = [line for line in english[0].split("\n") if line]
    train_tokenizer([f"{line} {reserved}" for line in lines], tmp_path / "m", 500)
    tokenizer = Tokenizer.load(tmp_path / "m")
    assert len(tokenizer.encode(lines[2])) < 0.6 * len(lines[2])
    assert tokenizer.decode(tokenizer.encode(f"a{reserved} {reserved}b")) == f"a{reserved} {reserved}b"


@pytest.mark.parametrize(
    ("texts", "vocabulary", "says"),
    [
        ([], 1000, "no text"),
        (["", "\n", " \0"], 1000, "no text"),
        (["one short line"], 1000, "too small for a vocabulary of 1000"),
        (["one short line"], 259, "259 is too small"),
        (["a"], 100_000, "too small for a vocabulary of 100000"),
    ],
)
def test_too_little_text_is_the_users_mistake(tmp_path: Path, texts: list[str], vocabulary: int, says: str) -> None:
    with pytest.raises(UserError, match=says):
        train_tokenizer(texts, tmp_path / "m", vocabulary)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no tokenizer at"):
        Tokenizer.load(tmp_path / "missing")


def test_command_line(tmp_path: Path, english: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_text(english[0], encoding="utf-8")
    out = tmp_path / "new" / "tokenizer.model"
    assert main(["--vocabulary", "400", "--out", str(out), str(tmp_path / "a.txt")]) == 0
    assert Tokenizer.load(out).vocabulary == 400
    assert [path.name for path in out.parent.iterdir()] == ["tokenizer.model"]
    assert len(capfd.readouterr().err.splitlines()) == 2
    with pytest.raises(InputError, match="cannot read"):
        main(["--out", str(out), str(tmp_path / "missing")])
