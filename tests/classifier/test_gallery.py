import io
from pathlib import Path

import numpy as np
from PIL import Image

from vlprompt.classifier.gallery import Shown, gallery


def test_every_picture_is_on_the_sheet(pictures: Path) -> None:
    shown = [
        Shown(path, "night", {"zero-shot": "night", "dapt": "red apple"})
        for path in sorted((pictures / "red_apple").iterdir())[:5]
    ]
    sheet = Image.open(io.BytesIO(gallery(shown, credit="nobody"))).convert("RGB")
    pixels = np.asarray(sheet).reshape(-1, 3)
    for path in (shown[0].path, shown[4].path):
        color = np.asarray(Image.open(path))[0, 0]
        assert (np.abs(pixels.astype(int) - color).max(1) <= 2).sum() > 1000
