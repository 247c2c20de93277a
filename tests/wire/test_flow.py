"""Limits and back-pressure: stream ids, slow readers, slow nodes, too many clients. Nobody pays for somebody else."""
import asyncio

import pytest

import behaviour
from behaviour import Hold, mute
from cqlwire import Closed, Column, Err, Kind, Op, Type, frame_bytes, requests
from helpers import PRIMARIES, WAY_IDS, WAYS, assert_alive, assert_error

TEN_IDS = {"proxy": {"max_stream_ids": 10}}
INSERT = "INSERT INTO ks.t (k) VALUES (1) IF NOT EXISTS"


@pytest.mark.dedicated
@pytest.mark.checklist(236)
@pytest.mark.parametrize("version", [3, 4, 5])
async def test_more_requests_than_stream_ids(make_bench, version):
    bench = await make_bench(sections=TEN_IDS)
    hold = Hold()
    for cluster in bench.clusters:
        cluster.on("ks.t", hold)
    c = await bench.client(version)
    streams = [c.send_query(INSERT, stream=i) for i in range(20)]
    await hold.arrived(20)  # ten on each cluster
    refused = [await c.next_answer() for _ in range(10)]
    for answer in refused:
        assert_error(answer, Err.OVERLOADED)
    hold.release()
    for stream in set(streams) - {a.stream for a in refused}:
        assert (await c.answer(stream)).rows == [[True, "origin"]]
    for cluster in bench.clusters:
        assert len(cluster.requests(Op.QUERY)) == 10
        assert max(r.stream for r in cluster.requests(Op.QUERY)) < 10


@pytest.mark.dedicated
@pytest.mark.checklist(241)
@pytest.mark.parametrize("full", PRIMARIES)
async def test_neither_leg_is_sent_when_one_cannot_be(make_bench, full):
    """
    Only one cluster's ids are used up: a write must not reach the other one alone; the driver's id is free at once.
    """
    bench = await make_bench(primary=full, sections=TEN_IDS)
    hold = Hold()
    bench.primary.on("ks.slow", hold)
    c = await bench.client()
    reads = [c.send_query("SELECT * FROM ks.slow") for _ in range(10)]
    await hold.arrived(10)
    for _ in range(2):
        answer = await c.query(INSERT, stream=500)
        assert_error(answer, Err.OVERLOADED)
    assert not bench.secondary.requests(Op.QUERY)
    hold.release()
    for stream in reads:
        assert (await c.answer(stream)).rows
    assert (await c.query(INSERT, stream=500)).rows == [[True, full]]


@pytest.mark.dedicated
@pytest.mark.checklist(237)
@pytest.mark.parametrize("limit", [2048, 5000])
async def test_as_many_stream_ids_as_are_set(make_bench, limit):
    """ZDM Proxy has 2048 whatever is set above."""
    bench = await make_bench(sections={"proxy": {"max_stream_ids": limit}})
    hold = Hold()
    bench.origin.on("ks.slow", hold)
    c = await bench.client()
    streams = [c.send_query("SELECT * FROM ks.slow", stream=i) for i in range(limit)]
    await hold.arrived(limit)
    assert_error(await c.query("SELECT * FROM ks.t", stream=limit), Err.OVERLOADED, f"all {limit} stream ids", "origin")
    assert {r.stream for r in hold.waiting} == set(range(limit))
    hold.release()
    for stream in streams:
        assert (await c.answer(stream)).rows


@pytest.mark.dedicated
@pytest.mark.checklist(235)
async def test_ids_that_time_out_stay_taken_until_answered(make_bench):
    bench = await make_bench(sections={"proxy": {"max_stream_ids": 10, "request_timeout": "1500ms"}})
    hold = Hold()
    bench.origin.on("ks.slow", hold)
    c = await bench.client()
    for stream in [c.send_query("SELECT * FROM ks.slow") for _ in range(10)]:
        assert_error(await c.answer(stream), Err.READ_TIMEOUT)
    assert_error(await c.query("SELECT * FROM ks.t"), Err.OVERLOADED)
    hold.release()
    async def served():
        return not (await c.query("SELECT * FROM ks.t")).is_error()
    await bench.proxy.until(served, "free stream ids")


@pytest.mark.dedicated
@pytest.mark.checklist(235)
@pytest.mark.parametrize("ids", [1, 10, 64])
async def test_a_node_that_never_answers_costs_the_connection(make_bench, ids):
    """With few stream ids, too: once all wait for a mute node, OVERLOADED would go on for ever."""
    limit = 0.8
    bench = await make_bench(sections={"proxy": {"max_stream_ids": ids, "request_timeout": f"{int(limit * 1000)}ms"}})
    bench.origin.on("ks.slow", behaviour.mute())
    c = await bench.client()
    started = asyncio.get_running_loop().time()
    for stream in [c.send_query("SELECT * FROM ks.slow") for _ in range(ids)]:
        assert_error(await c.answer(stream), Err.READ_TIMEOUT)
    texts = []
    with pytest.raises(Closed):
        while True:
            answer = await c.query("SELECT * FROM ks.t")
            assert_error(answer, Err.OVERLOADED)
            texts.append(answer.text)
            await asyncio.sleep(0.02)
    # At the end it is drained: what comes then is refused, so that nothing is lost.
    refused = [text for text in texts if "stream ids" in text and "origin" in text]
    assert refused and set(texts[len(refused):]) <= {"Shutting down, please retry on next host."}
    # Once until they had timed out, and as long again.
    assert limit * 1.9 < asyncio.get_running_loop().time() - started
    await assert_alive(await bench.client(), bench)


@pytest.mark.native
@pytest.mark.parametrize("compression", [None, "lz4"])
async def test_a_flood_of_tiny_frames_leaves_others_their_turn(bench, compression):
    """Some hundred thousand frames in a few segments: they are handled in portions."""
    count = 60_000
    flood = await bench.client(5, compression)
    other = await bench.client(5, compression)
    frames = b"".join(frame_bytes(5, 0, i % 32000, Op.OPTIONS) for i in range(count))
    for at in range(0, len(frames), 13_000 * 9):
        flood.send_segment(frames[at:at + 13_000 * 9])
    for _ in range(30):
        await assert_alive(other, bench)
    await flood.until(lambda: len(flood.received) == count, "all answers", 40)
    assert [f.stream for f in flood.received] == [i % 32000 for i in range(count)]
    flood.received.clear()


@pytest.mark.checklist(148)
@pytest.mark.parametrize("version,compression", [(3, None), (4, "lz4"), (5, None), (5, "lz4")])
async def test_a_driver_that_does_not_read_delays_nobody(bench, version, compression):
    value = bytes(range(256)) * 1000
    bench.origin.on("ks.big", behaviour.rows([Column("v", Type.BLOB)], [[value]]))
    slow = await bench.open(version, receive_buffer=8192)
    await slow.startup(compression)
    slow.transport.pause_reading()
    for i in range(100):
        slow.send_query("SELECT v FROM ks.big", stream=i)
    await bench.origin.until_received(100, Op.QUERY)
    other = await bench.client(version, compression)
    for i in range(50):
        await assert_alive(other, bench)  # while the other one does not read at all, so a delay would have no end
    assert not slow.received
    slow.transport.resume_reading()
    for i in range(100):
        assert (await slow.answer(i)).rows == [[value]]


def resident(bench):
    """Bytes of memory that the proxy has."""
    with open(f"/proc/{bench.proxy.process.pid}/statm") as f:
        return int(f.read().split()[1]) * 4096


LIMITED = {"proxy": {"max_frame_size": "1MiB", "client_output_limit": "2MiB", "client_write_timeout": "30s"}}


@pytest.mark.dedicated
async def test_a_driver_that_reads_nothing_costs_no_more_than_its_limit(make_bench):
    """Its node is not read any further, or it is closed: 100 MB do not pile up."""
    bench = await make_bench(fresh=True, sections=LIMITED)
    value = b"x" * 500_000
    bench.origin.on("ks.big", behaviour.rows([Column("v", Type.BLOB)], [[value]]))
    slow = await bench.open(4, receive_buffer=4096)
    await slow.startup()
    slow.transport.pause_reading()
    before = resident(bench)
    for i in range(200):
        slow.send_query("SELECT v FROM ks.big", stream=i)
    await bench.origin.until_received(200, Op.QUERY)
    for _ in range(20):
        await assert_alive(await bench.client(), bench)
    assert resident(bench) - before < 40 << 20
    slow.abort()
    slow.received.clear()
    bench.clients.remove(slow)


async def test_a_driver_that_reads_nothing_is_closed_in_time(make_bench):
    bench = await make_bench(sections={"proxy": {"client_write_timeout": "500ms"}})
    value = b"x" * 1_000_000
    bench.origin.on("ks.big", behaviour.rows([Column("v", Type.BLOB)], [[value]]))
    slow = await bench.open(4, receive_buffer=4096)
    await slow.startup()
    slow.transport.pause_reading()
    for i in range(20):
        slow.send_query("SELECT v FROM ks.big", stream=i)
    await bench.until_backends_gone()
    slow.abort()
    slow.received.clear()
    bench.clients.remove(slow)


async def test_a_slow_driver_that_does_read_is_not_closed(make_bench):
    """Progress resets the clock of client_write_timeout: it reads a little for longer than that in all."""
    bench = await make_bench(sections={"proxy": {"client_write_timeout": "2s"}})
    value = b"x" * 3_000_000
    bench.origin.on("ks.big", behaviour.rows([Column("v", Type.BLOB)], [[value]]))
    slow = await bench.open(4, receive_buffer=65536)
    await slow.startup()
    for i in range(5):
        slow.send_query("SELECT v FROM ks.big", stream=i)
    has_read, feed = 0, slow.codec.feed

    def count(data):
        nonlocal has_read
        has_read += len(data)
        return feed(data)
    slow.codec.feed = count
    for _ in range(8):
        slow.transport.pause_reading()
        await asyncio.sleep(0.4)
        more = has_read + 500_000  # than lies in both kernels' buffers
        slow.transport.resume_reading()
        await slow.until(lambda: has_read >= more, "a little")
    for i in range(5):
        assert (await slow.answer(i)).rows == [[value]]


@pytest.mark.checklist(149)
@pytest.mark.parametrize("where", PRIMARIES)
async def test_a_node_that_does_not_read_delays_nobody_else(make_bench, where):
    bench = await make_bench(sections={"proxy": {"request_timeout": "5s"}})
    cluster = getattr(bench, where)
    hit = await bench.client()
    conn = cluster.connections()[0]
    conn.transport.pause_reading()
    other = await bench.client()
    value = b"x" * 100_000
    streams = [hit.send_query("INSERT INTO ks.t (k) VALUES (?)", values=[value], stream=i) for i in range(200)]
    for _ in range(20):
        await assert_alive(other, bench)
    conn.transport.resume_reading()
    for stream in streams:
        answer = await hit.answer(stream)
        assert answer.kind == Kind.VOID or answer.code in (Err.WRITE_TIMEOUT, Err.OVERLOADED), answer


async def test_a_mute_node_delays_no_other_request(bench):
    """Requests on the same connection overtake those that wait."""
    bench.origin.on("ks.slow", Hold())
    c = await bench.client()
    for i in range(100):
        c.send_query("SELECT * FROM ks.slow", stream=i)
    for i in range(100, 150):
        assert (await c.query("SELECT * FROM ks.quick", stream=i)).rows
    c.abort()
    c.received.clear()


@pytest.mark.connections(141)
@pytest.mark.checklist(150)
@pytest.mark.parametrize("profile", ["native", "zdm"])
async def test_too_many_clients(make_bench, profile):
    more = {"sections": {"proxy": {"max_client_connections": 3}}}
    if profile == "zdm":
        more = {"variables": {"ZDM_PROXY_MAX_CLIENT_CONNECTIONS": "3"}, "profile": "zdm"}
    bench = await make_bench(**more)
    clients = [await bench.client() for _ in range(3)]
    for _ in range(5):
        extra = await bench.open()
        extra.send(Op.STARTUP, requests.startup())
        answers = await extra.closed()
        assert all(a.is_error() for a in answers) and len(answers) <= 1
    for c in clients:
        await assert_alive(c, bench)
    await clients[0].close()

    async def accepted():
        try:
            return await bench.client()
        except (Closed, AssertionError):
            return None
    await assert_alive(await bench.proxy.until(accepted, "a free place"), bench)


@pytest.mark.checklist(147, 263)
async def test_gauges_return_to_zero_when_a_client_vanishes(make_bench):
    bench = await make_bench(fresh=True)
    for cluster in bench.clusters:
        cluster.on("ks.t", mute())
    c = await bench.client()
    for i in range(10):
        c.send_query("INSERT INTO ks.t (k) VALUES (1)")
        c.send_query("SELECT * FROM ks.t")
    await bench.origin.until_received(20, Op.QUERY)
    samples = await bench.proxy.metrics()
    assert samples['zdm_proxy_inflight_requests_total{type="writes"}'] == 10
    assert samples['zdm_proxy_inflight_requests_total{type="reads_origin"}'] == 10
    assert samples["zdm_client_connections_total"] == 1
    c.abort()
    await bench.until_backends_gone()
    await bench.proxy.until_metric("zdm_client_connections_total", 0)
    samples = await bench.proxy.metrics()
    for kind in ("writes", "reads_origin", "reads_target"):
        assert samples[f'zdm_proxy_inflight_requests_total{{type="{kind}"}}'] == 0


@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_a_hundred_clients_at_once(bench, version, compression):
    clients = await asyncio.gather(*(bench.client(version, compression) for _ in range(100)))
    streams = [(c, c.send_query(f"INSERT INTO ks.t (k) VALUES ({i}) IF NOT EXISTS", stream=j), j)
               for i, c in enumerate(clients) for j in range(10)]
    for c, stream, _ in streams:
        assert (await c.answer(stream)).rows == [[True, "origin"]]
    for cluster in bench.clusters:
        assert len(cluster.connections()) == (2 if bench.is_pooled else 100)  # one per worker
        assert len(cluster.requests(Op.QUERY)) == 1000


async def test_memory_does_not_grow_with_what_passes(make_bench):
    """300 MB each way through one connection, and 300 connections one after the other."""
    bench = await make_bench(fresh=True)
    value = b"x" * 1_000_000
    bench.origin.on("ks.big", behaviour.rows([Column("v", Type.BLOB)], [[value]]))
    c = await bench.client()

    async def round_trips(count):
        for _ in range(count):
            assert len((await c.query("SELECT v FROM ks.big WHERE k = ?", values=[value])).rows[0][0]) == len(value)
            bench.origin.received.clear()
    await round_trips(20)
    before = resident(bench)
    await round_trips(80)
    for i in range(300):
        await (await bench.client()).close()
    bench.clients[:] = [c]
    assert resident(bench) - before < 24 << 20
