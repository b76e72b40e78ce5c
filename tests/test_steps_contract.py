"""What every step must keep to, whichever it is: tried on all that stand in the packages, so also on the next one."""

from __future__ import annotations

import functools
import hashlib
import importlib
import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.document import Document, Drop, Page
from curation.errors import DataError
from curation.recipe import StepSpec
from curation.sources import arxiv, stackexchange
from models.make_evals import make_evals
from models.make_list import make_list
from pipelines.plan import PACKAGES, available, resolve

ROOT = Path(__file__).parents[1]
KINDS = ("filter", "edit", "extract", "dedup")

# Options of the steps that must be given some, and other settings worth the same questions.
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "threshold": [{"field": "perplexity", "max": 1.0}],
    "one_of": [{"values": ("en", "und")}],
    "lines": [{}, {"semantics": "ccnet"}, {"keep": "newest"}, {"keep": "none", "max_documents": 6, "id_groups": 3}],
    "exact": [{"compare": "text"}, {"compare": "folded", "keep": "newest"}, {"compare": "lines", "keep": "none"}],
}

PROSE = (
    "The quality of the pages that people have written over the years is not the same everywhere, and that is why "
    "a reader with little time wants to be told which of them to read. A page with sentences like these has a good "
    "chance to be kept by every rule that looks for prose.\n"
    "It has a second paragraph too, which says nothing new, but of which the words and the lines can be counted."
)
SHORT = {
    "nothing": "",
    "a newline": "\n",
    "one character": "x",
    "a blank": " ",
    "a zero": "\0",
    "an emoji": "👩🏽‍🚀",
    "a lone combining mark": "\u0301",
    "combining marks": "\u0301\u0308" * 50,
    "right to left": "שלום עולם\nمرحبا بالعالم ١٢٣",
    "marks of direction": "\u202eabc\u202c \u200f\u200e\ufeff",
    "no spaces": "これは日本語の文章です。" * 40,
    "line ends": "a\r\nb\rc\u2028d\u2029e\x85f\x0bg\x0ch",
    "symbols": "# … ... • - * {{ }} [[ ]] <b> &amp; <!-- \\ \" '",
    "prose": PROSE,
}
LONG = {
    "a line of 1 MB": "x" * (1 << 20),
    "a line of 1 MB in words": "word " * ((1 << 20) // 5),
    "a line of 1 MB beyond Latin": "語😀" * (1 << 17),
    "many lines": "a\n" * 20_000,
}
TEXTS = {**SHORT, **LONG}


def steps(*kinds: str) -> Iterator[tuple[str, Any]]:
    for kind in kinds:
        for name in available(kind):
            module = importlib.import_module(f"{PACKAGES[kind]}.{name}")
            class_name = "".join(word.capitalize() for word in name.split("_"))
            # Beside extractors and deduplications stand modules that they share; filters and edits stand alone.
            if kind in ("filter", "edit") or is_dataclass(getattr(module, class_name, None)):
                for number, options in enumerate(OPTIONS.get(name, [{}])):
                    yield f"{kind} {name} {number}", resolve(StepSpec(kind, name, options), name).step


def parametrized(*kinds: str) -> pytest.MarkDecorator:
    found = list(steps(*kinds))
    return pytest.mark.parametrize("step", [step for _, step in found], ids=[label for label, _ in found])


def document(text: str) -> Document:
    return Document(id="web:f#0", url="u", date="d", digest="x", text=text, language="en", perplexity=0.5)


def pages(text: str) -> Iterator[Page]:
    """The text as each kind of page that an extractor may meet."""
    as_html = f"<html><head><title>t</title></head><body><article><p>{text}</p></article></body></html>"
    paper = arxiv.pack([("a.tex", f"\\documentclass{{a}}\\begin{{document}}\\section{{A}}\n{text}".encode())])
    post = {"id": 1, "score": 0, "licence": "", "body": text, "title": "", "accepted": 0, "date": ""}
    thread = json.dumps({"site": "s.com", "question": post, "answers": []}).encode()
    bodies = [(text.encode(), type) for type in ("text/plain", "text/html", "text/x-wiki")]
    others = [(as_html.encode(), "text/html"), (paper, arxiv.CONTENT_TYPE), (thread, stackexchange.CONTENT_TYPE)]
    for body, type in (*bodies, *others):
        yield Page(
            id="web:f#0",
            url="https://example.org/",
            date="",
            digest="",
            status=200,
            content_type=type,
            charset="utf-8",
            body=body,
        )


def extracted(step: Any, text: str) -> list[Document | Drop | str]:
    verdicts: list[Document | Drop | str] = []
    for page in pages(text):
        try:
            verdicts.append(step(page))
        except DataError as error:
            verdicts.append(error.reason)
    return verdicts


@functools.cache
def folder() -> Any:
    return tempfile.TemporaryDirectory()


@functools.cache
def called(step: Any) -> Any:
    """What is called for a filter or an edit: itself, or what it loads, with a list of two entries as each artifact.

    Evaluation sets are one example: the last sentence of PROSE.
    """
    if callable(step):
        return step
    path = Path(folder().name)
    (path / "words").write_text("deal\nchance to be\n", encoding="utf-8")
    (path / "evals").mkdir(exist_ok=True)
    (path / "evals" / "prose.txt").write_text(PROSE.rpartition("\n")[2], encoding="utf-8")
    artifacts = {}
    for name in step.artifacts():
        artifacts[name] = path / name
        if name.startswith("evals-"):
            make_evals(name.removeprefix("evals-"), path / "evals", path)
            continue
        make_list(name.removeprefix("list-"), path, words={"words": [path / "words"]}, licence="ours")
    return step.load(artifacts)


def outcome(step: Any, text: str) -> Any:
    """What a step makes of a text, whatever its shape, as a value that can be compared."""
    if hasattr(step, "hashes"):
        return step.hashes(document(text)).tolist(), step.units(document(text))
    if type(step).__module__.startswith(PACKAGES["extract"]):
        return extracted(step, text)
    return called(step)(document(text))


def digest() -> str:
    found = [(label, [outcome(step, text) for text in SHORT.values()]) for label, step in steps(*KINDS)]
    return hashlib.sha256(repr(found).encode()).hexdigest()


def test_there_are_steps_of_each_kind() -> None:
    found = [label.split()[0] for label, _ in steps(*KINDS)]
    assert {"filter", "extract", "dedup"} <= set(found)


@parametrized(*KINDS)
def test_a_step_is_a_frozen_dataclass_that_says_what_it_does(step: Any) -> None:
    assert is_dataclass(step)
    assert type(step).__doc__
    assert not type(step).__doc__.startswith(type(step).__name__ + "(")  # what dataclass writes when there is none
    name = next((f.name for f in fields(step)), "anything")
    with pytest.raises((FrozenInstanceError, AttributeError, TypeError)):
        setattr(step, name, 0)
    assert replace(step) == step
    assert hash(replace(step)) == hash(step)


@parametrized(*KINDS)
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_no_text_is_too_odd(step: Any, text: str) -> None:
    if not hasattr(step, "hashes"):
        verdicts = extracted(step, text) if "extract" in type(step).__module__ else [called(step)(document(text))]
        assert all(isinstance(verdict, Document | Drop | str) for verdict in verdicts)
        return
    hashes = step.hashes(document(text))
    assert hashes.dtype == np.uint64
    assert hashes.shape == (step.units(document(text)),)
    for stays in (np.ones(len(hashes), dtype=bool), np.zeros(len(hashes), dtype=bool), np.arange(len(hashes)) % 2 == 0):
        verdict, kept = step.apply(document(text), stays)
        assert isinstance(verdict, Document | Drop)
        assert kept == stays.sum()


@parametrized("filter")
def test_a_filter_keeps_the_very_document_or_drops_it(step: Any) -> None:
    kept = 0
    for text in TEXTS.values():
        page = document(text)
        verdict = called(step)(page)
        assert verdict is page or isinstance(verdict, Drop)
        kept += verdict is page
    assert kept, "no text here passes this filter: add one that does"


@parametrized("edit")
def test_an_edit_that_changes_nothing_returns_the_very_document(step: Any) -> None:
    for text in TEXTS.values():
        page = document(text)
        verdict = called(step)(page)
        assert isinstance(verdict, Drop) or verdict is page or verdict.text != page.text
        if isinstance(verdict, Document):
            assert replace(verdict, text=page.text) == page


@parametrized("dedup")
def test_a_document_that_loses_nothing_is_the_very_document(step: Any) -> None:
    for text in TEXTS.values():
        page = document(text)
        assert step.apply(page, np.ones(step.units(page), dtype=bool))[0] is page


@parametrized("extract")
def test_an_extractor_keeps_where_the_page_came_from(step: Any) -> None:
    found = [verdict for verdict in extracted(step, PROSE) if isinstance(verdict, Document)]
    assert found, "this extractor finds no text in prose"
    for verdict in found:
        assert (verdict.id, verdict.url, verdict.date, verdict.digest) == ("web:f#0", "https://example.org/", "", "")
        assert "people have written over the years" in verdict.text


@parametrized(*KINDS)
def test_a_used_step_is_pickled_and_answers_alike(step: Any) -> None:
    before = [outcome(step, text) for text in SHORT.values()]
    copy = pickle.loads(pickle.dumps(step))
    assert copy == step
    assert [outcome(copy, text) for text in reversed(SHORT.values())][::-1] == before
    assert [outcome(step, text) for text in SHORT.values()] == before


def test_answers_are_the_same_in_another_process() -> None:
    """Python hashes strings anew in each process; no step may lean on that."""
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(Path(__file__))]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
    assert ran.stdout.strip() == digest()


if __name__ == "__main__":
    print(digest())
