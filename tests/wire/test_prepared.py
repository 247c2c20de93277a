"""Prepared statements: two clusters with ids of their own, one id for the driver, and nodes that forget."""
import pytest

import behaviour
from behaviour import Hold, error, unprepared
from cqlwire import CL, Column, Err, Kind, Op, RowsFlag, Type, UNSET, requests, responses
from fakecluster import Cluster, RESULT_COLUMNS
from helpers import PRIMARIES, WAY_IDS, WAYS, assert_alive, assert_error, reached

READ = "SELECT * FROM ks.t WHERE k = ?"
WRITE = "INSERT INTO ks.t (k, v) VALUES (?, ?)"


def ids(bench, text, keyspace=None):
    return bench.origin.prepared_id(text, keyspace), bench.target.prepared_id(text, keyspace)


@pytest.mark.checklist(180, 181, 182, 184, 185)
@pytest.mark.parametrize("primary", PRIMARIES)
@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_each_cluster_gets_its_own_id(make_bench, primary, version, compression):
    bench = await make_bench(primary=primary)
    c = await bench.client(version, compression)
    read, write = await c.prepare(READ), await c.prepare(WRITE)
    assert read.prepared_id == ids(bench, READ)[0]  # origin's, whatever the primary
    assert write.prepared_id == ids(bench, WRITE)[0]
    assert [column.name for column in write.bind] == ["p0", "p1"]
    if version == 5:
        assert read.result_metadata_id == responses.metadata_id(RESULT_COLUMNS, "ks", "t")
    assert (await c.execute(read, values=[b"1"])).rows[0][:1] == [primary]
    assert (await c.execute(write, values=[b"1", b"2"])).kind == Kind.VOID
    await bench.settle(c)
    for cluster, read_id, write_id in zip(bench.clusters, ids(bench, READ), ids(bench, WRITE)):
        executed = {r.prepared_id: r for r in cluster.requests(Op.EXECUTE)}
        assert set(executed) == ({read_id, write_id} if cluster is bench.primary else {write_id})
        assert executed[write_id].params.values == [b"1", b"2"]


@pytest.mark.checklist(183)
@pytest.mark.parametrize("primary", PRIMARIES)
@pytest.mark.parametrize("failing", [("origin",), ("target",), ("origin", "target")])
async def test_a_prepare_that_fails(make_bench, primary, failing):
    bench = await make_bench(primary=primary)
    text = f"SELECT {'_'.join(failing)}_{primary} FROM ks.t"
    for name in failing:
        getattr(bench, name).on(Op.PREPARE, error(Err.INVALID, f"{name} has no such table"), times=1)
    c = await bench.client()
    expected = primary if len(failing) == 2 else failing[0]
    assert_error(await c.prepare(text), Err.INVALID, f"{expected} has no such table")
    answer = await c.execute(ids(bench, text)[0])
    assert answer.code == Err.UNPREPARED and answer.fields["id"] == ids(bench, text)[0]
    assert not bench.origin.requests(Op.EXECUTE) and not bench.target.requests(Op.EXECUTE)


@pytest.mark.checklist(186)
@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("primary", PRIMARIES)
async def test_everything_in_an_execute_survives(make_bench, version, primary):
    bench = await make_bench(primary=primary)
    c = await bench.client(version)
    prepared = await c.prepare("INSERT INTO ks.t (k, v, w) VALUES (:a, :b, :c)")
    params = dict(consistency=CL.EACH_QUORUM, values=[b"key", None, UNSET if version > 3 else b""],
                  names=["a", "b", "c"],
                  page_size=77, serial_consistency=CL.LOCAL_SERIAL, timestamp=1700000000000001)
    if version == 5:
        params.update(keyspace="ks", now_in_seconds=1234)
    assert (await c.execute(prepared, **params)).kind == Kind.VOID
    for cluster in bench.clusters:
        got = cluster.requests(Op.EXECUTE)[0]
        assert got.params == requests.Params(**params)
        if version == 5:
            assert got.request.result_metadata_id == prepared.result_metadata_id


@pytest.mark.checklist(187)
@pytest.mark.parametrize("version,compression", [(4, None), (4, "lz4"), (5, None), (5, "lz4")])
async def test_custom_payloads_survive(bench, version, compression):
    c = await bench.client(version, compression)
    payload = {"a": b"1", "b": b"", "c": None}
    prepared = await c.prepare(WRITE, payload=payload)
    await c.answer(c.send_execute(prepared, values=[b"1", b"2"], payload=payload))
    await c.answer(c.send_batch([(prepared.prepared_id, [b"1", b"2"])], payload=payload))
    for cluster in bench.clusters:
        assert [r.payload for r in cluster.requests(Op.PREPARE, Op.EXECUTE, Op.BATCH)] == [payload] * 3


@pytest.mark.checklist(188, 265)
@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
@pytest.mark.parametrize("unknown", [b"\x01\x02" * 8, b"x", b"y" * 300])
async def test_ids_that_nobody_knows(bench, version, compression, unknown):
    c = await bench.client(version, compression)
    misses = (await bench.proxy.metrics())["zdm_pscache_miss_total"]
    answer = await c.execute(unknown)
    assert_error(answer, Err.UNPREPARED)
    assert answer.text.startswith(f"Prepared query with ID {unknown.hex()[:100]}") and "not found" in answer.text
    assert answer.fields["id"] == unknown
    await bench.settle(c)
    assert reached(bench, Op.EXECUTE) == "none"
    assert (await bench.proxy.metrics())["zdm_pscache_miss_total"] == misses + 1


@pytest.mark.checklist(189)
@pytest.mark.parametrize("version", [3, 4, 5])
async def test_a_batch_with_unknown_ids(bench, version):
    c = await bench.client(version)
    known = await c.prepare(WRITE)
    answer = await c.batch([(known.prepared_id, [b"1", b"2"]), (b"first" + b"_" * 11, []), (b"second" + b"_" * 10, [])])
    assert_error(answer, Err.UNPREPARED)
    assert answer.fields["id"] == b"first" + b"_" * 11
    await bench.settle(c)
    assert reached(bench, Op.BATCH) == "none"


@pytest.mark.checklist(190)
@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_a_batch_of_texts_and_ids(bench, version, compression):
    c = await bench.client(version, compression)
    texts = [f"INSERT INTO ks.t{i} (k, v) VALUES (?, ?)" for i in range(5)]
    prepared = [await c.prepare(text) for text in texts]
    text = "UPDATE ks.t SET v = ? WHERE k = 1"
    children = [(p.prepared_id, [b"k", b"v" * 50]) for p in prepared]
    children.insert(2, (text, [b"x"]))
    params = dict(consistency=CL.QUORUM, serial_consistency=CL.SERIAL, timestamp=99)
    if version == 5:
        params.update(keyspace="ks", now_in_seconds=5)
    assert (await c.batch(children, kind=1, **params)).kind == Kind.VOID
    for n, cluster in enumerate(bench.clusters):
        got = cluster.requests(Op.BATCH)[0]
        expected = [(ids(bench, t)[n], [b"k", b"v" * 50]) for t in texts]
        expected.insert(2, (text, [b"x"]))
        assert got.children == expected and got.request.kind == 1
        assert got.params == requests.Params(**params)


@pytest.mark.parametrize("size", [10, 20000])
@pytest.mark.parametrize("length", [11, 16, 40])
async def test_a_batch_with_ids_of_another_length(make_bench, length, size):
    """Each cluster has a consistency level of its own, too, which stands behind the children."""
    def configure(bench):
        bench.target.prepared_id = lambda text, keyspace: (Cluster.prepared_id(bench.target, text, keyspace) * 3)[:length]

    bench = await make_bench(fresh=True, configure=configure, sections={"target": {"write_consistency": "ONE:ALL"}})
    c = await bench.client()
    one, other = await c.prepare(WRITE), await c.prepare(WRITE + " USING TTL 1")
    children = [(p.prepared_id, [b"k%d" % n, b"v" * size]) for n, p in enumerate([one, one, other, one])]
    children.insert(1, (WRITE, [b"x", b"y"]))
    assert (await c.batch(children, consistency=CL.ONE)).kind == Kind.VOID
    for n, (cluster, level) in enumerate(zip(bench.clusters, (CL.ONE, CL.ALL))):
        own = {p.prepared_id: ids(bench, text)[n] for p, text in ((one, WRITE), (other, WRITE + " USING TTL 1"))}
        got = cluster.requests(Op.BATCH)[0]
        assert got.children == [(own.get(statement, statement), values) for statement, values in children]
        assert got.params.consistency == level
    assert len(ids(bench, WRITE)[1]) == length


@pytest.mark.checklist(198)
@pytest.mark.parametrize("versions", [(4, 4), (4, 5), (5, 4), (3, 5)])
async def test_a_statement_prepared_on_another_connection(bench, versions):
    one = await bench.client(versions[0], keyspace="ks")
    text = "INSERT INTO t (k, v) VALUES (?, ?)"
    prepared = await one.prepare(text)
    await one.close()
    other = await bench.client(versions[1])
    assert (await other.execute(prepared.prepared_id, values=[b"1", b"2"])).kind == Kind.VOID
    for cluster, prepared_id in zip(bench.clusters, ids(bench, text, "ks")):
        assert cluster.requests(Op.EXECUTE)[0].prepared_id == prepared_id


@pytest.mark.parametrize("primary", PRIMARIES)
async def test_either_clusters_id_is_accepted(make_bench, primary):
    bench = await make_bench(primary=primary)
    c = await bench.client()
    await c.prepare(WRITE)
    for prepared_id in ids(bench, WRITE):
        assert (await c.execute(prepared_id, values=[b"1", b"2"])).kind == Kind.VOID
        assert (await c.batch([(prepared_id, [b"1", b"2"])])).kind == Kind.VOID
    for cluster, own in zip(bench.clusters, ids(bench, WRITE)):
        assert [r.prepared_id for r in cluster.requests(Op.EXECUTE)] == [own, own]
        assert [r.children[0][0] for r in cluster.requests(Op.BATCH)] == [own, own]


# ---- nodes that forget ----

def sequence(cluster):
    return [r.opcode for r in cluster.requests(Op.PREPARE, Op.EXECUTE, Op.BATCH)]


@pytest.mark.checklist(191, 192, 193, 195, 196)
@pytest.mark.parametrize("primary", PRIMARIES)
@pytest.mark.parametrize("forgetting", [("origin",), ("target",), ("origin", "target")])
@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_a_lost_statement_is_repaired(make_bench, primary, forgetting, version, compression):
    """The driver notices nothing, and the cluster that knew it executes once."""
    bench = await make_bench(primary=primary)
    c = await bench.client(version, compression)
    prepared = await c.prepare(WRITE)
    for name in forgetting:
        getattr(bench, name).forget_prepared()
    assert (await c.execute(prepared, values=[b"1", b"2"])).kind == Kind.VOID
    for cluster in bench.clusters:
        lost = cluster.name in forgetting
        assert sequence(cluster) == [Op.PREPARE, Op.EXECUTE] + ([Op.PREPARE, Op.EXECUTE] if lost else [])
        assert {r.statement for r in cluster.requests(Op.PREPARE)} == {WRITE}
        assert cluster.requests(Op.EXECUTE)[-1].params.values == [b"1", b"2"]
    assert (await c.execute(prepared, values=[b"3", b"4"])).kind == Kind.VOID
    for cluster in bench.clusters:
        assert sequence(cluster)[-1] == Op.EXECUTE and len(cluster.requests(Op.PREPARE)) <= 2


@pytest.mark.parametrize("primary", PRIMARIES)
@pytest.mark.parametrize("where", ["origin", "target"])
@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_a_node_that_gives_another_id(make_bench, primary, where, version, compression):
    """Ids depend on the release (CASSANDRA-15252): after an upgrade the driver's own is still good."""
    bench = await make_bench(primary=primary)
    c = await bench.client(version, compression)
    prepared = await c.prepare(WRITE)
    cluster = getattr(bench, where)
    for new in (b"n" * 16, b"m" * 16):
        cluster.prepared_id = lambda text, keyspace, new=new: new
        cluster.forget_prepared()
        for _ in range(2):
            assert (await c.execute(prepared, values=[b"1", b"2"])).kind == Kind.VOID
            assert (await c.batch([(prepared.prepared_id, [b"1", b"2"])])).kind == Kind.VOID
        assert cluster.requests(Op.EXECUTE)[-1].prepared_id == new
        assert cluster.requests(Op.BATCH)[-1].children[0][0] == new
    assert sequence(cluster).count(Op.PREPARE) == 3
    other = bench.target if where == "origin" else bench.origin
    assert sequence(other).count(Op.EXECUTE) == 4 and sequence(other).count(Op.PREPARE) == 1


@pytest.mark.parametrize("before,after,text", [
    ("one", "system", "SELECT * FROM local WHERE k = ?"),  # a table of the user's, not ours
    ("one", "two", "INSERT INTO t (k, v) VALUES (?, ?)"),
], ids=["system", "write"])
@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_a_use_overtakes_a_prepare(bench, version, compression, before, after, text):
    """A statement means what it meant when it was prepared."""
    c = await bench.client(version, compression, keyspace=before)
    hold = Hold()
    bench.target.on(Op.PREPARE, hold)
    stream = c.send_prepare(text)
    await hold.arrived()
    await c.use(after)
    hold.release()
    prepared = await c.answer(stream)
    assert prepared.kind == Kind.PREPARED
    values = [b"1"] * len(prepared.bind)
    assert (await c.execute(prepared, values=values)).kind in (Kind.ROWS, Kind.VOID)
    assert len(bench.primary.requests(Op.EXECUTE)) == 1
    bench.primary.forget_prepared()
    assert (await c.execute(prepared, values=values)).kind in (Kind.ROWS, Kind.VOID)
    assert {r.prepared_id for r in bench.primary.requests(Op.EXECUTE)} == {bench.primary.prepared_id(text, before)}


@pytest.mark.checklist(197)
@pytest.mark.parametrize("primary", PRIMARIES)
async def test_a_read_concerns_one_cluster_only(make_bench, primary):
    bench = await make_bench(primary=primary)
    c = await bench.client()
    prepared = await c.prepare(READ)
    bench.secondary.forget_prepared()
    assert (await c.execute(prepared, values=[b"1"])).rows[0][0] == primary
    assert sequence(bench.primary) == [Op.PREPARE, Op.EXECUTE]
    bench.primary.forget_prepared()
    assert (await c.execute(prepared, values=[b"1"])).rows[0][0] == primary
    await bench.settle(c)
    assert sequence(bench.primary) == [Op.PREPARE, Op.EXECUTE, Op.EXECUTE, Op.PREPARE, Op.EXECUTE]
    assert sequence(bench.secondary) == [Op.PREPARE]


@pytest.mark.checklist(194)
@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
@pytest.mark.parametrize("forgetting", PRIMARIES)
async def test_a_batch_is_repaired_child_by_child(bench, version, compression, forgetting):
    """Nodes name one unknown id at a time."""
    c = await bench.client(version, compression)
    texts = [f"INSERT INTO ks.b{i} (k) VALUES (?)" for i in range(3)]
    children = [((await c.prepare(text)).prepared_id, [b"v"]) for text in texts]
    cluster = getattr(bench, forgetting)
    other = bench.target if cluster is bench.origin else bench.origin
    cluster.forget_prepared()
    assert (await c.batch(children)).kind == Kind.VOID
    assert sequence(other) == [Op.PREPARE] * 3 + [Op.BATCH]
    assert sequence(cluster)[-1] == Op.BATCH
    assert [r.statement for r in cluster.requests(Op.PREPARE)][3:] == texts


@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("forgetting", PRIMARIES)
async def test_the_repair_happens_in_the_keyspace_of_the_prepare(bench, version, forgetting):
    """The driver has moved on to another keyspace, and stays there."""
    c = await bench.client(version, keyspace="one")
    text = "INSERT INTO t (k) VALUES (?)"
    prepared = await c.prepare(text)
    assert prepared.prepared_id == ids(bench, text, "one")[0]
    await c.use("two")
    cluster = getattr(bench, forgetting)
    cluster.forget_prepared()
    assert (await c.execute(prepared, values=[b"1"])).kind == Kind.VOID
    got = cluster.requests(Op.EXECUTE)[-1]
    assert got.prepared_id == cluster.prepared_id(text, "one")
    assert got.node.prepared[got.prepared_id] == (text, "one")
    assert cluster.prepared_id(text, "two") not in got.node.prepared
    await c.query("INSERT INTO t (k) VALUES (2)")
    for each in bench.clusters:
        assert each.requests(Op.QUERY)[-1].keyspace == "two"


async def test_the_repair_of_a_statement_with_a_v5_keyspace(bench):
    c = await bench.client(5, keyspace="one")
    text = "INSERT INTO t (k) VALUES (?)"
    prepared = await c.prepare(text, keyspace="three")
    assert prepared.prepared_id == ids(bench, text, "three")[0]
    bench.target.forget_prepared()
    assert (await c.execute(prepared, values=[b"1"])).kind == Kind.VOID
    assert bench.target.requests(Op.EXECUTE)[-1].prepared_id == ids(bench, text, "three")[1]


@pytest.mark.parametrize("clients", [1, 5])
async def test_one_prepare_in_flight_per_statement(bench, clients):
    everyone = [await bench.client() for _ in range(clients)]
    prepared = await everyone[0].prepare(WRITE)
    bench.target.forget_prepared()
    hold = Hold()
    bench.target.on(Op.PREPARE, hold)
    streams = [(c, c.send_execute(prepared, values=[b"1", b"2"])) for c in everyone for _ in range(20 // clients)]
    await hold.arrived()
    for c in everyone:
        await bench.settle(c)  # every UNPREPARED has been handled
    hold.release()
    for c, stream in streams:
        assert (await c.answer(stream)).kind == Kind.VOID
    assert len(hold.waiting) == 1
    assert len(bench.origin.requests(Op.EXECUTE)) == len(streams)
    # Those that came once the loss was known waited for the PREPARE instead of asking the node in vain.
    assert len(streams) < len(bench.target.requests(Op.EXECUTE)) <= 2 * len(streams)


@pytest.mark.parametrize("primary", PRIMARIES)
async def test_a_node_that_never_learns_a_read(make_bench, primary):
    """UNPREPARED again and again: the driver gets it, with the id that it knows, after a bounded number of attempts."""
    bench = await make_bench(primary=primary)
    c = await bench.client()
    prepared = await c.prepare(READ)
    bench.primary.on(Op.EXECUTE, unprepared())
    answer = await c.execute(prepared, values=[b"1"])
    assert_error(answer, Err.UNPREPARED)
    assert answer.fields["id"] == prepared.prepared_id
    assert prepared.prepared_id.hex() in answer.text
    assert len(bench.primary.requests(Op.EXECUTE)) <= 5
    await assert_alive(c, bench)


@pytest.mark.checklist(196)
@pytest.mark.parametrize("where", PRIMARIES)
async def test_a_node_that_never_learns_a_write(bench, where):
    """The other cluster has executed it: UNPREPARED would make the driver execute it there once more."""
    cluster = getattr(bench, where)
    other = bench.target if cluster is bench.origin else bench.origin
    c = await bench.client()
    prepared = await c.prepare(WRITE)
    cluster.on(Op.EXECUTE, unprepared())
    assert_error(await c.execute(prepared, values=[b"1", b"2"]), Err.WRITE_TIMEOUT, where)
    assert len(cluster.requests(Op.EXECUTE)) <= 5 and len(other.requests(Op.EXECUTE)) == 1
    await assert_alive(c, bench)


async def test_a_write_that_no_node_learns(bench):
    c = await bench.client()
    prepared = await c.prepare(WRITE)
    for cluster in bench.clusters:
        cluster.on(Op.EXECUTE, unprepared())
    answer = await c.execute(prepared, values=[b"1", b"2"])
    assert_error(answer, Err.UNPREPARED)
    assert answer.fields["id"] == prepared.prepared_id


@pytest.mark.parametrize("where", PRIMARIES)
@pytest.mark.parametrize("behave", [error(Err.INVALID, "table dropped"), error(Err.UNAUTHORIZED, "no permission")])
async def test_a_repair_that_is_refused(bench, where, behave):
    """The driver gets an error that tells why; it can prepare again itself and will see the same."""
    cluster = getattr(bench, where)
    c = await bench.client()
    prepared = await c.prepare(WRITE)
    cluster.forget_prepared()
    cluster.on(Op.PREPARE, behave, times=1)
    answer = await c.execute(prepared, values=[b"1", b"2"])
    assert answer.is_error(), answer
    if answer.code == Err.UNPREPARED:
        assert answer.fields["id"] == prepared.prepared_id
    await assert_alive(c, bench)
    assert (await c.execute(prepared, values=[b"1", b"2"])).kind == Kind.VOID


@pytest.mark.parametrize("ways", [[(3, None), (4, None), (5, None)], [(4, "lz4"), (4, "snappy"), (4, None)],
                                  [(5, "lz4"), (3, "snappy"), (4, "lz4"), (5, None)]])
@pytest.mark.parametrize("turned", [False, True])
async def test_a_repair_that_is_refused_for_many(bench, ways, turned):
    """One PREPARE for all who wait: each gets the error in its own version and compression, once."""
    clients = [await bench.client(*way) for way in (reversed(ways) if turned else ways)]
    prepared = await clients[0].prepare(READ)
    hold = Hold(error(Err.UNAUTHORIZED, "no permission " * 20))
    bench.origin.forget_prepared()
    bench.origin.on(Op.PREPARE, hold)
    streams = [c.send_execute(prepared.prepared_id, values=[b"1"]) for c in clients]
    await hold.arrived()
    for c in clients:
        await bench.settle(c)  # every UNPREPARED has been handled
    hold.release()
    for c, stream in zip(clients, streams):
        answer = await c.answer(stream)
        assert_error(answer, Err.UNAUTHORIZED, "no permission")
        assert answer.version == c.version
        await assert_alive(c, bench)
    assert len(hold.waiting) <= 2  # the other worker makes an attempt of its own when the first one has failed


@pytest.mark.parametrize("where", PRIMARIES)
async def test_a_repair_that_is_not_answered(make_bench, where):
    bench = await make_bench(sections={"proxy": {"request_timeout": "1s"}})
    cluster = getattr(bench, where)
    c = await bench.client()
    prepared = await c.prepare(WRITE)
    cluster.forget_prepared()
    cluster.on(Op.PREPARE, behaviour.mute(), times=1)
    assert_error(await c.execute(prepared, values=[b"1", b"2"]), Err.WRITE_TIMEOUT, cluster.name)
    await assert_alive(c, bench)


async def test_unprepared_for_an_id_that_was_not_asked(bench):
    c = await bench.client()
    prepared = await c.prepare(READ)
    bench.origin.on(Op.EXECUTE, unprepared(b"z" * 16))
    assert_error(await c.execute(prepared, values=[b"1"]), Err.UNPREPARED)
    await assert_alive(c, bench)


@pytest.mark.checklist(195)
async def test_the_driver_prepares_again(bench):
    """After a restart of the proxy it knows no ids; drivers prepare again on UNPREPARED."""
    c = await bench.client()
    text = "INSERT INTO ks.again (k) VALUES (?)"
    unknown = ids(bench, text)[0]
    assert_error(await c.execute(unknown, values=[b"1"]), Err.UNPREPARED)
    assert (await c.prepare(text)).prepared_id == unknown
    assert (await c.execute(unknown, values=[b"1"])).kind == Kind.VOID


# ---- result metadata ----

@pytest.mark.parametrize("primary", PRIMARIES)
@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize("same", [True, False])
async def test_skip_metadata_below_v5(make_bench, primary, version, same):
    """
    A driver that skips metadata decodes rows by what PREPARED said, and that was origin's: target must send its own
    unless both are equal.
    """
    bench = await make_bench(fresh=not same, primary=primary)
    if not same:
        columns = [Column("cluster"), Column("statement"), Column("added", Type.INT)]
        bench.target.describe = lambda text, keyspace: ([Column("k")], [0], columns)
    c = await bench.client(version)
    prepared = await c.prepare(READ)
    answer = await c.execute(prepared, values=[b"1"], skip_metadata=True)
    got = bench.primary.requests(Op.EXECUTE)[0]
    if primary == "origin" or same:
        assert got.params.skip_metadata and answer.columns is None
    else:
        assert not got.params.skip_metadata
        assert [column.name for column in answer.columns] == ["cluster", "statement", "added"]
        assert answer.rows == [["target", READ, None]]


@pytest.mark.checklist(200)
@pytest.mark.parametrize("primary", PRIMARIES)
async def test_result_metadata_ids_are_never_translated(make_bench, primary):
    """A differing layout makes the node send its metadata with the id that goes with it."""
    bench = await make_bench(fresh=True, primary=primary)
    columns = [Column("cluster"), Column("added", Type.INT)]
    bench.target.describe = lambda text, keyspace: ([Column("k")], [0], columns)
    c = await bench.client(5)
    prepared = await c.prepare(READ)
    assert prepared.result_metadata_id == responses.metadata_id(RESULT_COLUMNS, "ks", "t")
    answer = await c.execute(prepared, values=[b"1"], skip_metadata=True)
    assert bench.primary.requests(Op.EXECUTE)[0].request.result_metadata_id == prepared.result_metadata_id
    if primary == "origin":
        assert answer.columns is None
        return
    assert answer.flags & RowsFlag.METADATA_CHANGED
    assert answer.new_metadata_id == responses.metadata_id(columns, "ks", "t")
    assert answer.rows == [["target", None]]
    answer = await c.execute(prepared, values=[b"1"], skip_metadata=True, result_metadata_id=answer.new_metadata_id)
    assert answer.columns is None and answer.column_count == 2


async def test_differing_bind_types_are_told(make_bench):
    bench = await make_bench(fresh=True)
    bench.target.describe = lambda text, keyspace: ([Column("k", Type.INT)], [0], [])
    bench.origin.describe = lambda text, keyspace: ([Column("k", Type.BIGINT)], [0], [])
    c = await bench.client()
    for _ in range(3):
        prepared = await c.prepare("INSERT INTO ks.typed (k) VALUES (?)")
    assert prepared.bind[0].type == Type.BIGINT
    await bench.proxy.until_logged(r"INSERT INTO ks\.typed|ks\.typed|bind")


# ---- the cache ----

@pytest.mark.checklist(199)
async def test_all_prepared_statements_are_counted(make_bench):
    """Those of the clusters and those of the system tables."""
    bench = await make_bench(fresh=True)
    c = await bench.client()
    for n, text in enumerate((READ, WRITE, "SELECT * FROM system.local", "SELECT peer FROM system.peers"), 1):
        assert (await c.prepare(text)).kind == Kind.PREPARED
        assert (await bench.proxy.metrics())["zdm_pscache_entries_total"] == n


async def test_the_cache_is_bounded(make_bench):
    bench = await make_bench(fresh=True, sections={"proxy": {"prepared_cache_entries": 100}})
    c = await bench.client()
    texts = [f"INSERT INTO ks.t{i} (k) VALUES (?)" for i in range(250)]
    prepared = [await c.prepare(text) for text in texts]
    assert (await bench.proxy.metrics())["zdm_pscache_entries_total"] <= 100
    assert (await c.execute(prepared[-1], values=[b"1"])).kind == Kind.VOID
    assert_error(await c.execute(prepared[0], values=[b"1"]), Err.UNPREPARED)
    again = await c.prepare(texts[0])
    assert (await c.execute(again, values=[b"1"])).kind == Kind.VOID


async def test_what_is_used_stays_in_the_cache(make_bench):
    bench = await make_bench(fresh=True, sections={"proxy": {"prepared_cache_entries": 100}})
    c = await bench.client()
    keep = await c.prepare("INSERT INTO ks.keep (k) VALUES (?)")
    for i in range(400):
        await c.prepare(f"INSERT INTO ks.t{i} (k) VALUES (?)")
        if i % 10 == 0:
            assert (await c.execute(keep, values=[b"1"])).kind == Kind.VOID
    assert (await c.execute(keep, values=[b"1"])).kind == Kind.VOID


async def test_the_memory_of_the_cache_is_bounded(make_bench):
    bench = await make_bench(fresh=True, sections={"proxy": {"prepared_cache_memory": "1MiB"}})
    c = await bench.client()
    for i in range(40):
        assert (await c.prepare(f"INSERT INTO ks.t{i} (k) VALUES ('{'x' * 100_000}')")).kind == Kind.PREPARED
    assert (await bench.proxy.metrics())["zdm_pscache_entries_total"] <= 11


async def test_preparing_the_same_again_and_again(bench):
    c = await bench.client()
    before = (await bench.proxy.metrics())["zdm_pscache_entries_total"]
    for _ in range(50):
        prepared = await c.prepare("INSERT INTO ks.same (k) VALUES (?)")
        assert (await c.execute(prepared, values=[b"1"])).kind == Kind.VOID
    assert (await bench.proxy.metrics())["zdm_pscache_entries_total"] == before + 1


async def test_many_connections_prepare_and_execute_at_once(bench):
    clients = [await bench.client(*WAYS[i % len(WAYS)]) for i in range(16)]
    texts = [f"INSERT INTO ks.many{i} (k) VALUES (?) IF NOT EXISTS" for i in range(20)]
    streams = [[c.send_prepare(text) for text in texts] for c in clients]
    prepared = [[await c.answer(s) for s in mine] for c, mine in zip(clients, streams)]
    bench.target.forget_prepared()
    streams = [[c.send_execute(p, values=[b"1"]) for p in mine] for c, mine in zip(clients, prepared)]
    for c, mine in zip(clients, streams):
        for stream in mine:
            assert (await c.answer(stream)).rows == [[True, "origin"]]
    assert len(bench.origin.requests(Op.EXECUTE)) == 16 * 20
