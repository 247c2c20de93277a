"""Where the clusters have parted: conditional writes decided differently, writes that only one cluster has taken."""
import re

import pytest

import behaviour
from cqlwire import Column, Err, Kind, Op, Type, responses
from fakecluster import Answer
from helpers import PRIMARIES, WAY_IDS, WAYS, assert_alive

APPLIED = Column("[applied]", Type.BOOLEAN)
CONDITIONAL = "zdm_cqlferry_conditional_divergences_total"
PARTIAL = "zdm_cqlferry_partial_writes_total"


def decided(applied, *more):
    """The answer of a node to a conditional write; `more`: columns with values of the row that is there."""
    async def behave(conn, got):
        params = got.request.params
        columns, values = [APPLIED] + [c for c, _ in more], [[applied] + [v for _, v in more]]
        skip = bool(got.opcode == Op.EXECUTE and params.skip_metadata)
        body = responses.rows(columns, values, "ks", "t", no_metadata=skip)
        conn.reply(got, Answer(Op.RESULT, body))
    return behave


def is_lwt(got):
    """Not its PREPARE."""
    return got.opcode == Op.BATCH or (got.opcode in (Op.QUERY, Op.EXECUTE) and "IF " in got.statement)


async def counted(bench, before):
    """{series: how much more} of the two families."""
    after = await bench.proxy.metrics()
    return {re.sub(r"^zdm_cqlferry_", "", name): value - before.get(name, 0) for name, value in after.items()
            if name.startswith((CONDITIONAL, PARTIAL)) and value != before.get(name, 0)}


def conditional(keyspace, table):
    return f'conditional_divergences_total{{keyspace="{keyspace}",table="{table}"}}'


def partial(keyspace, table, missing, certain):
    return f'partial_writes_total{{keyspace="{keyspace}",table="{table}",missing="{missing}",certain="{certain}"}}'


LWTS = ["INSERT INTO ks.t (id) VALUES (1) IF NOT EXISTS", "UPDATE ks.t SET v = 'secret' WHERE id = 1 IF v = 'old'",
        "DELETE FROM ks.t WHERE id = 1 IF EXISTS",
        "BEGIN BATCH INSERT INTO ks.t (id) VALUES (1) IF NOT EXISTS APPLY BATCH"]


@pytest.mark.checklist(83, 132)
@pytest.mark.parametrize("primary", PRIMARIES)
@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_decisions_that_differ(make_bench, primary, version, compression):
    bench = await make_bench(primary=primary)
    c = await bench.client(version, compression)
    bench.origin.on(is_lwt, decided(True))
    bench.target.on(is_lwt, decided(False, (Column("v"), "x" * 200)))
    before = await bench.proxy.metrics()
    mine = primary == "origin"
    for text in LWTS:
        assert bool((await c.query(text)).rows[0][0]) is mine
        assert (await c.execute(await c.prepare(text))).rows[0][0] is mine
        answer = await c.execute(await c.prepare(text), skip_metadata=True)
        assert answer.rows[0][0] in (mine, bytes([mine]))
    prepared = await c.prepare(LWTS[0])
    assert (await c.batch([(LWTS[1], []), (prepared.prepared_id, [])])).rows[0][0] is mine
    assert await counted(bench, before) == {conditional("ks", "t"): 3 * len(LWTS) + 1}
    log = bench.proxy.log
    assert "was applied on origin at" in log and "but not on target at" in log
    assert "secret" not in "".join(line for line in log.splitlines() if " WARN " in line)


@pytest.mark.checklist(83)
@pytest.mark.parametrize("applied", [True, False])
async def test_decisions_that_agree(bench, applied):
    c = await bench.client()
    for cluster in bench.clusters:
        cluster.on(is_lwt, decided(applied, (Column("v"), cluster.name)))
    before = await bench.proxy.metrics()
    for text in LWTS:
        assert (await c.query(text)).rows == [[applied, "origin"]]
    assert await counted(bench, before) == {}


@pytest.mark.parametrize("columns,values", [
    ([], []), ([Column("applied", Type.BOOLEAN)], [[False]]), ([Column("[applied]")], [["no"]]), ([APPLIED], []),
    ([APPLIED], [[None]])])
async def test_answers_without_a_decision(bench, columns, values):
    """A node that says something else is passed on, and nothing is counted."""
    c = await bench.client()
    bench.target.on(is_lwt, behaviour.rows(columns, values, keyspace="ks", table="t"))
    before = await bench.proxy.metrics()
    assert (await c.query(LWTS[0])).kind == Kind.ROWS
    assert await counted(bench, before) == {}


async def test_a_damaged_answer(bench):
    c = await bench.client()
    bench.target.on(is_lwt, behaviour.answer(Op.RESULT, b"\0\0\0\2\0\0\0\1\0\0\0\5\0\2ks"))
    before = await bench.proxy.metrics()
    assert (await c.query(LWTS[0])).rows[0][0] is True
    assert await counted(bench, before) == {}
    await assert_alive(c, bench)


WRITES = [("INSERT INTO ks.t (id) VALUES (1)", "ks", "t"), ("UPDATE \"Ks\".\"T\" SET v = 1 WHERE id = 1", "Ks", "T"),
          ("DELETE FROM t2 WHERE id = 1", "own", "t2"), ("TRUNCATE ks.t", "ks", "t"),
          ("BEGIN UNLOGGED BATCH UPDATE ks.t SET v = 1 WHERE id = 1; APPLY BATCH", "ks", "t"),
          ("CREATE TABLE ks.t (id int PRIMARY KEY)", "", "")]


@pytest.mark.parametrize("missing", ["origin", "target"])
@pytest.mark.parametrize("code,certain", [(Err.INVALID, "yes"), (Err.UNAVAILABLE, "yes"), (Err.OVERLOADED, "yes"),
                                          (Err.WRITE_TIMEOUT, "no"), (Err.SERVER_ERROR, "no"),
                                          (Err.WRITE_FAILURE, "no")])
async def test_an_error_on_one_cluster(bench, missing, code, certain):
    c = await bench.client(keyspace="own")
    # But not to the USE with which a shared connection is opened: then nothing would be sent.
    getattr(bench, missing).on(lambda r: r.opcode == Op.QUERY and not r.statement.startswith("USE"),
                               behaviour.error(code))
    for text, keyspace, table in WRITES:
        before = await bench.proxy.metrics()
        assert (await c.query(text)).is_error()
        assert await counted(bench, before) == {partial(keyspace, table, missing, certain): 1}


async def test_prepared_and_batched(bench):
    c = await bench.client()
    one = await c.prepare("INSERT INTO ks.one (id) VALUES (1)")
    two = await c.prepare("INSERT INTO ks.two (id) VALUES (1)")
    bench.target.on(Op.EXECUTE, behaviour.error(Err.WRITE_TIMEOUT))
    bench.target.on(Op.BATCH, behaviour.error(Err.INVALID))
    before = await bench.proxy.metrics()
    assert (await c.execute(one)).is_error()
    assert await counted(bench, before) == {partial("ks", "one", "target", "no"): 1}
    before = await bench.proxy.metrics()
    children = [(one.prepared_id, []), (two.prepared_id, []), ("DELETE FROM ks.three WHERE id = 1", []),
                (one.prepared_id, [])]
    assert (await c.batch(children)).is_error()
    assert await counted(bench, before) == {partial("ks", name, "target", "yes"): 1 for name in ("one", "two", "three")}


@pytest.mark.parametrize("how", [behaviour.mute(), behaviour.close(), behaviour.reset()], ids=["mute", "close", "reset"])
async def test_no_answer_from_one_cluster(make_bench, how):
    bench = await make_bench(sections={"proxy": {"request_timeout": "1500ms"}})
    c = await bench.client()
    hold = behaviour.Hold(how)
    bench.target.on("INSERT", hold)
    before = await bench.proxy.metrics()
    stream = c.send_query("INSERT INTO ks.t (id) VALUES (1)")
    await hold.arrived()
    await bench.origin.until_received(1, Op.QUERY)
    hold.release()
    answer = await c.answer(stream)
    assert answer.is_error() and answer.code == Err.WRITE_TIMEOUT

    async def seen():
        return await counted(bench, before) == {partial("ks", "t", "target", "no"): 1}
    await bench.proxy.until(seen, "partial write")


async def test_what_is_no_partial_write(bench):
    c = await bench.client()
    before = await bench.proxy.metrics()
    for cluster in bench.clusters:
        cluster.on("INSERT", behaviour.error(Err.WRITE_TIMEOUT))
    bench.origin.on("SELECT", behaviour.error(Err.READ_TIMEOUT))
    bench.target.on(Op.PREPARE, behaviour.error(Err.INVALID))
    assert (await c.query("INSERT INTO ks.t (id) VALUES (1)")).is_error()
    assert (await c.query("SELECT * FROM ks.t")).is_error()
    assert (await c.prepare("UPDATE ks.t SET v = 1 WHERE id = 1")).is_error()
    assert (await c.query("UPDATE ks.t SET v = 1 WHERE id = 1")).kind == Kind.VOID
    assert await counted(bench, before) == {}


async def test_names_in_labels_and_the_bound(make_bench):
    """What tables there are is the clients' choice: the series stay bounded, and well-formed."""
    bench = await make_bench(fresh=True)
    c = await bench.client()
    bench.target.on(Op.QUERY, behaviour.error(Err.INVALID))
    await c.query("INSERT INTO \"a\\b\".\"c\"\"d\" (id) VALUES (1)")
    assert await counted(bench, {}) == {partial("a\\\\b", 'c\\"d', "target", "yes"): 1}
    for i in range(250):
        await c.query(f"INSERT INTO ks.t{i} (id) VALUES (1)")
    series = await counted(bench, {})
    assert len(series) == 201 and series[partial("other", "other", "target", "yes")] == 51
