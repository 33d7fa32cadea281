"""Sightline's captioning: a frame and a prompt in, words out as they are made."""
