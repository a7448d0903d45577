"""A run as one .onnx file, which predicts where neither torch nor vlprompt is installed."""

from vlprompt.deploy.export.writing import Export, export_onnx

__all__ = ["Export", "export_onnx"]
