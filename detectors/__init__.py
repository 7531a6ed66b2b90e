"""Anomaly detectors: one algorithm a file behind one contract, and the checks that each must pass."""
