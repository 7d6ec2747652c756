"""The parts of ``make bench`` that decide what a figure says; nothing is timed here."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks.cases import CASES
from benchmarks.measuring import OURS, Figure, Sample, Settings, Spread, Target, compare, figure_of
from benchmarks.one_case import read_lines
from benchmarks.page import page_with, rate_chart, ratio_chart
from benchmarks.report import load, machine, save, shown, table

ROOT = Path(__file__).parents[2]
SAMPLES = {
    "by hand": [Sample(wall=1.0, cpu=2.0), Sample(wall=2.0, cpu=2.0), Sample(wall=4.0, cpu=2.0)],
    OURS: [Sample(wall=1.0, cpu=1.0), Sample(wall=1.0, cpu=2.0), Sample(wall=1.0, cpu=4.0)],
}


def figure(**changed: object) -> Figure:
    made = figure_of(SAMPLES, 100, case="rows", name="flat <dicts>", target=Target(1.5))
    return Figure(**{**{name: getattr(made, name) for name in made.__slots__}, **changed})  # type: ignore[arg-type]


def test_a_spread_has_the_median_and_the_range_of_the_middle_half() -> None:
    assert Spread.of([1.0, 2.0, 3.0, 4.0, 100.0]) == Spread(median=3.0, least=1.0, most=100.0, noise=1 / 3, count=5)
    assert Spread.of([5.0]) == Spread(median=5.0, least=5.0, most=5.0, noise=0.0, count=1)


@pytest.mark.parametrize(
    ("target", "median", "noise", "verdict"),
    [
        (Target(1.0), 1.0, 0.02, "target ≥ 1: met, noise ±2%"),
        (Target(1.0), 0.8, 0.02, "target ≥ 1: below, noise ±2%"),
        (Target(1.0), 0.97, 0.05, "target ≥ 1: below, noise ±5%, so it may be met"),
        (Target(64, is_least=False), 60, 0.0, "target ≤ 64: met, noise ±0%"),
        (Target(64, is_least=False), 80, 0.1, "target ≤ 64: above, noise ±10%"),
    ],
)
def test_a_target_says_met_or_missed_with_the_noise(target: Target, median: float, noise: float, verdict: str) -> None:
    assert target.verdict(Spread(median, median, median, noise, 5)) == verdict


def test_a_ratio_is_the_median_of_the_ratios_of_each_turn() -> None:
    made = figure()
    assert made.ratio is not None
    assert made.cpu_ratio is not None
    assert (made.ratio.median, made.ratio.least, made.ratio.most) == (2.0, 1.0, 4.0)
    assert (made.cpu_ratio.median, made.cpu_ratio.least, made.cpu_ratio.most) == (1.0, 0.5, 2.0)
    assert (made.values["by hand"].median, made.values[OURS].median) == (50.0, 100.0)


def test_ways_run_in_alternating_order_after_each_ran_once() -> None:
    calls: list[str] = []

    def taken(work: object) -> Sample:
        work()  # type: ignore[operator]
        return Sample(1.0, 1.0)

    ways = {"by hand": lambda: calls.append("by hand"), OURS: lambda: calls.append(OURS)}
    samples = compare(ways, Settings(most_pairs=3), seconds=0.0, least=3, measure=taken)
    assert calls == ["by hand", OURS, OURS, "by hand", "by hand", OURS, OURS, "by hand"]
    assert {name: len(each) for name, each in samples.items()} == {"by hand": 3, OURS: 3}


def test_figures_survive_the_file_and_name_machine_and_versions(tmp_path: Path) -> None:
    figures = [figure(), figure(ratio=None, cpu_ratio=None, target=None)]
    path = tmp_path / "new" / "results.json"
    save(path, figures, Settings(quick=True), {"dlt": "no index"}, machine=machine(), seconds=3)
    assert load(path) == figures
    document = json.loads(path.read_text())
    assert document["is_quick"] is True
    assert document["machine"]["cpus"]
    assert document["machine"]["versions"]["databricks-zerobus-ingest-sdk"]


def test_a_case_that_was_stopped_keeps_the_figures_that_it_had(tmp_path: Path) -> None:
    path = tmp_path / "figures"
    assert read_lines(path) == ([], "")
    path.write_text(json.dumps(figure().as_json()) + "\n" + json.dumps({"skipped": "no index"}) + "\n")
    assert read_lines(path) == ([figure()], "no index")


def test_the_table_has_a_line_for_each_figure_and_its_verdict() -> None:
    lines = table([figure(), figure(name="nested")]).splitlines()
    assert len(lines) == 4
    assert len({len(line) for line in lines}) == 1
    assert "met" in lines[2]
    assert "2.00 (1.00 to 4.00, n=3)" in shown(figure())


def test_pictures_are_svg_with_a_bar_for_each_figure() -> None:
    for picture in (ratio_chart([figure()], "one run"), rate_chart([figure(case="dlt")], "one run")):
        root = ET.fromstring(picture)  # ours
        texts = [each.text or "" for each in root.iter("{http://www.w3.org/2000/svg}text")]
        assert any("flat <dicts>" in text for text in texts)


def test_the_page_keeps_its_words_around_the_figures() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text()
    document = {"machine": machine(), "finished_at": "2026-01-01T00:00:00+00:00", "seconds": 3, "skipped": {}}
    once = page_with(page, document, [figure()])
    assert "flat <dicts>" in once
    assert page_with(once, document, [figure()]) == once
    assert once.split("<!-- figures")[0] == page.split("<!-- figures")[0]


def test_each_case_has_a_module_and_all_of_them_end_within_twelve_minutes() -> None:
    modules = {path.stem for path in (ROOT / "benchmarks" / "cases").glob("*.py")} - {"__init__"}
    assert modules == set(CASES)
    assert sum(case.limit for case in CASES.values()) <= 12 * 60
