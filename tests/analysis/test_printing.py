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
        "taken for each other",
        "for scale: 49,408 tokens have norm",
        "prompts of deeper layers replace hidden states, not words",
        "text prompts would get",
    ):
        assert part in out
    assert "left out" not in out


def test_what_is_left_out_has_a_line(tuned: Tuned, capsys: pytest.CaptureFixture[str]) -> None:
    print_inspection(inspected(tuned, "linear-probe"))
    out = capsys.readouterr().out
    assert "left out: text prompts: linear-probe with these options learns none" in out
    assert "left out: classes after: linear-probe with these options leaves class embeddings as they are" in out
    assert "attention" not in out


def test_the_first_contexts_of_classes_are_shown(tuned: Tuned, capsys: pytest.CaptureFixture[str]) -> None:
    print_inspection(inspected(tuned, "coop, class-specific"))
    out = capsys.readouterr().out
    assert out.count("words nearest to the context of") == 3
    assert "1 more context is in --json" in out
