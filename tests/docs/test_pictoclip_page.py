"""Code of the model card runs: the embedded weights work in open_clip and in OpenAI's CLIP."""

import importlib.util
import re
from importlib.metadata import files
from pathlib import Path
from types import ModuleType
from typing import Any

import open_clip
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from vlprompt import load_backbone

PAGE = Path(__file__).parents[2] / "docs" / "pictoclip.md"


@pytest.fixture(scope="module")
def executed() -> dict[str, Any]:
    """Variables that the card's code defines, such as `model` in open_clip and the expanded `weights`."""
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    return names


def openai_code() -> ModuleType:
    """Load `clip/model.py` by path, since its package needs an outdated setuptools."""
    path = next(path for path in files("clip-anytorch") or [] if path.as_posix() == "clip/model.py")
    spec = importlib.util.spec_from_file_location("openai_clip_model", str(path.locate()))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("code", ["open_clip", "openai"])
def test_embedded_weights_run_in_other_programs(executed: dict[str, Any], code: str) -> None:
    model = executed["model"] if code == "open_clip" else openai_code().build_model(dict(executed["weights"])).float()
    backbone = load_backbone("embedded", device="cpu")
    torch.manual_seed(0)
    images = torch.randn(3, 3, 64, 64)
    words = ["a red apple", "a drawing of a dog", "an icon"]

    def both(image: Tensor, text: Tensor) -> Tensor:
        return torch.cat([normalize(image, dim=-1), normalize(text, dim=-1)])

    with torch.no_grad():
        theirs = both(model.encode_image(images), model.encode_text(open_clip.tokenize(words)))
        ours = both(backbone.encode_image(images), backbone.encode_text(backbone.tokenize(words)))
    assert model.logit_scale.item() == pytest.approx(backbone.logit_scale.item(), rel=1e-5)
    torch.testing.assert_close(theirs, ours, atol=1e-5, rtol=0)
