"""Folder of a run: its record, its state, its prompts, and how they are restored."""
