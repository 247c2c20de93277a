"""Everything that reads. Where it matters which cluster answers, the two have different rows."""

import pytest
from cassandra import InvalidRequest
from cassandra.query import SimpleStatement


@pytest.fixture
def filled(link, key):
    """A partition of 40 rows that tell which cluster they are from; target has only the first 25, as it does halfway
    through the copying of the old data."""
    for side, name, rows in ((link.origin, "origin", 40), (link.target, "target", 25)):
        insert = side.session.prepare("INSERT INTO %s.series (p, c, v) VALUES (?, ?, ?)" % link.keyspace)
        for c in range(rows):
            side.execute(insert, (key, c, name))
    return key


def pages(session, statement, parameters=None, state=None):
    """All pages of a query: a list of lists of rows."""
    found = []
    while True:
        result = session.execute(statement, parameters, paging_state=state)
        found.append([tuple(row) for row in result.current_rows])
        state = result.paging_state
        if state is None:
            return found


@pytest.mark.checklist(80, 81, 184)
@pytest.mark.parametrize("prepared", [False, True], ids=["text", "prepared"])
def test_paging(link, primary, filled, prepared):
    session = link.session(primary)
    statement = SimpleStatement("SELECT c, v FROM series WHERE p = %d" % filled, fetch_size=15)
    parameters = None
    if prepared:
        statement, parameters = session.prepare("SELECT c, v FROM series WHERE p = ?"), (filled,)
        statement.fetch_size = 15
    found = pages(session, statement, parameters)
    number = 40 if primary == "origin" else 25
    assert [len(page) for page in found] == ([15, 15, 10] if number == 40 else [15, 10])
    assert sum(found, []) == [(c, primary) for c in range(number)]


@pytest.mark.parametrize("prepared", [False, True], ids=["text", "prepared"])
def test_pages_across_a_flip_of_the_primary(link, filled, prepared):
    """A proxy with the other primary goes on with the cluster that made the state, be its data whole or half."""
    for first, second, number in (("origin", "target", 40), ("target", "origin", 25)):
        before, after = link.session(first), link.session(second)
        statement, parameters = SimpleStatement("SELECT c, v FROM series WHERE p = %d" % filled, fetch_size=10), None
        if prepared:
            parameters = (filled,)
            statement = before.prepare("SELECT c, v FROM series WHERE p = ?")
            statement.fetch_size = 10
        result = before.execute(statement, parameters)
        rows = [tuple(row) for row in result.current_rows]
        if prepared:
            statement = after.prepare("SELECT c, v FROM series WHERE p = ?")
            statement.fetch_size = 10
        rest = pages(after, statement, parameters, result.paging_state)
        assert rows + sum(rest, []) == [(c, first) for c in range(number)]


def test_pages_of_a_state_from_nowhere(link, primary, filled):
    """Bytes that no cluster made give an error of one request."""
    async def conversation(c):
        for state in (b"", b"\0", b"nonsense", b"\xff" * 300):
            answer = await c.query("SELECT c FROM series WHERE p = %d" % filled, page_size=5, paging_state=state)
            assert answer.is_error() or len(answer.rows) <= 40
        answer = await c.query("SELECT c FROM series WHERE p = %d" % filled, page_size=5)
        assert len(answer.rows) == 5

    link.raw(conversation, primary)


@pytest.mark.checklist(110, 111)
def test_clauses(link, primary, filled):
    session = link.session(primary)

    def rows(text, values=None):
        return [tuple(row) for row in session.execute(text.replace("KEY", str(filled)), values)]

    assert rows("SELECT c FROM series WHERE p = KEY AND c IN (1, 3, 99)") == [(1,), (3,)]
    number = 40 if primary == "origin" else 25
    assert rows("SELECT count(*) FROM series WHERE p = KEY") == [(number,)]
    assert rows("SELECT max(c), min(v) FROM series WHERE p = KEY AND c < 5") == [(4, primary)]
    assert rows("SELECT c FROM series WHERE p = KEY ORDER BY c DESC LIMIT 1") == [(number - 1,)]
    assert rows("SELECT c FROM series WHERE p = KEY PER PARTITION LIMIT 2") == [(0,), (1,)]
    assert rows("SELECT p, count(c) FROM series WHERE p = KEY GROUP BY p") == [(filled, number)]
    assert rows("SELECT DISTINCT p FROM series WHERE p IN (KEY)") == [(filled,)]
    assert rows("SELECT CAST(c AS text) FROM series WHERE p = KEY AND c = 7") == [("7",)]
    assert rows("SELECT c FROM series WHERE p = KEY AND v = '%s' AND c > 20 ALLOW FILTERING" % primary)[0] == (21,)
    prepared = session.prepare("SELECT c FROM series WHERE p = ? AND c IN ? LIMIT ?")
    assert [row.c for row in session.execute(prepared, (filled, [2, 4, 6], 2))] == [2, 4]
    prepared = session.prepare("SELECT c FROM series WHERE p = ? AND (c) > (?) AND (c) < (?)")
    assert [row.c for row in session.execute(prepared, (filled, 3, 6))] == [4, 5]


@pytest.mark.checklist(103, 104, 105)
def test_tokens(link, primary, filled):
    session = link.session(primary)
    token, = session.execute("SELECT token(p) FROM series WHERE p = %d LIMIT 1" % filled).one()
    text = "SELECT p, c, v FROM series WHERE token(p) >= token(%d) AND token(p) <= %d" % (filled, token)
    assert {tuple(row)[::2] for row in session.execute(text)} == {(filled, primary)}
    prepared = session.prepare("SELECT c, v FROM series WHERE token(p) > ? AND token(p) <= ?")
    prepared.fetch_size = 7
    found = pages(session, prepared, (token - 1, token))
    assert sum(found, []) == [(c, primary) for c in range(40 if primary == "origin" else 25)]
    assert len(found) == (6 if primary == "origin" else 4)


def test_reading_everything_by_token(link, primary):
    """As bulk readers do it: ranges of the ring, in pages."""
    session = link.session(primary)
    statement = session.prepare("SELECT p, c FROM based WHERE token(p) > ? AND token(p) <= ?")
    statement.fetch_size = 20
    first = link.new_key()
    for n in range(30):
        link.new_key()
        session.execute("INSERT INTO based (p, c, v) VALUES (%d, %d, 'x')" % (first + n, n))
    bounds = [-2**63 + n * 2**61 for n in range(8)] + [2**63 - 1]
    found = [row for low, high in zip(bounds, bounds[1:])
             for page in pages(session, statement, (low, high)) for row in page]
    assert {(first + n, n) for n in range(30)} <= set(found)
    assert sorted(found) == link.rows("SELECT p, c FROM {ks}.based")


@pytest.mark.parametrize("prepared", [False, True], ids=["text", "prepared"])
def test_reads_where_target_has_more_columns(link, primary, key, prepared):
    """SELECT * gives the columns of the cluster that answers, whatever the other would have said."""
    session = link.session(primary)
    session.execute("INSERT INTO wider (id, a, z) VALUES (%d, 'a', 9)" % key)
    text = "SELECT * FROM wider WHERE id = %s" % ("?" if prepared else key)
    for _ in range(3):
        result = session.execute(session.prepare(text), (key,)) if prepared else session.execute(text)
        names, row = result.column_names, result.one()
        if primary == "origin":
            assert (names, tuple(row)) == (["id", "a", "z"], (key, "a", 9))
        else:
            assert (names, tuple(row)) == (["id", "a", "extra", "m", "z"], (key, "a", None, None, 9))


def test_metadata_left_out_where_target_has_more_columns(link, primary, key):
    """A client that asked for no metadata decodes by what PREPARE said: that must fit the rows it gets."""
    session = link.session(primary)
    session.execute("INSERT INTO wider (id, a, z) VALUES (%d, 'a', 9)" % key)

    async def conversation(c):
        prepared = await c.prepare("SELECT * FROM wider WHERE id = ?")
        assert not prepared.is_error(), prepared
        known = [column.name for column in prepared.columns or []]
        answers = []
        for _ in range(3):
            answer = await c.execute(prepared, values=[key.to_bytes(4, "big")], skip_metadata=True)
            assert not answer.is_error(), answer
            if answer.columns:
                known = [column.name for column in answer.columns]
            answers.append((len(known), answer.column_count, len(answer.rows)))
        return answers

    width = 3 if primary == "origin" else 5
    assert link.raw(conversation, primary) == [(width, width, 1)] * 3


def test_views(link, primary, key):
    session = link.session(primary)
    kind = "kind%d" % key
    insert = session.prepare("INSERT INTO based (p, c, kind, v) VALUES (?, ?, ?, ?)")
    for c in range(3):
        session.execute(insert, (key, c, kind, "v%d" % c))
    session.execute("UPDATE based SET kind = 'other' WHERE p = %d AND c = 1" % key)
    wanted = [(key, 0, "v0"), (key, 2, "v2")]
    assert [tuple(row) for row in session.execute("SELECT p, c, v FROM by_kind WHERE kind = '%s'" % kind)] == wanted
    assert link.rows("SELECT p, c, v FROM {ks}.by_kind WHERE kind = '%s'" % kind) == wanted
    with pytest.raises(InvalidRequest, match="(?i)view"):
        session.execute("INSERT INTO by_kind (kind, p, c) VALUES ('x', 1, 1)")


def test_functions_and_aggregates_of_users(link, primary, key):
    session = link.session(primary)
    for c, v in enumerate(["a", "cccc", "bb"]):
        session.execute("INSERT INTO series (p, c, v) VALUES (%d, %d, '%s')" % (key, c, v))
    text = "SELECT twice(c), longer(v, 'xxx') FROM series WHERE p = %d" % key
    assert [tuple(row) for row in session.execute(text)] == [(0, "xxx"), (2, "cccc"), (4, "xxx")]
    prepared = session.prepare("SELECT %s.longest(v), max(twice(c)) FROM series WHERE p = ?" % link.keyspace)
    assert tuple(session.execute(prepared, (key,)).one()) == ("cccc", 4)
    session.execute("INSERT INTO series (p, c, v) VALUES (%d, twice(21), longer('a', 'bb'))" % key)
    assert link.rows("SELECT c, v FROM {ks}.series WHERE p = %d AND c = 42" % key) == [(42, "bb")]


def test_functions_of_cassandra(link, primary, key):
    session = link.session(primary)
    session.execute("INSERT INTO series (p, c, v) VALUES (%d, 1, 'ab')" % key)
    row = session.execute("SELECT now(), toDate(now()), textAsBlob(v), toJson(v), token(p), writetime(v), ttl(v),"
                          " count(*) FROM series WHERE p = %d" % key).one()
    assert row[0].version == 1 and row[2:4] == (b"ab", '"ab"') and row[6:] == (None, 1)


def test_indexes(link, primary, key):
    session = link.session(primary)
    session.execute("INSERT INTO indexed (id, v, tags) VALUES (%d, %d, {'t%d', 'x'})" % (key, key, key))
    select = session.prepare("SELECT id FROM indexed WHERE v = ?")
    assert [row.id for row in session.execute(select, (key,))] == [key]
    assert [row.id for row in session.execute("SELECT id FROM indexed WHERE tags CONTAINS 't%d'" % key)] == [key]
    assert link.rows("SELECT id FROM {ks}.indexed WHERE v = %d" % key) == [(key,)]
