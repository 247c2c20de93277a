"""timestamps = add: writes that carry no timestamp get one, the same on both clusters."""
import time

import pytest

from behaviour import Hold
from cqlwire import CL, Column, Kind, Op, Type, UNSET, requests
from fakecluster import RESULT_COLUMNS
from helpers import PRIMARIES, WAY_IDS, WAYS, assert_error

ADD = {"routing": {"timestamps": "add"}}
INSERT = "INSERT INTO ks.t (k, v) VALUES (1, 2)"

STAMPED = [
    INSERT, "insert into t (k) values (1) if not exists", "INSERT INTO ks.t JSON '{\"k\": 1}'",
    "INSERT INTO ks.t (k, v) VALUES (1, 'USING TIMESTAMP 5')", "UPDATE ks.t SET v = 1 WHERE k = 1",
    "UPDATE ks.t USING TTL 5 SET v = 'c = c + 1' WHERE k = 1", "UPDATE ks.t SET l = l + ['a'] WHERE k = 1",
    "UPDATE ks.t SET l = [?] + l WHERE k = 1", "UPDATE ks.t SET m = m + {1: 2}, s -= {3} WHERE k = 1",
    "UPDATE ks.t SET m['a'] = 5, l[0] = 1 WHERE k = 1 IF EXISTS", "DELETE FROM ks.t WHERE k = 1",
    "DELETE v, m['x'] FROM ks.t /* USING TIMESTAMP 1 */ WHERE k = 1",
    "BEGIN BATCH INSERT INTO ks.t (k) VALUES (1); DELETE FROM ks.t WHERE k = 2; APPLY BATCH",
    "BEGIN UNLOGGED BATCH UPDATE ks.t USING TTL 7 SET v = 1 WHERE k = 1; APPLY BATCH;",
    "UPDATE ks.t SET d = '2020-01-01' WHERE k = 1 AND c = 5 -- x = x + 1",
    "UPDATE ks.t SET timestamp = 1, ttl = 2 WHERE k = :using",
]
NOT_STAMPED = [
    "INSERT INTO ks.t (k) VALUES (1) USING TIMESTAMP 7", "INSERT INTO ks.t (k) VALUES (1) USING TTL 3 AND TIMESTAMP ?",
    "UPDATE ks.t USING TIMESTAMP :ts SET v = 1 WHERE k = 1", "DELETE FROM ks.t using/**/timestamp 1 WHERE k = 1",
    "BEGIN BATCH USING TIMESTAMP 4 INSERT INTO ks.t (k) VALUES (1); APPLY BATCH",
    "BEGIN BATCH INSERT INTO ks.t (k) VALUES (1); INSERT INTO ks.t (k) VALUES (2) USING TIMESTAMP 4; APPLY BATCH",
    "BEGIN COUNTER BATCH UPDATE ks.c SET c = c + 1 WHERE k = 1; APPLY BATCH", "UPDATE ks.c SET c = c + 1 WHERE k = 1",
    "UPDATE ks.c SET c = c -1 WHERE k = 1", "UPDATE ks.c SET c = C + ? WHERE k = 1", "UPDATE ks.c SET c += 3 WHERE k = 1",
    "UPDATE ks.c SET c -= ? WHERE k = 1", "UPDATE ks.t SET v = 1, \"C\" = \"C\" - -5 WHERE k = 1",
    "BEGIN UNLOGGED BATCH UPDATE ks.c SET c = c + 1 WHERE k = 1; APPLY BATCH", "TRUNCATE ks.t",
    "CREATE TABLE ks.x (k int PRIMARY KEY)", "DROP TABLE ks.x", "CALL something()", "CREATE ROLE x", "nonsense", "",
    "SELECT * FROM ks.t", "USE ks",
]


def stamps(cluster, *opcodes):
    return [r.params.timestamp for r in cluster.requests(*opcodes)]


def same_stamp(bench, opcode):
    """The one timestamp of the one request that both clusters have received."""
    (one,), (other,) = stamps(bench.origin, opcode), stamps(bench.target, opcode)
    assert one == other
    return one


def assert_now(stamp, since):
    assert since * 1e6 - 1 <= stamp <= time.time() * 1e6 + 1


@pytest.mark.parametrize("primary", PRIMARIES)
@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_every_kind_of_request(make_bench, version, compression, primary):
    bench = await make_bench(sections=ADD, primary=primary)
    c = await bench.client(version, compression, keyspace="ks")
    began = time.time()
    more = dict(consistency=CL.EACH_QUORUM, serial_consistency=CL.LOCAL_SERIAL)
    if version == 5:
        more.update(keyspace="ks", now_in_seconds=77)
    paged = dict(more, page_size=5, values=[b"1", None, UNSET if version > 3 else b""], names=["a", "b", "c"])
    assert (await c.query(INSERT, **paged)).kind == Kind.VOID
    prepared = await c.prepare("INSERT INTO ks.t (k, v, w) VALUES (:a, :b, :c)")
    assert (await c.execute(prepared, **paged)).kind == Kind.VOID
    assert (await c.batch([(prepared.prepared_id, [b"1", b"2", None]), (INSERT, [])], kind=1, **more)).kind == Kind.VOID
    last = 0
    for opcode, params in ((Op.QUERY, paged), (Op.EXECUTE, paged), (Op.BATCH, more)):
        for cluster in bench.clusters:
            got = cluster.requests(opcode)[-1]
            stamp = got.params.timestamp
            assert got.params == requests.Params(**params, timestamp=stamp)
        assert stamps(bench.origin, opcode)[-1] == stamps(bench.target, opcode)[-1] == stamp
        assert_now(stamp, began)
        assert stamp > last
        last = stamp
    for cluster in bench.clusters:
        assert [s for s, _ in cluster.requests(Op.BATCH)[0].children] == [cluster.prepared_id(
            "INSERT INTO ks.t (k, v, w) VALUES (:a, :b, :c)", "ks"), INSERT]


@pytest.mark.parametrize("version", [3, 4, 5])
async def test_texts(make_bench, version):
    bench = await make_bench(sections=ADD)
    c = await bench.client(version, keyspace="ks")
    for texts, expected in ((STAMPED, True), (NOT_STAMPED, False)):
        for text in texts:
            bench.origin.received.clear()
            bench.target.received.clear()
            await c.query(text, serial_consistency=CL.SERIAL)
            found = stamps(bench.origin, Op.QUERY)
            assert len(found) == 1 and (found[0] is not None) == expected, text
            if text != "SELECT * FROM ks.t":
                assert stamps(bench.target, Op.QUERY) == found


@pytest.mark.parametrize("version", [3, 4, 5])
async def test_the_clients_own_stays(make_bench, version):
    bench = await make_bench(sections=ADD)
    c = await bench.client(version)
    prepared = await c.prepare("UPDATE ks.t SET v = ? WHERE k = ?")
    await c.query(INSERT, timestamp=1)
    await c.execute(prepared, values=[b"1", b"2"], timestamp=-5)
    await c.batch([(INSERT, [])], timestamp=3)
    for cluster in bench.clusters:
        assert stamps(cluster, Op.QUERY, Op.EXECUTE, Op.BATCH) == [1, -5, 3]


@pytest.mark.parametrize("version", [3, 4, 5])
async def test_off_by_default(bench, version):
    c = await bench.client(version)
    prepared = await c.prepare("UPDATE ks.t SET v = ? WHERE k = ?")
    await c.query(INSERT)
    await c.execute(prepared, values=[b"1", b"2"])
    await c.batch([(INSERT, [])])
    for cluster in bench.clusters:
        assert stamps(cluster, Op.QUERY, Op.EXECUTE, Op.BATCH) == [None] * 3


BOUND = [  # text, type of its first bound value, is stamped
    ("UPDATE ks.c1 SET c = c + ? WHERE k = 1", Type.COUNTER, False),
    ("UPDATE ks.c2 SET c -= ? WHERE k = 1", Type.COUNTER, False),
    ("UPDATE ks.c3 SET c = c + 1 WHERE k = ?", Type.INT, False),
    ("UPDATE ks.c4 SET l = l + ? WHERE k = 1", (Type.LIST, Type.INT), True),
    ("UPDATE ks.c5 SET s += ? WHERE k = 1", (Type.SET, Type.INT), True),
    ("UPDATE ks.c6 SET v = ? WHERE k = 1", Type.BIGINT, True),
    ("UPDATE ks.c7 USING TIMESTAMP ? SET v = 1 WHERE k = 1", Type.BIGINT, False),
    ("BEGIN BATCH UPDATE ks.c8 SET v = ? WHERE k = 1; APPLY BATCH", Type.BIGINT, True),
    ("SELECT * FROM ks.c9 WHERE k = ?", Type.INT, False),
    ("DELETE FROM ks.c10 WHERE k = ?", Type.INT, True),
]


def describe(text, keyspace):
    kind = next((kind for known, kind, _ in BOUND if known == text), Type.INT)
    return [Column("p0", kind)], [0], RESULT_COLUMNS if text.startswith("SELECT") else []


@pytest.mark.parametrize("version,compression", [(3, None), (4, "lz4"), (5, None)])
@pytest.mark.parametrize("text,kind,stamped", BOUND, ids=[str(i) for i in range(len(BOUND))])
async def test_prepared_statements(make_bench, version, compression, text, kind, stamped):
    """The types that PREPARED names tell counters from collections. A batch gets one when all its children may."""
    bench = await make_bench(sections=ADD)
    normal = [cluster.describe for cluster in bench.clusters]
    for cluster in bench.clusters:
        cluster.describe = describe
    try:
        c = await bench.client(version, compression)
        prepared, good = await c.prepare(text), await c.prepare("INSERT INTO ks.t (k) VALUES (?)")
        await c.execute(prepared, values=[b"1"])
        await bench.settle(c)
        found = stamps(bench.origin, Op.EXECUTE)
        assert len(found) == 1 and (found[0] is not None) == stamped
        assert stamps(bench.target, Op.EXECUTE) == ([] if text.startswith("SELECT") else found)
        await c.batch([(good.prepared_id, [b"1"]), (prepared.prepared_id, [b"1"]), (INSERT, [])])
        assert (same_stamp(bench, Op.BATCH) is not None) == stamped
    finally:
        for cluster, was in zip(bench.clusters, normal):
            cluster.describe = was


@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("kind,children,stamped", [
    (0, [INSERT, STAMPED[4]], True), (1, [INSERT], True), (2, [INSERT], False),
    (0, [INSERT, NOT_STAMPED[0]], False), (1, ["UPDATE ks.c SET c = c + 1 WHERE k = 1"], False),
    (0, [INSERT, "nonsense"], False), (0, [], False), (2, ["UPDATE ks.c SET c = c + ? WHERE k = 1"], False),
])
async def test_batches(make_bench, version, kind, children, stamped):
    bench = await make_bench(sections=ADD)
    c = await bench.client(version)
    await c.batch([(text, []) for text in children], kind=kind, serial_consistency=CL.SERIAL)
    assert (same_stamp(bench, Op.BATCH) is not None) == stamped


@pytest.mark.parametrize("forgetting", [("origin",), ("target",), ("origin", "target")])
@pytest.mark.parametrize("version,compression", [(3, "lz4"), (4, None), (5, "lz4")])
async def test_a_repaired_statement_keeps_its_timestamp(make_bench, forgetting, version, compression):
    bench = await make_bench(sections=ADD)
    c = await bench.client(version, compression)
    prepared = await c.prepare("INSERT INTO ks.t (k, v) VALUES (?, ?)")
    for name in forgetting:
        getattr(bench, name).forget_prepared()
    assert (await c.execute(prepared, values=[b"1", b"2"])).kind == Kind.VOID
    first = set(stamps(bench.origin, Op.EXECUTE) + stamps(bench.target, Op.EXECUTE))
    assert len(first) == 1 and None not in first
    for name in forgetting:
        getattr(bench, name).forget_prepared()
    assert (await c.batch([(prepared.prepared_id, [b"1", b"2"])])).kind == Kind.VOID
    second = set(stamps(bench.origin, Op.BATCH) + stamps(bench.target, Op.BATCH))
    assert len(second) == 1 and None not in second and second > set() and second.pop() > first.pop()


async def test_requests_on_the_wire_together(make_bench):
    """Those that came in one read have timestamps in their order, on a connection and across connections."""
    bench = await make_bench(sections=ADD)
    clients = [await bench.client() for _ in range(6)]
    hold = Hold()
    bench.origin.on("INSERT INTO ks.many", hold)
    streams = []
    for n in range(50):
        streams += [(c, c.send_query(f"INSERT INTO ks.many (k) VALUES ({n})")) for c in clients]
    await hold.arrived(300)
    hold.release()
    for c, stream in streams:
        assert (await c.answer(stream)).kind == Kind.VOID
    for cluster in bench.clusters:
        got = [r for r in cluster.requests(Op.QUERY) if "ks.many" in r.statement]
        assert len({r.params.timestamp for r in got}) == 300
        for conn in {r.conn for r in got}:
            own = [r.params.timestamp for r in got if r.conn is conn]
            assert len(own) == 50 and own == sorted(own)


async def test_what_follows_an_answer_is_newer(make_bench):
    """On whatever connection, and so on whatever worker."""
    bench = await make_bench(sections=ADD)
    clients = [await bench.client() for _ in range(4)]
    for n in range(200):
        await clients[n % 4].query(f"INSERT INTO ks.t (k, v) VALUES (1, {n})")
    for cluster in bench.clusters:
        found = stamps(cluster, Op.QUERY)
        assert len(found) == 200 and all(a < b for a, b in zip(found, found[1:]))


@pytest.mark.parametrize("size", [100, 200, 20000, 300000])
@pytest.mark.parametrize("version,compression", [(3, None), (4, "snappy"), (5, "lz4")])
async def test_bodies_of_all_sizes(make_bench, version, compression, size):
    bench = await make_bench(sections=ADD)
    c = await bench.client(version, compression)
    text = f"INSERT INTO ks.t (k, v) VALUES (1, '{'x' * size}')"
    assert (await c.query(text)).kind == Kind.VOID
    assert same_stamp(bench, Op.QUERY) is not None
    assert {r.statement for cluster in bench.clusters for r in cluster.requests(Op.QUERY)} == {text}
    prepared = await c.prepare("INSERT INTO ks.t (k, v) VALUES (?, ?)")
    assert (await c.execute(prepared, values=[b"1", b"y" * size])).kind == Kind.VOID
    assert same_stamp(bench, Op.EXECUTE) is not None
    assert bench.target.requests(Op.EXECUTE)[0].params.values == [b"1", b"y" * size]


async def test_a_damaged_body_is_refused_as_ever(make_bench):
    bench = await make_bench(sections=ADD)
    c = await bench.client(4)
    body = requests.query(4, INSERT)
    assert_error(await c.ask(Op.QUERY, body[:-1]), 0x000A, "query flags")
    assert (await c.query(INSERT)).kind == Kind.VOID
