import math
import platform
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks import __main__ as command
from benchmarks import encoding, gpu, growth, inference, markdown, reading, runs, steps


@pytest.fixture(autouse=True)
def own_threads() -> Iterator[None]:
    """Restore the number of threads that benchmarks change."""
    yield
    torch.set_num_threads(1)
    torch.backends.mha.set_fastpath_enabled(True)


@pytest.mark.parametrize("case", steps.CASES, ids=lambda case: case.method)
def test_both_sides_of_every_method_compute_the_same(case: steps.Case) -> None:
    step = steps.Step(case, steps.backbone_of(quick=True), 5)
    ours, plain = step.run(step.images), step.run(step.images, plain=True)
    steps.check(case, ours, plain)
    assert any(gradient.abs().max() > 0 for gradient in ours[1])
    with pytest.raises(RuntimeError, match=case.method):
        steps.check(case, (ours[0] + 0.1, ours[1]), plain)
    with pytest.raises(RuntimeError, match="gradients"):
        steps.check(case, (ours[0], [1.1 * gradient for gradient in ours[1]]), plain)


@pytest.mark.parametrize("case", steps.CASES, ids=lambda case: case.method)
def test_bf16_rounds_and_computes_the_same(case: steps.Case) -> None:
    sides = steps.backbone_of(quick=True), steps.backbone_of(True, "bf16")
    row = steps.compare_precisions(case, *sides, classes=5, repeats=1)
    assert 0 < row.apart < 0.15


def test_class_names_are_unique() -> None:
    names = steps.class_names(10_000)
    assert len(set(names)) == 10_000
    assert names[:1000] == steps.class_names(1000)
    assert names[1000] == f"other {names[0]} 2" and names[-1] == f"other {names[999]} 10"


def test_the_plain_path_is_extrapolated_linearly() -> None:
    plain = [growth.Point(count, 2 + 0.1 * count, 50 + 3.0 * count) for count in (25, 50, 100)]
    found = growth.Growth(steps.CASES[0], growth.CLASSES, growth.Work(), [], plain).fitted(1000)
    assert (found.seconds, found.mb) == pytest.approx((102, 3050))


def test_cost_of_images_is_linear_in_their_area() -> None:
    points = [growth.Point(side, 0.5 * (side / 100) ** 2, 40 * (side / 100) ** 2) for side in (224, 336)]
    assert growth.SIDE.trend(points) == "0.5 s and 40 MB per 100 x 100 px, seconds as px^2.00"
    found = growth.Growth(steps.CASES[0], growth.SIDE, growth.Work(), [], points).fitted(400)
    assert (found.seconds, found.mb) == pytest.approx((8, 640))


def test_a_step_is_measured_in_a_process_of_its_own() -> None:
    case, work = steps.CASES[0], growth.Work(4)
    options = {"plain": True, "quick": True, "threads": 1}
    (point,) = growth.in_process(growth.points, case, growth.SIDE, [48], work, **options)
    assert point.size == 48 and point.seconds > 0 and point.mb > 0


def test_the_page_holds_the_tables_between_its_markers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], popen: Any
) -> None:
    page = tmp_path / "performance.md"
    blocks = [f"{markdown.BEGIN.format(part)}\nold {part}\n{markdown.END.format(part)}" for part in command.CPU_PARTS]
    page.write_text("\n\n".join(["# Speed", *blocks, "afterwards\n"]))
    monkeypatch.setattr(markdown, "PAGE", page)
    for module in (growth, runs):  # a dozen processes would take half a minute
        monkeypatch.setattr(
            module, "in_process", lambda function, *arguments, **options: function(*arguments, **options)
        )
    monkeypatch.setenv("VLPROMPT_CACHE", str(tmp_path))  # to restore what the runs set
    monkeypatch.setattr(platform, "processor", lambda: "")  # which would start a process that is not Python
    monkeypatch.setattr(subprocess, "Popen", popen)
    monkeypatch.setattr(inference, "MODELS", [("torch", "fp32"), ("openvino", "int8")])
    command.main("--quick --write --methods coop dapt --classes 4 --repeats 1 --threads 1 --seconds 0.3".split())
    text = page.read_text()
    assert (
        not re.search(r"\bold\b", text)
        and text.startswith("# Speed\n")
        and text.endswith(f"{markdown.END.format('inference')}\n\nafterwards\n")
    )
    assert re.search(r"\| torch fp32 \| – \| [\d.]+ \| [\d.]+x \| \d+ \| \d+ \|\n\| openvino int8 \| ", text)
    rows = re.findall(r"\| ([\w ]+) \| \d+ \| [\d.]+x \| (?:\d+|–) \|", text)
    assert rows == ["PyTorch fp32", "OpenVINO bf16", "OpenVINO int8"]
    assert "bf16 s | ratio | gradients apart |" in text
    assert "| `coop` | 16 | 4 |" in text and "| `dapt` | 16 + 4 | 4 |" in text
    assert re.search(r"\| 8 \| -?[\d.]+ fitted \|", text)
    assert "`dapt`, 4 classes, batch 4; the plain path measured at px 32, 48, 64\n" in text
    assert "`dapt`, 4 classes; the plain path measured at batch 1, 2, 4, 8\n" in text
    assert len(re.findall(r"^Ours: \S+ s and \S+ MB per .*\.\nPlain: .*\.$", text, re.MULTILINE)) == 4
    for method in runs.METHODS:
        shown = re.findall(rf"\| `{method}` \| (\d+) \| (\d+) \| (\d+) \| [\d.]+ \|", text)
        assert shown == [("1", "1", "3"), ("2", "1", "6"), ("2", "2", "12")]
    assert "A grid of 4 runs of `dapt` with 2 shots." in text
    assert re.search(r"\| 1 \| [\d.]+ \| 1.00x \| \d+ \|\n\| 2 \| [\d.]+ \| [\d.]+x \| \d+ \|", text)
    out = capsys.readouterr().out
    assert "image tower alone" in out
    assert "| one by one | 1 |" in text and "| up to 16 | 32 |" in text
    taken, arrived = re.findall(r"stopped under load: (\d+) requests accepted, (\d+) answered", out)[0]
    assert int(taken) == int(arrived) > 20


def test_views_from_which_a_conversion_pays() -> None:
    assert encoding.Encoding("int8", view=0.05, ratio=5, conversion=20).break_even == pytest.approx(100)
    assert encoding.Encoding("bf16", view=0.05, ratio=0.9, conversion=20).break_even == math.inf


def test_small_photographs_look_like_whole_ones() -> None:
    found = reading.measure(64, width=2000, height=1500, repeats=1)
    assert found.apart < 1
    assert found.later_epochs > found.several_views > 1


def test_gpu_part_runs_without_one(tmp_path: Path) -> None:
    command.main(["gpu", "--quick", "--out", str(tmp_path)])
    text = (tmp_path / "gpu.md").read_text()
    assert text.startswith("CPU (a check that it runs)") and "of the time waiting for images" in text
    assert re.findall(r"\| `(\w+)` \| 5 \| fp32 \| [\d.]+ \| – \| [\d.]+ \| [\d.]+x \|", text) == ["coop", "dapt"]


def test_gpu_part_names_what_its_time_did_not_reach() -> None:
    assert "Not measured in -1 s: coop (5, fp32), dapt (5, fp32)." in gpu.run_all(quick=True, seconds=-1)
