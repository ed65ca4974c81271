// SPDX-License-Identifier: MIT
// What a view says instead of data: that there is none, or that the server refused the question.
import { h, setText } from "./dom.js";
import { Refused } from "./server.js";

const TITLES = {
    400: "The server did not understand the question",
    404: "This server does not have this",
    414: "The name is too long to be asked for",
    431: "The name is too long to be asked for",
    501: "This server keeps no audit log",
};

const HINTS = {
    501: "Who got which revision is recorded by servers that may write, unless they run with --audit off.",
};

// Makes a place for a notice, hidden.
export function notice() {
    const title = h("h2");
    const detail = h("p");
    const element = h("div", { class: "notice", hidden: true }, title, detail);

    function show(heading, more, isError = false) {
        setText(title, heading);
        setText(detail, more);
        element.classList.toggle("error", isError);
        element.hidden = false;
    }

    // Shows an answer with an error. Returns false for other errors: the server is away, which the page
    // says in one place for all, or the request was dropped.
    function showError(error) {
        if (!(error instanceof Refused)) return false;
        const hint = HINTS[error.status];
        show(TITLES[error.status] ?? "The server can't answer now", hint ?? error.message, !hint);
        return true;
    }

    return { element, show, showError, hide: () => (element.hidden = true) };
}
