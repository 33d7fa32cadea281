"""When a frame is worth a new caption: what changes in the scene, not what the camera adds."""

from __future__ import annotations

import pytest

# A scene painter over RGBA pixels: a lit wall and a red disc, with what a camera does to them.
SCENE = """
  const width = arg.width ?? 192, height = arg.height ?? 144;
  let seed = 1;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  const noise = (sigma) =>
    sigma * Math.sqrt(-2 * Math.log(random())) * Math.cos(2 * Math.PI * random());
  const plain = { x: 0.3, colour: [200, 40, 40], radius: 0.12, sigma: 0, light: 1, lift: 0 };
  const scene = (wish) => {
    const { x, colour, radius, sigma, light, lift } = { ...plain, ...wish };
    const pixels = new Uint8ClampedArray(width * height * 4);
    for (let row = 0; row < height; row += 1) {
      for (let column = 0; column < width; column += 1) {
        const [dx, dy] = [column / width - x, (row / height - 0.5) * (height / width)];
        const inside = Math.hypot(dx, dy) < radius;
        const base = inside ? colour : [120 + 60 * (column / width), 150, 140];
        const at = (row * width + column) * 4;
        for (let channel = 0; channel < 3; channel += 1) {
          pixels[at + channel] = base[channel] * light + lift + noise(sigma);
        }
        pixels[at + 3] = 255;
      }
    }
    return M.thumbnailOf(pixels, width, height);
  };
  return M.hasChanged(scene(arg.before), scene(arg.after));
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {}),
        ({"sigma": 12}, {"sigma": 12}),
        ({"sigma": 6}, {"sigma": 14}),
        ({"light": 1}, {"light": 1.04}),
        ({"lift": 0}, {"lift": 8}),
        ({"x": 0.3}, {"x": 0.301}),
    ],
)
def test_a_steady_scene_counts_as_unchanged(modules, before, after):
    assert modules("core/difference", SCENE, {"before": before, "after": after}) is False


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"x": 0.3}, {"x": 0.36}),
        ({"radius": 0}, {"radius": 0.06}),
        ({"radius": 0.06, "sigma": 12}, {"radius": 0, "sigma": 12}),
        ({"light": 1}, {"light": 0.3}),
        ({"colour": [200, 40, 40]}, {"colour": [40, 200, 40]}),
    ],
)
def test_a_new_a_moved_or_a_vanished_thing_counts_as_change(modules, before, after):
    assert modules("core/difference", SCENE, {"before": before, "after": after}) is True


def test_another_colour_of_the_same_brightness_counts_as_change(modules):
    red, blue = [200, 40, 40], [40, 87, 230]
    weights = (0.299, 0.587, 0.114)
    luma = [sum(w * c for w, c in zip(weights, colour, strict=True)) for colour in (red, blue)]
    assert abs(luma[0] - luma[1]) < 2
    arg = {"before": {"colour": red}, "after": {"colour": blue}}
    assert modules("core/difference", SCENE, arg) is True


@pytest.mark.parametrize(("width", "height"), [(1, 1), (3, 2), (33, 25), (512, 5), (5, 512)])
def test_frames_of_any_size_can_be_compared(modules, width, height):
    arg = {"width": width, "height": height, "before": {}, "after": {}}
    assert modules("core/difference", SCENE, arg) is False


@pytest.mark.parametrize(
    ("size", "max_side_px", "fitted"),
    [
        ((1280, 720), 512, (512, 288)),
        ((720, 1280), 512, (288, 512)),
        ((640, 480), 192, (192, 144)),
        ((320, 240), 512, (320, 240)),
        ((4000, 3), 512, (512, 1)),
    ],
)
def test_a_frame_is_made_smaller_in_its_shape_and_never_larger(modules, size, max_side_px, fitted):
    body = "return M.fitWithin(arg[0], arg[1], arg[2]);"
    width, height = fitted
    assert modules("io/compress", body, [*size, max_side_px]) == {"width": width, "height": height}
