"""Measure errors of a model: in yes/no answers, captions, labels and its own probabilities."""
