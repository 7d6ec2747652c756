"""``zerobus-ingest handoff``, which delivers what is new in a source, and shows or changes the handoff's state."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from ..errors import ConfigurationError
from .frame import connection_options, framed, workspace_of
from .interruption import Interruption
from .options import ingest_options, ingest_options_of
from .progress import shown_progress
from .receipts import print_receipt

if TYPE_CHECKING:
    from ..handoffs import Handoff

__all__ = ["handoff"]

_Command = Callable[..., None]

_SOURCE_HELP = """SOURCE is a directory or glob of files (local or any fsspec URI), or package.module:name of a
NewFiles, NewRows or NewItems, or of a function that returns one."""


@click.group()
def handoff() -> None:
    """Deliver what is new since the last run, and keep a state that says what was delivered."""


def _handoff_options(command: _Command) -> _Command:
    for option in reversed(
        [
            click.argument("source"),
            click.option("--table", required=True, metavar="NAME", help="catalog.schema.table"),
            click.option("--state", required=True, metavar="URI", help="The file that keeps the state between runs."),
            click.option("--name", metavar="TEXT", help="Name of the handoff  [default: the name of the state's file]"),
            click.option(
                "--names-increase",
                is_flag=True,
                help="The name of each new file sorts after those of all earlier files.",
            ),
        ]
    ):
        command = option(command)
    return command


def _state_options(command: _Command) -> _Command:
    """Add ``--yes``, and the options that all handoff commands share, to a command that changes the state."""
    yes = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
    return _handoff_options(yes(connection_options(framed(command))))


_FILE_OPTIONS = ("settle", "max_files", "max_bytes", "on_changed", "names_increase")


@handoff.command("run")
@_handoff_options
@click.option(
    "--settle", type=float, metavar="SECONDS", help="Deliver a file only if it has not changed for this long."
)
@click.option("--max-files", type=int, help="The largest number of files in one slice.")
@click.option("--max-bytes", type=int, help="The largest total size of the files in one slice, in bytes.")
@click.option(
    "--on-changed", type=click.Choice(["fail", "deliver", "ignore"]), help="What to do if a delivered file has changed."
)
@click.option(
    "--on-busy",
    type=click.Choice(["fail", "skip", "wait"]),
    default="fail",
    help="What to do while another run delivers.",
)
@click.option(
    "--from",
    "start",
    metavar="POSITION",
    help="Deliver again what comes after this position, up to --to; the state stays as it is.",
)
@click.option("--to", "end", metavar="POSITION", help="The last position that is delivered again.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@connection_options
@ingest_options
@framed
def run(on_busy: str, start: str | None, end: str | None, quiet: bool, **given: Any) -> None:
    """Deliver what is new in SOURCE, and print the receipt as JSON.

    A slice that an earlier run left unfinished is delivered first. With --to, the run instead delivers an old range
    again: everything after --from, up to and including --to. If --from is not given, the range begins at the start of
    SOURCE. The state does not change. If SOURCE consists of files, the values of --from and --to are names of files.
    """
    options = ingest_options_of(given)
    if start is not None and end is None:
        raise ConfigurationError("--from needs --to, the last position to deliver again")
    interruption = Interruption()
    with interruption.catching_signals(), shown_progress(quiet=quiet) as show:
        one = _handoff_of(given, options=options, on_progress=show, stop=interruption)
        receipt = one.run(on_busy=on_busy) if end is None else one.deliver_between(start, end)
    print_receipt(receipt, as_json=True)


@handoff.command("show")
@_handoff_options
@click.option("--values", is_flag=True, help="Show the text in watermarks; by default, it is masked.")
@connection_options
@framed
def show(values: bool, **given: Any) -> None:
    """Print the state as JSON: what was delivered, the open slice and its owner, and the latest slices."""
    click.echo(json.dumps(_handoff_of(given).show(values=values), indent=2))


@handoff.command("rewind")
@_state_options
@click.option("--to", "to", required=True, metavar="POSITION", help="'start', a value, or a slice that `show` lists.")
def rewind(to: str, **given: Any) -> None:
    """Change the state so that the next runs deliver everything after --to again.

    If --to is a slice, that slice is also delivered again. The rows that are already in the table stay there.
    """
    _change(given, f"Rewind to {to}? What was delivered after it is sent again.", lambda one: one.rewind(to))


@handoff.command("release")
@_state_options
@click.option("--file", "file", metavar="PATH", help="The file, relative to the source's directory.")
@click.option("--lease", "lease", is_flag=True, help="End the lease of the run that holds the open slice.")
@click.option(
    "--slice", "slice_id", metavar="SLICE", help="Release only a file or lease of this slice, which must still be open."
)
def release(file: str | None, lease: bool, slice_id: str | None, **given: Any) -> None:
    """Exclude one version of a file from delivery (--file), or end the lease on the open slice (--lease).

    Use --file for a file that is damaged, or that has changed since it was delivered.
    """
    if lease == (file is not None):
        raise ConfigurationError(
            "pass either --file, which excludes a file, or --lease, which ends the lease, but not both"
        )
    if file is None:
        question = (
            "End the lease? The next run delivers the open slice. Make sure that no other run is still delivering it."
        )
        _change(given, question, lambda one: one.end_lease(slice_id))
        return
    question = f"Leave {file} out? Its rows in this version are not delivered."
    _change(given, question, lambda one: one.release(file, slice_id=slice_id))


@handoff.command("skip")
@_state_options
@click.argument("slice_id", metavar="SLICE")
def skip(slice_id: str, **given: Any) -> None:
    """Give up the open SLICE: its rows that are still missing are never delivered. The slice stays in the history."""
    _change(given, f"Skip slice {slice_id}? Its missing rows are not delivered.", lambda one: one.skip(slice_id))


for _command in handoff.commands.values():
    _command.help = "\n\n".join([inspect.cleandoc(_command.help or ""), _SOURCE_HELP])


def _change(given: dict[str, Any], question: str, change: Callable[[Handoff], None]) -> None:
    """Ask for confirmation unless ``--yes`` was given, change the state, and print the new state."""
    yes = given.pop("yes")
    one = _handoff_of(given)
    if not yes and not click.confirm(f"{one.name}: {question}", err=True):
        raise ConfigurationError("not confirmed, so nothing was changed")
    change(one)
    click.echo(json.dumps(one.show(), indent=2))


def _handoff_of(given: dict[str, Any], **more: Any) -> Handoff:
    from ..handoffs import Handoff

    table, state, name = given.pop("table"), given.pop("state"), given.pop("name")
    source = _source_of(given.pop("source"), {option: given.pop(option, None) for option in _FILE_OPTIONS})
    return Handoff(workspace_of(given), table, source, state=state, name=name, **more)


def _source_of(text: str, options: dict[str, Any]) -> Any:
    from ..handoffs import NewFiles

    module, sign, name = text.partition(":")
    stated = {option: value for option, value in options.items() if value not in (None, False)}
    if not sign or not all(map(str.isidentifier, [*module.split("."), *name.split(".")])):
        return NewFiles(text, **stated)
    if stated:
        flags = ", ".join("--" + option.replace("_", "-") for option in stated)
        raise ConfigurationError(
            f"{flags} apply only to a directory or glob of files; set the options of {text} in its own code"
        )
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"{text!r} cannot be imported: {error}; write package.module:name") from error
    return found() if callable(found) else found
