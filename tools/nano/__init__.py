"""The bundled model: the scenes it learns from, its training, evaluation and checkpoint."""
