"""Cutoffs of one's own: percentiles of the perplexity of one's own documents, kept with the model that scored them.

    python -m models.train_perplexity --cutoffs RUN --language en --out MODELS

is the command; this is what it does.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from curation.errors import InputError, ModelError
from curation.normalize import normalize
from curation.recipe import RESERVED
from models import jsonl
from models.artifact import open_artifact, read_manifest, write_artifact
from models.cutoffs import CUTOFFS, HEAD, MIDDLE, Percentiles, model_identity, to_json
from models.perplexity import load_perplexity

ENOUGH = 1000  # documents: the share below a 30th percentile is then known to 1.4 percentage points (standard error)
_COMPARED = 20  # stored scores that are computed again, to see that the model is the one that made them
_BATCH = 512


def make_cutoffs(models_dir: Path, language: str, source: Path, *, glue_lines: bool = False) -> Path:
    """Add cutoffs to the artifact `models_dir/perplexity-LANGUAGE`, and return its directory.

    `source` is a run or a stage of one, of which the scores are read, of dropped documents too; or JSON lines with
    `text` and, if they are in several languages, `language`, which are scored here. Memory does not grow with it.
    Raises ModelError for a model that is missing or not the one of the run, InputError for a source without scores.
    """
    directory = open_artifact(models_dir, f"perplexity-{language}")
    manifest = read_manifest(directory)
    percentiles = Percentiles()
    if source.is_dir():
        stage, name = _stage(source, language)
        _compare(directory, stage, language)
        for scores in _stored(stage, language):
            percentiles.add(scores)
    else:
        name = source.name
        for scores in _scored(directory, source, language, " " if not glue_lines else ""):
            percentiles.add(scores)
    if not percentiles.count:
        raise InputError(f"{source} holds no document in {language} that can be scored")
    if percentiles.count < ENOUGH:
        _say(f"only {percentiles.count} documents: cutoffs are rough below {ENOUGH}")
    files: dict[str, bytes | Path] = {file: directory / file for file in manifest["files"] if file != CUTOFFS}
    files[CUTOFFS] = to_json(percentiles, source=name, model=model_identity(manifest))
    fields = ("kind", "format", "licence", "origin", "parameters")
    write_artifact(directory, files, **{field: manifest[field] for field in fields})
    values = percentiles.values()
    _say(f"{percentiles.count} documents of {name}: head below {values[HEAD]}, middle below {values[MIDDLE]}")
    return directory


def _stage(folder: Path, language: str) -> tuple[Path, str]:
    """The stage of a run that scored most documents of the language: the first, since later ones have what it kept."""
    stages = [folder] if (folder / "kept").is_dir() else sorted(path.parent for path in folder.glob("*/*/kept"))
    finished = [stage for stage in stages if (stage / "manifest.json").is_file() and stage.parent.name not in RESERVED]
    counts = {stage: sum(len(scores) for scores in _stored(stage, language)) for stage in finished}
    if not any(counts.values()):
        raise InputError(f"{folder} holds no finished stage with perplexities in {language}")
    best = max(counts, key=lambda stage: counts[stage])
    return best, "/".join(best.parts[-3:])


def _stored(stage: Path, language: str) -> Iterator[np.ndarray]:
    """The perplexities of a stage's documents, kept and dropped: float64 [documents of a batch]."""
    for kind in ("kept", "dropped"):
        for path in sorted((stage / kind).glob("*.parquet")):
            for batch in pq.ParquetFile(path).iter_batches(columns=["language", "perplexity"]):
                values = zip(batch.column(0).to_pylist(), batch.column(1).to_pylist(), strict=True)
                yield np.array([value for label, value in values if label == language and value is not None], float)


def _compare(directory: Path, stage: Path, language: str) -> None:
    """Are these scores this model's? Of a few kept documents the text is at hand, so they are scored again."""
    perplexity = load_perplexity(directory)
    compared = equal = 0
    for text, stored in _kept(stage, language):
        compared += 1
        equal += any(perplexity(normalize(text, newline=newline)) == stored for newline in (" ", ""))
        if compared == _COMPARED:
            break
    # An edit between the score and the end of the stage changes some of them.
    if compared and 2 * equal < compared:
        raise ModelError(
            f"the perplexities in {stage} are not of {directory}: of {compared} documents {equal} score the same"
        )


def _kept(stage: Path, language: str) -> Iterator[tuple[str, float]]:
    for path in sorted((stage / "kept").glob("*.parquet")):
        for batch in pq.ParquetFile(path).iter_batches(_BATCH, columns=["language", "perplexity", "text"]):
            for row in batch.to_pylist():
                if row["language"] == language and row["perplexity"] is not None:
                    yield row["text"], row["perplexity"]


def _scored(directory: Path, source: Path, language: str, newline: str) -> Iterator[np.ndarray]:
    perplexity = load_perplexity(directory)
    batch: list[float] = []
    for number, text in enumerate(_texts(source, language), 1):
        value = perplexity(normalize(text, newline=newline))
        if value is not None:
            batch.append(value)
        if len(batch) >= _BATCH:
            yield np.array(batch)
            batch = []
        if number % 10_000 == 0:
            _say(f"scored {number} documents")
    yield np.array(batch, float)


def _texts(source: Path, language: str) -> Iterator[str]:
    for row in jsonl.rows(source, "text"):
        if row.get("language") in (None, language):
            yield row["text"]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
