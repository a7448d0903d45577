"""Reporter that interrupts a run during training."""

from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

from vlprompt.utils.progress import Reporter


class Impatient(Reporter):
    """Raises KeyboardInterrupt from step `after` on of the training bar, once `when()` is true."""

    def __init__(self, after: int, when: Callable[[], bool] = lambda: True) -> None:
        super().__init__(quiet=True)
        self.after, self.when = after, when

    @contextmanager
    def bar(self, title: str, *, clock: bool = True) -> Any:
        def move(done: int, total: int, note: str = "") -> None:
            if title == "train" and done >= self.after and self.when():
                raise KeyboardInterrupt

        yield move
