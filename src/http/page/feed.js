// SPDX-License-Identifier: MIT
// The view Feed: all packages, searched by the beginning of their names.
import { h, setText, text } from "./dom.js";
import { count, number, packageLink, packageName, revision, time } from "./format.js";
import { notice } from "./notice.js";
import { every, quietly } from "./poll.js";
import { getJson } from "./server.js";
import { showRows, table } from "./table.js";

const TYPING_MS = 150; // the pause in typing that starts a search
const REFRESH_MS = 5000;
const PAGE = 50;

const columns = [
    { name: "package", title: "Package", isHead: true },
    { name: "pkgarch", title: "Architecture" },
    { name: "n greatest", title: "Greatest revision" },
    { name: "n contents", title: "Contents" },
    { name: "when", title: "Last change" },
];

function cells(item) {
    return [
        packageLink(item.version, item.pkgarch, packageName(item.version)),
        text(item.pkgarch),
        revision(item.version, item.greatest),
        `${item.complete === false ? "at least " : ""}${number(item.contents)}`,
        time(item.last_assigned, { none: "not known" }),
    ];
}

function link(parameters, title) {
    const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value));
    return h("a", { class: "button", href: `#/feed?${query}` }, title);
}

// Opens the view; parameters: q, the beginning of a name; after, where the page begins.
export function open(main, parameters, { signal }) {
    let current = parameters;
    let pending = null; // the search under way: its AbortController
    let timer = null;
    const input = h("input", {
        type: "search", id: "search", value: parameters.q ?? "", autocomplete: "off",
        autocapitalize: "off", spellcheck: "false", placeholder: "recipe, such as busybox",
        input: typed,
    });
    const found = h("p", { class: "found", role: "status" });
    const packages = table({ name: "packages", caption: "Packages", columns });
    const message = notice();
    const pages = h("nav", { class: "pages", "aria-label": "Pages" });
    main.append(
        h("h1", { tabindex: -1 }, "Feed"),
        h("form", { class: "search", role: "search", submit: (event) => { event.preventDefault(); quietly(search()); } },
            h("label", { for: "search" }, "Packages that begin with"), input, found),
        message.element, packages.element, pages,
    );
    packages.element.hidden = true;

    function typed() {
        current = { q: input.value };
        const query = new URLSearchParams(input.value ? current : {});
        history.replaceState(null, "", `#/feed${input.value ? `?${query}` : ""}`);
        clearTimeout(timer);
        timer = setTimeout(() => quietly(search()), TYPING_MS);
    }

    // Asks for the page. What was asked before is dropped, so an old answer is never shown.
    async function search() {
        clearTimeout(timer);
        pending?.abort();
        const mine = new AbortController();
        pending = mine;
        const { q = "", after } = current;
        try {
            const either = AbortSignal.any([signal, mine.signal]);
            const answer = await getJson("packages", { search: q, after, limit: PAGE }, either);
            if (mine === pending) show(answer, q, after);
        } catch (error) {
            if (mine === pending && message.showError(error)) packages.element.hidden = true;
            throw error;
        }
    }

    function showEmpty(q, after) {
        if (after) message.show("No more packages", "The page before this one was the last.");
        else if (q) message.show("No package begins with this", "The search takes the beginning of a recipe's name, in upper and lower case as it is written.");
        else message.show("No packages yet", "The first build that asks this server for a revision appears here.");
    }

    function show(answer, q, after) {
        const list = answer.packages;
        showRows(packages, list, (item) => `${item.version.length}:${item.version}${item.pkgarch}`, cells);
        packages.element.hidden = list.length === 0;
        if (list.length === 0) showEmpty(q, after);
        else message.hide();
        setText(found, list.length === 0 ? "" : answer.next ? `${count(list.length, "package")}; there are more` : count(list.length, "package"));
        const links = [];
        if (after) links.push(link({ q }, "First page"));
        if (answer.next) links.push(link({ q, after: answer.next }, "Next page"));
        const wanted = links.map((one) => one.href).join(" ");
        if (pages.dataset.links !== wanted) pages.replaceChildren(...links);
        pages.dataset.links = wanted;
    }

    every(REFRESH_MS, search, { signal });
    signal.addEventListener("abort", () => clearTimeout(timer));
    return {
        // Called when the address has changed to another page or search.
        update(next) {
            current = next;
            if (document.activeElement !== input) input.value = next.q ?? "";
            packages.body.replaceChildren();
            quietly(search());
            scrollTo(0, 0);
        },
        focus: () => (parameters.after || !matchMedia("(pointer: fine)").matches ? null : input),
    };
}
