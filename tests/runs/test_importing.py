"""Import of checkpoints, which are built here in the original format from recorded parameters."""

import json
import re
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.testing import assert_close

from tests.helpers.command_line import Call
from tests.helpers.golden import GOLDEN, NAMES, Case, backbone, read_case
from vlprompt import VLPromptError
from vlprompt.methods.base import Method
from vlprompt.runs.importing import RENAMED, import_prompts, importable, read_names
from vlprompt.runs.restore import restore

# Recorded name (a pattern) to the name in the original file, where some layers are separate tensors.
LEARNER = {
    **dict.fromkeys(("coop", "cocoop", "kgcoop", "prograd", "dapt"), ""),
    **dict.fromkeys(("maple", "promptsrc"), "prompt_learner."),
}
THEIRS: dict[str, dict[str, str]] = {
    "coop": {"text_context": "ctx"},
    "cocoop": {"text_context": "ctx", r"meta_net\.(.+)": r"meta_net.\1"},
    "kgcoop": {"text_context": "ctx"},
    "prograd": {"text_context": "ctx"},
    "dapt": {"text_context": "txt_ctx", "visual_context": "vis_ctx"},
    "maple": {
        "text_context": "ctx",
        "text_deep": "compound_prompts_text.{}",
        r"text_to_visual\.context_projection\.(.+)": r"proj.\1",
        r"text_to_visual\.deep_projections\.(.+)": r"compound_prompt_projections.\1",
    },
    "promptsrc": {
        "text_context": "ctx",
        "text_deep": "/text_encoder.transformer.resblocks.{}.VPT_shallow",
        "visual_context": "/image_encoder.VPT",
        "visual_deep": "/image_encoder.transformer.resblocks.{}.VPT_shallow",
    },
    "mudpt": {
        "text_context": "ctx",
        "text_deep": "deep_prompts",
        r"text_to_visual\.context_projection\.(.+)": r"embed_projection.\1",
        r"text_to_visual\.deep_projection\.(.+)": r"deep_projections.\1",
        r"text_to_visual\.(ln_.+)": r"\1",
        r"text_to_visual\.block\.(.+)": r"self_attn.\1",
        r"text_to_visual\.projection\.(.+)": r"visual_proj.\1",
        "visual_context": "/image_encoder.visual_ctx",
        "visual_deep": "/image_encoder.visual_ctx_deep_prompts",
        r"visual_to_text\.deep_projection\.(.+)": r"/image_encoder.visual_ctx_deep_projections.\1",
        r"visual_to_text\.ln_(.+)": r"/image_encoder.visual_ctx_ln_intra_\1",
        r"visual_to_text\.block\.(.+)": r"/image_encoder.visual_ctx_self_attn.\1",
        r"visual_to_text\.projection\.(.+)": r"/image_encoder.visual_ctx_text_proj.\1",
    },
}
CASES = [name for name in NAMES if read_case(name).method in THEIRS]


def their_names(name: str, case: Case) -> dict[str, Tensor]:
    """Return the recorded parameters in the naming and splitting of the original code."""
    method, kind = case.method, name.split("-")[0]
    learner = LEARNER.get(method, f"{kind}_prompt_learner.")
    state: dict[str, Tensor] = OrderedDict()
    for ours, value in case.starting("param").items():
        pattern = next(pattern for pattern in THEIRS[method] if re.fullmatch(pattern, ours))
        theirs = re.sub(f"^{pattern}$", THEIRS[method][pattern], ours)
        if kind == "umudpt" and ours == "text_deep":  # a list of parameters in this program only
            theirs = "deep_prompts.{}"
        first = 1 if "resblocks" in theirs else 0
        theirs = theirs[1:] if theirs.startswith("/") else learner + theirs
        if "{}" in theirs:
            state |= {theirs.format(first + layer): part for layer, part in enumerate(value)}
        else:
            state[theirs] = value[None] if (method, ours) == ("dapt", "visual_context") else value
    state[f"{learner}token_prefix"] = torch.randn(len(case.class_names), 1, 8)
    state[f"{learner}token_suffix"] = token_suffix(name, case)
    if learner:
        state["image_encoder.transformer.resblocks.0.attn.in_proj_weight"] = torch.randn(12, 4)
        state["text_encoder.positional_embedding"] = torch.randn(77, 4)
        state["logit_scale"] = torch.tensor(4.6)
    if method == "kgcoop":
        state["meta_net.linear1.weight"] = torch.randn(2, 8)
    if method == "promptsrc":
        state["prompt_learner.ZS_image_encoder.proj"] = torch.randn(4, 4)
    return state


def token_suffix(name: str, case: Case) -> Tensor:
    """Return the embedded words after the context, as the original code stores them."""
    text = backbone(case.weights).text
    words = (case.options.get("ctx_init") or "").split()[2:] if name.startswith("maple-n2") else []
    rows = [text.words(" ".join([*words, class_name.replace("_", " ")]) + ".") for class_name in case.class_names]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


def save_as_dassl(state: Mapping[str, Tensor], file: Path) -> Path:
    """Write a checkpoint as Dassl does: its schedule contains another schedule, which contains the optimizer."""
    parameter = torch.nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.SGD([parameter], lr=0.002, momentum=0.9)
    inner = CosineAnnealingLR(optimizer, 50.0)
    parameter.sum().backward()
    optimizer.step()
    schedule = {"successor": inner, "warmup_epoch": 1, "cons_lr": 1e-5, "last_epoch": 50}
    about = {"epoch": 50, "optimizer": optimizer.state_dict(), "scheduler": schedule, "val_result": None}
    torch.save({"state_dict": state, **about}, file)
    return file


@pytest.fixture(scope="module")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Write the recorded models as weights with a complete vocabulary."""
    folder, files = tmp_path_factory.mktemp("backbones"), {}
    for name in {read_case(case).weights for case in CASES}:
        state = load_file(GOLDEN / name)
        ids, rows = state.pop("token_embedding.ids"), state.pop("token_embedding.rows")
        state["token_embedding.weight"] = torch.zeros(49408, rows.shape[1], dtype=rows.dtype).index_copy_(0, ids, rows)
        save_file({key: value.half() for key, value in state.items()}, folder / name)
        files[name] = str(folder / name)
    return files


@pytest.fixture
def names_file(tmp_path: Path) -> Path:
    file = tmp_path / "classes.json"
    file.write_text(json.dumps(read_case(CASES[0]).class_names))
    return file


def test_every_importable_method_has_a_test_case() -> None:
    assert importable() == sorted(THEIRS) == sorted(RENAMED)
    assert {read_case(name).method for name in CASES} == set(THEIRS)


@pytest.mark.parametrize("name", CASES)
def test_an_imported_run_gives_the_recorded_logits(
    name: str, backbones: dict[str, str], names_file: Path, tmp_path: Path
) -> None:
    case = read_case(name)
    file = save_as_dassl(their_names(name, case), tmp_path / "model.pth.tar-50")
    told = {key: case.options[key] for key in ("class_token_position",) if key in case.options}
    record = import_prompts(
        case.method,
        file,
        backbone=backbones[case.weights],
        class_names=names_file,
        out=tmp_path / "run",
        options=told,
        device="cpu",
    )
    assert (record.status, record.metrics) == ("imported", {})
    _, method = restore(tmp_path / "run", device="cpu")
    with torch.no_grad():
        assert_close(method(case.images).logits, case.recorded["logits"], atol=1e-4, rtol=0.0)
    for key in case.options.keys() & {"n_ctx", "depth", "fusion", "direction", "n_text", "n_visual", "depth_text"}:
        assert getattr(method.options, key) == case.options[key]


MAPLE = "maple-n2-words4"


@pytest.fixture
def maple(backbones: dict[str, str], names_file: Path, tmp_path: Path) -> Any:
    """Import the MaPLe case after a change to its state."""
    case = read_case(MAPLE)

    def run(change: Any = lambda state: None, method: str = "maple", **settings: Any) -> Method[Any]:
        state = their_names(MAPLE, case)
        change(state)
        file = save_as_dassl(state, tmp_path / "model.pth.tar-5")
        values = {"backbone": backbones[case.weights], "class_names": names_file, "out": tmp_path / "run", **settings}
        import_prompts(method, file, device="cpu", **values)
        return restore(values["out"], device="cpu")[1]

    return run


def test_frozen_words_default_to_the_papers(maple: Any) -> None:
    silent = maple(lambda state: state.pop("prompt_learner.token_suffix"))
    assert silent.frozen_words == "of a"


def test_frozen_words_can_be_set_with_ctx_init(maple: Any) -> None:
    assert maple(options={"ctx_init": "a picture of one"}).frozen_words == "of one"


def test_unknown_or_missing_tensors_are_listed(maple: Any) -> None:
    def add(state: dict[str, Tensor]) -> None:
        state["prompt_learner.adapter.weight"] = torch.zeros(2)
        state["prompt_learner.bias"] = torch.zeros(2)

    with pytest.raises(VLPromptError, match=r"unknown prompt_learner\.adapter\.weight, prompt_learner\.bias"):
        maple(add)
    with pytest.raises(VLPromptError, match=r"not a checkpoint of 'coop': unknown .*compound_prompts_text\.0"):
        maple(method="coop")
    with pytest.raises(VLPromptError, match=r"text_to_visual\.context_projection\.bias missing"):
        maple(lambda state: state.pop("prompt_learner.proj.bias"))
    with pytest.raises(VLPromptError, match=r"not a checkpoint of 'maple': the text context is missing"):
        maple(lambda state: state.pop("prompt_learner.ctx"))
    with pytest.raises(VLPromptError, match=r"text_to_visual\.deep_projections\.1\.bias, .* unexpected"):
        maple(lambda state: state.pop("prompt_learner.compound_prompts_text.0"))
    with pytest.raises(VLPromptError, match=r"gaps or unequal shapes in the layers of text_deep: \[0, 1, 3\]"):
        maple(lambda state: state.update({"prompt_learner.compound_prompts_text.3": torch.zeros(2, 128)}))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_non_finite_values_are_refused(maple: Any, value: float) -> None:
    with pytest.raises(VLPromptError, match="has non-finite values for text_context"):
        maple(lambda state: state["prompt_learner.ctx"][0].fill_(value))


def test_data_parallel_prefix_is_removed(maple: Any, tmp_path: Path) -> None:
    expected = maple().state_dict()

    def wrap(state: dict[str, Tensor]) -> None:
        for name in list(state):
            state[f"module.{name}"] = state.pop(name)

    found = maple(wrap, out=tmp_path / "again").state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_wrong_number_of_classes_is_refused(maple: Any, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("cat\ndog\n")
    with pytest.raises(VLPromptError, match=r"`class_names` has 2 names, but .* was tuned on 7 classes; list one"):
        maple(class_names=names)
    assert not (tmp_path / "run").exists()
    silent = maple(lambda state: state.pop("prompt_learner.token_prefix"), class_names=names)
    assert silent.class_names == ("cat", "dog")


def test_prompts_inside_towers_are_not_treated_as_frozen_weights(
    backbones: dict[str, str], names_file: Path, tmp_path: Path
) -> None:
    name = "promptsrc-4-4"
    file = save_as_dassl(their_names(name, read_case(name)), tmp_path / "model.pth.tar-20")
    with pytest.raises(VLPromptError, match=r"not a checkpoint of 'coop': unknown image_encoder\.VPT"):
        import_prompts("coop", file, backbone="embedded", class_names=names_file, out=tmp_path / "run")


def test_checkpoint_of_another_backbone_is_refused(maple: Any, backbones: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(VLPromptError, match=r"text_context must have shape \(2, 64\), got \(2, 128\); pass the"):
        maple(backbone=backbones["clip_vit_square.safetensors"])

    def deepen(state: dict[str, Tensor]) -> None:
        state |= {f"prompt_learner.compound_prompts_text.{layer}": torch.zeros(2, 128) for layer in (2, 3)}

    with pytest.raises(VLPromptError, match=r"depth must be at most 3"):
        maple(deepen)
    assert not (tmp_path / "run").exists()


def test_class_specific_context_checks_the_number_of_classes(backbones: dict[str, str], tmp_path: Path) -> None:
    case = read_case("coop-csc-vit")
    file = save_as_dassl(their_names("coop-csc-vit", case), tmp_path / "model.pth.tar-50")
    names = tmp_path / "names.txt"
    names.write_text("cat\n\ndog\n")
    with pytest.raises(VLPromptError, match=r"and 2 classes: text_context must have shape \(2, .* got \(7, "):
        import_prompts("coop", file, backbone=backbones[case.weights], class_names=names, out=tmp_path / "run")


class Malicious:
    """Object that runs code when it is unpickled without restrictions."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("touched"),)


def test_file_that_is_not_a_checkpoint_is_refused(
    names_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.pth.tar").write_text("no archive")
    torch.save({"state_dict": {"ctx": torch.zeros(4, 8)}, "val_result": Malicious()}, tmp_path / "bad.pth.tar")
    torch.save([1, 2], tmp_path / "list.pth.tar")
    for file, message in {
        "absent.pth.tar": "cannot be read: No such file",
        "text.pth.tar": "is damaged, or contains objects that are not safe",
        "bad.pth.tar": "is damaged, or contains objects that are not safe",
        "list.pth.tar": "has no state_dict",
    }.items():
        with pytest.raises(VLPromptError, match=message):
            import_prompts("coop", file, backbone="embedded", class_names=names_file, out="run")
    assert not Path("touched").exists()
    with pytest.raises(
        VLPromptError, match="checkpoints of `method` 'vpt' cannot be imported; choose one of cocoop, coop"
    ):
        import_prompts("vpt", "text.pth.tar", backbone="embedded", class_names=names_file, out="run")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("names.txt", "red_apple\ndog\n"),
        ("names.json", '["red_apple", "dog"]'),
        ("names.yaml", "- red_apple\n- dog\n"),
        ("names.json", '{"n1": "red_apple", "n2": "dog"}'),
        ("names.csv", "n1,red_apple\nn2,dog\n"),
        ("names.tsv", "n1\tred_apple\nn2\tdog\n"),
        ("names.csv", "n1;red_apple\nn2;dog\n"),
        ("classnames.txt", "n01440764 red_apple\nn01443537 dog\n"),
    ],
)
def test_class_names_file_formats(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    assert read_names(tmp_path / name) == ["red_apple", "dog"]


def test_class_names_are_text_in_the_order_of_labels(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("- no\n- 010\n- 12:30:45\n")
    assert read_names(tmp_path / "a.yaml") == ["no", "010", "12:30:45"]
    (tmp_path / "a.txt").write_bytes("no\nhöhle\n".encode("utf-16"))
    assert read_names(tmp_path / "a.txt") == ["no", "höhle"]
    (tmp_path / "a.json").write_text(json.dumps({str(label): f"c{label}" for label in range(12)}, sort_keys=True))
    assert read_names(tmp_path / "a.json") == [f"c{label}" for label in range(12)]
    (tmp_path / "a.txt").write_text("n01440764 tench\nnot a synset\n")
    assert read_names(tmp_path / "a.txt") == ["n01440764 tench", "not a synset"]


def test_invalid_class_names_files(tmp_path: Path) -> None:
    for name, content in {"a.json": "3", "b.txt": " \n", "c.yaml": "a: [", "d.xml": "<a/>"}.items():
        (tmp_path / name).write_text(content)
        with pytest.raises(VLPromptError, match="`class_names`"):
            read_names(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("names.json", '["cat", "", "dog"]'),
        ("names.yaml", "a: cat\nb: ' '\nc: dog\n"),
        ("names.csv", "n1,cat\nn2,\n"),
    ],
)
def test_empty_class_name_is_an_error(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(VLPromptError, match="has an empty name for class 1, counted from 0"):
        read_names(tmp_path / name)


def test_the_command_line_imports_evaluates_and_predicts(
    call: Call,
    backbones: dict[str, str],
    pictures: Path,
    tmp_path: Path,
) -> None:
    case = read_case("coop-random4-vit")
    state = {**their_names("coop-random4-vit", case), "token_prefix": torch.randn(4, 1, 8)}
    file = save_as_dassl(state, tmp_path / "model.pth.tar-50")
    names = tmp_path / "names.txt"
    names.write_text("blue_sky\ngreen_leaf\nnight\nred_apple\n")
    words = ["import", "coop", file, "--backbone", backbones[case.weights], "--class-names", names, "--device", "cpu"]
    code, out, _ = call(*words, "--out", tmp_path / "run")
    assert code == 0
    assert f"{tmp_path / 'run'}: imported, coop from {file}" in out
    code, out, _ = call("evaluate", tmp_path / "run", pictures, "--json", "--device", "cpu")
    assert (code, json.loads(out)["method"]) == (0, "coop")
    picture = next(pictures.glob("*/*.png"))
    code, out, _ = call("predict", tmp_path / "run", picture, "--format", "jsonl", "--device", "cpu")
    assert (code, json.loads(out)["label"] in {"blue sky", "green leaf", "night", "red apple"}) == (0, True)

    code, _, err = call("evaluate", tmp_path / "run", "--device", "cpu")
    assert (code, "was imported without test images" in err) == (2, True)
    code, _, err = call(*words, "--out", tmp_path / "run")
    assert (code, "already exists; choose another folder" in err) == (2, True)
    code, _, err = call(*words, "--out", tmp_path / "other", "--set", "optim.lr=1")
    assert (code, err) == (2, "error: --set must be method.KEY=VALUE for an import, got optim.lr=1\n")
    code, _, err = call(*words, "--out", tmp_path / "other", "--set", "method.depth=2")
    assert (code, "method 'coop' has no option 'depth'" in err) == (2, True)
