"""
What a script may do wrong or try: it costs the request it was asked about its budget at most, on_error decides about that
one, others are served meanwhile, and metrics and log say what has happened. Every attack through a running proxy.
"""
import asyncio
import re

import pytest

import policies
from cqlwire import Err, Op
from helpers import assert_error, reached

pytestmark = [pytest.mark.native, pytest.mark.own_profile]

#: seconds, of which the machine may need some for other things; the budget is 5 ms
BUDGET = "5ms"
AT_MOST = 5.0
READ = "SELECT * FROM attack.t"

#: name: (what the hook does, reason in the metrics, what the log says)
ATTACKS = {
    "endless loop": ("while true do end", "time", "time"),
    "pcall around it": ("while true do pcall(function() while true do end end) end", "time", "time"),
    "pcall that hands on": ("""
        local function again() local ok = pcall(again) return again() end
        return again()""", "time", "time"),
    "xpcall with a looping handler": ("local function f() while true do end end return xpcall(f, f)", "error", "xpcall"),
    "looping find": ('return (("a"):rep(1000):find(".-.-b"))', "time", "time"),
    "looping match": ('return (("a"):rep(1000):match(".-.-.-b"))', "time", "time"),
    "looping gsub": ('return ("a"):rep(1000):gsub(".-.-b", "")', "time", "time"),
    "looping gmatch": ('for w in ("a"):rep(1000):gmatch(".-.-b") do end', "time", "time"),
    "recursion": ("local function f() return 1 + f() end return f()", "error", "stack overflow"),
    "memory hog": ("local t = {} for i = 1, 1e9 do t[i] = { i } end", None, "memory|time"),
    "one large string": ('return #("x"):rep(1e9)', "error", "too long"),
    "strings beyond the limit": ('return #(("x"):rep(2e7) .. ("y"):rep(2e7))', None, "memory|time|too long"),
    "concatenation": ('local s = "x" while true do s = s .. s end', None, "memory|time"),
    "memory hog in pcall": ('while true do pcall(function() return ("x"):rep(1e9) end) end', None, "memory|time"),
    "error": ('error("oops")', "error", "oops"),
    "error with a table": ("error({})", "error", ""),
    "error with nothing": ("error()", "error", ""),
    "nonsense": ("return 42", "error", "number"),
    "an unknown word": ('return "nowhere"', "error", "nowhere"),
    "a table": ("return {}", "error", "table"),
    "true": ("return true", "error", "boolean"),
    "a global": ("counter = (counter or 0) + 1", "error", "counter"),
    "a global of the library": ("string.find = nil", "error", ""),
    "rawset": ("rawset(_G, 'x', 1)", "error", ""),
    "the strings' metatable": ('getmetatable("").__index = nil', "error", ""),
    "a route made too late": ('return proxy.route { to = "target" }', "error", "route"),
    "a file": ('return io.open("/etc/passwd")', "error", "io"),
    "a program": ('return os.execute("true")', "error", "os"),
    "code from text": ('return loadstring("return 1")', "error", "loadstring"),
    "collecting": ("collectgarbage()", "error", "collectgarbage"),
    "a finalizer": ("return newproxy(true)", "error", "newproxy"),
}


def script(body, on_error):
    return f"""
        proxy.on_request("attack", {{ keyspaces = "attack", on_error = "{on_error}" }}, function(req)
          {body}
        end)
        proxy.on_request("behind", {{ keyspaces = "attack" }}, function(req) return "target" end)
    """


async def bench_with(make_bench, text, **lua):
    return await make_bench(fresh=True, profile="native",
                            configure=policies.settings({"a.lua": text}, **{"time_limit": BUDGET, **lua}))


@pytest.mark.parametrize("on_error", ["pass", "deny"])
async def test_attacks(make_bench, on_error):
    """
    One after the other by reloads of one proxy, while clients of both workers go on asking: with `pass` the next hook is
    asked, with `deny` the request is refused and reaches no cluster.
    """
    bench = await bench_with(make_bench, script("", "pass"))
    loop = asyncio.get_running_loop()
    c = await bench.client()
    quiet = [await bench.client() for _ in range(4)]
    problems = []
    slowest = 0.0
    async with policies.Clients(quiet) as others:
        for number, (name, (body, reason, says)) in enumerate(ATTACKS.items()):
            policies.rewrite(bench, {"a.lua": script(body, on_error)})
            await bench.proxy.reload()
            before = await bench.proxy.metrics()
            mark = len(bench.proxy.log)
            text = f"{READ} /* {number} */"
            began = loop.time()
            answer = await c.query(text)
            took = loop.time() - began
            slowest = max(slowest, took)
            await bench.settle(c)
            after = await bench.proxy.metrics()
            grown = {r: after.get(f'zdm_cqlferry_policy_hook_errors_total{{hook="attack",reason="{r}"}}', 0) -
                     before.get(f'zdm_cqlferry_policy_hook_errors_total{{hook="attack",reason="{r}"}}', 0)
                     for r in ("error", "time", "memory")}
            went = reached(bench, Op.QUERY, text)
            if on_error == "pass":
                right = not answer.is_error() and went == "target"
            else:
                right = answer.is_error() and answer.code == Err.UNAUTHORIZED and "'attack'" in answer.text and went == "none"
            right = right and sum(grown.values()) == 1 and (reason is None or grown[reason] == 1) and took < AT_MOST
            line = next((ln for ln in bench.proxy.log[mark:].splitlines() if "attack" in ln and "a.lua:" in ln), "")
            if not right or not re.search(says, line):
                problems.append(f"{name}: {answer!r}, reached {went}, counted {grown}, took {took:.3f} s, log: {line!r}")
    assert not problems, "\n".join(problems)
    print(f"{on_error}: the slowest of {len(ATTACKS)} attacks took {slowest * 1000:.1f} ms, "
          f"others waited for {others.longest * 1000:.1f} ms at most")
    assert others.longest < AT_MOST
    assert others.count > len(ATTACKS)


async def test_req_is_kept(make_bench):
    """Behind the hook it says nothing: who keeps it gets an error, and in a later call it is about that one's request."""
    bench = await bench_with(make_bench, """
        local kept
        proxy.on_request("keeper", { keyspaces = "attack" }, function(req)
          kept = kept or req
          if kept:table() ~= req:table() then error("of another request") end
          return "target"
        end)
        proxy.on_tick(0.1, function() if kept then kept:table() end end)
    """)
    c = await bench.client()
    for table in ("a", "b"):
        assert (await c.query(f"SELECT * FROM attack.{table}")).rows[0][0] == "target"
    await bench.proxy.until_logged(r"a\.lua:8: .*req")
    assert (await policies.hook(bench, "keeper"))["errors"] == 0


async def test_finalizers_never_run(make_bench):
    """LuaJIT has __gc for userdata only, and a script cannot make one."""
    bench = await bench_with(make_bench, """
        local function loop() while true do end end
        proxy.on_request("gc", { keyspaces = "attack" }, function(req)
          for i = 1, 1000 do setmetatable({ i }, { __gc = loop, __mode = "k" }) end
          return "target"
        end)
    """, time_limit="200ms")
    c = await bench.client()
    for _ in range(30):
        assert (await c.query(READ)).rows[0][0] == "target"
    assert (await policies.hook(bench, "gc"))["errors"] == 0


@pytest.mark.parametrize("on_error", ["pass", "deny"])
async def test_fail_limit(make_bench, on_error):
    """After so many errors in a minute the hook is not asked any more: the log says so at once, the pages show it."""
    bench = await bench_with(make_bench, script('error("oops")', on_error), fail_limit=5)
    c = await bench.client()
    for n in range(20):
        answer = await c.query(f"{READ} /* {n} */")
        if on_error == "pass":
            assert answer.rows[0][0] == "target"
        else:
            assert_error(answer, Err.UNAUTHORIZED, "'attack'")
    hook = await policies.hook(bench, "attack")
    assert (hook["calls"], hook["errors"], hook["workers_off"]) == (5, 5, 1)
    assert await policies.counted(bench, "policy_hook_off", hook="attack") == 1
    assert len(re.findall(r" ERROR lua: hook 'attack' .* failed 5 times", bench.proxy.messages)) == 1
    # what it is not for is as before
    assert (await c.query("SELECT * FROM ks.t")).rows[0][0] == "origin"


@pytest.mark.parametrize("scope", ["table", "statement"])
@pytest.mark.parametrize("on_error", ["pass", "deny"])
async def test_what_a_hook_said_ends_with_it(make_bench, scope, on_error):
    """Opinions that were kept are forgotten when their hook is switched off: deny covers what it had let through, too."""
    bench = await bench_with(make_bench, f"""
        proxy.on_request("guard", {{ kinds = "read", scope = "{scope}", on_error = "{on_error}" }}, function(req)
            if req:table() == "bad" then error("oops") end
            if req:table() == "moved" then return "target" end
        end)
    """, fail_limit=3)
    c = await bench.client()
    prepared = {table: await c.prepare(f"SELECT * FROM ks.{table} WHERE k = ?") for table in ("good", "moved")}

    async def ask():
        answers = [await c.query("SELECT * FROM ks.good"), await c.query("SELECT * FROM ks.moved")]
        return answers + [await c.execute(p, values=[b"k"]) for p in prepared.values()]
    assert [a.rows[0][0] for a in await ask()] == ["origin", "target"] * 2
    for n in range(3):
        await c.query(f"SELECT * FROM ks.bad WHERE k = {n}")
    assert (await policies.hook(bench, "guard"))["workers_off"] == 1
    answers = await ask()
    if on_error == "deny":
        for answer in answers:
            assert_error(answer, Err.UNAUTHORIZED, "'guard'")
    else:
        assert [a.rows[0][0] for a in answers] == ["origin"] * 4


async def test_log_lines_are_limited(make_bench):
    """Hundred errors in a row: the log has a line with the traceback, not hundred."""
    bench = await bench_with(make_bench, script('local t = nil\n return t.x', "pass"), fail_limit=1000)
    c = await bench.client()
    streams = [c.send_query(f"{READ} /* {n} */") for n in range(100)]
    for stream in streams:
        assert (await c.answer(stream)).rows[0][0] == "target"
    assert (await policies.hook(bench, "attack"))["errors"] == 100
    lines = [line for line in bench.proxy.messages.splitlines() if "attack" in line and "a.lua:" in line]
    assert 1 <= len(lines) < 10, lines
    assert re.search(r"a\.lua:\d+: attempt to index", lines[0]), lines[0]


async def test_a_tick_that_fails(make_bench):
    """Requests are served, the tick goes on to be counted."""
    bench = await bench_with(make_bench, """
        proxy.on_tick(0.1, function() while true do end end)
    """, fail_limit=3)
    c = [await bench.client() for _ in range(2)]

    async def counted():
        metrics = await bench.proxy.metrics()
        return sum(v for k, v in metrics.items() if "policy_hook_errors_total" in k and 'reason="time"' in k) >= 2
    async with policies.Clients(c) as asking:
        await bench.proxy.until(counted, "errors of a tick")
    assert asking.longest < AT_MOST
