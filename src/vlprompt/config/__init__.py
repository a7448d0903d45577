"""Configuration of a run: its schema, its protocols, its recipes, and how they are resolved."""
