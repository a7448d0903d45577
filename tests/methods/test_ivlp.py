"""IVLP beyond its recorded cases."""

import pytest
import torch

import vlprompt
from tests.helpers.shapes import NAMES, TEXT_DEPTH, TEXT_WIDTH, VISUAL_DEPTH, VISUAL_WIDTH, losses, uneven
from vlprompt import VLPromptError


def test_each_tower_has_its_own_depth_and_length() -> None:
    method = vlprompt.create_method("ivlp", uneven(), NAMES, n_text=3, n_visual=2)
    assert {name: tuple(value.shape) for name, value in method.named_parameters()} == {
        "text_context": (3, TEXT_WIDTH),
        "text_deep": (TEXT_DEPTH - 1, 3, TEXT_WIDTH),
        "visual_context": (2, VISUAL_WIDTH),
        "visual_deep": (VISUAL_DEPTH - 1, 2, VISUAL_WIDTH),
    }
    shallow = vlprompt.create_method("ivlp", uneven(), NAMES, depth_text=1, depth_visual=1)
    assert dict(shallow.named_parameters()).keys() == {"text_context", "visual_context"}


@pytest.mark.parametrize("words", ["a photo of a", "a drawing with"])
def test_frozen_words_complete_the_template(words: str) -> None:
    expected = vlprompt.create_method("zero-shot", uneven(), NAMES, template=words + " {}.").text_features()
    for length in (1, 3):
        method = vlprompt.create_method("ivlp", uneven(), NAMES, n_text=length, depth_text=1, ctx_init=words)
        torch.testing.assert_close(method.text_features(), expected)


def test_training_lowers_the_loss() -> None:
    torch.manual_seed(0)
    seen = losses(vlprompt.create_method("ivlp", uneven(), NAMES))
    assert seen[-1] < 0.9 * seen[0]


@pytest.mark.parametrize(
    ("option", "layers"), [("depth_text", TEXT_DEPTH), ("depth_visual", VISUAL_DEPTH)], ids=["text", "visual"]
)
def test_depth_above_the_towers_is_rejected(option: str, layers: int) -> None:
    vlprompt.create_method("ivlp", uneven(), NAMES, **{option: layers})
    with pytest.raises(VLPromptError, match=f"{option} must be at most {layers}, .* got {layers + 1}"):
        vlprompt.create_method("ivlp", uneven(), NAMES, **{option: layers + 1})
