// A quiet tone, for the ear.

const VOLUME = 0.06;
/** How fast pitch and volume follow, as a time constant. */
const GLIDE_S = 0.05;

/**
 * Returns { update(hz), destroy() }; `hz` null is silence. The sound system is opened by the first tone;
 * a browser that allows no sound before a press keeps the tone silent until then.
 */
export function createTone() {
  let context = null;
  let oscillator = null;
  let volume = null;
  let last = null;

  function open() {
    context = new AudioContext();
    oscillator = context.createOscillator();
    volume = context.createGain();
    volume.gain.value = 0;
    oscillator.connect(volume).connect(context.destination);
    oscillator.start();
  }

  return {
    update(hz) {
      if (hz === last || typeof AudioContext !== "function") return;
      if (navigator.userActivation?.hasBeenActive === false) return;
      last = hz;
      if (!context) open();
      const at = context.currentTime;
      volume.gain.setTargetAtTime(hz === null ? 0 : VOLUME, at, GLIDE_S);
      if (hz === null) return;
      oscillator.frequency.setTargetAtTime(hz, at, GLIDE_S);
      if (context.state === "suspended") context.resume().catch(() => {});
    },
    destroy() {
      context?.close();
      context = null;
    },
  };
}
