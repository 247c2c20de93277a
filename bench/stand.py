"""
One measurement of bench/run: a proxy on one core, bench/cqlbench with both clusters on the other, all on 127.0.0.1, files in a
temporary folder. Stand knows how each row is started; nothing here knows what is compared with what.
"""
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from matrix import DEDICATED, DIRECT, HAPROXY, POOLED

#: Below the ports that the kernel gives to outgoing connections, thousands of which each run makes.
PORTS = range(20000, 32000)
HOST = "127.0.0.1"
#: Of a run; commands of peers name them.
PORT_NAMES = ("listen", "origin", "target")
#: What a run may take beside its window, seconds.
PATIENCE = 20
#: System calls are counted in pieces of so long.
PIECE_MS = 100
#: The edges of the window are known to some hundredths of a second only (perf begins and cqlbench ends a little later than we see
#: it): so much of it, on both sides, is left out.
EDGE_SECONDS = 0.1

INI = """\
[proxy]
workers = 1
max_client_connections = 20000
backend_connections = {mode}
[listener]
address = {host}
port = {listen_port}
[origin]
contact_points = {host}
port = {origin_port}
[target]
contact_points = {host}
port = {target_port}
[http]
enabled = false
[log]
level = warn
"""
HAPROXY_CFG = """\
global
    nbthread 1
    maxconn 9000
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
frontend clients
    bind {listen}
    default_backend origin
backend origin
    server origin {origin}
"""


class StandError(Exception):
    """A run that gave no figures."""


class Ports:
    """Free ports, one after the other."""

    def __init__(self):
        self._next = PORTS.start + os.getpid() * 7 % len(PORTS)

    def take(self):
        for _ in PORTS:
            self._next = self._next + 1 if self._next + 1 in PORTS else PORTS.start
            with contextlib.closing(socket.socket()) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                with contextlib.suppress(OSError):
                    probe.bind((HOST, self._next))
                    return self._next
        raise StandError("no port is free")


def words(ports):
    """What stands for the ports in configurations and in commands of peers."""
    return {**{name: f"{HOST}:{port}" for name, port in ports.items()}, **{f"{name}_port": port for name, port in ports.items()}}


def make_certificates(folder):
    """One certificate for every server here; it is its own authority."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
               "-subj", "/CN=bench", "-addext", f"subjectAltName=IP:{HOST}", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"]
    try:
        subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise StandError(f"openssl makes the certificates: {error.strerror}") from error
    except subprocess.CalledProcessError as error:
        raise StandError(f"openssl makes no certificates: {error.stderr.decode(errors='replace')[-500:]}") from error
    return {"cert": folder / "cert.pem", "key": folder / "key.pem", "ca": folder / "cert.pem"}


class Stand:
    """
    build: a folder with cqlferry, bench/cqlbench and plugins/.libs; peers: {name: command}; cores: of the proxy, of the load.
    """

    def __init__(self, build, folder, peers, cores):
        self.build, self.folder, self.peers, self.cores = build, folder, peers, cores
        self.ports = Ports()
        self.haproxy = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin")
        self.perf = shutil.which("perf")
        self.places = {**make_certificates(folder), "plugins": build / "plugins" / ".libs", "folder": folder}
        self.load_ended = None
        #: {scenario: {row: its command lines}}, with programs by name and without our folders
        self.commands = {}

    # ---- rows ----

    def _ours(self, mode, scenario, ports):
        text = INI.format(mode=mode, host=HOST, **words(ports)) + scenario.sections.format(**self.places)
        (self.folder / "proxy.ini").write_text(text)
        for name, text in scenario.files.items():
            (self.folder / name).write_text(text)
        settings = [f"--set={key}={value.format(**self.places)}" for key, value in scenario.settings.items()]
        return [self.build / "cqlferry", "-c", self.folder / "proxy.ini", *settings]

    def _haproxy(self, ports):
        (self.folder / "haproxy.cfg").write_text(HAPROXY_CFG.format(**words(ports)))
        return [self.haproxy, "-db", "-f", self.folder / "haproxy.cfg"]

    def _peer(self, row, ports):
        return ["sh", "-c", "exec " + self.peers[row].format(**words(ports))]

    def _proxy(self, row, scenario, ports):
        """The command that starts the row's proxy; None where there is none."""
        if row == DIRECT:
            return None
        if row == HAPROXY:
            return self._haproxy(ports)
        return self._ours(row, scenario, ports) if row in (DEDICATED, POOLED) else self._peer(row, ports)

    def _load(self, row, scenario, ports, more):
        """The command of cqlbench. Where no dual write goes through, there is one cluster, origin."""
        alone = row in (DIRECT, HAPROXY)
        options = {**(scenario.direct if alone and scenario.direct else scenario.load), **more}
        listen = ports["origin"] if row == DIRECT else ports["listen"]
        where = {"proxy": f"{HOST}:{listen}", "origin": f"{HOST}:{ports['origin']}"}
        if not alone:
            where["target"] = f"{HOST}:{ports['target']}"
        if {"origin", "target"} & set(options.get("tls", "").split(",")):
            where.update(cert=self.places["cert"], key=self.places["key"])
        if row != DIRECT:
            where["pid_file"] = self.folder / "proxy.pid"
        where.update(options, json=self.folder / "result.json", patience=PATIENCE)
        arguments = []
        for name, value in where.items():
            arguments += ["--" + name.replace("_", "-"), str(value)]
        return [self.build / "bench" / "cqlbench", *arguments]

    # ---- processes ----

    def _start(self, command, name, core):
        with open(self.folder / f"{name}.log", "wb") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, start_new_session=True,
                                    preexec_fn=lambda: os.sched_setaffinity(0, {core}))

    def _log(self, name):
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace")[-1500:] if path.exists() else ""

    def _await_load(self, process):
        deadline = time.monotonic() + PATIENCE
        while "listening" not in self._log("load"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise StandError("cqlbench does not start: " + self._log("load"))
            time.sleep(0.005)

    def _await_end(self, load, proxy, limit):
        """The exit status of the load; at once when the proxy ends before it."""
        deadline = time.monotonic() + limit
        while load.poll() is None:
            if proxy and proxy.poll() is not None:
                raise StandError(f"the proxy has ended with status {proxy.returncode}: {self._log('proxy')}")
            if time.monotonic() > deadline:
                raise StandError(f"no end after {limit:.0f} s: {self._log('load')}{self._log('proxy')}")
            time.sleep(0.01)
        return load.returncode

    def _end(self, row, process):
        """Ours has to end well; others need not."""
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(2 if row not in (DEDICATED, POOLED) else PATIENCE)
        if row in (DEDICATED, POOLED) and process.returncode != 0:
            raise StandError(f"the proxy ended with status {process.returncode}: " + self._log("proxy"))

    def _shown(self, command, ports):
        """A command line without what is different each time, and without folders. A peer's is its user's."""
        if command[0] == "sh":
            return "a peer"
        text = " ".join([Path(command[0]).name, *map(str, command[1:])])
        for folder in (self.folder, self.places["plugins"]):
            text = text.replace(f"{folder}/", "")
        for name, port in ports.items():
            text = text.replace(f"{HOST}:{port}", f"{{{name}}}")
        return re.sub(r" --(json|pid-file|patience) \S+", "", text)

    def run(self, row, scenario, seconds, warmup, more=None, watch=None):
        """
        Measures one cell for so many seconds, after a warm-up, and returns what cqlbench has told. watch(pid) is called when the
        proxy is started.
        """
        ports = {name: self.ports.take() for name in PORT_NAMES}
        (self.folder / "proxy.pid").unlink(missing_ok=True)
        (self.folder / "result.json").unlink(missing_ok=True)
        window = {"seconds": f"{seconds:g}", "warmup_seconds": f"{warmup:g}"}
        return self._run(row, scenario, ports, {**window, **(more or {})}, PATIENCE + seconds + warmup, watch)

    def _run(self, row, scenario, ports, more, limit, watch):
        command = self._load(row, scenario, ports, more)
        proxy_command = self._proxy(row, scenario, ports)
        self.commands.setdefault(scenario.name, {}).setdefault(row, [self._shown(c, ports) for c in (proxy_command, command) if c])
        load = self._start(command, "load", self.cores[1])
        proxy = None
        try:
            self._await_load(load)
            if proxy_command:
                proxy = self._start(proxy_command, "proxy", self.cores[0])
                (self.folder / "proxy.pid").write_text(f"{proxy.pid}\n")
                if watch:
                    watch(proxy.pid)
            if self._await_end(load, proxy, limit) != 0:
                raise StandError(f"cqlbench has failed: {self._log('load')}{self._log('proxy')}")
            self.load_ended = time.monotonic()
            if proxy:
                self._end(row, proxy)
        except subprocess.TimeoutExpired as error:
            raise StandError(f"the proxy does not end: {self._log('proxy')}") from error
        finally:
            for process in (load, proxy):
                if process:
                    # With its children: what is left of a peer would be on the core of the next one.
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        return json.loads((self.folder / "result.json").read_text())

    # ---- system calls ----

    def system_calls(self, row, scenario, seconds):
        """
        Per request, counted by the kernel in a run of its own, piece by piece: what is outside of the window does not count. None where
        it cannot be counted.
        """
        if not self.perf or row == DIRECT:
            return None
        counter = began = None
        out = self.folder / "perf.txt"

        def watch(pid):
            nonlocal counter, began
            counter = subprocess.Popen([self.perf, "stat", "-x,", "-I", str(PIECE_MS), "-e", "raw_syscalls:sys_enter", "-o", out,
                                        "-p", str(pid)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            began = time.monotonic()

        try:
            told = self.run(row, scenario, seconds, PIECE_MS / 1000, watch=watch)
            counter.wait(PATIENCE)
        finally:
            if counter and counter.poll() is None:
                counter.kill()
                counter.wait()
        pieces = re.findall(r"^ *([\d.]+),(\d+),", out.read_text(), re.M)
        if not pieces or not told["requests"]:
            raise StandError("perf has counted nothing: " + out.read_text()[-500:])
        end = self.load_ended - began - EDGE_SECONDS
        inner = told["window_s"] - 2 * EDGE_SECONDS
        return counted([(float(at), int(count)) for at, count in pieces], end - inner, end) / inner / told["rate"]


def counted(pieces, begin, end):
    """What falls between two times. A piece is (its end, its count) and begins where the one before it ends."""
    total, before = 0.0, 0.0
    for at, count in pieces:
        total += count * max(min(at, end) - max(before, begin), 0) / (at - before)
        before = at
    return total
