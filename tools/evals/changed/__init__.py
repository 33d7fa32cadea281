"""Captions of a still camera with and without what is kept of its last frames."""
