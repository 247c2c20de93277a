"""[routing] rule: which cluster gets what, by kind of statement, keyspace and table."""
import pytest

import behaviour
import policies
from cqlwire import CL, Err, Kind, Op
from helpers import PRIMARIES, assert_error, reached
from proxy import Proxy

pytestmark = pytest.mark.native  # rules stand in an INI file

RULES = [
    "read shop.orders target",
    "write shop.audit origin",
    "all shop.sessions target",
    "read shop.both both",
    "read shop.mirrored mirror",
    "read log_*.* target",
    "write log_*.* target",
    "read log_*.keep* origin",
    "read \"Shop\".\"Orders\" target",
    "all fresh.* target",
    "all old.* origin",
    "read *.t_everywhere target",
    "all half.* target",
    "read half.kept origin",
]

#: (the keyspace the connection stands in, a text, who gets it)
STATEMENTS = [
    (None, "SELECT * FROM shop.orders WHERE k = ?", "target"),
    (None, "SELECT * FROM SHOP . Orders", "target"),
    ("shop", "SELECT * FROM orders", "target"),
    ("shop", "SELECT * FROM other.orders", "primary"),
    ("other", "SELECT * FROM orders", "primary"),
    (None, "INSERT INTO shop.orders (k) VALUES (?)", "both"),
    (None, "SELECT * FROM shop.audit", "primary"),
    (None, "INSERT INTO shop.audit (k) VALUES (?)", "origin"),
    ("shop", "UPDATE audit SET v = ? WHERE k = 1", "origin"),
    (None, "DELETE FROM shop.audit WHERE k = 1 IF EXISTS", "origin"),
    (None, "TRUNCATE shop.audit", "origin"),
    (None, "ALTER TABLE shop.audit ADD v int", "both"),
    (None, "SELECT * FROM shop.sessions", "target"),
    ("shop", "INSERT INTO sessions (k) VALUES (1)", "target"),
    (None, "TRUNCATE TABLE shop.sessions", "target"),
    (None, "CREATE TABLE IF NOT EXISTS shop.sessions (k int PRIMARY KEY)", "target"),
    ("shop", "CREATE INDEX ON sessions (v)", "target"),
    (None, "DROP TABLE shop.sessions", "target"),
    (None, "CREATE TABLE shop.sessions2 (k int PRIMARY KEY)", "both"),
    (None, "GRANT SELECT ON shop.sessions TO r", "both"),
    (None, "BEGIN BATCH INSERT INTO shop.sessions (k) VALUES (?); DELETE FROM shop.sessions WHERE k = 2 APPLY BATCH",
     "target"),
    (None, "BEGIN BATCH INSERT INTO shop.sessions (k) VALUES (1); INSERT INTO log_a.x (k) VALUES (1) APPLY BATCH",
     "target"),
    (None, "BEGIN UNLOGGED BATCH INSERT INTO shop.orders (k) VALUES (1); INSERT INTO ks.t (k) VALUES (1) APPLY BATCH",
     "both"),
    (None, "SELECT * FROM shop.both", "both"),
    (None, "SELECT * FROM log_a.x", "target"),
    (None, "SELECT * FROM log_a.keeper", "origin"),
    (None, "SELECT * FROM log.x", "primary"),
    (None, "SELECT * FROM \"Shop\".\"Orders\"", "target"),
    (None, "SELECT * FROM \"Shop\".orders", "primary"),
    (None, "SELECT * FROM \"shop\".\"orders\"", "target"),
    ("Shop", "SELECT * FROM \"Orders\"", "target"),
    (None, "CREATE KEYSPACE fresh WITH replication = {'class': 'SimpleStrategy'}", "target"),
    (None, "CREATE TYPE fresh.address (street text)", "target"),
    (None, "DROP KEYSPACE old", "origin"),
    (None, "DROP KEYSPACE half", "both"),
    (None, "SELECT * FROM half.kept", "origin"),
    (None, "INSERT INTO half.kept (k) VALUES (1)", "target"),
    (None, "SELECT * FROM ks.t_everywhere", "target"),
    (None, "SELECT * FROM system_schema.tables", "origin"),
    (None, "SELECT * FROM system_schema.t_everywhere", "origin"),
    (None, "UPDATE system_auth.t_everywhere SET a = 1 WHERE k = 1", "both"),
    (None, "LIST ROLES", "origin"),
    (None, "FROBNICATE shop.sessions", "both"),
]


def quoted(keyspace):
    return keyspace if keyspace.islower() else f'"{keyspace}"'


def rules_bench(make_bench, primary="origin", **how):
    return make_bench(primary=primary, sections={"routing": {"rule": RULES}}, **how)


def clusters(bench, expected):
    return bench.primary_name if expected == "primary" else expected


def values_of(text):
    return [b"v"] * text.count("?") or None


@pytest.mark.parametrize("primary", PRIMARIES)
@pytest.mark.parametrize("keyspace, text, expected", STATEMENTS)
async def test_a_query_goes_where_the_rule_says(make_bench, primary, keyspace, text, expected):
    """QUERY by rule, and by the default where there is none."""
    bench = await rules_bench(make_bench, primary)
    c = await bench.client(keyspace=keyspace and quoted(keyspace))
    answer = await c.query(text, values=values_of(text))
    assert not answer.is_error(), answer
    await bench.settle(c)
    assert reached(bench, Op.QUERY, text) == clusters(bench, expected)


@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("keyspace, text, expected", STATEMENTS)
async def test_so_do_prepared_ones(make_bench, version, keyspace, text, expected):
    """PREPARE only goes to a cluster that may be asked to EXECUTE; EXECUTE goes where the rule says."""
    bench = await rules_bench(make_bench)
    c = await bench.client(version, keyspace=keyspace and quoted(keyspace))
    prepared = await c.prepare(text)
    assert prepared.kind == Kind.PREPARED, prepared
    answer = await c.execute(prepared, values=values_of(text))
    assert not answer.is_error(), answer
    await bench.settle(c)
    assert reached(bench, Op.EXECUTE, text) == clusters(bench, expected)
    by_rule = expected in PRIMARIES and "system" not in text and not text.startswith("LIST")
    assert reached(bench, Op.PREPARE, text) == (expected if by_rule else "both")


async def test_the_keyspace_of_a_v5_request(make_bench):
    """Unqualified names mean the request's keyspace, not the connection's, in QUERY, PREPARE and BATCH."""
    bench = await rules_bench(make_bench)
    c = await bench.client(5, keyspace="other")
    text = "SELECT * FROM orders"
    assert (await c.query(text, keyspace="shop")).rows[0][0] == "target"
    prepared = await c.prepare(text, keyspace="shop")
    assert (await c.execute(prepared)).rows[0][0] == "target"
    assert (await c.query(text)).rows[0][0] == "origin"
    assert (await c.batch([("INSERT INTO sessions (k) VALUES (1)", [])], keyspace="shop")).kind == Kind.VOID
    assert (await c.batch([("INSERT INTO sessions (k) VALUES (2)", [])])).kind == Kind.VOID
    await bench.settle(c)
    assert [len(cluster.requests(Op.BATCH)) for cluster in bench.clusters] == [1, 2]


@pytest.mark.parametrize("primary", PRIMARIES)
async def test_of_a_read_of_both_the_primary_answers(make_bench, primary):
    """`read ... both`: both must answer, and the client gets the primary's answer; an error of either is the answer."""
    bench = await rules_bench(make_bench, primary)
    c = await bench.client()
    prepared = await c.prepare("SELECT * FROM shop.both")
    assert (await c.query("SELECT a FROM shop.both")).rows[0][0] == primary
    assert (await c.execute(prepared)).rows[0][0] == primary
    bench.secondary.on("FROM shop.both", behaviour.error(Err.OVERLOADED, "not now"))
    assert_error(await c.query("SELECT b FROM shop.both"), Err.OVERLOADED, "not now")
    assert_error(await c.execute(prepared), Err.OVERLOADED, "not now")
    for cluster in bench.clusters:
        assert len(cluster.requests(Op.QUERY)) == 2 and len(cluster.requests(Op.EXECUTE)) == 2


@pytest.mark.parametrize("primary", PRIMARIES)
@pytest.mark.parametrize("version", [4, 5])
async def test_a_copy_of_a_mirrored_read_goes_to_the_other_cluster(make_bench, primary, version):
    """`read ... mirror`, without read_mode: the primary answers, the other cluster gets a copy, of QUERY and EXECUTE."""
    bench = await rules_bench(make_bench, primary)
    c = await bench.client(version, keyspace="shop")
    text = "SELECT * FROM mirrored"
    prepared = await c.prepare(text)
    assert (await c.query(text)).rows[0][0] == primary
    await bench.secondary.until(lambda: reached(bench, Op.QUERY, text) == "both", "the copy of a QUERY")
    assert (await c.execute(prepared)).rows[0][0] == primary
    await bench.secondary.until(lambda: reached(bench, Op.EXECUTE, text) == "both", "the copy of an EXECUTE")
    assert (await c.query("SELECT * FROM shop.orders")).rows[0][0] == "target"


# ---- batches ----

async def batch_children(c, kind, texts):
    """Children for a BATCH: as texts, prepared, or by turns."""
    children = []
    for i, text in enumerate(texts):
        if kind == "texts" or (kind == "mixed" and i % 2 == 0):
            children.append((text, []))
        else:
            children.append(((await c.prepare(text)).prepared_id, []))
    return children


AUDIT, SESSIONS, LOGS, ORDERS, PLAIN = (f"INSERT INTO {t} (k) VALUES (1)" for t in (
    "shop.audit", "shop.sessions", "log_b.x", "shop.orders", "ks.plain"))


@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("kind", ["texts", "prepared", "mixed"])
@pytest.mark.parametrize("texts, expected", [
    ([AUDIT], "origin"), ([SESSIONS, LOGS, SESSIONS], "target"), ([ORDERS, PLAIN], "both"), ([PLAIN], "both")])
async def test_a_batch_goes_where_all_its_tables_go(make_bench, version, kind, texts, expected):
    """BATCH with texts and prepared children."""
    bench = await rules_bench(make_bench)
    c = await bench.client(version)
    assert (await c.batch(await batch_children(c, kind, texts))).kind == Kind.VOID
    await bench.settle(c)
    assert reached(bench, Op.BATCH) == expected


@pytest.mark.parametrize("kind", ["texts", "prepared", "mixed"])
@pytest.mark.parametrize("texts, names", [
    ([AUDIT, SESSIONS], ["shop.audit (origin, by the rule at ", "shop.sessions (target, by the rule at "]),
    ([LOGS, LOGS, PLAIN], ["log_b.x (target, by the rule at ", "ks.plain (both, without a rule)"]),
    ([ORDERS, PLAIN, AUDIT], ["shop.orders (both, without a rule)", "shop.audit (origin, by the rule at "])])
async def test_a_batch_of_tables_on_different_clusters_is_refused(make_bench, kind, texts, names):
    """INVALID that names two tables and their routes; nothing is sent, and the connection goes on."""
    bench = await rules_bench(make_bench)
    c = await bench.client(4)
    children = await batch_children(c, kind, texts)
    assert_error(await c.batch(children), Err.INVALID, "routed differently", *names)
    assert (await c.batch(children[:1])).kind == Kind.VOID
    await bench.settle(c)
    for cluster in bench.clusters:
        assert all(len(r.children) == 1 for r in cluster.requests(Op.BATCH))


async def test_a_text_batch_of_tables_on_different_clusters_is_refused(make_bench):
    """The same for BEGIN BATCH in QUERY and in PREPARE; the names count as the request's keyspace makes them."""
    bench = await rules_bench(make_bench)
    c = await bench.client(5, keyspace="other")
    text = "BEGIN BATCH INSERT INTO audit (k) VALUES (1); /* x */ UPDATE log_b.x SET v = 1 WHERE k = 1 APPLY BATCH"
    names = ["shop.audit (origin, by the rule at ", "log_b.x (target, by the rule at "]
    assert_error(await c.query(text, keyspace="shop"), Err.INVALID, "routed differently", *names)
    assert_error(await c.prepare(text, keyspace="shop"), Err.INVALID, "routed differently", *names)
    assert_error(await c.query(text), Err.INVALID, "other.audit (both, without a rule)", names[1])
    await bench.settle(c)
    assert reached(bench, Op.QUERY, text) == reached(bench, Op.PREPARE, text) == "none"


async def test_a_batch_that_is_not_understood(make_bench):
    """It goes to both, unless all rules for writes say the same, and one of them is for all tables."""
    text = "BEGIN BATCH INSERT t (k) VALUES (1) APPLY BATCH"
    for rules, expected in ((["write *.* target", "read *.* origin"], "target"),
                            (["write *.* target", "all ks.* origin"], "both"),
                            (["write ks.* target"], "both")):
        bench = await make_bench(sections={"routing": {"rule": rules}})
        c = await bench.client()
        await c.query(text)
        await c.batch([("FROBNICATE", [])])
        assert reached(bench, Op.QUERY, text) == expected
        assert reached(bench, Op.BATCH) == expected


# ---- USE ----

@pytest.mark.parametrize("keyspace, expected", [("fresh", "target"), ("old", "origin"), ("half", "both"),
                                                ("shop", "both"), ("ks", "both"), ("log_a", "both")])
@pytest.mark.parametrize("how", ["query", "execute"])
async def test_use_goes_where_the_keyspace_is(make_bench, keyspace, expected, how):
    """To one cluster when `all KEYSPACE.*` says so and nothing in that keyspace is elsewhere."""
    bench = await rules_bench(make_bench)
    c = await bench.client()
    text = f"USE {keyspace}"
    if how == "query":
        answer = await c.query(text)
    else:
        answer = await c.execute(await c.prepare(text))
    assert answer.kind == Kind.SET_KEYSPACE, answer
    await c.query("SELECT * FROM ks.t")
    if not bench.is_pooled:  # shared connections are in a keyspace from their start
        assert reached(bench, Op.QUERY if how == "query" else Op.EXECUTE, text) == expected
    if expected in PRIMARIES:
        assert (await c.query("SELECT * FROM anything")).dicts()[0] == {
            "cluster": expected, "keyspace": keyspace, "statement": "SELECT * FROM anything"}
        assert (await c.query("INSERT INTO anything (k) VALUES (1)")).kind == Kind.VOID
        assert reached(bench, Op.QUERY, "INSERT INTO anything (k) VALUES (1)") == expected


# ---- counting ----

async def test_writes_to_one_cluster_are_counted(make_bench):
    """By cluster: simple, prepared, batches, DDL; not reads, not what went to both, not what was refused."""
    bench = await rules_bench(make_bench, fresh=True)
    c = await bench.client()
    name = 'zdm_cqlferry_single_cluster_writes_total{cluster="%s"}'

    async def counted():
        metrics = await bench.proxy.metrics()
        return [metrics[name % cluster] for cluster in PRIMARIES]
    assert await counted() == [0, 0]
    await c.query(AUDIT)
    prepared = await c.prepare(SESSIONS)
    for _ in range(2):
        await c.execute(prepared)
    await c.batch([(SESSIONS, []), (LOGS, [])])
    await c.query("BEGIN BATCH INSERT INTO shop.sessions (k) VALUES (1) APPLY BATCH")
    await c.query("CREATE TABLE fresh.t (k int PRIMARY KEY)")
    assert await counted() == [1, 5]
    await c.query(PLAIN)
    await c.query("SELECT * FROM shop.orders")
    await c.query("USE fresh")
    await c.batch([(SESSIONS, []), (AUDIT, [])])
    assert await counted() == [1, 5]


# ---- the start ----

async def refused_start(folder, rules):
    """The log of a process that ends with exit status 1 because of these rules."""
    proxy = Proxy(folder, "proxy")
    await proxy.start(sections={"routing": {"rule": rules}, "origin": {"contact_points": "127.0.0.1"},
                                "target": {"contact_points": "127.0.0.1"}}, wait=False)
    try:
        assert await proxy.wait() == 1
    finally:
        await proxy.kill()
    proxy.check_log()
    return proxy.log


@pytest.mark.parametrize("rule, why", [
    ("raed shop.* target", '"raed" does not say which statements; allowed: read, write or all'),
    ("read shop target", '"shop" is no KEYSPACE.TABLE'),
    ("read shop.* elsewhere", '"elsewhere" is no route'),
    ("write shop.* mirror", 'mirror is for reads, not for "write"'),
    ("read system.local target", "system is a system keyspace"),
    (f"read shop.{'x' * 49} target", "longer than 48 characters"),
])
async def test_a_wrong_rule_is_an_error_at_the_start(tmp_path, rule, why):
    """Exit status 1, and a line that names file, line, the rule's key and what is allowed."""
    log = await refused_start(tmp_path, ["read shop.a both", rule])
    assert "proxy.ini:3: [routing] rule: " in log and why in log, log


async def test_rules_for_the_same_statements_are_an_error(tmp_path):
    """The second one's line is named, and that of the first."""
    log = await refused_start(tmp_path, ["read Shop.a both", "all shop.a origin", "read shop.A target"])
    assert "proxy.ini:4: [routing] rule: the rule at " in log, log
    assert "proxy.ini:2, \"read shop.a both\", is about the same statements" in log, log


# ---- reload ----

async def test_rules_change_in_a_running_process(make_bench):
    """
    After SIGHUP the new rules count for old and new connections and under prepared statements, which are prepared on the
    cluster that lacks them inside the proxy; a mistake changes nothing and names file and line.
    """
    bench = await rules_bench(make_bench, fresh=True)
    c = await bench.client()
    read = await c.prepare("SELECT * FROM shop.orders")
    write = await c.prepare(AUDIT)
    assert (await c.execute(read)).rows[0][0] == "target"
    assert (await c.execute(write)).kind == Kind.VOID
    text = await bench.reload(routing={"rule": ["read shop.orders origin", "write shop.audit target"]})
    assert "[routing] rule: read shop.orders origin, write shop.audit target, was" in text
    for _ in range(2):
        assert (await c.execute(read)).rows[0][0] == "origin"
        assert (await c.execute(write)).kind == Kind.VOID
        assert (await c.batch([(write.prepared_id, []), (write.prepared_id, [])])).kind == Kind.VOID
    assert (await c.query("SELECT * FROM log_a.x")).rows[0][0] == "origin"
    assert [len(cluster.requests(Op.EXECUTE)) for cluster in bench.clusters] == [3, 3]
    assert reached(bench, Op.PREPARE, "SELECT * FROM shop.orders") == "both"
    assert [len(cluster.requests(Op.BATCH)) for cluster in bench.clusters] == [0, 2]
    text = await bench.reload("refused", routing={"rule": ["read shop.orders target", "write shop.orders mirror"]})
    assert "[routing] rule: mirror is for reads, not for \"write\"" in text
    assert (await c.execute(read)).rows[0][0] == "origin"
    await bench.reload(routing={"rule": None})
    assert (await c.execute(write)).kind == Kind.VOID
    await bench.settle(c)
    assert [len(cluster.requests(Op.EXECUTE)) for cluster in bench.clusters] == [5, 4]


async def test_a_page_comes_from_the_cluster_of_the_first_one(make_bench):
    """Rules that change between two pages do not send the second one elsewhere."""
    bench = await make_bench(fresh=True, sections={"routing": {"rule": ["read ks.paged target"]}})
    c = await bench.client()
    prepared = await c.prepare("SELECT * FROM ks.paged")
    first = await c.execute(prepared, page_size=1)
    query = await c.query("SELECT * FROM ks.paged", page_size=1)
    await bench.reload(routing={"rule": ["read ks.paged origin"]})
    for answer in (await c.execute(prepared, page_size=1, paging_state=first.paging_state),
                   await c.query("SELECT * FROM ks.paged", page_size=1, paging_state=query.paging_state)):
        assert answer.rows[0][0] == "target", answer
    assert (await c.query("SELECT * FROM ks.paged", page_size=1)).rows[0][0] == "origin"


# ---- rules and scripts ----

TABLES = """
local to = { ["shop.sessions"] = "origin", ["ks.moved"] = "target" }
proxy.on_request("tables", { kinds = "read,write", scope = "table" }, function(req)
  return to[req:keyspace() .. "." .. req:table()]
end)
"""


@pytest.mark.parametrize("kind", ["texts", "prepared", "mixed"])
async def test_hooks_come_first_and_rules_where_they_say_nothing(make_bench, kind):
    """
    A hook's route wins over a rule. In a batch a table without an opinion of a hook goes where its rule says, which has
    to be where the others go.
    """
    bench = await make_bench(fresh=True, configure=policies.settings({"tables.lua": TABLES}),
                             sections={"routing": {"rule": list(RULES)}})
    c = await bench.client()
    moved = "INSERT INTO ks.moved (k) VALUES (1)"
    assert (await c.query("SELECT * FROM shop.sessions")).rows[0][0] == "origin"
    assert (await c.query("SELECT * FROM shop.orders")).rows[0][0] == "target"
    for texts in ([SESSIONS, AUDIT], [AUDIT, SESSIONS]):
        assert (await c.batch(await batch_children(c, kind, texts))).kind == Kind.VOID
    assert (await c.batch(await batch_children(c, kind, [LOGS, moved]))).kind == Kind.VOID
    assert_error(await c.batch(await batch_children(c, kind, [LOGS, SESSIONS])), Err.INVALID, "routed differently",
                 "log_b.x (target, by the rule at ", "shop.sessions (origin)")
    assert_error(await c.batch(await batch_children(c, kind, [PLAIN, moved])), Err.INVALID, "routed differently",
                 "ks.plain (both, without a rule)", "ks.moved (target)")
    assert_error(await c.batch(await batch_children(c, kind, [LOGS, AUDIT])), Err.INVALID, "routed differently",
                 "log_b.x (target, by the rule at ", "shop.audit (origin, by the rule at ")
    await bench.settle(c)
    assert [len(cluster.requests(Op.BATCH)) for cluster in bench.clusters] == [2, 1]


async def test_a_hook_may_send_a_batch_that_rules_would_refuse(make_bench):
    """Its opinion is about the whole request; where it has none, the rules refuse."""
    script = """
    proxy.on_request("batches", { kinds = "write" }, function(req)
      if req:verb() == "batch" and req:consistency() == "TWO" then return "both" end
    end)"""
    bench = await make_bench(fresh=True, configure=policies.settings({"batches.lua": script}),
                             sections={"routing": {"rule": list(RULES)}})
    c = await bench.client()
    children = [(AUDIT, []), (SESSIONS, [])]
    text = "BEGIN BATCH INSERT INTO shop.audit (k) VALUES (1); INSERT INTO shop.sessions (k) VALUES (1) APPLY BATCH"
    prepared = await c.prepare(text)
    assert prepared.kind == Kind.PREPARED, prepared
    for consistency in (CL.TWO, CL.ONE):
        answers = [await c.batch(children, consistency=consistency), await c.query(text, consistency=consistency),
                   await c.execute(prepared, consistency=consistency)]
        for answer in answers:
            if consistency == CL.TWO:
                assert answer.kind == Kind.VOID, answer
            else:
                assert_error(answer, Err.INVALID, "shop.audit (origin, by the rule at ", "shop.sessions (target, by ")
    await bench.settle(c)
    assert reached(bench, Op.BATCH) == reached(bench, Op.QUERY, text) == reached(bench, Op.EXECUTE, text) == "both"
