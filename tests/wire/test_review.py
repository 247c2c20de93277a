"""Defects that a review of the code has found; each test tells what went wrong before it was mended."""
import asyncio

import pytest

import behaviour
from behaviour import Hold, error, mute
from cqlwire import Err, Kind, Op, requests
from cqlwire.requests import plain_token
from fakecluster import Auth, Cluster
from helpers import assert_alive, assert_error

USERS = {"alice": "secret", "proxy": "proxy-password"}
WITH_LOGIN = {"auth": Auth(USERS)}


@pytest.mark.parametrize("version", [3, 4, 5])
async def test_negative_stream_ids_before_log_in(make_bench, version):
    """
    "No answer is due" was kept as stream -1, so that a driver could send AUTH_RESPONSE on stream -1 again and again: one leg
    was then out on two stream ids, and its second answer came to freed memory.
    """
    bench = await make_bench(origin=WITH_LOGIN)
    hold = Hold()
    bench.origin.on(Op.AUTH_RESPONSE, hold)
    c = await bench.open(version)
    assert (await c.startup()).opcode == Op.AUTHENTICATE
    for _ in range(3):
        c.send(Op.AUTH_RESPONSE, requests.auth_response(plain_token("alice", "secret")), stream=-1)
    assert_error(await c.next_answer(), Err.PROTOCOL_ERROR, "negative stream id")
    await c.closed()
    hold.release()
    await assert_alive(await bench.client(version, user="alice", password="secret"), bench)


@pytest.mark.parametrize("opcode", [Op.OPTIONS, Op.STARTUP])
async def test_a_negative_stream_id_in_the_first_frame(bench, opcode):
    c = await bench.open()
    c.send(opcode, requests.startup({}) if opcode == Op.STARTUP else b"", stream=-7)
    assert_error(await c.next_answer(), Err.PROTOCOL_ERROR, "negative stream id: -7")
    await c.closed()


@pytest.mark.dedicated
async def test_the_cluster_that_is_silent_is_named(make_bench):
    """A cluster that wants a log-in and had answered STARTUP was blamed for the silence of the other one."""
    bench = await make_bench(origin=WITH_LOGIN, sections={"proxy": {"handshake_timeout": "500ms"}})
    bench.target.on(Op.STARTUP, mute())
    c = await bench.open()
    answer = await c.startup()
    assert_error(answer, Err.SERVER_ERROR, "target", bench.target.nodes[0].address)
    assert "origin" not in answer.text
    await c.closed()


async def test_a_challenge_in_place_of_ready(bench):
    """It was passed on to the driver as an answer to STARTUP, and the handshake waited for its time-out."""
    bench.target.on(Op.STARTUP, behaviour.answer(Op.AUTH_CHALLENGE, b"\x00\x00\x00\x00"))
    c = await bench.open()
    c.send(Op.STARTUP, requests.startup())
    answers = await c.closed()
    assert len(answers) == (0 if bench.is_zdm else 1)
    for answer in answers:
        if bench.is_pooled:
            assert_error(answer, Err.BAD_CREDENTIALS, "target", "its authenticator asks for something else")
        else:
            assert_error(answer, Err.SERVER_ERROR, "target", "AUTH_CHALLENGE")


async def test_every_edit_of_an_execute_at_once(make_bench):
    """
    Ids of another length, SKIP_METADATA taken back and a paging state without its mark are five changes to one frame; there
    was room for four.
    """
    def configure(bench):
        bench.target.prepared_id = lambda text, keyspace: Cluster.prepared_id(bench.target, text, keyspace)[:11]
        bench.target.describe = lambda text, keyspace: ([], [], bench.target.describe_default(text, keyspace)[2][:2])

    bench = await make_bench(fresh=True, primary="target", configure=configure)
    c = await bench.client()
    prepared = await c.prepare("SELECT * FROM ks.paged")
    assert len(prepared.prepared_id) == 16
    state = None
    for number in range(3):
        answer = await c.execute(prepared, paging_state=state, page_size=1, skip_metadata=True)
        assert answer.kind == Kind.ROWS, answer
        state = answer.paging_state
        got = bench.target.requests(Op.EXECUTE)[number]
        assert got.params.paging_state == (b"target:%d" % number if number else None)
        assert len(got.prepared_id) == 11 and not got.params.skip_metadata
    assert state is None


async def test_a_system_table_read_in_a_batch(bench):
    """
    A prepared read of system.local, which no cluster knows, went out as the child of a batch. The node's UNPREPARED was
    repaired, which left an entry without the query that answers it; to execute that one ended the process.
    """
    c = await bench.client(keyspace="ks")
    prepared = await c.prepare("SELECT * FROM system.local")
    answer = await c.batch([(prepared.prepared_id, []), ("INSERT INTO ks.t (k) VALUES (1)", [])])
    assert_error(answer, Err.INVALID)
    for cluster in bench.clusters:
        assert not cluster.requests(Op.BATCH, Op.PREPARE)
        again = await c.execute(cluster.prepared_id("SELECT * FROM system.local", "ks"))
        assert_error(again, Err.UNPREPARED)
    assert (await c.execute(prepared)).rows


def resident(bench):
    with open(f"/proc/{bench.proxy.process.pid}/statm") as f:
        return int(f.read().split()[1]) * 4096


@pytest.mark.parametrize("what", ["system table", "refused body", "options before STARTUP"])
async def test_our_own_answers_count_as_output(make_bench, what):
    """Answers that need no cluster were queued without end for a driver that sends and does not read."""
    bench = await make_bench(fresh=True)
    c = await bench.open(4, receive_buffer=4096)
    if what == "options before STARTUP":
        frame = c.frame(Op.OPTIONS, stream=1)
    else:
        await c.startup()
        body = requests.query(4, "SELECT * FROM system.local") if what == "system table" else b"\x00"
        frame = c.frame(Op.QUERY, body, stream=1)
    c.transport.pause_reading()
    before = resident(bench)
    burst = frame * (65536 // len(frame))
    taken = 0
    for _ in range(400):
        c.write(burst)
        for _ in range(50):
            if c.transport.get_write_buffer_size() == 0:
                break
            await asyncio.sleep(0.01)
        else:
            break
        taken += 1
    assert taken < 400, "the proxy has read everything, although nobody reads its answers"
    assert resident(bench) - before < 40 << 20
    await assert_alive(await bench.client(), bench)
    c.abort()
    c.received.clear()
    bench.clients.remove(c)


async def test_a_queue_that_lz4_empties_in_one_go(make_bench):
    """
    The driver was not read any more because of what had been gathered for a v5 lz4 segment; the flush that sent all of it
    was not taken for progress, since the queue behind it had been empty before, too.
    """
    bench = await make_bench(sections={"proxy": {"client_output_limit": "64KiB"}})
    c = await bench.client(5, "lz4")
    text = "INSERT INTO ks.t (v) VALUES ('" + "x" * 10_000 + "')"
    frames = b"".join(c.frame(Op.QUERY, requests.query(5, text), stream=i) for i in range(11))
    c.send_frame_bytes(frames)
    for i in range(11):
        assert (await c.answer(i)).kind == Kind.VOID
    await assert_alive(c, bench)


@pytest.mark.dedicated
async def test_gauges_when_a_draining_driver_loses_its_node(make_bench):
    """
    The last request of a driver that was being drained waited for a repair when the connection to its node was lost: the
    connection was taken off the gauge twice.
    """
    bench = await make_bench(fresh=True, sections={"proxy": {"workers": 1}})
    before = await bench.proxy.metrics()
    gauges = [name for name in before if "connections" in name and "fail" not in name]
    assert len(gauges) >= 3, sorted(before)
    c = await bench.client(keyspace="ks")
    prepared = await c.prepare("INSERT INTO t (k) VALUES (1)")
    await c.close()
    bench.clients.remove(c)
    other = await bench.client(keyspace="elsewhere")
    bench.target.forget_prepared()
    repair = Hold()  # goes over a connection of its own, which is not let in
    bench.target.on(Op.STARTUP, repair)
    stream = other.send_execute(prepared)
    await repair.arrived()
    bench.origin.requests(Op.EXECUTE)[0].conn.close()
    await bench.proxy.until_logged("draining")
    bench.target.requests(Op.EXECUTE)[0].conn.close()
    assert_error(await other.answer(stream), Err.WRITE_TIMEOUT)
    await other.closed()
    repair.release()
    await bench.until_backends_gone()
    after = await bench.proxy.metrics()
    assert {name: after[name] for name in gauges} == {name: before[name] for name in gauges}


async def test_a_repair_that_a_node_does_not_answer(make_bench):
    """
    The PREPARE of a repair has no deadline of its own: the request that began it timed out, and every later request for the
    same statement on that host joined the dead repair and timed out as well, for as long as the first connection lived.
    """
    bench = await make_bench(sections={"proxy": {"request_timeout": "1s", "workers": 1}})
    c = await bench.client()
    prepared = await c.prepare("INSERT INTO ks.t (k) VALUES (7)")
    bench.target.forget_prepared()
    bench.target.on(Op.PREPARE, mute(), times=1)
    assert_error(await c.execute(prepared), Err.WRITE_TIMEOUT)
    other = await bench.client()
    assert (await other.execute(prepared)).kind == Kind.VOID


async def test_bodies_in_flight_are_bounded(make_bench):
    """A driver sends large writes while the target is mute: after the size of a frame it is read no more, and nothing is lost."""
    bench = await make_bench(sections={"proxy": {"max_frame_size": "1MiB", "workers": 1}})
    c = await bench.client()
    hold = Hold()
    bench.target.on(Op.QUERY, hold)
    streams = [c.send_query("INSERT INTO ks.t (k) VALUES (?)", values=[b"x" * 900_000]) for _ in range(20)]
    await hold.arrived()
    await bench.origin.until_received(2, Op.QUERY)
    assert len(bench.origin.requests(Op.QUERY)) <= 3
    hold.release()
    for stream in streams:
        assert (await c.answer(stream)).kind == Kind.VOID
    assert len(bench.target.requests(Op.QUERY)) == 20


@pytest.mark.dedicated
async def test_an_undo_that_is_not_answered(make_bench):
    """
    A USE failed on one cluster; taking it back on the other one got no answer. The driver gets the error that it would have
    got anyway, and then the end of the connection, since nobody knows where the other one stands.
    """
    bench = await make_bench(sections={"proxy": {"request_timeout": "1s"}})
    c = await bench.client(keyspace="before")
    bench.target.on("after", error(Err.INVALID, "no such keyspace"), times=1)
    bench.origin.on(lambda got: got.opcode == Op.QUERY and got.text == 'USE "before"', mute(), times=1)
    stream = c.send_query("USE after")
    assert_error(await c.answer(stream), Err.INVALID, "no such keyspace")
    await c.closed()


@pytest.mark.parametrize("version", [3, 4, 5])
async def test_a_large_answer_to_nobody(bench, version):
    """It was read into memory, and given to the request that got its stream id while it came in."""
    hold = Hold()
    bench.origin.on("ks.held", hold)
    c = await bench.client(version)
    assert (await c.query("SELECT * FROM ks.t")).rows
    last = bench.origin.requests(Op.QUERY)[-1]
    nonsense = behaviour.answer_bytes(last.conn, last, body=b"\0\0\0\1" + bytes(400_000))
    data = last.conn.codec.wrap(nonsense)
    last.conn.transport.write(data[:200_000])
    await asyncio.sleep(0.1)  # so that its header has been read
    stream = c.send_query("SELECT * FROM ks.held")
    held, = await hold.arrived()
    assert held.stream == last.stream
    last.conn.transport.write(data[200_000:])
    hold.release()
    assert (await c.answer(stream)).rows[0][2] == "SELECT * FROM ks.held"
    assert "which no request waits for" in bench.proxy.messages
    await assert_alive(c, bench)
