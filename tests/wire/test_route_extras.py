"""
What a route of a script wants beside the clusters: a consistency level, a time-out, a tag. And what scripts are told
about the client: its user, its address, its driver.
"""
import asyncio

import pytest

import behaviour
from behaviour import Hold, mute
from cqlwire import CL, Err, Op
from fakecluster import Auth
from helpers import WAY_IDS, WAYS, assert_error

READ = "SELECT * FROM ks.t"
READ_ONE = "SELECT * FROM ks.t WHERE k = ?"
WRITE = "INSERT INTO ks.t (k) VALUES (?)"

pytestmark = pytest.mark.native
backends = pytest.mark.parametrize("backend", ["dedicated", "pooled"])
scopes = pytest.mark.parametrize("scope", ["table", "statement", "request"])
ways = pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)


def hook(route, scope="request", kinds="read,write"):
    """A script that gives requests about ks.* this route."""
    return f"""
local route = proxy.route {{ {route} }}
proxy.on_request("extras", {{ kinds = "{kinds}", keyspaces = "ks", scope = "{scope}" }}, function(req)
    return route
end)
"""


@pytest.fixture
def scripted(make_bench, tmp_path):
    """await scripted(script, backend, ...): a bench whose proxy has this script; bench.script is its path."""
    async def make(script, backend="dedicated", sections=None, **more):
        path = tmp_path / "policy.lua"
        path.write_text(script)
        merged = {"proxy": {"backend_connections": backend, "workers": 1}, "lua": {"script": str(path)}}
        if backend == "pooled":
            merged["proxy"]["pool_idle_timeout"] = "10ms"
        for name, values in (sections or {}).items():
            merged.setdefault(name, {}).update(values)
        bench = await make_bench(fresh=True, sections=merged, **more)
        bench.script = path
        return bench
    return make


def levels(cluster, *opcodes, of="ks."):
    return [r.params.consistency for r in cluster.requests(*(opcodes or (Op.QUERY, Op.EXECUTE, Op.BATCH)))
            if of in (r.statement or "" if r.opcode != Op.BATCH else "ks.")]


# ---- the level ----

@ways
@scopes
async def test_the_level_is_the_routes(scripted, version, compression, scope):
    """For both clusters and every form of request; maps of the settings do not apply to it."""
    bench = await scripted(hook('to = "both", consistency = "THREE"', scope), sections={
        "origin": {"read_consistency": "ALL", "write_consistency": "ALL"}})
    c = await bench.client(version, compression)
    read, write = await c.prepare(READ_ONE), await c.prepare(WRITE)
    await c.query(READ, consistency=CL.ONE)
    await c.execute(read, values=[b"k"], consistency=CL.QUORUM, skip_metadata=True)
    await c.execute(write, values=[b"k"], consistency=CL.QUORUM)
    await c.batch([("INSERT INTO ks.t (k) VALUES (1)", [])], consistency=CL.ONE)
    await c.batch([(write.prepared_id, [b"k"]), ("INSERT INTO ks.t (k) VALUES (1)", [])], consistency=CL.ONE)
    await c.query("SELECT * FROM other.t", consistency=CL.TWO)
    await bench.settle(c)
    for cluster in bench.clusters:
        assert levels(cluster) == [CL.THREE] * 5
    assert levels(bench.origin, of="other.") == [CL.ALL]
    found, = [r for r in bench.target.requests(Op.EXECUTE) if r.statement == READ_ONE]
    assert (found.params.values, found.prepared_id) == ([b"k"], bench.target.prepared_id(READ_ONE, None))
    assert [r.params.values for r in bench.origin.requests(Op.EXECUTE)] == [[b"k"]] * 2


@backends
@pytest.mark.parametrize("level", [CL.SERIAL, CL.LOCAL_SERIAL])
async def test_serial_levels_stay(scripted, backend, level):
    """They ask for another kind of read, so maps apply as without the route."""
    bench = await scripted(hook('to = "target", consistency = "ONE"'), backend)
    c = await bench.client()
    await c.query(READ, consistency=level)
    await bench.settle(c)
    assert levels(bench.target) == [level]


@backends
@ways
async def test_errors_say_the_routes_level(scripted, backend, version, compression):
    """A time-out and an UNAVAILABLE of ours are about the request as it was sent."""
    bench = await scripted(hook('to = "target", consistency = "TWO", timeout_ms = 200'), backend)
    c = await bench.client(version, compression)
    bench.target.on(lambda r: "ks." in (r.statement or ""), mute())
    answer = await c.query(READ, consistency=CL.ONE)
    assert_error(answer, Err.READ_TIMEOUT, "target", "within 200 ms")
    assert answer.fields["consistency"] == CL.TWO
    answer = await c.query("INSERT INTO ks.t (k) VALUES (1)", consistency=CL.ONE)
    assert_error(answer, Err.WRITE_TIMEOUT, "target", "within 200 ms")
    assert answer.fields["consistency"] == CL.TWO
    bench.target.rules.clear()
    await bench.settle(c)


async def test_the_level_of_copies(scripted):
    bench = await scripted(hook('to = "target", mirror = true, consistency = "TWO"', kinds="read"), sections={
        "origin": {"read_consistency": "ALL"}})
    c = await bench.client()
    prepared = await c.prepare(READ_ONE)
    assert (await c.query(READ, consistency=CL.ONE)).rows[0][0] == "target"
    assert (await c.execute(prepared, values=[b"k"], consistency=CL.ONE)).rows[0][0] == "target"
    await bench.origin.until(lambda: len(levels(bench.origin)) == 2, "copies")
    assert levels(bench.origin) == levels(bench.target) == [CL.TWO] * 2


async def test_the_level_of_repeats(scripted):
    """A statement that the node has lost is prepared again, and sent as it was."""
    bench = await scripted(hook('to = "target", consistency = "TWO"'))
    c = await bench.client()
    prepared = await c.prepare(READ_ONE)
    bench.target.forget_prepared()
    assert (await c.execute(prepared, values=[b"k"], consistency=CL.ONE)).rows[0][0] == "target"
    assert [r.params.consistency for r in bench.target.requests(Op.EXECUTE)] == [CL.TWO] * 2


async def test_the_level_after_a_lost_connection(scripted):
    bench = await scripted(hook('to = "target", consistency = "TWO"'), "pooled", target={"nodes": 2})
    c = await bench.client()
    bench.target.on(READ, behaviour.close(), times=1)
    assert (await c.query(READ, consistency=CL.ONE)).rows[0][0] == "target"
    assert levels(bench.target) == [CL.TWO] * 2


@backends
async def test_the_level_of_large_requests(scripted, backend):
    bench = await scripted(hook('to = "target", consistency = "TWO"'), backend, sections={
        "proxy": {"large_frame_size": "64KiB"}})
    c = await bench.client()
    write = await c.prepare(WRITE)
    await c.execute(write, values=[b"x" * 100000], consistency=CL.ONE)
    await c.batch([(write.prepared_id, [b"x" * 100000])], consistency=CL.ONE)
    assert levels(bench.target) == [CL.TWO] * 2
    assert bench.target.requests(Op.EXECUTE)[0].params.values == [b"x" * 100000]


@ways
async def test_beside_other_changes(scripted, version, compression):
    """The places of the level, a request id and a timestamp move together."""
    bench = await scripted(hook('to = "both", consistency = "TWO"'), sections={
        "proxy": {"tracing_enabled": "true"}, "routing": {"timestamps": "add"}})
    c = await bench.client(version, compression)
    write = await c.prepare(WRITE)
    await c.execute(write, values=[b"k"], consistency=CL.ONE)
    await c.batch([(write.prepared_id, [b"k"])], consistency=CL.ONE)
    await c.query("INSERT INTO ks.t (k) VALUES (1)", consistency=CL.ONE)
    for cluster in bench.clusters:
        assert levels(cluster) == [CL.TWO] * 3
        assert cluster.requests(Op.EXECUTE)[0].params.values == [b"k"]
        assert (version < 3) or cluster.requests(Op.EXECUTE)[0].params.timestamp is not None


# ---- the time-out ----

@backends
@scopes
async def test_a_shorter_time(scripted, backend, scope):
    bench = await scripted(hook('to = "target", timeout_ms = 100', scope, kinds="read"), backend)
    c = await bench.client()
    bench.target.on("ks.t", mute())
    hold = Hold()
    bench.origin.on("other.t", hold)
    slow = c.send_query("SELECT * FROM other.t")
    assert_error(await c.query(READ), Err.READ_TIMEOUT, "target", "within 100 ms")
    hold.release()
    assert (await c.answer(slow)).rows[0][0] == "origin"


@backends
async def test_a_longer_time(scripted, backend):
    """Behind one that has the usual time, and outlives it."""
    bench = await scripted(hook('to = "target", timeout = "1m"'), backend, sections={
        "proxy": {"request_timeout": "1s"}})
    c = await bench.client()
    hold = Hold()
    bench.target.on("ks.t", hold)
    bench.origin.on("other.t", mute())
    long = c.send_query(READ)
    await hold.arrived()
    assert_error(await c.query("SELECT * FROM other.t"), Err.READ_TIMEOUT, "origin", "within 1000 ms")
    hold.release()
    assert (await c.answer(long)).rows[0][0] == "target"


async def test_many_durations(scripted):
    """Sixteen different ones at a time; what is beyond gets a longer one."""
    script = """
local routes = {}
for i = 1, 20 do routes["t" .. i] = proxy.route { to = "target", timeout_ms = 600 + 20 * i } end
proxy.on_request("many", { kinds = "read", keyspaces = "ks" }, function(req) return routes[req:table()] end)
"""
    bench = await scripted(script)
    c = await bench.client()
    bench.target.on("ks.t", mute())
    sent = {i: c.send_query(f"SELECT * FROM ks.t{i}") for i in range(20, 0, -1)}
    for i, stream in sent.items():
        assert_error(await c.answer(stream), Err.READ_TIMEOUT, f"within {600 + 20 * max(i, 5)} ms")
    assert "more than 16 different time-outs" in bench.proxy.log
    assert_error(await c.query("SELECT * FROM ks.t1"), Err.READ_TIMEOUT, "within 620 ms")


async def test_while_a_large_request_waits(scripted):
    """The connection for it does not come about within the route's time."""
    bench = await scripted(hook('to = "target", timeout_ms = 150'), sections={"proxy": {"large_frame_size": "64KiB"}})
    c = await bench.client()
    await bench.settle(c)
    bench.target.on(Op.STARTUP, mute())
    answer = await c.query(f"INSERT INTO ks.t (k) VALUES ('{'x' * 100000}')")
    assert_error(answer, Err.OVERLOADED, "within 150 ms; nothing was sent", "target")


async def fill(bench, client):
    """All stream ids of the shared connections to origin are taken, until the Hold that comes back is released."""
    hold = Hold()
    bench.origin.on("held.t", hold)
    held = [client.send_query("SELECT * FROM held.t") for _ in range(10)]
    await hold.arrived(10)
    return hold, held


FEW_IDS = {"proxy": {"max_stream_ids": 5}}


async def test_while_a_pool_is_busy(scripted):
    bench = await scripted(hook('to = "origin", timeout_ms = 150'), "pooled", sections=FEW_IDS)
    c = await bench.client()
    hold, held = await fill(bench, c)
    assert_error(await c.query(READ), Err.OVERLOADED, "within 150 ms; nothing was sent")
    hold.release()
    for stream in held:
        assert not (await c.answer(stream)).is_error()


async def test_a_longer_time_on_a_connection_that_retires(scripted):
    """Late answers of others have used up its ids, so it takes no more requests; this one is waited for."""
    bench = await scripted(hook('to = "target", timeout = "30s"'), "pooled", sections={
        "proxy": {"max_stream_ids": 8, "request_timeout": "600ms", "heartbeat_interval": "40ms"}})
    c = await bench.client()
    hold = Hold()
    bench.target.on("ks.t", hold)
    bench.target.on("late.t", mute())
    long = c.send_query("INSERT INTO ks.t (k) VALUES (1)")
    await hold.arrived()
    for stream in [c.send_query("INSERT INTO late.t (k) VALUES (1)") for _ in range(6)]:
        assert_error(await c.answer(stream), Err.WRITE_TIMEOUT, "target")
    await c.query("SELECT * FROM other.t")
    await bench.settle(c)
    conn = hold.waiting[0].conn
    await asyncio.sleep(1.3)  # twice the others' time, and some: nothing tells us that it was not closed
    assert not conn.is_closed
    hold.release()
    assert not (await c.answer(long)).is_error()
    await bench.target.until(lambda: conn.is_closed, "its end")


@pytest.mark.parametrize("how", ["query", "execute"])
async def test_later_pages(scripted, how):
    """Nobody is asked about them; what holds for the table holds for each page."""
    bench = await scripted(hook('to = "target", consistency = "TWO", timeout_ms = 800', "table"))
    c = await bench.client()
    text = "SELECT * FROM ks.paged"
    prepared = await c.prepare(text)

    async def page(state):
        params = dict(page_size=1, paging_state=state, consistency=CL.ONE)
        return await (c.query(text, **params) if how == "query" else c.execute(prepared, **params))
    first = await page(None)
    second = await page(first.paging_state)
    assert (first.rows[0][0], second.rows[0][0]) == ("target", "target")
    assert levels(bench.target) == [CL.TWO] * 2
    bench.target.on("ks.paged", mute())
    assert_error(await page(second.paging_state), Err.READ_TIMEOUT, "within 800 ms")


async def test_later_pages_of_a_hook_for_requests(scripted):
    """It is asked once, so the others have the level of the request."""
    bench = await scripted(hook('to = "target", consistency = "TWO", tag = "paged"'))
    c = await bench.client()
    first = await c.query("SELECT * FROM ks.paged", page_size=1, consistency=CL.ONE)
    second = await c.query("SELECT * FROM ks.paged", page_size=1, consistency=CL.ONE, paging_state=first.paging_state)
    assert second.rows[0][0] == "target"
    assert levels(bench.target) == [CL.TWO, CL.ONE]
    assert await tagged(bench, "paged") == 1


# ---- the tag ----

async def tagged(bench, tag):
    return (await bench.proxy.metrics())[f'zdm_cqlferry_policy_tagged_requests_total{{tag="{tag}"}}']


@backends
@scopes
async def test_tags_are_counted(scripted, backend, scope):
    """Once for each request, however often it is sent."""
    bench = await scripted(hook('to = "both", tag = "canary"', scope), backend)
    c = await bench.client()
    assert await tagged(bench, "canary") == 0
    prepared = await c.prepare(READ_ONE)
    await c.query(READ)
    for cluster in bench.clusters:
        cluster.forget_prepared()
    await c.execute(prepared, values=[b"k"])
    await c.batch([("INSERT INTO ks.t (k) VALUES (1)", [])])
    await c.query("SELECT * FROM other.t")
    assert await tagged(bench, "canary") == 3


async def test_tags_after_a_reload(scripted):
    """Counters go on; those of tags that are gone stay."""
    bench = await scripted(hook('to = "target", tag = "one"', "table"))
    c = await bench.client()
    prepared = await c.prepare(READ_ONE)
    await c.execute(prepared, values=[b"k"])
    bench.script.write_text(hook('to = "target", tag = "two"', "table"))
    await bench.reload()
    await c.execute(prepared, values=[b"k"])
    await c.query(READ)
    assert (await tagged(bench, "one"), await tagged(bench, "two")) == (1, 2)


async def test_a_reload_while_requests_wait(scripted):
    """The route they came with is gone; their level, time and tag are not."""
    bench = await scripted(hook('to = "origin", consistency = "TWO", timeout = "30s", tag = "old"'), "pooled",
                           sections=FEW_IDS)
    c = await bench.client()
    hold, held = await fill(bench, c)
    waiting = c.send_query(READ, consistency=CL.ONE)
    bench.script.write_text(hook('to = "target"'))
    await bench.reload()
    assert levels(bench.origin, of="ks.t") == []
    hold.release()
    for stream in held:
        assert not (await c.answer(stream)).is_error()
    assert (await c.answer(waiting)).rows[0][0] == "origin"
    assert levels(bench.origin, of="ks.t") == [CL.TWO]
    assert (await c.query(READ)).rows[0][0] == "target"


# ---- mirrors by scripts ----

@backends
@pytest.mark.parametrize("to,other", [("origin", "target"), ("target", "origin")])
async def test_mirrors_towards_either_cluster(scripted, backend, to, other):
    bench = await scripted(hook(f'to = "{to}", mirror = true', kinds="read"), backend)
    c = await bench.client()
    prepared = await c.prepare(READ_ONE)
    copied = getattr(bench, other)
    assert (await c.query(READ)).rows[0][0] == to
    assert (await c.execute(prepared, values=[b"k"])).rows[0][0] == to
    await c.use("ks")
    assert (await c.query("SELECT * FROM u")).rows[0][:2] == [to, "ks"]
    await copied.until(lambda: [r.statement for r in copied.requests(Op.QUERY, Op.EXECUTE)
                                if (r.statement or "").startswith("SELECT")][-1:] == ["SELECT * FROM u"], "copies")
    copies = [r for r in copied.requests(Op.QUERY, Op.EXECUTE) if (r.statement or "").startswith("SELECT")]
    assert [r.statement for r in copies] == [READ, READ_ONE, "SELECT * FROM u"]
    assert copies[1].prepared_id == copied.prepared_id(READ_ONE, None)
    assert copies[2].keyspace == "ks" and len({r.conn for r in copies}) == 1


@backends
async def test_mirrors_towards_both_in_turns(scripted, backend):
    script = """
local routes = { t = proxy.route { to = "origin", mirror = true }, u = proxy.route { to = "target", mirror = true } }
proxy.on_request("turns", { kinds = "read", keyspaces = "ks" }, function(req) return routes[req:table()] end)
"""
    bench = await scripted(script, backend)
    c = await bench.client()
    for _ in range(2):
        assert (await c.query(READ)).rows[0][0] == "origin"
        assert (await c.query("SELECT * FROM ks.u")).rows[0][0] == "target"
    for cluster in bench.clusters:
        await cluster.until(lambda cluster=cluster: len(cluster.requests(Op.QUERY)) == 4, "copies")
    await c.close()
    await bench.until_backends_gone()


# ---- the client ----

SEEN = """
proxy.on_request("seen", { kinds = "read", keyspaces = "ks" }, function(req)
    return req:deny("invalid", "user=%s address=%s driver=%s version=%s", req:user() or "none", req:client_addr(),
                    req:client_driver() or "none", req:client_driver_version() or "none")
end)
"""


@backends
async def test_what_a_script_sees_of_the_client(scripted, backend):
    bench = await scripted(SEEN, backend, target={"auth": Auth({"proxy": "proxy-password", "app": "secret"})})
    address = bench.proxy.listen[0]
    said = {"CQL_VERSION": "3.0.0", "DRIVER_NAME": "A Driver", "DRIVER_VERSION": "1.2.3"}
    c = await bench.client(user="app", password="secret", options=said)
    text = (await c.query(READ)).text
    assert "user=app address=127." in text and "driver=A Driver version=1.2.3" in text
    assert ":" not in text.split("address=")[1].split()[0], address
    c = await bench.client(user="app", password="secret")
    assert "driver=none version=none" in (await c.query(READ)).text


@backends
async def test_a_client_without_a_log_in(scripted, backend):
    bench = await scripted(SEEN, backend)
    c = await bench.client()
    assert "user=none" in (await c.query(READ)).text


@pytest.mark.parametrize("claimed,seen", [("PROXY TCP4 10.1.2.3 192.0.2.7 4567 9042", "10.1.2.3"),
                                          ("PROXY TCP6 2001:db8::7 2001:db8::1 4567 9042", "2001:db8::7"),
                                          ("PROXY UNKNOWN", "127.0.0.1")])
async def test_the_address_behind_a_balancer(scripted, claimed, seen):
    """That of the PROXY header, without brackets and port."""
    bench = await scripted(SEEN, sections={"listener": {"proxy_protocol": "v1", "proxy_protocol_from": "127.0.0.0/8"}})
    c = await bench.client(first=claimed.encode() + b"\r\n", local_address="127.0.0.1")
    assert f"address={seen} " in (await c.query(READ)).text


BUCKET = """
proxy.on_request("bucket", { kinds = "write,unknown" }, function(req)
    return req:deny("invalid", "bucket=%s", tostring(req:key_bucket(1000)))
end)
"""


@backends
async def test_the_bucket_of_a_key(scripted, backend):
    """The same for a write and for a batch that begins with it; none where the key is not known."""
    bench = await scripted(BUCKET, backend)
    c = await bench.client(4)
    text = "INSERT INTO ks.t (k) VALUES (?)"
    prepared = await c.prepare(text)
    answers = [await c.execute(prepared, values=[b"k"]),
               await c.batch([("INSERT INTO ks.t (k) VALUES (1)", []), (prepared.prepared_id, [b"k"])]),
               await c.batch([("INSERT INTO ks.t (k) VALUES (1)", [])]),
               await c.query("INSERT INTO ks.t (k) VALUES (1)")]
    found = [a.text.split("bucket=")[1] for a in answers]
    assert found[2:] == ["nil", "nil"]
    assert found[0] == found[1] != "nil"
