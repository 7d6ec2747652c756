"""One shard of a handoff's slice, in a process of its own that a test kills: ``python slice_shard_child.py JOB``."""

from __future__ import annotations

import json
import os
import sys

os.environ.setdefault("RUST_LOG", "off")

from zerobus_core import Handoff, NewFiles, Workspace

if __name__ == "__main__":
    job = json.loads(sys.argv[1])
    handoff = Handoff(
        Workspace.from_env(),
        job["table"],
        NewFiles(job["landing"]),
        state=job["state"],
        # One small batch after the other, so that a shard takes seconds.
        options={"batch_rows": 10, "max_unacked_bytes": 1},
    )
    print(json.dumps(handoff.deliver_shard(job["shard"]).as_dict()))
