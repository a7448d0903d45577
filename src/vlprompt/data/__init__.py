"""Datasets, few-shot sampling, image transforms and the cache of frozen features."""
