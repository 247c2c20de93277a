"""Batches before scripts: opinions about one table against opinions about another, the key of a batch; and a denied USE."""
import pytest

import policies
from cqlwire import Err, Kind, Op
from helpers import assert_error

pytestmark = [pytest.mark.native]
BACKENDS = ["dedicated", "pooled"]


async def bench_with(make_bench, text, backend_name="dedicated"):
    more = {"pool_idle_timeout": "10ms"} if backend_name == "pooled" else {}
    return await make_bench(fresh=True, profile="native", configure=policies.settings({"a.lua": text}),
                            sections={"proxy": {"backend_connections": backend_name, **more}})


def batch_text(*tables):
    return "BEGIN BATCH " + " ".join(f"INSERT INTO {t} (k) VALUES (1);" for t in tables) + " APPLY BATCH"


async def all_forms(c, tables):
    """The batch as a frame with texts and with prepared children, and as a text."""
    inserts = [f"INSERT INTO {t} (k) VALUES (?)" for t in tables]
    ids = [(await c.prepare(text)).prepared_id for text in inserts]
    yield await c.batch([(f"INSERT INTO {t} (k) VALUES (1)", []) for t in tables])
    yield await c.batch([(i, [b"k"]) for i in ids])
    yield await c.query(batch_text(*tables))
    prepared = await c.prepare(batch_text(*tables))
    yield prepared if prepared.is_error() else await c.execute(prepared)


def executed(bench):
    return [cluster.name for cluster in bench.clusters if cluster.requests(Op.BATCH, Op.EXECUTE, Op.QUERY)]


@pytest.mark.parametrize("tables", [("ks.open", "ks.frozen"), ("ks.frozen", "ks.open")])
@pytest.mark.parametrize("backend_name", BACKENDS)
async def test_a_later_hook_does_not_lift_a_denial(make_bench, backend_name, tables):
    """The first opinion about ks.frozen is a denial; that a later hook is asked about ks.open changes nothing."""
    bench = await bench_with(make_bench, """
        proxy.on_request("freeze", { tables = "ks.frozen", scope = "table" },
                         function(req) return req:deny("unauthorized", "frozen") end)
        proxy.on_request("canary", { keyspaces = "ks" }, function(req) return "target" end)
    """, backend_name)
    c = await bench.client()
    async for answer in all_forms(c, tables):
        assert_error(answer, Err.UNAUTHORIZED, "frozen")
    assert executed(bench) == []
    assert (await c.query("INSERT INTO ks.open (k) VALUES (1)")).kind == Kind.VOID


@pytest.mark.parametrize("second,agrees", [("origin", False), ("target", True)])
@pytest.mark.parametrize("tables", [("ks.moved", "ks.other"), ("ks.other", "ks.moved")])
async def test_a_later_hook_does_not_move_a_table(make_bench, tables, second, agrees):
    """What a hook says of ks.moved comes first; a later one that is asked about ks.other has to say the same."""
    bench = await bench_with(make_bench, f"""
        proxy.on_request("moved", {{ tables = "ks.moved", scope = "table" }}, function(req) return "target" end)
        proxy.on_request("rest", {{ keyspaces = "ks" }}, function(req) return "{second}" end)
    """)
    c = await bench.client()
    async for answer in all_forms(c, tables):
        if agrees:
            assert answer.kind == Kind.VOID
        else:
            assert_error(answer, Err.INVALID, f"ks.moved (target), the batch for another table ({second})")
    assert executed(bench) == (["target"] if agrees else [])


async def test_an_earlier_hook_decides_for_all(make_bench):
    bench = await bench_with(make_bench, """
        proxy.on_request("first", { keyspaces = "ks" }, function(req) return "origin" end)
        proxy.on_request("freeze", { tables = "ks.b", scope = "table" },
                         function(req) return req:deny("unauthorized", "frozen") end)
        proxy.on_request("moved", { tables = "ks.a", scope = "table" }, function(req) return "target" end)
    """)
    c = await bench.client()
    async for answer in all_forms(c, ("ks.a", "ks.b")):
        assert answer.kind == Kind.VOID
    assert executed(bench) == ["origin"]


async def test_the_key_of_a_batch_whose_statement_is_long(make_bench):
    """
    A long statement is not kept in the worker's cache, so that looking for it may ask hooks of scope statement: not while
    another hook runs.
    """
    bench = await bench_with(make_bench, """
        proxy.on_request("statement", { scope = "statement" }, function(req) end)
        proxy.on_request("key", { kinds = "write" }, function(req)
          req:key_bucket(10)
          if req:table() == "t" and req:verb() ~= nil then return "target" end
          return req:deny("invalid", "not itself any more")
        end)
    """)
    c = await bench.client()
    prepared = await c.prepare(f"INSERT INTO ks.t (k) VALUES (?) /* {'x' * 8000} */")
    for _ in range(2):
        assert (await c.batch([(prepared.prepared_id, [b"k"])])).kind == Kind.VOID
    assert executed(bench) == ["target"]
    assert await policies.counted(bench, "policy_hook_errors_total", hook="key", reason="error") == 0


@pytest.mark.parametrize("tables", [("ks.moved", "ks.ruled"), ("ks.ruled", "ks.moved")])
async def test_a_hook_of_scope_table_that_failed_once(make_bench, tables):
    """It is asked for each request then, as long as the scripts stay; and rules count for what it says nothing of, too."""
    text = """
        local failed = {}
        proxy.on_request("moved", { scope = "table" }, function(req)
          local table, what = req:table(), req:verb() .. req:table()
          if not failed[what] then failed[what] = true; error("once") end
          if table == "moved" then return "target" end
        end)
    """
    bench = await make_bench(fresh=True, profile="native", configure=policies.settings({"a.lua": text}),
                             sections={"routing": {"rule": ["write ks.ruled target"]}})
    c = await bench.client()
    async for answer in all_forms(c, tables):
        assert answer.kind == Kind.VOID
    assert executed(bench) == ["target"]
    async for answer in all_forms(c, ("ks.moved", "ks.plain")):
        assert_error(answer, Err.INVALID, "ks.moved (target), ks.plain (both, without a rule)")


@pytest.mark.parametrize("backend_name", BACKENDS)
async def test_what_stands_behind_a_denied_use(make_bench, backend_name):
    """It was sent at once behind it, and is served in the keyspace from before."""
    bench = await bench_with(make_bench, """
        proxy.on_request("use", { kinds = "use" }, function(req)
          if req:keyspace() == "secret" then return req:deny("unauthorized", "not %s", req:keyspace()) end
        end)
    """, backend_name)
    c = await bench.client()
    prepared = await c.prepare("USE secret")
    await c.use("shop")
    for send in (lambda: c.send_query("USE secret"), lambda: c.send_execute(prepared)):
        streams = [send(), c.send_query("SELECT * FROM t"), send(), c.send_query("SELECT * FROM t"),
                   c.send_query("USE shop"), c.send_query("SELECT * FROM t")]
        answers = [await c.answer(s) for s in streams]
        for denied in (answers[0], answers[2]):
            assert_error(denied, Err.UNAUTHORIZED, "not secret")
        assert answers[4].kind == Kind.SET_KEYSPACE
        for read in (answers[1], answers[3], answers[5]):
            assert read.rows[0][1] == "shop"
    assert (await policies.counted(bench, "policy_denials_total", hook="use")) == 4
