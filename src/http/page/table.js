// SPDX-License-Identifier: MIT
// Tables whose rows keep their elements when data is read again: focus, selection and scrolling
// stay. Roles are explicit because narrow screens lay the rows out as cards (style.css).
import { h } from "./dom.js";

// Makes a table. columns: [{ name, title, class, isHidden }]; name is the class of its cells, too.
export function table({ name, caption, columns }) {
    const body = h("tbody", { role: "rowgroup" });
    const head = columns.map((column) =>
        h(
            "th",
            { role: "columnheader", scope: "col", class: column.name },
            column.isHidden ? h("span", { class: "unseen" }, column.title) : column.title,
        ),
    );
    const element = h(
        "table",
        { role: "table", class: name },
        h("caption", { class: "unseen" }, caption),
        h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, head)),
        body,
    );
    return { element, body, columns };
}

function fillRow(row, columns, cells) {
    row.replaceChildren(
        ...columns.map((column, i) => {
            const isHead = column.isHead === true;
            return h(
                isHead ? "th" : "td",
                {
                    role: isHead ? "rowheader" : "cell",
                    scope: isHead ? "row" : null,
                    class: column.name,
                    "data-title": column.isHidden ? null : column.title,
                },
                cells[i],
            );
        }),
    );
}

const FOCUSABLE = "a, button";

// Fills a row again; what had the focus keeps it.
function refillRow(row, columns, cells) {
    const at = [...row.querySelectorAll(FOCUSABLE)].indexOf(document.activeElement);
    fillRow(row, columns, cells);
    if (at >= 0) row.querySelectorAll(FOCUSABLE)[at]?.focus();
}

// Shows items: key(item) names a row, cells(item) makes its contents. Rows whose item is the same as
// before stay as they are; others are marked as fresh, unless the table was empty.
export function showRows({ body, columns }, items, key, cells) {
    const known = new Map([...body.children].map((row) => [row.dataset.key, row]));
    const isFirst = known.size === 0;
    let place = body.firstChild;
    for (const item of items) {
        const name = key(item);
        const content = JSON.stringify(item);
        let row = known.get(name);
        known.delete(name);
        if (!row) {
            row = h("tr", { role: "row", "data-key": name });
            fillRow(row, columns, cells(item));
            if (!isFirst) row.className = "fresh";
        } else if (row.content !== content) {
            refillRow(row, columns, cells(item));
            row.className = "fresh";
        }
        row.content = content;
        if (row === place) place = place.nextSibling;
        else body.insertBefore(row, place);
    }
    for (const row of known.values()) row.remove();
}
