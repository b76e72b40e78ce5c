"""Where head ends and middle ends: CCNet's buckets of perplexity, by language (Wenzek et al. 2020, section 3.3).

The paper says "three even parts"; the code compares with the 30th and 60th percentile of a table that came with it, and
the script that made the table was never released. So cutoffs of one's own are percentiles of one's own data, kept with
the model that scored it: `python -m models.train_perplexity --cutoffs`. A cutoff means nothing under another model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from curation.errors import ModelError
from models.artifact import files_identity

CUTOFFS = "cutoffs.json"
HEAD, MIDDLE = 30, 60  # percentiles
FAMILY = "cc_net"  # what the manifest of one of CCNet's own models has as parameters["family"]


class Cutoffs(NamedTuple):
    """Perplexities below `head` are head, below `middle` are middle, and the others tail."""

    head: float
    middle: float


# cc_net/data/cutoff.csv of facebookresearch/cc_net, commit bda555b, rows 30 and 60; valid with CCNet's own models.
CCNET = {
    language: Cutoffs(float(head), float(middle))
    for language, head, middle in (
        row.split()
        for row in """
        en 340 520;de 370 590;fr 180 330;es 180 290;it 220 360;pt 170 270;nl 430 650;pl 160 260;ru 210 310
        uk 140 220;cs 820 1140;ro 180 270;hu 80 140;el 450 670;bg 450 680;hr 720 910;da 380 600;no 430 680
        fi 1110 1500;et 1270 1620;lv 1130 1480;lt 190 270;is 850 1190;ca 210 330;mk 530 740;be 670 910
        ja 1110 1450;zh 1460 1950;ko 920 2130;ar 490 790;fa 370 700;he 1280 1710;hi 480 790;bn 190 300
        id 600 970;az 600 950;ka 910 1310;hy 750 1080;kk 610 930;km 1040 2180;kn 2210 2800;gu 1110 1570
        ml 2430 3220;mn 680 1010;mr 1380 1870;my 2530 3040;ne 860 1130;af 540 770
        """.strip().replace("\n", ";").split(";")
    )
}  # fmt: skip


def bucket(perplexity: float | None, cutoffs: Cutoffs | None) -> str:
    """head, middle or tail; `all` for what has no perplexity or no cutoffs."""
    if perplexity is None or cutoffs is None:
        return "all"
    return "head" if perplexity < cutoffs.head else "middle" if perplexity < cutoffs.middle else "tail"


class Percentiles:
    """Percentiles of perplexities as they come, to the tenth; memory does not grow with their number."""

    LIMIT = 100_000.0  # perplexities from here on are counted together

    def __init__(self) -> None:
        self._counts = np.zeros(int(self.LIMIT * 10) + 1, dtype=np.int64)

    def add(self, perplexities: np.ndarray) -> None:
        """Count float64 [documents]."""
        tenths = np.minimum(np.rint(np.maximum(perplexities, 0) * 10), len(self._counts) - 1).astype(np.int64)
        np.add.at(self._counts, tenths, 1)

    @property
    def count(self) -> int:
        return int(self._counts.sum())

    def values(self) -> list[float]:
        """Percentiles 0 to 99. Number p is the least value that p in a hundred documents do not exceed.

        LIMIT stands for itself and all above. Raises ValueError when nothing was counted.
        """
        if not self.count:
            raise ValueError("there is no percentile of nothing")
        ranks = np.maximum(-(-np.arange(100) * self.count // 100), 1)
        return [float(tenth) / 10 for tenth in np.searchsorted(np.cumsum(self._counts), ranks)]


def to_json(percentiles: Percentiles, *, source: str, model: str) -> bytes:
    """The content of CUTOFFS. `model` is the identity that `model_identity` gives."""
    table = {
        "documents": percentiles.count,
        "source": source,
        "model": model,
        "percentiles": percentiles.values(),
    }
    return (json.dumps(table, indent=1) + "\n").encode()


def read_cutoffs(directory: Path, manifest: Mapping[str, Any]) -> Cutoffs:
    """The cutoffs that were made with a perplexity artifact. Raises ModelError when there are none, or of another."""
    remedy = "make them with `python -m models.train_perplexity --cutoffs`"
    if CUTOFFS not in manifest["files"]:
        raise ModelError(f"{directory} has no {CUTOFFS}: {remedy}")
    try:
        table = json.loads((directory / CUTOFFS).read_text(encoding="utf-8"))
        cutoffs = Cutoffs(float(table["percentiles"][HEAD]), float(table["percentiles"][MIDDLE]))
        made_with = table["model"]
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise ModelError(f"{directory / CUTOFFS} cannot be read ({error}): {remedy}") from None
    if made_with != model_identity(manifest):
        raise ModelError(f"{directory / CUTOFFS} was made with another model than lies beside it: {remedy}")
    return cutoffs


def model_identity(manifest: Mapping[str, Any]) -> str:
    """SHA-256 over the files of a perplexity artifact but its cutoffs."""
    return files_identity({name: digest for name, digest in manifest["files"].items() if name != CUTOFFS})
