// SPDX-License-Identifier: MIT
// The view Now: how the server is doing, and how it did in the last minutes.
import { chart } from "./chart.js";
import { h, setText, text } from "./dom.js";
import { bytes, clock, count, duration, number, rate, span } from "./format.js";
import { histogram, perSecond, quantile } from "./metrics.js";
import { every } from "./poll.js";
import { showRows, table } from "./table.js";
import { events, PERIOD_MS, points, readingBefore, state } from "./sampler.js";
import { getJson } from "./server.js";

const MINUTE_MS = 60000;

const CHARTS = [
    {
        title: "Requests a second",
        series: [{ value: (point) => point.requests, isArea: true }],
        format: rate,
        least: 1,
    },
    {
        title: "New revisions a second",
        series: [{ value: (point) => point.assigned, isArea: true }],
        format: rate,
        least: 1,
    },
    {
        title: "Time to answer",
        series: [
            { name: "p50", value: (point) => point.answers[0], isArea: true },
            { name: "p99", value: (point) => point.answers[1] },
        ],
        format: duration,
        least: 1e-3,
    },
    {
        title: "Time to commit",
        series: [
            { name: "p50", value: (point) => point.commits[0], isArea: true },
            { name: "p99", value: (point) => point.commits[1] },
        ],
        format: duration,
        least: 1e-3,
    },
];

// Makes a figure with a name: the value, and a line of detail.
function tile(list, name) {
    const value = h("span", { class: "figure" }, "–");
    const detail = h("span", { class: "detail" });
    const element = h("div", { class: "tile" }, h("dt", null, name), h("dd", null, value, detail));
    list.append(element);
    return (shown, more = "", level = "") => {
        setText(value, shown);
        setText(detail, more);
        element.className = `tile ${level}`;
    };
}

// ---- what the tiles say ----

function showHealth(show, reading) {
    if (reading.ready === 0) show("Not ready", state.reason, "bad");
    else show("Ready", "requests are served", "good");
}

function showErrors(show, reading, before) {
    const seconds = (reading.at - before.at) / 1000;
    const grown = (name) => (perSecond(before[name], reading[name], seconds) ?? 0) * seconds;
    const errors = Math.round(grown("errors"));
    const refused = Math.round(grown("refused"));
    const since = seconds < 1 ? "so far" : `in the last ${span(Math.min(60, seconds))}`;
    show(number(errors), `${since}; ${number(refused)} invalid`, errors > 0 ? "bad" : "");
}

function showUpstream(show, reading, status) {
    if (!status) return;
    const upstream = status.upstream;
    if (!upstream) {
        show("None", "revisions are given here alone");
        return;
    }
    const isUp = reading.upstreamUp !== 0;
    const waiting = !isUp && upstream.waiting > 0 ? `; ${count(upstream.waiting, "request")} waiting` : "";
    const trip = `p99 ${duration(upstream.round_trip_us.p99 / 1e6)}`;
    const away = `away for ${span(upstream.away_s)}`;
    show(isUp ? "Up" : "Down", `${upstream.address}; ${isUp ? trip : away}${waiting}`, isUp ? "" : "warn");
}

function showDatabase(show, reading, status) {
    const files = [];
    if (reading.size !== null) files.push(bytes(reading.size));
    if (reading.wal) files.push(`WAL ${bytes(reading.wal)}`);
    if (files.length === 0 && status) files.push(status.database.kind);
    const rows = reading.rows ?? status?.database.rows;
    const about = status?.database.rows_estimated ? "about " : "";
    show(rows === undefined || rows === null ? "–" : `${about}${number(rows)}`, `rows; ${files.join(", ")}`);
}

// ---- the table of requests ----

// Makes the rows: requests that were asked for at all, the most frequent first.
function kinds(reading, before) {
    const seconds = (reading.at - before.at) / 1000;
    const name = "prservd_request_duration_seconds";
    return [...reading.kinds]
        .map(([request, { ok, refused, error }]) => {
            const old = before.kinds.get(request) ?? { ok: 0, refused: 0, error: 0 };
            const [start, end] = [before, reading].map((one) =>
                histogram(one.families, name, { request }),
            );
            return {
                request,
                all: ok + refused + error,
                rate: perSecond(old.ok + old.refused + old.error, ok + refused + error, seconds),
                bad: refused + error,
                p50: quantile(0.5, start, end),
                p99: quantile(0.99, start, end),
            };
        })
        .filter((kind) => kind.all > 0)
        .sort((a, b) => b.all - a.all || (a.request < b.request ? -1 : 1));
}

// Opens the view in an element, until signal is aborted.
export function open(main, _, { signal }) {
    const tiles = h("dl", { class: "tiles" });
    const [health, requests, connections, upstream, database, errors, memory] = [
        "Health", "Requests", "Connections", "Upstream", "Database", "Errors", "Memory",
    ].map((name) => tile(tiles, name));
    const charts = CHARTS.map(chart);
    const range = h("input", { type: "range", id: "look-back", min: 0, max: 0, value: 0 });
    const shownAt = h("output", { for: "look-back" }, "now");
    const lookBack = h(
        "p",
        { class: "look-back" },
        h("label", { for: "look-back" }, "Look back"),
        range,
        shownAt,
    );
    const requestTable = table({
        name: "requests",
        caption: "Requests by kind",
        columns: [
            { name: "kind", title: "Request", isHead: true },
            { name: "n rate", title: "a second" },
            { name: "n", title: "p50" },
            { name: "n", title: "p99" },
            { name: "n all", title: "since the start" },
            { name: "n bad", title: "not carried out" },
        ],
    });
    const none = h("p", { class: "empty" }, "No requests since the start.");
    main.append(
        h("h1", { class: "unseen", tabindex: -1 }, "Now"),
        tiles,
        h("section", { "aria-label": "The last five minutes" },
            h("div", { class: "charts" }, charts.map((one) => one.element)), lookBack),
        h("section", { class: "panel" }, h("h2", null, "Requests by kind"), h("p", { class: "hint" },
            "Rates and times are those of the last minute."), requestTable.element, none),
    );

    let status = null;
    let back = null; // the time that is looked at; null: now

    // Returns the index of the point that is looked at, or null.
    function cursor() {
        if (back === null) return null;
        const at = points.findIndex((point) => point.at >= back);
        return at < 0 ? null : at;
    }

    function drawCharts() {
        const at = cursor();
        for (const one of charts) one.draw(points, at);
        range.max = Math.max(0, points.length - 1);
        range.value = at ?? range.max;
        setText(shownAt, at === null ? "now" : clock(new Date(points[at].at)));
        range.setAttribute("aria-valuetext", shownAt.textContent);
    }

    function lookAt(index) {
        back = index === null || index >= points.length - 1 ? null : points[index].at;
        drawCharts();
    }

    function drawRequests(reading) {
        const before = readingBefore(MINUTE_MS);
        const rows = kinds(reading, before);
        requestTable.element.hidden = rows.length === 0;
        none.hidden = rows.length > 0;
        showRows(requestTable, rows, (kind) => kind.request, (kind) => [
            h("code", null, text(kind.request)), rate(kind.rate), duration(kind.p50),
            duration(kind.p99), number(kind.all), number(kind.bad),
        ]);
    }

    function draw() {
        const reading = state.reading;
        if (!reading) return;
        const last = points[points.length - 1];
        showHealth(health, reading);
        requests(`${rate(last?.requests)} /s`, `${number(reading.requests)} since the start`);
        connections(number(reading.connections),
            status ? `${number(status.connections.accepted)} accepted` : "");
        showUpstream(upstream, reading, status);
        showDatabase(database, reading, status);
        showErrors(errors, reading, readingBefore(MINUTE_MS));
        memory(bytes(reading.resident),
            `clients: ${bytes(reading.memory)} of ${bytes(reading.memoryLimit)}`);
        drawCharts();
        drawRequests(reading);
    }

    for (const one of charts) {
        one.picture.addEventListener("pointermove", (event) => lookAt(one.find(event.clientX)));
        one.picture.addEventListener("pointerleave", () => lookAt(null));
    }
    range.addEventListener("input", () => lookAt(Number(range.value)));
    events.addEventListener("sample", draw, { signal });
    every(PERIOD_MS, async () => {
        status = await getJson("status", {}, signal);
        draw();
    }, { signal });
    draw();
}
