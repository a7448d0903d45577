"""Nothing of other libraries reaches the terminal when images are damaged: not by Python's warnings, not by C code."""

import io
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image


def encoded(form: str, **options: object) -> bytes:
    file = io.BytesIO()
    image = Image.linear_gradient("L").convert("RGB").resize((64, 64))
    image.save(file, form, **options)
    return file.getvalue()


def damaged() -> dict[str, bytes]:
    """Return files that make Pillow warn, or libtiff, libpng and others print an error."""
    files = {}
    for method in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits", "group4"):
        image = Image.linear_gradient("L").convert("1" if method == "group4" else "RGB")
        file = io.BytesIO()
        image.save(file, "TIFF", compression=method)
        whole = file.getvalue()
        files[f"{method}.tif"] = whole[:200] + bytes(100) + whole[300:]
        files[f"{method}_short.tif"] = whole[: len(whole) - len(whole) // 3]
    entries = struct.pack("<HHLL", 40000, 2, 10**6, 8) * 3  # values beyond the end of the file
    files["tags.tif"] = b"II*\0\x08\0\0\0" + struct.pack("<H", 3) + entries + bytes(4)
    exif = Image.Exif()
    exif[0x010E] = "text"
    broken = exif.tobytes()[:-6]
    files["exif.jpg"] = encoded("JPEG", exif=broken)
    files["exif.png"] = encoded("PNG", exif=broken)
    png = encoded("PNG")
    files["crc.png"] = png[:60] + b"\xff" + png[61:]
    files["short.png"] = png[: len(png) // 2]
    files["short.webp"] = encoded("WEBP")[:-30]
    Image.new("1", (9500, 9500)).save(file := io.BytesIO(), "PNG")  # Pillow warns of more than 89 million pixels
    files["large.png"] = file.getvalue()
    return files


@pytest.mark.slow
def test_damaged_images_print_nothing_raw(popen: Any, pictures: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for name in ("night", "red_apple"):
        (data / name).mkdir(parents=True)
        for image in sorted((pictures / name).iterdir())[:6]:
            (data / name / image.name).write_bytes(image.read_bytes())
    for name, content in damaged().items():
        (data / "night" / name).write_bytes(content)
    environment = {**os.environ, "VLPROMPT_CACHE": str(tmp_path / "cache")}
    for words in (
        ["tune", data, "--backbone", "embedded", "--method", "zero-shot", "--shots", "1", "--out", tmp_path / "run"],
        ["data", "check", data],
        ["predict", tmp_path / "run", data / "night", "--sheet", tmp_path / "sheet.png"],
    ):
        command = [sys.executable, "-m", "vlprompt.cli", *map(str, words)]
        process = popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        _, err = process.communicate(timeout=300)
        assert process.returncode in (0, 1), err
        for line in err.splitlines():
            assert "Warning" not in line and "PIL" not in line and "warnings.warn" not in line, err
            assert not line.startswith(("TIFF", "JPEG", "LZW", "Fax", "Zip", "lib", "Pack", "/tmp/", "tempfile")), line
            assert ".tif" not in line or line.startswith(("skipping ", f"{data}: ")), err
