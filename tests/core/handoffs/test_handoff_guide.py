"""The first code of the guide runs as it is written there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.core.conftest import environment
from zerobus_local import LocalZerobus

GUIDE = Path(__file__).parents[3] / "docs" / "handoff.md"


def test_the_first_example_delivers_each_file_once(
    server: LocalZerobus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in environment(server.workspace).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    server.create_table("CREATE TABLE main.default.orders (id BIGINT)")
    block = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)[0]
    landing = tmp_path / "landing" / "orders" / "today"
    landing.mkdir(parents=True)
    for number in range(2):
        (landing / f"{number}.jsonl").write_text(f'{{"id": {number}}}\n')
        exec(block, {})  # our own guide
    assert sorted(server.read("main.default.orders").column("id").to_pylist()) == [0, 1]
    assert "'name': 'orders'" in capsys.readouterr().out
