"""Frozen dual encoders: loading, and towers that run with prompts."""

from vlprompt.backbones.backbone import Backbone, load_backbone

__all__ = ["Backbone", "load_backbone"]
