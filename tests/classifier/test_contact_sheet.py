from pathlib import Path

import numpy as np
from PIL import Image

from vlprompt.classifier.contact_sheet import GAP, LINE, SIDE, ContactSheet


def test_comparison_sheet_marks_right_and_wrong_predictions(pictures: Path, tmp_path: Path) -> None:
    sheet, paths = ContactSheet(columns=4, scale=2), sorted((pictures / "red_apple").iterdir())[:5]
    for path in paths:
        sheet.add_comparison(path, "night", {"zero-shot": "night", "dapt": "red apple"})
    sheet.write(tmp_path / "sheet.png", caption="nobody")
    with Image.open(tmp_path / "sheet.png") as image:
        height = 2 * (SIDE + 3 * LINE + GAP)
        assert image.size == (4 * 2 * (SIDE + GAP) + 2 * GAP, 2 * height + 2 * GAP + 2 * LINE)
        pixels = np.asarray(image.convert("RGB")).astype(int)
    for path, (x, y) in ((paths[0], (0, 0)), (paths[4], (0, 1))):
        color = np.asarray(Image.open(path))[0, 0]
        middle = pixels[2 * (GAP + SIDE // 2) + y * height, 2 * (GAP + SIDE // 2) + x * 2 * (SIDE + GAP)]
        assert abs(middle - color).max() <= 2
    red, green = ((pixels - color).__abs__().sum(-1) < 40 for color in ([179, 38, 30], [26, 127, 55]))
    assert red.any() and green.any()
