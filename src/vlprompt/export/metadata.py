"""What an exported model says of itself, so that a program without vlprompt can prepare its pictures."""

import json
from importlib.metadata import version

from vlprompt.classifier.classifier import Classifier
from vlprompt.data.transforms import THIN


def metadata(classifier: Classifier, precision: str) -> dict[str, str]:
    """Keys and values of the model's `metadata_props`; `class_names` and `preprocessing` are JSON.

    `docs/export.md` says what each of them means.
    """
    backbone, record = classifier.method.backbone, classifier.record
    transform = backbone.eval_transform
    preprocessing = {
        "colors": "RGB",
        "size": transform.size,
        "resize": "squash" if transform.squash else "crop",
        "longest": THIN,
        "interpolation": transform.interpolation,
        "mean": transform.mean,
        "std": transform.std,
    }
    return {
        "class_names": json.dumps(classifier.class_names, ensure_ascii=False),
        "preprocessing": json.dumps(preprocessing),
        "method": classifier.method.name,
        "temperature": repr(classifier.temperature),
        "precision": precision,
        "backbone": record.backbone.name,
        "weight_hash": record.backbone.weight_hash,
        "run_hash": record.result_hash,
        "vlprompt_version": version("vlprompt"),
    }
