"""Sources of weights: the file formats and libraries that backbones are loaded from."""
