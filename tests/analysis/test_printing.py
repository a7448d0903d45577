"""Every part of an inspection is printed, in tables that fit the terminal."""

import pytest

from tests.helpers.runs import Tuned, inspected
from vlprompt.analysis.printing import print_inspection


def test_every_part_has_a_table(tuned: Tuned, capsys: pytest.CaptureFixture[str]) -> None:
    found = inspected(tuned, "mudpt")
    print_inspection(found)
    out = capsys.readouterr().out
    for part in (
        "mudpt, 4 classes",
        found.looked_at,
        "words nearest to the context of all classes",
        f"{found.contexts[0].vectors[0].nearest[0].word} {found.contexts[0].vectors[0].nearest[0].distance:.3f}",
        "norms",
        "text tower: attention of the end token, %",
        "image tower: attention of the class token, %",
        "modality gap",
        "confused classes",
        "for scale: 49,408 tokens have norm",
        "deep prompts replace hidden states, not words",
        "uniform attention would give text prompts",
    ):
        assert part in out
    assert "left out" not in out
    tables = [line for line in out.splitlines() if line[:1] in "┏┃┡│├└"]
    assert max(map(len, tables)) <= 80


def test_left_out_parts_are_listed(tuned: Tuned, capsys: pytest.CaptureFixture[str]) -> None:
    print_inspection(inspected(tuned, "linear-probe"))
    out = capsys.readouterr().out
    assert "left out: text prompts: linear-probe has none with these options" in out
    assert "left out: classes after: linear-probe does not change class embeddings with these options" in out
    assert "attention" not in out


def test_the_first_contexts_of_classes_are_shown(tuned: Tuned, capsys: pytest.CaptureFixture[str]) -> None:
    print_inspection(inspected(tuned, "coop, class-specific"))
    out = capsys.readouterr().out
    assert out.count("words nearest to the context of") == 3
    assert "1 more context in --json" in out
