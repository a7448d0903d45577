"""What runs the cells of a grid: this process, several of them, or a cluster. Cells are handed over as plain data."""

from collections.abc import Generator, Iterator
from typing import Protocol, TypedDict

from vlprompt.utils.progress import Reporter

# How often a cell is begun anew whose process was lost.
RETRIES = 2


class Job(TypedDict):
    """A cell as plain data.

    Attributes:
        label: for people.
        config: the run's configuration as JSON.
        folder: of the run.
        prompts_from: a folder whose run may have learned the same, or None.
    """

    label: str
    config: str
    folder: str
    prompts_from: str | None


class Engine(Protocol):
    """Runs jobs, some at a time."""

    @property
    def parallel(self) -> int:
        """How many cells are run at a time."""

    def run(self, jobs: Iterator[Job], reporter: Reporter) -> Generator[tuple[Job, str | None]]:
        """Run the jobs, and give each as it ends, with what went wrong or None.

        A job is taken when there is room for it. Where this is interrupted or closed, so are the jobs that are running;
        each leaves a run that can go on.
        """
