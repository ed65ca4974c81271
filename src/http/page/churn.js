// SPDX-License-Identifier: MIT
// The view Churn: which packages get new revisions most often, and which flap.
import { h, setText, text } from "./dom.js";
import { clock, number, packageLink, packageName, time } from "./format.js";
import { notice } from "./notice.js";
import { every, quietly } from "./poll.js";
import { getJson } from "./server.js";
import { showRows, table } from "./table.js";

const REFRESH_MS = 10000;
const LIMIT = 50;
const PERIODS = [
    ["1", "24 hours"],
    ["7", "7 days"],
    ["30", "30 days"],
    ["", "All"],
];

function makeTable(name, caption, title) {
    return table({
        name: "churn",
        caption,
        columns: [
            { name: "package", title: "Package", isHead: true },
            { name: `n bars ${name}`, title },
            { name: "when", title: "Last change" },
        ],
    });
}

// Makes a number with a bar as long as its part of the greatest.
function bar(value, greatest, more) {
    const part = h("span", { class: "part" });
    part.style.width = `${Math.max(1, (100 * value) / Math.max(1, greatest))}%`;
    return h("span", { class: "bar-row" }, h("b", null, number(value)), more,
        h("span", { class: "track", "aria-hidden": "true" }, part));
}

function list(title, hint, name, heading) {
    const made = makeTable(name, title, heading);
    const empty = h("p", { class: "empty" });
    const element = h(
        "section",
        { class: "panel" },
        h("h2", null, title),
        h("p", { class: "hint" }, hint),
        made.element,
        empty,
    );
    return { element, table: made, empty };
}

function showList({ table: made, empty }, items, key, more, none) {
    const greatest = Math.max(0, ...items.map((item) => item[key]));
    made.element.hidden = items.length === 0;
    empty.hidden = items.length > 0;
    setText(empty, none);
    showRows(made, items.map((item) => ({ ...item, greatest })),
        (item) => `${item.version.length}:${item.version}${item.pkgarch}`,
        (item) => [
            packageLink(item.version, item.pkgarch, packageName(item.version),
                h("span", { class: "arch" }, text(item.pkgarch, 60))),
            bar(item[key], greatest, more?.(item)),
            time(item.last),
        ]);
}

// Opens the view; parameters: days, how far it looks back.
export function open(main, parameters, { signal }) {
    let days = parameters.days ?? "7";
    const periods = PERIODS.map(([value, title]) =>
        h("a", { href: value ? `#/churn?days=${value}` : "#/churn?days=" }, title));
    const message = notice();
    const most = list("Most new revisions", "Packages by the number of revisions that they got.",
        "revisions", "New revisions");
    const flapping = list("Flapping",
        "Content that had an older revision came back and got a new one: A, B, A. Usually two builds with different content share the package.",
        "returns", "Returns");
    const since = h("p", { class: "hint" });
    const lists = h("div", { class: "halves", hidden: true }, flapping.element, most.element);
    main.append(
        h("h1", { tabindex: -1 }, "Churn"),
        h("nav", { class: "choice", "aria-label": "Period" }, periods),
        message.element, lists, since,
    );

    async function read() {
        const from = days ? new Date(Date.now() - days * 86400000).toISOString() : null;
        const asked = days;
        try {
            const answer = await getJson("churn", { since: from, limit: LIMIT }, signal);
            if (asked === days) show(answer, from);
        } catch (error) {
            if (message.showError(error)) lists.hidden = true;
            throw error;
        }
    }

    function show(answer, from) {
        message.hide();
        lists.hidden = false;
        showList(most, answer.revisions, "revisions", null, "No package got a new revision in this time.");
        showList(flapping, answer.returns.filter((item) => item.returns > 0), "returns",
            (item) => h("span", { class: "of" }, `of ${number(item.revisions)}`), "No package flaps.");
        // Of very many records only the newest are counted.
        const isCut = answer.since && from && new Date(answer.since) - new Date(from) > 60000;
        const begin = new Date(answer.since);
        setText(since, isCut ? `Counted since ${begin.toLocaleDateString("en-CA")} ${clock(begin)}: there are too many records to count them all.` : "");
    }

    function mark() {
        PERIODS.forEach(([value], i) => {
            if (value === days) periods[i].setAttribute("aria-current", "true");
            else periods[i].removeAttribute("aria-current");
        });
    }

    mark();
    every(REFRESH_MS, read, { signal });
    return {
        update(next) {
            days = next.days ?? "7";
            mark();
            quietly(read());
        },
    };
}
