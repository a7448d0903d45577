import io
import json
from pathlib import Path

import torch
from PIL import Image
from tools.pictoclip import card
from tools.pictoclip.data import Planner, TrainingSet
from tools.pictoclip.evaluate import Pictures, load_model
from tools.pictoclip.export import export
from tools.pictoclip.model import Shape
from tools.pictoclip.names import SUBGROUP_PHRASES
from tools.pictoclip.render import Atlas
from tools.pictoclip.train import Recipe, Trainer

SUBGROUPS = list(SUBGROUP_PHRASES)[:3]


def fake() -> tuple[Pictures, dict[str, torch.Tensor]]:
    """Thirty drawings of three subgroups; in color the last two thirds are taken for the first, as lines all are."""
    labels = torch.arange(3).repeat_interleave(10)
    images = {style: torch.randn(30, 3, 64, 64) for style in ("color", "line")}
    guesses = {"color": torch.where(torch.arange(30) < 10, labels, 0), "line": torch.zeros_like(labels)}
    return Pictures(images, labels, SUBGROUPS, ["heart"] * 30), guesses


def size(png: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(png)).size


def test_pictures_of_the_card_are_drawn(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    check = {"seen": 64, "template": 0.1, "words": 0.05, "vectors": 0.02}
    step = {"seen": 32, "loss": 5.0, "contrastive": 4.0, "concept": 1.0}
    log.write_text("\n".join(map(json.dumps, [step, check])))
    assert size(card.curves(log))[0] > 800
    assert size(card.classes(*fake()))[0] > 800
    assert size(card.failures(*fake()))[0] > 800


def test_accuracy_is_that_of_each_class() -> None:
    pictures, guesses = fake()
    assert card._per_class(pictures.labels, guesses["color"]).tolist() == [100, 0, 0]


def test_styles_are_those_of_the_held_out_drawings(data: TrainingSet, tmp_path: Path) -> None:
    shape = Shape(image_size=32, image_width=64, image_layers=1, text_width=64, text_layers=1, joint=32)
    atlas = Atlas(data.corpus.pictures, torch.device("cpu"))
    untrained = Trainer(data, Recipe(samples=32, batch=16), torch.float32, shape, atlas, Planner(data, workers=0))
    export(untrained, tmp_path / "asset.safetensors")
    rows = card.styles(load_model(tmp_path / "asset.safetensors"), data).splitlines()[2:]
    found = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert {kind for kind, *_ in found} == {"color", "solid", "line"}
    assert sum(int(count) for _, _, count, _ in found) == sum(map(len, data.held_out.values()))
    assert all(0 <= float(share.rstrip("%")) <= 100 for *_, share in found)
