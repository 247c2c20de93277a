"""
The ways in which ZDM Proxy leaves a driver without an answer. Each has a test here that shows the one answer that comes
instead: its code, the request's stream id, the cluster that it names, and that nothing comes behind it.
"""
import pytest

import behaviour
from behaviour import Hold, error, mute, unprepared
from cqlwire import CL, Column, Err, FrameFlag, Kind, Op, Type, frame_bytes, requests
from fakecluster import Auth
from helpers import PRIMARIES, assert_alive, assert_error

READ = "SELECT * FROM ks.t"
WRITE = "INSERT INTO ks.t (k) VALUES (1)"
STREAM = 77
SHORT = {"proxy": {"request_timeout": "800ms"}}
PROXY = {"proxy": "proxy-password"}
LOGIN = {"auth": Auth({**PROXY, "app": "secret"})}


async def only_answer(c, bench, stream=STREAM):
    """The answer on this stream; the connection goes on, and nothing else has come."""
    answer = await c.answer(stream)
    await assert_alive(c, bench)
    assert not c.received
    return answer


# ---- time-out ----

@pytest.mark.checklist(134, 135, 136)
@pytest.mark.parametrize("where", PRIMARIES)
@pytest.mark.parametrize("text,code", [(READ, Err.READ_TIMEOUT), (WRITE, Err.WRITE_TIMEOUT),
                                       ("nonsense", Err.WRITE_TIMEOUT)])
async def test_no_answer_within_the_time_out(make_bench, where, text, code):
    bench = await make_bench(primary=where, sections=SHORT)
    bench.primary.on(text, mute())
    c = await bench.client()
    c.send_query(text, stream=STREAM, consistency=CL.QUORUM)
    answer = await only_answer(c, bench)
    assert_error(answer, code, f"no answer from {where} at {bench.primary.nodes[0].address}", "within 800 ms")
    assert answer.fields["consistency"] == CL.QUORUM


# ---- what cannot be read ----

@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("opcode", [Op.QUERY, Op.PREPARE, Op.EXECUTE, Op.BATCH, Op.REGISTER], ids=lambda o: o.name)
async def test_a_request_that_cannot_be_read(bench, version, opcode):
    c = await bench.client(version)
    c.send(opcode, b"\0", stream=STREAM)
    assert_error(await only_answer(c, bench), Err.PROTOCOL_ERROR, f"the body of {opcode.name} cannot be read")


@pytest.mark.parametrize("algorithm", ["lz4", "snappy"])
async def test_a_request_that_cannot_be_decompressed(bench, algorithm):
    c = await bench.client(4, algorithm)
    c.write(frame_bytes(4, FrameFlag.COMPRESSED, STREAM, Op.QUERY, b"\0\0\0\x09garbage"))
    assert_error(await only_answer(c, bench), Err.PROTOCOL_ERROR, "QUERY")


@pytest.mark.checklist(133)
@pytest.mark.parametrize("primary", PRIMARIES)
@pytest.mark.parametrize("opcode,body", [(Op.RESULT, b""), (Op.RESULT, b"\0\0\0\x63odd"), (Op.RESULT, b"\0\0\0\2\xff"),
                                         (Op.ERROR, b"\0\0\x77\x77\0\1x"), (Op.ERROR, b"\0\0\x11\0\0\1x")])
async def test_an_answer_that_cannot_be_read_is_passed_on(make_bench, primary, opcode, body):
    """The driver knows best what to make of it."""
    bench = await make_bench(primary=primary)
    for cluster in bench.clusters:
        cluster.on("ks.t", behaviour.answer(opcode, body))
    c = await bench.client()
    for text in (READ, WRITE):
        c.send_query(text, stream=STREAM)
        await c.until(lambda: c.received, "answer")
        frame = c.received.pop()
        assert (frame.stream, frame.opcode, frame.body) == (STREAM, opcode, body)
    await assert_alive(c, bench)


@pytest.mark.checklist(133)
@pytest.mark.parametrize("where", PRIMARIES)
async def test_an_answer_to_prepare_that_cannot_be_read(bench, where):
    """Passed on; what could not be read is not remembered, so that a later EXECUTE is answered by us."""
    cluster = getattr(bench, where)
    cluster.on(Op.PREPARE, behaviour.answer(Op.RESULT, b"\0\0\0\4\xff\xff"), times=1)
    c = await bench.client()
    c.send_prepare(f"SELECT {where} FROM ks.t", stream=STREAM)
    await c.until(lambda: c.received, "answer")
    frame = c.received.pop()
    assert (frame.stream, frame.opcode) == (STREAM, Op.RESULT)
    c.send_execute(bench.origin.prepared_id(f"SELECT {where} FROM ks.t", None), stream=STREAM)
    assert_error(await only_answer(c, bench), Err.UNPREPARED)


# ---- stream ids ----

@pytest.mark.checklist(240)
async def test_a_stream_id_in_use(bench):
    hold = Hold()
    bench.target.on(WRITE, hold)
    c = await bench.client()
    c.send_query(WRITE, stream=STREAM)
    await hold.arrived()
    c.send_query(READ, stream=STREAM)
    assert_error(await c.answer(STREAM), Err.PROTOCOL_ERROR, f"stream id {STREAM} is in use")
    hold.release()
    assert (await only_answer(c, bench)).kind == Kind.VOID
    assert READ not in bench.origin.statements()


@pytest.mark.checklist(239)
@pytest.mark.parametrize("stream", [-1, -300])
async def test_a_stream_id_out_of_range(bench, stream):
    c = await bench.client()
    c.send_query(WRITE, stream=stream)
    assert_error(await only_answer(c, bench, stream), Err.PROTOCOL_ERROR, f"negative stream id: {stream}")
    assert WRITE not in bench.origin.statements() + bench.target.statements()


@pytest.mark.dedicated
@pytest.mark.checklist(241)
@pytest.mark.parametrize("full", PRIMARIES)
async def test_one_cluster_has_no_stream_id_left(make_bench, full):
    """A request for both then reaches neither: no cluster executes what the driver is told to send again."""
    bench = await make_bench(primary=full, sections={"proxy": {"max_stream_ids": 5}})
    hold = Hold()
    bench.primary.on("ks.slow", hold)
    c = await bench.client()
    slow = [c.send_query("SELECT * FROM ks.slow") for _ in range(5)]
    await hold.arrived(5)
    c.send_query(WRITE, stream=STREAM)
    assert_error(await c.answer(STREAM), Err.OVERLOADED, f"all 5 stream ids of the connection to {full}",
                 "nothing was sent")
    hold.release()
    for stream in slow:
        assert (await c.answer(stream)).rows
    await assert_alive(c, bench)
    assert WRITE not in bench.origin.statements() + bench.target.statements()


# ---- answered by the proxy itself ----

@pytest.mark.checklist(116)
@pytest.mark.parametrize("text", ["CALL InsightsRpc.reportInsight('{}')", "call INSIGHTSRPC.reportInsight(?)"])
async def test_insights_calls(bench, text):
    c = await bench.client()
    c.send_query(text, stream=STREAM)
    assert (await only_answer(c, bench)).kind == Kind.VOID
    assert text not in bench.origin.statements() + bench.target.statements()


@pytest.mark.checklist(117)
async def test_prepared_insights_calls(bench):
    text = "CALL InsightsRpc.reportInsight('x')"
    c = await bench.client()
    c.send_prepare(text, stream=STREAM)
    prepared = await only_answer(c, bench)
    assert prepared.kind == Kind.PREPARED
    c.send_execute(prepared, stream=STREAM)
    assert (await only_answer(c, bench)).kind == Kind.VOID
    assert text not in bench.origin.statements() + bench.target.statements()


@pytest.mark.checklist(166)
@pytest.mark.parametrize("table", ["local", "peers"])
@pytest.mark.parametrize("column", ["dse_version", "no_such_column"])
async def test_a_column_that_is_not_there(bench, table, column):
    text = f"SELECT {column} FROM system.{table}"
    c = await bench.client()
    c.send_query(text, stream=STREAM)
    assert_error(await only_answer(c, bench), Err.INVALID, f"Undefined column name {column}")
    c.send_prepare(text, stream=STREAM)
    assert_error(await only_answer(c, bench), Err.INVALID, f"Undefined column name {column}")


@pytest.mark.checklist(171)
@pytest.mark.parametrize("selectors", ["JSON *", "DISTINCT data_center", "now()", "CAST(rack AS text)", "toJson(rack)",
                                       "rack + 1", "(int) 1", "writetime(rack)", "?"])
async def test_select_lists_of_system_tables(bench, selectors):
    """Rows, or INVALID with a reason: what is understood may grow."""
    c = await bench.client()
    c.send_query(f"SELECT {selectors} FROM system.local", stream=STREAM)
    answer = await only_answer(c, bench)
    assert answer.kind == Kind.ROWS or (answer.opcode == Op.ERROR and answer.code == Err.INVALID and answer.text)


# ---- UNPREPARED ----

@pytest.mark.parametrize("where", PRIMARIES)
@pytest.mark.parametrize("read", [True, False])
async def test_unprepared_with_an_id_that_nobody_knows(make_bench, where, read):
    """It can only be the statement of the EXECUTE: prepared there again, and named by the id that the driver knows."""
    bench = await make_bench(primary=where)
    c = await bench.client()
    prepared = await c.prepare(READ if read else WRITE)
    bench.primary.on(Op.EXECUTE, unprepared(b"z" * 16), times=1)
    c.send_execute(prepared, stream=STREAM)
    answer = await only_answer(c, bench)
    assert answer.rows[0][0] == where if read else answer.kind == Kind.VOID
    bench.primary.on(Op.EXECUTE, unprepared(b"z" * 16))
    c.send_execute(prepared, stream=STREAM)
    answer = await only_answer(c, bench)
    if read:
        assert_error(answer, Err.UNPREPARED, prepared.prepared_id.hex())
        assert answer.fields["id"] == prepared.prepared_id
    else:
        assert_error(answer, Err.WRITE_TIMEOUT, where, "UNPREPARED")


@pytest.mark.parametrize("where", PRIMARIES)
async def test_unprepared_of_a_batch_with_an_id_that_nobody_knows(bench, where):
    cluster = getattr(bench, where)
    c = await bench.client()
    prepared = await c.prepare(WRITE)
    cluster.on(Op.BATCH, unprepared(b"z" * 16))
    c.send_batch([(prepared.prepared_id, [])], stream=STREAM)
    assert_error(await only_answer(c, bench), Err.WRITE_TIMEOUT, where, "UNPREPARED")


# ---- replaced functions, request ids ----

@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("values", [[], [b"1"], [b"1", b"2", b"3"], [b""] * 1000])
async def test_a_wrong_number_of_values_beside_a_replaced_function(make_bench, values, batch):
    """The clusters count them, as they would without the proxy."""
    bench = await make_bench(sections={"routing": {"replace_cql_functions": "true"}})
    c = await bench.client()
    prepared = await c.prepare("INSERT INTO ks.t (a, b, c) VALUES (?, now(), ?)")
    if batch:
        c.send_batch([(prepared.prepared_id, values)], stream=STREAM)
    else:
        c.send_execute(prepared, values=values, stream=STREAM)
    assert_error(await only_answer(c, bench), Err.INVALID, "bind variables")


@pytest.mark.parametrize("names", [["a"], ["a", "nobody"], ["a", "c", "d"]])
async def test_wrong_names_beside_a_replaced_function(make_bench, names):
    """A name too few is an unset value, which the clusters judge; none of it is kept without an answer."""
    bench = await make_bench(sections={"routing": {"replace_cql_functions": "true"}})
    c = await bench.client()
    prepared = await c.prepare("INSERT INTO ks.t (a, b, c) VALUES (:a, now(), :c)")
    c.send_execute(prepared, values=[b"v"] * len(names), names=names, stream=STREAM)
    answer = await only_answer(c, bench)
    assert answer.kind == Kind.VOID or answer.code == Err.INVALID, answer


@pytest.mark.parametrize("where", PRIMARIES)
async def test_a_generated_value_of_a_type_that_cannot_hold_it(make_bench, where):
    """A column that is no timeuuid on one cluster: the cluster's refusal, or ours, but no silence."""
    bench = await make_bench(fresh=True, sections={"routing": {"replace_cql_functions": "true"}})
    cluster = getattr(bench, where)
    describe = cluster.describe

    def with_int(text, keyspace):
        bind, pk, result = describe(text, keyspace)
        return [Column(column.name, Type.INT) for column in bind], pk, result
    cluster.describe = with_int
    c = await bench.client()
    c.send_prepare("INSERT INTO ks.t (a, b) VALUES (?, now())", stream=STREAM)
    prepared = await only_answer(c, bench)
    assert prepared.kind == Kind.PREPARED
    c.send_execute(prepared, values=[b"\0\0\0\1"], stream=STREAM)
    assert (await only_answer(c, bench)).opcode in (Op.RESULT, Op.ERROR)


@pytest.mark.checklist(252)
@pytest.mark.parametrize("send", [
    lambda c: c.send_query(WRITE, stream=STREAM), lambda c: c.send_query(READ, stream=STREAM),
    lambda c: c.send_prepare(READ, stream=STREAM), lambda c: c.send_batch([(WRITE, [])], stream=STREAM)])
async def test_request_ids_and_a_client_without_payloads(make_bench, send):
    bench = await make_bench(sections={"proxy": {"tracing_enabled": "true"}})
    c = await bench.client(3)
    send(c)
    assert (await only_answer(c, bench)).opcode == Op.RESULT


# ---- the handshake ----

@pytest.mark.checklist(22)
@pytest.mark.parametrize("name", ["zstd", "", "Lz4 "])
async def test_a_compression_that_does_not_exist(bench, name):
    c = await bench.open()
    c.send(Op.STARTUP, requests.startup({"COMPRESSION": name}), stream=STREAM)
    if not name:
        assert (await c.answer(STREAM)).opcode == Op.READY  # says that there is none
        return
    answers = await c.closed()
    assert [a.stream for a in answers] == [STREAM]
    assert_error(answers[0], Err.PROTOCOL_ERROR, f"unknown compression algorithm '{name}'")


@pytest.mark.parametrize("forward", [True, False])
@pytest.mark.parametrize("token", [b"", b"\0", b"no separators", b"a\0b", b"\0\0\0\0", b"\xff" * 50])
async def test_a_token_that_cannot_be_read(make_bench, forward, token):
    """Where it is not ours to change, origin judges it; else it must be PLAIN, to put other credentials in."""
    sections = {"routing": {"forward_client_credentials_to_origin": str(forward).lower()}}
    bench = await make_bench(origin=LOGIN, target=LOGIN, sections=sections)
    c = await bench.open()
    assert (await c.startup()).opcode == Op.AUTHENTICATE
    c.send(Op.AUTH_RESPONSE, requests.auth_response(token), stream=STREAM)
    answer = await c.answer(STREAM)
    assert_error(answer, Err.BAD_CREDENTIALS, "" if bench.is_zdm and forward else "origin")
    assert not c.received and not bench.target.requests(Op.AUTH_RESPONSE)


@pytest.mark.checklist(61)
@pytest.mark.parametrize("origin,target", [(LOGIN, {}), ({}, LOGIN), (LOGIN, LOGIN), ({}, {})])
@pytest.mark.parametrize("where", PRIMARIES)
@pytest.mark.parametrize("code", [Err.SERVER_ERROR, Err.OVERLOADED, Err.IS_BOOTSTRAPPING])
async def test_a_cluster_that_refuses_startup(make_bench, origin, target, where, code):
    bench = await make_bench(origin=origin, target=target)
    getattr(bench, where).on(Op.STARTUP, error(code, "not today"))
    c = await bench.open()
    c.send(Op.STARTUP, requests.startup(), stream=STREAM)
    if bench.is_pooled:
        answer = await c.answer(STREAM)
        if answer.opcode == Op.AUTHENTICATE:
            c.send(Op.AUTH_RESPONSE, requests.auth_response(requests.plain_token("app", "secret")), stream=STREAM)
            answer = await c.answer(STREAM)
        if answer.is_error():
            assert answer.code in (Err.SERVER_ERROR, code)
            assert_error(answer, answer.code, "not today", where)
        else:  # the clusters that are up have accepted: it is served without the other one
            assert answer.opcode in (Op.READY, Op.AUTH_SUCCESS)
            assert_error(await c.query("INSERT INTO ks.t (k) VALUES (1)"), Err.UNAVAILABLE, where)
        return
    answers = await c.closed()
    assert [a.stream for a in answers] == [STREAM]
    assert_error(answers[0], code, "not today", where)


# ---- protocol errors ----

@pytest.mark.parametrize("primary", PRIMARIES)
async def test_the_second_protocol_error_of_a_session(make_bench, primary):
    """Each belongs to its request, as any other error does; ZDM Proxy sends the first on stream 0 and no other."""
    bench = await make_bench(primary=primary)
    for cluster in bench.clusters:
        cluster.on("ks.t", error(Err.PROTOCOL_ERROR, f"{cluster.name} is confused"))
    c = await bench.client()
    for text in (READ, WRITE, READ, WRITE):
        c.send_query(text, stream=STREAM)
        assert_error(await only_answer(c, bench), Err.PROTOCOL_ERROR, f"{primary} is confused")


@pytest.mark.parametrize("where", PRIMARIES)
async def test_a_protocol_error_of_one_cluster(bench, where):
    getattr(bench, where).on(WRITE, error(Err.PROTOCOL_ERROR, f"{where} is confused"))
    c = await bench.client()
    for _ in range(2):
        c.send_query(WRITE, stream=STREAM)
        assert_error(await only_answer(c, bench), Err.PROTOCOL_ERROR, f"{where} is confused")
