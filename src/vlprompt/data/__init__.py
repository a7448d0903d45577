"""Datasets, few-shot sampling, transforms and the cache of frozen features."""

from vlprompt.data.dataset import Dataset, Item
from vlprompt.data.features import FeatureSet, encode_features
from vlprompt.data.image_set import ImageSet
from vlprompt.data.images import ImageError, read_image
from vlprompt.data.loading import DATASETS, list_datasets, load_dataset
from vlprompt.data.transforms import test_transform, train_transform

__all__ = [
    "DATASETS",
    "Dataset",
    "FeatureSet",
    "ImageError",
    "ImageSet",
    "Item",
    "encode_features",
    "list_datasets",
    "load_dataset",
    "read_image",
    "test_transform",
    "train_transform",
]
