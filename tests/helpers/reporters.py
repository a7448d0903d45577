"""Reporters for tests."""

from vlprompt.utils.progress import Reporter


class Written(Reporter):
    """Reporter that records its lines."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    def warn(self, line: str) -> None:
        self.lines.append(line)
