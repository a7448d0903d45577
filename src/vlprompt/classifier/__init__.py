"""The classifier: tuning, loading, predicting and saving in Python."""
