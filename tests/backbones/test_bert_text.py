"""BERT-like text towers against transformers' own encoders."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.helpers.bert import WIDTH, WORDS, random_encoder, write_vocabulary
from vlprompt.backbones.bert import Bert, BertConfig, BertTextModel, FirstToken, MeanPooling
from vlprompt.backbones.bert_text import BertTextTower
from vlprompt.backbones.packing import arrange
from vlprompt.backbones.tokenizer import Tokenizer, file_tokenizer
from vlprompt.errors import VLPromptError
from vlprompt.prompts import LowRankUpdates, TextPrompts

NAMES = ["dog", "big cats", "apple", "the big dog of the sky"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return file_tokenizer(write_vocabulary(tmp_path_factory.mktemp("vocabulary")), 24)


@pytest.fixture(scope="module", params=["bert", "roberta"])
def reference(request: pytest.FixtureRequest) -> Any:
    return random_encoder(request.param)


def tower_of(reference: Any, tokenizer: Tokenizer, head: Any = MeanPooling) -> BertTextTower:
    encoder = Bert(BertConfig.read(reference.config.to_dict()))
    encoder.load_state_dict(reference.state_dict())
    text = BertTextModel(encoder, head(nn.Identity()), WIDTH).requires_grad_(False)
    return BertTextTower(text, tokenizer)


def pooled(states: Tensor, mask: Tensor, head: Any) -> Tensor:
    if head is FirstToken:
        return states[:, 0]
    return (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


def plain_prompts(reference: Any, tokenizer: Tokenizer, prompts: TextPrompts, head: Any) -> Tensor:
    """Return features (C, D) or (B, C, D) of prompted sentences, each padded to the context length."""
    tokens, slots = arrange(
        tokenizer, NAMES, length=prompts.length, position=prompts.position, frozen_words=prompts.frozen_words
    )
    mask = ((tokens != tokenizer.pad) | (slots >= 0)).long()
    features = []
    for context in prompts.context if prompts.per == "image" else [prompts.context]:
        x = reference.embeddings.word_embeddings(tokens)
        rows = context if prompts.per == "class" else context.expand(len(NAMES), -1, -1)
        chosen = rows.gather(1, slots.clamp(min=0)[..., None].expand(-1, -1, WIDTH))
        x = torch.where((slots >= 0)[..., None], chosen, x)
        states = reference(inputs_embeds=x, attention_mask=mask).last_hidden_state
        features.append(pooled(states, mask, head))
    return torch.stack(features) if prompts.per == "image" else features[0]


@pytest.mark.parametrize("head", [MeanPooling, FirstToken])
def test_frozen_features_equal_those_of_transformers(reference: Any, tokenizer: Tokenizer, head: Any) -> None:
    tower = tower_of(reference, tokenizer, head)
    tokens = tokenizer([f"a photo of the {name}." for name in NAMES])
    mask = (tokens != tokenizer.pad).long()
    states = reference(input_ids=tokens, attention_mask=mask).last_hidden_state
    assert torch.allclose(tower(tokens), pooled(states, mask, head), atol=1e-5)
    tower.chunk_size = 1
    assert torch.allclose(tower(tokens), pooled(states, mask, head), atol=1e-5)


@pytest.mark.parametrize("position", ["end", "middle", "front"])
@pytest.mark.parametrize("per", ["shared", "class", "image"])
@pytest.mark.parametrize("chunk", [None, 3])
def test_prompts_and_their_gradients_equal_those_of_transformers(
    reference: Any, tokenizer: Tokenizer, per: Any, position: Any, chunk: int | None
) -> None:
    tower = tower_of(reference, tokenizer)
    tower.chunk_size = chunk
    shape = {"shared": (4, WIDTH), "class": (len(NAMES), 4, WIDTH), "image": (2, 4, WIDTH)}[per]
    context = torch.randn(shape, generator=torch.Generator().manual_seed(1)).requires_grad_()
    words = "a photo" if position == "end" else ""
    prompts = TextPrompts(context, per, position=position, frozen_words=words)
    ours, theirs = tower.encode_prompts(prompts, NAMES), plain_prompts(reference, tokenizer, prompts, MeanPooling)
    assert ours.shape == theirs.shape
    assert torch.allclose(ours, theirs, atol=1e-5)
    weights = torch.randn(ours.shape, generator=torch.Generator().manual_seed(2))
    gradients = [torch.autograd.grad((features * weights).sum(), context)[0] for features in (ours, theirs)]
    assert torch.allclose(*gradients, rtol=1e-4, atol=1e-5)


def test_words_are_the_embeddings_that_a_context_starts_from(reference: Any, tokenizer: Tokenizer) -> None:
    tower = tower_of(reference, tokenizer)
    names = ["dog", "cat"]
    from_words = tower.encode_prompts(TextPrompts(tower.words("a photo of a")), names)
    assert torch.allclose(from_words, tower(tokenizer([f"a photo of a {name}." for name in names])), atol=1e-6)
    assert tower.vocabulary.shape == (len(WORDS), WIDTH)
    assert tower.reading("dogs zebra") == (9, 11, -1)


def test_deep_prompts_and_updates_are_one_line(reference: Any, tokenizer: Tokenizer) -> None:
    tower = tower_of(reference, tokenizer)
    deep = TextPrompts(torch.zeros(2, WIDTH), deep=torch.zeros(1, 2, WIDTH))
    message = "takes prompts at its first layer only; set the depth"
    with pytest.raises(VLPromptError, match=message):
        tower.check(deep, None, NAMES)
    with pytest.raises(VLPromptError, match=message):
        tower.encode_prompts(deep, NAMES)
    updates = LowRankUpdates(torch.zeros(3, 3, 2, WIDTH), torch.zeros(3, 3, WIDTH, 2))
    with pytest.raises(VLPromptError, match="does not support low-rank updates"):
        tower(tokenizer(["a dog"]), updates)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model_type": "t5"}, "text encoders of type 't5' are not supported; supported are bert, roberta"),
        ({"hidden_act": "silu"}, "with silu activation and absolute positions is not supported"),
        ({"position_embedding_type": "relative_key"}, "gelu activation and relative_key positions"),
    ],
)
def test_unsupported_configurations(changed: dict[str, str], message: str) -> None:
    with pytest.raises(VLPromptError, match=message):
        BertConfig.read({"model_type": "bert", **changed})


def test_tokenizer_files(tokenizer: Tokenizer, tmp_path: Path) -> None:
    assert tokenizer(["A dogs!"]).tolist()[0][:6] == [2, 4, 9, 11, 1, 3]
    assert [tokenizer.word(token) for token in (9, 11, 3)] == ["dog", "-s", "[SEP]"]
    path = write_vocabulary(tmp_path)
    path.write_text(path.read_text().replace("[CLS]", "[START]"))
    with pytest.raises(VLPromptError, match=r"lacks one of \[CLS\], \[SEP\], \[PAD\]"):
        file_tokenizer(path, 24)(["a dog"])
