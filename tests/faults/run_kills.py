#!/usr/bin/env python
"""Ends conversions and scorings by SIGKILL and SIGTERM at random moments, and runs each again.

  python tests/faults/run_kills.py --runs 50 --seed 0 [--pairs 1500]

Afterwards every output must be whole or as it was before, no process may be left, SIGTERM must exit with 143
and leave no half-written file, and the next run must succeed with the same bytes. Exit codes:
0 all so, 1 not, 2 wrong usage.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from fault_inputs import commands, make_root
from kill_runs import kill_runs


def main() -> int:
    """Runs, prints a line for each run, and a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=50, help="default: 50")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    parser.add_argument("--pairs", type=int, default=1500, help="pairs of the data set (default: 1500)")
    arguments = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        lines = commands(*make_root(Path(folder), arguments.pairs))
        reports = []
        for report in kill_runs(lines, arguments.runs, arguments.seed, Path(folder)):
            reports.append(report)
            print(
                f"{report.number:3d}  {report.command:8s} {report.signal} after {report.delay:5.2f} s: "
                f"exit {report.code:4d}, output {report.state}, {report.fault or 'next run succeeds'}",
                flush=True,
            )
    table = Counter((report.command, report.signal, report.code, report.state) for report in reports)
    print("\nruns  command   signal   exit  output")
    for (command, sent, code, state), count in sorted(table.items()):
        print(f"{count:4d}  {command:8s}  {sent}  {code:4d}  {state}")
    failed = [report for report in reports if report.fault]
    print(f"\n{len(reports)} runs, {len(failed)} faults, {time.monotonic() - started:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
