"""The model card of a classifier, for the Hugging Face hub."""

import inspect
from collections.abc import Sequence
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from vlprompt.backbones.sources.open_clip import list_pretrained
from vlprompt.methods.base import METHODS
from vlprompt.runs.record import RunRecord

CLASSES_SHOWN = 100


def model_card(record: RunRecord, class_names: Sequence[str], license: str | None) -> ModelCard:
    """What it is, what it learned from, how good it is, its license and how to use it.

    Args:
        record: of the run.
        class_names: that the classifier names now.
        license: of the prompts, as the hub names it.
    """
    config = record.config
    data = ModelCardData(
        library_name="vlprompt",
        pipeline_tag="image-classification",
        tags=["clip", "prompt-learning", config.method.name, "model_hub_mixin"],
        license=license,
        base_model=None,
        model_name=f"{config.method.name} on {config.data.source}",
        eval_results=[
            EvalResult("image-classification", config.data.source, config.data.source, "accuracy", value, test)
            for test, value in _accuracies(record).items()
        ],
    )
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n{_text(record, class_names, license)}")


def _text(record: RunRecord, class_names: Sequence[str], license: str | None) -> str:
    config, backbone, split = record.config, record.backbone, record.split
    about = (inspect.getdoc(METHODS.get(config.method.name)) or "").splitlines()[0]
    options = ", ".join(f"`{key}={value}`" for key, value in config.method.options.items())
    learned = f"{record.trainable_parameters:,} values learned; the backbone is frozen and not part of these files"
    sections = {
        "Method": f"**{config.method.name}**: {about} Options: {options}. {learned}.\n\n"
        f"Backbone: `{config.backbone.source}` ({backbone.name}, {backbone.image_size} pixels, weights "
        f"`{backbone.weight_hash[:16]}`), {config.backbone.precision}. Its own license holds for it.",
        "Data": f"{config.data.source}: {split.train} images of {len(record.class_names)} classes (up to "
        f"{config.data.shots} a class, seed {config.seed}), {split.val} held out and {split.test} to test; split "
        f"`{split.hash[:16]}`.\n\nClasses: {_listed(class_names)}.",
        "Metrics": _metrics(record),
        "Limits": "It answers with one of its classes whatever the picture shows. It inherits what its backbone "
        "learned from its own training data, wrong and unfair associations among it. Test it on pictures of your own "
        "before you rely on it.",
        "License": f"{license}." if license else "Not stated by the author.",
        "How to use": _usage(config.backbone.source),
    }
    title = f"# {config.method.name} prompts for {len(class_names)} classes of {config.data.source}"
    return "\n\n".join([title, *(f"## {name}\n\n{text}" for name, text in sections.items())]) + "\n"


def _metrics(record: RunRecord) -> str:
    columns = ("accuracy", "macro_accuracy", "calibration_error", "calibrated_error")
    rows = [
        " | ".join([f"| {test}", *(f"{of[key]:.1f}" if key in of else "" for key in columns), f"{of['images']:,} |"])
        for test, of in record.metrics.items()
        if isinstance(of, dict)
    ]
    if not rows:
        return "None were measured."
    head = f"Protocol {record.config.protocol}, on the classes it was tuned on, in percent."
    head_row = "| test | accuracy | mean of classes | calibration error | after calibration | images |"
    table = [head_row, "|---|---|---|---|---|---|", *rows]
    found = record.calibration
    after = (
        f"\n\nProbabilities are divided by a temperature of {found.temperature:.2f}, fitted on {found.images} held-out "
        f"images: their calibration error was {found.error_before:.1f} before and is {found.error_after:.1f} after."
        if found
        else ""
    )
    return f"{head}\n\n" + "\n".join(table) + after


def _accuracies(record: RunRecord) -> dict[str, float]:
    """Accuracy of every test, in percent to a tenth, by its name."""
    return {test: round(of["accuracy"], 1) for test, of in record.metrics.items() if isinstance(of, dict)}


def _listed(names: Sequence[str]) -> str:
    more = len(names) - CLASSES_SHOWN
    return ", ".join(names[:CLASSES_SHOWN]) + (f", and {more:,} more" if more > 0 else "")


def _usage(source: str) -> str:
    found = source in ("embedded", *list_pretrained()) or source.startswith("hf-hub:")
    elsewhere = "" if found else f', backbone="{source}"'
    lines: list[Any] = [
        "import vlprompt",
        "",
        f'classifier = vlprompt.Classifier.from_pretrained("OWNER/NAME"{elsewhere})  # or a local folder',
        'for guess in classifier.predict(["picture.jpg"]):',
        "    print(guess.label, guess.probability)",
    ]
    code = "\n".join(f"    {line}" if line else "" for line in lines)
    return f"`pip install vlprompt`; it needs the backbone `{source}`.\n\n{code}"
