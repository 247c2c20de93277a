"""Everything that writes, and what both nodes have of it."""

import time

import pytest
from cassandra import ConsistencyLevel, InvalidRequest
from cassandra.query import BatchStatement, BatchType, SimpleStatement

from cqlwire import Kind

KINDS = [BatchType.LOGGED, BatchType.UNLOGGED]


@pytest.mark.checklist(82, 185)
def test_insert_update_delete(link, primary, key):
    session = link.session(primary)
    session.execute("INSERT INTO series (p, c, v) VALUES (%s, 1, %s)", (key, "one"))
    insert = session.prepare("INSERT INTO series (p, c, v) VALUES (?, ?, ?)")
    for c in range(2, 9):
        session.execute(insert, (key, c, "v%d" % c))
    session.execute("UPDATE series SET v = 'changed' WHERE p = %d AND c IN (1, 2)" % key)
    session.execute(session.prepare("DELETE FROM series WHERE p = ? AND c = ?"), (key, 3))
    session.execute("DELETE v FROM series WHERE p = %d AND c = 4" % key)
    session.execute("DELETE FROM series WHERE p = %d AND c > 4 AND c <= 6" % key)
    wanted = [(1, "changed"), (2, "changed"), (4, None), (7, "v7"), (8, "v8")]
    assert [tuple(row) for row in session.execute("SELECT c, v FROM series WHERE p = %d" % key)] == wanted
    # The time stamps are the driver's, the same on both.
    rows = link.rows("SELECT c, v, writetime(v) FROM {ks}.series WHERE p = %d" % key)
    assert [row[:2] for row in rows] == wanted


def test_times(link, primary, key):
    session = link.session(primary)
    session.execute("INSERT INTO simple (id, v, s) VALUES (%d, 1, 's') USING TIMESTAMP 1000 AND TTL 5000" % key)
    update = session.prepare("UPDATE simple USING TIMESTAMP ? AND TTL ? SET v = ? WHERE id = ?")
    session.execute(update, (2000, 6000, 2, key))
    session.execute(update, (1500, 7000, 3, key))  # older than what is there
    session.execute("DELETE s FROM simple USING TIMESTAMP 999 WHERE id = %d" % key)
    text = "SELECT v, s, writetime(v), writetime(s) FROM %s.simple WHERE id = %d" % (link.keyspace, key)
    assert [tuple(row) for row in session.execute(text)] == link.rows(text) == [(2, "s", 2000, 1000)]
    for side in link.sides:
        ttl = side.execute("SELECT ttl(v), ttl(s) FROM %s.simple WHERE id = %d" % (link.keyspace, key)).one()
        assert 5900 < ttl[0] <= 6000 and 4900 < ttl[1] <= 5000
    session.execute("INSERT INTO simple (id, v) VALUES (%d, 1) USING TTL 1" % (key + 500000))
    time.sleep(1.1)
    assert link.rows("SELECT id FROM {ks}.simple WHERE id = %d" % (key + 500000)) == []


def test_the_time_of_the_request(link, primary, key):
    """A time stamp in the frame, and in v5 the moment that counts as now."""
    async def conversation(c):
        now = {"now_in_seconds": int(time.time()) + 4000} if c.version >= 5 else {}
        answer = await c.query("INSERT INTO simple (id, v) VALUES (%d, 5) USING TTL 5000" % key, timestamp=77, **now)
        assert answer.kind == Kind.VOID, answer

    link.raw(conversation, primary)
    assert link.rows("SELECT v, writetime(v) FROM {ks}.simple WHERE id = %d" % key) == [(5, 77)]
    for side in link.sides:
        ttl = side.execute("SELECT ttl(v) FROM %s.simple WHERE id = %d" % (link.keyspace, key)).one()[0]
        assert (8900 if link.version >= 5 else 4900) < ttl <= (9000 if link.version >= 5 else 5000)


@pytest.mark.checklist(85, 190)
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_batches_of_ids_and_texts(link, primary, key, kind):
    session = link.session(primary)
    insert = session.prepare("INSERT INTO series (p, c, v) VALUES (?, ?, ?)")
    update = session.prepare("UPDATE series SET v = ? WHERE p = ? AND c = ?")
    batch = BatchStatement(batch_type=kind)
    batch.add(insert, (key, 1, "prepared"))
    batch.add(SimpleStatement("INSERT INTO series (p, c, v) VALUES (%d, 2, 'text')" % key))
    batch.add(SimpleStatement("INSERT INTO series (p, c, v) VALUES (%s, %s, %s)"), (key, 3, "values"))
    batch.add(update, ("updated", key, 4))
    batch.add(insert, (key + 500000, 1, "another partition"))
    session.execute(batch)
    rows = link.rows("SELECT c, v, writetime(v) FROM {ks}.series WHERE p = %d" % key)
    assert [row[:2] for row in rows] == [(1, "prepared"), (2, "text"), (3, "values"), (4, "updated")]
    assert len({row[2] for row in rows}) == 1
    assert link.rows("SELECT v FROM {ks}.series WHERE p = %d" % (key + 500000)) == [("another partition",)]


@pytest.mark.checklist(84)
@pytest.mark.parametrize("kind", ["", "UNLOGGED"], ids=["logged", "unlogged"])
def test_batches_as_one_text(link, primary, key, kind):
    session = link.session(primary)
    body = ("INSERT INTO series (p, c, v) VALUES (%d, 1, 'a;b'); UPDATE series SET v = $$x$$ WHERE p = %d AND c = 2;"
            % (key, key))
    session.execute("BEGIN %s BATCH USING TIMESTAMP 50 %s APPLY BATCH;" % (kind, body))
    prepared = session.prepare("BEGIN %s BATCH INSERT INTO series (p, c, v) VALUES (?, ?, ?); DELETE FROM series WHERE"
                               " p = ? AND c = ? APPLY BATCH" % kind)
    session.execute(prepared, (key, 3, "bound", key, 1))
    assert link.rows("SELECT c, v FROM {ks}.series WHERE p = %d" % key) == [(2, "x"), (3, "bound")]


def test_a_conditional_batch(link, primary, key):
    session = link.session(primary)
    insert = session.prepare("INSERT INTO series (p, c, v) VALUES (?, ?, ?) IF NOT EXISTS")

    def conditional(*children):
        batch = BatchStatement(batch_type=BatchType.UNLOGGED)
        for c, v in children:
            batch.add(insert, (key, c, v))
        return session.execute(batch)

    assert conditional((1, "a"), (2, "b")).was_applied is True
    refused = conditional((2, "c"), (3, "d"))
    assert refused.was_applied is False
    assert {(row.c, row.v) for row in refused if row.v is not None} == {(2, "b")}
    assert link.rows("SELECT c, v FROM {ks}.series WHERE p = %d" % key) == [(1, "a"), (2, "b")]


@pytest.mark.checklist(188)
def test_counters(link, primary, key):
    session = link.session(primary)
    session.execute("UPDATE hits SET n = n + 2 WHERE id = %d AND page = 'a'" % key)
    update = session.prepare("UPDATE hits SET n = n - ? WHERE id = ? AND page = ?")
    session.execute(update, (5, key, "a"))
    batch = BatchStatement(batch_type=BatchType.COUNTER)
    batch.add(update, (-10, key, "a"))
    batch.add(SimpleStatement("UPDATE hits SET n = n + 1 WHERE id = %d AND page = 'b'" % key))
    session.execute(batch)
    session.execute("BEGIN COUNTER BATCH UPDATE hits SET n += 1 WHERE id = %d AND page = 'b' APPLY BATCH" % key
                    if link.pair != "3.11-5.0" else "UPDATE hits SET n = n + 1 WHERE id = %d AND page = 'b'" % key)
    wanted = [("a", 7), ("b", 2)]
    assert [tuple(row) for row in session.execute("SELECT page, n FROM hits WHERE id = %d" % key)] == wanted
    assert link.rows("SELECT page, n FROM {ks}.hits WHERE id = %d" % key) == wanted
    session.execute("DELETE FROM hits WHERE id = %d AND page = 'a'" % key)
    assert link.rows("SELECT page, n FROM {ks}.hits WHERE id = %d" % key) == wanted[1:]


@pytest.mark.checklist(83)
def test_conditional_writes(link, primary, key):
    session = link.session(primary)
    insert = session.prepare("INSERT INTO simple (id, v) VALUES (?, ?) IF NOT EXISTS")
    update = session.prepare("UPDATE simple SET v = ? WHERE id = ? IF v = ?")
    assert session.execute(insert, (key, 10)).was_applied is True
    refused = session.execute(insert, (key, 20))
    assert refused.was_applied is False and (refused.one().id, refused.one().v) == (key, 10)
    refused = session.execute(update, (11, key, 9))
    assert refused.was_applied is False and refused.one().v == 10
    assert session.execute(update, (11, key, 10)).was_applied is True
    serial = SimpleStatement("UPDATE simple SET v = 12 WHERE id = %d IF v IN (10, 11)" % key,
                             serial_consistency_level=ConsistencyLevel.LOCAL_SERIAL)
    assert session.execute(serial).was_applied is True
    assert session.execute("DELETE FROM simple WHERE id = %d IF v = 1" % key).was_applied is False
    assert link.rows("SELECT v FROM {ks}.simple WHERE id = %d" % key) == [(12,)]
    read = SimpleStatement("SELECT v FROM simple WHERE id = %d" % key, consistency_level=ConsistencyLevel.SERIAL)
    assert session.execute(read).one().v == 12
    assert session.execute("DELETE FROM simple WHERE id = %d IF EXISTS" % key).was_applied is True
    assert session.execute("DELETE FROM simple WHERE id = %d IF EXISTS" % key).was_applied is False
    assert link.rows("SELECT v FROM {ks}.simple WHERE id = %d" % key) == []


@pytest.mark.checklist(132)
def test_conditional_writes_that_differ(link, primary, key):
    """Applied on one cluster only: the answer is the primary's."""
    link.side(primary).execute("INSERT INTO %s.simple (id, v) VALUES (%d, 1)" % (link.keyspace, key))
    result = link.session(primary).execute("INSERT INTO simple (id, v) VALUES (%d, 2) IF NOT EXISTS" % key)
    assert result.was_applied is False and result.one().v == 1
    other = link.target if primary == "origin" else link.origin
    assert other.rows("SELECT v FROM %s.simple WHERE id = %d" % (link.keyspace, key)) == [(2,)]


def test_static_columns(link, primary, key):
    session = link.session(primary)
    session.execute("INSERT INTO shared (p, st, n) VALUES (%d, 'static', 1)" % key)
    insert = session.prepare("INSERT INTO shared (p, c, v) VALUES (?, ?, ?)")
    for c in (1, 2):
        session.execute(insert, (key, c, "v%d" % c))
    session.execute(session.prepare("UPDATE shared SET st = ? WHERE p = ?"), ("changed", key))
    assert session.execute("UPDATE shared SET n = 2 WHERE p = %d IF n = 1" % key).was_applied is True
    assert session.execute("UPDATE shared SET n = 3 WHERE p = %d IF n = 1" % key).was_applied is False
    wanted = [(1, "changed", 2, "v1"), (2, "changed", 2, "v2")]
    assert [tuple(row) for row in session.execute("SELECT c, st, n, v FROM shared WHERE p = %d" % key)] == wanted
    assert link.rows("SELECT c, st, n, v FROM {ks}.shared WHERE p = %d" % key) == wanted
    distinct = session.execute("SELECT DISTINCT p, st FROM shared WHERE p = %d" % key)
    assert [tuple(row) for row in distinct] == [(key, "changed")]


def test_truncate(link, primary):
    session = link.session(primary)
    table = "trunc_%d_%s" % (link.version, primary)
    link.on_both("CREATE TABLE IF NOT EXISTS {ks}.%s (id int PRIMARY KEY)" % table)
    for text in ("TRUNCATE %s", "TRUNCATE TABLE %s"):
        session.execute("INSERT INTO %s (id) VALUES (1)" % table)
        assert link.rows("SELECT id FROM {ks}." + table) == [(1,)]
        session.execute(text % table)
        assert link.rows("SELECT id FROM {ks}." + table) == []


def test_writes_where_target_has_more_columns(link, primary, key):
    session = link.session(primary)
    session.execute("INSERT INTO wider (id, a, z) VALUES (%d, 'text', 1)" % key)
    insert = session.prepare("INSERT INTO wider (id, a, z) VALUES (?, ?, ?)")
    session.execute(insert, (key + 500000, "bound", 2))
    for side in link.sides:
        assert side.rows("SELECT a, z FROM %s.wider WHERE id IN (%d, %d)" % (link.keyspace, key, key + 500000)) == \
            [("bound", 2), ("text", 1)]
    # A column that one cluster lacks is an error that names it, and is written on neither or told.
    with pytest.raises(InvalidRequest, match="extra"):
        session.execute("INSERT INTO wider (id, extra) VALUES (%d, 'x')" % key)
    with pytest.raises(InvalidRequest, match="extra"):
        session.prepare("UPDATE wider SET extra = ? WHERE id = ?")
