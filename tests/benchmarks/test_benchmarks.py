import re
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from benchmarks import __main__ as command
from benchmarks import gpu, growth, markdown, reading, serving, steps

from tests.helpers.forks import LIBRARIES


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
    fitted = growth.Growth(steps.CASES[0], [], plain).fitted(1000)
    assert (fitted.seconds, fitted.mb) == pytest.approx((102, 3050))


def test_the_page_holds_the_tables_between_its_markers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "performance.md"
    page.write_text(f"# Speed\n\n{markdown.BEGIN}\nan older table\n{markdown.END}\n\nafterwards\n")
    monkeypatch.setattr(markdown, "PAGE", page)
    # Processes of their own, but forks of one that has imported the libraries: five imports take most of a minute.
    forks = get_context("forkserver")
    forks.set_forkserver_preload(LIBRARIES)
    for module in (growth, serving):
        monkeypatch.setattr(module, "get_context", lambda method: forks)
    command.main("--quick --write --methods coop mudpt --classes 4 --repeats 1 --threads 1 --seconds 0.3".split())
    text = page.read_text()
    assert (
        "an older table" not in text
        and text.startswith("# Speed\n")
        and text.endswith(f"{markdown.END}\n\nafterwards\n")
    )
    assert "bf16 s | ratio | gradients apart |" in text
    assert "| `coop` | 16 | 4 |" in text and "| `mudpt` | 4 + 4 | 4 |" in text
    assert "| 8 |" in text and "fitted" in text
    out = capsys.readouterr().out
    assert "image tower alone" in out
    assert "| one by one | 1 |" in text and "| up to 16 | 32 |" in text
    taken, arrived = re.findall(r"stopped under load: (\d+) requests accepted, (\d+) answered", out)[0]
    assert int(taken) == int(arrived) > 20


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
