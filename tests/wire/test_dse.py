"""
DSE's continuous paging: one request, many answers; and REVISE, which cancels it or asks for more. DSE answers REVISE by
one boolean: whether there was such a request.
"""
import asyncio

import pytest

import behaviour
from cqlwire import DSE1, DSE2, Column, Err, Kind, Op, Revision, Type, frame_bytes, requests
from fakecluster import is_conditional
from helpers import assert_alive, assert_error, assert_lost_connection, assert_one_protocol_error

VERSIONS = (3, 4, DSE1, DSE2)
DSE = {"origin": {"versions": VERSIONS}, "target": {"versions": VERSIONS}}
TEXT = "SELECT * FROM ks.t"

both_versions = pytest.mark.parametrize("version", [DSE1, DSE2])


@pytest.fixture
def dse(loop, make_bench):
    return loop.run_until_complete(make_bench(**DSE))


def ask_for_pages(c, text=TEXT, stream=50, welcome=0, **more):
    """A query for continuous pages: all of them, or so many at first."""
    return c.send_query(text, stream=stream, page_size=1, continuous=(0, 0, welcome), **more)


async def take_pages(c, stream, count):
    answers = [await c.answer(stream) for _ in range(count)]
    assert [a.page for a in answers] == list(range(answers[0].page, answers[0].page + count)), answers
    return answers


def pages_of(bench):
    return [r.revision for r in bench.origin.requests(Op.REVISE)]


@both_versions
@pytest.mark.parametrize("compression", [None, "lz4", "snappy"])
async def test_all_pages_come(dse, version, compression):
    dse.origin.on("ks.t", behaviour.pages(5))
    c = await dse.client(version, compression)
    stream = ask_for_pages(c)
    answers = await take_pages(c, stream, 5)
    assert [a.dicts()[0]["statement"] for a in answers] == [f"page {n}" for n in range(1, 6)]
    assert [a.is_last_page for a in answers] == [False] * 4 + [True]
    got = dse.origin.requests(Op.QUERY)[0]
    assert got.params.continuous == ((0, 0, 0) if version == DSE2 else (0, 0))
    assert not dse.target.requests(Op.QUERY)
    # the stream id serves again
    dse.origin.rules.clear()
    assert (await c.answer(c.send_query(TEXT, stream=stream))).rows


@both_versions
async def test_pages_with_warnings_and_tracing(dse, version):
    """What stands in front of a body does not hide what kind of a page it is."""
    from cqlwire import FrameFlag
    dse.origin.on("ks.t", behaviour.pages(3))
    c = await dse.client(version, "lz4")
    answers = await take_pages(c, ask_for_pages(c, flags=FrameFlag.TRACING), 3)
    assert all(a.tracing_id for a in answers)


@both_versions
async def test_pages_of_a_prepared_statement(dse, version):
    """A lost statement is prepared again before its first page."""
    c = await dse.client(version)
    prepared = await c.prepare("SELECT * FROM ks.t WHERE k = ?")
    dse.origin.forget_prepared()
    dse.origin.on(lambda got: got.opcode == Op.EXECUTE and got.request.prepared_id in got.node.prepared,
                  behaviour.pages(3))
    stream = c.send_execute(prepared, values=[b"1"], page_size=100, page_size_in_bytes=True, continuous=(10, 5, 0))
    await take_pages(c, stream, 3)
    got = dse.origin.requests(Op.EXECUTE)
    assert len(got) == 2 and got[1].params.page_size_in_bytes and got[1].params.continuous[:2] == (10, 5)


async def test_skip_metadata_in_dse_v1_is_cleared_where_it_stands(dse):
    """The flags are an [int] there, as in v5, but there is no id of the columns."""
    dse.target.describe = lambda text, keyspace: (*dse.target.describe_default(text, keyspace)[:2], [Column("other")])
    try:
        c = await dse.client(DSE1)
        prepared = await c.prepare("UPDATE ks.t SET v = 1 WHERE k = 1 IF v = 2")
        answer = await c.execute(prepared, skip_metadata=True)
        assert is_conditional("UPDATE ks.t SET v = 1 WHERE k = 1 IF v = 2") and answer.rows
        assert dse.origin.requests(Op.EXECUTE)[0].params.skip_metadata
        assert not dse.target.requests(Op.EXECUTE)[0].params.skip_metadata
    finally:
        dse.target.describe = dse.target.describe_default


@both_versions
async def test_other_requests_in_between(dse, version):
    """Pages of three requests at once, and writes, all on one connection."""
    gate = asyncio.Event()
    dse.origin.on("ks.t", behaviour.pages(20, gate=lambda number: gate.wait()))
    c = await dse.client(version)
    streams = [ask_for_pages(c, stream=n) for n in (10, 20, 30)]
    await dse.origin.until_received(3)
    assert (await c.query("INSERT INTO ks.w (k) VALUES (1)")).kind == Kind.VOID
    gate.set()
    for stream in streams:
        await take_pages(c, stream, 20)
    await assert_alive(c, dse)


async def test_the_driver_says_when_it_is_ready_for_more(dse):
    """Back-pressure of DSE v2: two pages, then three more, each time asked for with the driver's own stream id."""
    dse.origin.on("ks.t", behaviour.pages(5))
    c = await dse.client(DSE2)
    for _ in range(3):  # so that the ids of the two sides differ
        await c.query("SELECT * FROM ks.other")
    hold = behaviour.Hold()
    dse.origin.on("ks.held", hold)
    held = c.send_query("SELECT * FROM ks.held", stream=3)
    await hold.arrived()
    stream = ask_for_pages(c, stream=1000, welcome=2)
    await take_pages(c, stream, 2)
    await dse.settle(c)
    assert not c.received
    answer = await c.revise(Revision.MORE_PAGES, stream, 3)
    assert answer.rows == [[True]]
    answers = await take_pages(c, stream, 3)
    assert answers[-1].is_last_page
    request = next(r for r in dse.origin.requests(Op.QUERY) if r.statement == TEXT)
    assert request.stream != 1000
    assert pages_of(dse) == [(Revision.MORE_PAGES, request.stream, 3)]
    assert not dse.target.requests(Op.REVISE)
    hold.release()
    assert (await c.answer(held)).rows


async def test_pages_do_not_count_in_max_requests_per_client(make_bench):
    """They go on when the driver asks for more, so the connection has to be read although the limit is reached."""
    bench = await make_bench(origin={"versions": (3, 4, DSE1, DSE2)}, target={"versions": (3, 4, DSE1, DSE2)},
                             sections={"proxy": {"max_requests_per_client": 1}})
    bench.origin.on("ks.t", behaviour.pages(4))
    c = await bench.client(DSE2)
    streams = [ask_for_pages(c, stream=number, welcome=2) for number in (70, 71, 72)]
    for stream in streams:
        await take_pages(c, stream, 2)
    hold = behaviour.Hold()
    bench.origin.on("ks.held", hold)
    held = [c.send_query("SELECT * FROM ks.held") for _ in range(2)]
    await hold.arrived()
    assert len(hold.waiting) == 1
    hold.release()
    for stream in held:
        assert (await c.answer(stream)).rows
    for stream in streams:
        assert (await c.revise(Revision.MORE_PAGES, stream, 2)).rows == [[True]]
        assert (await take_pages(c, stream, 2))[-1].is_last_page


@both_versions
async def test_cancel(dse, version):
    """After it nothing more comes, and the driver may use its stream id again."""
    gate = asyncio.Event()
    dse.origin.on("ks.t", behaviour.pages(100, gate=lambda number: gate.wait() if number > 2 else gate_open()))
    c = await dse.client(version, "lz4")
    stream = ask_for_pages(c, stream=77)
    await take_pages(c, stream, 2)
    assert (await c.revise(Revision.CANCEL, stream)).rows == [[True]]
    gate.set()
    request = dse.origin.requests(Op.QUERY)[0]
    assert pages_of(dse) == [(Revision.CANCEL, request.stream, None)]
    dse.origin.rules.clear()
    for n in range(200):  # on every id of the connection, those of the cancelled pages too
        assert (await c.answer(c.send_query(f"SELECT {n} FROM ks.t", stream=77))).rows
    await dse.settle(c)
    assert not c.received


async def gate_open():
    return


@both_versions
@pytest.mark.parametrize("kind,pages", [(Revision.CANCEL, None), (Revision.MORE_PAGES, 4)])
async def test_revise_of_what_is_not_there(dse, version, kind, pages):
    """No such request, one that is over, or one without pages: false, as DSE says, and nobody is asked."""
    dse.origin.on("ks.t", behaviour.pages(1))
    c = await dse.client(version)
    answer = await c.revise(kind, 99, pages)
    assert answer.rows == [[False]] and answer.version == version
    assert answer.columns[0].name == "[status]" and answer.columns[0].type == Type.BOOLEAN
    await take_pages(c, ask_for_pages(c, stream=50), 1)
    assert (await c.revise(kind, 50, pages)).rows == [[False]]
    hold = behaviour.Hold()
    dse.origin.on("ks.plain", hold)
    c.send_query("SELECT * FROM ks.plain", stream=51)
    await hold.arrived()
    for stream in (51, -1, 65536 + 51, 2 ** 31 - 1):
        assert (await c.revise(kind, stream, pages)).rows == [[False]]
    hold.release()
    assert (await c.answer(51)).rows
    for cluster in dse.clusters:
        assert not cluster.requests(Op.REVISE)


@pytest.mark.parametrize("body,field", [
    (b"", "kind of revision"), (requests.revise(3, 1), "kind of revision"), (requests.revise(0, 1), "kind of revision"),
    (requests.revise(1, 1)[:6], "stream id"), (requests.revise(2, 1), "number of pages"),
])
async def test_bad_bodies_of_revise(dse, body, field):
    c = await dse.client(DSE2)
    assert_error(await c.ask(Op.REVISE, body), Err.PROTOCOL_ERROR, "REVISE", field)
    await assert_alive(c, dse)


@pytest.mark.checklist(16)
@pytest.mark.parametrize("version", [3, 4])
async def test_revise_in_other_versions_is_no_request(dse, version):
    c = await dse.client(version)
    c.write(frame_bytes(version, 0, 4, Op.REVISE, requests.revise(1, 1)))
    answers = await c.closed()
    if dse.is_zdm:  # no frame, as with ZDM
        assert answers == []
    else:
        assert_one_protocol_error(answers, "0xff")


async def test_revise_before_startup(dse):
    c = await dse.open(DSE2)
    c.send(Op.REVISE, requests.revise(1, 1))
    assert_one_protocol_error(await c.closed(), "REVISE before the connection is ready")


@both_versions
async def test_bodies_that_end_in_the_middle(dse, version):
    c = await dse.client(version)
    whole = requests.query(version, TEXT, continuous=(1, 2, 3))
    for n in range(1, 12 if version == DSE2 else 8):
        assert_error(await c.ask(Op.QUERY, whole[:-n]), Err.PROTOCOL_ERROR, "continuous paging options")
    await assert_alive(c, dse)


# ---- when something goes wrong ----

@both_versions
async def test_an_error_in_the_middle(dse, version):
    dse.origin.on("ks.t", behaviour.pages(2, end="error"))
    c = await dse.client(version)
    stream = ask_for_pages(c)
    await take_pages(c, stream, 2)
    assert_error(await c.answer(stream), Err.READ_FAILURE, "in the middle")
    dse.origin.rules.clear()
    assert (await c.answer(c.send_query(TEXT, stream=stream))).rows


@both_versions
async def test_the_node_goes_away_in_the_middle(dse, version):
    dse.origin.on("ks.t", behaviour.pages(2, end="close"))
    c = await dse.client(version)
    stream = ask_for_pages(c)
    await take_pages(c, stream, 2)
    assert_error(await c.answer(stream), Err.READ_TIMEOUT, "lost", "origin")
    await assert_lost_connection(c, dse)


async def quick(make_bench, **more):
    return await make_bench(sections={"proxy": {"request_timeout": "1500ms"}}, **DSE, **more)


@both_versions
async def test_the_time_limit_begins_anew_with_each_page(make_bench, version):
    """Ten pages in more than the time limit, none of them late."""
    bench = await quick(make_bench)
    bench.origin.on("ks.t", behaviour.pages(10, gate=lambda number: asyncio.sleep(0.2)))
    c = await bench.client(version)
    await take_pages(c, ask_for_pages(c), 10)


@both_versions
async def test_a_page_that_does_not_come(make_bench, version):
    """The driver gets its error, and the node is told to stop; then the id on its connection is free again."""
    bench = await quick(make_bench)
    bench.origin.on("ks.t", behaviour.pages(2, end=None))
    c = await bench.client(version)
    stream = ask_for_pages(c)
    await take_pages(c, stream, 2)
    assert_error(await c.answer(stream), Err.READ_TIMEOUT, "no answer from origin")
    request = bench.origin.requests(Op.QUERY)[0]
    await bench.origin.until_received(1, Op.REVISE)
    assert pages_of(bench) == [(Revision.CANCEL, request.stream, None)]
    bench.origin.rules.clear()
    await bench.settle(c)
    for n in range(5):
        assert (await c.query(f"SELECT {n} FROM ks.t")).rows
    assert request.stream in [r.stream for r in bench.origin.requests(Op.QUERY)[1:]]


async def test_late_pages_are_swallowed(make_bench):
    """The node does not know of the cancellation: its pages come, and belong to nobody."""
    bench = await quick(make_bench)
    gate = asyncio.Event()
    bench.origin.on("ks.t", behaviour.pages(4, gate=lambda number: gate.wait() if number > 1 else gate_open()))
    bench.origin.on(Op.REVISE, behaviour.rows([Column("[status]", Type.BOOLEAN)], [[False]]))
    c = await bench.client(DSE1)
    stream = ask_for_pages(c)
    await take_pages(c, stream, 1)
    assert_error(await c.answer(stream), Err.READ_TIMEOUT, "no answer from origin")
    bench.origin.rules.pop()  # "ks.t"
    request = bench.origin.requests(Op.QUERY)[0]
    # its id is not given to others while pages may come
    for n in range(5):
        assert (await c.answer(c.send_query(f"SELECT {n} FROM ks.t", stream=stream))).rows
    assert request.stream not in [r.stream for r in bench.origin.requests(Op.QUERY)[1:]]
    gate.set()

    def is_used_again():
        return request.stream in [r.stream for r in bench.origin.requests(Op.QUERY)[1:]]
    for count in range(1, 60):  # free ids are a stack: one more in flight each time reaches the lowest of them
        for answer in [c.send_query("SELECT * FROM ks.t") for _ in range(count)]:
            assert (await c.answer(answer)).rows
        if is_used_again():
            break
    assert is_used_again()


@pytest.mark.dedicated
@both_versions
async def test_pages_that_never_come_crowd_a_connection(make_bench, version):
    """Their stream ids are not free before the node says so: one that never does costs the client its connection."""
    sections = {"proxy": {"request_timeout": "1500ms", "max_stream_ids": "4"}}
    bench = await make_bench(sections=sections, **DSE)
    bench.origin.on("ks.t", behaviour.mute())
    bench.origin.on(Op.REVISE, behaviour.mute())
    c = await bench.client(version)
    for stream in [ask_for_pages(c, stream=n) for n in (50, 60)]:
        assert_error(await c.answer(stream), Err.READ_TIMEOUT, "no answer from origin")
    await bench.origin.until_received(2, Op.REVISE)
    assert_error(await c.query("SELECT * FROM ks.other"), Err.OVERLOADED, "all 4 stream ids")
    await asyncio.sleep(1.6)
    assert_error(await c.query("SELECT * FROM ks.other"), Err.OVERLOADED, "all 4 stream ids")
    assert await c.closed() == []


async def test_a_driver_that_asks_for_no_more_pages_is_not_timed_out(make_bench):
    """The node owes nothing meanwhile; when pages were asked for, it does again."""
    bench = await quick(make_bench)
    bench.origin.on("ks.t", behaviour.pages(4, end=None))
    c = await bench.client(DSE2)
    stream = ask_for_pages(c, welcome=2)
    await take_pages(c, stream, 2)
    await asyncio.sleep(2.0)
    assert not c.received
    assert (await c.revise(Revision.MORE_PAGES, stream, 2)).rows == [[True]]
    await take_pages(c, stream, 2)
    await asyncio.sleep(2.0)
    assert not c.received
    assert (await c.revise(Revision.MORE_PAGES, stream, 1)).rows == [[True]]
    assert_error(await c.answer(stream), Err.READ_TIMEOUT, "no answer from origin")


async def drained(bench, stream, c):
    """Two pages of five have come when the client loses its connection to target."""
    await take_pages(c, stream, 2)
    bench.target.connections()[0].close()
    await bench.proxy.until_logged("connection to target at")


@pytest.mark.dedicated
async def test_more_pages_while_the_client_is_drained(dse):
    """REVISE is no new request: refused like one, the request in flight could never end, nor could the client."""
    dse.origin.on("ks.t", behaviour.pages(5))
    c = await dse.client(DSE2)
    stream = ask_for_pages(c, welcome=2)
    await drained(dse, stream, c)
    assert_error(await c.query("SELECT * FROM ks.other"), Err.OVERLOADED)
    assert (await c.revise(Revision.MORE_PAGES, stream, 3)).rows == [[True]]
    assert (await take_pages(c, stream, 3))[-1].is_last_page
    assert await c.closed() == []


@pytest.mark.dedicated
async def test_a_driver_that_asks_for_no_more_pages_while_it_is_drained(make_bench):
    bench = await quick(make_bench)
    bench.origin.on("ks.t", behaviour.pages(5))
    c = await bench.client(DSE2)
    stream = ask_for_pages(c, welcome=2)
    await drained(bench, stream, c)
    assert_error(await c.answer(stream), Err.READ_TIMEOUT, "no answer from origin")
    assert await c.closed() == []


@both_versions
async def test_revise_is_not_answered(make_bench, version):
    bench = await quick(make_bench)
    bench.origin.on("ks.t", behaviour.pages(8, gate=lambda number: asyncio.sleep(0.3)))
    bench.origin.on(Op.REVISE, behaviour.mute())
    c = await bench.client(version)
    stream = ask_for_pages(c)
    await take_pages(c, stream, 1)
    answer = await c.revise(Revision.CANCEL, stream)
    assert_error(answer, Err.SERVER_ERROR, "no answer from origin")
    assert (await take_pages(c, stream, 7))[-1].is_last_page  # so the request went on


async def test_revise_is_refused(dse):
    gate = asyncio.Event()
    dse.origin.on("ks.t", behaviour.pages(3, gate=lambda number: gate.wait() if number > 1 else gate_open()))
    dse.origin.on(Op.REVISE, behaviour.error(Err.INVALID, "not now"))
    c = await dse.client(DSE2)
    stream = ask_for_pages(c)
    await take_pages(c, stream, 1)
    assert_error(await c.revise(Revision.CANCEL, stream), Err.INVALID, "not now")
    gate.set()
    await take_pages(c, stream, 2)


@both_versions
async def test_the_driver_goes_away_in_the_middle(dse, version):
    dse.origin.on("ks.t", behaviour.pages(1000, gate=lambda number: asyncio.sleep(0.001)))
    c = await dse.client(version)
    stream = ask_for_pages(c)
    await take_pages(c, stream, 3)
    c.abort()
    c.received.clear()
    await dse.until_backends_gone()
    c = await dse.client(version)
    await assert_alive(c, dse)
    metrics = await dse.proxy.metrics()
    assert metrics.get('zdm_proxy_inflight_reads_total{cluster="origin"}', 0) == 0, metrics


@pytest.mark.dedicated
@both_versions
async def test_a_driver_that_does_not_read(make_bench, version):
    """
    The proxy stops reading pages when too many wait, so that its memory is bounded; neither the request's time limit nor
    anything else ends it, and when the driver reads again all pages come.
    """
    bench = await make_bench(sections={"proxy": {"request_timeout": "1s", "client_output_limit": "64KiB"}}, **DSE)
    count, text = 300, "x" * 100_000
    bench.origin.on("ks.t", behaviour.pages(count, text=text, gate=lambda number: gate_open()))
    c = await bench.client(version, receive_buffer=16384)
    stream = ask_for_pages(c)
    await take_pages(c, stream, 1)
    c.transport.pause_reading()
    await asyncio.sleep(1.5)
    conn = bench.origin.connections()[0]
    assert conn.transport.get_write_buffer_size() > 5_000_000  # the rest waits in the node
    c.transport.resume_reading()
    answers = await take_pages(c, stream, count - 1)
    assert answers[-1].is_last_page and answers[-1].dicts()[0]["statement"] == text


@both_versions
async def test_a_write_with_the_options_of_paging(dse, version):
    """Drivers set them for a whole profile: a write has one answer, from both clusters."""
    c = await dse.client(version)
    stream = ask_for_pages(c, "INSERT INTO ks.t (k) VALUES (1)")
    assert (await c.answer(stream)).kind == Kind.VOID
    assert len(dse.target.requests(Op.QUERY)) == 1


@both_versions
async def test_pages_for_what_went_to_both_clusters(dse, version):
    """What we take for a write has pages on the clusters: an error, and both are told to stop."""
    for cluster in dse.clusters:
        cluster.on("ks.t", behaviour.pages(3, gate=lambda number: gate_open() if number == 1 else asyncio.sleep(0.05)))
    c = await dse.client(version)
    stream = ask_for_pages(c, "SELEKT * FROM ks.t")
    assert_error(await c.answer(stream), Err.WRITE_TIMEOUT, "one of many pages", "both clusters")
    for cluster in dse.clusters:
        await cluster.until_received(1, Op.REVISE)
    await assert_alive(c, dse)


@both_versions
async def test_system_tables_in_one_last_page(dse, version):
    """A driver waits for a page that is flagged as the last."""
    c = await dse.client(version)
    answer = await c.answer(ask_for_pages(c, "SELECT key FROM system.local"))
    assert answer.rows == [["local"]] and answer.page == 1 and answer.is_last_page
    prepared = await c.prepare("SELECT key, tokens FROM system.local")
    answer = await c.answer(c.send_execute(prepared, continuous=(0, 0, 0)))
    assert answer.page == 1 and answer.is_last_page and len(answer.dicts()[0]["tokens"]) == 8


@both_versions
async def test_the_state_of_a_page_leads_back_to_its_cluster(make_bench, version):
    """The last page of a limited request has a state, and the rest comes from the same cluster, whatever reads go to."""
    bench = await make_bench(**DSE, primary="target")
    bench.target.on("ks.t", behaviour.pages(2, end="last"))
    c = await bench.client(version)
    first = (await take_pages(c, ask_for_pages(c), 2))[0]
    assert first.paging_state == b"target:1\xcf\x01"
    ask_for_pages(c, stream=51, paging_state=first.paging_state)
    await take_pages(c, 51, 2)
    assert bench.target.requests(Op.QUERY)[1].params.paging_state == b"target:1"
    assert not bench.origin.requests(Op.QUERY)


@both_versions
async def test_pages_for_a_large_request(make_bench, version):
    """It is on a connection of its own, and so is what is said about it."""
    bench = await make_bench(sections={"proxy": {"large_frame_size": "64KiB"}}, **DSE)
    gate = asyncio.Event()
    bench.origin.on("ks.t", behaviour.pages(5, gate=lambda number: gate.wait() if number > 2 else gate_open()))
    c = await bench.client(version)
    stream = ask_for_pages(c, values=[b"x" * 100_000])
    await take_pages(c, stream, 2)
    assert (await c.revise(Revision.CANCEL, stream)).rows == [[True]]
    gate.set()
    query, revise = bench.origin.requests(Op.QUERY, Op.REVISE)
    assert query.conn is revise.conn and revise.revision == (Revision.CANCEL, query.stream, None)
    await assert_alive(c, bench)


@both_versions
async def test_continuous_reads_are_not_mirrored(make_bench, version):
    """Asynchronous dual reads copy what has one answer."""
    bench = await make_bench(sections={"routing": {"read_mode": "DUAL_ASYNC_ON_SECONDARY"}}, **DSE)
    bench.origin.on("ks.t", behaviour.pages(3))
    c = await bench.client(version)
    await take_pages(c, ask_for_pages(c), 3)
    assert (await c.query("SELECT * FROM ks.plain")).rows
    await bench.target.until(lambda: "SELECT * FROM ks.plain" in bench.target.statements(), "the copy")
    assert TEXT not in bench.target.statements()


@pytest.mark.dedicated
@both_versions
async def test_all_stream_ids_are_taken(make_bench, version):
    """REVISE needs one, too: it is refused as any request is, and the pages go on."""
    bench = await make_bench(sections={"proxy": {"max_stream_ids": "2"}}, **DSE)
    gate = asyncio.Event()
    bench.origin.on("ks.t", behaviour.pages(3, gate=lambda number: gate.wait() if number > 1 else gate_open()))
    c = await bench.client(version)
    for stream in (50, 51):
        await take_pages(c, ask_for_pages(c, stream=stream), 1)
    assert_error(await c.revise(Revision.CANCEL, 50), Err.OVERLOADED, "all 2 stream ids")
    gate.set()
    for stream in (50, 51):
        await take_pages(c, stream, 2)
