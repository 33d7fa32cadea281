"""The loss of nano's captions with fewer image tokens: smaller tiles, or tokens left out."""
