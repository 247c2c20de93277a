"""How many connections a pool has to a node, which node a request goes to, and what happens at the limits."""
import asyncio
import time

import pytest

import behaviour
from behaviour import Hold
from cqlwire import Column, Err, Kind, Op, Type, responses
from fakecluster import Auth
from helpers import assert_error
from policies import settings
from pooling import lanes, on_node, warm, warm_both

pytestmark = pytest.mark.native

READ = "SELECT * FROM ks.t"
WRITE = "INSERT INTO ks.t (k) VALUES (?)"
LARGE = 300_000


def big_rows(size):
    return behaviour.rows([Column("v", Type.BLOB)], [[b"x" * size]])


# ---- which node ----

async def spread_of_reads(bench, c, count, in_flight=1):
    bench.origin.received.clear()
    for _ in range(count // in_flight):
        answers = [c.send_query(READ) for _ in range(in_flight)]
        assert all([(await c.answer(s)).rows for s in answers])
    return [len(on_node(bench.origin, n, Op.QUERY)) for n in range(len(bench.origin.nodes))]


async def test_the_slower_node_gets_less(pooled):
    """It answers when the other one has had 20 requests more, or when all that is left waits for it."""
    bench = await pooled(origin={"nodes": 2})
    c = await bench.client()
    await warm(bench, c)
    asking = 8
    slow = fast = waiting = 0

    async def at_once(conn, got):
        nonlocal fast
        fast += 1
        conn.answer(got)

    async def slowly(conn, got):
        nonlocal slow, waiting
        slow += 1
        waiting += 1
        enough = fast + 20
        await bench.origin.until(lambda: fast >= enough or waiting == asking, "requests for the faster node")
        waiting -= 1
        conn.answer(got)
    for node, behave in zip(bench.origin.nodes, (slowly, at_once)):
        bench.origin.on(READ, behave, node=node)

    async def one():
        nonlocal asking
        for _ in range(40):
            assert (await c.query(READ)).rows
        asking -= 1
        bench.origin.changed()
    await asyncio.gather(*(one() for _ in range(8)))
    assert slow + fast == 320 and 0 < slow < fast / 2, (slow, fast)


async def test_round_robin(pooled):
    """In turn, whatever the load."""
    bench = await pooled({"load_balancing": "round_robin"}, origin={"nodes": 3})
    c = await bench.client()
    await warm(bench, c)
    assert await spread_of_reads(bench, c, 60) == [20, 20, 20]
    nodes = [r.node.index for r in bench.origin.requests(Op.QUERY)]
    assert all(a != b for a, b in zip(nodes, nodes[1:]))


@pytest.mark.parametrize("proxy,section", [({"load_balancing": "contact_point"}, {}),
                                           ({}, {"enable_host_assignment": "false"})],
                         ids=["contact_point", "no host assignment"])
async def test_the_contact_point_only(pooled, proxy, section):
    """Nothing is sent to other nodes, and no connection is opened to them."""
    bench = await pooled(proxy, {"origin": section}, origin={"nodes": 3})
    c = await bench.client()
    assert await spread_of_reads(bench, c, 20) == [20, 0, 0]
    assert [node.accepted for node in bench.origin.nodes][1:] == [0, 0]


async def test_forty_nodes(pooled):
    """All of them get requests, over one connection each."""
    bench = await pooled(origin={"nodes": 40})
    clients = [await bench.client() for _ in range(4)]
    for c in clients:
        await warm(bench, c)
    answers = await asyncio.gather(*(c.query(READ) for c in clients for _ in range(50)))
    assert all(a.rows for a in answers)
    assert all(len(lanes(bench.origin, node=n)) == 1 for n in range(40))


# ---- how many connections ----

async def test_several_connections(pooled):
    """connections_per_host = 3: as many while there is something to do, and no more."""
    bench = await pooled({"connections_per_host": 3})
    clients = [await bench.client() for _ in range(5)]
    for _ in range(4):
        hold = Hold()
        bench.origin.on(READ, hold)
        streams = [(c, c.send_query(READ)) for c in clients for _ in range(10)]
        await hold.arrived(50)
        hold.release()
        for c, stream in streams:
            assert (await c.answer(stream)).rows
        bench.origin.rules.clear()
    assert len(lanes(bench.origin)) == 3
    bench.origin.received.clear()
    hold = Hold()
    bench.origin.on(READ, hold)
    streams = [(c, c.send_query(READ)) for c in clients for _ in range(12)]
    await hold.arrived(60)
    assert [len([r for r in hold.waiting if r.conn is conn]) for conn in lanes(bench.origin)] == [20, 20, 20]
    hold.release()
    for c, stream in streams:
        assert (await c.answer(stream)).rows


async def test_full_of_requests(pooled):
    """A second connection is opened when all stream ids are taken; behind that requests wait for answers."""
    bench = await pooled({"max_stream_ids": 10, "request_timeout": "5s"})
    clients = [await bench.client() for _ in range(3)]
    hold = Hold()
    bench.origin.on(READ, hold)
    streams = [(c, c.send_query(READ)) for c in clients for _ in range(10)]
    await hold.arrived(20)
    assert len(lanes(bench.origin)) == 2
    assert max(r.stream for r in hold.waiting) < 10
    hold.release()
    for c, stream in streams:
        assert (await c.answer(stream)).rows
    assert len(lanes(bench.origin)) == 2 and len(hold.waiting) == 30


async def test_nothing_is_free_in_time(pooled):
    """
    What has waited for a connection for request_timeout is OVERLOADED, and has reached neither cluster. What it waits for
    has a minute: a time-out would make the connection be replaced, and the one that replaces it is free.
    """
    script = """
local patient = proxy.route { to = "origin", timeout = "1m" }
proxy.on_request("patient", { kinds = "read", keyspaces = "ks" }, function(req) return patient end)
"""
    bench = await pooled({"max_stream_ids": 5, "request_timeout": "300ms"}, configure=settings({"patient.lua": script}))
    c = await bench.client()
    hold = Hold()
    bench.origin.on(READ, hold)
    reads = [c.send_query(READ) for _ in range(10)]
    await hold.arrived(10)
    answer = await c.query("INSERT INTO ks.t (k) VALUES (1)")
    assert_error(answer, Err.OVERLOADED, "no connection was free")
    assert not bench.target.requests(Op.QUERY)
    hold.release()
    for stream in reads:
        assert (await c.answer(stream)).rows
    assert not bench.target.requests(Op.QUERY)


async def test_behind_a_large_answer(pooled):
    """Half of it has come: other requests go over a second connection meanwhile."""
    bench = await pooled()
    c, other = await bench.client(), await bench.client()
    gate = asyncio.Event()

    async def in_halves(conn, got):
        body = responses.rows([Column("v", Type.BLOB)], [[b"x" * 2_000_000]])
        data = behaviour.answer_bytes(conn, got, body=body)
        conn.transport.write(data[:1_000_000])
        await gate.wait()
        conn.in_flight.discard(got.stream)
        conn.transport.write(data[1_000_000:])
    bench.origin.on("ks.large", in_halves, times=1)
    stream = c.send_query("SELECT * FROM ks.large")
    first, = await bench.origin.until_received(1, Op.QUERY)

    stuck = []

    async def elsewhere():
        stuck.append(other.send_query(READ))
        await bench.origin.until_received(len(stuck) + 1, Op.QUERY)
        return bench.origin.requests(Op.QUERY)[-1].conn is not first.conn
    await bench.proxy.until(elsewhere, "second connection")
    assert (await other.answer(stuck.pop())).rows
    for _ in range(3):
        assert (await other.query(READ)).rows
    gate.set()
    for number in stuck:
        assert (await other.answer(number)).rows
    assert len((await c.answer(stream)).rows[0][0]) == 2_000_000


@pytest.mark.parametrize("version,compression", [(4, None), (5, "lz4")])
async def test_large_requests_have_their_own(pooled, version, compression):
    """They are not in front of small ones: a node that takes its time to read one holds up none of these."""
    bench = await pooled({"large_frame_size": "64KiB"})
    c, other = await bench.client(version, compression), await bench.client(version, compression)
    large = "INSERT INTO ks.large (k, v) VALUES (1, ?)"
    small = "INSERT INTO ks.t (k) VALUES (1)"
    for _ in range(3):
        assert (await c.query(large, values=[bytes(range(256)) * 1000])).kind == Kind.VOID
        assert (await other.query(small)).kind == Kind.VOID
    for cluster in bench.clusters:
        conns = {text: {r.conn for r in cluster.requests(Op.QUERY) if r.statement == text} for text in (large, small)}
        assert len(conns[large]) == len(conns[small]) == 1 and conns[large] != conns[small]


async def test_a_node_that_does_not_read_a_large_request(pooled):
    bench = await pooled({"large_frame_size": "64KiB"})
    c, other = await bench.client(), await bench.client()
    await warm_both(bench, c)
    bench.target.on("ks.warmlarge", behaviour.normally())
    assert (await c.query("INSERT INTO ks.warmlarge (v) VALUES (?)", values=[b"x" * 70_000])).kind == Kind.VOID
    conn = bench.target.requests(Op.QUERY)[-1].conn
    conn.transport.pause_reading()
    stream = c.send_query("INSERT INTO ks.large (v) VALUES (?)", values=[b"x" * 15_000_000])
    for _ in range(20):
        assert (await other.query("INSERT INTO ks.t (k) VALUES (1)")).kind == Kind.VOID
    conn.transport.resume_reading()
    assert (await c.answer(stream)).kind == Kind.VOID


async def test_idle_connections_end(pooled):
    """All but one to a node, while there are clients; then that one, too."""
    bench = await pooled({"pool_idle_timeout": "200ms"}, origin={"nodes": 2})
    c = await bench.client(keyspace="one")
    await c.use("two")
    await warm(bench, c)
    assert len(bench.origin.connections()) >= 3
    await bench.origin.until(lambda: len(bench.origin.connections()) == 2, "end of idle connections")
    await bench.target.until(lambda: len(bench.target.connections()) == 1, "end of idle connections")
    assert {conn.node.index for conn in bench.origin.connections()} == {0, 1}
    assert (await c.query("SELECT * FROM t")).rows[0][1] == "two"
    await c.close()
    for cluster in bench.clusters:
        await cluster.until(lambda: not cluster.connections(), "end of all")


# ---- the limit of the process ----

USERS = {f"u{n}": f"p{n}" for n in range(6)}


async def user(bench, name):
    return await bench.client(user=name, password=USERS[name])


async def limited(pooled, limit, workers=1, **proxy):
    auth = Auth({"proxy": "proxy-password"} | USERS)
    return await pooled({"max_connections_per_host": limit, "workers": workers} | proxy, primary="target",
                        target={"auth": auth})


@pytest.mark.parametrize("workers", (1, 2))
async def test_idle_connections_of_others_make_room(pooled, workers):
    """With the limit reached an idle connection of another user closes; every user gets its turn."""
    bench = await limited(pooled, 3, workers)
    clients = [(await user(bench, name), name) for name in USERS]
    for _ in range(3):
        for c, name in clients:
            assert (await c.query(READ)).rows
            assert bench.target.requests(Op.QUERY)[-1].conn.user == name
            assert len(bench.target.connections()) <= 4  # one may be on its way out
    assert len(lanes(bench.target)) <= 3


async def test_when_none_is_idle_requests_wait(pooled):
    bench = await limited(pooled, 2)
    clients = [await user(bench, name) for name in ("u0", "u1", "u2")]
    hold = Hold()
    bench.target.on("ks.slow", hold)
    slow = [(c, c.send_query("SELECT * FROM ks.slow")) for c in clients[:2]]
    await hold.arrived(2)
    waiting = clients[2].send_query(READ)
    await bench.proxy.metrics()
    assert READ not in bench.target.statements()
    hold.release()
    assert (await clients[2].answer(waiting)).rows
    assert bench.target.requests(Op.QUERY)[-1].conn.user == "u2"
    for c, stream in slow:
        assert (await c.answer(stream)).rows
    assert max(len(lanes(bench.target)), 2) == 2


async def test_when_none_gets_idle_in_time(pooled):
    bench = await limited(pooled, 2, request_timeout="1500ms")
    clients = [await user(bench, name) for name in ("u0", "u1", "u2")]
    bench.target.on("ks.slow", behaviour.mute())
    slow = [(c, c.send_query("SELECT * FROM ks.slow")) for c in clients[:2]]
    await bench.target.until_received(2, Op.QUERY)
    answer = await clients[2].query("INSERT INTO ks.t (k) VALUES (1)")
    assert_error(answer, Err.OVERLOADED, "no connection was free", "nothing was sent")
    assert not bench.origin.requests(Op.QUERY)
    for c, stream in slow:
        assert_error(await c.answer(stream), Err.READ_TIMEOUT)


# ---- clients that do not read, or leave ----

async def test_a_client_that_does_not_read(pooled):
    """It is closed after a second with too much before it; others on the same connection go on."""
    bench = await pooled()
    other = await bench.client()
    slow = await bench.client(receive_buffer=4096)
    bench.origin.on("ks.large", big_rows(LARGE))
    slow.transport.pause_reading()
    gate = Hold(then=big_rows(LARGE))
    bench.origin.on("ks.late", gate)
    late = [slow.send_query("SELECT * FROM ks.late") for _ in range(20)]
    await gate.arrived(20)
    for _ in range(30):
        slow.send_query("SELECT * FROM ks.large")
    begun = time.monotonic()
    while time.monotonic() - begun < 1.2:
        assert (await other.query(READ)).rows
        await asyncio.sleep(0.02)
    gate.release()
    await bench.proxy.until_logged(r"bytes wait for it")
    for _ in range(20):
        assert (await other.query(READ)).rows
    slow.abort()
    bench.clients.remove(slow)


async def test_a_client_that_reads_slowly_is_not_closed(pooled):
    """A large answer over a slow link takes as long as it takes."""
    bench = await pooled()
    c = await bench.client(receive_buffer=65536)
    bench.origin.on("ks.large", big_rows(8_000_000))
    stream = c.send_query("SELECT * FROM ks.large")
    for _ in range(15):
        c.transport.pause_reading()
        await asyncio.sleep(0.1)
        c.transport.resume_reading()
        await asyncio.sleep(0.001)
    assert len((await c.answer(stream)).rows[0][0]) == 8_000_000


async def test_a_client_leaves(pooled):
    """With requests in flight: their answers are swallowed, those of others on the same connection are theirs."""
    bench = await pooled()
    stays, leaves = await bench.client(), await bench.client()
    hold = Hold()
    bench.origin.on("ks.slow", hold)
    gone = [leaves.send_query(f"SELECT * FROM ks.slow /* gone {n} */") for n in range(20)]
    kept = {stays.send_query(f"SELECT * FROM ks.slow /* {n} */"): n for n in range(20)}
    await hold.arrived(40)
    assert len({r.conn for r in hold.waiting}) == 1 and gone
    leaves.abort()
    bench.clients.remove(leaves)
    await bench.proxy.until_logged(r"#2: ")
    streams = {stays.send_query(f"SELECT * FROM ks.t /* {n} */"): n for n in range(20)}
    for stream, n in streams.items():
        assert (await stays.answer(stream)).rows[0][2].endswith(f"/* {n} */")
    hold.release()
    for stream, n in kept.items():
        assert (await stays.answer(stream)).rows[0][2] == f"SELECT * FROM ks.slow /* {n} */"
    assert len(lanes(bench.origin)) == 1


async def test_short_lived_clients_leave_nothing(pooled):
    """Two hundred of many users: no connection and no pool stays behind, no memory of credentials, no client."""
    users = {f"u{n}": f"p{n}" for n in range(40)}
    auth = Auth({"proxy": "proxy-password"} | users)
    bench = await pooled({"pool_idle_timeout": "50ms", "workers": 2}, primary="target", target={"auth": auth})

    async def one(n):
        name = f"u{n % 40}"
        c = await bench.client(user=name, password=users[name])
        assert (await c.query(READ)).rows
        bench.clients.remove(c)
        await c.close()
    for turn in range(5):
        await asyncio.gather(*(one(n) for n in range(40)))
    for cluster in bench.clusters:
        await cluster.until(lambda: not cluster.connections(), "end of the pools' connections")
    metrics = await bench.proxy.metrics()
    for name, value in metrics.items():
        if "connections" in name and "failed" not in name and "total" not in name and "limit" not in name:
            assert value == 0, (name, value)
