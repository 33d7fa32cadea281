"""The evaluation `real`: real things, found by the small models, and what they cost."""
