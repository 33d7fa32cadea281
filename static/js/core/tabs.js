// Other tabs of this page. They share its settings, and only one of them speaks at a time: the one that was
// used last. Pure, as state.js.

export const initialTabs = {
  /**
   * The other open tabs by their ids: when each was last used, in milliseconds since 1970, or null if it
   * captions nothing or is hidden.
   */
  otherTabs: {},
  /** When this tab was last used, or -Infinity. */
  usedAt: -Infinity,
};

/** What the other tabs are told of this one, as in `otherTabs`. */
export const claimOf = ({ started, visible, usedAt }) => (started && visible ? usedAt : null);

/** Whether another tab that captions was used later than this one. */
export function isOtherInUse(state) {
  const claim = claimOf(state);
  const isLater = (other) => other !== null && other > claim;
  return claim !== null && Object.values(state.otherTabs).some(isLater);
}

export const hasOtherTab = ({ otherTabs }) => Object.keys(otherTabs).length > 0;

export const tabsHandlers = {
  /** `claim` is what another tab tells of itself; undefined: it is closed. */
  "tab-heard"(state, { id, claim }) {
    const others = Object.entries(state.otherTabs).filter(([one]) => one !== id);
    const told = claim === undefined ? others : [...others, [id, claim]];
    return { ...state, otherTabs: Object.fromEntries(told) };
  },

  /** A key or a press here, or the window was chosen. */
  "tab-used"(state, { clock }) {
    const isFirst = state.usedAt === -Infinity;
    return isFirst || isOtherInUse(state) ? { ...state, usedAt: clock } : state;
  },
};
