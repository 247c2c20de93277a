"""The kinds of statements that hooks tell apart, and what no hook is asked about: the table of docs/lua.md."""
import pytest

import policies
from cqlwire import Op
from helpers import reached

pytestmark = [pytest.mark.native, pytest.mark.own_profile]

#: verbs that --explain and hooks know, in the kinds of docs/lua.md
STATEMENTS = [
    ("read", "select", "SELECT * FROM ks.t"),
    ("read", "select", "SELECT * FROM nowhere"),
    ("write", "insert", "INSERT INTO ks.t (k) VALUES (1)"),
    ("write", "insert", "INSERT INTO ks.t (k) VALUES (1) IF NOT EXISTS"),
    ("write", "update", "UPDATE ks.t SET v = 1 WHERE k = 1 IF v = 2"),
    ("write", "delete", "DELETE FROM ks.t WHERE k = 1"),
    ("write", "truncate", "TRUNCATE ks.t"),
    ("write", "batch", "BEGIN BATCH INSERT INTO ks.t (k) VALUES (1); DELETE FROM ks.u WHERE k = 1; APPLY BATCH"),
    ("schema", "schema", "CREATE TABLE ks.new (k int PRIMARY KEY)"),
    ("schema", "schema", "DROP KEYSPACE ks"),
    ("schema", "role", "CREATE ROLE r WITH PASSWORD = 'x'"),
    ("schema", "role", "GRANT SELECT ON KEYSPACE ks TO r"),
    ("use", "use", "USE ks"),
    ("unknown", "unknown", "FLUSH ks.t"),
    ("unknown", "unknown", "BEGIN TRANSACTION SELECT * FROM ks.t; COMMIT TRANSACTION"),
    ("unknown", "call", "CALL DseGraphRpc.run(1)"),
]
NOT_ASKED = ["SELECT * FROM system_schema.tables", "LIST ROLES", "DESCRIBE TABLES"]
SCRIPT = """
proxy.on_request("kinds", { kinds = "%s" }, function(req)
  return req:kind() == "%s" and req:verb() == "%s" and "target" or "origin"
end)
proxy.on_request("others", { kinds = "%s" }, function(req) return "origin" end)
"""
KINDS = ["read", "write", "schema", "use", "unknown"]


@pytest.mark.parametrize("kind, verb, text", STATEMENTS, ids=[text[:30] for _, _, text in STATEMENTS])
def test_kinds(tmp_path, kind, verb, text):
    """A hook of this kind is asked, says target, and target alone gets it. One for all other kinds is not asked."""
    others = ", ".join(k for k in KINDS if k != kind)
    policies.write(tmp_path, {"kinds.lua": SCRIPT % (kind, kind, verb, others)})
    done = policies.run(tmp_path, "--explain", text, sections={"lua": {"script": "kinds.lua"}})
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"statement: {verb}, kind {kind}"), done
    assert f"not asked: kinds = {others}" in done.stdout
    assert lines[-1] == "route: target"


SENT = """
local routes = { read = "target", write = "target", schema = "origin", use = "both", unknown = "target" }
proxy.on_request("by-kind", function(req) return routes[req:kind()] end)
"""
WHERE = {"read": "target", "write": "target", "schema": "origin", "use": "both", "unknown": "target"}


async def test_statements_go_where_their_kind_says(make_bench):
    """All of them in one process, as texts; system tables, LIST and DESCRIBE go where they always go."""
    bench = await make_bench(fresh=True, configure=policies.settings({"by-kind.lua": SENT}))
    client = await bench.client()
    for kind, _, text in STATEMENTS:
        await client.query(text)
        await bench.settle(client)
        assert reached(bench, Op.QUERY, text) == WHERE[kind], text
    for text in NOT_ASKED:
        await client.query(text)
        await bench.settle(client)
        assert reached(bench, Op.QUERY, text) == "origin", text
    metrics = await bench.proxy.metrics()
    barriers = len(STATEMENTS) + len(NOT_ASKED)
    assert metrics['zdm_cqlferry_policy_hook_calls_total{hook="by-kind"}'] == len(STATEMENTS) + barriers
