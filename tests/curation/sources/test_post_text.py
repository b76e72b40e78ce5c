from __future__ import annotations

import time

import pytest

from curation.errors import DataError
from curation.sources.post_text import MAX_ATTRIBUTES, MAX_DEPTH, plain_text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("", ""),
        ("no tags", "no tags"),
        ("<p>one</p>\n\n<p>two\nlines</p>\n", "one\n\ntwo lines"),
        ("<p>a <em>b</em> <strong>c</strong><a href='u'>d</a></p>", "a b cd"),
        ("<p>1 &lt; 2 &amp;&amp; &quot;3&quot; &#233; &amp;lt;</p>", '1 < 2 && "3" é &lt;'),
        ("<p>a<br>\nb<br><br>c</p>", "a\nb\n\nc"),
        ("<p><br></p><p><br/>a</p>", "a"),
        ("<h2>Title</h2><p>text</p><hr><p>more</p>", "Title\n\ntext\n\nmore"),
        ("<p>a <!-- hidden --> b</p><script>x</script><style>y</style>", "a b"),
        ("loose text<p>paragraph</p>tail", "loose text\n\nparagraph\n\ntail"),
        ("<div><div><p>deep</p></div>x</div>", "deep\n\nx"),
        ("<a><p>block in link</p></a>", "block in link"),
        ("<p>unclosed <b>tags<p>second", "unclosed tags\n\nsecond"),
        ("<p>a</p></div></div><p>b</p>", "a\n\nb"),
        # code
        (
            "<p>Use:</p>\n\n<pre><code>def f(x):\n    if x &lt; 1:\n\n\n        return '&amp;'\n</code></pre><p>ok</p>",
            "Use:\n\ndef f(x):\n    if x < 1:\n\n\n        return '&'\n\nok",
        ),
        ('<pre class="lang-py prettyprint-override"><code>  first\n\tx</code></pre>', "  first\n\tx"),
        ("<pre><code>\n\n  a\n\n</code></pre>", "  a"),
        ("<pre>a<br>b <b>c</b> d</pre>", "a\nb c d"),
        ("<pre><code> \n </code></pre><p>x</p>", "x"),
        ("<p>call <code>f( x )</code> and <code>&lt;b&gt;</code>.</p>", "call f( x ) and <b>."),
        ("<p>press <kbd>Ctrl</kbd>+<kbd>C</kbd></p>", "press Ctrl+C"),
        # lists
        ("<ul>\n<li>a</li>\n<li>b</li>\n</ul>", "- a\n- b"),
        ("<ol><li>a</li><li>b</li></ol>", "1. a\n2. b"),
        ('<ol start="9"><li>a</li><li>b<br>c</li></ol>', "9. a\n10. b\n    c"),
        ('<ol start="x"><li>a</li></ol>', "1. a"),
        ("<ul><li>a<ul><li>b</li></ul></li><li>c</li></ul>", "- a\n  - b\n- c"),
        ("<ul><li><p>a</p></li><li><p>b</p><pre><code>x\n y</code></pre></li></ul>", "- a\n\n- b\n\n  x\n   y"),
        ("<ul><li></li><li>a</li></ul>", "- a"),
        ("<dl><dt>term</dt><dd>what it is</dd></dl>", "term\n\nwhat it is"),
        # quotations
        ("<blockquote>\n  <p>a</p>\n  <p>b<br>c</p>\n</blockquote><p>d</p>", "> a\n>\n> b\n> c\n\nd"),
        ("<blockquote><blockquote>a</blockquote>b</blockquote>", "> > a\n>\n> b"),
        ("<blockquote></blockquote><p>x</p>", "x"),
        # pictures
        ('<p>see <img src="u" alt="A &amp; B"> here</p>', "see A & B here"),
        ('<p>see</p><p><img src="u" alt="enter image description here"></p><p><img src="u"></p>', "see"),
        ('<p><img src="u" alt="Alt Text"></p>', ""),
        # tables
        (
            "<table><tr><th>A</th><th>B</th></tr><tr>\n<td>1</td><td><i>x</i> y</td></tr><tr><td></td></tr></table>",
            "A | B\n1 | x y",
        ),
        # small and struck print
        ("<p>10<sup>-2</sup> m<sup>2</sup> (a+b)<sup>n</sup></p>", "10^-2 m^2 (a+b)^n"),
        ("<p>the 5<sup>th</sup> <sup>small print</sup> <sup>1</sup> H<sub>2</sub>O</p>", "the 5th small print 1 H2O"),
        ("<p>was <s>100</s> <del>95</del> <strike>93</strike> 90 bytes</p>", "was 90 bytes"),
        # formulas
        ("<p>We have $a_b &lt; c$ and \\(x^2\\).</p>", "We have $a_b < c$ and \\(x^2\\)."),
        (
            "<p>Let\n$$\\begin{align}\n  x &amp;= 1 \\\\\n  y &amp;= 2\n\\end{align}$$\nso</p>",
            "Let\n$$\\begin{align}\n  x &= 1 \\\\\n  y &= 2\n\\end{align}$$\nso",
        ),
        ("<p>in $$a\n b$$ line, costs $$ or $5</p>", "in $$a\n b$$ line, costs $$ or $5"),
    ],
)
def test_plain_text(html: str, text: str) -> None:
    assert plain_text(html) == text


def test_depth() -> None:
    for tags in ("b", "blockquote"):
        nested = f"<{tags}>" * (MAX_DEPTH - 2) + "x"  # <body> and <div> are around it
        assert plain_text(nested).endswith("x")
        for more in (1, 300, 100_000):
            with pytest.raises(DataError, match="too_deep"):
                plain_text(f"<{tags}>" * more + nested)


def test_where_the_parser_stops_nothing_is_lost_silently() -> None:
    for tag in ("pre", "s"):
        with pytest.raises(DataError, match="too_deep"):
            plain_text(f"<{tag}>" + "<b>" * 300 + "</b>" * 300 + f"</{tag}><p>behind</p>")


def test_attributes() -> None:
    def tag(number: int) -> str:
        return f"<p><a {' '.join(f'attribute{n}=1' for n in range(number))}>x</a></p>"

    assert plain_text(tag(MAX_ATTRIBUTES)) == "x"
    with pytest.raises(DataError, match="too_many_attributes"):
        plain_text(tag(MAX_ATTRIBUTES + 1))


@pytest.mark.parametrize(
    "html",
    [
        "<" * 200_000,
        "<p>" * 100_000,
        "&amp;" * 200_000,
        "$$" * 300_000,
        "$$a" * 300_000,
        "<pre>a" + " " * 500_000 + "b</pre>",
        "<p>a" + "&nbsp;" * 100_000 + "b",
        "<p>" + " " * 500_000 + "\n" * 500_000 + "b $$",
        "a<sup>b</sup>" * 40_000,
        "<blockquote>" * 20 + "a<br>" * 50_000,
        "<ul>" * 10 + "<li>x" * 50_000,
        "<table>" + "<tr><td>x" * 50_000,
        "<table><tr><td>" * 12,
        "<!--" * 200_000,
        "x\0y" * 100,
    ],
    ids=lambda html: html[:12],
)
def test_hostile_posts_end_soon(html: str) -> None:
    start = time.process_time()
    plain_text(html)
    assert time.process_time() - start < 5
