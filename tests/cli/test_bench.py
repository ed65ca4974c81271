# SPDX-License-Identifier: MIT
"""prserv bench and prserv status: their figures agree with those of the server."""

import json
import os
import pty
import re
import shutil
import signal
import socket
import socketserver
import subprocess
import threading

import pytest

from harness import BUILD, PRSERV, TIMEOUT_S, clean_environment, open_files, poll
from prserv_command import bench, prserv, prserv_on
from rows import rows_of

ARCHITECTURES = {"core2-64", "qemux86_64", "all"}


def stats(server):
    return json.loads(prserv_on(server, "--json", "status").stdout)


def counts(part):
    return {name: count for name, count in part["requests"].items() if count}


class BitBakeLike(socketserver.ThreadingTCPServer):
    """A server that answers as BitBake's does: with blanks after separators, in chunk
    streams, without pipelining. It stores nothing."""

    allow_reuse_address = True
    request_queue_size = 128
    daemon_threads = True

    def __init__(self, answer):
        self.answer = answer
        self.opened = 0
        super().__init__(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        self.server.opened += 1
        try:
            while self.rfile.readline().strip():
                pass
            for line in self.rfile:
                self.server.answer(self, json.loads(line))
        except ConnectionError:
            pass

    def write_line(self, message):
        self.wfile.write((json.dumps(message) + "\n").encode())

    def write_chunks(self, message, size):
        text = json.dumps(message)
        chunks = [text[at : at + size] for at in range(0, len(text), size)]
        lines = ['{"chunk-stream": null}', *chunks, "", ""]
        self.wfile.write("\n".join(lines).encode())


def right_answer(request):
    return {"alive": True} if "ping" in request else {"value": "0"}


# ---- the requests ----


def test_ping_is_counted_by_the_server_as_by_the_client(server):
    report = bench(server.address, "--work", "ping", "--requests", 500)
    assert counts(report["measured"]) == {"ping": 500}
    assert stats(server)["requests"]["ping"] == {"count": 500, "errors": 0}
    assert report["prepared"]["sent"] == 0


def test_known_content_is_stored_before_the_measurement(server):
    words = ("--requests", 300, "--packages", 20, "--checksums", 3)
    for count, work in enumerate(("test", "known"), 1):
        report = bench(server.address, "--work", work, *words)
        assert counts(report["prepared"]) == {"import-one": 60}
        assert report["measured"]["known_content"] == 300
        assert stats(server)["database"]["rows"] == 60 * count
    requests = stats(server)["requests"]
    assert requests["test-pr"] == {"count": 300, "errors": 0}
    assert requests["get-pr"] == {"count": 300, "errors": 0}
    assert requests["import-one"] == {"count": 120, "errors": 0}


def test_known_content_with_history_stores_nothing(server):
    words = ("--requests", 300, "--packages", 5, "--checksums", 4, "--history")
    report = bench(server.address, "--work", "known", *words)
    assert report["parameters"]["history"] is True
    assert stats(server)["database"]["rows"] == 20


def test_new_content_is_new_in_each_run(server):
    for run in (1, 2):
        words = ("--work", "new", "--requests", 200, "--packages", 10)
        report = bench(server.address, *words)
        assert counts(report["measured"]) == {"get-pr": 200}
        assert report["measured"]["new_content"] == 200
        assert stats(server)["database"]["rows"] == 200 * run


def test_new_content_is_added_to_existing_packages(server):
    words = ("--work", "new", "--requests", 10, "--packages", 1, "--checksums", 30)
    bench(server.address, *words)
    values = sorted(int(value) for *_, value in rows_of(server))
    assert values == list(range(40))


def test_a_seed_repeats_names_and_checksums(server):
    words = ("--work", "new", "--requests", 50, "--packages", 5, "--connections", 1)
    bench(server.address, *words, "--seed", 7, "--history")
    report = bench(server.address, *words, "--seed", 7, "--history")
    assert report["parameters"]["seed"] == 7
    assert stats(server)["database"]["rows"] == 50
    bench(server.address, *words, "--seed", 8)
    assert stats(server)["database"]["rows"] == 100


def test_rows_of_an_earlier_run_are_not_stored_again(server):
    words = ("--work", "known", "--packages", 20, "--checksums", 3, "--seed", 7)
    bench(server.address, *words, "--requests", 1)
    report = bench(server.address, *words, "--requests", 300, "--prepared")
    assert report["parameters"]["prepared"] is True
    assert report["prepared"]["sent"] == 0
    assert stats(server)["requests"]["import-one"] == {"count": 60, "errors": 0}
    assert stats(server)["database"]["rows"] == 60


def test_the_mix_resembles_a_build(server):
    words = ("--work", "mix", "--requests", 2000, "--packages", 40, "--checksums", 9)
    report = bench(server.address, *words)
    measured = report["measured"]
    assert counts(report["prepared"]) == {"import-one": 38 + 2 * 9}
    assert measured["known_content"] + measured["new_content"] == 2000
    assert 0.60 < measured["known_content"] / 2000 < 0.70
    rows = rows_of(server)
    assert {pkgarch for _, pkgarch, _, _ in rows} == ARCHITECTURES
    autoinc = [row for row in rows if row[0].startswith("AUTOINC-")]
    recipes = [row for row in rows if row not in autoinc]
    assert len({version for version, *_ in autoinc}) == 2
    assert all(re.fullmatch("[0-9a-f]{40}", checksum) for _, _, checksum, _ in autoinc)
    assert all(re.fullmatch("[0-9a-f]{64}", checksum) for _, _, checksum, _ in recipes)
    assert all(re.fullmatch(r"bench-\w+-\w+-1\.0-r0", row[0]) for row in recipes)
    assert len(autoinc) / 2 > len(recipes) / 38


def test_warm_up_is_sent_but_not_measured(server):
    words = ("--work", "ping", "--requests", 100, "--warm-up-requests", 50)
    report = bench(server.address, *words)
    assert report["warm_up"]["sent"] == 50
    assert report["measured"]["answers"] == 100
    assert stats(server)["requests"]["ping"]["count"] == 150
    report = bench(server.address, *words[:4], "--warm-up", 0.05)
    assert report["warm_up"]["sent"] > 0
    assert report["measured"]["answers"] == 100


# ---- connections and pipelining ----


def test_connections_are_kept(server):
    words = ("--work", "ping", "--requests", 300, "--connections", 7)
    before = stats(server)["connections"]["accepted"]
    bench(server.address, *words)
    # one finds the address that answers, one is the next status
    assert stats(server)["connections"]["accepted"] - before == 7 + 1 + 1


@pytest.mark.parametrize("depth", [1, 16, 1000])
def test_requests_are_pipelined(server, depth):
    words = ("--work", "mix", "--requests", 1000, "--packages", 50)
    report = bench(server.address, *words, "--connections", 3, "--pipeline", depth)
    assert report["parameters"]["pipeline"] == depth
    assert report["measured"]["answers"] == 1000
    assert stats(server)["requests"]["get-pr"] == {"count": 1000, "errors": 0}


def test_reconnect_makes_a_connection_for_each_request(server):
    words = ("--work", "new", "--requests", 200, "--connections", 4, "--reconnect")
    before = stats(server)["connections"]["accepted"]
    report = bench(server.address, *words)
    assert report["measured"]["retries"] == 0
    after = stats(server)
    assert after["database"]["rows"] == 200
    assert after["connections"]["accepted"] - before == 200 + 1 + 1


@pytest.mark.parametrize("more", [(), ("--reconnect",)])
def test_connections_come_from_as_many_addresses_as_asked_for(serve, more):
    server = serve("--bind", "127.0.0.1:0,max-connections-per-address=3", bind=False)
    words = ("--work", "ping", "--requests", 400, "--connections", 8, *more)
    several = bench(server.address, *words, "--source-addresses", 8)
    assert several["measured"]["answers"] == 400
    assert several["measured"]["retries"] == 0
    assert several["parameters"]["source_addresses"] == 8


def test_bench_works_through_a_unix_socket(serve, tmp_path):
    address = f"unix://{tmp_path}/socket"
    server = serve("--bind", address)
    for more in ((), ("--reconnect",)):
        words = ("--work", "ping", "--requests", 100, *more)
        assert bench(address, *words)["measured"]["answers"] == 100
    assert stats(server)["requests"]["ping"]["count"] == 200


def test_bench_ends_when_its_time_is_over(server):
    report = bench(server.address, "--work", "ping", "--seconds", 0.2)
    assert report["measured"]["elapsed_s"] >= 0.19
    assert report["measured"]["answers"] == report["measured"]["sent"] > 0
    words = ("--work", "ping", "--seconds", 50, "--requests", 10)
    assert bench(server.address, *words)["measured"]["answers"] == 10


# ---- a server like BitBake's ----


@pytest.mark.parametrize("more", [(), ("--reconnect",), ("--pipeline", "8")])
@pytest.mark.parametrize("work", ["ping", "test", "known", "new", "mix"])
def test_a_server_like_bitbakes_can_be_measured(work, more):
    def answer(handler, request):
        handler.write_line(right_answer(request))

    words = ("--work", work, "--requests", 60, "--connections", 3, "--packages", 4)
    with BitBakeLike(answer) as server:
        report = bench(server.address, *words, *more)
    assert report["measured"]["answers"] == 60
    assert report["measured"]["errors"] == 0


@pytest.mark.parametrize("size", [1, 5, 20, 32767])
def test_answers_in_chunks_are_answers(size):
    def answer(handler, request):
        value = {"value": "1." * 40000 + "0"} if size > 5 else {"value": "0"}
        handler.write_chunks(value, size)

    with BitBakeLike(answer) as server:
        words = ("--work", "new", "--requests", 20, "--connections", 2)
        report = bench(server.address, *words, "--pipeline", 3)
    assert report["measured"]["answers"] == 20
    assert report["measured"]["errors"] == 0


def test_answers_may_arrive_in_pieces():
    def answer(handler, request):
        for byte in (json.dumps(right_answer(request)) + "\n").encode():
            handler.wfile.write(bytes([byte]))

    with BitBakeLike(answer) as server:
        words = ("--work", "new", "--requests", 20, "--connections", 2)
        report = bench(server.address, *words, "--pipeline", 4)
    assert report["measured"]["answers"] == 20
    assert report["measured"]["errors"] == 0


def test_reconnect_tries_again_as_bitbakes_client_does():
    asked = []

    def answer(handler, request):
        asked.append(request)
        if len(asked) % 4 == 1:
            handler.write_line(right_answer(request))
        else:
            handler.connection.shutdown(socket.SHUT_RDWR)

    words = ("--work", "ping", "--requests", 10, "--connections", 1, "--reconnect")
    with BitBakeLike(answer) as server:
        report = bench(server.address, *words)
    assert report["measured"]["answers"] == 10
    assert report["measured"]["sent"] == 10
    assert report["measured"]["retries"] == 27


# ---- errors ----


@pytest.mark.parametrize(
    "wrong",
    [{"invoke-error": {"message": "no \x1b luck"}}, None, {"value": None}, {"frob": 1}],
)
@pytest.mark.parametrize("chunks", [False, True])
def test_errors_are_counted_and_the_first_is_shown(wrong, chunks):
    asked = []

    def answer(handler, request):
        asked.append(request)
        message = wrong if len(asked) % 2 == 0 else right_answer(request)
        if chunks:
            handler.write_chunks(message, 32767)
        else:
            handler.write_line(message)

    words = ("bench", "--work", "new", "--requests", 40, "--connections", 1)
    with BitBakeLike(answer) as server:
        done = prserv_on(server, "--json", *words)
        text = prserv_on(server, *words)
    assert done.returncode == text.returncode == 1
    report = json.loads(done.stdout)
    assert report["measured"]["errors"] == 20
    assert report["first_error"] == json.dumps(wrong)
    assert json.dumps(wrong) in done.stderr
    assert re.search(r"^errors +20$", text.stdout, re.M)


def test_errors_of_the_warm_up_are_named_too():
    asked = []

    def answer(handler, request):
        asked.append(request)
        wrong = {"invoke-error": {"message": "too early"}}
        handler.write_line(wrong if len(asked) <= 5 else right_answer(request))

    words = ("bench", "--work", "new", "--requests", 10, "--connections", 1)
    with BitBakeLike(answer) as server:
        done = prserv_on(server, "--json", *words, "--warm-up-requests", 5)
    assert done.returncode == 1
    assert json.loads(done.stdout)["measured"]["errors"] == 0
    assert "too early" in json.loads(done.stdout)["first_error"]
    assert "5 errors while warming up" in done.stderr and "too early" in done.stderr


def test_a_signal_ends_bench_while_it_connects(tmp_path):
    path = tmp_path / "full"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(
        socket.AF_UNIX
    ) as one:
        listener.bind(str(path))
        listener.listen(0)
        one.connect(str(path))
        process = subprocess.Popen(
            [str(PRSERV), "--server", f"unix://{path}", "bench", "--work", "ping"],
            env=clean_environment(),
        )
        poll(lambda: has_socket(process), "bench to connect")
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == -signal.SIGINT


def has_socket(process):
    return any(file.startswith("socket:") for file in open_files(process))


def test_refusals_of_the_server_are_counted_on_both_sides(serve):
    server = serve("--upstream", "127.0.0.1:1", "--patience", "0")
    words = ("--work", "new", "--requests", 20, "--connections", 2)
    report = bench(server.address, *words, status=1)
    assert report["measured"]["errors"] == 20
    assert stats(server)["requests"]["get-pr"] == {"count": 20, "errors": 20}
    assert "127.0.0.1:1" in report["first_error"]


def test_bench_refuses_a_read_only_server(serve):
    serve().stop()
    server = serve("--read-only")
    done = prserv_on(server, "bench", "--work", "known", "--requests", 10)
    assert done.returncode == 1
    assert "did not store the content to prepare" in done.stderr


@pytest.mark.parametrize("more", [(), ("--reconnect",)])
def test_a_lost_server_is_exit_3_with_the_figures_so_far(server, more):
    command = [str(PRSERV), "--server", server.address, "--json", "bench"]
    command += ["--work", "ping", "--seconds", "60", "--connections", "4", *more]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    poll(lambda: stats(server)["requests"]["ping"]["count"] > 10, "requests")
    server.kill()
    out, error = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 3
    assert server.address in error
    report = json.loads(out)
    assert report["measured"]["answers"] > 10
    assert report["failure"] in error


def test_no_server_is_exit_3():
    for more in ((), ("--reconnect",)):
        done = prserv("--server", "127.0.0.1:1", "bench", "--requests", 1, *more)
        assert done.returncode == 3
        assert "127.0.0.1:1" in done.stderr


@pytest.mark.parametrize("more", [(), ("--reconnect",)])
def test_a_silent_server_does_not_block_bench(more):
    words = ("bench", "--work", "ping", "--timeout", 0.5, "--connections", 2, *more)
    with BitBakeLike(lambda handler, request: None) as server:
        done = prserv_on(server, *words)
    assert done.returncode == 3
    assert "no answer in time" in done.stderr


def test_an_unexpected_answer_ends_bench():
    def answer(handler, request):
        handler.wfile.write(b'{"alive": true}\n' * 20)

    with BitBakeLike(answer) as server:
        done = prserv_on(server, "bench", "--work", "ping", "--requests", 5)
    assert done.returncode == 3
    assert "without a request" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_bench_with_the_figures_so_far(server, number):
    command = [str(PRSERV), "--server", server.address, "--json", "bench"]
    command += ["--work", "ping", "--seconds", "60"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    poll(lambda: stats(server)["requests"]["ping"]["count"] > 10, "requests")
    process.send_signal(number)
    out, _ = process.communicate(timeout=TIMEOUT_S)
    report = json.loads(out)
    assert process.returncode == 0
    assert report["interrupted"] is True
    assert report["measured"]["answers"] == report["measured"]["sent"]
    assert stats(server)["requests"]["ping"]["count"] == report["measured"]["sent"]


@pytest.mark.parametrize(
    "words",
    [
        ("--connections", "0"),
        ("--connections", "x"),
        ("--pipeline", "0"),
        ("--pipeline", "2", "--reconnect"),
        ("--source-addresses", "0"),
        ("--source-addresses", "251"),
        ("--source-addresses", "2", "--server", "unix:///nowhere"),
        ("--source-addresses", "2", "--server", "[::1]:1"),
        ("--source-addresses", "2", "--server", "192.0.2.1:1"),
        ("--requests", "-1"),
        ("--seconds", "0"),
        ("--seconds", "nan"),
        ("--warm-up", "x"),
        ("--work", "frob"),
        ("--packages", "1"),
        ("--work", "known", "--checksums", "0"),
        ("--seed", "99999999999999999999"),
        ("--timeout", "0"),
        ("frob",),
    ],
)
def test_an_invalid_command_line_of_bench_is_exit_2(words):
    done = prserv("--server", "127.0.0.1:1", "bench", *words)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


# ---- the report ----


def test_the_json_holds_parameters_and_figures(server):
    report = bench(server.address, "--requests", 400, "--warm-up-requests", 20)
    assert set(report) == {
        *("server", "parameters", "prepared", "warm_up", "measured", "latency_us"),
        *("requests_per_second", "client_cpu", "interrupted", "first_error", "failure"),
    }
    assert report["server"] == server.address
    parameters = report["parameters"]
    assert parameters.pop("seed") >= 0
    assert parameters == {
        **{"work": "mix", "history": False, "connections": 32, "pipeline": 1},
        "source_addresses": 1,
        **{"reconnect": False, "requests": 400, "seconds": None, "warm_up_s": 0},
        **{"warm_up_requests": 20, "packages": 1000, "checksums": 50},
        **{"timeout_s": 120, "prepared": False},
    }
    latency = list(report["latency_us"].values())
    assert list(report["latency_us"]) == ["p50", "p90", "p99", "p99.9", "max"]
    assert latency == sorted(latency) and latency[0] > 0
    measured = report["measured"]
    assert report["requests_per_second"] == pytest.approx(
        measured["answers"] / measured["elapsed_s"], rel=0.01
    )
    assert set(report["client_cpu"]) == {"user_s", "system_s", "us_per_request"}
    assert report["failure"] is report["first_error"] is None


def test_the_text_explains_its_terms(server):
    done = prserv_on(server, "bench", "--requests", 100)
    assert done.returncode == 0 and done.stderr == ""
    for term in ("throughput", "latency", "p99.9", "closed loop", "client CPU"):
        assert term in done.stdout


def read_all(master):
    """Returns what was written to a terminal that is closed now; reading ends with an error."""
    shown = b""
    while True:
        try:
            shown += os.read(master, 10000)
        except OSError:
            return shown


def test_a_terminal_sees_a_progress_line(server):
    master, terminal = pty.openpty()
    command = [str(PRSERV), "--server", server.address, "bench"]
    command += ["--work", "ping", "--seconds", "0.6"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=terminal, timeout=60)
    os.close(terminal)
    shown = read_all(master).decode()
    os.close(master)
    assert done.returncode == 0
    assert re.search(r"measuring: 0\.\d s, \d+ answers, \d+/s", shown)
    assert shown.endswith("\r\033[K")


# ---- status ----


def test_status_prints_what_the_server_has_done(server):
    for checksum in "abc":
        server.get_pr("v", "all", checksum)
    done = prserv_on(server, "status")
    assert done.returncode == 0
    for line in (
        rf"server       {server.address}",
        r"version      \d\S*",
        r"uptime       \d+ s",
        r"mode         read-write",
        r"database     sqlite, 3 rows",
        r"connections  \d+ open, \d+ accepted, 0 refused",
        r"upstream     none",
        r"get-pr +3 +0",
        r"commits      3, of 1\.0 rows on average; 1 requests in the largest",
        r"commit time  p50 [\d.]+ [um]?s, p99 [\d.]+ [um]?s, max [\d.]+ [um]?s",
    ):
        assert re.search(f"^{line}$", done.stdout, re.M), (line, done.stdout)


def test_status_names_the_upstream(serve, server):
    down = serve("--upstream", server.address, folder="down")
    down.get_pr("v", "all", "a")
    text = prserv_on(down, "status").stdout
    assert re.search(rf"^upstream     {server.address}, \w+", text, re.M)
    assert re.search(r"^ +\d+ requests, 0 errors, round trip p50", text, re.M)


def uptime(seconds):
    def answer(handler, request):
        handler.write_line({"uptime_s": seconds, "requests": {}})

    with BitBakeLike(answer) as server:
        text = prserv_on(server, "status").stdout
    return re.search("^uptime +(.*)$", text, re.M).group(1)


def test_status_prints_a_readable_uptime():
    assert uptime(59) == "59 s"
    assert uptime(61) == "1 min 1 s"
    assert uptime(2 * 3600 + 300) == "2 h 5 min"
    assert uptime(86400 + 7200) == "1 day 2 h"
    assert uptime(40 * 86400) == "40 days 0 h"


def test_status_with_json_prints_the_answer_unchanged(server):
    done = prserv_on(server, "--json", "status")
    assert json.loads(done.stdout).keys() == server.ask({"get-stats": {}}).keys()


def test_status_reports_a_server_without_get_stats():
    def answer(handler, request):
        handler.write_line({"invoke-error": {"message": "Unrecognized command"}})

    with BitBakeLike(answer) as server:
        done = prserv_on(server, "status")
    assert done.returncode == 1
    assert "Unrecognized command" in done.stderr


# ---- prserv-bench and prserv bench ----


def copied(folder, *names):
    """The first of these programs in a folder of its own, with the others beside it."""
    folder.mkdir()
    for name in names:
        shutil.copy(BUILD / name, folder)
    return folder / names[0]


def run(*words, **environment):
    return subprocess.run(
        [str(word) for word in words],
        env=clean_environment(**environment),
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_prserv_bench_takes_the_same_options_as_prserv_bench():
    program = run(BUILD / "prserv-bench", "--help")
    assert program.returncode == 0 and program.stdout.startswith("Usage: prserv-bench")
    assert run(PRSERV, "bench", "--help").stdout == program.stdout
    assert run(BUILD / "prserv-bench", "--version").stdout.startswith("prserv-bench ")


def test_the_server_and_json_are_handed_on(server):
    done = run(
        BUILD / "prserv-bench",
        "--work=ping",
        "--requests=3",
        PRSERV_HOST=server.address,
    )
    assert done.returncode == 0 and f"server      {server.address}" in done.stdout
    done = run(PRSERV, "--json", "bench", "--server", server.address, "--requests=3")
    assert json.loads(done.stdout)["server"] == server.address


def test_the_program_beside_prserv_is_taken_before_the_path(tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "prserv-bench").write_text("#!/bin/sh\necho from the path\n")
    (other / "prserv-bench").chmod(0o755)
    path = f"{other}:/usr/bin:/bin"
    prserv_alone = copied(tmp_path / "alone", "prserv")
    both = copied(tmp_path / "both", "prserv", "prserv-bench")
    assert run(prserv_alone, "bench", PATH=path).stdout == "from the path\n"
    assert run(both, "bench", "--version", PATH=path).stdout.startswith("prserv-bench ")


def test_a_missing_program_is_an_error_that_names_it(tmp_path):
    done = run(copied(tmp_path / "alone", "prserv"), "bench", PATH="/usr/bin:/bin")
    assert done.returncode == 1
    assert done.stderr.startswith("prserv bench: can't run prserv-bench: No such file")
    assert len(done.stderr.splitlines()) == 1
