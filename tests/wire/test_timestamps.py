"""timestamps = add: writes that carry no timestamp get one, the same on both clusters."""
import asyncio
import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from behaviour import Hold
from cqlwire import CL, Column, Kind, Op, Type, UNSET, requests
from fakecluster import RESULT_COLUMNS
from helpers import PRIMARIES, WAY_IDS, WAYS, assert_error
from proxy import Proxy, binary

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
        statement, text = (s for s, _ in cluster.requests(Op.BATCH)[0].children)
        # over a pooled connection it may have been prepared without the keyspace, which the text names
        keyspaces = ["ks", None] if bench.is_pooled else ["ks"]
        assert text == INSERT and statement in [
            cluster.prepared_id("INSERT INTO ks.t (k, v, w) VALUES (:a, :b, :c)", keyspace) for keyspace in keyspaces]


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
            assert own == sorted(own) and (bench.is_pooled or len(own) == 50)


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


# ---- a million writes that depend on each other (bench/cqlorder.c) ----

@pytest.fixture(scope="session")
def order_tools(tmp_path_factory):
    """cqlorder, made in the folder of the proxy, and a clock that steps back all the time, to be preloaded."""
    build = Path(binary()).resolve().parent
    clock = tmp_path_factory.mktemp("clock") / "wild_clock.so"
    source = Path(__file__).parent / "wild_clock.c"
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL")}
    subprocess.run(["make", "-s", "bench/cqlorder"], cwd=build, env=environment, check=True, timeout=300)
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", clock, source], check=True, timeout=60)
    return build / "bench" / "cqlorder", clock


@pytest.fixture
def order_proxy(loop, tmp_path, free_addresses):
    """A proxy with two workers whose clusters are cqlorder's."""
    proxy = Proxy(tmp_path, "order")
    clusters = [free_addresses.one(), free_addresses.one()]
    proxy.listen, proxy.http = free_addresses.one(), free_addresses.one()

    async def start(**variables):
        sections = {"proxy": {"workers": 2}, "listener": dict(zip(("address", "port"), proxy.listen)),
                    "http": dict(zip(("address", "port"), proxy.http)), "log": {"level": "debug"}, **ADD}
        for name, where in zip(("origin", "target"), clusters):
            sections[name] = dict(zip(("contact_points", "port"), where))
        await proxy.start(sections=sections, variables=variables, wait=False)
        return [f"--{name}={address}:{port}" for name, (address, port) in
                zip(("proxy", "origin", "target"), [proxy.listen, *clusters])]
    yield proxy, start
    loop.run_until_complete(proxy.kill())
    proxy.check_log()


def is_sanitized():
    program = Path(binary()).read_bytes()
    return b"__asan_init" in program or b"__tsan_init" in program


async def run_order(tool, arguments, writes, seconds):
    process = await asyncio.create_subprocess_exec(
        tool, *arguments, f"--writes={writes}", f"--seconds={seconds}", stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"})  # its clusters live as long as the process
    try:
        out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, err.decode()
    found = dict(line.split("=") for line in out.decode().splitlines())
    assert found["lost"] == "0"
    if not is_sanitized():  # with sanitizers the time may be over before
        assert int(found["writes"]) == writes
    assert int(found["writes"]) > writes / 100


def assert_both_workers(proxy):
    found = re.findall(r"accepted by worker (\d)", proxy.log)
    assert sorted(found) == ["0"] * 4 + ["1"] * 4, found


async def test_a_million_dependent_writes(order_tools, order_proxy):
    """Each is sent after the answer to the one before, by way of the other worker; none is older on any cluster."""
    proxy, start = order_proxy
    arguments = await start()
    await run_order(order_tools[0], arguments, 1000000, 40)
    assert_both_workers(proxy)
    assert "it was set back" not in proxy.log


async def test_a_clock_that_steps_back(order_tools, order_proxy):
    """The order does not rest on the clock."""
    proxy, start = order_proxy
    arguments = await start(LD_PRELOAD=str(order_tools[1]),
                            ASAN_OPTIONS="verify_asan_link_order=0:quarantine_size_mb=8")
    await run_order(order_tools[0], arguments, 200000, 30)
    assert_both_workers(proxy)
    assert 1 <= len(re.findall(r"behind the last write timestamp: it was set back", proxy.log)) <= 100
