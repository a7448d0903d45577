"""Names that papers, other libraries and the hub use for our methods, datasets, protocols and backbones."""

import re
from collections.abc import Iterable

# Our names, and those used elsewhere where they differ in more than case and punctuation.
ALIASES = {
    # Datasets: of CoOp's configurations, torchvision, TensorFlow Datasets and CLIP Benchmark.
    "caltech101": ("caltech", "caltech101-7", "101_ObjectCategories"),
    "cifar10": ("cifar",),
    "dtd": ("describable_textures", "describable_textures_dataset", "textures"),
    "eurosat": ("eurosat_rgb", "eurosat_clip"),
    "fgvc-aircraft": ("aircraft", "aircrafts", "fgvc", "fgvc_aircraft_2013b"),
    "flowers102": ("oxford_flowers", "oxford_flowers102", "flowers", "flower102", "102flowers", "oxford_102_flowers"),
    "food101": ("food", "food-101n"),
    "imagenet": ("imagenet1k", "imagenet2012", "ilsvrc2012", "ilsvrc", "imagenet-1k-wds"),
    "imagenet-a": ("imagenet_adversarial",),
    "imagenet-r": ("imagenet_rendition", "imagenet_renditions"),
    "imagenet-sketch": ("imagenet_s", "sketch"),
    "imagenet-v2": ("imagenetv2_matched_frequency", "imagenetv2-matched-frequency-format-val"),
    "oxford-pets": ("pets", "pet", "oxford_iiit_pet", "oxford_iiit_pets", "oxford_pet"),
    "stanford-cars": ("cars", "car", "cars196", "stanford_car"),
    "sun397": ("sun", "sun_397_database"),
    "ucf101": ("ucf", "ucf101_midframes", "ucf101_split1"),
    # Methods: of papers, and of trainers in their code.
    "clip-lora": ("lora",),
    "cocoop": ("conditional_coop", "conditional_prompt_learning", "co_coop"),
    "coop": ("context_optimization",),
    "dapt": ("distribution_aware_prompt_tuning",),
    "ivlp": ("independent_vl", "independent_vl_prompting", "independent_vision_language_prompting", "vlpt"),
    "kgcoop": ("knowledge_guided_coop",),
    "linear-probe": ("lp", "linear_probing", "linear", "lp_clip"),
    "maple": ("multi_modal_prompt_learning",),
    "mudpt": ("umudpt", "uumudpt"),
    "prograd": ("prompt_aligned_gradient",),
    "promptsrc": ("psrc", "self_regulating_prompts"),
    "tip-adapter": ("tip", "tipa"),
    "tip-adapter-f": ("tip_f", "tipa_f", "tip_adapter_finetuned"),
    "vpt": ("visual_prompt_tuning", "vpt_deep"),
    "zero-shot": ("zeroshot_clip", "zeroshot_clip2", "clip", "zs", "zs_clip"),
    # Protocols.
    "base-to-new": ("base2new", "base_to_novel", "base2novel", "b2n"),
    "cross-dataset": ("xd", "cross_dataset_transfer"),
    "domain-generalization": ("dg", "domain_generalisation", "imagenet_shifts"),
    "few-shot": ("fs", "few_shot_classification"),
}
# Sizes of towers, as the hub and open_clip write them.
SIZES = {"base": "B", "large": "L", "huge": "H", "giant": "g", "so400m": "SO400M", "giantopt": "gopt"}


def resolve_alias(name: str, names: Iterable[str]) -> str | None:
    """Return which of our `names` an alias means, ignoring case and punctuation; None if unknown.

    Examples:
        >>> resolve_alias("Oxford_Flowers", ["food101", "flowers102"])
        'flowers102'
        >>> resolve_alias("ViT-L/14@336px", ["ViT-L-14-336/openai"])
        'ViT-L-14-336/openai'
    """
    ours = {_plain(known): known for known in reversed(list(names))}
    # A name on the hub has its owner in front.
    for spelling in (_plain(name), _plain(name.rpartition("/")[2])):
        for known in (spelling, *_MEANT.get(spelling, ()), *_backbones(spelling)):
            if spelling and _plain(known) in ours:
                return ours[_plain(known)]
    return None


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _backbones(plain: str) -> list[str]:
    """Return what a backbone's name, without punctuation, can mean as NAME/TAG."""
    if found := re.fullmatch(r"(clip)?(rn\d+(?:x\d+)?|vit[blhg]\d\d(?:336)?)(px)?(openai)?", plain):
        return [f"{found[2]}/openai"]
    if found := re.fullmatch(r"clipvit(base|large)patch(\d\d)(336)?", plain):
        return [f"ViT-{SIZES[found[1]]}-{found[2]}{found[3] or ''}/openai"]
    if found := re.fullmatch(r"(siglip2?)(base|large|so400m|giantopt)patch(\d\d)(\d{3})", plain):
        model = f"ViT-{SIZES[found[2]]}-{found[3]}-{found[1]}"
        # Without a number, it is 224; the 384 of patches of 14 are really 378.
        return [f"{model}-{found[4]}/webli", f"{model}/webli" if found[4] == "224" else f"{model}-378/webli"]
    if found := re.fullmatch(r"metaclip([blh])(\d\d)(400m|fullcc).*", plain):
        return [f"ViT-{found[1]}-{found[2]}/metaclip_{found[3]}"]
    if found := re.fullmatch(r"clip(.+)", plain):  # LAION's repositories
        return [found[1]]
    return []


_MEANT: dict[str, list[str]] = {}
for _ours, _theirs in ALIASES.items():
    for _their in _theirs:
        _MEANT.setdefault(_plain(_their), []).append(_ours)
