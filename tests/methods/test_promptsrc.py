"""PromptSRC beyond its recorded cases: the average over epochs, and the use of the frozen towers."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

import vlprompt
from tests.helpers.shapes import JOINT, NAMES, batch, losses, uneven
from vlprompt import Method, VLPromptError


def method(**options: Any) -> Method[Any]:
    torch.manual_seed(0)
    return vlprompt.create_method("promptsrc", uneven(), NAMES, **{"templates": ["a {}.", "an old {}."], **options})


def moved(made: Method[Any], epochs: int) -> dict[str, list[torch.Tensor]]:
    """Add noise to the prompts for some epochs, and return the prompts of every epoch."""
    seen: dict[str, list[torch.Tensor]] = {name: [] for name, _ in made.named_parameters()}
    for epoch in range(1, epochs + 1):
        with torch.no_grad():
            for name, parameter in made.named_parameters():
                seen[name].append(parameter.add_(torch.randn_like(parameter)).clone())
        made.on_epoch_end(epoch)
    return seen


@pytest.mark.parametrize(("mean", "std", "epochs"), [(15.0, 1.0, 20), (30.0, 30.0, 20), (45.0, 5.0, 4)])
def test_evaluation_uses_the_weighted_average_of_the_epochs(mean: float, std: float, epochs: int) -> None:
    made = method(gpa_mean=mean, gpa_std=std)
    seen = moved(made, epochs)
    passed = torch.arange(1, epochs + 1, dtype=torch.float64)
    weights = torch.exp(-((passed - mean) ** 2) / (2 * std**2))
    weights = (weights / weights.sum()).float()
    adapters = made.eval().adapters()
    text, visual = adapters.text, adapters.visual
    assert text is not None and visual is not None
    used = {
        "text_context": text.context,
        "text_deep": text.deep,
        "visual_context": visual.context,
        "visual_deep": visual.deep,
    }
    assert used.keys() == seen.keys()
    for name, prompts in used.items():
        assert prompts is not None
        assert_close(prompts, torch.einsum("e,e...->...", weights, torch.stack(seen[name])), atol=1e-5, rtol=1e-5)
    trained = made.train().adapters().text
    assert trained is not None and trained.context is made.text_context


def test_average_with_vanishing_weights_is_finite() -> None:
    made = method(gpa_mean=60, gpa_std=0.5)
    first = moved(made, 1)["text_context"][0]
    text = made.eval().adapters().text
    assert text is not None
    assert torch.equal(text.context, first)


def test_prompts_are_not_averaged_before_the_first_epoch() -> None:
    made = method().eval()
    with torch.no_grad():
        made.text_context.add_(1)
    text = made.adapters().text
    assert text is not None and text.context is made.text_context


def test_state_dict_includes_the_average() -> None:
    made, other = method(gpa_std=30), method(gpa_std=30)
    moved(made, 3)
    other.load_prompts(made.state_dict())
    images = batch()[0]
    assert torch.equal(other.eval()(images).logits, made.eval()(images).logits)
    assert not torch.allclose(other.train()(images).logits, made.eval()(images).logits, atol=1e-3)


def test_gpa_epochs_must_match_the_run() -> None:
    method().set_epochs(7)
    with pytest.raises(VLPromptError, match=r"gpa_epochs must equal optim.epochs=7, got 20"):
        method(gpa_epochs=20).set_epochs(7)
    method(gpa_epochs=7).set_epochs(7)


def test_frozen_text_features_are_averaged_before_normalization() -> None:
    made, frozen = method(), uneven()
    raw = [
        frozen.encode_text(frozen.tokenize([t.format(n) for n in made.class_names])) for t in ("a {}.", "an old {}.")
    ]
    expected = F.normalize((raw[0] + raw[1]) / 2, dim=-1)
    assert_close(made(batch()[0]).extras["frozen_text_features"], expected)
    made.set_class_names(["cat", "dog"])
    extras = made(batch()[0]).extras
    assert extras["frozen_text_features"].shape == (2, JOINT)
    assert_close(extras["frozen_text_features"][1], expected[1])
    assert extras["frozen_logits"].shape == (6, 2)


def test_frozen_towers_do_not_run_in_evaluation() -> None:
    made, (images, labels) = method().eval(), batch()
    with torch.no_grad():
        prediction = made(images)
    assert prediction.extras == {}
    with pytest.raises(VLPromptError, match="has no frozen features for the loss of 'promptsrc'; predict"):
        made.loss(prediction, labels)
    assert made(batch()[0]).extras.keys() == {"frozen_logits", "frozen_image_features", "frozen_text_features"}
    assert not any(value.requires_grad for value in made(batch()[0]).extras.values())


def test_training_lowers_the_loss_with_term_weights() -> None:
    seen = losses(method(), lr=0.003)
    assert seen[-1] < 0.95 * seen[0]
    images, labels = batch()
    bare = method(text_loss_weight=0, image_loss_weight=0)
    terms = bare.loss(bare(images), labels)
    assert terms["text"] == terms["image"] == 0
    assert_close(terms.total, terms["cross_entropy"] + terms["logits"])


def test_empty_templates_are_rejected() -> None:
    with pytest.raises(VLPromptError, match=r"method.templates: must not be empty, got \[\]"):
        method(templates=[])
