"""Prompts that the authors' own programs saved, turned into a run's folder.

CoOp and its followers run in the Dassl toolbox. Its checkpoints are dicts of `state_dict`, `epoch` and the states of
optimizer and schedule, for the prompts alone or for the whole model, with its frozen weights.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from vlprompt.backbones.backbone import Backbone, load_backbone
from vlprompt.backbones.sources.checkpoints import is_plain
from vlprompt.config.schema import RunConfig, parse_config
from vlprompt.data.class_names import is_word, read_name_map
from vlprompt.errors import VLPromptError
from vlprompt.methods.base import Method, create_method
from vlprompt.runs.record import BackboneRecord, RunRecord, SplitRecord, now
from vlprompt.runs.state import save_prompts
from vlprompt.utils.files import is_free

# The authors' names, as patterns, and ours. `name[\1]` is a layer of a tensor that ours keep in one piece.
RENAMED: dict[str, dict[str, str]] = {
    "coop": {r"ctx": "text_context"},
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
# Embeddings of class names and weights of CLIP, which come from the backbone; prompts in the towers are none of these.
FROZEN = re.compile(
    r"token_(prefix|suffix)|ZS_image_encoder\..+|logit_scale|(image|text)_encoder\.(?!.*(VPT|visual_ctx)).+"
)
# Methods whose context may be shorter than the words it started from.
WORDS_BEHIND = ("maple", "promptsrc")
# Dassl's saved schedule has the optimizer inside.
LEFTOVERS = {
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
    """Turn the authors' saved prompts into a run's folder, which `evaluate`, `predict` and `vlprompt.load` read.

    Args:
        method: one of `importable()`.
        file: what the authors' program saved, such as `model.pth.tar-50`. It is read with `weights_only`.
        backbone: the frozen dual encoder they were tuned on, as in `load_backbone`.
        class_names: file of the classes in the order of their labels: .txt with one a line, .json or .yaml with a list,
            or one that maps folders to words, whose order counts.
        out: the run's folder, which must not exist yet.
        options: of the method, where the file cannot tell, such as `class_token_position`, or a `ctx_init` other than
            the paper's whose last words stay frozen behind a shorter context. The rest is read off the shapes.
        device: as in `load_backbone`.

    Returns:
        the record, of status "imported": it has prompts and neither history nor metrics.

    Raises:
        VLPromptError: a file that is not such a checkpoint, has names that are unknown or lacks some, or was tuned on
            another backbone.
    """
    source, folder = Path(file), Path(out)
    if method not in RENAMED:
        raise VLPromptError(f"checkpoints of {method!r} cannot be imported; methods: {', '.join(importable())}")
    if not is_free(folder):
        raise VLPromptError(f"--out {folder} exists already; choose another folder")
    names = read_names(Path(class_names))
    theirs = read_checkpoint(source)
    learned = renamed(method, theirs, source)
    if "text_context" not in learned:
        raise VLPromptError(f"{source} is no checkpoint of {method!r}: it has no context of the text tower")
    values = {"name": method, **read_off(method, learned, source), **(options or {})}
    sections = {"backbone": {"source": backbone}, "data": {"source": str(source)}}
    config: RunConfig = parse_config({"method": values, **sections})
    frozen = load_backbone(backbone, config.backbone.precision, device)
    if method in WORDS_BEHIND and "ctx_init" not in values and name_follows(theirs, names[0], frozen):
        config = parse_config({"method": {**values, "ctx_init": None}, **sections})
    tuned = create_method(method, frozen, names, **config.method.options)
    check(tuned, learned, source)
    check_classes(theirs, names, source)
    state = tuned.state_dict()
    for name in state:
        # What a method averages over epochs was averaged by the authors' program before it saved.
        if name.removesuffix("_average") in learned:
            state[name] = learned[name.removesuffix("_average")]
    tuned.load_prompts(state)
    record = RunRecord(
        status="imported",
        config=config,
        result_hash=config.result_hash(frozen.weight_hash, hashlib.sha256(source.read_bytes()).hexdigest()),
        backbone=BackboneRecord.of(frozen),
        class_names=list(tuned.class_names),
        split=SplitRecord(hash="", train=0, val=0, test=0),
        trainable_parameters=tuned.trainable,
        ended=now(),
    )
    save_prompts(folder, tuned)
    record.write(folder)
    return record


def importable() -> list[str]:
    """Names of the methods whose authors' checkpoints can be read."""
    return sorted(RENAMED)


def read_checkpoint(file: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint's `state_dict` (or of a file that is one), in fp32 on the CPU."""
    stubs = [type(name, (_Leftover,), {"__module__": module}) for module, names in LEFTOVERS.items() for name in names]
    mapping = type("defaultdict", (_Mapping,), {"__module__": "collections"})
    try:
        with torch.serialization.safe_globals([*stubs, mapping, dict]):
            content = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise VLPromptError(f"{file} cannot be read: {error.strerror}") from error
    except Exception as error:  # a damaged file ends in any of a dozen
        raise VLPromptError(f"{file} is damaged, or holds more than the tensors that are safe to read") from error
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(map(is_plain, state.values())):
        raise VLPromptError(f"{file} has no state_dict; give the model.pth.tar file that the authors' program saved")
    tensors = {str(name): value.float() for name, value in state.items()}
    # What ran on several devices may have been saved with its wrapper.
    wrapped = all(name.startswith("module.") for name in tensors)
    return {name.removeprefix("module."): value for name, value in tensors.items()} if wrapped else tensors


class _Leftover:
    """Takes the place of an object of the training, without its state and its code."""

    def __new__(cls, *args: object) -> "_Leftover":
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        pass


class _Mapping:
    """Takes the place of a defaultdict, which the restricted reader does not fill; a dict it does."""

    def __new__(cls, *args: object) -> Any:
        return {}


def renamed(method: str, state: Mapping[str, Tensor], file: Path) -> dict[str, Tensor]:
    """The learned tensors under our names, layers of one tensor stacked; frozen ones are left out."""
    learned: dict[str, Tensor] = {}
    layers: dict[str, dict[int, Tensor]] = {}
    unknown = []
    for full, value in state.items():
        name = LEARNER.sub("", full, count=1)
        ours = _ours(RENAMED[method], name)
        if ours is None:
            unknown += [] if FROZEN.fullmatch(name) else [full]
        elif ours.endswith("]"):
            key, _, layer = ours[:-1].partition("[")
            layers.setdefault(key, {})[int(layer)] = value
        elif value.numel():
            learned[ours] = value
    if unknown:
        raise VLPromptError(f"{file} is no checkpoint of {method!r}: unknown {', '.join(sorted(unknown))}")
    for key, parts in layers.items():
        first = min(parts)
        if sorted(parts) != list(range(first, first + len(parts))) or len({part.shape for part in parts.values()}) > 1:
            raise VLPromptError(f"{file} has gaps or unequal shapes in the layers of {key}: {sorted(parts)}")
        learned[key] = torch.stack([parts[layer] for layer in sorted(parts)])
    if method == "dapt" and "visual_context" in learned:
        learned["visual_context"] = learned["visual_context"].squeeze(0)  # saved with a dimension for the batch
    return learned


def _ours(patterns: Mapping[str, str], name: str) -> str | None:
    for pattern, ours in patterns.items():
        match = re.fullmatch(pattern, name)
        if match:
            return match.expand(ours)
    return None


def read_off(method: str, learned: Mapping[str, Tensor], file: Path) -> dict[str, Any]:
    """The options that shapes and names tell."""
    shapes = {name: tuple(value.shape) for name, value in learned.items()}
    for name, dimensions in (
        ("text_context", (2, 3)),
        ("visual_context", (2,)),
        ("text_deep", (3,)),
        ("visual_deep", (3,)),
    ):
        if name in shapes and len(shapes[name]) not in dimensions:
            raise VLPromptError(f"{file} is no checkpoint of {method!r}: {name} has shape {shapes[name]}")

    def length(context: str) -> int:
        return shapes[context][-2] if context in shapes else 0

    def depth(deep: str) -> int:
        return 1 + (shapes[deep][0] if deep in shapes else 0)

    match method:
        case "coop":
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
    """VLPromptError where the tensors are not, by name and shape, the parameters of the method."""
    needed = {name: tuple(value.shape) for name, value in method.named_parameters()}
    missing, unused = sorted(needed.keys() - learned.keys()), sorted(learned.keys() - needed.keys())
    if missing or unused:
        lacks = f"lacks what becomes {', '.join(missing)}" if missing else f"holds {', '.join(unused)} besides"
        raise VLPromptError(f"{file} is no complete checkpoint of {method.name!r}: it {lacks}")
    for name, value in learned.items():
        if not value.isfinite().all():
            raise VLPromptError(f"{file} holds values that are no finite numbers, in what becomes {name}")
        if tuple(value.shape) != needed[name]:
            given = f"backbone {method.backbone.name} and {len(method.class_names)} classes"
            raise VLPromptError(
                f"{file} does not fit {given}: {name} has shape {tuple(value.shape)}, and {needed[name]} is needed; "
                "give the backbone and classes it was tuned on"
            )


def check_classes(theirs: Mapping[str, Tensor], names: Sequence[str], file: Path) -> None:
    """VLPromptError where the checkpoint was saved with the embedded sentences of more or fewer classes."""
    prefix = _saved_with(theirs, "token_prefix")
    if prefix is not None and prefix.ndim == 3 and len(prefix) != len(names):
        raise VLPromptError(
            f"{file} was tuned on {len(prefix)} classes, and --class-names has {len(names)}; give each of its classes "
            "a name, in order"
        )


def _saved_with(theirs: Mapping[str, Tensor], name: str) -> Tensor | None:
    return next((value for key, value in theirs.items() if key.endswith(name)), None)


def name_follows(theirs: Mapping[str, Tensor], name: str, backbone: Backbone) -> bool:
    """Whether the checkpoint says that the class name stands right behind the context, without frozen words between.

    It does so by the embedded sentences that it was saved with; without them, or where they are of other classes, no.
    """
    suffix = _saved_with(theirs, "token_suffix")
    expected = backbone.text.words(f"{name.replace('_', ' ')}.").cpu()
    if suffix is None or suffix.ndim != 3 or suffix[0, : len(expected)].shape != expected.shape:
        return False
    return torch.allclose(suffix[0, : len(expected)], expected, atol=1e-3)


def read_names(file: Path) -> list[str]:
    """Class names in the order of their labels: lines of a .txt, a list in a .json or .yaml, or a mapping's words."""
    suffix = file.suffix.lower()
    try:
        if suffix in (".txt", ".json", ".yaml", ".yml"):
            text = file.read_text(encoding="utf-8-sig")
            content = text.splitlines() if suffix == ".txt" else yaml.safe_load(text)  # JSON is YAML
        else:
            content = read_name_map(file, parameter="class_names")
    except OSError as error:
        raise VLPromptError(f"--class-names {file} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise VLPromptError(f"--class-names {file} is broken: {' '.join(str(error).split())}") from error
    if isinstance(content, dict):
        content = list(content.values())
    content = content if isinstance(content, list) and all(map(is_word, content)) else []
    names = [str(name).strip() for name in content]
    if suffix == ".txt":
        names = [name for name in names if name]
    if not names:
        raise VLPromptError(f"--class-names {file} holds no list of names; give a name for each class, in order")
    if "" in names:
        # Left out, it would move the labels of all that follow.
        raise VLPromptError(f"--class-names {file} has no name for class {names.index('')}, counted from 0; add it")
    return names
