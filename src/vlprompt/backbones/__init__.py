"""Frozen dual encoders: loading, and towers that run with prompts."""
