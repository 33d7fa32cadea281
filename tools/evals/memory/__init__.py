"""Evaluate what is remembered: the dual encoder, the timeline and its search."""
