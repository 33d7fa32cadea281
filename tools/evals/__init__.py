"""Evaluations of what the product says, over pictures whose truth is known."""
