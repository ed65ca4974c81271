// SPDX-License-Identifier: MIT
// Makes elements. Whatever the server sends becomes a text node: nothing is parsed as HTML.

const SVG = "http://www.w3.org/2000/svg";

// Characters that show nothing, or change the order of others: controls, zero-width characters,
// directional ones, lone surrogates.
const INVISIBLE =
    /[\u0000-\u001f\u007f-\u00a0\u00ad\u061c\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff\ufff9-\ufffb]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

const MOST_CHARACTERS = 160;

function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes ?? {})) {
        if (typeof value === "function") element.addEventListener(name, value);
        else if (value !== null && value !== undefined && value !== false)
            element.setAttribute(name, value === true ? "" : String(value));
    }
    element.append(...children.flat(3).filter((child) => child !== null && child !== undefined));
    return element;
}

// Makes an HTML element. An attribute that is a function listens to the event of that name; null
// and false leave it out.
export function h(tag, attributes, ...children) {
    return fill(document.createElement(tag), attributes, children);
}

// Makes an SVG element.
export function svg(tag, attributes, ...children) {
    return fill(document.createElementNS(SVG, tag), attributes, children);
}

function code(character) {
    return "U+" + character.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0");
}

// Cuts a text, not inside a character.
function cut(value, most) {
    const at = most - (/[\ud800-\udbff]/.test(value[most - 1]) ? 1 : 0);
    return value.slice(0, at);
}

// Makes an element that shows a text from outside: isolated, so that it can't reorder its
// surroundings; invisible characters as their codes; cut if it is very long.
export function text(value, most = MOST_CHARACTERS) {
    const whole = String(value ?? "");
    const shown = whole.length > most ? cut(whole, most) : whole;
    const element = h("bdi");
    let at = 0;
    for (const found of shown.matchAll(INVISIBLE)) {
        element.append(shown.slice(at, found.index));
        element.append(h("span", { class: "code" }, code(found[0])));
        at = found.index + found[0].length;
    }
    element.append(shown.slice(at));
    if (shown.length < whole.length)
        element.append(
            h("span", { class: "cut" }, `… (${whole.length.toLocaleString("en")} characters)`),
        );
    return element;
}

// Sets the text of an element, if it differs: screen readers and selections stay undisturbed.
export function setText(element, value) {
    if (element.textContent !== value) element.textContent = value;
}

// Makes a button that copies a text.
export function copyButton(value, what) {
    const button = h("button", { type: "button", class: "copy", click: copy }, "Copy");
    button.setAttribute("aria-label", `Copy ${what}`);
    async function copy() {
        try {
            await navigator.clipboard.writeText(value);
            button.textContent = "Copied";
        } catch {
            // Without TLS, browsers give no access to the clipboard: select it instead.
            const shown = button.parentElement.querySelector("code");
            if (shown) getSelection().selectAllChildren(shown);
            button.textContent = "Selected";
        }
        setTimeout(() => (button.textContent = "Copy"), 2000);
    }
    return button;
}
