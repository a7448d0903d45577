"""Readers of a user's own images: folders, tables, split files and Hugging Face datasets."""
