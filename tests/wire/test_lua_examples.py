"""
The scripts of lua/examples: what the file .expect beside each says, by --explain; and with a running proxy what depends
on keys, rates, time and the clients themselves.
"""
import asyncio
import os
import struct
import subprocess
import time
from pathlib import Path

import pytest

import lua_expect
from cqlwire import Err, Kind, Op
from helpers import assert_error
from proxy import binary

pytestmark = pytest.mark.native

NAMES = sorted(path.stem for path in lua_expect.EXAMPLES.glob("*.lua"))
READ = "SELECT * FROM ks.t WHERE k = ?"
KEYS = [f"key-{i}".encode() for i in range(60)]
#: processes at a time
AT_ONCE = 4


# ---- what needs no cluster ----

async def run(*arguments):
    """(exit status, standard output, standard error) of the program."""
    process = await asyncio.create_subprocess_exec(
        binary(), *map(str, arguments), stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE, env={k: v for k, v in os.environ.items() if not k.startswith("ZDM_")})
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


def said(out):
    """The last line of --explain as .expect files write it."""
    line = out.splitlines()[-1]
    assert line.startswith("route: "), out
    route = line[len("route: "):]
    if route == "answered by the proxy":
        return "proxy"
    return "mirror" if "(mirror to " in route else route.removesuffix(" (answer from origin)")


def is_so(outcome, route):
    """`denied` lines give a piece of the text."""
    if not outcome.startswith("denied "):
        return route == outcome
    code, _, piece = outcome[len("denied "):].partition(": ")
    return route.startswith(f"denied ({code}): ") and piece in route


async def check_group(name, group, folder):
    path = folder / f"{name}-{group.number}.ini"
    path.write_text(lua_expect.ini(name, group.options))
    if group.failure:
        status, out, err = await run("--check-config", "-c", path)
        return [] if status == 1 and group.failure in err else [f"line {group.number}: {status} {out}{err}"]
    limit = asyncio.Semaphore(AT_ONCE)

    async def check(line):
        async with limit:
            status, out, err = await run("-c", path, "--explain", line.statement, *lua_expect.arguments(line))
        if status == 0 and not err and is_so(line.outcome, said(out)):
            return []
        return [f"line {line.number}: {line.outcome} is expected of {line.statement}, not {status}:\n{out}{err}"]
    return sum(await asyncio.gather(*map(check, group.lines)), [])


@pytest.mark.own_profile
@pytest.mark.parametrize("name", NAMES)
async def test_expectations(name, tmp_path):
    """Each line of NAME.expect is so, by --explain."""
    problems = [await check_group(name, group, tmp_path)
                for group in lua_expect.read(lua_expect.EXAMPLES / f"{name}.expect")]
    assert not any(problems), "\n".join(sum(problems, []))


@pytest.mark.own_profile
async def test_all_of_them_together(tmp_path):
    """The folder as it is: each loads without options, and none stands in the way of another."""
    path = tmp_path / "all.ini"
    path.write_text(lua_expect.ini(None, {}))
    status, out, err = await run("--check-config", "-c", path)
    assert (status, err) == (0, ""), out + err


@pytest.mark.own_profile
async def test_a_wrong_option_names_its_place(tmp_path):
    path = tmp_path / "wrong.ini"
    path.write_text(lua_expect.ini("canary", {"canary_permile": 10}))
    status, out, err = await run("--check-config", "-c", path)
    assert status == 1 and f"{path}:{len(path.read_text().splitlines())}" in err and "canary_permile" in err, out + err


# ---- with a running proxy ----

@pytest.fixture
def example(make_bench):
    """await example(NAME, option=value ...) gives a bench with this script."""
    async def start(name, clusters=None, **options):
        section = {"lua_path": lua_expect.LIBRARY, "script": lua_expect.EXAMPLES / f"{name}.lua", **options}
        return await make_bench(sections={"lua": section}, **(clusters or {}))
    return start


def keys_of(cluster):
    return {r.params.values[0] for r in cluster.requests(Op.EXECUTE)}


async def read_all(bench, client, statement):
    """Reads each key; returns which cluster gave the row that the client got for it."""
    answered = {}
    for key in KEYS:
        answer = await client.execute(statement, values=[key])
        assert answer.kind == Kind.ROWS, answer
        answered[key] = answer.rows[0][0]
    await bench.settle(client)
    return answered


async def test_canary_by_key(example):
    """Each key keeps to its cluster, for all clients; a larger share keeps what was there and adds to it."""
    bench = await example("canary", canary_permille=300)
    first, second = await bench.client(4), await bench.client(5)
    answered = await read_all(bench, first, await first.prepare(READ))
    assert await read_all(bench, second, await second.prepare(READ)) == answered
    moved = {key for key in KEYS if answered[key] == "target"}
    assert keys_of(bench.target) == moved and keys_of(bench.origin) == set(KEYS) - moved
    assert len(KEYS) * 0.1 < len(moved) < len(KEYS) * 0.55
    assert (await first.query("SELECT * FROM ks.t WHERE k = 'key-1'")).rows[0][0] == "origin"

    more = await example("canary", canary_permille=700)
    client = await more.client()
    answered = await read_all(more, client, await client.prepare(READ))
    assert moved < {key for key in KEYS if answered[key] == "target"}
    metrics = await more.proxy.metrics()
    assert metrics['zdm_cqlferry_policy_tagged_requests_total{tag="canary"}'] == len(keys_of(more.target))


@pytest.mark.parametrize("permille, cluster", ((0, "origin"), (1000, "target")))
async def test_canary_of_none_and_of_all(example, permille, cluster):
    bench = await example("canary", canary_permille=permille, canary_keyspaces="ks")
    client = await bench.client()
    assert set((await read_all(bench, client, await client.prepare(READ))).values()) == {cluster}
    other = await client.prepare("SELECT * FROM elsewhere.t WHERE k = ?")
    assert set((await read_all(bench, client, other)).values()) == {"origin"}


async def test_quota(example):
    """Over all workers together; what is above gets OVERLOADED, and nothing of it is sent."""
    bench = await example("quota", quota_per_second=5)
    clients = [await bench.client() for _ in range(4)]
    begun = time.monotonic()
    sent = [(client, client.send_query("SELECT * FROM ks.t")) for client in clients for _ in range(5)]
    answers = [await client.answer(stream) for client, stream in sent]
    refused = [answer for answer in answers if answer.is_error()]
    for answer in refused:
        assert_error(answer, Err.OVERLOADED, "may send 5 requests per second")
    # A second's worth, and what a slow machine has gathered meanwhile.
    assert 5 <= len(answers) - len(refused) < 10 + 5 * (time.monotonic() - begun)
    assert len(bench.origin.requests(Op.QUERY)) == len(answers) - len(refused)

    async def is_served():
        return not (await clients[0].query("SELECT * FROM ks.t")).is_error()
    await bench.proxy.until(is_served, "a request within the quota")


def clock(seconds):
    """HH:MM of UTC so many seconds from now."""
    return time.strftime("%H:%M", time.gmtime(time.time() + seconds))


@pytest.mark.parametrize("begins, ends, cluster", ((-7200, 7200, "target"), (7200, -7200, "origin"),
                                                   (-7200, -3600, "origin"), (3600, 7200, "origin")))
async def test_time_window(example, begins, ends, cluster):
    """Windows that hold the present time and that do not, some of them over midnight, whatever time it is."""
    bench = await example("time_window", time_window_from=clock(begins), time_window_to=clock(ends))
    client = await bench.client()
    assert (await client.query("SELECT * FROM ks.t")).rows[0][0] == cluster


async def test_time_window_opens_and_closes(make_bench, tmp_path):
    """By the clock alone: no reload, and a line in the log each time."""
    library, ahead = tmp_path / "ahead_clock.so", tmp_path / "ahead"
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", library, Path(__file__).parent / "ahead_clock.c"], check=True,
                   timeout=60)
    ahead.write_bytes(struct.pack("=q", 0))
    bench = await make_bench(
        fresh=True, sections={"lua": {"lua_path": lua_expect.LIBRARY, "script": lua_expect.EXAMPLES / "time_window.lua",
                                      "time_window_from": clock(7200), "time_window_to": clock(10800)}},
        variables={"LD_PRELOAD": str(library), "CLOCK_AHEAD": str(ahead),
                   "ASAN_OPTIONS": "verify_asan_link_order=0:detect_leaks=1:quarantine_size_mb=8"})
    client = await bench.client()

    async def until_answered_by(cluster):
        async def is_so():
            return (await client.query("SELECT * FROM ks.t")).rows[0][0] == cluster
        await bench.proxy.until(is_so, f"answers of {cluster}")
    assert (await client.query("SELECT * FROM ks.t")).rows[0][0] == "origin"
    ahead.write_bytes(struct.pack("=q", 9000))
    await until_answered_by("target")
    await bench.proxy.until_logged("time_window: reads come from target")
    ahead.write_bytes(struct.pack("=q", 18000))
    await until_answered_by("origin")
    await bench.proxy.until_logged("time_window: reads go their usual way")


async def test_mirror_sample(example):
    """The client gets the primary's answers; the secondary gets copies, at most so many in a second."""
    bench = await example("mirror_sample", mirror_sample_permille=1000, mirror_sample_per_second=4)
    client = await bench.client()
    statement = await client.prepare(READ)
    begun = time.monotonic()
    assert set((await read_all(bench, client, statement)).values()) == {"origin"}
    seconds = time.monotonic() - begun
    assert keys_of(bench.origin) == set(KEYS)
    await bench.target.until(lambda: len(keys_of(bench.target)) >= 4, "copies")
    assert len(keys_of(bench.target)) < 20 + 4 * seconds


async def test_mirror_sample_by_key(example):
    """Always the same keys: those that a canary of this size sends to target."""
    canary = await example("canary", canary_permille=300)
    client = await canary.client()
    answered = await read_all(canary, client, await client.prepare(READ))
    sample = {key for key in KEYS if answered[key] == "target"}

    bench = await example("mirror_sample", mirror_sample_permille=300, mirror_sample_per_second=1000000)
    client = await bench.client()
    statement = await client.prepare(READ)
    await read_all(bench, client, statement)
    await bench.target.until(lambda: keys_of(bench.target) >= sample, "copies")
    assert keys_of(bench.target) == sample
    assert keys_of(bench.origin) == set(KEYS)


async def test_driver_allow_list(example):
    """By what STARTUP says. A driver that is refused can connect, and reads the system tables."""
    bench = await example("driver_allow_list", driver_allow_list="good driver = 2.10")
    for version, is_good in (("2.10", True), ("2.9", False), ("10.0-rc1", True)):
        client = await bench.client(options={"DRIVER_NAME": "good driver", "DRIVER_VERSION": version})
        answer = await client.query("SELECT * FROM ks.t")
        if is_good:
            assert answer.kind == Kind.ROWS
        else:
            assert_error(answer, Err.UNAUTHORIZED, f"driver good driver {version} is not allowed here")
            assert (await client.query("SELECT * FROM system.local")).kind == Kind.ROWS
    client = await bench.client()
    assert_error(await client.query("INSERT INTO ks.t (k) VALUES (1)"), Err.UNAUTHORIZED, "without a name")
    assert not bench.target.requests(Op.QUERY)


async def test_freeze(example):
    """What is refused reaches no cluster, however it is sent."""
    bench = await example("freeze", freeze_tables="ks.frozen, cold.*")
    client = await bench.client()
    good = await client.prepare("INSERT INTO ks.t (k) VALUES (?)")
    bad = await client.prepare("INSERT INTO ks.frozen (k) VALUES (?)")
    answers = [await client.query("DELETE FROM ks.frozen WHERE k = 1"), await client.execute(bad, values=[b"k"]),
               await client.batch([(good.prepared_id, [b"k"]), (bad.prepared_id, [b"k"])])]
    for answer in answers:
        assert_error(answer, Err.UNAUTHORIZED, "ks.frozen is read-only during the migration")
    assert not (await client.execute(good, values=[b"k"])).is_error()
    assert (await client.query("SELECT * FROM ks.frozen")).kind == Kind.ROWS
    for cluster in bench.clusters:
        assert not [r for r in cluster.requests(Op.QUERY, Op.EXECUTE, Op.BATCH)
                    if r.opcode == Op.BATCH or ("frozen" in r.statement and "SELECT" not in r.statement)]
    metrics = await bench.proxy.metrics()
    assert metrics['zdm_cqlferry_policy_denials_total{hook="freeze"}'] == len(answers)


async def test_staging(example):
    """Target hears nothing of the keyspace: neither USE nor PREPARE nor requests."""
    bench = await example("staging", staging_keyspaces="staging")
    client = await bench.client()
    await client.use("staging")
    statement = await client.prepare("INSERT INTO staging.t (k) VALUES (?)")
    assert not (await client.execute(statement, values=[b"k"])).is_error()
    assert (await client.query("SELECT * FROM t")).rows[0][0] == "origin"
    await bench.settle(client)
    assert not bench.target.requests(Op.QUERY, Op.PREPARE, Op.EXECUTE)
