from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from benchmarks.extraction_pipeline import (
    EXTRACTORS,
    REFERENCE,
    Ran,
    copy_inputs,
    main,
    one_page,
    recipe_with,
    run,
    table,
)
from curation import recipe as recipes
from curation.errors import InputError

BURN = "import time\nuntil = time.process_time() + {}\nwhile time.process_time() < until: pass\n"


def test_the_extractor_alone_changes() -> None:
    for name in ("tiny", "fineweb", "llama1", "dclm"):
        before = recipes.load(name)
        for extractor, line in EXTRACTORS.items():
            after = recipes.parse(tomllib.loads(recipe_with(name, extractor)))
            given = tomllib.loads(line.replace(", ", "\n"))
            first, *rest = after.sources["commoncrawl"]
            assert (first.kind, first.name) == ("extract", given.pop("extract"))
            assert first.options == given
            assert rest == list(before.sources["commoncrawl"][1:])
            assert {**after.sources, "commoncrawl": 0} == {**before.sources, "commoncrawl": 0}


def test_a_recipe_without_web_pages_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="0 lines"):
        recipe_with("ccnet", "resiliparse")
    with pytest.raises(InputError, match="no recipe nothing"):
        recipe_with("nothing", "resiliparse")


def run_child(*command: str) -> subprocess.CompletedProcess[str]:
    module = [sys.executable, "-m", "benchmarks.extraction_pipeline", "--child"]
    return subprocess.run([*module, *command], capture_output=True, encoding="utf-8", cwd=Path(__file__).parents[2])


def test_cpu_time_is_that_of_all_processes() -> None:
    """One that the run leaves behind too; one that only waits costs nothing."""
    left_behind = f"import time; time.sleep(0.3); exec({BURN.format(0.4)!r})"
    script = (
        "import subprocess, sys\n"
        f"subprocess.run([sys.executable, '-c', {BURN.format(0.3)!r}])\n"
        f"subprocess.Popen([sys.executable, '-c', {left_behind!r}])\n"
    )
    assert 0.7 <= float(run_child(sys.executable, "-c", script).stdout) < 1.3
    assert float(run_child(sys.executable, "-c", "import time; time.sleep(0.5)").stdout) < 0.3


def test_the_status_of_the_run_is_handed_on_and_its_output_is_no_figure() -> None:
    done = run_child(sys.executable, "-c", "print('a line'); raise SystemExit(3)")
    assert done.returncode == 3
    assert float(done.stdout) < 0.3
    assert done.stderr == "a line\n"


def test_a_run_of_one_page(tmp_path: Path) -> None:
    one_page(tmp_path / "one")
    (tmp_path / "place").mkdir()
    ran = run(tmp_path / "place", tmp_path / "one", "tiny", "trafilatura fast", "none", "documents")
    assert (ran.pages, ran.kept) == (1, 1)
    assert 0.5 < ran.seconds < 60


def test_copies_have_names_of_their_own(tmp_path: Path) -> None:
    for name in ("a.gz", "b.gz"):
        (tmp_path / name).write_bytes(name.encode() * 5)
    assert copy_inputs([f"{tmp_path}/*.gz", f"{tmp_path}/a.gz"], 3, tmp_path / "all") == 3 * 2 * 20
    copies = sorted((tmp_path / "all").iterdir())
    assert [path.name[6:] for path in copies] == ["a.gz", "b.gz"] * 3
    assert {path.read_bytes() for path in copies} == {b"a.gz" * 5, b"b.gz" * 5}
    with pytest.raises(InputError, match="no such file"):
        copy_inputs([f"{tmp_path}/*.warc"], 1, tmp_path / "none")


def test_table_by_hand() -> None:
    ran = {REFERENCE: [Ran(60, 100, 90), Ran(52, 100, 90)], "winnow": [Ran(7, 100, 91)]}
    starts = {REFERENCE: [Ran(2, 1, 1), Ran(4, 1, 1)], "winnow": [Ran(3, 1, 1)]}
    assert table(ran, starts).splitlines()[2:] == [
        f"| {REFERENCE} | 100 | 90 | 52.0 | 2.0 | 1.9 | 2.0 | 1.00 |",
        "| winnow | 100 | 91 | 7.0 | 3.0 | 14.3 | 25.0 | 12.50 |",
    ]


def test_mistakes_are_told_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least 1"):
        main(["--input", "x", "--copies", "0"])
    with pytest.raises(InputError, match="no such file"):
        main(["--input", f"{tmp_path}/*.gz", "--extractors", "resiliparse"])
    with pytest.raises(InputError, match="no recipe x"):
        main(["--input", "x", "--recipe", "x"])
