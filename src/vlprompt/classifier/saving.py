"""The run folder that a saved classifier is: its record without this machine's paths, and its prompts."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vlprompt.errors import VLPromptError
from vlprompt.methods.base import Method
from vlprompt.runs.record import RunRecord, read_record
from vlprompt.runs.state import PROMPTS, prompts_file
from vlprompt.utils.files import is_free, leftovers, remove_leftovers, unfinished

FILES = ("run.json", PROMPTS)


def check_free(folder: Path) -> None:
    """Raise VLPromptError if the folder holds anything but a saved classifier."""
    saved = (folder / "run.json").exists() and read_record(folder).status == "saved"
    if not saved and not is_free(folder, but=leftovers(folder, FILES)):
        raise VLPromptError(f"{folder} holds something other than a saved classifier; choose another folder")


def portable_record(record: RunRecord, class_names: Sequence[str]) -> RunRecord:
    """Return the record of a classifier with these classes, without the paths of this machine's images."""
    now, config = list(class_names), record.config
    source = config.data.source
    named = source if source.startswith("hf:") else Path(source).name
    data = {"source": named, "root": None, "name_map": None, "targets": ()}
    changes = {
        "status": "saved",
        "config": config.model_copy(update={"data": config.data.model_copy(update=data)}),
        "classes_now": None if now == record.class_names else now,
        "split": record.split.model_copy(update={"skipped": []}),
        "prompts_from": None,
    }
    return record.model_copy(update=changes)


def public_record(record: RunRecord, class_names: Sequence[str]) -> RunRecord:
    """Return the portable record with only the file name of a weights file."""
    record = portable_record(record, class_names)
    config, source = record.config, record.config.backbone.source
    architecture, _, file = source.partition("/")
    if Path(source).expanduser().exists() or source.startswith("local-dir:"):
        source = Path(source).name
    elif Path(file).is_absolute():  # ARCHITECTURE/FILE
        source = f"{architecture}/{Path(file).name}"
    backbone = config.backbone.model_copy(update={"source": source})
    record.config = config.model_copy(update={"backbone": backbone})
    return record


def write_classifier(folder: Path, record: RunRecord, method: Method[Any]) -> None:
    """Write record and prompts, in place of those of a classifier that was saved there before.

    Raises:
        VLPromptError: the folder holds anything else, or cannot be written.
    """
    check_free(folder)
    prompts = prompts_file(method)
    # Both files are complete before either gets its name, so that a full disk leaves the old ones in place. The hash
    # lets a record recognize its prompts if the process is killed between the two renames.
    with unfinished(folder / PROMPTS, prompts):
        record.model_copy(update={"prompts_hash": hashlib.sha256(prompts).hexdigest()}).write(folder)
    remove_leftovers(folder, FILES)
