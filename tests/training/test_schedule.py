import json
import re
from pathlib import Path

import pytest

from vlprompt.config.schema import OptimConfig
from vlprompt.training.schedule import learning_rate

SCHEDULES = json.loads((Path(__file__).parents[1] / "golden" / "lr_schedules.json").read_text())["schedules"]


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_epoch_has_the_recorded_rate(name: str) -> None:
    settings = {key: float(value) for key, value in re.findall(r"(\w+)=(\S+)", name)}
    epochs, warmup = int(settings["epochs"]), int(settings["warmup_epochs"])
    optim = OptimConfig(lr=settings["lr"], epochs=epochs, warmup_epochs=warmup, warmup_lr=settings["warmup_lr"])
    rates = [learning_rate(optim, epoch) for epoch in range(epochs)]
    assert rates == pytest.approx(SCHEDULES[name], rel=1e-12, abs=1e-18)
