"""`python -m tools.bench`: time captions on this machine, by the path that the page uses."""
