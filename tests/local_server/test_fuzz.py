"""A few seconds of fuzzing in every run of the suite; see ``fuzz.py`` for the whole."""

from __future__ import annotations

import sys
import threading

from tests.local_server.fuzz import Fuzzer, fuzz, served


def test_damaged_requests_are_answered_and_disturb_no_good_stream(tmp_path):
    fuzzer = fuzz(tmp_path, seconds=6.0, seed=1, attempts=100)
    assert fuzzer.findings == []
    assert fuzzer.good_rows >= 2
    doors = {answer.split()[0] for answer in fuzzer.answers}
    assert {"gRPC", "Flight", "HTTP", "bytes"} <= doors


def test_a_server_that_dies_is_a_finding(tmp_path):
    with served(tmp_path) as server:
        fuzzer = Fuzzer(server, seed=1)
        threading.Timer(1.5, server.kill).start()
        fuzzer.run(6.0, attempts=sys.maxsize)
        fuzzer.http.close()
    assert any("gone" in finding or "good client" in finding for finding in fuzzer.findings)
