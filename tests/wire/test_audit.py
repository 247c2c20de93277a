"""The audit plugin: what was sent and answered stands in its log, whatever happens to the proxy, the disk or the reader."""
import json
import os
import stat



class Log:
    """The file that an instance writes."""

    def __init__(self, bench, path):
        self.bench, self.path = bench, path

    def text(self):
        return self.path.read_text() if self.path.exists() else ""

    def lines(self, **fields):
        """Those with these fields."""
        lines = [json.loads(line) for line in self.text().splitlines()]
        return [line for line in lines if all(line.get(k) == v for k, v in fields.items())]

    async def wait(self, count=1, **fields):
        """The lines with these fields, when there are as many."""
        async def there():
            return len(self.lines(**fields)) >= count
        await self.bench.proxy.until(there, f"{count} lines with {fields}")
        lines = self.lines(**fields)
        assert len(lines) == count, lines
        return lines


def section(plugin_path, path, **options):
    """[plugin audit] that writes to `path`, soon."""
    return {"plugin audit": {"file": plugin_path("audit"), "path": path, "flush_interval": "10ms", **options}}


async def test_a_login(make_bench, plugin_path, tmp_path):
    """The file has mode 0600, and a line for the client's log-in."""
    bench = await make_bench(fresh=True, sections=section(plugin_path, tmp_path / "audit.log"))
    log = Log(bench, tmp_path / "audit.log")
    assert stat.S_IMODE(os.stat(log.path).st_mode) == 0o600
    await bench.client()
    line, = await log.wait(event="login")
    assert line["result"] == "ok" and line["client"] == "127.0.0.1" and not line["tls"]
    assert line["protocol"] == 4 and line["duration_us"] > 0
