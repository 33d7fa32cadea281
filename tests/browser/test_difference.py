"""The change gate sees changes of the scene and ignores those that a camera adds."""

from __future__ import annotations

# Paints scenes in RGBA pixels: a lit wall and a red disc, with noise and exposure. Returns for each
# case of `arg` whether the gate sees a change between its two scenes.
HAS_CHANGED = """
  let seed = 1;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  const noise = (sigma) =>
    sigma * Math.sqrt(-2 * Math.log(random())) * Math.cos(2 * Math.PI * random());
  const plain = { x: 0.3, colour: [200, 40, 40], radius: 0.12, sigma: 0, light: 1, lift: 0 };
  const scene = (width, height, change) => {
    const { x, colour, radius, sigma, light, lift } = { ...plain, ...change };
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
  return arg.map(({ before, after, width = 192, height = 144 }) =>
    M.hasChanged(scene(width, height, before), scene(width, height, after)));
"""

STEADY = [
    ({}, {}),
    ({"sigma": 12}, {"sigma": 12}),
    ({"sigma": 6}, {"sigma": 14}),
    ({"light": 1}, {"light": 1.04}),
    ({"lift": 0}, {"lift": 8}),
    ({"x": 0.3}, {"x": 0.301}),
]
CHANGED = [
    ({"x": 0.3}, {"x": 0.36}),
    ({"radius": 0}, {"radius": 0.06}),
    ({"radius": 0.06, "sigma": 12}, {"radius": 0, "sigma": 12}),
    ({"light": 1}, {"light": 0.3}),
    ({"colour": [200, 40, 40]}, {"colour": [40, 200, 40]}),
]


def has_changed(modules, pairs, **size):
    cases = [{"before": before, "after": after, **size} for before, after in pairs]
    return modules("core/difference", HAS_CHANGED, cases)


def test_noise_and_exposure_do_not_count_as_change(modules):
    assert has_changed(modules, STEADY) == [False] * len(STEADY)


def test_new_moved_and_vanished_objects_count_as_change(modules):
    assert has_changed(modules, CHANGED) == [True] * len(CHANGED)


def test_another_colour_of_the_same_brightness_counts_as_change(modules):
    red, blue = [200, 40, 40], [40, 87, 230]
    weights = (0.299, 0.587, 0.114)
    luma = [sum(w * c for w, c in zip(weights, colour, strict=True)) for colour in (red, blue)]
    assert abs(luma[0] - luma[1]) < 2
    assert has_changed(modules, [({"colour": red}, {"colour": blue})]) == [True]


def test_frames_of_any_size_can_be_compared(modules):
    for width, height in ((1, 1), (3, 2), (33, 25), (512, 5), (5, 512)):
        assert has_changed(modules, [({}, {})], width=width, height=height) == [False]


def test_frame_is_scaled_down_in_its_aspect_ratio_and_never_up(modules):
    table = [
        ((1280, 720, 512), (512, 288)),
        ((720, 1280, 512), (288, 512)),
        ((640, 480, 192), (192, 144)),
        ((320, 240, 512), (320, 240)),
        ((4000, 3, 512), (512, 1)),
    ]
    body = "return arg.map((size) => Object.values(M.fitWithin(...size)));"
    fitted = modules("io/compress", body, [size for size, _ in table])
    assert [tuple(size) for size in fitted] == [expected for _, expected in table]
