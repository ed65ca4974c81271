# SPDX-License-Identifier: MIT
"""A real Chromium without a window, for tests of the page: Debian's packages chromium,
chromium-driver and python3-selenium."""

import json
import shutil
import urllib.parse
from pathlib import Path

from harness import BUILD, poll
from postgres_cluster import skip_unless_ci

try:
    from selenium import webdriver
    from selenium.common import exceptions
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.common.keys import Keys
except ImportError:
    webdriver = None

AXE = Path(__file__).parent / "http" / "axe" / "axe.min.js"
SCREENSHOTS = BUILD / "screenshots"
WIDE = (1180, 800)
NARROW = (360, 740)

# --no-sandbox: tests run as root, and the pages are our own.
ARGUMENTS = """--headless=new --no-sandbox --disable-dev-shm-usage --disable-gpu --no-first-run
    --disable-background-networking --disable-component-update --hide-scrollbars""".split()


def require():
    """Skips the test if a package is missing, except in CI, where all have to be installed."""
    missing = [
        package
        for package, found in (
            ("chromium", shutil.which("chromium")),
            ("chromium-driver", shutil.which("chromedriver")),
            ("python3-selenium", webdriver),
        )
        if not found
    ]
    if missing:
        skip_unless_ci(f"a browser is missing (Debian: {' '.join(missing)})")


class Browser:
    def __init__(self):
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium")
        for argument in ARGUMENTS:
            options.add_argument(argument)
        logs = {"browser": "ALL", "performance": "ALL"}
        options.set_capability("goog:loggingPrefs", logs)
        service = Service(shutil.which("chromedriver"))
        self.driver = webdriver.Chrome(options=options, service=service)
        self.driver.set_script_timeout(60)

    def close(self):
        self.driver.quit()

    def open(self, url, size=WIDE):
        """Loads the page anew. Afterwards the logs have only what this page did."""
        self.driver.get("about:blank")
        self.set_size(*size)
        self.set_scheme("light")
        for log in "browser", "performance":
            self.driver.get_log(log)
        self.host = urllib.parse.urlsplit(url).netloc
        self.driver.get(url)

    def set_size(self, width, height):
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {
                "width": width,
                "height": height,
                "deviceScaleFactor": 1,
                "mobile": width < 500,
            },
        )

    def set_scheme(self, scheme):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [feature]}
        )

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def texts(self, selector):
        """The texts of the visible elements, with plain blanks."""
        found = self.run(
            "return [...document.querySelectorAll(arguments[0])]"
            ".filter((e) => e.checkVisibility()).map((e) => e.textContent)",
            selector,
        )
        return [text.replace("\u00a0", " ") for text in found]

    def wait(self, selector, part="", what=None):
        """Waits until a visible element has this text, and returns all of their texts."""

        def has_it():
            texts = self.texts(selector)
            return texts if any(part in text for text in texts) else None

        return poll(has_it, what or f"{part!r} in {selector}")

    def click(self, selector):
        self.driver.find_element("css selector", selector).click()

    def press(self, *keys):
        webdriver.ActionChains(self.driver).send_keys(*keys).perform()

    def focused(self):
        """The element that has the focus: its name, id and text."""
        return self.run(
            "const e = document.activeElement; return [e.localName, e.id, e.textContent.trim()]"
        )

    def requests(self):
        """The URLs that were asked for since the last call."""
        urls = []
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                urls.append(message["params"]["request"]["url"])
        return urls

    def check(self, *expected):
        """Checks that there were no errors, and no requests to others. expected: parts of lines of
        the console that are right. So is an answer that took too long: the page asks again.
        """
        expected += ("503 (Service Unavailable)",)
        lines = [
            entry["message"]
            for entry in self.driver.get_log("browser")
            if not any(part in entry["message"] for part in expected)
        ]
        assert not lines, lines
        hosts = {urllib.parse.urlsplit(url).netloc for url in self.requests()}
        assert hosts <= {self.host}, hosts

    def check_access(self):
        """Checks with axe-core that people with disabilities can use the page."""
        if not self.run("return window.axe !== undefined"):
            self.run(AXE.read_text() + ";window.axe = axe")
        found = self.driver.execute_async_script(
            "const [done] = arguments;"
            "const options = {resultTypes: ['violations'], preload: false, iframes: false};"
            "axe.run(document, options).then((r) => done(r.violations))"
        )
        complaints = [
            (one["id"], node["html"][:200], node["failureSummary"])
            for one in found
            for node in one["nodes"]
        ]
        assert not complaints, complaints

    def is_too_wide(self):
        return self.run(
            "const e = document.documentElement; return e.scrollWidth > e.clientWidth"
        )

    def screenshot(self, name):
        SCREENSHOTS.mkdir(exist_ok=True)
        self.driver.save_screenshot(str(SCREENSHOTS / f"{name}.png"))


__all__ = ["Browser", "Keys", "NARROW", "SCREENSHOTS", "WIDE", "exceptions", "require"]
