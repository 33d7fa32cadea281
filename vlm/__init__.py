"""Sightline's captioning: a frame and a prompt in, words out as they are made."""

__version__ = "0.1.0"
