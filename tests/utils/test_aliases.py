"""Names as papers, other libraries and the hub write them."""

import pytest

from vlprompt.backbones.sources.open_clip import list_pretrained
from vlprompt.data.loading import list_datasets
from vlprompt.methods.create import list_methods
from vlprompt.utils.aliases import ALIASES, resolve_alias

DATASETS = {
    "oxford_flowers": "flowers102", "OxfordFlowers": "flowers102", "Flowers102": "flowers102",
    "describable_textures": "dtd", "DescribableTextures": "dtd", "OxfordPets": "oxford-pets",
    "OxfordIIITPet": "oxford-pets", "vtab/pets": "oxford-pets", "fgvc_aircraft": "fgvc-aircraft",
    "FGVCAircraft": "fgvc-aircraft", "StanfordCars": "stanford-cars", "cars": "stanford-cars",
    "imagenetv2": "imagenet-v2", "ImageNetA": "imagenet-a", "imagenet_sketch": "imagenet-sketch",
    "SUN397": "sun397", "UCF-101": "ucf101", "Caltech-101": "caltech101", "nelorth/oxford-flowers": "flowers102",
}  # fmt: skip
METHODS = {
    "CoOp": "coop", "CoCoOp": "cocoop", "MaPLe": "maple", "PromptSRC": "promptsrc", "KgCoOp": "kgcoop",
    "ProGrad": "prograd", "ZeroshotCLIP2": "zero-shot", "zero_shot": "zero-shot", "TipAdapter": "tip-adapter",
    "Tip-Adapter-F": "tip-adapter-f", "CLIP_LoRA": "clip-lora", "IndependentVL": "ivlp", "VPT": "vpt",
    "LinearProbe": "linear-probe", "MuDPT": "mudpt",
}  # fmt: skip
BACKBONES = {
    "ViT-L/14@336px": "ViT-L-14-336/openai", "ViT-B/32": "ViT-B-32/openai", "vit_b16": "ViT-B-16/openai",
    "rn50": "RN50/openai", "RN50x4": "RN50x4/openai", "vit-b-16/OpenAI": "ViT-B-16/openai",
    "openai/clip-vit-base-patch32": "ViT-B-32/openai", "openai/clip-vit-base-patch16": "ViT-B-16/openai",
    "openai/clip-vit-large-patch14": "ViT-L-14/openai", "openai/clip-vit-large-patch14-336": "ViT-L-14-336/openai",
    "laion/CLIP-ViT-B-32-laion2B-s34B-b79K": "ViT-B-32/laion2b_s34b_b79k",
    "google/siglip-base-patch16-224": "ViT-B-16-SigLIP/webli",
    "google/siglip-so400m-patch14-384": "ViT-SO400M-14-SigLIP-384/webli",
    "google/siglip2-so400m-patch14-384": "ViT-SO400M-14-SigLIP2-378/webli",
    "facebook/metaclip-b32-400m": "ViT-B-32/metaclip_400m",
}  # fmt: skip


@pytest.mark.parametrize(("theirs", "ours"), DATASETS.items())
def test_datasets(theirs: str, ours: str) -> None:
    for spelling in (theirs, theirs.lower(), theirs.upper()):
        assert resolve_alias(spelling, list_datasets()) == ours


@pytest.mark.parametrize(("theirs", "ours"), METHODS.items())
def test_methods(theirs: str, ours: str) -> None:
    for spelling in (theirs, theirs.lower(), theirs.upper()):
        assert resolve_alias(spelling, list_methods()) == ours


@pytest.mark.parametrize(("theirs", "ours"), BACKBONES.items())
def test_backbones(theirs: str, ours: str) -> None:
    for spelling in (theirs, theirs.lower(), theirs.upper()):
        assert resolve_alias(spelling, list_pretrained()) == ours


def test_unknown_names() -> None:
    for name in ("nonsense", "", "/", "laion/", "ViT-B/64", "google/siglip-base-patch16-999"):
        assert resolve_alias(name, [*list_datasets(), *list_methods(), *list_pretrained()]) is None


def test_the_table_names_what_exists() -> None:
    protocols = {"base-to-new", "cross-dataset", "domain-generalization", "few-shot"}
    assert set(ALIASES) <= {*list_datasets(), *list_methods(), *protocols}
