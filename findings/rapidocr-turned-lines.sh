#!/usr/bin/env bash
# rapidocr 3.10.0 turns some upright lines of text upside down before it reads them.
#
# Documented: the classifier `Cls` tells lines that are upside down from upright ones, and is on by default. Guess before the run: a page of
# large, upright, black lines is read line by line; at most single letters are wrong.
#
# Seen: each line is squeezed to 192 x 48 pixels for the classifier, whatever its length. Of 16 lines of 42 letters, drawn by Pillow in its
# own typeface, some are called "180" with more than 0.9, turned, and read as nonsense ("PL I  III  I   O"). Without the classifier
# (`Global.use_cls` false) all 16 are read.
# Consequence: signs and headlines in photographs are lost or read as nonsense whose score may pass a threshold.
#
# Output seen with the versions pinned below:
#   with the classifier: 14 of 16 lines begin with their words
#   without it: 16 of 16
#
# Installs in a temporary folder; exits with 1 if the behaviour differs.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'rapidocr==3.10.0' 'onnxruntime==1.32.0' \
  'opencv-python-headless==5.0.0.93' 'numpy==2.4.6' 'pillow==13.0.0' 2>/dev/null
"$folder/venv/bin/python" - <<'PYTHON'
import sys

from PIL import Image, ImageDraw, ImageFont
from rapidocr import RapidOCR

WORDS, LINES = "PLEASE DO NOT TOUCH THE EXHIBITS IN ROOM", 16
page = Image.new("RGB", (1100, 736), (200, 200, 195))
pen = ImageDraw.Draw(page)
for row in range(LINES):
    place = (20 + 5 * row, 10 + 42 * row)
    pen.text(place, f"{WORDS} {row}", font=ImageFont.load_default(40), fill=(20, 20, 20))


def right(use_cls: bool) -> int:
    reader = RapidOCR(params={"Global.use_cls": use_cls, "Global.log_level": "error"})
    return sum(text.startswith(WORDS) for text in reader(page).txts)


with_it, without = right(True), right(False)
print(f"with the classifier: {with_it} of {LINES} lines begin with their words")
print(f"without it: {without} of {LINES}")
sys.exit(0 if with_it < without == LINES else 1)
PYTHON
