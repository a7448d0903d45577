"""One run from its configuration to its folder, and grids of them."""
