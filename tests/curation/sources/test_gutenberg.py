from __future__ import annotations

import time

import pytest

from curation.sources.gutenberg import Header, body, header, is_gutenberg, without_asides

BOOK = "CHAPTER I\n\nIt was late when the boat came in.\n\n" + "\n".join(f"Line {n} of the story." for n in range(60))
TOP = (
    "The Project Gutenberg EBook of The Boat, by A. Writer\n\nThis eBook is for the use of anyone anywhere at no cost\n"
)
TITLE_FIELD = "Title: The Boat\n\n"
LICENCE = "\n".join(
    f"Section {n}.  Project Gutenberg-tm electronic works are free to copy.\nYou agree.\nYes.\n" for n in range(60)
)
SMALL_PRINT = (
    "***START**THE SMALL PRINT!**FOR PUBLIC DOMAIN ETEXTS**START***\nWhy is this here?\n"
    + "You know: lawyers.\nThe etext is yours.\nNo copyright.\n" * 50
    + "*END THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.12.12.00*END*\n"
)
END = "*** END OF THIS PROJECT GUTENBERG EBOOK THE BOAT ***\n"

ERAS = {
    "2020s": (
        "The Project Gutenberg eBook of The Boat\n    \nThis ebook is for the use of anyone anywhere\n\n"
        + TITLE_FIELD
        + "*** START OF THE PROJECT GUTENBERG EBOOK THE BOAT ***\n\n\n",
        "\n\n*** END OF THE PROJECT GUTENBERG EBOOK THE BOAT ***\n\n" + LICENCE,
    ),
    "2010s": (
        TOP + "\n*** START OF THIS PROJECT GUTENBERG EBOOK THE BOAT ***\n\nProduced by Jane Doe and the Online\n"
        "Distributed Proofreading Team at http://www.pgdp.net\n\n",
        "\n\nEnd of Project Gutenberg's The Boat, by A. Writer\n\n" + END + LICENCE,
    ),
    "no space after the stars": (
        TOP
        + "\n***START OF THE PROJECT GUTENBERG EBOOK THE BOAT***\n\nTranscribed from the 1908 edition by J. Doe\n\n",
        "\n\n***END OF THE PROJECT GUTENBERG EBOOK THE BOAT***\n\n" + LICENCE,
    ),
    "a marker of two lines": (
        TOP + "\n*** START OF THE PROJECT GUTENBERG EBOOK THE BOAT, OR, HOW WE\nALL CAME HOME ***\n\n",
        "\n" + END,
    ),
    "2001: small print in front": (
        "Project Gutenberg Etext of The Boat, by A. Writer\n\nCopyright laws are changing all over the world\n\n"
        + "We need your donations more than ever!\n" * 150
        + "**The Legal Small Print**\n\n\n(Three Pages)\n\n"
        + SMALL_PRINT
        + "\n\nThis etext was prepared by J. Doe, email j@example.org\n\n",
        "\n\n\nEnd of Project Gutenberg Etext of The Boat, by A. Writer\n",
    ),
    "1993": (
        "The Project Gutenberg Etext of The Boat\n\nJanuary, 1993  [Etext #45]\n\n"
        "*****This file should be named boat10.txt or boat10.zip*****\n\n"
        "*SMALL PRINT! for PUBLIC DOMAIN ETEXTS, Edition 1.0*\n"
        + "lawyers\n" * 100
        + "*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*\n\n",
        "\n\nEnd of The Project Gutenberg Etext of The Boat\n",
    ),
    "small print at the end": (
        TOP + "\n***START OF THE PROJECT GUTENBERG EBOOK, THE BOAT***\n\n",
        "\n\n***END OF THE PROJECT GUTENBERG EBOOK, THE BOAT***\n\n" + SMALL_PRINT,
    ),
    "start, then small print": (
        TOP + "\n*** START OF THE PROJECT GUTENBERG EBOOK, THE BOAT ***\n\nProduced by J. Doe\n\n" + SMALL_PRINT + "\n",
        "\n" + END,
    ),
    "no markers in front": (
        "**The Project Gutenberg Etext of The Boat, by A. Writer**\n\n"
        + TITLE_FIELD
        + "Release Date: May 1994 [Etext #9]\n\nPlease take a look at the copyright notice.\n\n",
        "\n\nEnd of the Project Gutenberg Etext of The Boat\n",
    ),
    "no marker behind but the licence": (
        TOP + "\n*** START OF THIS PROJECT GUTENBERG EBOOK THE BOAT ***\n\n",
        "\n*** START: FULL LICENSE ***\n\nTHE FULL PROJECT GUTENBERG LICENSE\n" + LICENCE,
    ),
    "German": (
        TOP + "\n*** START OF THE PROJECT GUTENBERG EBOOK, DAS BOOT ***\n\n",
        "\n\nEnde dieses Projekt Gutenberg Etextes Das Boot\nEnde dieses Project Gutenberg Etextes Das Boot\n",
    ),
    "transcriber's notes at both ends": (
        TOP + "\n*** START OF THIS PROJECT GUTENBERG EBOOK THE BOAT ***\n\n\nE-text prepared by J. Doe\n\n\n"
        "Transcriber's Note: Spelling was kept.\n\n",
        "\n\nTRANSCRIBER'S NOTES:\n\nPage 3: bote changed to boat.\n\nPage 4: a comma.\n\n" + END + LICENCE,
    ),
}


@pytest.mark.parametrize("era", [era for era in ERAS if era != "German"])
def test_what_stands_around_a_book_goes(era: str) -> None:
    before, after = ERAS[era]
    assert body(before + BOOK + after).strip("\n") == BOOK


def test_little_may_follow_the_end_whatever_it_says() -> None:
    before, after = ERAS["1993"]
    rest = "\n\n\n".join(f"An address, line {n}." for n in range(20))
    assert body(before + BOOK + after + rest).strip("\n") == BOOK
    assert body(before + BOOK + after + rest + "\n\nAnd one more.").endswith("And one more.")


def test_an_end_in_german() -> None:
    before, after = ERAS["German"]
    found = body(before + BOOK + after)
    assert found.strip("\n").startswith(BOOK)
    assert "Project Gutenberg" not in found


@pytest.mark.parametrize(
    "text",
    [
        BOOK,
        "",
        "\n\n",
        "one line",
        BOOK + "\n\nHe had read it on Project Gutenberg.\n\n*** END OF THIS PROJECT GUTENBERG EBOOK X ***\n\n" + BOOK,
        BOOK + "\n*** START OF THIS PROJECT GUTENBERG EBOOK X ***\n" + BOOK,
        BOOK + "\n*END*THE SMALL PRINT! it said\n" + BOOK + "\nEnd of Project Gutenberg's X\n",
        "Produced by the state, the book says, was nothing.\n\nAnd so on.",
    ],
)
def test_a_book_without_a_header_loses_nothing(text: str) -> None:
    assert body(text) == text


def test_a_book_that_quotes_the_markers_loses_nothing_but_its_own_header() -> None:
    quote = "\n\nEnd of Project Gutenberg's books?\n\n*** START OF THIS PROJECT GUTENBERG EBOOK Z ***\n\n"
    long = BOOK + "\n" + "And so the story went on for a while.\n" * 900
    book = long + quote + long
    before, after = ERAS["2010s"]
    assert body(before + book + after).strip("\n") == book.strip("\n")


def test_a_far_marker_is_no_header() -> None:
    text = TOP + "\n" + "A line of the book.\n" * 900 + "*** START OF THIS PROJECT GUTENBERG EBOOK X ***\nThe end.\n"
    assert "A line of the book.\n" * 900 in body(text)


def test_a_file_names_gutenberg_among_its_first_lines_or_not_at_all() -> None:
    assert is_gutenberg([*[""] * 50, *["x"] * 14, "Project Gutenberg"])
    assert not is_gutenberg([*["x"] * 15, "Project Gutenberg"])
    assert not is_gutenberg([])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            TOP + "Title: The Boat\n       or, How We Came\n\nAuthor: A. Writer\n\n"
            "Release Date: May 8, 2007  [eBook #3261]\nLanguage: English\n\n"
            "*** START OF THE PROJECT GUTENBERG EBOOK\nTitle: no",
            Header("The Boat or, How We Came", "A. Writer", "English", "2007-05-08", 3261),
        ),
        (
            "Project Gutenberg Etext of X\nRelease Date: June, 2002  [Etext #12]\n[The actual date = 03/02/01]\n",
            Header(date="2002-06-01", number=12),
        ),
        (TOP + "\nMarch, 1994  [Etext #110]\n", Header(date="1994-03-01", number=110)),
        (TOP + "Posting Date: July 26, 2008 [EBook #972]\nRelease Date: 1997\n", Header(date="2008-07-26", number=972)),
        (TOP + "Release Date: 2004-12-31 [E-Book #7]\n", Header(date="2004-12-31", number=7)),
        (TOP + "Release Date: Smarch 41, 2004 [EBook #7]\n", Header(number=7)),
        (TOP + "Release Date: May 41, 2004\nTitle:\n", Header()),
        (TOP + "Title: A\nTitle: B\n", Header(title="A")),
        ("Title: A novel\n\nRelease Date: May 8, 2007 [EBook #1]\n", Header()),
        ("", Header()),
    ],
)
def test_header(text: str, expected: Header) -> None:
    assert header(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\n\n[Illustration]\n\nb", "a\n\n\nb"),
        ("a\n\n[Illustration: A boat, [sic] seen\nfrom the side.]\n\nb", "a\n\n\nb"),
        ("the [Illustration: i] boat", "the boat"),
        ("[Illustration: without an end\n\nb", "[Illustration: without an end\n\nb"),
        ("[Illustrations of life are rare.] b", "[Illustrations of life are rare.] b"),
        ("a [Transcriber's Note: so in the original] b", "a b"),
        ("some [Pg 12]words", "some words"),
        ("some[Pg 12] words", "some words"),
        ("some [Page xiv] words", "some words"),
        ("some[Pg 12]words", "somewords"),
        ("one\n[Pg 12]\ntwo", "one\ntwo"),
        ("one\n[Pg 12] two", "one\ntwo"),
        ("one [Pg 12]\ntwo", "one \ntwo"),
        ("one [12] two [Pg. twelve]", "one [12] two [Pg. twelve]"),
        ("elegant {1} people\n\n{1}  Elegant, I mean.", "elegant {1} people\n\n{1}  Elegant, I mean."),
        (" ".join(f"w{{{n}}} x" for n in range(3, 13)), " ".join("w x" for _ in range(10))),
        (" ".join(f"w{{{n}}} x" for n in range(3, 12)), " ".join(f"w{{{n}}} x" for n in range(3, 12))),
        (" ".join(f"w{{{n}}} x" for n in [*range(20), 19]), " ".join(f"w{{{n}}} x" for n in [*range(20), 19])),
    ],
)
def test_asides(text: str, expected: str) -> None:
    assert without_asides(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "[Illustration " * 100_000,
        "[Illustration " + "[a]" * 300_000,
        "[Illustration: " + "x" * 1_000_000,
        "[Pg " * 300_000,
        " " * 1_000_000 + "[Pg 1]",
        "Project Gutenberg\n" + "End of Project Gutenberg\nx\nx\nx\nx\nx\nx\nx\nx\nx\n" * 30_000,
        "Project Gutenberg\nTitle: x\n" + (" y" * 50 + "\n") * 10_000,
        "Project" + " " * 1_000_000 + "Gutenberg\n***START OF THE PROJECT" + " " * 1_000_000 + "x",
        "Project Gutenberg\n" + "*" * 1_000_000 + "\n" + "Release Date: " + "Jan " * 200_000,
    ],
    ids=["open", "nested", "long", "page", "blanks", "ends", "field", "spaces", "stars"],
)
def test_time_is_in_proportion_to_length(text: str) -> None:
    started = time.process_time()
    without_asides(body(text))
    header(text)
    assert time.process_time() - started < 4
