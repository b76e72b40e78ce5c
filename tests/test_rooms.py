"""The shape of the tree: who may import whom, and how large and how named a file may be."""

from __future__ import annotations

import ast
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("curation", "models", "pipelines", "trainer")
FILES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
NAMES = [path.relative_to(ROOT).as_posix() for path in FILES]

# Rooms and modules of ours that a room may import besides its own, and what it alone may import from elsewhere.
SEES = {
    "curation": (),
    "models": ("curation",),
    "pipelines": ("curation", "models"),
    "trainer": ("curation.token_shard", "curation.errors", "models.tokenizer"),
}
ALONE = {"apache_beam": "pipelines", "torch": "trainer"}


def imported(source: str, package: str) -> Iterator[str]:
    """Every module that a source may import, also inside functions, or by a literal name through importlib."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: 1 - node.level or None]) if node.level else ""
            module = ".".join(filter(None, [base, node.module]))
            # `from curation import errors` imports a module, `from curation.errors import UserError` a value.
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            yield from (str(given.value) for given in node.args[:1] if isinstance(given, ast.Constant))


def trespasses(room: str, module: str) -> bool:
    top = module.split(".")[0]
    if top in ALONE:
        return ALONE[top] != room
    if top not in ROOMS or top == room:
        return False
    return not any(module == seen or module.startswith(seen + ".") for seen in SEES[room])


@pytest.mark.parametrize("name", NAMES)
def test_a_module_imports_only_what_its_room_sees(name: str) -> None:
    room, package = name.split("/")[0], name.rpartition("/")[0].replace("/", ".")
    assert [m for m in imported((ROOT / name).read_text(encoding="utf-8"), package) if trespasses(room, m)] == []


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("curation", "import models.artifact"),
        ("curation", "from models import artifact"),
        ("curation", "def f():\n    from pipelines.plan import resolve"),
        ("curation", "import apache_beam as beam"),
        ("curation", "if False:\n    import torch.nn"),
        ("curation", "import importlib\nimportlib.import_module('trainer.model')"),
        ("models", "import pipelines.run"),
        ("models", "from apache_beam import Map"),
        ("pipelines", "from trainer.data import Loader"),
        ("pipelines", "import torch"),
        ("trainer", "from curation.document import Document"),
        ("trainer", "from curation import document"),
        ("trainer", "import curation"),
        ("trainer", "from models.perplexity import Perplexity"),
        ("trainer", "import pipelines.plan"),
    ],
)
def test_the_rule_finds_what_it_forbids(room: str, source: str) -> None:
    assert any(trespasses(room, module) for module in imported(source, f"{room}.below"))


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("curation", "from curation.errors import DataError"),
        ("curation", "from .errors import DataError\nimport numpy"),
        ("models", "from curation.errors import ModelError"),
        ("pipelines", "import apache_beam\nfrom models import artifact\nfrom curation import ledger"),
        ("trainer", "import torch\nfrom curation.token_shard import Dataset\nfrom models.tokenizer import Tokenizer"),
        ("trainer", "from curation import token_shard, errors"),
        ("curation", "import modelsaurus, torchless"),
    ],
)
def test_the_rule_allows_the_rest(room: str, source: str) -> None:
    assert not any(trespasses(room, module) for module in imported(source, room))


def test_the_standard_library_is_not_shadowed() -> None:
    """`import http` inside a room must mean Python's: it does as long as no room is itself on the path."""
    assert not {str(ROOT / room) for room in ROOMS} & set(sys.path)
    assert not set(ROOMS) & sys.stdlib_module_names


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_short_and_says_what_it_is(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    docstring = ast.get_docstring(ast.parse(text))
    assert docstring
    assert docstring.splitlines()[0].strip()


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_named_for_what_it_holds(name: str) -> None:
    assert not {"utils", "util", "helpers", "helper", "common", "misc", "base"} & set(
        name.removesuffix(".py").split("/")
    )


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("__init__.py")])
def test_a_package_exports_nothing(name: str) -> None:
    docstring, *rest = ast.parse((ROOT / name).read_text(encoding="utf-8")).body
    assert isinstance(docstring, ast.Expr)
    assert all(isinstance(node, ast.Import | ast.Expr) for node in rest)
    assert {alias.name for node in rest if isinstance(node, ast.Import) for alias in node.names} <= {"os"}


def test_every_folder_of_modules_is_a_package() -> None:
    assert {path.parent for path in FILES} == {path.parent for path in FILES if path.name == "__init__.py"}


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("2001:db8::1", 80, 0, 0), ("example.invalid", 443)])
@pytest.mark.parametrize("method", ["connect", "connect_ex"])
def test_tests_reach_no_network(address: tuple[str, int], method: str) -> None:
    with socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET) as plug:
        plug.settimeout(0.1)
        with pytest.raises(pytest.fail.Exception, match="no network"):
            getattr(plug, method)(address)


def test_tests_reach_their_own_machine() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as plug:
            assert plug.getpeername() == server.getsockname()
