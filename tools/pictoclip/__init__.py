"""Builds `pictoclip`, the small CLIP that ships inside vlprompt: fetch, render, train, export, evaluate."""
