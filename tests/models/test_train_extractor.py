from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from curation.document import Document, Page
from curation.errors import InputError, UserError
from curation.extractors.winnow import Winnow
from curation.main_text import model as main_text
from curation.main_text.model import FILE
from curation.main_text.tags import hash_word
from models import fit_extractor
from models.artifact import open_artifact
from models.fit_extractor import learn
from models.main_text_labels import Gold, align, correct, is_development, load_gold, site_of
from models.train_extractor import main

SAYING = "The mill at the bend of the river number {} has been standing still for years, but its wheel turns, they say."


def html(number: int) -> str:
    text = [f"<p>{SAYING.format(100 * number + i)}</p>" for i in range(6)]
    text.insert(3, f"<div class=sails><p>Buy our sails of number {number}, the best that money can buy here.</p></div>")
    links = "".join(f"<li><a href=/{i}>Other page {i}</a>" for i in range(8))
    return (
        f"<html><head><title>Mill {number}</title></head><body><ul class=menu>{links}</ul><div class=story>"
        f"<h1>Mill {number}</h1>{''.join(text)}</div><p>Copyright {number}</p></body></html>"
    )


def write_crawl(path: Path, pages: int = 24) -> list[str]:
    members, urls = [], []
    for number in range(pages):
        urls.append(f"http://site{number}.org/{number}")
        block = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + html(number).encode()
        head = (
            f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: {urls[-1]}\r\nWARC-Date: 2024-01-01T00:00:00Z\r\n"
            f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(block)}\r\n\r\n"
        )
        members.append(gzip.compress(head.encode() + block + b"\r\n\r\n"))
    path.write_bytes(b"".join(members))
    return urls


def page(number: int) -> Page:
    return Page(
        id="s:f#0", url="http://unseen.org/", date="", digest="", status=200, content_type="text/html", charset="",
        body=html(number).encode(),
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    urls = write_crawl(folder / "a.warc.gz")
    # Trafilatura takes the offer of sails for text; gold knows better.
    gold = {url: {"with": [SAYING.format(100 * i + 2)], "without": ["Buy our sails"]} for i, url in enumerate(urls)}
    (folder / "gold.json").write_text(json.dumps(gold))
    for name in ("one", "two"):
        assert main(arguments(folder, "--gold", str(folder / "gold.json"), "--name", name)) == 0
    assert main(arguments(folder, "--name", "without-gold")) == 0
    return folder


def arguments(folder: Path, *more: str) -> list[str]:
    return ["--warc", str(folder / "*.warc.gz"), "--out", str(folder / "models"), *more]


@pytest.fixture(scope="module", autouse=True)
def _small() -> None:
    patch = pytest.MonkeyPatch()
    patch.setattr(fit_extractor, "FIRST_TREES", 12)
    patch.setattr(fit_extractor, "SECOND_TREES", 8)
    patch.setattr(fit_extractor, "COMMENT_TREES", 4)


def test_training_again_gives_the_same_bytes(trained: Path) -> None:
    models = trained / "models"
    assert (models / "one" / FILE).read_bytes() == (models / "two" / FILE).read_bytes()
    assert open_artifact(models, "one") == models / "one"


def test_a_recipe_can_name_what_was_trained(trained: Path) -> None:
    extract = Winnow(model="one", max_doubt=1.0)
    document = extract.load({"one": open_artifact(trained / "models", "one")})(page(77))
    assert isinstance(document, Document)
    assert document.text.split("\n")[-6:] == [SAYING.format(7700 + i) for i in range(6)]
    assert "Other page" not in document.text


def test_gold_corrects_the_teacher(trained: Path) -> None:
    texts = {}
    for name in ("one", "without-gold"):
        document = Winnow(model=name, max_doubt=1.0).load({name: trained / "models" / name})(page(78))
        assert isinstance(document, Document)
        texts[name] = document.text
    assert "Buy our sails" in texts["without-gold"]
    assert "Buy our sails" not in texts["one"]


def test_pages_of_the_reported_half_are_not_learned_from(trained: Path) -> None:
    manifest = json.loads((trained / "models" / "one" / "manifest.json").read_text())
    mine = sum(is_development(f"http://site{number}.org/") for number in range(24))
    assert manifest["parameters"]["pages"] == manifest["parameters"]["gold_pages"] == mine < 24
    assert json.loads((trained / "models" / "without-gold" / "manifest.json").read_text())["parameters"]["pages"] == 24
    assert manifest["parameters"]["f1"] > 0.95
    data = (trained / "models" / "one" / FILE).read_bytes()
    assert manifest["files"] == {FILE: hashlib.sha256(data).hexdigest()}
    assert hash_word("sails") in main_text.from_bytes(data, "").odds


def test_too_few_sites(tmp_path: Path) -> None:
    write_crawl(tmp_path / "a.warc.gz", 2)
    with pytest.raises(InputError, match="too few"):
        main(arguments(tmp_path))
    with pytest.raises(InputError, match="no such file"):
        main(["--warc", str(tmp_path / "b*"), "--out", str(tmp_path)])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--pages", "0"], "--pages"),
        (["--threshold", "nan"], "--threshold"),
        (["--name", "../x"], "--name"),
        (["--out", "{folder}/a.warc.gz"], "--out"),  # no directory
        (["--warc", "{folder}"], "directory"),
    ],
)
def test_what_cannot_work_is_said_before_the_training(tmp_path: Path, more: list[str], message: str) -> None:
    write_crawl(tmp_path / "a.warc.gz", 2)
    with pytest.raises(UserError, match=message):
        main(arguments(tmp_path, *(argument.format(folder=tmp_path) for argument in more)))
    assert not list(tmp_path.glob("models/*"))


@pytest.mark.parametrize(
    ("blocks", "reference", "labels"),
    [
        (["Home", "The river rose.", "Home"], "The river rose.", [0, 1, 0]),
        (["a", "b", "c", "d"], "b\nc", [0, 1, 1, 0]),
        (["c", "b", "c"], "b\nc", [0, 1, 1]),  # in order
        (["name", "Ann", "7"], "| name | Ann | 7 |", [1, 1, 1]),
        (["the", "Under the bridge of the old town it is dark"], "Under the bridge of the old town it is dark", [0, 1]),
        (["日本語の文章です。", "別の文"], "日本語の文章です。", [1, 0]),
        (["One.", "***", "Two."], "One.\nTwo.", [1, 1, 1]),  # marks go with what is around them
        (["One.", "***", "Two."], "One.", [1, 0, 0]),
        (["the", "in", "in the old", "old town of ours"], "in the old town of ours", [0, 0, 0, 1]),  # words are no line
        (["anything"], "", [0]),
        ([], "text", []),
    ],
)
def test_alignment(blocks: list[str], reference: str, labels: list[float]) -> None:
    assert align(blocks, reference).tolist() == labels


def test_a_block_that_is_there_in_part() -> None:
    half = "one two three four five six seven eight nine ten"
    block = half + " a b c d e f g h i j"
    assert align([block], half).tolist() == [0.5]
    assert align([block], "one two three four five and nothing else").tolist() == [0]


def test_gold_on_labels() -> None:
    blocks = ["Home", "The river rose.", "Read also: the storm", "The river", "rose again."]
    labels = np.array([0.0, 1.0, 1.0, 0.0, 0.0])
    corrected = correct(blocks, labels, Gold(("river rose.",), ("Read also",)))
    assert corrected.labels.tolist() == [0, 1, 0, 0, 0]
    assert corrected.certain.tolist() == [False, True, True, False, False]
    assert corrected.trust == 0.25  # one of two strings was right
    over_two = correct(blocks, labels, Gold(("river rose again",), ("elsewhere",)))
    assert over_two.labels.tolist() == [0, 1, 1, 1, 1]
    both = correct(blocks, labels, Gold(("Read",), ("also",)))
    assert not both.certain.any()


def test_a_site_has_one_vote() -> None:
    many = [("a.org", {1: 1.0}, 0.5)] * 50
    few = [(f"{name}.org", {1: 0.0, 2: 1.0}, 0.5) for name in "bcdef"]
    learned = learn([*many, *few])
    assert learned[1] < 0 < learned[2]
    assert learn([*many, *few[:2]]) == {}  # three sites


def test_development_pages() -> None:
    assert [is_development(f"http://{name}.org/") for name in "aceg"] == [False, False, True, True]
    assert is_development("https://www.e.org/x")
    assert site_of("http://[x") == "http://[x"  # no URL at all
    assert site_of("https://web.archive.org/web/2018/https://www.example.org/a") == "example.org"


def test_gold_of_another_form_is_refused(tmp_path: Path) -> None:
    for text in ("{", "[]", '{"u": {"with": []}}', '{"u": {"with": "abc", "without": []}}', "[" * 100_000):
        (tmp_path / "gold.json").write_text(text)
        with pytest.raises(InputError, match="is not JSON of the form"):
            load_gold(tmp_path / "gold.json")
    with pytest.raises(InputError):
        load_gold(tmp_path / "none.json")


def test_the_threshold_is_stored(trained: Path) -> None:
    data = (trained / "models" / "one" / FILE).read_bytes()
    assert main_text.from_bytes(data, "").threshold == pytest.approx(-0.2)
    other = replace(main_text.from_bytes(data, ""), threshold=1.5)
    assert main_text.from_bytes(main_text.to_bytes(other), "").threshold == 1.5
