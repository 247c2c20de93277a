"""
Asynchronous dual reads: what a client reads from the primary is also read from the secondary, on a connection of its
own whose answers nobody gets (checklist 65, 66, 143, 224 to 234, 258). The client must never notice.
"""
import asyncio
import random
import time

import pytest

import behaviour
from behaviour import Hold, error, mute
from certificates import Authority
from cqlwire import CL, DSE1, DSE2, Column, Err, Op, Type, requests, responses
from fakecluster import DSE_AUTHENTICATOR, Auth
from helpers import PRIMARIES, WAY_IDS, WAYS, assert_alive, assert_error

DUAL = {"read_mode": "dual_async_on_secondary"}
READ = "SELECT * FROM ks.t"
MARK = "SELECT * FROM mark.mark"
ERRORS = ("client_timeout", "read_timeout", "read_failure", "write_timeout", "write_failure", "overloaded",
          "unavailable", "unprepared", "other")
ways = pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
primaries = pytest.mark.parametrize("primary", PRIMARIES)


async def dual(make_bench, primary="origin", sections=None, **more):
    merged = {"routing": dict(DUAL)}
    for name, values in (sections or {}).items():
        merged.setdefault(name, {}).update(values)
    return await make_bench(primary=primary, sections=merged, **more)


def on_mirror(bench, *opcodes):
    """What the secondary got on the connections for mirrored reads, without their handshakes and marks."""
    return [r for r in bench.secondary.requests(*opcodes) if r.conn.is_mirror and r.statement != MARK
            and r.opcode not in (Op.STARTUP, Op.AUTH_RESPONSE)]


def on_main(bench, *opcodes):
    return [r for r in bench.secondary.requests(*opcodes) if not r.conn.is_mirror]


def in_mirror(what):
    """A match for Cluster.on(): only on the mirror's connection."""
    def match(got):
        hit = got.opcode == what if isinstance(what, Op) else got.statement is not None and what in got.statement
        return got.conn.is_mirror and hit
    return match


def second_startup():
    """A match: the second STARTUP that comes, which is the mirror's when one client connects."""
    seen = []

    def match(got):
        if got.opcode == Op.STARTUP:
            seen.append(got)
        return got.opcode == Op.STARTUP and got is not seen[0]
    return match


async def settle_mirror(bench, client):
    """When it returns, all that was mirrored for this client before has arrived."""
    before = sum(r.statement == MARK and r.conn.is_mirror for r in bench.secondary.received)
    assert (await client.query(MARK)).rows[0][0] == bench.primary.name
    await bench.secondary.until(lambda: sum(r.statement == MARK and r.conn.is_mirror
                                            for r in bench.secondary.received) > before, "mark on the mirror")


class Async:
    """The async series; counters from the moment it was made."""

    def __init__(self, bench, samples):
        self.bench = bench
        self.before = samples
        self.node = f"{bench.secondary.nodes[0].address}:{bench.secondary.port}"

    @classmethod
    async def begin(cls, bench):
        return cls(bench, await bench.proxy.metrics())

    async def value(self, name):
        now = await self.bench.proxy.metrics()
        return now[name] - self.before.get(name, 0)

    async def failed(self):
        now = await self.bench.proxy.metrics()
        values = {}
        for e in ERRORS:
            name = f'zdm_async_requests_failed_total{{error="{e}",node="{self.node}"}}'
            values[e] = now[name] - self.before.get(name, 0)
        return {e: n for e, n in values.items() if n}

    async def count(self, kind="reads"):
        return await self.value(f'zdm_async_request_duration_seconds_count{{node="{self.node}",type="{kind}"}}')

    async def until_count(self, n, kind="reads"):
        async def reached():
            return await self.count(kind) == n
        await self.bench.proxy.until(reached, f"{n} mirrored {kind}")

    async def until_failed(self, expected):
        async def reached():
            return await self.failed() == expected
        await self.bench.proxy.until(reached, f"async failures {expected}")

    async def until_gauge(self, name, n):
        await self.bench.proxy.until_metric(f'zdm_async_{name}{{node="{self.node}"}}', n)

    async def dropped(self, reason):
        return await self.value(f'zdm_cqlferry_async_dropped_total{{reason="{reason}"}}')

    async def until_dropped(self, reason, n):
        async def reached():
            return await self.dropped(reason) == n
        await self.bench.proxy.until(reached, f"{n} dropped: {reason}")


# ---- what is mirrored ----

@pytest.mark.checklist(224, 258)
@primaries
@ways
async def test_a_read_goes_to_both(make_bench, primary, version, compression):
    bench = await dual(make_bench, primary)
    c, _ = await bench.mirrored_client(version=version, compression=compression)
    metrics = await Async.begin(bench)
    assert (await c.query(READ)).rows == [[primary, None, READ]]
    await settle_mirror(bench, c)
    assert [r.statement for r in on_mirror(bench)] == [READ]
    assert on_main(bench, Op.QUERY) == []
    assert [r.statement for r in bench.primary.requests(Op.QUERY)] == [READ, MARK]
    await metrics.until_count(2)
    assert await metrics.failed() == {}
    # the body is the same
    assert on_mirror(bench)[0].body == bench.primary.requests(Op.QUERY)[0].body


@pytest.mark.checklist(228)
@primaries
@ways
async def test_execute_has_the_secondarys_id(make_bench, primary, version, compression):
    bench = await dual(make_bench, primary)
    c, _ = await bench.mirrored_client(version=version, compression=compression)
    text = "SELECT * FROM ks.t WHERE k = ?"
    prepared = await c.prepare(text)
    for _ in range(3):
        assert (await c.execute(prepared, values=[b"\0\0\0\1"])).rows[0][0] == primary
    await settle_mirror(bench, c)
    copies = on_mirror(bench, Op.EXECUTE)
    assert [r.prepared_id for r in copies] == [bench.secondary.prepared_id(text, None)] * 3
    assert [r.statement for r in copies] == [text] * 3
    assert all(r.params.values == [b"\0\0\0\1"] for r in copies)
    assert on_main(bench, Op.EXECUTE) == []


@pytest.mark.checklist(224, 228)
@pytest.mark.parametrize("version", [2, DSE1, DSE2])
async def test_old_and_foreign_versions(make_bench, version):
    speak = {"versions": (2, 3, 4, DSE1, DSE2), "compression": ("lz4", "snappy")}
    bench = await dual(make_bench, origin=speak, target=speak)
    c, _ = await bench.mirrored_client(version=version)
    await c.use("one")
    prepared = await c.prepare("SELECT * FROM t")
    assert (await c.execute(prepared)).rows[0][0] == "origin"
    assert (await c.query("SELECT * FROM t")).rows[0][:2] == ["origin", "one"]
    await c.use("two")
    await settle_mirror(bench, c)
    assert [(r.opcode, r.statement, r.keyspace) for r in on_mirror(bench)] == [
        (Op.QUERY, "USE one", None), (Op.PREPARE, "SELECT * FROM t", "one"), (Op.EXECUTE, "SELECT * FROM t", "one"),
        (Op.QUERY, "SELECT * FROM t", "one"), (Op.QUERY, "USE two", "one")]
    bench.target.forget_prepared()
    await c.execute(prepared)
    await bench.target.until(lambda: len(on_mirror(bench, Op.PREPARE)) == 2, "PREPARE")
    await settle_mirror(bench, c)
    assert bench.target.prepared_id("SELECT * FROM t", "one") in bench.target.nodes[0].prepared


@pytest.mark.checklist(227)
@primaries
@ways
async def test_prepare(make_bench, primary, version, compression):
    """Of a SELECT the secondary gets it twice, of an INSERT once."""
    bench = await dual(make_bench, primary)
    c, _ = await bench.mirrored_client(version=version, compression=compression)
    read = "SELECT * FROM ks.t WHERE k = ?"
    write = "INSERT INTO ks.t (k) VALUES (?)"
    assert (await c.prepare(read)).prepared_id == bench.origin.prepared_id(read, None)
    assert (await c.prepare(write)).prepared_id == bench.origin.prepared_id(write, None)
    await c.prepare("SELECT * FROM system_schema.tables")
    await settle_mirror(bench, c)
    assert [r.statement for r in on_mirror(bench)] == [read]
    assert [r.statement for r in on_main(bench, Op.PREPARE)] == [read, write, "SELECT * FROM system_schema.tables"]


@pytest.mark.checklist(226)
@primaries
@ways
async def test_what_is_not_mirrored(make_bench, primary, version, compression):
    bench = await dual(make_bench, primary)
    c, _ = await bench.mirrored_client(version=version, compression=compression)
    write = await c.prepare("INSERT INTO ks.t (k) VALUES (?)")
    system = await c.prepare("SELECT * FROM system_schema.columns")
    local = await c.prepare("SELECT * FROM system.local")
    await c.query("INSERT INTO ks.t (k) VALUES (1)")
    await c.query("UPDATE ks.t SET v = 1 WHERE k = 1 IF v = 2")
    await c.query("BEGIN BATCH INSERT INTO ks.t (k) VALUES (1) APPLY BATCH")
    await c.query("CREATE TABLE ks.t2 (k int PRIMARY KEY)")
    await c.query("TRUNCATE ks.t")
    await c.query("LIST ROLES")
    await c.query("what is this")
    await c.query("SELECT * FROM system_schema.tables")
    await c.query("SELECT * FROM system.local")
    await c.query("SELECT * FROM system.peers")
    await c.execute(write, values=[b"\0\0\0\1"])
    await c.execute(system)
    await c.execute(local)
    await c.batch([("INSERT INTO ks.t (k) VALUES (1)", []), (write.prepared_id, [b"\0\0\0\1"])])
    await c.register("SCHEMA_CHANGE")
    await settle_mirror(bench, c)
    assert on_mirror(bench) == []


@pytest.mark.checklist(90, 225)
@primaries
@ways
async def test_use(make_bench, primary, version, compression):
    """The secondary gets it twice, and what follows stands in that keyspace on both connections."""
    bench = await dual(make_bench, primary)
    c, mirror = await bench.mirrored_client(version=version, compression=compression)
    metrics = await Async.begin(bench)
    await c.use("one")
    assert (await c.query("SELECT * FROM t")).rows == [[primary, "one", "SELECT * FROM t"]]
    await settle_mirror(bench, c)
    assert [(r.statement, r.keyspace) for r in on_mirror(bench)] == [("USE one", None), ("SELECT * FROM t", "one")]
    assert [r.statement for r in on_main(bench, Op.QUERY)] == ["USE one"]
    assert mirror.keyspace == "one"
    await metrics.until_count(1, "writes")
    await c.use("two")
    await c.query("SELECT * FROM t")
    await settle_mirror(bench, c)
    assert [(r.statement, r.keyspace) for r in on_mirror(bench)][2:] == [("USE two", "one"),
                                                                          ("SELECT * FROM t", "two")]


@pytest.mark.checklist(69, 225)
@pytest.mark.parametrize("version", [3, 4, 5])
async def test_options_in_the_zdm_profile(make_bench, version):
    bench = await make_bench(profile="zdm", variables={"ZDM_READ_MODE": "DUAL_ASYNC_ON_SECONDARY"})
    c, _ = await bench.mirrored_client(version=version)
    before = len(on_main(bench, Op.OPTIONS))
    assert (await c.options()).opcode == Op.SUPPORTED
    await settle_mirror(bench, c)
    assert len(on_mirror(bench, Op.OPTIONS)) == 1
    assert len(on_main(bench, Op.OPTIONS)) - before == 1


@pytest.mark.checklist(225)
async def test_options_keep_the_mirror_alive(make_bench):
    """In the native profile we answer; an idle connection gets a heartbeat when one is due."""
    bench = await dual(make_bench, sections={"proxy": {"profile": "native", "heartbeat_interval": "100ms"}})
    c, mirror = await bench.mirrored_client()
    await settle_mirror(bench, c)
    await asyncio.sleep(0.2)
    before = len(on_mirror(bench, Op.OPTIONS))
    assert (await c.options()).opcode == Op.SUPPORTED
    await bench.secondary.until(lambda: len(on_mirror(bench, Op.OPTIONS)) > before, "heartbeat")


@pytest.mark.checklist(224)
@primaries
@pytest.mark.parametrize("how", ["query", "execute"])
async def test_only_first_pages(make_bench, primary, how):
    """The state of a page is the primary's, the secondary could not go on with it."""
    bench = await dual(make_bench, primary)
    c, _ = await bench.mirrored_client()
    text = "SELECT * FROM ks.paged"
    prepared = await c.prepare(text)
    metrics = await Async.begin(bench)
    state, pages = None, 0
    while pages == 0 or state is not None:
        params = dict(page_size=1, paging_state=state)
        answer = await (c.query(text, **params) if how == "query" else c.execute(prepared, **params))
        assert answer.rows[0][0] == primary
        state, pages = answer.paging_state, pages + 1
    assert pages == 3
    await settle_mirror(bench, c)
    copies = on_mirror(bench, Op.QUERY, Op.EXECUTE)
    assert len(copies) == 1 and copies[0].params.paging_state is None
    assert await metrics.failed() == {}


@pytest.mark.checklist(224)
@pytest.mark.parametrize("origin", [None, "lz4", "snappy"])
@pytest.mark.parametrize("target", [None, "lz4", "snappy"])
async def test_compression_is_that_of_the_secondary(make_bench, origin, target):
    bench = await dual(make_bench, sections={"origin": {"compression": origin or "none"},
                                             "target": {"compression": target or "none"}})
    c, mirror = await bench.mirrored_client(compression="lz4")
    await c.query(READ)
    await c.use("ks")
    bench.target.on(in_mirror("ks.bad"), error(Err.READ_FAILURE))
    metrics = await Async.begin(bench)
    await c.query("SELECT * FROM ks.bad")
    await metrics.until_failed({"read_failure": 1})
    await settle_mirror(bench, c)
    assert mirror.startup_options.get("COMPRESSION") == target
    assert [r.statement for r in on_mirror(bench)] == [READ, "USE ks", "SELECT * FROM ks.bad"]


@primaries
@ways
async def test_the_secondarys_consistency(make_bench, primary, version, compression):
    """A copy is changed as a request to the secondary is."""
    levels = {"origin": "TWO", "target": "THREE"}
    bench = await dual(make_bench, primary, sections={name: {"read_consistency": level}
                                                      for name, level in levels.items()})
    c, _ = await bench.mirrored_client(version=version, compression=compression)
    prepared = await c.prepare("SELECT * FROM ks.t WHERE k = ?")
    await c.query(READ, consistency=CL.ONE)
    await c.execute(prepared, values=[b"k"], consistency=CL.ONE, skip_metadata=True)
    await settle_mirror(bench, c)
    copies = on_mirror(bench, Op.QUERY, Op.EXECUTE)
    assert [r.params.consistency for r in copies] == [CL[levels[bench.secondary.name]]] * 2
    assert copies[1].prepared_id == bench.secondary.prepared_id("SELECT * FROM ks.t WHERE k = ?", None)
    assert copies[1].params.values == [b"k"]


@pytest.mark.parametrize("version", [4, 5])
async def test_the_same_request_id(make_bench, version):
    bench = await dual(make_bench, sections={"proxy": {"tracing_enabled": "true"}})
    c, _ = await bench.mirrored_client(version=version)
    await c.answer(c.send_query(READ, payload={"mine": b"1"}))
    await settle_mirror(bench, c)
    copy, original = on_mirror(bench)[0], bench.primary.requests(Op.QUERY)[0]
    assert copy.payload == original.payload and set(copy.payload) == {"mine", "request-id"}


@pytest.mark.checklist(45)
async def test_it_has_the_clients_startup_options(make_bench):
    bench = await dual(make_bench)
    c, mirror = await bench.mirrored_client(options={"CQL_VERSION": "3.0.0", "DRIVER_NAME": "a driver"})
    await settle_mirror(bench, c)
    assert mirror.startup_options == {"CQL_VERSION": "3.0.0", "DRIVER_NAME": "a driver"}


@pytest.mark.checklist(224)
async def test_nothing_without_the_option(bench):
    c = await bench.client()
    await c.query(READ)
    await bench.settle(c)
    assert [len(cluster.connections()) for cluster in bench.clusters] == [1, 1]
    assert bench.target.requests(Op.QUERY) == []
    assert not [name for name in await bench.proxy.metrics() if name.startswith("zdm_async_")]


@pytest.mark.dedicated
@pytest.mark.connections(75)
async def test_the_same_node(make_bench):
    """The mirror is at the node that the client's own connection to the secondary goes to."""
    bench = await dual(make_bench, fresh=True, target={"nodes": 3})
    for _ in range(4):
        c, mirror = await bench.mirrored_client()
        assert len({conn.node for conn in bench.target.connections()}) == 1
        await c.close()
        await bench.until_backends_gone()


@pytest.mark.dedicated
async def test_requests_before_it_is_ready_are_kept(make_bench):
    bench = await dual(make_bench)
    hold = Hold()
    bench.target.on(second_startup(), hold)
    c, _ = await bench.mirrored_client()
    await c.use("ks")
    prepared = await c.prepare("SELECT * FROM t")
    await c.execute(prepared)
    await c.query("SELECT * FROM t")
    await hold.arrived()
    assert on_mirror(bench) == []
    hold.release()
    await settle_mirror(bench, c)
    assert [(r.opcode, r.statement, r.keyspace) for r in on_mirror(bench)] == [
        (Op.QUERY, "USE ks", None), (Op.PREPARE, "SELECT * FROM t", "ks"), (Op.EXECUTE, "SELECT * FROM t", "ks"),
        (Op.QUERY, "SELECT * FROM t", "ks")]


async def test_options_before_it_is_ready(make_bench):
    """A frame without a body is kept as others are."""
    bench = await make_bench(profile="zdm", variables={"ZDM_READ_MODE": "DUAL_ASYNC_ON_SECONDARY"})
    hold = Hold()
    bench.target.on(second_startup(), hold)
    c, _ = await bench.mirrored_client(version=5, compression="lz4")
    await hold.arrived()
    await c.options()
    await c.query(READ)
    hold.release()
    await settle_mirror(bench, c)
    assert [r.opcode for r in on_mirror(bench)] == [Op.OPTIONS, Op.QUERY]


async def test_what_is_kept_is_bounded(make_bench):
    """128 copies, and their bytes: client_output_limit."""
    bench = await dual(make_bench, sections={"proxy": {"client_output_limit": "64KiB"}})
    hold = Hold()
    bench.target.on(second_startup(), hold)
    c, _ = await bench.mirrored_client()
    metrics = await Async.begin(bench)
    for i in range(200):
        await c.query(f"SELECT * FROM ks.t{i}")
    assert await metrics.dropped("full") == 72
    hold.release()
    await bench.target.until(lambda: len(on_mirror(bench)) >= 128, "what was kept")
    await settle_mirror(bench, c)
    assert [r.statement for r in on_mirror(bench)] == [f"SELECT * FROM ks.t{i}" for i in range(128)]
    await c.close()
    await bench.until_backends_gone()
    bench.target.reset()
    hold = Hold()
    bench.target.on(second_startup(), hold)
    c, _ = await bench.mirrored_client()
    metrics = await Async.begin(bench)
    for i in range(10):
        await c.query(f"SELECT '{'x' * 10000}' FROM ks.t{i}")
    assert await metrics.dropped("full") == 4
    hold.release()


# ---- authentication ----

PROXY = ("proxy", "proxy-password")
ORIGIN_USER, TARGET_USER = ("origin-user", "o"), ("target-user", "t")


def auth(user, **more):
    return {"auth": Auth({PROXY[0]: PROXY[1], user[0]: user[1]}, **more)}


@pytest.mark.connections(93, 96)
@pytest.mark.checklist(46, 48, 224)
@primaries
@pytest.mark.parametrize("forward", [False, True])
@pytest.mark.parametrize("version,compression", [(3, None), (4, "lz4"), (5, None), (5, "lz4")])
async def test_credentials(make_bench, primary, forward, version, compression):
    """The client's where they are meant for the secondary, else the configured ones."""
    bench = await dual(make_bench, primary, origin=auth(ORIGIN_USER), target=auth(TARGET_USER), sections={
        "routing": {"forward_client_credentials_to_origin": str(forward).lower()}})
    user, password = ORIGIN_USER if forward else TARGET_USER
    c, mirror = await bench.mirrored_client(version=version, compression=compression, user=user, password=password)
    await c.query(READ)
    await settle_mirror(bench, c)
    assert [r.statement for r in on_mirror(bench)] == [READ]
    meant_for = "origin" if forward else "target"
    assert mirror.user == (user if bench.secondary.name == meant_for else PROXY[0])


@pytest.mark.parametrize("cluster", ["origin", "target"])
async def test_a_login_on_one_cluster_only(make_bench, cluster):
    bench = await dual(make_bench, **{cluster: auth(("app", "a"))})
    c, mirror = await bench.mirrored_client(user="app", password="a")
    await c.query(READ)
    await settle_mirror(bench, c)
    assert mirror.user == ("app" if cluster == "target" else None)


async def test_dse_login(make_bench):
    bench = await dual(make_bench, target=auth(("app", "a"), authenticator=DSE_AUTHENTICATOR, two_step=True))
    c = await bench.open()
    assert (await c.startup()).opcode == Op.AUTHENTICATE
    assert (await c.auth(b"PLAIN")).opcode == Op.AUTH_CHALLENGE
    assert (await c.login("app", "a")).opcode == Op.AUTH_SUCCESS
    await bench.target.until(lambda: len(bench.target.connections()) == 2, "mirror")
    mirror = max(bench.target.connections(), key=lambda conn: conn.number)
    mirror.is_mirror = True
    await c.query(READ)
    await settle_mirror(bench, c)
    assert mirror.user == "app" and len(bench.target.requests(Op.AUTH_RESPONSE)) == 4


@pytest.mark.parametrize("mode", ["ca", "full"])
async def test_tls(make_bench, tmp_path, mode):
    """As the client's own connection to that cluster."""
    authority = Authority(tmp_path, "cqlferry test CA")

    def configure(bench):
        for cluster in bench.clusters:
            cluster.ssl = authority.server([cluster.nodes[0].address])
            bench.sections[cluster.name] = {"tls": mode, "tls_ca": authority.ca}
    bench = await make_bench(fresh=True, configure=configure, sections={"routing": dict(DUAL)})
    c, mirror = await bench.mirrored_client(version=5)
    await c.query(READ)
    await settle_mirror(bench, c)
    assert mirror.ssl_object is not None and [r.statement for r in on_mirror(bench)] == [READ]


# ---- its handshake fails, or takes long ----

async def without_mirror(bench, c, metrics):
    """The client is served although it has no mirror, and that is counted."""
    await metrics.until_gauge("connections_total", 0)
    before = await metrics.dropped("no_connection")
    assert (await c.query(READ)).rows[0][0] == bench.primary.name
    assert await metrics.dropped("no_connection") == before + 1
    await assert_alive(c, bench)


@pytest.mark.connections(95)
@pytest.mark.checklist(65)
@primaries
@pytest.mark.parametrize("how", ["error", "protocol_error", "close", "reset", "unexpected", "garbage"])
async def test_its_handshake_fails(make_bench, primary, how):
    behave = {"error": error(Err.SERVER_ERROR), "protocol_error": error(Err.PROTOCOL_ERROR),
              "close": behaviour.close(), "reset": behaviour.reset(), "unexpected": behaviour.answer(Op.RESULT, b"\0" * 4),
              "garbage": behaviour.raw(b"\x84\0\0\0\x99\xff\xff\xff\xff" * 3)}[how]
    bench = await dual(make_bench, primary)
    bench.secondary.on(second_startup(), behave)
    metrics = await Async.begin(bench)
    c = await bench.client()
    assert (await c.query(READ)).rows[0][0] == primary
    await metrics.until_gauge("connections_total", 0)
    assert await metrics.value(f'zdm_async_failed_connections_total{{node="{metrics.node}"}}') == 1
    await without_mirror(bench, c, metrics)


@pytest.mark.checklist(65)
async def test_its_login_is_refused(make_bench):
    """The password was changed between the two log-ins."""
    bench = await dual(make_bench, target=auth(TARGET_USER))
    seen = []

    def second(got):
        if got.opcode == Op.AUTH_RESPONSE:
            seen.append(got)
        return got.opcode == Op.AUTH_RESPONSE and got is not seen[0]
    bench.target.on(second, error(Err.BAD_CREDENTIALS, "no longer"))
    metrics = await Async.begin(bench)
    c = await bench.client(user=TARGET_USER[0], password=TARGET_USER[1])
    await metrics.until_gauge("connections_total", 0)
    await without_mirror(bench, c, metrics)
    assert "its reads are not mirrored to target" in bench.proxy.log and "no longer" in bench.proxy.log


@pytest.mark.connections(95)
@pytest.mark.checklist(65)
async def test_it_cannot_connect(make_bench):
    """The node takes no more connections behind the client's own."""
    bench = await dual(make_bench, fresh=True)
    hold = Hold()
    bench.origin.on(Op.STARTUP, hold)
    c = await bench.open()
    stream = c.send(Op.STARTUP, requests.startup())
    await hold.arrived()
    await bench.target.until_received(1, Op.STARTUP)
    bench.target.nodes[0].refuse()
    hold.release()
    assert (await c.answer(stream)).opcode == Op.READY
    metrics = await Async.begin(bench)
    assert (await c.query(READ)).rows[0][0] == "origin"
    await bench.proxy.until_metric(f'zdm_async_failed_connections_total{{node="{metrics.node}"}}', 1)
    await without_mirror(bench, c, metrics)


@pytest.mark.connections(94)
@pytest.mark.checklist(66)
@primaries
async def test_a_mute_node_does_not_delay_ready(make_bench, primary):
    bench = await dual(make_bench, primary, sections={"routing": {"async_handshake_timeout": "2s"}})
    bench.secondary.on(second_startup(), mute())
    metrics = await Async.begin(bench)
    started = time.monotonic()
    c, mirror = await bench.mirrored_client()
    assert (await c.query(READ)).rows[0][0] == primary
    assert not mirror.is_closed, "the client has waited for it"
    await bench.secondary.until(lambda: mirror.is_closed, "end of the mirror")
    assert 1.9 < time.monotonic() - started
    assert await metrics.value(f'zdm_async_failed_connections_total{{node="{metrics.node}"}}') == 1
    await without_mirror(bench, c, metrics)


@pytest.mark.connections(165)
@pytest.mark.checklist(66)
async def test_zdm_names(make_bench):
    bench = await make_bench(fresh=True, profile="zdm", variables={
        "ZDM_READ_MODE": "DUAL_ASYNC_ON_SECONDARY", "ZDM_ASYNC_HANDSHAKE_TIMEOUT_MS": "1000",
        "ZDM_METRICS_ASYNC_READ_LATENCY_BUCKETS_MS": "3, 5000"})
    c, mirror = await bench.mirrored_client()
    await c.query(READ)
    await settle_mirror(bench, c)
    assert [r.statement for r in on_mirror(bench)] == [READ]
    metrics = await Async.begin(bench)
    await metrics.until_gauge("inflight_requests_total", 0)
    samples = await bench.proxy.metrics()
    name = f'zdm_async_request_duration_seconds_bucket{{node="{metrics.node}",type="reads",le='
    assert [key for key in samples if key.startswith(name)] == [f'{name}"{le}"}}' for le in ("0.003", "5", "+Inf")]
    assert samples[f'{name}"+Inf"}}'] == 2
    bench.target.on(second_startup(), mute())
    bench.target.on(Op.STARTUP, mute(), times=0)
    slow, other = await bench.mirrored_client()
    await bench.target.until(lambda: other.is_closed, "end of the mirror")
    await assert_alive(slow, bench)


# ---- the secondary answers late, wrongly or not at all ----

@pytest.mark.checklist(229, 260)
@primaries
@pytest.mark.parametrize("name", [e for e in ERRORS if e not in ("client_timeout", "unprepared")])
async def test_errors_are_counted(make_bench, primary, name):
    code = Err.INVALID if name == "other" else Err[name.upper()]
    bench = await dual(make_bench, primary)
    c, _ = await bench.mirrored_client()
    bench.secondary.on(in_mirror(READ), error(code))
    metrics = await Async.begin(bench)
    for _ in range(3):
        assert (await c.query(READ)).rows[0][0] == primary
    await metrics.until_failed({name: 3})
    await metrics.until_count(3)
    await metrics.until_gauge("inflight_requests_total", 0)
    samples = await bench.proxy.metrics()
    assert samples[f'zdm_proxy_failed_reads_total{{cluster="{bench.secondary.name}"}}'] == \
        metrics.before[f'zdm_proxy_failed_reads_total{{cluster="{bench.secondary.name}"}}']
    await settle_mirror(bench, c)


@pytest.mark.checklist(229)
@primaries
@ways
async def test_slow_answers(make_bench, primary, version, compression):
    bench = await dual(make_bench, primary)
    c, _ = await bench.mirrored_client(version=version, compression=compression)
    hold = Hold()
    bench.secondary.on(in_mirror("ks.t"), hold)
    metrics = await Async.begin(bench)
    for _ in range(20):
        assert (await c.query(READ)).rows[0][0] == primary
    await hold.arrived(20)
    await metrics.until_gauge("inflight_requests_total", 20)
    await metrics.until_gauge("used_stream_ids_total", 20)
    hold.release()
    await metrics.until_count(20)
    await metrics.until_gauge("inflight_requests_total", 0)
    await metrics.until_gauge("used_stream_ids_total", 0)
    await settle_mirror(bench, c)


@pytest.mark.checklist(233, 263)
async def test_no_answer(make_bench):
    bench = await dual(make_bench, sections={"proxy": {"request_timeout": "1s"}})
    c, mirror = await bench.mirrored_client()
    hold = Hold()
    bench.target.on(in_mirror(READ), hold)
    metrics = await Async.begin(bench)
    assert (await c.query(READ)).rows[0][0] == "origin"
    await metrics.until_failed({"client_timeout": 1})
    await metrics.until_gauge("inflight_requests_total", 0)
    await metrics.until_gauge("used_stream_ids_total", 1)
    assert await metrics.count() == 0, "a time-out is in no node's durations"
    # the late answer frees the id and is in no counter
    hold.release()
    await metrics.until_gauge("used_stream_ids_total", 0)
    assert await metrics.count() == 0 and await metrics.failed() == {"client_timeout": 1}
    await settle_mirror(bench, c)
    assert not mirror.is_closed


@pytest.mark.checklist(230)
async def test_no_stream_id_is_left(make_bench):
    bench = await dual(make_bench, sections={"proxy": {"max_stream_ids": 10}})
    c, _ = await bench.mirrored_client()
    hold = Hold()
    bench.target.on(in_mirror(READ), hold)
    metrics = await Async.begin(bench)
    for _ in range(25):
        assert (await c.query(READ)).rows[0][0] == "origin"
    await hold.arrived(10)
    assert len(on_mirror(bench)) == 10 and all(r.stream < 10 for r in on_mirror(bench))
    assert await metrics.dropped("full") == 15
    assert await metrics.failed() == {}
    hold.release()
    await metrics.until_count(10)
    await c.query(READ)
    await bench.target.until(lambda: len(on_mirror(bench)) == 11, "a mirrored read again")


@pytest.mark.dedicated
@pytest.mark.checklist(230)
async def test_2500_unanswered_reads(make_bench):
    """All ids taken; the client's reads go on as fast as ever."""
    bench = await dual(make_bench, sections={"proxy": {"max_stream_ids": 2048}})
    c, _ = await bench.mirrored_client()
    hold = Hold()
    bench.target.on(in_mirror(READ), hold)
    metrics = await Async.begin(bench)
    for _ in range(25):
        streams = [c.send_query(READ) for _ in range(100)]
        for stream in streams:
            assert (await c.answer(stream)).rows[0][0] == "origin"
    await hold.arrived(2048)
    assert len(on_mirror(bench)) == 2048
    assert await metrics.dropped("full") == 452
    assert await metrics.failed() == {}
    await assert_alive(c, bench)
    hold.release()
    await metrics.until_count(2048)
    await metrics.until_gauge("inflight_requests_total", 0)


@pytest.mark.checklist(230, 149)
async def test_a_node_that_reads_nothing(make_bench):
    """What waits for it is bounded by client_output_limit; the client is not held up."""
    bench = await dual(make_bench, sections={"proxy": {"client_output_limit": "64KiB", "client_write_timeout": "60s"}})
    c, mirror = await bench.mirrored_client()
    await settle_mirror(bench, c)
    mirror.transport.pause_reading()
    metrics = await Async.begin(bench)
    text = f"SELECT '{'x' * 50000}' FROM ks.t"
    for _ in range(300):  # 15 MB, more than the kernel's buffers take
        assert (await c.query(text)).rows[0][0] == "origin"
    assert await metrics.dropped("full") > 50
    await assert_alive(c, bench)
    mirror.transport.resume_reading()
    await metrics.until_gauge("inflight_requests_total", 0)
    await settle_mirror(bench, c)


@pytest.mark.checklist(229)
@pytest.mark.parametrize("version,compression", [(3, None), (4, "lz4"), (5, None), (5, "lz4")])
async def test_large_answers_are_swallowed(make_bench, version, compression):
    bench = await dual(make_bench)
    c, _ = await bench.mirrored_client(version=version, compression=compression)
    value = bytes(range(256)) * 12000  # 3 MB
    for cluster in bench.clusters:
        cluster.on("ks.large", behaviour.rows([Column("v", Type.BLOB)], [[value]]))
    metrics = await Async.begin(bench)
    for _ in range(3):
        assert (await c.query("SELECT * FROM ks.large")).rows == [[value]]
    await metrics.until_count(3)
    await settle_mirror(bench, c)


@pytest.mark.checklist(229)
@pytest.mark.parametrize("version,compression", [(3, None), (4, "lz4"), (5, None), (5, "lz4")])
async def test_large_answers_take_no_memory(make_bench, version, compression):
    """A third of one has come: it is counted, and nothing of it is kept but one segment at most."""
    bench = await dual(make_bench)
    c, mirror = await bench.mirrored_client(version=version, compression=compression)
    value = random.Random(5).randbytes(3000000)
    large = behaviour.rows([Column("v", Type.BLOB)], [[value]])
    bench.target.on(in_mirror("ks.large"), large)
    metrics = await Async.begin(bench)
    written, real = [], mirror.transport.write
    mirror.transport.write = written.append
    assert (await c.query("SELECT * FROM ks.large")).rows[0][0] == "origin"
    await bench.target.until(lambda: written, "answer to write")
    data = b"".join(written)
    mirror.transport.write = real
    real(data[:1000000])
    await metrics.until_count(1)
    assert (await bench.proxy.metrics())["zdm_cqlferry_large_buffer_bytes"] < 200000
    real(data[1000000:])
    await settle_mirror(bench, c)
    await metrics.until_count(2)


@pytest.mark.checklist(231)
@primaries
@ways
async def test_a_lost_statement(make_bench, primary, version, compression):
    """It is prepared again on the mirror's connection, and the EXECUTE is not repeated."""
    bench = await dual(make_bench, primary)
    c, _ = await bench.mirrored_client(version=version, compression=compression)
    prepared = await c.prepare("SELECT * FROM ks.t WHERE k = 1")
    await settle_mirror(bench, c)
    bench.secondary.forget_prepared()
    metrics = await Async.begin(bench)
    assert (await c.execute(prepared)).rows[0][0] == primary
    await metrics.until_failed({"unprepared": 1})
    await bench.secondary.until(lambda: len(on_mirror(bench, Op.PREPARE)) == 2, "PREPARE")
    await settle_mirror(bench, c)
    assert len(on_mirror(bench, Op.EXECUTE)) == 1
    assert len(bench.secondary.requests(Op.PREPARE)) == 3  # two in the beginning, one now
    assert (await c.execute(prepared)).rows[0][0] == primary
    await settle_mirror(bench, c)
    assert await metrics.failed() == {"unprepared": 1}
    assert len(on_mirror(bench, Op.EXECUTE)) == 2
    assert len(on_mirror(bench, Op.PREPARE)) == 2


@pytest.mark.checklist(231)
@pytest.mark.parametrize("version", [3, 4, 5])
async def test_a_lost_statement_of_another_keyspace(make_bench, version):
    """Its id depends on the keyspace: the mirror goes there, prepares, and comes back when that matters."""
    bench = await dual(make_bench)
    c, mirror = await bench.mirrored_client(version=version, keyspace="one")
    prepared = await c.prepare("SELECT * FROM t")
    await c.use("two")
    await settle_mirror(bench, c)
    bench.target.forget_prepared()
    await c.execute(prepared)
    await bench.target.until(lambda: len(on_mirror(bench, Op.PREPARE)) == 2, "PREPARE")
    await settle_mirror(bench, c)
    await c.execute(prepared)
    await c.query("SELECT * FROM u")
    await settle_mirror(bench, c)
    assert bench.target.prepared_id("SELECT * FROM t", "one") in bench.target.nodes[0].prepared
    last = on_mirror(bench)[-1]
    assert (last.statement, last.keyspace) == ("SELECT * FROM u", "two")
    assert on_mirror(bench, Op.EXECUTE)[-1].statement == "SELECT * FROM t"


@pytest.mark.checklist(231)
async def test_one_prepare_for_many(make_bench):
    bench = await dual(make_bench)
    c, _ = await bench.mirrored_client()
    prepared = await c.prepare(READ)
    await settle_mirror(bench, c)
    bench.target.forget_prepared()
    hold = Hold()
    bench.target.on(in_mirror(Op.PREPARE), hold)
    metrics = await Async.begin(bench)
    for _ in range(10):
        await c.execute(prepared)
    await metrics.until_failed({"unprepared": 10})
    await hold.arrived(1)
    hold.release()
    await settle_mirror(bench, c)
    await c.execute(prepared)
    await settle_mirror(bench, c)
    assert await metrics.failed() == {"unprepared": 10}
    assert len(on_mirror(bench, Op.PREPARE)) == 2


@pytest.mark.checklist(231)
async def test_a_stuck_mirror_does_not_hold_up_a_repair(make_bench):
    """The mirror prepares a lost statement and gets no answer; the client's own connection needs the same one."""
    bench = await dual(make_bench)
    c, _ = await bench.mirrored_client()
    text = "SELECT * FROM ks.t WHERE k = 1"
    prepared = await c.prepare(text)
    await settle_mirror(bench, c)
    bench.target.forget_prepared()
    hold = Hold()
    bench.target.on(in_mirror(Op.PREPARE), hold)
    await c.execute(prepared)
    await hold.arrived()
    # a batch goes to both clusters, whatever is in it
    answer = await c.batch([(prepared.prepared_id, [])])
    assert not answer.is_error() and not hold.answered
    hold.release()
    await settle_mirror(bench, c)


@pytest.mark.checklist(231)
async def test_a_lost_statement_that_cannot_be_prepared(make_bench):
    bench = await dual(make_bench)
    c, mirror = await bench.mirrored_client()
    prepared = await c.prepare(READ)
    await settle_mirror(bench, c)
    bench.target.forget_prepared()
    bench.target.on(in_mirror(Op.PREPARE), error(Err.INVALID, "no such table"), times=1)
    metrics = await Async.begin(bench)
    await c.execute(prepared)
    await metrics.until_failed({"unprepared": 1})
    await settle_mirror(bench, c)
    await c.execute(prepared)  # the next one tries again
    await bench.target.until(lambda: len(on_mirror(bench, Op.PREPARE)) == 3, "PREPARE")
    await settle_mirror(bench, c)
    assert not mirror.is_closed


@pytest.mark.checklist(232, 234)
@primaries
async def test_protocol_error_ends_it(make_bench, primary):
    bench = await dual(make_bench, primary)
    c, mirror = await bench.mirrored_client()
    bench.secondary.on(in_mirror(READ), error(Err.PROTOCOL_ERROR, "confused"))
    metrics = await Async.begin(bench)
    assert (await c.query(READ)).rows[0][0] == primary
    await bench.secondary.until(lambda: mirror.is_closed, "end of the mirror")
    await without_mirror(bench, c, metrics)
    assert len(bench.secondary.connections()) == 1
    # a new session has a mirror again
    bench.secondary.rules.clear()
    other, _ = await bench.mirrored_client()
    await other.query("SELECT * FROM ks.again")
    await settle_mirror(bench, other)
    assert [r.statement for r in on_mirror(bench)][-1] == "SELECT * FROM ks.again"


@pytest.mark.connections(146)
@pytest.mark.checklist(143, 234)
@primaries
@pytest.mark.parametrize("how", ["close", "reset", "garbage", "half", "wrong_version", "bad_crc"])
async def test_it_is_lost(make_bench, primary, how):
    """With requests on it that have no answer; the client notices nothing, a new one has a mirror again."""
    bench = await dual(make_bench, primary)
    c, mirror = await bench.mirrored_client(version=5)
    hold = Hold()
    bench.secondary.on(in_mirror("ks.held"), hold)
    metrics = await Async.begin(bench)
    for _ in range(5):
        await c.query("SELECT * FROM ks.held")
    await hold.arrived(5)
    behave = {"close": behaviour.close(), "reset": behaviour.reset(), "garbage": behaviour.raw(b"\xff" * 64),
              "half": behaviour.half_answer("close"), "wrong_version": behaviour.changed_answer(version=4),
              "bad_crc": behaviour.bad_crc("payload")}[how]
    bench.secondary.on(in_mirror(READ), behave)
    assert (await c.query(READ)).rows[0][0] == primary
    await bench.secondary.until(lambda: mirror.is_closed, "end of the mirror")
    await metrics.until_gauge("inflight_requests_total", 0)
    await metrics.until_gauge("used_stream_ids_total", 0)
    assert await metrics.failed() == {}
    await without_mirror(bench, c, metrics)
    hold.release()
    bench.secondary.rules.clear()
    other, _ = await bench.mirrored_client(version=5)
    await other.query(READ)
    await settle_mirror(bench, other)
    await metrics.until_gauge("connections_total", 1)


async def test_odd_answers(make_bench):
    """A second answer, one on a stream nobody uses, an event: all ignored."""
    bench = await dual(make_bench)
    c, mirror = await bench.mirrored_client()
    bench.target.on(in_mirror("ks.twice"), behaviour.twice())
    bench.target.on(in_mirror("ks.stray"), behaviour.changed_answer(stream=1234))
    await c.query("SELECT * FROM ks.twice")
    await c.query("SELECT * FROM ks.stray")
    await c.register("SCHEMA_CHANGE")
    mirror.send(Op.EVENT, responses.event("SCHEMA_CHANGE", "CREATED", "KEYSPACE", "ks"), stream=-1)
    await settle_mirror(bench, c)
    await bench.settle(c)
    assert not c.events and not mirror.is_closed


# ---- the keyspace ----

@pytest.mark.parametrize("version,compression", [(3, None), (4, "lz4"), (5, None)])
async def test_reads_wait_for_a_slow_use(make_bench, version, compression):
    bench = await dual(make_bench)
    c, _ = await bench.mirrored_client(version=version, compression=compression)
    hold = Hold()
    bench.target.on(in_mirror("USE"), hold)
    await c.use("one")
    await c.query("SELECT * FROM t")
    await c.query(READ)
    await hold.arrived()
    await bench.settle(c)
    assert [r.statement for r in on_mirror(bench)] == ["USE one"]
    hold.release()
    await settle_mirror(bench, c)
    assert [(r.statement, r.keyspace) for r in on_mirror(bench)][1:] == [("SELECT * FROM t", "one"), (READ, "one")]


async def test_a_use_without_an_answer_is_asked_again(make_bench):
    bench = await dual(make_bench, sections={"proxy": {"request_timeout": "1s"}})
    c, mirror = await bench.mirrored_client()
    bench.target.on(in_mirror("USE"), mute(), times=1)
    metrics = await Async.begin(bench)
    await c.use("one")
    await metrics.until_failed({"client_timeout": 1})
    await c.query("SELECT * FROM t")
    await settle_mirror(bench, c)
    assert [(r.statement, r.keyspace) for r in on_mirror(bench)] == [
        ("USE one", None), ('USE "one"', None), ("SELECT * FROM t", "one")]


async def test_a_use_that_only_the_mirror_refuses(make_bench):
    """What depends on the keyspace is dropped, the rest goes on; the next USE is tried."""
    bench = await dual(make_bench)
    c, mirror = await bench.mirrored_client()
    rule = bench.target.on(in_mirror("USE"), error(Err.INVALID, "no such keyspace"))
    metrics = await Async.begin(bench)
    await c.use("one")
    for _ in range(5):
        assert (await c.query("SELECT * FROM t")).rows[0][1] == "one"
        await c.query(READ)
    await settle_mirror(bench, c)
    # asked twice: the client's, and ours
    assert [r.statement for r in on_mirror(bench) if "USE" in r.statement] == ["USE one", 'USE "one"']
    assert [r.statement for r in on_mirror(bench) if "USE" not in r.statement] == [READ] * 5
    assert await metrics.dropped("keyspace") == 5
    bench.target.rules.remove(rule)
    await c.use("one")
    await c.query("SELECT * FROM t")
    await settle_mirror(bench, c)
    assert (on_mirror(bench)[-1].statement, on_mirror(bench)[-1].keyspace) == ("SELECT * FROM t", "one")


async def test_a_use_that_the_clusters_refuse(make_bench):
    """The mirror has changed, the client has not: it goes back before what depends on it."""
    bench = await dual(make_bench)
    c, mirror = await bench.mirrored_client(keyspace="one")
    await settle_mirror(bench, c)
    bench.origin.on("USE two", error(Err.INVALID))
    bench.target.on(lambda got: got.statement == "USE two" and not got.conn.is_mirror, error(Err.INVALID))
    assert_error(await c.query("USE two"), Err.INVALID)
    await c.query("SELECT * FROM t")
    await settle_mirror(bench, c)
    assert (on_mirror(bench)[-1].statement, on_mirror(bench)[-1].keyspace) == ("SELECT * FROM t", "one")


async def test_a_name_that_needs_quotes(make_bench):
    bench = await dual(make_bench, sections={"proxy": {"request_timeout": "1s"}})
    c, mirror = await bench.mirrored_client()
    bench.target.on(in_mirror("USE"), mute(), times=1)
    metrics = await Async.begin(bench)
    await c.use('"My""Ks"')
    await metrics.until_failed({"client_timeout": 1})
    await c.query("SELECT * FROM t")
    await settle_mirror(bench, c)
    assert on_mirror(bench)[-1].keyspace == 'My"Ks'


# ---- the end ----

@pytest.mark.checklist(147, 263)
@pytest.mark.parametrize("how", ["close", "abort"])
async def test_the_client_goes(make_bench, how):
    """With mirrored reads under way, sent and kept."""
    bench = await dual(make_bench)
    c, mirror = await bench.mirrored_client()
    hold = Hold()
    bench.target.on(in_mirror(Op.QUERY), hold)
    for _ in range(5):
        await c.query(READ)
    await c.use("ks")
    await c.query("SELECT * FROM t")  # waits for USE
    await hold.arrived(6)
    metrics = await Async.begin(bench)
    if how == "close":
        await c.close()
    else:
        c.abort()
    await bench.until_backends_gone()
    for gauge in ("inflight_requests_total", "used_stream_ids_total", "connections_total"):
        await metrics.until_gauge(gauge, 0)
    hold.release()


@pytest.mark.checklist(145)
async def test_a_stop_waits_for_no_mirrored_read(make_bench):
    bench = await dual(make_bench, fresh=True, sections={"proxy": {"shutdown_timeout": "1h"}})
    c, mirror = await bench.mirrored_client()
    hold = Hold()
    bench.target.on(in_mirror(READ), hold)
    await c.query(READ)
    await hold.arrived()
    bench.proxy.signal()
    assert await c.closed() == []
    bench.may_be_down = True
    assert await bench.proxy.wait() == 0
    bench.proxy.check_log()


@pytest.mark.checklist(65)
async def test_the_client_goes_during_its_handshake(make_bench):
    bench = await dual(make_bench, target=auth(TARGET_USER))
    for match in (second_startup(), lambda got: got.opcode == Op.AUTH_RESPONSE and got.conn.is_mirror):
        hold = Hold()
        rule = bench.target.on(match, hold)
        c = await bench.client(user=TARGET_USER[0], password=TARGET_USER[1])
        await bench.target.until(lambda: len(bench.target.connections()) == 2, "mirror")
        max(bench.target.connections(), key=lambda conn: conn.number).is_mirror = True
        await c.query(READ)
        await c.close()
        await bench.until_backends_gone()
        bench.target.rules.remove(rule)
        hold.release()


async def test_the_primarys_failure_is_the_clients(make_bench):
    """The secondary's good answer does not hide it."""
    bench = await dual(make_bench, sections={"proxy": {"request_timeout": "1s"}})
    c, _ = await bench.mirrored_client()
    bench.origin.on("ks.e", error(Err.UNAVAILABLE))
    bench.origin.on("ks.m", mute())
    assert_error(await c.query("SELECT * FROM ks.e"), Err.UNAVAILABLE)
    assert_error(await c.query("SELECT * FROM ks.m"), Err.READ_TIMEOUT, "origin")
    await settle_mirror(bench, c)
    assert [r.statement for r in on_mirror(bench)] == ["SELECT * FROM ks.e", "SELECT * FROM ks.m"]


async def test_many_clients(make_bench):
    """Each has its own; what they read arrives once."""
    bench = await dual(make_bench)
    clients = [await bench.mirrored_client(version=way[0], compression=way[1]) for way in WAYS for _ in range(3)]
    for round_ in range(20):
        streams = [(c, c.send_query(f"SELECT * FROM ks.c{i}r{round_}")) for i, (c, _) in enumerate(clients)]
        for c, stream in streams:
            assert (await c.answer(stream)).rows[0][0] == "origin"
    for i, (c, mirror) in enumerate(clients):
        await settle_mirror(bench, c)
        texts = [r.statement for r in on_mirror(bench) if r.conn is mirror]
        assert texts == [f"SELECT * FROM ks.c{i}r{round_}" for round_ in range(20)]
