#!/usr/bin/env bash
# transformers 5.23.0: the Pillow processor of OWLv2 does not resize with the filter that `resample` names.
#
# Documented: `resample` is the "resampling filter to use when resizing the image", one of Pillow's numbers.
# Guess before the run: NEAREST (0) gives only colours that the picture has, and LANCZOS (1), BILINEAR (2)
# and BICUBIC (3) give three different results, as with the processors of other models.
#
# Seen: `_preprocess` hands `resample` to `resize` by position, where the third parameter is
# `anti_aliasing`. All filters except NEAREST give the same numbers, by linear interpolation, and NEAREST only
# turns anti-aliasing off: it still makes colours that are not in the picture. The same filters, given to
# the Pillow processor of OWL-ViT, differ.
# Consequence: a checkpoint whose preprocessor_config.json has another filter than 2 is silently read with
# linear interpolation, and one with 0 loses anti-aliasing.
#
# Output seen with the versions pinned below:
#   Owlv2ImageProcessorPil: 2 different results of 4 filters, NEAREST makes 5 levels of 2
#   OwlViTImageProcessorPil: 4 different results of 4 filters, NEAREST makes 2 levels of 2
#
# Installs in a temporary folder; exits with 1 if the behaviour differs.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  'transformers==5.23.0' 'numpy==2.4.6' 'pillow==13.0.0' 'scipy==1.17.1' 2>/dev/null
"$folder/venv/bin/python" - <<'PYTHON' 2>/dev/null
import sys

import numpy as np
from PIL import Image
from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil
from transformers.models.owlvit.image_processing_pil_owlvit import OwlViTImageProcessorPil

STRIPES = np.zeros((90, 90, 3), np.uint8)
STRIPES[:, ::7] = 255
SIDE = {"height": 24, "width": 24}


def measure(kind: type) -> tuple[int, int]:
    results = [
        np.asarray(
            kind(size=SIDE, resample=resample, do_normalize=False)(Image.fromarray(STRIPES))[
                "pixel_values"
            ][0]
        )
        for resample in range(4)
    ]
    different = len({result.round(4).tobytes() for result in results})
    levels = len(np.unique(results[0].round(4)))
    print(f"{kind.__name__}: {different} different results of 4 filters, ", end="")
    print(f"NEAREST makes {levels} levels of 2")
    return different, levels


owlv2, owlvit = measure(Owlv2ImageProcessorPil), measure(OwlViTImageProcessorPil)
sys.exit(0 if owlv2[0] == 2 and owlv2[1] > 2 and owlvit == (4, 2) else 1)
PYTHON
