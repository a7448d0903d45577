"""Read the recorded vectors of the official implementations (tests/golden)."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

import vlprompt
from vlprompt import Backbone, Method

GOLDEN = Path(__file__).parents[1] / "golden"
NAMES = sorted(path.stem for path in (GOLDEN / "cases").glob("*.json"))


@dataclass(frozen=True)
class Case:
    """A recorded case: settings, inputs and outputs."""

    method: str
    options: dict[str, Any]
    class_names: list[str]
    weights: str
    images: Tensor
    labels: Tensor
    recorded: dict[str, Tensor]

    def starting(self, prefix: str) -> dict[str, Tensor]:
        """Return recorded tensors under `prefix.`, by the rest of their names."""
        return {key.removeprefix(f"{prefix}."): v for key, v in self.recorded.items() if key.startswith(f"{prefix}.")}

    def build(self, **options: Any) -> Method[Any]:
        """Create the method on the case's backbone, with the recorded parameters."""
        method = vlprompt.create_method(self.method, backbone(self.weights), self.class_names, **options)
        parameters = dict(method.named_parameters())
        recorded = self.starting("param")
        assert parameters.keys() == recorded.keys()
        with torch.no_grad():
            for name, value in recorded.items():
                parameters[name].copy_(value)
        return method


def read_case(name: str) -> Case:
    """Read the case of that name."""
    about = json.loads((GOLDEN / "cases" / f"{name}.json").read_text())
    inputs = load_file(GOLDEN / about["inputs"])
    return Case(
        about["method"],
        about["options"],
        about["classnames"],
        about["weights"],
        inputs["images"].float(),
        inputs["labels"],
        load_file(GOLDEN / "cases" / f"{name}.safetensors"),
    )


@cache
def backbone(weights: str) -> Backbone:
    """Load the recorded weights, with the token table expanded to 49,408 rows."""
    state = load_file(GOLDEN / weights)
    ids, rows = state.pop("token_embedding.ids"), state.pop("token_embedding.rows").float()
    state["token_embedding.weight"] = torch.zeros(49408, rows.shape[1]).index_copy_(0, ids, rows)
    return vlprompt.load_backbone(state, device="cpu")
