"""docs/api.md lists the public names, and its examples run as written, in order."""

import doctest
import inspect
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import vlprompt

PAGE = Path(__file__).parents[2] / "docs" / "api.md"
SECTIONS = re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)[1:]
LISTED = r"^::: ([\w.]+)$"
PYTHON = r"```python\n(.*?)```"


def test_page_lists_the_public_names() -> None:
    listed = re.findall(LISTED, PAGE.read_text(), re.MULTILINE)
    assert sorted(path.rpartition(".")[2] for path in listed) == sorted(vlprompt.__all__)
    for path in listed:
        module, _, name = path.rpartition(".")
        assert getattr(vlprompt, name) is getattr(inspect.importlib.import_module(module), name)  # type: ignore[attr-defined]


@pytest.mark.parametrize("section", SECTIONS, ids=[section.splitlines()[0] for section in SECTIONS])
def test_every_listed_name_is_in_an_example(section: str) -> None:
    code = "\n".join(re.findall(PYTHON, section, re.DOTALL))
    names = [path.rpartition(".")[2] for path in re.findall(LISTED, section, re.MULTILINE)]
    assert names
    assert [name for name in names if not re.search(rf"\b{name}\b", code)] == []


@pytest.mark.slow
def test_examples_run(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(pictures, tmp_path / "my_images")
    shutil.copytree(pictures, tmp_path / "more_images")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in re.findall(PYTHON, PAGE.read_text(), re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), names)
    assert names["record"].status == "finished"
    assert len(names["few"].train) == 8
    # So do those of the docstrings of the classifier, whatever they print.
    for name in vlprompt.__all__:
        public = getattr(vlprompt, name)
        if getattr(public, "__module__", "").startswith("vlprompt.classifier."):
            examples = doctest.DocTestParser().get_examples(inspect.getdoc(public) or "")
            assert examples, name
            for example in examples:
                exec(compile(example.source, name, "single"), names)
