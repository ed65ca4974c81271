// SPDX-License-Identifier: MIT
// A small line chart of the last minutes, in SVG. The numbers are in its caption, as text.
import { h, setText, svg } from "./dom.js";
import { clock } from "./format.js";
import { KEPT_MS, PERIOD_MS } from "./sampler.js";

const HEIGHT = 112;
const TOP = 8; // room above the greatest value
const GAP_MS = 4 * PERIOD_MS;

// Returns 1, 2 or 5 times a power of ten that is not below the value.
function ceiling(value) {
    const power = 10 ** Math.floor(Math.log10(value));
    return [1, 2, 5, 10].map((step) => step * power).find((end) => end >= value * 0.9999);
}

// Returns the path of a series: broken where nothing is known. A point without neighbours gets a
// short line, so that it can be seen.
function path(places, isArea, bottom) {
    let result = "";
    let run = [];
    function flush() {
        if (run.length === 0) return;
        if (run.length === 1) run.push([run[0][0] + 1.5, run[0][1]]);
        const line = run.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join("L");
        result += isArea
            ? `M${run[0][0].toFixed(1)},${bottom}L${line}L${run[run.length - 1][0].toFixed(1)},${bottom}Z`
            : `M${line}`;
        run = [];
    }
    let before = null;
    for (const place of places) {
        if (place === null || (before && place[2] - before[2] > GAP_MS)) flush();
        if (place) run.push(place);
        before = place;
    }
    flush();
    return result;
}

// Makes a chart. series: [{ name, value(point), isArea }]; format makes text of a value; least is the
// smallest greatest value of the scale. Returns { element, draw(points, cursor) }.
export function chart({ title, series, format, least }) {
    const top = svg("text", { class: "scale", x: 0, y: TOP + 11 });
    const cursor = svg("line", { class: "cursor", y1: 0, y2: HEIGHT, visibility: "hidden" });
    const areas = series.map((one, i) =>
        one.isArea ? svg("path", { class: `area s${i}` }) : null,
    );
    const lines = series.map((_, i) => svg("path", { class: `line s${i}` }));
    const grid = [0, 0.5, 1].map((part) => {
        const y = TOP + part * (HEIGHT - TOP - 1) + 0.5;
        return svg("line", { class: "grid", x1: 0, x2: "100%", y1: y, y2: y });
    });
    const picture = svg(
        "svg",
        { class: "plot", height: HEIGHT, role: "img" },
        grid,
        areas,
        lines,
        cursor,
        top,
    );
    const values = series.map(() => h("b"));
    const caption = h(
        "figcaption",
        null,
        h("h2", null, title),
        h(
            "span",
            { class: "values" },
            series.map((one, i) =>
                h("span", { class: `value s${i}` }, one.name ? `${one.name} ` : null, values[i]),
            ),
        ),
    );
    const element = h("figure", { class: "chart" }, caption, picture);
    let last = { points: [], at: null };

    function draw(points, at) {
        last = { points, at };
        const width = picture.clientWidth || 300;
        const now = points.length > 0 ? points[points.length - 1].at : Date.now();
        const known = points.flatMap((point) => series.map((one) => one.value(point) ?? 0));
        const greatest = ceiling(Math.max(least, ...known));
        const bottom = HEIGHT - 0.5;
        const x = (time) => width * (1 - (now - time) / KEPT_MS);
        series.forEach((one, i) => {
            const places = points.map((point) => {
                const value = one.value(point) ?? null;
                if (value === null) return null;
                return [x(point.at), bottom - (value / greatest) * (bottom - TOP), point.at];
            });
            lines[i].setAttribute("d", path(places, false, bottom));
            areas[i]?.setAttribute("d", path(places, true, bottom));
        });
        setText(top, format(greatest));
        const shown = at === null ? points[points.length - 1] : points[at];
        series.forEach((one, i) => setText(values[i], format(shown ? one.value(shown) : null)));
        cursor.setAttribute("visibility", at === null || !shown ? "hidden" : "visible");
        if (at !== null && shown)
            for (const end of ["x1", "x2"]) cursor.setAttribute(end, x(shown.at).toFixed(1));
        const when = shown ? ` at ${clock(new Date(shown.at))}` : "";
        picture.setAttribute("aria-label", `${title}${when}: ${describe(shown)}`);
    }

    function describe(shown) {
        return series
            .map((one) => `${one.name ?? ""} ${format(shown ? one.value(shown) : null)}`.trim())
            .join(", ");
    }

    // Returns the index of the point at a position on the screen.
    function find(clientX) {
        const box = picture.getBoundingClientRect();
        const { points } = last;
        if (points.length === 0 || box.width === 0) return null;
        const now = points[points.length - 1].at;
        const time = now - KEPT_MS * (1 - (clientX - box.left) / box.width);
        let best = 0;
        points.forEach((point, i) => {
            if (Math.abs(point.at - time) < Math.abs(points[best].at - time)) best = i;
        });
        return best;
    }

    new ResizeObserver(() => draw(last.points, last.at)).observe(picture);
    return { element, picture, draw, find };
}
