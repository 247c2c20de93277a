#!/usr/bin/env python3
"""
What a second worker costs: whether two of them get in each other's way, and how evenly they share the clients.

    bench/scaling.py                   all of it, some fifteen minutes; --quick: one short turn each
    bench/scaling.py workers           CPU time per request of a worker that has a second one beside it, against one that is
                                       alone, and against one that has another process beside it, with which it shares
                                       nothing; some eight minutes, --load R64 --load W64p: some of it
    bench/scaling.py balance           clients and requests of each worker, with 10, 100 and 1000 connections
    bench/scaling.py lines             which cache lines are written by one worker and used by another one, per request:
                                       by a build in which every access to memory is looked at (bench/line_watch.c)
    bench/scaling.py c2c               the same by the processor's counters (perf c2c), where the machine has them

Results go to bench/results/scaling.json, of the parts that were run. Worker 0 has core 0; bench/cqlbench has core 1, alone or with
worker 1 or the second process. It is throttled (--rate), so that worker 0 has the same clients and the same requests per second in
all three; what counts is the CPU time of worker 0's thread per request.

Exit status 1 when a worker beside another one needs more than 5 % more of it, when clients are not spread evenly, or when a line is
written so more often than once in 1000 requests that is not one of those in SHARED_BY_DESIGN. That the watching works is shown by
timestamps = add, with which all workers write to one line by design.
"""
import argparse
import collections
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import machine

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results" / "scaling.json"

#: The proxy as it is released, as in guards.py.
CONFIGURE = ["CC=gcc", "CFLAGS=-O2 -g"]
#: Every access to memory becomes a call; memcpy() and its like are wrapped. Without hardening, which has names of its own for them.
WATCHED = ["CPPFLAGS=-fsanitize=thread", "HARDEN_CFLAGS=-U_FORTIFY_SOURCE -fPIE"]
WRAP = "-Wl,--wrap=memcpy,--wrap=memmove,--wrap=memset"
#: No single run takes longer, seconds.
PATIENCE = 120
#: What two workers may need more, per request.
TOLERANCE = 0.05
#: Writes per request that count as none: timers, messages between threads, what is prepared in the beginning. A line that is only
#: read afterwards is in every core's cache.
WRITES_MAX = 0.001

#: Answers less than were due, of all: more, and the load was not the same.
MISSING_MAX = 0.02
#: Before and after the time that is looked at within a run, seconds.
EDGE = 0.1

#: name: cqlbench's options, for two workers; one alone has half the clients and half the rate. That leaves room on both cores.
Load = collections.namedtuple("Load", "connections depth writes rate more config", defaults=((), ""))
LOADS = {
    "R64": Load(64, 1, 0, 24000),
    "W64": Load(64, 1, 100, 16000),
    "M1000": Load(1000, 1, 50, 16000),
    "R64p": Load(64, 64, 0, 160000, ("--burst", "32")),
    "W64p": Load(64, 64, 100, 80000, ("--burst", "32")),
}
#: The one whose shared line has to be found.
CONTROL = "timestamps"
LINE_LOADS = {
    "R64p": Load(64, 32, 0, None),
    "W64p": Load(64, 32, 100, None),
    "V5": Load(64, 4, 50, None, ("--protocol", "5")),
    "B64": Load(64, 1, 100, None, ("--batch-percent", "100")),
    "S64": Load(64, 1, 50, None, ("--form", "simple")),
    "L-M": Load(16, 4, 50, None, ("--value-size", "65536")),
    CONTROL: Load(64, 1, 50, None, (), "[routing]\ntimestamps = add\n"),
}
MODES = ("dedicated", "pooled")

#: Functions whose lines several workers use for a reason: docs/internals.md, "Shared state".
SHARED_BY_DESIGN = {
    "chunk_try_new": "bytes in frames of more than 64 KiB, of all workers",
    "chunk_release": "bytes in frames of more than 64 KiB, of all workers",
    "chunk_large_bytes": "bytes in frames of more than 64 KiB, of all workers",
    "timestamps_raise": "the last timestamp, with timestamps = add",
}

INI = """\
[proxy]
workers = {workers}
max_client_connections = 5000
backend_connections = {mode}
[listener]
address = {listen}
port = 14002
[origin]
contact_points = {net}.2
[target]
contact_points = {net}.3
[http]
address = {listen}
port = 14001
[log]
level = warn
{config}"""


class ScalingError(Exception):
    """Something that keeps us from measuring."""


# ---- builds ---------------------------------------------------------------------


def make(build, *arguments):
    done = subprocess.run(["make", "-s", f"-j{os.cpu_count()}", *arguments], cwd=build, capture_output=True, text=True)
    if done.returncode:
        raise ScalingError(f"make {' '.join(arguments)} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")


def configure(build):
    build.mkdir(parents=True, exist_ok=True)
    if not (build / "Makefile").exists():
        if not (ROOT / "configure").exists():
            subprocess.run([str(ROOT / "autogen.sh")], check=True, stdout=subprocess.DEVNULL)
        subprocess.run([str(ROOT / "configure"), "-q", *CONFIGURE], cwd=build, check=True)


def build_watched(build):
    """A proxy that tells which lines its threads share."""
    configure(build)
    watch = build / "line_watch.o"
    subprocess.run(["gcc", "-O2", "-g", "-D_GNU_SOURCE", "-c", str(ROOT / "bench/line_watch.c"), "-o", str(watch)], check=True)
    make(build, "cqlferry", *WATCHED, f"LDFLAGS={WRAP} {watch.resolve()}")


# ---- one run ---------------------------------------------------------------------


def threads(pid):
    """{name: thread id}"""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            found[(task / "comm").read_text().strip()] = int(task.name)
        except OSError:
            pass
    return found


def cpu_seconds(pid, thread):
    return int(Path(f"/proc/{pid}/task/{thread}/schedstat").read_text().split()[0]) / 1e9


def wake_ups(pid, thread):
    text = Path(f"/proc/{pid}/task/{thread}/status").read_text()
    return int(text.partition("\nvoluntary_ctxt_switches:")[2].split()[0])


class Proxies:
    """One or more proxies in front of the same clusters, each with its workers, as one process group."""

    def __init__(self, folder, net, binary, mode, workers, cores, environment=None, config="", affinity=True):
        self.folder, self.cores, self.affinity = folder, cores, affinity
        self.pids, self.addresses = [], []
        script = []
        for i, count in enumerate(workers):
            listen = f"{net}.{10 + i}"
            ini = folder / f"{i}.ini"
            ini.write_text(INI.format(workers=count, mode=mode, listen=listen, net=net, config=config))
            self.addresses.append(f"{listen}:14002")
            script.append(f"{binary} -c {ini} 2>{folder}/{i}.log &")
        self.workers = workers
        # One parent for all of them: cqlbench counts the children of the process that it is told.
        self.group = subprocess.Popen(["sh", "-c", "\n".join(script) + "\nwait"], start_new_session=True,
                                      env={**os.environ, **(environment or {})})

    def pin(self):
        """Finds the processes, and gives each worker the next core; all other threads stay on the first."""
        end = time.monotonic() + PATIENCE
        core = 0
        while len(self.pids) < len(self.workers):
            text = Path(f"/proc/{self.group.pid}/task/{self.group.pid}/children").read_text()
            self.pids = [int(pid) for pid in text.split()]
            self._check(end)
        for pid, count in zip(self.pids, self.workers):
            while not all(f"worker-{i}" in threads(pid) for i in range(count)):
                self._check(end)
            if self.affinity:
                for name, thread in threads(pid).items():
                    os.sched_setaffinity(thread, [self.cores[0]])
                for i in range(count):
                    os.sched_setaffinity(threads(pid)[f"worker-{i}"], [self.cores[core % len(self.cores)]])
                    core += 1

    def _check(self, end):
        if time.monotonic() > end or self.group.poll() is not None:
            raise ScalingError(f"the proxy does not come up: {self.log()}")
        time.sleep(0.02)

    def log(self):
        return " ".join(path.read_text()[-1000:] for path in self.folder.glob("*.log"))

    def worker_seconds(self):
        """CPU time of each worker so far."""
        return [cpu_seconds(pid, threads(pid)[f"worker-{i}"]) for pid, n in zip(self.pids, self.workers) for i in range(n)]

    def metrics(self, address=None):
        """Of one of them: {'name{labels}': number}"""
        host = (address or self.addresses[0]).split(":")[0]
        with urllib.request.urlopen(f"http://{host}:14001/metrics", timeout=PATIENCE) as answer:
            lines = answer.read().decode().splitlines()
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if not line.startswith("#"))}

    def all_metrics(self):
        return [self.metrics(address) for address in self.addresses]

    def signal(self, number):
        for pid in self.pids:
            os.kill(pid, number)

    def stop(self):
        """The processes end by themselves, so that they can write down what they know."""
        for pid in self.pids:
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
        try:
            self.group.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            pass
        finally:
            if self.group.poll() is None:
                os.killpg(self.group.pid, signal.SIGKILL)
                self.group.wait()


def requests_of(metrics):
    return sum(v for k, v in metrics.items() if k.startswith("zdm_proxy_request_duration_seconds_count"))


class Bench:
    """cqlbench, pinned; its result when it ends."""

    def __init__(self, binary, folder, net, addresses, load, core, *arguments, share=1.0):
        self.folder = folder
        command = [str(binary), "--proxy", ",".join(addresses), "--origin", f"{net}.2:9042", "--target", f"{net}.3:9042",
                   "--connections", str(int(load.connections * share)), "--depth", str(load.depth),
                   "--write-percent", str(load.writes), "--json", str(folder / "bench.json"),
                   "--pid-file", str(folder / "pid"), *load.more, *arguments]
        if load.rate:
            command += ["--rate", str(int(load.rate * share)), "--depth", str(max(load.depth, 16))]
        if core is not None:
            command = ["taskset", "-c", str(core), *command]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if not self.process.stdout.readline().startswith("listening"):
            raise ScalingError(f"cqlbench does not listen: {self.process.communicate()[1][-1000:]}")

    def until_ready(self):
        told = ""
        for line in self.process.stderr:
            if "clients are ready" in line:
                return
            told += line
        raise ScalingError(f"cqlbench ended with {self.process.wait()}: {told}")

    def result(self):
        errors = self.process.communicate(timeout=PATIENCE)[1]
        if self.process.returncode:
            raise ScalingError(f"cqlbench ended with {self.process.returncode}: {errors[-1000:]}")
        return json.loads((self.folder / "bench.json").read_text())

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


class Scaling:
    def __init__(self, arguments):
        self.arguments = arguments
        self.build = arguments.build.resolve()
        self.cores = sorted(os.sched_getaffinity(0))[:2]
        self.net = f"127.{60 + os.getpid() % 100}.7"
        self.failures = []
        self.results = {}

    def fail(self, what):
        self.failures.append(what)
        print(f"FAILED  {what}", flush=True)

    def chosen(self, loads):
        return [item for item in loads.items() if not self.arguments.load or item[0] in self.arguments.load]

    def folder(self):
        return tempfile.TemporaryDirectory(prefix="cqlferry-scaling-")

    def run(self, load, mode, workers, *arguments, share=1.0, inside=None, binary=None, environment=None, affinity=True):
        """One run; `inside(proxies)` is called while it measures. What cqlbench says, and the workers' CPU time."""
        with self.folder() as name:
            folder = Path(name)
            addresses = [f"{self.net}.{10 + i}:14002" for i in range(len(workers))]
            bench = Bench(self.build / "bench/cqlbench", folder, self.net, addresses, load,
                          self.cores[-1] if affinity else None, *arguments, share=share)
            proxies = Proxies(folder, self.net, binary or self.build / "cqlferry", mode, workers, self.cores,
                              environment and environment(folder), load.config, affinity)
            try:
                proxies.pin()
                (folder / "pid").write_text(str(proxies.group.pid))
                bench.until_ready()
                before = proxies.worker_seconds()
                told = inside(proxies) if inside else None
                result = bench.result()
                result["worker_seconds"] = [b - a for a, b in zip(before, proxies.worker_seconds())]
                result["inside"] = told
            finally:
                bench.stop()
                proxies.stop()
            if environment:
                result["watched"] = (folder / "lines").read_text()
            return result


# ---- two workers ------------------------------------------------------------------

#: name: workers of each process, the share of the load
ROWS = {"one": ([1], 0.5), "apart": ([1, 1], 1.0), "together": ([2], 1.0)}


def spread_of(values):
    return {"median": round(statistics.median(values), 4), "min": round(min(values), 4), "max": round(max(values), 4)}


def watch_worker(seconds):
    """Worker 0 while the load goes on: us of CPU time per request, and how many requests it finds when it wakes up."""
    def inside(proxies):
        def read():
            thread = threads(proxies.pids[0])["worker-0"]
            return cpu_seconds(proxies.pids[0], thread), wake_ups(proxies.pids[0], thread), sum(map(requests_of, proxies.all_metrics()))
        time.sleep(seconds / 5 + EDGE)
        before = read()
        time.sleep(seconds - 2 * EDGE)
        cpu, woken, requests = (b - a for a, b in zip(before, read()))
        # The open loop gives each client in turn a request, and each worker has as many clients.
        requests /= sum(proxies.workers)
        return {"us": 1e6 * cpu / requests, "per_wake_up": requests / max(woken, 1)}
    return inside


def measure_workers(s):
    window = 0.6 if s.arguments.quick else s.arguments.seconds
    repeats = 1 if s.arguments.quick else s.arguments.repeats
    out = s.results["workers"] = {}
    for name, load in s.chosen(LOADS):
        for mode in MODES:
            told = {row: [] for row in ROWS}
            for turn in range(repeats):
                for row in list(ROWS)[turn % len(ROWS):] + list(ROWS)[:turn % len(ROWS)]:
                    workers, share = ROWS[row]
                    told[row].append(s.run(load, mode, workers, "--seconds", str(window), "--warmup-seconds", str(window / 5),
                                           share=share, inside=watch_worker(window)))
            out[f"{name} {mode}"] = describe_workers(s, f"{name} {mode}", load, told)


def describe_workers(s, name, load, told):
    us = {row: [r["inside"]["us"] for r in results] for row, results in told.items()}

    def ratio(one, base):
        """Of requests per CPU-second, turn by turn."""
        return spread_of([b / a for a, b in zip(us[one], us[base])])
    cell = {"us": {row: round(statistics.median(values), 3) for row, values in us.items()},
            "per_wake_up": {row: round(statistics.median(r["inside"]["per_wake_up"] for r in results), 2) for row, results in told.items()},
            "to_one": ratio("together", "one"), "apart_to_one": ratio("apart", "one"), "to_apart": ratio("together", "apart")}
    rates = {row: [r["requests_per_cpu_second"] for r in results] for row, results in told.items()}
    cell["all_threads_to_apart"] = spread_of([a / b for a, b in zip(rates["together"], rates["apart"])])
    due = {row: share * load.rate for row, (_, share) in ROWS.items()}
    cell["missing"] = round(max(1 - r["rate"] / due[row] for row, results in told.items() for r in results), 4)
    print(f"{name:16} us of worker 0 per request {cell['us']}, requests per wake-up {cell['per_wake_up']}; " +
          ", ".join(f"{key} {cell[key]['median']:.3f} ({cell[key]['min']:.3f} - {cell[key]['max']:.3f})"
                    for key in ("to_one", "apart_to_one", "to_apart", "all_threads_to_apart")) + f"; missing {cell['missing']}", flush=True)
    if not s.arguments.quick:
        for key, base in (("to_one", "one alone"), ("to_apart", "one beside another process")):
            if cell[key]["median"] < 1 - TOLERANCE:
                s.fail(f"{name}: a worker beside another one needs {1 / cell[key]['median'] - 1:.1%} more CPU time per request than {base}")
        if cell["missing"] > MISSING_MAX:
            s.fail(f"{name}: {cell['missing']:.1%} of the requests that were due had no answer in time: the load was not the same")
    return cell


# ---- balance ----------------------------------------------------------------------


def clients_by_worker(proxies):
    samples = proxies.metrics()
    return [int(samples[f'zdm_cqlferry_worker_clients{{worker="{i}"}}']) for i in range(proxies.workers[0])]


def measure_balance(s):
    out = s.results["balance"] = {}
    for workers in (2, 4):
        for connections in (10, 100, 1000):
            load = Load(connections, 1, 50, None)
            result = s.run(load, "pooled", [workers], "--seconds", "0.5", inside=clients_by_worker, affinity=False)
            seconds = result["worker_seconds"]
            clients = result["inside"]
            cell = {"clients": clients, "cpu_share": [round(x / sum(seconds), 3) for x in seconds]}
            out[f"{workers} workers, {connections} connections"] = cell
            print(f"{workers} workers, {connections:4} connections: clients {clients}, CPU time {cell['cpu_share']}", flush=True)
            if max(clients) - min(clients) > 1 or sum(clients) != connections:
                s.fail(f"{connections} clients of {workers} workers: {clients}")


# ---- cache lines ------------------------------------------------------------------

Use = collections.namedtuple("Use", "thread how count pc")


def parse_watched(text):
    """(base, {line: [Use]})"""
    base, found, line = 0, {}, None
    for words in map(str.split, text.splitlines()):
        if words[0] == "base":
            base = int(words[1], 16)
        elif words[0] == "lost" and words[1] != "0":
            raise ScalingError(f"line_watch.c had no room for {words[1]} accesses")
        elif words[0] == "line":
            line = found.setdefault(int(words[1], 16), [])
        elif words[0] == "use":
            line.append(Use(words[1], words[2], int(words[3]), int(words[4], 16)))
    return base, found


def shared_lines(found):
    """Those that one worker writes and another one uses."""
    for line, uses in found.items():
        writers = {u.thread for u in uses if u.how == "write" and u.thread.startswith("worker")}
        users = {u.thread for u in uses if u.thread.startswith("worker")}
        if writers and len(users) > 1:
            yield line, [u for u in uses if u.thread.startswith("worker")]


def functions_of(binary, base, uses):
    """Names of the functions, and where in them, by address."""
    addresses = sorted({u.pc for u in uses})
    if not addresses:
        return {}
    done = subprocess.run(["addr2line", "-f", "-s", "-e", str(binary), *[hex(pc - base - 1) for pc in addresses]],
                          capture_output=True, text=True, check=True).stdout.splitlines()
    return {pc: (done[2 * i], done[2 * i + 1]) for i, pc in enumerate(addresses)}


def watch_window(seconds):
    def inside(proxies):
        time.sleep(0.5)
        before = requests_of(proxies.metrics())
        proxies.signal(signal.SIGRTMIN)
        time.sleep(seconds)
        proxies.signal(signal.SIGRTMIN)
        time.sleep(0.1)
        return requests_of(proxies.metrics()) - before
    return inside


def measure_lines(s):
    watched = s.build / "watched"
    build_watched(watched)
    out = s.results["lines"] = {}
    seconds = 0.5 if s.arguments.quick else 2
    for name, load in s.chosen(LINE_LOADS):
        for mode in MODES:
            result = s.run(load, mode, [2], "--seconds", str(seconds + 1.5), "--warmup-seconds", "0.2", inside=watch_window(seconds),
                           binary=watched / "cqlferry", environment=lambda folder: {"LINE_WATCH_FILE": str(folder / "lines")})
            out[f"{name} {mode}"] = describe_lines(s, f"{name} {mode}", watched / "cqlferry", result)


def describe_lines(s, name, binary, result):
    requests = result["inside"]
    base, found = parse_watched(result["watched"])
    cell = {"requests": int(requests), "lines": 0, "by_design": {}, "others": {}}
    for line, uses in shared_lines(found):
        per_request = sum(u.count for u in uses if u.how == "write") / requests
        cell["lines"] += 1
        if per_request <= WRITES_MAX:
            continue
        names = functions_of(binary, base, uses)
        reasons = {SHARED_BY_DESIGN[f] for f, _ in names.values() if f in SHARED_BY_DESIGN}
        where = ", ".join(f"{u.thread} {u.how}s {u.count / requests:.4f} at {names[u.pc][0]} {names[u.pc][1]}"
                          for u in sorted(uses, key=lambda u: (u.how == "read", -u.count))[:6])
        kind, key = ("by_design", reasons.pop()) if reasons else ("others", f"{line:#x}: {where}")
        cell[kind][key] = round(cell[kind].get(key, 0) + per_request, 4)
    print(f"{name:20} {int(requests)} requests, {cell['lines']} lines of two workers; writes per request: "
          f"by design {cell['by_design'] or 'none'}, others {cell['others'] or 'none'}", flush=True)
    if requests < (100 if s.arguments.quick else 1000):
        s.fail(f"{name}: only {requests} requests were watched")
    if CONTROL in name and not cell["by_design"]:
        s.fail(f"{name}: the line that all workers write was not found")
    for other in cell["others"]:
        s.fail(f"{name}: a line of two workers: {other}")
    return cell


# ---- the processor's own view -----------------------------------------------------


def measure_c2c(s):
    perf = shutil.which("perf")
    told = subprocess.run([perf, "c2c", "record", "-o", "/dev/null", "true"], capture_output=True, text=True) if perf else None
    if not told or told.returncode:
        why = (told.stderr.strip().splitlines() or ["?"])[-1] if told else "perf is not installed"
        s.results["c2c"] = {"available": False, "why": why}
        print(f"perf c2c cannot be used here: {why}", flush=True)
        return

    def inside(proxies):
        data = proxies.folder / "c2c.data"
        subprocess.run([perf, "c2c", "record", "-o", str(data), "-p", str(proxies.pids[0]), "--", "sleep", "1"], check=True,
                       capture_output=True)
        return subprocess.run([perf, "c2c", "report", "-i", str(data), "--stats"], check=True, capture_output=True,
                              text=True).stdout
    result = s.run(LOADS["W64p"], "pooled", [2], "--seconds", "3", inside=inside)
    hits = re.search(r"Load Local HITM\s*:\s*(\d+)", result["inside"])
    s.results["c2c"] = {"available": True, "local_hitm": int(hits[1]) if hits else None}
    print(f"perf c2c: {s.results['c2c']}", flush=True)


# ---- the page ---------------------------------------------------------------------

TEXT = {
    "workers":
    "CPU time of one worker's thread per request. It has a core to itself and half of the clients and requests of a load (`--rate`) in all "
    "three columns: alone in front of the clusters; with a second process, whose worker has the other half; with a second worker in its "
    "process, likewise. The neighbour shares the other core with the load generator. Ratios are of requests per CPU-second in the same turn, "
    "median (least to most). What two processes lose to one is the machine's and the load's part, since they have nothing in common: caches, "
    "the kernel, and a generator that shares its core sends more at a time, so that a worker finds more requests when it wakes up.",
    "balance":
    "A client is given to the worker with the fewest, and stays there. A connection for events counts for a 64th: drivers open one before "
    "those for requests, and with two workers that take turns one would get all of them.",
    "lines":
    "Cache lines: in a build in which every access to memory is a call, for each line it is written down which threads use it. Not seen are "
    "libevent, OpenSSL and the kernel. The load with `timestamps = add` shows that what is shared is found.",
}


def workers_tables(workers):
    def cell(spread):
        return f"{spread['median']:.2f} ({spread['min']:.2f} to {spread['max']:.2f})"
    rows = [[name, *(f"{c['us'][row]:.2f} ({c['per_wake_up'][row]:.1f})" for row in ROWS),
             *(cell(c[key]) for key in ("to_one", "apart_to_one", "to_apart", "all_threads_to_apart"))] for name, c in workers.items()]
    return [{"head": ["us of a worker per request (requests per wake-up)", "alone", "beside a second process", "beside a second worker",
                      "two workers to one", "two processes to one", "two workers to two processes", "the same, all threads"],
             "rows": rows}]


def targets_of(workers):
    texts = {"to_one": "requests per CPU-second of a worker: with a second worker beside it, to one alone; each has the same load",
             "to_apart": "requests per CPU-second of a worker: with a second worker beside it, to one beside a second process"}
    for key, text in texts.items():
        for mode in MODES:
            cells = {name: c[key]["median"] for name, c in workers.items() if name.endswith(f" {mode}")}
            if cells:
                worst = min(cells, key=cells.get)
                yield {"text": text, "mode": mode, "need": f">= {1 - TOLERANCE:.2f}",
                       "measured": f"{cells[worst]:.2f} ({worst.split()[0]}, the least of {len(cells)} loads)",
                       "is_met": cells[worst] >= 1 - TOLERANCE}


def balance_tables(balance):
    rows = [[name, " / ".join(map(str, c["clients"])), " / ".join(f"{x:.2f}" for x in c["cpu_share"])] for name, c in balance.items()]
    return [{"head": ["", "clients of each worker", "share of the CPU time"], "rows": rows}]


def lines_tables(lines):
    def told(uses):
        return "; ".join(f"{count:.2f}: {what}" for what, count in uses.items()) or "none"
    rows = [[name, c["requests"], told(c["by_design"]), told(c["others"])] for name, c in lines.items()]
    return [{"head": ["writes per request to a line of two workers", "requests watched", "by design", "others"], "rows": rows}]


def runs_of(measured):
    """Which parts are from which run, and loads that were measured anew by themselves."""
    runs = {}
    for part in TEXT:
        marks = {name: cell.get("run") for name, cell in measured.get(part, {}).items()}
        if len(set(marks.values())) == 1:
            runs[part] = set(marks.values()).pop()
        else:
            runs.update({f"{part} {name}": mark for name, mark in marks.items()})
    return machine.told_runs(runs)


def page_of(measured):
    """As bench/page.py reads it."""
    tables = []
    for part, make_tables in (("workers", workers_tables), ("balance", balance_tables), ("lines", lines_tables)):
        tables += make_tables(measured[part]) if part in measured else []
    c2c = measured.get("c2c")
    text = [runs_of(measured), *(words for part, words in TEXT.items() if part in measured)]
    if c2c and not c2c["available"]:
        text.append(f"perf c2c cannot be used on this machine: {c2c['why']}.")
    return {"title": "Scaling", "command": "bench/scaling.py", "text": text, "tables": tables,
            "targets": list(targets_of(measured.get("workers", {}))), "measured": measured}


def write_results(path, results):
    """Parts, and loads, that were not measured this time stay as they were."""
    measured = json.loads(path.read_text())["measured"] if path.exists() else {}
    # Of a time when something else was compared.
    measured["workers"] = {name: cell for name, cell in measured.get("workers", {}).items() if "apart_to_one" in cell}
    mark = machine.run_mark(ROOT)
    for part, cells in results.items():
        if part != "c2c":
            cells = {name: {**cell, "run": mark} for name, cell in cells.items()}
        measured[part] = cells if part == "c2c" else {**measured.get(part, {}), **cells}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(page_of(measured), indent=1) + "\n")


PARTS = {"workers": measure_workers, "balance": measure_balance, "lines": measure_lines, "c2c": measure_c2c}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0].strip(), epilog=__doc__.partition("\n\n")[2],
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="*", choices=[*PARTS, []], default=[], help=", ".join(PARTS))
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "scaling")
    parser.add_argument("--load", action="append", help="only this one")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    # So that what was started is ended as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    s = Scaling(arguments)
    if len(s.cores) < 2:
        raise ScalingError("two cores are needed")
    configure(s.build)
    make(s.build, "cqlferry", "bench/cqlbench")
    for part in arguments.part or PARTS:
        print(f"== {part}", flush=True)
        PARTS[part](s)
    write_results(arguments.results, s.results)
    return 1 if s.failures else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ScalingError as e:
        print(e, file=sys.stderr)
        sys.exit(2)
