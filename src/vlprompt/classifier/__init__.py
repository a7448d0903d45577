"""Tuned classifiers in Python: training, loading, predicting, saving."""
