#!/usr/bin/env python
"""Damages small inputs in thousands of ways and runs the torch-free steps on each.

  python tests/mutation/run_mutants.py --count 10000 --seed 0 [--jobs 2] [--report FILE]
  python tests/mutation/run_mutants.py --seed 0 --only 4711

Each mutant must be done, mended and reported, or refused with one sentence that names a file: no other error,
no half-written or misplaced file, not over 5 s, not over 1 GB. With LD_PRELOAD=libc_malloc_debug.so.0
MALLOC_CHECK_=3 in the environment, damage to the heap ends the mutant that does it, and not a later one.
Exit codes: 0 all so, 1 a mutant failed, 2 wrong usage.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from mutant_pool import run_mutants
from mutants import mutant
from one_mutant import run_mutant
from sandbox import make_base
from verdicts import FAILED, Verdict, outcome_table

_LINE_EVERY = 500


def parse_arguments() -> argparse.Namespace:
    """Command line of the tool."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=10_000, help="mutants 0 to COUNT - 1 (default: 10000)")
    parser.add_argument("--seed", type=int, default=0, help="of the series (default: 0)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write all verdicts as JSON")
    parser.add_argument("--only", type=int, nargs="+", metavar="N", help="these mutants alone")
    parser.add_argument(
        "--here", action="store_true", help="in this process, to see a traceback in a debugger"
    )
    return parser.parse_args()


def main() -> int:
    """Runs the mutants and prints the table and each failure."""
    arguments = parse_arguments()
    numbers = arguments.only or range(arguments.count)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        base = Path(folder, "base")
        make_base(base)
        verdicts: list[Verdict] = []
        if arguments.here:
            verdicts += (
                run_mutant(mutant(arguments.seed, number), base, Path(folder, "here")) for number in numbers
            )
        else:
            for verdict in run_mutants(numbers, arguments.seed, base, Path(folder), arguments.jobs):
                verdicts.append(verdict)
                if len(verdicts) % _LINE_EVERY == 0:
                    print(f"{len(verdicts)} of {len(numbers)} mutants", file=sys.stderr, flush=True)
    failed = [verdict for verdict in verdicts if verdict.outcome == FAILED]
    print(outcome_table(verdicts))
    for verdict in failed if not arguments.only else verdicts:
        print(f"\n{verdict.outcome} {verdict}")
    if failed:
        names = " ".join(str(verdict.number) for verdict in failed[:20])
        print(f"\nagain: python tests/mutation/run_mutants.py --seed {arguments.seed} --only {names}")
    print(f"\n{len(verdicts)} mutants, {len(failed)} failed, {time.monotonic() - started:.0f} s")
    if arguments.report:
        report = {"seed": arguments.seed, "mutants": [verdict.as_json() for verdict in verdicts]}
        arguments.report.write_text(json.dumps(report, indent=1))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
