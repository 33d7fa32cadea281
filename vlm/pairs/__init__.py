"""Dual encoders: pictures and texts as vectors that are near if the text is true of the picture."""
