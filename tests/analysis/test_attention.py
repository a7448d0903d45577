import open_clip
import pytest
import torch

from tests.helpers.prompts import TEXT, VISUAL, WORDS, walk_text
from tests.helpers.shapes import VISUAL_DEPTH, batch, uneven
from vlprompt import load_backbone
from vlprompt.analysis import attention
from vlprompt.analysis.attention import Attention, image_attention, text_attention
from vlprompt.analysis.norms import Spread, text_norms
from vlprompt.backbones.tokenizer import Tokenizer, Vocabulary
from vlprompt.backbones.tracing import text_steps, vision_steps
from vlprompt.backbones.vision import ViTTower
from vlprompt.prompts import TextPrompts, VisualPrompts


def check(found: Attention, layers: int, n: int) -> None:
    """Check that shares add up to 1 and match the attention on prompts."""
    assert [len(row) for row in found.to_prompts] == [n] * layers
    shares = torch.tensor(list(found.shares.values()))
    assert next(iter(found.shares)) == "prompts"
    assert shares.sum(0) == pytest.approx(1, abs=1e-5)
    assert torch.tensor(found.to_prompts).sum(1) == pytest.approx(shares[0], abs=1e-5)
    assert (shares >= 0).all()


@pytest.mark.parametrize("kind", TEXT)
@torch.no_grad()
def test_text(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = TEXT[kind]
    steps, tokens, slots = walk_text(uneven(), prompts)
    found = text_attention(uneven().text, prompts, WORDS)
    check(found, len(steps), prompts.length)
    for layer, step in enumerate(steps):
        mean = step.weights.mean(1)  # (C, L)
        for slot in range(prompts.length):
            of_slot = (mean * (slots[:, : mean.shape[1]] == slot)).sum(1).mean().item()
            assert found.to_prompts[layer][slot] == pytest.approx(of_slot, abs=1e-6)
        assert found.shares["start"][layer] == pytest.approx(mean[:, 0].mean().item(), abs=1e-6)
        read = uneven().text.read_position(tokens)
        assert found.shares["end"][layer] == pytest.approx(mean[torch.arange(len(mean)), read].mean().item(), abs=1e-6)
    seen = uneven().text.read_position(tokens) + 1
    assert found.even == pytest.approx((prompts.length / seen).mean().item())
    assert found.own == (3 if kind == "deep" else 1)

    monkeypatch.setattr(attention, "SENTENCES", 2)  # several passes instead of one
    parts = text_attention(uneven().text, prompts, WORDS)
    assert torch.tensor(parts.to_prompts) == pytest.approx(torch.tensor(found.to_prompts), abs=1e-6)
    assert parts.even == pytest.approx(found.even)


@pytest.mark.parametrize("kind", ["behind, deep", "in front, after the norm"])
@torch.no_grad()
def test_images(kind: str) -> None:
    prompts, tower, images = VISUAL[kind], uneven().vision, batch()[0]
    assert prompts is not None
    assert isinstance(tower, ViTTower)
    n = len(prompts.context)
    found = image_attention(tower, prompts, images.split([4, 2]))
    check(found, VISUAL_DEPTH, n)
    start = 17 if prompts.position == "append" else 1
    for layer, step in enumerate(vision_steps(tower, images, prompts)):
        mean = step.weights.mean((0, 1))
        assert found.to_prompts[layer] == pytest.approx(mean[start : start + n].tolist(), abs=1e-6)
        assert found.shares["class token"][layer] == pytest.approx(mean[0].item(), abs=1e-6)
    assert found.even == n / (17 + n)
    assert found.own == (2 if prompts.deep is not None else 1)


@torch.no_grad()
def test_text_tower_without_start_token_reads_the_last_position() -> None:
    """Bidirectional text tower like SigLIP's, which also attends to padding."""
    torch.manual_seed(0)
    text = {"width": 64, "heads": 2, "layers": 2, "context_length": 12, "vocab_size": 300}
    text |= {"no_causal_mask": True, "pool_type": "last"}
    model = open_clip.CLIP(32, {"image_size": 32, "patch_size": 8, "width": 64, "layers": 1}, text)
    words = Vocabulary(lambda text: [2 + len(word) for word in text.split()], sos=None, eot=1, pad=1)
    tower = load_backbone(model, device="cpu", tokenizer=Tokenizer(12, lambda: words)).text
    prompts = TextPrompts(torch.randn(3, 64), deep=torch.randn(1, 3, 64))
    found = text_attention(tower, prompts, ["cat", "hot air balloon"])
    check(found, 2, 3)
    assert found.shares["start"] == (0, 0)
    assert found.even == 3 / 12
    norms = text_norms(tower, prompts, "photo of a {}", ["cat"], Spread(0, 0, 0))
    tokens = tower.tokenizer(["photo of a cat"])
    second = list(text_steps(tower, tokens, torch.full_like(tokens, -1), None))[1].entering
    assert norms[1].tokens == Spread.of(second[0, :4].norm(dim=1))  # four words, no padding


@torch.no_grad()
def test_half_precision_weights() -> None:
    torch.manual_seed(0)
    text = {"width": 64, "heads": 2, "layers": 2}
    model = open_clip.CLIP(32, {"image_size": 32, "patch_size": 8, "width": 64, "layers": 2}, text)
    backbone = load_backbone(model, precision="bf16", device="cpu")
    assert isinstance(backbone.vision, ViTTower)
    check(text_attention(backbone.text, TextPrompts(torch.randn(3, 64)), WORDS), 2, 3)
    prompts = VisualPrompts(torch.randn(2, 64), torch.randn(1, 2, 64))
    check(image_attention(backbone.vision, prompts, [batch()[0]]), 2, 2)
