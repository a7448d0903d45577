"""Command and group classes: plain help with untouched examples, suggestions, and library errors with flags."""

from typing import Any

from typer.core import TyperCommand, TyperGroup

from vlprompt.cli.errors import UsageError, as_flags, flags_of
from vlprompt.errors import VLPromptError

FORMER_NAMES = {"class-names": "name-map"}


def former_name(token: str) -> str:
    """Map a former option name to the current one; click applies this to declared and to given names.

    `import --class-names` therefore still works: its declared name is mapped, too.
    """
    return FORMER_NAMES.get(token, token)


def _keep_examples(text: str | None) -> str | None:
    """Mark the examples of a docstring as preformatted, with click's line of a single backspace."""
    return None if text is None else text.replace("\nExamples:\n", "\n\b\nExamples:\n")


class Command(TyperCommand):
    """Command whose library errors name its flags."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.help = _keep_examples(self.help)
        for param in self.params:
            if param.param_type_name == "argument":  # "DATA", not "DATA <str>" as some typer versions have it
                setattr(param, "display_type_rich", lambda ctx: "")  # noqa: B010 - not an attribute in all of them

    def invoke(self, ctx: Any) -> Any:
        """Run the command, and turn parameters in a library error into flags."""
        try:
            return super().invoke(ctx)
        except VLPromptError as error:
            raise UsageError(as_flags(str(error), flags_of(self))) from error

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the parts of the usage line: required arguments without the braces of some typer versions."""
        return [piece.replace("{", "").replace("}", "") for piece in super().collect_usage_pieces(ctx)]


class Commands(TyperGroup):
    """Group of commands that suggests a similar name for an unknown one."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command, or fail with a suggestion."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-") and not ctx.resilient_parsing:
            from vlprompt.utils.strings import did_you_mean

            hint = did_you_mean(name, self.list_commands(ctx)) or f"see {ctx.command_path} --help"
            ctx.fail(f"no command {name!r}; {hint}")
        return super().resolve_command(ctx, args)
