"""
What is sent once more when a node of pooled connections is lost, and what is not: the node takes the request, says
nothing and closes. What is repeated goes to the other node, byte for byte.
"""
import pytest

import behaviour
from cqlwire import UNSET, Column, Err, Kind, Op, Type
from helpers import PRIMARIES, assert_error

pytestmark = pytest.mark.native

POOLED = {"proxy": {"backend_connections": "pooled", "pool_idle_timeout": "10ms", "workers": 1}}
LIST = (1).to_bytes(4, "big") + (1).to_bytes(4, "big") + b"x"


async def two_nodes(make_bench, where="target", **sections):
    """Of the test's own: a node that has ended the connections of the tests before, and answered nothing, would be down."""
    return await make_bench(fresh=True, **{where: {"nodes": 2}}, sections={**POOLED, **sections})


def lose(cluster, match):
    """The first node that gets it closes its connections for requests."""
    return cluster.on(match, behaviour.close(), times=1)


def attempts(cluster, *opcodes):
    return [r for r in cluster.requests(*opcodes) if "barrier" not in (r.statement or "")]


def assert_repeated(cluster, *opcodes):
    """Two attempts with the same body, on both nodes."""
    first, second = attempts(cluster, *opcodes)
    assert first.node is not second.node
    assert first.params == second.params and first.statement == second.statement
    return first


def assert_not_repeated(answer, cluster, *opcodes):
    assert_error(answer, Err.WRITE_TIMEOUT)
    assert "it was not sent again" in answer.text
    assert len(attempts(cluster, *opcodes)) == 1


@pytest.mark.parametrize("where", PRIMARIES)
@pytest.mark.parametrize("text,params", [
    ("UPDATE ks.t SET v = 1 WHERE k = 2", {"timestamp": 5}),
    ("INSERT INTO ks.t (k, v) VALUES (?, {'a': 1})", {"timestamp": 5, "values": [b"key"]}),
    ("DELETE FROM ks.t USING TIMESTAMP 7 WHERE k = 2", {}),
    ("INSERT INTO ks.t JSON ? USING TIMESTAMP 7", {"values": [b'{"k": 1}']}),
    ("BEGIN BATCH USING TIMESTAMP 3 INSERT INTO ks.t (k) VALUES (1); DELETE FROM ks.t WHERE k = 2; APPLY BATCH", {}),
], ids=["update", "insert", "delete", "json", "batch"])
async def test_writes_that_are_repeated(make_bench, where, text, params):
    bench = await two_nodes(make_bench, where)
    cluster = getattr(bench, where)
    c = await bench.client()
    lose(cluster, text)
    assert (await c.query(text, **params)).kind == Kind.VOID
    assert_repeated(cluster, Op.QUERY)
    other = bench.target if cluster is bench.origin else bench.origin
    assert len(attempts(other, Op.QUERY)) == 1, "the cluster that has answered is not asked again"


@pytest.mark.parametrize("text,params", [
    ("UPDATE ks.t SET v = 1 WHERE k = 2", {}),
    ("UPDATE ks.t SET c = c + 1 WHERE k = 2", {"timestamp": 5}),
    ("UPDATE ks.t SET l = [1] WHERE k = 2", {"timestamp": 5}),
    ("INSERT INTO ks.t (k, l) VALUES (1, ?)", {"timestamp": 5, "values": [LIST]}),
    ("INSERT INTO ks.t (k, d) VALUES (1, 'now')", {"timestamp": 5}),
    ("INSERT INTO ks.t (k, d) VALUES (1, now())", {"timestamp": 5}),
    ("INSERT INTO ks.t (k) VALUES (1) IF NOT EXISTS", {"timestamp": 5}),
    ("UPDATE ks.t USING TIMESTAMP ? SET v = 1 WHERE k = 2", {"values": [UNSET]}),
    ("CREATE TABLE ks.t2 (k int PRIMARY KEY)", {}),
    ("TRUNCATE ks.t", {}),
    ("FROBNICATE ks.t", {}),
], ids=["no timestamp", "counter", "list", "bound list", "clock", "call", "condition", "unset", "schema", "truncate",
        "unknown"])
async def test_writes_that_are_not(make_bench, text, params):
    bench = await two_nodes(make_bench)
    c = await bench.client()
    lose(bench.target, text)
    assert_not_repeated(await c.query(text, **params), bench.target, Op.QUERY)


@pytest.mark.parametrize("type_,values,repeated", [(Type.BLOB, [b"key", LIST], True), ((Type.LIST, Type.BLOB), [b"key", LIST],
                                                                                    False),
                                                   ((Type.LIST, Type.BLOB), [b"key", b"\0\0\0\0"], True)],
                         ids=["a blob", "a list", "an empty list"])
async def test_executes(make_bench, type_, values, repeated):
    """The types of a prepared statement say whether a value is a list; an empty one does no harm."""
    bench = await two_nodes(make_bench)
    text = "INSERT INTO ks.t (k, v) VALUES (?, ?)"
    for cluster in bench.clusters:
        cluster.describe = lambda text, keyspace: ([Column("k", Type.BLOB), Column("v", type_)], [0], [])
    try:
        c = await bench.client()
        prepared = await c.prepare(text)
        lose(bench.target, lambda r: r.opcode == Op.EXECUTE)
        answer = await c.execute(prepared, values=values, timestamp=9)
        if repeated:
            assert answer.kind == Kind.VOID
            assert_repeated(bench.target, Op.EXECUTE)
        else:
            assert_not_repeated(answer, bench.target, Op.EXECUTE)
    finally:
        for cluster in bench.clusters:
            cluster.describe = cluster.describe_default


@pytest.mark.parametrize("children,params,repeated", [
    (["INSERT INTO ks.t (k) VALUES (1)", "DELETE FROM ks.t WHERE k = 2"], {"timestamp": 5}, True),
    (["INSERT INTO ks.t (k) VALUES (1)", "DELETE FROM ks.t WHERE k = 2"], {}, False),
    (["INSERT INTO ks.t (k) VALUES (1)", "UPDATE ks.t SET c = c + 1 WHERE k = 2"], {"timestamp": 5}, False),
    (["INSERT INTO ks.t (k) VALUES (1) USING TIMESTAMP 1", "DELETE FROM ks.t USING TIMESTAMP 2 WHERE k = 2"], {}, True),
    (["INSERT INTO ks.t (k) VALUES (1) USING TIMESTAMP 1", "DELETE FROM ks.t WHERE k = 2"], {}, False),
], ids=["plain", "no timestamp", "counter", "own timestamps", "one without"])
async def test_batches(make_bench, children, params, repeated):
    bench = await two_nodes(make_bench)
    c = await bench.client()
    lose(bench.target, lambda r: r.opcode == Op.BATCH)
    answer = await c.batch([(text, []) for text in children], **params)
    if not repeated:
        assert_not_repeated(answer, bench.target, Op.BATCH)
        return
    assert answer.kind == Kind.VOID
    first, second = attempts(bench.target, Op.BATCH)
    assert first.node is not second.node and first.body == second.body


async def test_added_timestamps_and_replaced_calls_are_the_same(make_bench):
    """What the proxy has put into the request is in its repetition, too, and in what the other cluster got."""
    bench = await two_nodes(make_bench, routing={"timestamps": "add", "replace_cql_functions": "true"})
    c = await bench.client()
    lose(bench.target, "INSERT INTO ks.t")
    assert (await c.query("INSERT INTO ks.t (k, d) VALUES (uuid(), toTimestamp(now()))")).kind == Kind.VOID
    first = assert_repeated(bench.target, Op.QUERY)
    assert first.params.timestamp and "now()" not in first.text and "uuid()" not in first.text
    only, = attempts(bench.origin, Op.QUERY)
    assert (only.text, only.params.timestamp) == (first.text, first.params.timestamp)


@pytest.mark.parametrize("text", ["SELECT * FROM ks.t", "SELECT now() FROM ks.t WHERE k = 1"])
async def test_reads(make_bench, text):
    bench = await two_nodes(make_bench, "origin")
    c = await bench.client()
    lose(bench.origin, text)
    assert (await c.query(text)).rows
    assert_repeated(bench.origin, Op.QUERY)


async def test_only_once(make_bench):
    """The second node closes as well: the error says what has happened."""
    bench = await two_nodes(make_bench)
    c = await bench.client()
    text = "UPDATE ks.t SET v = 1 WHERE k = 2"
    bench.target.on(text, behaviour.close())
    answer = await c.query(text, timestamp=5)
    assert_error(answer, Err.WRITE_TIMEOUT)
    assert len(attempts(bench.target, Op.QUERY)) == 2


async def test_a_client_of_its_own_connections_is_closed(make_bench):
    """Dedicated connections: nothing is repeated, as ZDM Proxy does it."""
    bench = await make_bench(target={"nodes": 2}, sections={"proxy": {"backend_connections": "dedicated"}})
    c = await bench.client()
    text = "UPDATE ks.t SET v = 1 WHERE k = 2"
    lose(bench.target, text)
    assert_error(await c.query(text, timestamp=5), Err.WRITE_TIMEOUT)
    assert await c.closed() == []
    assert len(attempts(bench.target, Op.QUERY)) == 1
