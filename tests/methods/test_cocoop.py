"""CoCoOp beyond its recorded cases."""

import pytest
import torch

import vlprompt
from tests.helpers.shapes import JOINT, NAMES, TEXT_WIDTH, batch, losses, uneven
from vlprompt import VLPromptError


def test_meta_net_shapes() -> None:
    method = vlprompt.create_method("cocoop", uneven(), NAMES)
    assert {name: tuple(value.shape) for name, value in method.named_parameters()} == {
        "text_context": (4, TEXT_WIDTH),
        "meta_net.linear1.weight": (JOINT // 16, JOINT),
        "meta_net.linear1.bias": (JOINT // 16,),
        "meta_net.linear2.weight": (TEXT_WIDTH, JOINT // 16),
        "meta_net.linear2.bias": (TEXT_WIDTH,),
    }


def test_batch_matches_coop_image_by_image() -> None:
    torch.manual_seed(0)
    method = vlprompt.create_method("cocoop", uneven(), NAMES)
    coop = vlprompt.create_method("coop", uneven(), NAMES, n_ctx=4)
    images, _ = batch()
    prediction = method(images)
    assert prediction.text_features.shape == (6, 3, JOINT)
    for number, features in enumerate(prediction.image_features):
        with torch.no_grad():
            coop.text_context.copy_(method.text_context + method.meta_net(features))
        alone = coop(images[number, None])
        torch.testing.assert_close(prediction.logits[number], alone.logits[0])
        torch.testing.assert_close(prediction.text_features[number], alone.text_features)
    assert not torch.allclose(prediction.text_features[0], prediction.text_features[1])


def test_cached_features_and_chunks_give_equal_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    method = vlprompt.create_method("cocoop", uneven(), NAMES)
    images, labels = batch()

    def gradients(inputs: torch.Tensor) -> list[torch.Tensor]:
        method.zero_grad()
        method.backward(method.loss(method(inputs), labels))
        return [parameter.grad for parameter in method.parameters() if parameter.grad is not None]

    expected = gradients(images)
    torch.testing.assert_close(gradients(uneven().encode_image(images)), expected, rtol=1e-4, atol=1e-6)
    monkeypatch.setattr(uneven().text, "chunk_size", 12)  # two of the three classes for six images
    torch.testing.assert_close(gradients(images), expected, rtol=1e-4, atol=1e-6)


def test_text_features_require_images() -> None:
    method = vlprompt.create_method("cocoop", uneven(), NAMES)
    with pytest.raises(VLPromptError, match="text features of method 'cocoop' depend on images"):
        method.text_features()
    assert method.class_features() is None


def test_new_classes_require_only_names() -> None:
    method = vlprompt.create_method("cocoop", uneven(), NAMES)
    images, _ = batch()
    before = method(images)
    method.set_class_names(["cat", *NAMES])
    torch.testing.assert_close(method(images).logits[:, 1:], before.logits)


def test_explicit_length_is_initialized_randomly() -> None:
    torch.manual_seed(0)
    words = vlprompt.create_method("cocoop", uneven(), NAMES)
    torch.testing.assert_close(words.text_context.detach(), uneven().text.words("a photo of a"))
    noise = vlprompt.create_method("cocoop", uneven(), NAMES, n_ctx=7)
    assert noise.text_context.shape == (7, TEXT_WIDTH)
    assert noise.text_context.std().item() == pytest.approx(0.02, rel=0.2)
    both = vlprompt.create_method("cocoop", uneven(), NAMES, n_ctx=7, ctx_init="a drawing")
    torch.testing.assert_close(both.text_context.detach(), uneven().text.words("a drawing"))


def test_training_lowers_the_loss() -> None:
    torch.manual_seed(0)
    seen = losses(vlprompt.create_method("cocoop", uneven(), NAMES))
    assert seen[-1] < 0.9 * seen[0]
