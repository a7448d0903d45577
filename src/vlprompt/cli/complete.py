"""Shell completion of names, read without importing torch."""

from collections.abc import Callable, Iterable

from vlprompt.config import protocols as known

PROTOCOLS = tuple(known.PROTOCOLS)


def starting(names: Iterable[str]) -> Callable[[str], list[str]]:
    """Return a completion function over fixed names."""

    def complete(incomplete: str) -> list[str]:
        return [name for name in names if name.startswith(incomplete)]

    return complete


def methods(incomplete: str) -> list[str]:
    """Complete a method that has a recipe or comes from a plug-in."""
    from importlib.metadata import entry_points

    from vlprompt.config.recipes import PHOTOS, UNIFIED, list_recipes

    names = {recipe.split("/")[0] for recipe in list_recipes()} - {PHOTOS, UNIFIED}
    names |= {point.name for point in entry_points(group="vlprompt.methods")}
    return starting(sorted(names))(incomplete)


def recipes(incomplete: str) -> list[str]:
    """Complete a bundled recipe or a set of recipes."""
    from vlprompt.config.recipes import PAPER, PHOTOS, UNIFIED, list_recipes, recipe_sets

    return starting(sorted({PAPER, PHOTOS, UNIFIED, *list_recipes(), *recipe_sets()}))(incomplete)


def datasets(incomplete: str) -> list[str]:
    """Complete a dataset name; paths are left to the shell."""
    from vlprompt.data.loading import list_datasets

    return starting(list_datasets())(incomplete)


protocols = starting(PROTOCOLS)
