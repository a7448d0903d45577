"""Interface of the engines that run the cells of a grid."""

from collections.abc import Generator, Iterator
from typing import Protocol, TypedDict

from vlprompt.utils.progress import Reporter

# Maximum number of restarts of a cell whose process was lost.
RETRIES = 2


class Job(TypedDict):
    """A cell as plain data.

    Attributes:
        label: name for messages.
        config: resolved configuration as JSON.
        folder: run folder.
        prompts_from: folder of a finished run with the same training, or None.
    """

    label: str
    config: str
    folder: str
    prompts_from: str | None


class Engine(Protocol):
    """Engine that runs jobs, one or several at a time."""

    @property
    def parallel(self) -> int:
        """Number of cells that run at a time."""

    def run(self, jobs: Iterator[Job], reporter: Reporter) -> Generator[tuple[Job, str | None]]:
        """Run the jobs and yield each one as it ends, with the reason for its failure or None.

        A job is taken from the iterator when it can start. Interrupting or closing this generator interrupts the
        running jobs, which can be continued later.
        """
