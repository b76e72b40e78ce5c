"""What the documentation points at is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "docker/README.md",
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_are_named_exist(page: Path) -> None:
    rooms = "curation|models|pipelines|trainer|tests|docs|docker|benchmarks"
    named = re.findall(rf"`((?:{rooms})/[A-Za-z0-9_./-]*)`", page.read_text(encoding="utf-8"))
    example = {"curation/filters/no_recipes.py", "tests/curation/filters/test_no_recipes.py"}  # in CONTRIBUTING
    for path in set(named) - example:
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_modules_that_are_run_exist(page: Path) -> None:
    for module in re.findall(r"python -m ((?:models|pipelines|trainer|benchmarks)\.[a-z0-9_]+)", page.read_text()):
        assert (ROOT / f"{module.replace('.', '/')}.py").exists(), module


def test_every_reason_of_a_readers_errors_is_in_the_docs() -> None:
    readers = [*(ROOT / "curation/sources").glob("*.py"), *(ROOT / "curation/extractors").glob("*.py")]
    readers += [ROOT / f"curation/{name}.py" for name in ("bundle", "bundle_count", "seven_zip", "tar", "unpacked")]
    given = {reason for path in readers for reason in re.findall(r'DataError\("(\w+)"', path.read_text("utf-8"))}
    docs = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert "truncated" in given
    assert {reason for reason in given if f"`{reason}`" not in docs} == set()


def test_the_readme_is_short_and_leads_with_the_two_commands() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 150
    first_block = next(i for i, line in enumerate(lines) if line.startswith("```"))
    assert [line.split()[:2] for line in lines[first_block + 1 : first_block + 3]] == [
        ["make", "sample"],
        ["make", "test"],
    ]
