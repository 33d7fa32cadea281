"""The web side: routes check what comes in, hand it to the worker and stream back what it makes."""
