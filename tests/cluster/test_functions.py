"""replace_cql_functions between real clusters: what both store is the same, and what the application sees is its own."""

import re
import time
import uuid

import pytest
from cassandra.query import BatchStatement, BatchType

pytestmark = pytest.mark.pair("migration")

TABLE = """CREATE TABLE {0}.t (k int, c timeuuid, a timeuuid, u uuid, ts timestamp, d date, tm time, big bigint, v text,
    tup frozen<tuple<int, timeuuid>>, udt frozen<u>, free u, l list<timeuuid>, m map<text, timeuuid>, s set<uuid>,
    dates map<text, timestamp>, PRIMARY KEY (k, c))"""
C = "00000000-0000-1000-8000-000000000000"

# name: columns and values; a ? is bound to the number of the row where it stands first, to a text elsewhere
INSERTS = {
    "top level": ("a, u, ts, d, tm", "now(), uuid(), currentTimestamp(), currentDate(), currentTime()"),
    "snake case": ("a, ts, d", "currentTimeUUID(), toTimestamp(currentDate()), toDate(currentTimestamp())"),
    "a timeuuid as uuid": ("u, v", "NOW(), 'now()'"),
    "qualified": ("a, u", 'system.now(), "system"."uuid"()'),
    "cast": ("a, ts, u", "(timeuuid)now(), (timestamp)currentTimestamp(), (uuid)uuid()"),
    "wrapped": ("ts, d, big", "toTimestamp(now()), toDate(now()), toUnixTimestamp(now())"),
    "wrapped twice": ("ts, a", "toTimestamp(toDate(now())), minTimeuuid(currentTimestamp())"),
    "a timestamp as bigint": ("big", "currentTimestamp()"),
    "arithmetic": ("ts, d", "currentTimestamp() - 1d, currentDate() + 2d"),
    "tuple": ("tup, a", "(7, now()), now()"),
    "UDT": ("udt, a", "{id: now(), n: 7, at: currentTimestamp()}, now()"),
    "UDT, not frozen, no blanks": ("free", "{id:now(),n:7,at:toTimestamp(now())}"),
    "before and behind text": ("v, a", "'\u00e9\u20ac\U0001f30d it''s now()', now()"),
}
COLLECTIONS = {
    "list": ("l", "[now(), now()]"),
    "map": ("m, dates", "{'a': now(), 'b':now()}, {'x': currentTimestamp(), 'y': toTimestamp(now())}"),
    "set": ("s", "{uuid(), uuid()}"),
}
# Statements on the row that `fill` has made.
CHANGES = {
    "UPDATE": "UPDATE {0}.t SET a = now(), ts = toTimestamp(now()), u = uuid() WHERE k = {1} AND c = " + C,
    "a new row": "UPDATE {0}.t SET v = 'x' WHERE k = {1} AND c = now()",
    "IN": "UPDATE {0}.t SET v = 'x' WHERE k = {1} AND c IN (now(), now(), " + C + ")",
    "an element": "UPDATE {0}.t SET m['x'] = now(), dates['y'] = currentTimestamp() WHERE k = {1} AND c = " + C,
    "a field": "UPDATE {0}.t SET free.id = now(), free.at = currentTimestamp() WHERE k = {1} AND c = " + C,
    "USING": "UPDATE {0}.t USING TTL 5000 SET a = now() WHERE k = {1} AND c = " + C,
    "a condition": "UPDATE {0}.t SET v = 'y', u = uuid() WHERE k = {1} AND c = " + C + " IF a != now() AND v IN ('old', 'x')",
    "a condition that fails": "UPDATE {0}.t SET v = 'y' WHERE k = {1} AND c = " + C + " IF a = now()",
    "an element in a condition": "UPDATE {0}.t SET v = 'y' WHERE k = {1} AND c = " + C + " IF m['a'] != now()",
    "DELETE": "DELETE FROM {0}.t WHERE k = {1} AND c < now()",
    "DELETE of several columns": "DELETE FROM {0}.t WHERE k = {1} AND (c) < (now())",
    "DELETE that fits nothing": "DELETE a, m['a'] FROM {0}.t WHERE k = {1} AND c = now()",
    "no blanks": "UPDATE {0}.t SET a=now()WHERE k={1} AND c=now()",
}


@pytest.fixture(scope="module")
def replacing(pair, tmp_path_factory):
    from conftest import _ferries
    ferries = _ferries(tmp_path_factory)
    yield next(ferries)(pair.environment(REPLACE_CQL_FUNCTIONS="true"))
    next(ferries, None)


@pytest.fixture(params=[3, 4, 5])
def session(request, pair, replacing, connect, keyspace):
    session = connect(replacing, login=pair.client_login, protocol_version=request.param)
    session.execute("CREATE TYPE %s.u (id timeuuid, n int, at timestamp)" % keyspace)
    session.execute(TABLE.format(keyspace))
    return session


def kept(replacing):
    """How many prepared statements reached the clusters with their calls."""
    _, page = replacing.get("/metrics")
    return float(re.search(r'^zdm_cqlferry_functions_kept_total{reason="refused"} (\S+)$', page, re.M).group(1))


def row(pair, keyspace, k):
    """The rows of a partition; equal on both clusters."""
    return pair.rows("SELECT c, a, u, ts, d, tm, big, v, tup, udt, free, l, m, s, dates FROM %s.t WHERE k = %d"
                     % (keyspace, k))


def fill(session, keyspace, k):
    session.execute("INSERT INTO %s.t (k, c, a, v, m) VALUES (%d, %s, %s, 'old', {'a': %s})" % (keyspace, k, C, C, C))


def columns_of(row, names):
    order = "c a u ts d tm big v tup udt free l m s dates".split()
    return [row[order.index(name)] for name in names.split(", ")]


def test_unprepared(pair, session, keyspace):
    for k, (columns, values) in enumerate({**INSERTS, **COLLECTIONS}.values()):
        before = time.time()
        session.execute("INSERT INTO %s.t (k, c, %s) VALUES (%d, now(), %s)" % (keyspace, columns, k, values))
        (stored,) = row(pair, keyspace, k)
        assert None not in columns_of(stored, columns)
        assert before - 1 <= (stored[0].time - 0x01B21DD213814000) / 1e7 <= time.time() + 1


def test_unprepared_changes(pair, session, keyspace):
    for k, text in enumerate(CHANGES.values()):
        fill(session, keyspace, k)
        before = row(pair, keyspace, k)
        session.execute(text.format(keyspace, k))
        after = row(pair, keyspace, k)
        assert (before == after) == ("IF a = now()" in text or text.startswith("DELETE a")), text


@pytest.mark.parametrize("markers", ["?", "named"])
def test_prepared(pair, replacing, session, keyspace, markers):
    refused = kept(replacing)
    for k, (columns, values) in enumerate(INSERTS.values()):
        text = "INSERT INTO %s.t (k, c, %s) VALUES (%s, now(), %s) USING TTL %s" % (
            keyspace, columns, *(("?", values, "?") if markers == "?" else (":k", values, ":ttl")))
        insert = session.prepare(text)
        assert [column.name for column in insert.column_metadata] == \
            (["k", "[ttl]"] if markers == "?" else ["k", "ttl"]), text
        if session.cluster.protocol_version >= 4:
            assert insert.routing_key_indexes == [0]
        for _ in range(2):
            session.execute(insert, (k, 5000) if markers == "?" else {"ttl": 5000, "k": k})
        stored = row(pair, keyspace, k)
        assert len(stored) == 2 and all(None not in columns_of(each, columns) for each in stored), text
    assert kept(replacing) == refused


def test_prepared_changes(pair, replacing, session, keyspace):
    refused = kept(replacing)
    for k, text in enumerate(CHANGES.values()):
        fill(session, keyspace, k)
        before = row(pair, keyspace, k)
        change = session.prepare(text.replace("k = {1}", "k = ?").replace("k={1}", "k=?").format(keyspace))
        assert [column.name for column in change.column_metadata] == ["k"]
        session.execute(change, (k,))
        after = row(pair, keyspace, k)
        assert (before == after) == ("IF a = now()" in text or text.startswith("DELETE a")), text
    assert kept(replacing) == refused


def test_collection_literals_take_no_markers(pair, replacing, session, keyspace):
    """Cassandra refuses them; the statement works, but each cluster makes its own values."""
    for k, (columns, values) in enumerate(COLLECTIONS.values()):
        refused = kept(replacing)
        insert = session.prepare("INSERT INTO %s.t (k, c, %s) VALUES (?, %s, %s)" % (keyspace, columns, C, values))
        assert [column.name for column in insert.column_metadata] == ["k"]
        session.execute(insert, (k,))
        assert kept(replacing) == refused + 1
        text = "SELECT %s FROM %s.t WHERE k = %d" % (columns, keyspace, k)
        for side in pair.sides:
            assert len(side.rows(text)) == 1 and None not in side.rows(text)[0]


def test_markers_around_the_call(pair, session, keyspace):
    """Markers in tuples, arguments, conditions and USING, before and behind."""
    insert = session.prepare("INSERT INTO %s.t (v, tup, a, k, ts, c) VALUES (?, (?, now()), now(), ?, toTimestamp((timeuuid)?), ?) "
                             "USING TTL ?" % keyspace)
    c, at = uuid.uuid1(), uuid.uuid1()
    assert len(insert.column_metadata) == 6
    session.execute(insert, ("v", 7, 1, at, c, 5000))
    (stored,) = row(pair, keyspace, 1)
    assert stored[0] == c and columns_of(stored, "v, a")[0] == "v" and columns_of(stored, "tup")[0][0] == 7
    assert stored[1] is not None and columns_of(stored, "tup")[0][1] is not None
    update = session.prepare("UPDATE %s.t SET u = uuid(), v = :new, m[:key] = now() WHERE k = :k AND c = :c "
                             "IF v = :old AND a != now()" % keyspace)
    result = session.execute(update, {"new": "w", "key": "\u00e9", "k": 1, "c": c, "old": "v"})
    assert result.was_applied
    (stored,) = row(pair, keyspace, 1)
    assert columns_of(stored, "v, m")[0] == "w" and list(columns_of(stored, "m")[0]) == ["\u00e9"]


def test_null_and_unset(pair, session, keyspace):
    insert = session.prepare("INSERT INTO %s.t (v, c, k, big, a) VALUES (?, now(), ?, ?, now())" % keyspace)
    session.execute(insert, (None, 1, None))
    (stored,) = row(pair, keyspace, 1)
    assert columns_of(stored, "v, big") == [None, None] and columns_of(stored, "a") != [None]
    if session.cluster.protocol_version >= 4:
        session.execute(insert, {"k": 2})
        assert columns_of(row(pair, keyspace, 2)[0], "v, big") == [None, None]


def test_the_whole_key_is_ours(pair, session, keyspace):
    session.execute("CREATE TABLE %s.ids (id timeuuid PRIMARY KEY, v int)" % keyspace)
    insert = session.prepare("INSERT INTO %s.ids (id, v) VALUES (now(), ?)" % keyspace)
    assert not insert.routing_key_indexes
    only = session.prepare("INSERT INTO %s.ids (id, v) VALUES (now(), 0)" % keyspace)
    assert not only.column_metadata
    for v in range(1, 20):
        session.execute(insert, (v,))
    session.execute(only)
    assert sorted(v for _, v in pair.rows("SELECT id, v FROM %s.ids" % keyspace)) == list(range(20))


def test_the_clients_own_statement(pair, session, keyspace):
    """The same text on the clusters, interleaved, and in one batch."""
    now = session.prepare("INSERT INTO %s.t (k, c, a) VALUES (?, now(), ?)" % keyspace)
    own = session.prepare("INSERT INTO %s.t (k, c, a) VALUES (?, ?, ?)" % keyspace)
    mine = [uuid.uuid1() for _ in range(6)]
    for a in mine[:3]:
        session.execute(now, (1, a))
        session.execute(own, (2, a, a))
    batch = BatchStatement(BatchType.UNLOGGED)
    for a in mine[3:]:
        batch.add(own, (2, a, a))
        batch.add(now, (1, a))
        batch.add("INSERT INTO %s.t (k, c, u) VALUES (3, now(), uuid())" % keyspace)
    session.execute(batch)
    assert sorted(a for _, a, *_ in row(pair, keyspace, 1)) == sorted(mine)
    assert all(c != a for c, a, *_ in row(pair, keyspace, 1))
    assert sorted((c, a) for c, a, *_ in row(pair, keyspace, 2)) == sorted((a, a) for a in mine)
    assert len(row(pair, keyspace, 3)) == 3


@pytest.mark.parametrize("who", ["origin", "target", "both"])
def test_a_node_that_forgets(pair, session, keyspace, who):
    now = session.prepare("INSERT INTO %s.t (k, c, a) VALUES (?, now(), now())" % keyspace)
    session.execute(now, (1,))
    for side in pair.sides:
        if who in (side.name, "both"):
            side.execute("DROP TABLE %s.t" % keyspace)
            side.execute(TABLE.format(keyspace))
    session.execute(now, (2,))
    (stored,) = row(pair, keyspace, 2)
    assert None not in stored[:2]


def test_batch_text(pair, session, keyspace):
    text = ("BEGIN BATCH INSERT INTO {0}.t (k, c, a) VALUES ({1}, now(), now()); "
            "UPDATE {0}.t SET v = 'x', u = uuid() WHERE k = {1} AND c = now(); "
            "DELETE FROM {0}.t WHERE k = {1} AND c = now(); APPLY BATCH")
    session.execute(text.format(keyspace, 1))
    prepared = session.prepare(text.format(keyspace, "?"))
    assert len(prepared.column_metadata) == 3
    session.execute(prepared, (2, 2, 2))
    assert len(row(pair, keyspace, 1)) == len(row(pair, keyspace, 2)) == 2


def test_reads_and_json_are_the_clusters_own(pair, session, keyspace):
    session.execute("INSERT INTO %s.t JSON '{\"k\": 1, \"c\": \"%s\", \"v\": \"now()\"}'" % (keyspace, C))
    assert [v for v in columns_of(row(pair, keyspace, 1)[0], "v")] == ["now()"]
    assert session.execute("SELECT now() AS n FROM %s.t" % keyspace).one().n.version == 1
    select = session.prepare("SELECT toTimestamp(now()) AS n, v FROM %s.t WHERE k = ?" % keyspace)
    assert session.execute(select, (1,)).one().v == "now()"
