#!/usr/bin/env python3
"""Runs the Autobahn cases against the echo example and is strict about the verdicts.

    cargo build --example echo
    python tests/py/conformance.py                     # all of sections 1-7, 9 and 10
    python tests/py/conformance.py '6.*' 9.1.1         # these alone
    python tests/py/conformance.py --url 127.0.0.1:9001

A case passes if it is OK and its close is OK. NON-STRICT, which Autobahn lets pass, fails
here. Three cases have no other verdict than INFORMATIONAL and must have that one.

Sections 12 and 13 are about permessage-deflate, which longlink does not speak.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
from pathlib import Path

from kosoku import FailureError, run_fuzzingclient

from launch import TARGET, launch

# How many cases each section has, so that a run in which some cases are lost does not pass.
SECTIONS = {"1": 16, "2": 11, "3": 7, "4": 10, "5": 20, "6": 145, "7": 37, "9": 54, "10": 1}
# Autobahn gives these cases the same verdict whatever the server does, because it is not specified
# what a server should do in them.
INFORMATIONAL = {"7.1.6", "7.13.1", "7.13.2"}

ECHO = TARGET / "debug" / "examples" / "echo"
RUN_SECONDS = 600


async def run_cases(address: str, cases: list[str], parallel: int) -> list:
    run = run_fuzzingclient(f"ws://{address}", cases, concurrency=parallel)
    try:
        return await asyncio.wait_for(run, RUN_SECONDS)
    except FailureError as failure:
        return failure.results
    except asyncio.TimeoutError:
        sys.exit(f"the cases did not end in {RUN_SECONDS} s")


def is_strictly_ok(result) -> bool:
    wanted = "INFORMATIONAL" if result.case_id in INFORMATIONAL else "OK"
    return result.behavior.value == wanted and result.behavior_close.value == wanted


def explain(result) -> str:
    verdict = f"{result.case_id}: {result.behavior.value}, close {result.behavior_close.value}"
    return f"{verdict}\n    {result.result}\n    {result.result_close}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", help="case ids or globs; all by default")
    parser.add_argument("--echo", type=Path, default=ECHO, help="the echo server's binary")
    parser.add_argument("--url", help="test the echo server that runs at this HOST:PORT")
    parser.add_argument("--parallel", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    if not args.url and not args.echo.exists():
        sys.exit(f"no {args.echo}: cargo build --example echo first")

    cases = args.cases or [f"{section}.*" for section in SECTIONS]
    server = contextlib.nullcontext(args.url) if args.url else launch(args.echo, "127.0.0.1:0")
    with server as address:
        results = asyncio.run(run_cases(address, cases, args.parallel))

    bad = [result for result in results if not is_strictly_ok(result)]
    for result in bad:
        print(explain(result))
    missing = 0 if args.cases else sum(SECTIONS.values()) - len(results)
    if missing:
        print(f"{missing} of the {sum(SECTIONS.values())} cases did not run")
    print(f"{len(results) - len(bad)} cases passed, {len(bad) + abs(missing)} failed")
    return 0 if results and not bad and not missing else 1


if __name__ == "__main__":
    code = main()
    # The interpreter is not ended in the usual way. kosoku leaves threads of Rust behind that hold objects of Python. If
    # such a thread asks for the interpreter while it ends, Python stops the thread in the middle of Rust, and
    # Rust then aborts the process, after all verdicts have been printed.
    sys.stdout.flush()
    os._exit(code)
