"""`python -m tools.stress`: hostile clients against a server of its own, and who else suffers."""
