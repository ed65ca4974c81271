# SPDX-License-Identifier: MIT
"""What Prometheus makes of /metrics, and the files in contrib/prometheus and contrib/grafana."""

import json
import re
import shutil
import subprocess
import urllib.request

import pytest

from certificates import tls_words
from harness import ROOT, TIMEOUT_S, free_port, poll
from http_client import fetch, http_address, metrics, needs_http

RULES = ROOT / "contrib" / "prometheus" / "prservd.rules.yml"
DASHBOARD = ROOT / "contrib" / "grafana" / "prservd.json"

pytestmark = pytest.mark.slow
needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="no promtool (Debian: prometheus)"
)


def promtool(*arguments, **more):
    return subprocess.run(
        ["promtool", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=4 * TIMEOUT_S,
        **more,
    )


def expressions():
    """The PromQL of the dashboard, with its variables replaced."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    for panel in panels:
        for target in panel["targets"]:
            yield re.sub(r"\$__rate_interval", "5m", target["expr"])


@needs_promtool
def test_the_rules_are_valid_and_raise_the_alerts_that_they_should():
    result = promtool("test", "rules", RULES.with_suffix(".test.yml"))
    assert result.returncode == 0, result.stdout + result.stderr


@needs_promtool
def test_the_dashboard_has_valid_expressions(tmp_path):
    rules = [
        {"record": f"check:{n}", "expr": e} for n, e in enumerate(expressions(), 1)
    ]
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    result = promtool("check", "rules", "--lint=none", file)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_dashboard_has_a_place_for_each_panel():
    dashboard = json.loads(DASHBOARD.read_text())
    places = [tuple(sorted(p["gridPos"].items())) for p in dashboard["panels"]]
    numbers = [p["id"] for p in dashboard["panels"]]
    assert len(set(places)) == len(places) and len(set(numbers)) == len(numbers)


@needs_http
def test_the_metrics_that_are_used_exist(serve, server_files):
    top = serve(folder="top")
    server = serve(
        *("--http", "127.0.0.1:0", "--upstream", top.address, *tls_words(server_files)),
        *("--bind", "127.0.0.1:0,tls"),
    )
    relay = serve("--http", "127.0.0.1:0", "--forward", top.address)
    server.get_pr("m4", "all", "x")
    poll(lambda: "prservd_database_rows" in metrics(server))
    poll(lambda: "prservd_tls_certificate_expiry_seconds" in metrics(server))
    names = {*metrics(server), *metrics(relay)}
    exported = {name.partition("{")[0] for name in names}
    text = RULES.read_text() + "\n".join(expressions())
    used = set(re.findall(r"\b(?:prservd|process)_[a-z_]+", text)) - {"prservd_rules"}
    assert used and used <= exported


@needs_http
@needs_promtool
@pytest.mark.parametrize("accept", ["", "application/openmetrics-text; version=1.0.0"])
def test_promtool_finds_no_fault_in_the_metrics(serve, accept):
    server = serve("--http", "127.0.0.1:0")
    server.get_pr("m4", "all", "x")
    response = fetch(server, "/metrics", headers={"Accept": accept} if accept else {})
    kind = response.headers["Content-Type"]
    if accept:
        assert kind == "application/openmetrics-text; version=1.0.0; charset=utf-8"
        assert response.text.endswith("# EOF\n")
        return
    assert kind == "text/plain; version=0.0.4; charset=utf-8"
    result = promtool("check", "metrics", input=response.text)
    assert result.returncode == 0, result.stdout + result.stderr


@needs_http
def test_no_label_is_a_package_or_a_client(serve):
    server = serve("--http", "127.0.0.1:0")
    server.get_pr("secret-package", "secret-arch", "secret-checksum")
    text = fetch(server, "/metrics").text
    assert "secret" not in text and "127.0.0.1" not in text
    labels = set(re.findall(r'(\w+)="', text))
    assert labels <= {"version", "commit", "request", "result", "le"}


CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 200ms}}
rule_files: [rules.yml]
scrape_configs:
  - job_name: prservd
    static_configs: [{{targets: [{targets}]}}]
"""


class Prometheus:
    def __init__(self, folder, servers):
        self.url = f"http://127.0.0.1:{free_port()}"
        rules = re.sub(r"for: \w+", "for: 0s", RULES.read_text())
        (folder / "rules.yml").write_text(rules)
        targets = ", ".join(f'"{http_address(server)}"' for server in servers)
        (folder / "prometheus.yml").write_text(CONFIG.format(targets=targets))
        self.log = folder / "prometheus.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={folder}/prometheus.yml",
                    f"--storage.tsdb.path={folder}/data",
                    f"--web.listen-address={self.url.removeprefix('http://')}",
                ],
                stdout=log,
                stderr=log,
            )

    def get(self, path):
        assert self.process.poll() is None, self.log.read_text()
        try:
            with urllib.request.urlopen(self.url + path, timeout=TIMEOUT_S) as answer:
                return json.load(answer)["data"]
        except OSError:
            return None

    def value(self, expression):
        """Instances and their values."""
        found = self.get(f"/api/v1/query?query={expression}")
        if not found:
            return {}
        return {s["metric"]["instance"]: s["value"][1] for s in found["result"]}

    def alerts(self):
        """Names and instances of the alerts that fire; None without an answer."""
        found = self.get("/api/v1/alerts")
        return found and {
            (a["labels"]["alertname"], a["labels"]["instance"])
            for a in found["alerts"]
            if a["state"] == "firing"
        }

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


@needs_http
@pytest.mark.skipif(not shutil.which("prometheus"), reason="no prometheus")
def test_a_prometheus_scrapes_two_servers_and_tells_when_one_is_stopped(
    serve, tmp_path
):
    servers = [serve("--http", "127.0.0.1:0", folder=name) for name in "ab"]
    first, second = map(http_address, servers)
    servers[0].get_pr("m4", "all", "x")
    with Prometheus(tmp_path, servers) as prometheus:
        poll(
            lambda: prometheus.value("prservd_revisions_assigned_total")
            == {first: "1", second: "0"},
            "both servers",
        )
        poll(lambda: prometheus.value("prservd_ready") == {first: "1", second: "1"})
        poll(lambda: prometheus.alerts() == set(), "no alert")
        servers[1].stop()
        # A scrape of the other server may take too long now and then: an alert that goes away.
        poll(lambda: prometheus.alerts() == {("PrservdDown", second)}, "the alert")
