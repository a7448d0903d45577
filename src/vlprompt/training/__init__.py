"""Training and evaluation of a method: inputs, training loop, devices, metrics and calibration."""
