from __future__ import annotations

import numpy as np
import pytest

from curation.main_text.render import render
from curation.main_text.scan import scan


def text_of(html: str, *without: str) -> str:
    page = scan(html)
    kept = [not any(word in page.block_text(number) for word in without) for number in range(len(page.block_element))]
    return render(page, np.array(kept, np.bool_))


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>One.<p>Two <b>bold</b>.", "One.\nTwo bold."),
        ("<h1>Title</h1><p>Text.</p>", "Title\nText."),
        ("<ul><li>one<li>two</ul>", "- one\n- two"),
        ("<ol><li><p>one</p><p>more of it</p></li><li>two</li></ol>", "- one\nmore of it\n- two"),
        ("<ul><li>one<ul><li>inner</ul><li>two</ul>", "- one\n- inner\n- two"),
        ("<p>a<br>b</p>", "a\nb"),
        ("<pre>for x in y:\n    print(x)\n\n    return\n</pre>", "for x in y:\n    print(x)\n\n    return"),
        ("<table><tr><th>Name<th>Age<tr><td>Ann<td>7</table>", "Name | Age\nAnn | 7"),
        ("<table><tr><td>a<td>b</table><table><tr><td>c<td>d</table>", "a | b\nc | d"),
        ("<table><tr><td><p>One.</p><p>Two.</p><td>side</table>", "One.\nTwo.\nside"),  # a table of layout
        (f"<table><tr><td>{'long ' * 90}<td>side</table>", "long " * 89 + "long\nside"),
        ("<dl><dt>word<dd>meaning</dl>", "word\n- meaning"),
        ("<blockquote>He said.</blockquote>", "He said."),
        ("<p>日本語の文章です。<p>نص عربي", "日本語の文章です。\nنص عربي"),
        ("", ""),
    ],
)
def test_blocks_to_text(html: str, text: str) -> None:
    assert text_of(html) == text


def test_what_is_not_kept_leaves_no_trace() -> None:
    html = "<p>One.</p><p>drop me</p><ul><li>a</li><li>drop me</li><li>b</li></ul>"
    assert text_of(html, "drop") == "One.\n- a\n- b"
    assert text_of("<table><tr><td>a<td>drop<td>c</table>", "drop") == "a | c"
    assert text_of(html, "One", "drop", "a", "b") == ""


def test_an_item_whose_first_block_is_gone_is_still_marked() -> None:
    assert text_of("<ul><li><p>drop</p><p>rest</p></li></ul>", "drop") == "- rest"
