from __future__ import annotations

import json
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from curation.document import Document, Drop, Page
from curation.errors import DataError, ModelError, RecipeError
from curation.extractors.trafilatura import Trafilatura
from curation.extractors.winnow import Winnow
from curation.main_text import model as main_text

EXTRACT = Winnow(max_doubt=1.0)  # the model's own judgement

PROSE = {
    "en": "The river rose in the night, and by morning the lower town was under water up to the window sills of house",
    "ru": "Ночью река поднялась, и к утру нижний город стоял под водой до самых подоконников дома номер",
    "ja": "夜のうちに川の水かさが増し、朝には下町の家々が窓の高さまで水につかっていた。人々は学校で夜を明かした",
    "ar": "ارتفع منسوب النهر في الليل، وفي الصباح كانت المدينة السفلى تحت الماء حتى عتبات نوافذ المنزل رقم",
    "hi": "रात में नदी का पानी बढ़ गया, और सुबह तक निचला शहर खिड़कियों की चौखट तक पानी में डूबा हुआ था, मकान नंबर",
    "th": "ในตอนกลางคืนแม่น้ำเอ่อล้น และเมื่อถึงตอนเช้าเมืองตอนล่างก็จมอยู่ใต้น้ำจนถึงขอบหน้าต่าง",
}


def page(body: str, content_type: str = "text/html") -> Page:
    return Page(
        id="s:f#0", url="http://a.org/x", date="", digest="", status=200, content_type=content_type, charset="utf-8",
        body=body.encode(),
    )  # fmt: skip


def article(language: str = "en", more: str = "", paragraphs: int = 8) -> str:
    text = "".join(f"<p>{PROSE[language]} {i}. {PROSE[language]} {i + 100}.</p>\n" for i in range(paragraphs))
    links = "".join(f'<li><a href="/{i}">Section {i}</a></li>' for i in range(9))
    teasers = "".join(
        f'<li class="teaser"><a href="/n{i}"><h3>Another story number {i}</h3></a><p>What it is about {i}</p></li>'
        for i in range(6)
    )
    comments = "".join(
        f'<li class="comment"><div class="comment-author">Anna {i} says:</div><div class="comment-content"><p>I was '
        f"there too, in street {i}, and it was worse than that. Much worse, I tell you.</p></div></li>"
        for i in range(5)
    )
    return (
        '<!DOCTYPE html><html><head><title>The flood | News</title><meta name="robots" content="noai"></head><body>'
        '<div class="cookie-banner"><p>We use cookies to make this site better.</p><button>Accept all</button></div>'
        f'<header><nav class="main-nav"><ul>{links}</ul></nav></header>'
        f'<main><article class="article-content"><h1>The flood</h1>{text}{more}</article>'
        '<div class="share-buttons"><a href="/f">Share on Facebook</a> <a href="/t">Tweet</a></div>'
        f'<section class="related"><h2>Related articles</h2><ul>{teasers}</ul></section>'
        '<section id="comments" class="comments"><h2>5 comments</h2>'
        f'<ol class="comment-list">{comments}</ol></section></main>'
        f'<footer class="footer"><ul>{links}</ul><p>Copyright 2026 News, all rights reserved</p></footer></body></html>'
    )


def text_of(html: str, extract: Winnow = EXTRACT) -> str:
    document = extract(page(html))
    assert isinstance(document, Document), document
    return document.text


@pytest.mark.parametrize("language", PROSE)
def test_the_article_without_what_surrounds_it_in_any_script(language: str) -> None:
    text = text_of(article(language))
    lines = text.split("\n")
    assert [line for line in lines if line.startswith(PROSE[language])] == [
        f"{PROSE[language]} {i}. {PROSE[language]} {i + 100}." for i in range(8)
    ]
    for other in ("Section 3", "cookies", "Facebook", "Another story", "Copyright", "Much worse", "Accept all"):
        assert other not in text


def test_lists_code_and_tables_of_the_article_stay() -> None:
    more = (
        "<p>What to do when the water comes, in this order and without delay, as the fire brigade says:</p>"
        "<ul><li>Switch off the power in the cellar, if it is still dry.</li><li>Carry things upstairs first.</li></ul>"
        "<p>The gauge is read by a program of a few lines, which anybody may copy and run at home:</p>"
        "<pre><code>def level(gauge):\n    for value in gauge:\n        print(value)</code></pre>"
        "<p>The levels of the last days, in metres above the mean, were these at the old bridge of the town:</p>"
        "<table><tr><th>Day</th><th>Level</th></tr><tr><td>Monday</td><td>3.1 metres</td></tr></table>"
        f"<p>{PROSE['en']} 7. {PROSE['en']} 8.</p>"
    )
    text = text_of(article(more=more))
    assert "\n- Switch off the power in the cellar, if it is still dry.\n- Carry things upstairs first.\n" in text
    assert "def level(gauge):\n    for value in gauge:\n        print(value)\n" in text
    assert "Monday | 3.1 metres" in text
    assert "3.1 metres" not in text_of(article(more=more), replace(EXTRACT, include_tables=False))


def test_comments_are_an_option() -> None:
    assert "Much worse" in text_of(article(), replace(EXTRACT, include_comments=True))


def test_a_page_gives_the_same_text_in_another_process_and_after_other_pages() -> None:
    html = article("ru")
    alone = text_of(html)
    text_of(article("ja"))
    assert text_of(html) == alone
    code = (
        "import pickle, sys; extract, page = pickle.loads(sys.stdin.buffer.read());"
        "sys.stdout.buffer.write(extract(page).text.encode())"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps((EXTRACT, page(html))), capture_output=True, check=True
    )
    assert found.stdout.decode() == alone


def test_what_the_page_says_about_its_use() -> None:
    more = '<p><a rel="license" href="https://creativecommons.org/licenses/by/4.0/deed.de">CC BY</a></p>'
    for extract in (EXTRACT, Winnow(max_doubt=0.0)):
        document = extract(replace(page(article(more=more)), robots="noindex"))
        assert isinstance(document, Document)
        assert document.robots == "noai, noindex"
        assert document.licence == "https://creativecommons.org/licenses/by/4.0/"


def test_doubt_sends_a_page_to_trafilatura() -> None:
    html = article("en", "<div><p>maybe</p></div>" * 3)
    slow = Trafilatura()(page(html))
    assert isinstance(slow, Document)
    assert Winnow(max_doubt=0.0)(page(html)) == slow
    assert text_of(html) != slow.text  # or the test shows nothing
    tags = html.count("<")
    assert text_of(html, Winnow(max_doubt=0.0, max_slow_tags=tags)) == slow.text
    assert text_of(html, Winnow(max_doubt=0.0, max_slow_tags=tags - 1)) == text_of(html)


def test_a_page_with_its_text_in_json_alone_goes_to_trafilatura() -> None:
    story = json.dumps({"@type": "NewsArticle", "articleBody": f"{PROSE['en']} 1. " * 4})
    html = f'<script type="application/ld+json">{story}</script><div><p>Menu</p></div>'
    assert PROSE["en"] in text_of(html, Winnow())
    assert not isinstance(EXTRACT(page(html)), Document) or PROSE["en"] not in text_of(html)


def test_where_trafilatura_refuses_our_own_text_stays() -> None:
    html = article(more="<div>" * 210 + "<p>deep</p>")
    refused = Trafilatura()(page(html))
    assert isinstance(refused, Drop)
    assert refused.rule == "too_deep"
    assert text_of(html, Winnow(max_doubt=0.0)).startswith("The flood\n")


@pytest.mark.parametrize(
    ("changed", "verdict"),
    [
        ({"status": 404}, Drop("http_status", 404, 200)),
        (
            {"content_type": "image/png"},
            Drop("content_type", "image/png", "text/html application/xhtml+xml text/plain"),
        ),
        ({"body": b"x" * (5 * 1024 * 1024 + 1)}, Drop("too_large", 5 * 1024 * 1024 + 1, 5 * 1024 * 1024)),
        ({"body": b"<p>" * 100_001}, Drop("too_many_tags", 100_001, 100_000)),
        ({"body": b""}, Drop("no_text", 0, 1)),
        ({"body": b"<html><body><script>x</script></body></html>"}, Drop("no_text", 0, 1)),
    ],
)
def test_gates(changed: dict[str, object], verdict: Drop) -> None:
    assert Winnow()(replace(page("<p>x"), **changed)) == verdict  # type: ignore[arg-type]


def test_a_binary_body_is_bad_data() -> None:
    with pytest.raises(DataError, match="binary_body"):
        Winnow()(replace(page(""), body=b"%PDF-1.4 ..."))


def test_plain_text_passes() -> None:
    document = Winnow()(page("One.\r\nTwo.  \n", "text/plain"))
    assert isinstance(document, Document)
    assert document.text == "One.\nTwo."


HOSTILE = {
    "nested": "<div>" * 99_000 + "text",
    "unclosed": "<p>x" * 99_000,
    "attributes": "<a " + " ".join(f"a{i}=b" for i in range(400_000)) + ">text</a>",
    "rows": "<table>" + "<tr><td>1<td>2" * 33_000,
    "entities": "&amp;&#x41;&notanentity;" * 200_000,
    "unclosed tag": "<div class='" + "x " * 2_000_000,
    "NUL": "<p>words and others, as it were, and so on, and on and on\0</p>" * 40_000,
    "words": f'<div class="{"ab " * 1_000_000}">text',
    "one line": "<p>" + "word " * 900_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pages_end_soon(name: str) -> None:
    EXTRACT(page("<p>warm up"))
    began = time.process_time()
    verdict = Winnow(max_doubt=1.0)(page(HOSTILE[name]))
    assert time.process_time() - began < 5
    assert isinstance(verdict, Document | Drop)


def test_a_model_of_the_users_own(tmp_path: Path) -> None:
    shipped = main_text.shipped()
    eager = replace(shipped, threshold=-100.0)
    (tmp_path / main_text.FILE).write_bytes(main_text.to_bytes(eager))
    extract = Winnow(model="extractor-all", max_doubt=1.0)
    assert extract.artifacts() == ("extractor-all",)
    loaded = pickle.loads(pickle.dumps(extract.load({"extractor-all": tmp_path})))
    document = loaded(page(article()))
    assert isinstance(document, Document)
    assert "Copyright 2026" in document.text
    assert Winnow().artifacts() == ()


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.npz"):
        main_text.read(tmp_path)
    for data in (b"", b"PK\3\4 not", main_text.to_bytes(main_text.shipped())[:-200]):
        with pytest.raises(ModelError, match="not a model"):
            main_text.from_bytes(data, "x")


def test_one_byte_that_is_wrong_is_refused_with_one_kind_of_error() -> None:
    data = main_text.to_bytes(main_text.shipped())
    for at in range(0, len(data), len(data) // 100):
        damaged = data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]
        try:
            main_text.from_bytes(damaged, "x")
        except ModelError:
            continue
        # A few bytes of an archive, dates say, mean nothing to its reader.


def test_a_model_of_another_version_is_refused_before_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main_text, "FORMAT", main_text.FORMAT + 1)
    (tmp_path / main_text.FILE).write_bytes(main_text.to_bytes(main_text.shipped()))
    monkeypatch.undo()
    with pytest.raises(ModelError, match="another version"):
        Winnow(model="m").check({"m": tmp_path})
    Winnow().check({})


@pytest.mark.parametrize(
    ("look", "name", "change"),
    [
        ("first", "feature", lambda array: array + 60_000),
        ("second", "left", lambda array: array + 1),
        ("comments", "roots", lambda array: array - 1),
        ("first", "depths", lambda array: array + (1 << 24)),
        ("first", "value", lambda array: array[:-1]),
        ("first", "threshold", lambda array: array.astype(np.float64)),
    ],
)
def test_trees_that_lead_out_of_their_arrays_are_refused(
    look: str, name: str, change: Callable[[NDArray[np.generic]], NDArray[np.generic]]
) -> None:
    shipped = main_text.shipped()
    trees = getattr(shipped, look)
    wild = replace(shipped, **{look: replace(trees, **{name: change(getattr(trees, name))})})
    with pytest.raises(ModelError, match="trees"):
        main_text.from_bytes(main_text.to_bytes(wild), "x")


def test_columns_that_there_are_not_are_refused() -> None:
    shipped = main_text.shipped()
    with pytest.raises(ModelError, match="columns"):
        main_text.from_bytes(main_text.to_bytes(replace(shipped, again=shipped.again + 1000)), "x")


@pytest.mark.parametrize(
    "options", [{"max_doubt": -0.1}, {"max_slow_tags": -1}, {"max_tags": -1}, {"max_bytes": 0}, {"max_bytes": 1 << 30}]
)
def test_options_that_mean_nothing_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(RecipeError, match=next(iter(options))):
        Winnow(**options)  # type: ignore[arg-type]


def test_the_shipped_model_is_its_own_bytes_again() -> None:
    shipped = main_text.shipped()
    data = main_text.to_bytes(shipped)
    assert len(data) < 1 << 20
    assert main_text.to_bytes(main_text.from_bytes(data, "x")) == data


@pytest.mark.parametrize("empty", ["<title/>", '<script src="a.js"/>', "<textarea name='a' />", "<IFRAME/>"])
def test_an_empty_element_of_xhtml_does_not_swallow_the_page(empty: str) -> None:
    html = article().replace("<body>", f"<body>{empty}")
    assert empty in html
    whole = Winnow()(page(article(), "application/xhtml+xml"))
    found = Winnow()(page(html, "application/xhtml+xml"))
    assert isinstance(found, Document)
    assert isinstance(whole, Document)
    assert found.text == whole.text
    as_html = Winnow()(page(html))  # where the slash means nothing
    assert as_html != found
