from importlib.metadata import EntryPoint

import pytest

from vlprompt import registry
from vlprompt.errors import VLPromptError
from vlprompt.registry import Registry


def test_a_name_is_taken_once() -> None:
    things: Registry[int] = Registry("thing")
    things.register("one")(1)
    assert things.get("one") == 1
    assert things.names() == ["one"]
    assert "one" in things
    assert "two" not in things
    with pytest.raises(VLPromptError, match="thing 'one' is registered twice"):
        things.register("one")(2)


def test_an_unknown_name_gets_the_nearest() -> None:
    things: Registry[int] = Registry("thing")
    things.register("coop")(1)
    with pytest.raises(VLPromptError, match="unknown thing 'cop'; did you mean 'coop'"):
        things.get("cop")
    with pytest.raises(VLPromptError, match="unknown thing 'xyz'; have: coop"):
        things.get("xyz")


def test_plug_ins_come_through_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def points(group: str) -> list[EntryPoint]:
        asked.append(group)
        return [EntryPoint("pi", "math:pi", group)]

    monkeypatch.setattr(registry, "entry_points", points)
    things: Registry[float] = Registry("thing")
    assert things.names() == ["pi"]
    assert things.get("pi") == pytest.approx(3.14159, abs=1e-5)
    assert asked == ["vlprompt.things"]
