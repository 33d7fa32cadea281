"""Labels, aspects and yes/no questions as tasks, and probabilities from what they score."""
