"""
Statements that go to one cluster only, as a [routing] rule says: what the rest of the proxy makes of prepared ones. Item by
item of docs/lua.md: PREPARE, changes of the routing, batches, columns of results. The other items: test_one_cluster_texts.py.
"""
import asyncio

import pytest

from behaviour import Hold, error, mute, unprepared
from cqlwire import Column, Err, Kind, Op, RowsFlag, Type, responses
from fakecluster import RESULT_COLUMNS
from helpers import PRIMARIES, assert_alive, assert_error, reached

READ = "SELECT * FROM shop.orders WHERE k = ?"
WRITE = "INSERT INTO shop.orders (k) VALUES (?)"
WAYS = [(3, None), (4, "lz4"), (5, None)]
WAY_IDS = ["v3", "v4-lz4", "v5"]


def other_of(bench, name):
    """(the cluster of this name, the other one)."""
    return (bench.origin, bench.target) if name == "origin" else (bench.target, bench.origin)


def sequence(cluster, *opcodes):
    return [r.opcode for r in cluster.requests(*(opcodes or (Op.PREPARE, Op.EXECUTE, Op.BATCH)))]


def asked(cluster):
    return cluster.requests(Op.QUERY, Op.PREPARE, Op.EXECUTE, Op.BATCH)


async def with_rules(make_bench, *rules, fresh=False, primary="origin", **sections):
    return await make_bench(fresh=fresh, primary=primary,
                            sections={"routing": {"rule": list(rules)}, **sections})


async def replacing(make_bench):
    return await make_bench(fresh=True, sections={"routing": {"rule": ["all shop.* target"],
                                                              "replace_cql_functions": "true"}})


async def reroute(bench, *rules):
    """Other rules from now on; what the clusters have received is forgotten."""
    await bench.reload(routing={"rule": list(rules) or None})
    for cluster in bench.clusters:
        cluster.received.clear()


def with_ids_of_their_text(bench):
    """As Cassandra's: both clusters give one statement the same id."""
    for cluster in bench.clusters:
        cluster.prepared_id = lambda text, keyspace: bench.plain_id(text, keyspace)
    bench.plain_id = type(bench.origin).prepared_id.__get__(bench.origin)


async def inflight(bench):
    metrics = await bench.proxy.metrics()
    return [metrics[f'zdm_proxy_inflight_requests_total{{type="{t}"}}'] for t in ("reads_origin", "reads_target", "writes")]


# ---- PREPARE ----

@pytest.mark.parametrize("where", PRIMARIES)
@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_prepare_goes_where_the_rule_says(make_bench, where, version, compression):
    """The other cluster hears of nothing, and need not have the table; the driver's id is that of the one that was asked."""
    bench = await with_rules(make_bench, f"all shop.* {where}")
    here, there = other_of(bench, where)
    there.lacks.add("shop.orders")
    c = await bench.client(version, compression)
    read, write = await c.prepare(READ), await c.prepare(WRITE)
    assert read.prepared_id == here.prepared_id(READ, None) and write.prepared_id == here.prepared_id(WRITE, None)
    assert (await c.execute(read, values=[b"k"])).rows == [[where, None, READ]]
    assert (await c.execute(write, values=[b"k"])).kind == Kind.VOID
    assert (await c.batch([(write.prepared_id, [b"1"]), ("DELETE FROM shop.orders WHERE k = 1", [])])).kind == Kind.VOID
    await bench.settle(c)
    assert sequence(here) == [Op.PREPARE, Op.PREPARE, Op.EXECUTE, Op.EXECUTE, Op.BATCH]
    assert sequence(there) == []


@pytest.mark.parametrize("kinds", ["read", "write"])
async def test_a_rule_for_one_kind_prepares_that_kind_alone(make_bench, kinds):
    bench = await with_rules(make_bench, f"{kinds} shop.* target")
    c = await bench.client()
    await c.prepare(READ)
    await c.prepare(WRITE)
    alone, both = (READ, WRITE) if kinds == "read" else (WRITE, READ)
    assert reached(bench, Op.PREPARE, alone) == "target" and reached(bench, Op.PREPARE, both) == "both"


@pytest.mark.parametrize("rule", ["read shop.* both", "write shop.* both", "read other.* target"])
async def test_both_are_asked_where_no_rule_says_one(make_bench, rule):
    """And both have to have it."""
    bench = await with_rules(make_bench, rule)
    c = await bench.client()
    for text in (READ, WRITE):
        assert (await c.prepare(text)).kind == Kind.PREPARED
        assert reached(bench, Op.PREPARE, text) == "both"
    bench.target.lacks.add("shop.orders")
    assert_error(await c.prepare(READ), Err.INVALID, "unconfigured table")


async def test_system_tables_are_prepared_as_ever(make_bench):
    """A rule for all tables is not asked: their reads are the protocol's."""
    bench = await with_rules(make_bench, "all *.* target")
    c = await bench.client()
    for text in ("SELECT * FROM system.local", "SELECT * FROM system_schema.tables"):
        prepared = await c.prepare(text)
        assert prepared.kind == Kind.PREPARED
        assert (await c.execute(prepared)).kind == Kind.ROWS
    assert reached(bench, Op.EXECUTE, "SELECT * FROM system_schema.tables") == "origin"
    assert reached(bench, Op.PREPARE, "SELECT * FROM system_schema.tables") == "both"


async def test_a_refused_prepare(make_bench):
    bench = await with_rules(make_bench, "all shop.* target")
    bench.target.lacks.add("shop.orders")
    c = await bench.client()
    assert_error(await c.prepare(READ), Err.INVALID, "unconfigured table orders")
    assert reached(bench, Op.PREPARE) == "target"
    assert_error(await c.execute(bench.target.prepared_id(READ, None), values=[b"k"]), Err.UNPREPARED)


@pytest.mark.parametrize("version", [4, 5])
async def test_functions_are_replaced_for_one_cluster_too(make_bench, version):
    """The routing may change, and then both clusters have to store the same value."""
    text = "INSERT INTO shop.orders (k, id) VALUES (?, now())"
    bench = await replacing(make_bench)
    c = await bench.client(version)
    prepared = await c.prepare(text)
    assert len(prepared.bind) == 1 and reached(bench, Op.PREPARE) == "target"
    assert (await c.execute(prepared, values=[b"k"])).kind == Kind.VOID
    assert reached(bench, Op.EXECUTE) == "target" and len(bench.target.requests(Op.EXECUTE)[0].bound) == 2
    await reroute(bench)
    assert (await c.execute(prepared, values=[b"k"])).kind == Kind.VOID
    assert sequence(bench.origin) == [Op.PREPARE, Op.EXECUTE] and sequence(bench.target) == [Op.EXECUTE]
    bound = [cluster.requests(Op.EXECUTE)[0].bound for cluster in bench.clusters]
    assert bound[0] == bound[1] and len(bound[0]) == 2
    assert "now()" not in bench.origin.requests(Op.PREPARE)[0].statement


@pytest.mark.parametrize("text", ["INSERT INTO shop.orders (k, id) VALUES (?, now())"])
async def test_a_cluster_that_refuses_the_changed_text(make_bench, text):
    """It alone gets the client's own."""
    bench = await replacing(make_bench)
    bench.target.on(lambda got: got.opcode == Op.PREPARE and "now()" not in got.statement,
                    error(Err.INVALID, "no marker there"))
    c = await bench.client()
    prepared = await c.prepare(text)
    assert prepared.kind == Kind.PREPARED and len(prepared.bind) == 1
    assert (await c.execute(prepared, values=[b"k"])).kind == Kind.VOID
    assert sequence(bench.target) == [Op.PREPARE, Op.PREPARE, Op.EXECUTE] and sequence(bench.origin) == []


# ---- the routing changes ----

@pytest.mark.parametrize("where", PRIMARIES)
@pytest.mark.parametrize("ids", ["same", "others"])
@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_prepared_for_one_and_executed_on_both(make_bench, where, ids, version, compression):
    """The cluster that was not asked prepares it behind the scenes, once; the driver's id stays good for ever."""
    bench = await with_rules(make_bench, f"all shop.* {where}", fresh=True)
    if ids == "same":
        with_ids_of_their_text(bench)
    here, there = other_of(bench, where)
    c = await bench.client(version, compression)
    write = await c.prepare(WRITE)
    await reroute(bench)
    for _ in range(3):
        assert (await c.execute(write, values=[b"k"])).kind == Kind.VOID
    assert sequence(here) == [Op.EXECUTE] * 3
    assert sequence(there) == [Op.PREPARE] + [Op.EXECUTE] * 3
    assert {r.prepared_id for r in there.requests(Op.EXECUTE)} == {there.prepared_id(WRITE, None)}
    await reroute(bench, f"all shop.* {there.name}")
    other = await bench.client(version, compression)
    for client in (c, other):
        assert (await client.execute(write, values=[b"k"])).kind == Kind.VOID
        assert (await client.batch([(write.prepared_id, [b"k"])])).kind == Kind.VOID
    await bench.settle(c)
    assert sequence(here) == [] and sequence(there) == [Op.EXECUTE, Op.BATCH] * 2


async def test_prepared_for_both_and_executed_on_one(make_bench):
    bench = await with_rules(make_bench, fresh=True)
    c = await bench.client()
    read, write = await c.prepare(READ), await c.prepare(WRITE)
    await reroute(bench, "all shop.* target")
    assert (await c.execute(read, values=[b"k"])).rows[0][0] == "target"
    assert (await c.execute(write, values=[b"k"])).kind == Kind.VOID
    assert (await c.batch([(write.prepared_id, [b"k"])])).kind == Kind.VOID
    await bench.settle(c)
    assert sequence(bench.target) == [Op.EXECUTE, Op.EXECUTE, Op.BATCH] and sequence(bench.origin) == []


async def test_a_read_moves_to_the_cluster_that_was_not_asked(make_bench):
    bench = await with_rules(make_bench, "read shop.* origin", fresh=True, primary="target")
    c = await bench.client()
    read = await c.prepare(READ)
    assert reached(bench, Op.PREPARE) == "origin"
    await reroute(bench)
    for _ in range(2):
        assert (await c.execute(read, values=[b"k"])).rows == [["target", None, READ]]
    await bench.settle(c)
    assert sequence(bench.target) == [Op.PREPARE, Op.EXECUTE, Op.EXECUTE] and sequence(bench.origin) == []


@pytest.mark.parametrize("version", [3, 4, 5])
async def test_it_is_prepared_in_the_keyspace_that_it_was_prepared_in(make_bench, version):
    """Wherever the connection that executes it stands, which stays there."""
    text = "INSERT INTO orders (k) VALUES (?)"
    bench = await with_rules(make_bench, "write shop.* target", fresh=True)
    c = await bench.client(version, keyspace="shop")
    prepared = await c.prepare(text)
    assert reached(bench, Op.PREPARE) == "target"
    await reroute(bench)
    other = await bench.client(version, keyspace="elsewhere")
    assert (await other.execute(prepared, values=[b"k"])).kind == Kind.VOID
    got = bench.origin.requests(Op.EXECUTE)[-1]
    assert got.node.prepared[got.prepared_id] == (text, "shop")
    await other.query("INSERT INTO t (k) VALUES (1)")
    assert {cluster.requests(Op.QUERY)[-1].keyspace for cluster in bench.clusters} == {"elsewhere"}


@pytest.mark.parametrize("clients", [1, 5])
async def test_many_wait_for_one_prepare(make_bench, clients):
    bench = await with_rules(make_bench, "all shop.* target", fresh=True)
    everyone = [await bench.client() for _ in range(clients)]
    write = await everyone[0].prepare(WRITE)
    await reroute(bench)
    hold = Hold()
    bench.origin.on(Op.PREPARE, hold)
    streams = [(c, c.send_execute(write, values=[b"k"])) for c in everyone for _ in range(20 // clients)]
    await hold.arrived()
    for c in everyone:
        await bench.settle(c)
    hold.release()
    for c, stream in streams:
        assert (await c.answer(stream)).kind == Kind.VOID
    assert sequence(bench.origin) == [Op.PREPARE] + [Op.EXECUTE] * 20 and sequence(bench.target) == [Op.EXECUTE] * 20


@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("where", PRIMARIES)
async def test_children_of_a_batch(make_bench, version, where):
    """Each one that the cluster lacks is prepared there first; then comes the batch, once, with the cluster's ids."""
    texts = [f"INSERT INTO shop.t{n} (k) VALUES (?)" for n in range(4)]
    bench = await with_rules(make_bench, f"all shop.* {where}", fresh=True)
    here, there = other_of(bench, where)
    c = await bench.client(version)
    prepared = [await c.prepare(text) for text in texts[:3]]
    await reroute(bench)
    prepared.append(await c.prepare(texts[3]))
    there.received.clear()
    children = [(p.prepared_id, [b"k"]) for p in prepared] * 2 + [("DELETE FROM shop.t9 WHERE k = 1", [])]
    for _ in range(2):
        assert (await c.batch(children)).kind == Kind.VOID
    assert sorted(r.statement for r in there.requests(Op.PREPARE)) == texts[:3]
    assert sequence(there) == [Op.PREPARE] * 3 + [Op.BATCH] * 2
    for cluster in bench.clusters:
        ids = [cluster.prepared_id(text, None) for text in texts]
        assert [s for s, _ in cluster.requests(Op.BATCH)[-1].children[:8]] == ids * 2


@pytest.mark.parametrize("what", ["execute", "batch"])
async def test_a_cluster_without_the_table(make_bench, what):
    """Its error is the driver's, and comes with the request; when the table is there, all is well."""
    bench = await with_rules(make_bench, "all shop.* target", fresh=True)
    bench.origin.lacks.add("shop.orders")
    c = await bench.client()
    write = await c.prepare(WRITE)
    await reroute(bench)

    async def write_once():
        return await (c.execute(write, values=[b"k"]) if what == "execute" else c.batch([(write.prepared_id, [b"k"])]))
    assert_error(await write_once(), Err.INVALID, "unconfigured table orders")
    assert not bench.origin.requests(Op.EXECUTE, Op.BATCH)
    bench.origin.lacks.clear()
    assert (await write_once()).kind == Kind.VOID
    await assert_alive(c, bench)


@pytest.mark.parametrize("version", [4, 5])
async def test_a_cluster_without_the_keyspace(make_bench, version):
    bench = await with_rules(make_bench, "all shop.* target", fresh=True)
    bench.origin.lacks.add("shop")
    c = await bench.client(version)
    await c.use("shop")
    read = await c.prepare("SELECT * FROM orders")
    assert read.kind == Kind.PREPARED, read
    await reroute(bench)
    assert_error(await c.execute(read), Err.INVALID, "shop", "does not exist")
    await assert_alive(c, bench)


@pytest.mark.parametrize("way", ["execute", "batch"])
async def test_a_cluster_that_does_not_answer_prepare(make_bench, way):
    bench = await with_rules(make_bench, "all shop.* target", fresh=True, proxy={"request_timeout": "1s"})
    c = await bench.client()
    write = await c.prepare(WRITE)
    await reroute(bench)
    bench.origin.on(Op.PREPARE, mute(), times=1)
    answer = await (c.execute(write, values=[b"k"]) if way == "execute" else c.batch([(write.prepared_id, [b"k"])]))
    assert_error(answer, Err.WRITE_TIMEOUT, "origin")
    assert "target" not in answer.text
    assert not bench.origin.requests(Op.EXECUTE, Op.BATCH)
    await assert_alive(c, bench)


@pytest.mark.parametrize("primary", PRIMARIES)
async def test_a_node_that_never_learns_it(make_bench, primary):
    """UNPREPARED again and again behind a PREPARE that went well: bounded."""
    bench = await with_rules(make_bench, f"read shop.* {'target' if primary == 'origin' else 'origin'}", fresh=True,
                             primary=primary)
    c = await bench.client()
    read = await c.prepare(READ)
    await reroute(bench)
    bench.primary.on(Op.EXECUTE, unprepared())
    answer = await c.execute(read, values=[b"k"])
    assert_error(answer, Err.UNPREPARED)
    assert answer.fields["id"] == read.prepared_id
    assert len(bench.primary.requests(Op.EXECUTE)) <= 5 and len(bench.primary.requests(Op.PREPARE)) <= 5
    await assert_alive(c, bench)


async def test_a_batch_that_no_node_learns(make_bench):
    bench = await with_rules(make_bench, "all shop.* target", fresh=True)
    c = await bench.client()
    write = await c.prepare(WRITE)
    await reroute(bench, "all shop.* origin")
    bench.origin.on(Op.BATCH, unprepared())
    answer = await c.batch([(write.prepared_id, [b"k"])] * 3)
    assert_error(answer, Err.UNPREPARED)
    assert answer.fields["id"] == write.prepared_id
    assert len(bench.origin.requests(Op.BATCH)) <= 5 and len(bench.origin.requests(Op.PREPARE)) <= 5
    await assert_alive(c, bench)


@pytest.mark.parametrize("where", PRIMARIES)
@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_nodes_that_forget(make_bench, where, version, compression):
    """One cluster only has the statement: it is prepared there again, and nowhere else."""
    bench = await with_rules(make_bench, f"all shop.* {where}")
    here, there = other_of(bench, where)
    c = await bench.client(version, compression)
    write = await c.prepare(WRITE)
    for _ in range(2):
        here.forget_prepared()
        assert (await c.execute(write, values=[b"k"])).kind == Kind.VOID
        here.forget_prepared()
        assert (await c.batch([(write.prepared_id, [b"k"])])).kind == Kind.VOID
    await bench.settle(c)
    assert sequence(here)[1:] == [Op.EXECUTE, Op.PREPARE, Op.EXECUTE, Op.BATCH, Op.PREPARE, Op.BATCH] * 2
    assert sequence(there) == []


async def test_a_node_that_gives_another_id(make_bench):
    """The driver's, target's first, goes on to stand for both of them, whatever the clusters call it."""
    bench = await with_rules(make_bench, "all shop.* target", fresh=True)
    c = await bench.client()
    write = await c.prepare(WRITE)
    await reroute(bench)
    assert (await c.execute(write, values=[b"k"])).kind == Kind.VOID
    for n, cluster in enumerate(bench.clusters):
        cluster.prepared_id = lambda text, keyspace, n=n: bytes([n]) * 16
        cluster.forget_prepared()
    for _ in range(2):
        assert (await c.execute(write, values=[b"k"])).kind == Kind.VOID
        assert (await c.batch([(write.prepared_id, [b"k"])])).kind == Kind.VOID
    for n, cluster in enumerate(bench.clusters):
        assert cluster.requests(Op.EXECUTE)[-1].prepared_id == bytes([n]) * 16
        assert cluster.requests(Op.BATCH)[-1].children[0][0] == bytes([n]) * 16


@pytest.mark.parametrize("ids", ["same", "others"])
async def test_what_was_learnt_is_kept(make_bench, ids):
    """Another driver prepares it while one cluster is asked; the other one's id is known still."""
    bench = await with_rules(make_bench, fresh=True)
    if ids == "same":
        with_ids_of_their_text(bench)
    c = await bench.client()
    first = await c.prepare(WRITE)
    await reroute(bench, "all shop.* target")
    second = await (await bench.client()).prepare(WRITE)
    assert reached(bench, Op.PREPARE) == "target"
    await reroute(bench)
    for prepared in (first, second):
        assert (await c.execute(prepared, values=[b"k"])).kind == Kind.VOID
    prepares = sequence(bench.origin).count(Op.PREPARE)
    assert prepares == 0 if ids == "same" else prepares <= 1
    assert sequence(bench.target) == [Op.EXECUTE] * 2 and len(bench.origin.requests(Op.EXECUTE)) == 2


@pytest.mark.native
@pytest.mark.parametrize("qualified", [True, False])
async def test_copies_of_reads(make_bench, qualified):
    """The cluster of the copies lacks the statement: one copy is left out and counted, and behind it they go there."""
    text = READ if qualified else "SELECT * FROM orders WHERE k = ?"
    bench = await make_bench(fresh=True, sections={"routing": {"rule": ["read shop.* origin"],
                                                              "read_mode": "dual_async_on_secondary"}})
    c, mirror = await bench.mirrored_client()
    await c.use("shop")
    read = await c.prepare(text)
    await reroute(bench)

    def copies(opcode):
        return [r for r in bench.target.received if r.conn is mirror and r.opcode == opcode]
    dropped = 'zdm_cqlferry_async_dropped_total{reason="unprepared"}'
    assert (await c.execute(read, values=[b"k"])).rows[0][0] == "origin"
    await bench.target.until(lambda: copies(Op.PREPARE), "PREPARE for the copies")
    await bench.settle(c)

    async def is_copied():
        assert (await c.execute(read, values=[b"k"])).rows[0][0] == "origin"
        return copies(Op.EXECUTE)
    await bench.proxy.until(is_copied, "copy of a read")
    assert all(r.statement == text for r in copies(Op.EXECUTE)) and len(copies(Op.PREPARE)) == 1
    assert (await bench.proxy.metrics())[dropped] >= 1


async def test_rules_change_under_load(make_bench):
    """Clients of all versions prepare and execute, nodes forget, and the routing changes all the time: none notices."""
    bench = await with_rules(make_bench, fresh=True)
    sets = [["all shop.* target"], ["read shop.* target", "write shop.* origin"], [], ["all shop.* origin"],
            ["write shop.t1 target", "read shop.* both"]]
    clients = [await bench.client(*way) for way in WAYS * 2]
    ended = False
    done = 0

    async def work(c, n):
        nonlocal done
        while not ended:
            prepared = [await c.prepare(f"{verb} shop.t{n % 3} {rest}")
                        for verb, rest in (("SELECT * FROM", "WHERE k = ?"), ("INSERT INTO", "(k) VALUES (?)"))]
            for _ in range(10):
                streams = [c.send_execute(one, values=[b"k"]) for one in prepared for _ in range(2)]
                streams.append(c.send_batch([(prepared[1].prepared_id, [b"k"])] * 3))
                for stream in streams:
                    answer = await c.answer(stream)
                    assert answer.kind in (Kind.ROWS, Kind.VOID), answer
                    done += 1
    tasks = [asyncio.ensure_future(work(c, n)) for n, c in enumerate(clients)]
    for n in range(10):
        await bench.reload(routing={"rule": sets[n % len(sets)] or None})
        bench.clusters[n % 2].forget_prepared()
        before = done

        async def is_worked():
            return done > before + 200 or any(task.done() for task in tasks)
        await bench.proxy.until(is_worked, "work")
    ended = True
    await asyncio.gather(*tasks)
    assert await inflight(bench) == [0, 0, 0]


# ---- result columns ----

OTHER_COLUMNS = [Column("cluster"), Column("statement"), Column("added", Type.INT)]


@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("where", PRIMARIES)
async def test_skip_metadata_below_v5(make_bench, version, same, where):
    """
    Drivers decode rows by what PREPARED said. Once the columns of both clusters are known and equal, they may be left
    out; before, a driver's may be those of the other cluster.
    """
    bench = await with_rules(make_bench, f"read shop.* {where}", fresh=True)
    here, there = other_of(bench, where)
    if not same:
        bench.target.describe = lambda text, keyspace: ([Column("k")], [0], OTHER_COLUMNS)
    c = await bench.client(version)
    read = await c.prepare(READ)
    assert (await c.execute(read, values=[b"k"], skip_metadata=True)).kind == Kind.ROWS
    assert here.requests(Op.EXECUTE)[-1].params.skip_metadata == (where == "origin")
    await reroute(bench, f"read shop.* {there.name}")
    answer = await c.execute(read, values=[b"k"], skip_metadata=True)
    assert there.requests(Op.EXECUTE)[-1].params.skip_metadata == same
    if not same:
        expected = OTHER_COLUMNS if where == "origin" else RESULT_COLUMNS
        assert [column.name for column in answer.columns] == [column.name for column in expected]
    await reroute(bench, f"read shop.* {where}")
    answer = await c.execute(read, values=[b"k"], skip_metadata=True)
    assert here.requests(Op.EXECUTE)[-1].params.skip_metadata == (same or where == "origin")


@pytest.mark.parametrize("version", [3, 4])
async def test_drivers_with_columns_of_either_cluster(make_bench, version):
    """One of them was given origin's and the other one target's, with the same id: both get them with the rows."""
    bench = await with_rules(make_bench, fresh=True)
    with_ids_of_their_text(bench)
    bench.target.describe = lambda text, keyspace: ([Column("k")], [0], OTHER_COLUMNS)
    one, other = await bench.client(version), await bench.client(version)
    read = await one.prepare(READ)
    await reroute(bench, "read shop.* target")
    assert (await other.prepare(READ)).prepared_id == read.prepared_id
    for where in PRIMARIES:
        await reroute(bench, f"read shop.* {where}")
        for c in (one, other):
            answer = await c.execute(read, values=[b"k"], skip_metadata=True)
            assert answer.columns is not None and answer.rows[0][0] == where


async def test_metadata_ids_of_v5(make_bench):
    """The node that finds another one sends its columns, whoever the driver has its id from."""
    bench = await with_rules(make_bench, "read shop.* target", fresh=True)
    bench.target.describe = lambda text, keyspace: ([Column("k")], [0], OTHER_COLUMNS)
    c = await bench.client(5)
    read = await c.prepare(READ)
    assert read.result_metadata_id == responses.metadata_id(OTHER_COLUMNS, "shop", "orders")
    answer = await c.execute(read, values=[b"k"], skip_metadata=True)
    assert answer.columns is None and bench.target.requests(Op.EXECUTE)[0].params.skip_metadata
    await reroute(bench)
    answer = await c.execute(read, values=[b"k"], skip_metadata=True)
    assert answer.flags & RowsFlag.METADATA_CHANGED and answer.rows == [["origin", None, READ]]
    assert answer.new_metadata_id == responses.metadata_id(RESULT_COLUMNS, "shop", "orders")
