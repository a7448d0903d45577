"""Helpers for files, locks, processes, progress and text, used by every other package."""
