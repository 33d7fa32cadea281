"""What nano's captions lose with fewer image tokens: smaller tiles, or some tokens left out."""
