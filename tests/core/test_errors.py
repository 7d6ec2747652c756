"""Every error of the tree: it pickles with its facts, and is retryable exactly where the drawing says so."""

from __future__ import annotations

import copy
import importlib
import pickle
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

import zerobus_core
from zerobus_core import errors
from zerobus_core.errors import BadField, Counts, RecordError, RejectedRecordError, ZerobusIngestError

pytestmark = pytest.mark.matrix

BAD_FIELD = BadField(
    row=3, path="a.b", value_type="str", value_repr="'x'", expected="BIGINT", reason="the text is not a number"
)
COUNTS = Counts(rows_read=10, rows_acked=4, rows_skipped=1, rows_dead_lettered=2, rows_resent=3)


def every_class() -> list[type[ZerobusIngestError]]:
    """The tree as the code has it, with what any module of the core may add to it."""
    for module in pkgutil.walk_packages(zerobus_core.__path__, "zerobus_core."):
        importlib.import_module(module.name)

    def below(cls: type[ZerobusIngestError]) -> Iterator[type[ZerobusIngestError]]:
        yield cls
        for sub in cls.__subclasses__():
            yield from below(sub)

    return sorted({cls for cls in below(ZerobusIngestError) if cls.__module__.startswith("zerobus_core")}, key=str)


def drawn() -> dict[str, bool]:
    """The tree as the docstring draws it: class name -> whether it is marked as retryable."""
    lines = re.findall(r"── (\w+Error)(.*)$", errors.__doc__ or "", re.MULTILINE)
    return {name: "(retryable)" in rest for name, rest in lines}


@pytest.mark.parametrize("cls", every_class(), ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("copied", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy])
def test_an_error_survives_pickling_with_all_its_facts(cls: type[ZerobusIngestError], copied: object) -> None:
    error = cls("what happened", table="main.default.t", counts=COUNTS)
    if isinstance(error, RecordError):
        error.fields = (BAD_FIELD,)
    if isinstance(error, RejectedRecordError):
        error.rows = (3, 7)
    twin = copied(error)  # type: ignore[operator]  # one of the three functions above
    assert type(twin) is cls
    assert str(twin) == str(error)
    assert twin.args == error.args
    assert vars(twin) == vars(error)
    assert twin.retryable == error.retryable


def test_the_drawing_of_the_tree_has_every_class_and_no_other() -> None:
    in_code = {cls.__name__ for cls in every_class()} - {"ZerobusIngestError"}
    assert in_code == set(drawn())


@pytest.mark.parametrize("cls", every_class(), ids=lambda cls: cls.__name__)
def test_a_class_is_retryable_exactly_where_the_drawing_says_so(cls: type[ZerobusIngestError]) -> None:
    assert cls.retryable is drawn().get(cls.__name__, False)


def test_all_names_of_the_tree_are_exported() -> None:
    assert {cls.__name__ for cls in every_class()} <= set(errors.__all__)


def test_an_error_tells_table_message_and_where_the_rows_stand() -> None:
    error = ZerobusIngestError("broken", table="main.default.t", counts=COUNTS)
    assert str(error) == (
        "main.default.t: broken [10 rows read, 4 acknowledged, 1 durable before, 2 dead-lettered, 3 not durable]"
    )
    assert str(ZerobusIngestError("broken")) == "broken"


def test_the_package_exports_every_class_of_the_tree() -> None:
    for cls in every_class():
        assert getattr(zerobus_core, cls.__name__) is cls
        assert cls.__name__ in zerobus_core.__all__


def test_importing_the_package_loads_nothing_that_only_a_delivery_needs() -> None:
    heavy = ("pyarrow", "databricks", "zerobus", "requests", "google.protobuf", "sqlglot", "fsspec", "pandas", "click")
    script = f"import sys, zerobus_core; print([name for name in {heavy!r} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert loaded.stdout == "[]\n"


def test_importing_the_package_takes_less_than_a_tenth_of_a_second() -> None:
    script = "import time; before = time.process_time(); import zerobus_core; print(time.process_time() - before)"
    seconds = [
        float(subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout)
        for _ in range(3)
    ]
    assert min(seconds) < 0.1
