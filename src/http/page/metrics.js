// SPDX-License-Identifier: MIT
// Reads Prometheus' text format, and computes rates and quantiles from two readings.

// One sample: a name, labels, a value. Labels of this server hold no escapes and no braces.
const SAMPLE = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/;

function readLabels(string) {
    const labels = {};
    for (const found of (string ?? "").matchAll(/(\w+)="([^"]*)"/g)) labels[found[1]] = found[2];
    return labels;
}

function readNumber(string) {
    return string === "+Inf" ? Infinity : Number(string);
}

// Returns the samples by name: lists of { labels, value }.
export function parse(exposition) {
    const families = new Map();
    for (const line of exposition.split("\n")) {
        const found = SAMPLE.exec(line);
        if (!found) continue;
        const list = families.get(found[1]) ?? [];
        list.push({ labels: readLabels(found[2]), value: readNumber(found[3]) });
        families.set(found[1], list);
    }
    return families;
}

// Returns the sum of the samples of a name that have these labels, or null if there are none.
export function total(families, name, labels = {}) {
    let sum = null;
    for (const sample of families.get(name) ?? [])
        if (Object.entries(labels).every(([key, value]) => sample.labels[key] === value))
            sum = (sum ?? 0) + sample.value;
    return sum;
}

// Returns a histogram, summed over the labels that are not given: [[upper end, count up to it]].
export function histogram(families, name, labels = {}) {
    const counts = new Map();
    for (const sample of families.get(`${name}_bucket`) ?? []) {
        if (!Object.entries(labels).every(([key, value]) => sample.labels[key] === value)) continue;
        const end = readNumber(sample.labels.le);
        counts.set(end, (counts.get(end) ?? 0) + sample.value);
    }
    return [...counts].sort((a, b) => a[0] - b[0]);
}

// Returns the quantile q of what was added to a histogram between two readings, interpolated as
// Prometheus does; null if nothing was added.
export function quantile(q, before, after) {
    const added = after.map(([end, count], i) => [end, count - (before[i]?.[1] ?? 0)]);
    const all = added.length > 0 ? added[added.length - 1][1] : 0;
    if (!(all > 0)) return null;
    const rank = q * all;
    let start = 0;
    let below = 0;
    for (const [end, count] of added) {
        if (count >= rank && count > below) {
            if (end === Infinity) return start;
            return start + (end - start) * ((rank - below) / (count - below));
        }
        start = end;
        below = count;
    }
    return start;
}

// Returns the growth of a counter a second; null if it is not known, or the server was restarted.
export function perSecond(before, after, seconds) {
    if (before === null || after === null || after < before || seconds <= 0) return null;
    return (after - before) / seconds;
}
