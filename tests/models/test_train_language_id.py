from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from curation.document import Document
from curation.errors import InputError, UserError
from models.artifact import open_artifact, read_manifest
from models.language_id import LanguageId
from models.train_language_id import main, train_language_id

# Words of three languages; every line is a draw of them, so no two are alike and none has a mark of its own.
WORDS = {
    "de": "der die und ist nicht ein eine mit auf für das von zu haben wird wenn auch nach über Hafen Schiff Stadt",
    "en": "the of and to in that is was for with his they at be this from have or by one had not but what all were",
    "fr": "le la et les des est dans que qui pour une sur pas avec ce il au sont par mais nous comme être plus port",
}
SENTENCES = {
    "de": "Das Schiff ist nicht in der Stadt, und der Hafen wird auch nach dem Fest nicht geöffnet.",
    "en": "The ship was not in the town, and they had all that was to be had from this harbour.",
    "fr": "Le port est dans la ville, et les bateaux qui sont sur la mer ne sont pas tous à nous.",
}


def lines(language: str, count: int) -> Iterator[str]:
    words = WORDS[language].split()
    for number in range(count):
        yield " ".join(words[(number * step + number // len(words)) % len(words)] for step in range(1, 9))


def samples(count: int = 300) -> list[tuple[str, str]]:
    return [(language, line) for language in WORDS for line in lines(language, count)]


QUICK = {"origin": "test", "licence": "none", "buckets": 5000, "epochs": 10}


@pytest.mark.parametrize("quantize", [False, True])
def test_it_tells_languages_apart_and_says_how_well(
    tmp_path: Path, document: Callable[..., Document], capfd: pytest.CaptureFixture[str], quantize: bool
) -> None:
    directory = train_language_id(samples(), tmp_path, **QUICK, quantize=quantize)
    manifest = read_manifest(open_artifact(tmp_path, "language_id"))
    assert list(manifest["files"]) == ["model.ftz" if quantize else "model.bin"]
    held = manifest["parameters"]["held_out"]
    assert held["accuracy"] > 0.95
    assert sorted(held["languages"]) == ["de", "en", "fr"]
    assert sum(row["lines"] for row in held["languages"].values()) == held["lines"] > 40
    assert all(row["f1"] > 0.9 for row in held["languages"].values())
    printed = capfd.readouterr().err
    assert f"accuracy {held['accuracy']}, mean F1 {held['macro_f1']}" in printed
    assert f"  fr       F1 {held['languages']['fr']['f1']:.4f}" in printed
    score = LanguageId().load({"language_id": directory})
    assert [d.language for d in score([document(text) for text in SENTENCES.values()])] == list(SENTENCES)


def test_what_is_measured_is_right(tmp_path: Path) -> None:
    """Two languages that share their words cannot be told apart, and F1 says so; a third can."""
    same = [("xx" if number % 2 else "yy", line) for number, line in enumerate(lines("en", 600))]
    train_language_id([*same, *samples(200)[:200]], tmp_path, **QUICK)
    languages = read_manifest(tmp_path / "language_id")["parameters"]["held_out"]["languages"]
    assert languages["de"]["f1"] > 0.9
    assert min(languages["xx"]["recall"], languages["yy"]["recall"]) < 0.75
    for row in languages.values():
        p, r = row["precision"], row["recall"]
        assert row["f1"] == pytest.approx(2 * p * r / (p + r) if p + r else 0, abs=2e-4)


def test_what_is_held_out_is_not_trained_on(tmp_path: Path) -> None:
    """Of lines of noise nothing can be learned but the lines themselves, so on others the answer is a guess."""
    words = [" ".join(sha256(f"{n}-{k}".encode()).hexdigest() for k in range(3)) for n in range(900)]
    noise = [("en" if n % 2 else "de", line) for n, line in enumerate(words)]
    train_language_id(noise, tmp_path, origin="test", licence="none", buckets=100_000, epochs=60, dim=32)
    held = read_manifest(tmp_path / "language_id")["parameters"]["held_out"]
    assert held["lines"] > 60
    assert 0.3 < held["accuracy"] < 0.7


def test_repeats_count_once_and_what_two_languages_claim_does_not_count(tmp_path: Path) -> None:
    """A line that stands everywhere would be learned by heart and held out as well; one of two languages is noise."""
    repeated = [*samples(100), *samples(100)]
    claimed = [("en", "OK OK OK"), ("de", "OK OK OK")]
    for number, given in enumerate((samples(100), repeated, [*repeated, *claimed], repeated[::-1])):
        train_language_id(given, tmp_path / str(number), **QUICK)
    manifests = {(tmp_path / str(n) / "language_id" / "manifest.json").read_bytes() for n in range(4)}
    assert len(manifests) == 1  # order, repeats and contradictions change nothing


def test_lines_of_a_language_are_limited(tmp_path: Path) -> None:
    text = [(language, "\n".join(lines(language, 300))) for language in WORDS]
    cut = [(language, "\n".join(lines(language, 200))) for language in WORDS]
    train_language_id(text, tmp_path / "a", **QUICK, most=200)
    train_language_id(cut, tmp_path / "b", **QUICK)
    first, second = ((tmp_path / name / "language_id" / "model.bin").read_bytes() for name in "ab")
    assert first == second


@pytest.mark.parametrize("flags", [[], ["--quantize"]])
def test_another_process_makes_the_same_bytes(tmp_path: Path, in_new_process, flags: list[str]) -> None:
    for language in WORDS:
        (tmp_path / f"{language}.txt").write_text("\n".join(lines(language, 200)), encoding="utf-8")
    texts = [f"--text={language}={tmp_path / language}.txt" for language in WORDS]
    options = [*texts, "--buckets", "3000", *flags]
    code = (
        f"import sys\nfrom models.train_language_id import main\nsys.exit(main([*{options!r}, '--out', sys.argv[1]]))"
    )
    for seed in ("1", "2"):
        in_new_process(code, seed, tmp_path / seed)
    for name in read_manifest(tmp_path / "1" / "language_id")["files"]:
        assert (tmp_path / "1/language_id" / name).read_bytes() == (tmp_path / "2/language_id" / name).read_bytes()
    one, two = ((tmp_path / n / "language_id" / "manifest.json").read_bytes() for n in "12")
    assert one == two


def test_command_line(tmp_path: Path) -> None:
    folder = tmp_path / "texts" / "en"
    folder.mkdir(parents=True)
    for number, line in enumerate(lines("en", 200)):
        with (folder / f"{number % 3}.txt").open("a") as file:
            file.write(line + "\n")
    rows = [{"language": "de", "text": "\n".join(lines("de", 200)), "url": "x"}]
    (tmp_path / "more.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    arguments = [f"--text=en={folder}", "--jsonl", str(tmp_path / "more.jsonl"), "--buckets", "3000"]
    assert main([*arguments, "--out", str(tmp_path / "models")]) == 0
    manifest = read_manifest(open_artifact(tmp_path / "models", "language_id"))
    assert manifest["origin"] == "trained on en=en, more.jsonl"
    assert manifest["parameters"]["languages"] == 2


def test_users_mistakes(tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "models")]
    (tmp_path / "one").write_text("\n".join(lines("en", 100)))
    (tmp_path / "few").write_text("ein Satz\n")
    (tmp_path / "bad.jsonl").write_text('{"text": "a"}\n')
    (tmp_path / "odd.jsonl").write_text('{"text": "a", "language": "not a code"}\n')
    for arguments, says in (
        ([], "nothing to train on"),
        (["--text", "english.txt"], "LANGUAGE=PATH"),
        (["--text", f"en={tmp_path / 'missing'}"], "cannot read"),
        (["--text", f"en={tmp_path / 'one'}"], "it takes two"),
        (["--text", f"en={tmp_path / 'one'}", "--text", f"de={tmp_path / 'few'}"], "in de are too few"),
        (["--jsonl", str(tmp_path / "bad.jsonl")], "line 1 is not a JSON object"),
        (["--jsonl", str(tmp_path / "odd.jsonl")], "not the code of a language"),
        (["--dump", f"en={tmp_path / 'missing'}"], "missing"),
    ):
        with pytest.raises((UserError, InputError), match=says):
            main([*arguments, *out])
    assert not (tmp_path / "models").exists()
