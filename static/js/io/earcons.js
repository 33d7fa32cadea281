// Short sounds and vibrations, each for one event.

const VOLUME = 0.08;
const TONE_S = 0.09;
/** The tones of each sound, in hertz, and its vibration, in milliseconds of on, off, on. */
const SOUNDS = {
  answer: { tones: [660, 880], vibration: [20] },
  alert: { tones: [880, 660, 880], vibration: [80, 60, 80] },
  "camera-lost": { tones: [440, 220], vibration: [160] },
  on: { tones: [520, 780], vibration: [30] },
  freeze: { tones: [780], vibration: [30] },
  off: { tones: [780, 520], vibration: [30] },
};

/** Returns { play(name, { sounds, vibrates }), destroy() }. A browser may allow neither before a press. */
export function createEarcons() {
  let context = null;

  function sound(tones) {
    if (typeof AudioContext !== "function") return;
    if (navigator.userActivation?.hasBeenActive === false) return;
    context ??= new AudioContext();
    if (context.state === "suspended") context.resume().catch(() => {});
    tones.forEach((hz, index) => beep(hz, context.currentTime + index * TONE_S));
  }

  function beep(hz, at) {
    const oscillator = context.createOscillator();
    const volume = context.createGain();
    oscillator.frequency.value = hz;
    volume.gain.setValueAtTime(0, at);
    volume.gain.linearRampToValueAtTime(VOLUME, at + 0.01);
    volume.gain.linearRampToValueAtTime(0, at + TONE_S);
    oscillator.connect(volume).connect(context.destination);
    oscillator.start(at);
    oscillator.stop(at + TONE_S);
  }

  return {
    play(name, { sounds, vibrates }) {
      if (sounds) sound(SOUNDS[name].tones);
      if (vibrates && navigator.userActivation?.hasBeenActive !== false) {
        navigator.vibrate?.(SOUNDS[name].vibration);
      }
    },
    destroy() {
      context?.close();
      context = null;
    },
  };
}
