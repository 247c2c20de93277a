"""
Requests that get no answer: the driver gets one, by the table "Errors of our own" of docs/protocol.md, and a late answer harms nobody.
"""
import pytest

import behaviour
from behaviour import Hold, mute
from cqlwire import CL, Err, Kind, Op
from helpers import PRIMARIES, WAY_IDS, WAYS, assert_alive, assert_error, client_of_both, until_served

SHORT = {"proxy": {"request_timeout": "800ms"}}
COUNTER = 2
UNLOGGED = 1


WRITES = {
    "insert": (lambda c: c.send_query("INSERT INTO ks.t (k) VALUES (1)", consistency=CL.QUORUM), "SIMPLE"),
    "conditional": (lambda c: c.send_query("UPDATE ks.t SET v = 1 WHERE k = 1 IF v = 2", consistency=CL.QUORUM), "CAS"),
    "unknown": (lambda c: c.send_query("FROBNICATE ks.t", consistency=CL.QUORUM), "SIMPLE"),
    "schema": (lambda c: c.send_query("CREATE TABLE ks.t (k int PRIMARY KEY)", consistency=CL.QUORUM), "SIMPLE"),
    "batch text": (lambda c: c.send_query("BEGIN BATCH INSERT INTO ks.t (k) VALUES (1) APPLY BATCH",
                                          consistency=CL.QUORUM),
                   "BATCH"),
    "unlogged batch text": (lambda c: c.send_query("BEGIN UNLOGGED BATCH INSERT INTO ks.t (k) VALUES (1) APPLY BATCH",
                                                   consistency=CL.QUORUM), "UNLOGGED_BATCH"),
    "counter batch text": (lambda c: c.send_query("BEGIN COUNTER BATCH UPDATE ks.t SET c = c + 1 WHERE k = 1 "
                                                  "APPLY BATCH", consistency=CL.QUORUM), "COUNTER"),
    "batch": (lambda c: c.send_batch([("INSERT INTO ks.t (k) VALUES (1)", [])], consistency=CL.QUORUM), "BATCH"),
    "unlogged batch": (lambda c: c.send_batch([("INSERT INTO ks.t (k) VALUES (1)", [])], kind=UNLOGGED,
                                              consistency=CL.QUORUM),
                       "UNLOGGED_BATCH"),
    "counter batch": (lambda c: c.send_batch([("UPDATE ks.t SET c = c + 1 WHERE k = 1", [])], kind=COUNTER,
                                             consistency=CL.QUORUM), "COUNTER"),
}


@pytest.mark.checklist(134, 135, 138)
@pytest.mark.parametrize("where", PRIMARIES)
@pytest.mark.parametrize("version", [3, 4, 5])
async def test_a_write_that_one_cluster_does_not_answer(make_bench, where, version):
    bench = await make_bench(sections=SHORT)
    cluster = getattr(bench, where)
    cluster.on(lambda r: r.opcode in (Op.QUERY, Op.BATCH), mute())
    c = await bench.client(version)
    sent = {send(c): write_type for send, write_type in WRITES.values()}
    for stream, write_type in sent.items():
        answer = await c.answer(stream)
        assert_error(answer, Err.WRITE_TIMEOUT, cluster.name, cluster.nodes[0].address)
        assert answer.fields["write_type"] == write_type
        assert answer.fields["consistency"] == CL.QUORUM
        assert (answer.fields["received"], answer.fields["block_for"]) == (0, 1)
    cluster.rules.clear()
    await assert_alive(c, bench)
    for each in bench.clusters:
        assert len(each.requests(Op.QUERY, Op.BATCH)) == len(WRITES) + (1 if each is bench.origin else 0)


@pytest.mark.checklist(134, 135)
async def test_a_write_that_nobody_answers(make_bench):
    bench = await make_bench(sections=SHORT)
    for cluster in bench.clusters:
        cluster.on("ks.t", mute())
    c = await bench.client()
    assert_error(await c.query("INSERT INTO ks.t (k) VALUES (1)"), Err.WRITE_TIMEOUT)


@pytest.mark.checklist(136)
@pytest.mark.parametrize("primary", PRIMARIES)
@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_a_read_that_is_not_answered(make_bench, primary, version, compression):
    bench = await make_bench(primary=primary, sections=SHORT)
    bench.primary.on("ks.t", mute())
    c = await bench.client(version, compression)
    answer = await c.query("SELECT * FROM ks.t", consistency=CL.ALL)
    assert_error(answer, Err.READ_TIMEOUT, primary, bench.primary.nodes[0].address)
    assert answer.fields == {"consistency": CL.ALL, "received": 0, "block_for": 1, "data_present": False}
    await assert_alive(c, bench)


@pytest.mark.checklist(134, 135, 136)
@pytest.mark.parametrize("where", PRIMARIES)
@pytest.mark.parametrize("kind", ["prepare", "use", "register", "execute read", "execute write"])
async def test_other_requests_that_are_not_answered(make_bench, where, kind):
    sections = SHORT
    if kind == "register":  # which only the zdm profile sends to nodes
        sections = {**SHORT, "proxy": {**SHORT["proxy"], "profile": "zdm", "backend_connections": "dedicated"}}
    bench = await make_bench(primary=where, sections=sections)
    cluster = getattr(bench, where)
    c = await bench.client(4, keyspace="ks")
    read = await c.prepare("SELECT * FROM ks.t")
    write = await c.prepare("INSERT INTO ks.t (k) VALUES (1) IF NOT EXISTS")
    cluster.on(lambda r: True, mute())
    stream, code = {
        "prepare": lambda: (c.send_prepare("SELECT a FROM ks.t"), Err.SERVER_ERROR),
        "use": lambda: (c.send_query("USE ks2"), Err.SERVER_ERROR),
        "register": lambda: (c.send(Op.REGISTER, b"\0\1\0\x0dSCHEMA_CHANGE"), Err.SERVER_ERROR),
        "execute read": lambda: (c.send_execute(read), Err.READ_TIMEOUT),
        "execute write": lambda: (c.send_execute(write), Err.WRITE_TIMEOUT),
    }[kind]()
    answer = await c.answer(stream)
    if kind == "register" and not bench.is_zdm:
        assert answer.opcode == Op.READY  # of ours
        return
    if kind == "use" and bench.is_pooled:  # no connection could be put into that keyspace
        assert_error(answer, Err.OVERLOADED, "nothing was sent")
        return
    assert_error(answer, code, cluster.name, cluster.nodes[0].address)
    if kind == "execute write":
        assert answer.fields["write_type"] == "CAS"


@pytest.mark.checklist(137, 138, 262)
@pytest.mark.parametrize("where", PRIMARIES)
async def test_who_was_silent_is_counted(make_bench, where):
    bench = await make_bench(fresh=True, sections=SHORT)
    cluster = getattr(bench, where)
    cluster.on("ks.silent", mute())
    c = await bench.client()
    assert_error(await c.query("INSERT INTO ks.silent (k) VALUES (1)"), Err.WRITE_TIMEOUT)
    assert (await c.query("INSERT INTO ks.t (k) VALUES (1)")).kind == Kind.VOID
    samples = await bench.proxy.metrics()
    assert samples['zdm_proxy_inflight_requests_total{type="writes"}'] == 0
    timeouts = {name: value for name, value in samples.items() if "client_timeout" in name and value}
    assert len(timeouts) <= 1 and all(where in name for name in timeouts), timeouts


@pytest.mark.checklist(139, 140)
@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_a_late_answer_goes_to_nobody(make_bench, version, compression):
    """The driver uses the stream id again; what comes late for the first request must not answer the second."""
    bench = await make_bench(sections=SHORT)
    first, second = Hold(), Hold()
    bench.origin.on("ks.first", first)
    bench.origin.on("ks.second", second)
    c = await bench.client(version, compression)
    c.send_query("SELECT * FROM ks.first", stream=7)
    assert_error(await c.answer(7), Err.READ_TIMEOUT)
    c.send_query("SELECT * FROM ks.second", stream=7)
    await second.arrived()
    first.release()
    await bench.settle(c)  # the late answer has passed the proxy
    assert not c.received
    second.release()
    assert (await c.answer(7)).rows[0][2] == "SELECT * FROM ks.second"
    streams = [r.stream for r in bench.origin.requests(Op.QUERY)]
    assert streams[0] != streams[1]  # the first id was still out


@pytest.mark.checklist(139)
async def test_a_late_error_goes_to_nobody(make_bench):
    bench = await make_bench(sections=SHORT)
    hold = Hold(behaviour.error(Err.INVALID, "late"))
    bench.target.on("ks.late", hold)
    c = await bench.client()
    assert_error(await c.query("INSERT INTO ks.late (k) VALUES (1)"), Err.WRITE_TIMEOUT, "target")
    hold.release()
    await assert_alive(c, bench)


@pytest.mark.checklist(263)
async def test_many_time_outs_at_once(make_bench):
    bench = await make_bench(sections=SHORT)
    for cluster in bench.clusters:
        cluster.on("ks.t", mute())
    c = await bench.client()
    streams = [c.send_query(f"INSERT INTO ks.t (k) VALUES ({i})") for i in range(500)]
    streams += [c.send_query(f"SELECT {i} FROM ks.t") for i in range(500)]
    for i, stream in enumerate(streams):
        assert_error(await c.answer(stream), Err.WRITE_TIMEOUT if i < 500 else Err.READ_TIMEOUT)
    await assert_alive(c, bench)


@pytest.mark.checklist(59, 61)
@pytest.mark.parametrize("where", PRIMARIES)
async def test_a_cluster_that_is_mute_in_the_handshake(make_bench, where):
    bench = await make_bench(sections={"proxy": {"handshake_timeout": "1s", "request_timeout": "1s"}})
    cluster = getattr(bench, where)
    cluster.on(Op.STARTUP, mute(), times=1)
    c = await bench.open()
    stream = c.send(Op.STARTUP, b"\0\1\0\x0bCQL_VERSION\0\x053.0.0")
    if bench.is_pooled and where != bench.primary.name:  # it is served without that cluster, until it is back
        assert (await c.answer(stream)).opcode == Op.READY
        await until_served(c)
        return
    answers = await c.closed()
    assert len(answers) <= 1
    if answers:
        assert answers[0].is_error() and cluster.name in answers[0].text
    await assert_alive(await client_of_both(bench), bench)
