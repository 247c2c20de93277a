"""read_consistency and write_consistency: each cluster is asked at a level of its own."""
import pytest

from behaviour import error
from cqlwire import CL, Err, Kind, Op, requests
from helpers import PRIMARIES, WAY_IDS, WAYS, assert_error
from test_start import GOOD, lone_proxy  # noqa: F401

LEVELS = {"origin": {"write_consistency": "LOCAL_QUORUM", "read_consistency": "ONE:TWO, quorum : all"},
          "target": {"write_consistency": "ONE:ALL, ANY:THREE, ALL:EACH_QUORUM", "read_consistency": "local_one"}}
PLAIN = [level for level in CL if level not in (CL.SERIAL, CL.LOCAL_SERIAL)]
WRITE, READ = "INSERT INTO ks.t (k, v) VALUES (?, ?)", "SELECT * FROM ks.t WHERE k = ?"


def expected(cluster, level, is_read):
    """What LEVELS says, in other words."""
    if level in (CL.SERIAL, CL.LOCAL_SERIAL):
        return level
    if cluster == "origin":
        return {CL.ONE: CL.TWO, CL.QUORUM: CL.ALL}.get(level, level) if is_read else CL.LOCAL_QUORUM
    if is_read:
        return CL.LOCAL_ONE
    return {CL.ONE: CL.ALL, CL.ANY: CL.THREE, CL.ALL: CL.EACH_QUORUM}.get(level, level)


@pytest.mark.parametrize("primary", PRIMARIES)
@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_every_level_and_kind_of_request(make_bench, version, compression, primary):
    bench = await make_bench(sections=LEVELS, primary=primary)
    c = await bench.client(version, compression)
    write, read = await c.prepare(WRITE), await c.prepare(READ)
    more = dict(serial_consistency=CL.LOCAL_SERIAL, timestamp=5)
    if version == 5:
        more.update(keyspace="ks", now_in_seconds=3)
    for level in CL:
        for cluster in bench.clusters:
            cluster.received.clear()
        await c.query(WRITE, consistency=level, values=[b"k", b"v"], page_size=3, **more)
        await c.query(READ, consistency=level, values=[b"k"], page_size=3, **more)
        await c.execute(write, consistency=level, values=[b"k", b"v"], **more)
        await c.execute(read, consistency=level, values=[b"k"], skip_metadata=True, **more)
        await c.batch([(WRITE, [b"k", b"v"])], consistency=level, **more)
        await c.batch([(write.prepared_id, [b"k", b"v"]), (WRITE, [b"x", b"y"])], consistency=level, **more)
        await bench.settle(c)
        for cluster in bench.clusters:
            got = cluster.requests(Op.QUERY, Op.EXECUTE, Op.BATCH)
            is_read = [(r.statement or "").startswith("SELECT") for r in got]
            assert is_read == ([False, True, False, True, False, False] if cluster is bench.primary else [False] * 4)
            for r, reads in zip(got, is_read):
                assert r.params.consistency == expected(cluster.name, level, reads), (r, level)
                assert r.params.serial_consistency == CL.LOCAL_SERIAL and r.params.timestamp == 5
            assert got[-1].children == [(cluster.prepared_id(WRITE, None), [b"k", b"v"]), (WRITE, [b"x", b"y"])]


@pytest.mark.parametrize("text,changed", [
    ("UPDATE ks.t SET v = 1 WHERE k = 1 IF v = 2", True), ("BEGIN BATCH DELETE FROM ks.t WHERE k = 1; APPLY BATCH", True),
    ("UPDATE ks.c SET c = c + 1 WHERE k = 1", True), ("TRUNCATE ks.t", False), ("CREATE TABLE ks.x (k int)", False),
    ("USE ks", False), ("GRANT ALL ON ks.t TO x", False), ("CALL something()", False), ("what is this", False),
    ("SELECT * FROM system_traces.sessions", False), ("SELECT * FROM system.size_estimates", False),
    ("LIST ROLES", False), ("DESCRIBE TABLES", False), ("SELECT * FROM ks.t", True),
])
@pytest.mark.parametrize("prepared", [False, True])
async def test_which_statements(make_bench, text, changed, prepared):
    bench = await make_bench(sections=LEVELS)
    c = await bench.client()
    if prepared:
        statement = await c.prepare(text)
        assert statement.kind == Kind.PREPARED
        await c.execute(statement, consistency=CL.ONE)
    else:
        await c.query(text, consistency=CL.ONE)
    levels = [r.params.consistency for r in bench.origin.requests(Op.QUERY, Op.EXECUTE)]
    wanted = CL.ONE if not changed else CL.TWO if text.startswith("SELECT") else CL.LOCAL_QUORUM
    assert levels == [wanted]


async def test_the_keyspace_of_a_read_may_be_the_connections(make_bench):
    bench = await make_bench(sections=LEVELS)
    c = await bench.client(keyspace="system_traces")
    await c.query("SELECT * FROM sessions", consistency=CL.ONE)
    await c.query("SELECT * FROM ks.sessions", consistency=CL.ONE)
    assert [r.params.consistency for r in bench.origin.requests(Op.QUERY)][1:] == [CL.ONE, CL.TWO]


@pytest.mark.parametrize("version", [3, 4, 5])
async def test_off_by_default(bench, version):
    c = await bench.client(version)
    for level in CL:
        await c.query(WRITE, consistency=level, values=[b"1", b"2"])
    for cluster in bench.clusters:
        assert [r.params.consistency for r in cluster.requests(Op.QUERY)] == list(CL)


@pytest.mark.parametrize("version,compression", [(3, None), (4, "lz4"), (5, "lz4")])
@pytest.mark.parametrize("forgetting", ["origin", "target"])
async def test_repairs(make_bench, forgetting, version, compression):
    bench = await make_bench(sections=LEVELS)
    c = await bench.client(version, compression)
    write = await c.prepare(WRITE)
    for opcode in (Op.EXECUTE, Op.BATCH):
        getattr(bench, forgetting).forget_prepared()
        if opcode == Op.EXECUTE:
            answer = await c.execute(write, values=[b"1", b"2"], consistency=CL.ONE)
        else:
            answer = await c.batch([(write.prepared_id, [b"1", b"2"])], consistency=CL.ONE)
        assert answer.kind == Kind.VOID
        for cluster, level in zip(bench.clusters, (CL.LOCAL_QUORUM, CL.ALL)):
            got = [r.params.consistency for r in cluster.requests(opcode)]
            assert got == [level] * (2 if cluster.name == forgetting else 1)


@pytest.mark.parametrize("version", [3, 5])
async def test_pages(make_bench, version):
    bench = await make_bench(sections=LEVELS)
    c = await bench.client(version)
    answer = await c.query("SELECT * FROM ks.paged", consistency=CL.ONE, page_size=1)
    while answer.paging_state is not None:
        answer = await c.query("SELECT * FROM ks.paged", consistency=CL.ONE, page_size=1,
                               paging_state=answer.paging_state)
        assert answer.kind == Kind.ROWS
    assert [r.params.consistency for r in bench.origin.requests(Op.QUERY)] == [CL.TWO] * 3


@pytest.mark.parametrize("size", [200, 20000, 300000])
@pytest.mark.parametrize("version,compression", [(3, None), (4, "snappy"), (5, "lz4")])
async def test_bodies_of_all_sizes(make_bench, version, compression, size):
    """The body is shared by the clusters when it is large; each still has its own level."""
    bench = await make_bench(sections=LEVELS)
    c = await bench.client(version, compression)
    for n in range(3):
        await c.query(WRITE, values=[b"k", b"v" * size], consistency=CL.ONE)
        await c.batch([(WRITE, [b"k", b"v" * size])], consistency=CL.ONE)
    for cluster, level in zip(bench.clusters, (CL.LOCAL_QUORUM, CL.ALL)):
        got = cluster.requests(Op.QUERY, Op.BATCH)
        assert [r.params.consistency for r in got] == [level] * 6
        assert all((r.params.values or r.children[0][1]) == [b"k", b"v" * size] for r in got)


async def test_unknown_levels_and_errors_pass(make_bench):
    bench = await make_bench(sections=LEVELS)
    c = await bench.client()
    await c.query(WRITE, values=[b"1", b"2"], consistency=0x1234)
    assert [r.params.consistency for r in bench.origin.requests(Op.QUERY)] == [0x1234]
    for cluster in bench.clusters:
        cluster.on("INSERT", error(Err.UNAVAILABLE, "too few", consistency=CL.ALL, required=3, alive=1))
    answer = await c.query(WRITE, values=[b"1", b"2"], consistency=CL.ONE)
    assert_error(answer, Err.UNAVAILABLE, "too few")
    assert answer.fields["consistency"] == CL.ALL


async def test_with_timestamps_and_payload(make_bench):
    """All that can be changed in a request, at once."""
    sections = {**LEVELS, "routing": {"timestamps": "add"}, "proxy": {"tracing_enabled": "true"}}
    bench = await make_bench(sections=sections)
    c = await bench.client(5, "lz4")
    write = await c.prepare(WRITE)
    payload = {"a": b"1"}
    await c.answer(c.send_execute(write, values=[b"1", b"2"], consistency=CL.ONE, serial_consistency=CL.SERIAL,
                                  keyspace="ks", payload=payload))
    await c.answer(c.send_batch([(write.prepared_id, [b"1", b"2"])], consistency=CL.ONE, payload=payload))
    for opcode in (Op.EXECUTE, Op.BATCH):
        got = [cluster.requests(opcode)[0] for cluster in bench.clusters]
        assert [r.params.consistency for r in got] == [CL.LOCAL_QUORUM, CL.ALL]
        assert got[0].params.timestamp == got[1].params.timestamp and got[0].params.timestamp is not None
        assert got[0].payload == got[1].payload and set(got[0].payload) == {"a", "request-id"}
    assert bench.origin.requests(Op.EXECUTE)[0].params == requests.Params(
        consistency=CL.LOCAL_QUORUM, values=[b"1", b"2"], serial_consistency=CL.SERIAL, keyspace="ks",
        timestamp=bench.target.requests(Op.EXECUTE)[0].params.timestamp)


TO = "ONE, TWO, THREE, QUORUM, ALL, LOCAL_QUORUM, EACH_QUORUM, LOCAL_ONE; or a list of FROM:TO of these"


@pytest.mark.parametrize("value,said", [
    ("ANY", "a write is not made at ANY"), ("ONE:ANY", "a write is not made at ANY"), ("SERIAL", "SERIAL stays as it is"),
    ("SERIAL:ONE", "SERIAL stays as it is"), ("ONE:LOCAL_SERIAL", "LOCAL_SERIAL stays as it is"),
    ("MANY", 'unknown consistency level "MANY"'), ("ONE:", 'unknown consistency level ""'),
    (":ONE", 'unknown consistency level ""'), ("ONE:TWO:THREE", 'unknown consistency level "TWO:THREE"'),
    ("ONE:TWO, ONE:ALL", "ONE is given twice"), ("ONE, TWO", '"ONE" is no FROM:TO'),
    ("ONE:TWO, ALL", '"ALL" is no FROM:TO'), ("ONE:TWO,", '"" is no FROM:TO'), ("1", 'unknown consistency level "1"'),
])
@pytest.mark.parametrize("cluster", ["origin", "target"])
async def test_mistakes(lone_proxy, cluster, value, said):  # noqa: F811
    proxy = lone_proxy()
    sections = {name: dict(values) for name, values in GOOD.items()}
    sections[cluster]["write_consistency"] = value
    await proxy.start(sections=sections, wait=False)
    assert await proxy.wait() == 1
    assert f"[{cluster}] write_consistency: {said}" in proxy.log, proxy.log
    assert f"allowed: {TO}, FROM also ANY" in proxy.log


async def test_a_read_is_not_made_at_any(lone_proxy):  # noqa: F811
    proxy = lone_proxy()
    await proxy.start(sections={**GOOD, "origin": {**GOOD["origin"], "read_consistency": "ANY:ONE"}}, wait=False)
    assert await proxy.wait() == 1
    assert f"[origin] read_consistency: a read is not made at ANY; allowed: {TO}\n" in proxy.log


async def test_timestamps_has_two_values(lone_proxy):  # noqa: F811
    proxy = lone_proxy()
    await proxy.start(sections={**GOOD, "routing": {"timestamps": "server"}}, wait=False)
    assert await proxy.wait() == 1
    assert '[routing] timestamps: unknown word "server"; allowed: client, add' in proxy.log
