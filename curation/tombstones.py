"""What has been taken down: pages that no run may keep, by address, by id, or by whole host.

A list is JSON Lines, one tombstone a line: {"url": …}, {"id": …} or {"host": …}. It is sorted, so equal lists are equal
bytes. Addresses are canonical (curation/url.py), so one tombstone covers every way of writing them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from curation.errors import InputError
from curation.url import canonical_url, host, parents

RULE = "taken_down"
# In what is neither this nor a capital, the host of an address stands as it does in the canonical one.
ODD = r"[^!-~]|[%\\\[]"
KINDS = ("url", "id", "host")


@dataclass(frozen=True, slots=True)
class Tombstones:
    """A set of tombstones. `host` covers the host and all below it: `example.org` also `www.example.org`."""

    urls: frozenset[str] = frozenset()  # canonical
    ids: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()

    @classmethod
    def of(cls, urls: Iterable[str] = (), ids: Iterable[str] = (), hosts: Iterable[str] = ()) -> Tombstones:
        """From what a person writes. Raises InputError for what names nothing, and for a whole top-level domain."""
        return cls(
            frozenset(_address(url) for url in urls), frozenset(_id(id) for id in ids), frozenset(map(_host, hosts))
        )

    @classmethod
    def parse(cls, content: bytes, name: str) -> Tombstones:
        """A list; a line that is no JSON object is an address. Raises InputError that names the line."""
        found: dict[str, list[str]] = {kind: [] for kind in KINDS}
        try:
            lines = content.decode("utf-8-sig").split("\n")
        except UnicodeDecodeError:
            raise InputError(f"{name} is not UTF-8") from None
        for number, line in enumerate(map(str.strip, lines), 1):
            if not line or line.startswith("#"):
                continue
            if not line.startswith("{"):
                found["url"].append(line)
                continue
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if not isinstance(row, dict) or len(row) != 1 or not all(isinstance(v, str) for v in row.values()):
                raise InputError(f'{name}, line {number}: a tombstone is {{"url": …}}, {{"id": …}} or {{"host": …}}')
            ((kind, value),) = row.items()
            if kind not in KINDS:
                raise InputError(f"{name}, line {number}: {kind!r} is none of {', '.join(KINDS)}")
            found[kind].append(value)
        try:
            return cls.of(found["url"], found["id"], found["host"])
        except InputError as error:
            raise InputError(f"{name}: {error}") from None

    def to_bytes(self) -> bytes:
        return "".join(f"{json.dumps({kind: value})}\n" for kind, value in self).encode("ascii")

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """(kind, value), sorted."""
        for kind, values in (("host", self.hosts), ("id", self.ids), ("url", self.urls)):
            yield from ((kind, value) for value in sorted(values))

    def __len__(self) -> int:
        return len(self.urls) + len(self.ids) + len(self.hosts)

    def __or__(self, other: Tombstones) -> Tombstones:
        return Tombstones(self.urls | other.urls, self.ids | other.ids, self.hosts | other.hosts)

    def __sub__(self, other: Tombstones) -> Tombstones:
        return Tombstones(self.urls - other.urls, self.ids - other.ids, self.hosts - other.hosts)

    def names(self) -> frozenset[str]:
        """Hosts, lower case: one stands in every address that is covered, unless it is written oddly (`ODD`)."""
        return self.hosts | {host(url) for url in self.urls}

    def covering(self, id: str, url: str) -> list[tuple[str, str]]:
        """The tombstones (kind, value) that cover a document: none if it stands."""
        found = [("id", id)] if id in self.ids else []
        if url and self.urls and (address := canonical_url(url)) in self.urls:
            found.append(("url", address))
        if url and self.hosts:
            found += [("host", name) for name in parents(host(url)) if name in self.hosts]
        return found


def _address(url: str) -> str:
    address = canonical_url(url)
    if not host(url) or not ("://" in url or set(".:") & set(host(url))):  # a lone word is a slip
        raise InputError(f"{url!r} is no address of a page: give it as the shards have it, https://host/path")
    return address


def _id(id: str) -> str:
    if not id:
        raise InputError("an id is not empty")
    return id


def _host(name: str) -> str:
    bare = name.strip().rstrip("/")
    bare = bare.partition("://")[2] or bare
    found = host(bare)
    if not found or set(bare) & set("/?#@\\ "):
        raise InputError(f"{name!r} is no host, such as example.org")
    if "." not in found and ":" not in found:
        raise InputError(f"{name!r} is a whole top-level domain, or the name of one machine")
    return found
