"""Pooled connections: who shares which, and that every request reaches the keyspace that its client is in."""
import asyncio
import random

import pytest

import behaviour
from behaviour import Hold
from cqlwire import Err, Kind, Op
from fakecluster import Auth
from helpers import PRIMARIES, assert_error
from pooling import lanes, warm_both

pytestmark = pytest.mark.native

VERSIONS = (3, 4, 5)
READ = "SELECT * FROM t"


async def keyspace_of(c, text=READ, **params):
    """The keyspace in which the primary has answered this read."""
    answer = await c.query(text, **params)
    assert answer.kind == Kind.ROWS, answer
    return answer.rows[0][1]


# ---- sharing ----

@pytest.mark.parametrize("workers", (1, 2))
async def test_fifty_clients(pooled, workers):
    """One connection for each worker and node, however many clients there are."""
    bench = await pooled({"workers": workers}, origin={"nodes": 2})
    clients = [await bench.client() for _ in range(50)]
    for _ in range(3):
        answers = await asyncio.gather(*(c.query("SELECT * FROM ks.t") for c in clients))
        assert all(a.rows and a.rows[0][0] == "origin" for a in answers)
        answers = await asyncio.gather(*(c.query("INSERT INTO ks.t (k) VALUES (1)") for c in clients))
        assert all(a.kind == Kind.VOID for a in answers)
    await warm_both(bench, clients[0])
    for cluster in bench.clusters:
        for node in range(len(cluster.nodes)):
            assert 1 <= len(lanes(cluster, node=node)) <= workers


async def test_startup_is_ours(pooled):
    """Nothing that one client says of itself is said about all."""
    bench = await pooled()
    said = {"DRIVER_NAME": "theirs", "DRIVER_VERSION": "1", "APPLICATION_NAME": "app", "CLIENT_ID": "id"}
    c = await bench.client(options=said, compression="lz4")
    await c.query("INSERT INTO ks.t (k) VALUES (1)")
    for cluster in bench.clusters:
        startup, = cluster.requests(Op.STARTUP)
        options = startup.request.options
        assert options["DRIVER_NAME"] == "cqlferry" and options["THROW_ON_OVERLOAD"] == "1"
        assert options["COMPRESSION"] == "lz4"
        assert not set(options) - {"CQL_VERSION", "DRIVER_NAME", "DRIVER_VERSION", "COMPRESSION", "THROW_ON_OVERLOAD"}
        assert options["DRIVER_VERSION"] != "1"


async def test_other_kinds_of_clients_have_others(pooled):
    """Version and compression are a connection's own; requests go over one that has the client's."""
    bench = await pooled()
    ways = [(3, None), (3, "lz4"), (4, None), (4, "lz4"), (4, "snappy"), (5, None), (5, "lz4")]
    for turn in range(2):
        for version, compression in ways:
            c = await bench.client(version, compression)
            text = f"INSERT INTO ks.t (k) VALUES ({version}) /* {compression} {turn} */"
            assert (await c.query(text)).kind == Kind.VOID
            for cluster in bench.clusters:
                got = cluster.requests(Op.QUERY)[-1]
                assert (got.statement, got.version, got.conn.codec.compression) == (text, version, compression)
    for cluster in bench.clusters:
        kinds = [(c.version, c.codec.compression) for c in lanes(cluster)]
        assert sorted(kinds, key=str) == sorted(ways, key=str)


async def test_other_users_have_others(pooled):
    users = {"ann": "a", "bob": "b"}
    auth = Auth({"proxy": "proxy-password"} | users)
    bench = await pooled(primary="target", target={"auth": auth})
    clients = [(await bench.client(user=user, password=users[user]), user) for user in ("ann", "bob") * 5]
    for c, user in clients:
        assert (await c.query("SELECT * FROM ks.t")).rows
        assert bench.target.requests(Op.QUERY)[-1].conn.user == user
    assert {c.user for c in bench.target.connections()} == set(users)
    assert len(lanes(bench.origin)) == 1, "origin wants no log-in: there all are one"


# ---- keyspaces ----

@pytest.mark.parametrize("version", VERSIONS)
async def test_unqualified_names(pooled, version):
    """QUERY, PREPARE and BATCH that name no keyspace go over a connection in the client's, whatever others do."""
    bench = await pooled()
    clients = {name: await bench.client(version, keyspace=name) for name in ("one", "two")}
    clients[None] = await bench.client(version)
    for name, c in clients.items():
        if name is None:
            assert_error(await c.query(READ), Err.INVALID, "No keyspace")
            continue
        assert await keyspace_of(c) == name
        assert (await c.query("INSERT INTO t (k) VALUES (1)")).kind == Kind.VOID
        assert (await c.batch([("INSERT INTO t (k) VALUES (2)", [])])).kind == Kind.VOID
        prepared = await c.prepare(READ)
        assert (await c.execute(prepared)).rows[0][1] == name
        for cluster in bench.clusters:
            sent = [r for r in cluster.requests(Op.QUERY, Op.PREPARE, Op.BATCH) if r.keyspace is not None or
                    r.conn.keyspace is not None]
            assert sent[-1].opcode == Op.PREPARE
            assert {r.keyspace for r in sent[-3 if cluster is bench.origin else -2:]} == {name}
    # each client's USE has opened one lane, and one that names its keyspace needs none of them
    for cluster in bench.clusters:
        assert len(lanes(cluster, "one")) == len(lanes(cluster, "two")) == 1
    count = bench.origin.connection_count
    for c in clients.values():
        assert await keyspace_of(c, "SELECT * FROM own.t") in (None, "one", "two")
    assert bench.origin.connection_count == count


async def test_the_keyspace_field_of_v5(pooled):
    """With it any connection will do, and it wins over USE."""
    bench = await pooled()
    c = await bench.client(5, keyspace="one")
    other = await bench.client(5)
    count = bench.origin.connection_count
    for client in (c, other):
        assert await keyspace_of(client, keyspace="three") == "three"
        prepared = await client.prepare(READ, keyspace="three")
        assert (await client.execute(prepared)).rows[0][1] == "three"
        assert (await client.batch([("INSERT INTO t (k) VALUES (2)", [])], keyspace="three")).kind == Kind.VOID
        for cluster in bench.clusters:
            assert cluster.requests(Op.BATCH)[-1].request.keyspace == "three"
    assert bench.origin.connection_count == count
    assert await keyspace_of(c) == "one"
    assert_error(await other.query(READ), Err.INVALID, "No keyspace")


async def test_a_statement_is_executed_over_any_connection(pooled):
    """EXECUTE needs no keyspace: no connection in one is opened for clients that only execute."""
    bench = await pooled()
    one = await bench.client(keyspace="one")
    prepared = await one.prepare(READ)
    count = bench.origin.connection_count
    for keyspace in ("two", None):
        c = await bench.client()
        assert (await c.execute(prepared)).rows[0][1] == "one"
    assert bench.origin.connection_count == count


class Wanderer:
    """A client that pipelines requests of all kinds, and USE, and knows in which keyspace each one must be run."""

    def __init__(self, client, own, seed):
        self.c = client
        self.random = random.Random(seed)
        self.own = own
        self.keyspace = own[0]
        self.prepared = {}
        self.expected = []

    async def start(self):
        for name in self.own:
            await self.c.use(name)
            self.prepared[name] = await self.c.prepare(READ)
        await self.c.use(self.keyspace)

    def send(self, number):
        kind = self.random.choice(("query", "query", "query", "execute", "write", "batch", "qualified", "use"))
        mark = f"/* {id(self)} {number} */"
        if kind == "query":
            self.expected.append((self.c.send_query(f"SELECT * FROM t {mark}"), self.keyspace))
        elif kind == "execute":
            name = self.random.choice(self.own)
            self.expected.append((self.c.send_execute(self.prepared[name]), name))
        elif kind == "write":
            self.expected.append((self.c.send_query(f"INSERT INTO t (k) VALUES (1) {mark} -- {self.keyspace}"), None))
        elif kind == "batch":
            text = f"INSERT INTO t (k) VALUES (1) {mark} -- {self.keyspace}"
            self.expected.append((self.c.send_batch([(text, [])]), None))
        elif kind == "qualified":
            self.expected.append((self.c.send_query(f"SELECT * FROM ks.t {mark}"), "any"))
        else:
            self.keyspace = self.random.choice(self.own)
            self.expected.append((self.c.send_query(f"USE {self.keyspace}"), "use " + self.keyspace))

    async def take(self):
        for stream, keyspace in self.expected:
            answer = await self.c.answer(stream)
            if keyspace is None:
                assert answer.kind == Kind.VOID, answer
            elif keyspace.startswith("use "):
                assert (answer.kind, answer.keyspace) == (Kind.SET_KEYSPACE, keyspace[4:])
            elif keyspace != "any":
                assert answer.rows[0][1] == keyspace, (answer.rows, keyspace)
        self.expected.clear()


@pytest.mark.parametrize("version,compression", [(3, None), (4, "lz4"), (5, "lz4")])
async def test_clients_in_other_keyspaces_pipeline(pooled, version, compression):
    """Each request is run in the keyspace its client was in when it was sent, also behind a USE without waiting."""
    bench = await pooled(origin={"nodes": 2}, target={"nodes": 2})
    clients = [Wanderer(await bench.client(version, compression), own, seed)
               for seed, own in enumerate((("one",), ("two",), ("one", "two", "three")))]
    for w in clients:
        await w.start()
    for turn in range(10):
        for number in range(10):
            for w in clients:
                w.send(turn * 10 + number)
            if number % 3 == 0:
                await asyncio.sleep(0)
        await asyncio.gather(*(w.take() for w in clients))
    for cluster in bench.clusters:
        for r in cluster.requests(Op.QUERY, Op.BATCH):
            text = r.statement or r.request.children[0][0]
            if " -- " in text:
                assert r.keyspace == text.rpartition(" -- ")[2], r
        assert {c.keyspace for c in cluster.connections()} <= {None, "one", "two", "three"}


# ---- USE ----

@pytest.mark.parametrize("slow", PRIMARIES)
async def test_frames_behind_a_use_wait(pooled, slow):
    """They are read when it is answered; other clients do not wait."""
    bench = await pooled()
    c, other = await bench.client(keyspace="one"), await bench.client(keyspace="one")
    hold = Hold()
    getattr(bench, slow).on("USE", hold)
    use = c.send_query("USE two")
    read = c.send_query(READ)
    write = c.send_query("INSERT INTO t (k) VALUES (7)")
    await hold.arrived()
    assert await keyspace_of(other) == "one"
    await bench.settle(other)
    assert not [r for cluster in bench.clusters for r in cluster.requests(Op.QUERY) if "VALUES (7)" in r.statement]
    hold.release()
    assert (await c.answer(use)).keyspace == "two"
    assert (await c.answer(read)).rows[0][1] == "two"
    assert (await c.answer(write)).kind == Kind.VOID
    for cluster in bench.clusters:
        assert [r.keyspace for r in cluster.requests(Op.QUERY) if "VALUES (7)" in r.statement] == ["two"]


@pytest.mark.parametrize("where", PRIMARIES)
async def test_a_refused_use(pooled, where):
    """The client gets the error and stays where it was, the frames behind it too; the node is not taken for dead."""
    bench = await pooled()
    c = await bench.client(keyspace="one")
    getattr(bench, where).on("USE", behaviour.error(Err.INVALID, "Keyspace 'two' does not exist"))
    for _ in range(2):
        use, read = c.send_query("USE two"), c.send_query(READ)
        assert_error(await c.answer(use), Err.INVALID, "Keyspace 'two' does not exist")
        assert (await c.answer(read)).rows[0][1] == "one"
    assert (await c.query("INSERT INTO t (k) VALUES (1)")).kind == Kind.VOID
    for cluster in bench.clusters:
        assert cluster.requests(Op.QUERY)[-1].keyspace == "one"
    getattr(bench, where).rules.clear()
    await c.use("two")
    assert await keyspace_of(c) == "two"


@pytest.mark.parametrize("written,name", [('"MixedCase"', "MixedCase"), ('"with ""quotes"""', 'with "quotes"'),
                                          ("UPPER", "upper")])
@pytest.mark.parametrize("prepared", (False, True))
async def test_names_of_keyspaces(pooled, written, name, prepared):
    bench = await pooled()
    c = await bench.client()
    text = f"USE {written}"
    answer = await c.execute(await c.prepare(text)) if prepared else await c.query(text)
    assert (answer.kind, answer.keyspace) == (Kind.SET_KEYSPACE, name)
    assert await keyspace_of(c) == name
    assert (await c.query("INSERT INTO t (k) VALUES (1)")).kind == Kind.VOID
    for cluster in bench.clusters:
        assert cluster.requests(Op.QUERY)[-1].keyspace == name


async def test_frames_behind_a_prepared_use_wait(pooled):
    bench = await pooled()
    c = await bench.client(keyspace="one")
    use = await c.prepare("USE two")
    hold = Hold()
    bench.target.on("USE", hold)
    first, read = c.send_execute(use), c.send_query(READ)
    await hold.arrived()
    hold.release()
    assert (await c.answer(first)).keyspace == "two"
    assert (await c.answer(read)).rows[0][1] == "two"


@pytest.mark.parametrize("where", PRIMARIES)
async def test_a_use_that_is_never_answered(pooled, where):
    """It is answered by us; the client stays where it was, and nobody else suffers."""
    bench = await pooled({"request_timeout": "1s"})
    c, other = await bench.client(keyspace="one"), await bench.client(keyspace="one")
    getattr(bench, where).on("USE", behaviour.mute())
    use, read = c.send_query("USE two"), c.send_query(READ)
    answer = await c.answer(use)
    assert answer.is_error() and where in answer.text or "no connection was free" in answer.text
    assert (await c.answer(read)).rows[0][1] == "one"
    for client in (c, other):
        for _ in range(3):
            assert await keyspace_of(client) == "one"
            answer = await client.query("INSERT INTO t (k) VALUES (1)")
            assert answer.kind == Kind.VOID, answer
    getattr(bench, where).rules.clear()
    await c.use("two")
    assert await keyspace_of(c) == "two"
