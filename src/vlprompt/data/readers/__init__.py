"""Readers of users' own images: folders, tables, split files and Hugging Face datasets."""
