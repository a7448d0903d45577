"""The training loop, its schedule, its checkpoints, and the folder that a run is."""
