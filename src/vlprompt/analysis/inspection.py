"""Inspect a tuned run: combine all measurements of this package, with reasons for those left out."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from vlprompt.analysis.attention import Attention, image_attention, text_attention
from vlprompt.analysis.confusions import Answers, Pair, confused_pairs, recorded_answers
from vlprompt.analysis.dispersion import image_dispersion, modality_gap, text_dispersion
from vlprompt.analysis.nearest_tokens import Context, TokenEmbeddings, VocabularyScale
from vlprompt.analysis.norms import LayerNorms, image_norms, prompt_norms, text_norms
from vlprompt.analysis.selection import Images, find_images
from vlprompt.analysis.tuned_features import Change, ClassFeatures, ImageFeatures, class_features, image_features
from vlprompt.backbones.clip_text import ClipTextTower
from vlprompt.backbones.vision import ViTTower
from vlprompt.data.image_set import ImageSet
from vlprompt.data.sampling import spaced
from vlprompt.errors import VLPromptError
from vlprompt.methods.base import Method
from vlprompt.prompts import TextPrompts, VisualPrompts
from vlprompt.runs.record import RunRecord
from vlprompt.runs.restore import restore
from vlprompt.utils.progress import Reporter

LIMIT, LIMIT_PER_IMAGE = 1000, 100
WATCHED, BATCH = 64, 16  # number of images whose attention is measured, and images per forward pass
PAIRS = 10

logger = logging.getLogger("vlprompt")


@dataclass
class Inspection:
    """Result of `inspect_run`.

    Attributes:
        run: Run folder.
        record: Record of the run.
        classes: Text features of the classes.
        images: Features of the images; None without images.
        looked_at: Description of the images, such as "564 test images of openmoji".
        accuracy: Accuracy on the images in %, before and after tuning.
        vocabulary: Norms and distances within the vocabulary, for scale; None without contexts.
        contexts: Contexts with their nearest words.
        norms: Norms of prompts at each layer, by tower ("text" or "image").
        dispersion: Quantities before and after tuning, by name.
        pairs: Most confused pairs of classes.
        attention: Attention on prompts, by tower.
        left_out: Reason for each part that is left out, by part.
    """

    run: Path
    record: RunRecord
    classes: ClassFeatures
    images: ImageFeatures | None
    looked_at: str = ""
    accuracy: Change | None = None
    vocabulary: VocabularyScale | None = None
    contexts: list[Context] = field(default_factory=list)
    norms: dict[str, list[LayerNorms]] = field(default_factory=dict)
    dispersion: dict[str, Change] = field(default_factory=dict)
    pairs: list[Pair] = field(default_factory=list)
    attention: dict[str, Attention] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """Return everything except features as JSON-compatible values."""
        about = {
            "run": str(self.run),
            "method": self.record.config.method.name,
            "backbone": self.record.backbone.name,
            "classes": list(self.classes.names),
            "looked_at": self.looked_at,
        }
        parts = {name: value for name, value in vars(self).items() if name not in {*about, "record", "images"}}
        return about | {name: _plain(value) for name, value in parts.items()}


def inspect_run(
    run: str | Path,
    data: str | None = None,
    *,
    name_map: str | None = None,
    root: str | None = None,
    exclude: Sequence[str] = (),
    limit: int | None = None,
    device: str = "auto",
    backbone: str | Path | None = None,
    reporter: Reporter | None = None,
) -> Inspection:
    """Inspect what a run's prompts learned.

    Args:
        run: Run folder.
        data: Another dataset, to whose class names the prompts are applied; None for the run's own test images of its
            training classes. If these are missing, everything that needs no images is still inspected.
        name_map: File that maps folder names of the dataset to class names.
        root: Folder of the named datasets; None for the recorded one.
        exclude: Patterns of files and folders to leave out of the dataset.
        limit: Maximum number of test images and of shots, equally many per class; 0 for all. None: 1000, or 100 if
            text features depend on the image.
        device: Device, as in `load_backbone`.
        backbone: Location of the run's weights, if they have moved.
        reporter: Shows progress; None for no progress.

    Returns:
        All measurements, before and after tuning where both exist.

    Raises:
        VLPromptError: The run does not exist, the weights differ, `data` cannot be read, or the method cannot name its
            classes.

    Examples:
        >>> inspect_run("runs/mine").dispersion["class_distance"]  # doctest: +SKIP
    """
    folder, reporter = Path(run), reporter or Reporter(quiet=True)
    record, method = restore(folder, device=device, backbone=backbone)
    if limit is None:
        limit = LIMIT_PER_IMAGE if method.instance_conditional else LIMIT
    images, left_out = None, {}
    try:
        images = find_images(record, data, name_map=name_map, root=root, exclude=exclude, limit=limit)
        classes, features = image_features(method, images, reporter)
    except VLPromptError as error:
        if data is not None:
            raise
        images, left_out["images"] = None, str(error)
        classes, features = class_features(method), None
    found = Inspection(folder, record, classes, features, left_out=left_out)
    if images is not None and features is not None:
        if images.changed:
            logger.warning("%s has changed since the run; its current images are inspected", images.config.data.source)
        found.looked_at = _looked_at(images)
        found.accuracy = _accuracy(features)
    with torch.no_grad():
        adapters = method.adapters()
        text, visual = adapters.text, adapters.visual
        shifted = _shifted(method, features)
        _read_contexts(found, method, text, shifted)
        _measure(found, method)
        own = data is None and classes.names == tuple(record.class_names)
        _compare_answers(found, recorded_answers(folder, record) if own else None)
        _look_at_text(found, method, shifted or text)
        _look_at_images(found, method, visual, images, reporter)
    return found


def _shifted(method: Method[Any], images: ImageFeatures | None) -> TextPrompts | None:
    """Return the mean over images of image-specific contexts; None for other methods, or without images."""
    if images is None or not method.instance_conditional:
        return None
    text = method.adapters(images.features.before.to(method.backbone.device)).text
    if text is None or text.per != "image":
        return None
    return replace(text, context=text.context.mean(0), per="shared")


def _read_contexts(
    found: Inspection, method: Method[Any], text: TextPrompts | None, shifted: TextPrompts | None
) -> None:
    """Find the nearest words of the context vectors."""
    if text is None:
        found.left_out["text prompts"] = f"{method.name} has none with these options"
        return
    embeddings = TokenEmbeddings(method.backbone.text)
    found.vocabulary = embeddings.scale()
    if text.per == "class":
        pairs = zip(method.class_names, text.context, strict=True)
        found.contexts = [embeddings.read(context, name) for name, context in pairs]
        return
    found.contexts = [embeddings.read(text.context, "all classes")]
    if shifted is not None:
        found.contexts.append(embeddings.read(shifted.context, "all classes, shifted by the average image"))
    elif method.instance_conditional:
        found.left_out["shifted context"] = "it depends on images, and none are available"


def _measure(found: Inspection, method: Method[Any]) -> None:
    """Measure dispersion and modality gap, and record which features tuning did not change."""
    classes, images = found.classes, found.images
    found.dispersion = text_dispersion(classes)
    if classes.after is None:
        found.left_out["classes after"] = f"class embeddings of {method.name} depend on images, and none are available"
    elif not classes.changed:
        found.left_out["classes after"] = f"{method.name} does not change class embeddings with these options"
    if images is None:
        return
    if not images.changed:
        found.left_out["images after"] = f"{method.name} does not change image features with these options"
    found.dispersion |= image_dispersion(images) | {"modality_gap": modality_gap(classes, images)}


def _accuracy(images: ImageFeatures) -> Change:
    """Return the accuracy of the frozen and the tuned model in %."""
    before, after = (
        100 * (guesses == images.labels).float().mean().item()
        for guesses in (images.guesses.before, images.guesses.after)
    )
    return Change(before, after)


def _compare_answers(found: Inspection, recorded: Answers | None) -> None:
    """Find the most confused pairs, from recorded predictions or else from predictions on the images."""
    images = found.images
    before, after = None, recorded
    if images is not None:
        labels = images.labels.numpy()
        before = Answers(images.paths, labels, images.guesses.before.numpy())
        after = recorded or Answers(images.paths, labels, images.guesses.after.numpy())
    if after is None:
        found.left_out["confusions"] = "the run has no recorded predictions, and no images are available"
    else:
        found.pairs = confused_pairs(after, before, found.classes, PAIRS)


def _look_at_text(found: Inspection, method: Method[Any], text: TextPrompts | None) -> None:
    """Measure norms of text prompts and attention on them."""
    tower, template, names = method.backbone.text, method.options.template_list[0], method.class_names
    if text is not None and found.vocabulary is not None:
        found.norms["text"] = text_norms(tower, text, template, names, found.vocabulary.norms)
        if isinstance(tower, ClipTextTower):
            found.attention["text"] = text_attention(tower, text, names)
        else:
            found.left_out["text attention"] = "the text tower is not CLIP's, and does not pool a single token"


def _look_at_images(
    found: Inspection, method: Method[Any], visual: VisualPrompts | None, images: Images | None, reporter: Reporter
) -> None:
    """Measure norms of visual prompts and attention on them."""
    tower = method.backbone.vision
    if visual is None:
        found.left_out["visual prompts"] = f"{method.name} has none with these options"
        return
    if images is None or not isinstance(tower, ViTTower):
        found.norms["image"] = prompt_norms(visual)
        lacking = "no images are available" if images is None else f"the image tower ({tower.kind}) is not CLIP's ViT"
        found.left_out["image attention"] = lacking
        return
    found.norms["image"] = image_norms(tower, visual, next(_batches(method, images)))
    if not tower.reads_class_token:
        found.left_out["image attention"] = "the image tower pools the mean of all patches, not a class token"
        return
    with reporter.bar("attention") as bar:
        total = min(WATCHED, len(images.dataset.test))

        def watched() -> Iterator[Tensor]:
            done = 0
            for batch in _batches(method, images):
                yield batch
                done += len(batch)
                bar(done, total)

        found.attention["image"] = image_attention(tower, visual, watched())


def _batches(method: Method[Any], images: Images) -> Iterator[Tensor]:
    """Yield batches (B, 3, S, S) of an even sample of the images."""
    items = [images.dataset.test[place] for place in spaced(len(images.dataset.test), WATCHED)]
    value_range = images.config.data.value_range
    chosen = ImageSet(items, images.dataset.root, method.backbone.eval_transform, value_range=value_range)
    for batch, _, _ in DataLoader(chosen, BATCH):
        yield batch.to(method.backbone.device)


def _looked_at(images: Images) -> str:
    """Return a description such as "564 test images of openmoji"."""
    dataset = images.dataset
    of = "" if len(dataset.test) == images.count else f" of {images.count}"
    return f"{len(dataset.test)}{of} test images of {dataset.name}"


def _plain(value: Any) -> Any:
    """Return a value with all dataclasses in it as dicts."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
