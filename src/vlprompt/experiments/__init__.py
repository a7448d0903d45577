"""Experiments: one run from its configuration to its folder, and grids of runs."""
