import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vlprompt.data import folder_tree, images
from vlprompt.data.folder_tree import describe, suffix_of, walk
from vlprompt.errors import VLPromptError

Draw = Callable[[Path], Path]


def write(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"the content of {name}")


def test_images_are_sorted_within_each_folder(tmp_path: Path) -> None:
    names = ["a/1.png", "a/10.png", "a/2.JPG", "a/1.png.d/0.gif", "b.png", "b/x/y.webp", "ä/é.jpeg"]
    write(tmp_path, *random.Random(0).sample(names, len(names)))
    assert list(walk(tmp_path).paths()) == [
        *("a/1.png", "a/1.png.d/0.gif", "a/10.png", "a/2.JPG"),
        *("b/x/y.webp", "b.png", "ä/é.jpeg"),
    ]
    assert walk(tmp_path).count() == 7


@pytest.mark.parametrize(
    "name",
    [
        *(
            "@eaDir/0.png",
            "a/@eaDir/0.png/SYNOFILE.jpg",
            "__MACOSX/a/._0.png",
            "lost+found/0.png",
            "$RECYCLE.BIN/0.png",
        ),
        *(".ipynb_checkpoints/0-checkpoint.png", "a/._0.png", ".DS_Store", "Thumbs.db", "desktop.ini", ".hidden/0.png"),
        *("#recycle/0.png", "System Volume Information/0.png", "__pycache__/0.png"),
    ],
)
def test_what_systems_make_is_passed_over(name: str, tmp_path: Path) -> None:
    write(tmp_path, name, "a/0.png")
    tree = walk(tmp_path)
    assert list(tree.paths()) == ["a/0.png"]
    assert tree.left_out() == ()


def test_left_out_files_are_counted_by_suffix_and_reason(
    tmp_path: Path, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_tree, "SUFFIXES", images.SUFFIXES - {".heic"})
    monkeypatch.setitem(folder_tree.REASON_OF, ".heic", "a reason")
    write(tmp_path, *(f"a/IMG_{number}.HEIC" for number in range(3)), "b/c/4.heic", "b/raw.NEF", "b/clip.mov")
    write(tmp_path, "a/notes.txt", "a/README", "b/labels.csv", "b/1.txt", "b/2.txt", "a/0.png")
    draw(tmp_path / "a/cat.png").rename(tmp_path / "a/cat")
    draw(tmp_path / "a/dog.png").rename(tmp_path / "a/dog.0")
    draw(tmp_path / "a/cow.jpg").rename(tmp_path / "a/cow.jpg_large")
    found = walk(tmp_path).left_out()
    assert [(one.suffix, one.count, one.images) for one in found] == [
        (".heic", 4, True),
        ("", 3, True),  # README too
        (".jpg_large", 1, True),
        (".mov", 1, True),
        (".nef", 1, True),
        (".txt", 3, False),
        (".csv", 1, False),
    ]
    assert (
        describe(found[:2])
        == "7 files are not read: 4 .heic (a reason), 3 without a suffix (PNG by content; end their names in .png)"
    )
    assert describe(found[2:3]) == "1 file is not read: 1 .jpg_large (JPEG by content; end their names in .jpg)"
    assert (describe(()), str(found[-1])) == ("", "1 .csv (no images)")


@pytest.mark.parametrize("suffix", sorted(folder_tree.REASON_OF))
def test_suffixes_with_a_reason_are_not_read(suffix: str) -> None:
    assert suffix not in images.SUFFIXES
    assert suffix_of(f"a{suffix}") == suffix


@pytest.mark.parametrize("name", ["cat", "cat.0", "a.jpg?size=large", "a.", "a.jpg ", ".jpg"])
def test_names_without_a_suffix(name: str) -> None:
    assert suffix_of(name) == ""


@pytest.mark.parametrize(
    ("pattern", "kept"),
    [
        ("*_mask.png", ["a/0.png", "a/old/1.png", "b/old/2.png"]),
        ("old", ["a/0.png", "a/0_mask.png"]),
        ("old/", ["a/0.png", "a/0_mask.png"]),
        ("a/old", ["a/0.png", "a/0_mask.png", "b/old/2.png"]),
        ("a/*.png", ["b/old/2.png"]),
        ("*/[01].png", ["a/0_mask.png", "b/old/2.png"]),
    ],
)
def test_exclude(pattern: str, kept: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "a/0.png", "a/0_mask.png", "a/old/1.png", "b/old/2.png")
    assert list(walk(tmp_path, [pattern]).paths()) == kept
    assert not caplog.messages
    walk(tmp_path, [pattern, "nothing*"])
    assert caplog.messages == [f"`exclude` 'nothing*' matches nothing in {tmp_path}"]


def test_excluded_names_match_in_either_unicode_form(tmp_path: Path) -> None:
    write(tmp_path, "cafe\u0301/0.png", "a/0.png")
    assert list(walk(tmp_path, ["caf\u00e9"]).paths()) == ["a/0.png"]


def test_links(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere", "0.png")
    write(tmp_path / "root", "a/1.png")
    (tmp_path / "root/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root/a/up").symlink_to(tmp_path / "root")
    (tmp_path / "root/a/gone.png").symlink_to(tmp_path / "nothing.png")
    (tmp_path / "root/a/self").symlink_to(tmp_path / "root/a/self")
    os.mkfifo(tmp_path / "root/a/pipe.png")
    tree = walk(tmp_path / "root")
    assert list(tree.paths()) == ["a/1.png", "a/gone.png", "linked/0.png"]
    assert [(one.suffix, one.count, one.images) for one in tree.left_out()] == [(".png", 1, False), ("", 1, False)]


def test_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "a/0.png", "secret/0.png")
    scan = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "secret":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(VLPromptError, match=r"^folder .*secret cannot be read: Permission denied; .* `exclude`$"):
        walk(tmp_path)
    assert list(walk(tmp_path, ["secret"]).paths()) == ["a/0.png"]


def test_each_folder_is_scanned_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "a/0.png", "a/b/1.png", "c/notes.txt")
    seen: list[str] = []
    scan = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: seen.append(Path(path).name) or scan(path))  # type: ignore[func-returns-value]
    walk(tmp_path)
    assert sorted(seen) == sorted([tmp_path.name, "a", "b", "c"])


def test_too_deep_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_tree, "DEEPEST", 3)
    write(tmp_path, "a/b/0.png")
    assert walk(tmp_path).count() == 1
    write(tmp_path, "a/b/c/0.png")
    with pytest.raises(VLPromptError, match="is 3 folders deep"):
        walk(tmp_path)


def test_multi_picture_jpeg_by_content(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "0.mpo", save_all=True, append_images=frames[1:])
    (tmp_path / "0.mpo").rename(tmp_path / "photo")
    (found,) = walk(tmp_path).left_out()
    assert str(found).startswith("1 without a suffix (") and "end their names in .jpg" in str(found)


@pytest.mark.parametrize("exclude", ["*_mask.png", [3], b"old"])
def test_exclude_holds_patterns(exclude: Any, tmp_path: Path) -> None:
    with pytest.raises(VLPromptError, match="`exclude` must be a list of patterns, such as"):
        walk(tmp_path, exclude)
