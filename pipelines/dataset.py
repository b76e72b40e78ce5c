"""The dataset's manifest: the last file of a run, and what it says in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from curation import mixture
from curation.recipe import Recipe
from curation.take_down import lineage
from curation.token_shard import MANIFEST, dataset_id, token_dtype
from models.tokenizer import Tokenizer
from pipelines import storage
from pipelines.plan import recipe_hash
from pipelines.stages import Result, Run
from pipelines.turns import DIRECTORY

_TOTALS = {"asked": "tokens_asked", "mixed": "mixed_tokens"}
# What a clock or the memory of a machine decided is not decided by the page.
UNREPRODUCIBLE = ("killed_", "crashed")


def write_manifest(
    run: Run, recipe: Recipe, tokenizer: Tokenizer, tokenizer_path: str, mixed: Result, results: Sequence[Result]
) -> dict[str, Any]:
    """Put the tokenizer beside the shards and write `shards/manifest.json` (docs/shards.md)."""
    root = storage.join(run.output, DIRECTORY)
    storage.write_bytes(storage.join(root, "tokenizer.model"), storage.read_bytes(tokenizer_path))
    entries = mixed.notes["shards"] + mixed.notes["heldout"]
    sources = mixed.notes["sources"]
    killed = {
        reason: count
        for result in results
        for balance in result.balances.values()
        for reason, count in balance.failed.items()
        if any(mark in reason for mark in UNREPRODUCIBLE)
    }
    manifest = {
        **lineage(mixed.notes.get("ancestors", ())),
        "dataset_id": dataset_id(entries, tokenizer.sha256),
        "dtype": token_dtype(tokenizer.vocabulary),
        "tokenizer": {
            "file": "tokenizer.model",
            "sha256": tokenizer.sha256,
            "vocabulary": tokenizer.vocabulary,
            "bos": tokenizer.bos,
            "eos": tokenizer.eos,
            "convention": "[BOS] document [EOS]",
        },
        "recipe": {"name": recipe.name, "sha256": recipe_hash(recipe)},
        "mixture": asdict(recipe.mixture),
        **of_sources(sources, recipe.mixture.epochs),
        "heldout_fraction": recipe.heldout.fraction,
        "heldout_near": recipe.heldout.near,
        "sources": sources,
        "shards": mixed.notes["shards"],
        "heldout": mixed.notes["heldout"],
        "reproducible": not killed,
        "killed": killed,
    }
    if against := {result.name: result.notes["against"] for result in results if "against" in result.notes}:
        manifest["against"] = against  # by stage: the keys of the earlier runs' stages, and how many claims each made
    storage.write_json(storage.join(root, MANIFEST), manifest)
    return manifest


def of_sources(sources: Sequence[Mapping[str, Any]], epochs: Mapping[str, float] | None) -> dict[str, Any]:
    """What the manifest says that follows from its table of sources, and from the epochs that were asked for."""
    there = {source["name"] for source in sources}
    absent = {name: asked for name, asked in (epochs or {}).items() if name not in there}
    return {
        "tokens": {kind: sum(source[name] for source in sources) for kind, name in _TOTALS.items()},
        "warnings": mixture.warnings(sources, absent),
    }


def describe(manifest: dict[str, Any]) -> str:
    """The mixture as a table, and whatever the user should be warned of."""
    numbers = (
        f"{'documents':>10}{'tokens':>13}{'held out':>12}{'epochs':>9}{'mixed tokens':>15}{'share':>8}{'asked':>8}"
    )
    lines = [f"\n{'source':<16}{numbers}"]
    for source in manifest["sources"]:
        asked = f"{source['share_asked']:.1%}" if "share_asked" in source else ""  # older manifests do not say
        lines.append(
            f"{source['name']:<16}{source['documents']:>10,}{source['tokens']:>13,}{source['heldout_tokens']:>12,}"
            f"{source['epochs']:>9.3f}{source['mixed_tokens']:>15,}{source['share']:>8.1%}{asked:>8}"
        )
    lines.append(f"{len(manifest['shards'])} shards, dataset {manifest['dataset_id'][:16]}")
    return "\n".join([*lines, *warnings(manifest)])


def warnings(manifest: dict[str, Any]) -> list[str]:
    """Whatever the user of a dataset should be warned of, a line each."""
    lines = [f"warning: {line}" for line in manifest.get("warnings", ())]
    if not manifest.get("reproducible", True):
        lines.append(
            f"warning: not reproducible, since a time or memory limit decided about pages: {manifest['killed']}"
        )
    return lines
