// SPDX-License-Identifier: MIT
// The view of one package: why it has its revision, and who got which one when.
import { copyButton, h, text } from "./dom.js";
import { checksum, count, number, packageName, recipe, revision, time } from "./format.js";
import { lanes } from "./lanes.js";
import { notice } from "./notice.js";
import { every } from "./poll.js";
import { getJson } from "./server.js";
import { table } from "./table.js";

const REFRESH_MS = 5000;
const SHOWN = 200; // revisions, until all are asked for

const columns = [
    { name: "lane", title: "Same content", isHidden: true },
    { name: "value", title: "Revision", isHead: true },
    { name: "content", title: "Content" },
    { name: "when", title: "Assigned" },
    { name: "source", title: "To" },
    { name: "when asked", title: "Last asked for" },
    { name: "n", title: "Times" },
];

const ANNOTATIONS = ["build-name", "build-host", "machine", "distro", "layers"];

// Makes the peer and the annotations of a record; the build's name comes first.
export function source(record, { isShort = false } = {}) {
    const annotations = record.annotations ?? {};
    const names = ANNOTATIONS.filter((name) => annotations[name]);
    const shown = isShort ? names.slice(0, 1) : names;
    return [
        record.peer ? h("span", { class: "peer" }, text(record.peer, 60)) : null,
        shown.map((name) =>
            h("span", { class: "note-pair" }, h("span", { class: "unseen" }, `${name}: `), text(annotations[name], 80)),
        ),
        record.request && record.request !== "get-pr"
            ? h("span", { class: "tag" }, text(record.request, 30)) : null,
    ];
}

// Returns the command that compares two contents, if they are signatures of tasks; otherwise null.
function comparison(version, compare) {
    const name = recipe(version);
    const isPlain = name && /^[\w+.][\w+.-]*$/.test(name) && !name.startsWith("AUTOINC-");
    if (!isPlain || !compare?.every((one) => /^[0-9a-f]{64}$/.test(one))) return null;
    return `bitbake-diffsigs -t ${name} do_package -s ${compare[0]} ${compare[1]}`;
}

function why(version, answer) {
    const known = answer.why;
    if (!known)
        return h("section", { class: "panel verdict" }, h("h2", null, "Why this revision"),
            h("p", { class: "hint" }, "Not known: this server keeps no audit log, or it can't be read now."));
    const command = comparison(version, known.compare);
    const isFlapping = known.revisions.some((one) => one.return);
    return h(
        "section",
        { class: `panel verdict ${isFlapping ? "warn" : ""}` },
        h("h2", null, "Why this revision"),
        h("p", { class: "sentence" }, text(known.verdict, 1000)),
        command
            ? h("div", { class: "command" },
                h("p", { class: "hint" }, "To compare the two contents, in a build folder that has both signatures:"),
                h("pre", { tabindex: 0, "aria-label": "Command" }, h("code", null, command)),
                copyButton(command, "the command"))
            : null,
    );
}

function side(title, value, version, detail) {
    return h("section", { class: "panel side" }, h("h2", null, title),
        h("p", { class: "big" }, revision(version, value)), h("p", { class: "hint" }, detail));
}

// Says how the upstream's greatest revision relates to the local one.
function sides(version, answer, rows) {
    const contents = new Set(rows.map((row) => row.checksum)).size;
    const here = side("Here", answer.greatest, version,
        `${count(rows.length, "revision")}, ${count(contents, "content")}`);
    const upstream = answer.upstream;
    if (!upstream) return h("div", { class: "sides" }, here);
    let detail;
    if (upstream.error) detail = text(upstream.error, 200);
    else if (upstream.greatest === null) detail = "The upstream does not have this package.";
    else if (upstream.greatest === answer.greatest) detail = "The same as here.";
    else if (String(answer.greatest).startsWith(`${upstream.greatest}.`)) detail = "Content that is only here comes after it.";
    else detail = "The next request here takes it into account.";
    return h("div", { class: "sides" }, here, side("Upstream", upstream.greatest, version, detail));
}

// Returns the revisions, the newest first, with what is known of them.
function revisions(answer) {
    if (answer.why?.revisions.length > 0) return answer.why.revisions.slice().reverse();
    return answer.revisions.map((one) => ({ value: one.revision, checksum: one.checksum }));
}

function timeline(version, rows, most) {
    const made = table({ name: "timeline", caption: "Revisions, the greatest first", columns });
    const { at, width } = lanes(rows);
    made.element.style.setProperty("--lanes", `${width}px`);
    rows.slice(0, most).forEach((row, i) => {
        const lane = at(i);
        const letter = lane.letter
            ? h("span", { class: `letter l${lane.lane}`, title: "The same letter is the same content" }, lane.letter) : null;
        const cells = [
            lane.element,
            revision(version, row.value),
            [letter, checksum(row.checksum), row.return ? h("span", { class: "tag warn" }, "came back") : null],
            time(row.time, { absolute: true, none: "not recorded" }),
            source(row),
            time(row.asked, { none: "not recorded" }),
            row.count === undefined ? "–" : number(row.count),
        ];
        made.body.append(h("tr", { role: "row" }, columns.map((column, k) =>
            h(column.isHead ? "th" : "td", {
                role: column.isHead ? "rowheader" : "cell", scope: column.isHead ? "row" : null,
                class: column.name, "data-title": column.isHidden ? null : column.title }, cells[k]))));
    });
    return made.element;
}

// Opens the view; parameters: version, pkgarch.
export function open(main, parameters, { signal }) {
    const { version = "", pkgarch = "" } = parameters;
    const message = notice();
    const content = h("div");
    let last = "";
    let most = SHOWN;
    main.append(
        h("p", { class: "above" }, h("a", { href: `#/feed?${new URLSearchParams({ q: recipe(version) ?? version.slice(0, 100) })}` }, "Feed")),
        h("h1", { tabindex: -1, class: "package-title" }, packageName(version), " ", h("span", { class: "chip" }, text(pkgarch, 60))),
        message.element, content,
    );

    function show(answer) {
        const rows = revisions(answer);
        if (rows.length === 0) {
            message.show("This package has no revisions", "Nobody asked this server for one, or its name is another one.");
            content.replaceChildren();
            return;
        }
        message.hide();
        const isComplete = (answer.why ?? answer).complete !== false;
        const more = rows.length > most
            ? h("button", { type: "button", class: "button", click: () => { most = Infinity; show(answer); } }, `Show all ${number(rows.length)}`) : null;
        const focused = [...content.querySelectorAll("button, pre")].indexOf(document.activeElement);
        content.replaceChildren(
            h("div", { class: "top" }, why(version, answer), sides(version, answer, rows)),
            h("section", { class: "panel" }, h("h2", null, "Revisions"),
                timeline(version, rows, most), more,
                isComplete ? null : h("p", { class: "hint" }, "Smaller revisions are left out.")),
        );
        if (focused >= 0) content.querySelectorAll("button, pre")[focused]?.focus();
    }

    every(REFRESH_MS, async () => {
        try {
            const answer = await getJson("package", { version, pkgarch }, signal);
            const string = JSON.stringify(answer);
            if (string !== last) show(answer);
            last = string;
        } catch (error) {
            if (message.showError(error)) content.replaceChildren();
            last = "";
            throw error;
        }
    }, { signal });
}
