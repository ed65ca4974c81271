# SPDX-License-Identifier: MIT
"""The page in a real Chromium, with real servers behind it."""

import gzip
import json
import re
import time
import urllib.parse

import pytest

import browser as chromium
from browser import NARROW, WIDE, Keys
from harness import Client, Server, free_port, poll
from http_client import fetch, http_address, needs_http

# One browser for all tests of this file: they run in one process.
pytestmark = [needs_http, pytest.mark.slow, pytest.mark.xdist_group("browser")]

PACKAGE = ("m4-1.4.19-r0", "core2-64")
CONTENTS = {name: f"{number:064x}" for number, name in enumerate("ABC", 0xA0B0C0)}
VIEWS = {
    "now": "#/now",
    "feed": "#/feed",
    "bumps": "#/bumps?group=none",
    "builds": "#/bumps?group=build",
    "churn": "#/churn",
    "package": "#/package?"
    + urllib.parse.urlencode(dict(zip(("version", "pkgarch"), PACKAGE))),
}
# What each view shows when its data has arrived.
SIGNS = {
    "now": ("table.requests td, table.requests th", "get-pr"),
    "feed": ("table.packages tbody th", "busybox"),
    "bumps": ("table.bumps tbody th", "zlib"),
    "builds": (".group summary", "nightly-7"),
    "churn": (".returns .bar-row", "of "),
    "package": (".sentence", "had r0"),
}

HOSTILE = """<script>window.harm = 1</script><img src=x onerror="window.harm = 1">'"&amp;</td>"""
BIDI = "abc\u202egnp.exe\u2066\u200b"
LONG = "long-" + "x" * 50_000  # three times in a message, whose limit is 256 KiB
# axe-core takes seconds. It looks at each view once: at these in the dark on a phone, at the others
# in the light on a desk.
CHECKED_IN_THE_DARK = {"feed", "builds", "churn"}


def annotated(server, **annotations):
    """A client whose opening has annotations."""
    lines = "".join(
        f"x-{name.replace('_', '-')}: {value}\n" for name, value in annotations.items()
    )
    handshake = f"PRSERVICE 1.0\n{lines}\n".encode()
    return Client(("127.0.0.1", server.port), handshake=handshake)


def fill(server):
    """Two builds that share packages, so that one flaps."""
    build = {"machine": "qemux86-64", "distro": "poky"}
    with annotated(
        server, build_name="nightly-7", build_host="build-3", **build
    ) as first, annotated(
        server, build_name="release-5.2", build_host="build-4", **build
    ) as second:
        for number in range(6):
            first.get_pr(f"recipe-{number}-1.{number}-r0", "all", CONTENTS["A"])
        for name in "busybox-1.36.1-r0", "zlib-1.3.1-r0", "zstd-1.5.5-r0":
            first.get_pr(name, "core2-64", CONTENTS["A"])
            second.get_pr(name, "core2-64", CONTENTS["B"])
        for _ in range(2):
            first.get_pr(*PACKAGE, CONTENTS["A"])
            second.get_pr(*PACKAGE, CONTENTS["B"])


def page(server, fragment=""):
    return f"http://{http_address(server)}/{fragment}"


def log_length(server):
    answer = json.loads(fetch(server, "/api/v1/log?limit=1000").text)
    return len(answer.get("log", []))  # an error: it took too long


@pytest.fixture(scope="module")
def chrome():
    chromium.require()
    browser = chromium.Browser()
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A server with data, below an upstream, for tests that only add to it."""
    folder = tmp_path_factory.mktemp("page")
    with Server(folder / "upstream", "--sync", "off") as upstream:
        upstream.get_pr(*PACKAGE, CONTENTS["C"])
        options = ("--sync", "off", "--http", "127.0.0.1:0")
        with Server(
            folder / "server", *options, "--upstream", upstream.address
        ) as server:
            fill(server)
            poll(lambda: log_length(server) >= 16, "the audit log")
            yield server


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A server that was told hostile texts in every field."""
    folder = tmp_path_factory.mktemp("hostile")
    with Server(folder / "server", "--sync", "off", "--http", "127.0.0.1:0") as server:
        with annotated(
            server,
            build_name=HOSTILE,
            build_host=BIDI,
            machine=LONG[:8000],
            layers=HOSTILE,
        ) as client:
            for text in LONG, BIDI, HOSTILE:
                client.get_pr(f"a{text}-1-r0", text, text)
                client.get_pr(f"a{text}-1-r0", text, text + "2")
                client.get_pr(f"a{text}-1-r0", text, text)
        poll(lambda: log_length(server) == 9, "the audit log")
        yield server


# ---- each view ----


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_shows_what_the_server_knows_also_on_a_phone_in_the_dark(
    chrome, site, view
):
    chrome.open(page(site, VIEWS[view]))
    chrome.wait(*SIGNS[view])
    assert chrome.texts("#health") == ["ready"]
    if view not in CHECKED_IN_THE_DARK:
        chrome.check_access()
    chrome.screenshot(view)
    chrome.set_size(*NARROW)
    chrome.set_scheme("dark")
    assert not chrome.is_too_wide()
    ground = chrome.run("return getComputedStyle(document.body).backgroundColor")
    assert max(map(int, re.findall(r"\d+", ground))) < 60, ground
    if view in CHECKED_IN_THE_DARK:
        chrome.check_access()
    chrome.screenshot(f"{view}-phone-dark")
    chrome.check()


def test_now_shows_rates_quantiles_and_the_upstream(chrome, site):
    chrome.open(page(site))
    with site.client() as client:

        def has_figures():
            client.get_pr(*PACKAGE, CONTENTS["B"])
            values = chrome.texts(".values b")
            return values and values[0] not in ("–", "0") and "s" in values[2]

        poll(has_figures, "figures in the charts")
    assert chrome.wait(".tile:nth-child(4)", "127.0.0.1:")[0].startswith("UpstreamUp")
    assert "rows" in chrome.texts(".tile:nth-child(5)")[0]
    label = chrome.run(
        "return document.querySelector('.plot').getAttribute('aria-label')"
    )
    assert label.startswith("Requests a second at ")


def test_a_package_has_its_verdict_and_who_got_what(chrome, site):
    chrome.open(page(site, VIEWS["package"]))
    assert "two builds with different content" in chrome.wait(".sentence", "r0.")[0]
    command = f"bitbake-diffsigs -t m4 do_package -s {CONTENTS['A']} {CONTENTS['B']}"
    assert chrome.texts(".command code") == [command]
    rows = chrome.texts("table.timeline tbody tr")
    assert len(rows) == 4
    assert "came back" in rows[0] and "release-5.2" in rows[0] and "build-4" in rows[0]
    assert "came back" not in rows[3] and "nightly-7" in rows[3]
    assert chrome.texts(".letter") == ["B", "A", "B", "A"]


def test_a_package_shows_the_upstream_beside_the_server(chrome, site):
    chrome.open(page(site, VIEWS["package"]))
    chrome.wait(".side h2", "Upstream")
    here, above = chrome.texts(".side")
    assert "r0." in here
    assert "r0" in above and "Content that is only here comes after it." in above


def test_a_build_bumped_a_number_of_packages(chrome, site):
    chrome.open(page(site, "#/bumps"))
    groups = chrome.wait(
        ".group summary", "nightly-7", "groups, because builds have names"
    )
    first = next(text for text in groups if "nightly-7" in text)
    assert "bumped 1 package, 9 new" in first and "build-3" in first
    assert len(chrome.texts(".group[open] table.bumps tbody tr")) > 3


def test_churn_shows_what_flaps_and_looks_back_as_far_as_asked(chrome, site):
    chrome.open(page(site, "#/churn?days=1"))
    flapping = chrome.wait(".returns", "2")[1:]
    assert flapping == ["2of 4"], flapping
    assert chrome.texts(".choice [aria-current]") == ["24 hours"]
    chrome.click(".choice a:last-child")
    chrome.wait(".choice [aria-current]", "All")
    assert chrome.run("return location.hash") == "#/churn?days="


# ---- search ----


def names(chrome):
    return [text.rsplit("-", 2)[0] for text in chrome.texts("table.packages tbody th")]


def test_a_search_follows_what_is_typed(chrome, site):
    chrome.open(page(site, "#/feed"))
    chrome.wait(*SIGNS["feed"])
    chrome.requests()
    chrome.click("#search")
    chrome.press("zst")
    poll(lambda: names(chrome) == ["zstd"], "the package")
    asked = [url for url in chrome.requests() if "search=" in url]
    assert len(asked) <= 3, "typing starts no flood of requests"
    assert chrome.run("return location.hash") == "#/feed?q=zst"
    chrome.press(Keys.BACKSPACE, Keys.BACKSPACE)
    poll(lambda: names(chrome) == ["zlib", "zstd"], "the packages")
    chrome.press("-nosuch")
    chrome.wait(".notice", "No package begins with this")
    chrome.open(page(site, "#/feed?q=zst"))
    poll(lambda: names(chrome) == ["zstd"], "the bookmarked search")
    chrome.check()


def test_an_old_answer_does_not_replace_a_newer_one(chrome, site):
    chrome.open(page(site, "#/feed"))
    chrome.wait(*SIGNS["feed"])
    chrome.run(
        """
        const real = window.fetch;
        window.late = 0;
        window.fetch = async (path, options) => {
            if (!/search=z&/.test(path)) return real(path, options);
            await new Promise((done) => setTimeout(done, 900));
            setTimeout(() => window.late++, 100);
            return real(path);
        };
        """
    )
    chrome.click("#search")
    chrome.press("z")
    poll(lambda: "#/feed?q=z" == chrome.run("return location.hash"))
    poll(lambda: any("search=z" in url for url in asked_so_far(chrome)), "the search")
    chrome.press("std")
    poll(lambda: names(chrome) == ["zstd"], "the package")
    poll(lambda: chrome.run("return window.late") > 0, "the old answer")
    assert names(chrome) == ["zstd"]


def asked_so_far(chrome):
    chrome.asked = getattr(chrome, "asked", []) + chrome.requests()
    return chrome.asked


def test_pages_lead_to_every_package(chrome, serve):
    server = serve("--sync", "off", "--http", "127.0.0.1:0")
    with server.client() as client:
        for number in range(60):
            client.get_pr(f"recipe{number:02}-1-r0", "all", "a")
    chrome.open(page(server, "#/feed?q=recipe"))
    chrome.wait(".found", "50 packages; there are more")
    first = names(chrome)
    chrome.click(".pages a")
    poll(lambda: len(names(chrome)) == 10, "the next page")
    assert sorted(first + names(chrome)) == [
        f"recipe{number:02}" for number in range(60)
    ]
    address = chrome.run("return location.href")
    chrome.open(address)
    poll(lambda: len(names(chrome)) == 10, "the bookmarked page")
    chrome.click(".pages a")
    poll(lambda: names(chrome) == first, "the first page")


# ---- live ----


def test_a_new_assignment_appears_by_itself(chrome, site):
    chrome.open(page(site, "#/bumps?group=none"))
    before = chrome.wait(*SIGNS["bumps"])
    site.get_pr("fresh-1.0-r0", "core2-64", f"{time.time()}")
    after = chrome.wait("table.bumps tbody th", "fresh")
    assert len(after) == len(before) + 1 and after[0].startswith("fresh")
    chrome.check()


def test_new_assignments_wait_above_a_page_that_is_scrolled(chrome, site):
    chrome.open(page(site, "#/bumps?group=none"))
    before = chrome.wait(*SIGNS["bumps"])
    chrome.set_size(WIDE[0], 300)
    chrome.run("scrollTo(0, 250)")
    site.get_pr("later-1.0-r0", "core2-64", f"{time.time()}")
    chrome.wait(".newer", "Show 1 new assignment")
    assert len(chrome.texts("table.bumps tbody th")) == len(before)
    chrome.click(".newer")
    assert chrome.wait("table.bumps tbody th", "later")[0].startswith("later")


def test_a_package_is_updated_by_itself_and_keeps_the_focus(chrome, site):
    chrome.open(page(site, VIEWS["package"]))
    chrome.wait(*SIGNS["package"])
    chrome.run("document.querySelector('.copy').focus()")
    site.get_pr(*PACKAGE, f"{time.time()}")
    chrome.wait(".sentence", "is new content")
    for name in "A", "B":
        site.get_pr(*PACKAGE, CONTENTS[name])
    chrome.wait(".sentence", "had r0")
    assert chrome.focused()[0] in ("button", "body")


# ---- hostile texts ----


@pytest.mark.parametrize("view", ["feed", "bumps", "builds", "churn"])
def test_hostile_texts_are_shown_as_texts(chrome, hostile, view):
    chrome.open(page(hostile, VIEWS[view]), size=NARROW)
    main = chrome.wait("main", "<script>window.harm = 1</script>")[0]
    assert "onerror=" in main and "&amp;</td>" in main
    assert "U+202E" in main and "\u202e" not in main and "\u2066" not in main
    assert len(main) < 40_000, "long texts are cut"
    if view != "builds":
        assert "(50,0" in main and "characters)" in main
    assert chrome.run(
        "return window.harm === undefined && !document.querySelector('main img')"
    )
    for size in NARROW, WIDE:
        chrome.set_size(*size)
        assert not chrome.is_too_wide(), size
    chrome.check()


def test_a_package_with_hostile_texts(chrome, hostile):
    for text in HOSTILE, BIDI:
        query = urllib.parse.urlencode({"version": f"a{text}-1-r0", "pkgarch": text})
        chrome.open(page(hostile, f"#/package?{query}"), size=NARROW)
        chrome.wait(".sentence", "before")
        main = chrome.texts("main")[0]
        assert "<script>window.harm" in main and "\u202e" not in main
        assert not chrome.texts(".command"), "no command is made of such names"
        assert chrome.run("return window.harm === undefined")
        assert not chrome.is_too_wide()
        chrome.check()


def test_a_name_that_is_too_long_for_http_says_so(chrome, hostile):
    query = urllib.parse.urlencode({"version": f"a{LONG}-1-r0", "pkgarch": LONG})
    chrome.open(page(hostile, f"#/package?{query}"), size=NARROW)
    chrome.wait(".notice.error", "")
    assert not chrome.is_too_wide()


# ---- keyboard ----


def test_everything_can_be_reached_with_the_keyboard(chrome, site):
    chrome.open(page(site, "#/now"))
    chrome.wait(*SIGNS["now"])
    chrome.press(Keys.TAB)
    assert chrome.focused()[2] == "Skip to the content"
    reached = []
    for _ in range(6):
        chrome.press(Keys.TAB)
        reached.append(chrome.focused()[2] or chrome.focused()[1])
    assert reached == ["prservd", "Now", "Feed", "Bumps", "Churn", "look-back"]
    chrome.press("/")
    poll(lambda: chrome.focused()[1] == "search", "the search")
    chrome.press("zst")
    poll(lambda: names(chrome) == ["zstd"], "the package")
    chrome.press(Keys.TAB)
    assert chrome.focused()[:1] == ["a"]
    chrome.press(Keys.ENTER)
    chrome.wait("h1", "zstd-1.5.5-r0")
    assert chrome.focused()[0] == "h1"
    assert chrome.run("return document.title") == "zstd-1.5.5-r0 – prservd"
    chrome.check()


def test_the_skip_link_leads_to_the_content(chrome, site):
    chrome.open(page(site, "#/churn"))
    chrome.wait(*SIGNS["churn"])
    chrome.press(Keys.TAB, Keys.ENTER)
    assert chrome.focused()[1] == "main"
    assert chrome.texts("h1") == ["Churn"], "the view stays"


def test_the_charts_can_be_read_with_the_keyboard(chrome, site):
    chrome.open(page(site))
    poll(lambda: chrome.run("return +document.querySelector('#look-back')?.max") > 1)
    chrome.run("document.getElementById('look-back').focus()")
    chrome.press(Keys.ARROW_LEFT)
    poll(lambda: re.fullmatch(r"\d\d:\d\d:\d\d", chrome.texts(".look-back output")[0]))


# ---- servers that are away, and what is not polled ----


def test_the_page_survives_a_server_that_is_away(chrome, serve):
    address = f"127.0.0.1:{free_port()}"
    server = serve("--http", address)
    server.get_pr(*PACKAGE, "a")
    poll(lambda: log_length(server) == 1, "the audit log")
    chrome.open(f"http://{address}/#/bumps?group=none")
    chrome.wait("table.bumps tbody th", "m4")
    server.stop()
    chrome.wait("#away", "No answer from prservd since")
    assert chrome.texts("#health") == ["away"]
    chrome.requests()
    began = time.monotonic()
    poll(lambda: len(asked_again(chrome)) >= 2, "the page to go on trying")
    limit = 2 + (time.monotonic() - began) / 1.5
    asked = asked_again(chrome)
    assert len(asked) <= limit and all(url.endswith("/metrics") for url in asked)
    assert chrome.texts("table.bumps tbody th") == ["m4-1.4.19-r0core2-64"]
    server.restart()
    chrome.click("#away button")
    poll(lambda: chrome.texts("#health") == ["ready"], "the server to be back")
    assert chrome.texts("#away p") == []
    server.get_pr(*PACKAGE, "b")
    poll(lambda: len(chrome.texts("table.bumps tbody th")) == 2, "the new assignment")
    chrome.check("ERR_CONNECTION_REFUSED")


# Makes the page believe that its tab is hidden, or shown again.
HIDE = """
    const isHidden = arguments[0];
    Object.defineProperty(document, "hidden", { configurable: true, get: () => isHidden });
    document.dispatchEvent(new Event("visibilitychange"));
    """


def asked_again(chrome):
    chrome.again = getattr(chrome, "again", []) + chrome.requests()
    return chrome.again


def test_a_hidden_tab_asks_nothing(chrome, site):
    chrome.open(page(site, "#/now"))
    chrome.wait(*SIGNS["now"])
    chrome.run(HIDE, True)
    poll(lambda: not chrome.requests(), "requests under way to be answered")
    hidden_at = chrome.run("return performance.now()")
    poll(lambda: chrome.run("return performance.now()") > hidden_at + 4500)
    assert chrome.requests() == []
    chrome.run(HIDE, False)
    poll(
        lambda: len(asked_again(chrome)) >= 2, "requests of the tab that is shown again"
    )


# ---- without data ----


def test_a_server_without_data_says_what_will_be_there(chrome, serve):
    server = serve("--http", "127.0.0.1:0")
    for view, sign in {
        "#/feed": "No packages yet",
        "#/bumps": "No assignments yet",
        "#/package?version=nosuch&pkgarch=all": "This package has no revisions",
    }.items():
        chrome.open(page(server, view), size=NARROW)
        chrome.wait(".notice", sign)
    chrome.open(page(server, "#/churn"))
    chrome.wait(".empty", "No package flaps")
    chrome.open(page(server, "#/nosuch"))
    chrome.wait("h1", "Now")
    chrome.check()


def test_a_server_without_an_audit_log_says_so(chrome, serve):
    server = serve("--http", "127.0.0.1:0", "--audit", "off")
    server.get_pr(*PACKAGE, "a")
    for view in "bumps", "churn":
        chrome.open(page(server, VIEWS[view]))
        chrome.wait(".notice", "This server keeps no audit log")
    chrome.open(page(server, VIEWS["package"]))
    chrome.wait(".verdict", "keeps no audit log")
    assert len(chrome.texts("table.timeline tbody tr")) == 1


# ---- size ----


def test_the_page_is_small_and_loads_only_its_own_files(site):
    index = fetch(site, "/").text
    assert not re.search(
        r"style=|\son\w+=|<style|<script(?! type=\"module\" src)", index
    )
    files = {"", *re.findall(r"(?:href|src)=\"([\w.]+\.(?:js|css|svg))\"", index)}
    scripts = {name: fetch(site, f"/{name}").text for name in files}
    for name, text in scripts.items():
        for imported in re.findall(r"from \"\./([\w.]+)\"", text):
            assert imported in files, f"{name} loads {imported}, without a preload"
    assert sum(len(gzip.compress(text.encode())) for text in scripts.values()) < 60_000
    policy = fetch(site, "/").headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
