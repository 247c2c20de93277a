"""Everything that settings change in a request, at once, in every version of the protocol."""
import re

import pytest

from behaviour import error
from cqlwire import CL, DSE1, DSE2, Err, Kind, Op
from cqlwire.const import has_keyspace
from helpers import assert_error
from test_sessions import IDS, KINDS, WAYS

KEY = "request-id"
ALL = {"origin": {"write_consistency": "LOCAL_QUORUM", "read_consistency": "TWO"},
       "target": {"write_consistency": "ONE:ALL", "read_consistency": "THREE"},
       "routing": {"timestamps": "add", "replace_cql_functions": "true"}, "proxy": {"tracing_enabled": "true"}}
INSERT, READ = "INSERT INTO ks.t (k, v) VALUES (?, now())", "SELECT * FROM ks.t WHERE k = ?"


async def all_on(make_bench, version, **more):
    kinds = {"versions": KINDS[version]}
    return await make_bench(origin=kinds, target=kinds, sections=ALL, **more)


def assert_amended(bench, opcode, version, is_read=False):
    """The one request of this opcode, as both clusters or the primary have received it."""
    found = [r for cluster in bench.clusters for r in cluster.requests(opcode)]
    levels = {"origin": CL.TWO, "target": CL.THREE} if is_read else {"origin": CL.LOCAL_QUORUM, "target": CL.ALL}
    assert [r.node.cluster.name for r in found] == (["origin"] if is_read else ["origin", "target"])
    for r in found:
        assert r.params.consistency == levels[r.node.cluster.name]
        assert (r.params.timestamp is not None) == (version > 2 and not is_read)
        assert (r.payload is not None) == (version > 3)
        if version > 3:
            assert set(r.payload) == {KEY, "a"} and len(r.payload[KEY]) == 16
        if version > 2:
            assert r.params.serial_consistency == CL.LOCAL_SERIAL
    assert len({(r.params.timestamp, (r.payload or {}).get(KEY)) for r in found}) == 1
    return found


@pytest.mark.checklist(186)
@pytest.mark.parametrize("version,compression", WAYS, ids=IDS)
async def test_every_version(make_bench, version, compression):
    bench = await all_on(make_bench, version)
    c = await bench.client(version, compression)
    payload = {"a": b"1"} if version > 3 else None
    more = dict(consistency=CL.ONE)
    if version > 2:
        more["serial_consistency"] = CL.LOCAL_SERIAL
    if has_keyspace(version):
        more["keyspace"] = "ks"
    write, read = await c.prepare(INSERT, payload=payload), await c.prepare(READ, payload=payload)
    assert [column.name for column in write.bind] == ["p0"]
    await c.answer(c.send_query("INSERT INTO ks.t (k, v) VALUES (1, now())", payload=payload, **more))
    texts = {r.statement for r in assert_amended(bench, Op.QUERY, version)}
    assert len(texts) == 1 and re.fullmatch(r"INSERT INTO ks.t \(k, v\) VALUES \(1, [-0-9a-f]{36}\)", texts.pop())
    await c.answer(c.send_execute(write, values=[b"k"], payload=payload, **more))
    values = [r.params.values for r in assert_amended(bench, Op.EXECUTE, version)]
    assert values[0] == values[1] and values[0][0] == b"k" and len(values[0][1]) == 16
    if version > 2:
        more_of_batch = more
    else:
        more_of_batch = dict(consistency=CL.ONE)
    children = [(write.prepared_id, [b"k"]), ("DELETE FROM ks.t WHERE k = uuid()", [])]
    answer = await c.answer(c.send_batch(children, payload=payload, **more_of_batch))
    assert answer.kind == Kind.VOID
    batches = assert_amended(bench, Op.BATCH, version)
    assert batches[0].children[0][1] == batches[1].children[0][1] and len(batches[0].children[0][1]) == 2
    assert batches[0].children[1] == batches[1].children[1] != children[1]
    for cluster in bench.clusters:
        cluster.received.clear()
    await c.answer(c.send_execute(read, values=[b"k"], payload=payload, page_size=7, **more))
    assert [r.params.page_size for r in assert_amended(bench, Op.EXECUTE, version, is_read=True)] == [7]


@pytest.mark.parametrize("version", [3, 4, 5, DSE1, DSE2])
async def test_repairs(make_bench, version):
    """A lost statement: the same value, timestamp and id once more, and each cluster's own level."""
    bench = await all_on(make_bench, version)
    c = await bench.client(version)
    write = await c.prepare(INSERT)
    bench.target.forget_prepared()
    assert (await c.execute(write, values=[b"k"], consistency=CL.ONE)).kind == Kind.VOID
    origin, target = bench.origin.requests(Op.EXECUTE), bench.target.requests(Op.EXECUTE)
    assert len(origin) == 1 and len(target) == 2
    for r in target:
        assert r.params.values == origin[0].params.values and r.payload == origin[0].payload
        assert r.params.timestamp == origin[0].params.timestamp and r.params.consistency == CL.ALL


@pytest.mark.parametrize("version", [4, 5, DSE2])
@pytest.mark.parametrize("refusing", ["origin", "target"])
async def test_a_rewritten_statement_that_is_refused(make_bench, version, refusing):
    """The original is prepared instead, with the same request id, and is amended as it would have been."""
    bench = await all_on(make_bench, version)
    rewritten = "INSERT INTO ks.t (k, v) VALUES (?, ?)"
    getattr(bench, refusing).on(lambda got: got.opcode == Op.PREPARE and got.statement == rewritten,
                                error(Err.INVALID, "made by the test"))
    c = await bench.client(version)
    write = await c.prepare(INSERT, payload={"a": b"1"})
    assert write.kind == Kind.PREPARED
    prepares = [r for cluster in bench.clusters for r in cluster.requests(Op.PREPARE)]
    assert {r.statement for r in prepares} == {rewritten, INSERT}
    assert len({r.payload[KEY] for r in prepares}) == 1 and all(r.payload["a"] == b"1" for r in prepares)
    await c.execute(write, values=[b"k"], consistency=CL.ONE)
    origin, target = (cluster.requests(Op.EXECUTE)[0] for cluster in bench.clusters)
    assert origin.params.timestamp == target.params.timestamp is not None
    assert (origin.params.consistency, target.params.consistency) == (CL.LOCAL_QUORUM, CL.ALL)


@pytest.mark.parametrize("size", [70000, 1500000])
async def test_large_bodies(make_bench, size):
    """Also those that have a connection of their own."""
    bench = await all_on(make_bench, 5)
    c = await bench.client(5, "lz4")
    write = await c.prepare(INSERT)
    value = bytes(range(256)) * (size // 256)
    assert (await c.execute(write, values=[value], consistency=CL.ONE)).kind == Kind.VOID
    assert (await c.batch([(write.prepared_id, [value])], consistency=CL.ONE)).kind == Kind.VOID
    for opcode in (Op.EXECUTE, Op.BATCH):
        got = [cluster.requests(opcode)[0] for cluster in bench.clusters]
        assert [r.params.consistency for r in got] == [CL.LOCAL_QUORUM, CL.ALL]
        assert got[0].params.timestamp == got[1].params.timestamp is not None
        assert got[0].payload == got[1].payload and set(got[0].payload) == {KEY}
        assert all((r.params.values or r.children[0][1])[0] == value for r in got)


async def test_bodies_that_cannot_be_read(make_bench):
    """Refused as without the settings; nothing is sent, and the connection goes on."""
    bench = await all_on(make_bench, 4)
    c = await bench.client(4)
    prepared = await c.prepare(INSERT)
    for opcode, body in ((Op.QUERY, b"\0\0\0\7INSERT "), (Op.EXECUTE, b"\0\x10" + prepared.prepared_id + b"\0\1\1\0"),
                         (Op.BATCH, b"\0\0\1\0\0\0\0\1x\0\0\0\1"), (Op.PREPARE, b"\0\0\0\5x")):
        assert_error(await c.ask(opcode, body), 0x000A, "cannot be read")
    assert (await c.query(INSERT, values=[b"1"])).kind == Kind.VOID
    assert not bench.origin.requests(Op.EXECUTE, Op.BATCH)
