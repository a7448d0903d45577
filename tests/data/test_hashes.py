import hashlib
import os
from pathlib import Path

import pytest

from vlprompt.data import hashes
from vlprompt.data.hashes import content_hashes
from vlprompt.data.images import ImageError


def test_files_are_read_once_until_they_change(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    hash_ = hashes._hash
    monkeypatch.setattr(hashes, "_hash", lambda path: read.append(path) or hash_(path))
    first = content_hashes(tree, ["ant/0.png", "oak/0.png", "ant/0.png"])
    assert first[0] == first[2] == hashlib.sha256((tree / "ant/0.png").read_bytes()).hexdigest()
    assert content_hashes(tree, ["oak/0.png"]) == first[1:2]
    assert len(read) == 2
    (tree / "oak/0.png").write_bytes(b"another")
    os.utime(tree / "ant/0.png", (1, 1))
    assert content_hashes(tree, ["ant/0.png", "oak/0.png"]) == [first[0], hashlib.sha256(b"another").hexdigest()]
    assert len(read) == 4


def test_a_file_that_cannot_be_read_is_an_error(tree: Path) -> None:
    with pytest.raises(ImageError, match=r"gone.png: no such file"):
        content_hashes(tree, ["ant/0.png", "ant/gone.png"])
