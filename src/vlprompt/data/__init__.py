"""Datasets, few-shot sampling, image transforms and cached frozen features."""
