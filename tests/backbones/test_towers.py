"""The text tower in both layouts against the reference, the image tower against its modules; values and gradients."""

from functools import cache
from typing import Any, get_args

import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import vlprompt
from tests.helpers.reference import encode_prompts_plainly
from vlprompt import Backbone, TextPrompts, VisualPrompts, VLPromptError
from vlprompt.backbones import text
from vlprompt.backbones.text import Layout

WORDS = ("red", "apple", "satellite", "crop", "retriever", "737-800", "t-shirt", "forget-me-not", "what?")
WIDTH, DEPTH = 64, 3


@cache
def tiny(**text: object) -> Backbone:
    torch.manual_seed(0)
    model = open_clip.CLIP(
        32,
        {"image_size": 32, "patch_size": 8, "width": WIDTH, "layers": DEPTH, "head_width": 32},
        {"width": WIDTH, "layers": DEPTH, "heads": 2, "context_length": 77, **text},
        quick_gelu=True,
    )
    return vlprompt.load_backbone(model, device="cpu")


def relative(actual: Tensor, expected: Tensor) -> float:
    return ((actual - expected).norm() / expected.norm()).item()


@st.composite
def named(draw: st.DrawFn) -> str:
    """Draw a name of 1 to 60 tokens, with unusual words at its end."""
    encode = tiny().text.tokenizer.encode
    count, odd = draw(st.integers(1, 60)), draw(st.lists(st.sampled_from(WORDS), max_size=3))
    while len(encode(" ".join(odd))) > count:
        odd.pop()
    name = " ".join(["dog"] * (count - len(encode(" ".join(odd)))) + odd)
    assert len(encode(name)) == count
    return name


@st.composite
def prompted(draw: st.DrawFn) -> tuple[TextPrompts, list[str], int]:
    """Draw prompts, names, and the depth of their tower."""
    names = draw(st.lists(named(), min_size=1, max_size=5))
    per = draw(st.sampled_from(["shared", "class", "image"]))
    position = draw(st.sampled_from(["end", "middle", "front"]))
    layers = draw(st.integers(1, 4))
    length, depth = draw(st.integers(1, 12)), draw(st.integers(1, layers))
    rng = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    first = {"shared": (), "class": (len(names),), "image": (draw(st.integers(1, 3)),)}[per]
    context = torch.randn(*first, length, WIDTH, generator=rng).requires_grad_()
    deep = torch.randn(depth - 1, length, WIDTH, generator=rng).requires_grad_() if depth > 1 else None
    words = draw(st.sampled_from(["", "of a"])) if position == "end" else ""
    return TextPrompts(context, per, deep, position, words), names, layers


@pytest.mark.parametrize("causal", [True, False])
@settings(max_examples=60, deadline=None)
@given(case=prompted(), chunk=st.sampled_from([1, 3, 256]), layout=st.sampled_from(get_args(Layout)))
def test_text_tower_matches_reference(
    case: tuple[TextPrompts, list[str], int], chunk: int, causal: bool, layout: Layout
) -> None:
    prompts, names, layers = case
    tower = tiny(no_causal_mask=not causal, layers=layers).text
    tower.chunk_size, tower.layout = chunk, layout
    fast, plain = tower.encode_prompts(prompts, names), encode_prompts_plainly(tower, prompts, names)
    assert fast.shape == plain.shape
    assert relative(fast, plain) < 1e-5

    learned = [prompts.context] if prompts.deep is None else [prompts.context, prompts.deep]
    weights = torch.randn_like(plain)
    by_fast = torch.autograd.grad((fast * weights).sum(), learned)
    by_plain = torch.autograd.grad((plain * weights).sum(), learned)
    for actual, expected in zip(by_fast, by_plain, strict=True):
        assert relative(actual, expected) < 1e-4


@pytest.mark.parametrize("layout", get_args(Layout))
@pytest.mark.parametrize("position", ["end", "middle", "front"])
@pytest.mark.parametrize(("per", "contexts"), [("shared", ()), ("class", (2,)), ("image", (3,))])
def test_longest_class_name_that_fits(per: Any, contexts: tuple[int, ...], position: Any, layout: Layout) -> None:
    tower = tiny().text
    tower.layout = layout
    prompts = TextPrompts(torch.randn(*contexts, 4, WIDTH), per, position=position)
    names = ["cat", " ".join(["dog"] * 70)]  # start, 4 vectors, 70 words, full stop, end: 77
    assert relative(tower.encode_prompts(prompts, names), encode_prompts_plainly(tower, prompts, names)) < 1e-5
    with pytest.raises(
        VLPromptError, match=r"class name '(dog ){19}d\.\.\.' .*72 tokens, room for 71 beside 4 context"
    ):
        tower.encode_prompts(prompts, ["cat", f"{names[1]} dog"])


@pytest.mark.parametrize("layout", get_args(Layout))
@pytest.mark.parametrize("pool", ["first", "last", "argmax"])
def test_pooling_matches_open_clip(pool: str, layout: Layout) -> None:
    backbone = tiny(pool_type=pool)
    backbone.text.layout = layout
    tokens = backbone.tokenize(["a photo of a dog.", "cat", "a large satellite photo of crop land."])
    assert relative(backbone.encode_text(tokens), backbone.model.encode_text(tokens)) < 1e-5
    prompts = TextPrompts(torch.randn(3, WIDTH))
    names = ["dog", "crop land"]
    plain = encode_prompts_plainly(backbone.text, prompts, names)
    assert relative(backbone.text.encode_prompts(prompts, names), plain) < 1e-5


def test_memory_is_bounded_with_many_classes() -> None:
    """Chunks are recomputed in the backward pass, so saved tensors do not grow with the number of classes."""
    tower = tiny().text
    names = [f"{first} {second}" for first in WORDS for second in WORDS]
    context = torch.randn(4, WIDTH, requires_grad=True)

    def kept(chunk: int) -> int:
        tower.chunk_size, total = chunk, 0

        def pack(tensor: Tensor) -> Tensor:
            nonlocal total
            total += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            tower.encode_prompts(TextPrompts(context), names)
        return total

    assert kept(8) < kept(256) / 10


def test_chunks_follow_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    tower = tiny().text
    monkeypatch.setattr(tower, "chunk_size", "auto")
    names = [f"{first} {second}" for first in WORDS for second in WORDS]
    prompts, passes = TextPrompts(torch.randn(4, WIDTH)), []
    encoder = tower._encoder

    def counted(*arguments: Any) -> Any:
        encode = encoder(*arguments)
        return lambda begin, end: passes.append(end - begin) or encode(begin, end)

    monkeypatch.setattr(tower, "_encoder", counted)
    counts = []
    for memory in (10**12, 3_000_000, 1):
        passes.clear()
        monkeypatch.setattr(text, "_memory_for_sentences", lambda device, memory=memory: memory)
        assert len(tower.encode_prompts(prompts, names)) == sum(passes) == len(names)
        counts.append(len(passes))
    assert counts[0] == 1 < counts[1] < counts[2] == len(names)


@pytest.mark.parametrize("position", ["append", "after_class"])
@pytest.mark.parametrize("before", [True, False])
def test_visual_prompts_match_blocks_on_all_tokens(position: str, before: bool) -> None:
    """Compare with the loaded blocks run on all tokens."""
    backbone = tiny()
    vit = backbone.model.visual
    images = torch.randn(2, 3, 32, 32)
    context = torch.randn(3, WIDTH, requires_grad=True)
    deep = torch.randn(DEPTH - 1, 3, WIDTH, requires_grad=True)
    prompts = VisualPrompts(context, deep, position, before)

    x = vit.conv1(images).flatten(2).transpose(1, 2)
    x = torch.cat([vit.class_embedding.expand(2, 1, -1), x], 1) + vit.positional_embedding
    start = 1 if position == "after_class" else x.shape[1]
    tokens = context.expand(2, -1, -1)
    if before:
        x = vit.ln_pre(torch.cat([x[:, :start], tokens, x[:, start:]], 1))
    else:
        x = vit.ln_pre(x)
        x = torch.cat([x[:, :start], tokens, x[:, start:]], 1)
    for layer, block in enumerate(vit.transformer.resblocks):
        if layer:
            x = torch.cat([x[:, :start], deep[layer - 1].expand(2, -1, -1), x[:, start + 3 :]], 1)
        x = block(x)
    expected = vit.ln_post(x[:, 0]) @ vit.proj

    actual = backbone.vision(images, prompts)
    assert relative(actual, expected) < 1e-5
    weights = torch.randn_like(expected)
    for one, other in zip(
        torch.autograd.grad((actual * weights).sum(), [context, deep]),
        torch.autograd.grad((expected * weights).sum(), [context, deep]),
        strict=True,
    ):
        assert relative(one, other) < 1e-4


def test_bf16_towers_accept_and_return_fp32() -> None:
    torch.manual_seed(0)
    model = open_clip.CLIP(
        32,
        {"image_size": 32, "patch_size": 8, "width": WIDTH, "layers": 2, "head_width": 32},
        {"width": WIDTH, "layers": 2, "heads": 2},
    )
    exact = vlprompt.load_backbone(model, device="cpu")
    context = torch.randn(4, WIDTH, requires_grad=True)
    names, images = ["red apple", "dog"], torch.randn(2, 3, 32, 32)
    text, image = exact.text.encode_prompts(TextPrompts(context), names), exact.encode_image(images)
    hash_before = exact.weight_hash
    rounded = vlprompt.load_backbone(model, "bf16", "cpu")
    assert rounded.weight_hash == hash_before
    features = rounded.text.encode_prompts(TextPrompts(context), names)
    assert features.dtype == torch.float32
    assert 0 < relative(features, text) < 0.05
    assert 0 < relative(rounded.encode_image(images), image) < 0.05
    features.sum().backward()
    assert context.grad is not None and context.grad.dtype == torch.float32


def test_fp16_on_a_cpu_is_rejected() -> None:
    with pytest.raises(VLPromptError, match="`precision` fp16 is not supported on a CPU; use bf16"):
        vlprompt.load_backbone(tiny().model, "fp16", "cpu")


def test_prompts_of_the_wrong_shape_are_rejected() -> None:
    with pytest.raises(VLPromptError, match=r"must have shape \(C, n, d_t\) for per='class', got \(4, 64\)"):
        TextPrompts(torch.zeros(4, WIDTH), "class")
    with pytest.raises(VLPromptError, match="`deep` of text prompts must have shape"):
        TextPrompts(torch.zeros(4, WIDTH), deep=torch.zeros(2, 3, WIDTH))
    with pytest.raises(VLPromptError, match="frozen_words"):
        TextPrompts(torch.zeros(4, WIDTH), position="front", frozen_words="of a")
    with pytest.raises(VLPromptError, match="`deep` of visual prompts must have shape"):
        VisualPrompts(torch.zeros(4, WIDTH), torch.zeros(2, 3, WIDTH))
