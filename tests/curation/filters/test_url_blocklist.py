from __future__ import annotations

import gzip
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from curation.document import Document, Drop
from curation.errors import ModelError, RecipeError
from curation.filters.url_blocklist import UrlBlocklist
from curation.lists import BUNDLED, KINDS
from models.artifact import open_artifact, read_manifest
from models.make_list import main

Judged = Callable[[str], Drop | None]

DOMAINS = """# a list
bad.example
Sub.Other.example  # with a note
xn--bcher-kva.example
пример.рф
192.0.2.7
.zip
com
localhost
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as UT1's, and words."""
    root = tmp_path_factory.mktemp("lists")
    folder = root / "ut1"
    folder.mkdir()
    (folder / "domains.gz").write_bytes(gzip.compress(DOMAINS.encode()))
    (folder / "urls").write_text("http://www.fine.example/bad/\nfine.example/page.html?id=2\nfine.example:81/\n")
    (root / "hosts").write_text(
        "! ads\n0.0.0.0 ads.example\n127.0.0.1\ttracker.example\n||blocked.example^\n::1 x.test\n"
    )
    (root / "substrings").write_text("bad-word\nЖесть\n")
    (root / "words").write_text("grim\n\n# none\nübel\ntwo words\n")
    (root / "soft").write_text("dim\nsad\n***\n")
    arguments = ["--name", "mine", "--folder", folder, "--domains", root / "hosts", "--substrings", root / "substrings"]
    arguments += ["--words", root / "words", "--soft-words", root / "soft", "--out", root / "models"]
    assert main(list(map(str, arguments))) == 0
    return root / "models"


def filter_of(step: UrlBlocklist, models: Path) -> Judged:
    judge = step.load({name: open_artifact(models, name) for name in step.artifacts()})

    def judged(url: str) -> Drop | None:
        page = Document(id="web:f#0", url=url, date="", digest="", text="text")
        verdict = judge(page)
        if isinstance(verdict, Drop):
            return verdict
        assert verdict is page
        return None

    return judged


@pytest.mark.parametrize(
    ("url", "rule", "measured"),
    [
        ("http://bad.example/", "domain", "bad.example"),
        ("HTTPS://user@A.B.BAD.EXAMPLE:8080/x", "domain", "bad.example"),
        ("http://notbad.example/", None, None),
        ("http://example/bad.example", None, None),
        ("http://sub.other.example./", "domain", "sub.other.example"),
        ("http://other.example/", None, None),
        ("http://bücher.example/", "domain", "xn--bcher-kva.example"),
        ("http://www.ПРИМЕР.РФ/", "domain", "xn--e1afmkfd.xn--p1ai"),
        ("http://xn--e1afmkfd.xn--p1ai/", "domain", "xn--e1afmkfd.xn--p1ai"),
        ("http://192.0.2.7/", "domain", "192.0.2.7"),
        ("http://1.192.0.2.7.example/", None, None),
        ("http://anything.zip/", "domain", "zip"),
        ("http://anything.com/", None, None),
        ("http://localhost/", None, None),
        ("http://ads.example/", "domain", "ads.example"),
        ("http://tracker.example/", "domain", "tracker.example"),
        ("http://blocked.example/", "domain", "blocked.example"),
        ("http://x.test/", "domain", "x.test"),
        ("https://fine.example/bad", "url", "fine.example/bad"),
        ("https://fine.example/bad/deep/er?a=1#b", "url", "fine.example/bad"),
        ("https://fine.example/badly", None, None),
        ("https://fine.example/page.html?id=2&utm_source=x", "url", "fine.example/page.html?id=2"),
        ("https://fine.example/page.html?id=3", None, None),
        ("https://sub.fine.example/bad", None, None),
        ("https://fine.example:81/", "url", "fine.example:81/"),
        ("https://fine.example:81/x", None, None),  # the root of a host is a page, not a folder
        ("http://my-BAD-words.example/", "substring", "badword"),
        ("http://a.example/x/b.a.d.w.o.r.d", "substring", "badword"),
        ("http://a.example/bad/word", None, None),
        ("http://a.example/%D0%96%D0%B5%D1%81%D1%82%D1%8C1", "substring", "жесть"),
        ("http://xn--d1aca6aa8b.example/", None, None),
        ("http://a.example/so-grim/x", "word", "grim"),
        ("http://a.example/grimm", None, None),
        ("http://a.example/?q=%C3%BCbel", "word", "übel"),
        ("http://xn--bel-goa.example/", "word", "übel"),
        ("http://a.example/dim", None, None),
        ("http://dim.example/dim/dim", None, None),  # different words
        ("http://dim.example/sad_day", "soft_words", 2),
        ("mailto:grim@bad.example", None, None),
        ("", None, None),
    ],
)
def test_rules(models: Path, url: str, rule: str | None, measured: str | int) -> None:
    drop = filter_of(UrlBlocklist(bundled=(), lists=("mine",)), models)(url)
    limit = 2 if rule == "soft_words" else "mine"
    assert drop == (None if rule is None else Drop(rule, measured, limit))


def test_soft_words_can_be_moved(models: Path) -> None:
    step = UrlBlocklist(bundled=(), lists=("mine",), soft_words=1)
    assert filter_of(step, models)("http://a.example/dim") == Drop("soft_words", 1, 1)
    assert filter_of(replace(step, soft_words=3), models)("http://dim.example/sad") is None


def test_the_manifest_counts_what_there_is(models: Path) -> None:
    manifest = read_manifest(models / "list-mine")
    assert manifest["parameters"] == {
        "domains": 10, "urls": 3, "substrings": 2, "words": 3, "soft_words": 2, "left_out": 3,
    }  # fmt: skip
    assert manifest["kind"] == "list"
    assert "ut1/domains.gz" in manifest["origin"]


@pytest.mark.parametrize(
    ("url", "drop"),
    [
        ("https://de.wikipedia.org/wiki/X", Drop("domain", "wikipedia.org", "own_sources")),
        ("https://me.github.com/x", Drop("domain", "github.com", "own_sources")),
        ("https://me.github.io/x", None),
        ("https://freeporn.example/", Drop("substring", "porn", "adult")),
        ("https://a.example/xxx/1", Drop("word", "xxx", "adult")),
        ("https://a.example/sex/webcam", Drop("soft_words", 2, 2)),
        # What must not be taken for it.
        ("https://www.essex.ac.uk/sexes", None),
        ("https://health.example/sex-education-for-teens", None),
        ("https://a.example/gay-lesbian-trans-rights", None),
        ("https://a.example/breast-cancer", None),
        ("https://scunthorpe.example/analysis/cockpit", None),
        ("https://museum.example/nude-in-art", None),
    ],
)
def test_bundled_lists(models: Path, url: str, drop: Drop | None) -> None:
    assert filter_of(UrlBlocklist(bundled=("adult", "own_sources")), models)(url) == drop


def test_our_lists_come_first_and_the_first_hit_counts(models: Path) -> None:
    judged = filter_of(UrlBlocklist(bundled=("adult",), lists=("mine",)), models)
    assert judged("http://bad.example/xxx") == Drop("word", "xxx", "adult")


def test_bundled_words_are_in_the_form_that_is_compared() -> None:
    for list_ in BUNDLED.values():
        assert set(list_.words) == set(KINDS)
        for kind, words in list_.words.items():
            for word in words:
                assert word.isalnum(), f"{word} cannot be found in {kind}"
                assert word == word.lower()


def test_options(models: Path) -> None:
    assert UrlBlocklist().artifacts() == ()
    assert UrlBlocklist(lists=("adult", "x")).artifacts() == ("list-adult", "list-x")
    step = UrlBlocklist(bundled=(), lists=("mine",))
    assert pickle.loads(pickle.dumps(step)) == step
    with pytest.raises(RecipeError, match="'adlut' \\(did you mean 'adult'"):
        UrlBlocklist(bundled=("adlut",))
    with pytest.raises(RecipeError, match="name a list"):
        UrlBlocklist(bundled=())
    with pytest.raises(RecipeError, match="at least 1"):
        UrlBlocklist(soft_words=0)


@pytest.mark.parametrize("file", ["domains.npy", "urls.npy", "words.json"])
def test_not_a_list(models: Path, tmp_path: Path, file: str) -> None:
    for name in ("domains.npy", "urls.npy", "words.json"):
        (tmp_path / name).write_bytes((models / "list-mine" / name).read_bytes())
    (tmp_path / file).write_bytes(b"no list")
    with pytest.raises(ModelError, match="does not hold a list"):
        UrlBlocklist(bundled=(), lists=("mine",)).load({"list-mine": tmp_path})
