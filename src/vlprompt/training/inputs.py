"""Inputs of a method: images, or cached frozen features if the method does not change the image tower."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from vlprompt.backbones.backbone import Backbone
from vlprompt.config.schema import RunConfig
from vlprompt.data.dataset import Item
from vlprompt.data.features import Encode, FeatureSet, encode_features
from vlprompt.data.image_set import ImageSet
from vlprompt.errors import VLPromptError
from vlprompt.methods.base import Method
from vlprompt.runtimes.image_encoder import ImageEncoder
from vlprompt.utils.machine import free_memory, reader_count
from vlprompt.utils.progress import Reporter


def training_inputs(
    method: Method[Any], items: tuple[Item, ...], root: Path, config: RunConfig, reporter: Reporter
) -> ImageSet | FeatureSet:
    """Return the training images under the training transform, or cached frozen features of augmented views."""
    images = augmented_images(method.backbone, items, root, config)
    if method.adapts_images or not config.data.views:
        _keep(images, config, reporter)
        return images
    views = config.data.views
    title = "encode shots" if views == 1 else f"encode shots, {views} views"
    return _encoded(
        method.backbone,
        images,
        views,
        config,
        reporter,
        title,
        precision=config.data.view_precision,
        epochs=config.optim.epochs,
    )


def _keep(images: ImageSet, config: RunConfig, reporter: Reporter) -> None:
    """Read images into memory, as many as `runtime.image_cache_mb` allows."""
    asked, devices = config.runtime.image_cache_mb, config.runtime.devices
    if asked == 0:
        return
    budget = (free_memory() // 4 if asked is None else asked * 10**6) // devices
    with reporter.bar("read images") as bar:
        left_out = images.keep(budget, progress=bar, threads=torch.get_num_threads())
    if left_out and not images.kept and asked is not None:
        raise VLPromptError(
            f"runtime.image_cache_mb={asked} has no room for one image, {devices * left_out / 1e6:.1f} MB; allow more, "
            "or set it to 0 to read images in every epoch"
        )


def augmented_images(backbone: Backbone, items: tuple[Item, ...], root: Path, config: RunConfig) -> ImageSet:
    """Return images under the training transform."""
    data = config.data
    transform = replace(backbone.train_transform, crop_scale=data.crop_scale, flip=data.flip)
    return ImageSet(items, root, transform, config.seed, value_range=data.value_range)


def evaluation_images(backbone: Backbone, items: tuple[Item, ...], root: Path, config: RunConfig) -> ImageSet:
    """Return images under the evaluation transform."""
    return ImageSet(items, root, backbone.eval_transform, value_range=config.data.value_range)


def evaluation_inputs(
    method: Method[Any], items: tuple[Item, ...], root: Path, config: RunConfig, reporter: Reporter, *, frozen: bool
) -> ImageSet | FeatureSet:
    """Return images under the evaluation transform, or their cached frozen features.

    Args:
        method: method to evaluate.
        items: images with labels.
        root: folder that the items' paths are relative to.
        config: complete configuration.
        reporter: shows progress.
        frozen: return frozen features even if the method changes the image tower.
    """
    images = evaluation_images(method.backbone, items, root, config)
    if frozen or not method.adapts_images:
        return _encoded(method.backbone, images, 1, config, reporter, "encode images")
    return images


def encoder_key(backbone: Backbone, precision: str | None = None) -> str:
    """Return the text that identifies a frozen image tower, run as in `frozen_encoder`, in the cache of features."""
    runtime = f" openvino {precision}" if precision else ""
    return f"{backbone.function_hash} {backbone.precision} {backbone.device.type}{runtime}"


def frozen_encoder(backbone: Backbone, precision: str | None, reporter: Reporter) -> Encode:
    """Return the function that encodes images with the frozen image tower.

    Args:
        backbone: the backbone.
        precision: precision in which OpenVINO runs the tower; None for PyTorch.
        reporter: shows progress.
    """
    if precision:
        return ImageEncoder(backbone, precision, reporter)
    return lambda pixels: backbone.vision(pixels.to(backbone.device))


def _encoded(
    backbone: Backbone,
    images: ImageSet,
    views: int,
    config: RunConfig,
    reporter: Reporter,
    title: str,
    *,
    precision: str | None = None,
    epochs: int | None = None,
) -> FeatureSet:
    with reporter.bar(title) as bar:
        return encode_features(
            images,
            frozen_encoder(backbone, precision, reporter),
            views=views,
            batch_size=config.runtime.eval_batch_size,
            key=encoder_key(backbone, precision),
            progress=bar,
            epochs=epochs,
            workers=reader_count(config.runtime.workers, backbone.device.type),
            threads=torch.get_num_threads() if backbone.device.type == "cpu" else 1,
        )
