"""Stack Exchange's dumps: a site's `Posts.xml`, plain or in the published 7z, as one page for each question.

Answers stand far from their question, so posts are sorted by question on disk (`runs.py`). Memory holds one run or one
question, whatever the size of the site. The XML is cut at its `<row` tags before any of it is parsed: a malformed row
costs only itself, every row gives exactly one record, which `count` checks without parsing, and no declaration of an
entity ever reaches the parser.
"""

from __future__ import annotations

import itertools
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from curation.bundle import SEVEN_ZIP_MAGIC, Limits
from curation.document import Page, Skip
from curation.errors import DataError
from curation.sources.given import Given, Merged, Value
from curation.sources.runs import Key, Runs

CONTENT_TYPE = "application/x-stackexchange-question+json"
MAX_ROW_BYTES = 4 << 20  # a post has at most 30,000 characters
MAX_QUESTION_BYTES = 8 << 20  # with all its answers
RUN_BYTES = 64 << 20  # of posts that are sorted in memory

_CHUNK = 1 << 18
_ROW = re.compile(rb"<row[\s/>]")
_LONGEST_TAG = 16  # of those that matter: <row and </posts>
_END = re.compile(rb"</posts\s*>|<posts\s*/>")
_ID = re.compile(rb"\sId=[\"'](\d{1,18})[\"']")
_NUMBER = re.compile(r"-?[0-9]{1,18}")
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?")
_HOST = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")
_LICENCE = re.compile(r"CC BY-SA (\d\.\d)")

# The other files of a dump; Stack Overflow's are published as one 7z each.
_OTHER_TABLES = frozenset({"badges", "comments", "posthistory", "postlinks", "tags", "users", "votes"})
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_SPOILING = frozenset({"damaged_7z", "bomb"})
_QUESTION, _ANSWER = "1", "2"
_OTHER_POSTS = {  # PostTypeId, by the schema that is published with the dumps
    "3": "wiki",
    "4": "tag_wiki_excerpt",
    "5": "tag_wiki",
    "6": "moderator_nomination",
    "7": "wiki_placeholder",
    "8": "privilege_wiki",
}


@dataclass(frozen=True, slots=True)
class _Post:
    key: Key  # (id of the question, 0 for itself and 1 for an answer)
    data: bytes  # JSON


def read(given: Given) -> Iterator[tuple[str, Value]]:
    """(post id, what it is) for each row: as many as `count` counts; "0" where no id could be read.

    First, in the order of the file, what is no part of a question: rows that cannot be read, and those skipped by type
    (`tag_wiki`, `moderator_nomination` …). Then the questions by ascending id, each before its answers, which are
    Merged; an answer whose question is not there is Skip(`orphan_answer`). A file of another table (Users.xml) is one
    Skip(`other_table`). Where the checksum of a 7z is wrong any text may be another, so all posts are that error.
    """
    if _is_other_table(given.file):
        yield "0", Skip("other_table")
        return
    if not site_name(given.file):
        yield "0", DataError("no_site", "which site it is, SITE/Posts.xml or SITE.7z say: give the folder above")
        return
    spoilt: DataError | None = None
    with closing(Runs(RUN_BYTES)) as runs:
        for row, error in _rows(given):
            if error is not None and error.reason in _SPOILING:
                spoilt = error
            try:
                value = error or _post(row)
            except DataError as flaw:
                value = flaw
            if isinstance(value, _Post):
                runs.add(value.key, value.data)
            else:
                yield _locator(row), value
        for _, posts in itertools.groupby(runs.sorted(), key=lambda record: record[0][0]):
            yield from _question(given, posts, spoilt)


def count(given: Given) -> int:
    """How many records `read` must give: `<row` tags, and one more if the file breaks off outside a row."""
    if _is_other_table(given.file) or not site_name(given.file):
        return 1
    found = 0
    rest = last = tail = b""  # bytes that a tag may begin in; the last tag; how the bytes end
    broken = False
    try:
        with _xml(given) as chunks:
            for chunk in chunks:
                data = rest + chunk
                found += sum(1 for _ in _ROW.finditer(data))
                at = data.rfind(b"<")
                last = (last + chunk if at < 0 else data[at:])[:_LONGEST_TAG]
                tail = _tail(tail + chunk)
                rest = data[-len(b"<row") :]
    except DataError:
        broken = True
    if _ROW.match(last):
        return found + tail.startswith(b"/>")
    return found + (broken or not _END.match(last))


def site_name(file: str) -> str:
    """`math.stackexchange.com`: from `SITE.7z`, `SITE-Posts.7z` or `SITE/Posts.xml`; "" if there is no host name."""
    *folders, name = file.lower().split("/")
    stem = re.sub(r"\.(7z|xml)$", "", name)
    if stem == "posts":
        stem = folders[-1] if folders else ""
    stem = stem.removesuffix("-posts")
    return stem if _HOST.fullmatch(stem) else ""


def _is_other_table(file: str) -> bool:
    stem = re.sub(r"\.(7z|xml)$", "", file.lower().rpartition("/")[2])
    return stem.rpartition("-")[2] in _OTHER_TABLES


def _is_posts(name: str) -> bool:
    return name.lower().rpartition("/")[2] == "posts.xml"


# The rows of a file


@contextmanager
def _xml(given: Given) -> Iterator[Iterator[bytes]]:
    """The bytes of Posts.xml. They raise DataError where they break off, as does this where there are none."""
    with given.open() as stream:
        packed = stream.read(len(SEVEN_ZIP_MAGIC)) == SEVEN_ZIP_MAGIC
        stream.seek(0)
        if packed:
            from curation import seven_zip  # only those who read 7z need py7zr

            with seven_zip.open_member(stream, _is_posts, Limits()) as chunks:
                yield chunks
        elif given.file.lower().endswith(".7z"):
            raise DataError("damaged_7z", "no 7z archive")
        else:
            yield iter(lambda: stream.read(_CHUNK), b"")


def _rows(given: Given) -> Iterator[tuple[bytes, DataError | None]]:
    """Each row, from `<row` to the next `<`, which no attribute can hold; then, if the file breaks off, (b"", why)."""
    rest = b"\0"  # what follows the last `<`; at first no tag at all
    given_up = False  # it is too large, and was handed out as that
    broken: DataError | None = None
    try:
        with _xml(given) as chunks:
            for chunk in chunks:
                *pieces, rest = (rest + chunk).split(b"<")
                for piece in pieces:
                    if not given_up and _ROW.match(b"<" + piece[:_LONGEST_TAG]):
                        yield b"<" + piece, None
                    given_up = False
                if given_up or len(rest) > MAX_ROW_BYTES:
                    if not given_up and _ROW.match(b"<" + rest):
                        yield b"<" + rest, DataError("too_large", f"more than {MAX_ROW_BYTES} bytes")
                    given_up = True
                    rest = rest[:_LONGEST_TAG] + _tail(rest[_LONGEST_TAG:])
    except DataError as error:
        broken = error
    tag = b"<" + rest
    if _ROW.match(tag):
        whole = _tail(tag).startswith(b"/>")
        if not given_up:
            yield tag, None if whole else broken or DataError("truncated", "the file ends in a row")
        if not whole:
            return
    elif broken is None and _END.match(tag):
        return
    yield b"", broken or DataError("truncated", "the file ends before </posts>")


def _tail(data: bytes) -> bytes:
    """The last two bytes that are not blank, and a blank if one follows."""
    filled = data.rstrip()
    return filled[-2:] + data[len(filled) :][:1]


def _locator(row: bytes) -> str:
    match = _ID.search(row)
    return str(int(match.group(1))) if match else "0"


def _post(row: bytes) -> _Post | Skip:
    """What a question's page is made of. Raises DataError: `malformed_xml`, `malformed_row`."""
    try:
        fields = ET.fromstring(row).attrib
    except (ET.ParseError, ValueError) as error:
        raise DataError("malformed_xml", str(error)) from None
    kind = fields.get("PostTypeId", "")
    if kind not in (_QUESTION, _ANSWER):
        if not _NUMBER.fullmatch(kind):
            raise DataError("malformed_row", "no PostTypeId")
        return Skip(_OTHER_POSTS.get(kind, "other_post"))
    id = _number(fields, "Id")
    licence = _LICENCE.fullmatch(fields.get("ContentLicense", ""))
    post = {
        "id": id,
        "score": _number(fields, "Score", 0),
        "licence": f"https://creativecommons.org/licenses/by-sa/{licence[1]}/" if licence else "",
        "body": fields.get("Body", ""),
    }
    if kind == _ANSWER:
        return _Post((_number(fields, "ParentId"), 1), _json(post))
    date = fields.get("CreationDate", "")
    post |= {
        "title": fields.get("Title", ""),
        "accepted": _number(fields, "AcceptedAnswerId", 0),
        "date": f"{date}Z" if _DATE.fullmatch(date) else "",
    }
    return _Post((id, 0), _json(post))


def _number(fields: dict[str, str], name: str, default: int | None = None) -> int:
    value = fields.get(name, "" if default is None else str(default))
    if not _NUMBER.fullmatch(value) or (int(value) < 0 and name != "Score"):
        raise DataError("malformed_row", f"{name}={value[:40]!r}")
    return int(value)


def _json(value: object) -> bytes:
    return _ENCODER.encode(value).encode("utf-8")


def _id(post: bytes) -> str:
    """The id of a post in JSON, which is its first field."""
    return post[len(b'{"id":') : post.index(b",")].decode("ascii")


# The questions


def _question(
    given: Given, posts: Iterator[tuple[Key, bytes]], spoilt: DataError | None
) -> Iterator[tuple[str, Value]]:
    """The records of the posts that have one question's id: its page first, then its answers; or all `spoilt`."""
    question: bytes | None = None
    answers: dict[str, bytes] = {}  # by id
    size = 0
    for (_, is_answer), data in posts:
        locator = _id(data)
        if spoilt is not None:
            yield locator, spoilt
        elif not is_answer and question is None:
            question, size = data, len(data)
        elif question is None:
            yield locator, Skip("orphan_answer")
        elif not is_answer or locator in answers:
            yield locator, DataError("duplicate_id", "another row has this id")
        else:
            size += len(data)
            answers[locator] = data if size <= MAX_QUESTION_BYTES else b""
    if question is None:
        return
    fields = json.loads(question)
    locator = _id(question)
    if size > MAX_QUESTION_BYTES:
        error = DataError("too_large", f"a question of {size} bytes with its answers")
        yield locator, error
        yield from ((answer, error) for answer in answers)
        return
    site = site_name(given.file)
    yield (
        locator,
        Page(
            id=given.id(locator),
            url=f"https://{site}/questions/{locator}" if site else "",
            date=fields["date"],
            digest="",
            status=0,
            content_type=CONTENT_TYPE,
            charset="utf-8",
            body=b'{"site":%b,"question":%b,"answers":[%b]}' % (_json(site), question, b",".join(answers.values())),
            title=fields["title"],
            licence=fields["licence"],
        ),
    )
    yield from ((answer, Merged()) for answer in answers)
