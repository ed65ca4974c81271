// SPDX-License-Identifier: MIT
// Reads /metrics every two seconds, whatever view is shown, and keeps the last minutes. While the
// server is away it is the only one that asks.
import { every } from "./poll.js";
import { getText } from "./server.js";
import { histogram, parse, perSecond, quantile, total } from "./metrics.js";

export const PERIOD_MS = 2000;
export const KEPT_MS = 5 * 60 * 1000;
const QUANTILES_MS = 10000; // of requests for one quantile: fewer are not enough at low load
const GAP_MS = 4 * PERIOD_MS; // between two readings: nothing is known in between

export const events = new EventTarget(); // "sample"
export const points = []; // the last minutes, oldest first
export const state = { reading: null, reason: "" };

const readings = [];

// Picks what the views need from an exposition.
function take(families, at) {
    const kinds = new Map();
    for (const { labels, value } of families.get("prservd_requests_total") ?? []) {
        const kind = kinds.get(labels.request) ?? { ok: 0, refused: 0, error: 0 };
        kind[labels.result] = value;
        kinds.set(labels.request, kind);
    }
    const one = (name) => total(families, name);
    return {
        at,
        kinds,
        start: one("process_start_time_seconds"),
        requests: one("prservd_requests_total"),
        refused: total(families, "prservd_requests_total", { result: "refused" }),
        errors: total(families, "prservd_requests_total", { result: "error" }),
        assigned: one("prservd_revisions_assigned_total"),
        answers: histogram(families, "prservd_request_duration_seconds"),
        commits: histogram(families, "prservd_commit_duration_seconds"),
        ready: one("prservd_ready"),
        connections: one("prservd_connections"),
        rows: one("prservd_database_rows"),
        size: one("prservd_database_size_bytes"),
        wal: one("prservd_wal_size_bytes"),
        upstreamUp: one("prservd_upstream_up"),
        memory: one("prservd_memory_used_bytes"),
        memoryLimit: one("prservd_memory_limit_bytes"),
        resident: one("process_resident_memory_bytes"),
        cpu: one("process_cpu_seconds_total"),
        dropped: one("prservd_audit_dropped_total"),
        build: families.get("prservd_build_info")?.[0]?.labels ?? {},
        families,
    };
}

// Returns the oldest reading of the same process that is not older than so much.
export function readingBefore(ms) {
    const last = readings[readings.length - 1];
    return readings.find((one) => last.at - one.at <= ms && one.start === last.start);
}

// Makes the point of the last reading, for the charts; what is not known is null.
function point() {
    const last = readings[readings.length - 1];
    const before = readings[readings.length - 2];
    const made = { at: last.at, requests: null, assigned: null, answers: [], commits: [] };
    if (!before || last.start !== before.start || last.at - before.at > GAP_MS) return made;
    const seconds = (last.at - before.at) / 1000;
    const older = readingBefore(QUANTILES_MS);
    made.requests = perSecond(before.requests, last.requests, seconds);
    made.assigned = perSecond(before.assigned, last.assigned, seconds);
    made.cpu = perSecond(before.cpu, last.cpu, seconds);
    for (const name of ["answers", "commits"])
        made[name] = [0.5, 0.99].map((q) => quantile(q, older[name], last[name]));
    return made;
}

async function findReason() {
    const answer = (await getText("readyz", { accepts: [503] })).trim();
    state.reason = answer.split("\n")[0].replace(/^not ready: /, "");
}

async function sample() {
    const exposition = await getText("metrics", { isProbe: true });
    readings.push(take(parse(exposition), Date.now()));
    state.reading = readings[readings.length - 1];
    if (state.reading.ready === 0) await findReason();
    else state.reason = "";
    points.push(point());
    while (readings.length > 0 && readings[0].at < Date.now() - KEPT_MS - 60000) readings.shift();
    while (points.length > 0 && points[0].at < Date.now() - KEPT_MS - PERIOD_MS) points.shift();
    events.dispatchEvent(new Event("sample"));
}

// Starts to read. Returns a function that reads at once.
export function start() {
    return every(PERIOD_MS, sample, { isProbe: true });
}
