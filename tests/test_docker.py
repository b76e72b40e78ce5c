"""What can be wrong with an image without building it: its sources, pins, entry points, and lint."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCKERFILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
DATAFLOW = ROOT / "docker" / "dataflow.Dockerfile"
TRAINER = ROOT / "docker" / "trainer.Dockerfile"


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """(instruction, arguments) in order; comments gone, continued lines joined."""
    lines = [line for line in dockerfile.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [
        (name.upper(), rest.strip()) for name, _, rest in (line.partition(" ") for line in joined.splitlines()) if name
    ]


def values(dockerfile: Path, instruction: str) -> list[str]:
    return [rest for name, rest in instructions(dockerfile) if name == instruction]


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def in_context(path: str) -> bool:
    """Whether .dockerignore lets a file into the build. The last rule that matches it or a parent decides."""
    kept = True
    candidates = [str(PurePosixPath(path)), *map(str, PurePosixPath(path).parents)]
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        rule = line.strip()
        if not rule or rule.startswith("#"):
            continue
        pattern = re.escape(rule.lstrip("!").rstrip("/")).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*")
        if any(re.fullmatch(pattern, candidate) for candidate in candidates):
            kept = rule.startswith("!")
    return kept


def test_both_images_are_there() -> None:
    assert DOCKERFILES == [DATAFLOW, TRAINER]


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.stem)
def test_what_is_copied_exists_and_reaches_the_build(dockerfile: Path) -> None:
    copied = [shlex.split(arguments)[:-1] for arguments in values(dockerfile, "COPY") if "--from=" not in arguments]
    sources = [source for line in copied for source in line]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        files = (
            [ROOT / source]
            if (ROOT / source).is_file()
            else list((ROOT / source).rglob("*.py")) or list((ROOT / source).rglob("*.md"))
        )
        assert files, source
        assert all(in_context(str(file.relative_to(ROOT))) for file in files), source


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.stem)
def test_every_room_and_what_the_build_of_the_package_reads_is_copied(dockerfile: Path) -> None:
    copied = {source for arguments in values(dockerfile, "COPY") for source in shlex.split(arguments)[:-1]}
    setup = project()
    rooms = {pattern.rstrip("*") for pattern in setup["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert copied >= rooms | {"pyproject.toml", setup["project"]["readme"], *setup["project"]["license-files"]}


@pytest.mark.parametrize(
    "path",
    [".git/config", ".venv/bin/python", "sample/run/manifest.json", "tests/test_docker.py", ".env", "docs/dataflow.md",
     "curation/__pycache__/x.pyc", "models/deep/__pycache__/x.pyc", "docker/models/.gitignore"],
)  # fmt: skip
def test_what_no_image_needs_stays_out_of_the_build(path: str) -> None:
    assert not in_context(path)


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.stem)
def test_packages_are_installed_under_the_constraints_with_extras_that_exist(dockerfile: Path) -> None:
    installs = re.findall(r"pip install ([^&|;]+)", " && ".join(values(dockerfile, "RUN")))
    assert installs
    for install in installs:
        words = shlex.split(install)
        assert words[words.index("-c") + 1] == "constraints.txt"
        assert "--no-cache-dir" in words
        extras = re.fullmatch(r"\.\[([a-z,]+)\]", words[-1])
        assert extras, install
        assert set(extras[1].split(",")) <= set(project()["project"]["optional-dependencies"])


def test_base_images_agree_with_the_constraints_and_the_supported_python() -> None:
    python = project()["tool"]["mypy"]["python_version"]
    beam = pins()["apache-beam"]
    assert {image.split()[0] for image in values(DATAFLOW, "FROM")} == {f"apache/beam_python{python}_sdk:{beam}"}
    assert f"apache_beam.__version__ == '{beam}'" in DATAFLOW.read_text()
    assert values(TRAINER, "FROM") == [f"python:{python}-slim-bookworm"]


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.stem)
def test_modules_that_are_run_or_imported_exist(dockerfile: Path) -> None:
    text = dockerfile.read_text()
    commands = " ".join(
        values(dockerfile, "RUN") + [" ".join(json.loads(line)) for line in values(dockerfile, "ENTRYPOINT")]
    )
    modules = re.findall(r"python -m ([a-z_.]+)", commands) + re.findall(
        r"\b((?:models|pipelines|trainer)\.[a-z_]+)", text
    )
    assert modules
    for module in modules:
        assert (ROOT / (module.replace(".", "/") + ".py")).is_file(), module


def test_a_dataflow_worker_starts_as_beam_starts_it() -> None:
    assert [json.loads(line) for line in values(DATAFLOW, "ENTRYPOINT")] == [["/opt/apache/beam/boot"]]
    assert instructions(DATAFLOW)[-1][0] == "ENTRYPOINT"
    assert "RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1" in " ".join(values(DATAFLOW, "ENV"))


def test_the_trainer_does_not_run_as_root() -> None:
    assert int(values(TRAINER, "USER")[-1]) > 0


def test_the_stage_that_is_copied_from_is_built_with_the_script_in_the_tree() -> None:
    stages = {image.split()[2] for image in values(DATAFLOW, "FROM") if " AS " in image}
    copied = [re.match(r"--from=(\S+)", arguments) for arguments in values(DATAFLOW, "COPY")]
    assert {match[1] for match in copied if match} == stages
    assert os.access(ROOT / "docker" / "build_lmplz.sh", os.X_OK)


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.stem)
def test_hadolint_has_nothing_to_say(dockerfile: Path) -> None:
    done = subprocess.run([tool("hadolint"), dockerfile], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")


def test_shellcheck_has_nothing_to_say() -> None:
    script = ROOT / "docker" / "build_lmplz.sh"
    done = subprocess.run([tool("shellcheck"), script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")


def tool(name: str) -> str:
    """A linter from the environment that runs the tests, or from the PATH."""
    found = shutil.which(name, path=os.path.dirname(sys.executable)) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        ([], 2, "error: where to?"),
        (["--fast", "/nowhere"], 2, "error: unknown option --fast"),
        (["--help"], 0, ""),
    ],
)
def test_the_build_script_explains_itself(arguments: list[str], status: int, says: str) -> None:
    script = ROOT / "docker" / "build_lmplz.sh"
    done = subprocess.run([script, *arguments], capture_output=True, text=True, timeout=20)
    assert done.returncode == status
    assert says in done.stderr
    assert done.stderr.count("\n") <= 1
    assert ("PREFIX/bin" in done.stdout) == (status == 0)


@pytest.mark.skipif(os.name != "posix", reason="a Debian script")
def test_an_archive_that_is_not_kenlm_is_refused(tmp_path: Path) -> None:
    if not all(map(shutil.which, ["g++", "make", "cmake", "sha256sum"])):
        pytest.skip("no compiler")
    (tmp_path / "kenlm-0.3.0.tar.gz").write_bytes(b"something else")
    script = ROOT / "docker" / "build_lmplz.sh"
    done = subprocess.run([script, tmp_path / "out", tmp_path], capture_output=True, text=True, timeout=20)
    assert done.returncode == 2
    assert "is not the file this script was tested with" in done.stderr
    assert not list((tmp_path / "out" / "bin").iterdir())
