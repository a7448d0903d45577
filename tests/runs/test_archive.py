"""Zipped run folders read like folders; damaged and malicious archives are refused in one line."""

import zipfile
from pathlib import Path

import pytest

from tests.helpers.records import write_run
from vlprompt.errors import VLPromptError
from vlprompt.results.collect import find_runs
from vlprompt.results.comparisons import compare
from vlprompt.results.formats import comparisons_to_csv, tables_to_csv, to_markdown
from vlprompt.results.report import make_report
from vlprompt.results.tables import make_tables
from vlprompt.runs import archive
from vlprompt.runs.archive import find_records, read_archive


def zipped(folder: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for member in sorted(folder.rglob("*")):
            if member.is_file():
                file.write(member, member.relative_to(folder))
    return path


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for method, right in (("zero-shot", 5), ("coop", 9)):
        for seed in (1, 2):
            write_run(tmp_path / "runs" / method / f"seed-{seed}", method, seed=seed, test=right)
    return tmp_path / "runs"


def test_archive_matches_unpacked_folders(runs: Path, tmp_path: Path) -> None:
    path = zipped(runs, tmp_path / "grid.zip")
    shown = []
    for place in (runs, path):
        found, problems = find_runs([place])
        assert problems == []
        tables, comparisons = make_tables(found, intervals=True), compare(found, ["zero-shot", "coop"])
        csv = tables_to_csv(tables) + comparisons_to_csv(comparisons)
        shown.append((csv, to_markdown(comparisons), make_report(found)))
    assert shown[0] == shown[1]


def test_find_records_reads_nested_archives(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "all" / "deeper").mkdir(parents=True)
    zipped(runs / "coop", tmp_path / "all" / "deeper" / "coop.zip")
    write_run(tmp_path / "all" / "one", "dapt", test=10)
    (tmp_path / "all" / "torn.zip").write_bytes(zipped(runs, tmp_path / "grid.zip").read_bytes()[:-100])
    found, problems = find_runs([tmp_path / "all"])
    assert sorted(run.method for run in found) == ["coop", "coop", "dapt"]
    assert problems == [f"{tmp_path / 'all' / 'torn.zip'} cannot be read (not a zip archive)"]
    inside = next(run.folder for run in found if run.method == "coop")
    assert str(inside).rstrip("/").endswith("coop.zip/seed-1")


def test_records_at_the_root_of_an_archive(runs: Path, tmp_path: Path) -> None:
    (pair,), problems = read_archive(zipped(runs / "coop" / "seed-1", tmp_path / "run.zip"))
    assert problems == [] and (pair[0] / "predictions.parquet").is_file()


def test_damaged_records_are_reported(runs: Path, tmp_path: Path) -> None:
    (runs / "coop" / "seed-1" / "run.json").write_text("{}")
    found, problems = find_runs([zipped(runs, tmp_path / "grid.zip")])
    assert len(found) == 3
    assert len(problems) == 1 and "grid.zip/coop/seed-1/run.json cannot be read" in problems[0]


def test_damaged_predictions_raise_a_one_line_error(runs: Path, tmp_path: Path) -> None:
    path = zipped(runs, tmp_path / "grid.zip")
    with zipfile.ZipFile(path) as file:
        info = file.getinfo("coop/seed-1/predictions.parquet")
    content = bytearray(path.read_bytes())
    content[info.header_offset + 80] ^= 255
    path.write_bytes(content)
    found, _ = find_runs([path])
    with pytest.raises(VLPromptError, match=r"coop/seed-1/predictions.parquet cannot be read"):
        make_tables(found, intervals=True)


@pytest.mark.parametrize("name", ["../run.json", "a/../../run.json", "/run.json", "a\\..\\run.json", "c:/run.json"])
def test_names_that_leave_the_archive_are_refused(name: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "grid.zip", "w") as file:
        file.writestr(zipfile.ZipInfo(name), "{}")
    with pytest.raises(VLPromptError, match="leaves the archive"):
        find_records(tmp_path / "grid.zip")


def test_archive_exceeding_size_limits_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "grid.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for place in range(4):
            file.writestr(f"{place}/run.json", " " * 1000)
    monkeypatch.setattr(archive, "MAX_TOTAL", 3000)
    with pytest.raises(VLPromptError, match=r"unpack to 4,000 bytes, more than the limit of 3,000"):
        read_archive(tmp_path / "grid.zip")
    monkeypatch.setattr(archive, "MAX_FILE", 999)
    with pytest.raises(VLPromptError, match=r"'0/run.json' unpacks to 1,000 bytes, more than the limit of 999"):
        read_archive(tmp_path / "grid.zip")


def test_other_compression_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "grid.zip", "w", zipfile.ZIP_LZMA) as file:
        file.writestr("run.json", "{}")
    with pytest.raises(VLPromptError, match="must be stored or deflated, got compression method"):
        read_archive(tmp_path / "grid.zip")


def test_encrypted_records_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "grid.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("run.json", "{}")
    content = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + flags] |= 1
    path.write_bytes(content)
    runs, problems = read_archive(path)
    assert runs == [] and len(problems) == 1 and "encrypted" in problems[0]


def test_file_that_is_not_an_archive_raises_a_one_line_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(VLPromptError, match=r"notes.txt cannot be read \(not a zip archive\)"):
        find_runs([tmp_path / "notes.txt"])
