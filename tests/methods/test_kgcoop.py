"""KgCoOp beyond its recorded cases."""

import torch

import vlprompt
from tests.helpers.shapes import NAMES, TEXT_WIDTH, batch, losses, uneven


def test_words_of_the_template_have_no_distance_to_it() -> None:
    method = vlprompt.create_method("kgcoop", uneven(), NAMES, template="a photo of a {}.")
    images, labels = batch()
    assert method.text_context.shape == (4, TEXT_WIDTH)
    terms = method.loss(method(images), labels)
    assert abs(terms["knowledge"].item()) < 1e-6
    torch.testing.assert_close(terms.total, terms["cross_entropy"])


def test_without_its_weight_it_is_coop() -> None:
    torch.manual_seed(0)
    coop = vlprompt.create_method("coop", uneven(), NAMES, n_ctx=3)
    method = vlprompt.create_method("kgcoop", uneven(), NAMES, n_ctx=3, weight=0.0)
    method.load_prompts(coop.state_dict())
    images, labels = batch()
    for one in (coop, method):
        one.backward(one.loss(one(images), labels))
    torch.testing.assert_close(method(images).logits, coop(images).logits)
    torch.testing.assert_close(method.text_context.grad, coop.text_context.grad)


def test_the_knowledge_is_of_the_classes_named_now() -> None:
    templates = ["a {}.", "a drawing of a {}."]
    method = vlprompt.create_method("kgcoop", uneven(), NAMES, template=templates)
    method.set_class_names(["cat", "dog"])
    expected = uneven().template_features(templates, ["cat", "dog"])
    found = method(batch()[0]).extras["hand_crafted_text_features"]
    torch.testing.assert_close(found, expected)


def test_its_weight_keeps_the_text_features_near() -> None:
    distances = []
    for weight in (0.0, 8.0):
        method = vlprompt.create_method("kgcoop", uneven(), NAMES, weight=weight)
        seen = losses(method, steps=30, lr=0.001)
        assert seen[-1] < seen[0]
        images, labels = batch()
        distances.append(method.loss(method(images), labels)["knowledge"].item())
    assert distances[1] < 0.5 * distances[0]
