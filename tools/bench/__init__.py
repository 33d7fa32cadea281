"""`python -m tools.bench`: measure captions on this machine, made as the page makes them."""
