"""Build `pictoclip`, the small CLIP that ships with vlprompt: fetch, render, train, export, evaluate."""
