#!/usr/bin/env python3
"""
What scripts cost in CPU time: requests per CPU-second of the proxy, without a script, with a verdict that is kept, and with
one that is looked up for each request. 64 drivers with 32 requests in flight each, half of them writes, one worker.

    bench/policies.py [--binary FILE] [--load FILE] [--pairs N] [--requests N] [--backend pooled|dedicated]

Instructions per request, which noise does not touch, are guarded by bench/guards.py.
"""
import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import cpu_cost  # noqa: E402
from guards import SCRIPT_STATIC, SCRIPT_TABLE  # noqa: E402

VARIANTS = {"none": None, "static": SCRIPT_STATIC, "table": SCRIPT_TABLE}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cpu_cost.add_arguments(parser)
    arguments = parser.parse_args()

    def run(name, folder):
        script = VARIANTS[name]
        return cpu_cost.requests_per_cpu_second(arguments, folder, "[lua]\nscript = policy.lua\n" if script else "",
                                                {"policy.lua": script or ""})

    cpu_cost.compare(VARIANTS, arguments.pairs, run)


if __name__ == "__main__":
    main()
