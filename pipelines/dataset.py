"""The dataset's manifest: the last file of a run, and what it says in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from curation.mixture import WARN_EPOCHS
from curation.recipe import Recipe
from curation.token_shard import FORMAT, MANIFEST, dataset_id, token_dtype
from models.tokenizer import Tokenizer
from pipelines import storage
from pipelines.mix import DIRECTORY
from pipelines.plan import recipe_hash
from pipelines.stages import Result, Run

# What a clock or the memory of a machine decided is not decided by the page.
UNREPRODUCIBLE = ("killed_", "crashed")


def write_manifest(
    run: Run, recipe: Recipe, tokenizer: Tokenizer, tokenizer_path: str, mixed: Result, results: Sequence[Result]
) -> dict[str, Any]:
    """Put the tokenizer beside the shards and write `shards/manifest.json` (docs/shards.md)."""
    root = storage.join(run.output, DIRECTORY)
    storage.write_bytes(storage.join(root, "tokenizer.model"), storage.read_bytes(tokenizer_path))
    entries = mixed.notes["shards"] + mixed.notes["heldout"]
    killed = {
        reason: count
        for result in results
        for balance in result.balances.values()
        for reason, count in balance.failed.items()
        if any(mark in reason for mark in UNREPRODUCIBLE)
    }
    manifest = {
        "format": FORMAT,
        "dataset_id": dataset_id(entries, tokenizer.sha256),
        "parent": None,
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
        "heldout_fraction": recipe.heldout.fraction,
        "sources": mixed.notes["sources"],
        "shards": mixed.notes["shards"],
        "heldout": mixed.notes["heldout"],
        "reproducible": not killed,
        "killed": killed,
    }
    if against := {result.name: result.notes["against"] for result in results if "against" in result.notes}:
        manifest["against"] = against  # by stage: the keys of the earlier runs' stages, and how many claims each made
    storage.write_json(storage.join(root, MANIFEST), manifest)
    return manifest


def describe(manifest: dict[str, Any]) -> str:
    """The mixture as a table, and whatever the user should be warned of."""
    lines = [
        f"\n{'source':<16}{'documents':>10}{'tokens':>13}{'held out':>12}{'epochs':>9}{'mixed tokens':>15}{'share':>8}"
    ]
    for source in manifest["sources"]:
        lines.append(
            f"{source['name']:<16}{source['documents']:>10,}{source['tokens']:>13,}{source['heldout_tokens']:>12,}"
            f"{source['epochs']:>9.3f}{source['mixed_tokens']:>15,}{source['share']:>8.1%}"
        )
    lines.append(f"{len(manifest['shards'])} shards, dataset {manifest['dataset_id'][:16]}")
    for source in manifest["sources"]:
        if source["tokens"] and not source["epochs_asked"]:
            lines.append(f"warning: the mixture asks for nothing of {source['name']}, so none of it is in the shards")
        if source["epochs"] > WARN_EPOCHS:
            lines.append(
                f"warning: {source['name']} is repeated {source['epochs']:.1f} times; "
                f"beyond {WARN_EPOCHS:.0f} little is gained"
            )
    if not manifest["reproducible"]:
        lines.append(
            f"warning: not reproducible, since a time or memory limit decided about pages: {manifest['killed']}"
        )
    return "\n".join(lines)
