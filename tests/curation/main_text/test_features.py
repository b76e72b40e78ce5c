"""Features against what the page says, and against slow code that computes the same from the definition."""

from __future__ import annotations

import numpy as np
import pytest

from curation.main_text import context, elements
from curation.main_text.characters import FIRST_WORDS
from curation.main_text.features import NAMES, Features, features
from curation.main_text.scan import Scan, scan
from curation.main_text.tags import hash_word
from curation.main_text.vocabulary import CATEGORIES, TEXT_CATEGORIES, hash_text_word, vocabulary

NOTHING = vocabulary({}, {})
PAGE = (
    "<html><head><title>The flood of March - Daily News</title></head><body>"
    '<header class="site-header"><nav><ul><li><a href=/>Home</a><li><a href=/a>About us</a></ul></nav></header>'
    '<article class="post articleBody"><h1>The flood of March</h1>'
    "<p>The river rose in the night, and by morning the lower town was under water. Nobody was hurt, they said.</p>"
    "<p>In <b>1999</b> it had been the same, “only worse”, as <a href=/w>those who saw it</a> remember. It was!</p>"
    "<ul><li>Houses: 12<li>Cars: 30</ul><p>Read also: <a href=/x>The storm of April</a></p></article>"
    '<aside id="sidebar"><p><a href=/1>One more thing to read</a></p><p><a href=/2>And another one</a></p></aside>'
    '<footer class="siteFooter">© 2026 Daily News</footer></body></html>'
)


def block(page: Scan, text: str) -> int:
    return next(n for n in range(len(page.block_element)) if text in page.block_text(n))


def of(html: str, text: str, known: object = NOTHING) -> dict[str, float]:
    page = scan(html)
    found = features(page, known)  # type: ignore[arg-type]
    return dict(zip(NAMES, found.rows[block(page, text)].tolist(), strict=True))


def test_names_are_those_of_the_columns() -> None:
    assert len(set(NAMES)) == len(NAMES)
    found = features(scan(PAGE), NOTHING)
    assert found.rows.shape == (len(scan(PAGE).block_element), len(NAMES))
    assert np.isfinite(found.rows).all()


def test_characters() -> None:
    text = "In 1999 it had been the same, “only worse”, as those who saw it remember. It was!"
    row = of(PAGE, "1999")
    expected = {
        "length": len(text), "words": 17, "commas": 2, "sentences": 1, "ends_sentence": 1, "quotes": 2, "links": 1,
        "longest_word": 8, "hidden": 0, "copies": 1, "dense": 0, "first": 3, "last": 4, "copyright": 0,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    assert row["digits"] == pytest.approx(4 / len(text))
    assert row["capitals"] == pytest.approx(2 / len(text))
    assert row["linked"] == pytest.approx(17 / len(text.encode()))
    assert row["emphasised"] == pytest.approx(4 / len(text.encode()), abs=0.02)
    assert of(PAGE, "Daily News")["copyright"] == 1
    assert of(PAGE, "The flood of March")["in_title"] == 1
    assert of(PAGE, "The flood of March")["of_title"] == pytest.approx(4 / 6)
    assert of(PAGE, "Houses")["ends_sentence"] == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("नमस्ते दुनिया, यह एक वाक्य है।", 6),
        ("نص عربي قصير، وهذه جملة؟", 5),
        ("Это предложение, и оно короткое.", 5),
        ("이것은 짧은 문장입니다.", 3),
        ("これは短い文章です。", pytest.approx(1 + 0.4 * 9)),
        ("ภาษาไทยไม่มีช่องว่าง!", pytest.approx(1 + 0.4 * 16, abs=2)),
    ],
)
def test_any_script_has_words_and_ends_its_sentences(text: str, words: float) -> None:
    row = of(f"<p>{text}</p>", text)
    assert row["words"] == words
    assert row["ends_sentence"] == 1


def test_what_is_announced() -> None:
    row = of(PAGE, "Read also")
    assert (row["read_at"], row["also_at"], row["comment_at"]) == (0, 1, FIRST_WORDS)
    assert all(f"{name}_at" in NAMES for name in TEXT_CATEGORIES)


def test_tags_and_class_words_around() -> None:
    row = of(PAGE, "About us")
    assert (row["to_li"], row["to_ul"], row["to_nav"], row["to_header"], row["to_article"]) == (
        0,
        1,
        2,
        3,
        elements.FAR,
    )
    assert row["to_navigation_word"] == 3  # "header" of the <header>
    assert of(PAGE, "The river")["to_content_word"] == 1
    assert of(PAGE, "One more")["to_side_word"] == 1
    assert of(PAGE, "2026")["to_footer_word"] == 0  # siteFooter is two words
    assert all(f"to_{name}_word" in NAMES for name in CATEGORIES)


def test_learned_words() -> None:
    known = vocabulary({hash_word("post"): 2.0, hash_word("article"): -1.0, hash_word("sidebar"): -3.0}, {})
    river = of(PAGE, "The river", known)
    assert (river["nearest_word"], river["to_nearest_word"], river["most_word"], river["least_word"]) == (2, 1, 2, 0)
    assert of(PAGE, "One more", known)["least_word"] == -3
    assert of(PAGE, "About us", known)["to_nearest_word"] == 99
    spoken = vocabulary({}, {hash_text_word("houses"): -1.5, hash_text_word("12"): 0.5})
    houses = of(PAGE, "Houses", spoken)
    names = ("first_odds", "least_odds", "most_odds", "mean_odds")
    assert [houses[name] for name in names] == [-1.5, -1.5, 0.5, -0.5]


def random_page(seed: int) -> str:
    drawn = np.random.default_rng(seed)
    names, parts, is_open = ["div", "p", "ul", "li", "section", "article", "table", "span"], [], []
    for _ in range(300):
        what = drawn.integers(0, 5)
        if what == 0 and is_open:
            parts.append(f"</{is_open.pop()}>")
        elif what < 3:
            is_open.append(names[drawn.integers(0, len(names))])
            parts.append(f'<{is_open[-1]} class="c{drawn.integers(0, 3)} nav">')
        else:
            words = " ".join(["word", "Other,", "12", "end."][i] for i in drawn.integers(0, 4, drawn.integers(1, 40)))
            parts.append(f"<a href=x>{words}</a>" if drawn.integers(0, 3) == 0 else words)
    return "".join(parts)


@pytest.mark.parametrize("seed", range(4))
def test_containers_repetitions_and_runs_are_those_of_their_definitions(seed: int) -> None:
    page = scan(random_page(seed))
    found = features(page, NOTHING)
    rows = found.rows.astype(np.float64)
    column = {name: rows[:, number] for number, name in enumerate(NAMES)}
    parent, end, element = page.parent, page.end, page.block_element
    sums = elements.running_sums(found.rows)
    for e in range(len(parent)):
        inside = np.flatnonzero((element >= e) & (element < end[e]))
        expected = (inside[0], inside[-1] + 1) if len(inside) else (len(element), -1)
        assert (found.first[e], found.last[e]) == expected
    words = [tuple(page.words[a:z].tolist()) for a, z in zip(page.word_from, page.word_to, strict=True)]
    style = [(int(page.tag[e]), words[e]) for e in range(len(parent))]
    for b, e in enumerate(element):
        around = parent[e]
        if around < 0:
            assert column["parent_length"][b] == -1
            continue
        within = np.flatnonzero((element >= around) & (element < end[around]))
        inside = np.zeros(len(element), np.bool_)
        inside[within[0] : within[-1] + 1] = True
        length = column["length"][inside].sum()
        assert column["parent_length"][b] == pytest.approx(length)
        assert column["parent_blocks"][b] == inside.sum()
        linked = (column["length"] * column["linked"])[inside].sum()
        assert column["parent_linked"][b] == pytest.approx(linked / length, rel=1e-5)
        alike = [x for x in range(len(parent)) if parent[x] == around and style[x] == style[e]]
        assert column["like_it"][b] == len(alike)
        assert column["like_it_before"][b] == sum(x < e for x in alike)
        same = [x for x in element if style[x] == style[e] and style[parent[x]] == style[around]]
        assert column["style_blocks"][b] == len(same)
        texts = [page.block_text(x) for x in range(len(element))]
        assert column["copies"][b] == texts.count(texts[b])
    worths = [(sums[z, 4] - sums[a, 4], a, z) for a in range(len(element)) for z in range(a + 1, len(element) + 1)]
    first, last = elements.best_run(sums[:, 4])
    best = max(worths)[0]
    assert (sums[last, 4] - sums[first, 4]) == pytest.approx(max(best, 0), abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_the_nearest_common_element(seed: int) -> None:
    page = scan(random_page(seed))
    drawn = np.random.default_rng(seed)
    for _ in range(200):
        a, b = drawn.integers(0, len(page.parent), 2).tolist()
        above_b = {b}
        x = b
        while page.parent[x] >= 0:
            x = int(page.parent[x])
            above_b.add(x)
        levels, x = 0, a
        while x not in above_b:
            levels, x = levels + 1, int(page.parent[x])
        assert elements.levels_up(a, b, page.parent, page.end) == (levels, x)


def second(page: Scan, found: Features, scores: list[float]) -> dict[str, list[float]]:
    rows = context.context(page, found, np.array(scores))
    return dict(zip(context.NAMES, rows.T.tolist(), strict=True))


def test_the_second_look_sees_the_first_scores_around() -> None:
    page = scan("<div><p>aaaa</p><p>bbbb</p></div><section><p>cccc</p></section><p>dddd</p>")
    rows = second(page, features(page, NOTHING), [0.9, 0.8, 0.2, 0.1])
    assert rows["score"] == pytest.approx([0.9, 0.8, 0.2, 0.1])
    assert rows["score_before1"] == pytest.approx([-1, 0.9, 0.8, 0.2])
    assert rows["score_after1"] == pytest.approx([0.8, 0.2, 0.1, -1])
    assert rows["parent_score"][:3] == pytest.approx([0.85, 0.85, 0.2])
    assert rows["page_text_score"] == pytest.approx([0.5] * 4)
    assert rows["best_inside"] == [1, 1, 0, 0]
    assert rows["run_inside"] == [1, 1, 0, 0]
    assert rows["to_best_run"] == [0, 0, 1, 2]
    assert rows["best_block_score"] == pytest.approx([0.9] * 4)


def test_a_page_gives_the_same_rows_again_and_after_others() -> None:
    first = features(scan(PAGE), NOTHING).rows.tobytes()
    features(scan(random_page(7)), NOTHING)
    assert features(scan(PAGE), NOTHING).rows.tobytes() == first
