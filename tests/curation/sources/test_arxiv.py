from __future__ import annotations

import base64
import gzip
import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given as samples
from hypothesis import strategies as st

from curation.document import Page
from curation.errors import DataError
from curation.records import Skip
from curation.sources import arxiv
from curation.sources.arxiv import pack, packed_files, paper_id
from curation.sources.given import Value
from tests.curation.archives import given, given_folder, gz, tar

TEX = b"\\documentclass{article}\\begin{document}\\section{x}\\end{document}"


def papers(body: bytes, file: str = "arXiv_src_1202_001.tar") -> list[tuple[str, Value]]:
    """What is read; and the independent count agrees, which is the promise."""
    one = given("arxiv", file, body)
    found = list(arxiv.read(one))
    assert arxiv.count(one) == len(found)
    return found


def kinds(body: bytes) -> dict[str, str]:
    return {
        locator: value.type if isinstance(value, Skip) else value.reason if isinstance(value, DataError) else "page"
        for locator, value in papers(body)
    }


def test_a_tar_as_published() -> None:
    body = tar(
        {
            "1202/1202.0001.gz": gz(tar({"ms.tex": TEX, "fig/a.pdf": b"%PDF", "m.sty": b"s", "ms.bbl": b"b"})),
            "1202/1202.0002.gz": gz(TEX),
            "1202/1202.0003.pdf": b"%PDF-1.4",
            "1202/1202.0004.gz": gz(b"%PDF-1.4"),
            "1202/1202.0005.gz": gz(b"%!PS-Adobe"),
            "1202/1202.0006.gz": gz(b"%auto-ignore\nThis paper has been withdrawn."),
            "1202/1202.0007.gz": gz(tar({"ms.tex": TEX}))[:60],
            "1202/1202.0008.gz": b"\x1f\x8b\x08 no gzip",
            "1202/1202.0009.gz": gz(tar({"a.ps": b"%!", "b.txt.gz": b""})),
            "1202/1202.0010.gz": gz(tar({"../../etc/passwd": b"x", "ms.tex": TEX})),
            "1202/1202.0011.gz": gz(b"<html><body>"),
            "1202/1202.0012.gz": gz(tar({"a.tex": b"x" * (arxiv.MAX_BYTES + 1)})),
            "1202/1202.0013.gz": gz(
                tar({"a.tex": b"x" * (arxiv.MAX_BYTES // 2), "b.tex": b"y" * (arxiv.MAX_BYTES // 2 + 1)})
            ),
            "1202/1202.0014.gz": gz(b""),
        }
    )
    found = kinds(body)
    assert found.pop("1202/1202.0008.gz").startswith("damaged")
    assert list(found.values()) == [
        "page", "page", "pdf", "pdf", "postscript", "withdrawn", "truncated", "postscript", "unsafe_path", "html",
        "too_large", "too_large", "no_tex",
    ]  # fmt: skip


def test_page() -> None:
    big = b"x" * (1 << 20)
    members = {
        "ms.tex": TEX,
        "fig/a.pdf": b"%PDF",
        "m.sty": b"s",
        "sec/one": b"o",
        "big.txt": big,
        "big2.txt": big + b"x",
    }
    (locator, value), *_ = papers(tar({"1202/1202.0001.gz": gz(tar(members))}))
    assert locator == "1202/1202.0001.gz"
    assert isinstance(value, Page)
    assert value.id == "arxiv:arXiv_src_1202_001.tar#1202/1202.0001.gz"
    assert (value.url, value.date) == ("https://arxiv.org/abs/1202.0001", "2012-02-01")
    assert list(packed_files(value.body)) == ["ms.tex", "m.sty", "sec/one", "big.txt"]
    assert packed_files(value.body)["ms.tex"] == TEX
    assert value.digest.startswith("sha1:")
    assert len(value.digest) == 37


def test_the_same_paper_is_the_same_page() -> None:
    """However it was packed, but for the digest, which is of the member as it lies in the dump."""
    paper = tar({"ms.tex": TEX, "a.sty": b"s" * 1000})
    packed = [gzip.compress(paper, level, mtime=mtime) for level, mtime in ((9, 0), (0, 0), (1, 1_300_000_000))]
    assert len(set(packed)) == 3
    pages = []
    for body in packed:
        ((_, value),) = papers(tar({"1202/1202.0001.gz": body}))
        assert isinstance(value, Page)
        assert value.digest == f"sha1:{base64.b32encode(hashlib.sha1(body).digest()).decode()}"
        pages.append(replace(value, digest=""))
    assert pages == [pages[0]] * 3


@pytest.mark.parametrize("cut", [100, 512, 700, 1500])
def test_a_tar_that_breaks_off(cut: int) -> None:
    body = tar({"1202/1202.0001.gz": gz(TEX), "1202/1202.0002.gz": gz(TEX)})
    values = [value for _, value in papers(body[:cut])]
    assert values
    assert all(isinstance(value, Page | DataError | Skip) for value in values)


@pytest.mark.parametrize(
    ("body", "file", "url"),
    [
        (TEX, "1202.0001.tex", "https://arxiv.org/abs/1202.0001"),
        (gz(TEX), "1202.0001.gz", "https://arxiv.org/abs/1202.0001"),
        (gz(tar({"ms.tex": TEX})), "papers/arXiv-1202.0001v3.tar.gz", "https://arxiv.org/abs/1202.0001"),
        (gz(tar({"ms.tex": TEX})), "mine.tar.gz", ""),
    ],
)
def test_one_paper_in_a_file(body: bytes, file: str, url: str) -> None:
    ((locator, value),) = papers(body, file)
    assert locator == "0"
    assert isinstance(value, Page)
    assert value.url == url
    assert list(packed_files(value.body).values()) == [TEX]


def test_folder(tmp_path: Path) -> None:
    (tmp_path / "1202.0001" / "sec").mkdir(parents=True)
    (tmp_path / "1202.0001" / "ms.tex").write_bytes(TEX)
    (tmp_path / "1202.0001" / "sec" / "a.tex").write_bytes(b"a")
    (tmp_path / "1202.0001" / "link.tex").symlink_to("/etc/passwd")
    (tmp_path / "b.tar.gz").write_bytes(gz(tar({"ms.tex": TEX})))
    (tmp_path / "c.tex").write_bytes(TEX)
    (tmp_path / "d.pdf").write_bytes(b"%PDF")
    (tmp_path / "e").mkdir()
    entries = ("1202.0001", "b.tar.gz", "c.tex", "d.pdf", "e")
    folder = given_folder("arxiv", tmp_path)
    found = dict(arxiv.read(folder))
    assert tuple(found) == entries
    assert arxiv.count(folder) == len(entries)
    first = found["1202.0001"]
    assert isinstance(first, Page)
    assert packed_files(first.body) == {"ms.tex": TEX, "sec/a.tex": b"a"}
    assert first.url == "https://arxiv.org/abs/1202.0001"
    assert isinstance(found["b.tar.gz"], Page)
    assert isinstance(found["c.tex"], Page)
    assert (found["d.pdf"], found["e"]) == (Skip("pdf"), Skip("no_tex"))


@pytest.mark.parametrize(
    ("name", "id", "date"),
    [
        ("0704/0704.0001.gz", "0704.0001", "2007-04-01"),
        ("2312/2312.12345v2.gz", "2312.12345", "2023-12-01"),
        ("0001/astro-ph0001001.gz", "astro-ph/0001001", "2000-01-01"),
        ("9912/hep-th9912001.gz", "hep-th/9912001", "1999-12-01"),
        ("9107/hep-th/9107001.gz", "hep-th/9107001", "1991-07-01"),
        ("math.AG0001001.gz", "math/0001001", "2000-01-01"),
        ("arXiv-1202.3665v4.tar.gz", "1202.3665", "2012-02-01"),
        ("0713/0713.0001.gz", "", ""),
        ("paper.tex", "", ""),
        ("1202/note.gz", "", ""),
    ],
)
def test_ids(name: str, id: str, date: str) -> None:
    assert paper_id(name) == (id, date)


@samples(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.binary()))
def test_packing(files: dict[str, bytes]) -> None:
    assert packed_files(pack(files.items())) == files


@pytest.mark.parametrize("body", [b"x", b"1 2", b"1 2\nab", b"1\nab", b"-1 2\nab", b"a b\nab", b"1 1\nab9"])
def test_what_was_not_packed(body: bytes) -> None:
    with pytest.raises(DataError, match="damaged_page"):
        packed_files(body)


def test_a_folder_with_names_that_are_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "papers" / os.fsdecode(b"a\xff")).mkdir(parents=True)
    for name in (b"a\xff/ms\xff.tex", b"b\xff.tex"):
        (tmp_path / "papers" / os.fsdecode(name)).write_bytes(TEX)
    folder = given_folder("arxiv", tmp_path / "papers")
    found = dict(arxiv.read(folder))
    assert list(found) == ["a\\xff", "b\\xff.tex"]
    assert arxiv.count(folder) == 2
    for locator, page in found.items():
        assert isinstance(page, Page)
        assert page.id == f"arxiv:papers#{locator}"
        page.id.encode()
    assert packed_files(found["a\\xff"].body) == {"ms\\xff.tex": TEX}  # type: ignore[union-attr]


def test_a_paper_that_is_called_0(tmp_path: Path) -> None:
    (tmp_path / "1202.0001").mkdir()
    (tmp_path / "1202.0001" / "0").write_bytes(TEX)
    ((locator, page),) = arxiv.read(given_folder("arxiv", tmp_path / "1202.0001"))
    assert isinstance(page, Page)
    assert (locator, page.url) == ("0", "")
