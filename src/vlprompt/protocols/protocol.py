"""The protocols: which classes are learned, and on which ones a run is tested."""

from dataclasses import dataclass

from vlprompt.data.sampling import Classes
from vlprompt.training.evaluation import harmonic_mean


@dataclass(frozen=True)
class Protocol:
    """Classes that are trained on, and the tests by name with the classes that compete in each."""

    train: Classes
    tests: dict[str, Classes]

    def summary(self, metrics: dict[str, dict[str, float | int]]) -> dict[str, float]:
        """What is computed from several tests: the harmonic mean of base and new accuracy."""
        if not {"base", "new"} <= metrics.keys():
            return {}
        return {"harmonic_mean": harmonic_mean(metrics["base"]["accuracy"], metrics["new"]["accuracy"])}


PROTOCOLS = {
    "few-shot": Protocol("all", {"test": "all"}),
    "base-to-new": Protocol("base", {"base": "base", "new": "new"}),
}
