"""Nodes of pooled connections that are lost, mute, refused, that die and come back; clusters that are down as a whole."""
import asyncio
import random
import time

import pytest

import behaviour
from behaviour import Hold
from certificates import Authority
from cqlwire import Err, Kind, Op
from helpers import PRIMARIES, assert_error
from pooling import counter, lanes, on_node, warm, warm_both

pytestmark = pytest.mark.native

READ = "SELECT * FROM ks.t"
WRITE = "INSERT INTO ks.t (k) VALUES (1)"
COUNT = "UPDATE ks.t SET c = c + 1 WHERE k = 1"
FAST = {"heartbeat_retry_interval_min": "50ms", "heartbeat_retry_interval_max": "100ms"}


async def two_nodes(pooled, proxy=None, **more):
    bench = await pooled(FAST | (proxy or {}), origin={"nodes": 2}, target={"nodes": 2}, **more)
    clients = [await bench.client() for _ in range(4)]
    await warm_both(bench, clients[0])
    return bench, clients


@pytest.mark.parametrize("how", ["reset", "fin", "half an answer, then fin", "half an answer, then reset"])
async def test_reads_that_were_sent_are_repeated_once(pooled, how):
    """Every client gets its answer from the other node; nobody is told."""
    bench, clients = await two_nodes(pooled)
    lost = bench.origin.nodes[0]
    hold = Hold()
    bench.origin.on("ks.r", hold, node=lost)
    streams = {(n, c, c.send_query(f"SELECT * FROM ks.r /* {n} */")) for n, c in enumerate(clients * 10)}
    await bench.origin.until_received(40, Op.QUERY)
    await hold.arrived(5)
    in_flight = [r.statement for r in hold.waiting]
    if how.startswith("half"):
        await behaviour.half_answer("close" if how.endswith("fin") else "reset")(hold.waiting[0].conn, hold.waiting[0])
    else:
        lost.drop(reset=how == "reset")
    for n, c, stream in streams:
        assert (await c.answer(stream)).rows[0][2] == f"SELECT * FROM ks.r /* {n} */"
    texts = bench.origin.statements(Op.QUERY)
    for text in in_flight:
        assert texts.count(text) == 2
    assert all(texts.count(t) == 1 for t in texts if t not in in_flight)
    assert await counter(bench, "failovers_total", bench.origin) == len(in_flight)
    for c in clients:
        assert (await c.query(WRITE)).kind == Kind.VOID


@pytest.mark.parametrize("reset", (True, False))
async def test_writes_that_must_not_be_repeated(pooled, reset):
    """WRITE_TIMEOUT that names the node; each cluster has got each of them once."""
    bench, clients = await two_nodes(pooled)
    lost = bench.target.nodes[0]
    hold = Hold()
    bench.target.on("ks.t", hold, node=lost)
    streams = [(c, c.send_query(f"{COUNT} /* {n} */")) for n, c in enumerate(clients * 5)]
    await bench.target.until_received(20, Op.QUERY)
    await hold.arrived()
    count = len(hold.waiting)
    lost.drop(reset=reset)
    answers = [await c.answer(s) for c, s in streams]
    failed = [a for a in answers if a.is_error()]
    assert len(failed) == count
    for answer in failed:
        assert_error(answer, Err.WRITE_TIMEOUT, lost.address, "was not sent again")
    for cluster in bench.clusters:
        texts = cluster.statements(Op.QUERY)
        assert len(texts) == len(set(texts)) == 20
    bench.target.rules.clear()
    for c in clients:
        assert (await c.query(COUNT)).kind == Kind.VOID


async def test_what_was_not_sent_goes_elsewhere(pooled):
    """A node stops reading and is then reset: what has not left the proxy is sent to the other one, even a counter's."""
    bench, clients = await two_nodes(pooled, {"load_balancing": "round_robin"})
    lost = bench.target.nodes[0]
    conn, = lanes(bench.target, node=0)
    conn.transport.pause_reading()
    text = "UPDATE ks.t SET c = c + 1 WHERE k = ?"
    streams = []
    for n in range(300):
        c = clients[n % len(clients)]
        streams.append((c, c.send_query(text, values=[n.to_bytes(60_000, "big")])))
    answers = []
    await bench.target.until(lambda: len(on_node(bench.target, 1, Op.QUERY)) > 30, "requests on the other node")
    for _ in range(50):
        await asyncio.sleep(0.001)
    lost.drop(reset=True)
    for c, stream in streams:
        answers.append(await c.answer(stream))
    failed = [a for a in answers if a.is_error()]
    for answer in failed:
        assert_error(answer, Err.WRITE_TIMEOUT)
    keys = [r.params.values[0] for r in bench.target.requests(Op.QUERY)]
    assert len(keys) == len(set(keys)), "none is executed twice"
    assert len(keys) + len(failed) == len(streams)
    assert await counter(bench, "failovers_total", bench.target) > 0


async def test_a_mute_node(pooled):
    """Connections stay open, but nothing comes: reads go elsewhere after heartbeat_timeout, then nothing goes there."""
    bench, clients = await two_nodes(pooled, {"heartbeat_timeout": "1s", "heartbeat_retry_interval_min": "60s",
                                              "heartbeat_retry_interval_max": "60s"})
    mute = bench.origin.nodes[0]
    bench.origin.on(lambda r: True, behaviour.mute(), node=mute)
    streams = [(c, c.send_query(f"{READ} /* {n} */")) for n, c in enumerate(clients * 5)]
    for n, (c, stream) in enumerate(streams):
        assert (await c.answer(stream)).rows[0][2] == f"{READ} /* {n} */"
    seen = len(on_node(bench.origin, mute, Op.QUERY))
    for c in clients * 5:
        assert (await c.query(READ)).rows
    assert len(on_node(bench.origin, mute, Op.QUERY)) == seen


async def test_a_slow_node_is_not_mute(pooled):
    """It answers heartbeats: its requests may take longer than heartbeat_timeout."""
    bench = await pooled({"heartbeat_timeout": "1s", "request_timeout": "30s"})
    c = await bench.client()
    hold = Hold()
    bench.origin.on(READ, hold)
    stream = c.send_query(READ)
    asked = time.monotonic()
    await hold.arrived()

    def beats():
        return len(bench.origin.requests(Op.OPTIONS))
    before = beats()
    await bench.origin.until(lambda: time.monotonic() - asked > 2 and beats() > before + 1, "heartbeats")
    hold.release()
    assert (await c.answer(stream)).rows
    assert len(bench.origin.requests(Op.QUERY)) == 1 and len(bench.origin.connections()) == 1


async def test_a_node_that_is_refused_at_the_start(pooled):
    """Requests go to the other one; when it comes up it gets its share."""
    bench = await pooled(FAST, origin={"nodes": 2})
    bench.origin.nodes[1].refuse()
    clients = [await bench.client() for _ in range(3)]
    for c in clients * 10:
        assert (await c.query(READ)).rows
    assert not on_node(bench.origin, 1)
    await bench.origin.nodes[1].start()
    await warm(bench, clients[0])


async def test_a_node_dies_and_comes_back(pooled):
    """Under a load of reads and writes that may be repeated no client sees an error."""
    bench, clients = await two_nodes(pooled)
    stop = False
    failed, done = [], 0

    async def load(c, n):
        nonlocal done
        while not stop:
            for answer in (await c.query(READ), await c.query(WRITE, timestamp=1)):
                done += 1
                if answer.is_error():
                    failed.append(answer)
    tasks = [asyncio.ensure_future(load(c, n)) for n, c in enumerate(clients)]

    async def more():
        before = done
        await bench.proxy.until(lambda: later(before), "load")

    async def later(before):
        return done > before + 30
    for cluster in bench.clusters:
        for node in cluster.nodes[::-1]:
            await more()
            await node.stop()
            await more()
            await node.start()
            await cluster.until(lambda: any(not c.is_control and c.version for c in node.connections), "connection")
    stop = True
    await asyncio.gather(*tasks)
    assert not failed, failed[:3]


async def test_status_changes(pooled):
    """DOWN: nothing more goes there; what is in flight may be answered. UP: it is used again at once."""
    bench, clients = await two_nodes(pooled)
    node = bench.origin.nodes[1]
    hold = Hold()
    bench.origin.on("ks.slow", hold, node=node)
    streams = []
    while not hold.waiting:
        streams.append(clients[0].send_query("SELECT * FROM ks.slow"))
        await bench.origin.until(lambda: len(bench.origin.requests(Op.QUERY)) >= len(streams), "read")
    node.refuse()
    bench.origin.emit("STATUS_CHANGE", "DOWN", node.address, node.port, control=True)

    async def left_alone():
        bench.origin.received.clear()
        for c in clients * 6:
            assert (await c.query(READ)).rows
        return not on_node(bench.origin, node)
    await bench.proxy.until(left_alone, "end of requests to it")
    hold.release()
    for stream in streams:
        assert (await clients[0].answer(stream)).rows
    await node.start()
    bench.origin.emit("STATUS_CHANGE", "UP", node.address, node.port, control=True)
    await warm(bench, clients[0])


async def test_a_node_leaves_under_load(pooled):
    """What it has taken it may finish, over connections that take nothing new and then close."""
    bench, clients = await two_nodes(pooled)
    node = bench.origin.nodes[1]
    hold = Hold()
    bench.origin.on("ks.slow", hold, node=node)
    streams = [(c, c.send_query(f"SELECT * FROM ks.slow /* {n} */")) for n, c in enumerate(clients * 10)]
    await bench.origin.until_received(40, Op.QUERY)
    await hold.arrived()
    bench.origin.hidden.add(node)
    bench.origin.emit("TOPOLOGY_CHANGE", "REMOVED_NODE", node.address, node.port, control=True)

    async def left_alone():
        bench.origin.received.clear()
        for c in clients * 6:
            assert (await c.query(READ)).rows
        return not on_node(bench.origin, node)
    await bench.proxy.until(left_alone, "end of requests to it")
    assert lanes(bench.origin, node=1)
    hold.release()
    for n, (c, stream) in enumerate(streams):
        assert (await c.answer(stream)).rows[0][2] == f"SELECT * FROM ks.slow /* {n} */"
    await bench.origin.until(lambda: not lanes(bench.origin, node=1), "end of its connections")


async def test_a_node_is_tried_again_after_a_reload(pooled, tmp_path):
    """A reload ends the connection that was to find out whether the node is up again: then another one has to."""
    authority = Authority(tmp_path / "ca", "an authority")
    copy = tmp_path / "copy.pem"
    copy.write_bytes(authority.ca.read_bytes())

    def encrypted(bench):
        bench.target.ssl = authority.server(["10.0.0.1"])
    bench = await pooled(FAST, {"target": {"tls": "ca", "tls_ca": authority.ca}}, target={"nodes": 2},
                         configure=encrypted)
    c = await bench.client()
    node = bench.target.nodes[1]
    await node.stop()
    for _ in range(20):
        assert (await c.query(WRITE)).kind == Kind.VOID
    # Once: the next try may come before we see the reload. And not a STARTUP of before the node was stopped.
    rule = bench.target.on(Op.STARTUP, behaviour.mute(), node=node, times=1)
    await node.start()
    await bench.target.until(lambda: rule.hits, "try")
    await bench.reload(target={"tls_ca": copy})

    async def used():
        await c.query(WRITE)
        return on_node(bench.target, node, Op.QUERY)
    await bench.proxy.until(used, "request to the node that is up again")


# ---- late answers ----

async def test_late_answers_reach_nobody(pooled):
    """Half of the answers come after request_timeout: each client gets its own ones or an error, never another's."""
    bench = await pooled({"request_timeout": "500ms", "heartbeat_timeout": "10s"}, origin={"nodes": 2})
    clients = [await bench.client(version) for version in (3, 4, 5, 4) * 5]
    rng = random.Random(5)
    given_up = set()

    async def sometimes(conn, got):
        if rng.random() < 0.5:
            await bench.origin.until(lambda: got.statement in given_up, "time-out")
            await asyncio.sleep(rng.choice((0, 0.01, 0.1)))
        conn.answer(got)
    bench.origin.on("ks.r", sometimes)
    outcomes = []

    async def load(c, number):
        for n in range(10):
            text = f"SELECT * FROM ks.r /* {number} {n} */"
            answer = await c.query(text)
            outcomes.append(answer.is_error())
            if answer.is_error():
                assert_error(answer, Err.READ_TIMEOUT, "origin")
                given_up.add(text)
                bench.origin.changed()
            else:
                assert answer.rows == [["origin", None, text]]
    await asyncio.gather(*(load(c, n) for n, c in enumerate(clients)))
    assert outcomes.count(True) > 50 and outcomes.count(False) > 20
    await asyncio.sleep(0.3)
    for c in clients:
        assert not c.received


async def test_a_connection_with_many_orphans_is_replaced(pooled):
    """More than a tenth of its ids: it takes no new requests; late answers are swallowed until it ends."""
    bench = await pooled({"request_timeout": "1s", "max_stream_ids": 50, "heartbeat_timeout": "10s"})
    c = await bench.client()
    hold = Hold()
    bench.origin.on("ks.slow", hold)
    streams = [c.send_query("SELECT * FROM ks.slow") for _ in range(7)]
    await hold.arrived(7)
    for stream in streams:
        assert_error(await c.answer(stream), Err.READ_TIMEOUT)
    old = hold.waiting[0].conn
    for _ in range(3):
        assert (await c.query(READ)).rows
        assert bench.origin.requests(Op.QUERY)[-1].conn is not old
    hold.release()
    await bench.origin.until(lambda: old.is_closed, "end of the old connection")
    assert len(bench.origin.connections()) == 1


# ---- a cluster that is down as a whole ----

async def settle_down(bench, cluster, c):
    """Ends its nodes; when it returns the proxy knows."""
    for node in cluster.nodes:
        await node.stop()

    async def known():
        answer = await c.query(WRITE)
        return answer.is_error() and answer.code == Err.UNAVAILABLE
    await bench.proxy.until(known, "UNAVAILABLE")
    for each in bench.clusters:
        each.received.clear()


@pytest.mark.parametrize("primary", PRIMARIES)
async def test_the_secondary_is_down(pooled, primary):
    """
    Dual writes are UNAVAILABLE at once, and the other cluster gets nothing of them; reads go on, USE and PREPARE of reads
    work, new clients connect. When it comes back all is well.
    """
    bench = await pooled(FAST, primary=primary)
    c = await bench.client()
    assert (await c.query(WRITE)).kind == Kind.VOID
    down = bench.secondary
    await settle_down(bench, down, c)
    new = await bench.client()
    for client in (c, new):
        for answer in (await client.query(WRITE), await client.batch([(WRITE, [])])):
            assert_error(answer, Err.UNAVAILABLE, f"no node of {down.name} is up", "nothing was sent")
        assert (await client.query(READ)).rows[0][0] == primary
        await client.use("one")
        assert (await client.query("SELECT * FROM t")).rows[0][1] == "one"
        prepared = await client.prepare("SELECT * FROM ks.u WHERE k = ?")
        assert (await client.execute(prepared, values=[b"k"])).rows[0][0] == primary
    assert not [s for s in bench.primary.statements(Op.QUERY) + bench.primary.requests(Op.BATCH) if s == WRITE]
    assert not bench.primary.requests(Op.BATCH)
    await down.nodes[0].start()

    async def is_back():
        return not (await c.query(WRITE)).is_error()
    await bench.proxy.until(is_back, "write")
    assert (await new.query("INSERT INTO t (k) VALUES (1)")).kind == Kind.VOID
    for cluster in bench.clusters:
        assert cluster.requests(Op.QUERY)[-1].keyspace == "one"


async def test_down_from_the_start(pooled):
    """With ready_when = primary clients connect, and what needs the other cluster is answered at once, until it is there."""
    def without_target(bench):
        bench.start_clusters = bench.origin.start
    bench = await pooled(FAST, {"http": {"ready_when": "primary"}}, configure=without_target)
    c = await bench.client()
    assert_error(await c.query(WRITE), Err.UNAVAILABLE, "target")
    assert WRITE not in bench.origin.statements()
    assert (await c.query(READ)).rows
    await bench.target.nodes[0].start()

    async def is_back():
        return not (await c.query(WRITE)).is_error()
    await bench.proxy.until(is_back, "write")
    assert (await (await bench.client()).query(WRITE)).kind == Kind.VOID


@pytest.mark.parametrize("version", (4, 5))
async def test_a_statement_prepared_while_its_later_cluster_was_down(pooled, version):
    """
    A read is prepared with target down. Then target comes up and becomes the primary: the EXECUTE works there, with the id
    the client has.
    """
    bench = await pooled(FAST)
    c = await bench.client(version)
    await settle_down(bench, bench.target, c)
    text = "SELECT * FROM ks.u WHERE k = ?"
    prepared = await c.prepare(text)
    assert (await c.execute(prepared, values=[b"k"])).rows[0][0] == "origin"
    await bench.target.nodes[0].start()

    async def is_back():
        return not (await c.query(WRITE)).is_error()
    await bench.proxy.until(is_back, "write")
    await bench.reload(routing={"primary": "target"})

    async def switched():
        answer = await c.query(READ)
        return answer.rows and answer.rows[0][0] == "target"
    await bench.proxy.until(switched, "switch")
    for _ in range(3):
        answer = await c.execute(prepared, values=[b"k"])
        assert answer.rows and answer.rows[0][0] == "target", answer
    assert [r.statement for r in bench.target.requests(Op.PREPARE)] == [text]


async def test_a_write_prepared_while_a_cluster_is_down(pooled):
    """It goes to both, so it cannot be prepared: the client hears at once, and can do it later."""
    bench = await pooled(FAST)
    c = await bench.client()
    await settle_down(bench, bench.target, c)
    answer = await c.prepare("INSERT INTO ks.u (k) VALUES (?)")
    assert_error(answer, Err.UNAVAILABLE, "target")
    await bench.target.nodes[0].start()

    async def prepares():
        return not (await c.prepare("INSERT INTO ks.u (k) VALUES (?)")).is_error()
    await bench.proxy.until(prepares, "PREPARE")


async def test_the_only_node_is_lost_with_reads_in_flight(pooled):
    """They wait for it to come back rather than fail, where it takes a connection at once."""
    bench = await pooled(FAST)
    clients = [await bench.client() for _ in range(3)]
    hold = Hold()
    rule = bench.origin.on("ks.slow", hold)
    streams = [(c, c.send_query("SELECT * FROM ks.slow")) for c in clients]
    await hold.arrived(3)
    bench.origin.rules.remove(rule)
    bench.origin.nodes[0].drop(reset=True)
    for c, stream in streams:
        assert (await c.answer(stream)).rows
    assert len(bench.origin.requests(Op.QUERY)) == 6


async def test_all_nodes_are_lost_with_requests_in_flight(pooled):
    """Each gets the error of what it was: nothing is known about the writes."""
    bench = await pooled(FAST)
    c = await bench.client()
    hold = Hold()
    bench.origin.on("ks.", hold)
    read, write = c.send_query("SELECT * FROM ks.slow"), c.send_query(COUNT)
    await hold.arrived(2)
    await bench.origin.nodes[0].stop()
    assert_error(await c.answer(read), Err.READ_TIMEOUT, "origin")
    assert_error(await c.answer(write), Err.WRITE_TIMEOUT, "origin")
    assert len(bench.target.requests(Op.QUERY)) == 1


@pytest.mark.parametrize("version,compression", [(3, "snappy"), (4, "lz4"), (5, None), (5, "lz4")])
async def test_losses_in_every_framing(pooled, version, compression):
    bench = await pooled(FAST, origin={"nodes": 2})
    c = await bench.client(version, compression)
    await warm(bench, c)
    prepared = await c.prepare("SELECT * FROM ks.u WHERE k = ?")
    for _ in range(20):
        await c.execute(prepared, values=[b"k"])
    for n in range(5):
        hold = Hold()
        rule = bench.origin.on("ks.", hold, node=bench.origin.nodes[n % 2])
        streams = [c.send_execute(prepared, values=[b"k"]) for _ in range(10)]
        streams += [c.send_query("SELECT * FROM ks.u") for _ in range(10)]
        await hold.arrived()
        bench.origin.rules.remove(rule)
        bench.origin.nodes[n % 2].drop(reset=n % 3 == 0)
        for stream in streams:
            assert (await c.answer(stream)).rows
        await warm(bench, c)


async def test_losses_over_tls(pooled, tmp_path):
    authority = Authority(tmp_path / "ca", "an authority")

    def encrypted(bench):
        bench.origin.ssl = authority.server(["10.0.0.1"])
    bench = await pooled(FAST, {"origin": {"tls": "ca", "tls_ca": authority.ca}}, origin={"nodes": 2},
                         configure=encrypted)
    clients = [await bench.client(5, "lz4") for _ in range(3)]
    await warm(bench, clients[0])
    lost = bench.origin.nodes[0]
    hold = Hold()
    bench.origin.on("ks.slow", hold, node=lost)
    streams = [(n, c, c.send_query(f"SELECT * FROM ks.slow /* {n} */")) for n, c in enumerate(clients * 5)]
    await hold.arrived()
    lost.drop()
    for n, c, stream in streams:
        assert (await c.answer(stream)).rows[0][2] == f"SELECT * FROM ks.slow /* {n} */"
    assert all(conn.ssl_object is not None for conn in bench.origin.connections())
