import io

from rich.console import Console

from vlprompt.utils.terminal import print_table


def printed(*args: object, width: int = 80, **options: str) -> list[str]:
    shown = io.StringIO()
    print_table(*args, console=Console(file=shown, width=width, markup=False), **options)  # type: ignore[arg-type]
    return shown.getvalue().splitlines()


def test_numbers_are_right_aligned() -> None:
    lines = printed([("a", 1, "7.5 ± 0.1", None), None, ("bcd", 10, "–", 2.5)], ["name", "n", "acc", "x"], title="all")
    assert lines[0].strip() == "all"
    assert [line for line in lines if "│" in line] == [
        "│ a    │  1 │ 7.5 ± 0.1 │     │",
        "│ bcd  │ 10 │         – │ 2.5 │",
    ]
    assert sum(line.startswith("├") for line in lines) == 1


def test_long_text_wraps_but_numbers_do_not() -> None:
    lines = printed([("word " * 20 + "x" * 90, "12.34 ± 0.56"), ("[b]", 1)], ["name", "accuracy"], width=40)
    assert max(map(len, lines)) <= 40
    assert "12.34 ± 0.56" in "".join(lines)
    assert "".join(lines).count("x") == 90
    assert "[b]" in "".join(lines)


def test_empty_table_has_a_header() -> None:
    assert any("name" in line for line in printed([], ["name"]))
