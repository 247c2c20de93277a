"""
Requests per CPU-second of the proxy: what bench/policies.py and bench/plugins.py have in common. 64 drivers, half of their
requests are writes, one worker. The proxy has the first core, the load generator the second one where there is one.
"""
import contextlib
import os
import signal
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from guards import INI, ROOT

CONNECTIONS = 64
PATIENCE = 120


def add_arguments(parser):
    parser.add_argument("--binary", type=Path, default=ROOT / "cqlferry", help="an optimized build")
    parser.add_argument("--load", type=Path, default=ROOT / "bench" / "cqlbench", help="make bench/cqlbench")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--requests", type=int, default=400000)
    parser.add_argument("--backend", choices=("pooled", "dedicated"), default="dedicated")


def cpu_seconds(pid):
    """Of all its threads; in nanoseconds' resolution, where /proc/PID/stat counts hundredths of a second."""
    return sum(int((task / "schedstat").read_text().split()[0])
               for task in Path(f"/proc/{pid}/task").iterdir()) / 1e9


def start(command, core, log):
    cores = sorted(os.sched_getaffinity(0))
    with open(log, "wb") as out:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                preexec_fn=lambda: os.sched_setaffinity(0, {cores[core % len(cores)]}))


def wait_for(path, text, process):
    deadline = time.monotonic() + PATIENCE
    while text not in path.read_text(errors="replace"):
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"no '{text}' in {path}:\n{path.read_text(errors='replace')[-2000:]}")
        time.sleep(0.01)


def network():
    """The first three numbers of the loopback addresses of this run."""
    return f"127.{210 + os.getpid() % 10}.7"


def configuration(backend, http):
    text = INI.format(network(), backend)
    if http:
        address, _, port = http.rpartition(":")
        text = text.replace("[http]\nenabled = false", f"[http]\naddress = {address}\nport = {port}")
    return text


def requests_per_cpu_second(arguments, folder, sections="", files=(), depth=32, http=None, meanwhile=contextlib.nullcontext):
    """
    One run with these sections in the INI file and these files beside it; `meanwhile` is entered for its duration, `http` is where
    pages are served, if they are.
    """
    for name, text in dict(files).items():
        (folder / name).write_text(text)
    (folder / "proxy.ini").write_text(configuration(arguments.backend, http) + sections)
    load = start([arguments.load, "--proxy", f"{network()}.1:14002", "--origin", f"{network()}.2:9042",
                  "--target", f"{network()}.3:9042", "--write-percent", "50", "--connections", str(CONNECTIONS),
                  "--depth", str(depth), "--requests", str(arguments.requests), "--warmup", "20000"],
                 1, folder / "load.log")
    proxy = None
    try:
        wait_for(folder / "load.log", "listening", load)
        proxy = start([arguments.binary, "-c", folder / "proxy.ini"], 0, folder / "proxy.log")
        with meanwhile():
            if load.wait(PATIENCE) != 0:
                raise SystemExit("cqlbench has failed:\n" + (folder / "load.log").read_text()[-2000:] +
                                 (folder / "proxy.log").read_text()[-2000:])
        spent = cpu_seconds(proxy.pid)
        proxy.send_signal(signal.SIGTERM)
        if proxy.wait(PATIENCE) != 0:
            raise SystemExit("the proxy ended badly:\n" + (folder / "proxy.log").read_text()[-2000:])
        return arguments.requests / spent
    finally:
        for process in (load, proxy):
            if process and process.poll() is None:
                process.kill()
                process.wait()


def compare(variants, pairs, run):
    """
    The variants take turns, and what is told is the ratio of each to the first one in the same turn: the machine's own speed
    falls out. run(name, folder) measures one.
    """
    figures = {name: [] for name in variants}
    first = next(iter(figures))
    width = max(map(len, figures))
    with tempfile.TemporaryDirectory(prefix="cpu_cost.") as folder:
        for turn in range(pairs):
            for name in figures:
                figures[name].append(run(name, Path(folder)))
                print(f"turn {turn + 1} {name:<{width}} {figures[name][-1]:>9.0f} requests per CPU-second", flush=True)
    for name, values in figures.items():
        ratios = [a / b for a, b in zip(values, figures[first])]
        print(f"{name:<{width}} {statistics.median(values):>9.0f}, ratio to {first} {statistics.median(ratios):.3f} "
              f"({min(ratios):.3f} to {max(ratios):.3f})", flush=True)
