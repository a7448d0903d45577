"""Interface of the engines. Cells are handed over as plain data."""

from collections.abc import Generator, Iterator
from typing import Protocol, TypedDict

from vlprompt.utils.progress import Reporter

# How often a cell is started again after its process was lost.
RETRIES = 2


class Job(TypedDict):
    """A cell as plain data.

    Attributes:
        label: name for messages.
        config: configuration of the run as JSON.
        folder: folder of the run.
        prompts_from: folder of a run with the same training, or None.
    """

    label: str
    config: str
    folder: str
    prompts_from: str | None


class Engine(Protocol):
    """Runs jobs, one or several at a time."""

    @property
    def parallel(self) -> int:
        """Number of cells that run at the same time."""

    def run(self, jobs: Iterator[Job], reporter: Reporter) -> Generator[tuple[Job, str | None]]:
        """Run the jobs and yield each one as it ends, with the reason of its failure or None.

        A job is taken from the iterator when it can start. Interrupting or closing this generator interrupts the
        running jobs; each leaves a run that can be continued.
        """
