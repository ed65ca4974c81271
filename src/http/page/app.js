// SPDX-License-Identifier: MIT
// The frame of the page: which view is shown, the health in the bar, and whether the server is away.
// A view is a module with open(main, parameters, { signal }); signal ends it. It may return update(),
// for other parameters of the same view, and focus(), the element to begin with.
import { h, setText, text } from "./dom.js";
import { clock, refreshTimes, span } from "./format.js";
import { events as samples, start, state } from "./sampler.js";
import { events as availability, since } from "./server.js";
import * as bumps from "./bumps.js";
import * as churn from "./churn.js";
import * as feed from "./feed.js";
import * as now from "./now.js";
import * as onePackage from "./package.js";

const VIEWS = {
    now: { title: "Now", module: now },
    feed: { title: "Feed", module: feed },
    bumps: { title: "Bumps", module: bumps },
    churn: { title: "Churn", module: churn },
    package: { title: "Package", module: onePackage, isOnePlace: true },
};
const CLOCK_MS = 1000;

const main = document.getElementById("main");
const away = document.getElementById("away");
let shown = null; // { name, view, controller }

// ---- routes ----

function route() {
    const [path, query = ""] = location.hash.replace(/^#\/?/, "").split(/\?(.*)/s);
    const name = Object.hasOwn(VIEWS, path) ? path : "now";
    return { name, parameters: Object.fromEntries(new URLSearchParams(query)) };
}

function markLink(name) {
    for (const link of document.querySelectorAll("#views a")) {
        const is = link.getAttribute("href") === `#/${name === "package" ? "feed" : name}`;
        if (is) link.setAttribute("aria-current", name === "package" ? "true" : "page");
        else link.removeAttribute("aria-current");
    }
}

function setTitle(name, parameters) {
    const title = name === "package" ? (parameters.version ?? "").slice(0, 100) : VIEWS[name].title;
    document.title = `${title} – prservd`;
}

// Shows the view that the address names.
function follow(isFirst) {
    const { name, parameters } = route();
    setTitle(name, parameters);
    markLink(name);
    if (shown?.name === name && shown.view?.update) {
        shown.view.update(parameters);
        return;
    }
    shown?.controller.abort();
    const controller = new AbortController();
    main.replaceChildren();
    main.className = `view-${name}`;
    const view = VIEWS[name].module.open(main, parameters, { signal: controller.signal });
    shown = { name, view, controller };
    if (isFirst !== true) {
        scrollTo(0, 0);
        (view?.focus?.() ?? main.querySelector("h1"))?.focus({ preventScroll: true });
    }
}

// "/" goes to the search, as in many tools.
function onKey(event) {
    const isTyping = event.target.matches?.("input:not([type=range]), textarea, select");
    if (event.key !== "/" || isTyping || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    const focus = () => document.getElementById("search").focus();
    if (shown.name === "feed") focus();
    else addEventListener("hashchange", focus, { once: true });
    if (shown.name !== "feed") location.hash = "#/feed";
}

// ---- the bar ----

function showHealth() {
    const health = document.getElementById("health");
    const { reading } = state;
    let level = "";
    let word = "connecting";
    if (since()) [level, word] = ["bad", "away"];
    else if (reading?.ready === 0) [level, word] = ["bad", "not ready"];
    else if (reading?.upstreamUp === 0) [level, word] = ["warn", "upstream down"];
    else if (reading) [level, word] = ["good", "ready"];
    health.className = `health ${level}`;
    setText(document.getElementById("health-text"), word);
}

function showFooter() {
    const { reading } = state;
    if (!reading) return;
    const { version = "", commit = "" } = reading.build;
    const up = reading.start ? `, up for ${span(Date.now() / 1000 - reading.start)}` : "";
    const from = commit && commit !== "unknown" ? ` (${commit})` : "";
    setText(document.getElementById("footer"), `prservd ${version}${from} on ${location.host}${up}`);
}

let tryNow = null;

function showAway() {
    document.body.classList.toggle("is-away", since() !== null);
    if (since() === null) {
        away.replaceChildren();
    } else {
        const last = state.reading ? ` What you see is from ${clock(new Date(state.reading.at))}.` : "";
        away.append(
            h("p", null, `No answer from prservd since ${clock(since())}.${last} This page goes on trying.`),
            h("button", { type: "button", click: () => tryNow() }, "Try now"),
        );
    }
    showHealth();
}

// While the server is not ready, the bar says why, whatever view is shown.
function showReason() {
    if (since()) return;
    const reason = state.reading?.ready === 0 ? state.reason : "";
    if (away.dataset.reason === reason) return;
    away.dataset.reason = reason;
    away.replaceChildren(...(reason ? [h("p", null, "Not ready: ", text(reason, 500))] : []));
}

availability.addEventListener("away", () => {
    delete away.dataset.reason;
    away.replaceChildren();
    showAway();
});
availability.addEventListener("back", showAway);
samples.addEventListener("sample", () => {
    showHealth();
    showReason();
    showFooter();
});
addEventListener("hashchange", follow);
addEventListener("keydown", onKey);
document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault(); // the fragment of the address names the view
    main.focus();
});
setInterval(() => document.hidden || refreshTimes(), CLOCK_MS);
follow(true);
tryNow = start();
