"""E-mail addresses and public IP addresses give way to ones that belong to nobody.

FineWeb does so (Penedo et al. 2024, section 3.6), with e-mail addresses of example.com. Its IP addresses are real ones
that did not answer when they were chosen; ours are reserved for documentation (RFC 5737, RFC 3849).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from curation.document import Document, Drop

# Addresses are looked for from their "@" on, and in runs that are never read twice: time is linear in the text.
# Letters beyond ASCII are those of scripts with spaces; a script without them would lend its text to the address.
_LETTERS = "A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u058f"
_DOMAIN = re.compile(rf"@([{_LETTERS}0-9.-]+)")
_LOCAL = re.compile(rf"[{_LETTERS}0-9._%+&'-]")
_TOP = re.compile(rf"[{_LETTERS}]{{2,63}}|xn--[A-Za-z0-9-]{{1,59}}")
_LONGEST_LOCAL = 64  # RFC 5321, section 4.5.3.1.1

_IPV4 = re.compile(r"(?<![0-9A-Za-z_.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9A-Za-z_]|\.[0-9A-Za-z])")
_IPV6 = re.compile(r"(?<![0-9A-Za-z_:.])[0-9A-Fa-f:]{4,39}(?![0-9A-Za-z_:])")
# IANA's registries of special addresses, as of 2024. The standard library's table changes between Python's versions.
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24"),
        *("203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        *("2001::/23", "2001:db8::/32", "3fff::/20"),
    )
)
_PUBLIC_IPV6 = ipaddress.IPv6Network("2000::/3")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pii:
    """Replace e-mail addresses and public IP addresses by placeholders; private and reserved IP addresses stay.

    Four numbers with dots between them cannot be told from an address: a version 1.2.3.4 is replaced as well.
    """

    emails: bool = True
    ips: bool = True
    email: str = "email@example.com"  # FineWeb's
    ipv4: str = "192.0.2.1"
    ipv6: str = "2001:db8::1"

    def __call__(self, document: Document) -> Document | Drop:
        text = document.text
        if self.emails and "@" in text:
            text = _replaced(text, _emails(text), self.email)
        if self.ips:
            text = _IPV6.sub(self._ipv6, text) if ":" in text else text
            text = _IPV4.sub(self._ipv4, text)
        return document if text == document.text else replace(document, text=text)

    def _ipv4(self, match: re.Match[str]) -> str:
        numbers = [int(number) for number in match[0].split(".")]
        if max(numbers) > 255:
            return match[0]
        return self.ipv4 if _is_public(ipaddress.IPv4Address(bytes(numbers))) else match[0]

    def _ipv6(self, match: re.Match[str]) -> str:
        found = match[0]
        candidate = found[:-1] if found.endswith(":") and not found.endswith("::") else found  # a colon of the sentence
        if candidate.count(":") < 2:
            return found
        try:
            address = ipaddress.IPv6Address(candidate)
        except ValueError:
            return found
        return self.ipv6 + found[len(candidate) :] if _is_public(address) else found


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if address.version == 6 and address not in _PUBLIC_IPV6:
        return False
    return not any(address in network for network in _NOT_PUBLIC)


def _emails(text: str) -> Iterator[tuple[int, int]]:
    """Where e-mail addresses begin and end."""
    after = 0
    for match in _DOMAIN.finditer(text):
        domain = match[1].rstrip(".-")
        *labels, top = domain.split(".")
        if not labels or not all(labels) or not _TOP.fullmatch(top):
            continue
        start = match.start()
        while start > max(after, match.start() - _LONGEST_LOCAL) and _LOCAL.match(text, start - 1):
            start -= 1
        while start < match.start() and not text[start].isalnum():
            start += 1
        if start < match.start():
            after = match.start(1) + len(domain)
            yield start, after


def _replaced(text: str, spans: Iterator[tuple[int, int]], placeholder: str) -> str:
    pieces = []
    end = 0
    for start, stop in spans:
        pieces += [text[end:start], placeholder]
        end = stop
    return "".join([*pieces, text[end:]])
