"""onnxruntime and OpenVINO: graphs of PyTorch modules, the files that hold them, and running these on a CPU."""
