// SPDX-License-Identifier: MIT
// Shows which revisions of a package have the same content: content that came back has a letter and
// a lane of its own, beside the lane of everything else.
import { h, svg } from "./dom.js";

const MOST_LANES = 6; // and the first one
const STEP = 12;

// Takes revisions, the newest first. Returns { at, width }: at(index) makes { letter, lane, element }.
export function lanes(revisions) {
    const found = new Map(); // by checksum: the indexes of its first and last revision
    revisions.forEach((one, i) => {
        const place = found.get(one.checksum) ?? { newest: i, oldest: i, n: 0 };
        place.oldest = i;
        place.n++;
        found.set(one.checksum, place);
    });
    const returning = [...found.values()].filter((place) => place.n > 1);
    returning.sort((a, b) => b.oldest - a.oldest);
    returning.forEach((place, i) => {
        place.letter = i < 26 ? String.fromCharCode(65 + i) : "*";
        place.lane = 1 + Math.min(i, MOST_LANES - 1);
    });
    const n = 1 + Math.min(returning.length, MOST_LANES);

    function lines(i) {
        const drawn = [];
        for (let lane = 0; lane < n; lane++) {
            const spans =
                lane === 0
                    ? [{ newest: 0, oldest: revisions.length - 1 }]
                    : returning.filter((place) => place.lane === lane);
            for (const { newest, oldest } of spans) {
                if (i < newest || i > oldest || newest === oldest) continue;
                const x = lane * STEP + STEP / 2;
                drawn.push(
                    svg("line", {
                        class: `lane l${lane}`, x1: x, x2: x,
                        y1: i === newest ? "50%" : 0,
                        y2: i === oldest ? "50%" : "100%",
                    }),
                );
            }
        }
        return drawn;
    }

    function at(i) {
        const { letter = "", lane = 0 } = found.get(revisions[i].checksum);
        const dot = svg("circle", {
            class: `dot l${lane}`, cx: lane * STEP + STEP / 2, cy: "50%", r: i === 0 ? 5 : 4,
        });
        const picture = svg("svg", { class: "lanes", width: n * STEP, "aria-hidden": "true" }, lines(i), dot);
        return { letter, lane, element: h("span", { class: "lane-box" }, picture) };
    }
    return { at, width: n * STEP };
}
