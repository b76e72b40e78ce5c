"""Identity of the code that decides: a step's module, what of ours it imports, versions of what it imports of others.

So an edited rule is never mistaken for the old one, and a step of the user's own is tracked like ours.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import unicodedata
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

OURS = ("curation", "models")


@lru_cache(maxsize=256)
def code_identity(module: str) -> str:
    """SHA-256 over the sources of `module` and all that it imports, directly or not, from our packages or its own."""
    roots = {*OURS, module.partition(".")[0]}
    sources: dict[str, str] = {}
    others: set[str] = set()
    pending = [module]
    while pending:
        name = pending.pop()
        if name in sources:
            continue
        sources[name] = _source(name)
        for imported in _imports(sources[name]):
            root = imported.partition(".")[0]
            if root not in roots:
                others.add(root)
            elif _source(imported):
                pending.append(imported)
            elif _source(imported.rpartition(".")[0]):  # a name from a module, rather than a module
                pending.append(imported.rpartition(".")[0])
    state = [sorted(sources.items()), sorted(_versions(others).items()), unicodedata.unidata_version]
    return hashlib.sha256(repr(state).encode()).hexdigest()


def file_identity(*modules: str) -> str:
    """SHA-256 over the sources of these modules alone: of those whose imports are machinery that decides nothing."""
    return hashlib.sha256(repr([_source(module) for module in modules]).encode()).hexdigest()


def _imports(source: str) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


@lru_cache(maxsize=1024)
def _source(module: str) -> str:
    """Source text of a module; "" if there is no such module, or it is not Python."""
    try:
        spec = find_spec(module)
    except (ModuleNotFoundError, ValueError):
        return ""
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return ""
    return Path(spec.origin).read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def _distributions() -> dict[str, list[str]]:
    return dict(importlib.metadata.packages_distributions())


def _versions(packages: set[str]) -> dict[str, str]:
    """Versions of the installed distributions that hold these packages. The standard library has none."""
    found = {name for package in packages for name in _distributions().get(package, ())}
    return {name: importlib.metadata.version(name) for name in found}
