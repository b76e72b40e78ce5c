"""One name for one page: URLs that differ only in how they are written have one canonical form.

Nothing here raises: what is no URL is its own canonical form, and has no host.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import unicodedata
from functools import lru_cache
from urllib.parse import unquote

import idna

_PARTS = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]*):)?//([^/?#]*)([^?#]*)(?:\?([^#]*))?", re.DOTALL)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?!\d)")  # what follows a host's ":" is a port
_BLANK = re.compile(r"[\t\n\r]")
_WWW = re.compile(r"\A(?:www\.)+(?=[^.]+\.)")
_SESSION = re.compile(r";jsessionid=[^/;]*", re.IGNORECASE)
_LONGEST_HOST = 253  # RFC 1035; longer ones are not looked at closely

# RFC 3986, section 2.3: escapes of these mean the characters themselves. What may stand bare besides them: section 3.3.
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_ESCAPED = re.compile(r"%[0-9A-Fa-f]{2}|[^A-Za-z0-9\-._~!$&'()*+,;=:@/?]")

# Query parameters that say how a visitor came, not which page it is: of advertisers, newsletters and social networks.
TRACKING = frozenset(
    {
        *("fbclid", "gclid", "gclsrc", "dclid", "gbraid", "wbraid", "msclkid", "yclid", "twclid", "ttclid", "igshid"),
        *("li_fat_id", "mc_cid", "mc_eid", "_ga", "_gl", "_hsenc", "_hsmi", "__hssc", "__hstc", "__hsfp", "mkt_tok"),
        *("oly_anon_id", "oly_enc_id", "vero_id", "wickedid", "s_cid", "phpsessid", "jsessionid"),
    }
)
TRACKING_PREFIXES = ("utm_", "pk_", "mtm_", "hsa_")


def canonical_url(url: str) -> str:
    """The key of a page, `host[:port]/path[?query]`: equal for addresses that differ in writing alone.

    Left out: scheme, user, ports 80 and 443, `www.`, fragment, slashes at the end, dot segments, `;jsessionid=`, and
    the query's tracking parameters. The host is lower case and IDNA; escapes are those that RFC 3986 (section 6.2.2)
    calls normal; parameters are ordered by name. The path keeps its case.
    """
    split = _split(url)
    if split is None:
        return url.strip()
    authority, path, query = split
    name, port = _host_and_port(authority)
    if not name:
        return url.strip()
    name = _WWW.sub("", name)
    name = f"[{name}]" if ":" in name else name
    port = f":{port}" if port not in ("", "80", "443") else ""
    query = _canonical_query(query)
    return f"{name}{port}{_canonical_path(path)}{'?' if query else ''}{query}"


def host(url: str) -> str:
    """The host in lower case and ASCII (IDNA), without user, port and final dot; "" where there is none.

    An IPv6 address has no brackets and is in its short form. `url` may lack its scheme.
    """
    split = _split(url)
    return _host_and_port(split[0])[0] if split else ""


def registered_domain(url: str) -> str:
    """The part of the host that somebody registered (`example.co.uk`), by the Public Suffix List.

    Suffixes of companies (`blogspot.com`) count, as each name below them is somebody else's. A suffix that is not on
    the list is its last label. An IP address, a single label and a suffix are themselves.
    """
    return _registered(host(url))


def parents(name: str) -> tuple[str, ...]:
    """A host and the domains above it, from the longest: `a.b.example` gives itself, `b.example` and `example`."""
    if not name:
        return ()
    if is_ip(name) or len(name) > _LONGEST_HOST:
        return (name,)
    labels = name.split(".")
    return tuple(".".join(labels[at:]) for at in range(len(labels)))


def is_ip(name: str) -> bool:
    """Is the host an IP address rather than a name?"""
    if not (name[-1:].isdigit() or ":" in name):
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def readable_url(url: str) -> str:
    """Host, path and query as a reader sees them: lower case, escapes and punycode undone; "" for what is no URL."""
    split = _split(url)
    if split is None:
        return ""
    authority, path, query = split
    name = _host_and_port(authority)[0]
    if "xn--" in name:
        with contextlib.suppress(idna.IDNAError):
            name = idna.decode(name)
    return unquote(f"{name}{path}{'?' if query else ''}{query}").lower()


@lru_cache(maxsize=4096)
def _registered(name: str) -> str:
    if "." not in name or is_ip(name):
        return name
    from tld import get_fld  # reads its list, 0.1 s; only for those who ask

    found = get_fld(f"http://{name}", fail_silently=True, search_private=True)
    return found or ".".join(name.split(".")[-2:])


def _split(url: str) -> tuple[str, str, str] | None:
    """Authority, path and query; None for what has no authority, and for an empty one."""
    url = _BLANK.sub("", url.strip())
    head, mark, tail = url.partition("?")
    url = head.replace("\\", "/") + mark + tail  # as browsers do
    match = _PARTS.match(url)
    if match is None and not _SCHEME.match(url):
        match = _PARTS.match(f"//{url}")
    if match is None or not match[2]:
        return None
    return match[2], match[3], match[4] or ""


def _host_and_port(authority: str) -> tuple[str, str]:
    authority = authority.rpartition("@")[2]
    if authority.startswith("["):
        name, _, port = authority[1:].partition("]")
        return _canonical_ipv6(name), port.removeprefix(":")
    name, _, port = authority.partition(":")
    return _canonical_name(name), port.lstrip("0") if port.isdecimal() else port


def _canonical_ipv6(name: str) -> str:
    try:
        return str(ipaddress.IPv6Address(name))
    except ValueError:
        return ""


@lru_cache(maxsize=4096)
def _canonical_name(name: str) -> str:
    name = unquote(name)
    if not name.isascii():
        name = unicodedata.normalize("NFKC", name.lower())
        if len(name) <= _LONGEST_HOST:
            with contextlib.suppress(idna.IDNAError):  # nobody can have registered it: its own name will do
                name = idna.encode(name, uts46=True).decode("ascii")
    return name.lower().strip(".")


def _canonical_path(path: str) -> str:
    path = _ESCAPED.sub(_normal_escape, _SESSION.sub("", path)).replace("?", "%3F")
    if "/." in path:
        segments: list[str] = []
        for segment in path.split("/")[1:]:
            if segment == "..":
                del segments[-1:]
            elif segment != ".":
                segments.append(segment)
        path = "/" + "/".join(segments)
    return path.rstrip("/") or "/"


def _canonical_query(query: str) -> str:
    if not query:
        return ""
    parameters = [(item.partition("=")[0], item) for item in _ESCAPED.sub(_normal_escape, query).split("&") if item]
    kept = [(name, item) for name, item in parameters if not _tracks(name.lower())]
    return "&".join(item for _, item in sorted(kept, key=lambda pair: pair[0]))


def _tracks(name: str) -> bool:
    return name in TRACKING or name.startswith(TRACKING_PREFIXES)


def _normal_escape(match: re.Match[str]) -> str:
    found = match[0]
    if len(found) == 3:
        code = int(found[1:], 16)
        return chr(code) if code in _UNRESERVED else found.upper()
    return "".join(f"%{byte:02X}" for byte in found.encode("utf-8", "surrogatepass"))
