"""
Scripts that send statements to one cluster, and what the rest of the proxy makes of it where that differs from rules
(test_one_cluster.py): a hook may choose for each request, so nobody knows at PREPARE where it will go.
"""
import pytest

import behaviour
from behaviour import Hold, error
from cqlwire import CL, Err, FrameFlag, Kind, Op
from helpers import PRIMARIES, assert_alive, assert_error, reached
from test_one_cluster import READ, WAY_IDS, WAYS, WRITE, asked, inflight, other_of, sequence

#: ONE goes to origin, TWO to target, all else where it went without a script
BY_LEVEL = """
local to = { ONE = "origin", TWO = "target" }
proxy.on_request("by level", {}, function(req) return to[req:consistency()] end)
"""
#: the same for every request, which the proxy may know at PREPARE
BY_TABLE = """
proxy.on_request("by table", { kinds = "read,write,schema,use", keyspaces = "shop", scope = "%s" },
                 function(req) return "%s" end)
"""
TO = {"origin": CL.ONE, "target": CL.TWO}


async def with_script(make_bench, folder, text, routing=None, backend=None, **settings):
    path = folder / "routing.lua"
    path.write_text(text)
    sections = {"lua": {"script": str(path)}, "routing": routing or {}}
    if backend is not None:
        sections["proxy"] = {"backend_connections": backend}
    if backend == "pooled":
        sections["proxy"]["pool_idle_timeout"] = "10ms"
    return await make_bench(fresh=True, sections=sections, **settings)


async def change_script(bench, folder, text):
    (folder / "routing.lua").write_text(text)
    await bench.reload()
    for cluster in bench.clusters:
        cluster.received.clear()


# ---- PREPARE ----

@pytest.mark.parametrize("without", PRIMARIES)
@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_a_table_that_one_cluster_lacks(make_bench, tmp_path, without, version, compression):
    """
    Both are asked; that one refuses is not the driver's business, unless a request goes there: then it gets the cluster's
    error, and the connection lives.
    """
    bench = await with_script(make_bench, tmp_path, BY_LEVEL)
    there, here = other_of(bench, without)
    there.lacks.add("shop.orders")
    c = await bench.client(version, compression)
    read, write = await c.prepare(READ), await c.prepare(WRITE)
    assert read.prepared_id == here.prepared_id(READ, None) and write.prepared_id == here.prepared_id(WRITE, None)
    assert reached(bench, Op.PREPARE, READ) == "both"
    for prepared in (read, write):
        assert not (await c.execute(prepared, values=[b"k"], consistency=TO[here.name])).is_error()
        answer = await c.execute(prepared, values=[b"k"], consistency=TO[without])
        assert_error(answer, Err.INVALID, "unconfigured table orders")
    batch = [(write.prepared_id, [b"k"])]
    assert (await c.batch(batch, consistency=TO[here.name])).kind == Kind.VOID
    assert_error(await c.batch(batch, consistency=TO[without]), Err.INVALID, "unconfigured table orders")
    assert not there.requests(Op.EXECUTE, Op.BATCH)
    there.lacks.clear()
    for level in (CL.ONE, CL.TWO, CL.QUORUM):
        assert (await c.execute(write, values=[b"k"], consistency=level)).kind == Kind.VOID
    assert await inflight(bench) == [0, 0, 0]


@pytest.mark.parametrize("code", [Err.INVALID, Err.SYNTAX_ERROR])
async def test_refusals_that_are_passed_over(make_bench, tmp_path, code):
    bench = await with_script(make_bench, tmp_path, BY_LEVEL)
    bench.origin.on(Op.PREPARE, error(code, "not here"))
    c = await bench.client()
    assert (await c.prepare(WRITE)).prepared_id == bench.target.prepared_id(WRITE, None)


@pytest.mark.parametrize("code", [Err.OVERLOADED, Err.UNAUTHORIZED, Err.SERVER_ERROR])
async def test_errors_that_are_not(make_bench, tmp_path, code):
    """They say nothing about the statement."""
    bench = await with_script(make_bench, tmp_path, BY_LEVEL)
    bench.origin.on(Op.PREPARE, error(code, "not now"))
    c = await bench.client()
    assert_error(await c.prepare(WRITE), code, "not now")


@pytest.mark.parametrize("primary", PRIMARIES)
async def test_both_refuse(make_bench, tmp_path, primary):
    bench = await with_script(make_bench, tmp_path, BY_LEVEL, primary=primary)
    for cluster in bench.clusters:
        cluster.on(Op.PREPARE, error(Err.INVALID, f"{cluster.name} has no such table"))
    c = await bench.client()
    assert_error(await c.prepare(WRITE), Err.INVALID, f"{primary} has no such table")


async def test_what_no_hook_chooses_for(make_bench, tmp_path):
    """A filter that leaves the statement out: both have to have it, as ever."""
    bench = await with_script(make_bench, tmp_path, BY_LEVEL.replace("{}", '{ kinds = "read" }'))
    bench.target.lacks.add("shop.orders")
    c = await bench.client()
    assert (await c.prepare(READ)).kind == Kind.PREPARED
    assert_error(await c.prepare(WRITE), Err.INVALID, "unconfigured table")


@pytest.mark.parametrize("scope", ["table", "statement"])
@pytest.mark.parametrize("where", PRIMARIES)
async def test_what_a_hook_says_beforehand(make_bench, tmp_path, scope, where):
    """PREPARE goes there alone, and works on when the script has gone."""
    bench = await with_script(make_bench, tmp_path, BY_TABLE % (scope, where))
    here, there = other_of(bench, where)
    there.lacks.add("shop.orders")
    c = await bench.client()
    read, write = await c.prepare(READ), await c.prepare(WRITE)
    assert (await c.execute(read, values=[b"k"])).rows[0][0] == where
    assert (await c.execute(write, values=[b"k"])).kind == Kind.VOID
    assert (await c.batch([(write.prepared_id, [b"k"])])).kind == Kind.VOID
    assert asked(there) == []
    there.lacks.clear()
    await change_script(bench, tmp_path, "")
    assert (await c.execute(write, values=[b"k"])).kind == Kind.VOID
    assert sequence(there) == [Op.PREPARE, Op.EXECUTE] and sequence(here) == [Op.EXECUTE]


async def test_a_rule_behind_a_hook_without_an_opinion(make_bench, tmp_path):
    """The hook of scope table has none, so the rule says where PREPARE goes."""
    bench = await with_script(make_bench, tmp_path, 'proxy.on_request("none", { scope = "table" }, function() end)',
                              routing={"rule": ["all shop.* target"]})
    c = await bench.client()
    write = await c.prepare(WRITE)
    assert (await c.execute(write, values=[b"k"])).kind == Kind.VOID
    assert asked(bench.origin) == []


@pytest.mark.parametrize("where", PRIMARIES)
async def test_routes_change_from_request_to_request(make_bench, tmp_path, where):
    """Each cluster gets its own id, and only what is for it; nodes that forget are asked again."""
    bench = await with_script(make_bench, tmp_path, BY_LEVEL)
    here, there = other_of(bench, where)
    c = await bench.client()
    write = await c.prepare(WRITE)
    for forgets in (False, True):
        if forgets:
            here.forget_prepared()
        assert (await c.execute(write, values=[b"k"], consistency=TO[where])).kind == Kind.VOID
        assert (await c.batch([(write.prepared_id, [b"k"])], consistency=TO[where])).kind == Kind.VOID
    assert {r.prepared_id for r in here.requests(Op.EXECUTE)} == {here.prepared_id(WRITE, None)}
    await bench.settle(c)
    assert sequence(there) == [Op.PREPARE]


async def test_many_wait_for_one_prepare(make_bench, tmp_path):
    """Of the cluster that refused it first."""
    bench = await with_script(make_bench, tmp_path, BY_LEVEL)
    bench.origin.lacks.add("shop.orders")
    everyone = [await bench.client() for _ in range(4)]
    write = await everyone[0].prepare(WRITE)
    bench.origin.lacks.clear()
    bench.origin.received.clear()
    hold = Hold()
    bench.origin.on(Op.PREPARE, hold)
    streams = [(c, c.send_execute(write, values=[b"k"], consistency=CL.ONE)) for c in everyone for _ in range(5)]
    await hold.arrived()
    for c in everyone:
        await bench.settle(c)
    hold.release()
    for c, stream in streams:
        assert (await c.answer(stream)).kind == Kind.VOID
    assert sequence(bench.origin) == [Op.PREPARE] + [Op.EXECUTE] * 20


async def test_a_write_to_both_of_which_one_lacks_the_table(make_bench, tmp_path):
    """No opinion: as a text would be, it is sent to both, and the one's error is the driver's."""
    bench = await with_script(make_bench, tmp_path, BY_LEVEL)
    bench.origin.lacks.add("shop.orders")
    c = await bench.client()
    write = await c.prepare(WRITE)
    assert_error(await c.execute(write, values=[b"k"], consistency=CL.QUORUM), Err.INVALID, "unconfigured table")
    await assert_alive(c, bench)
    assert await inflight(bench) == [0, 0, 0]


@pytest.mark.native
async def test_one_cluster_is_down(pooled, tmp_path):
    """Over shared connections PREPARE does with the other one, whichever the hook may choose; both down is an error."""
    path = tmp_path / "routing.lua"
    path.write_text(BY_LEVEL)
    bench = await pooled(sections={"lua": {"script": str(path)}})
    c = await bench.client()
    await bench.origin.nodes[0].stop()

    async def is_noticed():
        return (await c.query("SELECT * FROM ks.t")).code == Err.UNAVAILABLE
    await bench.proxy.until(is_noticed, "loss of origin")
    write = await c.prepare(WRITE)
    assert (await c.execute(write, values=[b"k"], consistency=CL.TWO)).kind == Kind.VOID
    assert_error(await c.execute(write, values=[b"k"], consistency=CL.ONE), Err.UNAVAILABLE, "origin")
    await bench.origin.nodes[0].start()

    async def is_back():
        return (await c.execute(write, values=[b"k"], consistency=CL.ONE)).kind == Kind.VOID
    await bench.proxy.until(is_back, "return of origin")
    assert bench.origin.requests(Op.PREPARE)[-1].statement == WRITE


@pytest.mark.parametrize("scope", ["table", "request"])
async def test_what_a_hook_refuses(make_bench, tmp_path, scope):
    """It is asked about requests, so PREPARE goes as it would without it; nothing of the request is sent."""
    bench = await with_script(make_bench, tmp_path, f"""
proxy.on_request("no", {{ kinds = "write", scope = "{scope}" }}, function(req)
    return req:deny("unauthorized", "%s is closed", req:table())
end)""")
    c = await bench.client()
    write = await c.prepare(WRITE)
    assert reached(bench, Op.PREPARE, WRITE) == "both"
    for answer in (await c.execute(write, values=[b"k"]), await c.batch([(write.prepared_id, [b"k"])])):
        assert_error(answer, Err.UNAUTHORIZED, "orders is closed")
    assert not [r for cluster in bench.clusters for r in cluster.requests(Op.EXECUTE, Op.BATCH)]
    assert await inflight(bench) == [0, 0, 0]


# ---- USE, pages, traces ----

@pytest.mark.native
async def test_use_by_a_hook(make_bench, tmp_path):
    """As by a rule; what depends on the keyspace and would go elsewhere is refused, or gets the cluster's error."""
    bench = await with_script(make_bench, tmp_path, BY_TABLE % ("table", "origin"), primary="target")
    bench.target.lacks.add("shop")
    c = await bench.client()
    await c.use("shop")
    assert (await c.query("SELECT * FROM orders")).rows == [["origin", "shop", "SELECT * FROM orders"]]
    prepared = await c.prepare("INSERT INTO orders (k) VALUES (?)")
    assert (await c.execute(prepared, values=[b"k"])).kind == Kind.VOID
    assert asked(bench.target) == []
    await change_script(bench, tmp_path, "")
    assert_error(await c.query("SELECT * FROM orders"), Err.INVALID, "shop")
    assert_error(await c.query("INSERT INTO orders (k) VALUES (1)"), Err.INVALID, "shop")
    assert asked(bench.target) == [] and asked(bench.origin) == []
    await c.use("ks")
    assert (await c.query("SELECT * FROM t")).rows[0][:2] == ["target", "ks"]


@pytest.mark.native
@pytest.mark.parametrize("backend", ["dedicated", "pooled"])
@pytest.mark.parametrize("version", [3, 4, 5])
async def test_prepare_in_a_keyspace_that_one_cluster_lacks(make_bench, tmp_path, version, backend):
    """It is prepared on the other one; a request that the hook sends to the one without it gets that one's error."""
    text = BY_LEVEL.replace("{}", '{ kinds = "read,write" }')
    text += 'proxy.on_request("use", { kinds = "use", scope = "table" }, function() return "origin" end)'
    bench = await with_script(make_bench, tmp_path, text, backend=backend)
    bench.target.lacks.add("shop")
    c = await bench.client(version, keyspace="shop")
    write = await c.prepare("INSERT INTO orders (k) VALUES (?)")
    assert write.prepared_id == bench.origin.prepared_id("INSERT INTO orders (k) VALUES (?)", "shop")
    assert (await c.execute(write, values=[b"k"], consistency=CL.ONE)).kind == Kind.VOID
    assert_error(await c.execute(write, values=[b"k"], consistency=CL.TWO), Err.INVALID, "shop", "does not exist")
    assert (await c.batch([(write.prepared_id, [b"k"])], consistency=CL.ONE)).kind == Kind.VOID
    assert not bench.target.requests(Op.EXECUTE, Op.BATCH)
    bench.target.lacks.clear()
    assert (await c.execute(write, values=[b"k"], consistency=CL.TWO)).kind == Kind.VOID
    got = bench.target.requests(Op.EXECUTE)[-1]
    assert got.node.prepared[got.prepared_id][1] == "shop"


async def test_a_mirror_without_the_table(make_bench, tmp_path):
    """Nothing of the cluster that gets copies concerns the driver, PREPARE neither."""
    bench = await with_script(make_bench, tmp_path, BY_TABLE.replace("read,write,schema,use", "read") % ("table", "mirror"))
    bench.target.lacks.add("shop.orders")
    c = await bench.client()
    read = await c.prepare(READ)
    assert reached(bench, Op.PREPARE, READ) == "both"
    for _ in range(3):
        assert (await c.execute(read, values=[b"k"])).rows[0][0] == "origin"
    await bench.settle(c)
    assert not bench.target.requests(Op.EXECUTE)


async def test_pages_are_not_asked_about(make_bench, tmp_path):
    bench = await with_script(make_bench, tmp_path, BY_LEVEL)
    c = await bench.client()
    prepared = await c.prepare("SELECT * FROM shop.paged")
    first = await c.execute(prepared, page_size=1, consistency=CL.TWO)
    second = await c.execute(prepared, page_size=1, consistency=CL.ONE, paging_state=first.paging_state)
    assert [answer.rows[0][::2] for answer in (first, second)] == [["target", "page 0"], ["target", "page 1"]]
    third = await c.query("SELECT * FROM shop.paged", page_size=1, consistency=CL.ONE, paging_state=second.paging_state)
    assert third.rows[0][::2] == ["target", "page 2"]
    assert not bench.origin.requests(Op.EXECUTE, Op.QUERY)


async def test_system_tables_and_traces_are_not_asked_about(make_bench, tmp_path):
    bench = await with_script(make_bench, tmp_path, 'proxy.on_request("all", {}, function() return "target" end)')
    c = await bench.client()
    assert (await c.query("SELECT * FROM system.local")).kind == Kind.ROWS
    assert (await c.query("SELECT * FROM system_schema.tables")).rows[0][0] == "origin"
    answer = await c.query("INSERT INTO shop.orders (k) VALUES (1)", flags=FrameFlag.TRACING)
    read = "SELECT * FROM system_traces.sessions WHERE session_id = ?"
    assert (await c.query(read, values=[answer.tracing_id])).rows[0][0] == "target"
    prepared = await c.prepare("SELECT * FROM system_schema.tables")
    assert (await c.execute(prepared)).rows[0][0] == "origin"


@pytest.mark.parametrize("where", PRIMARIES)
async def test_conditional_writes_and_the_schema(make_bench, tmp_path, where):
    bench = await with_script(make_bench, tmp_path, BY_LEVEL)
    here, there = other_of(bench, where)
    c = await bench.client()
    answer = await c.query("UPDATE shop.orders SET v = 1 WHERE k = 1 IF v = 0", consistency=TO[where])
    assert answer.rows == [[True, where]]
    answer = await c.query("CREATE TABLE shop.t (k int PRIMARY KEY)", consistency=TO[where])
    assert answer.kind == Kind.SCHEMA_CHANGE
    here.on("shop.orders", behaviour.error(Err.OVERLOADED, "said the node"))
    assert_error(await c.query("INSERT INTO shop.orders (k) VALUES (1)", consistency=TO[where]), Err.OVERLOADED)
    assert asked(there) == [] and await inflight(bench) == [0, 0, 0]


# ---- a cluster that is down ----

SINGLE = 'zdm_cqlferry_single_cluster_writes_total{cluster="%s"}'


@pytest.mark.native
@pytest.mark.parametrize("down", PRIMARIES)
async def test_a_write_for_the_cluster_that_is_down(pooled, tmp_path, down):
    """It is refused and does not go to the other one; who needs the other one only goes on. What was sent is counted."""
    path = tmp_path / "routing.lua"
    path.write_text(BY_LEVEL)
    bench = await pooled(sections={"lua": {"script": str(path)}})
    there, here = other_of(bench, down)
    c = await bench.client()
    write = await c.prepare(WRITE)
    await there.nodes[0].stop()

    async def is_noticed():
        return (await c.query("INSERT INTO ks.t (k) VALUES (1)")).code == Err.UNAVAILABLE
    await bench.proxy.until(is_noticed, f"loss of {down}")
    here.received.clear()
    before = await bench.proxy.metrics()
    for level in (CL.ONE, CL.TWO):
        answers = [await c.execute(write, values=[b"k"], consistency=level),
                   await c.batch([(write.prepared_id, [b"k"])], consistency=level),
                   await c.query("INSERT INTO shop.orders (k) VALUES (1)", consistency=level)]
        for answer in answers:
            if level == TO[down]:
                assert_error(answer, Err.UNAVAILABLE, f"no node of {down} is up; nothing was sent")
            else:
                assert answer.kind == Kind.VOID
    after = await bench.proxy.metrics()
    assert sequence(here) == [Op.EXECUTE, Op.BATCH]
    assert [after[SINGLE % c.name] - before[SINGLE % c.name] for c in (here, there)] == [3, 0]
    assert await inflight(bench) == [0, 0, 0]
    await there.nodes[0].start()
