"""What a run's folder holds: whether all of it can be read, and what of it has to be the same in another's."""

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

# What depends on the clock and on the machine.
TIMES = {"timings", "peak_memory_mb", "started", "ended"}
TIMES_OF_EPOCHS = {"seconds", "images_per_second"}


def check(folder: Path, images: Path) -> RunRecord | None:
    """Its record, if there is one. Fails where anything in it cannot be read, or does not belong there."""
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
    """What of a finished run must not depend on its interruptions, and that nothing else is there."""
    found: dict[str, Any] = {path.name: path.read_bytes() for path in folder.iterdir()}
    record = json.loads(found["run.json"])
    record["history"] = [_without(epoch, TIMES_OF_EPOCHS) for epoch in record["history"]]
    found["run.json"] = _without(record, TIMES)
    found["predictions.parquet"] = polars.read_parquet(found["predictions.parquet"]).to_dicts()
    return found


def _without(values: dict[str, Any], keys: set[str]) -> dict[str, Any]:
    assert keys <= values.keys()
    return {key: value for key, value in values.items() if key not in keys}
