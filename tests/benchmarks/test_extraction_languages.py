from __future__ import annotations

import math
from pathlib import Path

import pytest

from benchmarks.extraction_languages import (
    Compared,
    agreement,
    declared_language,
    distinct_html,
    identified,
    main,
    table,
)
from curation.document import Page
from curation.errors import InputError, ModelError
from tests.benchmarks.conftest import MakePage, WriteWarc


@pytest.mark.parametrize(
    ("html", "language"),
    [
        ("<html lang=de>", "de"),
        ("<!doctype html>\n<HTML class='a' LANG='en-GB'>", "en"),
        ('<html xml:lang="ja" xmlns="x">', "ja"),
        ("<html data-lang=de>", "und"),
        ("<html><body lang=de>", "und"),
        ("<html lang=''>", "und"),
        ("<html lang=english>", "und"),
        ("<html\0 lang=fi>", "fi"),
        ("", "und"),
    ],
)
def test_language_that_a_page_declares(make_page: MakePage, html: str, language: str) -> None:
    assert declared_language(make_page(html)) == language


def test_each_body_once_and_nothing_but_html(make_page: MakePage) -> None:
    pages = [make_page("a", "u1"), make_page("a", "u2"), make_page("b", "u3", status=404)]
    pages += [make_page("c", "u4", content_type="text/css"), make_page("d", "u5", status=0)]
    assert [page.url for page in distinct_html(pages)] == ["u1", "u5"]


def compared(page: Page, reference: str, text: str, language: str = "de") -> Compared:
    return Compared(page, language, reference, {"x": text})


def test_agreement_by_hand(make_page: MakePage) -> None:
    page = make_page()
    found = agreement(
        [
            compared(page, "a b c d e", "a b c d"),
            compared(page, "a b", ""),
            compared(page, "", "a"),
            compared(page, "", ""),
        ],
        "x",
    )
    assert (found.both, found.missing, found.extra) == (1, 1, 1)
    assert found.f1 == pytest.approx(2 * 1 * 0.5 / 1.5)
    assert math.isnan(agreement([], "x").f1)


@pytest.mark.parametrize(
    ("reference", "text", "recall"),
    [
        ("小学生去学校", "小学生去学", 2 / 3),  # of three runs of four characters, two
        ("สวัสดี", "สวัสด", 2 / 3),
        ("안녕 하세요 저는 학생 입니다", "안녕 하세요 저는 학생", 1 / 2),  # Korean has spaces
        ("日本 is in Asia", "日本 is in", 1 / 2),
    ],
)
def test_scripts_without_spaces_count_by_characters(
    make_page: MakePage, reference: str, text: str, recall: float
) -> None:
    assert agreement([compared(make_page(), reference, text)], "x").f1 == pytest.approx(2 * recall / (1 + recall))


def test_rare_languages_are_one_row(make_page: MakePage) -> None:
    page = make_page()
    some = [compared(page, "a", "a", language) for language in ("de", "en", "en", "fi", "en", "de")]
    lines = [[cell.strip() for cell in line.split("|")[1:4]] for line in table(some, least=2).splitlines()[2:]]
    assert lines == [["en", "3", "0"], ["de", "2", "0"], ["others: fi", "1", "0"], ["all", "6", "0"]]


def test_from_archive_to_table(tmp_path: Path, capsys: pytest.CaptureFixture[str], write_warc: WriteWarc) -> None:
    body = "".join(f"<p>The river rose in the night, and by morning house {n} was under water.</p>" for n in range(9))
    html = "<html lang={}><body><article>{}</article></body></html>"
    pages = {f"http://{name}.org/": html.format(name, body) for name in ("de", "fi")}
    write_warc(tmp_path / "x.warc.gz", {**pages, "http://again.org/": html.format("de", body)})
    asked = ["--warc", str(tmp_path / "*.gz"), "--extractors", "trafilatura default", "--least", "1"]
    assert main(asked) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[:23] for line in lines[2:]] == [
        "| de | 1 | 0 | 1.000 | ",
        "| fi | 1 | 0 | 1.000 | ",
        "| all | 2 | 0 | 1.000 |",
    ]
    with pytest.raises(ModelError, match="no model"):
        main([*asked, "--models", str(tmp_path)])
    write_warc(tmp_path / "x.warc.gz", {})
    with pytest.raises(InputError):
        main(asked)


def test_pages_without_reference_keep_the_language_that_they_declare(
    make_page: MakePage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fasttext

    lines = ["__label__en the river rose in the night", "__label__de der fluss stieg in der nacht"] * 50
    (tmp_path / "train.txt").write_text("\n".join(lines))
    model = fasttext.train_supervised(str(tmp_path / "train.txt"), dim=4, epoch=20, thread=1, verbose=0)
    monkeypatch.setattr("models.language_id.load_language_id", lambda directory: model)
    pages = [("the river rose in the night", "xx"), ("der fluss stieg in der nacht", "xx"), ("", "fi")]
    some = [compared(make_page(), text, "", language) for text, language in pages]
    assert [c.language for c in identified(some, tmp_path)] == ["en", "de", "fi"]
