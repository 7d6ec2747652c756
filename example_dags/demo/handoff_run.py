"""One run of a handoff: delivers the files in a folder that no earlier run has delivered.

The arguments of this script are the folder, the table and the file for the receipt. The workspace comes from the
environment.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from zerobus_core import NewFiles, Workspace, hand_over

# Small batches, and few of them unacknowledged, so that the run lasts long enough to be killed in the middle.
_OPTIONS = {"batch_rows": 500, "max_unacked_bytes": 100_000}


def main(landing: Path, table: str, receipt: Path) -> None:
    """Deliver what is new, and write the receipt."""
    state = landing.with_name("handoff.json")
    done = hand_over(Workspace.from_env(), table, NewFiles(f"{landing}/*.parquet"), state=state, options=_OPTIONS)
    receipt.write_text(json.dumps(done.as_dict()))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
