"""Which of two answers the driver gets, and that it gets it as it was."""
import pytest

import behaviour
from behaviour import Hold, error, normally
from cqlwire import CL, Column, Err, FrameFlag, Kind, Op, Type, responses
from helpers import PRIMARIES, WAY_IDS, WAYS, assert_error, warned

INSERT = "INSERT INTO ks.t (k) VALUES (1)"
FIELDS = dict(consistency=CL.QUORUM, received=1, block_for=2, write_type="SIMPLE")


async def send_write(c, how):
    """A write as QUERY, EXECUTE or BATCH; returns the answer."""
    if how == "query":
        return await c.query(INSERT)
    if how == "batch":
        return await c.batch([(INSERT, [])])
    return await c.execute(await c.prepare(INSERT))


OPCODES = {"query": Op.QUERY, "batch": Op.BATCH, "execute": Op.EXECUTE}


@pytest.mark.checklist(121, 122, 130, 131)
@pytest.mark.parametrize("primary", PRIMARIES)
@pytest.mark.parametrize("how", OPCODES)
async def test_both_succeed(make_bench, primary, how):
    bench = await make_bench(primary=primary)
    for cluster in bench.clusters:
        cluster.on(OPCODES[how], normally(warnings=[f"from {cluster.name}"], payload={"p": cluster.name.encode()}))
    c = await bench.client(4)
    answer = await send_write(c, how)
    assert answer.kind == Kind.VOID and answer.version == 4
    assert answer.warnings == [f"from {primary}"] and answer.payload == {"p": primary.encode()}


@pytest.mark.checklist(123, 124, 127)
@pytest.mark.parametrize("primary", PRIMARIES)
@pytest.mark.parametrize("failing", PRIMARIES)
@pytest.mark.parametrize("how", OPCODES)
async def test_one_fails(make_bench, primary, failing, how):
    bench = await make_bench(primary=primary)
    cluster = getattr(bench, failing)
    cluster.on(OPCODES[how], error(Err.WRITE_TIMEOUT, f"{failing} is slow", **FIELDS))
    c = await bench.client()
    answer = await send_write(c, how)
    assert_error(answer, Err.WRITE_TIMEOUT, f"{failing} is slow")
    assert answer.fields == FIELDS
    for each in bench.clusters:
        assert len(each.requests(OPCODES[how])) == 1


@pytest.mark.checklist(125, 126, 127)
@pytest.mark.parametrize("profile", ["native", "zdm"])
@pytest.mark.parametrize("primary", PRIMARIES)
@pytest.mark.parametrize("how", OPCODES)
async def test_both_fail(make_bench, profile, primary, how):
    bench = await make_bench(primary=primary, profile=profile)
    for cluster in bench.clusters:
        cluster.on(OPCODES[how], error(Err.WRITE_TIMEOUT, f"{cluster.name} is slow", **FIELDS))
    c = await bench.client()
    answer = await send_write(c, how)
    assert_error(answer, Err.WRITE_TIMEOUT, f"{primary} is slow")


@pytest.mark.checklist(123, 124)
@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("code,fields", [
    (Err.WRITE_TIMEOUT, dict(consistency=CL.SERIAL, received=1, block_for=3, write_type="CAS")),
    (Err.WRITE_FAILURE, dict(consistency=CL.ALL, received=1, block_for=3, failures=2, write_type="BATCH")),
    (Err.ALREADY_EXISTS, dict(keyspace="ks", table="t")),
    (Err.FUNCTION_FAILURE, dict(keyspace="ks", function="f", arg_types=["int", "text"])),
    (Err.INVALID, {}), (Err.SYNTAX_ERROR, {}), (Err.UNAUTHORIZED, {}), (Err.CONFIG_ERROR, {}), (Err.TRUNCATE_ERROR, {}),
])
async def test_errors_keep_all_their_fields(bench, version, code, fields):
    bench.target.on(INSERT, error(code, "why not \u00e9", **fields))
    c = await bench.client(version)
    answer = await c.query(INSERT)
    assert_error(answer, code, "why not \u00e9")
    for name, value in fields.items():
        assert answer.fields[name] == value


@pytest.mark.checklist(128)
@pytest.mark.parametrize("primary", PRIMARIES)
@pytest.mark.parametrize("failing", PRIMARIES)
async def test_an_error_waits_for_the_other_cluster(make_bench, primary, failing):
    bench = await make_bench(primary=primary)
    quick = getattr(bench, failing)
    other = bench.target if quick is bench.origin else bench.origin
    hold = Hold()
    quick.on(INSERT, error(Err.INVALID, "at once"))
    other.on(INSERT, hold)
    c = await bench.client()
    stream = c.send_query(INSERT)
    await hold.arrived()
    await bench.settle(c)  # its answer came behind the quick cluster's error on the same connection
    assert not c.received
    hold.release()
    assert_error(await c.answer(stream), Err.INVALID, "at once")


@pytest.mark.checklist(129)
@pytest.mark.parametrize("primary", PRIMARIES)
@pytest.mark.parametrize("code", [Err.READ_TIMEOUT, Err.READ_FAILURE, Err.UNAVAILABLE, Err.OVERLOADED, Err.INVALID])
@pytest.mark.parametrize("version", [4, 5])
async def test_read_errors_pass_and_nobody_else_is_asked(make_bench, primary, code, version):
    bench = await make_bench(primary=primary)
    bench.primary.on("ks.t", error(code, "no", consistency=CL.TWO, received=1, block_for=2, data_present=True))
    c = await bench.client(version)
    answer = await c.query("SELECT * FROM ks.t")
    assert_error(answer, code, "no")
    if code in (Err.READ_TIMEOUT, Err.READ_FAILURE):
        assert answer.fields["data_present"] and answer.fields["consistency"] == CL.TWO
    await bench.settle(c)
    assert not bench.secondary.requests(Op.QUERY)


@pytest.mark.checklist(130)
@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_tracing_warnings_and_payload_of_a_read(bench, version, compression):
    more = {"warnings": ["w1", "w2"], "payload": {"k": b"v", "n": None}} if version >= 4 else {}
    bench.origin.on("ks.t", normally(**more))
    c = await bench.client(version, compression)
    answer = await c.query("SELECT * FROM ks.t", flags=FrameFlag.TRACING)
    assert len(answer.tracing_id) == 16
    assert answer.warnings == more.get("warnings") and answer.payload == more.get("payload")
    assert answer.rows[0][0] == "origin"
    assert bench.origin.requests(Op.QUERY)[0].flags & FrameFlag.TRACING


@pytest.mark.checklist(83, 132)
@pytest.mark.parametrize("primary", PRIMARIES)
@pytest.mark.parametrize("applied", PRIMARIES)
async def test_a_conditional_write_has_the_primarys_outcome(make_bench, primary, applied):
    bench = await make_bench(primary=primary)
    columns = [Column("[applied]", Type.BOOLEAN)]
    text = INSERT + " IF NOT EXISTS"
    for cluster in bench.clusters:
        cluster.on(text, behaviour.rows(columns, [[cluster.name == applied]]))
    c = await bench.client()
    assert (await c.query(text)).rows == [[primary == applied]]
    for cluster in bench.clusters:
        assert cluster.statements() == [text]


@pytest.mark.checklist(133)
@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_errors_and_results_of_the_future_pass(bench, version, compression):
    c = await bench.client(version, compression)
    for code in (Err.CDC_WRITE_FAILURE, Err.CAS_WRITE_UNKNOWN, 0x7777):
        bench.target.on(INSERT, error(code, "new", extra=b"\1\2\3" if code == 0x7777 else b""), times=1)
        answer = await c.query(INSERT)
        assert_error(answer, code, "new")
        assert code != 0x7777 or answer.fields["rest"] == b"\1\2\3"
    body = responses.Writer().int(0x55).raw(b"something").done()
    bench.origin.on("ks.t", behaviour.answer(Op.RESULT, body))
    answer = await c.query("SELECT * FROM ks.t")
    assert answer.kind == 0x55 and answer.fields["rest"] == b"something"


RETRIABLE = [Err.OVERLOADED, Err.IS_BOOTSTRAPPING, Err.UNAVAILABLE, Err.SERVER_ERROR]
COUNT = "UPDATE ks.counters SET c = c + 1 WHERE k = 1"


@pytest.mark.native
@pytest.mark.parametrize("primary", PRIMARIES)
@pytest.mark.parametrize("failing", PRIMARIES)
@pytest.mark.parametrize("code", RETRIABLE)
async def test_half_a_write_is_no_reason_to_try_again(make_bench, primary, failing, code):
    """Drivers retry these errors on the next host; the other cluster has counted already."""
    bench = await make_bench(primary=primary)
    getattr(bench, failing).on(COUNT, error(code, "ask somebody else"))
    c = await bench.client()
    answer = await c.query(COUNT, consistency=CL.TWO)
    assert_error(answer, Err.WRITE_TIMEOUT, failing, "ask somebody else")
    assert answer.fields["consistency"] == CL.TWO


@pytest.mark.parametrize("failing", PRIMARIES)
async def test_half_a_write_is_passed_on_as_zdm_does(make_bench, failing):
    bench = await make_bench(profile="zdm")
    getattr(bench, failing).on(COUNT, error(Err.OVERLOADED, "ask somebody else"))
    c = await bench.client()
    assert_error(await c.query(COUNT), Err.OVERLOADED, "ask somebody else")


@pytest.mark.parametrize("primary", PRIMARIES)
@pytest.mark.parametrize("code", RETRIABLE)
async def test_a_write_that_nobody_did_may_be_tried_again(make_bench, primary, code):
    bench = await make_bench(primary=primary)
    for cluster in bench.clusters:
        cluster.on(COUNT, error(code, f"not by {cluster.name}"))
    c = await bench.client()
    assert_error(await c.query(COUNT), code, f"not by {primary}")


@pytest.mark.native
async def test_a_write_that_may_have_been_done_is_no_reason_to_try_again(bench):
    bench.origin.on(COUNT, error(Err.OVERLOADED, "not me"))
    bench.target.on(COUNT, error(Err.WRITE_TIMEOUT, "perhaps", write_type="COUNTER"))
    c = await bench.client()
    answer = await c.query(COUNT)
    assert answer.is_error() and answer.code == Err.WRITE_TIMEOUT, answer


async def test_the_answer_of_use_is_the_primarys(make_bench):
    bench = await make_bench(primary="target")
    for cluster in bench.clusters:
        cluster.on("USE ks", normally(**warned(cluster.name)))
    c = await bench.client()
    answer = await c.use("ks")
    assert answer.keyspace == "ks" and answer.warnings == ["from target"]


@pytest.mark.parametrize("failing", PRIMARIES)
async def test_a_use_that_fails_on_one_changes_nothing_for_the_driver(bench, failing):
    c = await bench.client(keyspace="before")
    getattr(bench, failing).on("USE after", error(Err.INVALID, "Keyspace 'after' does not exist"))
    assert_error(await c.query("USE after"), Err.INVALID, "Keyspace 'after' does not exist")
    # both clusters must be asked in the same keyspace afterwards
    answer = await c.query("SELECT * FROM t")
    assert answer.dicts()[0]["keyspace"] == "before"
    await c.query("INSERT INTO t (k) VALUES (1)")
    for cluster in bench.clusters:
        assert cluster.requests(Op.QUERY)[-1].keyspace == "before"


@pytest.mark.checklist(235)
@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_many_in_flight_each_gets_its_own(bench, version, compression):
    """All sent before the first is answered; the clusters answer in different orders."""
    c = await bench.client(version, compression)
    held = [Hold(), Hold()]
    bench.origin.on(lambda r: r.stream % 2 == 0, held[0])
    bench.target.on(lambda r: r.stream % 2 == 1, held[1])
    sent = {}
    for i in range(200):
        text = f"SELECT {i} FROM ks.t" if i % 3 else f"INSERT INTO ks.t (k) VALUES ({i}) IF NOT EXISTS"
        sent[c.send_query(text, stream=20000 - 7 * i)] = text
    await bench.origin.until(lambda: len(bench.origin.requests(Op.QUERY)) == 200, "all requests")
    for hold in held:
        hold.release()
    for stream, text in sent.items():
        answer = await c.answer(stream)
        assert answer.rows == ([["origin", None, text]] if text.startswith("SELECT") else [[True, "origin"]])
    for cluster in bench.clusters:
        assert max(r.stream for r in cluster.requests()) < 2048
