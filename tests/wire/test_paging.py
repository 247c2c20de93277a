"""Pages: a paging state belongs to the cluster that made it, whatever the routing says when it comes back."""
import pytest

import behaviour
from cqlwire import Column, Kind, Op, Type
from helpers import PRIMARIES, WAY_IDS, WAYS, assert_error

PAGED = "SELECT * FROM ks.paged"


def states(cluster):
    return [r.params.paging_state for r in cluster.requests(Op.QUERY, Op.EXECUTE)]


@pytest.mark.parametrize("primary", PRIMARIES)
@pytest.mark.parametrize("how", ["query", "execute"])
@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_page_after_page(make_bench, primary, how, version, compression):
    bench = await make_bench(primary=primary)
    c = await bench.client(version, compression)
    prepared = await c.prepare(PAGED)
    state, pages = None, []
    while True:
        params = dict(page_size=1, paging_state=state)
        answer = await (c.query(PAGED, **params) if how == "query" else c.execute(prepared, **params))
        assert answer.kind == Kind.ROWS, answer
        pages.append(answer.rows[0])
        state = answer.paging_state
        if state is None:
            break
        assert state != f"{primary}:{len(pages)}".encode()
        assert len(state) == len(f"{primary}:{len(pages)}") + 2
    assert pages == [[primary, None, f"page {i}"] for i in range(3)]
    assert states(bench.primary) == [None, f"{primary}:1".encode(), f"{primary}:2".encode()]
    assert states(bench.secondary) == []


@pytest.mark.parametrize("first,then", [("origin", "target"), ("target", "origin")])
@pytest.mark.parametrize("version,compression", [(3, None), (4, "lz4"), (5, "lz4")])
async def test_the_next_page_after_the_primary_was_flipped(make_bench, first, then, version, compression):
    bench = await make_bench(fresh=True, primary=first)
    c = await bench.client(version, compression)
    state = (await c.query(PAGED, page_size=1)).paging_state
    await c.close()
    await bench.restart_proxy(primary=then)
    for cluster in bench.clusters:
        cluster.reset()
    c = await bench.client(version, compression)
    answer = await c.query(PAGED, page_size=1, paging_state=state)
    assert answer.rows == [[first, None, "page 1"]]
    prepared = await c.prepare(PAGED)
    answer = await c.execute(prepared, page_size=1, paging_state=answer.paging_state)
    assert answer.rows == [[first, None, "page 2"]] and answer.paging_state is None
    await bench.settle(c)
    assert states(bench.secondary) == [f"{first}:1".encode(), f"{first}:2".encode()]
    assert states(bench.primary) == []
    # a read that starts now belongs to the new primary
    assert (await c.query(PAGED, page_size=1)).rows == [[then, None, "page 0"]]


@pytest.mark.parametrize("primary", PRIMARIES)
@pytest.mark.parametrize("version", [3, 4, 5])
async def test_states_without_a_mark_go_to_the_primary(make_bench, primary, version):
    """From a driver that was connected to the cluster itself before."""
    bench = await make_bench(primary=primary)
    c = await bench.client(version)
    answer = await c.query(PAGED, page_size=1, paging_state=f"{primary}:1".encode())
    assert answer.rows == [[primary, None, "page 1"]]
    assert states(bench.primary) == [f"{primary}:1".encode()]


@pytest.mark.parametrize("state", [b"", b"x", b"xy", b"\0" * 2000, b"\xff" * 10])
async def test_strange_states_are_the_clusters_to_judge(bench, state):
    c = await bench.client()
    answer = await c.query(PAGED, page_size=1, paging_state=state)
    assert_error(answer, 0x000A, "Invalid value for the paging state")
    assert states(bench.origin) == [state]


@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
@pytest.mark.parametrize("size", [10, 20_000, 200_000])
async def test_pages_of_all_sizes(bench, version, compression, size):
    """
    Two bytes are put into the middle of the answer: the rest must stay as it is, large or small, compressed or not.
    """
    value = bytes(i * 31 % 251 for i in range(size))
    more = {"warnings": ["w"], "payload": {"k": b"v"}} if version >= 4 else {}

    async def behave(conn, got):
        body = behaviour.responses.rows([Column("v", Type.BLOB)], [[value]], paging_state=b"origin:state")
        conn.reply(got, behaviour.Answer(Op.RESULT, body, more))
    bench.origin.on("ks.t", behave)
    c = await bench.client(version, compression)
    answer = await c.query("SELECT v FROM ks.t", page_size=1)
    assert answer.rows == [[value]] and answer.paging_state[:-2] == b"origin:state"
    assert answer.warnings == more.get("warnings") and answer.payload == more.get("payload")


@pytest.mark.parametrize("version", [4, 5])
async def test_pages_without_metadata(bench, version):
    c = await bench.client(version)
    prepared = await c.prepare(PAGED)
    state = None
    for page in range(3):
        answer = await c.execute(prepared, skip_metadata=True, page_size=1, paging_state=state)
        assert answer.columns is None and answer.rows == [[b"origin", None, f"page {page}".encode()]]
        state = answer.paging_state


async def test_other_parameters_of_a_page_survive(make_bench):
    bench = await make_bench(primary="target")
    c = await bench.client(5, "lz4")
    state = (await c.query(PAGED, page_size=1)).paging_state
    params = dict(values=[b"v"], names=["n"], page_size=1, serial_consistency=9, timestamp=3, keyspace="ks",
                  now_in_seconds=4)
    await c.query(PAGED, paging_state=state, **params)
    got = bench.target.requests(Op.QUERY)[1].params
    assert {name: getattr(got, name) for name in params} == params
    assert got.paging_state == b"target:1"


@pytest.mark.parametrize("first,then", [("origin", "target"), ("target", "origin")])
async def test_a_write_with_a_marked_state_still_goes_to_both(make_bench, first, then):
    """A state sent along with a write means nothing to a node and must not narrow the routing."""
    bench = await make_bench(primary=first)
    c = await bench.client()
    state = (await c.query(PAGED, page_size=1)).paging_state
    assert (await c.query("INSERT INTO ks.t (k) VALUES (1)", paging_state=state)).kind == Kind.VOID
    for cluster in bench.clusters:
        assert cluster.statements()[-1] == "INSERT INTO ks.t (k) VALUES (1)"
