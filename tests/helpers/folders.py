"""Check the folder of a run, and extract the content that must be reproducible."""

import json
from pathlib import Path
from typing import Any

import polars
from safetensors.torch import load

from vlprompt.data.readers.split_file import verify_split
from vlprompt.experiments.run import FILES
from vlprompt.runs.record import RunRecord, read_record
from vlprompt.runs.state import read_progress
from vlprompt.utils.files import leftovers

# Entries that depend on the clock and the machine, and baselines, which the command line measures and the library not.
TIMES = {"timings", "peak_memory_mb", "started", "ended", "baselines"}
TIMES_OF_EPOCHS = {"seconds", "images_per_second"}


def check(folder: Path, images: Path) -> RunRecord | None:
    """Return the record of a run, if there is one; fail if any file is unreadable or unexpected."""
    if not folder.exists():
        return None
    names = {path.name for path in set(folder.iterdir()) - leftovers(folder, FILES)}
    assert names <= set(FILES)
    for name in names:
        if name.endswith(".safetensors"):
            assert load((folder / name).read_bytes())
    if "state.safetensors" in names:
        assert "prompts.safetensors" in names
        assert [epoch.epoch for epoch in read_progress(folder)[0]]
    if "split.jsonl" in names:
        assert verify_split(folder / "split.jsonl", images) == {}
    if "predictions.parquet" in names:
        assert len(polars.read_parquet(folder / "predictions.parquet"))
    if "run.json" not in names:
        assert not names
        return None
    record = read_record(folder)
    if record.status == "finished":
        assert {"prompts.safetensors", "predictions.parquet"} <= names
    return record


def content(folder: Path) -> dict[str, Any]:
    """Return the content of a finished run that must not depend on interruptions; fail on other files."""
    found: dict[str, Any] = {path.name: path.read_bytes() for path in folder.iterdir()}
    record = json.loads(found["run.json"])
    record["history"] = [_without(epoch, TIMES_OF_EPOCHS) for epoch in record["history"]]
    found["run.json"] = _without(record, TIMES)
    found["predictions.parquet"] = polars.read_parquet(found["predictions.parquet"]).to_dicts()
    return found


def _without(values: dict[str, Any], keys: set[str]) -> dict[str, Any]:
    assert keys <= values.keys()
    return {key: value for key, value in values.items() if key not in keys}
