from __future__ import annotations

import json
import pickle
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from curation.document import Document
from curation.errors import InputError, ModelError, UserError
from models.artifact import open_artifact, read_manifest
from models.reference_report import FEWEST
from models.reference_score import Calibration, ReferenceScore, make_vectorizer
from models.train_reference import (
    FOLDS,
    Example,
    article_examples,
    fold_of,
    main,
    match_lengths,
    pairs_to_examples,
    site_of,
    train_reference,
)

SHOP = [
    "Add to cart.",
    "Free shipping",
    "over 50!",
    "Sign in",
    "to your account",
    "or create one today.",
    "Sale ends soon.",
]


def shop_page(number: int) -> str:
    """A page as a shop's may be: its own words in another order, with words of its own."""
    chance = random.Random(number)
    return " ".join(chance.choice(SHOP) if chance.random() < 0.8 else f"item{chance.randrange(50)}" for _ in range(300))


@pytest.fixture(scope="module")
def examples(english: list[str]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    prose = [(f"https://site{number}.org/page", text[:3000]) for number, text in enumerate(english)]
    return prose, [(f"https://shop{number}.com/", shop_page(number)) for number in range(60)]


@pytest.fixture(scope="module")
def models(examples, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("models")
    report = train_reference(pairs_to_examples(*examples), directory, origin="test", licence="none")
    assert report.auc is not None
    assert report.auc.value > 0.95
    assert report.claims == "none"  # of 60 positives nothing is claimed
    assert min(report.held_out_positives, report.held_out_negatives) > 0
    return directory


@pytest.fixture(scope="module")
def score(models: Path):
    return ReferenceScore().load({"reference": open_artifact(models, "reference")})


TEXTS = [
    "",
    " ",
    "word",
    "🙂",
    "\0\n",
    "x" * 1_000_000,
    "The value of the expression is a name. " * 50,
    shop_page(100),
    shop_page(101),
]


def test_it_tells_unseen_texts_apart(score, document: Callable[..., Document]) -> None:
    prose, shop = score(
        [
            document("Expressions are evaluated from left to right, and the value is an object."),
            document(shop_page(999)),
        ]
    )
    assert shop.reference_score < 0.5
    assert prose.reference_score is None  # too short to judge
    (prose,) = score([document("Expressions are evaluated from left to right, and the value is an object. " * 9)])
    assert prose.reference_score > 0.5


def test_the_score_does_not_depend_on_the_batch(models: Path, score, document: Callable[..., Document]) -> None:
    minimum = read_manifest(models / "reference")["parameters"]["minimum"]
    assert any(0 < len(text) < minimum for text in TEXTS)
    documents = [document(text) for text in TEXTS]
    alone = [score([one])[0] for one in documents]
    together = score(documents)
    assert together == alone
    assert score(documents[::-1]) == alone[::-1]
    assert [one.text for one in together] == TEXTS
    for one in alone:
        assert (one.reference_score is None) == (len(one.text) < minimum)
        if one.reference_score is not None:
            assert one.reference_score == round(one.reference_score, 4)
            assert 0 <= one.reference_score <= 1
    assert score([]) == []


def test_a_text_twice_as_long_scores_the_same(score, document: Callable[..., Document]) -> None:
    text = "Sign in to your account. The value of the expression is an object.\n"
    once, twice = score([document(text * 7), document(text * 14)])
    assert twice.reference_score == pytest.approx(once.reference_score, abs=0.01)
    rows = make_vectorizer({"features": 1 << 10, "words": 2}).transform([text, text * 14])
    assert np.sqrt(rows.multiply(rows).sum(axis=1)) == pytest.approx(np.ones((2, 1)))


def test_only_the_first_characters_are_read(score, document: Callable[..., Document]) -> None:
    text = "The value of the expression is an object. " * 60
    same, longer = score([document(text[:2000]), document(text[:2000] + shop_page(1))])
    assert same.reference_score == longer.reference_score


def test_what_cannot_be_judged_has_no_score(models: Path, tmp_path: Path, document: Callable[..., Document]) -> None:
    settings = json.loads((models / "reference" / "settings.json").read_text())
    (tmp_path / "settings.json").write_text(json.dumps({**settings, "minimum": 300, "languages": ["en", "fr"]}))
    (tmp_path / "weights.npy").write_bytes((models / "reference" / "weights.npy").read_bytes())
    score = ReferenceScore().load({"reference": tmp_path})
    text = "x" * 300
    judged = score([document(text), document(text, language="fr"), document(text[1:]), document(text, language="de")])
    assert [one.reference_score is None for one in judged] == [False, False, True, True]
    assert judged[0].reference_score == judged[1].reference_score
    stale = document("", reference_score=0.5)
    assert score([stale])[0].reference_score is None


def test_the_sample_of_the_crawl_is_judged_as_documents_are(
    examples, tmp_path: Path, document: Callable[..., Document]
) -> None:
    """One without a language is scored, one in a language that was not learned is not."""
    pairs, text = pairs_to_examples(*examples), "A text of more than enough words. " * 200
    site = next(f"{n}.org" for n in range(99) if fold_of(f"{n}.org") == 0)
    crawl = [Example(text, False, site, language, len(text)) for language in ("", "en", "de", "fr", "fr")]
    more = {"origin": "", "licence": "", "languages": ["de", "en"]}
    report = train_reference(pairs, tmp_path, crawl=crawl, **more)
    assert (report.crawl_documents, report.crawl_unscored) == (5, 2)
    judge = ReferenceScore().load({"reference": tmp_path / "reference"})
    scored = judge([document(text, language=language or None) for language in ("", "en", "de", "fr", "fr")])
    assert [page.reference_score is None for page in scored] == [False, False, False, True, True]


def test_a_model_of_the_first_format_is_still_read(
    models: Path, tmp_path: Path, document: Callable[..., Document]
) -> None:
    settings = {"intercept": -1.0, "features": 1 << 18, "words": 2, "characters": 2000}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    np.save(tmp_path / "weights.npy", np.ones(1 << 18, np.float32))
    empty, chinese = ReferenceScore().load({"reference": tmp_path})([document(""), document("汉字")])
    assert empty.reference_score == round(1 / (1 + np.e), 4)
    assert chinese.reference_score in (0.5, round(1 / (1 + np.exp(2)), 4))  # one token, whose sign is its hash's


def test_calibration() -> None:
    logits = np.array([-1e4, -2.0, 0.0, 2.0, 1e4])
    assert Calibration().probabilities(logits) == pytest.approx([0, 0.1192, 0.5, 0.8808, 1], abs=1e-4)
    assert Calibration(slope=2, intercept=-4).probabilities(logits)[3] == 0.5
    assert set(Calibration(slope=0.0).probabilities(logits)) == {0.5}


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("A cat, a DOG", {"cat", "dog", "cat dog"}),
        ("汉字 和", {"汉", "字", "和", "汉 字", "字 和"}),
        ("ที่ดี", {"ท", "ี", "่", "ด", "ท ี", "ี ่", "่ ด", "ด ี"}),
        ("GPU计算", {"gpu", "计", "算", "gpu 计", "计 算"}),
    ],
)
def test_scripts_without_spaces_have_words_too(text: str, tokens: set[str]) -> None:
    analyze = make_vectorizer({"format": 2, "features": 1 << 10, "words": 2}).build_analyzer()
    assert set(analyze(text)) == tokens


def test_scores_are_calibrated_and_know_nothing_where_there_is_nothing_to_know(tmp_path: Path) -> None:
    """Some words of a class are its own in the first case; in the second the classes are the same."""
    for strength, own in ((0.1, True), (0.0, False)):
        examples = []
        for number in range(1200):
            chance, cited = random.Random(number), number % 2 == 0
            words = [
                ("good" if cited else "bad") + str(chance.randrange(9))
                if chance.random() < strength * chance.random() ** 3
                else f"w{chance.randrange(99)}"
                for _ in range(80)
            ]
            examples.append(Example(" ".join(words), cited, f"site{number // 3}.org", "en", len(" ".join(words))))
        report = train_reference(examples, tmp_path, origin="test", licence="none", features=1 << 12)
        assert report.auc is not None
        assert report.baseline is not None
        assert report.claims == "held-out sites"
        assert report.calibration_error < 0.12
        assert abs(report.baseline.value - 0.5) < 0.1
        if own:
            assert 0.65 < report.auc.value < 0.98
        else:
            assert report.auc.low <= 0.5 <= report.auc.high


def test_how_much_of_a_text_it_takes(tmp_path: Path) -> None:
    """The classes differ after 400 characters only, so shorter texts are told apart from those that can be judged."""
    examples = []
    for number in range(600):
        chance, cited = random.Random(number), number % 2 == 0
        start = " ".join(f"w{chance.randrange(99)}" for _ in range(130))[:400]
        text = start + (" tomb relic annal" if cited else " offer bargain deal") * 30
        examples.append(Example(text, cited, f"site{number}.org", "en", len(text)))
    report = train_reference(examples, tmp_path, origin="test", licence="none", features=1 << 12)
    assert report.by_length["300"] < 0.7
    assert report.by_length["800"] > 0.95
    assert report.minimum == 500


def test_files_hold_no_pickle(models: Path) -> None:
    assert sorted(read_manifest(models / "reference")["files"]) == [
        "report.json",
        "report.svg",
        "settings.json",
        "weights.npy",
    ]
    weights = np.load(models / "reference" / "weights.npy", allow_pickle=False)
    assert weights.dtype == np.float32
    assert weights.shape == (1 << 18,)
    step = ReferenceScore()
    assert pickle.loads(pickle.dumps(step)) == step
    assert step.artifacts() == ("reference",)


@pytest.mark.parametrize("damage", ["missing", "shape", "settings", "pickle"])
def test_a_model_that_cannot_be_read(models: Path, tmp_path: Path, damage: str) -> None:
    for name in ("weights.npy", "settings.json"):
        (tmp_path / name).write_bytes((models / "reference" / name).read_bytes())
    if damage == "missing":
        (tmp_path / "weights.npy").unlink()
    elif damage == "shape":
        np.save(tmp_path / "weights.npy", np.zeros(3, np.float32))
    elif damage == "pickle":
        np.save(tmp_path / "weights.npy", np.array([{}], dtype=object), allow_pickle=True)
    else:
        (tmp_path / "settings.json").write_text("{}")
    with pytest.raises(ModelError, match="train"):
        ReferenceScore().load({"reference": tmp_path})


def test_lengths_are_matched() -> None:
    chance = random.Random(2)
    short = [("", "a" * chance.randrange(200, 600)) for _ in range(300)]
    long = [("", "b" * chance.randrange(300, 2000)) for _ in range(70)]
    first, second = match_lengths(short, long)
    assert [len(first), len(second)] == [300, 70]
    for quantile in (0.0, 0.1, 0.5, 0.9, 1.0):
        here, there = (np.quantile([len(text) for text in texts], quantile) for texts in (first, second))
        assert there == pytest.approx(here, rel=0.05)
    labels = [1] * 300 + [0] * 70
    assert (
        roc_auc_score(labels, [len(text) for _, text in [*short, *long]]) < 0.1
    )  # length alone tells them apart before
    assert roc_auc_score(labels, [len(text) for text in [*first, *second]]) == pytest.approx(0.5, abs=0.02)


def test_hosts_are_not_split() -> None:
    folds = {host: fold_of(site_of(f"https://{host}/a")) for host in (f"site{number}.org" for number in range(500))}
    for fold in range(FOLDS):
        assert 70 < list(folds.values()).count(fold) < 130
    for host, fold in folds.items():
        assert fold_of(site_of(f"http://www.{host}/other?page#part")) == fold
        assert fold_of(site_of(f"http://shop.{host}/")) == fold
    pages = [f"https://en.wikipedia.org/wiki/{number}" for number in range(500)]
    assert 70 < sum(fold_of(site_of(page)) == 0 for page in pages) < 130
    assert all(site_of(page) == site_of(f"{page}#2000") for page in pages)


def write_jsonl(path: Path, examples: list[tuple[str, str]]) -> Path:
    path.write_text("".join(json.dumps({"url": url, "text": text}) + "\n" for url, text in examples), encoding="utf-8")
    return path


def test_command_line_gives_the_same_bytes_in_another_process(
    examples, tmp_path: Path, in_new_process, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--positives", str(write_jsonl(tmp_path / "p.jsonl", examples[0]))]
    arguments += ["--negatives", str(write_jsonl(tmp_path / "n.jsonl", examples[1])), "--out"]
    assert main([*arguments, str(tmp_path / "0")]) == 0
    assert "nothing is claimed" in capsys.readouterr().err
    code = f"import sys; from models.train_reference import main; sys.exit(main({arguments!r} + sys.argv[1:]))"
    in_new_process(code, "5", tmp_path / "1")
    for name in ("weights.npy", "settings.json", "manifest.json", "report.json", "report.svg"):
        first, second = ((tmp_path / out / "reference" / name).read_bytes() for out in ("0", "1"))
        assert first == second
    parameters = read_manifest(tmp_path / "0" / "reference")["parameters"]
    assert parameters["positives"] + parameters["held_out_positives"] == len(examples[0])
    assert parameters["auc"] > 0.95


@pytest.mark.parametrize("line", ["{", "[]", '{"url": "u"}', '{"url": 1, "text": "t"}', '{"url": "u", "text": null}'])
def test_a_line_that_is_no_example(examples, tmp_path: Path, line: str) -> None:
    good = write_jsonl(tmp_path / "good", examples[0])
    (tmp_path / "bad").write_text(good.read_text().splitlines()[0] + "\n" + line + "\n")
    for positives, negatives in (("good", "bad"), ("bad", "good")):
        with pytest.raises(InputError, match=r"bad: line 2 is not"):
            main(
                [
                    "--positives",
                    str(tmp_path / positives),
                    "--negatives",
                    str(tmp_path / negatives),
                    "--out",
                    str(tmp_path),
                ]
            )


def test_users_mistakes(examples, tmp_path: Path) -> None:
    good = str(write_jsonl(tmp_path / "good", examples[0]))
    (tmp_path / "empty").touch()
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for path, says in (("missing", "cannot read"), ("empty", "no negatives"), ("binary", "not UTF-8")):
        with pytest.raises(UserError, match=says):
            main(["--positives", good, "--negatives", str(tmp_path / path), "--out", str(tmp_path / "models")])
    assert not (tmp_path / "models").exists()


def test_articles_as_stand_in(
    wikipedia_dump: Path, wikipedia: list[tuple[str, str]], english: list[str], tmp_path: Path
) -> None:
    stretches = list(article_examples(wikipedia_dump, characters=1000, most=3))
    titles = [title for title, text in wikipedia if len(text) > 3000]
    assert len({url.partition("#")[0] for url, _ in stretches}) >= len(titles)
    assert max(len(text) for _, text in stretches) == 1000
    negatives = [(f"https://site{number}.org/", text) for number, text in enumerate(english)]
    pairs = pairs_to_examples(stretches, negatives)
    report = train_reference(pairs, tmp_path, origin="test", licence="none", characters=1000, cited_pages=False)
    assert report.auc is not None
    assert report.auc.value > 0.95
    assert report.all_positives > FEWEST
    assert report.claims == "none"
