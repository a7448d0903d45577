"""Sources of weights: every file format and library that a backbone is loaded from."""
