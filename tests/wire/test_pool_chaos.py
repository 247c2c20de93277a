"""
Everything at once on shared connections: nodes are lost, answer late, half or never, lose statements; clients leave in the
middle. What must hold all the same: each client gets one answer to each request, its own, and nothing that may not be
repeated is executed twice.
"""
import asyncio
import random

import pytest

import behaviour
from cqlwire import Err, Kind, Op
from pooling import lanes

pytestmark = pytest.mark.native

#: what an error may be when a node was lost, or did not answer in time
EXPECTED = (Err.READ_TIMEOUT, Err.WRITE_TIMEOUT, Err.UNAVAILABLE, Err.OVERLOADED)
WAYS = [(3, None), (4, "lz4"), (4, "snappy"), (5, None), (5, "lz4")]
COUNT = "UPDATE ks.c SET c = c + 1 WHERE k = ?"
SET = "INSERT INTO ks.t (k) VALUES (?)"


class Load:
    def __init__(self, bench, number):
        self.bench = bench
        self.number = number
        self.random = random.Random(number)
        self.acknowledged = []
        self.errors = []
        self.answers = 0

    async def connect(self):
        self.keyspace = self.random.choice(("one", "two"))
        self.c = await self.bench.client(*WAYS[self.number % len(WAYS)], keyspace=self.keyspace)
        self.count = await self.c.prepare(COUNT)
        self.read = await self.c.prepare("SELECT * FROM t")

    async def run(self, rounds):
        for n in range(rounds):
            sent = [self.send(n * 10 + i) for i in range(self.random.randint(1, 6))]
            for kind, key, stream in sent:
                self.check(kind, key, await self.c.answer(stream))

    def send(self, n):
        kind = self.random.choice(("read", "read", "execute", "count", "prepared count", "set"))
        key = f"{self.number} {n}".encode()
        if kind == "read":
            return kind, key, self.c.send_query(f"SELECT * FROM t /* {key.decode()} */")
        if kind == "execute":
            return kind, key, self.c.send_execute(self.read)
        if kind == "count":
            return kind, key, self.c.send_query(COUNT, values=[key])
        if kind == "prepared count":
            return kind, key, self.c.send_execute(self.count, values=[key])
        return kind, key, self.c.send_query(SET, values=[key], timestamp=n + 1)

    def check(self, kind, key, answer):
        self.answers += 1
        if answer.is_error():
            assert answer.code in EXPECTED, answer
            self.errors.append(answer)
        elif kind == "read":
            assert answer.rows == [["origin", self.keyspace, f"SELECT * FROM t /* {key.decode()} */"]]
        elif kind == "execute":
            assert answer.rows[0][1] == self.keyspace
        else:
            assert answer.kind == Kind.VOID, answer
            self.acknowledged.append((kind, key))


def sometimes(rng):
    """How a node treats a request: mostly well."""
    async def behave(conn, got):
        luck = rng.random()
        if luck < 0.1:
            await asyncio.sleep(rng.uniform(0, 0.02))
        elif luck < 0.12:
            await asyncio.sleep(rng.uniform(0.3, 0.5))  # beyond request_timeout
        elif luck < 0.123:
            await behaviour.half_answer("close")(conn, got)
            return
        elif luck < 0.126:
            conn.reset()
            return
        elif luck < 0.13 and got.request.prepared_id:
            await behaviour.unprepared()(conn, got)
            conn.node.prepared.pop(got.request.prepared_id, None)
            got.is_refused = True
            return
        answer = conn.normal_answer(got)
        got.is_refused = answer.opcode == Op.ERROR  # it has lost the statement since
        conn.reply(got, answer)
    return behave


def executed(cluster, text):
    """key to how often it was taken for execution."""
    counts = {}
    for r in cluster.requests(Op.QUERY, Op.EXECUTE):
        if r.statement == text and not r.__dict__.get("is_refused"):
            key = r.params.values[0]
            counts[key] = counts.get(key, 0) + 1
    return counts


@pytest.mark.parametrize("workers", (1, 2))
async def test_all_at_once(pooled, workers, seed=0):
    bench = await pooled({"workers": workers, "request_timeout": "250ms", "heartbeat_timeout": "2s",
                          "heartbeat_retry_interval_min": "20ms", "heartbeat_retry_interval_max": "50ms"},
                         origin={"nodes": 3}, target={"nodes": 2})
    loads = [Load(bench, n) for n in range(12)]
    for load in loads:
        await load.connect()
    for cluster in bench.clusters:
        cluster.received.clear()
        cluster.on("ks.", sometimes(random.Random(f"{cluster.name} {seed}")))
        cluster.on("FROM t", sometimes(random.Random(f"{cluster.name} {seed}")))

    is_over = False

    async def wreck(rng):
        while not is_over:
            await asyncio.sleep(rng.uniform(0.05, 0.15))
            node = rng.choice(rng.choice(bench.clusters).nodes)
            node.drop(reset=rng.random() < 0.5)
            if rng.random() < 0.3:
                node.refuse()
                await asyncio.sleep(0.05)
                await node.start()

    async def leave(rng):
        """Clients that send something and are gone before it is answered."""
        while not is_over:
            version, compression = rng.choice(WAYS)
            c = await bench.open(version)
            answer = await c.startup(compression)
            assert answer.opcode == Op.READY or answer.code == Err.SERVER_ERROR, answer
            for n in range(5 if answer.opcode == Op.READY else 0):
                c.send_query(f"SELECT * FROM ks.gone /* {n} */")
            await asyncio.sleep(rng.uniform(0, 0.01))
            c.abort()
            bench.clients.remove(c)
    tasks = [asyncio.ensure_future(wreck(random.Random(seed + 1)))]
    tasks.append(asyncio.ensure_future(leave(random.Random(seed + 2))))
    try:
        await asyncio.gather(*(load.run(30) for load in loads))
    finally:
        is_over = True  # not by cancelling: wait_for() of Python 3.11 may swallow that
        await asyncio.gather(*tasks)
    for cluster in bench.clusters:
        cluster.rules.clear()
        counts = executed(cluster, COUNT)
        assert not {key: n for key, n in counts.items() if n > 1}, cluster.name
        sets = executed(cluster, SET)
        assert all(n <= 2 for n in sets.values())
        for load in loads:
            for kind, key in load.acknowledged:
                assert (sets if kind == "set" else counts).get(key, 0) >= 1, (cluster.name, kind, key)
    answers, errors = sum(load.answers for load in loads), sum(len(load.errors) for load in loads)
    assert answers > 800 and answers - errors > 300, (answers, errors)
    for node in bench.origin.nodes + bench.target.nodes:
        if node.server is None:
            await node.start()

    async def all_well():
        results = [await load.c.query("INSERT INTO ks.t (k) VALUES (1)") for load in loads]
        return not any(a.is_error() for a in results)
    await bench.proxy.until(all_well, "writes that work")
    assert len(lanes(bench.origin)) <= 3 * workers * 2 * len(WAYS)
