"""Damaged, foreign and malicious files in a run's folder: a one-line error each, and no data loss."""

import json
import math
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save, save_file
from torch import Tensor

from tests.helpers.command_line import Call
from tests.helpers.impatient import Impatient
from tests.helpers.weights import write_weights
from tests.reliability.conftest import Setting
from vlprompt.errors import VLPromptError
from vlprompt.experiments.run import run_experiment
from vlprompt.methods.create import create_method
from vlprompt.runs.record import read_record
from vlprompt.runs.restore import restore
from vlprompt.runs.state import load_prompts, save_prompts

Tensors = dict[str, Tensor]
Metadata = dict[str, str]


def raw(header: bytes, data: bytes = b"", length: int | None = None) -> bytes:
    """Return a safetensors file with the given header, optionally with a wrong header length."""
    return struct.pack("<Q", len(header) if length is None else length) + header + data


HEADERS = {
    "nothing": b"",
    "less than a length": b"\x01\x02",
    "noise": bytes(range(256)) * 4,
    "a header of 2^64 bytes": raw(b"{}", length=2**64 - 1),
    "a header of 99 MB": raw(b"{}", length=99_000_000),
    "a header that is no JSON": raw(b"{x"),
    "a header that is a list": raw(b"[]"),
    "a header of 10,000 levels": raw(b'{"a":' * 10_000 + b"1" + b"}" * 10_000),
    "a header that is not UTF-8": raw(b'{"\xff": 1}'),
    "a tensor of 2^60 numbers": raw(
        b'{"t":{"dtype":"F32","shape":[1152921504606846976],"data_offsets":[0,4]}}', b"1234"
    ),
    "a tensor of fewer than no numbers": raw(b'{"t":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}', b"1234"),
    "a tensor behind the end": raw(b'{"t":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}', b"1234"),
    "a type that there is not": raw(b'{"t":{"dtype":"F9","shape":[1],"data_offsets":[0,4]}}', b"1234"),
    "tensors that overlap": raw(
        b'{"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"u":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        b"1234",
    ),
}


@pytest.fixture(scope="module")
def cut(setting: Setting, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run after the first of two epochs."""
    folder = tmp_path_factory.mktemp("cut") / "run"
    with pytest.raises(KeyboardInterrupt):
        run_experiment(setting.config, folder, reporter=Impatient(after=2), **setting.loaded)
    assert len(read_record(folder).history) == 1
    return folder


def read(path: Path) -> tuple[Tensors, Metadata]:
    with safe_open(path, "pt") as file:
        return load_file(path), file.metadata()


def one_line(call: Call, *words: object) -> str:
    """Return the one-line error of a command that must fail."""
    status, out, err = call(*words)
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


def metadata(**changes: str) -> Callable[[Tensors, Metadata], None]:
    return lambda tensors, about: about.update(changes)


def tensors(**changes: Callable[[Tensor], Tensor] | None) -> Callable[[Tensors, Metadata], None]:
    """Replace tensors by the end of their names; None removes them."""

    def change(tensors: Tensors, about: Metadata) -> None:
        for end, to in changes.items():
            names = [name for name in tensors if name.endswith(end)]
            assert names
            for name in names:
                if to is None:
                    del tensors[name]
                else:
                    tensors[name] = to(tensors[name])

    return change


def not_a_number(value: Tensor) -> Tensor:
    return value.index_fill(0, torch.tensor(0), torch.nan)


STATES: dict[str, tuple[Callable[[Tensors, Metadata], None], str]] = {
    "no metadata": (lambda tensors, about: about.clear(), "is damaged (result_hash is missing)"),
    "no history": (lambda tensors, about: about.pop("history"), "is damaged (history is missing)"),
    "a history that is no JSON": (metadata(history="[{"), "is damaged (history: must be JSON"),
    "a history of 100,000 levels": (
        metadata(history="[" * 100_000),
        "is damaged (history: must be JSON (recursion limit",
    ),
    "a history of something else": (
        metadata(history='[{"epoch": "1e9"}]'),
        "is damaged (history.0.epoch: must be",
    ),
    "an enormous number": (
        metadata(seconds='{"train": 1' + "0" * 9999 + "}"),
        "is damaged (seconds: must be JSON (number",
    ),
    "another run": (
        metadata(result_hash="0" * 64),
        "holds the state of a run with other settings, images or weights",
    ),
    "a context of another shape": (tensors(text_context=lambda value: value[:1]), "is damaged (size mismatch"),
    "a context of another type": (
        tensors(text_context=Tensor.half),
        "text_context must have dtype torch.float32, got torch.float16",
    ),
    "a context of no numbers": (tensors(text_context=not_a_number), "text_context holds non-finite values"),
    "no context": (
        lambda tensors, about: tensors.pop("method.text_context"),
        'Missing key(s) in state_dict: "text_context"',
    ),
    "a tensor too many": (lambda tensors, about: tensors.update(mine=torch.ones(1)), "is damaged ("),
    "half of the optimizer": (tensors(exp_avg=None), "is damaged (it was saved for another optimizer"),
    "another optimizer": (
        lambda tensors, about: tensors.update({"optimizer.0.momentum_buffer": torch.ones(2, 64)}),
        "is damaged (it was saved for another optimizer",
    ),
    "an optimizer of another shape": (tensors(exp_avg=lambda value: value[:1]), "(it was saved for another optimizer"),
    "an optimizer of other parameters": (
        lambda tensors, about: tensors.update({"optimizer.-1.step": torch.ones(())}),
        "is damaged (",
    ),
}


@pytest.mark.parametrize("name", STATES)
def test_modified_state(name: str, call: Call, setting: Setting, cut: Path, tmp_path: Path) -> None:
    change, message = STATES[name]
    state, about = read(cut / "state.safetensors")
    change(state, about)
    refused(save(state, about), message, call, setting, cut, tmp_path)


@pytest.mark.parametrize("name", HEADERS)
def test_invalid_state(name: str, call: Call, setting: Setting, cut: Path, tmp_path: Path) -> None:
    refused(HEADERS[name], "state.safetensors is damaged (", call, setting, cut, tmp_path)


def refused(state: bytes, message: str, call: Call, setting: Setting, cut: Path, tmp_path: Path) -> None:
    """Resuming from this state fails, and keeps the learned prompts and the state."""
    folder = shutil.copytree(cut, tmp_path / "run")
    (folder / "state.safetensors").write_bytes(state)
    assert message in one_line(call, *setting.words, folder)
    assert (folder / "state.safetensors").read_bytes() == state
    assert read_record(folder).history == read_record(cut).history
    assert (folder / "prompts.safetensors").read_bytes() == (cut / "prompts.safetensors").read_bytes()


@pytest.mark.parametrize("length", [0.001, 0.2, 0.9, 0.999])
def test_truncated_state(length: float, call: Call, setting: Setting, cut: Path, tmp_path: Path) -> None:
    state = (cut / "state.safetensors").read_bytes()
    refused(state[: int(length * len(state))], "state.safetensors is damaged (", call, setting, cut, tmp_path)


PROMPTS: dict[str, tuple[Callable[[Tensors, Metadata], None], str]] = {
    "another shape": (tensors(text_context=lambda value: value[:1]), "size mismatch for text_context"),
    "another type": (
        tensors(text_context=Tensor.double),
        "text_context must have dtype torch.float32, got torch.float64",
    ),
    "no numbers": (
        tensors(text_context=not_a_number),
        "holds non-finite values; training diverged",
    ),
    "infinite ones": (
        tensors(text_context=lambda value: value * math.inf),
        "holds non-finite values; training diverged",
    ),
    "nothing": (lambda tensors, about: tensors.clear(), 'Missing key(s) in state_dict: "text_context"'),
    "more": (lambda tensors, about: tensors.update(code=torch.ones(1)), 'Unexpected key(s) in state_dict: "code"'),
    "an owner that is no JSON": (metadata(owner="{"), "does not fit the run's method: Expecting property name"),
    "an owner that is a list": (metadata(owner="[]"), "does not fit the run's method: "),
    "another method": (
        metadata(owner='{"method": "vpt"}'),
        "does not fit the run's method: it was saved for another method",
    ),
    "another backbone": (
        metadata(owner='{"backbone": "0"}'),
        "does not fit the run's method: it was saved for another backbone",
    ),
}


@pytest.mark.parametrize("name", PROMPTS)
def test_modified_prompts(name: str, call: Call, setting: Setting, tmp_path: Path) -> None:
    change, message = PROMPTS[name]
    prompts, about = read(setting.folder / "prompts.safetensors")
    change(prompts, about)
    folder = shutil.copytree(setting.folder, tmp_path / "run")
    (folder / "prompts.safetensors").write_bytes(save(prompts, about))
    assert message in one_line(call, "evaluate", folder, "--quiet")


@pytest.mark.parametrize("name", HEADERS)
def test_invalid_prompts(name: str, setting: Setting, tmp_path: Path) -> None:
    folder = shutil.copytree(setting.folder, tmp_path / "run")
    (folder / "prompts.safetensors").write_bytes(HEADERS[name])
    with pytest.raises(VLPromptError, match=r"prompts\.safetensors does not fit the run's method: \S") as caught:
        restore(folder, backbone=setting.loaded["backbone"])
    assert "\n" not in str(caught.value)


def test_prompts_of_an_earlier_version_are_readable(setting: Setting, tmp_path: Path) -> None:
    folder = shutil.copytree(setting.folder, tmp_path / "run")
    prompts, _ = read(setting.folder / "prompts.safetensors")
    (folder / "prompts.safetensors").write_bytes(save(prompts, {"method": "coop"}))
    _, method = restore(folder, backbone=setting.loaded["backbone"])
    assert torch.equal(method.state_dict()["text_context"], prompts["text_context"])


def test_prompts_of_other_classes(setting: Setting, tmp_path: Path) -> None:
    backbone = setting.loaded["backbone"]
    mine = create_method("coop", backbone, ["ant", "bee"], n_ctx=2, class_specific=True)
    save_prompts(tmp_path, mine)
    load_prompts(tmp_path, create_method("coop", backbone, ["ant", "bee"], n_ctx=2, class_specific=True))
    with pytest.raises(VLPromptError, match="does not fit the run's method: it was saved for another list of classes"):
        load_prompts(tmp_path, create_method("coop", backbone, ["bee", "ant"], n_ctx=2, class_specific=True))
    # Shared prompts do not depend on the classes.
    save_prompts(tmp_path, create_method("coop", backbone, ["ant", "bee"], n_ctx=2))
    load_prompts(tmp_path, create_method("coop", backbone, ["wasp", "fly", "gnat"], n_ctx=2))


@pytest.mark.parametrize(
    "cache",
    [
        {"keys": torch.zeros(2, 32), "labels": torch.tensor([0, 2])},
        {"keys": torch.zeros(2, 32), "labels": torch.tensor([0, -1])},
        {"keys": torch.zeros(2, 31), "labels": torch.tensor([0, 1])},
        {"keys": torch.zeros(32), "labels": torch.zeros(32, dtype=torch.int64)},
    ],
)
def test_cache_of_other_classes_or_another_backbone(cache: Tensors, setting: Setting, tmp_path: Path) -> None:
    method = create_method("tip-adapter", setting.loaded["backbone"], ["ant", "bee"])
    save_file({**method.state_dict(), **cache}, tmp_path / "prompts.safetensors")
    with pytest.raises(VLPromptError, match="the cache belongs to other classes or another backbone"):
        load_prompts(tmp_path, method)


def test_run_with_other_weights(call: Call, setting: Setting, cut: Path, tmp_path: Path) -> None:
    other = write_weights(tmp_path / "other.safetensors", layers=1)
    folder = shutil.copytree(cut, tmp_path / "run")
    place = setting.words.index("--backbone") + 1
    words = [*setting.words[:place], str(other), *setting.words[place + 1 :]]
    assert "holds a run with other settings, images or weights" in one_line(call, *words, folder)
    record = json.loads((folder / "run.json").read_text())
    record["config"]["backbone"]["source"] = str(other)
    (folder / "run.json").write_text(json.dumps(record))
    assert "was tuned with different weights than" in one_line(call, "evaluate", folder, "--quiet")


def test_run_with_other_classes(call: Call, setting: Setting, cut: Path, tmp_path: Path) -> None:
    images = shutil.copytree(setting.images, tmp_path / "images")
    (images / "green_leaf").rename(images / "gray_stone")
    folder = shutil.copytree(cut, tmp_path / "run")
    words = ["tune", images, *setting.words[2:]]
    assert "holds a run with other settings, images or weights" in one_line(call, *words, folder)


def temperature(value: float) -> Callable[[dict[str, Any]], Any]:
    """Return a record with an invalid temperature."""
    others = {"images": 4, "loss_before": 1.0, "loss_after": 1.0, "error_before": 1.0, "error_after": 1.0}
    return lambda record: record | {"calibration": {"temperature": value, **others}}


RECORDS: dict[str, tuple[Callable[[dict[str, Any]], Any] | bytes, str]] = {
    "nothing": (b"", "run.json cannot be read (must be JSON (EOF"),
    "noise": (bytes(range(128, 256)), "run.json cannot be read (must be JSON"),
    "text that is not UTF-8": (b'{"status": "\xe9"}', "run.json cannot be read (must be JSON"),
    "100,000 levels": (b'{"metrics":' + b"[" * 100_000, "cannot be read (must be JSON (recursion limit exceeded"),
    "an enormous number": (
        b'{"trainable_parameters": 1' + b"0" * 9999 + b"}",
        "cannot be read (must be JSON (number",
    ),
    "a list": (lambda record: [record], "cannot be read (must be "),
    "no classes": (lambda record: record.pop("class_names") and record, "cannot be read (class_names is missing"),
    "classes that are numbers": (
        lambda record: record | {"class_names": [1, 2]},
        "cannot be read (class_names.0: must be text",
    ),
    "a status of its own": (lambda record: record | {"status": "done"}, "cannot be read (status: must be"),
    "a section too many": (
        lambda record: record["config"].update(code={}) or record,
        "cannot be read (config.code is unknown",
    ),
    "a temperature that turns answers round": (temperature(-1.0), "cannot be read (calibration.temperature: must be"),
    "a temperature of nothing": (temperature(0.0), "cannot be read (calibration.temperature: must be"),
    "a temperature of no number": (temperature(math.nan), "cannot be read (calibration holds a number that is not"),
    "a temperature without end": (temperature(math.inf), "cannot be read (calibration holds a number that is not"),
    "metrics that are text": (lambda record: record | {"metrics": {"test": "good"}}, "cannot be read (metrics: "),
    "metrics that are no numbers": (
        lambda record: record | {"metrics": {"test": {"accuracy": math.nan, "images": 1}}},
        "cannot be read (metrics holds a number that is not finite",
    ),
    "metrics without accuracy": (lambda record: record | {"metrics": {"test": {}}}, "cannot be read (metrics: "),
}


@pytest.mark.parametrize("name", RECORDS)
def test_invalid_record(name: str, call: Call, setting: Setting, tmp_path: Path) -> None:
    change, message = RECORDS[name]
    folder = shutil.copytree(setting.folder, tmp_path / "run")
    record = json.loads((folder / "run.json").read_text())
    content = change if isinstance(change, bytes) else json.dumps(change(record)).encode()
    (folder / "run.json").write_bytes(content)
    for words in (["info", folder], ["evaluate", folder, "--quiet"], [*setting.words, folder]):
        assert message in one_line(call, *words)
    status, out, err = call("table", tmp_path)
    assert (status, out) == (2, "")
    assert err.splitlines()[-1].startswith("error: no runs found in")
    assert (folder / "run.json").read_bytes() == content


# Options of a method are validated where the method is created.
METHODS: dict[str, tuple[dict[str, Any], str]] = {
    "a method that is not here": ({"name": "../../evil"}, "cannot be restored (unknown method '../../evil'"),
    "an option that is not": ({"run": "rm"}, "cannot be restored (method 'coop' has no option 'run'"),
    "an option out of bounds": ({"n_ctx": 10**18}, "cannot be restored (method.n_ctx: must be at most 4096"),
    "a template with code": ({"template": "{0.__class__}"}, "a template must contain {} exactly once"),
}


@pytest.mark.parametrize("name", METHODS)
def test_record_with_invalid_method(name: str, call: Call, setting: Setting, tmp_path: Path) -> None:
    changes, message = METHODS[name]
    folder = shutil.copytree(setting.folder, tmp_path / "run")
    record = json.loads((folder / "run.json").read_text())
    record["config"]["method"].update(changes)
    (folder / "run.json").write_text(json.dumps(record))
    assert message in one_line(call, "evaluate", folder, "--quiet")
    assert call("info", folder)[0] == 0


def test_prompts_path_in_a_record_is_never_followed(call: Call, setting: Setting, tmp_path: Path) -> None:
    folder = shutil.copytree(setting.folder, tmp_path / "run")
    record = json.loads((folder / "run.json").read_text())
    for place in ("../../../../../../dev/zero", "/proc/self/environ", "\u0000"):
        (folder / "run.json").write_text(json.dumps(record | {"prompts_from": place}))
        status, out, _ = call("evaluate", folder, "--json")
        assert (status, json.loads(out)["test"]["accuracy"]) == (0, record["metrics"]["test"]["accuracy"])
        assert call("info", folder)[0] == 0


def test_control_characters_in_names_are_escaped(call: Call, setting: Setting, tmp_path: Path) -> None:
    folder = shutil.copytree(setting.folder, tmp_path / "run")
    record = json.loads((folder / "run.json").read_text())
    for part in ("metrics", "tests"):
        record[part]["[/bold] [red]"] = record[part]["test"]
    (folder / "run.json").write_text(json.dumps(record))
    status, out, _ = call("info", folder)
    assert (status, "[/bold] [red]" in out) == (0, True)


@pytest.mark.parametrize("name", ["run.json", "prompts.safetensors", "state.safetensors"])
def test_folder_in_place_of_a_file(name: str, call: Call, setting: Setting, cut: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(cut, tmp_path / "run")
    (folder / name).unlink()
    (folder / name).mkdir()
    words = ["evaluate", folder, "--quiet"] if name == "prompts.safetensors" else [*setting.words, folder]
    assert str(folder / name) in one_line(call, *words)


def test_path_that_is_not_a_folder(call: Call, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "is not a run" in one_line(call, "info", tmp_path / "file")
