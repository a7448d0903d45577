"""Text for messages: lists, hints, printable paths, and errors of other libraries."""

import difflib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vlprompt.utils.aliases import resolve_alias
from vlprompt.utils.clean_output import as_line

if TYPE_CHECKING:
    from pydantic import ValidationError

# Maximum length of a quoted input.
QUOTED = 60
# Text that a spreadsheet takes for a number.
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)? ?%?", re.IGNORECASE)
# Markup in Markdown. A "<" before a space or a number is none, nor is a "_" inside a word.
MARKUP = re.compile(r"[\\`*&~]|<(?=[a-zA-Z/!?])|\](?=[(\[:])|(?<!\w)_|_(?!\w)")
# Last part of an error's location if it is not a key but a member of a union that pydantic tried.
UNION_BRANCH = re.compile(
    r"(str|int|float|bool|bytes|none|Path)|(list|tuple|dict|set|literal|constrained|function|lax-or-strict|is-instance)"
    r"[\[-].*"
)
EXPECTED = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "bytes_type": "bytes",
    "dict_type": "a mapping",
    "finite_number": "a finite number",
    "float_parsing": "a number",
    "float_type": "a number",
    "int_from_float": "an integer",
    "int_parsing": "an integer",
    "int_parsing_size": "an integer with fewer digits",
    "int_type": "an integer",
    "iterable_type": "a list",
    "list_type": "a list",
    "mapping_type": "a mapping",
    "model_attributes_type": "a mapping",
    "model_type": "a mapping",
    "none_required": "null",
    "path_type": "a path",
    "string_sub_type": "text",
    "string_type": "text",
    "string_unicode": "UTF-8 text",
    "tuple_type": "a list",
}


def listed(names: Iterable[object], most: int = 5, *, quote: bool = True) -> str:
    """Join the first `most` names, quoted by default, and count the rest.

    Examples:
        >>> listed(["cat", "dog"])
        "'cat', 'dog'"
        >>> listed("abcdefg", most=3)
        "'a', 'b', 'c' and 4 more"
    """
    every = [repr(str(name)) if quote else as_line(str(name)) for name in names]
    few = ", ".join(every[:most])
    return few if len(every) <= most else f"{few} and {len(every) - most} more"


def markdown_text(text: str) -> str:
    """Escape text for Markdown, so that it holds no markup, HTML, links or line breaks.

    Examples:
        >>> print(markdown_text("<b>a_b</b> *c* [d](e)"))
        \\<b>a_b\\</b> \\*c\\* [d\\](e)
    """
    return MARKUP.sub(r"\\\g<0>", " ".join(text.split()))


def markdown_code(text: str) -> str:
    """Return text as code in Markdown, between more backticks than it has in a row.

    Examples:
        >>> markdown_code("dapt"), markdown_code("a`b")
        ('`dapt`', '``a`b``')
    """
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " * (text.startswith("`") or text.endswith("`"))
    return f"{fence}{space}{' '.join(text.split())}{space}{fence}"


def counted(count: int, thing: str) -> str:
    """Return a number and a noun, in the plural unless the number is 1.

    Examples:
        >>> counted(1, "image"), counted(1200, "image")
        ('1 image', '1,200 images')
    """
    return f"{count:,} {thing}" + ("s" if count != 1 else "")


def markdown_row(cells: Iterable[str]) -> str:
    """Return a row of a Markdown table; its cells are Markdown.

    Examples:
        >>> markdown_row(["a|b", "1"])
        '| a\\\\|b | 1 |'
    """
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def csv_cell(value: object) -> object:
    """Return a value for a CSV file: text that a spreadsheet would take for a formula gets a ' in front.

    Examples:
        >>> csv_cell("=1+1"), csv_cell("-0.5"), csv_cell("cat")
        ("'=1+1", '-0.5', 'cat')
    """
    formula = isinstance(value, str) and len(value) > 1 and value[0] in "=+-@\t\r"
    return f"'{value}" if formula and not NUMBER.fullmatch(str(value)) else value


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return a hint at the name that is meant: the one of an alias, or the most similar one; "" if none is similar.

    Examples:
        >>> did_you_mean("CoOb", ["coop", "maple"])
        "did you mean 'coop'?"
        >>> did_you_mean("oxford_flowers", ["food101", "flowers102"])
        "did you mean 'flowers102'?"
    """
    names = list(names)
    if meant := resolve_alias(name, names):
        return f"did you mean {meant!r}?"
    by_lower = {known.lower(): known for known in names}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return f"did you mean {by_lower[close[0]]!r}?" if close else ""


def printable(path: str | os.PathLike[str]) -> str:
    """Return a path as text that can be printed and stored: bytes that are not UTF-8 become backslash escapes."""
    return os.fspath(path).encode(errors="backslashreplace").decode()


def visible(path: str | os.PathLike[str]) -> str:
    """Return a path or a key with control characters escaped: one line, which a terminal does not interpret."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in os.fspath(path))


def first_line(error: BaseException) -> str:
    """Return the first line of another library's error, at most 200 characters.

    PyTorch's restricted unpickler writes pages of advice, of which only the refused global is kept.
    """
    said = str(error).strip() or type(error).__name__
    if asked := re.search(r"GLOBAL (\S+) w", said):
        return f"it uses {asked[1]}, which is not allowed"
    inner = re.search(r"WeightsUnpickler error: (.+)", said)
    line = (inner[1] if inner else said).splitlines()[0]
    # PyTorch and NumPy advise loading such a file unsafely.
    return "it is not a file of tensors alone" if re.search(r"weights[_ ]only|pickle", line, re.I) else line[:200]


def one_line(error: BaseException) -> str:
    """Return an error's whole message on one line, or its type if it has no message."""
    return " ".join(str(error).split()) or type(error).__name__


def read_problem(error: OSError | UnicodeDecodeError) -> str:
    """Return why a text file cannot be read, in a few words."""
    reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
    return reason or "it cannot be read"


def describe_validation_error(error: "ValidationError", *, quote_input: bool = True) -> str:
    """Describe the first error of a pydantic validation: where, what was expected and what was given.

    Args:
        error: the validation error.
        quote_input: whether to quote the input, shortened; use False for secrets.

    Examples:
        >>> from pydantic import TypeAdapter, ValidationError
        >>> try:
        ...     TypeAdapter(dict[str, int]).validate_python({"epochs": "many"})
        ... except ValidationError as error:
        ...     describe_validation_error(error)
        "epochs: must be an integer, got 'many'"
    """
    where = error_location(error)
    reason = error_reason(error, quote_input=quote_input)
    return f"{where}{'' if reason.startswith('is ') else ':'} {reason}" if where else reason


def error_location(error: "ValidationError") -> str:
    """Return the dotted location of the first validation error, such as `optim.lr`; "" for the root."""
    place = list(error.errors()[0]["loc"])
    while place and _is_branch(place[-1]):
        place.pop()
    return visible(".".join(map(str, place)))


def error_reason(error: "ValidationError", *, quote_input: bool = True) -> str:
    """Return the reason of the first validation error, such as "must be X, got Y"."""
    found = error.errors(include_url=False)
    first = found[0]
    if first["type"] == "missing":
        return "is missing"
    if first["type"] == "extra_forbidden":
        return "is unknown"
    if first["type"] == "json_invalid":
        return f"must be JSON ({first['ctx']['error']})"
    if first["type"] in ("value_error", "assertion_error"):
        return re.sub(r"^(Value|Assertion) error, ", "", first["msg"])
    branches = [first]
    if first["loc"] and _is_branch(first["loc"][-1]):
        branches = [other for other in found if other["loc"][:-1] == first["loc"][:-1] and _is_branch(other["loc"][-1])]
    expected = _either([_expected(other) for other in branches])
    return f"{expected}, got {_quoted(first['input'])}" if quote_input else expected


def _is_branch(part: int | str) -> bool:
    return isinstance(part, str) and UNION_BRANCH.fullmatch(part) is not None


def _expected(error: Mapping[str, Any]) -> str:
    limits: dict[str, Any] = error.get("ctx", {})
    match error["type"]:
        case "greater_than":
            return f"must be greater than {_number(limits['gt'])}"
        case "greater_than_equal":
            return f"must be at least {_number(limits['ge'])}"
        case "less_than":
            return f"must be less than {_number(limits['lt'])}"
        case "less_than_equal":
            return f"must be at most {_number(limits['le'])}"
        case "literal_error" | "enum":
            return f"must be {limits['expected']}"
        case "string_too_short" if limits["min_length"] == 1:
            return "must not be empty"
        case "string_too_short":
            return f"must have at least {limits['min_length']} characters"
        case "string_too_long":
            return f"must have at most {limits['max_length']} characters"
        case "too_short" if limits["min_length"] == 1:
            return "must not be empty"
        case "too_short":
            return f"must have at least {limits['min_length']} entries"
        case "too_long":
            return f"must have at most {limits['max_length']} entries"
        case kind if kind in EXPECTED:
            return f"must be {EXPECTED[kind]}"
    message = str(error["msg"])
    return message[:1].lower() + message[1:]


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


def _either(reasons: Sequence[str]) -> str:
    """Join "must be A", "must be B" into "must be A or B"; keep the first if any starts differently."""
    start = "must be "
    distinct = list(dict.fromkeys(reasons))
    if len(distinct) == 1 or not all(reason.startswith(start) for reason in distinct):
        return distinct[0]
    return start + " or ".join(reason.removeprefix(start) for reason in distinct)


def _quoted(value: object) -> str:
    text = value if isinstance(value, str) and NUMBER.fullmatch(value) else repr(value)  # settings are given as text
    return text if len(text) <= QUOTED else f"{text[: QUOTED - 1]}…"
