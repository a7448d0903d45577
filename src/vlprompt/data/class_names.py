"""The words that stand for classes in prompts."""

import csv
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from vlprompt.errors import VLPromptError

logger = logging.getLogger("vlprompt")


def as_words(names: Iterable[str]) -> tuple[str, ...]:
    """Class names as words, underscores replaced by spaces; VLPromptError where one is no text, empty or a twin."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise VLPromptError(f"class_names is {names!r}; give a list of names")
    given = tuple(names)
    if strange := [name for name in given if not isinstance(name, str)]:
        raise VLPromptError(f"class_names holds {strange[0]!r}, which is no text; give each class a name")
    words = tuple(name.replace("_", " ").strip() for name in given)
    if not words or not all(words):
        raise VLPromptError("class_names is empty or holds an empty name; give each class a name")
    twice = next((word for word, count in Counter(words).items() if count > 1), None)
    if twice is not None:
        raise VLPromptError(f"class_names holds {twice!r} twice; give each class a name of its own")
    return words


def words_for(classes: Sequence[str], names: Mapping[str, str] | Path | None) -> tuple[str, ...]:
    """The words for each class: looked up in `names`, a mapping or its file, else underscores become spaces.

    A mapping may hold more classes than there are. Raises VLPromptError if it lacks one.
    """
    if names is None:
        words = tuple(" ".join(name.replace("_", " ").split()) for name in classes)
    else:
        mapping = read_class_names(names) if isinstance(names, str | Path) else names
        missing = [name for name in classes if not str(mapping.get(name, "")).strip()]
        if missing:
            raise VLPromptError(f"--class-names has no words for {_listed(missing)}; add a line for each")
        words = tuple(str(mapping[name]).strip() for name in classes)
    twins = sorted({word for word in words if words.count(word) > 1})
    if twins:
        logger.warning("several classes are called %s; prompts cannot tell them apart", _listed(twins))
    return words


def read_class_names(path: str | Path) -> dict[str, str]:
    """A file that maps class folders to words, by its suffix.

    `.json` and `.yaml`: a mapping. `.csv`: two columns, folder and words; a header line does no harm.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise VLPromptError(f"--class-names {path} cannot be read: {reason}") from error
    match path.suffix.lower():
        case ".json":
            content = _parsed(path, text, json.loads)
        case ".yaml" | ".yml":
            content = _parsed(path, text, yaml.safe_load)
        case ".csv":
            parsed = _parsed(path, text, lambda text: list(csv.reader(text.splitlines())))
            rows = [row for row in parsed if any(cell.strip() for cell in row)]
            wrong = next((row for row in rows if len(row) != 2), None)
            if wrong is not None:
                raise VLPromptError(
                    f"--class-names {path} needs two columns, folder and words; got {','.join(wrong)!r}"
                )
            content = {folder.strip(): words for folder, words in rows}
        case suffix:
            raise VLPromptError(f"--class-names takes a .json, .yaml or .csv file, not {suffix or path.name!r}")
    if not isinstance(content, dict) or not all(map(is_word, content.values())):
        raise VLPromptError(f"--class-names {path} must map class folders to words, one to one")
    return {str(folder): str(words) for folder, words in content.items()}


def is_word(value: object) -> bool:
    """Whether a value of a JSON or YAML file can be a class's name: one value, and if it is text, then of Unicode."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode() == value
    return not isinstance(value, list | dict | set | tuple | bytes | None)


def _parsed(path: Path, text: str, parse: Callable[[str], Any]) -> Any:
    try:
        return parse(text)
    except (ValueError, RecursionError, csv.Error, yaml.YAMLError) as error:
        raise VLPromptError(f"--class-names {path} is broken: {' '.join(str(error).split())}") from error


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
