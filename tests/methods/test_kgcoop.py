"""KgCoOp beyond its recorded cases."""

import torch

import vlprompt
from tests.helpers.shapes import NAMES, TEXT_WIDTH, batch, losses, uneven


def test_context_from_template_words_has_zero_distance() -> None:
    method = vlprompt.create_method("kgcoop", uneven(), NAMES, template="a photo of a {}.")
    images, labels = batch()
    assert method.text_context.shape == (4, TEXT_WIDTH)
    terms = method.loss(method(images), labels)
    assert abs(terms["knowledge"].item()) < 1e-6
    torch.testing.assert_close(terms.total, terms["cross_entropy"])


def test_zero_weight_is_coop() -> None:
    torch.manual_seed(0)
    coop = vlprompt.create_method("coop", uneven(), NAMES, n_ctx=3)
    method = vlprompt.create_method("kgcoop", uneven(), NAMES, n_ctx=3, weight=0.0)
    method.load_prompts(coop.state_dict())
    images, labels = batch()
    for one in (coop, method):
        one.backward(one.loss(one(images), labels))
    torch.testing.assert_close(method(images).logits, coop(images).logits)
    torch.testing.assert_close(method.text_context.grad, coop.text_context.grad)


def test_knowledge_follows_the_class_names() -> None:
    templates = ["a {}.", "a drawing of a {}."]
    method = vlprompt.create_method("kgcoop", uneven(), NAMES, template=templates)
    method.set_class_names(["cat", "dog"])
    expected = uneven().template_features(templates, ["cat", "dog"])
    found = method(batch()[0]).extras["hand_crafted_text_features"]
    torch.testing.assert_close(found, expected)


def test_weight_keeps_text_features_close() -> None:
    distances = []
    for weight in (0.0, 8.0):
        method = vlprompt.create_method("kgcoop", uneven(), NAMES, weight=weight)
        seen = losses(method, steps=30, lr=0.001)
        assert seen[-1] < seen[0]
        images, labels = batch()
        distances.append(method.loss(method(images), labels)["knowledge"].item())
    assert distances[1] < 0.5 * distances[0]
