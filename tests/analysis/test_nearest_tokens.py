import open_clip
import pytest
import torch
from torch.testing import assert_close

from tests.helpers.shapes import TEXT_WIDTH, uneven
from vlprompt import load_backbone
from vlprompt.analysis.nearest_tokens import SAMPLE, TokenEmbeddings
from vlprompt.backbones.tokenizer import clip_tokenizer


@torch.no_grad()
def test_context_of_word_embeddings_reads_as_the_words() -> None:
    tower = uneven().text
    read = TokenEmbeddings(tower).read(tower.words("a photo of a"), "all classes")
    assert [vector.nearest[0].word for vector in read.vectors] == ["a", "photo", "of", "a"]
    for vector in read.vectors:
        assert vector.nearest[0].distance == 0
        assert vector.nearest[0].cosine == pytest.approx(1, abs=1e-5)
        distances = [near.distance for near in vector.nearest]
        assert distances == sorted(distances)
        assert len({near.word for near in vector.nearest}) == 5


@torch.no_grad()
def test_distances_norms_and_cosines_match_the_embeddings() -> None:
    tower = uneven().text
    vectors = torch.randn(3, TEXT_WIDTH, generator=torch.Generator().manual_seed(0))
    table = tower.vocabulary
    for vector, read in zip(vectors, TokenEmbeddings(tower).read(vectors, "").vectors, strict=True):
        distances = (table - vector).norm(dim=1)
        token = int(distances.argmin())
        assert read.norm == pytest.approx(vector.norm().item())
        assert read.nearest[0].distance == pytest.approx(distances.min().item(), rel=1e-5)
        assert read.nearest[0].word == tower.tokenizer.word(token)
        cosine = torch.cosine_similarity(table[token], vector, dim=0).item()
        assert read.nearest[0].cosine == pytest.approx(cosine, abs=1e-5)


def test_tokens_without_embeddings_are_ignored() -> None:
    model = open_clip.CLIP(32, {"image_size": 32, "patch_size": 8, "width": 64, "layers": 1}, {"width": 64, "heads": 1})
    with torch.no_grad():
        model.token_embedding.weight[300:] = 0
        table = TokenEmbeddings(load_backbone(model, device="cpu").text)
    assert table.scale().tokens == 300
    tokens = {clip_tokenizer(77).word(token) for token in range(300)}
    (vector,) = table.read(torch.zeros(1, 64), "").vectors
    assert {near.word for near in vector.nearest} <= tokens
    assert vector.nearest[0].distance > 0


@torch.no_grad()
def test_vocabulary_scale_uses_a_sample() -> None:
    tower = uneven().text
    about, table = TokenEmbeddings(tower).scale(), tower.vocabulary
    assert about.tokens == len(table) == 49408
    assert about.norms.median == pytest.approx(table.norm(dim=1).median().item(), rel=1e-3)
    rows = torch.linspace(0, len(table) - 1, SAMPLE).long()
    nearest = torch.cdist(table[rows], table).topk(2, largest=False).values[:, 1]
    assert about.nearest.median == pytest.approx(nearest.median().item(), rel=1e-2)


@pytest.mark.parametrize(("token", "word"), [(320, "a"), (1125, "photo"), (1000, "sel-"), (49406, "<start_of_text>")])
def test_tokens_are_words_or_word_pieces(token: int, word: str) -> None:
    assert clip_tokenizer(77).word(token) == word


def test_vocabulary_is_that_of_the_tower() -> None:
    assert_close(uneven().text.vocabulary, uneven().model.token_embedding.weight)
