"""Frozen dual encoders: loading, and towers that accept prompts."""
