"""``make bench``: every benchmark in turn, each as ratios against hand-written code in the same run."""

from __future__ import annotations

from importlib import import_module

BENCHMARKS = ("encoder", "delivery", "digest", "memory", "small_task", "local_server", "fan_out")

if __name__ == "__main__":
    for name in BENCHMARKS:
        print(f"# {name}", flush=True)
        import_module(f"benchmarks.{name}").main([])
