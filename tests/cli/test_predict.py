"""`vlprompt predict`: inputs, output formats and errors."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vlprompt
from tests.helpers.command_line import Call
from vlprompt.classifier.contact_sheet import COLUMNS, GAP, LIMIT, LINE, SIDE, ContactSheet


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, weights: Path, pictures: Path) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "mine"
    vlprompt.tune(pictures, method="linear-probe", backbone=str(weights), shots=2, out=folder, quiet=True)
    return folder


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    file = tmp_path / "broken.png"
    file.write_text("no picture")
    return file


def listed(lines: bytes) -> io.TextIOWrapper:
    """Return a stdin with these bytes."""
    return io.TextIOWrapper(io.BytesIO(lines))


def test_jsonl_has_one_line_per_image(call: Call, run: Path, pictures: Path, broken: Path) -> None:
    good = pictures / "night" / "00.png"
    code, out, err = call("predict", run, good, broken, good, "--format", "jsonl", "--top", "2", "--device", "cpu")
    answers = [json.loads(line) for line in out.splitlines()]
    assert code == 1
    assert [answer["image"] for answer in answers] == [str(good), str(broken), str(good)]
    assert answers[0] == answers[2]
    (guess,) = vlprompt.load_classifier(run, device="cpu").predict(good, top=2)
    assert [(entry["label"], entry["probability"]) for entry in answers[0]["top"]] == [
        (name, pytest.approx(value, abs=1e-6)) for name, value in guess.top
    ]
    assert (answers[0]["label"], answers[0]["probability"]) == tuple(answers[0]["top"][0].values())
    assert answers[1]["error"] == "not an image, or of an unknown format"
    assert "3 images in " in err
    assert err.rstrip().endswith("1 could not be read")


def test_json_is_a_list_of_the_jsonl_objects(call: Call, run: Path, pictures: Path, broken: Path) -> None:
    words = ["predict", run, pictures / "night", broken, "--quiet"]
    code, out, _ = call(*words, "--json")
    lines = call(*words, "--format", "jsonl")[1].splitlines()
    assert code == 1
    assert json.loads(out) == [json.loads(line) for line in lines]
    assert call(*words, "--format", "json")[1] == out
    assert "leave one of them out" in call(*words, "--json", "--format", "csv")[2]


def test_table_has_one_line_per_image(call: Call, run: Path, pictures: Path, broken: Path) -> None:
    good = pictures / "night" / "00.png"
    code, out, err = call("predict", run, good, broken, "--top", "2", "--quiet")
    lines = out.splitlines()
    (guess,) = vlprompt.load_classifier(run, device="cpu").predict(good)
    assert (code, err) == (1, "")
    assert lines[0].split("%")[0].split()[-3:-1] == guess.label.split() or guess.label in lines[0]
    assert f"{guess.probability:.1%}" in lines[0]
    assert lines[0].count("%") == 2
    assert lines[1].startswith(str(broken))
    assert lines[1].endswith("error: not an image, or of an unknown format")


def test_csv_can_be_read_back(call: Call, run: Path, pictures: Path, tmp_path: Path, broken: Path) -> None:
    odd = tmp_path / 'a "comma", here.png'
    odd.write_bytes((pictures / "night" / "00.png").read_bytes())
    _, out, _ = call("predict", run, odd, broken, "--format", "csv", "--top", "9")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["image"] for row in rows] == [str(odd), str(broken)]
    assert sum(float(rows[0][f"probability{rank}"]) for rank in ("", "_2", "_3", "_4")) == pytest.approx(1, abs=1e-4)
    assert rows[0]["error"] == ""
    assert rows[1]["error"] == "not an image, or of an unknown format"
    assert rows[1]["label"] == ""


def test_folders_patterns_and_lists(call: Call, run: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def images(*words: object) -> list[str]:
        code, out, _ = call("predict", run, *words, "--format", "jsonl", "--quiet")
        assert code == 0
        return [json.loads(line)["image"] for line in out.splitlines()]

    every = sorted(map(str, pictures.rglob("*.png")))
    assert images(pictures) == every
    assert images(f"{pictures}/**/*.png") == every
    assert images(f"{pictures}/n*/0?.png") == sorted(map(str, (pictures / "night").glob("0?.png")))
    assert images(pictures / "night", every[0]) == [*sorted(map(str, (pictures / "night").iterdir())), every[0]]
    monkeypatch.setattr("sys.stdin", listed(f"{every[3]}\n\n{every[1]}\r\n".encode()))
    assert images("-") == [every[3], every[1]]
    monkeypatch.chdir(pictures)
    assert images("night")[0] == str(Path("night", "00.png"))


def test_files_of_a_folder_that_are_not_read(call: Call, run: Path, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "in/old").mkdir(parents=True)
    for name in ("a.png", "old/b.png"):
        (tmp_path / "in" / name).write_bytes((pictures / "night/00.png").read_bytes())
    (tmp_path / "in/IMG_1.CR3").write_text("raw")
    code, out, err = call("predict", run, tmp_path / "in", "--format", "jsonl", "--device", "cpu")
    assert (code, len(out.splitlines())) == (0, 2)
    assert f"{tmp_path / 'in'}: 1 file is not read: 1 .cr3 (raw photographs; convert them to .jpg)\n" in err
    code, out, _ = call("predict", run, tmp_path / "in", "--exclude", "old", "--format", "jsonl", "--device", "cpu")
    assert (code, len(out.splitlines())) == (0, 1)


def test_existing_file_with_brackets_is_not_a_pattern(call: Call, run: Path, pictures: Path, tmp_path: Path) -> None:
    file = tmp_path / "cat[1].png"
    file.write_bytes((pictures / "night" / "00.png").read_bytes())
    code, out, _ = call("predict", run, file, "--format", "jsonl", "--quiet")
    assert (code, json.loads(out)["image"]) == (0, str(file))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{empty}"], "IMAGES: {empty} has no images; give files, folders, patterns, or - for stdin"),
        (["{empty}/*.png"], "{empty}/*.png has no images; give files, folders"),
        (["-"], "the list on stdin has no images"),
        (["x.png", "--format", "xml"], "--format must be table, json, jsonl or csv, got 'xml'"),
        (["x.png", "--sheet", "sheet.jpg"], "--sheet must end in .png, got 'sheet.jpg'"),
        (["x.png", "--top", "0"], "--top"),
        ([], "IMAGES is missing"),
    ],
)
def test_predict_errors_are_one_line(
    call: Call, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.setattr("sys.stdin", listed(b""))
    (tmp_path / "empty").mkdir()
    code, out, err = call("predict", run, *(word.format(empty=tmp_path / "empty") for word in words))
    assert (code, out) == (2, "")
    assert message.format(empty=tmp_path / "empty") in err
    assert len(err.splitlines()) == 1


def test_missing_file_and_url_are_reported_per_image(call: Call, run: Path) -> None:
    code, out, _ = call("predict", run, "nowhere.png", "https://example.org/cat.png", "--format", "jsonl", "--quiet")
    missing, url = (json.loads(line)["error"] for line in out.splitlines())
    assert (code, missing) == (1, "no such file")
    assert url == "URLs are not fetched; download the file first"


@pytest.mark.parametrize("form", ["table", "jsonl", "csv"])
def test_non_utf8_file_names_are_printed(call: Call, run: Path, pictures: Path, tmp_path: Path, form: str) -> None:
    odd = tmp_path / os.fsdecode(b"caf\xe9.png")
    odd.write_bytes((pictures / "night" / "00.png").read_bytes())
    code, out, _ = call("predict", run, tmp_path, "--format", form, "--sheet", tmp_path / "sheet.png", "--quiet")
    assert (code, "caf" in out) == (0, True)
    out.encode()


@pytest.mark.parametrize("name", [b"caf\xe9.png", b" cat.png ", "caf\u00e9\u2028.png".encode()])
def test_list_on_stdin_accepts_any_file_name(
    call: Call, run: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: bytes
) -> None:
    odd = tmp_path / os.fsdecode(name)
    odd.write_bytes((pictures / "night" / "00.png").read_bytes())
    monkeypatch.setattr("sys.stdin", listed(os.fsencode(odd) + b"\n"))
    code, out, _ = call("predict", run, "-", "--format", "jsonl", "--quiet")
    assert (code, json.loads(out)["image"]) == (0, str(odd))


def test_image_on_stdin_is_not_a_list(
    call: Call, run: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", listed((pictures / "night" / "00.png").read_bytes()))
    code, out, _ = call("predict", run, "-", "--format", "jsonl", "--quiet")
    assert code == 1 and all("error" in json.loads(line) for line in out.splitlines())


@pytest.mark.skipif(os.name != "posix", reason="a pipe without a reader is another error there")
@pytest.mark.parametrize(
    "words", [["predict", "{run}", "{pictures}", "--quiet"], ["list", "methods"]], ids=["predict", "list"]
)
def test_closed_pipe_is_not_an_error(run: Path, pictures: Path, words: list[str]) -> None:
    words = [word.format(run=run, pictures=pictures) for word in words]
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-m", "vlprompt.cli", *words], stdout=pipe, stderr=pipe) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert (process.stderr.read(), process.wait(60)) == (b"", 0)


def test_control_characters_in_names_are_escaped(call: Call, run: Path, pictures: Path, tmp_path: Path) -> None:
    odd = tmp_path / "a\x1b[31m\nb ä.png"
    odd.write_bytes((pictures / "night" / "00.png").read_bytes())
    _, out, _ = call("predict", run, odd, "--quiet")
    assert out.startswith(rf"{tmp_path}/a\x1b[31m\nb ä.png ")
    assert len(out.splitlines()) == 1


def test_contact_sheet_font_covers_more_than_ascii() -> None:
    one, other = (bytes(ContactSheet()._plain.getmask(letter)) for letter in "äö")
    assert one != other, "both are drawn as the box for missing glyphs"


def test_contact_sheet_shows_images_with_labels(
    call: Call, run: Path, pictures: Path, tmp_path: Path, broken: Path
) -> None:
    sheet = tmp_path / "sheet.png"
    code, _, err = call("predict", run, pictures / "red_apple", broken, "--sheet", sheet)
    assert code == 1
    assert f"contact sheet: {sheet}" in err
    with Image.open(sheet) as image:
        assert image.size == (COLUMNS * (SIDE + GAP) + GAP, 3 * (SIDE + 3 * LINE + GAP) + GAP)
        pixels = np.asarray(image.convert("RGB")).astype(int)
    first = pixels[GAP + SIDE // 2, GAP + SIDE // 2]
    assert abs(first - (200, 20, 20)).max() <= 3
    assert (pixels[GAP + SIDE : GAP + SIDE + LINE, GAP : GAP + SIDE] < 100).any(), "no label below the image"


def test_contact_sheet_has_a_limit(pictures: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlprompt.classifier.contact_sheet.LIMIT", 2)
    sheet, path = ContactSheet(), str(pictures / "night" / "00.png")
    (guess,) = vlprompt.load_classifier(run, device="cpu").predict(path)
    for _ in range(3):
        sheet.add_guess(path, guess)
    assert len(sheet.tiles) == 2 < LIMIT
    sheet.write(tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as image:
        assert image.width == 2 * (SIDE + GAP) + GAP
