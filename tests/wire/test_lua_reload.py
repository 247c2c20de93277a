"""SIGHUP with scripts: read again whatever else has changed, all or nothing, and no request is lost."""
import asyncio
import re
import signal
import subprocess
from pathlib import Path

import pytest

import behaviour
import policies
from cqlwire import Op
from helpers import reached
from test_reload import Load

pytestmark = [pytest.mark.native, pytest.mark.own_profile]

READ = "SELECT * FROM ks.t WHERE k = ?"
BACKENDS = ["dedicated", "pooled"]


def sends_reads_to(name, hook="route"):
    return f'proxy.on_request("{hook}", {{ kinds = "read" }}, function() return "{name}" end)'


def backend(name):
    return {"backend_connections": name, **({"pool_idle_timeout": "10ms"} if name == "pooled" else {})}


async def bench_with(make_bench, scripts, backend_name="dedicated", **lua):
    def configure(bench):
        bench.sections.update(proxy=backend(backend_name))
        policies.settings(scripts, **lua)(bench)
    return await make_bench(fresh=True, profile="native", configure=configure)


async def answered_by(client, text="SELECT * FROM ks.t"):
    answer = await client.query(text)
    assert not answer.is_error(), answer
    return answer.rows[0][0]


def scripts_of(bench):
    """A folder for this proxy alone: the one that INI files are in is shared by all tests of a run."""
    return bench.proxy.folder / f"{bench.proxy.name}.scripts"


@pytest.mark.parametrize("backend_name", BACKENDS)
async def test_twenty_reloads_under_load(make_bench, backend_name):
    """
    Reads and writes, simple and prepared, batches and pages, on protocols 3 to 5, while the script is replaced twenty
    times: none fails, and after each confirmation reads of every connection, of both workers, go where the new one says.
    """
    bench = await bench_with(make_bench, {"a.lua": sends_reads_to("origin")}, backend_name)
    ways = [(3, None), (4, None), (4, "lz4"), (5, None), (5, "lz4"), (4, "snappy")]
    loads = [Load(await bench.client(*way), i) for i, way in enumerate(ways)]
    probes = [await bench.client() for _ in range(4)]
    prepared = await probes[0].prepare(READ)
    for load in loads:
        await load.start()
    tasks = [asyncio.ensure_future(load.run()) for load in loads]
    quiet = [await bench.client() for _ in range(2)]
    async with policies.Clients(quiet) as asking:
        for turn in range(20):
            name = "target" if turn % 2 == 0 else "origin"
            policies.rewrite(bench, {"a.lua": sends_reads_to(name)})
            text = await bench.proxy.reload()
            assert "no setting changed, scripts were loaded again" in text
            for probe in probes:
                assert await answered_by(probe, f"SELECT * FROM ks.probe /* {turn} */") == name
                assert (await probe.execute(prepared, values=[b"k"])).rows[0][0] == name
            at_that_time = [load.count for load in loads]
            while any(load.count == count for load, count in zip(loads, at_that_time)) and not any(t.done() for t in tasks):
                await asyncio.sleep(0.001)
    for load in loads:
        load.stop = True
    await asyncio.gather(*tasks)
    assert all(load.seen == {"origin", "target"} for load in loads)
    print(f"{backend_name}: {sum(load.count for load in loads)} requests under {asking.count} others, "
          f"the longest wait of one of these was {asking.longest * 1000:.1f} ms")
    assert asking.longest < 5
    status = await policies.status(bench)
    assert status["reload"] == {"succeeded": 20, "failed": 0, "last_failed": False}
    hook = await policies.hook(bench, "route")
    assert hook["calls"] > 20 * 2 * len(probes) and hook["errors"] == 0


FAILURES = [
    ("a.lua", "x = = 1", r"a\.lua:1: "),
    ("a.lua", "\nerror('not today')", r"a\.lua:2: not today"),
    ("a.lua", "while true do end", r"a\.lua.*time"),
    ("a.lua", "local s = 'x' while true do s = s .. s end", r"a\.lua.*memory"),
    ("b.lua", "require 'gone'", r"b\.lua:1: "),
    # fine in the first script and missing in the second: nothing of the first counts
    ("b.lua", "proxy.on_request('route', {}, function() end)", r"b\.lua:1: .*'route'"),
]


@pytest.mark.parametrize("name,text,why", FAILURES)
async def test_a_script_that_fails_keeps_the_old_ones(make_bench, name, text, why):
    """The line in the log has file and line, metrics and pages say that the reload failed; the next one is whole again."""
    bench = await bench_with(make_bench, {"a.lua": sends_reads_to("target"), "b.lua": ""})
    c = [await bench.client() for _ in range(3)]
    policies.rewrite(bench, {"a.lua": sends_reads_to("origin"), name: text})
    said = await bench.proxy.reload("refused")
    assert re.search(rf" ERROR .*{why}", said), said
    for client in c:
        assert await answered_by(client) == "target"
    metrics = await bench.proxy.metrics()
    assert metrics['zdm_cqlferry_reloads_total{result="failed"}'] == 1
    assert metrics["zdm_cqlferry_reload_last_successful"] == 0
    assert (await policies.status(bench))["reload"] == {"succeeded": 0, "failed": 1, "last_failed": True}
    assert [h["name"] for h in (await policies.status(bench))["policy"]["hooks"]] == ["route"]
    policies.rewrite(bench, {"a.lua": sends_reads_to("origin"), "b.lua": ""})
    await bench.proxy.reload()
    for client in c:
        assert await answered_by(client) == "origin"
    assert (await bench.proxy.metrics())["zdm_cqlferry_reload_last_successful"] == 1


async def test_options_and_files_come_and_go(make_bench):
    """An option, a file more in a folder, no script at all, and scripts again; each by a reload."""
    def configure(bench):
        policies.write(scripts_of(bench), {"b.lua": """
            local to = proxy.option("to", "origin")
            proxy.on_request("by-option", { kinds = "read" }, function() return to end)
        """})
        bench.sections["lua"] = {"script": scripts_of(bench).name}
    bench = await make_bench(fresh=True, profile="native", configure=configure)
    c = await bench.client()
    assert await answered_by(c) == "origin"
    text = await bench.reload(lua={"to": "target"})
    assert "[lua] to: target, was not set" in text and "1 setting changed, scripts were loaded again" in text
    assert await answered_by(c) == "target"
    said = await bench.reload("refused", lua={"too": "origin"})
    assert re.search(r"\.ini:\d+: .*too", said), said
    assert await answered_by(c) == "target"
    policies.write(scripts_of(bench), {"a.lua": sends_reads_to("origin", "in-front")})
    text = await bench.reload(lua={"too": None})
    assert "[lua] script: " in text
    assert await answered_by(c) == "origin"
    assert [h["name"] for h in (await policies.status(bench))["policy"]["hooks"]] == ["in-front", "by-option"]
    said = await bench.reload("refused", lua={"script": None})
    assert re.search(r"\.ini:\d+: \[lua\] to: no setting", said), said
    text = await bench.reload(lua={"script": ""}, routing={"primary": "target"})
    assert "scripts were loaded" not in text
    assert await answered_by(c) == "target"
    assert (await policies.status(bench))["policy"] == {"rules": 0, "scripts": [], "hooks": []}
    await bench.reload(lua={"script": scripts_of(bench).name})
    assert await answered_by(c) == "origin"


async def test_requests_in_flight_go_on(make_bench):
    """A request that waits for its answer when its script goes away gets it, also one whose route had a time-out."""
    first = """
        local slow = proxy.route { to = "target", timeout = "20s", tag = "slow" }
        proxy.on_request("route", { kinds = "read" }, function() return slow end)
    """
    bench = await bench_with(make_bench, {"a.lua": first})
    c = await bench.client()
    prepared = await c.prepare("SELECT * FROM ks.held WHERE k = ?")
    hold = behaviour.Hold()
    bench.target.on("FROM ks.held", hold)
    waiting = [c.send_query("SELECT * FROM ks.held"), c.send_execute(prepared, values=[b"k"])]
    await hold.arrived(2)
    policies.rewrite(bench, {"a.lua": sends_reads_to("origin")})
    await bench.proxy.reload()
    assert await answered_by(c) == "origin"
    hold.release()
    for stream in waiting:
        assert (await c.answer(stream)).rows[0][0] == "target"
    assert (await c.execute(prepared, values=[b"k"])).rows[0][0] == "origin"


async def test_ticks_of_old_scripts_end(make_bench):
    """Timers belong to the scripts that started them, also in a worker without clients."""
    def ticking(name):
        return f"""
            local seen = proxy.counter("{name}")
            proxy.on_tick(0.1, function() seen:add(1) end)
        """
    bench = await bench_with(make_bench, {"a.lua": ticking("old")})

    async def value(name):
        return await policies.counted(bench, "policy_counter_total", name=name)

    async def until_ticks(name, more):
        async def ticked():
            return await value(name) >= more
        await bench.proxy.until(ticked, f"ticks of {name}")
    await until_ticks("old", 4)
    policies.rewrite(bench, {"a.lua": ticking("new")})
    await bench.proxy.reload()
    end = await value("old")
    await until_ticks("new", 6)
    assert await value("old") == end


async def test_the_end_comes_during_a_reload(make_bench):
    """Nothing of the new scripts is left behind in a process that ends: the sanitizers would say so."""
    bench = await bench_with(make_bench, {"a.lua": sends_reads_to("target") + "\nproxy.on_tick(0.1, function() end)"})
    bench.may_be_down = True
    c = await bench.client()
    assert await answered_by(c) == "target"
    for number in (signal.SIGHUP, signal.SIGTERM):
        bench.proxy.signal(number)
    assert await bench.proxy.wait() == 0
    bench.proxy.check_log()


async def test_a_hook_that_was_switched_off_is_on_again(make_bench):
    """A reload is how an operator says that the script is mended; the gauge goes back."""
    broken = 'proxy.on_request("route", { kinds = "read" }, function() error("broken") end)'
    bench = await bench_with(make_bench, {"a.lua": broken}, fail_limit=3)
    c = await bench.client()
    for _ in range(5):
        assert await answered_by(c) == "origin"
    hook = await policies.hook(bench, "route")
    assert (hook["calls"], hook["errors"], hook["workers_off"]) == (3, 3, 1)
    assert await policies.counted(bench, "policy_hook_off", hook="route") == 1
    policies.rewrite(bench, {"a.lua": sends_reads_to("target")})
    await bench.proxy.reload()
    assert await answered_by(c) == "target"
    hook = await policies.hook(bench, "route")
    assert (hook["calls"], hook["errors"], hook["workers_off"]) == (4, 3, 0)
    assert await policies.counted(bench, "policy_hook_off", hook="route") == 0


async def test_prepared_under_other_scripts(make_bench):
    """A statement that was prepared on one cluster works on the other when the scripts change, on every connection."""
    by_table = 'proxy.on_request("route", { scope = "table" }, function() return "%s" end)'
    bench = await bench_with(make_bench, {"a.lua": by_table % "origin"})
    c = await bench.client()
    text = "INSERT INTO ks.t (k) VALUES (?)"
    prepared = await c.prepare(text)
    assert not (await c.execute(prepared, values=[b"k"])).is_error()
    assert reached(bench, Op.EXECUTE, text) == "origin"
    for name in ("target", "origin", "both"):
        policies.rewrite(bench, {"a.lua": by_table % name})
        await bench.proxy.reload()
        before = [len(cluster.requests(Op.EXECUTE)) for cluster in bench.clusters]
        assert not (await c.execute(prepared, values=[b"k"])).is_error()
        after = [len(cluster.requests(Op.EXECUTE)) for cluster in bench.clusters]
        grown = [cluster.name for cluster, a, b in zip(bench.clusters, before, after) if b > a]
        assert grown == (["origin", "target"] if name == "both" else [name])


async def test_all_workers_get_the_same(make_bench, tmp_path):
    """A file that becomes another one between the first worker's script and the second's: the old ones stay for all."""
    script = 'local help = require "help"\nproxy.on_request("route", { kinds = "read" }, function() return help end)'
    library = tmp_path / "next_file.so"
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", library, Path(__file__).parent / "next_file.c", "-ldl"], check=True,
                   timeout=60)

    def configure(bench):
        policies.write(scripts_of(bench), {"a.lua": sends_reads_to("target")})
        policies.write(bench.proxy.folder / "lib", {"help.lua": 'return "origin"'})
        bench.sections["lua"] = {"script": scripts_of(bench).name + "/a.lua", "lua_path": "lib"}
        bench.variables = {"LD_PRELOAD": str(library),
                           "ASAN_OPTIONS": "verify_asan_link_order=0:detect_leaks=1:quarantine_size_mb=8"}
    bench = await make_bench(fresh=True, profile="native", configure=configure)
    c = [await bench.client() for _ in range(2)]
    policies.write(scripts_of(bench), {"a.lua": script})
    policies.write(bench.proxy.folder / "lib", {"help.lua.next": 'return "both"'})
    said = await bench.proxy.reload("refused")
    assert "were changed while they were being loaded; send SIGHUP again" in said
    assert not (bench.proxy.folder / "lib" / "help.lua.next").exists()
    for client in c:
        assert await answered_by(client) == "target"
    await bench.proxy.reload()
    for number, client in enumerate(c):
        text = f"SELECT * FROM ks.t /* {number} */"
        await answered_by(client, text)
        assert reached(bench, Op.QUERY, text) == "both"
