"""Prepared statements over pooled connections: their ids, and who prepares them on nodes that have not got them."""
import asyncio

import pytest

import behaviour
from behaviour import Hold
from cqlwire import Err, Kind, Op
from helpers import assert_error
from pooling import lanes, on_node, warm, warm_both

pytestmark = pytest.mark.native

READ = "SELECT * FROM ks.t WHERE k = ?"
WRITE = "INSERT INTO ks.t (k) VALUES (?)"


async def with_a_hidden_node(pooled, proxy=None, **settings):
    """Two nodes of origin, of which the proxy knows the first one only."""
    bench = await pooled(proxy, origin={"nodes": 2}, **settings)
    bench.origin.hidden.add(bench.origin.nodes[1])
    await bench.restart_proxy()
    return bench


async def join(bench, client):
    """The second node joins, and gets reads."""
    node = bench.origin.nodes[1]
    bench.origin.hidden.clear()
    assert bench.origin.emit("TOPOLOGY_CHANGE", "NEW_NODE", node.address, node.port, control=True) == 1
    await warm(bench, client)


@pytest.mark.parametrize("version", (4, 5))
async def test_ids_do_not_depend_on_the_node(pooled, version):
    """One PREPARE goes to one node of each cluster; its id serves on all of them, which prepare it when they need it."""
    bench = await pooled(origin={"nodes": 2}, target={"nodes": 2})
    c = await bench.client(version)
    await warm_both(bench, c)
    prepared = await c.prepare(WRITE)
    again = await (await bench.client(version)).prepare(WRITE)
    assert again.prepared_id == prepared.prepared_id
    for cluster in bench.clusters:
        assert 1 <= len(cluster.requests(Op.PREPARE)) <= 2
    for _ in range(30):
        assert (await c.execute(prepared, values=[b"k"])).kind == Kind.VOID
    for cluster in bench.clusters:
        for node in cluster.nodes:
            assert on_node(cluster, node, Op.EXECUTE)
        assert len(cluster.requests(Op.PREPARE)) <= 3
        assert all(r.statement == WRITE for r in cluster.requests(Op.EXECUTE)), "none met a node without it"


@pytest.mark.parametrize("workers", (1, 2))
async def test_a_new_node_is_asked_once(pooled, workers):
    """EXECUTEs of twenty clients cause one PREPARE there, and none is answered UNPREPARED."""
    bench = await with_a_hidden_node(pooled, {"workers": workers})
    clients = [await bench.client() for _ in range(20)]
    prepared = await clients[0].prepare(READ)
    for c in clients[1:]:
        await c.execute(prepared, values=[b"k"])
    for c in clients:
        await join(bench, c)
        bench.origin.received.clear()
    hold = Hold()
    bench.origin.on(Op.PREPARE, hold, node=bench.origin.nodes[1])
    streams = [(c, c.send_execute(prepared, values=[b"k"])) for c in clients for _ in range(4)]
    await hold.arrived()
    hold.release()
    for c, stream in streams:
        answer = await c.answer(stream)
        assert answer.rows and answer.rows[0][2] == READ, answer
    assert len(on_node(bench.origin, 1, Op.PREPARE)) == 1
    assert not on_node(bench.origin, 0, Op.PREPARE)
    assert on_node(bench.origin, 1, Op.EXECUTE)
    assert all(r.statement == READ for r in on_node(bench.origin, 1, Op.EXECUTE)), "an EXECUTE came before the PREPARE"


@pytest.mark.parametrize("workers", (1, 2))
async def test_sixty_four_at_a_time(pooled, workers):
    """
    A node that joins gets three hundred statements, but never more than 64 PREPAREs at once. Each worker has its share
    of them, in which what it waits for another one to prepare counts, too.
    """
    bench = await with_a_hidden_node(pooled, {"workers": workers})
    clients = [await bench.client() for _ in range(4)]
    prepared = [await clients[0].prepare(f"SELECT * FROM ks.t{n} WHERE k = ?") for n in range(300)]
    for c in clients:
        await join(bench, c)
    node = bench.origin.nodes[1]
    bench.origin.received.clear()
    running, most, waiting = 0, 0, []

    async def count(conn, got):
        nonlocal running, most
        running += 1
        most = max(most, running)
        event = asyncio.Event()
        waiting.append(event)
        await event.wait()
        running -= 1
        conn.answer(got)
    bench.origin.on(Op.PREPARE, count, node=node)
    streams = [(c, c.send_execute(p, values=[b"k"]), p) for c in clients for p in prepared for _ in range(2)]
    await bench.origin.until(lambda: running >= 64 // workers, "PREPAREs")

    async def let_go():
        while True:
            if waiting:
                waiting.pop(0).set()
            await asyncio.sleep(0)
    task = asyncio.ensure_future(let_go())
    for number, (c, stream, _) in enumerate(streams):
        answer = await c.answer(stream)
        assert answer.rows, answer
    task.cancel()
    assert 64 // workers <= most <= 64
    texts = [r.statement for r in on_node(bench.origin, node, Op.PREPARE)]
    assert len(texts) == len(set(texts)) > 250
    assert all(r.statement for r in on_node(bench.origin, node, Op.EXECUTE))


async def test_a_lost_statement_is_repaired_where_it_was_lost(pooled):
    """UNPREPARED from one node: that node gets a PREPARE, the others and the other cluster nothing."""
    bench = await pooled(origin={"nodes": 2}, target={"nodes": 2})
    c = await bench.client()
    await warm_both(bench, c)
    prepared = await c.prepare(WRITE)
    for _ in range(30):
        await c.execute(prepared, values=[b"k"])
    for cluster in bench.clusters:
        assert all(node.prepared for node in cluster.nodes)
        cluster.received.clear()
    bench.target.nodes[0].prepared.clear()
    for _ in range(30):
        assert (await c.execute(prepared, values=[b"k"])).kind == Kind.VOID
    assert len(on_node(bench.target, 0, Op.PREPARE)) == 1
    assert not on_node(bench.target, 1, Op.PREPARE) and not bench.origin.requests(Op.PREPARE)
    assert len(bench.origin.requests(Op.EXECUTE)) == 30 and len(bench.target.requests(Op.EXECUTE)) == 31


@pytest.mark.parametrize("version", (3, 4, 5))
async def test_statements_of_a_keyspace_are_prepared_in_it(pooled, version):
    """On the second node, too, although the client that executes it is in none; ids stay the same."""
    bench = await pooled(origin={"nodes": 2})
    one, other = await bench.client(version, keyspace="one"), await bench.client(version)
    await warm(bench, other)
    prepared = await one.prepare("SELECT * FROM t")
    for _ in range(30):
        assert (await other.execute(prepared)).rows[0][1] == "one"
    for node in bench.origin.nodes:
        assert on_node(bench.origin, node, Op.EXECUTE)
        assert all((r.request.keyspace or r.keyspace) == "one" for r in on_node(bench.origin, node, Op.PREPARE))
        assert {keyspace for _, keyspace in node.prepared.values()} == {"one"}


async def test_a_node_that_refuses_the_statement(pooled):
    """Its table is not there yet, say: the client gets the node's error, and the node is asked again later."""
    bench = await with_a_hidden_node(pooled)
    c = await bench.client()
    prepared = await c.prepare(READ)
    await join(bench, c)
    bench.origin.on(Op.PREPARE, behaviour.error(Err.INVALID, "unconfigured table"), node=bench.origin.nodes[1])
    answers = [await c.execute(prepared, values=[b"k"]) for _ in range(40)]
    failed = [a for a in answers if a.is_error()]
    assert failed and len(failed) < 40
    for answer in failed:
        assert_error(answer, Err.INVALID, "unconfigured table")
    bench.origin.rules.clear()
    assert not [a for a in [await c.execute(prepared, values=[b"k"]) for _ in range(20)] if a.is_error()]
    assert on_node(bench.origin, 1, Op.EXECUTE)


async def test_a_node_that_does_not_answer_prepare(pooled):
    """The EXECUTEs go to the other node, or are answered; none hangs."""
    bench = await with_a_hidden_node(pooled, {"request_timeout": "1s"})
    c = await bench.client()
    prepared = await c.prepare(READ)
    await join(bench, c)
    bench.origin.on(Op.PREPARE, behaviour.mute(), node=bench.origin.nodes[1])
    streams = [c.send_execute(prepared, values=[b"k"]) for _ in range(20)]
    answers = [await c.answer(s) for s in streams]
    assert [a for a in answers if a.rows]
    for answer in answers:
        if answer.is_error():
            assert_error(answer, Err.READ_TIMEOUT, "origin")
    assert not [r for r in on_node(bench.origin, 1, Op.EXECUTE)]


async def test_children_of_batches(pooled):
    """A node that lacks several statements of a batch gets each of them once."""
    bench = await pooled(origin={"nodes": 2}, target={"nodes": 2})
    c = await bench.client()
    await warm_both(bench, c)
    prepared = [await c.prepare(f"INSERT INTO ks.t{n} (k) VALUES (?)") for n in range(5)]
    for _ in range(30):
        answer = await c.batch([(p.prepared_id, [b"k"]) for p in prepared])
        assert answer.kind == Kind.VOID, answer
    for cluster in bench.clusters:
        for node in cluster.nodes:
            texts = [r.statement for r in on_node(cluster, node, Op.PREPARE)]
            assert len(texts) <= 6 and len(node.prepared) == 5
            assert on_node(cluster, node, Op.BATCH)


async def test_no_connection_is_made_for_repairs_in_the_clients_keyspace(pooled):
    bench = await pooled()
    c = await bench.client(keyspace="one")
    prepared = await c.prepare("SELECT * FROM t")
    count = bench.origin.connection_count
    bench.origin.forget_prepared()
    assert (await c.execute(prepared)).rows[0][1] == "one"
    assert bench.origin.connection_count == count and len(lanes(bench.origin, "one")) == 1
