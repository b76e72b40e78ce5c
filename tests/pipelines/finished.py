"""A small finished run, as `pipelines.run` leaves it, written by the same code from given texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from curation.document import Document, Drop
from curation.ledger import Balance
from pipelines import inputs, storage
from pipelines.inputs import InputFile
from pipelines.part_files import PartWriter, StageFiles
from pipelines.stages import Result

Texts = Mapping[str, Sequence[Sequence[str]]]  # by source and part


def write_run(output: Path, kept: Texts, dropped: Mapping[int, Sequence[Drop]] | None = None) -> Path:
    """Every source has the stage `documents`; part numbers go through the sources in order.

    `dropped` has drops of a step `decontaminate` by part.
    """
    files = [
        InputFile(source, f"/nowhere/{source}-{n}", f"{source}-{n}", 1, "x")
        for source in sorted(kept)
        for n in range(len(kept[source]))
    ]
    parts = inputs.freeze(str(output), files, 1 << 20)
    results = []
    for source in sorted(kept):
        total = Balance("records")
        stage = StageFiles(storage.join(str(output), source, "documents"))
        mine = [part for part in parts if part.source == source]
        for part, texts in zip(mine, kept[source], strict=True):
            drops = (dropped or {}).get(part.number, [])
            balance = Balance("records", incoming=len(texts) + len(drops), kept=len(texts))
            balance.dropped.update(f"decontaminate.{drop.rule}" for drop in drops)
            with PartWriter(stage, part.number) as writer:
                for n, text in enumerate(texts):
                    writer.keep(_document(f"{source}:{part.file}#{n}", text))
                for n, drop in enumerate(drops):
                    writer.drop(_document(f"{source}:{part.file}#d{n}", "gone"), "decontaminate", drop)
                row = {"key": source, "part": f"part-{part.number:07d}", "balances": [balance.to_json()]}
                writer.commit(row, None)
            total = total + balance
        result = Result(f"{source}/documents", source, len(mine), {"records": total})
        storage.write_json(storage.join(stage.root, "manifest.json"), result.to_json())
        results.append(result.to_json())
        size = sum(len(text.encode()) for texts in kept[source] for text in texts)
        tokens = Result(f"{source}/tokens", source, len(mine), {}, notes={"train_bytes": size, "heldout_bytes": 0})
        results.append(tokens.to_json())
    storage.write_json(storage.join(str(output), "ledger.json"), results)
    return output


def _document(id: str, text: str) -> Document:
    return Document(id=id, url="", date="", digest="", text=text)
