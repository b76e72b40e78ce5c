"""The models of others that can be fetched by name: where they lie, under which licence, and as which artifact.

A SHA-256 stands here only if it was computed on the file by us. The others are None: they are recorded at the first
fetch and shown as unverified.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from models.cutoffs import CCNET, FAMILY
from models.perplexity import BINARY, PIECES

_FACEBOOK = "https://dl.fbaipublicfiles.com"
_LID = f"{_FACEBOOK}/fasttext/supervised-models"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebFile:
    """One file: its address, its SHA-256 if we computed it, and its size where its publisher states one."""

    url: str
    sha256: str | None = None
    size: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A model: the artifact that it becomes, and the files of that artifact by their names there."""

    artifact: str
    files: Mapping[str, WebFile]
    licence: str
    origin: str
    kind: str
    format: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


def _language_id(file: str, sha256: str | None, size: str, format: str) -> Published:
    return Published(
        artifact="language_id",
        files={file: WebFile(url=f"{_LID}/{file}", sha256=sha256, size=size)},
        licence="CC-BY-SA-3.0",
        origin="fastText lid.176 (Joulin et al. 2016)",
        kind="language_id",
        format=format,
        parameters={"languages": 176},
    )


def _ccnet(language: str) -> Published:
    root = f"{_FACEBOOK}/cc_net/lm/{language}"
    return Published(
        artifact=f"perplexity-{language}",
        files={BINARY: WebFile(url=f"{root}.arpa.bin"), PIECES: WebFile(url=f"{root}.sp.model")},
        licence="not stated with the files; the code that made them is MIT, the text Wikipedia's, CC-BY-SA",
        origin="CCNet's language model (Wenzek et al. 2020)",
        kind="perplexity",
        format="SentencePiece unigram; KenLM binary",
        parameters={"language": language, "family": FAMILY},
    )


PUBLISHED: dict[str, Published] = {
    "lid.176": _language_id("lid.176.bin", None, "126 MB", "fastText"),
    "lid.176.ftz": _language_id(
        "lid.176.ftz",
        "8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83",
        "917 kB",
        "fastText, quantised",
    ),
    **{f"ccnet-lm-{language}": _ccnet(language) for language in sorted(CCNET)},
    "dclm-quality": Published(
        artifact="quality",
        files={
            "quality.bin": WebFile(
                url="https://huggingface.co/mlfoundations/fasttext-oh-eli5/resolve/main/"
                "openhermes_reddit_eli5_vs_rw_v2_bigram_200k_train.bin"
            )
        },
        licence="MIT",
        origin="DCLM's quality classifier (Li et al. 2024)",
        kind="quality",
        format="fastText",
    ),
}
