"""Worker that runs one cell after another and reuses their backbone and datasets."""

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from vlprompt.backbones.backbone import Backbone
from vlprompt.config.schema import RunConfig
from vlprompt.data.dataset import Dataset
from vlprompt.errors import VLPromptError
from vlprompt.experiments.engines.engine import Job
from vlprompt.experiments.run import run_experiment
from vlprompt.experiments.task import open_task
from vlprompt.utils.processes import Message
from vlprompt.utils.progress import Relay, Reporter

logger = logging.getLogger("vlprompt")


class Worker:
    """Runner for the cells of one grid.

    Args:
        backbone: backbone of all cells, if already loaded.
        pools: datasets that are already loaded, by source.
    """

    def __init__(self, backbone: Backbone | None = None, pools: dict[str, Dataset] | None = None) -> None:
        self._backbone = backbone
        self._pools = {} if pools is None else pools

    def run(self, job: Job, reporter: Reporter) -> str | None:
        """Run or continue a cell; return the reason for its failure, or None."""
        try:
            config = RunConfig.model_validate_json(job["config"])
            if self._backbone is None or not {config.data.source, *config.data.targets} <= self._pools.keys():
                task = open_task(config, self._backbone, self._pools)
                self._backbone = task.backbone
                self._pools[config.data.source] = task.pool
                self._pools.update(zip(task.config.data.targets, task.targets.values(), strict=True))
            run_experiment(
                config,
                job["folder"],
                resume=True,
                reporter=reporter,
                backbone=self._backbone,
                pools=self._pools,
                prompts_from=None if job["prompts_from"] is None else Path(job["prompts_from"]),
            )
        except VLPromptError as error:
            return str(error)
        except Exception as error:  # a failing cell must not stop the others
            logger.debug("%s failed", job["label"], exc_info=True)
            return f"{type(error).__name__}: {' '.join(str(error).split())}"
        return None


def work(jobs: Iterator[Message], answer: Callable[[Message], None]) -> None:
    """Run every job that arrives and report how it ended, in a child process."""
    _forward_warnings(answer)
    worker, reporter = Worker(), Relay(answer)
    for job in jobs:
        answer({"ended": worker.run(Job(**job), reporter)})  # type: ignore[typeddict-item]


# Kept between tasks, since Ray runs the tasks of a grid in the same processes.
_worker = Worker()


def run_remotely(job: Job, folder: str, threads: int) -> list[Message]:
    """Run a job on a cluster, in the working directory `folder`.

    Returns:
        the warnings, followed by how the job ended.
    """
    messages: list[Message] = []
    _forward_warnings(messages.append)
    torch.set_num_threads(threads)
    try:
        os.chdir(folder)
    except OSError as error:
        return [{"ended": f"{folder} is not on this machine ({error.strerror}); put `out` on shared storage"}]
    messages.append({"ended": _worker.run(job, Reporter(quiet=True))})
    return messages


class _Forward(logging.Handler):
    """Logging handler that forwards warnings as messages."""

    def __init__(self, answer: Callable[[Message], None]) -> None:
        super().__init__(logging.WARNING)
        self._answer = answer

    def emit(self, record: logging.LogRecord) -> None:
        self._answer({"warn": record.getMessage()})


def _forward_warnings(answer: Callable[[Message], None]) -> None:
    logger.handlers, logger.propagate = [_Forward(answer)], False
