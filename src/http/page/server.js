// SPDX-License-Identifier: MIT
// Asks the server. If it is away, only one request in a while is sent, by the sampler; all others
// fail at once, and whoever sent them tries again at the event "back".

const TIMEOUT_MS = 15000;

export const events = new EventTarget(); // "away", "back"
let awaySince = null;

// Returns since when the server is away (a Date), or null.
export function since() {
    return awaySince;
}

export class Away extends Error {}

// An answer with an error status.
export class Refused extends Error {
    constructor(status, message) {
        super(message);
        this.status = status;
    }
}

function setAway(isAway) {
    if (isAway === (awaySince !== null)) return;
    awaySince = isAway ? new Date() : null;
    events.dispatchEvent(new Event(isAway ? "away" : "back"));
}

async function describe(response) {
    const body = await response.text();
    try {
        return JSON.parse(body).error ?? `status ${response.status}`;
    } catch {
        return body.trim().slice(0, 500) || `status ${response.status}`;
    }
}

// Sends a request; throws Away or Refused, or an AbortError if the signal ends it. A probe is sent
// even if the server is away.
async function ask(path, { signal, isProbe = false, accepts = [] } = {}) {
    if (awaySince && !isProbe) throw new Away();
    const timeout = AbortSignal.timeout(TIMEOUT_MS);
    let response;
    try {
        response = await fetch(path, {
            signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
            cache: "no-store",
            credentials: "omit",
        });
    } catch (error) {
        if (signal?.aborted) throw error;
        setAway(true);
        throw new Away();
    }
    // A proxy says so if it can't reach the server.
    const isGateway = response.status === 502 || response.status === 504;
    setAway(isGateway);
    if (isGateway) throw new Away();
    if (!response.ok && !accepts.includes(response.status))
        throw new Refused(response.status, await describe(response));
    return response;
}

// Reads the body; a connection that breaks meanwhile counts as away.
async function read(response, how, signal) {
    try {
        return await response[how]();
    } catch (error) {
        if (signal?.aborted || error instanceof SyntaxError) throw error;
        setAway(true);
        throw new Away();
    }
}

function url(path, parameters = {}) {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(parameters))
        if (value !== null && value !== undefined && value !== "") query.set(name, value);
    const string = query.toString();
    return string ? `${path}?${string}` : path;
}

export async function getJson(path, parameters, signal) {
    const response = await ask(url(`api/v1/${path}`, parameters), { signal });
    return read(response, "json", signal);
}

export async function getText(path, options = {}) {
    return read(await ask(path, options), "text", options.signal);
}
