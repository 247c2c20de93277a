"""A trace is read from the cluster that made its id, wherever other reads of system keyspaces go."""
import uuid

import pytest

from cqlwire import FrameFlag, Kind, Op
from cqlwire import requests as rq
from helpers import WAY_IDS, WAYS, reached

TEXT = "SELECT * FROM system_traces.sessions WHERE session_id = "
#: what names the cluster whose answer the driver gets, and the other one for system queries
CROSSED = [{"primary": "target"}, {"primary": "target", "profile": "zdm"},
           {"primary": "origin", "sections": {"routing": {"system_queries_mode": "target"}}}]
IDS = ["native", "zdm", "native-origin"]


async def traced(c, text="SELECT * FROM ks.t"):
    answer = await c.query(text, flags=FrameFlag.TRACING)
    assert len(answer.tracing_id) == 16
    return answer.tracing_id


@pytest.mark.parametrize("version, compression", WAYS, ids=WAY_IDS)
@pytest.mark.parametrize("how", CROSSED, ids=IDS)
@pytest.mark.parametrize("text", ["SELECT * FROM ks.t", "INSERT INTO ks.t (k) VALUES (1)"], ids=["read", "write"])
async def test_the_trace_of_the_answer(make_bench, version, compression, how, text):
    bench = await make_bench(**how)
    made_by, other = bench.primary, bench.origin if bench.primary is bench.target else bench.target
    c = await bench.client(version=version, compression=compression)
    trace = await traced(c, text)
    literal = TEXT + str(uuid.UUID(bytes=trace))
    # On any connection, as text, bound, prepared; unqualified too.
    c = await bench.client(version=version, compression=compression)
    assert (await c.query(literal)).kind == Kind.ROWS
    assert (await c.query(TEXT + "?", values=[trace])).kind == Kind.ROWS
    prepared = await c.prepare(TEXT + "?")
    assert (await c.execute(prepared, values=[trace])).kind == Kind.ROWS
    await c.use("system_traces")
    assert (await c.query(literal.replace("system_traces.", "").replace("sessions", "events"))).kind == Kind.ROWS
    reads = [r for r in made_by.requests(Op.QUERY) if "session_id" in r.request.text]
    assert len(reads) == 3 and len(made_by.requests(Op.EXECUTE)) == 1
    assert not [r for r in other.requests(Op.QUERY) if "session_id" in r.request.text]
    assert other.requests(Op.EXECUTE) == []


@pytest.mark.parametrize("function", ["now()", "1"], ids=["rewritten", "plain"])
async def test_the_trace_of_a_prepare(make_bench, function):
    """The driver gets origin's answer, also when variables of ours are taken out of it."""
    bench = await make_bench(sections={"routing": {"system_queries_mode": "target",
                                                   "replace_cql_functions": "true"}})
    c = await bench.client()
    body = rq.prepare(c.version, "INSERT INTO ks.t (k, v) VALUES (?, %s)" % function)
    answer = await c.ask(Op.PREPARE, body, flags=FrameFlag.TRACING)
    assert len(answer.tracing_id) == 16
    text = TEXT + str(uuid.UUID(bytes=answer.tracing_id))
    assert (await c.query(text)).kind == Kind.ROWS
    assert reached(bench, Op.QUERY, text) == "origin"


@pytest.mark.parametrize("how", CROSSED[:2], ids=IDS[:2])
@pytest.mark.checklist(91)
async def test_other_reads_of_traces(make_bench, how):
    """Those that name no id of target's go where all system queries go."""
    bench = await make_bench(**how)
    c = await bench.client()
    trace = await traced(c)
    for text in ("SELECT * FROM system_traces.sessions", TEXT + str(uuid.uuid1()),
                 "SELECT * FROM system_auth.roles WHERE role = ''/* %s */" % uuid.UUID(bytes=trace)):
        assert (await c.query(text)).kind == Kind.ROWS
        assert reached(bench, Op.QUERY, text) == "origin"
    for text, value in ((TEXT + "?", None), (TEXT + " ?", trace[:15]), (TEXT + "  ?", b"")):
        assert (await c.query(text, values=[value])).kind == Kind.ROWS
        assert reached(bench, Op.QUERY, text) == "origin"


async def test_a_user_table_that_holds_the_id(make_bench):
    """Only system_traces follows."""
    bench = await make_bench(**CROSSED[2])
    c = await bench.client()
    trace = await traced(c)
    text = "SELECT * FROM system_schema.tables WHERE id = %s" % uuid.UUID(bytes=trace)
    assert (await c.query(text)).kind == Kind.ROWS
    assert reached(bench, Op.QUERY, text) == "target"


async def test_a_number_as_long_as_an_id(make_bench):
    """A float with an exponent was read as an id, with more digits than that has."""
    bench = await make_bench(**CROSSED[0])
    c = await bench.client()
    await traced(c)
    text = TEXT + "1234567e-123456789012345678901234567"
    assert (await c.query(text)).kind == Kind.ROWS
    assert reached(bench, Op.QUERY, text) == "origin"
