"""The audit plugin's writer: queues that are full, ends without a warning, files that are moved, rotated or full."""
import asyncio
import json
import os
import re
import signal
import stat

import pytest

from audit_log import AuditLog, Daemon, Fifo, audited, counts
from cqlwire import Err
from helpers import assert_error

pytestmark = pytest.mark.native
#: of such statements some dozen fill the smallest queue, the pipe and what the writer holds
LONG = "SELECT a FROM ks.t WHERE k = '" + "x" * 30000 + "'"
SMALL = {"queue_size": "256KiB", "statement": "full", "max_length": "64KiB", "events": "request",
         "sections": {"proxy": {"workers": 1}}}


@pytest.fixture
def fifo(tmp_path):
    fifo = Fifo(tmp_path / "audit.fifo")
    yield fifo
    fifo.close()


async def until_counted(bench, name, value):
    """The writer counts a moment after it has written."""
    async def counted():
        return (await counts(bench))[name] == value
    await bench.proxy.until(counted, f"{name} = {value}")


async def is_blocked(bench):
    """Returns when a worker waits for room in the queue."""
    async def waits():
        return (await counts(bench))["waits_total"] >= 1
    await bench.proxy.until(waits, "a worker that waits")


async def test_full_drops(make_bench, plugin_path, tmp_path, fifo):
    """All requests are served; those that nobody reads of are counted in the metric, the log and the audit log."""
    bench, _ = await audited(make_bench, plugin_path, tmp_path, fifo.path, on_full="drop", **SMALL)
    c = await bench.client()
    for _ in range(60):
        assert not (await c.query(LONG)).is_error()

    def dropped():  # several lines where the writer comes late and makes room meanwhile
        return sum(line["count"] for line in fifo.lines(event="dropped"))
    await fifo.read(bench, lambda: len(fifo.lines(event="request")) + dropped() >= 60, "what was written and how many were not")
    assert dropped() > 10 and len(fifo.lines(event="request")) + dropped() == 60
    await until_counted(bench, "dropped_total", dropped())
    for line in fifo.lines(event="dropped"):
        await bench.proxy.until_logged(f"plugin audit: {line['count']} records were dropped: the queue was full")
    await c.query("SELECT a FROM ks.u")
    await fifo.read(bench, lambda: fifo.lines(tables=["ks.u"]), "the next line")


async def test_full_refuses(make_bench, plugin_path, tmp_path, fifo):
    """Nothing is served that is not written: what finds no room is OVERLOADED, and the clusters do not get it."""
    bench, _ = await audited(make_bench, plugin_path, tmp_path, fifo.path, on_full="refuse", **SMALL)
    c = await bench.client()
    served, refused = 0, 0
    while refused < 5:
        answer = await c.query(LONG)
        if answer.is_error():
            assert_error(answer, Err.OVERLOADED, "the audit log cannot be written: its queue is full")
            refused += 1
        else:  # behind a refusal, too, where the writer comes late to what the pipe has room for
            served += 1
        assert served < 100
    assert len([r for r in bench.origin.received if r.statement == LONG]) == served

    def told():
        return sum(line["count"] for line in fifo.lines(event="refused"))
    await fifo.read(bench, lambda: told() >= refused and len(fifo.lines(event="request")) >= served, "lines about all of them")
    assert told() == refused and len(fifo.lines(event="request")) == served
    await until_counted(bench, "refused_total", refused)
    assert (await counts(bench))["dropped_total"] == 0
    assert not (await c.query("SELECT a FROM ks.u")).is_error()
    await fifo.read(bench, lambda: fifo.lines(tables=["ks.u"]), "the next line")


async def test_what_is_under_way_when_it_refuses(make_bench, plugin_path, tmp_path, fifo):
    """Requests that were let through before the queue was full are written, all of them."""
    bench, _ = await audited(make_bench, plugin_path, tmp_path, fifo.path, on_full="refuse", **SMALL)
    c = await bench.client(version=5)
    streams = [c.send_query(LONG) for _ in range(30)]
    answers = await asyncio.gather(*(c.answer(stream) for stream in streams))
    served = len([a for a in answers if not a.is_error()])
    await fifo.read(bench, lambda: len(fifo.lines(event="request")) >= served, "all that was served")
    assert len(fifo.lines(event="request")) == served
    assert (await counts(bench))["dropped_total"] == 0


async def test_what_is_not_written_is_not_refused(make_bench, plugin_path, tmp_path, fifo):
    """Neither what another kind leaves out, nor another table."""
    bench, _ = await audited(make_bench, plugin_path, tmp_path, fifo.path, on_full="refuse", kinds="write",
                             tables="ks.t", **SMALL)
    c = await bench.client()
    insert = "INSERT INTO ks.t (k) VALUES ('" + "x" * 30000 + "')"
    refused, sent = 0, 0
    while refused < 5:  # one may be served behind a refusal: the writer comes late to what the pipe has room for
        sent += 1
        assert sent < 100
        answer = await c.query(insert)
        if not answer.is_error():
            continue
        refused += 1
        assert_error(answer, Err.OVERLOADED)
        assert not (await c.query("SELECT a FROM ks.t")).is_error()
        assert not (await c.query("INSERT INTO ks.other (k) VALUES (1)")).is_error()


async def test_full_blocks(make_bench, plugin_path, tmp_path, fifo):
    """The worker waits for the reader, and loses nothing."""
    bench, _ = await audited(make_bench, plugin_path, tmp_path, fifo.path, on_full="block", block_timeout="30s", **SMALL)
    c = await bench.client()

    async def send():
        for _ in range(40):
            assert not (await c.query(LONG)).is_error()
    task = asyncio.create_task(send())
    await is_blocked(bench)
    assert not task.done()
    await fifo.read(bench, task.done, "the last answer")
    await task
    await fifo.read(bench, lambda: len(fifo.lines(event="request")) >= 40, "all lines")
    assert (await counts(bench))["dropped_total"] == 0


async def test_blocking_ends(make_bench, plugin_path, tmp_path, fifo):
    """After block_timeout it drops, and does not wait again for each record."""
    bench, _ = await audited(make_bench, plugin_path, tmp_path, fifo.path, on_full="block", block_timeout="400ms", **SMALL)
    c = await bench.client()
    loop = asyncio.get_running_loop()
    begin = loop.time()
    for _ in range(60):
        assert not (await c.query(LONG)).is_error()
    assert 0.4 <= loop.time() - begin
    await fifo.read(bench, lambda: len(fifo.lines(event="request")) + sum(line["count"] for line in fifo.lines(event="dropped")) >= 60,
                    "what was written and how many were not")
    await until_counted(bench, "dropped_total", 60 - len(fifo.lines(event="request")))
    found = await counts(bench)
    assert found["dropped_total"] > 10
    # Between two waits there was room for a record: the writer comes late to what the pipe has room for.
    assert 1 <= found["waits_total"] <= 60 - found["dropped_total"] + 1


async def test_the_end_does_not_wait_for_a_reader(make_bench, plugin_path, tmp_path, fifo):
    """What could not be written is said."""
    bench, _ = await audited(make_bench, plugin_path, tmp_path, fifo.path, on_full="drop", **SMALL)
    c = await bench.client()
    for _ in range(30):
        await c.query(LONG)
    await c.close()
    bench.may_be_down = True
    await bench.proxy.stop()
    assert re.search(r"plugin audit: \d+ records were not written before the end", bench.proxy.messages)


async def test_kill(make_bench, plugin_path, tmp_path):
    """After kill -9 the file has whole lines, all that were flushed; the next process goes on behind them."""
    bench, log = await audited(make_bench, plugin_path, tmp_path)
    bench.may_be_down = True
    clients = [await bench.client() for _ in range(4)]

    async def send(c):
        while True:
            await c.query("INSERT INTO ks.t (k) VALUES (1)")
    tasks = [asyncio.create_task(send(c)) for c in clients]

    async def many():
        return len(log.lines()) > 200
    await bench.proxy.until(many, "200 lines")
    flushed = (await counts(bench))["lines_total"]
    await bench.proxy.kill()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    text = log.path.read_bytes()
    lines = [json.loads(line) for line in text.split(b"\n")[:-1]]
    assert len(lines) >= flushed > 0
    with open(log.path, "ab") as f:
        f.write(b'{"time":"half a li')  # what a kill within a write may leave
    bench.proxy.process = None
    bench.clients.clear()
    await bench.start_proxy()
    await bench.proxy.until_logged("ends with a part of a line, which is closed")
    c = await bench.client()
    await c.query("SELECT a FROM ks.after")

    async def there():
        return b"ks.after" in log.path.read_bytes()
    await bench.proxy.until(there, "a line of the next process")
    broken = log.path.read_bytes()[len(text):].split(b"\n")
    assert broken[0] == b'{"time":"half a li' and [json.loads(line)["event"] for line in broken[1:-1]] == [
        "login", "request"]


async def test_opened_again(make_bench, plugin_path, tmp_path):
    """On SIGUSR1 the lines go into a new file; none is lost or written twice."""
    bench, log = await audited(make_bench, plugin_path, tmp_path, events="request")
    moved = AuditLog(bench, tmp_path / "audit.log.old")
    c = await bench.client()
    for i in range(20):
        if i == 10:
            await log.wait(10)
            os.rename(log.path, moved.path)
            bench.proxy.signal(signal.SIGUSR1)
        await c.query(f"SELECT a{i} FROM ks.t")
    await bench.proxy.until_logged(f"{log.path} was opened again")
    await c.query("SELECT b FROM ks.t")

    async def there():
        return len(log.lines()) + len(moved.lines()) >= 21
    await bench.proxy.until(there, "21 lines")
    assert stat.S_IMODE(os.stat(log.path).st_mode) == 0o600
    names = [re.search(r"SELECT (\w+)", line["statement"])[1] for line in moved.lines() + log.lines()]
    assert names == [f"a{i}" for i in range(20)] + ["b"] and len(moved.lines()) >= 10


async def test_opened_again_while_it_reloads(make_bench, plugin_path, tmp_path):
    """SIGUSR1 and SIGHUP at once, under load: each line once, in one of the files, and whole."""
    bench, log = await audited(make_bench, plugin_path, tmp_path, events="request", rotate_keep=1000)
    clients = [await bench.client() for _ in range(4)]
    is_over = False
    sent = 0

    async def send(c):
        nonlocal sent
        while not is_over:
            assert not (await c.query("SELECT a FROM ks.t")).is_error()
            sent += 1
    tasks = [asyncio.create_task(send(c)) for c in clients]
    for n in range(8):
        async def moved():  # while it is rotated there is no such file
            os.rename(log.path, tmp_path / f"moved.{n}")
            return True
        await bench.proxy.until(moved, "a file to move away")
        bench.proxy.signal(signal.SIGUSR1)
        await bench.reload(**{"plugin audit": {"statement": ("full", "hash", "none", "shape")[n % 4], "on_full": ("refuse", "drop")[n % 2],
                                               "rotate_size": ("0B", "16KiB")[n % 2]}})
    is_over = True
    await asyncio.gather(*tasks)

    def ids():
        paths = [path for path in tmp_path.iterdir() if path.name.startswith(("audit.log", "moved."))]
        return [line["id"] for path in paths for line in AuditLog(bench, path).lines()]

    async def there():
        return len(set(ids())) >= sent
    await bench.proxy.until(there, f"{sent} lines")
    bench.may_be_down = True
    await bench.proxy.stop()
    assert len(ids()) == len(set(ids())) == sent


async def test_rotation_under_load(make_bench, plugin_path, tmp_path):
    """No file is larger than it may be, no line is lost, broken or written twice."""
    bench, log = await audited(make_bench, plugin_path, tmp_path, events="request", rotate_size="20KiB", rotate_keep=100)
    clients = [await bench.client() for _ in range(4)]

    async def send(c):
        for _ in range(100):
            await c.query("INSERT INTO ks.t (k) VALUES (1)")
    await asyncio.gather(*(send(c) for c in clients))
    bench.may_be_down = True
    for c in clients:
        await c.close()
    await bench.proxy.stop()
    files = list(tmp_path.glob("audit.log*"))
    numbers = []
    for path in files:
        assert os.stat(path).st_size <= 20 * 1024 and stat.S_IMODE(os.stat(path).st_mode) == 0o600
        assert path.read_bytes().endswith(b"\n")
        numbers += [line["id"] for line in AuditLog(bench, path).lines()]
    assert len(files) > 5 and len(numbers) == len(set(numbers)) == 400
    oldest = AuditLog(bench, tmp_path / f"audit.log.{len(files) - 1}").lines()
    assert min(numbers) == min(line["id"] for line in oldest)


async def test_a_full_disk(make_bench, plugin_path, tmp_path):
    """It is counted and said; when there is room again everything is there."""
    path = tmp_path / "audit.log"
    path.symlink_to("/dev/full")
    bench, log = await audited(make_bench, plugin_path, tmp_path, path, events="request")
    c = await bench.client()
    for _ in range(10):
        assert not (await c.query("SELECT a FROM ks.t")).is_error()
    await bench.proxy.until_logged(f"plugin audit: {path}: write: No space left on device; it is tried again")
    found = await counts(bench)
    assert found["write_errors_total"] > 0 and found["lines_total"] == 0
    path.unlink()
    bench.proxy.signal(signal.SIGUSR1)
    await log.wait(10)
    await bench.proxy.until_logged(f"{path}: it can be written again")

    await until_counted(bench, "lines_total", 10)
    await until_counted(bench, "bytes_total", os.stat(path).st_size)
    assert (await counts(bench))["dropped_total"] == 0


async def test_fsync(make_bench, plugin_path, tmp_path):
    """How long the disk takes is measured, where it is asked to take anything."""
    bench, log = await audited(make_bench, plugin_path, tmp_path, events="request", fsync="flush")
    c = await bench.client()
    await c.query("SELECT a FROM ks.t")
    await log.one()

    async def synced():
        return (await counts(bench))["fsync_duration_seconds_count"] >= 1
    await bench.proxy.until(synced, "an fsync")
    await bench.reload(**{"plugin audit": {"fsync": "none"}})
    await c.query("SELECT a FROM ks.t")
    await log.wait(2)
    before = (await counts(bench))["fsync_duration_seconds_count"]
    await c.query("SELECT a FROM ks.t")
    await log.wait(3)
    assert (await counts(bench))["fsync_duration_seconds_count"] == before


@pytest.mark.parametrize("sink,pattern", [
    ("syslog", r"<134>\w{3} [ \d]\d \d\d:\d\d:\d\d cqlferry\[PID\]: (.*)"),
    ("journal", r"PRIORITY=6\nSYSLOG_FACILITY=16\nSYSLOG_IDENTIFIER=cqlferry\nCQLFERRY_PLUGIN=audit\nMESSAGE=(.*)\n")])
async def test_daemons(make_bench, plugin_path, tmp_path, sink, pattern):
    daemon = Daemon(tmp_path / "socket")
    bench, _ = await audited(make_bench, plugin_path, tmp_path, sink=sink, socket=tmp_path / "socket", facility="local0",
                             sections={"plugin audit": {"path": None}})
    c = await bench.client()
    await c.query("SELECT a FROM ks.t")
    messages = await daemon.receive(bench, 2)
    pattern = pattern.replace("PID", str(bench.proxy.process.pid))
    lines = [json.loads(re.fullmatch(pattern, message)[1]) for message in messages]
    assert [line["event"] for line in lines] == ["login", "request"]
    daemon.socket.close()
    (tmp_path / "socket").unlink()
    await c.query("SELECT b FROM ks.t")
    await bench.proxy.until_logged("socket: (send|connect): .*; it is tried again")
    daemon = Daemon(tmp_path / "socket")
    assert "SELECT b" in (await daemon.receive(bench, 1))[0]
    daemon.socket.close()
