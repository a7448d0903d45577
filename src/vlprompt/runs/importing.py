"""Import checkpoints of the methods' original code as run folders.

CoOp and its successors are built on the Dassl toolbox. Its checkpoints are dicts of `state_dict`, `epoch` and the
states of optimizer and schedule, either for the prompts alone or for the whole model with its frozen weights.
"""

import hashlib
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vlprompt.backbones.backbone import Backbone, load_backbone
from vlprompt.backbones.sources.checkpoints import is_plain
from vlprompt.config.resolve import with_method_defaults
from vlprompt.config.schema import RunConfig, parse_config
from vlprompt.data.class_names import NAME_MAP_SUFFIXES, as_words, in_order, is_word, read_names_file
from vlprompt.errors import VLPromptError
from vlprompt.methods.base import Method
from vlprompt.methods.create import create_method
from vlprompt.runs.record import RunRecord, SplitRecord, now
from vlprompt.runs.state import backbone_record, save_prompts
from vlprompt.utils.files import is_free

logger = logging.getLogger("vlprompt")

# The authors' names (patterns) and ours. `name[\1]` is one layer of a tensor that we store stacked.
RENAMED: dict[str, dict[str, str]] = {
    "coop": {r"ctx": "text_context"},
    "kgcoop": {r"ctx": "text_context"},
    "prograd": {r"ctx": "text_context"},
    "cocoop": {r"ctx": "text_context", r"(meta_net\..+)": r"\1"},
    "maple": {
        r"ctx": "text_context",
        r"compound_prompts_text\.(\d+)": r"text_deep[\1]",
        r"proj\.(weight|bias)": r"text_to_visual.context_projection.\1",
        r"compound_prompt_projections\.(\d+\.(?:weight|bias))": r"text_to_visual.deep_projections.\1",
    },
    "promptsrc": {
        r"ctx": "text_context",
        r"image_encoder\.VPT": "visual_context",
        r"image_encoder\.transformer\.resblocks\.(\d+)\.VPT_shallow": r"visual_deep[\1]",
        r"text_encoder\.transformer\.resblocks\.(\d+)\.VPT_shallow": r"text_deep[\1]",
    },
    "dapt": {r"txt_ctx": "text_context", r"vis_ctx": "visual_context"},
    "mudpt": {
        r"ctx": "text_context",
        r"deep_prompts": "text_deep",
        r"deep_prompts\.(\d+)": r"text_deep[\1]",
        r"image_encoder\.visual_ctx": "visual_context",
        r"image_encoder\.visual_ctx_deep_prompts": "visual_deep",
        r"embed_projection\.(weight|bias)": r"text_to_visual.context_projection.\1",
        r"deep_projections\.(weight|bias)": r"text_to_visual.deep_projection.\1",
        r"image_encoder\.visual_ctx_deep_projections\.(weight|bias)": r"visual_to_text.deep_projection.\1",
        r"(ln_pre|ln_post)\.(weight|bias)": r"text_to_visual.\1.\2",
        r"self_attn\.(.+)": r"text_to_visual.block.\1",
        r"visual_proj\.(weight|bias)": r"text_to_visual.projection.\1",
        r"image_encoder\.visual_ctx_ln_intra_(pre|post)\.(weight|bias)": r"visual_to_text.ln_\1.\2",
        r"image_encoder\.visual_ctx_self_attn\.(.+)": r"visual_to_text.block.\1",
        r"image_encoder\.visual_ctx_text_proj\.(weight|bias)": r"visual_to_text.projection.\1",
    },
}
LEARNER = re.compile(r"(?:uu|u)?(?:mudpt_)?prompt_learner\.")
# Tensors that the backbone provides: embedded class names, and CLIP's weights except prompts inside its towers.
FROZEN = re.compile(
    r"token_(prefix|suffix)|ZS_image_encoder\..+|logit_scale|(image|text)_encoder\.(?!.*(VPT|visual_ctx)).+"
)
# Synset before a class name in CoOp's `classnames.txt`, as in "n01440764 tench".
SYNSET = re.compile(r"n\d{8}\s+(?=\S)")
# Methods whose released code derives from CoCoOp's and may save an unused `meta_net` with the prompts.
WITH_META_NET = ("coop", "kgcoop", "prograd")
# Methods whose context may be shorter than its initial words; the remaining words then follow it, frozen.
WITH_FROZEN_WORDS = ("maple", "promptsrc")
# Classes inside a checkpoint that are replaced by empty stand-ins: Dassl's saved schedule contains the optimizer.
REPLACED = {
    "torch.optim.lr_scheduler": ("CosineAnnealingLR", "StepLR", "MultiStepLR"),
    "torch.optim.sgd": ("SGD",),
    "torch.optim.adam": ("Adam",),
    "torch.optim.adamw": ("AdamW",),
}


def import_prompts(
    method: str,
    file: str | Path,
    *,
    backbone: str,
    class_names: str | Path,
    out: str | Path,
    options: Mapping[str, Any] | None = None,
    device: str = "auto",
) -> RunRecord:
    """Import a checkpoint of a method's original code as a run folder.

    Args:
        method: name of the method, one of `importable()`.
        file: the checkpoint, such as `model.pth.tar-50`. It is read with `weights_only`.
        backbone: source of the weights that the prompts were tuned with, see `load_backbone`.
        class_names: file with the class names in the order of their labels: .txt with one per line, .json or .yaml with
            a list, or a name map in label order.
        out: run folder to create; must not exist yet.
        options: options of the method that the file does not determine, such as `class_token_position`, or a `ctx_init`
            other than the paper's if its last words follow a shorter context. The other options are inferred from the
            shapes.
        device: device to load the backbone on, see `load_backbone`.

    Returns:
        the record, with status "imported": it has neither history nor metrics.

    Raises:
        VLPromptError: the file is not a checkpoint of the method, is incomplete, or was tuned with other weights.

    Examples:
        >>> record = import_prompts(  # doctest: +SKIP
        ...     "coop", "model.pth.tar-50", backbone="ViT-B-16/openai", class_names="classes.txt", out="runs/theirs"
        ... )
    """
    source, folder = Path(file), Path(out)
    if method not in RENAMED:
        raise VLPromptError(
            f"checkpoints of `method` {method!r} cannot be imported; choose one of {', '.join(importable())}"
        )
    if not is_free(folder):
        raise VLPromptError(f"`out` {folder} already exists; choose another folder")
    names = as_words(read_names(Path(class_names)))
    theirs = read_checkpoint(source)
    learned = renamed(method, theirs, source)
    if "text_context" not in learned:
        raise VLPromptError(f"{source} is not a checkpoint of {method!r}: the text context is missing")
    values = {**read_options(method, learned, source), **(options or {})}
    config = _config(method, values, backbone, source)
    frozen = load_backbone(backbone, config.backbone.precision, device)
    if method in WITH_FROZEN_WORDS and "ctx_init" not in values and name_follows(theirs, names[0], frozen):
        config = _config(method, {**values, "ctx_init": None}, backbone, source)
    config = config.with_backbone_options(frozen.settings)
    tuned = create_method(method, frozen, names, **config.method.options)
    check(tuned, learned, source)
    check_classes(theirs, names, source)
    state = tuned.state_dict()
    for name in state:
        # The original code saves prompts averaged over epochs under the plain names.
        if name.removesuffix("_average") in learned:
            state[name] = learned[name.removesuffix("_average")]
    tuned.load_prompts(state)
    record = RunRecord(
        status="imported",
        config=config,
        result_hash=config.result_hash(frozen.weight_hash, hashlib.sha256(source.read_bytes()).hexdigest()),
        backbone=backbone_record(frozen),
        class_names=list(tuned.class_names),
        split=SplitRecord(hash="", train=0, val=0, test=0),
        trainable_parameters=tuned.trainable,
        ended=now(),
    )
    save_prompts(folder, tuned)
    record.write(folder)
    return record


def importable() -> list[str]:
    """Return the names of the methods whose checkpoints can be imported."""
    return sorted(RENAMED)


def _config(method: str, options: dict[str, Any], backbone: str, source: Path) -> RunConfig:
    sections = {"backbone": {"source": backbone}, "data": {"source": str(source)}}
    return with_method_defaults(parse_config({"method": {**options, "name": method}, **sections}))


def read_checkpoint(file: Path) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint's `state_dict`, or of a file that is a state dict, in fp32 on the CPU."""
    stubs = [type(name, (_StandIn,), {"__module__": module}) for module, names in REPLACED.items() for name in names]
    mapping = type("defaultdict", (_PlainDict,), {"__module__": "collections"})
    try:
        with torch.serialization.safe_globals([*stubs, mapping, dict]):
            content = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise VLPromptError(f"{file} cannot be read: {error.strerror}") from error
    except Exception as error:  # a damaged file can raise almost anything
        raise VLPromptError(f"{file} is damaged, or contains objects that are not safe to load") from error
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(map(is_plain, state.values())):
        raise VLPromptError(f"{file} has no state_dict; give the model.pth.tar file that the original code saved")
    tensors = {str(name): value.float() for name, value in state.items()}
    # DataParallel saves its wrapper's prefix.
    wrapped = all(name.startswith("module.") for name in tensors)
    return {name.removeprefix("module."): value for name, value in tensors.items()} if wrapped else tensors


class _StandIn:
    """Stand-in for an object of the training loop, which discards its state and runs none of its code."""

    def __new__(cls, *args: object) -> "_StandIn":
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        pass


class _PlainDict:
    """Stand-in for a defaultdict, since the restricted unpickler fills only plain dicts."""

    def __new__(cls, *args: object) -> Any:
        return {}


def renamed(method: str, state: Mapping[str, Tensor], file: Path) -> dict[str, Tensor]:
    """Return the learned tensors under our names, with layers stacked and frozen tensors left out."""
    learned: dict[str, Tensor] = {}
    layers: dict[str, dict[int, Tensor]] = {}
    unknown, left_out = [], False
    for full, value in state.items():
        name = LEARNER.sub("", full, count=1)
        ours = _ours(RENAMED[method], name)
        if ours is None:
            unused = method in WITH_META_NET and name.startswith("meta_net.")
            left_out |= unused
            unknown += [] if unused or FROZEN.fullmatch(name) else [full]
        elif ours.endswith("]"):
            key, _, layer = ours[:-1].partition("[")
            layers.setdefault(key, {})[int(layer)] = value
        elif value.numel():
            learned[ours] = value
    if unknown:
        raise VLPromptError(f"{file} is not a checkpoint of {method!r}: unknown {', '.join(sorted(unknown))}")
    if left_out:
        logger.warning(
            "%s has a meta_net, which %s does not use; import a checkpoint of CoCoOp as cocoop", file, method
        )
    for key, parts in layers.items():
        first = min(parts)
        if sorted(parts) != list(range(first, first + len(parts))) or len({part.shape for part in parts.values()}) > 1:
            raise VLPromptError(f"{file} has gaps or unequal shapes in the layers of {key}: {sorted(parts)}")
        learned[key] = torch.stack([parts[layer] for layer in sorted(parts)])
    if method == "dapt" and "visual_context" in learned:
        learned["visual_context"] = learned["visual_context"].squeeze(0)  # saved with a batch dimension
    return learned


def _ours(patterns: Mapping[str, str], name: str) -> str | None:
    for pattern, ours in patterns.items():
        match = re.fullmatch(pattern, name)
        if match:
            return match.expand(ours)
    return None


def read_options(method: str, learned: Mapping[str, Tensor], file: Path) -> dict[str, Any]:
    """Infer method options from the names and shapes of the learned tensors."""
    shapes = {name: tuple(value.shape) for name, value in learned.items()}
    for name, dimensions in (
        ("text_context", (2, 3)),
        ("visual_context", (2,)),
        ("text_deep", (3,)),
        ("visual_deep", (3,)),
    ):
        if name in shapes and len(shapes[name]) not in dimensions:
            raise VLPromptError(f"{file} is not a checkpoint of {method!r}: {name} has shape {shapes[name]}")

    def length(context: str) -> int:
        return shapes[context][-2] if context in shapes else 0

    def depth(deep: str) -> int:
        return 1 + (shapes[deep][0] if deep in shapes else 0)

    match method:
        case "kgcoop":
            return {"n_ctx": length("text_context")}
        case "coop" | "prograd":
            return {"n_ctx": length("text_context"), "class_specific": len(shapes.get("text_context", ())) == 3}
        case "cocoop":
            return {"n_ctx": length("text_context"), "ctx_init": None}
        case "maple":
            return {"n_ctx": length("text_context"), "depth": depth("text_deep")}
        case "promptsrc":
            lengths = {"n_text": length("text_context"), "n_visual": length("visual_context")}
            return {**lengths, "depth_text": depth("text_deep"), "depth_visual": depth("visual_deep")}
        case "dapt":
            return {"n_text": length("text_context"), "n_visual": length("visual_context")}
        case _:
            transformer = any(".block." in name for name in shapes)
            return {
                "n_ctx": length("text_context"),
                "depth": depth("text_deep"),
                "ctx_init": None,
                "fusion": "transformer" if transformer else "linear",
                "direction": "both" if "visual_context" in shapes else "text-to-visual",
            }


def check(method: Method[Any], learned: Mapping[str, Tensor], file: Path) -> None:
    """Raise VLPromptError unless the tensors match the method's parameters by name and shape, and are finite."""
    needed = {name: tuple(value.shape) for name, value in method.named_parameters()}
    missing, unused = sorted(needed.keys() - learned.keys()), sorted(learned.keys() - needed.keys())
    if missing or unused:
        problem = f"{', '.join(missing)} missing" if missing else f"{', '.join(unused)} unexpected"
        raise VLPromptError(f"{file} does not match {method.name!r}: {problem} (vlprompt's names)")
    for name, value in learned.items():
        if not value.isfinite().all():
            raise VLPromptError(f"{file} has non-finite values for {name}")
        if tuple(value.shape) != needed[name]:
            given = f"backbone {method.backbone.name} and {len(method.class_names)} classes"
            raise VLPromptError(
                f"{file} does not fit {given}: {name} must have shape {needed[name]}, got {tuple(value.shape)}; "
                "pass the `backbone` and `class_names` that it was tuned with"
            )


def check_classes(theirs: Mapping[str, Tensor], names: Sequence[str], file: Path) -> None:
    """Raise VLPromptError if the checkpoint was tuned on a different number of classes."""
    prefix = _saved_with(theirs, "token_prefix")
    if prefix is not None and prefix.ndim == 3 and len(prefix) != len(names):
        raise VLPromptError(
            f"`class_names` has {len(names)} names, but {file} was tuned on {len(prefix)} classes; list one name "
            "per class, in label order"
        )


def _saved_with(theirs: Mapping[str, Tensor], name: str) -> Tensor | None:
    return next((value for key, value in theirs.items() if key.endswith(name)), None)


def name_follows(theirs: Mapping[str, Tensor], name: str, backbone: Backbone) -> bool:
    """Return whether the class name follows the context directly, without frozen words in between.

    Compares with the embedded sentences in the checkpoint; False if it has none, or if they belong to other classes.
    """
    suffix = _saved_with(theirs, "token_suffix")
    expected = backbone.text.words(f"{name}.").cpu()
    if suffix is None or suffix.ndim != 3 or suffix[0, : len(expected)].shape != expected.shape:
        return False
    return torch.allclose(suffix[0, : len(expected)], expected, atol=1e-3)


def read_names(file: Path) -> list[str]:
    """Read class names in label order: lines of a .txt, a list in a .json or .yaml, or a name map.

    The names of a map are in its order, or in that of its keys if these are numbers. A .txt may be
    CoOp's `classnames.txt`, with a synset before each name.
    """
    content = read_names_file(file, "class_names", (".txt", *NAME_MAP_SUFFIXES))
    if isinstance(content, dict):
        numbered = all(str(key).isdecimal() for key in content)
        content = [content[key] for key in (in_order(content) if numbered else content)]
    content = content if isinstance(content, list) and all(map(is_word, content)) else []
    names = [name.strip() for name in content]
    if file.suffix.lower() == ".txt":
        names = [name for name in names if name]
        if all(map(SYNSET.match, names)):
            names = [SYNSET.sub("", name) for name in names]
    if not names:
        raise VLPromptError(f"`class_names` {file} must contain a list of names, one per class, in label order")
    if "" in names:
        # Skipping it would shift the labels of all later classes.
        raise VLPromptError(f"`class_names` {file} has an empty name for class {names.index('')}, counted from 0")
    return names
