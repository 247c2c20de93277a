"""CALL InsightsRpc...: drivers for DSE report on themselves so. The proxy takes it and tells nobody."""
import hashlib

import pytest

from cqlwire import Err, Kind, Op
from helpers import WAY_IDS, WAYS, assert_alive, assert_error, reached

CALLS = ["CALL InsightsRpc.reportInsight('{}')", "call insightsrpc.reportinsight(?)",
         "/* a driver */ Call INSIGHTSRPC . x ( 'a', 1 ) ;", "CALL InsightsRpc.reportInsight('{}') -- note"]
OTHERS = ["CALL \"InsightsRpc\".reportInsight('{}')", "CALL DseGraphRpc.run(1)", "CALL InsightsRpcs.x()",
          "CALL InsightsRpc", "CALL ks.InsightsRpc('x')"]


def assert_untouched(bench):
    for cluster in bench.clusters:
        assert cluster.requests(Op.QUERY, Op.PREPARE, Op.EXECUTE, Op.BATCH) == []


@pytest.mark.checklist(116)
@pytest.mark.parametrize("profile", ["native", "zdm"])
@pytest.mark.parametrize("text", CALLS)
async def test_query(make_bench, profile, text):
    bench = await make_bench(sections={"proxy": {"profile": profile}})
    c = await bench.client()
    assert (await c.query(text)).kind == Kind.VOID
    assert (await c.query(text, values=[b"{}"])).kind == Kind.VOID
    assert_untouched(bench)


@pytest.mark.checklist(116, 117)
@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_prepared(bench, version, compression):
    one, other = await bench.client(version, compression), await bench.client()
    for text in CALLS:
        prepared = await one.prepare(text)
        assert prepared.kind == Kind.PREPARED and prepared.bind == [] and not prepared.columns
        assert prepared.prepared_id == hashlib.md5(text.encode()).digest()
        assert (await one.execute(prepared, values=[b"{}"])).kind == Kind.VOID
        assert (await other.execute(prepared.prepared_id)).kind == Kind.VOID
    assert_untouched(bench)


@pytest.mark.checklist(117)
async def test_the_id_depends_on_the_keyspace(bench):
    c = await bench.client(keyspace="ks")
    prepared = await c.prepare(CALLS[0])
    assert prepared.prepared_id == hashlib.md5((CALLS[0] + "ks").encode()).digest()


@pytest.mark.checklist(118, 119)
@pytest.mark.parametrize("text", OTHERS)
async def test_other_calls_go_to_both(bench, text):
    c = await bench.client()
    await c.query(text)
    assert reached(bench, Op.QUERY, text) == "both"
    assert (await c.prepare(text)).kind == Kind.PREPARED
    assert reached(bench, Op.PREPARE, text) == "both"


async def test_in_a_batch(bench):
    c = await bench.client()
    prepared = await c.prepare(CALLS[0])
    answer = await c.batch([("INSERT INTO ks.t (id) VALUES (1)", []), (prepared.prepared_id, [])])
    assert_error(answer, Err.INVALID, "InsightsRpc", "batch")
    assert_untouched(bench)
    await assert_alive(c, bench)


async def test_a_body_that_cannot_be_read(bench):
    c = await bench.client()
    answer = await c.ask(Op.QUERY, b"\0\0\0\xffCALL InsightsRpc.x()")
    assert_error(answer, Err.PROTOCOL_ERROR, "QUERY")
    await assert_alive(c, bench)
