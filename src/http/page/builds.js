// SPDX-License-Identifier: MIT
// Groups assignments by the build, or the client, that got them.
import { h, setText, text } from "./dom.js";
import { clock, count } from "./format.js";

const KEYS = {
    build: (entry) => entry.annotations?.["build-name"] ?? null,
    peer: (entry) => entry.peer ?? null,
};

const OTHERS = { build: "Without the name of a build", peer: "Clients that are not known" };

// Returns groups, that with the newest entry first: [{ name, entries }]; name is null for the rest.
function group(entries, by) {
    const groups = new Map();
    for (const entry of entries) {
        const name = KEYS[by](entry);
        if (!groups.has(name)) groups.set(name, []);
        groups.get(name).push(entry);
    }
    return [...groups].map(([name, list]) => ({ name, entries: list }));
}

// Describes what a build did: how many packages it bumped, and how many were new.
function describe(entries, isCut) {
    const bumped = new Set();
    const fresh = new Set();
    for (const { version, pkgarch, value } of entries) {
        const name = JSON.stringify([version, pkgarch]);
        if (value === "0") fresh.add(name);
        else bumped.add(name);
    }
    for (const name of bumped) fresh.delete(name);
    const least = isCut ? "at least " : "";
    const parts = [];
    if (bumped.size > 0) parts.push(`bumped ${least}${count(bumped.size, "package")}`);
    if (fresh.size > 0)
        parts.push(bumped.size > 0 ? `${fresh.size} new` : `${least}${count(fresh.size, "new package")}`);
    return parts.join(", ");
}

function period(entries) {
    const [last, first] = [entries[0], entries[entries.length - 1]].map((one) => new Date(one.time));
    const isToday = first.toDateString() === new Date().toDateString();
    const day = isToday ? "" : `${first.toLocaleDateString("en-CA")} `;
    return `${day}${clock(first)} to ${clock(last)}`;
}

function hosts(entries) {
    const names = [...new Set(entries.map((one) => one.annotations?.["build-host"] ?? one.peer))];
    const known = names.filter(Boolean);
    if (known.length === 0) return null;
    return h("span", { class: "peer" }, text(known[0], 60), known.length > 1 ? ` and ${known.length - 1} more` : null);
}

// Shows groups in an element; open ones stay open. fill(place, entries) shows the entries of one.
// isCut: older entries were left out, so the oldest group may have more.
export function showGroups(element, entries, by, isCut, fill) {
    const isFirst = element.children.length === 0;
    const known = new Map([...element.children].map((one) => [one.dataset.key, one]));
    const oldest = entries[entries.length - 1];
    let place = element.firstElementChild;
    for (const { name, entries: list } of group(entries, by)) {
        const key = JSON.stringify(name);
        const details = known.get(key) ?? makeGroup(key, fill);
        known.delete(key);
        details.entries = list;
        const [title, what, when, who] = details.querySelector("summary").children;
        if (title.childNodes.length === 0) title.append(name === null ? OTHERS[by] : text(name, 100));
        setText(what, describe(list, isCut && list.includes(oldest)));
        setText(when, period(list));
        who.replaceChildren(...(by === "build" ? [hosts(list) ?? ""] : []));
        if (details.open) fill(details.lastElementChild, list);
        if (details !== place) element.insertBefore(details, place);
        else place = place.nextElementSibling;
    }
    for (const details of known.values()) details.remove();
    if (isFirst && element.firstChild) element.firstChild.open = true;
}

function makeGroup(key, fill) {
    const place = h("div", { class: "members" });
    const details = h(
        "details",
        { class: "group", "data-key": key, toggle: () => details.open && fill(place, details.entries) },
        h("summary", null, h("b"), h("span", { class: "what" }), h("span", { class: "when" }), h("span")),
        place,
    );
    return details;
}
