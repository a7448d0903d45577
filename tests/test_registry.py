"""The registry, and plug-ins in it."""

import json
import logging
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.plugins import environment, install
from vlprompt.errors import VLPromptError
from vlprompt.methods.base import Method
from vlprompt.methods.coop import CoOp
from vlprompt.registry import Registry

TINY = '''"""A method that is CoOp under another name."""

from vlprompt.methods import METHODS
from vlprompt.methods.coop import CoOp


@METHODS.register("tiny")
class Tiny(CoOp):
    """CoOp from another package."""

    name = "tiny"  # as plug-ins of earlier versions have it
'''


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Write the metadata of an installed package with these entry points."""
    monkeypatch.syspath_prepend(tmp_path)

    def add(name: str, group: str, **entries: str) -> None:
        metadata = tmp_path / f"{name}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = "\n".join(f"{key} = {value}" for key, value in entries.items())
        (metadata / "entry_points.txt").write_text(f"[{group}]\n{lines}\n")

    return add


def test_duplicate_names_are_rejected() -> None:
    things: Registry[int] = Registry("thing")
    things.register("one")(1)
    assert things.get("one") == 1
    assert things.names() == ["one"]
    assert "one" in things
    assert "two" not in things
    with pytest.raises(VLPromptError, match="thing 'one' is already registered"):
        things.register("one")(2)
    things.register("one")(1)  # as plug-ins are, by their decorator and by their entry point


def test_registering_sets_the_class_name() -> None:
    methods: Registry[type[Method[Any]]] = Registry("method", Method)

    @methods.register("unnamed")
    class Unnamed(CoOp):
        pass

    class Named(CoOp):
        name = "of-its-own"

    methods.register("other")(Named)
    assert (Unnamed.name, Named.name, CoOp.name) == ("unnamed", "of-its-own", "coop")


def test_unknown_name_suggests_the_nearest() -> None:
    things: Registry[int] = Registry("thing")
    things.register("coop")(1)
    with pytest.raises(VLPromptError, match=r"unknown thing 'cop'; did you mean 'coop'\?$"):
        things.get("cop")
    with pytest.raises(VLPromptError, match="unknown thing 'CoOp'; did you mean 'coop'"):
        things.get("CoOp")
    with pytest.raises(VLPromptError, match="unknown thing 'xyz'; choose from coop"):
        things.get("xyz")


def test_plug_ins_are_loaded_from_entry_points(packages: Callable[..., None]) -> None:
    packages("circles", "vlprompt.things", pi="math:pi")
    packages("others", "vlprompt.gadgets", e="math:e")
    things: Registry[float] = Registry("thing")
    assert things.names() == ["pi"]
    assert things.get("pi") == math.pi


def test_broken_plug_in_does_not_affect_others(packages: Callable[..., None], caplog: pytest.LogCaptureFixture) -> None:
    packages("circles", "vlprompt.things", pi="math:pi", tau="math:no_such_number")
    packages("torn", "vlprompt.things", broken="no_such_module:thing")
    things: Registry[float] = Registry("thing")
    with caplog.at_level(logging.WARNING, logger="vlprompt"):
        assert things.names() == ["pi"]
        assert "broken" not in things
    assert caplog.messages == [
        "thing 'broken' of package torn cannot be loaded: No module named 'no_such_module'",
        "thing 'tau' of package circles cannot be loaded: module 'math' has no attribute 'no_such_number'",
    ]
    with pytest.raises(VLPromptError, match="'broken' of package torn cannot be loaded: No module named"):
        things.get("broken")


def test_name_claimed_by_two_packages_is_rejected(packages: Callable[..., None]) -> None:
    packages("circles", "vlprompt.things", pi="math:pi", e="math:e")
    packages("pies", "vlprompt.things", pi="math:tau")
    things: Registry[float] = Registry("thing")
    asked: list[Callable[[], Any]] = [things.names, lambda: things.get("pi"), lambda: things.get("e")]
    for ask in asked:
        with pytest.raises(
            VLPromptError, match="'pi' is provided by two packages, circles and pies; uninstall or rename one of them"
        ):
            ask()


def test_plug_in_cannot_override_a_built_in_name(packages: Callable[..., None]) -> None:
    packages("rival", "vlprompt.methods", coop="vlprompt.methods.dapt:DAPT")
    methods: Registry[type[Method[Any]]] = Registry("method", Method)
    methods.register("coop")(CoOp)
    with pytest.raises(VLPromptError, match="method 'coop' is provided by two packages, vlprompt and rival"):
        methods.get("coop")


def test_entries_that_are_not_methods_are_ignored(
    packages: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    packages("circles", "vlprompt.methods", pi="math:pi", json="json:JSONDecoder", module="math")
    methods: Registry[type[Method[Any]]] = Registry("method", Method)
    with caplog.at_level(logging.WARNING, logger="vlprompt"):
        assert methods.names() == []
    assert "method 'pi' of package circles cannot be loaded: math:pi is not a subclass of Method" in caplog.messages
    assert len(caplog.messages) == 3


def test_installed_package_adds_a_method(
    popen: Any, tmp_path: Path, weights: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    site = tmp_path / "site"
    install(tmp_path / "vlprompt-tiny", site, 'tiny = "vlprompt_tiny:Tiny"', TINY)
    install(tmp_path / "vlprompt-torn", site, 'torn = "vlprompt_torn:Torn"', "import no_such_module\n")

    def call(*words: object) -> tuple[int, str, str]:
        line = [sys.executable, "-m", "vlprompt.cli", *map(str, words)]
        process = popen(line, env=environment(site), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        out, err = process.communicate()
        return process.returncode, out, err

    code, out, err = call("list", "methods", "--json")
    assert code == 0, err
    methods = {method["name"]: method for method in json.loads(out)}
    assert {"tiny", "coop", "dapt"} <= methods.keys()
    assert methods["tiny"]["about"] == "CoOp from another package."
    assert methods["tiny"]["options"] == methods["coop"]["options"]
    broken = "method 'torn' of package vlprompt-torn cannot be loaded: No module named 'no_such_module'"
    assert err.splitlines() == [broken]

    recipe = tmp_path / "tiny.yaml"
    recipe.write_text("method: {name: tiny, n_ctx: 3}\noptim: {epochs: 2, batch_size: 8}\ndata: {views: 2}\n")
    code, _, err = call(
        "tune", pictures, "--recipe", recipe, "--backbone", weights, "--shots", 2, "--out", "run", "--quiet"
    )
    assert code == 0, err
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (record["status"], record["config"]["method"]["name"]) == ("finished", "tiny")
    assert record["trainable_parameters"] == 3 * 64
