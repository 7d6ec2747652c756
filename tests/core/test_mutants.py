"""The mutants of the core break lines that are there."""

from __future__ import annotations

import pytest

from tests.core.mutants import CORE, MUTANTS, ROOT, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_changes_lines_that_appear_once(mutant: Mutant) -> None:
    source = (CORE / mutant.file).read_text()
    for old, new in mutant.changes:
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    assert (ROOT / mutant.tests).is_file()
