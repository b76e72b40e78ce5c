"""From dump to score: exactly the pages that a dump cites are found, and what is learned does not depend on parts."""

from __future__ import annotations

import bz2
import json
import random
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import pytest
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import S3Options

from curation.document import Document
from curation.errors import InputError, ModelError, UserError
from curation.ledger import Balance
from curation.url import registered_domain
from models.artifact import open_artifact, read_manifest
from models.reference_score import ReferenceScore
from models.train_reference import FOLDS, fold_of
from pipelines import inputs, reference, reference_join, storage
from pipelines.part_files import PartWriter, StageFiles
from pipelines.reference_join import PAGE, SendHashes, _site_key, match
from pipelines.reference_sample import (
    ALL,
    CANDIDATE,
    CITED,
    FEWEST_OF_A_LANGUAGE,
    SAMPLED,
    STRATUM,
    add_strata,
    bins,
    choose,
    folds,
    limit,
    rates,
)
from pipelines.stages import Result, Run, part_name

SPELLINGS = [
    "<ref>{url}</ref>",
    '<ref name="n{n}">[{url} A title]</ref> and again <ref name="n{n}" />',
    "<ref name=n{n}>\n{{{{cite web\n | url = {url}\n | title = T\n}}}}</ref>",
    "* [http://{bare}/ over http, with a slash]",
    "[//www.{bare} neither scheme nor the same host]",
    "<ref>{{{{Internetquelle |url={url} |archiv-url=https://web.archive.org/web/20150101/{url} |titel=T}}}}</ref>",
    "<ref>{{{{lien web|archive-url=https://archive.today/20150101/{url}}}}}</ref>",
    "{url}#part",
    "[{url}?utm_source=wiki&fbclid=1 how a visitor came]",
]
CITED_WORDS = [
    "archive",
    "census",
    "ministry",
    "survey",
    "museum",
    "treaty",
    "parish",
    "railway",
    "botany",
    "journal",
    "verdict",
]
OTHER_WORDS = [
    "basket",
    "checkout",
    "discount",
    "login",
    "coupon",
    "shipping",
    "password",
    "gallery",
    "subscribe",
    "cookies",
]
PLAIN_WORDS = [f"word{number}" for number in range(60)]


@cache
def documents() -> tuple[tuple[Document, bool], ...]:
    """1,500 documents of 299 sites in two languages, and whether each is cited. The cited ones are longer on average,
    and twice as many of them are German, so length and language alone would tell much."""
    chance, found = random.Random(5), []
    for number in range(1500):
        cited = number % 3 == 0
        own = CITED_WORDS if cited else OTHER_WORDS
        size = chance.randrange(40, 260) if cited else chance.randrange(20, 160)
        text = " ".join(chance.choice(own if chance.random() < 0.06 else PLAIN_WORDS) for _ in range(size))
        found.append(
            (
                Document(
                    id=f"commoncrawl:crawl-data/{number // 500}.warc.gz#{number % 500 * 1000}",
                    url=f"https://site{number * 7 % 299}.example/page-{number}",
                    date="",
                    digest="",
                    text=text,
                    language="de" if chance.random() < (0.5 if cited else 0.25) else "en",
                ),
                cited,
            )
        )
    extra = Document(id="commoncrawl:crawl-data/3.warc.gz#0", url="", date="", digest="", text=text, language="en")
    again, short = documents_again(found[0][0]), documents_again(found[3][0], text="Too short.")
    return (*found, (extra, False), (again, True), (short, True))


def documents_again(document: Document, text: str = "") -> Document:
    url = document.url.replace("https://", "http://www.") + "/#top"
    id = f"commoncrawl:crawl-data/4.warc.gz#{len(text)}"
    return Document(id=id, url=url, date="", digest="", text=text or document.text, language=document.language)


def write_crawl(run: Path, size: int, mine: Sequence[Document]) -> Path:
    """A finished stage whose parts hold `size` documents each, made with the writer that makes them."""
    root = run / "commoncrawl" / "documents"
    files, total = StageFiles(str(root)), Balance("documents")
    for number, start in enumerate(range(0, len(mine), size)):
        with PartWriter(files, number) as writer:
            for document in mine[start : start + size]:
                writer.keep(document)
            count = len(mine[start : start + size])
            balance = Balance("documents", incoming=count, kept=count)
            total = total + balance
            writer.commit({"key": "k", "part": part_name(number), "balances": [balance.to_json()]}, None)
    storage.write_json(
        str(root / "manifest.json"), Result("documents", "k", number + 1, {"documents": total}).to_json()
    )
    return root


def write_dump(path: Path, urls: Sequence[str]) -> Path:
    articles = []
    for at in range(0, len(urls), 20):
        cites = [
            SPELLINGS[n % len(SPELLINGS)].format(url=url, bare=url.partition("://")[2], n=n)
            for n, url in enumerate(urls[at : at + 20], at)
        ]
        articles.append(("0", "\n".join(["Some text.", *cites, "https://elsewhere.example/never-crawled"])))
    articles.append(("1", "https://site7.example/page-1 is cited on a talk page only"))
    xml = "".join(
        f"<page><title>A{n}</title><ns>{ns}</ns><id>{n}</id><revision><text>{escape(text)}</text></revision></page>"
        for n, (ns, text) in enumerate(articles, 1)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bz2.compress(f"<mediawiki>{xml}</mediawiki>".encode()))
    return path


def cited_documents() -> list[Document]:
    return [document for document, cited in documents() if cited]


def run_it(folder: Path, size: int, *more: str, mine: Sequence[Document] = ()) -> Path:
    """The command over parts of `size` documents; the models folder."""
    crawl = write_crawl(folder / "run", size, mine or [document for document, _ in documents()])
    urls = sorted({document.url for document in cited_documents() if "www." not in document.url})
    half = len(urls) // 2
    write_dump(folder / "enwiki.xml.bz2", urls[:half])
    write_dump(folder / "dewiki.xml.bz2", urls[half - 50 :])  # 50 are cited in both
    options = ["--crawl-run", str(crawl), "--out", str(folder / "models"), "--workers", "1", "--quiet"]
    assert reference.main(["--dump", str(folder / "*.xml.bz2"), *options, *more]) == 0
    return folder / "models"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reference")
    run_it(folder, 400)
    return folder


def found_cited(folder: Path) -> set[str]:
    """Ids of the documents that the join says are cited, read from its own files."""
    from pipelines.part_files import read_documents
    from pipelines.reference_sample import Pages

    work, crawl = str(folder / "run" / "reference"), StageFiles(str(folder / "run/commoncrawl/documents"))
    pages = Pages(work, storage.read_json(f"{work}/join/plan.json")["passes"])
    ids = set()
    for number in range(len(list((folder / "run/commoncrawl/documents/kept").iterdir()))):
        rows = pages.rows(number)
        mine = list(read_documents(crawl.kept(number)))
        ids |= {document.id for document, yes in zip(mine, pages.cited(rows, number), strict=True) if yes}
    return ids


def test_exactly_the_cited_documents_are_found(folder: Path) -> None:
    want = {document.id for document in cited_documents() if len(document.text) >= 200}
    assert len(want) >= 400
    assert found_cited(folder) == want


def test_the_books_balance(folder: Path) -> None:
    books = read_manifest(folder / "models" / "reference")["parameters"]["books"]
    account = books["documents"]
    short = sum(len(document.text) < 200 and bool(document.url) for document, _ in documents())
    assert short > 10
    assert account["in"] == len(documents())
    assert account["dropped"] == {"no_address": 1, "too_short": short}
    assert account["kept"] == len(found_cited(folder))
    assert account["skipped"] == {"candidate": account["in"] - account["kept"] - short - 1}
    cited = books["cited"]
    assert cited["in"] == account["kept"]
    assert cited["in"] == cited["kept"] + sum(cited["dropped"].values()) + sum(cited["skipped"].values())
    assert cited["dropped"]["repeated_address"] == 1
    report = json.loads((folder / "models/reference/report.json").read_text())
    assert cited["kept"] == report["positives"] + report["held_out_positives"] + unscored(folder, report["minimum"])


def unscored(folder: Path, minimum: int) -> int:
    """Chosen cited pages of held-out sites that are shorter than the model will judge."""
    rows = chosen(folder)
    return int(((rows["role"] == CITED) & (folds(rows["site"]) == 0) & (rows["characters"] < minimum)).sum())


def chosen(folder: Path) -> np.ndarray:
    (path,) = (folder / "run" / "reference").glob("chosen-*.npy")
    rows = np.load(path)
    return rows[rows["role"] < 2]


def test_classes_are_alike_in_length_and_language(folder: Path) -> None:
    rows = chosen(folder)
    sides = [rows[rows["role"] == role] for role in (CANDIDATE, CITED)]
    for fold in range(FOLDS):
        for language in (b"de", b"en"):
            here = [side[(folds(side["site"]) == fold) & (side["language"] == language)] for side in sides]
            lengths = [np.sort(side["characters"]).astype(float) for side in here]
            assert len(lengths[0]) == len(lengths[1]) > 0
            assert np.abs(lengths[0] / lengths[1] - 1).max() <= 0.04
    for side in sides:
        assert max(Counter(side["site"].tolist()).values()) <= 10
        assert len(np.unique(side["hash"])) == len(side)


def test_what_is_measured(folder: Path) -> None:
    report = json.loads((folder / "models/reference/report.json").read_text())
    assert report["positives"] + report["held_out_positives"] >= 200
    assert report["claims"] == "held-out sites"
    assert report["auc"]["low"] > 0.8
    assert 0.35 < report["baseline"]["value"] < 0.65  # untouched, length and language would give 0.75
    assert report["baseline"]["low"] < 0.5 < report["baseline"]["high"]
    assert report["calibration_error"] < 0.2
    kept = [[row[name] for row in report["thresholds"]] for name in ("cited", "others", "crawl")]
    assert all(shares == sorted(shares, reverse=True) for shares in kept)
    assert all(cited >= other for cited, other in zip(*kept[:2], strict=True))
    held_out = sum(fold_of(registered_domain(document.url)) == 0 for document, _ in documents())
    assert report["crawl_documents"] == held_out > 0
    assert "Share kept" in (folder / "models/reference/report.svg").read_text()


def test_the_model_scores(folder: Path) -> None:
    score = ReferenceScore().load({"reference": open_artifact(folder / "models", "reference")})
    archive = " ".join(CITED_WORDS * 10)
    texts = [archive, " ".join(OTHER_WORDS * 10), "short"]
    first, second, short = score([Document(id="a:b#0", url="", date="", digest="", text=text) for text in texts])
    assert first.reference_score > 0.9
    assert second.reference_score < 0.1
    assert short.reference_score is None
    foreign = Document(id="a:b#0", url="", date="", digest="", text=archive, language="fr")
    assert score([foreign])[0].reference_score is None


@pytest.mark.parametrize(("size", "memory"), [(37, "64KiB"), (5000, "4GiB")])
def test_parts_and_memory_change_no_byte(folder: Path, tmp_path: Path, size: int, memory: str) -> None:
    models = run_it(tmp_path, size, "--memory", memory)
    passes = json.loads((tmp_path / "run/reference/join/plan.json").read_text())["passes"]
    assert (passes > 1) == (memory == "64KiB")
    for name in ("weights.npy", "settings.json", "report.json", "report.svg"):
        assert (models / "reference" / name).read_bytes() == (folder / "models/reference" / name).read_bytes(), name
    same, other = (read_manifest(each / "reference")["parameters"] for each in (models, folder / "models"))
    assert same == other
    assert same["books"]["crawl"] == "k"  # the stage's key: neither where it lies nor how long it took


def test_memory_of_a_dump_is_by_hashes_not_articles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """20 links an article: no more than 256 hashes and one article's are held before they are sorted."""
    write_dump(tmp_path / "dump.xml.bz2", [f"https://site{n}.example/" for n in range(1000)])
    (dump,) = inputs.cut(inputs.find([str(tmp_path / "dump.xml.bz2")], {"wikipedia": inputs.WHOLE}), ALL)
    monkeypatch.setattr(reference_join, "FLUSH", 256)
    held, concatenate = [], np.concatenate
    monkeypatch.setattr(np, "concatenate", lambda arrays: held.append(sum(map(len, arrays[1:]))) or concatenate(arrays))
    files = StageFiles(str(tmp_path / "citations"))
    reference_join.ReadDump(files, "k", (dump,))(0)
    monkeypatch.undo()
    assert 256 <= max(held) < 256 + 40
    assert len(np.load(files.file("citations", 0, ".npy"))) == 1001


def test_how_a_crawl_is_cut_is_in_the_keys_of_its_stages(folder: Path, tmp_path: Path) -> None:
    cuts = [write_crawl(tmp_path / str(size), size, [d for d, _ in documents()]) for size in (400, 500)]
    found = [reference._crawl(str(root)) for root in (folder / "run/commoncrawl/documents", *cuts)]
    assert [key for _, _, key in found] == ["k"] * 3
    assert [list(counts.values()) for _, counts, _ in found] == [[400, 400, 400, 303]] * 2 + [[500, 500, 500, 3]]
    run = Run(str(tmp_path), "", lambda name, build, light=False: None, 1, progress=False)
    keys = [reference.Search(run, None, *each)._key for each in found]
    assert keys[0] == keys[1] != keys[2]


def test_the_code_that_reads_texts_is_in_their_key(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crawl, counts, key = reference._crawl(str(folder / "run/commoncrawl/documents"))
    run = Run(str(tmp_path), "", lambda name, build, light=False: None, 1, progress=False)
    options = reference.parser().parse_args(["--dump", "d", "--crawl-run", "r", "--out", "o"])

    def key_of() -> str:
        search = reference.Search(run, options, crawl, counts, key)
        monkeypatch.setattr(search, "_stage", lambda name, work, light: None)
        return search.texts(np.zeros(1, dtype=SAMPLED)).key

    before = key_of()
    assert key_of() == before
    monkeypatch.setattr(reference, "code_identity", lambda module: f"{module}, edited")
    assert key_of() != before


def test_beam_options_are_known_before_anything_is_opened(tmp_path: Path) -> None:
    options = ["--dump", "d", "--crawl-run", str(tmp_path), "--out", str(tmp_path), "--s3_region_name=eu-x-1"]
    try:
        with pytest.raises(InputError):
            reference.main(options)
        assert FileSystems._pipeline_options.view_as(S3Options).s3_region_name == "eu-x-1"
    finally:
        storage.configure(())


def test_the_same_command_continues(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    work = folder / "run" / "reference"
    before = {path: path.stat().st_mtime_ns for path in work.rglob("*.npy") if "chosen" not in path.name}
    weights = (folder / "models/reference/weights.npy").read_bytes()
    (work / "pages" / "manifest.json").unlink()
    lost = work / "pages" / "ledger" / "part-0000001.json"
    lost.unlink()
    options = ["--crawl-run", str(folder / "run/commoncrawl/documents"), "--out", str(folder / "models"), "--quiet"]
    assert reference.main(["--dump", str(folder / "*.xml.bz2"), *options, "--workers", "1"]) == 0
    assert lost.exists()
    again = {path for path, time in before.items() if path.stat().st_mtime_ns != time}
    assert again == {work / "pages" / "pages" / "part-0000001.npy"}
    assert (folder / "models/reference/weights.npy").read_bytes() == weights
    assert "cited: " in capsys.readouterr().out


def test_other_options_do_not_meet_old_results(folder: Path, tmp_path: Path) -> None:
    def counts(*more: str) -> tuple[dict, dict]:
        manifest = read_manifest(run_it(tmp_path, 400, *more) / "reference")["parameters"]
        return manifest["books"]["documents"], manifest

    account, manifest = counts("--languages", "de")
    foreign = sum(document.language != "de" for document, _ in documents())
    assert account["dropped"]["other_language"] > foreign / 2
    assert manifest["languages"] == ["de"]
    account, manifest = counts("--most", "100", "--per-site", "1")
    assert "other_language" not in account["dropped"]
    assert manifest["books"]["cited"]["kept"] <= 100
    assert manifest["books"]["cited"]["dropped"]["site_full"] > 0
    assert manifest["claims"] == "none"
    assert "Nothing is claimed" in (tmp_path / "models/reference/report.svg").read_text()


def test_too_few_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    crawl = write_crawl(tmp_path / "run", 400, [document for document, _ in documents()][:600])
    options = ["--crawl-run", str(crawl), "--out", str(tmp_path / "models"), "--workers", "1", "--quiet"]
    dump = write_dump(tmp_path / "one.xml.bz2", ["https://site7.example/page-1"] * 3)
    with pytest.raises(UserError, match=r"cite 1, .* nothing is claimed"):
        reference.main(["--dump", str(dump), *options])
    assert not (tmp_path / "models").exists()
    capsys.readouterr()
    urls = [document.url for document, cited in documents()[:600] if cited]
    assert reference.main(["--dump", str(write_dump(tmp_path / "few.xml.bz2", urls)), *options]) == 0
    printed = capsys.readouterr().out
    assert "nothing is claimed for this model: it knows" in printed
    assert "AUC" not in printed
    assert read_manifest(tmp_path / "models" / "reference")["parameters"]["claims"] == "none"


def test_what_cannot_be_done_is_said(folder: Path, tmp_path: Path) -> None:
    crawl, dump = str(folder / "run/commoncrawl/documents"), str(folder / "enwiki.xml.bz2")
    more = ["--work", str(tmp_path / "work"), "--workers", "1", "--quiet", "--out", str(tmp_path / "models")]
    with pytest.raises(InputError, match="not a finished stage"):
        reference.main(["--dump", dump, "--crawl-run", str(tmp_path), *more])
    with pytest.raises(InputError, match="no input file matches"):
        reference.main(["--dump", str(tmp_path / "no.xml"), "--crawl-run", crawl, *more])
    with pytest.raises(UserError, match="--most is at least 1"):
        reference.main(["--dump", dump, "--crawl-run", crawl, "--most", "0", *more])
    with pytest.raises(UserError, match="unknown option --langages"):
        reference.main(["--dump", dump, "--crawl-run", crawl, "--langages", "de", *more])
    nameless = [Document(id="a:b#0", url="http://a.org", date="", digest="", text="t")]
    bare = write_crawl(tmp_path / "bare", 10, nameless)
    with pytest.raises(ModelError, match=r"language_id .*models\.fetch"):
        reference.main(["--dump", dump, "--crawl-run", str(bare), *more])


def test_only_hashes_are_sent(folder: Path) -> None:
    files = StageFiles(str(folder / "run" / "reference" / "pages"))
    rows = np.load(files.file("pages", 0, ".npy"))
    sent = [dict(SendHashes(files, "pages", turn, 3, 4)(0)) for turn in range(3)]
    usable = np.unique(rows["hash"][rows["excluded"] == 0])
    assert sum(len(payload) for turn in sent for payload in turn.values()) == 8 * len(usable) + 4 * sum(map(len, sent))
    assert [0 in turn for turn in sent] == [True] * 3
    together = np.concatenate([np.frombuffer(turn[b], "<u8", offset=4) for turn in sent for b in sorted(turn)])
    assert together.tolist() == usable.tolist()


def test_a_part_without_hashes_is_heard_of_all_the_same(tmp_path: Path) -> None:
    files = StageFiles(str(tmp_path))
    for rows in (np.zeros(0, dtype=PAGE), np.ones(3, dtype=PAGE)):  # the ones are excluded
        path = Path(files.file("pages", 3, ".npy"))
        path.parent.mkdir(exist_ok=True)
        np.save(path, rows)
        assert list(SendHashes(files, "pages", 1, 2, 4)(3)) == [(0, np.uint32(3).tobytes())]


def test_match() -> None:
    def payload(number: int, hashes: list[int]) -> bytes:
        return np.uint32(number).tobytes() + np.array(hashes, dtype="<u8").tobytes()

    dump = 0xFFFFFFFF
    sent = [payload(7, [1, 5, 9]), payload(dump, [5]), payload(2, []), payload(dump, [1, 5, 8])]
    for order in (sent, sent[::-1]):
        found = dict(match((0, order)))
        assert np.frombuffer(found[7], "<u8").tolist() == [3, 1, 5]
        assert np.frombuffer(found[2], "<u8").tolist() == [0]
    assert np.frombuffer(dict(match((0, sent[:1])))[7], "<u8").tolist() == [3]


def test_sites_are_in_the_same_fold_on_both_sides() -> None:
    for number in range(50):
        url = f"http://www.site{number}.co.uk/x"
        assert int(folds(np.array([_site_key(url)], dtype=np.uint64))[0]) == fold_of(registered_domain(url))


def rows_of(role: int, count: int, seed: int = 0, **same: object) -> np.ndarray:
    chance = np.random.default_rng([role, seed])
    rows = np.zeros(count, dtype=SAMPLED)
    rows["role"], rows["language"], rows["characters"], rows["site"] = (
        role,
        b"en",
        500,
        chance.integers(0, 1 << 60, count) * 5,
    )
    rows["hash"], rows["order"] = chance.integers(0, 1 << 62, count), chance.integers(0, 1 << 62, count)
    for name, value in same.items():
        rows[name] = value
    return rows


def test_choose() -> None:
    cited, others = rows_of(CITED, 50), rows_of(CANDIDATE, 30)  # all of one fold, one language and one length
    kept, account = choose(np.concatenate([cited, others]), 1000, 10)
    assert (account.incoming, account.kept, dict(account.dropped)) == (50, 30, {"unmatched": 20})
    first = np.sort(cited["order"])[:30]
    assert sorted(kept["order"][kept["role"] == CITED].tolist()) == first.tolist()
    shuffled = np.concatenate([cited, others])[np.random.default_rng(0).permutation(80)]
    assert choose(shuffled, 1000, 10)[0].tolist() == kept.tolist()
    for name, value, reason in (("site", 5, "site_full"), ("hash", 5, "repeated_address")):
        same = np.concatenate([rows_of(CITED, 50, **{name: value}), rows_of(CITED, 30, 1), others])
        assert choose(same, 1000, 10)[1].dropped[reason] == (40 if reason == "site_full" else 49)
    assert choose(np.concatenate([cited, others]), 25, 10)[1].dropped == Counter(more_than_most=25)
    few = FEWEST_OF_A_LANGUAGE
    for count, reason in ((few - 1, {"rare_language": few - 1}), (few, {})):
        both = np.concatenate([rows_of(CITED, count), rows_of(CANDIDATE, count)])
        assert dict(choose(both, 1000, 10)[1].dropped) == reason
    elsewhere = np.concatenate([cited, rows_of(CANDIDATE, 50, language=b"de")])
    assert choose(elsewhere, 1000, 10)[1].dropped == Counter(unmatched=50)
    for characters, unmatched in ((520, 0), (521, 50), (480, 0), (479, 50)):
        longer = np.concatenate([cited, rows_of(CANDIDATE, 50, characters=characters)])
        assert choose(longer, 1000, 10)[1].dropped.total() == unmatched
    near = np.concatenate([rows_of(CANDIDATE, 25, characters=510), rows_of(CANDIDATE, 25, 1, characters=505)])
    pairs = choose(np.concatenate([cited[:25], near]), 1000, 10)[0]
    assert set(pairs["characters"][pairs["role"] == CANDIDATE].tolist()) == {505}
    assert len(choose(np.empty(0, dtype=SAMPLED), 10, 10)[0]) == 0


def test_rates_draw_enough_and_no_more() -> None:
    assert limit(5, 5) == limit(6, 5) == ALL
    assert limit(1, 4) == 1 << 62
    tables = [np.array([(b"en", 3, 600, 10**6), (b"de", 4, 0, 500)], dtype=STRATUM)] * 2
    total = add_strata(tables)
    assert total.tolist() == [(b"de", 4, 0, 1000), (b"en", 3, 1200, 2 * 10**6)]
    cited, limits = rates(total, 10**5)
    assert cited == ALL
    ((language, place, most),) = limits
    assert (language, place) == (b"en", 3)
    assert 4 * 1200 <= most * 2 * 10**6 / 2**64 <= 4 * 1200 + 300
    assert rates(total, 30)[0] == (120 << 64) // 1200


def test_length_bins_are_half_octaves() -> None:
    edges = bins(np.array([1, 2, 199, 200, 255, 256, 361, 362, 363, 512, 1 << 31], dtype=np.uint32)).tolist()
    assert edges == sorted(edges)
    assert edges[5] == edges[4] + 1
    assert bins(np.array([512])) == bins(np.array([256])) + 2
