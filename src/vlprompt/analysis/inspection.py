"""A tuned run, inspected: what the other modules here find out, and why a part of it is left out."""

import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from vlprompt.analysis.attention import Attention, image_attention, text_attention
from vlprompt.analysis.confusions import Answers, Pair, confused_pairs, recorded_answers
from vlprompt.analysis.dispersion import image_dispersion, modality_gap, text_dispersion
from vlprompt.analysis.nearest_tokens import Context, Table, Vocabulary
from vlprompt.analysis.norms import LayerNorms, image_norms, prompt_norms, text_norms
from vlprompt.analysis.selection import Images, find_images
from vlprompt.analysis.summaries import Change
from vlprompt.analysis.tuned_features import ClassFeatures, ImageFeatures, class_features, image_features
from vlprompt.backbones.vision import ViTTower
from vlprompt.data.class_names import as_words
from vlprompt.data.image_set import ImageSet
from vlprompt.data.sampling import spaced
from vlprompt.errors import VLPromptError
from vlprompt.methods.base import Method
from vlprompt.prompts import TextPrompts, VisualPrompts
from vlprompt.runs.record import RunRecord
from vlprompt.runs.restore import restore
from vlprompt.utils.progress import Reporter

LIMIT, LIMIT_PER_IMAGE = 1000, 100
WATCHED, BATCH = 64, 16  # images whose attention is looked at, and how many of them at a time
PAIRS = 10

logger = logging.getLogger("vlprompt")


@dataclass
class Inspection:
    """What is known of a run.

    Attributes:
        run: its folder.
        record: its record.
        classes: text features of its classes.
        images: features of the images that were looked at, None where there are none.
        looked_at: which images those are, in words.
        accuracy: of these images, in percent.
        vocabulary: what contexts are measured against, None where there are none.
        contexts: their nearest words.
        norms: of prompts at each layer of the "text" and the "image" tower.
        dispersion: quantities before and after, by name.
        pairs: classes that are confused most.
        attention: on prompts, in the "text" and the "image" tower.
        left_out: why a part is not there, by its name.
    """

    run: Path
    record: RunRecord
    classes: ClassFeatures
    images: ImageFeatures | None
    looked_at: str = ""
    accuracy: Change | None = None
    vocabulary: Vocabulary | None = None
    contexts: list[Context] = field(default_factory=list)
    norms: dict[str, list[LayerNorms]] = field(default_factory=dict)
    dispersion: dict[str, Change] = field(default_factory=dict)
    pairs: list[Pair] = field(default_factory=list)
    attention: dict[str, Attention] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """All of it but the features, as JSON takes it."""
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
    class_names: str | None = None,
    root: str | None = None,
    limit: int | None = None,
    device: str = "auto",
    backbone: str | Path | None = None,
    reporter: Reporter | None = None,
) -> Inspection:
    """Find out what a run's prompts learned.

    Args:
        run: the run's folder.
        data: another dataset, whose classes are named to the prompts; None for the run's own test images of the
            classes that it learned. Where those are not there any more, what needs no images is found out all the same.
        class_names: file that maps that dataset's folder names to words.
        root: folder of the datasets, where it is another one than the run's.
        limit: how many test images and how many shots are looked at, as many of each class; 0 for all. None: 1000, or
            100 where every image has text features of its own.
        device: as in `load_backbone`.
        backbone: where the run's weights lie now, if not where they were.
        reporter: shows progress; none by default.

    Raises:
        VLPromptError: no run there, other weights than it was tuned on, or `data` that cannot be read or named.
    """
    folder, reporter = Path(run), reporter or Reporter(quiet=True)
    record, method = restore(folder, device=device, backbone=backbone)
    if limit is None:
        limit = LIMIT_PER_IMAGE if method.instance_conditional else LIMIT
    images, left_out = None, {}
    try:
        images = find_images(record, data, class_names=class_names, root=root, limit=limit)
        classes, features = image_features(method, images, reporter)
    except VLPromptError as error:
        if data is not None:
            raise
        images, left_out["images"] = None, str(error)
        classes, features = class_features(method), None
    found = Inspection(folder, record, classes, features, left_out=left_out)
    if images is not None and features is not None:
        if images.changed:
            logger.warning("%s has changed since the run; looked at as it is now", images.config.data.source)
        found.looked_at = _looked_at(images)
        found.accuracy = _accuracy(features)
    with torch.no_grad():
        adapters = method.adapters()
        text, visual = adapters.text, adapters.visual
        shifted = _shifted(method, features)
        _read_contexts(found, method, text, shifted)
        _measure(found, method)
        own = data is None and classes.names == as_words(record.class_names)
        _compare_answers(found, recorded_answers(folder, record) if own else None)
        _look_at_text(found, method, shifted or text)
        _look_at_images(found, method, visual, images, reporter)
    return found


def _shifted(method: Method[Any], images: ImageFeatures | None) -> TextPrompts | None:
    """The mean over images of contexts that every image has its own of; None for other methods, or without images."""
    if images is None or not method.instance_conditional:
        return None
    text = method.adapters(images.features.before.to(method.backbone.device)).text
    if text is None or text.per != "image":
        return None
    return replace(text, context=text.context.mean(0), per="shared")


def _read_contexts(
    found: Inspection, method: Method[Any], text: TextPrompts | None, shifted: TextPrompts | None
) -> None:
    """Nearest words of the context vectors."""
    if text is None:
        found.left_out["text prompts"] = f"{method.name} with these options learns none"
        return
    table = Table(method.backbone.text)
    found.vocabulary = table.describe()
    if text.per == "class":
        pairs = zip(method.class_names, text.context, strict=True)
        found.contexts = [table.read(context, name) for name, context in pairs]
        return
    found.contexts = [table.read(text.context, "all classes")]
    if shifted is not None:
        found.contexts.append(table.read(shifted.context, "all classes, shifted by the average image"))
    elif method.instance_conditional:
        found.left_out["shifted context"] = "images shift it, and there are none"


def _measure(found: Inspection, method: Method[Any]) -> None:
    """Dispersion and modality gap; and what tuning left as it was."""
    classes, images = found.classes, found.images
    found.dispersion = text_dispersion(classes)
    if classes.after is None:
        found.left_out["classes after"] = f"class embeddings of {method.name} take images, and there are none"
    elif not classes.changed:
        found.left_out["classes after"] = f"{method.name} with these options leaves class embeddings as they are"
    if images is None:
        return
    if not images.changed:
        found.left_out["images after"] = f"{method.name} with these options leaves image features as they are"
    found.dispersion |= image_dispersion(images) | {"modality_gap": modality_gap(classes, images)}


def _accuracy(images: ImageFeatures) -> Change:
    """Percent of the images that the frozen and the tuned model name right."""
    before, after = (
        100 * (guesses == images.labels).float().mean().item()
        for guesses in (images.guesses.before, images.guesses.after)
    )
    return Change(before, after)


def _compare_answers(found: Inspection, recorded: Answers | None) -> None:
    """The pairs that are confused most, as the run has recorded its answers, else as the images give them now."""
    images = found.images
    before, after = None, recorded
    if images is not None:
        labels = images.labels.numpy()
        before = Answers(images.paths, labels, images.guesses.before.numpy())
        after = recorded or Answers(images.paths, labels, images.guesses.after.numpy())
    if after is None:
        found.left_out["confusions"] = "the run has recorded no predictions, and there are no images to predict"
    else:
        found.pairs = confused_pairs(after, before, found.classes, PAIRS)


def _look_at_text(found: Inspection, method: Method[Any], text: TextPrompts | None) -> None:
    """Norms of text prompts and attention on them."""
    tower, template, names = method.backbone.text, method.options.template_list[0], method.class_names
    if text is not None and found.vocabulary is not None:
        found.norms["text"] = text_norms(tower, text, template, names, found.vocabulary.norms)
        found.attention["text"] = text_attention(tower, text, names)


def _look_at_images(
    found: Inspection, method: Method[Any], visual: VisualPrompts | None, images: Images | None, reporter: Reporter
) -> None:
    """Norms of visual prompts and attention on them."""
    tower = method.backbone.vision
    if visual is None:
        found.left_out["visual prompts"] = f"{method.name} with these options learns none"
        return
    if images is None or not isinstance(tower, ViTTower):
        found.norms["image"] = prompt_norms(visual)
        lacking = "there are no images" if images is None else f"the image tower ({tower.kind}) is not CLIP's own"
        found.left_out["image attention"] = lacking
        return
    found.norms["image"] = image_norms(tower, visual, next(_batches(method, images)))
    if not tower.reads_class_token:
        found.left_out["image attention"] = "the image tower reads the mean of all patches, and no class token"
        return
    with reporter.bar("watch attention") as bar:
        total = min(WATCHED, len(images.dataset.test))

        def watched() -> Iterator[Tensor]:
            done = 0
            for batch in _batches(method, images):
                yield batch
                done += len(batch)
                bar(done, total)

        found.attention["image"] = image_attention(tower, visual, watched())


def _batches(method: Method[Any], images: Images) -> Iterator[Tensor]:
    """Some of the images, evenly from all of them, as tensors (B, 3, S, S)."""
    items = [images.dataset.test[place] for place in spaced(len(images.dataset.test), WATCHED)]
    chosen = ImageSet(items, images.dataset.root, method.backbone.eval_transform)
    for batch, _, _ in DataLoader(chosen, BATCH):
        yield batch.to(method.backbone.device)


def _looked_at(images: Images) -> str:
    """Such as "564 test images of openmoji"."""
    dataset = images.dataset
    of = "" if len(dataset.test) == images.count else f" of {images.count}"
    return f"{len(dataset.test)}{of} test images of {dataset.name}"


def _plain(value: Any) -> Any:
    """Dataclasses in lists and dicts, as dicts."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
