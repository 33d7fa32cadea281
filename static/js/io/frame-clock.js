// Counts the frames that a <video> shows, and tells when each came.

// Frames that the browser does not report are counted this often.
const POLL_MS = 100;

/**
 * Returns { count, at, time, total(), isAfter(after), next(after, limitMs, signal) } for a <video>:
 *
 * - `count`: the number of frames so far
 * - `at`: when the newest came, by `now()`; `time`: when the browser showed it, by its own clock
 * - `total()`: a number that grows with each frame, also while the page is not painted
 * - `isAfter`: whether the newest frame comes after `after`, { count, time }
 * - `next`: resolves at the first such frame, after `limitMs`, or on abort
 */
export function createFrameClock(video, now) {
  let waiting = [];
  let shown = 0;
  const clock = {
    count: 0,
    at: -Infinity,
    time: -Infinity,
    total: () => clock.count + shownFrames(video),
    isAfter: ({ count, time }) => clock.count > count && clock.time >= time,
    next(after, limitMs, signal) {
      if (clock.isAfter(after)) return Promise.resolve();
      return new Promise((resolve) => {
        const finish = () => {
          clearTimeout(timer);
          clearInterval(poll);
          signal.removeEventListener("abort", finish);
          waiting = waiting.filter((one) => one !== entry);
          resolve();
        };
        const entry = { after, finish };
        const timer = setTimeout(finish, limitMs);
        // A page that is shown and not painted gets no reports.
        const poll = setInterval(pollFrames, POLL_MS);
        signal.addEventListener("abort", finish);
        waiting.push(entry);
      });
    },
  };

  function countFrame(time) {
    shown = shownFrames(video);
    clock.count += 1;
    clock.at = now();
    clock.time = time;
    for (const { after, finish } of waiting) if (clock.isAfter(after)) finish();
  }

  function followFrames() {
    video.requestVideoFrameCallback((time) => {
      countFrame(time);
      followFrames();
    });
  }

  function pollFrames() {
    const isNew = shownFrames(video) > shown;
    if (isNew) countFrame(now());
    else shown = shownFrames(video);
  }

  if (typeof video.requestVideoFrameCallback === "function") followFrames();
  else setInterval(pollFrames, POLL_MS);
  return clock;
}

const shownFrames = (video) => video.getVideoPlaybackQuality?.().totalVideoFrames ?? 0;
