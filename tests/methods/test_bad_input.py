"""Invalid input for every method: one clear error before encoding or training."""

import json
import math
import re
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from annotated_types import Ge, Gt, Le, Lt
from safetensors.torch import save_file

import vlprompt
from tests.helpers.golden import backbone as recorded
from tests.helpers.shapes import NAMES, TEXT_DEPTH, TEXT_WIDTH, VISUAL_DEPTH, uneven
from vlprompt import VLPromptError
from vlprompt.cli import main as cli
from vlprompt.experiments import run as module
from vlprompt.methods.base import METHODS, text_only_methods

METHOD_NAMES = vlprompt.list_methods()
OPTIONS = [(name, key) for name in METHOD_NAMES for key in METHODS.get(name).Options.model_fields]
DEPTHS = [(name, key) for name, key in OPTIONS if "depth" in key]
CLASS_SPECIFIC = [name for name, key in OPTIONS if key == "class_specific"]
BESIDE = {"ge": -1, "gt": 0, "le": 1, "lt": 0}  # offset from a bound to a value outside of it

Call = Callable[..., str]


def bounds(name: str, key: str) -> list[float]:
    """Return values just outside the bounds of an option."""
    beside = []
    for bound in METHODS.get(name).Options.model_fields[key].metadata:
        for kind, attribute in ((Ge, "ge"), (Gt, "gt"), (Le, "le"), (Lt, "lt")):
            if isinstance(bound, kind):
                beside.append(getattr(bound, attribute) + BESIDE[attribute])
    return beside


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save the recorded ResNet to a file for the command line."""
    path = tmp_path_factory.mktemp("resnet") / "clip_rn.safetensors"
    save_file(recorded("clip_rn.safetensors").model.state_dict(), path)
    return path


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], pictures: Path, tmp_path: Path) -> Call:
    """Run `tune` with and without `--dry-run` and return their common error line; fail if training starts."""

    def work(*_: object, **__: object) -> None:
        raise AssertionError("work has started")

    monkeypatch.setattr(module, "train", work)

    def run(*words: object, data: Path = pictures) -> str:
        backbone = [] if "--backbone" in words else ["--backbone", "embedded"]
        line = ["vlprompt", "tune", data, *backbone, "--shots", 2, "--device", "cpu", "--out", tmp_path / "run", *words]
        errors = set()
        for arguments in ([*line, "--dry-run"], line):
            monkeypatch.setattr(sys, "argv", list(map(str, arguments)))
            before = signal.getsignal(signal.SIGTERM)
            with pytest.raises(SystemExit) as stop:
                cli.main()
            signal.signal(signal.SIGTERM, before)
            out, err = capsys.readouterr()
            assert (stop.value.code, out) == (2, "")
            assert "Traceback" not in err
            assert not (tmp_path / "run").exists()
            errors.add(err.splitlines()[-1])
        assert len(errors) == 1
        error: str = errors.pop()
        assert error.startswith("error: ")
        return error

    return run


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_unknown_option(name: str, fails: Call) -> None:
    expected = f"method {name!r} has no option 'color'; its options are template"
    with pytest.raises(VLPromptError, match=expected):
        vlprompt.create_method(name, uneven(), NAMES, color="red")
    assert expected in fails("--method", name, "--set", "method.color=red", "--backbone", "never-looked-at")


@pytest.mark.parametrize(("name", "key"), OPTIONS)
def test_option_out_of_bounds(name: str, key: str) -> None:
    for value in ({"of": "another kind"}, math.nan, math.inf, -math.inf, *bounds(name, key)):
        with pytest.raises(VLPromptError, match=rf"^method\.{key}: must be .*, got {re.escape(repr(value))}$"):
            vlprompt.create_method(name, uneven(), NAMES, **{key: value})


@pytest.mark.parametrize("blank", ["", "  ", "_"])
@pytest.mark.parametrize("name", [name for name, key in OPTIONS if key == "ctx_init"])
def test_blank_ctx_init_is_none(name: str, blank: str) -> None:
    lengths = {key: 3 for key in ("n_ctx", "n_text") if (name, key) in OPTIONS}
    method = vlprompt.create_method(name, uneven(), NAMES, ctx_init=blank, **lengths)
    assert method.options.ctx_init is None
    assert method.text_context.shape == (3, TEXT_WIDTH)


def test_numeric_options_have_bounds() -> None:
    """PromptSRC's mean is exempt: it may be before the first or after the last epoch."""
    numbers = [
        (name, key)
        for name, key in OPTIONS
        if METHODS.get(name).Options.model_fields[key].annotation in (int, float, int | None, float | None)
    ]
    assert [pair for pair in numbers if not bounds(*pair)] == [("promptsrc", "gpa_mean")]


@pytest.mark.parametrize(("name", "key"), DEPTHS)
def test_depth_above_the_number_of_layers(name: str, key: str, fails: Call, weights: Path) -> None:
    depth = max(TEXT_DEPTH, VISUAL_DEPTH) + 1
    with pytest.raises(
        VLPromptError, match=rf"{key} must be at most \d, the number of layers of the tower, got {depth}"
    ):
        vlprompt.create_method(name, uneven(), NAMES, **{key: depth})
    error = fails("--method", name, "--set", f"method.{key}=3", "--backbone", weights)
    assert f"{key} must be at most 2, the number of layers of the tower, got 3" in error


def test_methods_with_deep_prompts_are_tested() -> None:
    assert {name for name, _ in DEPTHS} >= {"ivlp", "maple", "mudpt", "promptsrc", "vpt"}
    assert set(CLASS_SPECIFIC) >= {"coop", "prograd"}


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_resnet_supports_only_text_methods(name: str, fails: Call, resnet: Path) -> None:
    backbone = recorded("clip_rn.safetensors")
    if name in text_only_methods():
        vlprompt.create_method(name, backbone, NAMES)
        return
    with pytest.raises(VLPromptError, match=rf"'{name}' .*ModifiedResNet.*; .*use one of .*\bcoop, .*\bzero-shot"):
        vlprompt.create_method(name, backbone, NAMES)
    assert f"method {name!r} with these options adapts the image tower" in fails("--method", name, "--backbone", resnet)


@pytest.mark.parametrize("name", CLASS_SPECIFIC)
def test_class_specific_context_cannot_name_new_classes(name: str, fails: Call, weights: Path) -> None:
    method = vlprompt.create_method(name, uneven(), NAMES, class_specific=True)
    with pytest.raises(
        VLPromptError, match=f"'{name}' .* learns something for each class .* share the prompts among classes"
    ):
        method.set_class_names(["cat"])
    assert method.class_names == ("red apple", "dog", "forget me not")
    words = ["--protocol", "base-to-new", "--set", "method.class_specific=true", "--backbone", weights]
    assert "cannot name new classes, which --protocol 'base-to-new' tests" in fails("--method", name, *words)


@pytest.mark.parametrize("name", METHOD_NAMES)
@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], "`class_names` is empty"),
        (["dog", ""], "holds an empty name"),
        (["dog", "_ "], "holds an empty name"),
        (["dog", "cat", "dog"], "`class_names` holds 'dog' twice; give each class a different name"),
        (
            ["red_apple", "dog", "red apple"],
            "`class_names` holds 'red_apple' and 'red apple', which become the same name",
        ),
        (["dog", "&nbsp;"], "`class_names` holds '&nbsp;', which has no tokens for the model; use other words"),
        (["\x00"], "holds an empty name"),
    ],
)
def test_unusable_class_names(name: str, names: list[str], expected: str) -> None:
    with pytest.raises(VLPromptError, match=expected):
        vlprompt.create_method(name, uneven(), names)


@pytest.mark.parametrize("name", METHOD_NAMES)
@pytest.mark.parametrize("names", [["cat", "Dog", "dog"], ["hot dog", "hot DOG"]])
def test_names_with_equal_tokens(name: str, names: list[str]) -> None:
    """Methods that learn something for each class accept such names."""
    if vlprompt.create_method(name, uneven(), NAMES).class_bound:
        assert vlprompt.create_method(name, uneven(), names).class_names == tuple(names)
        return
    with pytest.raises(VLPromptError, match=f"holds {names[-2]!r} and {names[-1]!r}, which the model reads as"):
        vlprompt.create_method(name, uneven(), names)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("dog", "`class_names` must be a list of names, got 'dog'"),
        (None, "`class_names` must be a list of names, got None"),
        ([0, 1], "`class_names` must hold strings, got 0"),
        (["dog", None], "`class_names` must hold strings, got None"),
    ],
)
def test_class_names_of_the_wrong_type(names: Any, expected: str) -> None:
    with pytest.raises(VLPromptError, match=expected):
        vlprompt.create_method("coop", uneven(), names)
    with pytest.raises(VLPromptError, match=expected):
        vlprompt.create_method("coop", uneven(), NAMES).set_class_names(names)


def test_class_names_from_an_iterator() -> None:
    method = vlprompt.create_method("coop", uneven(), (name for name in NAMES))  # type: ignore[arg-type]
    assert method.class_names == ("red apple", "dog", "forget me not")
    method.set_class_names(name for name in ["a_cat", "cow"])  # type: ignore[arg-type]
    assert method.class_names == ("a cat", "cow")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["night", "sky", "night", "leaf"], "classes 'night' and 'red_apple' are both called 'night'"),
        (["apple", "sky", " ", "leaf"], "has no words for 'night'"),
    ],
)
def test_class_names_from_a_file(words: list[str], expected: str, fails: Call, weights: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.json"
    names.write_text(json.dumps(dict(zip(["red_apple", "blue_sky", "night", "green_leaf"], words, strict=True))))
    assert expected in fails("--class-names", names, "--backbone", weights)


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_too_long_class_name_is_reported(name: str) -> None:
    expected = r"^class name '(dog ){19}d\.\.\.' is too long: 9[01] tokens, room for [5-7]\d .*; shorten the name"
    long = ["cat", " ".join(["dog"] * 90)]
    with pytest.raises(VLPromptError, match=expected):
        vlprompt.create_method(name, uneven(), long)
    method = vlprompt.create_method(name, uneven(), NAMES)
    if not method.class_bound:
        with pytest.raises(VLPromptError, match=expected):
            method.set_class_names(long)
        assert method.class_names == ("red apple", "dog", "forget me not")


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("promptsrc", "templates"),
        ("e2mim", "templates"),
        ("e2mim", "template"),
        ("kgcoop", "template"),
        ("prograd", "template"),
    ],
)
def test_class_name_must_fit_templates(name: str, option: str, fails: Call, weights: Path) -> None:
    template = "an " + "old " * 67 + "{}."
    options = {option: [template]}
    method = vlprompt.create_method(name, uneven(), ["cat", "dog " * 5], **options)
    expected = r"class name '(dog ){6}dog' is too long: 7 tokens, room for 6 in template 'an (old )+ol\.\.\.'; shorten"
    with pytest.raises(VLPromptError, match=expected):
        method.set_class_names(["cat", "dog " * 7])
    assert method.class_names == ("cat", "dog dog dog dog dog")
    with pytest.raises(
        VLPromptError, match=r"^template 'so .*' leaves no room for a class name in a context of 77 tokens"
    ):
        vlprompt.create_method(name, uneven(), NAMES, **{option: [template.replace("an", "so " * 8)]})
    shown = json.dumps([template.replace("an", "so " * 6)])
    assert re.search(
        "class name 'blue sky' is too long: 2 tokens, room for 1 in template",
        fails("--method", name, "--set", f"method.{option}={shown}", "--backbone", weights),
    )


def test_names_of_new_classes_are_checked_before_training(
    fails: Call, pictures: Path, weights: Path, tmp_path: Path
) -> None:
    data = shutil.copytree(pictures, tmp_path / "data")
    (data / "red_apple").rename(data / " ".join(["red", *["dog"] * 60]))  # sorted last, and so a new class
    method = ["--method", "coop", "--protocol", "base-to-new", "--set", "method.ctx_init=null"]
    error = fails(*method, "--backbone", weights, data=data)
    assert re.search(r"class name 'red (dog ){18}d\.\.\.' is too long: 62 tokens, room for 5\d", error)
