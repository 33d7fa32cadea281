// The texts about where pictures go and about the servers there. Pure, as page.js.

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/;
const MAX_NAMES = 3;

const isLoopback = (host) => LOOPBACK.test(host);

/** The machine that serves the page, as a name for people. */
const machineOf = (host) => (isLoopback(host) ? "this computer" : host);

const originsOf = (status) => status?.remote?.origins ?? [];

/** Whether all `origins` are on the server's own machine. */
const areLocal = (origins) => origins.every((origin) => isLoopback(hostOf(origin).name));

function hostOf(origin) {
  try {
    const { host, hostname } = new URL(origin);
    return { withPort: host, name: hostname };
  } catch {
    return { withPort: origin, name: origin };
  }
}

/** "a", "a and b", "a, b and c", "a, b, c and 2 more". */
function joinNames(names) {
  const left = names.length - MAX_NAMES;
  const shown = left > 0 ? [...names.slice(0, MAX_NAMES), `${left} more`] : names;
  return shown.length < 2 ? shown.join("") : `${shown.slice(0, -1).join(", ")} and ${shown.at(-1)}`;
}

/**
 * Where pictures go, in whole sentences; empty until the status is known. `host` is the host name in
 * this page's address.
 */
export function privacyText(status, host) {
  if (!status) return "";
  const keeps = status.timeline === "pictures";
  const kept = keeps ? ` Small ones are kept on ${machineOf(host)}: see Timeline.` : "";
  return `${routeText(status, host)}${kept}`;
}

function routeText(status, host) {
  const origins = originsOf(status);
  const machine = machineOf(host);
  if (origins.length === 0) {
    return `Pictures go from this page to the model on ${machine}, and nowhere else.`;
  }
  if (areLocal(origins)) {
    const [programs, those] =
      origins.length > 1
        ? ["other programs", "those programs do"]
        : ["another program", "that program does"];
    const names = joinNames(origins);
    return `Pictures go from this page to ${programs} on ${machine}: ${names}. This page cannot know what ${those} with them.`;
  }
  const route = isLoopback(host)
    ? `Pictures leave this computer: they are sent to ${joinNames(origins)}`
    : `Pictures go from this page to ${host}, which forwards them to ${joinNames(origins)}`;
  return `${route}, where the model runs.${encryptionWarning(origins)}`;
}

function encryptionWarning(origins) {
  const open = origins.filter((origin) => origin.startsWith("http:") && !areLocal([origin]));
  if (open.length === 0) return "";
  if (open.length < origins.length) return " Some of these connections are not encrypted.";
  return open.length > 1
    ? " These connections are not encrypted."
    : " The connection is not encrypted.";
}

/**
 * Where pictures go, as a short text beside the badge: { text, leaves }, or null if Sightline's server
 * runs the model itself. `leaves`: they leave that machine.
 */
export function destinationOf({ server: { status } }, host) {
  const origins = originsOf(status);
  if (origins.length === 0) return null;
  const names = joinNames(origins.map((origin) => hostOf(origin).withPort));
  const leaves = !areLocal(origins);
  return { leaves, text: `Pictures go to ${names}${leaves ? "" : `, on ${machineOf(host)}`}` };
}

/** The servers that run the model, each { origin, tone: "good" | "problem", facts }. */
export function upstreamsOf({ server: { status } }) {
  return (status?.remote?.upstreams ?? []).map((one) => ({
    origin: one.origin,
    tone: one.healthy ? "good" : "problem",
    facts: one.healthy ? factsOf(one) : sentence(one.problem ?? "does not answer."),
  }));
}

function factsOf({ model, outstanding, requests, failures }) {
  const sent = requests === 1 ? "1 request sent" : `${requests} requests sent`;
  const parts = [`Runs ${model}`, sent];
  if (outstanding > 0) parts.push(`${outstanding} in progress`);
  if (failures > 0) parts.push(`${failures} failed`);
  return `${parts.join(", ")}.`;
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** Whether other servers run the model and none of them works. */
export function allUpstreamsDown({ server: { phase, status } }) {
  const upstreams = status?.remote?.upstreams ?? [];
  return phase === "ready" && upstreams.length > 0 && !upstreams.some((one) => one.healthy);
}

/** The problems of these servers, one sentence each. */
export function upstreamProblems({ server: { status } }) {
  return status.remote.upstreams
    .slice(0, MAX_NAMES)
    .map(({ origin, problem }) => `${origin} ${problem ?? "does not answer."}`)
    .join(" ");
}
