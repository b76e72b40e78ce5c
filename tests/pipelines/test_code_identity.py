"""An edit of what decides changes the identity; an edit of anything else does not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pipelines import code_identity


@pytest.fixture
def package(tmp_path: Path, monkeypatch):
    folder = tmp_path / "mine_abc"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "rules.py").write_text("from mine_abc.limits import MOST\n\nclass Rule:\n    most = MOST\n")
    (folder / "limits.py").write_text("MOST = 3\n")
    (folder / "unrelated.py").write_text("X = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for name in [name for name in sys.modules if name.startswith("mine_abc")]:
        del sys.modules[name]


def identity(module: str) -> str:
    code_identity.code_identity.cache_clear()
    code_identity._source.cache_clear()
    return code_identity.code_identity(module)


def test_an_edit_of_the_module_or_of_what_it_imports(package):
    before = identity("mine_abc.rules")
    assert identity("mine_abc.rules") == before
    (package / "unrelated.py").write_text("X = 2\n")
    assert identity("mine_abc.rules") == before
    (package / "limits.py").write_text("MOST = 4\n")
    changed = identity("mine_abc.rules")
    assert changed != before
    (package / "rules.py").write_text("class Rule:\n    most = 4\n")
    assert identity("mine_abc.rules") not in (before, changed)


@pytest.mark.parametrize(
    ("module", "library"),
    [
        ("extractors.trafilatura", "trafilatura"),
        ("extractors.trafilatura", "lxml"),
        ("extractors.trafilatura", "charset-normalizer"),
        ("extractors.resiliparse", "Resiliparse"),
        ("extractors.resiliparse", "lxml"),
        ("edits.c4_lines", "icu4py"),
        ("edits.refinedweb_lines", "icu4py"),
        ("edits.repeated_lines", "icu4py"),
        ("filters.c4_page", "icu4py"),
        ("filters.dirty_words", "icu4py"),
        ("filters.fineweb_quality", "icu4py"),
        ("filters.gopher_quality", "icu4py"),
        ("filters.gopher_repetition", "icu4py"),
    ],
)
def test_the_version_of_a_library(monkeypatch, module: str, library: str):
    before = identity(f"curation.{module}")
    real = code_identity.importlib.metadata.version
    newer = {library: "99.0"}
    monkeypatch.setattr(code_identity.importlib.metadata, "version", lambda name: newer.get(name) or real(name))
    assert identity(f"curation.{module}") != before
    assert identity("curation.filters.length") == identity("curation.filters.length")


def test_what_a_filter_depends_on():
    assert identity("curation.filters.length") != identity("curation.filters.threshold")


def covered(monkeypatch, module: str) -> set[str]:
    """The modules of ours whose sources are part of the identity."""
    real, found = code_identity._source, set()
    with monkeypatch.context() as patch:
        patch.setattr(code_identity, "_source", lambda name: (found.add(name), real(name))[1])
        code_identity.code_identity.cache_clear()
        code_identity.code_identity(module)
    return {name for name in found if real(name)}


@pytest.mark.parametrize("reader", ["arxiv", "books", "c4", "github", "stackexchange", "wikipedia"])
def test_readers_of_dumps_do_not_depend_on_how_web_archives_are_read(monkeypatch, reader: str):
    web = {f"curation.{name}" for name in ("records", "http", "archive", "frames", "members", "gzip_members")}
    assert covered(monkeypatch, "curation.records") >= web
    assert not covered(monkeypatch, f"curation.sources.{reader}") & web
    assert covered(monkeypatch, f"curation.sources.{reader}") >= {"curation.sources.given", "curation.document"}
