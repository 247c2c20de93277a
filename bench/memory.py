#!/usr/bin/env python3
"""
What memory the proxy takes, and whether it gives it back.

    bench/memory.py               all but the soak, about six minutes; writes bench/results/memory.json
    bench/memory.py idle ten_thousand wakeups burst churn      some of it
    bench/memory.py --quick       the same in half of the time: shorter bursts and connects, 1000 idle clients
    bench/memory.py soak          half an hour at half load while connections come and go; writes bench/results/soak.json
    bench/memory.py --self-test   shows that what is looked for is found

--build is a folder with an optimized build without sanitizers (make cqlferry bench/cqlbench). Both files are shown by
bench/run --page. What an idle client takes is the growth of VmRSS from the first clients (--warm) to all of them: what the first
one fills does not count. Figures of one worker. Exit status 1 when a limit is not held.
"""
import argparse
import asyncio
import json
import os
import resource
import shlex
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "bench"))
sys.dont_write_bytecode = True

import machine  # noqa: E402

try:
    import crowd  # noqa: E402
except ImportError:  # the Python environment of the wire tests is not there, and idle clients are not to be had
    crowd = None

RESULTS = ROOT / "bench" / "results"
MODES = ("pooled", "dedicated")
#: How long nothing happens before and while wake-ups are counted, seconds.
QUIET_S = 3
COUNT_S = 10
#: What the proxy has given back is looked at after so long, seconds. A worker looks twice, 10 seconds apart, the first time not
#: later than that after a request_timeout; then memory goes back to the system within 30.
GIVES_BACK_S = 65
#: RSS of the last quarter of a soak above that of the second: so many KiB are noise.
FLAT_KIB = 512

INI = """\
[proxy]
workers = 1
backend_connections = {mode}
[listener]
address = {proxy[0]}
port = {proxy[1]}
[origin]
contact_points = {origin[0]}
port = {origin[1]}
[target]
contact_points = {target[0]}
port = {target[1]}
[http]
enabled = false
[log]
level = warn
file = {log}
"""

#: name: what cqlbench does with one proxy, one after the other.
BURSTS = {
    "64 clients, 32 in flight each, half of them writes": "--connections 64 --depth 32 --write-percent 50 --value-size 100",
    "16 clients, 4 writes of 64 KiB in flight each": "--connections 16 --depth 4 --write-percent 100 --value-size 65536",
    "16 clients, 4 writes of 1 MiB in flight each": "--connections 16 --depth 4 --write-percent 100 --value-size 1048576",
    "1000 clients, half of the requests writes": "--connections 1000 --depth 1 --write-percent 50 --value-size 100",
}


class MeasureError(Exception):
    """Something that keeps us from measuring."""


# ---- what the kernel says about a process ----

def status(pid):
    fields = (line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {name: value.split() for name, value in fields}


def rss_kib(pid):
    fields = status(pid)
    if "VmRSS" not in fields:  # one that has ended and was not waited for
        raise MeasureError(f"process {pid} has ended")
    return int(fields["VmRSS"][0])


def open_files(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def wake_ups(pid):
    """Of all threads: how often one has waited for something."""
    count = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        text = (task / "status").read_text()
        count += int(text.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
    return count


# ---- idle clients ----

def stage(options, folder, mode, tls=None):
    return crowd.Stage(argparse.Namespace(binary=options.build / "cqlferry", workers=1, port=free_port("127.0.0.1"),
                                          drivers=[12000]), folder, mode, tls=tls)


class Certificates:
    def __init__(self, folder):
        authority = crowd.Authority(Path(folder) / "ca", "memory")
        self.files = authority.certificate(["127.0.0.1"])
        self.context = ssl.create_default_context(cafile=authority.ca)
        self.context.check_hostname = False


async def idle_clients(options, folder, mode, count, certificates=None, waits_s=0):
    """KiB per client, RSS with all of them, and `waits_s` after they have left."""
    context = certificates and certificates.context
    async with stage(options, folder, mode, certificates and certificates.files) as s:
        pid = s.process.pid
        clients = await s.aside(crowd.open_crowd, s.address, options.warm, context)
        before = rss_kib(pid)
        clients += await s.aside(crowd.open_crowd, s.address, count - options.warm, context)
        after = rss_kib(pid)
        for client in clients:
            client.close()
        await asyncio.sleep(waits_s)
        left = rss_kib(pid) if waits_s else None
    return {"mode": mode, "tls": bool(certificates), "clients": count, "rss_kib": after, "rss_left_kib": left,
            "kib_per_client": round((after - before) / (count - options.warm), 2)}


async def measure_idle(options, folder):
    certificates = Certificates(folder)
    return [await idle_clients(options, folder, mode, options.clients, tls)
            for mode in MODES for tls in (None, certificates)]


async def measure_ten_thousand(options, folder):
    return [await idle_clients(options, folder, "pooled", 10000, tls, GIVES_BACK_S) for tls in (None, Certificates(folder))]


async def measure_wakeups(options, folder):
    found = []
    for mode in MODES:
        async with stage(options, folder, mode) as s:
            clients = await s.aside(crowd.open_crowd, s.address, 1000)
            await asyncio.sleep(QUIET_S)
            before = wake_ups(s.process.pid)
            await asyncio.sleep(COUNT_S)
            found.append({"mode": mode, "clients": 1000, "per_second": round((wake_ups(s.process.pid) - before) / COUNT_S, 1)})
            for client in clients:
                client.close()
    return found


# ---- under load ----

def free_port(address):
    with socket.socket() as s:
        s.bind((address, 0))
        return s.getsockname()[1]


class Load:
    """A proxy, and cqlbench on both sides of it, as often as is wanted."""

    def __init__(self, options, folder, mode):
        self.options, self.mode = options, mode
        self.folder = Path(folder)
        hosts = {"proxy": "127.0.0.1", "origin": "127.0.0.2", "target": "127.0.0.3"}
        self.addresses = {name: (host, free_port(host)) for name, host in hosts.items()}
        self.log = self.folder / f"{mode}.log"
        self.process = None

    def command(self, text):
        ends = [f"--{name}={host}:{port}" for name, (host, port) in self.addresses.items()]
        return [str(self.options.build / "bench" / "cqlbench"), *ends, *shlex.split(text), "--json=-"]

    @contextmanager
    def cqlbench(self, text):
        """cqlbench while it runs, behind a proxy that is started with the first one."""
        bench = subprocess.Popen(self.command(text), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            if self.process is None:
                self.start()
            yield bench
        finally:
            if bench.poll() is None:
                bench.kill()
                bench.communicate()

    def run(self, text):
        """What cqlbench tells, and the most RSS meanwhile."""
        most = 0
        with self.cqlbench(text) as bench:
            while bench.poll() is None:
                most = max(most, rss_kib(self.process.pid))
                time.sleep(0.05)
            return self.told(bench), most

    def told(self, bench):
        out, errors = bench.communicate()
        if bench.returncode != 0:
            raise MeasureError(f"cqlbench has failed: {errors.strip() or out.strip()}\n{self.said()}")
        return json.loads(out[out.index("{"):])

    def start(self):
        ini = self.folder / f"{self.mode}.ini"
        ini.write_text(INI.format(mode=self.mode, log=self.log, **self.addresses))
        self.process = subprocess.Popen([str(self.options.build / "cqlferry"), "-c", str(ini)], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def said(self):
        return self.log.read_text(errors="replace")[-1000:] if self.log.exists() else ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process:
            self.process.kill()
            self.process.wait()


def measure_burst(options, folder):
    """One mode after the other; what is given back is waited for once."""
    found = []
    with Load(options, folder, MODES[0]) as first, Load(options, folder, MODES[1]) as second:
        for l in (first, second):
            l.run("--connections 1 --requests 100")
            before = rss_kib(l.process.pid)
            most = {name: l.run(f"{load} --seconds {options.seconds}")[1] for name, load in BURSTS.items()}
            found.append({"mode": l.mode, "before_kib": before, "most_kib": most, "at_once_kib": rss_kib(l.process.pid)})
        time.sleep(GIVES_BACK_S)
        for l, told in zip((first, second), found):
            told["left_kib"] = rss_kib(l.process.pid)
    return found


def measure_churn(options, folder):
    """500 connects per second and as many ends, and nothing is left of them."""
    found = []
    for mode in MODES:
        with Load(options, folder, mode) as l:
            l.run("--connections 100 --requests 1000")
            first = l.run(f"--connections 100 --rate 2000 --churn 500 --seconds {options.seconds}")[0]
            time.sleep(QUIET_S)
            before = rss_kib(l.process.pid), open_files(l.process.pid)
            told = l.run(f"--connections 100 --rate 2000 --churn 500 --seconds {options.churn_seconds}")[0]
            time.sleep(QUIET_S)
            found.append({"mode": mode, "seconds": options.churn_seconds, "reconnects": told["reconnects"], "errors": told["errors"],
                          "warm_reconnects": first["reconnects"], "rss_before_kib": before[0], "rss_after_kib": rss_kib(l.process.pid),
                          "files_before": before[1], "files_after": open_files(l.process.pid)})
    return found


# ---- the soak ----

def soak_load(options):
    return (f"--connections {options.soak_connections} --write-percent 50 --value-size 100 --rate {options.rate:g}"
            f" --churn {options.churn:g} --warmup-seconds 1 --seconds {options.minutes * 60:g}")


def sample(started, load):
    pid = load.process.pid
    return {"minute": round((time.monotonic() - started) / 60, 1), "rss_kib": rss_kib(pid), "files": open_files(pid),
            "threads": int(status(pid)["Threads"][0])}


def run_soak(options, folder):
    """Both modes side by side."""
    loads = [Load(options, folder, mode) for mode in MODES]
    found = []
    try:
        for load in loads:
            load.run("--connections 1 --requests 100")
        idle = [open_files(load.process.pid) for load in loads]
        benches = [subprocess.Popen(load.command(soak_load(options)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                   for load in loads]
        started = time.monotonic()
        samples = [[] for _ in loads]
        interval = options.minutes * 60 / 60
        while all(bench.poll() is None for bench in benches):
            time.sleep(max(started + interval * (len(samples[0]) + 1) - time.monotonic(), 0))
            for kept, load, bench in zip(samples, loads, benches):
                if bench.poll() is None:
                    kept.append(sample(started, load))
            print(f"{samples[0][-1]['minute']:>5} min", *(f"{load.mode} {kept[-1]['rss_kib']} KiB {kept[-1]['files']} files"
                                                        for load, kept in zip(loads, samples)), flush=True)
        told = [load.told(bench) for load, bench in zip(loads, benches)]
        time.sleep(QUIET_S)
        for load, kept, answer, files in zip(loads, samples, told, idle):
            found.append({"mode": load.mode, "samples": kept, "idle_files": files, "end_files": open_files(load.process.pid),
                          "end_rss_kib": rss_kib(load.process.pid), **{name: answer[name] for name in (
                              "requests", "rate", "errors", "dropped", "reconnects")}})
    finally:
        for bench in locals().get("benches", []):
            if bench.poll() is None:
                bench.kill()
        for load in loads:
            load.__exit__()
    return found


def drift_kib(samples):
    """RSS in the last quarter above that in the second one, medians: the first is for warming up."""
    quarter = len(samples) // 4
    early, late = samples[quarter:2 * quarter], samples[-quarter:]
    return round(statistics.median(s["rss_kib"] for s in late) - statistics.median(s["rss_kib"] for s in early))


# ---- the page ----

def target(text, mode, need, measured, is_met):
    return {"text": text, "mode": mode, "need": need, "measured": measured, "is_met": bool(is_met)}


def mib(kib):
    return f"{kib / 1024:.1f} MiB"


def page_of(found, options):
    tables, targets = [], []
    if "idle" in found:
        rows = [[r["mode"], "TLS" if r["tls"] else "plain", r["clients"], f"{r['kib_per_client']:.2f} KiB", mib(r["rss_kib"]),
                 mib(r["rss_left_kib"]) if r["rss_left_kib"] else ""] for r in found["idle"] + found.get("ten_thousand", [])]
        tables.append({"head": ["idle clients", "", "number", "RSS of each", "of the process",
                                f"{GIVES_BACK_S} s after they have left"], "rows": rows})
        for r in found["idle"]:
            if not r["tls"]:
                limit = 1 if r["mode"] == "pooled" else 3
                targets.append(target("RSS per idle client", r["mode"], f"<= {limit} KiB", f"{r['kib_per_client']:.2f} KiB",
                                      r["kib_per_client"] <= limit))
    for r in found.get("ten_thousand", []):
        limit = 200 if r["tls"] else 25
        targets.append(target(f"RSS with 10 000 idle clients{', TLS' if r['tls'] else ''}", r["mode"], f"<= {limit} MiB",
                              mib(r["rss_kib"]), r["rss_kib"] <= limit * 1024))
    for r in found.get("wakeups", []):
        targets.append(target("wake-ups per second with 1000 idle clients", r["mode"], "<= 25", f"{r['per_second']}",
                              r["per_second"] <= 25))
    if "burst" in found:
        rows = [["before", *(mib(r["before_kib"]) for r in found["burst"])]]
        rows += [[name, *(mib(r["most_kib"][name]) for r in found["burst"])] for name in BURSTS]
        rows += [["when all have left", *(mib(r["at_once_kib"]) for r in found["burst"])],
                 [f"{GIVES_BACK_S} s later", *(mib(r["left_kib"]) for r in found["burst"])]]
        tables.append({"head": ["RSS, the most during bursts, one after the other", *(r["mode"] for r in found["burst"])], "rows": rows})
    if "churn" in found:
        tables.append({"head": ["500 connects and ends per second", "connects", "errors", "RSS before", "after", "files before", "after"],
                       "rows": [[r["mode"], r["reconnects"], r["errors"], mib(r["rss_before_kib"]), mib(r["rss_after_kib"]),
                                 r["files_before"], r["files_after"]] for r in found["churn"]]})
    return {"title": "Memory", "command": command(options),
            "text": [machine.told_runs({part: found.get("runs", {}).get(part) for part in found if part != "runs"}),
                     "One worker. An idle client has had one request answered by both clusters; what it takes is the growth of VmRSS "
                     f"from {options.warm} of them to all."], "tables": tables, "targets": targets, "figures": found}


def soak_page_of(found, options):
    tables, targets = [], []
    for r in found:
        step = max(len(r["samples"]) // 10, 1)
        rows = [[s["minute"], mib(s["rss_kib"]), s["files"], s["threads"]] for s in r["samples"][step - 1::step]]
        tables.append({"head": [f"{r['mode']}, minute", "RSS", "open files", "threads"], "rows": rows})
        drift = drift_kib(r["samples"])
        targets.append(target("RSS after the first quarter of a soak", r["mode"], f"grows by <= {FLAT_KIB} KiB", f"{drift:+} KiB",
                              drift <= FLAT_KIB))
        targets.append(target("open files when its clients have left", r["mode"], f"<= {r['idle_files']} as before",
                              f"{r['end_files']}", r["end_files"] <= r["idle_files"]))
    told = "; ".join(f"{r['mode']}: {r['requests']} answers, {r['errors']} errors, {r['dropped']} requests that found no "
                     f"free stream when they were due, {r['reconnects']} connections closed and opened anew"
                     for r in found)
    return {"title": "Soak", "command": command(options),
            "text": [f"{found[0]['samples'][-1]['minute']:g} minutes, {options.soak_connections} clients, {options.rate:g} requests "
                     f"per second, half of them writes, {options.churn:g} connections closed and opened anew per second; both modes "
                     f"at a time. {told}."],
            "tables": tables, "targets": targets, "figures": found}


def command(options):
    return shlex.join(["bench/memory.py", *(what for what in options.what if what == "soak"),
                       *(["--quick"] if options.quick else []), *(["--minutes", f"{options.minutes:g}"] if options.minutes != 30 else [])])


def self_test():
    leak = [{"rss_kib": 10000 + 20 * i} for i in range(60)]
    flat = [{"rss_kib": 9000 if i < 10 else 12000 + i % 7 * 20} for i in range(60)]
    assert drift_kib(leak) > FLAT_KIB and abs(drift_kib(flat)) < 100
    held = [1] * 64
    block = bytearray(os.urandom(8 << 20))
    before = rss_kib("self")
    del block
    assert before - rss_kib("self") > 7000, "a block of 8 MiB that is given back is not seen"
    files = open_files("self")
    with open("/dev/null", "rb"):
        assert open_files("self") == files + 1, "an open file is not seen"
    woken = wake_ups("self")
    for _ in held:
        time.sleep(0.001)
    assert wake_ups("self") >= woken + len(held), "wake-ups are not counted"
    made = soak_page_of([{"mode": "pooled", "samples": [dict(s, minute=1, files=9, threads=2) for s in leak], "idle_files": 9,
                          "end_files": 10, "requests": 1, "errors": 0, "dropped": 0, "reconnects": 0}],
                        argparse.Namespace(minutes=30, soak_connections=1, rate=1, churn=1, what=["soak"], quick=False))
    assert [t["is_met"] for t in made["targets"]] == [False, False]
    options = argparse.Namespace(quick=True, warm=1, what=["churn"], minutes=30)
    found = with_run({"wakeups": [], "burst": [], "runs": {"wakeups": "then"}}, {"burst": []}, options)
    told = page_of(found, options)["text"][0]
    assert "wakeups: then" in told and f"burst: {found['runs']['burst']}" in told and "--quick" in told, told
    print("bench/memory.py finds what is not given back")


# ---- the command line ----

PARTS = {"idle": measure_idle, "ten_thousand": measure_ten_thousand, "wakeups": measure_wakeups, "burst": measure_burst,
         "churn": measure_churn}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", metavar="PART", help=", ".join([*PARTS, "soak"]))
    parser.add_argument("--build", type=Path, default=Path("."), help="(the current folder)")
    parser.add_argument("--clients", type=int, default=2000, help="idle ones (2000)")
    parser.add_argument("--warm", type=int, default=100, help="idle ones that do not count (100)")
    parser.add_argument("--seconds", type=float, default=2, help="for each burst (2)")
    parser.add_argument("--churn-seconds", type=float, default=10, help="of connects and ends (10)")
    parser.add_argument("--quick", action="store_true", help="--clients 1000 --seconds 1 --churn-seconds 5")
    parser.add_argument("--minutes", type=float, default=30, help="of the soak (30)")
    parser.add_argument("--soak-connections", type=int, default=200, help="(200)")
    parser.add_argument("--rate", type=float, default=10000, help="requests per second of the soak, in each mode (10000)")
    parser.add_argument("--churn", type=float, default=20, help="connections per second of the soak, in each mode (20)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder to write to (bench/results)")
    parser.add_argument("--self-test", action="store_true")
    options = parser.parse_args()
    options.build = options.build.resolve()
    if options.quick:
        options.clients, options.seconds, options.churn_seconds = 1000, 1, 5
    if crowd is None and not options.self_test and set(options.what or PARTS) & {"idle", "ten_thousand", "wakeups"}:
        parser.error("idle clients need the Python environment of the wire tests: see docs/internals.md")
    if not 0 < options.warm < options.clients:
        parser.error(f"--clients {options.clients}: more than --warm, {options.warm}, are needed")
    unknown = set(options.what) - set(PARTS) - {"soak"}
    if unknown:
        parser.error(f"{', '.join(unknown)}: parts are {', '.join([*PARTS, 'soak'])}")
    return options


def measure(options, folder):
    found = {}
    for name in options.what or PARTS:
        made = PARTS[name](options, folder)
        found[name] = asyncio.run(made) if asyncio.iscoroutine(made) else made
        for line in found[name]:
            print(name, *(f"{key}={value}" for key, value in line.items()), flush=True)
    return found


def figures_before(options):
    """What an earlier run has found of the parts that are not measured now."""
    file = options.results / "memory.json"
    return json.loads(file.read_text())["figures"] if options.what and file.exists() else {}


def with_run(before, found, options):
    """What was measured now, and of what was not, what an earlier run has found; "runs" says which is which."""
    mark = machine.run_mark(ROOT) + (", --quick" if options.quick else "")
    runs = {**before.get("runs", {}), **{part: mark for part in found}}
    return {**before, **found, "runs": runs}


def main():
    options = parse_arguments()
    if options.self_test:
        self_test()
        return 0
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))  # what was started is ended, too
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    options.results.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="memory.") as folder:
        if "soak" in options.what:
            page, name = soak_page_of(run_soak(options, folder), options), "soak.json"
        else:
            name = "memory.json"
            page = page_of(with_run(figures_before(options), measure(options, folder), options), options)
    (options.results / name).write_text(json.dumps(page, indent=1) + "\n")
    missed = [t for t in page["targets"] if not t["is_met"]]
    for t in missed:
        print(f"not held: {t['text']}, {t['mode']}: {t['measured']}, {t['need']}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (MeasureError, OSError, *([crowd.CrowdError] if crowd else [])) as error:
        sys.exit(f"bench/memory.py: {error}")
