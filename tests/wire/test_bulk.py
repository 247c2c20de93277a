"""Requests with large bodies go over a connection of their own, so that nothing has to wait behind them."""
import asyncio

import pytest

import behaviour
import pooling
from behaviour import Hold
from cqlwire import Closed, Err, Kind, Op, requests
from fakecluster import Auth
from helpers import PRIMARIES, WAY_IDS, WAYS, assert_alive, assert_error

BIG = b"b" * 1_200_000
INSERT = "INSERT INTO ks.t (k, v) VALUES (?, ?)"
USERS = Auth({"app": "secret", "proxy": "proxy-password"})
SHORT = {"proxy": {"request_timeout": "2500ms"}}


def large(cluster, *opcodes):
    """What arrived with a large body."""
    return [r for r in cluster.requests(*opcodes) if len(r.body) > 1_000_000]


def small(cluster):
    return [r for r in cluster.requests(Op.QUERY, Op.PREPARE) if len(r.body) < 1_000_000 and "USE" not in r.statement]


async def big_write(c, stream=None):
    return await c.query(INSERT, values=[b"k", BIG], stream=stream)


@pytest.mark.dedicated
@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_large_requests_have_a_connection_of_their_own(bench, version, compression):
    c = await bench.client(version, compression, keyspace="ks")
    prepared = await c.prepare(INSERT)
    assert (await big_write(c)).kind == Kind.VOID
    assert (await c.execute(prepared, values=[b"k", BIG])).kind == Kind.VOID
    assert (await c.batch([(prepared.prepared_id, [b"k", BIG]), ("INSERT INTO t (k) VALUES (1)", [])])).kind == Kind.VOID
    assert (await c.prepare("SELECT * FROM t WHERE v = '" + "x" * len(BIG) + "'")).kind == Kind.PREPARED
    assert (await c.query("SELECT * FROM t", values=[BIG])).rows[0][:2] == ["origin", "ks"]
    await assert_alive(c, bench)
    for cluster, count in ((bench.origin, 5), (bench.target, 4)):
        got = large(cluster)
        assert len(got) == count and len({r.conn for r in got}) == 1
        main, = {r.conn for r in small(cluster)}
        bulk = got[0].conn
        assert bulk is not main and len(cluster.connections()) == 2
        assert bulk.startup_options.get("COMPRESSION") == main.startup_options.get("COMPRESSION")
        assert bulk.version == version and bulk.keyspace == "ks"
        assert {r.keyspace for r in got} == {"ks"}


@pytest.mark.parametrize("version,compression", [(4, None), (4, "lz4"), (5, None), (5, "lz4")])
async def test_the_limit(make_bench, version, compression):
    bench = await make_bench(sections={"proxy": {"large_frame_size": "128KiB"}})
    c = await bench.client(version, compression)
    room = 128 * 1024 - len(requests.query(version, INSERT, values=[b""]))
    for size, count in ((room, 1), (room + 1, 2)):
        assert (await c.query(INSERT, values=[b"v" * size])).kind == Kind.VOID
        for cluster in bench.clusters:  # by what came: a pooled one may have ended since
            assert len({r.conn for r in cluster.requests(Op.QUERY)}) == count


@pytest.mark.dedicated
@pytest.mark.checklist(149)
@pytest.mark.parametrize("where", PRIMARIES)
@pytest.mark.parametrize("version,compression", [(3, "snappy"), (4, None), (5, None), (5, "lz4")])
async def test_small_requests_are_not_held_up(bench, where, version, compression):
    """A node that does not read the large one: whatever follows is served, and the large one when it is read."""
    cluster = getattr(bench, where)
    c = await bench.client(version, compression)
    stalled = []

    async def stall(conn, got):
        conn.answer(got)
        conn.transport.pause_reading()
        stalled.append(conn)
    cluster.on(Op.STARTUP, stall)
    streams = [c.send_query(INSERT, values=[b"k", bytes([i]) * 6_000_000]) for i in range(2)]
    for _ in range(20):
        await assert_alive(c, bench)
    assert not c.received and len(stalled) == 1
    stalled[0].transport.resume_reading()
    for stream in streams:
        assert (await c.answer(stream)).kind == Kind.VOID
    for one in bench.clusters:
        assert [r.params.values[1][:1] for r in large(one)] == [b"\0", b"\1"]


@pytest.mark.dedicated
@pytest.mark.parametrize("where", PRIMARIES)
@pytest.mark.parametrize("how", ["refused", "closed", "mute", "down"])
async def test_a_connection_that_cannot_be_had(make_bench, where, how):
    """Both must be ready before either is sent to."""
    bench = await make_bench(fresh=how == "down", sections=SHORT)
    cluster = getattr(bench, where)
    other = bench.target if cluster is bench.origin else bench.origin
    c = await bench.client(4)
    if how == "down":
        cluster.nodes[0].refuse()
    else:
        cluster.on(Op.STARTUP, {"refused": behaviour.error(Err.SERVER_ERROR, "not now"), "closed": behaviour.close(),
                                "mute": behaviour.mute()}[how])
    answer = await big_write(c)
    assert_error(answer, Err.UNAVAILABLE, where, cluster.nodes[0].address, "nothing was sent")
    if how == "refused":
        assert "not now" in answer.text
    assert not large(other)
    await assert_alive(c, bench)
    if how == "down":
        bench.may_be_down = True
        return
    cluster.rules.clear()
    assert (await big_write(c)).kind == Kind.VOID


async def test_reads_need_only_the_cluster_they_go_to(bench):
    bench.target.on(Op.STARTUP, behaviour.close())
    bench.target.rules[0].times = 0
    c = await bench.client(5)
    bench.target.rules[0].times = None
    assert (await c.query("SELECT * FROM ks.t", values=[BIG])).rows
    assert_error(await big_write(c), Err.UNAVAILABLE, "target")
    assert len(large(bench.origin)) == 1


@pytest.mark.dedicated
@pytest.mark.parametrize("version", [4, 5])
async def test_log_in_is_repeated(make_bench, version):
    bench = await make_bench(origin={"auth": USERS}, target={"auth": USERS})
    c = await bench.client(version, user="app", password="secret", keyspace="ks1")
    assert (await big_write(c)).kind == Kind.VOID
    for cluster, user in ((bench.origin, "proxy"), (bench.target, "app")):
        assert {conn.user for conn in cluster.connections()} == {user}
        assert len(cluster.connections()) == 2


@pytest.mark.dedicated
@pytest.mark.parametrize("where", PRIMARIES)
async def test_a_password_that_is_not_accepted_any_more(make_bench, where):
    users = Auth({"app": "secret", "proxy": "proxy-password"})
    bench = await make_bench(fresh=True, origin={"auth": users}, target={"auth": users})
    c = await bench.client(4, user="app", password="secret")
    getattr(bench, where).auth = Auth({})
    answer = await big_write(c)
    assert_error(answer, Err.UNAVAILABLE, where, "log-in refused")
    assert "secret" not in answer.text and "secret" not in bench.proxy.messages
    await assert_alive(c, bench)


@pytest.mark.dedicated
async def test_use_changes_the_large_connection_too(bench):
    c = await bench.client(4, keyspace="one")
    hold = Hold()
    bench.origin.on("INSERT INTO held", hold)
    first = c.send_query("INSERT INTO held (v) VALUES (?)", values=[BIG])
    await hold.arrived()
    await c.use("two")  # does not wait for the large one
    second = c.send_query("INSERT INTO t (v) VALUES (?)", values=[BIG])
    assert (await c.query("SELECT * FROM t")).rows[0][1] == "two"
    await asyncio.sleep(0.1)
    assert len(large(bench.origin)) == 1  # what runs there must not be pulled into another keyspace
    hold.release()
    for stream in (first, second):
        assert (await c.answer(stream)).kind == Kind.VOID
    for cluster in bench.clusters:
        assert [r.keyspace for r in large(cluster)] == ["one", "two"]
        assert len(cluster.connections()) == 2


@pytest.mark.dedicated
async def test_a_large_use_is_still_a_use(bench):
    c = await bench.client(4)
    assert (await c.query(f"USE /* {'x' * len(BIG)} */ three")).keyspace == "three"
    assert (await c.query("SELECT * FROM t")).rows[0][1] == "three"
    assert len(bench.origin.connections()) == 1
    assert (await big_write(c)).kind == Kind.VOID
    assert large(bench.target, Op.QUERY)[-1].keyspace == "three"


@pytest.mark.dedicated
@pytest.mark.parametrize("where", PRIMARIES)
async def test_a_keyspace_that_the_large_connection_cannot_have(bench, where):
    c = await bench.client(4)
    cluster = getattr(bench, where)
    assert (await big_write(c)).kind == Kind.VOID
    await c.use("gone")
    cluster.on("USE", behaviour.error(Err.INVALID, "no such keyspace"))
    assert_error(await big_write(c), Err.UNAVAILABLE, where, "keyspace")
    assert_error(await big_write(c), Err.UNAVAILABLE, where, "no such keyspace")
    cluster.rules.clear()
    assert (await big_write(c)).kind == Kind.VOID
    for one in bench.clusters:
        assert [r.keyspace for r in large(one)] == [None, "gone"]


@pytest.mark.checklist(141, 142)
@pytest.mark.parametrize("where", PRIMARIES)
@pytest.mark.parametrize("how", ["close", "reset"])
async def test_loss_of_the_large_connection(bench, where, how):
    cluster = getattr(bench, where)
    c = await bench.client(5, "lz4")
    cluster.on(INSERT, behaviour.close() if how == "close" else behaviour.reset(), times=1)
    assert_error(await big_write(c), Err.WRITE_TIMEOUT, where, cluster.nodes[0].address, "lost")
    await assert_alive(c, bench)
    assert (await big_write(c)).kind == Kind.VOID
    await assert_alive(c, bench)


@pytest.mark.dedicated
@pytest.mark.parametrize("where", PRIMARIES)
async def test_loss_of_the_small_connection(bench, where):
    """The client is drained; what is out on the large connections still ends."""
    cluster = getattr(bench, where)
    c = await bench.client(4)
    hold = Hold()
    bench.target.on(INSERT, hold)
    stream = c.send_query(INSERT, values=[BIG])
    await hold.arrived()
    next(conn for conn in cluster.connections() if not large_of(conn, cluster)).close()
    await bench.proxy.until_logged(f"connection to {where} at")
    hold.release()
    assert (await c.answer(stream)).kind == Kind.VOID
    assert await c.closed() == []


def large_of(conn, cluster):
    return any(r.conn is conn for r in large(cluster))


async def test_the_client_goes_while_large_requests_are_out(bench):
    bench.target.on(INSERT, behaviour.mute())
    c = await bench.client(4)
    for _ in range(3):
        c.send_query(INSERT, values=[BIG])
    await bench.target.until(lambda: large(bench.target), "large request")
    c.abort()
    bench.clients.remove(c)
    await bench.until_backends_gone()
    await bench.proxy.until_metric('zdm_proxy_inflight_requests_total{type="writes"}', 0)
    await bench.proxy.until_metric('zdm_cqlferry_server_connections{cluster="target"}', 0)


@pytest.mark.dedicated
@pytest.mark.parametrize("when", ["opening", "changing"])
async def test_the_client_goes_while_the_connection_is_made(bench, when):
    c = await bench.client(4)
    if when == "changing":
        assert (await big_write(c)).kind == Kind.VOID
        await c.use("other")
    bench.target.on(Op.STARTUP if when == "opening" else "USE", behaviour.mute())
    c.send_query(INSERT, values=[BIG])
    await bench.target.until(lambda: len(bench.target.connections()) == 2, "second connection")
    await assert_alive(c, bench)
    c.abort()
    bench.clients.remove(c)
    await bench.until_backends_gone()


async def test_a_large_request_that_is_never_answered(make_bench):
    bench = await make_bench(sections=SHORT)
    bench.target.on(INSERT, behaviour.mute())
    c = await bench.client(5)
    assert_error(await big_write(c), Err.WRITE_TIMEOUT, "target", bench.target.nodes[0].address)
    await assert_alive(c, bench)
    bench.target.rules.clear()
    assert (await big_write(c)).kind == Kind.VOID


@pytest.mark.dedicated
async def test_a_large_connection_that_is_not_read_any_more(make_bench):
    """One body lies in its output; the next one has to wait, and when the time is over the connection is replaced."""
    bench = await make_bench(sections=SHORT)
    c = await bench.client(4)
    stalled = []

    async def stall(conn, got):
        conn.answer(got)
        conn.transport.pause_reading()
        stalled.append(conn)
    bench.target.on(Op.STARTUP, stall, times=1)
    value = b"x" * 7_000_000
    first = c.send_query(INSERT, values=[value])
    second = c.send_query(INSERT, values=[value])
    assert_error(await c.answer(first), Err.WRITE_TIMEOUT, "target")
    assert_error(await c.answer(second), Err.OVERLOADED, "target", "nothing was sent")
    await assert_alive(c, bench)
    assert len(large(bench.origin)) == 1
    assert (await c.query(INSERT, values=[value])).kind == Kind.VOID
    assert len(large(bench.origin)) == 2 and len(large(bench.target)) == 1
    stalled[0].reset()


@pytest.mark.dedicated
async def test_a_use_that_is_never_answered_on_the_large_connection(make_bench):
    bench = await make_bench(sections=SHORT)
    c = await bench.client(4)
    assert (await big_write(c)).kind == Kind.VOID
    await c.use("later")
    bench.target.on("USE", behaviour.mute(), times=1)
    assert_error(await big_write(c), Err.OVERLOADED, "target", "nothing was sent")
    assert len(large(bench.origin)) == 1
    assert (await big_write(c)).kind == Kind.VOID
    assert large(bench.target)[-1].keyspace == "later"


@pytest.mark.parametrize("version", [4, 5])
async def test_repair_of_a_large_execute(make_bench, version):
    """It is sent again on the same connection, which has stayed however long it took to prepare the statement."""
    bench = await make_bench(fresh=True, sections={"proxy": {"pool_idle_timeout": "1h"}})
    c = await bench.client(version)
    prepared = await c.prepare(INSERT)
    bench.target.forget_prepared()
    assert (await c.execute(prepared, values=[b"k", BIG])).kind == Kind.VOID
    assert len(large(bench.target, Op.EXECUTE)) == 2 and len(large(bench.origin, Op.EXECUTE)) == 1
    assert len({r.conn for r in large(bench.target)}) == 1
    await pooling.end(bench)


async def test_an_idle_connection_is_closed(make_bench):
    bench = await make_bench(sections={"proxy": {"heartbeat_interval": "400ms"}})
    c = await bench.client(4)
    main = bench.origin.connections()
    for _ in range(2):
        assert (await big_write(c)).kind == Kind.VOID
        assert large(bench.origin)[-1].conn not in main
        for cluster in bench.clusters:
            await cluster.until(lambda cl=cluster: len(cl.connections()) == 1, "end of the idle connection")
        await assert_alive(c, bench)


async def test_a_log_in_that_cannot_be_repeated(make_bench):
    """Not SASL PLAIN: the client's own connections have to do."""
    bench = await make_bench(origin={"auth": USERS})
    token = b"opaque"

    async def accept(conn, got):
        conn.authenticated = True
        conn.reply(got, behaviour.Answer(Op.AUTH_SUCCESS, b"\xff\xff\xff\xff"))
    bench.origin.on(Op.AUTH_RESPONSE, accept)
    c = await bench.open(4)
    assert (await c.startup()).opcode == Op.AUTHENTICATE
    assert (await c.auth(token)).opcode == Op.AUTH_SUCCESS
    assert (await big_write(c)).kind == Kind.VOID
    assert len(bench.origin.connections()) == 1 and len(bench.target.connections()) == 1


async def test_drain_waits_for_large_requests(make_bench):
    bench = await make_bench(fresh=True)
    hold = Hold()
    bench.target.on(INSERT, hold)
    c = await bench.client(4)
    stream = c.send_query(INSERT, values=[BIG])
    await hold.arrived()
    bench.proxy.signal()
    await bench.proxy.until_logged("drain|stop|shut")
    hold.release()
    assert (await c.answer(stream)).kind == Kind.VOID
    with pytest.raises(Closed):
        await c.until(lambda: False, "end")
    assert await bench.proxy.wait() == 0
    bench.may_be_down = True
    bench.proxy.process = None


@pytest.mark.dedicated
@pytest.mark.parametrize("where", PRIMARIES)
async def test_a_late_answer_makes_way(make_bench, where):
    """USE on the large connection waits for what is out there, also for what no client waits for any more."""
    bench = await make_bench(sections={"proxy": {"request_timeout": "2500ms"}})
    cluster = getattr(bench, where)
    hold = Hold()
    cluster.on("INSERT INTO held", hold)
    c = await bench.client(4, keyspace="one")
    assert_error(await c.query("INSERT INTO held (v) VALUES (?)", values=[BIG]), Err.WRITE_TIMEOUT, where)
    await c.use("two")
    stream = c.send_query(INSERT, values=[b"k", BIG])
    await assert_alive(c, bench)
    assert not c.received
    hold.release()
    assert (await c.answer(stream)).kind == Kind.VOID
    assert [r.keyspace for r in large(cluster)] == ["one", "two"]
