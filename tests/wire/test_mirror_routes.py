"""
Reads that a rule mirrors: the primary answers, the other cluster gets a copy on a connection that is opened for the
first of them. Without read_mode, with connections of the client's own and with shared ones.
"""

import pytest

import behaviour
from behaviour import Hold, error, mute
from cqlwire import CL, Err, Op
from fakecluster import Auth
from helpers import PRIMARIES, WAY_IDS, WAYS, assert_alive

READ = "SELECT * FROM ks.t"
KERBEROS = "com.example.Kerberos"

pytestmark = pytest.mark.native
backends = pytest.mark.parametrize("backend", ["dedicated", "pooled"])
ways = pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
primaries = pytest.mark.parametrize("primary", PRIMARIES)


def rules(*lines):
    """For a section's dict: the key stands in several lines."""
    return "\nrule = ".join(lines)


async def mirrored(make_bench, backend, *lines, primary="origin", sections=None, **more):
    merged = {"proxy": {"backend_connections": backend}, "routing": {"rule": rules(*(lines or ("read ks.* mirror",)))}}
    if backend == "pooled":
        merged["proxy"] |= {"pool_idle_timeout": "10ms"}
    for name, values in (sections or {}).items():
        merged.setdefault(name, {}).update(values)
    return await make_bench(primary=primary, sections=merged, **more)


def copies(cluster, *opcodes, of="ks.t"):
    """What this cluster, which reads do not go to, got of them."""
    return [r for r in cluster.requests(*(opcodes or (Op.QUERY, Op.EXECUTE))) if r.statement and of in r.statement
            and r.statement.startswith("SELECT")]


def links(cluster):
    """Connections that are neither a client's own nor shared: opened by us, with nothing of a driver in STARTUP."""
    return [c for c in cluster.connections() if c.startup_options is not None and "DRIVER_NAME" not in c.startup_options]


async def connect(bench, version=4, compression=None, **how):
    return await bench.client(version, compression, options={"CQL_VERSION": "3.0.0", "DRIVER_NAME": "theirs"}, **how)


async def read(bench, client, count, text=READ):
    """Reads, answered by the primary, of which the other cluster has got `count` copies then."""
    answer = await client.query(text)
    assert answer.rows[0][0] == bench.primary.name, answer
    table = text.split()[3]
    await bench.secondary.until(lambda: len(copies(bench.secondary, of=table)) >= count, f"copy {count} of {text}")
    found = copies(bench.secondary, of=table)
    assert len(found) == count
    return found[-1]


async def dropped(bench, reason):
    return (await bench.proxy.metrics())[f'zdm_cqlferry_async_dropped_total{{reason="{reason}"}}']


# ---- what is copied, and where ----

@backends
@primaries
@ways
async def test_what_the_rule_says(make_bench, backend, primary, version, compression):
    bench = await mirrored(make_bench, backend, primary=primary)
    c = await connect(bench, version, compression)
    await c.query("SELECT * FROM other.t")
    await c.query("INSERT INTO ks.t (k) VALUES (1)")
    await bench.settle(c)
    assert links(bench.secondary) == [], "opened before it was needed"
    copy = await read(bench, c, 1)
    assert copy.body == bench.primary.requests(Op.QUERY)[-1].body
    assert links(bench.secondary) == [copy.conn]
    await read(bench, c, 2)
    await c.query("SELECT * FROM other.t")
    await c.query("UPDATE ks.t SET v = 1 WHERE k = 1")
    await bench.settle(c)
    assert len(links(bench.secondary)) == 1 and links(bench.primary) == []
    assert [r.statement for r in bench.secondary.requests(Op.QUERY) if r.conn is copy.conn] == [READ] * 2
    assert copies(bench.secondary, of="other.t") == []


@backends
@primaries
async def test_execute(make_bench, backend, primary):
    """The copy has the other cluster's id; a PREPARE has none."""
    bench = await mirrored(make_bench, backend, primary=primary)
    c = await connect(bench)
    text = "SELECT * FROM ks.t WHERE k = ?"
    prepared = await c.prepare(text)
    assert links(bench.secondary) == []
    assert (await c.execute(prepared, values=[b"\0\0\0\1"])).rows[0][0] == primary
    await bench.secondary.until(lambda: copies(bench.secondary, Op.EXECUTE), "copy")
    copy, = copies(bench.secondary, Op.EXECUTE)
    assert copy.prepared_id == bench.secondary.prepared_id(text, None)
    assert copy.params.values == [b"\0\0\0\1"]
    assert len(bench.secondary.requests(Op.PREPARE)) == 1


@backends
async def test_only_first_pages(make_bench, backend):
    bench = await mirrored(make_bench, backend)
    c = await connect(bench)
    first = await c.query("SELECT * FROM ks.paged", page_size=1)
    await bench.target.until(lambda: copies(bench.target, of="ks.paged"), "copy")
    second = await c.query("SELECT * FROM ks.paged", page_size=1, paging_state=first.paging_state)
    assert second.rows[0][0] == "origin"
    await read(bench, c, 1)
    assert len(copies(bench.target, of="ks.paged")) == 1


@backends
async def test_the_levels_of_the_other_cluster(make_bench, backend):
    bench = await mirrored(make_bench, backend, sections={"target": {"read_consistency": "THREE"}})
    c = await connect(bench)
    await c.query(READ, consistency=CL.ONE)
    await bench.target.until(lambda: copies(bench.target), "copy")
    assert copies(bench.target)[0].params.consistency == CL.THREE


@backends
async def test_it_is_counted(make_bench, backend):
    bench = await mirrored(make_bench, backend)
    c = await connect(bench)
    bench.target.on("ks.bad", error(Err.READ_FAILURE))
    node = f"{bench.target.nodes[0].address}:{bench.target.port}"
    before = await bench.proxy.metrics()
    await read(bench, c, 1)
    await read(bench, c, 1, "SELECT * FROM ks.bad")
    name = f'zdm_async_requests_failed_total{{error="read_failure",node="{node}"}}'
    await bench.proxy.until_metric(name, before.get(name, 0) + 1)
    name = f'zdm_async_request_duration_seconds_count{{node="{node}",type="reads"}}'
    await bench.proxy.until_metric(name, before.get(name, 0) + 2)
    name = 'zdm_proxy_failed_reads_total{cluster="target"}'
    assert (await bench.proxy.metrics())[name] == before[name]


# ---- the keyspace ----

@backends
@pytest.mark.parametrize("version", [3, 4, 5])
async def test_unqualified_names(make_bench, backend, version):
    """The copy goes to the table of the client's keyspace; the connection follows when that matters."""
    bench = await mirrored(make_bench, backend, "read one.* mirror", "read two.* mirror")
    c = await connect(bench, version)
    for keyspace in ("one", "two"):
        await c.use(keyspace)
        answer = await c.query("SELECT * FROM t")
        assert answer.rows[0][:2] == ["origin", keyspace]
    await c.query("SELECT * FROM one.u")
    await bench.target.until(lambda: copies(bench.target, of="one.u"), "the last copy")
    conn = copies(bench.target, of="one.u")[0].conn
    assert [(r.statement, r.keyspace) for r in bench.target.requests(Op.QUERY) if r.conn is conn] == [
        ('USE "one"', None), ("SELECT * FROM t", "one"), ('USE "two"', "one"), ("SELECT * FROM t", "two"),
        ("SELECT * FROM one.u", "two")]


@backends
async def test_copies_that_wait_keep_their_keyspace(make_bench, backend):
    """The client has gone on to another one by the time they are sent."""
    bench = await mirrored(make_bench, backend, "read one.* mirror", "read two.* mirror")
    c = await connect(bench)
    hold = Hold()
    bench.target.on(lambda got: got.opcode == Op.QUERY and got.statement == 'USE "one"'
                    and not got.puts_in_keyspace, hold, times=1)
    for keyspace in ("one", "two", "one"):
        await c.use(keyspace)
        assert (await c.query("SELECT * FROM t")).rows[0][:2] == ["origin", keyspace]
    await hold.arrived()
    hold.release()
    await bench.target.until(lambda: len(copies(bench.target, of="FROM t")) == 3, "the copies")
    assert [r.keyspace for r in copies(bench.target, of="FROM t")] == ["one", "two", "one"]


@backends
async def test_a_keyspace_that_it_has_not(make_bench, backend):
    """The copy is dropped; what names its table is copied still."""
    bench = await mirrored(make_bench, backend)
    c = await connect(bench, keyspace="ks")
    bench.target.on('USE "ks"', error(Err.INVALID, "Keyspace 'ks' does not exist"))
    before = await dropped(bench, "keyspace")
    for _ in range(3):
        assert (await c.query("SELECT * FROM t")).rows[0][:2] == ["origin", "ks"]
    await read(bench, c, 1)
    assert await dropped(bench, "keyspace") == before + 3
    asked = [r for r in bench.target.requests(Op.QUERY) if r.statement == 'USE "ks"' and r.conn in links(bench.target)]
    assert len(asked) == 1


# ---- the connection ----

@backends
async def test_copies_wait_while_it_opens(make_bench, backend):
    bench = await mirrored(make_bench, backend)
    c = await connect(bench)
    await bench.settle(c)
    hold = Hold()
    bench.target.on(Op.STARTUP, hold)
    texts = [f"SELECT {i} FROM ks.t" for i in range(5)]
    for text in texts:
        assert (await c.query(text)).rows[0][0] == "origin"
    await hold.arrived()
    assert copies(bench.target) == []
    hold.release()
    await bench.target.until(lambda: len(copies(bench.target)) == 5, "copies")
    assert [r.statement for r in copies(bench.target)] == texts
    assert len({r.conn for r in copies(bench.target)}) == 1


@pytest.mark.parametrize("forward", [False, True])
@backends
async def test_its_log_in(make_bench, backend, forward):
    """The client's credentials where they are meant for that cluster, else the configured ones."""
    users = {"origin": ("origin-user", "o"), "target": ("target-user", "t")}

    def auth(name):
        return {"auth": Auth({"proxy": "proxy-password", users[name][0]: users[name][1]})}
    bench = await mirrored(make_bench, backend, origin=auth("origin"), target=auth("target"), sections={
        "routing": {"forward_client_credentials_to_origin": str(forward).lower()}})
    user, password = users["origin" if forward else "target"]
    c = await connect(bench, user=user, password=password)
    copy = await read(bench, c, 1)
    assert copy.conn.user == ("proxy" if forward else user)


async def test_a_log_in_that_cannot_be_repeated(make_bench):
    """Its copies are dropped and counted, and nothing is tried."""
    bench = await mirrored(make_bench, "dedicated", target={
        "auth": Auth({"proxy": "proxy-password"}, authenticator=KERBEROS)}, fresh=True)

    async def ticket(conn, got):
        conn.authenticated, conn.user = True, "by ticket"
        conn.reply(got, behaviour.Answer(Op.AUTH_SUCCESS, b"\xff\xff\xff\xff"))
    bench.target.on(lambda got: got.opcode == Op.AUTH_RESPONSE and got.request.token == b"\x60ticket", ticket)
    c = await bench.open()
    await c.startup()
    assert (await c.auth(b"\x60ticket")).opcode == Op.AUTH_SUCCESS
    for n in range(3):
        assert (await c.query(READ)).rows[0][0] == "origin"
        assert await dropped(bench, "no_connection") == n + 1
    await bench.settle(c)
    assert len(bench.target.connections()) == 1 and copies(bench.target) == []


@pytest.mark.parametrize("backend,how", [("dedicated", "error"), ("pooled", "close")])
async def test_it_cannot_be_opened(make_bench, backend, how):
    """The client does not notice; it is tried again, but not for each read."""
    bench = await mirrored(make_bench, backend, fresh=True)
    c = await connect(bench)
    await bench.settle(c)
    bench.target.on(Op.STARTUP, error(Err.SERVER_ERROR, "not now") if how == "error" else behaviour.close(), times=1)
    assert (await c.query(READ)).rows[0][0] == "origin"
    await bench.proxy.until_logged("its reads are not mirrored to target")
    for _ in range(10):
        assert (await c.query(READ)).rows[0][0] == "origin"
    assert await dropped(bench, "no_connection") == 10 and copies(bench.target) == []

    async def again():
        await c.query(READ)
        return copies(bench.target)
    await bench.proxy.until(again, "a copy again")


@backends
async def test_it_is_lost(make_bench, backend):
    bench = await mirrored(make_bench, backend)
    c = await connect(bench)
    copy = await read(bench, c, 1)
    copy.conn.reset()
    before = await dropped(bench, "no_connection")

    async def lost():
        assert (await c.query(READ)).rows[0][0] == "origin"
        return await dropped(bench, "no_connection") > before
    await bench.proxy.until(lost, "the loss to be noticed")
    await assert_alive(c, bench)


@backends
async def test_a_mute_node_delays_nobody(make_bench, backend):
    bench = await mirrored(make_bench, backend, sections={"routing": {"async_handshake_timeout": "2s"}}, fresh=True)
    c = await connect(bench)
    await bench.settle(c)
    bench.target.on(Op.STARTUP, mute())
    for _ in range(3):
        assert (await c.query(READ)).rows[0][0] == "origin"
    assert "not ready within" not in bench.proxy.messages, "they have waited for it"
    await bench.proxy.until_logged("not ready within 2000 ms")
    assert (await c.query(READ)).rows[0][0] == "origin"
    assert await dropped(bench, "no_connection") == 1


@backends
async def test_it_goes_with_the_client(make_bench, backend):
    bench = await mirrored(make_bench, backend)
    c = await connect(bench)
    await read(bench, c, 1)
    await c.close()
    await bench.until_backends_gone()


# ---- other settings ----

@backends
async def test_a_rule_comes_and_goes(make_bench, backend):
    """For clients that are there already, too, and for what they have prepared."""
    bench = await mirrored(make_bench, backend, "read other.* mirror", fresh=True)
    c = await connect(bench)
    prepared = await c.prepare("SELECT * FROM ks.t WHERE k = ?")
    await c.execute(prepared, values=[b"k"])
    await bench.settle(c)
    assert copies(bench.target) == []
    await bench.reload(routing={"rule": "read ks.* mirror"})
    await c.execute(prepared, values=[b"k"])
    await bench.target.until(lambda: copies(bench.target, Op.EXECUTE), "copy")
    copy, = copies(bench.target, Op.EXECUTE)
    await bench.reload(routing={"rule": "read ks.t mirror"})
    await read(bench, c, 2)
    assert links(bench.target) == [copy.conn], "it stays while some rule mirrors"
    await bench.reload(routing={"rule": "read ks.* origin"})
    await bench.target.until(lambda: links(bench.target) == [], "end of the mirror")
    assert (await c.query(READ)).rows[0][0] == "origin"
    await assert_alive(c, bench)
    assert len(copies(bench.target)) == 2


@backends
async def test_the_primary_is_switched(make_bench, backend):
    """Copies go to what is the secondary now."""
    bench = await mirrored(make_bench, backend, fresh=True)
    c = await connect(bench)
    await read(bench, c, 1)
    await bench.reload(routing={"primary": "target"})
    for cluster in bench.clusters:
        cluster.received.clear()
    copy = await read(bench, c, 1)
    assert copy.conn in links(bench.origin)


@backends
async def test_beside_dual_reads(make_bench, backend):
    """A rule that names a cluster is the last word; others are mirrored as read_mode says, on the same connection."""
    bench = await mirrored(make_bench, backend, "read ks.* mirror", "read target_only.* target", "read origin_only.* origin",
                           sections={"routing": {"read_mode": "dual_async_on_secondary"}})
    c, mirror = await bench.mirrored_client()
    assert (await c.query("SELECT * FROM target_only.t")).rows[0][0] == "target"
    assert (await c.query("SELECT * FROM origin_only.t")).rows[0][0] == "origin"
    await read(bench, c, 1, "SELECT * FROM any.t")
    await read(bench, c, 1)
    assert [r.statement for r in bench.target.requests(Op.QUERY) if r.conn is mirror] == ["SELECT * FROM any.t", READ]
    assert copies(bench.target, of="origin_only") == [] and copies(bench.origin, of="target_only") == []


@backends
async def test_large_reads(make_bench, backend):
    """Those that go over a connection of their own are copied as others are."""
    bench = await mirrored(make_bench, backend, sections={"proxy": {"large_frame_size": "64KiB"}})
    c = await connect(bench)
    text = f"SELECT '{'x' * 100000}' FROM ks.t"
    assert (await c.query(text)).rows[0][0] == "origin"
    await bench.target.until(lambda: copies(bench.target), "copy")
    assert copies(bench.target)[0].statement == text
