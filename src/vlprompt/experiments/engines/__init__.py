"""Engines that run the cells of a grid: this process, several processes, or a Ray cluster."""
