"""Untrusted files: paths in them are only read as images, and code in them is never run."""

import json
import logging
import os
import pickle
import shutil
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tests.reliability.conftest import Setting
from vlprompt.backbones.backbone import load_backbone
from vlprompt.backbones.sources.checkpoints import read_state_dict
from vlprompt.config.recipes import read_recipe
from vlprompt.config.schema import parse_config
from vlprompt.data.class_names import read_name_map
from vlprompt.data.loading import load_dataset
from vlprompt.errors import VLPromptError
from vlprompt.runs.importing import import_prompts, read_names
from vlprompt.utils.locks import lock

SECRET = "the key to the cellar"


class Order:
    """Object that creates a folder when unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> object:
        return os.mkdir, (str(self.folder),)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder next to the table's, with a secret, a pipe without a writer, and an image."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret.txt").write_text(SECRET)
    (folder / "secret.png").write_text(SECRET)
    os.mkfifo(folder / "pipe.png")
    Image.new("RGB", (20, 20)).save(folder / "picture.png")
    return folder


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_table_paths_are_only_read_as_images(
    kind: str, outside: Path, setting: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    root = shutil.copytree(setting.images, outside.parent / "images")
    (root / "link.png").symlink_to(outside / "secret.png")
    (root / "loop.png").symlink_to(root / "loop.png")
    strange = {
        str(outside / "secret.txt"): "not an image, or of an unknown format",
        "../outside/secret.png": "not an image, or of an unknown format",
        "link.png": "not an image, or of an unknown format",
        "../outside/pipe.png": "the file is empty",
        "/dev/zero": "the file is empty",
        "/proc/self/environ": "the file is empty",
        "..": "it is a folder",
        "loop.png": "it is damaged ([Errno 40] Too many levels of symbolic links",
        "x" * 5000: "it is damaged ([Errno 36] File name too long",
        "../../gone.png": "no such file",
    }
    if kind == "jsonl":
        strange["nul\0.png"] = "it is damaged (embedded null byte)"
    good = [path.relative_to(root).as_posix() for path in sorted(root.glob("*/*.png"))]
    rows = [{"path": path, "label": path.split("/")[0]} for path in [*good, "../outside/picture.png"]]
    rows[-1]["label"] = "green_leaf"
    rows += [{"path": path, "label": "green_leaf"} for path in strange]
    if kind == "csv":
        (root / "mine.csv").write_text("path,label\n" + "".join(f'"{row["path"]}",{row["label"]}\n' for row in rows))
    else:
        (root / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with caplog.at_level(logging.DEBUG, logger="vlprompt"):
        dataset = load_dataset(root / f"mine.{kind}")
    used = {item.path for items in dataset.splits().values() for item in items}
    assert used == {*good, "../outside/picture.png"}
    assert {path: reason[: len(strange[path])] for path, reason in dataset.skipped} == strange
    assert SECRET not in caplog.text


def test_non_utf8_file_names_are_skipped_and_reported(setting: Setting, tmp_path: Path) -> None:
    root = shutil.copytree(setting.images, tmp_path / "images")
    latin = os.fsdecode(b"caf\xe9.png")
    shutil.copy(root / "red_apple" / "0.png", root / "red_apple" / latin)
    dataset = load_dataset(root)
    assert dataset.skipped == (("red_apple/caf\\udce9.png", "its name is not UTF-8"),)
    dataset.split_hash()
    folder = root.rename(tmp_path / os.fsdecode(b"im\xe0ges"))
    with pytest.raises(VLPromptError, match="its name is not UTF-8"):
        load_dataset(folder)
    for option in ({"source": str(folder)}, {"source": "x", "class_names": latin}):
        with pytest.raises(VLPromptError, match="a name or path in the settings is not UTF-8"):
            parse_config({"backbone": {"source": "embedded"}, "method": {"name": "coop"}, "data": option})


@pytest.mark.parametrize("wrapped", [False, True])
def test_pickled_code_in_a_checkpoint_is_not_run(wrapped: bool, setting: Setting, tmp_path: Path) -> None:
    order, made = Order(tmp_path / "made"), tmp_path / "made"
    file, names = tmp_path / "model.pth.tar-50", tmp_path / "names.txt"
    torch.save({"state_dict": {"ctx": torch.zeros(2, 64)}, "more": order} if wrapped else order, file)
    names.write_text("ant\nbee\n")
    with pytest.raises(VLPromptError, match="is damaged, or contains objects that are not safe to load"):
        import_prompts("coop", file, backbone=setting.words[5], class_names=names, out=tmp_path / "out")
    with pytest.raises(
        VLPromptError, match=r"cannot be read safely as weights \(it uses \w+\.mkdir, which is not allowed\)"
    ):
        load_backbone(file)
    assert not made.exists()
    torch.load(file, weights_only=False)  # an unsafe reader would run the code
    assert made.exists()


class Talker(nn.Module):
    """Module that prints when its TorchScript archive is loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight

    @torch.jit.export
    def __getstate__(self) -> tuple[Tensor, bool]:
        return self.weight, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[Tensor, bool]) -> None:
        self.weight = state[0]
        self.training = state[1]
        print("I was run")  # noqa: T201 - all that TorchScript has for it


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_code_of_a_torchscript_archive_is_not_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    archive = tmp_path / "ViT-B-32.pt"
    torch.jit.script(Talker()).save(str(archive))
    with pytest.raises(VLPromptError, match=r"ViT-B-32\.pt cannot be read safely as weights"):
        read_state_dict(archive)
    assert "I was run" not in capfd.readouterr().out
    torch.jit.load(str(archive))  # an unsafe reader would run the code
    assert "I was run" in capfd.readouterr().out


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_traced_archive_matches_torch_jit_load(tmp_path: Path) -> None:
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).half().eval()
    model = nn.ModuleDict({"visual": inner})["visual"]
    archive = tmp_path / "model.pt"
    torch.jit.trace(nn.Sequential(model, nn.Identity()), torch.ones(2, 3).half()).save(str(archive))
    expected, found = torch.jit.load(str(archive)).state_dict(), read_state_dict(archive)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value)


def test_repeatedly_nested_archive_is_rejected_quickly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = type("Module", (), {"__module__": "__torch__"})
    monkeypatch.setitem(sys.modules, "__torch__", SimpleNamespace(Module=kind))
    module = kind()
    for _ in range(60):
        inner, module = module, kind()
        module.one = module.other = inner
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w") as archive:
        for name, content in {"data": pickle.dumps(module, protocol=2), "constants": b""}.items():
            archive.writestr(f"bomb/{name}.pkl", content)
        archive.writestr("bomb/version", b"3\n")
    with pytest.raises(VLPromptError, match="appears twice"):
        read_state_dict(tmp_path / "bomb.pt")


def test_tensor_larger_than_its_storage(tmp_path: Path) -> None:
    torch.save({"text_projection": torch.ones(1).expand(2**40)}, tmp_path / "bomb.pt")
    with pytest.raises(VLPromptError, match=r"'text_projection' in .*bomb\.pt must be a dense tensor"):
        load_backbone(tmp_path / "bomb.pt")
    (tmp_path / "names.txt").write_text("ant\nbee\n")
    with pytest.raises(VLPromptError, match=r"bomb\.pt has no state_dict"):
        import_prompts(
            "coop", tmp_path / "bomb.pt", backbone="embedded", class_names=tmp_path / "names.txt", out=tmp_path / "out"
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"transformer.resblocks.999999999.ln_1.weight": (64,)}, "resblocks.999999999.ln_1.weight' is unknown"),
        ({"visual.transformer.resblocks.7.ln_1.weight": (64,)}, "weight 'visual.transformer.resblocks.2' is missing"),
        ({"transformer.resblocks.0.mlp.c_fc.weight": (256, 0)}, "cannot be built"),
        ({"visual.positional_embedding": (0, 64)}, "cannot be built"),
        ({"token_embedding.weight": (0, 64)}, "the model has a vocabulary of 0 tokens"),
        ({"visual.conv1.weight": (64, 3, 0, 0)}, "cannot be built"),
    ],
)
def test_weights_with_inconsistent_sizes(
    change: dict[str, tuple[int, ...]], message: str, setting: Setting, tmp_path: Path
) -> None:
    weights = load_file(setting.words[5])
    weights |= {name: torch.zeros(shape) for name, shape in change.items()}
    save_file(weights, tmp_path / "other.safetensors")
    with pytest.raises(VLPromptError, match=message):
        load_backbone(tmp_path / "other.safetensors")


@pytest.mark.parametrize("shard", ["../secret.safetensors", "/secret.safetensors", "folder/secret.safetensors", 7])
def test_shards_outside_the_model_folder_are_rejected(shard: object, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip"}))
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"logit_scale": shard}}))
    with pytest.raises(VLPromptError, match=r"which is outside of the folder|cannot be built"):
        load_backbone(tmp_path)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", "[]"),
        ("config.json", '{"model_type": "clip", "text_config": 1}'),
        ("config.json", "[" * 100_000),
        ("open_clip_config.json", "{"),
        ("open_clip_config.json", "[]"),
        ("open_clip_config.json", "[" * 100_000),
        ("open_clip_config.json", '{"model_cfg": {"text_cfg": 1, "vision_cfg": 2}}'),
        ("open_clip_config.json", '{"model_cfg": {"embed_dim": "x", "text_cfg": {}, "vision_cfg": {}}}'),
        ("open_clip_config.json", '{"model_cfg": {"embed_dim": 8, "code": 1, "text_cfg": {}, "vision_cfg": {}}}'),
    ],
)
def test_invalid_model_configurations(file: str, content: str, tmp_path: Path) -> None:
    (tmp_path / file).write_text(content)
    save_file({"logit_scale": torch.zeros(())}, tmp_path / "model.safetensors")
    with pytest.raises(VLPromptError) as caught:
        load_backbone(tmp_path)
    assert "\n" not in str(caught.value)


def test_tokenizer_options_cannot_run_code(tmp_path: Path) -> None:
    text = {"hf_tokenizer_name": "somebody/model", "tokenizer_kwargs": {"trust_remote_code": True}}
    config = {"embed_dim": 8, "vision_cfg": {}, "text_cfg": text}
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    save_file({"logit_scale": torch.zeros(())}, tmp_path / "open_clip_model.safetensors")
    with pytest.raises(VLPromptError, match="unsupported tokenizer options: trust_remote_code"):
        load_backbone(tmp_path)


YAMLS = {
    "code": "a: [!!python/object/apply:os.mkdir x]\nb: {{made}: !!python/object/apply:os.mkdir x}",
    "lists in lists in lists": "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]",
    "1,200 levels": "a: " + "[" * 1_200,
    "text that is not Unicode": 'a: "\\ud800"',
    "nothing": "a:",
    "a set": "a: [!!set {x, y}]",
}


@pytest.mark.parametrize("name", YAMLS)
def test_yaml_class_names_are_loaded_safely(name: str, tmp_path: Path) -> None:
    made, text = tmp_path / "made", YAMLS[name].replace("{made}", str(tmp_path / "made"))
    (tmp_path / "names.yaml").write_text(text)
    (tmp_path / "list.yaml").write_text(text.replace("a:", "-", 1) if "\n" not in text else text)
    for read, file in ((read_name_map, "names.yaml"), (read_names, "list.yaml")):
        with pytest.raises(VLPromptError, match=r"class[-_]names|name_map") as caught:
            read(tmp_path / file)
        assert "\n" not in str(caught.value)
    assert not made.exists()


@pytest.mark.parametrize("content", [b"\xff", b"a: !!python/name:os.system", b"[" * 1_200, b"- 1", b"2021-13-45"])
def test_invalid_recipes(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_bytes(content)
    with pytest.raises(VLPromptError, match=r"`recipe` .*mine\.yaml") as caught:
        read_recipe(str(tmp_path / "mine.yaml"))
    assert "\n" not in str(caught.value)


def test_lock_file_symlink_is_not_followed(tmp_path: Path) -> None:
    mine, link = tmp_path / "mine.txt", tmp_path / "shared" / "x.lock"
    mine.write_text("mine")
    link.parent.mkdir()
    link.symlink_to(mine)
    with lock(link):
        assert mine.read_text() == "mine"
