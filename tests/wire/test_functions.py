"""replace_cql_functions: now(), uuid() and their kin get one value, made by the proxy, on both clusters."""
import datetime
import re
import time
import uuid

import pytest

import behaviour
from behaviour import Hold, error, normally
from cqlwire import CL, DSE1, DSE2, Err, Kind, Op, Type
from cqlwire.primitives import UNSET
from cqlwire.responses import Column
from fakecluster import markers_of
from helpers import PRIMARIES, WAY_IDS, WAYS, assert_alive, assert_error

ON = {"sections": {"routing": {"replace_cql_functions": "true"}}}
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
EPOCH_1582 = 0x01B21DD213814000

ways = pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)


def texts(bench, *opcodes):
    """What both clusters have received; it must be the same."""
    origin, target = (c.statements(*opcodes) for c in bench.clusters)
    assert origin == target
    return origin


def uuids_in(text):
    return [uuid.UUID(u) for u in re.findall(UUID, text)]


def pattern(text):
    """The text with its literals taken out again."""
    text = re.sub(UUID, "UUID", text)
    text = re.sub(r"\(timestamp\)\d+", "(timestamp)N", text)
    text = re.sub(r"\(date\)'\d{4}-\d\d-\d\d'", "(date)D", text)
    return re.sub(r"\(time\)'\d\d:\d\d:\d\d\.\d{9}'", "(time)T", text)


def assert_timeuuid(value, since, until=None):
    assert value.version == 1 and value.variant == uuid.RFC_4122, value
    assert value.node >> 40 & 1 == 1, value  # the multicast bit: no real network card
    at = (value.time - EPOCH_1582) / 1e7
    assert since - 0.001 <= at <= (until or time.time()) + 0.001, (value, at)


def bound(cluster, index=-1):
    return cluster.requests(Op.EXECUTE)[index].bound


def both_bound(bench, index=-1):
    """The values of an EXECUTE, the same on both clusters."""
    origin, target = (bound(c, index) for c in bench.clusters)
    assert origin is not None and origin == target
    return origin


def as_timeuuid(value):
    result = uuid.UUID(bytes=value)
    assert result.version == 1
    return result


# ---- off ----

@pytest.mark.checklist(202)
@ways
async def test_off(bench, version, compression):
    """By default texts, variables and values are left alone."""
    c = await bench.client(version, compression)
    text = "INSERT INTO ks.t (a, b) VALUES (now(), ?)"
    assert (await c.query("INSERT INTO ks.t (a) VALUES (now())")).kind == Kind.VOID
    prepared = await c.prepare(text)
    assert [column.name for column in prepared.bind] == ["p0"]
    assert (await c.execute(prepared, values=[b"1"])).kind == Kind.VOID
    assert (await c.batch([("DELETE FROM ks.t WHERE a = now()", []), (prepared.prepared_id, [b"2"])])).kind == Kind.VOID
    for cluster in bench.clusters:
        assert cluster.statements() == ["INSERT INTO ks.t (a) VALUES (now())", text, text]
        assert bound(cluster) == [b"1"]
        children = cluster.requests(Op.BATCH)[0].children
        assert children == [("DELETE FROM ks.t WHERE a = now()", []), (cluster.prepared_id(text, None), [b"2"])]


@pytest.mark.checklist(203, 210, 211, 212)
@pytest.mark.parametrize("compression", [None, "lz4"])
@pytest.mark.parametrize("version", [2, DSE1, DSE2])
async def test_other_versions(make_bench, version, compression):
    """v2 and DSE's two, which put flags and counts elsewhere."""
    versions = (2, 3) if version == 2 else (3, 4, DSE1, DSE2)
    bench = await make_bench(origin={"versions": versions}, target={"versions": versions}, **ON)
    c = await bench.client(version, compression)
    assert (await c.query("INSERT INTO ks.t (a, b) VALUES (now(), ?)", values=[b"1"])).kind == Kind.VOID
    assert pattern(texts(bench)[0]) == "INSERT INTO ks.t (a, b) VALUES (UUID, ?)"
    prepared = await c.prepare("INSERT INTO ks.t (a, b) VALUES (now(), ?)")
    only = await c.prepare("INSERT INTO ks.t (a) VALUES (uuid())")
    assert len(prepared.bind) == 1 and not only.bind and prepared.pk == []
    assert (await c.execute(prepared, values=[b"1"])).kind == Kind.VOID
    values = both_bound(bench)
    assert as_timeuuid(values[0]) and values[1:] == [b"1"]
    assert (await c.execute(only, values=None)).kind == Kind.VOID
    assert len(both_bound(bench)) == 1
    assert (await c.batch([(prepared.prepared_id, [b"2"]), ("DELETE FROM ks.t WHERE a = now()", []),
                           (only.prepared_id, [])])).kind == Kind.VOID
    origin, target = (cluster.requests(Op.BATCH)[0].children for cluster in bench.clusters)
    assert [values for _, values in origin] == [values for _, values in target]
    assert [len(values) for _, values in origin] == [2, 0, 1] and origin[1] == target[1]
    bench.target.forget_prepared()
    assert (await c.execute(prepared, values=[b"3"])).kind == Kind.VOID
    assert both_bound(bench)[1] == b"3"


async def test_the_variable_of_zdm(make_bench):
    bench = await make_bench(profile="zdm", variables={"ZDM_REPLACE_CQL_FUNCTIONS": "true"})
    c = await bench.client()
    await c.query("INSERT INTO ks.t (a) VALUES (now())")
    assert len(uuids_in(texts(bench)[0])) == 1


# ---- QUERY ----

@pytest.mark.checklist(203, 223)
@ways
@pytest.mark.parametrize("primary", PRIMARIES)
async def test_a_query(make_bench, version, compression, primary):
    bench = await make_bench(primary=primary, **ON)
    c = await bench.client(version, compression)
    before = time.time()
    assert (await c.query("INSERT INTO ks.t (a, b) VALUES (now(), 'now()')")).kind == Kind.VOID
    text, = texts(bench)
    assert pattern(text) == "INSERT INTO ks.t (a, b) VALUES (UUID, 'now()')"
    assert_timeuuid(uuids_in(text)[0], before)


@pytest.mark.checklist(204, 223)
async def test_every_call_has_its_own_value(make_bench):
    bench = await make_bench(**ON)
    c = await bench.client()
    await c.query("INSERT INTO ks.t (a, b, c, d) VALUES (now(), now(), uuid(), uuid())")
    await c.query("INSERT INTO ks.t (a) VALUES (now())")
    made = [u for text in texts(bench) for u in uuids_in(text)]
    assert len(set(made)) == 5
    first, second, _, _, third = made
    assert first.time < second.time < third.time
    assert len({u.clock_seq for u in (first, second, third)}) == 3 and first.node == second.node == third.node
    assert {u.version for u in made[2:4]} == {4}


async def test_no_two_workers_make_the_same(make_bench):
    bench = await make_bench(**ON)
    clients = [await bench.client() for _ in range(4)]
    for _ in range(25):
        for c in clients:
            await c.query("INSERT INTO ks.t (a, b, c) VALUES (now(), now(), uuid())")
    made = [u for text in bench.origin.statements() for u in uuids_in(text)]
    assert len(set(made)) == 300
    assert len({u.node for u in made if u.version == 1}) == 2  # one of each worker
    for text in bench.origin.statements():
        assert text in bench.target.statements()


VALUES = "INSERT INTO ks.t (a) VALUES ({})"


@pytest.mark.checklist(206, 207)
@pytest.mark.parametrize("call,replaced", [
    ("NOW()", "UUID"), ("system.now()", "UUID"), ('"system"."now"( )', "UUID"), ('"now"()', "UUID"),
    ("now\n(\t)", "UUID"), ("uuid()", "UUID"), ("currentTimeUUID()", "UUID"), ("current_timeuuid()", "UUID"),
    ("currentTimestamp()", "(timestamp)N"), ("current_timestamp()", "(timestamp)N"), ("currentDate()", "(date)D"),
    ("CURRENT_DATE()", "(date)D"), ("currentTime()", "(time)T"), ("system.current_time()", "(time)T"),
    ("(timeuuid)now()", "(timeuuid)UUID"), ("(timestamp)currentTimestamp()", "(timestamp)(timestamp)N"),
    ("toTimestamp(now())", "toTimestamp((timeuuid)UUID)"), ("to_date(now())", "to_date((timeuuid)UUID)"),
    ("ks.f(?, toDate(now()), ?)", "ks.f(?, toDate((timeuuid)UUID), ?)"),
    ("[now(), now()]", "[(timeuuid)UUID, (timeuuid)UUID]"), ("(1, now())", "(1, (timeuuid)UUID)"),
    ("{now()}", "{(timeuuid)UUID}"), ("{'k':now()}", "{'k':(timeuuid)UUID}"),
    ("{a:now(), b:uuid()}", "{a:(timeuuid)UUID, b:(uuid)UUID}"),
    ('"NOW"()', None), ("ks.now()", None), ("now(1)", None), ("now(?)", None), ("'now()'", None), ("$$now()$$", None),
    ("/* now() */ 1", None), ('"now()"', None), ("random()", None), ("n\u00f6w()", None),
])
async def test_what_is_replaced(make_bench, call, replaced):
    bench = await make_bench(**ON)
    c = await bench.client()
    values = [b"v"] * call.count("?")
    await c.query(VALUES.format(call), values=values or None)
    text, = texts(bench)
    assert pattern(text) == VALUES.format(replaced or call)
    for cluster in bench.clusters:
        assert cluster.requests(Op.QUERY)[0].params.values == (values or None)


@pytest.mark.checklist(205, 207, 217)
@pytest.mark.parametrize("text,replaced", [
    ("UPDATE ks.t USING TTL ? SET a = now(), l[now()] = ?, m[?] = now() WHERE k = now() AND c IN (?, now()) "
     "IF x = now() AND y[now()] = ? AND z IN (now(), ?)",
     "UPDATE ks.t USING TTL ? SET a = UUID, l[(timeuuid)UUID] = ?, m[?] = UUID WHERE k = UUID AND c IN (?, "
     "(timeuuid)UUID) IF x = UUID AND y[(timeuuid)UUID] = ? AND z IN ((timeuuid)UUID, ?)"),
    ("DELETE m[now()], l[?] FROM ks.t USING TIMESTAMP ? WHERE k = now() AND (a, b) = (now(), ?) IF c = now()",
     "DELETE m[(timeuuid)UUID], l[?] FROM ks.t USING TIMESTAMP ? WHERE k = UUID AND (a, b) = ((timeuuid)UUID, ?) "
     "IF c = UUID"),
    ("BEGIN BATCH USING TIMESTAMP ? INSERT INTO ks.t (k) VALUES (now()); UPDATE ks.t USING TTL ? SET a = now() WHERE "
     "k = ?; DELETE FROM ks.t WHERE k = now(); APPLY BATCH",
     "BEGIN BATCH USING TIMESTAMP ? INSERT INTO ks.t (k) VALUES (UUID); UPDATE ks.t USING TTL ? SET a = UUID WHERE "
     "k = ?; DELETE FROM ks.t WHERE k = UUID; APPLY BATCH"),
])
async def test_where_it_is_replaced(make_bench, text, replaced):
    """In QUERY by literals, in PREPARE by markers, each bound at its place."""
    bench = await make_bench(**ON)
    c = await bench.client()
    mine = [b"v%d" % i for i in range(text.count("?"))]
    await c.query(text, values=mine)
    assert pattern(texts(bench)[0]) == replaced
    assert len(set(uuids_in(texts(bench)[0]))) == replaced.count("UUID")
    prepared = await c.prepare(text)
    assert len(prepared.bind) == len(mine)
    assert not (await c.execute(prepared, values=mine)).is_error()
    assert texts(bench)[1] == replaced.replace("UUID", "?")
    values = both_bound(bench)
    # what the client bound stands where its own markers stand, ours in between
    expected = [m == "?" for m in re.findall(r"\?|UUID", replaced)]
    assert [v in mine for v in values] == expected
    assert [v for v in values if v in mine] == mine
    for value in values:
        assert value in mine or as_timeuuid(value)


@pytest.mark.checklist(209)
async def test_a_batch_text(make_bench):
    bench = await make_bench(**ON)
    c = await bench.client()
    text = ("BEGIN BATCH USING TIMESTAMP ? INSERT INTO ks.t (k) VALUES (now()); INSERT INTO ks.t (k) VALUES (?); "
            "DELETE FROM ks.t USING TIMESTAMP ? WHERE k = now() APPLY BATCH")
    await c.query(text, values=[b"1", b"2", b"3"])
    assert pattern(texts(bench)[0]) == text.replace("now()", "UUID")


@pytest.mark.checklist(208)
@pytest.mark.parametrize("text", [
    "SELECT now() FROM ks.t", "SELECT * FROM ks.t WHERE id < now()",
    """INSERT INTO ks.t JSON '{"a": "now()"}'""", "INSERT INTO ks.t JSON '{}' DEFAULT UNSET",
    "CREATE TABLE ks.x (now text PRIMARY KEY)", "INSERT INTO ks.t (now) VALUES (1)",
])
async def test_what_is_never_touched(make_bench, text):
    bench = await make_bench(**ON)
    c = await bench.client()
    await c.query(text)
    await c.prepare(text)
    assert set(bench.origin.statements()) == {text}
    assert set(bench.target.statements(Op.PREPARE)) == {text}


@pytest.mark.checklist(222)
@ways
async def test_offsets_are_bytes(make_bench, version, compression):
    """Characters of two, three and four bytes stand before the call (a defect of the original)."""
    bench = await make_bench(**ON)
    c = await bench.client(version, compression)
    text = "INSERT INTO ks.t (a, b, \"\u00e9\") VALUES ('\u00e9 \u20ac \U0001f30d', now(), ?) /* \u00e9 */"
    await c.query(text, values=[b"1"])
    prepared = await c.prepare(text)
    await c.execute(prepared, values=[b"2"])
    assert [pattern(t) for t in texts(bench)] == [text.replace("now()", "UUID")] + [text.replace("now()", "?")] * 2
    values = both_bound(bench)
    assert as_timeuuid(values[0]) and values[1:] == [b"2"]


async def test_times_and_dates(make_bench):
    bench = await make_bench(**ON)
    c = await bench.client()
    before = datetime.datetime.now(datetime.timezone.utc)
    await c.query("INSERT INTO ks.t (a, b, c) VALUES (currentTimestamp(), currentDate(), currentTime())")
    prepared = await c.prepare("INSERT INTO ks.t (a, b, c) VALUES (currentTimestamp(), currentDate(), currentTime())")
    await c.execute(prepared)
    after = datetime.datetime.now(datetime.timezone.utc)
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)

    def check(ms, date, ns):
        at = epoch + datetime.timedelta(milliseconds=ms)
        assert before - datetime.timedelta(milliseconds=1) <= at <= after
        assert date in (before.date(), after.date())
        seconds = (at - datetime.datetime.combine(at.date(), datetime.time(), datetime.timezone.utc)).total_seconds()
        assert abs(ns / 1e9 - seconds) < 5 or date != at.date()
    ms, date, hours, minutes, seconds = re.search(
        r"\(\(timestamp\)(\d+), \(date\)'([0-9-]+)', \(time\)'(\d\d):(\d\d):([\d.]+)'\)", texts(bench)[0]).groups()
    check(int(ms), datetime.date.fromisoformat(date),
          (int(hours) * 3600 + int(minutes) * 60) * 10 ** 9 + round(float(seconds) * 1e9))
    a, b, ns = both_bound(bench)
    assert (len(a), len(b), len(ns)) == (8, 4, 8)
    days = int.from_bytes(b, "big") - 2 ** 31
    check(int.from_bytes(a, "big"), datetime.date(1970, 1, 1) + datetime.timedelta(days), int.from_bytes(ns, "big"))


# ---- PREPARE ----

@pytest.mark.checklist(211)
@pytest.mark.parametrize("text,sent", [
    ("INSERT INTO ks.t (a, b) VALUES (?, now())", "INSERT INTO ks.t (a, b) VALUES (?, ?)"),
    ("INSERT INTO ks.t (a, b) VALUES (:a, now())", "INSERT INTO ks.t (a, b) VALUES (:a, :zdm__now)"),
    ("INSERT INTO ks.t (a) VALUES (now())", "INSERT INTO ks.t (a) VALUES (?)"),
    ("INSERT INTO ks.t (a) VALUES (currentTimestamp())", "INSERT INTO ks.t (a) VALUES ((timestamp)?)"),
    ("UPDATE ks.t SET a = now(), b = uuid(), c = [now()] WHERE k = :k",
     "UPDATE ks.t SET a = :zdm__now, b = :zdm__now_2, c = [(timeuuid):zdm__now_3] WHERE k = :k"),
    ("UPDATE ks.t SET a=now()WHERE k=:k", "UPDATE ks.t SET a=:zdm__now WHERE k=:k"),
])
@ways
async def test_the_text_of_a_prepare(make_bench, version, compression, text, sent):
    bench = await make_bench(**ON)
    c = await bench.client(version, compression)
    prepared = await c.prepare(text)
    assert prepared.kind == Kind.PREPARED
    assert texts(bench, Op.PREPARE) == [sent]
    assert [column.name for column in prepared.bind] == [m if m != "?" else f"p{i}"
                                                         for i, m in enumerate(markers_of(text))]


def named(*names):
    return [Column(name, Type.UUID if name.startswith("id") else Type.VARCHAR) for name in names]


def describe_as(bench, bind, pk, result=()):
    for cluster in bench.clusters:
        cluster.describe = lambda text, keyspace: (bind, pk, list(result))


@pytest.mark.checklist(218, 219, 220)
@ways
@pytest.mark.parametrize("text,reported,pk,seen,seen_pk", [
    # the last marker, the only one, several
    ("INSERT INTO ks.t (k, id) VALUES (?, now())", ["k", "id"], [0], ["k"], [0]),
    ("INSERT INTO ks.t (id) VALUES (now())", ["id"], [0], [], []),
    ("INSERT INTO ks.t (id, ie, k, l) VALUES (now(), now(), ?, ?)", ["id", "ie", "k", "l"], [2, 3], ["k", "l"], [0, 1]),
    # key indexes are shifted; none are reported when a part of the key is ours
    ("INSERT INTO ks.t (a, id, k, id2, l) VALUES (?, now(), ?, now(), ?)", ["a", "id", "k", "id2", "l"], [4, 2],
     ["a", "k", "l"], [2, 1]),
    ("INSERT INTO ks.t (id, k) VALUES (now(), ?)", ["id", "k"], [0, 1], ["k"], []),
    # names that sort before and behind ours
    ("INSERT INTO ks.t (a, id, z) VALUES (:apple, now(), :zebra)", ["apple", "zdm__now", "zebra"], [0],
     ["apple", "zebra"], [0]),
    ("INSERT INTO ks.t (id, z, i) VALUES (now(), :zebra, uuid())", ["zdm__now", "zebra", "zdm__now_2"], [1],
     ["zebra"], [0]),
    ("INSERT INTO ks.t (id, z) VALUES (now(), :k)", ["zdm__now", "k"], [0], ["k"], []),
])
async def test_our_variables_are_hidden(make_bench, version, compression, text, reported, pk, seen, seen_pk):
    bench = await make_bench(fresh=True, **ON)
    describe_as(bench, named(*reported), pk)
    c = await bench.client(version, compression)
    prepared = await c.prepare(text)
    assert [column.name for column in prepared.bind] == seen
    assert all(column.type == (Type.UUID if column.name.startswith("id") else Type.VARCHAR) for column in prepared.bind)
    if version >= 4:
        assert list(prepared.pk) == seen_pk
    # and what the client binds by this arrives at the right places
    mine = [name.encode() for name in seen]
    assert (await c.execute(prepared, values=mine)).kind == Kind.VOID
    for value, name in zip(both_bound(bench), reported):
        assert value == name.encode() if name in seen else len(value) == 16


async def test_an_answer_with_all_that_may_stand_in_front(make_bench):
    """Warnings and a payload stay, result columns stay."""
    bench = await make_bench(**ON)
    for version in (4, 5):
        c = await bench.client(version)
        for cluster in bench.clusters:
            cluster.on(Op.PREPARE, normally(warnings=["w"], payload={"k": b"v"}), times=1)
        prepared = await c.prepare("INSERT INTO ks.t (k, id) VALUES (?, now()) IF NOT EXISTS")
        assert prepared.warnings == ["w"] and prepared.payload == {"k": b"v"}
        assert [column.name for column in prepared.bind] == ["p0"]
        assert [column.name for column in prepared.columns] == ["[applied]", "cluster"]
        assert (await c.execute(prepared, values=[b"1"])).rows == [[True, "origin"]]
        assert len(both_bound(bench)) == 2


# ---- EXECUTE ----

@pytest.mark.checklist(212, 216)
@ways
@pytest.mark.parametrize("values", ["now(), ?, ?", "?, now(), ?", "?, ?, now()", "now(), now(), ?", "?, now(), now()",
                                    "now(), ?, now(), ?, uuid()", "now(), uuid()", "now()"])
async def test_positional_values(make_bench, version, compression, values):
    bench = await make_bench(**ON)
    c = await bench.client(version, compression)
    prepared = await c.prepare(f"INSERT INTO ks.t (a, b, c, d, e) VALUES ({values})")
    seen = set()
    for round_ in range(3):
        mine = [b"%d %d" % (round_, i) for i in range(values.count("?"))]
        assert (await c.execute(prepared, values=mine)).kind == Kind.VOID
        rest = list(mine)
        for slot, value in zip(values.split(", "), both_bound(bench), strict=True):
            if slot == "?":
                assert value == rest.pop(0)
            else:
                assert uuid.UUID(bytes=value).version == (1 if slot == "now()" else 4)
                assert value not in seen
                seen.add(value)


@pytest.mark.checklist(212)
@ways
async def test_no_values_at_all(make_bench, version, compression):
    """Neither the flag nor a count; with everything that may stand behind the values."""
    bench = await make_bench(**ON)
    c = await bench.client(version, compression)
    prepared = await c.prepare("INSERT INTO ks.t (a, b) VALUES (now(), uuid())")
    more = dict(page_size=100, serial_consistency=8, timestamp=1234567)
    if version >= 5:
        more.update(now_in_seconds=77)
    assert (await c.execute(prepared, values=None, **more)).kind == Kind.VOID
    assert (await c.execute(prepared, values=[], **more)).kind == Kind.VOID
    for cluster in bench.clusters:
        for got in cluster.requests(Op.EXECUTE):
            assert len(got.params.values) == 2
            assert {name: getattr(got.params, name) for name in more} == more
    assert both_bound(bench, 0) != both_bound(bench, 1)


@pytest.mark.checklist(213)
@pytest.mark.parametrize("version", [3, 4, 5])
async def test_null_and_unset(make_bench, version):
    bench = await make_bench(**ON)
    c = await bench.client(version)
    prepared = await c.prepare("INSERT INTO ks.t (a, b, c, d) VALUES (?, now(), ?, ?)")
    mine = [None, None if version == 3 else UNSET, b""]
    assert (await c.execute(prepared, values=mine)).kind == Kind.VOID
    values = both_bound(bench)
    assert values[:1] + values[2:] == mine and as_timeuuid(values[1])


@pytest.mark.checklist(214)
@ways
async def test_named_values(make_bench, version, compression):
    bench = await make_bench(**ON)
    c = await bench.client(version, compression)
    prepared = await c.prepare("INSERT INTO ks.t (z, id, a) VALUES (:zebra, now(), :apple)")
    assert (await c.execute(prepared, values=[b"1", b"2"], names=["apple", "zebra"])).kind == Kind.VOID
    for cluster in bench.clusters:
        params = cluster.requests(Op.EXECUTE)[0].params
        assert params.names == ["apple", "zebra", "zdm__now"] and params.values[:2] == [b"1", b"2"]
    values = both_bound(bench)
    assert values[0] == b"2" and as_timeuuid(values[1]) and values[2] == b"1"


@pytest.mark.checklist(214)
@pytest.mark.parametrize("version", [3, 4, 5])
async def test_named_values_that_are_missing(make_bench, version):
    """The clusters decide what that means."""
    bench = await make_bench(**ON)
    c = await bench.client(version)
    prepared = await c.prepare("INSERT INTO ks.t (z, id, a) VALUES (:zebra, now(), :apple)")
    assert_error(await c.execute(prepared, values=[b"1"], names=["zebra"]), Err.INVALID)
    assert_error(await c.execute(prepared, values=[], names=[]), Err.INVALID)
    assert [r.params.names for r in bench.target.requests(Op.EXECUTE)] == [["zebra", "zdm__now"], ["zdm__now"]]
    await assert_alive(c, bench)


@pytest.mark.checklist(214)
async def test_named_values_for_question_marks(make_bench):
    """A column's name stands for its marker then, also for ours."""
    bench = await make_bench(fresh=True, **ON)
    describe_as(bench, named("k", "id", "v"), [0])
    c = await bench.client()
    prepared = await c.prepare("INSERT INTO ks.t (k, id, v) VALUES (?, now(), ?)")
    assert (await c.execute(prepared, values=[b"v", b"k"], names=["v", "k"])).kind == Kind.VOID
    values = both_bound(bench)
    assert values[0] == b"k" and as_timeuuid(values[1]) and values[2] == b"v"


async def test_names_that_cannot_be_told_apart(make_bench):
    """UPDATE ... SET v = now() ... IF v = ?: two variables called v."""
    bench = await make_bench(fresh=True, **ON)
    describe_as(bench, named("v", "k", "v"), [1])
    c = await bench.client()
    prepared = await c.prepare("UPDATE ks.t SET v = now() WHERE k = ? IF v = ?")
    answer = await c.execute(prepared, values=[b"k", b"v"], names=["k", "v"])
    assert_error(answer, Err.INVALID, "by position")
    await bench.settle(c)
    assert not bench.origin.requests(Op.EXECUTE)
    assert not (await c.execute(prepared, values=[b"k", b"v"])).is_error()
    assert as_timeuuid(both_bound(bench)[0]) and both_bound(bench)[1:] == [b"k", b"v"]


@pytest.mark.checklist(215)
@ways
async def test_positional_values_for_named_markers(make_bench, version, compression):
    bench = await make_bench(**ON)
    c = await bench.client(version, compression)
    prepared = await c.prepare("UPDATE ks.t SET a = :a, b = now(), c = :a WHERE k = :k IF d = uuid()")
    assert not (await c.execute(prepared, values=[b"a", b"a", b"k"])).is_error()
    values = both_bound(bench)
    assert values[0] == b"a" and values[2:4] == [b"a", b"k"]
    assert as_timeuuid(values[1]) and uuid.UUID(bytes=values[4]).version == 4


@pytest.mark.checklist(212, 215)
@pytest.mark.parametrize("text", ["INSERT INTO ks.t (a, b, c) VALUES (?, now(), ?)",
                                  "INSERT INTO ks.t (a, b, c) VALUES (:a, now(), :c)"])
@pytest.mark.parametrize("count", [0, 1, 3, 65535])
async def test_a_wrong_number_of_values(make_bench, text, count):
    """Too few or too many: the clusters say so."""
    bench = await make_bench(**ON)
    c = await bench.client()
    prepared = await c.prepare(text)
    assert_error(await c.execute(prepared, values=[b""] * count), Err.INVALID, "Invalid amount of bind variables")
    await assert_alive(c, bench)
    assert (await c.execute(prepared, values=[b"1", b"2"])).kind == Kind.VOID


@pytest.mark.checklist(221)
@ways
@pytest.mark.parametrize("text", [
    "INSERT INTO ks.t (a, b, c) VALUES ([?, ?], now(), ?)", "INSERT INTO ks.t (a, b, c) VALUES ({?, ?}, now(), ?)",
    "INSERT INTO ks.t (a, b, c) VALUES (ks.f(?, ?), now(), ?)", "INSERT INTO ks.t (a, b, c) VALUES ((?, ?), now(), ?)",
    "INSERT INTO ks.t (a, b, c) VALUES ({x: ?, y: ?}, now(), ?)", "UPDATE ks.t SET m[?] = ?, c = now() WHERE k = ?",
])
async def test_every_marker_counts(make_bench, version, compression, text):
    """Also those in collections, tuples, UDTs, arguments (a defect of the original)."""
    bench = await make_bench(**ON)
    c = await bench.client(version, compression)
    prepared = await c.prepare(text)
    assert len(prepared.bind) == 3
    assert (await c.execute(prepared, values=[b"1", b"2", b"3"])).kind == Kind.VOID
    values = both_bound(bench)
    assert values[:2] + values[3:] == [b"1", b"2", b"3"] and as_timeuuid(values[2])


# ---- BATCH ----

@pytest.mark.checklist(210)
@ways
@pytest.mark.parametrize("primary", PRIMARIES)
async def test_a_batch(make_bench, version, compression, primary):
    bench = await make_bench(primary=primary, **ON)
    c = await bench.client(version, compression)
    first = await c.prepare("INSERT INTO ks.t (a, b, c) VALUES (?, now(), ?)")
    plain = await c.prepare("INSERT INTO ks.t (a) VALUES (?)")
    named_ = await c.prepare("INSERT INTO ks.t (a, b) VALUES (uuid(), :b)")
    before = time.time()
    answer = await c.batch([("INSERT INTO ks.t (k, '\u00e9') VALUES (now(), ?)", [b"q"]),
                            (first.prepared_id, [b"1", None]), (plain.prepared_id, [b"2"]),
                            ("DELETE FROM ks.t WHERE k = ?", [b"d"]), (named_.prepared_id, [b"3"]),
                            (first.prepared_id, [b"4", b"5"])], timestamp=99)
    assert answer.kind == Kind.VOID
    made = []
    for cluster in bench.clusters:
        got, = cluster.requests(Op.BATCH)
        assert got.params.timestamp == 99
        (text, one), (i2, two), (i3, three), (deletion, four), (i5, five), (i6, six) = got.children
        sent = [cluster.prepared_id(t, None) for t in (
            "INSERT INTO ks.t (a, b, c) VALUES (?, ?, ?)", "INSERT INTO ks.t (a) VALUES (?)",
            "INSERT INTO ks.t (a, b) VALUES (:zdm__now, :b)")]
        assert [i2, i3, i5, i6] == sent + sent[:1]
        assert pattern(text) == "INSERT INTO ks.t (k, '\u00e9') VALUES (UUID, ?)" and one == [b"q"]
        assert two[0] == b"1" and two[2] is None and three == [b"2"] and four == [b"d"] and five[1] == b"3"
        assert deletion == "DELETE FROM ks.t WHERE k = ?" and six[0] == b"4" and six[2] == b"5"
        made.append([uuids_in(text)[0], as_timeuuid(two[1]), uuid.UUID(bytes=five[0]), as_timeuuid(six[1])])
        for u in (made[-1][0], made[-1][1], made[-1][3]):
            assert_timeuuid(u, before)
    assert made[0] == made[1] and len(set(made[0])) == 4


@pytest.mark.checklist(210)
async def test_a_large_batch(make_bench):
    bench = await make_bench(**ON)
    c = await bench.client(4, "lz4")
    prepared = await c.prepare("INSERT INTO ks.t (a, b) VALUES (?, now())")
    children = [(prepared.prepared_id, [b"%d" % i]) if i % 2 else ("INSERT INTO ks.t (a) VALUES (now())", [])
                for i in range(3000)]
    assert (await c.batch(children)).kind == Kind.VOID
    origin, target = (cluster.requests(Op.BATCH)[0].children for cluster in bench.clusters)
    made = set()
    for i, (mine, theirs) in enumerate(zip(origin, target, strict=True)):
        assert mine[1] == theirs[1]
        if i % 2:
            assert mine[1][0] == b"%d" % i
            made.add(as_timeuuid(mine[1][1]))
        else:
            assert mine[0] == theirs[0]
            made.add(uuids_in(mine[0])[0])
    assert len(made) == 3000


async def test_a_batch_with_a_wrong_number_of_values(make_bench):
    bench = await make_bench(**ON)
    c = await bench.client()
    prepared = await c.prepare("INSERT INTO ks.t (a, b) VALUES (?, now())")
    for values in ([], [b"1", b"2"], [b""] * 65535):
        assert_error(await c.batch([(prepared.prepared_id, values)]), Err.INVALID, "bind variables")
    await assert_alive(c, bench)


# ---- the client's own statement with the rewritten text ----

NOW = "INSERT INTO ks.t (a, b) VALUES (?, now())"
OWN = "INSERT INTO ks.t (a, b) VALUES (?, ?)"


async def prepare_both(c, order):
    """NOW and OWN, whose texts are the same on the clusters."""
    if order == "now first":
        return await c.prepare(NOW), await c.prepare(OWN)
    own = await c.prepare(OWN)
    return await c.prepare(NOW), own


orders = pytest.mark.parametrize("order", ["now first", "own first"])


@ways
@orders
async def test_interleaved_with_the_clients_own(make_bench, version, compression, order):
    bench = await make_bench(**ON)
    c = await bench.client(version, compression)
    now, own = await prepare_both(c, order)
    assert now.prepared_id != own.prepared_id
    assert own.prepared_id == bench.origin.prepared_id(OWN, None)
    assert [len(p.bind) for p in (now, own)] == [1, 2]
    for i in range(4):
        assert (await c.execute(now, values=[b"n%d" % i])).kind == Kind.VOID
        values = both_bound(bench)
        assert values[0] == b"n%d" % i and as_timeuuid(values[1])
        assert (await c.execute(own, values=[b"o%d" % i, b"x"])).kind == Kind.VOID
        assert both_bound(bench) == [b"o%d" % i, b"x"]
    assert (await c.batch([(own.prepared_id, [b"1", b"2"]), (now.prepared_id, [b"3"]),
                           (own.prepared_id, [b"4", b"5"])])).kind == Kind.VOID
    for cluster in bench.clusters:
        children = cluster.requests(Op.BATCH)[0].children
        assert {statement for statement, _ in children} == {cluster.prepared_id(OWN, None)}
        values = [values for _, values in children]
        assert values[0] == [b"1", b"2"] and values[2] == [b"4", b"5"]
        assert values[1][0] == b"3" and as_timeuuid(values[1][1])


@orders
@pytest.mark.parametrize("forgetting", [("origin",), ("target",), ("origin", "target")])
@pytest.mark.parametrize("version", [4, 5])
async def test_lost_by_a_node(make_bench, version, order, forgetting):
    """The rewritten text is prepared again, and the values that were made are sent again."""
    bench = await make_bench(**ON)
    c = await bench.client(version)
    now, own = await prepare_both(c, order)
    for turn in range(3):
        for name in forgetting:
            getattr(bench, name).forget_prepared()
        if turn == 0:
            assert (await c.execute(now, values=[b"1"])).kind == Kind.VOID
            values = both_bound(bench)
            assert values[0] == b"1" and as_timeuuid(values[1])
        elif turn == 1:
            assert (await c.execute(own, values=[b"1", b"2"])).kind == Kind.VOID
            assert both_bound(bench) == [b"1", b"2"]
        else:
            assert (await c.batch([(own.prepared_id, [b"1", b"2"]), (now.prepared_id, [b"3"])])).kind == Kind.VOID
            mine, theirs = ([v for _, v in cl.requests(Op.BATCH)[-1].children] for cl in bench.clusters)
            assert mine == theirs and mine[0] == [b"1", b"2"] and mine[1][0] == b"3"
        for name in forgetting:
            assert getattr(bench, name).requests(Op.PREPARE)[-1].statement == OWN
    # a repaired EXECUTE carries the same value twice
    for name in forgetting:
        lost = [r.params.values for r in getattr(bench, name).requests(Op.EXECUTE)][:2]
        assert lost[0] == lost[1]


@orders
@pytest.mark.parametrize("which", ["now", "own"])
@pytest.mark.parametrize("version", [4, 5])
async def test_unprepared_has_the_clients_id(make_bench, version, order, which):
    bench = await make_bench(**ON)
    c = await bench.client(version)
    now, own = await prepare_both(c, order)
    prepared, values = (now, [b"1"]) if which == "now" else (own, [b"1", b"2"])
    for cluster in bench.clusters:
        cluster.on(Op.EXECUTE, behaviour.unprepared())
        cluster.on(Op.BATCH, behaviour.unprepared())
    for answer in (await c.execute(prepared, values=values), await c.batch([(prepared.prepared_id, values)])):
        assert_error(answer, Err.UNPREPARED, prepared.prepared_id.hex())
        assert answer.fields["id"] == prepared.prepared_id
    again = await c.prepare(NOW if which == "now" else OWN)
    assert again.prepared_id == prepared.prepared_id


async def test_the_clusters_id_of_a_rewritten_text_is_nobodys(make_bench):
    """After a restart of the proxy a client may execute its own statement by an id that it still has."""
    bench = await make_bench(**ON)
    c = await bench.client()
    text = "INSERT INTO ks.nobody (a, b) VALUES (?, now())"
    await c.prepare(text)
    for cluster in bench.clusters:
        unknown = cluster.prepared_id("INSERT INTO ks.nobody (a, b) VALUES (?, ?)", None)
        answer = await c.execute(unknown, values=[b"1", b"2"])
        assert_error(answer, Err.UNPREPARED)
        assert answer.fields["id"] == unknown


async def test_the_clients_id(make_bench):
    """As Cassandra makes it: of keyspace and text, of the text alone when that names its keyspace."""
    import hashlib
    bench = await make_bench(**ON)
    short = "INSERT INTO t (a) VALUES (now())"
    for version in (3, 5):
        c = await bench.client(version, keyspace="one")
        assert (await c.prepare(NOW)).prepared_id == hashlib.md5(NOW.encode()).digest()
        assert (await c.prepare(short)).prepared_id == hashlib.md5(b"one" + short.encode()).digest()
    assert (await c.prepare(short, keyspace="two")).prepared_id == hashlib.md5(b"two" + short.encode()).digest()
    other = await bench.client(4)
    prepared = await other.prepare(NOW)
    # prepared on one connection, executed on another
    assert (await c.execute(prepared.prepared_id, values=[b"1"])).kind == Kind.VOID
    assert as_timeuuid(both_bound(bench)[1])


# ---- what cannot be rewritten ----

def refuses_markers(got):
    return "(timeuuid)?" in got.statement or "(timeuuid):" in got.statement


async def kept(bench, reason):
    return (await bench.proxy.metrics())[f'zdm_cqlferry_functions_kept_total{{reason="{reason}"}}']


@ways
@pytest.mark.parametrize("where", [("origin",), ("target",), ("origin", "target")])
@pytest.mark.parametrize("code", [Err.INVALID, Err.SYNTAX_ERROR, Err.SERVER_ERROR])
async def test_a_cluster_refuses_the_markers(make_bench, version, compression, where, code):
    """Cassandra takes no markers in collection literals: the statement is prepared as it is, in the same request."""
    bench = await make_bench(**ON)
    c = await bench.client(version, compression)
    text = "INSERT INTO ks.t (a, b) VALUES (?, [now()])"
    for name in where:
        getattr(bench, name).on(lambda got: got.opcode == Op.PREPARE and refuses_markers(got),
                                error(code, "bind variables are not supported inside collection literals"))
    before = await kept(bench, "refused")
    prepared = await c.prepare(text)
    assert prepared.kind == Kind.PREPARED and len(prepared.bind) == 1
    assert prepared.prepared_id == bench.origin.prepared_id(text, None)
    assert texts(bench, Op.PREPARE) == [text.replace("now()", "(timeuuid)?"), text]
    assert (await c.execute(prepared, values=[b"1"])).kind == Kind.VOID
    assert both_bound(bench) == [b"1"]
    assert await kept(bench, "refused") == before + 1
    assert re.search(r"each cluster makes its own values: INSERT INTO ks\.t", bench.proxy.messages)


async def test_the_clients_text_is_refused_too(make_bench):
    """The client gets the error about its own text; nothing is counted."""
    bench = await make_bench(**ON)
    c = await bench.client()
    for cluster in bench.clusters:
        cluster.on("ks.gone", lambda conn, got: error(Err.INVALID, f"no table: {got.statement}")(conn, got))
    before = await kept(bench, "refused")
    text = "INSERT INTO ks.gone (a) VALUES (now())"
    assert_error(await c.prepare(text), Err.INVALID, f"no table: {text}")
    assert await kept(bench, "refused") == before
    await assert_alive(c, bench)


@pytest.mark.parametrize("code", [Err.OVERLOADED, Err.UNAUTHORIZED, Err.IS_BOOTSTRAPPING])
async def test_other_errors_say_nothing_about_the_text(make_bench, code):
    bench = await make_bench(**ON)
    c = await bench.client()
    bench.target.on(Op.PREPARE, error(code, "not now"))
    assert_error(await c.prepare(NOW), code, "not now")
    assert texts(bench, Op.PREPARE) == [OWN]


@pytest.mark.parametrize("where", PRIMARIES)
async def test_the_second_attempt_gets_no_answer(make_bench, where):
    """One deadline for both."""
    bench = await make_bench(sections={"routing": {"replace_cql_functions": "true"},
                                       "proxy": {"request_timeout": "1500ms"}})
    c = await bench.client()
    text = "INSERT INTO ks.t (a) VALUES ([now()])"
    cluster = getattr(bench, where)
    cluster.on(text, behaviour.mute())
    bench.origin.on(lambda got: got.opcode == Op.PREPARE and refuses_markers(got), error(Err.INVALID))
    assert_error(await c.prepare(text), Err.SERVER_ERROR, where)
    await assert_alive(c, bench)


@pytest.mark.dedicated
async def test_a_cluster_is_lost_between_the_attempts(make_bench):
    bench = await make_bench(fresh=True, **ON)
    c = await bench.client()
    hold = Hold(error(Err.INVALID))
    bench.origin.on(Op.PREPARE, hold)
    stream = c.send_prepare("INSERT INTO ks.t (a) VALUES ([now()])")
    await hold.arrived()
    await bench.target.until(lambda: bench.target.requests(Op.PREPARE), "PREPARE")
    bench.target.nodes[0].drop()
    await bench.target.until(lambda: not bench.target.connections(), "end of the connection")
    hold.release()
    assert_error(await c.answer(stream), Err.SERVER_ERROR, "target")


@pytest.mark.parametrize("attempt", [0, 1])
async def test_the_client_goes_during_a_prepare(make_bench, attempt):
    """In either attempt; a leak would be reported at the end of the process."""
    bench = await make_bench(fresh=True, **ON)
    c = await bench.client()
    text = "INSERT INTO ks.t (a) VALUES ([now()])"
    hold = Hold()
    bench.origin.on(lambda got: got.opcode == Op.PREPARE and refuses_markers(got) == (attempt == 0), hold)
    bench.target.on(lambda got: got.opcode == Op.PREPARE and refuses_markers(got), error(Err.INVALID))
    c.send_prepare(text)
    await hold.arrived()
    c.abort()
    await bench.until_backends_gone()
    hold.release()
    other = await bench.client()
    assert (await other.prepare(text)).kind == Kind.PREPARED
    assert bench.target.statements(Op.PREPARE)[-1] == text


async def test_variables_that_are_not_as_expected(make_bench):
    """A server that reports another number of variables, or not ours: nothing could be bound rightly."""
    for text, bind, other in [
        ("INSERT INTO ks.t (a, b) VALUES (?, now())", named("a"), named("a")),
        ("INSERT INTO ks.t (a, b) VALUES (:a, now())", named("a", "b"), named("a", "b")),
        ("INSERT INTO ks.t (a, b) VALUES (:a, now())", named("a", "zdm__now"), named("zdm__now", "a")),
    ]:
        bench = await make_bench(fresh=True, **ON)
        bench.origin.describe = lambda t, keyspace, bind=bind: (bind, [], [])
        bench.target.describe = lambda t, keyspace, other=other: (other, [], [])
        c = await bench.client()
        prepared = await c.prepare(text)
        assert prepared.kind == Kind.PREPARED
        assert bench.origin.statements(Op.PREPARE)[-1] == text and len(bench.origin.statements(Op.PREPARE)) == 2
        assert await kept(bench, "refused") == 1


@pytest.mark.parametrize("text", [
    "INSERT INTO ks.t (a, b) VALUES (:zdm__now, now())",
    "INSERT INTO ks.t (a) VALUES (" + ", ".join(["now()"] * 257) + ")",
    "INSERT INTO ks.t (a) VALUES (now(), " + "[" * 100 + ")",
])
async def test_a_prepare_that_we_cannot_rewrite(make_bench, text):
    bench = await make_bench(**ON)
    c = await bench.client()
    before = await kept(bench, "not_replaceable")
    prepared = await c.prepare(text)
    assert prepared.prepared_id == bench.origin.prepared_id(text, None)
    assert texts(bench, Op.PREPARE) == [text]
    assert await kept(bench, "not_replaceable") == before + 1


async def test_a_query_that_we_cannot_rewrite(make_bench):
    bench = await make_bench(**ON)
    c = await bench.client()
    before = await kept(bench, "not_replaceable")
    many = "INSERT INTO ks.t (a) VALUES (" + ",".join(["now()"] * 65536) + ")"
    assert (await c.query(many)).kind == Kind.VOID
    assert (await c.batch([(many, []), ("INSERT INTO ks.t (a) VALUES (now())", [])])).kind == Kind.VOID
    assert texts(bench, Op.QUERY) == [many]
    for cluster in bench.clusters:
        assert [len(uuids_in(text)) for text, _ in cluster.requests(Op.BATCH)[0].children] == [0, 1]
    assert await kept(bench, "not_replaceable") == before + 2
    just = "INSERT INTO ks.t (a) VALUES (" + ",".join(["now()"] * 65535) + ")"
    assert (await c.query(just)).kind == Kind.VOID
    assert len(set(uuids_in(texts(bench, Op.QUERY)[1]))) == 65535


async def test_the_count_of_what_was_replaced(make_bench):
    bench = await make_bench(**ON)
    c = await bench.client()
    name = "zdm_cqlferry_functions_replaced_total"
    before = (await bench.proxy.metrics())[name]
    await c.query("INSERT INTO ks.t (a, b) VALUES (now(), uuid())")
    prepared = await c.prepare(NOW)
    await c.execute(prepared, values=[b"1"])
    await c.batch([("INSERT INTO ks.t (a) VALUES (now())", []), (prepared.prepared_id, [b"1"])])
    await c.query("SELECT now() FROM ks.t")
    assert (await bench.proxy.metrics())[name] == before + 5


@pytest.mark.parametrize("text", ["INSERT INTO ks.t (a) VALUES (now()", "INSERT INTO ks.t (a) VALUES (now(), 'x",
                                  "INSERT INTO ks.t (a) VALUES (now()) /*", "UPDATE now() now()", "BEGIN BATCH now()"])
async def test_broken_texts(make_bench, text):
    """Whatever is made of them, both clusters get the same, and one answer comes."""
    bench = await make_bench(**ON)
    c = await bench.client()
    for cluster in bench.clusters:
        cluster.on(lambda got: got.opcode in (Op.QUERY, Op.PREPARE) and "now" in got.statement or "UUID" in
                   pattern(got.statement or ""), error(Err.SYNTAX_ERROR, "no viable alternative"))
    assert_error(await c.query(text), Err.SYNTAX_ERROR)
    assert (await c.prepare(text)).code in (Err.SYNTAX_ERROR, None)
    texts(bench)
    await assert_alive(c, bench)


@pytest.mark.parametrize("version", [4, 5])
async def test_a_custom_payload(make_bench, version):
    bench = await make_bench(**ON)
    c = await bench.client(version)
    payload = {"key": b"\xc3\xa9 value"}
    stream = c.send_query("INSERT INTO ks.t (a) VALUES (now())", payload=payload)
    assert (await c.answer(stream)).kind == Kind.VOID
    prepared = await c.prepare(NOW, payload=payload)
    assert (await c.answer(c.send_execute(prepared, values=[b"1"], payload=payload))).kind == Kind.VOID
    for cluster in bench.clusters:
        assert [r.request.payload for r in cluster.requests(Op.QUERY, Op.PREPARE, Op.EXECUTE)] == [payload] * 3
    assert as_timeuuid(both_bound(bench)[1])


async def test_many_at_once(make_bench):
    """Pipelined on several connections, both kinds mixed."""
    bench = await make_bench(**ON)
    clients = [await bench.client(*WAYS[i % len(WAYS)]) for i in range(8)]
    pairs = [await prepare_both(c, "now first") for c in clients]
    streams = []
    for i in range(40):
        for c, (now, own) in zip(clients, pairs):
            streams.append((c, c.send_execute(now, values=[b"n"])))
            streams.append((c, c.send_execute(own, values=[b"o", b"%d" % i])))
    for c, stream in streams:
        assert (await c.answer(stream)).kind == Kind.VOID
    everything = [[r.bound for r in cluster.requests(Op.EXECUTE)] for cluster in bench.clusters]
    assert sorted(everything[0]) == sorted(everything[1])
    made = {value[1] for value in everything[0] if value[0] == b"n"}
    assert len(made) == 320 and all(as_timeuuid(value) for value in made)
    assert sum(value[0] == b"o" for value in everything[0]) == 320


# ---- with the other settings that change requests ----

@ways
@pytest.mark.parametrize("refused", [False, True])
async def test_together_with_everything_else(make_bench, version, compression, refused):
    """Request ids in front of the body, timestamps behind it, other levels, the keyspace of v5 in it."""
    bench = await make_bench(sections={"routing": {"replace_cql_functions": "true", "timestamps": "add"},
                                       "proxy": {"tracing_enabled": "true", "tracing_rate_limit": 100000},
                                       "target": {"write_consistency": "LOCAL_QUORUM"}})
    c = await bench.client(version, compression, keyspace="one")
    keyspace = {"keyspace": "two"} if version >= 5 else {}
    if refused:
        bench.target.on(lambda got: got.opcode == Op.PREPARE and "?, ?" in got.statement, error(Err.INVALID))
    assert (await c.query("INSERT INTO t (a, b) VALUES (now(), ?)", values=[b"1"], **keyspace)).kind == Kind.VOID
    prepared = await c.prepare("INSERT INTO t (a, b) VALUES (?, now())", **keyspace)
    assert len(prepared.bind) == 1
    assert (await c.execute(prepared, values=[b"1"])).kind == Kind.VOID
    assert (await c.batch([("INSERT INTO t (a) VALUES (now())", []), (prepared.prepared_id, [b"2"])],
                          **keyspace)).kind == Kind.VOID
    origin, target = ([r for r in cluster.requests(Op.QUERY, Op.PREPARE, Op.EXECUTE, Op.BATCH)
                       if not (r.statement or "").startswith("USE")] for cluster in bench.clusters)
    assert len(origin) == len(target) == (5 if refused else 4)
    for mine, theirs in zip(origin, target):
        assert mine.opcode == theirs.opcode and mine.statement == theirs.statement
        if version >= 4:
            assert mine.request.payload == theirs.request.payload and len(mine.request.payload["request-id"]) == 16
        if mine.opcode in (Op.QUERY, Op.EXECUTE, Op.BATCH):
            assert mine.params.timestamp == theirs.params.timestamp is not None
            assert (mine.params.consistency, theirs.params.consistency) == (CL.LOCAL_ONE, CL.LOCAL_QUORUM)
        if version >= 5 and mine.opcode in (Op.QUERY, Op.PREPARE, Op.BATCH):
            assert mine.request.keyspace == theirs.request.keyspace == "two"
    assert pattern(origin[0].statement) == "INSERT INTO t (a, b) VALUES (UUID, ?)"
    assert [r.statement for r in origin if r.opcode == Op.PREPARE] == \
        ["INSERT INTO t (a, b) VALUES (?, ?)"] + (["INSERT INTO t (a, b) VALUES (?, now())"] if refused else [])
    assert len(both_bound(bench)) == (1 if refused else 2)
    assert [v for _, v in origin[-1].children] == [v for _, v in target[-1].children]


@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize("version,compression", [(3, None), (4, "lz4"), (5, None), (5, "lz4")])
async def test_large_ones(make_bench, version, compression, refused):
    """Bodies that have a connection of their own."""
    bench = await make_bench(sections={"routing": {"replace_cql_functions": "true"},
                                       "proxy": {"large_frame_size": "64KiB"}})
    c = await bench.client(version, compression)
    filler = "'" + "é" * 50_000 + "'"
    if refused:
        bench.origin.on(lambda got: got.opcode == Op.PREPARE and got.statement.endswith("(?)"), error(Err.INVALID))
    await c.query(f"INSERT INTO ks.t (a, b) VALUES ({filler}, now())")
    prepared = await c.prepare(f"INSERT INTO ks.t /* {filler} */ (a) VALUES (now())")
    await c.execute(prepared)
    small = await c.prepare("INSERT INTO ks.t (a, b, c) VALUES (?, now(), ?)")
    big = b"x" * 200_000
    assert (await c.execute(small, values=[big, big])).kind == Kind.VOID
    values = both_bound(bench)
    assert values[0] == values[2] == big and as_timeuuid(values[1])
    assert (await c.batch([(small.prepared_id, [big, b"1"])] * 3)).kind == Kind.VOID
    assert [len(v) for _, v in bench.target.requests(Op.BATCH)[0].children] == [3] * 3
    assert len(uuids_in(texts(bench, Op.QUERY)[0])) == 1 and texts(bench, Op.PREPARE)
    assert len(both_bound(bench, 0)) == (0 if refused else 1)
