"""Exported models: file contents, agreement with PyTorch, use in its place, and errors."""

import json
import os
import re
import shutil
import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

import vlprompt
from tests.helpers.command_line import Call
from vlprompt import Classifier, VLPromptError
from vlprompt.data.images import read_image
from vlprompt.export import exporting
from vlprompt.export.agreement import Reference
from vlprompt.export.exporting import Export, export_run
from vlprompt.runtimes.exported_model import open_model

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "export.md"
FAST = {
    "optim.epochs": 2,
    "optim.batch_size": 8,
    "optim.lr": 0.002,
    "method.n_text": 2,
    "method.n_visual": 2,
    "method.ctx_init": "a photo of a",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, weights: Path, pictures: Path) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "mine"
    vlprompt.tune(pictures, method="dapt", backbone=str(weights), shots=2, settings=FAST, out=folder, quiet=True)
    return folder


@pytest.fixture(scope="module")
def classifier(run: Path) -> Classifier:
    return vlprompt.load_classifier(run, device="cpu")


@pytest.fixture(scope="module")
def exported(run: Path) -> Export:
    return export_run(run)


@pytest.fixture(scope="module")
def openvino_models(run: Path) -> dict[str, Export]:
    """The run in all of OpenVINO's precisions."""
    return {
        precision: export_run(run, format="openvino", precision=precision) for precision in ("fp32", "bf16", "int8")
    }


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Code of the documented example for onnxruntime."""
    file = tmp_path_factory.mktemp("example") / "predict.py"
    file.write_text(documented("onnx"))
    return file


def documented(name: str) -> str:
    """Return the documented example for a format: OpenVINO's replaces some lines of onnxruntime's."""
    first, *_, whole, last = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert "export_run" in first
    if name == "openvino":
        start = whole.index("session = ")
        whole = whole[:start].replace("onnxruntime", "openvino") + last
    assert len(whole.splitlines()) <= 25
    return whole


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Images of many kinds: transparent, gray, with a palette, rotated by EXIF, thin, large, small."""
    folder = tmp_path_factory.mktemp("odd")
    noise = np.random.default_rng(0).integers(0, 256, (97, 61, 4), np.uint8)
    image = Image.fromarray(noise)
    turned = Image.Exif()
    turned[0x0112] = 6
    image.save(folder / "transparent.png")
    image.convert("L").save(folder / "gray.png")
    image.convert("P").save(folder / "palette.gif", transparency=3)
    image.convert("RGB").save(folder / "turned.jpg", exif=turned)
    image.convert("RGB").resize((700, 9)).save(folder / "thin.png")
    image.convert("RGB").resize((31, 900)).save(folder / "tall.webp")
    image.convert("RGB").resize((181, 120)).save(folder / "large.bmp")
    image.convert("RGB").resize((5, 7)).save(folder / "small.png")
    return sorted(folder.iterdir())


@pytest.fixture
def instant(exported: Export, monkeypatch: pytest.MonkeyPatch) -> onnx.ModelProto:
    """Return a recorded graph instead of tracing."""
    graph = onnx.load(exported.file)
    monkeypatch.setattr(exporting, "trace_method", lambda deployed: deepcopy(graph))
    return graph


def session(file: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])


def test_file_metadata(exported: Export, run: Path, classifier: Classifier) -> None:
    record = json.loads((run / "run.json").read_text())
    assert (exported.file, exported.size) == (run / "model-fp32.onnx", (run / "model-fp32.onnx").stat().st_size)
    about = session(exported.file).get_modelmeta().custom_metadata_map
    assert json.loads(about["class_names"]) == ["blue sky", "green leaf", "night", "red apple"]
    assert json.loads(about["preprocessing"])["size"] == 32
    assert about["run_hash"] == record["result_hash"]
    assert about["weight_hash"] == classifier.method.backbone.weight_hash
    assert float(about["temperature"]) == classifier.temperature != 1.0
    assert (about["method"], about["precision"]) == ("dapt", "fp32")
    assert about["vlprompt_version"] == vlprompt.__version__
    documented = set(re.findall(r"`(\w+)`", PAGE.read_text()))
    assert {*about, *json.loads(about["preprocessing"])} <= documented


def test_file_has_no_local_paths(exported: Export) -> None:
    content = exported.file.read_bytes()
    for word in (vlprompt.__file__, torch.__file__, str(exported.file.parent)):
        assert str(Path(word).parent).encode() not in content
    model = onnx.load(exported.file)
    onnx.checker.check_model(model, full_check=True)
    assert (model.producer_name, model.ir_version, model.opset_import[0].version) == ("vlprompt", 8, 18)


def test_batch_size_is_dynamic(exported: Export, classifier: Classifier, pictures: Path) -> None:
    model = session(exported.file)
    assert model.get_inputs()[0].shape == ["batch", 3, 32, 32]
    assert [output.shape for output in model.get_outputs()] == [["batch", 4], ["batch", 4], ["batch", 32]]
    paths = sorted(pictures.rglob("*.png"))[::7]
    expected = np.stack([guess.probabilities for guess in classifier.predict(paths)])
    pixels = np.stack([classifier.pixels(path).numpy() for path in paths])
    for count in (1, 2, len(paths)):
        logits, probabilities, features = model.run(None, {"pixels": pixels[:count]})
        np.testing.assert_allclose(features, classifier.features(paths[:count]), atol=1e-5)
        np.testing.assert_allclose(probabilities, expected[:count], atol=1e-5)
        np.testing.assert_allclose(torch.tensor(logits).softmax(-1), probabilities, atol=1e-6)


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_exported_tower_replaces_pytorchs(
    exported: Export,
    openvino_models: dict[str, Export],
    run: Path,
    classifier: Classifier,
    pictures: Path,
    call: Call,
    runtime: str,
) -> None:
    paths = sorted(pictures.rglob("*.png"))[::7]
    fast = vlprompt.load_classifier(run, runtime=runtime)
    for mine, theirs in ((fast, classifier), (fast.zero_shot(), classifier.zero_shot())):
        expected = np.stack([guess.probabilities for guess in theirs.predict(paths)])
        np.testing.assert_allclose(
            np.stack([guess.probabilities for guess in mine.predict(paths)]), expected, atol=1e-5
        )
    np.testing.assert_allclose(fast.features(paths), classifier.features(paths), atol=1e-5)
    fast.add_classes(["white cloud"])
    assert len(fast.predict(paths[0])[0].probabilities) == 5
    with pytest.raises(VLPromptError, match="an exported tower is not evaluated; load the run with runtime torch"):
        fast.evaluate(pictures)
    answers = [call("predict", run, *paths, "--json", *options)[1] for options in ((), ("--runtime", runtime))]
    one, other = ([guess["label"] for guess in json.loads(answer)] for answer in answers)
    assert one == other


def test_openvino_files(
    openvino_models: dict[str, Export], exported: Export, run: Path, classifier: Classifier
) -> None:
    about = session(exported.file).get_modelmeta().custom_metadata_map
    whole = openvino_models["fp32"].size
    for precision, model in openvino_models.items():
        graph, weights = run / f"model-{precision}.xml", run / f"model-{precision}.bin"
        assert (model.file, model.format, model.precision) == (graph, "openvino", precision)
        assert model.size == graph.stat().st_size + weights.stat().st_size
        for word in (vlprompt.__file__, torch.__file__, str(run)):
            assert str(Path(word).parent).encode() not in graph.read_bytes()
        found = open_model("openvino", graph, ["logits"]).metadata
        assert {key: found[key] for key in about} == {**about, "precision": precision}
        config = json.loads(found["config"])
        assert config.get("NUM_STREAMS") == (1 if precision == "int8" else None)
        assert "config" in set(re.findall(r"`(\w+)`", PAGE.read_text()))
    sizes = {name: (run / f"model-{name}.bin").stat().st_size for name in openvino_models}
    assert sizes["bf16"] < 0.6 * sizes["fp32"] and sizes["int8"] < 0.5 * sizes["fp32"] < whole


def test_signals_are_handled_after_models_end_in_any_order(openvino_models: dict[str, Export]) -> None:
    code = """
import signal, sys
from pathlib import Path
from vlprompt.runtimes.exported_model import open_model
signal.signal(signal.SIGUSR1, lambda *_: print("handled"))
file = Path(sys.argv[1])
first, second = (open_model("openvino", file, ["logits"]) for _ in range(2))
del first
del second
signal.raise_signal(signal.SIGUSR1)
"""
    words = [sys.executable, "-c", code, str(openvino_models["fp32"].file)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr


def test_int8_of_openvino_does_not_depend_on_the_batch(
    openvino_models: dict[str, Export], run: Path, pictures: Path, classifier: Classifier
) -> None:
    pixels = np.stack([classifier.pixels(path).numpy() for path in sorted(pictures.rglob("*.png"))[::7]])
    model = open_model("openvino", openvino_models["int8"].file, ["image_features", "logits"])
    features, logits = model(pixels)
    for row in (0, 1):
        alone = model(pixels[row : row + 1])
        np.testing.assert_allclose(alone[0][0], features[row], atol=1e-5)
        np.testing.assert_allclose(alone[1][0], logits[row], atol=1e-3)
    exact = classifier.features(sorted(pictures.rglob("*.png"))[::7])
    assert 1e-5 < abs(features - exact).max() < 0.05, "weights or activations are quantized"


def test_fastest_model_is_suggested(
    run: Path, tmp_path: Path, instant: onnx.ModelProto, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, speeds, compare = tmp_path / "run", {"onnx fp32": 0.5, "onnx fp16": 3.0}, Reference.compare
    monkeypatch.setattr(Reference, "compare", lambda self, model, name: (compare(self, model, name)[0], speeds[name]))
    shutil.copytree(run, here, ignore=shutil.ignore_patterns("model-*"))

    def suggested() -> str:
        return call("export", here, "--overwrite")[1].splitlines()[-1]

    assert suggested() == f"fastest here: vlprompt serve {here}", "PyTorch is faster"
    (here / "model-int8.onnx").write_bytes(b"no graph")
    (here / "model-bf16.xml").write_text("<net/>")
    assert suggested() == f"fastest here: vlprompt serve {here}", "files that cannot be run are left out"
    (here / "model-fp16.onnx").write_bytes((here / "model-fp32.onnx").read_bytes())
    assert suggested() == f"fastest here: vlprompt serve {here} --runtime onnx --precision fp16"
    speeds["onnx fp32"] = 4.0
    assert suggested() == f"fastest here: vlprompt serve {here} --runtime onnx --precision fp32"


def test_statistics_are_not_sent(openvino_models: dict[str, Export]) -> None:
    assert os.environ["NNCF_CI"] == "1"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"runtime": "tvm"}, "`runtime` must be one of torch, onnx, openvino, got 'tvm'"),
        ({"precision": "int8"}, "`precision` int8 is of an exported model; add `runtime` onnx or openvino"),
        (
            {"runtime": "openvino", "precision": "fp16"},
            "`precision` must be one of fp32, bf16, int8 for openvino, got 'fp16'",
        ),
        ({"runtime": "onnx", "device": "mps"}, "`runtime` onnx runs on the CPU, got `device` mps"),
        (
            {"runtime": "onnx", "precision": "int8"},
            r"needs .*model-int8.onnx; export the run with `format` onnx and `precision` int8",
        ),
    ],
)
def test_runtimes_that_cannot_be_used(options: dict[str, str], message: str, run: Path) -> None:
    with pytest.raises(VLPromptError, match=message):
        vlprompt.load_classifier(run, **options)  # type: ignore[arg-type]


def test_exported_tower_of_other_prompts_is_refused(exported: Export, classifier: Classifier, tmp_path: Path) -> None:
    classifier.save(tmp_path / "other")
    with torch.no_grad():
        classifier.method.visual_context[0, 0] += 1
    classifier.save(tmp_path / "changed")
    with torch.no_grad():
        classifier.method.visual_context[0, 0] -= 1
    for name in ("other", "changed"):
        (tmp_path / name / exported.file.name).write_bytes(exported.file.read_bytes())
    backbone = classifier.method.backbone
    vlprompt.load_classifier(tmp_path / "other", runtime="onnx", backbone=backbone)
    with pytest.raises(
        VLPromptError, match=r"is of other prompts than .* now; export the run again with `format` onnx"
    ):
        vlprompt.load_classifier(tmp_path / "changed", runtime="onnx", backbone=backbone)
    (tmp_path / "other" / exported.file.name).write_bytes(b"no graph")
    with pytest.raises(VLPromptError, match="cannot be run"):
        vlprompt.load_classifier(tmp_path / "other", runtime="onnx", backbone=backbone)


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_documented_example_matches_vlprompt(
    name: str,
    tmp_path: Path,
    exported: Export,
    openvino_models: dict[str, Export],
    classifier: Classifier,
    odd: list[Path],
) -> None:
    (tmp_path / "predict.py").write_text(documented(name))
    file = exported.file if name == "onnx" else openvino_models["fp32"].file
    check = "import runpy, sys; runpy.run_path(sys.argv[0], run_name='__main__')"
    code = f"import sys; sys.argv[:] = sys.argv[1:]; {check}; assert not {{'torch', 'vlprompt'}} & set(sys.modules)"
    words = [sys.executable, "-c", code, tmp_path / "predict.py", file, *odd]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    answers = [line.split("\t") for line in done.stdout.splitlines()]
    guesses = classifier.predict(odd)
    assert [(path, label) for path, label, _ in answers] == [
        (str(path), guess.label) for path, guess in zip(odd, guesses, strict=True)
    ]
    np.testing.assert_allclose([float(value) for *_, value in answers], [g.probability for g in guesses], atol=1e-5)


@pytest.mark.parametrize("squash", [False, True])
def test_documented_preprocessing_matches_vlprompt(
    example: Path,
    exported: Export,
    classifier: Classifier,
    odd: list[Path],
    squash: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["predict.py", str(exported.file)])
    program: dict[str, Any] = {}
    exec(compile(example.read_text(), example, "exec"), program)
    transform = replace(classifier.method.backbone.eval_transform, squash=squash, size=24, interpolation="bilinear")
    monkeypatch.setattr(classifier.method.backbone, "eval_transform", transform)
    program["rules"] = json.loads(exporting.metadata(classifier, "fp32")["preprocessing"])
    for path in odd:
        np.testing.assert_array_equal(program["pixels"](path), transform(read_image(path)).numpy(), err_msg=str(path))


def test_fp16_halves_the_size(run: Path, tmp_path: Path, exported: Export) -> None:
    half = export_run(run, tmp_path / "half.onnx", precision="fp16")
    assert half.size < 0.7 * exported.size
    assert half.agreement.same_label == half.agreement.images > 10
    assert exported.agreement.logit < 1e-4 < half.agreement.logit < 0.1
    model = session(half.file)
    assert {value.type for value in (*model.get_inputs(), *model.get_outputs())} == {"tensor(float)"}
    kinds = {weight.data_type for weight in onnx.load(half.file).graph.initializer if len(weight.dims) > 1}
    assert onnx.TensorProto.FLOAT16 in kinds


def test_int8_on_the_command_line(
    run: Path,
    tmp_path: Path,
    call: Call,
    instant: onnx.ModelProto,
    exported: Export,
    pictures: Path,
    odd: list[Path],
) -> None:
    file = tmp_path / "small.onnx"
    words = ("export", run, "--precision", "int8", "--out", file, "--images", odd[0], "--images", pictures / "night")
    code, out, _ = call(*words, "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["file"], found["size"], found["precision"]) == (str(file), file.stat().st_size, "int8")
    assert found["size"] < 0.5 * exported.size
    assert found["agreement"]["images"] == 13
    assert 0 < found["agreement"]["probability"] < 0.1
    model = onnx.load(file)
    kinds = {node.op_type for node in model.graph.node}
    assert "MatMulInteger" in kinds and "Conv" in kinds and "ConvInteger" not in kinds
    assert {entry.key for entry in model.metadata_props} >= {"class_names", "preprocessing"}
    assert next(entry.value for entry in model.metadata_props if entry.key == "precision") == "int8"


def test_export_command_prints_the_agreement(
    run: Path, tmp_path: Path, call: Call, instant: onnx.ModelProto, pictures: Path
) -> None:
    file = tmp_path / "model.onnx"
    code, out, _ = call("export", run, "--out", file)
    assert code == 0
    assert "fastest" not in out, "commands do not find the file there"
    first = f"{file}: {file.stat().st_size / 1e6:.1f} MB, fp32, "
    assert re.fullmatch(rf"{re.escape(first)}\d+\.\d times PyTorch's speed here", out.splitlines()[0])
    test = len(vlprompt.load_dataset(pictures).test)
    assert f"PyTorch on {test} of {test} images ({pictures.name})" in out
    before = file.read_bytes()
    code, out, err = call("export", run, "--out", file)
    assert (code, out) == (2, "")
    assert f"{file} exists; pass" in err
    assert call("export", run, "--out", file, "--overwrite", "--quiet") == (0, "", "")
    assert file.read_bytes() == before


def test_differing_graph_is_not_written(run: Path, tmp_path: Path, call: Call, instant: onnx.ModelProto) -> None:
    (last,) = (node for node in instant.graph.node if "logits" in node.output)
    wrong = onnx.helper.make_tensor("wrong", onnx.TensorProto.FLOAT, [4], [0.0, 0.0, 0.0, 50.0])
    instant.graph.initializer.append(wrong)
    last.output[0] = "almost"
    place = list(instant.graph.node).index(last)
    instant.graph.node.insert(place + 1, onnx.helper.make_node("Add", ["almost", "wrong"], ["logits"]))
    code, out, err = call("export", run, "--out", tmp_path / "model.onnx")
    assert (code, out) == (2, "")
    assert "error: the exported model does not reproduce the tuned one, so it was not written: top-1 agrees" in err
    assert not list(tmp_path.iterdir())
    code, _, err = call("export", run, "--out", tmp_path / "model.onnx", "--precision", "int8")
    assert code == 2
    assert "with --precision int8 fewer than 95% of the images have the same class, so the model was not written" in err
    assert not list(tmp_path.iterdir())

    wrong.float_data[:] = [float("nan")] * 4
    del instant.graph.initializer[-1]
    instant.graph.initializer.append(wrong)
    words = ("export", run, "--out", tmp_path / "broken.onnx", "--quiet")
    assert "was not written: top-1 agrees" in call(*words)[2]
    code, out, err = call(*words, "--precision", "fp16")
    assert (code, out) == (2, "") and "fp16 the model's predictions are not finite; use fp32\n" in err
    instant.graph.node[place].op_type = "Unknown"
    code, _, err = call(*words)
    assert code == 2
    assert "broken.onnx" in err and "cannot be run by onnxruntime" in err
    assert not (tmp_path / "broken.onnx").exists()


def test_agreement_is_measured_on_the_written_file(
    run: Path, tmp_path: Path, call: Call, instant: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda number: os.truncate(number, 1000))  # simulates a disk that loses data
    code, _, err = call("export", run, "--out", tmp_path / "model.onnx")
    assert code == 2 and "cannot be run by onnxruntime" in err
    assert not list(tmp_path.iterdir())


def test_agreement_falls_back_to_other_images(
    classifier: Classifier, tmp_path: Path, instant: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch, odd: list[Path]
) -> None:
    saved = tmp_path / "saved"
    classifier.save(saved)
    monkeypatch.chdir(tmp_path)
    words: dict[str, Any] = {"out": tmp_path / "model.onnx"}
    source = str(json.loads((saved / "run.json").read_text())["config"]["data"]["source"])

    def load(name: str) -> vlprompt.Dataset:
        raise VLPromptError("no pictures extra")

    monkeypatch.setattr("vlprompt.export.agreement.load_dataset", load)
    with pytest.raises(
        VLPromptError, match=r"compare the exported model on \(no pictures extra\); pass some as `images`$"
    ):
        export_run(saved, **words)
    given = export_run(saved, images=[str(odd[0].parent)], **words)
    assert (given.agreement.images, given.agreement.of) == (len(odd), "the given ones")
    dataset = replace(vlprompt.load_dataset(pictures_of(odd, tmp_path)), name="icons")
    (tmp_path / "icons").rename(tmp_path / source)  # different images under the original name
    dataset = replace(dataset, root=tmp_path / source)
    monkeypatch.setattr("vlprompt.export.agreement.load_dataset", lambda name: dataset)
    assert export_run(saved, overwrite=True, **words).agreement.of == "icons"
    with pytest.raises(VLPromptError, match=r"cannot read image .*run.json"):
        export_run(saved, images=[str(saved / "run.json")], overwrite=True, **words)


def pictures_of(files: list[Path], folder: Path) -> Path:
    """Write one folder per class with the given files."""
    for name in ("one", "two"):
        (folder / "icons" / name).mkdir(parents=True)
        for file in files:
            (folder / "icons" / name / file.name).write_bytes(file.read_bytes() + name.encode())
    return folder / "icons"


def test_wrong_arguments(
    run: Path, tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch, instant: onnx.ModelProto
) -> None:
    def error(*words: object) -> str:
        code, out, err = call("export", *words, "--quiet")
        assert (code, out) == (2, "")
        assert len(err.splitlines()) == 1
        return err.removeprefix("error: ").rstrip()

    file = tmp_path / "model.onnx"
    assert error(run, "--format", "torchscript") == "--format must be onnx or openvino, got 'torchscript'"
    assert "must be fp32, fp16, bf16 or int8, got 'int4'" in error(run, "--precision", "int4")
    assert "is not a run" in error(tmp_path)
    (tmp_path / "file").touch()
    assert "cannot be written" in error(run, "--out", tmp_path / "file" / "model.onnx")

    values = sum(value.numel() for value in vlprompt.load_classifier(run).method.backbone.model.visual.parameters())
    monkeypatch.setattr(exporting, "LIMIT", 3 * values)
    assert error(run, "--out", file).endswith("an .onnx file is limited to 2 GB; use --format onnx in fp16")
    monkeypatch.setattr(exporting, "LIMIT", values)
    assert error(run, "--out", file, "--precision", "fp16").endswith("it does not fit in any precision")
    monkeypatch.undo()

    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert error(run, "--out", file) == 'onnx needs onnxscript: pip install "vlprompt[export]"'
    assert not file.exists()
    monkeypatch.setitem(sys.modules, "openvino", None)
    words = (run, "--format", "openvino", "--out", tmp_path / "model.xml")
    assert error(*words) == 'openvino needs openvino: pip install "vlprompt[openvino]"'
    monkeypatch.undo()
    assert "must end in .xml with --format openvino" in error(*words[:3], "--out", file)
    assert "must be one of fp32, fp16, int8 for onnx, got 'bf16'" in error(run, "--precision", "bf16")
    (tmp_path / "model.bin").touch()
    assert f"{tmp_path / 'model.bin'} exists" in error(*words)
