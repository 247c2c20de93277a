"""Pooled connections at their edges: what waits behind a USE, answers that take long to come, connections that are full."""
import asyncio

import pytest

import behaviour
from cqlwire import Column, Err, Kind, Op, Type, responses
from fakecluster import Auth
from helpers import assert_error

pytestmark = pytest.mark.native


def settings(proxy=None, **clusters):
    """Idle connections go soon, so that the bench is swept soon; one worker, so that all clients meet."""
    own = {"backend_connections": "pooled", "pool_idle_timeout": "50ms", "workers": 1}
    return dict(clusters, sections={"proxy": own | (proxy or {})})


# ---- USE ----

@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("size", [100, 40_000, 2_000_000])
async def test_what_waits_behind_a_use_arrives_whole(make_bench, version, size):
    """Several frames, small and large: they are kept until the USE is over, and reach both clusters as they came."""
    bench = await make_bench(**settings())
    c = await bench.client(version)
    texts = [f"INSERT INTO t (k, v) VALUES ({i}, '{'x' * size}')" for i in range(3)]
    streams = [c.send_query("USE ks")] + [c.send_query(text) for text in texts]
    answers = [await c.answer(stream) for stream in streams]
    assert [a.kind for a in answers] == [Kind.SET_KEYSPACE] + [Kind.VOID] * 3
    for cluster in bench.clusters:
        sent = [r for r in cluster.requests(Op.QUERY) if not r.statement.startswith("USE")]
        assert sorted(r.statement for r in sent) == texts
        assert {r.conn.keyspace for r in sent} == {"ks"}


# ---- silence ----

@pytest.mark.parametrize("version", [4, 5])
async def test_an_answer_that_takes_long_to_come_in_is_no_silence(make_bench, version):
    """Bytes of it come all the time, so the node is not mute, although no frame ends within heartbeat_timeout."""
    bench = await make_bench(**settings({"heartbeat_timeout": "2s", "heartbeat_interval": "1h"}))
    text = "x" * 600_000

    async def slowly(conn, got):
        data = behaviour.answer_bytes(conn, got, body=responses.rows([Column("v", Type.VARCHAR)], [[text]]))
        wrapped = conn.codec.wrap(data)
        step = len(wrapped) // 25 + 1
        for at in range(0, len(wrapped), step):
            conn.transport.write(wrapped[at:at + step])
            await asyncio.sleep(0.1)
    bench.origin.on("ks.slow", slowly)
    c = await bench.client(version)
    answer = await c.query("SELECT * FROM ks.slow")
    assert answer.rows == [[text]]
    assert len(bench.origin.requests(Op.QUERY)) == 1, "it was sent again"


async def test_a_node_that_stops_within_an_answer_is_mute(make_bench):
    """The same, but nothing more comes: after heartbeat_timeout the connection is given up."""
    bench = await make_bench(**settings({"heartbeat_timeout": "1s"}))
    bench.origin.on("INSERT", behaviour.half_answer())
    c = await bench.client()
    answer = await c.query("INSERT INTO ks.t (k) VALUES (now())")
    assert_error(answer, Err.WRITE_TIMEOUT, "nothing was heard from it for 1000 ms")


# ---- max_connections_per_host ----

@pytest.mark.parametrize("limit", [1, 2])
async def test_one_connection_per_host_for_many_keyspaces(make_bench, limit):
    """A connection in a keyspace that nobody waits for makes room for one in another keyspace, in one user's pool, too."""
    bench = await make_bench(**settings({"max_connections_per_host": limit, "pool_idle_timeout": "1h",
                                         "request_timeout": "2s"}), fresh=True)
    c = await bench.client()
    for keyspace in ("one", "two", "three"):
        assert (await c.use(keyspace)).kind == Kind.SET_KEYSPACE
        assert (await c.query("INSERT INTO t (k) VALUES (1)")).kind == Kind.VOID
        for cluster in bench.clusters:
            assert cluster.requests(Op.QUERY)[-1].conn.keyspace == keyspace
            assert len([conn for conn in cluster.connections() if conn.version is not None]) <= limit
    await c.close()
    await bench.proxy.stop()
    bench.may_be_down = True


# ---- log-ins that are refused later ----

async def test_a_node_that_refuses_one_users_connection_is_not_taken_from_others(make_bench):
    """OVERLOADED for bob's next connection: ann's requests go on at once, bob's wait and are served when it has passed."""
    users = {"proxy": "proxy-password", "ann": "a", "bob": "b"}
    bench = await make_bench(**settings({"pool_idle_timeout": "1h", "heartbeat_retry_interval_min": "1s"},
                                        target={"auth": Auth(users)}), primary="target", fresh=True)
    ann, bob = [await bench.client(user=user, password=users[user]) for user in ("ann", "bob")]
    refusals = behaviour.Hold(behaviour.error(Err.OVERLOADED))
    refusals.release()
    bench.target.on(Op.AUTH_RESPONSE, refusals)
    stream = bob.send_query("USE ks")
    await refusals.arrived(1)
    for _ in range(5):
        assert (await ann.query("SELECT * FROM ks.t")).rows
    bench.target.rules.clear()
    assert (await bob.answer(stream)).kind == Kind.SET_KEYSPACE
    assert 1 <= len(refusals.waiting) <= 3, "without a pause there would be many"
    for client in bench.clients:
        await client.close()
    await bench.proxy.stop()
    bench.may_be_down = True


async def test_a_password_that_is_refused_later_is_not_remembered(make_bench):
    """A connection of ann's pool is refused: who comes with that password now is asked for, within credentials_validity, too."""
    users = {"proxy": "proxy-password", "ann": "a"}
    auth = Auth(users)
    bench = await make_bench(**settings({"pool_idle_timeout": "1h", "credentials_validity": "1h"},
                                        target={"auth": auth}), primary="target", fresh=True)
    ann = await bench.client(user="ann", password="a")
    auth.users["ann"] = "changed"
    assert_error(await ann.query("USE ks"), Err.BAD_CREDENTIALS, "nothing was sent")
    other = await bench.open()
    await other.startup()
    assert_error(await other.login("ann", "a"), Err.BAD_CREDENTIALS)
    for client in bench.clients:
        await client.close()
    await bench.proxy.stop()
    bench.may_be_down = True


# ---- a node that is down ----

async def test_many_pools_that_lose_a_node_wait_for_it_no_longer_than_one(make_bench):
    """The pause before it is tried again grows with each attempt, not with each connection that was under way."""
    pause = {"heartbeat_retry_interval_min": "500ms", "heartbeat_retry_interval_max": "1h",
             "heartbeat_retry_backoff_factor": "10"}
    bench = await make_bench(**settings(pause | {"pool_idle_timeout": "1h"}), fresh=True)
    kinds = [(3, None), (3, "lz4"), (4, None), (4, "lz4"), (5, None), (5, "lz4")]
    clients = [await bench.client(version, compression) for version, compression in kinds]
    for c in clients:
        assert (await c.query("SELECT * FROM ks.t")).rows
    hang_up = behaviour.Hold(behaviour.close())
    bench.origin.on(Op.STARTUP, hang_up)
    streams = [(c, c.send_query("USE ks")) for c in clients]
    await hang_up.arrived(len(clients))
    hang_up.release()
    for c, stream in streams:
        assert (await c.answer(stream)).kind == Kind.SET_KEYSPACE, "target alone has taken it"
    assert_error(await clients[0].query("SELECT * FROM ks.t"), Err.UNAVAILABLE, "no node of origin is up")
    bench.origin.rules.clear()

    async def is_served():
        return not (await clients[0].query("SELECT * FROM ks.t")).is_error()
    await bench.proxy.until(is_served, "read")
    for client in bench.clients:
        await client.close()
    await bench.proxy.stop()
    bench.may_be_down = True


async def test_a_node_that_is_mute_while_it_is_to_prepare_a_statement(make_bench):
    """What waits for the PREPARE has not been sent: it goes to the other node once the silence is noticed."""
    bench = await make_bench(**settings({"heartbeat_timeout": "1s"}, origin={"nodes": 2}),
                             fresh=True)
    c = await bench.client()

    async def all_nodes():
        await c.query("SELECT * FROM ks.t")
        return len({r.node for r in bench.origin.requests(Op.QUERY)}) == 2
    await bench.proxy.until(all_nodes, "connections to both nodes")
    prepared = await c.prepare("SELECT * FROM ks.t WHERE k = ?")
    has_it = bench.origin.requests(Op.PREPARE)[0].node
    other, = [node for node in bench.origin.nodes if node is not has_it]
    mute = behaviour.Hold(behaviour.mute())
    mute.release()
    bench.origin.on(lambda got: True, mute, node=other)
    streams = [c.send_execute(prepared, values=[b"k"]) for _ in range(20)]
    for stream in streams:
        assert (await c.answer(stream)).rows
    assert any(got.opcode == Op.PREPARE for got in mute.waiting), "the other node was not asked"
