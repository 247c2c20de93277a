"""Large results, batches, texts and numbers of values: they arrive whole, memory stays near their size, others are served."""
import asyncio
import os
import re

import pytest

import behaviour
from cqlwire import Column, Kind, Op, Type
from fakecluster import BARRIER
from helpers import assert_alive

MIB = 1 << 20
BLOB = [Column("v", Type.BLOB)]
WAYS = [(4, None), (4, "lz4"), (5, None), (5, "lz4")]
each_way = pytest.mark.parametrize("version,compression", WAYS, ids=[f"v{v}-{c or 'plain'}" for v, c in WAYS])
#: the fake nodes answer nothing, no heartbeat either, while they look through a large text or make a large answer
ROOM = {"proxy": {"max_frame_size": "80MiB", "heartbeat_timeout": "120s", "request_timeout": "120s"}}
LATE = 120


def noise(size):
    """Bytes that lz4 cannot make smaller; making really random ones would take longer than everything else."""
    piece = os.urandom(MIB)
    return (piece * (size // MIB + 1))[:size]


def peak(bench):
    """The most memory that the proxy has had at once, in MiB. ThreadSanitizer keeps several bytes about each of it."""
    process = f"/proc/{bench.proxy.process.pid}"
    with open(f"{process}/status") as status, open(f"{process}/maps") as maps:
        used = int(re.search(r"VmHWM:\s+(\d+) kB", status.read()).group(1)) / 1024
        return used / 6 if "libtsan" in maps.read() else used


class Bystander:
    """
    A client with small requests all the time; the longest of them counts, without the time for which the one thread of the
    fake nodes and the clients was busy with large things.
    """

    def __init__(self, client, bench):
        self.client = client
        self.bench = bench
        self.longest = 0
        self.count = 0
        self.busy = 0.0  # seconds
        self.stopping = False
        self.tasks = asyncio.gather(self._run(), self._watch())

    async def _run(self):
        loop = asyncio.get_running_loop()
        while not self.stopping:
            started, busy = loop.time(), self.busy
            for text in ("SELECT * FROM ks.alive", BARRIER):
                answer = await self.client.answer(self.client.send_query(text), LATE)
                assert not answer.is_error(), answer
            await asyncio.sleep(0)  # what was behind has been noted
            self.longest = max(self.longest, loop.time() - started - (self.busy - busy))
            self.count += 1
            await asyncio.sleep(0.005)

    async def _watch(self):
        loop = asyncio.get_running_loop()
        while not self.stopping:
            started = loop.time()
            await asyncio.sleep(0.005)
            self.busy += max(0, loop.time() - started - 0.005)

    async def stop(self):
        self.stopping = True
        await self.tasks
        assert self.count > 0


@pytest.mark.checklist(36)
@each_way
async def test_a_result_of_200_mib(make_bench, version, compression):
    bench = await make_bench(fresh=True, sections=ROOM)
    value = noise(200 * MIB)
    bench.origin.on("ks.big", behaviour.rows(BLOB, [[value]]))
    c = await bench.client(version, compression)
    await assert_alive(c, bench)
    before = peak(bench)
    answer = await c.answer(c.send_query("SELECT v FROM ks.big"), LATE)
    assert not answer.is_error(), answer
    assert answer.rows[0][0] == value
    assert peak(bench) - before < 2.6 * 200
    await assert_alive(c, bench)


@each_way
async def test_a_batch_of_64_mib(make_bench, version, compression):
    """Seven thousand children, some of them prepared: each cluster gets its own ids."""
    bench = await make_bench(fresh=True, sections=ROOM)
    c = await bench.client(version, compression)
    prepared = await c.prepare("INSERT INTO ks.t (k, v) VALUES (?, ?)")
    value = noise(32 * 1024 - 80)
    children = [(prepared.prepared_id, [i.to_bytes(4, "big"), value]) for i in range(2000)]
    children[1000:1000] = [(f"INSERT INTO ks.u (k) VALUES ({i})", []) for i in range(5000)]
    before = peak(bench)
    assert (await c.answer(c.send_batch(children), LATE)).kind == Kind.VOID
    for cluster in bench.clusters:
        got, = cluster.requests(Op.BATCH)
        assert len(got.body) > 62 * MIB and len(got.request.children) == 7000
        ids = {s for s, _ in got.request.children if isinstance(s, bytes)}
        assert len(ids) == 1 and ids <= set(cluster.nodes[0].prepared)
        assert [v[0] for s, v in got.request.children if isinstance(s, bytes)] == [v[0] for s, v in children if v]
    assert peak(bench) - before < 5.2 * 64
    await assert_alive(c, bench)


@each_way
async def test_a_text_of_16_mib(make_bench, version, compression):
    bench = await make_bench(sections=ROOM)
    c = await bench.client(version, compression)
    for text in ("INSERT INTO ks.t (v) VALUES ('" + "x" * 16 * MIB + "')",
                 "INSERT INTO ks.t (v) VALUES ('" + "é'' -- /* " * (MIB // 2) + "')",
                 "/*" + "*" * 16 * MIB + "*/ INSERT INTO ks.t (v) VALUES (1)"):
        assert (await c.answer(c.send_query(text), LATE)).kind == Kind.VOID
        for cluster in bench.clusters:
            assert cluster.requests(Op.QUERY)[-1].statement == text
    assert (await c.answer(c.send_prepare("SELECT v FROM ks.t WHERE v = '" + "x" * 16 * MIB + "'"), LATE)).kind \
        == Kind.PREPARED
    await assert_alive(c, bench)


@each_way
async def test_65535_values(make_bench, version, compression):
    bench = await make_bench(sections=ROOM)
    c = await bench.client(version, compression)
    values = [i.to_bytes(4, "big") for i in range(65_535)]
    assert (await c.query("INSERT INTO ks.t (k) VALUES (1)", values=values)).kind == Kind.VOID
    for cluster in bench.clusters:
        cluster.on(Op.EXECUTE, behaviour.answer(Op.RESULT, b"\0\0\0\1"))
    prepared = await c.prepare("INSERT INTO ks.t (k, v) VALUES (?, ?)")
    assert (await c.execute(prepared, values=values)).kind == Kind.VOID
    children = [("INSERT INTO ks.t (k) VALUES (1)", [])] * 65_534 + [("INSERT INTO ks.t (k) VALUES (?)", [b"v"])]
    assert (await c.answer(c.send_batch(children), LATE)).kind == Kind.VOID
    for cluster in bench.clusters:
        assert cluster.requests(Op.QUERY)[-1].params.values == values
        assert cluster.requests(Op.EXECUTE)[-1].params.values == values
        assert len(cluster.requests(Op.BATCH)[-1].request.children) == 65_535


@pytest.mark.checklist(148, 149)
@each_way
async def test_others_are_served_while_large_things_run(make_bench, version, compression):
    """One worker for all: a large write, a large result that nobody reads, a node that does not read."""
    bench = await make_bench(sections={"proxy": {"workers": 1, **ROOM["proxy"]}})
    value = noise(48 * MIB)
    bench.origin.on("ks.big", behaviour.rows(BLOB, [[value]]))
    bystander = Bystander(await bench.client(version, compression), bench)
    busy = await bench.client(version, compression)
    asleep = await bench.open(version, receive_buffer=8192)
    await asleep.startup(compression)
    asleep.transport.pause_reading()
    asleep.send_query("SELECT v FROM ks.big")
    for _ in range(2):
        answer = await busy.answer(busy.send_query("INSERT INTO ks.t (v) VALUES (?)", values=[value]), LATE)
        assert answer.kind == Kind.VOID
        assert (await busy.answer(busy.send_query("SELECT v FROM ks.big"), LATE)).rows == [[value]]
    await bystander.stop()
    assert bystander.longest < 6
    asleep.abort()
    bench.clients.remove(asleep)
