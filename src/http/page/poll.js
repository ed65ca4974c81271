// SPDX-License-Identifier: MIT
// Repeats work while the page is visible. The next time is counted from the end of the last one,
// so a slow server gets fewer requests; after an error the wait grows.
import { Away, events, since } from "./server.js";

const LONGEST_MS = 30000;

// Calls work() at once and then every so often, until signal is aborted. work may throw. With
// isProbe it goes on while the server is away; otherwise it waits until the server is back.
export function every(ms, work, { signal, isProbe = false, isDelayed = false }) {
    let timer = null;
    let isRunning = false;
    let failures = 0;

    function wait() {
        if (failures === 0) return ms;
        const longest = Math.max(ms, LONGEST_MS / 2);
        return Math.min(longest, ms * 2 ** (failures - 1)) * (1 + Math.random() / 4);
    }

    function plan(delay) {
        clearTimeout(timer);
        timer = setTimeout(run, delay);
    }

    async function run() {
        if (isRunning || signal?.aborted || document.hidden || (since() && !isProbe)) return;
        isRunning = true;
        clearTimeout(timer);
        try {
            await work();
            failures = 0;
        } catch (error) {
            if (error.name !== "AbortError" && (!(error instanceof Away) || isProbe)) failures++;
        }
        isRunning = false;
        if (!signal?.aborted) plan(wait());
    }

    function end() {
        clearTimeout(timer);
        document.removeEventListener("visibilitychange", run);
        events.removeEventListener("back", run);
    }

    document.addEventListener("visibilitychange", run);
    events.addEventListener("back", run);
    signal?.addEventListener("abort", end);
    if (isDelayed) plan(ms);
    else run();
    return run;
}

// Ignores the failure of work that is repeated anyway.
export function quietly(promise) {
    promise.catch(() => {});
}
