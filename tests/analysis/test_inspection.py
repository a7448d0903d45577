"""Inspections of every kind of method, with and without images."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from tests.helpers.runs import METHODS, Tuned, inspected, run_of
from vlprompt import VLPromptError, create_method
from vlprompt.analysis.inspection import inspect_run
from vlprompt.runs.record import read_record
from vlprompt.runs.restore import restore
from vlprompt.runs.state import save_prompts

NO_TEXT = {"vpt", "clip-lora", "linear-probe", "tip-adapter", "zero-shot"}
NO_VISUAL = {"coop", "cocoop", "clip-lora", "linear-probe", "tip-adapter", "zero-shot"}
SAME_TEXT = {"vpt", "linear-probe", "tip-adapter", "zero-shot"}
SAME_IMAGES = {"coop", "cocoop", "linear-probe", "tip-adapter", "zero-shot"}


@pytest.mark.parametrize("kind", METHODS)
def test_every_method(kind: str, tuned: Tuned) -> None:
    found = inspected(tuned, kind)
    record, name = read_record(run_of(tuned, kind)), kind.split(",")[0]
    assert set(found.left_out) == {
        part
        for part, without in {
            "text prompts": NO_TEXT, "visual prompts": NO_VISUAL,
            "classes after": SAME_TEXT, "images after": SAME_IMAGES,
        }.items()
        if name in without
    }  # fmt: skip
    assert set(found.norms) == set(found.attention)
    assert ("text" in found.norms, "image" in found.norms) == (name not in NO_TEXT, name not in NO_VISUAL)
    assert (found.vocabulary is None) == (name in NO_TEXT) == (not found.contexts)
    assert found.accuracy is not None
    assert found.accuracy.after == pytest.approx(record.metrics["test"]["accuracy"])
    assert (
        found.looked_at == f"{record.metrics['test']['images']} test images of {Path(record.config.data.source).name}"
    )
    text, images = found.dispersion["class_distance"], found.dispersion["prototype_distance"]
    assert (text.after is None, images.after is None) == (name in SAME_TEXT, name in SAME_IMAGES)
    assert (found.dispersion["modality_gap"].after is None) == (name in SAME_TEXT & SAME_IMAGES)
    wrong = record.metrics["test"]["images"] * (1 - found.accuracy.after / 100)
    assert sum(pair.count for pair in found.pairs) == round(wrong)  # four classes have fewer pairs than the limit
    assert json.loads(json.dumps(found.summary()))["method"] == name


def test_zero_shot_run_changes_nothing(tuned: Tuned) -> None:
    zero_shot, tuned_images = inspected(tuned, "zero-shot"), inspected(tuned, "dapt")
    assert zero_shot.accuracy is not None
    assert tuned_images.accuracy is not None
    assert zero_shot.accuracy.before == zero_shot.accuracy.after == tuned_images.accuracy.before
    assert zero_shot.dispersion["class_distance"].before == tuned_images.dispersion["class_distance"].before
    assert all(pair.before == pair.count for pair in zero_shot.pairs)


def test_prototypes_match_dapts(tuned: Tuned) -> None:
    found = inspected(tuned, "dapt")
    assert found.images is not None
    assert_close(found.images.prototypes, restore(found.run, device="cpu")[1].prototypes, atol=1e-6, rtol=1e-5)


def test_contexts(tuned: Tuned) -> None:
    found = inspected(tuned, "coop, class-specific")
    assert [context.of for context in found.contexts] == read_record(found.run).class_names
    assert [len(context.vectors) for context in found.contexts] == [2] * 4
    (shared,) = inspected(tuned, "coop").contexts
    context = restore(run_of(tuned, "coop"), device="cpu")[1].text_context
    assert [vector.norm for vector in shared.vectors] == pytest.approx(context.norm(dim=1).tolist())


def test_instance_conditional_context_is_read_with_and_without_shift(tuned: Tuned) -> None:
    found = inspected(tuned, "cocoop")
    method = restore(found.run, device="cpu")[1]
    assert found.images is not None
    with torch.no_grad():
        shift = method.meta_net(found.images.features.before).mean(0)
    own, shifted = found.contexts
    assert [vector.norm for vector in own.vectors] == pytest.approx(method.text_context.norm(dim=1).tolist())
    expected = (method.text_context + shift).norm(dim=1).tolist()
    assert [vector.norm for vector in shifted.vectors] == pytest.approx(expected, rel=1e-5)
    assert found.norms["text"][0].prompts == pytest.approx(expected, rel=1e-5)
    # Class embeddings are normalized means over the images.
    assert found.classes.after is not None
    assert found.classes.after.norm(dim=1).tolist() == pytest.approx([1] * 4, abs=1e-5)
    with torch.no_grad():
        each = method(found.images.features.before).text_features
    assert_close(found.classes.after, torch.nn.functional.normalize(each.sum(0), dim=-1), atol=1e-5, rtol=1e-4)


def test_base_to_new_run_is_inspected_on_base_classes(tuned: Tuned) -> None:
    run = tuned("coop", "base-to-new", n_ctx=2)
    found, base = inspect_run(run, device="cpu"), read_record(run).metrics["base"]
    assert found.classes.names == tuple(read_record(run).class_names)
    assert found.accuracy is not None
    assert found.accuracy.after == pytest.approx(base["accuracy"])
    assert sum(pair.count for pair in found.pairs) == round(base["images"] * (1 - base["accuracy"] / 100))


def test_limit_reduces_and_describes_the_images(tuned: Tuned) -> None:
    found = inspect_run(run_of(tuned, "dapt"), limit=8, device="cpu")
    assert found.images is not None
    assert found.looked_at.startswith(f"{len(found.images.paths)} of ")
    assert len(found.images.paths) == 8
    assert {pair.before for pair in found.pairs} <= {None}  # the run has predictions for more images


@pytest.fixture
def gone(tuned: Tuned, tmp_path: Path) -> Any:
    """Run whose data was deleted."""

    def make(kind: str) -> Path:
        run = tmp_path / "run"
        shutil.copytree(run_of(tuned, kind), run)
        text = (run / "run.json").read_text()
        source = read_record(run).config.data.source
        (run / "run.json").write_text(text.replace(json.dumps(source), json.dumps(str(tmp_path / "gone"))))
        return run

    return make


def test_missing_data_leaves_image_free_parts(gone: Any, tuned: Tuned) -> None:
    found = inspect_run(gone("mudpt"), device="cpu")
    whole = inspected(tuned, "mudpt")
    assert found.images is None
    assert found.left_out["images"].startswith("`data` ")
    assert set(found.left_out) == {"images", "image attention"}
    assert found.contexts == whole.contexts
    assert found.norms["text"] == whole.norms["text"]
    assert [layer.prompts for layer in found.norms["image"]] == [layer.prompts for layer in whole.norms["image"]]
    assert set(found.dispersion) == {"class_distance", "nearest_class_distance", "inter_dispersion"}
    assert [(pair.first, pair.count) for pair in found.pairs] == [(pair.first, pair.count) for pair in whole.pairs]


def test_instance_conditional_embeddings_need_images(gone: Any) -> None:
    found = inspect_run(gone("cocoop"), device="cpu")
    assert set(found.left_out) == {"images", "shifted context", "classes after", "visual prompts"}
    assert found.classes.after is None
    assert "text" in found.attention


def test_unreadable_images_are_left_out(gone: Any, tmp_path: Path, pictures: Path) -> None:
    run, data = gone("coop"), tmp_path / "gone"
    shutil.copytree(pictures, data)
    for path in data.rglob("*.png"):
        path.write_bytes(b"")
    found = inspect_run(run, device="cpu")
    assert found.left_out["images"]
    assert found.contexts


def test_other_data_sets_other_classes(tuned: Tuned, tmp_path: Path) -> None:
    for shade, name in enumerate(("gray_stone", "white_cloud")):
        (tmp_path / name).mkdir()
        for number in range(12):
            Image.new("RGB", (32, 32), (90 + 80 * shade + number,) * 3).save(tmp_path / name / f"{number}.png")
    run = run_of(tuned, "dapt")
    found = inspect_run(run, str(tmp_path), device="cpu")
    assert found.classes.names == ("gray stone", "white cloud")
    assert found.images is not None
    assert len(found.images.labels.unique()) == 2
    assert sum(pair.count for pair in found.pairs) <= len(found.images.paths)
    with pytest.raises(VLPromptError, match="learns something for each class and cannot name new"):
        inspect_run(run_of(tuned, "linear-probe"), str(tmp_path), device="cpu")
    with pytest.raises(VLPromptError, match="is neither an existing folder"):
        inspect_run(run, str(tmp_path / "none"), device="cpu")


def test_imported_run_needs_data_for_image_parts(tuned: Tuned, tmp_path: Path, pictures: Path) -> None:
    run = run_of(tuned, "coop")
    record, method = restore(run, device="cpu")
    record.status, record.metrics = "imported", {}
    other = create_method("coop", method.backbone, record.class_names, **record.config.method.options)
    other.load_prompts(method.state_dict())
    save_prompts(tmp_path, other)
    record.write(tmp_path)
    found, own = inspect_run(tmp_path, device="cpu"), inspected(tuned, "coop")
    assert found.left_out["images"] == "the run was imported without images; pass a dataset as `data`"
    assert found.left_out["confusions"] == "the run has no recorded predictions, and no images are available"
    assert found.contexts == own.contexts
    whole = inspect_run(tmp_path, str(pictures), device="cpu")
    assert (whole.dispersion, whole.pairs) == (own.dispersion, own.pairs)


def test_changed_data_warns_and_is_inspected(
    gone: Any, tmp_path: Path, pictures: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run, data = gone("coop"), tmp_path / "gone"
    shutil.copytree(pictures, data)
    shutil.copytree(data / "night", data / "another_night")
    with caplog.at_level("WARNING", logger="vlprompt"):
        found = inspect_run(run, device="cpu")
    assert "has changed since the run" in caplog.text
    assert "another night" in found.classes.names
    assert found.images is not None
    assert found.accuracy is not None
    # The recorded predictions have four classes, so new ones are computed.
    wrong = int((found.images.guesses.after != found.images.labels).sum())
    assert sum(pair.count for pair in found.pairs) == wrong > 0
