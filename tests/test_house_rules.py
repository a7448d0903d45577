"""Rules that no linter knows: what the sources may import, call and mention."""

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "vlprompt"
SOURCES = sorted(PACKAGE.rglob("*.py"))
TEXTS = sorted(
    path
    for folder in (".ci", ".github", "benchmarks", "docs", "results", "src", "tests", "tools", ".")
    for path in (ROOT / folder).glob("[!.]*" if folder == "." else "**/*")
    if path.is_file() and path.suffix in {"", ".cff", ".csv", ".json", ".md", ".py", ".toml", ".yaml", ".yml"}
)

# What every method may import from `methods`, and the methods that are variants of another one.
SHARED = {"base", "create", "init", "mutual_information", "options", "shots", "templates"}
VARIANTS = {"promptsrc": {"ivlp"}}
PICKLES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
MACHINE_PATH = re.compile(r"(?<![\w./~$}>-])/(?:work|root|home|Users|opt|tmp)/\w|\b[A-Z]:\\\w|\.\./shared\b")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def constant_keywords(call: ast.Call) -> dict[str | None, object]:
    return {word.arg: word.value.value for word in call.keywords if isinstance(word.value, ast.Constant)}


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_source(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "a module says what it is for"

    imported = set(imports(tree))
    assert not PICKLES & {name.split(".")[0] for name in imported}, "never pickle"
    for function, call in calls(tree):
        words = constant_keywords(call)
        assert function != "torch.save", "torch.save pickles: use safetensors"
        assert words.get("allow_pickle") is not True, "never pickle"
        assert function != "torch.load" or words.get("weights_only") is True, "torch.load unpickles"


def test_a_module_name_stands_once() -> None:
    """Commands are exempt: their files bear the commands' names."""
    names = Counter(path.stem for path in SOURCES if "cli" not in path.parts and path.stem != "__init__")
    # A package is called by its main module: `classifier.classifier`, `backbones.backbone`.
    assert [name for name, count in names.items() if count > 1] == []


def test_a_class_name_stands_for_one_thing() -> None:
    names = Counter(
        node.name for path in SOURCES for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("path", sorted((PACKAGE / "methods").glob("*.py")), ids=name_of)
def test_a_method_stands_alone(path: Path) -> None:
    """It builds on what all methods share, so that a reader needs its own file and no other method's."""
    if path.stem in {"__init__", *SHARED}:
        return
    imported = {
        name.split(".")[2] for name in imports(ast.parse(path.read_text())) if name.startswith("vlprompt.methods.")
    }
    assert imported <= SHARED | VARIANTS.get(path.stem, set())


def test_nothing_public_looks_like_a_test() -> None:
    found = [
        f"{name_of(path)}: {node.name}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and re.match(r"test_|Test[A-Z]|Test$", node.name)
    ]
    assert found == []


@pytest.mark.parametrize("path", [path for path in SOURCES if "cli" not in path.parts], ids=name_of)
def test_library_messages_name_parameters(path: Path) -> None:
    """The command line turns parameters into its flags (`cli.errors`); a library knows no flag."""
    said = [
        text.value
        for name, call in calls(ast.parse(path.read_text()))
        if name == "VLPromptError"
        for text in ast.walk(call)
        if isinstance(text, ast.Constant) and isinstance(text.value, str)
    ]
    assert [text for text in said if re.search(r"(?<!\w)--[a-z]", text)] == []


def test_what_is_imported_is_declared() -> None:
    def normalized(name: str) -> str:
        return re.split(r"[^\w.-]", name)[0].lower().replace("_", "-")

    distributions = packages_distributions()
    declared = {normalized(requirement) for requirement in requires("vlprompt") or []}
    modules = {name.split(".")[0] for path in SOURCES for name in imports(ast.parse(path.read_text()))}
    undeclared = {
        module
        for module in modules - sys.stdlib_module_names - {"vlprompt"}
        if not declared & set(map(normalized, distributions.get(module, [module])))
    }
    assert not undeclared


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_no_path_of_one_machine(path: Path) -> None:
    if path == Path(__file__):
        return
    found = [line for line in path.read_text(encoding="utf-8").splitlines() if MACHINE_PATH.search(line)]
    assert not found


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("open('/work/main/x')", True),
        ("see /home/somebody/data", True),
        (r"C:\data", True),
        ("../shared/golden", True),
        ("https://example.org/home/page", False),
        ("~/.cache/vlprompt", False),
        ("$HOME/work/x and a/tmp/b", False),
    ],
)
def test_machine_path_is_recognized(text: str, is_one: bool) -> None:
    assert bool(MACHINE_PATH.search(text)) is is_one
