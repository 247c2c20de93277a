#!/usr/bin/env python3
"""
Many drivers that do little: what each of them costs, and how fast they come.

    bench/crowd.py idle               with 1000 and 5000 idle drivers: sockets towards each cluster, RSS per driver
    bench/crowd.py connects           connects per second: plain, with log-ins, with TLS
    bench/crowd.py                    both

The proxy is a build with optimization and without sanitizers (--binary); the clusters are those of tests/wire, in this
process, so what they can take bounds figures with dedicated connections. An idle driver has connected, logged in and
had one request answered by both clusters. A connect is a new socket, STARTUP (and the log-in) until READY, and its end.

RSS per driver is the growth from the first drivers (--warm) to all of them: code and pools that the first one fills do
not count. Connects per second of the proxy's CPU time say what the proxy can do; those of the clock depend on this
program, which is in Python, too.
"""
import argparse
import asyncio
import os
import resource
import select
import signal
import socket
import ssl
import struct
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "wire"), str(ROOT / "tests")]

from certificates import Authority  # noqa: E402
from cqlwire import requests  # noqa: E402
from cqlwire.const import Op  # noqa: E402
from fakecluster import Auth, Cluster  # noqa: E402

#: No run waits longer than this for anything, seconds.
PATIENCE = 60
#: Connections that are opened together.
BATCH = 64
VERSION = 4
HEAD = struct.Struct(">BBhBI")
STATEMENT = "INSERT INTO ks.t (k) VALUES (1)"
USERS = {f"user{i}": f"password{i}" for i in range(200)}

INI = """\
[proxy]
workers = {workers}
max_client_connections = {clients}
backend_connections = {backend}
[listener]
address = {network}.1
port = {port}
{tls}
[origin]
contact_points = {network}.2
username = proxy
password = proxy-password
[target]
contact_points = {network}.3
username = proxy
password = proxy-password
[http]
enabled = false
[log]
level = warn
file = {log}
"""


class CrowdError(Exception):
    """Something that keeps us from measuring."""


# ---- drivers ----

def message(opcode, body):
    return HEAD.pack(VERSION, 0, 1, opcode, len(body)) + body


STARTUP = message(Op.STARTUP, requests.startup({"DRIVER_NAME": "crowd", "DRIVER_VERSION": "1.0.0"}))
REQUEST = message(Op.QUERY, requests.query(VERSION, STATEMENT))


def token_of(user):
    return message(Op.AUTH_RESPONSE, requests.auth_response(requests.plain_token(user, USERS[user])))


def receive(sock, expected):
    """Reads one frame, which has to be an answer of this kind."""
    data = b""
    while len(data) < HEAD.size or len(data) < HEAD.size + HEAD.unpack_from(data)[4]:
        more = sock.recv(4096)
        if not more:
            raise CrowdError(f"the proxy closed a connection instead of sending {expected.name}")
        data += more
    opcode = HEAD.unpack_from(data)[3]
    if opcode != expected:
        raise CrowdError(f"{expected.name} was expected and opcode {opcode} came: {data[HEAD.size:]!r}")


def shake_hands(socks, context):
    """TLS on all of them side by side."""
    wrapped = [context.wrap_socket(s, do_handshake_on_connect=False) for s in socks]
    for s in wrapped:
        s.setblocking(False)
    waiting = {s.fileno(): s for s in wrapped}
    poll = select.poll()
    for fd in waiting:
        poll.register(fd, select.POLLIN)
    ready = list(waiting)
    while waiting:
        for fd in ready:
            try:
                waiting[fd].do_handshake()
            except ssl.SSLWantReadError:
                continue
            poll.unregister(fd)
            waiting.pop(fd).settimeout(PATIENCE)
        if waiting:
            ready = [fd for fd, _ in poll.poll(PATIENCE * 1000)]
            if not ready:
                raise CrowdError("a TLS handshake does not end")
    return wrapped


def connect(address, count, users=None, context=None):
    """So many drivers that are ready for requests, one step of all after the other."""
    socks = []
    for _ in range(count):
        sock = socket.socket()
        sock.settimeout(PATIENCE)
        sock.connect(address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        socks.append(sock)
    if context:
        socks = shake_hands(socks, context)
    for sock in socks:
        sock.sendall(STARTUP)
    if users:
        for sock in socks:
            receive(sock, Op.AUTHENTICATE)
            sock.sendall(token_of(next(users)))
    for sock in socks:
        receive(sock, Op.AUTH_SUCCESS if users else Op.READY)
    return socks


def open_crowd(address, count, context=None):
    """Drivers that have had a request answered; they stay."""
    crowd = []
    while len(crowd) < count:
        socks = connect(address, min(BATCH, count - len(crowd)), context=context)
        for sock in socks:
            sock.sendall(REQUEST)
        for sock in socks:
            receive(sock, Op.RESULT)
        crowd += socks
    return crowd


def in_turn(names):
    while True:
        yield from names


def connect_for(address, seconds, names, context):
    """Connects and closes for so long; returns how often."""
    users = in_turn(names) if names else None
    count = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for sock in connect(address, BATCH, users, context):
            sock.close()
        count += BATCH
    return count


# ---- the proxy and its clusters ----

class Stage:
    """The proxy between two clusters of one node each."""

    def __init__(self, options, folder, backend, auth=False, tls=None):
        self.options = options
        self.folder = Path(folder)
        self.backend = backend
        self.network = f"127.{220 + os.getpid() % 30}.77"
        self.address = (f"{self.network}.1", options.port)
        self.tls = tls
        self.log = self.folder / "crowd.log"
        accounts = Auth({"proxy": "proxy-password", **USERS}) if auth else None
        self.clusters = [Cluster(name, [f"{self.network}.{i}"], 9042, auth=accounts)
                         for i, name in ((2, "origin"), (3, "target"))]
        self.process = None

    async def __aenter__(self):
        for cluster in self.clusters:
            await cluster.start()
        tls = "tls_cert = {}\ntls_key = {}".format(*self.tls) if self.tls else ""
        ini = self.folder / "crowd.ini"
        ini.write_text(INI.format(workers=self.options.workers, backend=self.backend, network=self.network,
                                  port=self.options.port, tls=tls, log=self.log,
                                  clients=max(self.options.drivers) + BATCH))
        self.process = await asyncio.create_subprocess_exec(str(self.options.binary), "-c", str(ini),
                                                            stdin=asyncio.subprocess.DEVNULL,
                                                            stdout=asyncio.subprocess.DEVNULL,
                                                            stderr=asyncio.subprocess.DEVNULL)
        end = time.monotonic() + PATIENCE
        while True:
            try:
                _, writer = await asyncio.open_connection(*self.address)
                writer.close()
                return self
            except OSError as error:
                if self.process.returncode is not None or time.monotonic() > end:
                    raise CrowdError(f"the proxy does not listen: {error}\n{self.said()}") from error
                await asyncio.sleep(0.05)

    async def __aexit__(self, *_):
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)
        await self.process.wait()
        for cluster in self.clusters:
            await cluster.stop()

    def said(self):
        return self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""

    def sockets(self):
        """Connections that each cluster has, without control connections."""
        return [len(cluster.connections()) for cluster in self.clusters]

    def rss(self):
        """KiB."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(text.split("VmRSS:")[1].split()[0])

    def cpu(self):
        """Seconds of user and system time."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def aside(self, function, *arguments):
        """Runs what blocks beside the clusters."""
        return await asyncio.get_running_loop().run_in_executor(None, function, *arguments)


# ---- measurements ----

async def measure_idle(options, folder):
    print(f"{'backend':<10} {'drivers':>7} {'sockets to origin':>17} {'to target':>9} {'RSS, KiB':>9}"
          f" {'KiB per driver':>14}")
    for backend in options.backends:
        for count in options.drivers:
            async with Stage(options, folder, backend) as stage:
                crowd = await stage.aside(open_crowd, stage.address, options.warm)
                before = stage.rss()
                crowd += await stage.aside(open_crowd, stage.address, count - options.warm)
                after = stage.rss()
                origin, target = stage.sockets()
                per_driver = (after - before) / (count - options.warm)
                print(f"{backend:<10} {count:>7} {origin:>17} {target:>9} {after:>9} {per_driver:>14.2f}", flush=True)
                for sock in crowd:
                    sock.close()


async def measure_connects(options, folder):
    authority = Authority(Path(folder) / "ca", "crowd")
    context = ssl.create_default_context(cafile=authority.ca)
    context.check_hostname = False
    ways = (
        ("pooled, plain", "pooled", None, None),
        ("pooled, one user", "pooled", ["user0"], None),
        ("pooled, 200 users", "pooled", list(USERS), None),
        ("pooled, TLS", "pooled", None, context),
        ("dedicated, plain", "dedicated", None, None),
        ("dedicated, one user", "dedicated", ["user0"], None),
    )
    print(f"{'way':<20} {'connects':>8} {'per second':>10} {'per second of CPU':>17}")
    for name, backend, users, tls in ways:
        files = authority.certificate(["127.0.0.1"]) if tls else None
        async with Stage(options, folder, backend, auth=bool(users), tls=files) as stage:
            # What happens once, as the log-in of each user at the clusters, does not count.
            await stage.aside(connect_for, stage.address, 0.5, users, tls)
            cpu, start = stage.cpu(), time.monotonic()
            count = await stage.aside(connect_for, stage.address, options.seconds, users, tls)
            elapsed, cpu = time.monotonic() - start, stage.cpu() - cpu
            print(f"{name:<20} {count:>8} {count / elapsed:>10.0f} {count / max(cpu, 0.01):>17.0f}", flush=True)


async def measure(options):
    with tempfile.TemporaryDirectory(prefix="crowd.") as folder:
        if options.what in ("idle", "all"):
            await measure_idle(options, folder)
        if options.what in ("connects", "all"):
            await measure_connects(options, folder)


def parse_arguments():
    parser = argparse.ArgumentParser(description="Many drivers that do little: what they cost, how fast they come.")
    parser.add_argument("what", nargs="?", choices=("idle", "connects", "all"), default="all")
    parser.add_argument("--binary", type=Path, default=Path("cqlferry"), help="the proxy (default: %(default)s)")
    parser.add_argument("--drivers", type=int, nargs="+", default=[1000, 5000], help="idle ones (default: 1000 5000)")
    parser.add_argument("--backends", nargs="+", choices=("pooled", "dedicated"), default=["pooled", "dedicated"])
    parser.add_argument("--warm", type=int, default=100, help="idle drivers that do not count (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=3, help="for each way to connect (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="of the proxy (default: %(default)s)")
    parser.add_argument("--port", type=int, default=14042, help="of the proxy (default: %(default)s)")
    options = parser.parse_args()
    options.binary = options.binary.resolve()
    if not options.binary.is_file():
        parser.error(f"no proxy at {options.binary}")
    if min(options.drivers) <= options.warm:
        parser.error("--drivers has to be more than --warm")
    return options


def main():
    options = parse_arguments()
    # A driver with dedicated connections has three ends in this process.
    needed = 3 * max(options.drivers) + 200
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < needed:
        sys.exit(f"crowd.py: {needed} open files are needed and {hard} are allowed: fewer --drivers, or a higher limit")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        asyncio.run(measure(options))
    except (CrowdError, OSError) as error:
        sys.exit(f"crowd.py: {error}")


if __name__ == "__main__":
    main()
