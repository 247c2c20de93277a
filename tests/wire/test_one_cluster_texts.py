"""
Statements that go to one cluster only, beside PREPARE (test_one_cluster.py). Item by item of docs/lua.md: USE, DDL, conditional
writes, pages, traces, reads of both, errors, counters.
"""
import pytest

import behaviour
from behaviour import Hold, error, mute
from cqlwire import DSE1, DSE2, Err, FrameFlag, Kind, Op
from helpers import PRIMARIES, assert_alive, assert_error, reached
from test_one_cluster import asked, inflight, other_of, READ, reroute, WAY_IDS, WAYS, with_rules, WRITE


# ---- USE and the schema ----

@pytest.mark.dedicated
@pytest.mark.native
class TestTwoKeyspaces:
    """USE went to one cluster: on connections of the client's own the other one stands in another keyspace."""

    @staticmethod
    async def split(make_bench, before, version=4):
        """A client in keyspace shop of origin; on target it is in `before` still. The rule has gone since, reads go to target."""
        bench = await with_rules(make_bench, "all shop.* origin", fresh=True, primary="target")
        bench.target.lacks.add("shop")
        c = await bench.client(version, keyspace=before)
        bench.origin.received.clear()
        bench.target.received.clear()
        await c.use("shop")
        assert [len(asked(cluster)) for cluster in bench.clusters] == [1, 0]
        await reroute(bench)
        return bench, c

    @pytest.mark.parametrize("version", [3, 4, 5])
    @pytest.mark.parametrize("before", [None, "old"])
    async def test_what_depends_on_the_keyspace(self, make_bench, before, version):
        """It is answered INVALID, naming both, wherever a cluster that stands elsewhere would get it. Nothing is sent."""
        bench, c = await self.split(make_bench, before, version)
        texts = ["SELECT * FROM orders", "INSERT INTO orders (k) VALUES (1)", "FROB orders", "CREATE TABLE t (k int)",
                 "BEGIN BATCH INSERT INTO orders (k) VALUES (1) APPLY BATCH", "TRUNCATE orders"]
        answers = [await c.query(text) for text in texts]
        answers.append(await c.prepare("SELECT * FROM orders WHERE k = ?"))
        answers.append(await c.batch([("INSERT INTO shop.orders (k) VALUES (1)", []),
                                      ("INSERT INTO orders (k) VALUES (1)", [])]))
        for answer in answers:
            assert_error(answer, Err.INVALID, "shop", "target", before or "none", "nothing was sent")
        await bench.settle(c)
        for cluster in bench.clusters:
            assert asked(cluster) == []
        assert await inflight(bench) == [0, 0, 0]

    @pytest.mark.parametrize("version", [3, 4, 5])
    async def test_what_does_not_depend_on_it(self, make_bench, version):
        bench, c = await self.split(make_bench, "old", version)
        assert (await c.query("SELECT * FROM ks.t")).rows[0][0] == "target"
        for text in ("INSERT INTO ks.t (k) VALUES (1)", "CREATE TABLE ks.t (k int)", "CREATE KEYSPACE k2",
                     "BEGIN BATCH INSERT INTO ks.t (k) VALUES (1) APPLY BATCH"):
            assert not (await c.query(text)).is_error(), text
        assert (await c.batch([("INSERT INTO ks.t (k) VALUES (1)", [])])).kind == Kind.VOID
        prepared = await c.prepare("INSERT INTO ks.t (k) VALUES (?)")
        assert (await c.execute(prepared, values=[b"k"])).kind == Kind.VOID
        assert (await c.batch([(prepared.prepared_id, [b"k"])])).kind == Kind.VOID
        for cluster in bench.clusters:
            cluster.forget_prepared()
        assert (await c.execute(prepared, values=[b"k"])).kind == Kind.VOID
        if version == 5:
            assert (await c.query("SELECT * FROM t", keyspace="ks")).rows == [["target", "ks", "SELECT * FROM t"]]
            assert (await c.prepare("SELECT * FROM t", keyspace="ks")).kind == Kind.PREPARED

    async def test_what_goes_to_the_one_that_followed(self, make_bench):
        """A statement for origin alone: there the connection stands where the client wants it."""
        bench, c = await self.split(make_bench, "old")
        await reroute(bench, "all shop.* origin")
        assert (await c.query("SELECT * FROM orders")).rows == [["origin", "shop", "SELECT * FROM orders"]]
        assert (await c.query("INSERT INTO orders (k) VALUES (1)")).kind == Kind.VOID
        prepared = await c.prepare("SELECT * FROM orders WHERE k = ?")
        assert (await c.execute(prepared, values=[b"k"])).rows[0][1] == "shop"
        assert (await c.batch([("INSERT INTO orders (k) VALUES (1)", [])])).kind == Kind.VOID
        assert asked(bench.target) == []

    async def test_a_common_keyspace_heals_it(self, make_bench):
        bench, c = await self.split(make_bench, "old")
        assert_error(await c.query("SELECT * FROM t"), Err.INVALID)
        await c.use("ks")
        assert (await c.query("SELECT * FROM t")).rows[0][:2] == ["target", "ks"]
        await c.query("INSERT INTO t (k) VALUES (1)")
        assert {cluster.requests(Op.QUERY)[-1].keyspace for cluster in bench.clusters} == {"ks"}

    async def test_the_keyspace_of_the_other_one_heals_it(self, make_bench):
        """USE of the keyspace in which target still stands, by a rule for origin: both are in it."""
        bench, c = await self.split(make_bench, "old")
        await reroute(bench, "all old.* origin")
        await c.use("old")
        assert bench.target.requests(Op.QUERY) == []
        await reroute(bench)
        assert (await c.query("SELECT * FROM t")).rows[0][:2] == ["target", "old"]

    @pytest.mark.parametrize("failing", PRIMARIES)
    async def test_a_use_that_one_cluster_refuses(self, make_bench, failing):
        """The other one is put back to where it stood, and what stood apart stands apart still."""
        bench, c = await self.split(make_bench, "old")
        getattr(bench, failing).lacks.add("new")
        assert_error(await c.query("USE new"), Err.INVALID, "new")
        await bench.settle(c)
        here = {cluster.name: cluster.connections()[0].keyspace for cluster in bench.clusters}
        assert here == {"origin": "shop", "target": "old"}
        assert_error(await c.query("SELECT * FROM t"), Err.INVALID, "shop", "old")
        await c.use("ks")
        assert (await c.query("SELECT * FROM t")).rows[0][:2] == ["target", "ks"]

    async def test_a_use_that_the_one_cluster_refuses(self, make_bench):
        bench = await with_rules(make_bench, "all shop.* origin")
        bench.origin.lacks.add("shop")
        c = await bench.client(keyspace="old")
        assert_error(await c.query("USE shop"), Err.INVALID, "shop")
        assert (await c.query("SELECT * FROM t")).rows[0][:2] == ["origin", "old"]
        await c.query("INSERT INTO t (k) VALUES (1)")
        assert {cluster.requests(Op.QUERY)[-1].keyspace for cluster in bench.clusters} == {"old"}

    async def test_large_requests(self, make_bench):
        """Their connections stand where those of their cluster do."""
        bench, c = await self.split(make_bench, "old")
        big = b"x" * 300_000
        answer = await c.query("INSERT INTO ks.t (k) VALUES (?)", values=[big])
        assert answer.kind == Kind.VOID, answer
        assert_error(await c.query("INSERT INTO t (k) VALUES (?)", values=[big]), Err.INVALID, "shop", "old")
        inserts = [[r for r in cluster.requests(Op.QUERY) if "INSERT" in r.statement] for cluster in bench.clusters]
        assert [len(found) for found in inserts] == [1, 1]
        assert [found[0].keyspace for found in inserts] == ["shop", "old"]

    async def test_copies_of_reads(self, make_bench):
        """A copy never runs in another keyspace than the read: it is left out and counted."""
        bench = await make_bench(fresh=True, primary="origin",
                                 sections={"routing": {"rule": ["all shop.* origin"],
                                                       "read_mode": "dual_async_on_secondary"}})
        bench.target.lacks.add("shop")
        c, mirror = await bench.mirrored_client()
        await c.use("old")
        await c.use("shop")
        await reroute(bench)
        assert (await c.query("SELECT * FROM orders")).rows[0][:2] == ["origin", "shop"]

        async def is_dropped():
            return (await bench.proxy.metrics())['zdm_cqlferry_async_dropped_total{reason="keyspace"}'] >= 1
        await bench.proxy.until(is_dropped, "copy that is left out")
        assert not [r for r in bench.target.received if r.conn is mirror and "orders" in (r.statement or "")]


@pytest.mark.native
async def test_use_over_shared_connections(pooled):
    """They are opened in the keyspace that a request needs: where a cluster lacks it, the request gets its error."""
    bench = await pooled(sections={"routing": {"rule": ["all shop.* origin"]}}, primary="target")
    bench.target.lacks.add("shop")
    c = await bench.client(keyspace="shop")
    assert (await c.query("SELECT * FROM orders")).rows == [["origin", "shop", "SELECT * FROM orders"]]
    assert (await c.query("INSERT INTO orders (k) VALUES (1)")).kind == Kind.VOID
    assert asked(bench.target) == []
    await reroute(bench)
    for text in ("SELECT * FROM orders", "INSERT INTO orders (k) VALUES (1)"):
        assert_error(await c.query(text), Err.INVALID, "Keyspace", "shop")
    assert not asked(bench.target) and not asked(bench.origin)
    bench.target.lacks.clear()
    assert (await c.query("SELECT * FROM orders")).rows == [["target", "shop", "SELECT * FROM orders"]]
    assert (await c.query("INSERT INTO orders (k) VALUES (1)")).kind == Kind.VOID
    assert {r.keyspace for cluster in bench.clusters for r in cluster.requests(Op.QUERY)} == {"shop"}


@pytest.mark.parametrize("prepared", [False, True])
async def test_a_schema_change_on_one_cluster(make_bench, prepared):
    """The driver is told by the answer; the event of one cluster alone is test_schema_events.py's."""
    text = "CREATE TABLE shop.t (k int PRIMARY KEY)"
    bench = await with_rules(make_bench, "all shop.* target")
    c = await bench.client()
    if prepared:
        answer = await c.execute(await c.prepare(text))
    else:
        answer = await c.query(text)
    assert answer.kind == Kind.SCHEMA_CHANGE
    await bench.settle(c)
    assert asked(bench.origin) == [] and text in bench.target.statements()


# ---- conditional writes, pages, traces ----

@pytest.mark.parametrize("where", PRIMARIES)
async def test_a_conditional_write(make_bench, where):
    """The other cluster's state has no say in it."""
    bench = await with_rules(make_bench, f"write shop.* {where}")
    here, there = other_of(bench, where)
    c = await bench.client()
    prepared = await c.prepare(WRITE + " IF NOT EXISTS")
    assert (await c.execute(prepared, values=[b"k"])).rows == [[True, where]]
    assert (await c.query("UPDATE shop.orders SET v = 1 WHERE k = 1 IF v = 0")).rows == [[True, where]]
    await bench.settle(c)
    assert asked(there) == []


@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_pages_come_from_the_cluster_of_the_first(make_bench, version, compression):
    """Whatever the rules say by then; prepared there if it has to be."""
    bench = await with_rules(make_bench, "read shop.* target", fresh=True)
    c = await bench.client(version, compression)
    prepared = await c.prepare("SELECT * FROM shop.paged")
    texts = await c.query("SELECT * FROM shop.paged", page_size=1)
    first = await c.execute(prepared, page_size=1)
    assert first.rows[0][0] == texts.rows[0][0] == "target"
    await reroute(bench, "read shop.* origin")
    state = (await c.query("SELECT * FROM shop.paged", page_size=1, paging_state=texts.paging_state))
    assert state.rows == [["target", None, "page 1"]]
    state = await c.execute(prepared, page_size=1, paging_state=first.paging_state)
    assert state.rows == [["target", None, "page 1"]]
    assert asked(bench.origin) == []
    fresh = await c.execute(prepared, page_size=1)
    assert fresh.rows == [["origin", None, "page 0"]]
    await reroute(bench, "read shop.* target")
    other = await bench.client(version, compression)
    assert (await other.execute(prepared, page_size=1, paging_state=fresh.paging_state)).rows[0][::2] == ["origin", "page 1"]
    await bench.settle(other)
    assert asked(bench.target) == []


@pytest.mark.parametrize("where", PRIMARIES)
async def test_a_trace_is_read_where_it_was_made(make_bench, where):
    bench = await with_rules(make_bench, f"all shop.* {where}")
    here, there = other_of(bench, where)
    c = await bench.client()
    for text in ("SELECT * FROM shop.orders", "INSERT INTO shop.orders (k) VALUES (1)"):
        answer = await c.query(text, flags=FrameFlag.TRACING)
        assert len(answer.tracing_id) == 16
        await c.query("SELECT * FROM system_traces.sessions WHERE session_id = ?", values=[answer.tracing_id])
    assert len([r for r in here.requests(Op.QUERY) if "system_traces" in r.statement]) == 2
    assert asked(there) == []


# ---- reads of both ----

@pytest.mark.parametrize("primary", PRIMARIES)
async def test_a_read_of_both(make_bench, primary):
    """Both must answer; the primary's answer counts, and its pages follow."""
    bench = await with_rules(make_bench, "read shop.* both", primary=primary)
    c = await bench.client()
    prepared = await c.prepare(READ)
    assert (await c.execute(prepared, values=[b"k"])).rows[0][0] == primary
    assert reached(bench, Op.EXECUTE) == "both"
    first = await c.query("SELECT * FROM shop.paged", page_size=1)
    second = await c.query("SELECT * FROM shop.paged", page_size=1, paging_state=first.paging_state)
    assert second.rows == [[primary, None, "page 1"]]
    await bench.settle(c)
    assert len(bench.primary.requests(Op.QUERY)) == 2 and len(bench.secondary.requests(Op.QUERY)) == 1
    before = await bench.proxy.metrics()
    bench.secondary.on("shop.orders", error(Err.READ_FAILURE, "disk"))
    assert_error(await c.execute(prepared, values=[b"k"]), Err.READ_FAILURE, "disk")
    bench.secondary.on("shop.orders", error(Err.OVERLOADED, "busy"))
    assert_error(await c.execute(prepared, values=[b"k"]), Err.OVERLOADED, "busy")
    after = await bench.proxy.metrics()
    name = 'zdm_proxy_failed_reads_total{{cluster="{}"}}'
    assert after[name.format(bench.secondary.name)] == before[name.format(bench.secondary.name)] + 2
    assert after[name.format(primary)] == before[name.format(primary)]
    assert await inflight(bench) == [0, 0, 0]


@pytest.mark.parametrize("version", [DSE1, DSE2])
async def test_many_pages_of_a_read_of_both(make_bench, version):
    """DSE's continuous paging: nobody could merge the pages of two clusters, so the primary alone is asked."""
    versions = {"versions": (3, 4, DSE1, DSE2)}
    bench = await make_bench(origin=versions, target=versions, sections={"routing": {"rule": ["read shop.* both"]}})
    for cluster in bench.clusters:
        cluster.on("shop.orders", behaviour.pages(3))
    c = await bench.client(version)
    stream = c.send_query("SELECT * FROM shop.orders", stream=50, page_size=1, continuous=(0, 0, 0))
    assert [(await c.answer(stream)).rows[0][0] for _ in range(3)] == ["origin"] * 3
    await bench.settle(c)
    assert asked(bench.target) == []


# ---- errors and counters ----

@pytest.mark.parametrize("code,fields", [(Err.OVERLOADED, {}), (Err.INVALID, {}), (Err.UNAUTHORIZED, {})])
@pytest.mark.parametrize("where", PRIMARIES)
async def test_errors_of_a_write_to_one_cluster(make_bench, where, code, fields):
    """There is nothing to be merged: the driver gets what the node said."""
    bench = await with_rules(make_bench, f"all shop.* {where}")
    here, there = other_of(bench, where)
    c = await bench.client()
    write = await c.prepare(WRITE)
    before = await bench.proxy.metrics()
    here.on(lambda got: got.opcode in (Op.EXECUTE, Op.BATCH), error(code, "said the node", **fields))
    assert_error(await c.execute(write, values=[b"k"]), code, "said the node")
    assert_error(await c.batch([(write.prepared_id, [b"k"])]), code, "said the node")
    after = await bench.proxy.metrics()
    for name in ('zdm_proxy_failed_writes_total{failed_on="%s"}',):
        assert after[name % where] == before[name % where] + 2
        assert after[name % there.name] == before[name % there.name] and after[name % "both"] == before[name % "both"]
    for name in ('zdm_proxy_failed_reads_total{cluster="%s"}',):
        assert all(after[name % each] == before[name % each] for each in PRIMARIES)
    assert await inflight(bench) == [0, 0, 0]


@pytest.mark.parametrize("where", PRIMARIES)
@pytest.mark.parametrize("how", ["query", "execute", "batch"])
async def test_a_write_that_is_not_answered(make_bench, where, how):
    """The time-out names the cluster that was asked, and that one alone."""
    bench = await make_bench(sections={"routing": {"rule": [f"all shop.* {where}"]},
                                       "proxy": {"request_timeout": "800ms"}})
    here, there = other_of(bench, where)
    c = await bench.client()
    write = await c.prepare(WRITE)
    here.on(lambda got: got.opcode != Op.PREPARE, mute(), times=1)
    if how == "query":
        answer = await c.query("INSERT INTO shop.orders (k) VALUES (1)")
    elif how == "execute":
        answer = await c.execute(write, values=[b"k"])
    else:
        answer = await c.batch([(write.prepared_id, [b"k"])])
    assert_error(answer, Err.WRITE_TIMEOUT, f"no answer from {where}")
    assert there.name not in answer.text
    assert await inflight(bench) == [0, 0, 0]
    await assert_alive(c, bench)


@pytest.mark.parametrize("where", PRIMARIES)
async def test_requests_are_counted_by_what_they_are(make_bench, where):
    """A write to one cluster is a write; while it is out, too."""
    bench = await with_rules(make_bench, f"all shop.* {where}")
    here, _ = other_of(bench, where)
    c = await bench.client()
    read, write = await c.prepare(READ), await c.prepare(WRITE)
    before = await bench.proxy.metrics()
    hold = Hold()
    here.on(lambda got: got.opcode in (Op.EXECUTE, Op.BATCH, Op.QUERY), hold)
    streams = [c.send_execute(write, values=[b"k"]), c.send_batch([(write.prepared_id, [b"k"])]),
               c.send_query("INSERT INTO shop.orders (k) VALUES (1)"), c.send_execute(read, values=[b"k"])]
    await hold.arrived(4)
    assert await inflight(bench) == ([1, 0, 3] if where == "origin" else [0, 1, 3])
    hold.release()
    for stream in streams:
        assert not (await c.answer(stream)).is_error()
    assert await inflight(bench) == [0, 0, 0]
    after = await bench.proxy.metrics()
    single = f'zdm_cqlferry_single_cluster_writes_total{{cluster="{where}"}}'
    assert after[single] == before[single] + 3

    def count(metrics, kind):
        return metrics[f'zdm_proxy_request_duration_seconds_count{{type="{kind}"}}']
    assert count(after, "writes") == count(before, "writes") + 3
    assert count(after, f"reads_{where}") == count(before, f"reads_{where}") + 1


@pytest.mark.native
@pytest.mark.parametrize("where", PRIMARIES)
async def test_a_write_to_one_cluster_moves_to_another_node(pooled, where):
    """Where it does no harm, as a write to both does it."""
    bench = await pooled(**{where: {"nodes": 2}}, sections={"routing": {"rule": [f"all shop.* {where}"]}})
    here, there = other_of(bench, where)
    c = await bench.client()
    text = "INSERT INTO shop.orders (k) VALUES (1) USING TIMESTAMP 5"
    here.on(text, behaviour.close(), times=1)
    assert (await c.query(text)).kind == Kind.VOID
    here.on("SET v = v + 1", behaviour.close(), times=1)
    assert_error(await c.query("UPDATE shop.orders SET v = v + 1 WHERE k = 1"), Err.WRITE_TIMEOUT, where,
                 "may have been applied")
    assert asked(there) == []


@pytest.mark.native
async def test_the_other_cluster_is_down(pooled):
    """Over shared connections: who needs one cluster only, goes on; PREPARE, too."""
    bench = await pooled(sections={"routing": {"rule": ["all shop.* target"]}})
    c = await bench.client()
    write = await c.prepare(WRITE)
    await bench.origin.nodes[0].stop()
    assert (await c.execute(write, values=[b"k"])).kind == Kind.VOID
    assert (await c.execute(await c.prepare(READ), values=[b"k"])).rows[0][0] == "target"
    assert (await c.batch([(write.prepared_id, [b"k"])])).kind == Kind.VOID

    async def is_noticed():
        return (await c.query("INSERT INTO ks.t (k) VALUES (1)")).code == Err.UNAVAILABLE
    await bench.proxy.until(is_noticed, "loss of origin")
    assert (await c.execute(write, values=[b"k"])).kind == Kind.VOID
    await bench.origin.nodes[0].start()
