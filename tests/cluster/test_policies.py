"""
Routes by rules and by scripts, on real clusters with the Python driver: what each cluster has in the end, and what the
application saw. The rows of each cluster tell where they came from.
"""

import signal

import pytest
from cassandra import InvalidRequest, Unauthorized
from cassandra.query import BatchStatement, SimpleStatement

from ferry import eventually

pytestmark = pytest.mark.pair("migration")

MODES = ["pooled", "dedicated"]


class Policy:
    """Proxies with one script, which a test may rewrite and have read again."""

    def __init__(self, pair, start_ferry, connect, folder):
        self.pair = pair
        self.script = folder / "policy.lua"
        self._start_ferry = start_ferry
        self._connect = connect
        self._ferry = None

    def start(self, script=None, rules=(), mode="pooled", **options):
        sections = {"proxy": {"backend_connections": mode}}
        if script is not None:
            self.script.write_text(script)
            sections["lua"] = {"script": self.script}
        if rules:
            sections["routing"] = {"rule": list(rules)}
        self._ferry = self._start_ferry(ini=self.pair.ini(**sections))
        return self.session(**options)

    def session(self, **options):
        return self._connect(self._ferry, login=self.pair.client_login, **options)

    def change(self, script):
        before = self.metric("reloads_total{result=\"ok\"}")
        self.script.write_text(script)
        self._ferry.signal(signal.SIGHUP)
        eventually("the script is read again", lambda: self.metric("reloads_total{result=\"ok\"}") > before)

    def metric(self, name):
        lines = self._ferry.get("/metrics")[1].splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if name in line and not line.startswith("#"))


@pytest.fixture
def policy(pair, start_ferry, connect, tmp_path):
    return Policy(pair, start_ferry, connect, tmp_path)


@pytest.fixture
def table(pair, keyspace):
    pair.execute("CREATE TABLE %s.t (id int PRIMARY KEY, v text)" % keyspace)
    for side in pair.sides:
        for key in range(60):
            side.execute("INSERT INTO %s.t (id, v) VALUES (%d, '%s')" % (keyspace, key, side.name))
    return keyspace + ".t"


def origins(result):
    return {row.v for row in result}


BY_TABLE = """
local reads = { ["%s"] = "target" }
proxy.on_request("by-table", { kinds = "read", scope = "table" }, function(req) return reads[req:table()] end)
"""


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("version", [3, 4, 5])
def test_reads_of_one_table_come_from_the_target(policy, pair, table, mode, version):
    pair.execute("CREATE TABLE %s (id int PRIMARY KEY, v text)" % table.replace(".t", ".other"))
    session = policy.start(BY_TABLE % "t", mode=mode, protocol_version=version)
    assert origins(session.execute("SELECT v FROM %s" % table)) == {"target"}
    assert origins(session.execute(session.prepare("SELECT v FROM %s WHERE id = ?" % table), (1,))) == {"target"}
    other = table.replace(".t", ".other")
    for side in pair.sides:
        side.execute("INSERT INTO %s (id, v) VALUES (1, '%s')" % (other, side.name))
    assert origins(session.execute("SELECT v FROM %s" % other)) == {"origin"}
    session.execute("UPDATE %s SET v = 'both' WHERE id = 3" % table)
    assert pair.rows("SELECT v FROM %s WHERE id = 3" % table) == [("both",)]


@pytest.mark.parametrize("mode", MODES)
def test_a_prepared_statement_follows_the_script(policy, table, mode):
    session = policy.start(BY_TABLE % "t", mode=mode)
    prepared = session.prepare("SELECT v FROM %s WHERE id = ?" % table)
    assert origins(session.execute(prepared, (1,))) == {"target"}
    policy.change(BY_TABLE % "elsewhere")
    assert origins(session.execute(prepared, (1,))) == {"origin"}
    policy.change(BY_TABLE % "t")
    assert origins(session.execute(prepared, (1,))) == {"target"}


@pytest.mark.parametrize("mode", MODES)
def test_a_keyspace_that_stays_behind(policy, pair, mode):
    """Made, used, written and read through the proxy; the target never hears of it."""
    name = "staging_" + mode
    session = policy.start(rules=["all %s.* origin" % name], mode=mode)
    try:
        session.execute("CREATE KEYSPACE %s WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}" % name)
        session.execute("CREATE TABLE %s.t (id int PRIMARY KEY, v text)" % name)
        session.execute("INSERT INTO %s.t (id, v) VALUES (1, 'a')" % name)
        session.set_keyspace(name)
        session.execute(session.prepare("INSERT INTO t (id, v) VALUES (?, ?)"), (2, "b"))
        batch = BatchStatement()
        insert = session.prepare("INSERT INTO t (id, v) VALUES (?, ?)")
        batch.add(insert, (3, "c"))
        batch.add(SimpleStatement("INSERT INTO %s.t (id, v) VALUES (4, 'd')" % name))
        session.execute(batch)
        assert session.execute("INSERT INTO t (id, v) VALUES (1, 'x') IF NOT EXISTS").one().applied is False
        found = session.execute(session.prepare("SELECT id, v FROM t"))
        assert sorted((row.id, row.v) for row in found) == [(1, "a"), (2, "b"), (3, "c"), (4, "d")]
        assert len(pair.origin.rows("SELECT * FROM %s.t" % name)) == 4
        with pytest.raises(InvalidRequest, match=name):
            pair.target.execute("SELECT * FROM %s.t" % name)
        assert policy.metric("single_cluster_writes_total{cluster=\"origin\"}") >= 5
    finally:
        pair.origin.execute("DROP KEYSPACE IF EXISTS %s" % name)


def test_a_table_that_only_the_target_has(policy, pair, keyspace):
    pair.target.execute("CREATE TABLE %s.new (id int PRIMARY KEY, v text)" % keyspace)
    session = policy.start(rules=["all %s.new target" % keyspace])
    insert = session.prepare("INSERT INTO %s.new (id, v) VALUES (?, ?)" % keyspace)
    for key in range(5):
        session.execute(insert, (key, "x"))
    assert len(list(session.execute("SELECT * FROM %s.new" % keyspace))) == 5
    assert len(pair.target.rows("SELECT * FROM %s.new" % keyspace)) == 5


@pytest.mark.parametrize("mode", MODES)
def test_a_hook_for_each_request_and_a_table_of_one_cluster(policy, pair, keyspace, mode):
    """PREPARE asks both, one of them does not know the table; what is routed to the other one works."""
    pair.target.execute("CREATE TABLE %s.new (id int PRIMARY KEY, v text)" % keyspace)
    session = policy.start("""
        proxy.on_request("new", { keyspaces = "%s" }, function(req)
            if req:table() == "new" then return "target" end
        end)""" % keyspace, mode=mode)
    session.execute(session.prepare("INSERT INTO %s.new (id, v) VALUES (?, ?)" % keyspace), (1, "x"))
    assert pair.target.rows("SELECT id, v FROM %s.new" % keyspace) == [(1, "x")]


def test_a_share_of_the_keys(policy, table):
    """Half of the buckets: neither all keys nor none, and for each key always the same cluster."""
    session = policy.start("""
        proxy.on_request("canary", { kinds = "read" }, function(req)
            local bucket = req:key_bucket(100)
            if bucket and bucket < 50 then return "target" end
        end)""")
    select = session.prepare("SELECT v FROM %s WHERE id = ?" % table)
    first = [session.execute(select, (key,)).one().v for key in range(60)]
    assert 10 < first.count("target") < 50
    again = policy.session()
    select = again.prepare("SELECT v FROM %s WHERE id = ?" % table)
    assert [again.execute(select, (key,)).one().v for key in range(60)] == first
    # The key of an unprepared text is not known.
    assert origins(again.execute("SELECT v FROM %s WHERE id = 1" % table)) == {"origin"}


FLIP = """
local n = 0
proxy.on_request("flip", { kinds = "read" }, function(req)
    n = n + 1
    return n % 2 == 0 and "target" or "origin"
end)
"""


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("version", [4, 5])
def test_pages_come_from_the_cluster_of_the_first(policy, table, mode, version):
    session = policy.start(FLIP, mode=mode, protocol_version=version)
    prepared = session.prepare("SELECT id, v FROM %s" % table)
    prepared.fetch_size = 7
    seen = set()
    for statement in [prepared.bind(()), SimpleStatement("SELECT id, v FROM %s" % table, fetch_size=7)] * 3:
        rows = list(session.execute(statement))
        assert len(rows) == 60 and len(origins(rows)) == 1
        seen |= origins(rows)
    assert seen == {"origin", "target"}


def test_a_denied_write(policy, pair, table):
    session = policy.start("""
        proxy.on_request("freeze", { kinds = "write,schema", scope = "table", on_error = "deny" }, function(req)
            if req:table() == "t" then return req:deny("unauthorized", "%s is frozen", req:table()) end
        end)""")
    for statement in ("UPDATE %s SET v = 'x' WHERE id = 1" % table, "TRUNCATE %s" % table, "DROP TABLE %s" % table,
                      "BEGIN BATCH DELETE FROM %s WHERE id = 1; APPLY BATCH" % table):
        with pytest.raises(Unauthorized, match="t is frozen"):
            session.execute(statement)
    with pytest.raises(Unauthorized, match="t is frozen"):
        session.execute(session.prepare("DELETE FROM %s WHERE id = ?" % table), (1,))
    assert len(pair.origin.rows("SELECT id FROM %s" % table)) == 60
    assert origins(session.execute("SELECT v FROM %s" % table)) == {"origin"}


def test_a_batch_over_tables_of_different_routes(policy, pair, keyspace):
    pair.execute("CREATE TABLE %s.both (id int PRIMARY KEY)" % keyspace)
    pair.origin.execute("CREATE TABLE %s.old (id int PRIMARY KEY)" % keyspace)
    session = policy.start(rules=["all %s.old origin" % keyspace])
    batch = BatchStatement()
    batch.add(SimpleStatement("INSERT INTO %s.both (id) VALUES (1)" % keyspace))
    batch.add(SimpleStatement("INSERT INTO %s.old (id) VALUES (1)" % keyspace))
    with pytest.raises(InvalidRequest, match="old.*both|both.*old"):
        session.execute(batch)
    assert pair.rows("SELECT * FROM %s.both" % keyspace) == []
    assert pair.origin.rows("SELECT * FROM %s.old" % keyspace) == []


def test_a_trace_of_a_routed_read(policy, table):
    session = policy.start(BY_TABLE % "t")
    result = session.execute("SELECT v FROM %s WHERE id = 1" % table, trace=True)
    assert origins(result) == {"target"}
    trace = result.get_query_trace(max_wait_sec=10)
    assert trace.events and trace.request_type


def test_a_conditional_write_to_one_cluster(policy, pair, table):
    session = policy.start(rules=["write %s target" % table])
    insert = session.prepare("INSERT INTO %s (id, v) VALUES (?, ?) IF NOT EXISTS" % table)
    assert session.execute(insert, (1, "x")).one().applied is False
    assert session.execute(insert, (100, "x")).one().applied is True
    assert pair.target.rows("SELECT v FROM %s WHERE id = 100" % table) == [("x",)]
    assert pair.origin.rows("SELECT v FROM %s WHERE id = 100" % table) == []


@pytest.mark.parametrize("mode", MODES)
def test_a_mirrored_read(policy, pair, table, mode):
    session = policy.start(rules=["read %s mirror" % table], mode=mode)
    select = session.prepare("SELECT v FROM %s WHERE id = ?" % table)
    for key in range(20):
        assert origins(session.execute(select, (key,))) == {"origin"}
    eventually("copies on the target", lambda: policy.metric("async_request_duration_seconds_count") >= 15)


def test_a_script_with_an_endless_loop(policy, pair, table):
    """One request in two is attacked; all are answered, and the default decides."""
    session = policy.start("""
        local n = 0
        proxy.on_request("loop", { kinds = "read" }, function(req)
            n = n + 1
            if n % 2 == 0 then while true do pcall(function() while true do end end) end end
            return "target"
        end)""")
    found = [origins(session.execute("SELECT v FROM %s WHERE id = 1" % table)) for _ in range(10)]
    assert found == [{"target"}, {"origin"}] * 5
    assert policy.metric("policy_hook_errors_total{hook=\"loop\",reason=\"time\"}") == 5
