#!/usr/bin/env python3
"""
What log-ins cost whose passwords plugins/auth_map compares with a hash: log-ins per second, and how long a worker lets
another client wait meanwhile (OPTIONS, which it answers itself, once a millisecond). One worker, fake clusters without a
log-in; every password is compared anew (remember = 0).

    bench/logins.py [--binary FILE] [--plugin FILE] [--seconds N] [--threads N] [--rounds N] [--nice N] [--clients N]
"""
import argparse
import asyncio
import multiprocessing
import os
import socket
import statistics
import struct
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "wire"), str(ROOT / "tests")]

from bench import Addresses, Bench  # noqa: E402

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import crypt

STARTUP = struct.pack(">BBhBI", 4, 0, 0, 1, 22) + b"\0\1\0\x0bCQL_VERSION\0\x053.0.0"
OPTIONS = struct.pack(">BBhBI", 4, 0, 0, 5, 0)
ERROR, READY, AUTHENTICATE, AUTH_SUCCESS = 0x00, 0x02, 0x03, 0x10


def auth_response(user, password):
    token = b"\0" + user.encode() + b"\0" + password.encode()
    return struct.pack(">BBhBII", 4, 0, 0, 15, len(token) + 4, len(token)) + token


def ask(sock, frame):
    """The opcode of the answer."""
    sock.sendall(frame)
    head = b""
    while len(head) < 9:
        head += sock.recv(9 - len(head)) or sys.exit("the proxy has closed the connection")
    left = struct.unpack(">I", head[5:])[0]
    while left:
        left -= len(sock.recv(left)) or sys.exit("the proxy has closed the connection")
    return head[4]


def connected(address):
    sock = socket.create_connection(address)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def log_in(address):
    sock = connected(address)
    assert ask(sock, STARTUP) == AUTHENTICATE
    return sock, ask(sock, auth_response("app", "app-secret"))


def generate(address, clients, end, counts):
    """Logs in again and again. A process of its own, which stands back: applications are on other machines."""
    os.nice(10)
    def one():
        while time.monotonic() < end:
            sock, answer = log_in(address)
            sock.close()
            with counts.get_lock():
                counts[0 if answer == AUTH_SUCCESS else 1] += 1
    threads = [threading.Thread(target=one) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def watch(address, end, queue):
    """How long answers take, in ms. A process of its own."""
    sock, answer = log_in(address)
    assert answer == AUTH_SUCCESS
    times = []
    while time.monotonic() < end:
        start = time.perf_counter()
        ask(sock, OPTIONS)
        times.append((time.perf_counter() - start) * 1000)
        time.sleep(0.001)
    queue.put(times)


async def measure(arguments, name, clients):
    folder = tempfile.mkdtemp()
    mapping = Path(folder) / "auth_map.ini"
    mapping.touch(0o600)
    mapping.write_text("[user app]\naction = zdm\nhash = "
                       + crypt.crypt("app-secret", f"$6$rounds={arguments.rounds}$abcdefgh") + "\n")
    section = {"file": arguments.plugin, "map": mapping, "remember": 0, "threads": arguments.threads,
               "nice": arguments.nice}
    stand = Bench(folder, "logins", Addresses(), sections={
        "plugin auth_map": section, "proxy": {"workers": 1, "backend_connections": "pooled"}, "log": {"level": "warn"}})
    await stand.start()
    context = multiprocessing.get_context("fork")
    counts, queue = context.Array("L", 2), context.Queue()
    end = time.monotonic() + arguments.seconds
    processes = [context.Process(target=watch, args=(stand.proxy.listen, end, queue))]
    if clients:
        processes.append(context.Process(target=generate, args=(stand.proxy.listen, clients, end, counts)))
    for process in processes:
        process.start()
    times = sorted(await asyncio.to_thread(queue.get))
    for process in processes:
        await asyncio.to_thread(process.join)
    stand.may_be_down = True
    await stand.stop()
    print(f"{name:8} {counts[0] / arguments.seconds:8.0f} log-ins/s, {counts[1]} refused; an answer meanwhile: median "
          f"{statistics.median(times):.3f} ms, 99.9 % {times[int(len(times) * 0.999)]:.3f} ms, longest {times[-1]:.3f} ms",
          flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=os.environ.get("CQLFERRY", ROOT / "cqlferry"))
    parser.add_argument("--plugin", help="auth_map.so; default: of the binary's folder")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5000, help="of SHA-512; 5000 is what openssl passwd -6 takes")
    parser.add_argument("--nice", type=int, default=10)
    parser.add_argument("--clients", type=int, default=16)
    arguments = parser.parse_args()
    arguments.plugin = arguments.plugin or Path(arguments.binary).resolve().parent / "plugins/.libs/auth_map.so"
    os.environ["CQLFERRY"] = str(arguments.binary)
    os.environ.setdefault("CQLFERRY_PROFILE", "native")
    asyncio.run(measure(arguments, "idle", 0))
    asyncio.run(measure(arguments, "log-ins", arguments.clients))


if __name__ == "__main__":
    main()
