// SPDX-License-Identifier: MIT
// The view Bumps: the newest assignments, live.
import { showGroups } from "./builds.js";
import { h, setText, text } from "./dom.js";
import { checksum, count, number, packageLink, packageName, revision, time } from "./format.js";
import { notice } from "./notice.js";
import { source } from "./package.js";
import { every } from "./poll.js";
import { getJson } from "./server.js";
import { showRows, table } from "./table.js";

const REFRESH_MS = 2000;
const KEPT = 1000; // entries
const SHOWN = 300; // of a list
const SHOWN_OF_GROUP = 100;
const SCROLLED_PX = 160; // from here on, new entries wait above
const ANNOUNCE_MS = 30000;

const CHOICES = [
    ["none", "One by one"],
    ["build", "By build"],
    ["peer", "By client"],
];

const columns = [
    { name: "when", title: "Time" },
    { name: "package", title: "Package", isHead: true },
    { name: "n value", title: "Revision" },
    { name: "content", title: "Content" },
    { name: "source", title: "To" },
];

function cells(entry) {
    if (!entry.version)
        return [time(entry.time, { isClock: true }), `${number(Number(entry.value))} rows of older tables`,
            "", "", source(entry, { isShort: true })];
    return [
        time(entry.time, { isClock: true }),
        packageLink(entry.version, entry.pkgarch, packageName(entry.version),
            h("span", { class: "arch" }, text(entry.pkgarch, 60))),
        revision(entry.version, entry.value),
        [checksum(entry.checksum), entry.return ? h("span", { class: "tag warn" }, "came back") : null],
        source(entry, { isShort: true }),
    ];
}

function makeList(caption) {
    return table({ name: "bumps", caption, columns });
}

function show(made, entries, most = SHOWN) {
    showRows(made, entries.slice(0, most), (entry) => String(entry.id), cells);
}

// Shows the entries of a group.
function fillGroup(place, entries) {
    place.list ??= makeList("Assignments of this group");
    if (!place.list.element.isConnected) place.append(place.list.element, h("p", { class: "hint" }));
    show(place.list, entries, SHOWN_OF_GROUP);
    setText(place.lastElementChild, entries.length > SHOWN_OF_GROUP ? `The newest ${SHOWN_OF_GROUP} of ${number(entries.length)}.` : "");
}

// Opens the view; parameters: group, one of the choices.
export function open(main, parameters, { signal }) {
    let entries = []; // the newest first
    let isCut = false;
    let held = null; // the id up to which entries are shown while the page is scrolled; null: all
    let asked = parameters.group;
    let announced = { at: Date.now(), id: null };
    const choices = CHOICES.map(([name, title]) => h("a", { href: `#/bumps?group=${name}` }, title));
    const message = notice();
    const list = makeList("The newest assignments");
    const groups = h("div", { class: "groups" });
    const newer = h("button", { type: "button", class: "newer", hidden: true, click: release });
    const told = h("p", { class: "unseen", role: "status" });
    const below = h("p", { class: "hint" });
    main.append(
        h("div", { class: "title-row" }, h("h1", { tabindex: -1 }, "Bumps"),
            h("nav", { class: "choice", "aria-label": "Grouping" }, choices)),
        told, newer, message.element, list.element, groups, below,
    );

    function grouping() {
        if (CHOICES.some(([name]) => name === asked)) return asked;
        return entries.some((entry) => entry.annotations?.["build-name"]) ? "build" : "none";
    }

    function release() {
        held = null;
        scrollTo(0, 0);
        draw();
        main.querySelector("h1").focus({ preventScroll: true });
    }

    // Adds an answer, the newest first. An answer that is full may have left out older ones.
    function add(log, limit) {
        const known = new Set(entries.map((entry) => entry.id));
        const fresh = log.filter((entry) => !known.has(entry.id));
        const isFull = log.length >= limit && fresh.length === log.length;
        isCut ||= log.length >= limit || entries.length + fresh.length > KEPT;
        if (held === null && scrollY > SCROLLED_PX && entries.length > 0) held = entries[0].id;
        entries = (isFull ? fresh : [...fresh, ...entries]).sort((a, b) => b.id - a.id).slice(0, KEPT);
        if (held !== null && !entries.some((entry) => entry.id <= held)) held = null;
    }

    function announce() {
        const newest = entries[0]?.id ?? 0;
        announced.id ??= newest;
        const n = entries.filter((entry) => entry.id > announced.id).length;
        if (n === 0 || Date.now() - announced.at < ANNOUNCE_MS) return;
        setText(told, `${count(n, "new assignment")}`);
        announced = { at: Date.now(), id: newest };
    }

    function draw() {
        const by = grouping();
        CHOICES.forEach(([name], i) => {
            if (name === by) choices[i].setAttribute("aria-current", "true");
            else choices[i].removeAttribute("aria-current");
        });
        const shown = entries.filter((entry) => held === null || entry.id <= held);
        const n = entries.length - shown.length;
        newer.hidden = n === 0;
        setText(newer, n === 0 ? "" : `Show ${count(n, "new assignment")}`);
        list.element.hidden = by !== "none" || entries.length === 0;
        groups.hidden = by === "none" || entries.length === 0;
        if (entries.length === 0) {
            message.show("No assignments yet", "Each new revision that this server gives appears here within seconds.");
            setText(below, "");
            return;
        }
        message.hide();
        if (by === "none") show(list, shown);
        else showGroups(groups, shown, by, isCut, fillGroup);
        const visible = by === "none" ? Math.min(SHOWN, shown.length) : shown.length;
        setText(below, isCut || visible < shown.length ? `These are the newest ${number(visible)}.` : "");
    }

    every(REFRESH_MS, async () => {
        const since = entries.length > 0 ? entries[0].time : null;
        try {
            const answer = await getJson("log", { since, limit: KEPT }, signal);
            add(answer.log ?? answer, KEPT);
            draw();
            announce();
        } catch (error) {
            if (entries.length === 0) message.showError(error);
            throw error;
        }
    }, { signal });
    addEventListener("scroll", () => held !== null && scrollY < 10 && release(), { signal, passive: true });
    return {
        update(next) {
            asked = next.group;
            groups.replaceChildren();
            draw();
        },
    };
}
