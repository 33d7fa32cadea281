"""`python -m vlm.images`: decode the picture on standard input, for `vlm.images.apart`."""

import os
import sys
from functools import partial

from vlm.images.apart import written
from vlm.images.decode import decode_image

# Captions come first. Windows has no `nice`; the parent process starts this one with less priority.
_NICENESS = 10

if __name__ == "__main__":
    if hasattr(os, "nice"):
        os.nice(_NICENESS)
    decode = partial(decode_image, is_apart=True)
    sys.stdout.buffer.write(written(decode, sys.stdin.buffer.read()))
