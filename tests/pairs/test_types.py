"""Values of every type, through the proxy and back, and as both nodes have them."""

import datetime
import decimal
import json
import uuid

import pytest
from cassandra.query import UNSET_VALUE
from cassandra.util import Date, Duration, Time, uuid_from_time

from cqlwire import UNSET, Kind, Op
from schema import PRIMITIVES

VALUES = {
    "ascii": ["plain", "", "x" * 5000],
    "bigint": [1, -2**63, 2**63 - 1],
    "blob": [b"\x00\xff", b"", bytes(range(256)) * 300],
    "boolean": [True, False, True],
    "date": [Date("2024-02-29"), Date(-700000), Date(2932896)],
    "decimal": [decimal.Decimal("12.50"), decimal.Decimal("-1E+20"), decimal.Decimal("0.00000000000000000001")],
    "double": [0.25, -1.7976931348623157e308, 5e-324],
    "duration": [Duration(1, 2, 3), Duration(-14, -5, -10**12), Duration(0, 0, 0)],
    "float": [0.5, -3.4028234663852886e38, 0.0],
    "inet": ["192.0.2.1", "2001:db8::7", "0.0.0.0"],
    "int": [7, -2**31, 2**31 - 1],
    "smallint": [7, -2**15, 2**15 - 1],
    "text": ["naïve 表 \U0001f980", "", "it's \"quoted\" $$ -- /* ; */"],
    "time": [Time("12:30:01.000000001"), Time(0), Time(86399999999999)],
    "timestamp": [datetime.datetime(2024, 2, 29, 12, 30, 1, 5000), datetime.datetime(1900, 1, 1),
                  datetime.datetime(2262, 4, 11, 23, 47, 16, 854000)],
    "timeuuid": [uuid_from_time(1700000000), uuid_from_time(0), uuid_from_time(4000000000)],
    "tinyint": [7, -128, 127],
    "uuid": [uuid.UUID(int=1), uuid.UUID(int=2**128 - 1), uuid.uuid5(uuid.NAMESPACE_DNS, "example.com")],
    "varchar": ["v", "", "ä" * 3000],
    "varint": [0, -2**200, 2**200],
}
COLUMNS = ", ".join("v_" + t for t in PRIMITIVES)


@pytest.mark.checklist(185, 186)
def test_every_primitive_type(link, primary):
    session = link.session(primary)
    insert = session.prepare("INSERT INTO primitives (id, %s) VALUES (?%s)" % (COLUMNS, ", ?" * len(PRIMITIVES)))
    select = session.prepare("SELECT %s FROM primitives WHERE id = ?" % COLUMNS)
    for turn in range(3):
        key = link.new_key()
        values = tuple(VALUES[t][turn] for t in PRIMITIVES)
        session.execute(insert, (key, *values))
        assert [tuple(row) for row in session.execute(select, (key,))] == [values]
        text = "SELECT %s FROM primitives WHERE id = %d" % (COLUMNS, key)
        assert [tuple(row) for row in session.execute(text)] == [values]
        assert link.rows("SELECT %s FROM {ks}.primitives WHERE id = %d" % (COLUMNS, key)) == [values]


def test_no_value(link, primary, key):
    session = link.session(primary)
    insert = session.prepare("INSERT INTO primitives (id, %s) VALUES (?%s)" % (COLUMNS, ", ?" * len(PRIMITIVES)))
    session.execute(insert, (key, *[VALUES[t][0] for t in PRIMITIVES]))
    if link.version >= 4:
        # What is not set stays as it is, what is null goes.
        session.execute(insert, (key, *[UNSET_VALUE if i % 2 else None for i in range(len(PRIMITIVES))]))
    else:
        session.execute(insert, (key, *[VALUES[t][0] if i % 2 else None for i, t in enumerate(PRIMITIVES)]))
    wanted = tuple(VALUES[t][0] if i % 2 else None for i, t in enumerate(PRIMITIVES))
    text = "SELECT %s FROM primitives WHERE id = %d" % (COLUMNS, key)
    assert [tuple(row) for row in session.execute(text)] == [wanted]
    assert link.rows("SELECT %s FROM {ks}.primitives WHERE id = %d" % (COLUMNS, key)) == [wanted]


def test_values_on_the_wire(link, primary, key):
    """Null, unset, empty, and names: what drivers seldom do."""
    number = key.to_bytes(4, "big")

    async def conversation(c):
        text = "INSERT INTO simple (id, v, s) VALUES (:id, :v, :s)"
        answer = await c.query(text, values=[b"", b"\0\0\0\7", number], names=["s", "v", "id"])
        assert not answer.is_error(), answer
        prepared = await c.prepare(text)
        assert [column.name for column in prepared.bind] == ["id", "v", "s"]
        if c.version >= 4:
            assert prepared.pk == [0]
            answer = await c.execute(prepared, values=[number, UNSET, None])
        else:
            answer = await c.execute(prepared, values=[None, number, b"\0\0\0\7"], names=["s", "id", "v"])
        assert not answer.is_error(), answer
        return (await c.query("SELECT v, s FROM simple WHERE id = ?", values=[number])).rows

    (row,) = link.raw(conversation, primary)
    assert list(row) == [7, None]
    assert link.rows("SELECT v, s FROM {ks}.simple WHERE id = %d" % key) == [(7, None)]


NESTED = {
    "l": [3, 1, 2, 1], "s": {"a", "ä"}, "m": {"k": 1, "": -1}, "fl": [], "deep": {"x": [{1: {"a", "b"}}, {}], "y": []},
    "t": (1, None, [1, 2]), "tt": (5, ("in", 0.5)), "u": ("Ann", ("Main", 5, {"x"}), {"home": ["1", "2"]}),
    "open": ("Side", None, None), "lu": [("Bob", None, None), ("", ("a", 1, {"t"}), {})],
    "mu": {("Main", 5, frozenset({"x"})): (1, "one")},  # hashable
}


def plain(value):
    """Driver containers as Python's own, so that they compare whatever class holds them."""
    if isinstance(value, (str, bytes, int, float)) or value is None:
        return value
    if hasattr(value, "_asdict") or isinstance(value, tuple):
        return tuple(plain(v) for v in value)
    if hasattr(value, "items"):
        return sorted((repr(plain(k)), plain(v)) for k, v in value.items())
    if isinstance(value, (set, frozenset)) or type(value).__name__ == "SortedSet":
        return sorted(plain(v) for v in value)
    return [plain(v) for v in value]


def test_nested_types(link, primary, key):
    session = link.session(primary)
    names = ", ".join(NESTED)
    insert = session.prepare("INSERT INTO nested (id, %s) VALUES (?%s)" % (names, ", ?" * len(NESTED)))
    session.execute(insert, (key, *NESTED.values()))
    select = session.prepare("SELECT %s FROM nested WHERE id = ?" % names)
    wanted = [plain(v) for v in NESTED.values()]
    assert [plain(v) for v in session.execute(select, (key,)).one()] == wanted
    assert [plain(v) for v in session.execute("SELECT %s FROM nested WHERE id = %d" % (names, key)).one()] == wanted
    for side in link.sides:
        row = side.execute("SELECT %s FROM %s.nested WHERE id = %d" % (names, link.keyspace, key)).one()
        assert [plain(v) for v in row] == wanted


def test_nested_types_as_text(link, primary, key):
    session = link.session(primary)
    session.execute("INSERT INTO nested (id, l, s, m, deep, tt, u, open) VALUES (%d, [1, 2], {'a', 'it''s'}, {'k': 1},"
                    " {'x': [{1: {'y'}}]}, (5, ('in', 0.5)),"
                    " {name: 'Ann', home: {street: 'M', number: 1, tags: {'z'}}}, {street: $$a $ b$$})" % key)
    session.execute("UPDATE nested SET l = l + [3], s = s - {'a'}, m['n'] = 2, open.number = 9 WHERE id = %d" % key)
    session.execute("UPDATE nested SET l[0] = 10 WHERE id = %d" % key)
    session.execute("DELETE m['k'], l[1] FROM nested WHERE id = %d" % key)
    text = "SELECT JSON l, s, m, deep, tt, u, open FROM %s.nested WHERE id = %d" % (link.keyspace, key)
    wanted = {"l": [10, 3], "s": ["it's"], "m": {"n": 2}, "deep": {"x": [{"1": ["y"]}]}, "tt": [5, ["in", 0.5]],
              "u": {"name": "Ann", "home": {"street": "M", "number": 1, "tags": ["z"]}, "phones": None},
              "open": {"street": "a $ b", "number": 9, "tags": None}}
    assert json.loads(session.execute(text).one()[0]) == wanted
    (row,), = link.rows(text)
    assert json.loads(row) == wanted


@pytest.mark.checklist(86)
def test_json(link, primary, key):
    session = link.session(primary)
    insert = session.prepare("INSERT INTO simple JSON ?")
    session.execute(insert, (json.dumps({"id": key, "v": 3, "s": "if now() from"}),))
    if link.version >= 4:
        session.execute("INSERT INTO simple JSON '{\"id\": %d, \"v\": 4}' DEFAULT UNSET" % key)
    assert json.loads(session.execute("SELECT JSON * FROM simple WHERE id = %d" % key).one()[0])["s"] == "if now() from"
    wanted = (4 if link.version >= 4 else 3, "if now() from")
    assert link.rows("SELECT v, s FROM {ks}.simple WHERE id = %d" % key) == [wanted]


def test_a_value_of_the_wrong_size_is_refused(link, primary, key):
    async def conversation(c):
        answer = await c.query("INSERT INTO simple (id, v) VALUES (?, ?)", values=[key.to_bytes(4, "big"), b"\1\2\3"])
        assert answer.opcode == Op.ERROR and answer.code == 0x2200
        return (await c.query("SELECT id FROM simple WHERE id = %d" % key)).rows

    assert link.raw(conversation, primary) == []
    assert link.rows("SELECT id FROM {ks}.simple WHERE id = %d" % key) == []


def test_unset_where_it_means_something_else(link, primary, key):
    """Version 3 knows no unset value: nodes take each negative length for null. A key is never unset."""
    link.on_both("INSERT INTO {ks}.simple (id, v) VALUES (%d, 1)" % key)

    async def conversation(c):
        values = [key.to_bytes(4, "big"), UNSET] if c.version == 3 else [UNSET, None]
        answer = await c.query("INSERT INTO simple (id, v) VALUES (?, ?)", values=values)
        lives = await c.query("SELECT id FROM simple WHERE id = %d" % key)
        assert not lives.is_error()
        return answer

    answer = link.raw(conversation, primary)
    if link.version == 3:
        assert answer.kind == Kind.VOID, answer
    else:
        assert answer.is_error() and "unset" in answer.text.lower(), answer
    assert link.rows("SELECT v FROM {ks}.simple WHERE id = %d" % key) == [(None if link.version == 3 else 1,)]
