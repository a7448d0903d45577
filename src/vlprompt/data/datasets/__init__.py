"""Datasets known by name, each declared in a file of its own."""
