"""Configuration of a run: schema, protocols, recipes, and how they resolve to a `RunConfig`."""
