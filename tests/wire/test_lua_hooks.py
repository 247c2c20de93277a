"""
Hooks of scripts through a running proxy: whose opinion counts, how often they are asked, what they see of requests of each
form, and what they count. Cases of single functions are in tests/unit/test_lua_*.c.
"""
import asyncio

import pytest

import behaviour
import policies
from cqlwire import CL, Err, Kind, Op
from helpers import assert_error, reached

pytestmark = [pytest.mark.native]
FAMILY = "zdm_cqlferry_policy_"


async def bench_with(make_bench, text, routing=None, **lua):
    sections = {"proxy": {"workers": 2}, "routing": routing or {}}
    return await make_bench(fresh=True, sections=sections, configure=policies.settings({"a.lua": text}, **lua))


async def count(bench, family, **labels):
    names = ",".join(f'{k}="{v}"' for k, v in labels.items())
    return (await bench.proxy.metrics()).get(f"{FAMILY}{family}{{{names}}}")


async def until_counted(bench, number, family, **labels):
    async def ask():
        while (await count(bench, family, **labels) or 0) < number:
            await asyncio.sleep(0.02)
    await asyncio.wait_for(ask(), 10)


# ---- whose opinion counts ----

async def test_the_order_of_opinions(make_bench):
    """Protocol rules, hooks as registered, [routing] rules, the default: the first one that has an opinion."""
    bench = await bench_with(make_bench, """
        proxy.on_request("nobody", {}, function(req) end)
        proxy.on_request("first", { tables = "ks.a" }, function(req) return "target" end)
        proxy.on_request("second", { keyspaces = "ks" }, function(req)
          if req:table() ~= "c" then return "origin" end
        end)
    """, routing={"rule": ["read ks.a both", "read ks.b target", "read ks.c target"]})
    c = await bench.client()
    for table, expected in (("ks.a", "target"), ("ks.b", "origin"), ("ks.c", "target"), ("other.t", "origin")):
        text = f"SELECT * FROM {table}"
        assert (await c.query(text)).rows[0][0] == expected
        await bench.settle(c)
        assert reached(bench, Op.QUERY, text) == expected
    before = await count(bench, "hook_calls_total", hook="nobody")
    assert not (await c.query("SELECT * FROM system.local")).is_error()
    assert not (await c.query("SELECT * FROM system_schema.tables")).is_error()
    assert await count(bench, "hook_calls_total", hook="nobody") == before


async def test_how_often_hooks_are_asked(make_bench):
    """By scope: once for a table, when a statement is prepared, or for each request; a kept opinion ends the round."""
    bench = await bench_with(make_bench, """
        proxy.on_request("request", { tables = "ks.a" }, function(req) end)
        proxy.on_request("statement", { scope = "statement" }, function(req) end)
        proxy.on_request("table", { scope = "table" }, function(req) return "target" end)
        proxy.on_request("behind", {}, function(req) return "origin" end)
    """)
    c = await bench.client()

    async def calls():
        return [await count(bench, "hook_calls_total", hook=h) for h in ("request", "statement", "table", "behind")]
    one, other = await c.prepare("SELECT * FROM ks.a WHERE k = ?"), await c.prepare("SELECT * FROM ks.b WHERE k = ?")
    for _ in range(5):
        for prepared in (one, other):
            assert (await c.execute(prepared, values=[b"k"])).rows[0][0] == "target"
    request, statement, table, behind = await calls()
    assert [request, table, behind] == [5, 2, 0]
    assert statement in (2, 4)  # to know where PREPARE goes, and for what is kept
    for _ in range(3):
        assert (await c.execute(one, values=[b"k"])).rows[0][0] == "target"
        assert (await c.query("SELECT * FROM ks.a")).rows[0][0] == "target"
    assert await calls() == [11, statement + 3, 2, 0]


async def test_tables_of_a_batch(make_bench):
    """A hook for tables is asked about each; when they disagree nothing is sent and the error names two of them."""
    bench = await bench_with(make_bench, """
        local to = { a = "origin", b = "origin", c = "target" }
        proxy.on_request("by table", { scope = "table", keyspaces = "ks" }, function(req)
          if req:table() == "frozen" then return req:deny("unauthorized", "%s is frozen", req:table()) end
          return to[req:table()]
        end)
    """)
    c = await bench.client()
    insert = "INSERT INTO ks.{} (k) VALUES (1)".format

    async def send(*tables):
        return await c.batch([(insert(t), []) for t in tables])
    assert (await send("a", "b")).kind == Kind.VOID
    assert [len(cluster.requests(Op.BATCH)) for cluster in bench.clusters] == [1, 0]
    assert_error(await send("a", "c"), Err.INVALID, "ks.a (origin)", "ks.c (target)")
    assert_error(await send("a", "frozen"), Err.UNAUTHORIZED, "frozen is frozen")
    text = f"BEGIN BATCH {insert('c')}; {insert('frozen')}; APPLY BATCH"
    assert_error(await c.query(text), Err.UNAUTHORIZED, "frozen is frozen")
    await bench.settle(c)
    assert [len(cluster.requests(Op.BATCH)) for cluster in bench.clusters] == [1, 0]


@pytest.mark.parametrize("scope", ["request", "statement", "table"])
@pytest.mark.parametrize("version", [3, 5])
async def test_who_answers(make_bench, version, scope):
    """
    answer_from: of what both have done the client gets the target's answer, though origin is the primary; pages follow it.
    One that has failed says so; when both have, the target does.
    """
    bench = await bench_with(make_bench, f"""
        local route = proxy.route {{ to = "both", answer_from = "target" }}
        proxy.on_request("both", {{ keyspaces = "ks", scope = "{scope}" }}, function(req) return route end)
    """)
    c = await bench.client(version)
    read, write = "SELECT * FROM ks.t WHERE k = ?", "INSERT INTO ks.t (k) VALUES (?) IF NOT EXISTS"
    prepared = {text: await c.prepare(text) for text in (read, write)}
    assert (await c.query(read, values=[b"k"])).rows[0][0] == "target"
    assert (await c.execute(prepared[read], values=[b"k"])).rows[0][0] == "target"
    first = await c.query("SELECT * FROM ks.paged", page_size=1)
    state = first.paging_state
    assert (await c.query("SELECT * FROM ks.paged", page_size=1, paging_state=state)).rows == [["target", None, "page 1"]]
    await bench.settle(c)
    assert [len(cluster.requests(Op.QUERY)) for cluster in (bench.origin, bench.target)] == [2, 3]
    assert (await c.query(write, values=[b"k"])).rows == [[True, "target"]]
    assert (await c.execute(prepared[write], values=[b"k"])).rows == [[True, "target"]]
    bench.origin.on("ks.t", behaviour.error(Err.INVALID, "origin's"))
    assert_error(await c.query(write, values=[b"k"]), Err.INVALID, "origin's")
    bench.target.on("ks.t", behaviour.error(Err.INVALID, "target's"))
    assert_error(await c.execute(prepared[write], values=[b"k"]), Err.INVALID, "target's")


# ---- what a request says ----

SEEN = """
proxy.on_request("seen", { keyspaces = "ks", on_error = "deny" }, function(req)
  local names = {}
  for name in req:tables() do names[#names + 1] = name end
  return req:deny("invalid", "%s %s %s %s [%s] %s %s %s %s %s", req:opcode(), req:kind(), req:verb(),
                  tostring(req:keyspace()), table.concat(names, " "), tostring(req:table()), req:consistency(),
                  req:is_prepared() and "prepared" or "text", req:is_system() and "system" or "user", req:size() > 20)
end)
"""
WRITE = "INSERT INTO ks.t (k) VALUES (1)"
QUERIES = [
    ("SELECT * FROM ks.t", "QUERY read select ks [ks.t] t ONE text user true"),
    (WRITE, "QUERY write insert ks [ks.t] t ONE text user true"),
    ('UPDATE ks."My T" SET a = 1 WHERE k = 1', "QUERY write update ks [ks.My T] My T ONE text user true"),
    ("TRUNCATE TABLE ks.t", "QUERY write truncate ks [ks.t] t ONE text user true"),
    ("DROP TABLE KS.T", "QUERY schema schema ks [ks.t] t ONE text user true"),
    ("DROP KEYSPACE ks", "QUERY schema schema ks [ks.*] nil ONE text user true"),
    (f"BEGIN BATCH {WRITE}; DELETE FROM ks.u WHERE k = 1; APPLY BATCH",
     "QUERY write batch ks [ks.t ks.u] nil ONE text user true"),
]


@pytest.mark.parametrize("version", [3, 4, 5])
async def test_what_a_request_says(make_bench, version):
    bench = await bench_with(make_bench, SEEN)
    c = await bench.client(version)
    for text, expected in QUERIES:
        assert_error(await c.query(text, consistency=CL.ONE), Err.INVALID, expected)
    # names without a keyspace mean the connection's, which needs no hook's leave when it is another one
    await c.use("shop")
    assert not (await c.query("SELECT * FROM t")).is_error()
    prepared = await c.prepare("INSERT INTO ks.t (k) VALUES (?)")
    answer = await c.execute(prepared, values=[b"k"], consistency=CL.LOCAL_QUORUM)
    assert_error(answer, Err.INVALID, "EXECUTE write insert ks [ks.t] t LOCAL_QUORUM prepared user true")
    answer = await c.batch([(prepared.prepared_id, [b"k"]), ("DELETE FROM ks.u WHERE k = 1", [])], consistency=CL.TWO)
    assert_error(answer, Err.INVALID, "BATCH write batch ks [ks.t ks.u] nil TWO prepared user true")
    answer = await c.batch([("DELETE FROM ks.u WHERE k = 1", [])], consistency=CL.TWO)
    assert_error(answer, Err.INVALID, "BATCH write batch ks [ks.u] u TWO text user true")
    await bench.settle(c)
    for cluster in bench.clusters:
        assert not [r for r in cluster.requests(Op.QUERY) if "ks." in r.statement.lower() and r.statement in dict(QUERIES)]
        assert not cluster.requests(Op.EXECUTE, Op.BATCH)


async def test_denials(make_bench):
    """Each code, as an answer on the request's stream, and counted: those that are kept with a statement, too."""
    codes = {"unauthorized": Err.UNAUTHORIZED, "invalid": Err.INVALID, "overloaded": Err.OVERLOADED,
             "server_error": Err.SERVER_ERROR, "config_error": Err.CONFIG_ERROR, "syntax_error": Err.SYNTAX_ERROR}
    bench = await bench_with(make_bench, """
        local codes = proxy.set { "unauthorized", "invalid", "overloaded", "server_error", "config_error", "syntax_error" }
        for _, scope in ipairs { "table", "request" } do
          proxy.on_request(scope, { keyspaces = scope, scope = scope }, function(req)
            if codes[req:table()] then return req:deny(req:table(), "no %s for %s: %d%%", req:table(), req:kind(), 100) end
          end)
        end
    """)
    c = await bench.client()
    for scope in ("table", "request"):
        for code, number in codes.items():
            prepared = await c.prepare(f"SELECT * FROM {scope}.{code} WHERE k = ?")
            for _ in range(2):
                assert_error(await c.execute(prepared, values=[b"k"]), number, f"no {code} for read: 100%")
            assert_error(await c.query(f"SELECT * FROM {scope}.{code}"), number, f"no {code} for read: 100%")
        assert await count(bench, "denials_total", hook=scope) == 18
        assert await count(bench, "hook_errors_total", hook=scope, reason="error") == 0
    await bench.settle(c)
    for cluster in bench.clusters:
        assert not cluster.requests(Op.EXECUTE)


# ---- what is counted, and what all workers share ----

async def test_counters(make_bench):
    """Those of all workers together, by requests and by ticks."""
    bench = await bench_with(make_bench, """
        local reads, ticks = proxy.counter("reads"), proxy.counter("ticks")
        proxy.on_request("count", { kinds = "read", keyspaces = "ks" }, function(req)
          reads:inc()
          proxy.counter("table " .. req:table()):add(2)
        end)
        proxy.on_tick(0.1, function() ticks:inc() end)
    """)
    assert await count(bench, "counter_total", name="reads") == 0
    clients = [await bench.client() for _ in range(4)]
    for c in clients:
        for table in ("a", "b", "a"):
            assert not (await c.query(f"SELECT * FROM ks.{table}")).is_error()
    assert await count(bench, "counter_total", name="reads") == 12
    assert await count(bench, "counter_total", name="table a") == 16
    assert await count(bench, "counter_total", name="table b") == 8
    # two workers, each with its own ticks
    await until_counted(bench, 4, "counter_total", name="ticks")


async def test_a_rate_is_of_the_process(make_bench):
    """Clients of both workers together get no more than it allows."""
    bench = await bench_with(make_bench, """
        proxy.on_request("rate", { keyspaces = "ks" }, function(req)
          if not proxy.rate("reads of " .. req:table(), 0.001) then return req:deny("overloaded", "later") end
        end)
    """)
    clients = [await bench.client() for _ in range(6)]
    for table in ("a", "b"):
        answers = await asyncio.gather(*(c.query(f"SELECT * FROM ks.{table}") for c in clients))
        refused = [a for a in answers if a.is_error()]
        assert len(refused) == 5
        for a in refused:
            assert_error(a, Err.OVERLOADED, "later")


async def test_off_in_one_worker_alone(make_bench):
    """fail_limit is counted by each worker: the gauge says how many have switched the hook off."""
    bench = await bench_with(make_bench, """
        proxy.on_request("bad", { keyspaces = "bad" }, function(req) error("oh") end)
        proxy.on_request("good", { keyspaces = "bad" }, function(req) return "target" end)
    """, fail_limit="5")
    clients = [await bench.client() for _ in range(2)]
    for off, c in enumerate(clients, 1):
        for _ in range(7):
            assert (await c.query("SELECT * FROM bad.t")).rows[0][0] == "target"
        assert await count(bench, "hook_off", hook="bad") == off
        assert await count(bench, "hook_errors_total", hook="bad", reason="error") == 5 * off
    await bench.proxy.until_logged("hook 'bad' .* failed 5 times within a minute")
    await bench.proxy.reload()
    assert await count(bench, "hook_off", hook="bad") == 0
