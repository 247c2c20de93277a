"""The log of the audit plugin, for the tests that read it."""
import json
import os
import socket
from pathlib import Path


def section(plugin_path, path, name="audit", **options):
    """[plugin audit], whose lines are there soon."""
    options = {"file": plugin_path("audit"), "path": path, "flush_interval": "10ms", **options}
    return {f"plugin {name}": {k: v for k, v in options.items() if v is not None}}


class AuditLog:
    """A file of JSON lines."""

    def __init__(self, bench, path):
        self.bench, self.path = bench, Path(path)

    def lines(self, **fields):
        """Those with these fields that are whole."""
        text = self.path.read_bytes().decode() if self.path.exists() else ""
        lines = [json.loads(line) for line in text.split("\n")[:-1]]
        return [line for line in lines if all(line.get(k) == v for k, v in fields.items())]

    async def wait(self, count=1, **fields):
        """The lines with these fields: as many as that, and no more."""
        async def there():
            return len(self.lines(**fields)) >= count
        await self.bench.proxy.until(there, f"{count} lines with {fields}")
        lines = self.lines(**fields)
        assert len(lines) == count, lines
        return lines

    async def one(self, **fields):
        return (await self.wait(1, **fields))[0]


async def audited(make_bench, plugin_path, folder, path=None, sections=None, fresh=True, **options):
    """A bench with the plugin, and its log."""
    settings = {k: options.pop(k) for k in ("origin", "target", "primary", "configure", "wait") if k in options}
    path = path or folder / "audit.log"
    both = section(plugin_path, path, **options)
    for name, values in (sections or {}).items():
        both.setdefault(name, {}).update(values)
    bench = await make_bench(fresh=fresh, sections=both, **settings)
    return bench, AuditLog(bench, path)


async def counts(bench):
    """The plugin's metrics, by their names without prefix."""
    found = {}
    for name, value in (await bench.proxy.metrics()).items():
        if "_audit_" in name and "{" in name:
            found[name.partition("{")[0].partition("_audit_")[2]] = value
    return found


class Fifo:
    """In the place of the file: nobody reads it until read() is called."""

    def __init__(self, path):
        self.path = path
        os.mkfifo(path)
        self.data = b""
        self.fd = None

    def lines(self, **fields):
        lines = [json.loads(line) for line in self.data.split(b"\n")[:-1]]
        return [line for line in lines if all(line.get(k) == v for k, v in fields.items())]

    async def read(self, bench, condition, what):
        """Reads until condition() holds."""
        if self.fd is None:
            self.fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)

        async def there():
            try:
                while chunk := os.read(self.fd, 1 << 16):
                    self.data += chunk
            except BlockingIOError:
                pass
            return condition()
        await bench.proxy.until(there, what)

    def close(self):
        if self.fd is not None:
            os.close(self.fd)


class Daemon:
    """What listens at the socket of syslog or of the journal."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)
        self.messages = []

    async def receive(self, bench, count):
        async def there():
            try:
                while True:
                    self.messages.append(self.socket.recv(1 << 20).decode())
            except BlockingIOError:
                return len(self.messages) >= count
        await bench.proxy.until(there, f"{count} messages")
        return self.messages
