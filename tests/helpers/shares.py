"""Train on one device and on two: `python -m tests.helpers.shares WEIGHTS IMAGES OUT`."""

import multiprocessing
import os
import socket
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vlprompt.backbones.backbone import load_backbone
from vlprompt.config.schema import parse_config
from vlprompt.data.image_set import ImageSet
from vlprompt.data.loading import load_dataset
from vlprompt.methods.base import METHODS, LossTerms, Method, Prediction
from vlprompt.methods.create import create_method
from vlprompt.methods.ivlp import IndependentPrompts, IVLPOptions
from vlprompt.runs.record import Epoch
from vlprompt.training.fit import fit


@METHODS.register("gathering")
class Gathering(IndependentPrompts[IVLPOptions]):
    """Method that pulls all images of a batch together, with prompts in both towers."""

    Options = IVLPOptions
    name = "gathering"
    usual_depth = 1
    whole_batch = True

    def loss(self, prediction: Prediction, labels: Tensor) -> LossTerms:
        spread = torch.pdist(prediction.image_features).square().mean()
        return LossTerms(total=super().loss(prediction, labels).total + spread, spread=spread)


CASES: list[tuple[str, dict[str, Any]]] = [
    ("coop", {"n_ctx": 2}),
    ("dapt", {"n_text": 2, "n_visual": 2}),
    ("prograd", {"n_ctx": 2}),
    ("e2mim", {"n_ctx": 2}),
    # Its critic is used only if a class of the batch has further shots.
    ("e2mim", {"n_ctx": 2, "lambda_mi": 0.0}),
    ("gathering", {}),
]


def train(case: int, devices: int, weights: str, pictures: str, folder: Path) -> tuple[Method[Any], list[Epoch]]:
    """Train a case; return the method and its history."""
    name, options = CASES[case]
    config = parse_config(
        {
            "method": {"name": name, **options},
            "backbone": {"source": weights},
            "data": {"source": pictures},
            "optim": {"epochs": 3, "batch_size": 4, "lr": 0.0003, "warmup_epochs": 0},
            "runtime": {"devices": devices, "device": "cpu"},
        }
    )
    backbone, dataset = load_backbone(weights, device="cpu"), load_dataset(pictures).few_shot(3, 1)
    torch.manual_seed(1)
    method = create_method(name, backbone, dataset.class_names, **options)
    method.prepare(ImageSet(dataset.train, dataset.root, backbone.eval_transform), None)
    folder.mkdir(parents=True, exist_ok=True)
    history: list[Epoch] = []
    shots = ImageSet(dataset.train, dataset.root, backbone.train_transform, 1)
    settings: dict[str, Any] = {"result_hash": "", "resume": False, "seconds": {}, "bar": lambda *step: None}
    fit(method, shots, config, folder, history=history, **settings)
    return method, history


def share(rank: int, port: int, weights: str, pictures: str, out: str) -> None:
    """Train every case as one of two devices."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NODE_RANK": "0", "LOCAL_RANK": str(rank)}
    for case in range(len(CASES)):
        train(case, 2, weights, pictures, Path(out) / str(case))


if __name__ == "__main__":
    torch.set_num_threads(1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Forked, so that slow imports happen once.
    context = multiprocessing.get_context("fork")
    both = [context.Process(target=share, args=(rank, port, *sys.argv[1:])) for rank in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    sys.exit(any(process.exitcode for process in both))
