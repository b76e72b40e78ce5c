from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from curation import recipe as recipes
from curation.document import Document
from curation.errors import CommandLine
from curation.heldout import is_heldout
from curation.ledger import Balance
from curation.mixture import Mixture
from curation.recipe import HeldoutSpec, Recipe, TokenizerSpec
from models.tokenizer import Tokenizer
from models.train_tokenizer import train_tokenizer
from pipelines import code_identity, dataset, mix, storage, tokenizer
from pipelines.inputs import Part
from pipelines.part_files import PartWriter, StageFiles
from pipelines.runner import beam_flags, executor
from pipelines.stages import Result, Run, part_name
from pipelines.tokenizer import budgets, ensure_tokenizer, sample
from pipelines.tokens import stage_key

WORDS = {"books": "river stone winter garden letter", "code": "return import lambda yield assert", "web": "click here"}


def documents(source: str, count: int) -> list[Document]:
    """`count` documents of 100 to 3,000 bytes that name their source and themselves."""
    draw = random.Random(source)
    made = []
    for number in range(count):
        words = [source, str(number), "é▁", *draw.choices(WORDS[source].split(), k=draw.randrange(20, 500))]
        made.append(Document(id=f"{source}:f#{number}", url="", date="", digest="", text=" ".join(words)))
    return made


SOURCES = {"books": documents("books", 150), "code": documents("code", 400), "web": documents("web", 30)}


@pytest.fixture
def kept(tmp_path: Path) -> Callable[..., tuple[Run, list[tuple[Part, str, str]]]]:
    """Write documents as kept parts of `size` documents each, for a run with so many workers."""
    turns = iter(range(100))

    def write(size: int = 130, workers: int = 1) -> tuple[Run, list[tuple[Part, str, str]]]:
        output = str(tmp_path / str(next(turns)))
        run = Run(
            output, "", executor(beam_flags(["--runner=DirectRunner"], workers, CommandLine())), 1 << 30, progress=False
        )
        rows: list[tuple[Part, str, str]] = []
        for source, texts in SOURCES.items():
            for start in range(0, len(texts), size):
                number = len(rows)
                part = Part(number, source, "f", "f", 0, 0, "", 0, 0)
                mine = texts[start : start + size]
                with PartWriter(StageFiles(storage.join(output, source, "documents")), number) as writer:
                    for document in mine:
                        writer.keep(document)
                    balance = Balance("documents", incoming=len(mine), kept=len(mine))
                    row = {"key": f"key of {source}", "part": part_name(number), "balances": [balance.to_json()]}
                    writer.commit(row, None)
                rows.append((part, f"{source}/documents", f"key of {source}"))
        return run, rows

    return write


def recipe(mixture: Mixture, sample_bytes: int = 60_000, vocabulary: int = 330, heldout: float = 0.1) -> Recipe:
    spec = TokenizerSpec(vocabulary=vocabulary, sample_bytes=sample_bytes)
    return Recipe(name="test", sources={}, tokenizer=spec, heldout=HeldoutSpec(fraction=heldout), mixture=mixture)


def training(source: str, fraction: float = 0.1) -> list[str]:
    return [document.text for document in SOURCES[source] if not is_heldout(document.text, fraction)]


def size(texts: list[str]) -> int:
    return sum(len(text.encode()) for text in texts)


def taken(texts: Iterator[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for text in texts:
        found.setdefault(text.split(" ", 1)[0], []).append(text)
    return found


WEIGHTS = Mixture(weights={"books": 0.5, "code": 0.3, "web": 0.2}, tokens=1)
LARGEST = max(len(document.text.encode()) for texts in SOURCES.values() for document in texts)


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put little aside, so that a stage of a few kilobytes has something to leave out."""
    monkeypatch.setattr(tokenizer, "LEAST", 0)


@pytest.mark.parametrize("mixture", [WEIGHTS, Mixture(epochs={"books": 2.5, "code": 0.25, "web": 1.0}), Mixture()])
def test_each_source_has_its_share(kept, narrow, mixture: Mixture) -> None:
    run, parts = kept()
    found = taken(sample(run, recipe(mixture), parts))
    there = {source: size(training(source)) for source in SOURCES}
    wanted = {source: passes * there[source] for source, passes in mixture.passes(there).items()}
    for source, texts in found.items():
        assert set(texts) <= set(training(source))
        share = 60_000 * wanted[source] / sum(wanted.values())
        assert share <= size(texts) < share + LARGEST
        assert max(Counter(texts).values()) == -(-size(texts) // there[source])
    assert set(found) == set(SOURCES)


def test_a_small_source_comes_in_whole_passes_and_a_prefix(kept) -> None:
    mixture = Mixture(weights={"books": 1, "web": 9}, tokens=1)
    run, parts = kept()
    web = taken(sample(run, recipe(mixture, sample_bytes=100_000), parts))["web"]
    count = len(training("web"))
    assert len(web) > 2 * count
    assert web[:count] == web[count : 2 * count]
    assert set(web[:count]) == set(training("web"))
    assert web[-(len(web) % count) :] == web[: len(web) % count]


def test_a_source_that_the_mixture_does_not_use_is_not_read(kept) -> None:
    run, parts = kept()
    assert set(taken(sample(run, recipe(Mixture(epochs={"code": 1.0})), parts))) == {"code"}


def test_no_more_than_there_is(kept) -> None:
    run, parts = kept()
    found = taken(sample(run, recipe(Mixture(), sample_bytes=10**9), parts))
    assert {source: sorted(texts) for source, texts in found.items()} == {s: sorted(training(s)) for s in SOURCES}


def test_only_a_part_of_the_text_is_put_aside(kept, narrow) -> None:
    run, parts = kept()
    assert list(sample(run, recipe(Mixture(), sample_bytes=20_000), parts))
    aside = Path(run.output) / "tokenizer" / "code"
    kept_rows = [storage.read_json(str(path)) for path in sorted((aside / "ledger").glob("*.json"))]
    count = sum(row["balances"][0]["kept"] for row in kept_rows)
    assert 0 < count < 0.3 * len(training("code"))
    assert sum(row["balances"][0]["skipped"]["held out"] for row in kept_rows) == 400 - len(training("code"))
    assert sum(row["notes"]["bytes"] for row in kept_rows) == size(training("code"))


def test_too_little_put_aside_is_put_aside_again(kept, narrow, monkeypatch: pytest.MonkeyPatch) -> None:
    run, parts = kept()
    expected = list(sample(run, recipe(WEIGHTS), parts))
    monkeypatch.setattr(tokenizer, "SPARE", 0.1)
    again, parts = kept()
    assert list(sample(again, recipe(WEIGHTS), parts)) == expected


def test_the_cut_and_the_workers_do_not_matter(kept, narrow, monkeypatch: pytest.MonkeyPatch) -> None:
    models = []
    for cut, workers in ((23, 1), (1000, 1), (90, 2)):
        monkeypatch.setattr(tokenizer, "LIGHT_BYTES", 0 if workers > 1 else 1 << 40)
        run, parts = kept(cut, workers)
        path = ensure_tokenizer(run, "", recipe(WEIGHTS), parts)
        models.append(Path(path).read_bytes())
    assert len(set(models)) == 1
    assert Tokenizer.load(path).vocabulary == 330


def test_it_is_trained_once_and_the_text_does_not_stay(kept, monkeypatch: pytest.MonkeyPatch) -> None:
    run, parts = kept()
    path = ensure_tokenizer(run, "", recipe(WEIGHTS), parts)
    assert sorted(file.name for file in Path(path).parent.iterdir()) == ["manifest.json", "tokenizer.model"]
    first = Path(path).read_bytes()
    more_tokens = Mixture(weights=WEIGHTS.weights, tokens=5, seed=3)
    with monkeypatch.context() as patch:
        patch.setattr(tokenizer, "train_tokenizer", None)
        assert ensure_tokenizer(run, "", recipe(WEIGHTS), parts) == path
        assert ensure_tokenizer(run, "", recipe(more_tokens), parts) == path
        patch.setattr(tokenizer, "_code", lambda: ["of another release"])
        with pytest.raises(TypeError, match="not callable"):
            ensure_tokenizer(run, "", recipe(WEIGHTS), parts)
    ensure_tokenizer(run, "", recipe(Mixture(epochs={"code": 1.0})), parts)
    assert Path(path).read_bytes() != first
    Path(path).write_bytes(b"damaged")
    ensure_tokenizer(run, "", recipe(WEIGHTS), parts)
    assert Path(path).read_bytes() == first


def test_budgets() -> None:
    text = {"books": 1000, "code": 4000, "web": 0}
    assert budgets(recipe(Mixture(), sample_bytes=500), text) == {"books": 100, "code": 400}
    assert budgets(recipe(Mixture(), sample_bytes=10**6), text) == {"books": 1000, "code": 4000}
    assert budgets(recipe(Mixture(epochs={"books": 4.0, "code": 1.0}), sample_bytes=800), text) == {
        "books": 400,
        "code": 400,
    }
    weights = Mixture(weights={"books": 1.0, "code": 1.0}, tokens=10**9)
    assert budgets(recipe(weights, sample_bytes=10**6), text) == {"books": 2500, "code": 2500}


def test_the_code_that_gives_ids_is_part_of_the_key_of_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    def key() -> str:
        code_identity.code_identity.cache_clear()
        return stage_key("library 1.0", "upstream", "tokenizer", 0.01)

    source, first = code_identity._source, key()
    assert key() == first
    monkeypatch.setattr(code_identity, "_source", lambda m: source(m) + "#" * (m == "curation.filters.length"))
    assert key() == first
    monkeypatch.setattr(code_identity, "_source", lambda m: source(m) + "#" * m.endswith("tiktoken_ranks"))
    assert key() != first
    monkeypatch.undo()
    assert key() == first


TOKENS, MIX, SAMPLE = "tokens", "mix", "sample"


@pytest.mark.parametrize(
    ("module", "changes"),
    [
        ("curation.filters.length", set()),
        ("curation.heldout", {TOKENS, SAMPLE}),
        ("curation.hashing", {TOKENS, MIX, SAMPLE}),
        ("curation.mixture", {MIX, SAMPLE}),
        ("curation.token_shard", {TOKENS, MIX}),
        ("pipelines.turns", {MIX}),
        ("pipelines.mix", {MIX}),
        ("pipelines.stages", set()),
    ],
)
def test_the_code_that_decides_bytes_is_part_of_a_key(
    monkeypatch: pytest.MonkeyPatch, module: str, changes: set[str]
) -> None:
    """Of tokens also where nothing near a held-out document is left out; a sample's key is part of the tokenizer's."""

    def keys() -> dict[str, object]:
        code_identity.code_identity.cache_clear()
        mixed = mix.stage_key(["tokens"], Mixture(), 1000, "uint16")
        return {TOKENS: stage_key("library 1.0", "upstream", "id", 0.01), MIX: mixed, SAMPLE: tokenizer._code()}

    source, first = code_identity._source, keys()
    monkeypatch.setattr(code_identity, "_source", lambda m: source(m) + "#" * (m == module))
    found = keys()
    assert {name for name in first if found[name] != first[name]} == changes
    monkeypatch.undo()
    assert keys() == first


def test_the_manifest_of_a_dataset_names_what_it_was_compared_with(tmp_path: Path) -> None:
    train_tokenizer([document.text for document in SOURCES["books"]], tmp_path / "t.model", 300)
    run = Run(str(tmp_path / "run"), "", lambda name, build, light=False: None, 1, progress=False)
    mixed = Result("mix", "k", 1, {}, notes={"shards": [], "heldout": [], "sources": []})
    plain = Result("books/lines", "k", 1, {}, notes={"passes": 1})
    against = Result("web/lines", "k", 1, {}, notes={"passes": 1, "against": {"key of an earlier stage": 7}})

    def manifest(*results: Result) -> dict[str, object]:
        path = str(tmp_path / "t.model")
        return dataset.write_manifest(run, recipes.load("tiny"), Tokenizer.load(path), path, mixed, results)

    assert "against" not in manifest(plain)
    found = manifest(plain, against)
    assert found["against"] == {"web/lines": {"key of an earlier stage": 7}}
    assert storage.read_json(str(tmp_path / "run/shards/manifest.json")) == found
    assert found["dataset_id"] == manifest(plain)["dataset_id"]
