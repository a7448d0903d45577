import pytest
import torch

from tests.helpers.prompts import TEXT, VISUAL, WORDS
from tests.helpers.shapes import batch, uneven
from vlprompt.analysis.norms import Spread, image_norms, prompt_norms, text_norms
from vlprompt.backbones.tracing import text_steps, vision_steps
from vlprompt.backbones.vision import ViTTower


def test_spread_covers_the_middle_90_percent() -> None:
    assert Spread.of(torch.arange(101.0)) == Spread(5.0, 50.0, 95.0)


@torch.no_grad()
def test_text_norms_compare_with_words() -> None:
    prompts, tower, vocabulary = TEXT["deep"], uneven().text, Spread(0.1, 0.2, 0.3)
    found = text_norms(tower, prompts, "a photo of a {}.", WORDS, vocabulary)
    assert prompts.deep is not None
    assert found[0].tokens == vocabulary
    assert found[0].prompts == pytest.approx(prompts.context.norm(dim=1).tolist())
    assert [layer.prompts for layer in found[1:]] == [pytest.approx(x.norm(dim=1).tolist()) for x in prompts.deep]
    tokens = tower.tokenizer([f"a photo of a {word}." for word in WORDS])
    entering = [step.entering for step in text_steps(tower, tokens, torch.full_like(tokens, -1), None)]
    for layer in (1, 2):
        words = [x[1:end].norm(dim=1) for x, end in zip(entering[layer], tokens.argmax(1), strict=True)]
        assert found[layer].tokens == Spread.of(torch.cat(words))


@torch.no_grad()
def test_text_norms_include_class_specific_contexts() -> None:
    prompts = TEXT["front, of a class"]
    found = text_norms(uneven().text, prompts, "{}", WORDS, Spread(0, 0, 0))
    assert [len(layer.prompts) for layer in found] == [prompts.context.shape[0] * prompts.context.shape[1]]


@pytest.mark.parametrize("kind", ["behind, deep", "in front, after the norm"])
@torch.no_grad()
def test_image_norms_compare_with_tokens(kind: str) -> None:
    prompts, tower, images = VISUAL[kind], uneven().vision, batch()[0]
    assert prompts is not None
    assert isinstance(tower, ViTTower)
    found = image_norms(tower, prompts, images)
    assert [layer.prompts for layer in found] == [layer.prompts for layer in prompt_norms(prompts)]
    entering = [step.entering for step in vision_steps(tower, images, None)]
    first = tower.embed(images) if prompts.before_ln_pre else entering[0]
    assert len(found) == (2 if prompts.before_ln_pre else 1)
    for layer, x in zip(found, (first, *entering[1:]), strict=False):
        assert layer.tokens == Spread.of(x.norm(dim=-1).flatten())


def test_prompt_norms_have_no_token_range() -> None:
    prompts = VISUAL["behind, deep"]
    assert prompts is not None
    assert [layer.tokens for layer in prompt_norms(prompts)] == [None, None]
