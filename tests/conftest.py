"""No test reaches the network, and every run of the suite draws the same examples."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("winnow", deadline=None, derandomize=True, database=None)
settings.load_profile("winnow")

_LONGEST_NAME = 16  # bytes; the shortest gzip file has 20


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a parameter of many bytes by its argument. gzip and 7z files hold the time of day, and pytest-xdist runs no
    test at all where its workers, a second apart, have other names for one."""
    return argname if isinstance(val, bytes) and len(val) > _LONGEST_NAME else None


_barred = True


def _is_loopback(address: Any) -> bool:
    if not isinstance(address, tuple):
        return True  # a socket of this machine's own file system
    try:
        return address[0] in ("", "localhost") or ip_address(address[0]).is_loopback
    except ValueError:
        return False


def _guarded(connect: Callable[[socket.socket, Any], Any]) -> Callable[[socket.socket, Any], Any]:
    def guarded(self: socket.socket, address: Any) -> Any:
        if _barred and not _is_loopback(address):
            pytest.fail(f"a test tried to connect to {address}: tests use no network")
        return connect(self, address)

    return guarded


@pytest.fixture(scope="session", autouse=True)
def _bar_network() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex"):
            patch.setattr(socket.socket, name, _guarded(getattr(socket.socket, name)))
        yield


@pytest.fixture(autouse=True)
def _unless_marked(request: pytest.FixtureRequest) -> Iterator[None]:
    global _barred
    _barred = request.node.get_closest_marker("network") is None
    yield
    _barred = True
