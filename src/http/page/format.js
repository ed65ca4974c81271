// SPDX-License-Identifier: MIT
// Numbers, durations, sizes and times as people read them; names of packages and revisions.
import { h, setText, text } from "./dom.js";

const NONE = "–";

export function number(value) {
    return value === null || value === undefined ? NONE : value.toLocaleString("en");
}

// Formats a number for a second or a minute: three digits matter.
export function rate(value) {
    if (value === null || value === undefined) return NONE;
    if (value >= 99.5) return Math.round(value).toLocaleString("en");
    if (value >= 9.95) return value.toFixed(1);
    return value === 0 ? "0" : value.toFixed(value < 0.095 ? 2 : 1);
}

// Formats a duration in seconds.
export function duration(seconds) {
    if (seconds === null || seconds === undefined) return NONE;
    const units = [
        [1e-3, 1e-6, "µs"],
        [1, 1e-3, "ms"],
        [60, 1, "s"],
    ];
    for (const [below, unit, name] of units) {
        const value = seconds / unit;
        if (seconds < below) return `${value < 9.95 ? +value.toFixed(1) : Math.round(value)}\u00a0${name}`;
    }
    return span(seconds);
}

// Formats a time that has passed, in seconds: "5 min", "3 d 4 h".
export function span(seconds) {
    const s = Math.max(0, Math.floor(seconds));
    if (s < 60) return `${s}\u00a0s`;
    if (s < 3600) return `${Math.floor(s / 60)}\u00a0min`;
    if (s < 86400) return `${Math.floor(s / 3600)}\u00a0h ${Math.floor((s % 3600) / 60)}\u00a0min`;
    return `${Math.floor(s / 86400)}\u00a0d ${Math.floor((s % 86400) / 3600)}\u00a0h`;
}

export function bytes(value) {
    if (value === null || value === undefined) return NONE;
    const units = ["B", "kB", "MB", "GB", "TB"];
    let unit = 0;
    while (value >= 999.5 && unit < units.length - 1) {
        value /= 1000;
        unit++;
    }
    return `${value < 9.95 && unit > 0 ? value.toFixed(1) : Math.round(value)}\u00a0${units[unit]}`;
}

export function count(value, one, many = `${one}s`) {
    return `${number(value)} ${value === 1 ? one : many}`;
}

const two = (value) => String(value).padStart(2, "0");

export function clock(date) {
    return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

function day(date) {
    return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

// Formats a time as seen from now: "12 s ago", "3 h ago", "2026-01-31".
function ago(date) {
    const seconds = (Date.now() - date) / 1000;
    if (seconds < 5) return "just now";
    if (seconds < 60) return `${Math.floor(seconds)} s ago`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
    if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
    if (seconds < 14 * 86400) return `${Math.floor(seconds / 86400)} d ago`;
    return day(date);
}

// Makes an element for a time, RFC 3339, which goes on to say how long ago it was. absolute: the date
// and the time instead; isClock: the same, without the date if it is today's.
export function time(value, options = {}) {
    const date = value ? new Date(value) : null;
    if (!date || Number.isNaN(date.getTime()))
        return h("span", { class: "none" }, options.none ?? NONE);
    const whole = `${day(date)} ${clock(date)}`;
    const element = h("time", { datetime: date.toISOString(), title: `${whole} (your time)` });
    const isToday = day(date) === day(new Date());
    if (options.isClock && isToday) element.append(clock(date));
    else if (options.isClock || options.absolute) element.append(whole);
    else {
        element.dataset.ago = "";
        element.append(ago(date));
    }
    return element;
}

// Brings all times on the page up to date.
export function refreshTimes() {
    for (const element of document.querySelectorAll("time[data-ago]"))
        setText(element, ago(new Date(element.dateTime)));
}

// Takes a version apart, if it is a recipe's name, a version and a PR, as BitBake sends them.
function split(version) {
    const found = /^(.{1,100})-([^-]{1,100})-(r[0-9]{1,9}(?:\.[0-9]{1,9}){0,4})$/.exec(version);
    return found ? { name: found[1], version: found[2], pr: found[3] } : null;
}

// Makes the name of a package: the recipe stands out.
export function packageName(version) {
    const parts = split(version);
    if (!parts) return h("span", { class: "name" }, h("b", null, text(version)));
    return h(
        "span",
        { class: "name" },
        h("b", null, text(parts.name)),
        h("span", { class: "rest" }, "-", text(parts.version), `-${parts.pr}`),
    );
}

// Returns the name of the recipe, or null.
export function recipe(version) {
    return split(version)?.name ?? null;
}

// Makes a revision as it is in the name of a package's file: the PR of the version, a dot, the value.
export function revision(version, value) {
    if (value === null || value === undefined)
        return h("span", { class: "none" }, NONE);
    const pr = split(version)?.pr;
    return h(
        "span",
        { class: "revision" },
        pr ? h("span", { class: "pr" }, `${pr}.`) : null,
        text(value, 40),
    );
}

// Makes a checksum, shortened.
export function checksum(value) {
    const whole = String(value);
    if (whole.length <= 16) return h("code", { class: "checksum" }, text(whole));
    return h(
        "code",
        { class: "checksum", title: whole.length <= 200 ? whole : null },
        text(whole.slice(0, 12)),
        "…",
    );
}

export function packageLink(version, pkgarch, ...children) {
    const query = new URLSearchParams({ version, pkgarch });
    return h("a", { href: `#/package?${query}` }, ...children);
}
