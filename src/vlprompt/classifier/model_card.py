"""Model card of a classifier, for the Hugging Face hub."""

import inspect
import json
from collections.abc import Sequence

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from vlprompt.backbones.backbone import list_backbones
from vlprompt.methods.base import METHODS
from vlprompt.runs.record import RunRecord
from vlprompt.utils.strings import listed, markdown_code, markdown_text

CLASSES_SHOWN = 100


def model_card(record: RunRecord, class_names: Sequence[str], license: str | None) -> ModelCard:
    """Write the card: method, data, metrics, limits, license and usage.

    Args:
        record: record of the run.
        class_names: the classifier's current classes.
        license: license of the prompts, in the hub's spelling; None if not stated.
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
            for test, value in accuracies(record).items()
        ],
    )
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n{_text(record, class_names, license)}")


def accuracies(record: RunRecord) -> dict[str, float]:
    """Return the accuracy of each test, in percent to one decimal, by the test's name."""
    return {test: round(found["accuracy"], 1) for test, found in record.metrics.items() if isinstance(found, dict)}


def _text(record: RunRecord, class_names: Sequence[str], license: str | None) -> str:
    config, backbone, split = record.config, record.backbone, record.split
    about = (inspect.getdoc(METHODS.get(config.method.name)) or "").splitlines()[0]
    source = markdown_text(config.data.source)
    options = ", ".join(markdown_code(f"{key}={value}") for key, value in config.method.options.items())
    learned = f"{record.trainable_parameters:,} learned values; the backbone is frozen and not included"
    sections = {
        "Method": f"**{config.method.name}**: {about} Options: {options}. {learned}.\n\n"
        f"Backbone: {markdown_code(config.backbone.source)} ({markdown_text(backbone.name)}, "
        f"{backbone.image_size} pixels, weights `{backbone.weight_hash[:16]}`), {config.backbone.precision}, under its "
        "own license.",
        "Data": f"{source}: {split.train} images of {len(record.class_names)} classes (up to "
        f"{config.data.shots} per class, seed {config.seed}), {split.val} held out and {split.test} for testing"
        f"{' (the validation images of the data)' if split.tested_on == 'val' else ''}; split "
        f"`{split.hash[:16]}`.\n\nClasses: {listed(map(markdown_text, class_names), CLASSES_SHOWN, quote=False)}.",
        "Metrics": _metrics(record),
        "Limits": "It predicts one of its classes whatever the image shows. It inherits the associations of its "
        "backbone's training data, including wrong and unfair ones. Test it on your own images before you rely on it.",
        "License": f"{markdown_text(license)}." if license else "Not stated.",
        "Usage": _usage(config.backbone.source),
    }
    title = f"# {config.method.name} prompts for {len(class_names)} classes of {source}"
    return "\n\n".join([title, *(f"## {name}\n\n{text}" for name, text in sections.items())]) + "\n"


def _metrics(record: RunRecord) -> str:
    columns = ("accuracy", "macro_accuracy", "calibration_error", "calibrated_error")
    rows = []
    for test, found in record.metrics.items():
        if isinstance(found, dict):
            values = (f"{found[key]:.1f}" if key in found else "" for key in columns)
            rows.append(" | ".join([f"| {markdown_text(test)}", *values, f"{found['images']:,} |"]))
    if not rows:
        return "Not measured."
    head = f"Protocol {record.config.protocol}, on the classes it was tuned on, in percent."
    table = "\n".join(
        [
            "| test | accuracy | mean class accuracy | calibration error | after calibration | images |",
            "|---|---|---|---|---|---|",
            *rows,
        ]
    )
    return "\n\n".join([head, table, *_calibration(record)])


def _calibration(record: RunRecord) -> list[str]:
    found = record.calibration
    if found is None:
        return []
    return [f"Logits are divided by a temperature of {found.summary}."]


def _usage(source: str) -> str:
    by_name = source in list_backbones() or source.startswith("hf-hub:")
    backbone = "" if by_name else f", backbone={json.dumps(source)}"
    lines = [
        "import vlprompt",
        "",
        f'classifier = vlprompt.Classifier.from_pretrained("OWNER/NAME"{backbone})  # or a local folder',
        'for guess in classifier.predict(["photo.jpg"]):',
        "    print(guess.label, guess.probability)",
    ]
    code = "\n".join(f"    {line}" if line else "" for line in lines)
    return f"`pip install vlprompt`; the backbone is {markdown_code(source)}.\n\n{code}"
