"""Tuned prompts in use."""
