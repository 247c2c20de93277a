#!/usr/bin/env python3
"""
Guards the cost of a request, in figures that noise does not touch:

    instructions   in user space, by callgrind
    syscalls       by strace
    mallocs        calls of malloc, calloc, realloc and the like, by an LD_PRELOAD library; these must be 0

per request on the steady path: prepared reads and dual writes, 1 and 32 in flight, simple statements, batches, v4 and v5,
with lz4, with TLS, with scripts and plugins, on dedicated and on pooled connections; one worker. One client; for mallocs 64,
since what is kept for reuse has to suffice for many. What v5, lz4, a script or a plugin costs is guarded for itself: the
instructions that it adds to the same requests without it (kind "added").

    bench/guards.py                  measures and compares with bench/figures.txt
    bench/guards.py --update         measures and writes bench/figures.txt
    bench/guards.py 'v5-*' ...       only these scenarios, and what they are compared with; with --update, too
    bench/guards.py --self-test      shows that the comparison can fail

Exit status 1 when a figure is off by more than 5 % (added: 25 %), in either direction: one that has become better must be written
down, or a later loss would go unseen. Then the functions or system calls that changed are named.

How: every figure is the difference between a run of 2N requests and one of N, divided by N, so that what happens once
does not count. bench/cqlbench is client and clusters, in lock step; it shares one core with the proxy, both scheduled as
batch processes, which do not interrupt each other: so how many frames a read brings does not depend on time.
"""
import argparse
import collections
import concurrent.futures
import fnmatch
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import typing
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ROOT / "bench" / "figures.txt"

#: The proxy as it is released; figures of other flags would not compare.
CONFIGURE = ["CC=gcc", "CFLAGS=-O2 -g"]

TOLERANCE = 0.05
TOLERANCE_ADDED = 0.25
#: So many instructions more or less are no news: both runs have timers, which tick more often beside other programs. What
#: auth_map adds was -12 to 46 in eight runs.
ADDED_MIN = 60
#: Calls per request that count as none: what a timer does now and then.
MALLOCS_MAX = 0.01
#: Functions below this share of a request are not written down.
FUNCTION_SHARE = 0.01
#: How many changes a failure names.
NAMED = 6
#: No single run takes longer than this, seconds.
PATIENCE = 60

class Scenario(typing.NamedTuple):
    backend: str          # backend_connections
    writes: int           # percent
    in_flight: int
    extra: "Extra" = None  # a script or plugin
    base: str = None      # the scenario that is the same without what this one is about
    load: tuple = ()      # more arguments of cqlbench
    mallocs: float = 0    # that are not ours to avoid


#: What a scenario has beside the plain configuration: sections of the INI file, files beside it, settings of the listener.
Extra = collections.namedtuple("Extra", "sections files listener", defaults=({}, ""))

#: A verdict that is kept with the statement, and one that is looked up for each request.
SCRIPT_STATIC = """\
proxy.on_request("static", { scope = "table" }, function(req)
  if req:kind() == "read" then return "origin" end
  return "both"
end)
"""
SCRIPT_TABLE = """\
local reads, writes = { ks = "origin" }, { ks = "both" }
proxy.on_request("reads", { kinds = "read" }, function(req) return reads[req:keyspace()] end)
proxy.on_request("writes", { kinds = "write" }, function(req) return writes[req:keyspace()] end)
"""



def script(text):
    return Extra("[lua]\nscript = policy.lua\n", {"policy.lua": text})


def plugin(name, options="", files=()):
    return Extra(f"[plugin {name}]\nfile = {{plugins}}/{name}.so\n{options}", dict(files))


V5 = ("--protocol", "5")
#: 32 writes are longer than 4 KiB, and of the next size fewer buffers are kept than 64 clients with connections of their own need.
V5_MALLOCS = 0.04
LZ4 = ("--compression", "lz4")
SIMPLE = ("--form", "simple")
BATCH = ("--form", "batch")
TLS = ("--tls", "clients")
#: OpenSSL's own, for the parts of a record that it writes; its buffers stay with a busy connection.
TLS_MALLOCS = 4.1
TLS_LISTENER = Extra("", {}, "tls_cert = {folder}/tls.pem\ntls_key = {folder}/tls.key\n")


def scenarios_of(backend, prefix):
    """Those that there are with dedicated and with pooled connections."""
    def scenario(writes, in_flight, extra=None, base=None, load=(), **limits):
        return Scenario(backend, writes, in_flight, extra, base and prefix + base, load, **limits)
    found = {
        "read-1": scenario(0, 1),
        "read-32": scenario(0, 32),
        "write-1": scenario(100, 1),
        "write-32": scenario(100, 32),
        "mixed-1": scenario(50, 1),
        "simple-1": scenario(50, 1, None, "mixed-1", SIMPLE),
        "batch-1": scenario(100, 1, None, "write-1", BATCH),
        "v5-read-1": scenario(0, 1, None, "read-1", V5),
        "v5-write-32": scenario(100, 32, None, "write-32", V5, mallocs=V5_MALLOCS),
        "v5-lz4-1": scenario(0, 1, None, "v5-read-1", V5 + LZ4),
        "lz4-1": scenario(50, 1, None, "mixed-1", LZ4),
        "tls-1": scenario(0, 1, TLS_LISTENER, "read-1", TLS, mallocs=TLS_MALLOCS),
        "lua-static-1": scenario(50, 1, script(SCRIPT_STATIC), "mixed-1"),
        "lua-table-1": scenario(50, 1, script(SCRIPT_TABLE), "mixed-1"),
        "prometheus-1": scenario(50, 1, plugin("prometheus"), "mixed-1"),
        "audit-1": scenario(50, 1, plugin("audit", "path = audit.log\n"), "mixed-1"),
        "auth-map-1": scenario(50, 1, plugin("auth_map", "map = map.ini\n", {"map.ini": "[default]\naction = zdm\n"}), "mixed-1"),
    }
    return {prefix + name: one for name, one in found.items()}


SCENARIOS = {**scenarios_of("dedicated", ""), **scenarios_of("pooled", "pooled-")}
#: Requests of the shorter run, whole rounds: enough to make a timer tick or two vanish.
REQUESTS = {"instructions": 32 * 30, "syscalls": 32 * 30, "mallocs": 64 * 32 * 4}
MALLOC_CONNECTIONS = 64

#: The last ones are ours (base/common.h): who calls them is what we want to know.
OWN_ALLOCATORS = {"xmalloc", "xcalloc", "xrealloc", "xstrdup", "xstrndup", "xasprintf"}
ALLOCATORS = {"malloc", "calloc", "realloc", "aligned_alloc", "posix_memalign"} | OWN_ALLOCATORS


class GuardError(Exception):
    """Something that keeps us from measuring."""


# ---- one run --------------------------------------------------------------------

INI = """\
[proxy]
workers = 1
max_client_connections = 100
backend_connections = {1}
[listener]
address = {0}.1
port = 14002
[origin]
contact_points = {0}.2
[target]
contact_points = {0}.3
[http]
enabled = false
[log]
level = warn
"""


class Runner:
    """Runs proxy and load generator on one core, in a folder of its own."""

    def __init__(self, build, folder, slot, cpu):
        self.build = build
        self.folder = folder / str(slot)
        self.folder.mkdir()
        self.cpu = cpu
        # Loopback addresses that no other run of this script and no test uses.
        self.network = f"127.{220 + os.getpid() % 30}.{slot}"

    def _settle(self):
        os.sched_setaffinity(0, {self.cpu})
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))

    def _start(self, command, name, environment=None):
        with open(self.folder / f"{name}.log", "wb") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=self._settle,
                                    env={**os.environ, **(environment or {})})

    def _log(self, name):
        return (self.folder / f"{name}.log").read_text(errors="replace")[-2000:]

    def _await_line(self, load):
        deadline = time.monotonic() + PATIENCE
        while "listening" not in self._log("load"):
            if load.poll() is not None or time.monotonic() > deadline:
                raise GuardError("cqlbench does not start: " + self._log("load"))
            time.sleep(0.01)

    def _end_proxy(self, proxy, is_traced):
        """By SIGTERM to the proxy itself, which is a child of strace."""
        pid = proxy.pid
        if is_traced:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            if len(children) != 1:
                raise GuardError("strace has no child: " + self._log("proxy"))
            pid = int(children[0])
        os.kill(pid, signal.SIGTERM)
        status = proxy.wait(PATIENCE)
        if status != 0:
            raise GuardError(f"the proxy ended with status {status}: " + self._log("proxy"))

    def run(self, scenario, requests, wrapper=(), environment=None, connections=1):
        """
        The proxy under `wrapper` serves so many requests of a scenario, and ends. A run that breaks off is told and made once
        more: what it would have counted is not touched by that, and a second break is an error.
        """
        try:
            self._run_once(scenario, requests, wrapper, environment, connections)
        except GuardError as error:
            print(f"guards.py: once more, since a run broke off: {error}", file=sys.stderr)
            self._run_once(scenario, requests, wrapper, environment, connections)

    def _run_once(self, scenario, requests, wrapper, environment, connections):
        backend, writes, depth, extra, _, more, *_ = SCENARIOS[scenario]
        ini = INI.format(self.network, backend)
        if extra:
            for name, text in extra.files.items():
                (self.folder / name).write_text(text)
            ini = ini.replace("[listener]\n", "[listener]\n" + extra.listener.format(folder=self.folder.parent))
            ini += extra.sections.format(plugins=self.build / "plugins" / ".libs")
        (self.folder / "proxy.ini").write_text(ini)
        load = self._start([self.build / "bench" / "cqlbench", "--lockstep",
                            "--proxy", f"{self.network}.1:14002", "--origin", f"{self.network}.2:9042",
                            "--target", f"{self.network}.3:9042", "--write-percent", str(writes),
                            "--connections", str(connections), "--depth", str(depth),
                            "--requests", str(requests), "--warmup", str(32 * depth * connections),
                            "--patience", str(PATIENCE // 2), *more], "load")
        proxy = None
        try:
            self._await_line(load)
            proxy = self._start([*wrapper, self.build / "cqlferry", "-c", self.folder / "proxy.ini"], "proxy",
                                environment)
            if load.wait(PATIENCE) != 0:
                raise GuardError(f"{scenario}: cqlbench has failed: {self._log('load')}\n{self._log('proxy')}")
            self._end_proxy(proxy, wrapper and wrapper[0] == "strace")
        except subprocess.TimeoutExpired as error:
            raise GuardError(f"{scenario}: no end after {PATIENCE} s: {self._log('load')}") from error
        finally:
            for process in (load, proxy):
                if process and process.poll() is None:
                    process.kill()
                    process.wait()

    # Each of these returns {name: count} for a whole run, with "total".

    def instructions(self, scenario, requests):
        out = self.folder / "callgrind.out"
        self.run(scenario, requests, ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={out}"])
        return parse_callgrind(out.read_text())

    def syscalls(self, scenario, requests):
        out = self.folder / "strace.out"
        self.run(scenario, requests, ["strace", "-f", "-c", "-U", "calls,name", "-o", str(out)])
        return parse_strace(out.read_text())

    def mallocs(self, scenario, requests):
        out = self.folder / "mallocs.out"
        out.unlink(missing_ok=True)
        self.run(scenario, requests, connections=MALLOC_CONNECTIONS,
                 environment={"LD_PRELOAD": str(self.build / "malloc_count.so"), "MALLOC_COUNT_FILE": str(out)})
        if not out.exists():
            raise GuardError("the proxy ended without counting its calls of malloc")
        return {"total": int(out.read_text())}


# ---- what the tools write -----------------------------------------------------

def _expand(names, text):
    """Callgrind writes "(7) name" once and "(7)" from then on."""
    match = re.fullmatch(r"\((\d+)\)(?: (.*))?", text)
    if not match:
        return text
    if match[2] is not None:
        names[match[1]] = match[2]
    return names[match[1]]


def parse_callgrind(text):
    """
    Self cost by function, "file:function", or "library:function" where there is no source; and as "X <- file:function"
    how often that function has called the allocator X.
    """
    objects, files, functions = {}, {}, {}
    counts = {"total": 0}
    where = source = current = called = None
    is_inclusive = False
    for line in text.splitlines():
        key, has_key, value = line.partition("=")
        if not has_key:
            parts = line.split()
            if len(parts) == 2 and re.fullmatch(r"[-+*]?\d*", parts[0]) and current:
                if not is_inclusive:
                    counts[current] = counts.get(current, 0) + int(parts[1])
                    counts["total"] += int(parts[1])
                is_inclusive = False
        elif key == "ob":
            where = _expand(objects, value)
        elif key in ("fl", "fi", "fe"):
            name = _expand(files, value)
            if key == "fl":
                source = name
        elif key == "fn":
            home = os.path.basename(where or "?") if source == "???" else os.path.basename(source)
            name = _expand(functions, value)
            current = f"{home}:{'unnamed' if name.startswith('0x') else name}"
        elif key == "cob":
            _expand(objects, value)
        elif key in ("cfi", "cfl"):
            _expand(files, value)
        elif key == "cfn":
            called = _expand(functions, value)
        elif key == "calls":
            is_inclusive = True
            if called in ALLOCATORS and current.partition(":")[2] not in OWN_ALLOCATORS:
                edge = f"{called} <- {current}"
                counts[edge] = counts.get(edge, 0) + int(value.split()[0])
    if counts["total"] == 0:
        raise GuardError("callgrind has counted nothing")
    return counts


def parse_strace(text):
    counts = {}
    for line in text.splitlines():
        parts = line.split()
        if len(parts) == 2 and parts[0].isdigit():
            counts[parts[1]] = int(parts[0])
    if not counts.get("total"):
        raise GuardError("strace has counted nothing")
    return counts


# ---- figures ------------------------------------------------------------------

def per_request(once, twice, requests):
    names = set(once) | set(twice)
    return {name: (twice.get(name, 0) - once.get(name, 0)) / requests for name in names}


def measure(runner, scenario, kind):
    """{name: count per request}"""
    take = getattr(runner, kind)
    requests = REQUESTS[kind]
    return per_request(take(scenario, requests), take(scenario, 2 * requests), requests)


def kinds_of(scenario):
    return (*REQUESTS, "added") if SCENARIOS[scenario].base else tuple(REQUESTS)


def added(results, scenario):
    """The instructions by which a scenario is above its base, by function."""
    with_it, without = results[scenario, "instructions"], results[SCENARIOS[scenario].base, "instructions"]
    return {name: with_it.get(name, 0) - without.get(name, 0) for name in set(with_it) | set(without)}


def is_edge(name):
    return " <- " in name


def worth_keeping(values, scenario, kind):
    """The totals, and what explains them. For a scenario with a base that is what it adds, so its instructions are one number."""
    if kind == "instructions" and SCENARIOS[scenario].base:
        return {"total": values["total"]}
    if kind in ("instructions", "added"):
        least = max(abs(values["total"]) * FUNCTION_SHARE, 1)
        return {name: n for name, n in values.items() if abs(n) >= least and not is_edge(name) or name == "total"}
    return {name: n for name, n in values.items() if n >= 0.005 or name == "total"}


def write_figures(path, results, versions):
    """What was not measured stays as it was."""
    before = read_figures(path)
    lines = ["# Cost per request, written by bench/guards.py --update and compared by bench/guards.py.",
             "# Instructions by function: self cost, what is inlined counted for the function around it.",
             *(f"# with {line}" for line in versions),
             "# scenario kind count name"]
    for scenario in SCENARIOS:
        for kind in kinds_of(scenario):
            if kind == "mallocs":  # needs no figure: there are none
                continue
            if (scenario, kind) in results:
                values = worth_keeping(results[scenario, kind], scenario, kind)
            else:
                values = before.get((scenario, kind), {})
            order = sorted(values, key=lambda name: (name != "total", -abs(values[name]), name))
            lines += [f"{scenario} {kind} {values[name]:.{3 if kind == 'syscalls' else 1}f} {name}"
                      for name in order]
    path.write_text("\n".join(lines) + "\n")


def read_figures(path):
    figures = {}
    for line in path.read_text().splitlines():
        if line and not line.startswith("#"):
            scenario, kind, value, name = line.split(None, 3)
            figures.setdefault((scenario, kind), {})[name] = float(value)
    return figures


def explained(figures, scenario, kind):
    """The figures of a scenario by function; those of its instructions are its base's and what it adds."""
    own, base = figures.get((scenario, kind)), SCENARIOS[scenario].base
    if kind != "instructions" or not base or not own:
        return own
    parts = collections.Counter(explained(figures, base, kind) or {})
    parts.update(figures.get((scenario, "added"), {}))
    return {**parts, **own}


def read_versions(path):
    return [line[7:] for line in path.read_text().splitlines() if line.startswith("# with ")]


def changes(values, figures, kind):
    """What explains a difference in the totals, the largest first."""
    # What is not written down may have been so much.
    unknown = max(abs(figures["total"]) * FUNCTION_SHARE, 1) if kind in ("instructions", "added") else 0.005
    found = []
    for name in (set(values) | set(figures)) - {"total"}:
        now = values.get(name, 0)
        difference = abs(now - figures.get(name, unknown))
        if is_edge(name) or difference < unknown / 10 or (name not in figures and now <= unknown):
            continue
        before = f"{figures[name]:.6g}" if name in figures else f"under {unknown:.2g}"
        found.append((difference, f"{name} {before} -> {now:.6g}"))
    return [text for _, text in sorted(found, reverse=True)[:NAMED]]


def allocating(values):
    """Who calls malloc, by callgrind."""
    return [f"{name}: {n:.6g}" for name, n in sorted(values.items(), key=lambda item: -item[1])
            if is_edge(name) and n > MALLOCS_MAX][:NAMED]


def compare(kind, values, figures, instructions, mallocs=0):
    """Why a measurement is not acceptable; None when it is."""
    total = values["total"]
    if kind == "mallocs":
        if total < MALLOCS_MAX + mallocs:
            return None
        return f"{total:.3f} calls per request instead of {mallocs or 'none'}; " + "; ".join(allocating(instructions))
    if not figures:
        return "bench/figures.txt has no figure"
    figure = figures["total"]
    allowed = max(abs(figure) * TOLERANCE_ADDED, ADDED_MIN) if kind == "added" else figure * TOLERANCE
    if abs(total - figure) <= allowed:
        return None
    advice = "" if total > figure else " (better: write it down with --update)"
    return f"{total:.6g} instead of {figure:.6g}{advice}: " + "; ".join(changes(values, figures, kind))


# ---- the whole ------------------------------------------------------------------

def first_line(command):
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[0]


def tool_versions():
    return [first_line(["gcc", "--version"]), first_line(["ldd", "--version"]),
            "libevent " + first_line(["pkg-config", "--modversion", "libevent_core"]),
            first_line(["valgrind", "--version"])]


def make(build):
    """The proxy, the load generator and the counting library, in a build folder of their own."""
    build.mkdir(parents=True, exist_ok=True)
    commands = [["make", "-s", f"-j{len(os.sched_getaffinity(0))}", "cqlferry", "bench/cqlbench",
                 "plugins/audit.la", "plugins/auth_map.la", "plugins/prometheus.la"],
                ["gcc", "-O2", "-shared", "-fPIC", "-o", "malloc_count.so", str(ROOT / "bench" / "malloc_count.c")]]
    if not (build / "Makefile").exists():
        if not (ROOT / "configure").exists():
            raise GuardError("there is no configure: run autogen.sh")
        commands.insert(0, [str(ROOT / "configure"), "-q", *CONFIGURE])
    for command in commands:
        done = subprocess.run(command, cwd=build, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode != 0:
            raise GuardError(f"{' '.join(command)} has failed:\n{done.stdout[-3000:]}")


def make_certificate(folder):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
                    "-subj", "/CN=guards", "-keyout", folder / "tls.key", "-out", folder / "tls.pem"],
                   stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)


def chosen(patterns):
    """The scenarios of these names, and their bases; all of them without patterns."""
    found = {name for name in SCENARIOS if not patterns or any(fnmatch.fnmatch(name, pattern) for pattern in patterns)}
    if not found:
        raise GuardError("no scenario is named so; there are " + ", ".join(SCENARIOS))
    while bases := {SCENARIOS[name].base for name in found} - found - {None}:
        found |= bases
    return [name for name in SCENARIOS if name in found]


def measure_all(build, folder, scenarios):
    """All kinds of these scenarios, on as many cores as there are."""
    make_certificate(folder)
    runners = [Runner(build, folder, slot, cpu) for slot, cpu in enumerate(sorted(os.sched_getaffinity(0)))]
    lock = threading.Lock()

    def job(scenario, kind):
        with lock:
            runner = runners.pop()
        try:
            return measure(runner, scenario, kind)
        finally:
            with lock:
                runners.append(runner)

    with concurrent.futures.ThreadPoolExecutor(len(runners)) as pool:
        jobs = {(scenario, kind): pool.submit(job, scenario, kind) for kind in REQUESTS for scenario in scenarios}
        return {key: future.result() for key, future in jobs.items()}


def write_junit(path, failures, seconds):
    suite = ElementTree.Element("testsuite", name="guards", tests=str(len(failures)), time=f"{seconds:.1f}",
                                failures=str(sum(1 for why in failures.values() if why)))
    for (scenario, kind), why in failures.items():
        case = ElementTree.SubElement(suite, "testcase", classname="guards", name=f"{scenario} {kind}")
        if why:
            ElementTree.SubElement(case, "failure", message=why)
    ElementTree.ElementTree(suite).write(path, encoding="unicode", xml_declaration=True)


def show(results, figures, failures):
    print(f"{'scenario':<20} {'kind':<13} {'per request':>11} {'figure':>9}  change")
    for (scenario, kind), why in failures.items():
        total = results[scenario, kind]["total"]
        figure = 0.0 if kind == "mallocs" else figures.get((scenario, kind), {}).get("total")
        change = f"{(total / figure - 1) * 100:+.1f} %" if figure else ""
        digits = 3 if kind in ("syscalls", "mallocs") else 1
        print(f"{scenario:<20} {kind:<13} {round(total, digits) + 0.0:>11.{digits}f} "
              f"{'' if figure is None else format(figure, f'.{digits}f'):>9}  {change:<8} {'FAILED' if why else ''}")
    for (scenario, kind), why in failures.items():
        if why:
            print(f"\n{scenario} {kind}: {why}")


def guard(arguments):
    started = time.monotonic()
    for tool in ("gcc", "openssl", "valgrind", "strace"):
        if not shutil.which(tool):
            raise GuardError(f"{tool} is missing (Debian package: {tool})")
    scenarios = chosen(arguments.scenarios)
    make(arguments.build)
    with tempfile.TemporaryDirectory(prefix="guards.") as folder:
        results = measure_all(arguments.build, Path(folder), scenarios)
    results.update({(scenario, "added"): added(results, scenario) for scenario in scenarios if SCENARIOS[scenario].base})
    versions = tool_versions()
    if arguments.update:
        write_figures(FIGURES, results, versions)
    figures = read_figures(FIGURES)
    failures = {(scenario, kind): compare(kind, results[scenario, kind], explained(figures, scenario, kind),
                                          results[scenario, "instructions"], SCENARIOS[scenario].mallocs)
                for scenario in scenarios for kind in kinds_of(scenario)}
    show(results, figures, failures)
    if versions != read_versions(FIGURES):
        print("\nthe figures are of other versions of the tools, which alone may change them:",
              *read_versions(FIGURES), "now:", *versions, sep="\n  ")
    if arguments.junit:
        write_junit(arguments.junit, failures, time.monotonic() - started)
    print(f"\nguards.py: {sum(1 for why in failures.values() if why)} of {len(failures)} figures are off, in "
          f"{time.monotonic() - started:.0f} s")
    return any(failures.values())


# ---- self test ------------------------------------------------------------------

SAMPLE = """\
positions: line
events: Ir
ob=(1) /usr/bin/cqlferry
fl=(1) src/proxy/request.c
fn=(1) request_start
16 100
+2 20
cfi=(2) src/base/sbuf.c
cfn=(2) sbuf_write
calls=7 30
* 900
cob=(2) /lib/libc.so.6
cfi=(3) ???
cfn=(3) malloc
calls=5 0
+1 50
fi=(4) src/base/list.h
12 3
fl=(2)
fn=(2)
30 900
ob=(2)
fl=(3)
fn=(3)
0 50
"""


def self_test():
    counts = parse_callgrind(SAMPLE)
    expected = {"total": 1073, "request.c:request_start": 123, "sbuf.c:sbuf_write": 900, "libc.so.6:malloc": 50,
                "malloc <- request.c:request_start": 5}
    assert counts == expected, counts
    assert parse_strace("calls syscall\n----- -----\n   12 recvfrom\n    5 sendto\n----- -----\n   17 total\n") == {
        "recvfrom": 12, "sendto": 5, "total": 17}
    figures = {"total": 100.0, "a.c:f": 60.0, "a.c:g": 40.0}
    assert compare("instructions", {"total": 104.0, "a.c:f": 64.0, "a.c:g": 40.0}, figures, {}) is None
    why = compare("instructions", {"total": 106.0, "a.c:f": 66.0, "a.c:g": 40.0}, figures, {})
    assert why and "a.c:f 60 -> 66" in why and "a.c:g" not in why, why
    why = compare("instructions", {"total": 106.0, "a.c:f": 60.0, "a.c:g": 40.0, "a.c:h": 5.5, "a.c:i": 0.5}, figures, {})
    assert why and "a.c:h under 1 -> 5.5" in why and "a.c:i" not in why, why
    why = compare("syscalls", {"total": 90.0, "a.c:f": 50.0, "a.c:g": 40.0}, figures, {})
    assert why and "--update" in why, why
    assert compare("syscalls", {"total": 1.0}, None, {})
    assert compare("added", {"total": 124.0}, {"total": 100.0}, {}) is None
    assert compare("added", {"total": 40.0}, {"total": 20.0}, {}) is None
    assert compare("added", {"total": 161.0}, {"total": 100.0}, {})
    assert compare("added", {"total": 498.0}, {"total": 400.0}, {}) is None
    assert compare("added", {"total": 502.0}, {"total": 400.0}, {})
    assert added({("lua-table-1", "instructions"): {"total": 9.0, "a.c:f": 4.0},
                  ("mixed-1", "instructions"): {"total": 7.0, "a.c:g": 1.0}}, "lua-table-1") == {
        "total": 2.0, "a.c:f": 4.0, "a.c:g": -1.0}
    figures = {("read-1", "instructions"): {"total": 9.0, "a.c:f": 9.0}, ("v5-read-1", "instructions"): {"total": 8.5},
               ("v5-read-1", "added"): {"total": -0.5, "a.c:f": -4.5, "a.c:g": 4.0}}
    assert explained(figures, "v5-read-1", "instructions") == {"total": 8.5, "a.c:f": 4.5, "a.c:g": 4.0}
    assert explained({}, "v5-read-1", "instructions") is None
    assert chosen(["v5-lz4*"]) == ["read-1", "v5-read-1", "v5-lz4-1"] and chosen([]) == list(SCENARIOS)
    assert compare("mallocs", {"total": 0.001}, None, {}) is None
    assert compare("mallocs", {"total": 6.0}, None, {}, mallocs=6.1) is None
    assert compare("mallocs", {"total": 7.0}, None, {}, mallocs=6.1)
    why = compare("mallocs", {"total": 2.0}, {"total": 2.0}, {"total": 9.0, "malloc <- a.c:f": 2.0})
    assert why and "malloc <- a.c:f: 2" in why, why
    print("guards.py: the comparison fails where it must")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true", help="write the figures down")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write a JUnit report")
    parser.add_argument("--build", type=Path, metavar="DIR", help="where to build (build/guards)",
                        default=Path(os.environ.get("CQLFERRY_BUILD", ROOT / "build")) / "guards")
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="only those; * and ? are allowed")
    arguments = parser.parse_args()
    arguments.build = arguments.build.resolve()
    if arguments.self_test:
        self_test()
        return 0
    try:
        return int(guard(arguments))
    except GuardError as error:
        print(f"guards.py: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
