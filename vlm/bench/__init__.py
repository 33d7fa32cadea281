"""`python -m vlm.bench`: how fast captions come on this machine, by the path that the page uses."""
