from __future__ import annotations

import io
import json
import os
import random
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.document import Document, Page, Skip
from curation.errors import DataError
from curation.extractors.source_code import SourceCode
from curation.sources import distributions, github, licence_files
from curation.sources.given import Given, Value
from curation.sources.licence_files import Nearest, is_licence_file, of_files
from tests.curation.archives import given, given_folder, gz, tar_gz, zipped
from tests.curation.licence_texts import text

BLOB = "0123456789abcdef0123456789abcdef01234567"


def read(given: Given) -> dict[str, Value]:
    found = list(github.read(given))
    assert github.count(given) == len(found)
    assert len({locator for locator, _ in found}) == len(found)
    for locator, value in found:
        assert not isinstance(value, Page) or value.id == f"github:{given.file}#{locator}"
    return dict(found)


def licences(given: Given) -> dict[str, str]:
    return {value.title: value.licence for value in read(given).values() if isinstance(value, Page)}


of_folder = partial(given_folder, "github")


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, body in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body if isinstance(body, bytes) else body.encode())
    return folder


def row(**columns: object) -> Value:
    data = gz(json.dumps(columns).encode())
    return read(given("github", "export-000000000000.json.gz", data))["0"]


# Rows


def test_a_row_of_bigquery() -> None:
    columns = {"id": BLOB, "size": 5, "content": "x = 1", "binary": False, "copies": 3, "license": "mit"}
    assert row(**columns, sample_repo_name="a/b", sample_path="c d/e.py") == Page(
        id="github:export-000000000000.json.gz#0",
        url="https://github.com/a/b/blob/HEAD/c%20d/e.py",
        date="",
        digest=f"gitoid:blob:sha1:{BLOB}",
        status=0,
        content_type="text/x-source",
        charset="utf-8",
        body=b"x = 1",
        title="c d/e.py",
        licence="MIT",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("columns", "title", "url", "licence"),
    [
        ({"repo_name": "a/b", "path": "e.py", "license": "apache-2.0"}, "e.py", "a/b/blob/HEAD/e.py", "Apache-2.0"),
        ({"repo": "https://github.com/a/b.git", "file_path": "/e.py"}, "e.py", "a/b/blob/HEAD/e.py", ""),
        ({"repo": "not a repo", "path": "e.py", "licence": "MIT License"}, "e.py", "", "MIT"),
        (
            {"max_stars_repo_name": "a/b", "max_stars_repo_path": "e.py", "max_stars_repo_licenses": ["MIT", "Zlib"]},
            "e.py",
            "a/b/blob/HEAD/e.py",
            "MIT AND Zlib",
        ),
        ({"path": "e.py", "licenses": ["MIT", "ours"]}, "e.py", "", ""),
        ({"path": "e.py", "license": {"key": "mit"}}, "e.py", "", ""),
    ],
)
def test_names_of_columns(columns: dict[str, object], title: str, url: str, licence: str) -> None:
    page = row(content="x", **columns)
    assert isinstance(page, Page)
    assert (page.title, page.licence) == (title, licence)
    assert page.url == (f"https://github.com/{url}" if url else "")


@pytest.mark.parametrize(
    ("columns", "value"),
    [
        ({"content": None, "path": "a.png", "binary": True}, Skip("binary")),
        ({"content": "x", "path": "a", "symlink_target": "../b"}, Skip("link")),
        ({"content": None, "path": "a.py"}, "no_content"),
        ({"path": "a.py"}, "no_content"),
        ({"content": ["x"], "path": "a.py"}, "no_content"),
        ({"content": "x"}, "no_path"),
        ({"content": "x", "path": "/"}, "no_path"),
    ],
)
def test_rows_that_are_no_page(columns: dict[str, object], value: object) -> None:
    found = row(**columns)
    assert (found.reason if isinstance(found, DataError) else found) == value


def test_parquet() -> None:
    sink = io.BytesIO()
    table = {"content": pa.array([b"x = '\xe9'", None]), "path": ["a.py", "b.py"], "license": ["mit", "mit"]}
    pq.write_table(pa.table(table), sink)
    found = read(given("github", "x.parquet", sink.getvalue()))
    assert isinstance(found["0"], Page)
    assert (found["0"].body, found["0"].charset, found["0"].licence) == (b"x = '\xe9'", "", "MIT")
    assert isinstance(found["1"], DataError)


# Checkouts


def test_the_nearest_licence(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "one/.git/config": "[core]",
            "one/LICENSE": text("MIT"),
            "one/a.py": "x",
            "one/src/deep/b.py": "x",
            "one/src/lib/COPYING": text("BSD-3-Clause"),
            "one/src/lib/c.py": "x",
            "one/src/odd/LICENSE.txt": "All yours, but for Tuesdays.",
            "one/src/odd/d.py": "x",
            "two/.git": "gitdir: elsewhere",
            "two/e.py": "x",
            "two/licenses/LICENSE": text("MIT"),
            "three/f.py": "x",
            "LICENSE": text("Apache-2.0"),
        },
    )
    assert licences(of_folder(tmp_path)) == {
        "LICENSE": "Apache-2.0",
        "one/LICENSE": "MIT",
        "one/a.py": "MIT",
        "one/src/deep/b.py": "MIT",
        "one/src/lib/COPYING": "BSD-3-Clause",
        "one/src/lib/c.py": "BSD-3-Clause",
        "one/src/odd/LICENSE.txt": "",
        "one/src/odd/d.py": "",
        "two/e.py": "",  # a repository of its own, without a licence
        "two/licenses/LICENSE": "MIT",
        "three/f.py": "Apache-2.0",
    }


def test_a_part_has_some_of_a_folders_entries(tmp_path: Path) -> None:
    write(tmp_path, {"LICENSE": text("MIT"), "a/x.py": "x", "b/y.py": "y", "c.py": "z"})
    part = Given("github", "f", lambda: io.BytesIO(), tmp_path, ("b", "c.py"))
    assert licences(part) == {"b/y.py": "MIT", "c.py": "MIT"}


def test_what_is_not_read(tmp_path: Path) -> None:
    write(
        tmp_path,
        {".git/HEAD": "x", "a.png": b"\x89PNG", "b.py": "x", "a-1.dist-info/METADATA": "Name: a", "c/.git": "x"},
    )
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "link.py").symlink_to("b.py")
    assert {name: value.type for name, value in read(of_folder(tmp_path)).items() if isinstance(value, Skip)} == {
        ".git/HEAD": "git",
        "c/.git": "git",
        "a.png": "binary",
        "a-1.dist-info/METADATA": "package_metadata",
        "loop": "link",
        "link.py": "link",
    }


def test_a_licence_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    write(tmp_path, {"secret": text("MIT"), "repo/a.py": "x"})
    (tmp_path / "repo" / "LICENSE").symlink_to(tmp_path / "secret")
    assert licences(of_folder(tmp_path / "repo")) == {"a.py": ""}


@pytest.mark.parametrize(
    ("files", "licence"),
    [
        ({"LICENSE": "MIT"}, "MIT"),
        ({"LICENSE": "MIT", "COPYING": "MIT"}, "MIT"),
        ({"LICENSE": "MIT", "COPYING": "BSD-3-Clause"}, "BSD-3-Clause AND MIT"),
        ({"LICENSE": "MIT", "COPYING": "?"}, ""),
        ({"LICENSE": "MIT", "LICENSE-3RD-PARTY": "?"}, "MIT"),
        ({"LICENSE-3RD-PARTY": "?"}, ""),
        ({"LICENSE-MIT": "MIT", "LICENSE-APACHE": "Apache-2.0"}, "MIT"),
        ({"LICENSE-MIT": "MIT", "LICENSE-GPL": "?"}, ""),
        ({"LICENSE.APACHE": "Apache-2.0", "LICENSE.BSD": "BSD-2-Clause", "LICENSE": "either"}, "BSD-2-Clause"),
        ({"LICENSE.APACHE": "Apache-2.0", "LICENSE.BSD": "BSD-2-Clause", "LICENSE": "?"}, ""),
        ({"licence.md": "MIT"}, "MIT"),
    ],
)
def test_licence_files_of_a_folder(files: dict[str, str], licence: str) -> None:
    words = {"?": "Terms of our own.", "either": "This is under the terms of *either* of the licenses found beside."}
    assert of_files({name: words.get(id) or text(id) for name, id in files.items()}) == licence


def test_names_of_licence_files() -> None:
    names = [
        "LICENSE",
        "license",
        "LICENCE.txt",
        "COPYING",
        "COPYING.LESSER",
        "UNLICENSE",
        "MIT-LICENSE",
        "LICENSE-MIT.md",
    ]
    assert all(map(is_licence_file, names))
    names = ["license.py", "LICENSE.go", "licensing", "README", "copying_files.c", "copy", "relicense.md"]
    assert not any(map(is_licence_file, names))


# Archives


@pytest.mark.parametrize("pack", [tar_gz, zipped])
def test_an_archive_with_the_licence_at_its_end(pack: Callable[[dict[str, str]], bytes]) -> None:
    files = {"b-1.0/a.py": "x", "b-1.0/c/d.c": "int x;", "b-1.0/LICENSE": text("MIT"), "b-1.0/e.zip": "PK"}
    archive = given("github", "b.tar.gz", pack(files))
    assert licences(archive) == {"b-1.0/a.py": "MIT", "b-1.0/c/d.c": "MIT", "b-1.0/LICENSE": "MIT"}
    assert read(archive)["b-1.0/e.zip"] == Skip("binary")


def test_a_path_that_comes_twice() -> None:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for body in (b"one", b"two"):
            info = tarfile.TarInfo("a.py")
            info.size = 3
            archive.addfile(info, io.BytesIO(body))
    found = read(given("github", "a.tar", sink.getvalue()))
    assert isinstance(found["a.py"], Page)
    assert isinstance(found["1"], DataError)
    assert found["1"].reason == "duplicate_path"


def test_an_archive_that_breaks_off() -> None:
    files = {f"r/{number}.py": random.Random(number).randbytes(3000).hex() for number in range(50)}
    data = tar_gz(files)
    found = read(given("github", "r.tar.gz", data[: len(data) // 2]))
    errors = [value.reason for value in found.values() if isinstance(value, DataError)]
    assert set(errors) == {"truncated"}
    assert any(isinstance(value, Page) for value in found.values())


def test_a_wheel() -> None:
    metadata = "Name: b\nLicense-Expression: BSD-3-Clause\n\nAbout b.\n"
    files = {"b/a.py": "x", "b-1.dist-info/METADATA": metadata, "b-1.dist-info/RECORD": "b/a.py,,"}
    assert licences(given("github", "b.whl", zipped(files))) == {"b/a.py": "BSD-3-Clause"}


def test_a_single_file() -> None:
    assert licences(given("github", "sub/a.py", b"x = 1\n")) == {"a.py": ""}


# Installed packages


def metadata(*lines: str) -> str:
    return "\n".join(("Metadata-Version: 2.4", "Name: x", *lines, "", "License: GPL", ""))


@pytest.mark.parametrize(
    ("fields", "files", "licence"),
    [
        (["License-Expression: MIT"], {}, "MIT"),
        (["License-Expression: MIT OR GPL-2.0-only"], {"LICENSE": "Apache-2.0"}, "MIT"),
        (["License-Expression: MIT AND Zlib"], {"LICENSE": "MIT"}, "MIT AND Zlib"),
        (["License: MIT"], {}, "MIT"),
        (["License: MIT OR Apache-2.0", "Classifier: License :: OSI Approved :: Apache Software License"], {}, "MIT"),
        (["License: MIT"], {"LICENSE": "MIT"}, "MIT"),
        (["License: MIT"], {"LICENSE": "Apache-2.0"}, ""),
        (["License: MIT"], {"LICENSE": "?"}, "MIT"),
        (["License: BSD"], {"LICENSE": "BSD-3-Clause"}, "BSD-3-Clause"),
        (["License: BSD"], {}, ""),
        (["Classifier: License :: OSI Approved :: MIT License"], {}, "MIT"),
        (["Classifier: License :: OSI Approved :: BSD License"], {}, ""),
        (["Classifier: License :: OSI Approved :: BSD License"], {"LICENSE": "BSD-2-Clause"}, "BSD-2-Clause"),
        (["Classifier: License :: OSI Approved :: BSD License"], {"LICENSE": "MIT"}, ""),
        (["Classifier: License :: OSI Approved :: Apache Software License"], {"LICENSE": "Apache-2.0"}, "Apache-2.0"),
        (["Classifier: License :: Other/Proprietary License"], {"LICENSE": "MIT"}, ""),
        (
            ["License: MIT", "Classifier: License :: OSI Approved :: GNU General Public License v3 (GPLv3)"],
            {"LICENSE": "MIT"},
            "",
        ),
        ([], {"LICENSE": "MIT"}, "MIT"),
        ([], {}, ""),
    ],
)
def test_metadata(fields: list[str], files: dict[str, str], licence: str) -> None:
    texts = {name: "Terms of our own." if id == "?" else text(id) for name, id in files.items()}
    assert distributions.of_metadata(metadata(*fields), texts) == licence


def test_a_folder_of_installed_packages(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "LICENSE": text("MIT"),  # of nobody
            "a/x.py": "x",
            "a/part/LICENSE": text("BSD-2-Clause"),
            "a/part/y.py": "x",
            "a-1.dist-info/METADATA": metadata("License: Apache License 2.0"),
            "a-1.dist-info/licenses/LICENSE": text("Apache-2.0"),
            "a-1.dist-info/RECORD": 'a/x.py,sha256=x,1\na/part/y.py,,\n"shared/p,q.py",,\nshared/both.py,,\n',
            "b.py": "x",
            "b-1.dist-info/METADATA": metadata("License-Expression: MIT"),
            "b-1.dist-info/RECORD": "b.py,,\nshared/both.py,,\n",
            "shared/p,q.py": "x",
            "shared/both.py": "x",
            "stray.py": "x",
        },
    )
    assert licences(of_folder(tmp_path)) == {
        "LICENSE": "",
        "a/x.py": "Apache-2.0",
        "a/part/LICENSE": "BSD-2-Clause",
        "a/part/y.py": "BSD-2-Clause",
        "b.py": "MIT",
        "shared/p,q.py": "Apache-2.0",
        "shared/both.py": "",
        "stray.py": "",
    }


def test_half_a_character() -> None:
    half = "\ud800"
    for columns in (
        {"content": half, "path": f"a{half}.py", "repo_name": f"a{half}/b", "license": half, "id": half},
        {"content": half, "path": f"a{half}.py", "repo_name": "a/b", "license": [half, "mit"]},
    ):
        page = row(**columns)
        assert isinstance(page, Page)
        assert (page.title, page.licence, page.body.decode()) == ("a\ufffd.py", "", "\ufffd")
        strings = [value for name in Page.__slots__ if isinstance(value := getattr(page, name), str)]
        pa.array(strings, pa.string())
        document = SourceCode()(page)
        assert isinstance(document, Document)
        pa.array([document.text, document.licence, document.url], pa.string())


def test_an_unfinished_licence() -> None:
    page = row(content="x", path="a.c", license="GPL-2.0 WITH")
    assert isinstance(page, Page)
    assert page.licence == ""


# Limits


def test_no_licence_is_sure_deep_down() -> None:
    asked = []
    nearest = Nearest(lambda folder: asked.append(folder) or ("MIT" if not folder else None), lambda folder: False)
    for _ in range(2):  # nor when the folders above are known
        assert nearest.of("a/" * 65 + "x.py") == ""
        assert nearest.of("a/" * 64 + "x.py") == "MIT"
    assert len(asked) == 65
    asked.clear()
    assert nearest.of("/".join("a" * 100_000)) == ""
    assert asked == []


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(licence_files, "_MOST_REMEMBERED", 10_000)
    nearest = Nearest(lambda folder: None, lambda folder: False)
    most = 0
    for number in range(200):
        assert nearest.of(f"{number}{'x' * 1000}/a/b/c.py") is None
        most = max(most, sum(map(len, nearest._known)))
    assert 2000 < most <= 10_000


def test_an_archive_of_too_many_licence_files(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {f"{number}/{name}": text("MIT") for number in range(4) for name in ("LICENSE", "a.py")}
    monkeypatch.setattr(github, "_MOST_LICENCE_NAMES", 4 * (github._EACH + len("0/LICENSE")))
    assert set(licences(given("github", "a.tar.gz", tar_gz(files))).values()) == {"MIT"}
    monkeypatch.setattr(github, "_MOST_LICENCE_NAMES", 3 * (github._EACH + len("0/LICENSE")) - 1)
    assert set(licences(given("github", "a.tar.gz", tar_gz(files))).values()) == {""}


@pytest.mark.parametrize("name", ["METADATA", "RECORD"])
def test_a_pipe_among_metadata(tmp_path: Path, name: str) -> None:
    write(tmp_path, {"b.py": "x"})
    write(tmp_path / "b-1.dist-info", {"METADATA": "License-Expression: MIT\n", "RECORD": "b.py,,\n"})
    assert licences(of_folder(tmp_path)) == {"b.py": "MIT"}
    (tmp_path / "b-1.dist-info" / name).unlink()
    os.mkfifo(tmp_path / "b-1.dist-info" / name)
    assert licences(of_folder(tmp_path)) == {"b.py": ""}
