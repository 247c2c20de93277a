#!/usr/bin/env python3
"""
What scripts cost in CPU time: requests per CPU-second of the proxy, without a script, with a verdict that is kept, and with
one that is looked up for each request. 64 drivers with 32 requests in flight each, half of them writes, one worker.

    bench/policies.py [--binary FILE] [--load FILE] [--pairs N] [--requests N] [--backend pooled|dedicated]

The variants take turns, and what is told is the ratio of each to the one without a script in the same turn: the machine's
own speed falls out. The proxy has the first core, the load generator the second one where there is one. Instructions per
request, which noise does not touch, are guarded by bench/guards.py.
"""
import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from guards import INI, ROOT, SCRIPT_STATIC, SCRIPT_TABLE  # noqa: E402

VARIANTS = {"none": None, "static": SCRIPT_STATIC, "table": SCRIPT_TABLE}
CONNECTIONS = 64
DEPTH = 32
PATIENCE = 120


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def start(command, core, log):
    cores = sorted(os.sched_getaffinity(0))
    with open(log, "wb") as out:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                preexec_fn=lambda: os.sched_setaffinity(0, {cores[core % len(cores)]}))


def wait_for(path, text, process):
    deadline = time.monotonic() + PATIENCE
    while text not in path.read_text(errors="replace"):
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"policies.py: no '{text}' in {path}:\n{path.read_text(errors='replace')[-2000:]}")
        time.sleep(0.01)


def run(arguments, folder, script):
    """Requests per CPU-second of the proxy."""
    network = f"127.{210 + os.getpid() % 10}.7"
    (folder / "policy.lua").write_text(script or "")
    (folder / "proxy.ini").write_text(INI.format(network, arguments.backend) +
                                      ("[lua]\nscript = policy.lua\n" if script else ""))
    load = start([arguments.load, "--proxy", f"{network}.1:14002", "--origin", f"{network}.2:9042",
                  "--target", f"{network}.3:9042", "--write-percent", "50", "--connections", str(CONNECTIONS),
                  "--depth", str(DEPTH), "--requests", str(arguments.requests), "--warmup", "20000"],
                 1, folder / "load.log")
    proxy = None
    try:
        wait_for(folder / "load.log", "listening", load)
        proxy = start([arguments.binary, "-c", folder / "proxy.ini"], 0, folder / "proxy.log")
        if load.wait(PATIENCE) != 0:
            raise SystemExit("policies.py: cqlload has failed:\n" + (folder / "load.log").read_text()[-2000:])
        spent = cpu_seconds(proxy.pid)
        proxy.send_signal(signal.SIGTERM)
        if proxy.wait(PATIENCE) != 0:
            raise SystemExit("policies.py: the proxy ended badly:\n" + (folder / "proxy.log").read_text()[-2000:])
        return arguments.requests / spent
    finally:
        for process in (load, proxy):
            if process and process.poll() is None:
                process.kill()
                process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, default=ROOT / "cqlferry", help="an optimized build")
    parser.add_argument("--load", type=Path, default=ROOT / "bench" / "cqlload", help="make bench/cqlload")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--requests", type=int, default=400000)
    parser.add_argument("--backend", choices=("pooled", "dedicated"), default="dedicated")
    arguments = parser.parse_args()
    figures = {name: [] for name in VARIANTS}
    with tempfile.TemporaryDirectory(prefix="policies.") as folder:
        for turn in range(arguments.pairs):
            for name, script in VARIANTS.items():
                figures[name].append(run(arguments, Path(folder), script))
                print(f"turn {turn + 1} {name:<7} {figures[name][-1]:>9.0f} requests per CPU-second", flush=True)
    for name in VARIANTS:
        ratios = [a / b for a, b in zip(figures[name], figures["none"])]
        print(f"{name:<7} {statistics.median(figures[name]):>9.0f}, ratio to none {statistics.median(ratios):.3f} "
              f"({min(ratios):.3f} to {max(ratios):.3f})")


if __name__ == "__main__":
    main()
