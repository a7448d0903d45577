"""Records from strangers: whatever one of them holds, it is shown or named, and the others are shown."""

import copy
import io
import json
import math
import shutil
import zipfile
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import polars
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.helpers.records import write_run
from vlprompt.errors import VLPromptError
from vlprompt.results import formats
from vlprompt.results.collect import find_runs
from vlprompt.results.comparisons import compare
from vlprompt.results.quantities import with_sound_predictions
from vlprompt.results.rendering import write_plots
from vlprompt.results.report import make_report
from vlprompt.results.summary import print_record
from vlprompt.results.tables import make_tables
from vlprompt.runs.archive import find_records
from vlprompt.runs.record import read_record

pytestmark = pytest.mark.usefixtures("without_photos")  # a damaged record may lack its backbone

GOOD = {"good/zero", "good/coop"}


@pytest.fixture
def runs(tmp_path: Path, without_photos: None) -> Path:
    """Two good runs, and a third one of another method."""
    write_run(tmp_path / "good/zero", method="zero-shot", test=8, seed=1)
    write_run(tmp_path / "good/coop", method="coop", test=12, seed=1)
    write_run(tmp_path / "bad", method="dapt", test=15, seed=1)
    return tmp_path


def shown(root: Path) -> tuple[set[str], list[str]]:
    """Return the runs that tables, comparisons and the report are made of, and what is left out."""
    found, left_out = find_runs([root])
    found, unsound = with_sound_predictions(found)
    for intervals in (False, True):
        tables = make_tables(found, intervals=intervals)
        formats.tables_to_csv(tables)
    methods = list(dict.fromkeys(run.method for run in found))
    if len(methods) > 1:
        formats.comparisons_to_csv(compare(found, ["zero-shot", *(name for name in methods if name != "zero-shot")]))
    return {Path(str(run.folder)).relative_to(root).as_posix() for run in found}, left_out + unsound


def put(record: dict[str, Any], place: str, value: object) -> None:
    *sections, last = place.split("/")
    for section in sections:
        record = record[section]
    record[last] = value


STRANGE: dict[str, tuple[str, object]] = {
    "enormous count": ("trainable_parameters", 10**400),
    "large count": ("trainable_parameters", 10**30),
    "negative count": ("trainable_parameters", -5),
    "long time": ("timings/train", 1e308),
    "infinite time": ("timings/train", math.inf),
    "time is no number": ("timings/train", math.nan),
    "negative time": ("timings/train", -1.0),
    "shots": ("config/data/shots", 10**400),
    "epochs": ("config/optim/epochs", 10**300),
    "seed": ("config/seed", -1),
    "option": ("config/method/n_text", 10**400),
    "infinite option": ("config/method/beta_text", math.inf),
    "accuracy above 100": ("metrics/test/accuracy", 140.0),
    "negative accuracy": ("metrics/test/accuracy", -3),
    "accuracy is no number": ("metrics/test/accuracy", math.nan),
    "accuracy is text": ("metrics/test/accuracy", "90"),
    "class accuracy": ("metrics/test/class_accuracy/a", 1e9),
    "another accuracy than predictions have": ("metrics/test/accuracy", 90.0),
    "another number of images": ("metrics/test/images", 19),
    "images is an enormous number": ("metrics/test/images", 10**400),
    "test without predictions": ("metrics/ghost", {"accuracy": 10.0, "images": 4}),
    "test without metrics": ("tests/ghost", {"dataset": "x", "hash": "y", "classes": 2, "images": 3}),
    "metrics are a list": ("metrics/test", [1, 2]),
    "metrics are a number": ("metrics/test", 50.0),
    "infinite memory": ("peak_memory_mb", math.inf),
    "history": ("history", [dict.fromkeys(("epoch", "lr", "accuracy", "seconds", "images_per_second"), 1e300)]),
    "huge text": ("backbone/name", "x" * 10**6),
    "huge class name": ("class_names", ["a", "b" * 10**6]),
    "wrong shape": ("class_names", {"a": 1}),
    "deep": ("overrides", json.loads("[" * 400 + "]" * 400)),
}  # fmt: skip


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("kind", STRANGE)
def test_strange_record_is_named_and_the_others_are_shown(kind: str, zipped: bool, runs: Path, tmp_path: Path) -> None:
    record = json.loads((runs / "bad/run.json").read_text())
    put(record, *STRANGE[kind])
    (runs / "bad/run.json").write_text(json.dumps(record))
    if zipped:
        with zipfile.ZipFile(runs / "bad.zip", "w") as archive:
            for file in sorted((runs / "bad").iterdir()):
                archive.write(file, f"bad/{file.name}")
        shutil.rmtree(runs / "bad")
    found, left_out = shown(runs)
    assert found == GOOD
    assert len(left_out) == 1 and "bad" in left_out[0] and "\n" not in left_out[0] and len(left_out[0]) < 400


def write_table(path: Path, /, **columns: object) -> None:
    table = polars.read_parquet(path)
    polars.DataFrame({**table.to_dict(as_series=False), **columns}).write_parquet(path)


PREDICTIONS: dict[str, Callable[[Path], object]] = {
    "damaged": lambda path: path.write_bytes(b"PAR1 or not"),
    "empty": lambda path: polars.read_parquet(path).head(0).write_parquet(path),
    "shorter": lambda path: polars.read_parquet(path).head(7).write_parquet(path),
    "longer": lambda path: polars.concat([polars.read_parquet(path)] * 2).write_parquet(path),
    "of other images": lambda path: write_table(path, path=[f"x{index}" for index in range(20)]),
    "of other labels": lambda path: write_table(path, label=[7] * 15 + [1] * 5, prediction=[7] * 15 + [0] * 5),
    "of another test": lambda path: write_table(path, test=["ghost"] * 20),
    "labels are text": lambda path: write_table(path, label=["a"] * 20),
    "empty cells": lambda path: write_table(path, label=[None] * 20),
    "without labels": lambda path: polars.read_parquet(path).drop("label").write_parquet(path),
}


@pytest.mark.parametrize("kind", PREDICTIONS)
def test_strange_predictions_are_named_and_the_others_are_shown(kind: str, runs: Path) -> None:
    PREDICTIONS[kind](runs / "bad/predictions.parquet")
    found, left_out = shown(runs)
    assert found == GOOD
    assert len(left_out) == 1 and "bad" in left_out[0] and "\n" not in left_out[0]


numbers = st.sampled_from([10**400, -1, 0, 1e308, math.inf, -math.inf, math.nan, 2**63, 1e-320, 10**18]) | st.integers()
texts = st.text(max_size=9) | st.sampled_from(["x" * 20_000, "\x1b[2J", "", "</script>"])
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)


@st.composite
def edits(draw: st.DrawFn, record: Any) -> Any:
    """Replace, remove or add values anywhere in a record."""
    record = copy.deepcopy(record)
    for _ in range(draw(st.integers(1, 3))):
        place = record
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(place[key], dict | list) and draw(st.booleans()):
                place = place[key]
                continue
            if draw(st.booleans()) or isinstance(place, list):
                place[key] = draw(values)
            else:
                place[draw(st.sampled_from(keys) | st.text(max_size=6))] = draw(values)
            break
    return record


def fuzz(examples: int) -> Any:
    return settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


@fuzz(60)
@given(data=st.data())
def test_any_record_in_tables_and_comparisons(data: st.DataObject, runs: Path) -> None:
    original = runs / "original.json"
    if not original.exists():
        shutil.copy(runs / "bad/run.json", original)
    record = data.draw(edits(json.loads(original.read_text())))
    (runs / "bad/run.json").write_text(json.dumps(record))
    found, left_out = shown(runs)
    assert found >= GOOD
    assert found - GOOD or left_out or record["result_hash"] != json.loads(original.read_text())["result_hash"]
    try:
        read = read_record(runs / "bad")
    except VLPromptError as error:
        assert "\n" not in str(error)
        return
    with redirect_stdout(io.StringIO()):
        print_record(read, runs / "bad")
    assert len(find_records(runs)[0]) == 3


@fuzz(6)
@given(data=st.data())
def test_any_record_in_the_report_and_in_plots(data: st.DataObject, runs: Path) -> None:
    original = runs / "original.json"
    if not original.exists():
        shutil.copy(runs / "bad/run.json", original)
    (runs / "bad/run.json").write_text(json.dumps(data.draw(edits(json.loads(original.read_text())))))
    found, _ = with_sound_predictions(find_runs([runs])[0])
    assert "zero-shot" in make_report(found)
    assert all(path.stat().st_size for path, _ in write_plots(found, runs / "plots", "svg"))
