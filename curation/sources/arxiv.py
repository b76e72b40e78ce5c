"""arXiv's source files: tars of papers, each the gzip of a tar of its files, or of its one file.

As published (`arXiv_src_YYMM_NNN.tar`, members `YYMM/ID.gz` and `YYMM/ID.pdf`), or a folder of papers: subfolders of
TeX files, `.tar.gz`, `.gz`, `.tex`; or one such file. One paper is one Page, its files packed into one body.
"""

from __future__ import annotations

import base64
import hashlib
import os
import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from curation import bundle
from curation.bundle import Member
from curation.document import Page, Skip
from curation.errors import DataError
from curation.sources.given import Given, Value

FOLDERS = True  # a folder is one input, cut between its entries
CONTENT_TYPE = "application/x-tex"
MAX_BYTES = 4 << 20  # of a paper's TeX; a book of 600 pages has 2, what has more holds tables of data
_MAX_OTHER = 1 << 20  # of one file that may or may not be TeX

# What no \input reads as text. Anything else that is small may be a piece of the paper.
_NO_TEX = frozenset(
    """pdf ps eps epsi epsf png jpg jpeg gif tif tiff bmp svg gz z zip tar bz2 xz 7z bbl bib bst cls clo cfg fd dvi aux
    log toc out blg pgf tikz dat csv tsv json xml html htm mp4 avi mov mpg npy npz mat fig nb m py r c h cpp f f90
    java ipynb pfb tfm vf ttf otf pdf_tex pstex pstex_t xlsx xls doc docx rtf odt md hdf5 h5 fits wav mp3 bak
    synctex lof lot ds_store""".split()  # noqa: SIM905
)
_TEX = (".tex", ".ltx", ".latex")
_FORMS = (  # how a paper that is no TeX begins
    (b"%PDF", "pdf"), (b"%!", "postscript"), (b"\x04%!", "postscript"), (b"\xf7\x02", "dvi"),
    (b"<!DOCTYPE", "html"), (b"<!doctype", "html"), (b"<html", "html"), (b"<HTML", "html"), (b"PK\x03\x04", "office"),
)  # fmt: skip
_WITHDRAWN = re.compile(rb"\s*%auto-ignore", re.IGNORECASE)  # what arXiv writes where a paper was

_NEW_ID = re.compile(r"(?:arxiv[-_:]?)?((\d\d)(0[1-9]|1[0-2])\.\d{4,5})(?:v\d+)?", re.IGNORECASE)
_OLD_ID = re.compile(r"(?:arxiv[-_:]?)?([a-z]+(?:-[a-z]+)*)(?:\.[A-Z]{2})?[-_/]?((\d\d)(0[1-9]|1[0-2])\d{3})(?:v\d+)?")
_ENDINGS = re.compile(r"(?:\.(?:tar|tgz|gz|tex|pdf|zip))+\Z")


def read(given: Given) -> Iterator[tuple[str, Value]]:
    """The papers, in stored or sorted order; the locator is a paper's path. See curation.sources.given."""
    if given.folder is not None:
        for number, entry in enumerate(given.entries):
            try:
                locator = bundle.safe_name(os.fsencode(entry).decode("utf-8", "backslashreplace"))
            except DataError as error:
                yield str(number), error
                continue
            yield locator, _of_folder(replace(given, entries=(entry,)), entry, locator)
    elif _is_tar(given):
        for number, member in enumerate(bundle.members(given, _is_paper)):
            yield member.name or str(number), _of_member(given, member)
    else:
        with given.open() as stream:
            body = stream.read(bundle.Limits().member_bytes + 1)
        value = DataError("too_large") if len(body) > bundle.Limits().member_bytes else _of_bytes(given, "0", body)
        yield "0", value


def count(given: Given) -> int:
    """How many papers `read` gives."""
    if given.folder is not None:
        return len(given.entries)
    return bundle.count(given) if _is_tar(given) else 1


def paper_id(name: str) -> tuple[str, str]:
    """arXiv's id of a paper, from its file's path, and its month as YYYY-MM-01; "" where the path has none."""
    folder, _, last = _ENDINGS.sub("", name).rpartition("/")
    if match := _NEW_ID.fullmatch(last):
        return match[1], f"20{match[2]}-{match[3]}-01"
    category = posixpath.basename(folder)
    if match := _OLD_ID.fullmatch(last) or _OLD_ID.fullmatch(f"{category}/{last}"):
        century = "19" if match[3] >= "91" else "20"
        return f"{match[1]}/{match[2]}", f"{century}{match[3]}-{match[4]}-01"
    return "", ""


def pack(files: Iterable[tuple[str, bytes]]) -> bytes:
    """Files as one body: for each a line with the lengths of name and contents, then both."""
    out = []
    for name, body in files:
        encoded = name.encode("utf-8")
        out += [b"%d %d\n" % (len(encoded), len(body)), encoded, body]
    return b"".join(out)


def packed_files(body: bytes) -> dict[str, bytes]:
    """What `pack` packed. Raises DataError(`damaged_page`)."""
    files = {}
    at = 0
    while at < len(body):
        line_end = body.find(b"\n", at, at + 40)
        lengths = body[at:line_end].split(b" ")
        if line_end < 0 or len(lengths) != 2 or not all(length.isdigit() for length in lengths):
            raise DataError("damaged_page", "not the files of a paper")
        name_end = line_end + 1 + int(lengths[0])
        at = name_end + int(lengths[1])
        if at > len(body):
            raise DataError("damaged_page", "files break off")
        files[body[line_end + 1 : name_end].decode("utf-8", "replace")] = body[name_end:at]
    return files


def _is_tar(given: Given) -> bool:
    with given.open() as stream:
        return stream.read(262)[257:] == b"ustar"


def _is_paper(name: str) -> bool:
    return not name.lower().endswith(".pdf")


def _of_member(given: Given, member: Member) -> Value:
    if not isinstance(member.body, bytes):
        return member.body
    if not _is_paper(member.name):
        return Skip("pdf")
    return _of_bytes(given, member.name, member.body)


def _of_folder(given: Given, entry: str, locator: str) -> Value:
    """One entry of a folder: a file like a member of arXiv's tars, or a folder of a paper's files."""
    assert given.folder is not None
    path = given.folder / entry
    if os.path.isdir(path) and not os.path.islink(path):
        inside = (
            replace(member, name=member.name.removeprefix(f"{locator}/"))
            for member in bundle.members(given, _may_be_tex, bundle.Limits(member_bytes=MAX_BYTES))
        )
        return _page(given, locator, inside, b"")
    member = next(bundle.members(given, _is_paper))
    return _of_member(given, replace(member, name=locator))


def _of_bytes(given: Given, name: str, body: bytes) -> Value:
    return _page(given, name, bundle.unpack(body, _may_be_tex, bundle.Limits(member_bytes=MAX_BYTES)), body)


def _may_be_tex(name: str) -> bool:
    last = posixpath.basename(name).lower()
    return "." not in last or last.rpartition(".")[2] not in _NO_TEX or last.startswith("00readme")


def _page(given: Given, locator: str, members: Iterable[Member], archived: bytes) -> Value:
    files: list[tuple[str, bytes]] = []
    total = 0
    forms: set[str] = set()
    for member in members:
        if isinstance(member.body, DataError):
            if member.name and not member.name.endswith(_TEX) and member.body.reason == "too_large":
                continue
            return member.body
        if isinstance(member.body, Skip):
            continue
        name = member.name or "main.tex"
        if not member.name or name.endswith(_TEX):
            if not member.name and (form := _form(member.body)):
                return Skip(form)
        elif not _may_be_tex(name) or len(member.body) > _MAX_OTHER:
            forms.add(posixpath.splitext(name)[1].lower())
            continue
        total += len(member.body)
        if total > MAX_BYTES:
            return DataError("too_large", f"more than {MAX_BYTES} bytes of TeX")
        files.append((name, member.body))
    if not files:
        return Skip(next((form for form in ("pdf", "postscript", "html") if _ENDING_OF[form] & forms), "no_tex"))
    body = pack(files)
    id, date = paper_id(given.file if locator == "0" and given.folder is None else locator)
    return Page(
        id=given.id(locator),
        url=f"https://arxiv.org/abs/{id}" if id else "",
        date=date,
        digest=f"sha1:{base64.b32encode(hashlib.sha1(archived or body).digest()).decode()}",
        status=0,
        content_type=CONTENT_TYPE,
        charset="",
        body=body,
    )


_ENDING_OF = {"pdf": {".pdf"}, "postscript": {".ps", ".eps"}, "html": {".html", ".htm"}}


def _form(body: bytes) -> str:
    """What the only file of a paper is, if it is no TeX."""
    head = body[:1000].lstrip()
    if not head:
        return "no_tex"
    if _WITHDRAWN.match(head):
        return "withdrawn"
    return next((form for begins, form in _FORMS if head.startswith(begins)), "")
