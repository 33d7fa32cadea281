// What the page says of where pictures go, and of the servers there. Pure, as words.js.

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/;
const MOST_NAMED = 3;

const isLoopback = (host) => LOOPBACK.test(host);

/** The machine that serves the page, going by the name that the page was opened under. */
const machineOf = (host) => (isLoopback(host) ? "this computer" : host);

const originsOf = (status) => status?.remote?.origins ?? [];

const staysOn = (origins) => origins.every((origin) => isLoopback(hostOf(origin).name));

function hostOf(origin) {
  try {
    const { host, hostname } = new URL(origin);
    return { withPort: host, name: hostname };
  } catch {
    return { withPort: origin, name: origin };
  }
}

/** "a", "a and b", "a, b and c", "a, b, c and 2 more". */
function listed(names) {
  const left = names.length - MOST_NAMED;
  const shown = left > 0 ? [...names.slice(0, MOST_NAMED), `${left} more`] : names;
  return shown.length < 2 ? shown.join("") : `${shown.slice(0, -1).join(", ")} and ${shown.at(-1)}`;
}

/**
 * Where pictures go, in whole sentences; empty while the server has not said so. `host` is the name
 * that the page was opened under.
 */
export function privacyText(status, host) {
  if (!status) return "";
  const origins = originsOf(status);
  const machine = machineOf(host);
  if (origins.length === 0) {
    return `Pictures go from this page to the model on ${machine}, and nowhere else.`;
  }
  if (staysOn(origins)) {
    const [program, does] =
      origins.length > 1 ? ["other programs", "they do"] : ["another program", "it does"];
    return `Pictures go from this page to ${program} on ${machine}: ${listed(origins)}. What ${does} with them this page cannot tell.`;
  }
  const way = isLoopback(host)
    ? `Pictures leave this computer: they are sent to ${listed(origins)}`
    : `Pictures go from this page to ${host}, which sends them on to ${listed(origins)}`;
  return `${way}, where the model runs.${openWay(origins)}`;
}

function openWay(origins) {
  const open = origins.filter((origin) => origin.startsWith("http:") && !staysOn([origin]));
  if (open.length === 0) return "";
  return ` The way ${open.length < origins.length ? "to some of them" : "there"} is not encrypted.`;
}

/** The same in a few words beside the badge: { text, leaves }, or null where the model runs here. */
export function placeOf({ server: { status } }, host) {
  const origins = originsOf(status);
  if (origins.length === 0) return null;
  const names = listed(origins.map((origin) => hostOf(origin).withPort));
  const leaves = !staysOn(origins);
  return { leaves, text: `Pictures go to ${names}${leaves ? "" : `, on ${machineOf(host)}`}` };
}

/** The servers, each { origin, standing: "good" | "problem", facts }; none where the model runs here. */
export function upstreamsOf({ server: { status } }) {
  return (status?.remote?.upstreams ?? []).map((one) => ({
    origin: one.origin,
    standing: one.healthy ? "good" : "problem",
    facts: one.healthy ? factsOf(one) : sentence(one.problem ?? "does not answer."),
  }));
}

function factsOf({ model, outstanding, requests, failures }) {
  const sent = requests === 1 ? "1 request sent" : `${requests} requests sent`;
  const parts = [`Runs ${model}`, sent];
  if (outstanding > 0) parts.push(`${outstanding} under way`);
  if (failures > 0) parts.push(`${failures} failed`);
  return `${parts.join(", ")}.`;
}

const sentence = (words) => words.charAt(0).toUpperCase() + words.slice(1);

/** Whether pictures would have to go to servers of which none takes any. */
export function isCutOff({ server: { phase, status } }) {
  const upstreams = status?.remote?.upstreams ?? [];
  return phase === "ready" && upstreams.length > 0 && !upstreams.some((one) => one.healthy);
}

/** What is the matter with the servers that take no pictures, in a sentence each. */
export function cutOffWords({ server: { status } }) {
  return status.remote.upstreams
    .slice(0, MOST_NAMED)
    .map(({ origin, problem }) => `${origin} ${problem ?? "does not answer."}`)
    .join(" ");
}
