"""Files, locks, processes, progress and text: what every other package builds on."""
