"""Evaluation of predictions: accuracies and their errors, confusion, calibration, comparison."""
