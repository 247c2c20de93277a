"""
What plugins are asked and told about requests: on_request, on_response, and the questions that they may ask in these. The
fixture tests/plugins/witness.c says what it is given, and does what a comment in the statement says.
"""
import asyncio
import re

import pytest

from behaviour import Hold, error, mute
from cqlwire import CL, Err, Kind, Op
from cqlwire import requests as rq
from helpers import WAY_IDS, WAYS, assert_error, reached

pytestmark = pytest.mark.native
ways = pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)

ANSWERED, FAILED, REFUSED, DENIED, LOCAL, ABANDONED = range(6)
UNSENT, PENDING, OK, ERROR = range(4)
READ, WRITE, SCHEMA, USE, UNKNOWN = range(5)
BY_DEFAULT, BY_PROTOCOL, BY_RULE, BY_SCRIPT, BY_PLUGIN = range(5)
BOTH = 3
#: in place of a cluster: the proxy itself
PROXY = 2
NO_LEVEL = 0xFFFF
LINE = re.compile(r'^witness (\w+): (request|resumed|response) (.*?)(?: tag=(\S*) decider="(.*?)" message="(.*?)")? '
                  r'text="(.*?)"$', re.M | re.S)


class Event:
    """A line of the witness: its words as attributes, numbers as such."""

    def __init__(self, found):
        self.plugin, self.hook, words, self.tag, self.decider, self.message, self.text = found.groups()
        for word in words.split(" "):
            name, value = word.split("=")
            if name in ("origin", "target"):
                state, code, ms = value.split("/")
                value = (int(state), int(code, 16), int(ms))
            elif name == "error":
                value = int(value, 16)
            elif name not in ("tables", "keyspace", "verb", "values"):
                value = int(value)
            setattr(self, name, value)

    def __repr__(self):
        return f"<{vars(self)}>"


class Witness:
    """What the plugins have said since this was made."""

    def __init__(self, bench):
        self.bench = bench
        self.begin = len(bench.proxy.log)

    def events(self, *hooks, of=None):
        found = [Event(m) for m in LINE.finditer(self.bench.proxy.log[self.begin:])]
        return [e for e in found if (not hooks or e.hook in hooks) and (of is None or of in e.text)]

    async def responses(self, count=1, of=None):
        """As many as that, and no more."""
        async def there():
            return len(self.events("response", of=of)) >= count
        await self.bench.proxy.until(there, f"{count} responses")
        found = self.events("response", of=of)
        assert len(found) == count, found
        return found

    async def response(self, of=None):
        return (await self.responses(1, of))[0]


async def watched(make_bench, plugin_path, *names, options=None, **more):
    sections = {f"plugin {name}": {"file": plugin_path("witness"), **(options or {})} for name in names or ("one",)}
    bench = await make_bench(sections={**sections, **more.pop("sections", {})}, **more)
    return bench, Witness(bench)


# ---- what is told ----

@ways
async def test_reads_and_writes(make_bench, plugin_path, version, compression):
    """Of each opcode the statement, where it went, who answered, and that on_request was about the same request."""
    bench, witness = await watched(make_bench, plugin_path, options={"values": "on"})
    c = await bench.client(version, compression)
    await c.query("SELECT a FROM ks.t WHERE k = ?", values=[b"key"], consistency=CL.TWO)
    read = await witness.response()
    assert (read.opcode, read.kind, read.verb, read.level) == (Op.QUERY, READ, "SELECT", CL.TWO)
    assert (read.outcome, read.answer, read.to, read.by, read.error) == (ANSWERED, Op.RESULT, 1, 0, 0)
    assert (read.tables, read.values, read.rows, read.decided, read.decider) == ("ks.t", "key", 1, BY_DEFAULT, "")
    assert read.origin[:2] == (OK, 0) and read.target == (UNSENT, 0, 0)
    insert = await c.prepare("INSERT INTO ks.t (k, v) VALUES (?, ?) IF NOT EXISTS")
    await c.execute(insert, values=[b"k", None])
    await c.execute(insert, values=[b"k", b"v"])
    prepare, first, second = await witness.responses(3, of="INSERT")
    assert (prepare.opcode, prepare.kind, prepare.level, prepare.to) == (Op.PREPARE, WRITE, NO_LEVEL, BOTH)
    assert (prepare.lwt, prepare.rows, prepare.prepared) == (1, -1, 0)
    assert (first.opcode, first.kind, first.to, first.prepared, first.kept, first.lwt) == (Op.EXECUTE, WRITE, 3, 1, 1, 1)
    assert (first.values, second.values) == ("k,null", "k,v") and (first.slot, second.slot) == (0, 1)
    assert first.origin[0] == first.target[0] == OK
    assert first.text == second.text == "INSERT INTO ks.t (k, v) VALUES (?, ?) IF NOT EXISTS"
    asked = witness.events("request")
    told = witness.events("response")
    assert [e.number for e in asked] == [e.number for e in told] and len(set(e.number for e in told)) == 4


@ways
async def test_a_batch(make_bench, plugin_path, version, compression):
    """Its kind is a write; its text is that of its children, its tables those of all."""
    bench, witness = await watched(make_bench, plugin_path)
    c = await bench.client(version, compression, keyspace="shop")
    prepared = await c.prepare("DELETE FROM t WHERE k = ?")
    witness = Witness(bench)
    await c.batch([("INSERT INTO ks.u (k) VALUES (1)", []), (prepared.prepared_id, [b"k"]),
                   ("UPDATE ks.u SET v = 1 WHERE k = 1 IF v = 2", [])])
    batch = await witness.response()
    assert (batch.opcode, batch.kind, batch.verb, batch.prepared, batch.lwt) == (Op.BATCH, WRITE, "BATCH", 1, 1)
    assert batch.tables == "ks.u,shop.t" and batch.incomplete == 0 and batch.keyspace == "shop"
    assert batch.text == ("INSERT INTO ks.u (k) VALUES (1); DELETE FROM t WHERE k = ?; "
                          "UPDATE ks.u SET v = 1 WHERE k = 1 IF v = 2")
    assert batch.outcome == ANSWERED and batch.to == BOTH
    await c.batch([("INSERT INTO ks.t (k) VALUES ('%s')" % ("x" * 50000), [])] * 2)
    big = (await witness.responses(2))[1]
    assert len(big.text) == 65536 and big.incomplete == 1
    await c.batch([("frobnicate", [])])
    assert (await witness.responses(3))[2].incomplete == 1


@ways
async def test_errors_of_clusters(make_bench, plugin_path, version, compression):
    bench, witness = await watched(make_bench, plugin_path)
    c = await bench.client(version, compression)
    bench.target.on(Op.QUERY, error(Err.INVALID, "not this one"))
    assert_error(await c.query("INSERT INTO ks.t (k) VALUES (1)"), Err.INVALID, "not this one")
    e = await witness.response()
    assert (e.outcome, e.answer, e.error, e.by, e.message) == (FAILED, Op.ERROR, Err.INVALID, 1, "not this one")
    assert e.origin[0] == OK and e.target[:2] == (ERROR, Err.INVALID)


async def test_what_the_proxy_answers(make_bench, plugin_path):
    """System tables, statements that nobody has prepared, bodies that cannot be read: told of, and not asked about."""
    bench, witness = await watched(make_bench, plugin_path)
    c = await bench.client()
    await c.query("SELECT * FROM system.local")
    prepared = await c.prepare("SELECT * FROM system.peers")
    await c.execute(prepared)
    for e in await witness.responses(3):
        assert (e.outcome, e.by, e.to, e.decided, e.kind) == (LOCAL, PROXY, 0, BY_PROTOCOL, READ)
    assert [e.tables for e in witness.events("response")] == ["system.local", "system.peers", "system.peers"]
    assert_error(await c.query("SELECT gibberish FROM system.local"), Err.INVALID)
    refused = (await witness.responses(4))[3]
    assert (refused.outcome, refused.error) == (REFUSED, Err.INVALID) and "gibberish" in refused.message
    assert (await c.ask(Op.EXECUTE, rq.execute(4, b"unknown id"))).code == Err.UNPREPARED
    assert (await c.batch([(b"no such id", [])])).code == Err.UNPREPARED
    unknown, batch = (await witness.responses(6))[4:]
    assert (unknown.outcome, unknown.error, unknown.kind, unknown.opcode) == (REFUSED, Err.UNPREPARED, UNKNOWN, Op.EXECUTE)
    assert (batch.outcome, batch.error, batch.kind) == (REFUSED, Err.UNPREPARED, WRITE)
    for opcode in (Op.QUERY, Op.EXECUTE, Op.BATCH, Op.PREPARE):
        assert_error(await c.ask(opcode, b"\0"), Err.PROTOCOL_ERROR)
    for e in (await witness.responses(10))[6:]:
        assert (e.outcome, e.error, e.incomplete) == (REFUSED, Err.PROTOCOL_ERROR, 1)
    assert witness.events("request") == []


async def test_a_stream_that_is_used(make_bench, plugin_path):
    """The second frame is refused, the first one goes on: two requests, two ends."""
    bench, witness = await watched(make_bench, plugin_path)
    hold = Hold()
    bench.origin.on(Op.QUERY, hold)
    c = await bench.client()
    c.send_query("SELECT a FROM ks.first", stream=5)
    await hold.arrived()
    c.send_query("SELECT a FROM ks.second", stream=5)
    assert_error(await c.next_answer(), Err.PROTOCOL_ERROR, "stream id 5 is in use")
    e = await witness.response()
    assert (e.outcome, e.error) == (REFUSED, Err.PROTOCOL_ERROR)
    hold.release()
    assert not (await c.next_answer()).is_error()
    assert (await witness.responses(2))[1].outcome == ANSWERED


async def test_a_timeout(make_bench, plugin_path):
    """What has not answered is pending."""
    bench, witness = await watched(make_bench, plugin_path, sections={"proxy": {"request_timeout": "1s"}})
    bench.target.on(Op.QUERY, mute())
    c = await bench.client()
    assert_error(await c.query("INSERT INTO ks.t (k) VALUES (1)"), Err.WRITE_TIMEOUT)
    e = await witness.response()
    assert (e.outcome, e.error, e.by, e.to) == (REFUSED, Err.WRITE_TIMEOUT, PROXY, BOTH)
    assert e.origin[0] == OK and e.target == (PENDING, 0, 0) and e.ms >= 900 and e.origin[2] < e.ms
    assert "no answer from target" in e.message


async def test_a_client_that_goes(make_bench, plugin_path):
    """What it waited for is abandoned."""
    bench, witness = await watched(make_bench, plugin_path)
    hold = Hold()
    bench.origin.on(Op.QUERY, hold)
    c = await bench.client()
    for i in range(3):
        c.send_query(f"SELECT a FROM ks.t{i}")
    await hold.arrived(3)
    await c.close()
    for e in await witness.responses(3):
        assert (e.outcome, e.answer, e.error) == (ABANDONED, 0, 0) and e.origin[0] == PENDING
    hold.release()


@ways
async def test_use_and_schema(make_bench, plugin_path, version, compression):
    bench, witness = await watched(make_bench, plugin_path)
    c = await bench.client(version, compression)
    await c.use("shop")
    await c.query("CREATE TABLE t (k int PRIMARY KEY)")
    await c.query("GRANT ALL ON ALL KEYSPACES TO bob")
    await c.query("SELECT a FROM t")
    use, create, grant, read = await witness.responses(4)
    assert (use.kind, use.verb, create.kind, create.tables) == (USE, "USE", SCHEMA, "shop.t")
    assert (grant.kind, grant.verb, grant.tables) == (SCHEMA, "ROLE", "")
    assert (read.tables, read.keyspace) == ("shop.t", "shop")


async def test_what_is_watched(make_bench, plugin_path):
    """watch(): writes only are asked about, reads only are told of."""
    bench, witness = await watched(make_bench, plugin_path, options={"requests": 1 << WRITE, "responses": 1 << READ})
    c = await bench.client()
    await c.query("INSERT INTO ks.t (k) VALUES (1)")
    await c.query("SELECT a FROM ks.t")
    await witness.response()
    assert [(e.hook, e.verb) for e in witness.events()] == [("request", "INSERT"), ("response", "SELECT")]


# ---- who decides ----

@ways
async def test_deciders(make_bench, plugin_path, tmp_path, version, compression):
    """A rule, a script's hook, a plugin: by their names; a later page is the protocol's."""
    script = tmp_path / "a.lua"
    script.write_text('proxy.on_request("mine", { kinds = "read,write", keyspaces = "shop" }, '
                      'function(req) if req:kind() == "write" then return req:deny("invalid", "never") end return "target" end)\n')
    bench, witness = await watched(make_bench, plugin_path, sections={
        "lua": {"script": str(script)}, "routing": {"rule": "all billing.* target"}}, fresh=True)
    c = await bench.client(version, compression)
    for text in ("SELECT a FROM billing.t", "SELECT a FROM shop.t", "SELECT a FROM shop.t /* one: origin */",
                 "INSERT INTO shop.t (k) VALUES (1)"):
        await c.query(text)
    await c.execute(await c.prepare("SELECT a FROM billing.t WHERE k = 1"))
    await c.batch([("INSERT INTO billing.t (k) VALUES (1)", [])])
    told = await witness.responses(7)
    assert [(e.decided, e.decider) for e in told if e.opcode != Op.PREPARE] == [
        (BY_RULE, "all billing.* target"), (BY_SCRIPT, "mine"), (BY_PLUGIN, "one"), (BY_SCRIPT, "mine"),
        (BY_RULE, "all billing.* target"), (BY_RULE, "all billing.* target")]
    assert [e.to for e in told if e.opcode == Op.QUERY] == [2, 2, 1, 0]
    assert told[3].outcome == DENIED and told[3].message == "never"


async def test_a_decider_outlives_its_rules(make_bench, plugin_path):
    """The rules are others when the answer comes."""
    bench, witness = await watched(make_bench, plugin_path, sections={"routing": {"rule": "read billing.* target"}},
                                   fresh=True)
    hold = Hold()
    bench.target.on(Op.QUERY, hold)
    c = await bench.client()
    c.send_query("SELECT a FROM billing.t")
    await hold.arrived()
    await bench.reload(routing={"rule": "read other.* target"})
    hold.release()
    assert not (await c.next_answer()).is_error()
    e = await witness.response()
    assert (e.decided, e.decider, e.to) == (BY_RULE, "read billing.* target", 2)


# ---- verdicts ----

def statement(how, word, plugin="one"):
    kind = "INSERT INTO ks.t (k) VALUES (1)" if how.endswith("write") else "SELECT a FROM ks.t"
    return f"{kind} /* {plugin}: {word} */"


async def send(c, how, text):
    if how.startswith("execute"):
        prepared = await c.prepare(text)
        return await c.execute(prepared) if not prepared.is_error() else prepared
    if how.startswith("batch"):
        return await c.batch([(text, [])])
    return await c.query(text)


hows = pytest.mark.parametrize("how", ["query-read", "query-write", "batch-write"])


@hows
@ways
async def test_denied(make_bench, plugin_path, how, version, compression):
    """An ERROR with its code and text; nothing is sent, and no other plugin is asked."""
    bench, witness = await watched(make_bench, plugin_path, "one", "two")
    c = await bench.client(version, compression)
    text = statement(how, "deny")
    assert_error(await send(c, how, text), Err.INVALID, "no, says one")
    first, second = await witness.responses(2)
    assert (first.plugin, second.plugin) == ("one", "two")
    assert (first.outcome, first.decided, first.decider, first.to) == (DENIED, BY_PLUGIN, "one", 0)
    assert (first.error, first.message) == (Err.INVALID, "no, says one")
    assert [e.plugin for e in witness.events("request")] == ["one"]
    assert_error(await send(c, how, statement(how, "silent", "two")), Err.UNAUTHORIZED, "refused by plugin two")
    await bench.settle(c)
    assert reached(bench, Op.QUERY, text) == "none"
    assert not (await c.prepare("SELECT a FROM ks.t")).is_error()
    assert_error(await c.prepare(text), Err.INVALID, "no, says one")


@pytest.mark.parametrize("how", ["query-read", "query-write", "execute-read", "execute-write", "batch-write"])
@pytest.mark.parametrize("word,to", [("origin", 1), ("target", 2), ("both", 3), ("tagged", 2)])
async def test_routes(make_bench, plugin_path, how, word, to):
    """What a plugin says goes before rules; PREPARE went to both, since it may."""
    bench, witness = await watched(make_bench, plugin_path, sections={"routing": {"rule": "all ks.* origin"}})
    c = await bench.client()
    answer = await send(c, how, statement(how, word))
    assert not answer.is_error()
    e = (await witness.responses(2 if how.startswith("execute") else 1))[-1]
    assert (e.outcome, e.to, e.decided, e.decider) == (ANSWERED, to, BY_PLUGIN, "one")
    assert (e.origin[0], e.target[0]) == (OK if to & 1 else UNSENT, OK if to & 2 else UNSENT)
    if word == "tagged":
        assert (e.tag, e.level) == ("canary", CL.TWO)
        received = [r for r in bench.target.requests() if r.request and getattr(r.request, "params", None)]
        assert received[-1].request.params.consistency == CL.TWO
        metrics = await bench.proxy.metrics()
        assert metrics['zdm_cqlferry_plugin_tagged_requests_total{plugin="one",tag="canary"}'] >= 1
    else:
        assert e.tag == ""


async def test_done_without_a_route(make_bench, plugin_path):
    """No other plugin is asked; scripts and rules are."""
    bench, witness = await watched(make_bench, plugin_path, "one", "two",
                                   sections={"routing": {"rule": "read ks.* target"}})
    c = await bench.client()
    await c.query("SELECT a FROM ks.t /* one: done */ /* two: deny */")
    e = (await witness.responses(2))[0]
    assert (e.outcome, e.decided, e.to) == (ANSWERED, BY_RULE, 2)
    assert [e.plugin for e in witness.events("request")] == ["one"]


@pytest.mark.parametrize("word,why", [("error", "told to fail"), ("wild", "a verdict that there is not"),
                                      ("none", "999"), ("mirror", "no read")])
@pytest.mark.parametrize("on_error", ["deny", "pass"])
async def test_errors_of_plugins(make_bench, plugin_path, word, why, on_error):
    """on_error decides. A route that there is not, or not for this request, is an error as well."""
    bench, witness = await watched(make_bench, plugin_path, options={"on_error": on_error})
    c = await bench.client()
    answer = await c.query(f"INSERT INTO ks.t (k) VALUES (1) /* one: {word} */")
    e = await witness.response()
    if on_error == "deny":
        assert_error(answer, Err.UNAUTHORIZED, "plugin one")
        assert e.outcome == DENIED
    else:
        assert answer.kind == Kind.VOID
        assert (e.outcome, e.to, e.decided) == (ANSWERED, BOTH, BY_DEFAULT)
    await bench.proxy.until_logged(f"plugin one.*{why}")


async def test_a_mirrored_read(make_bench, plugin_path):
    """The copies' connection stays over a reload."""
    bench, witness = await watched(make_bench, plugin_path, fresh=True)
    c = await bench.client()
    text = "SELECT a FROM ks.t /* one: mirror */"
    await c.query(text)
    e = await witness.response()
    assert (e.to, e.decided) == (1, BY_PLUGIN)
    await bench.target.until(lambda: any(r.statement == text for r in bench.target.requests(Op.QUERY)), "copy")
    await bench.reload()
    await c.query(text)
    await bench.target.until(lambda: sum(r.statement == text for r in bench.target.requests(Op.QUERY)) == 2, "copies")
    assert "not mirrored any more" not in bench.proxy.log


async def test_what_is_not_asked(make_bench, plugin_path):
    """Later pages and traces have their clusters already."""
    bench, witness = await watched(make_bench, plugin_path)
    c = await bench.client()
    answer = await c.query("SELECT a FROM ks.t /* one: target */", paging_state=b"made before" + bytes([0xC0, 0]))
    assert not answer.is_error()
    await c.query("SELECT * FROM system_traces.sessions")
    await witness.responses(2)
    assert [e.tables for e in witness.events("request")] in ([], ["ks.t"])


# ---- holds ----

@pytest.mark.parametrize("how", ["query-read", "query-write", "execute-read", "execute-write", "batch-write"])
@ways
async def test_held(make_bench, plugin_path, how, version, compression):
    """The request waits, others pass it, and it goes on where it stopped: the plugins before it are not asked again."""
    bench, witness = await watched(make_bench, plugin_path, "one", "two")
    c = await bench.client(version, compression)
    text = statement(how, "hold", "two")
    prepared = await c.prepare(text.replace("hold", "")) if how.startswith("execute") else None
    witness = Witness(bench)
    answer = await send(c, how, text)
    assert not answer.is_error()
    e = (await witness.responses(4 if prepared else 2))[-1]
    assert e.outcome == ANSWERED and e.ms >= 19
    asked = [(a.plugin, a.hook) for a in witness.events("request", "resumed") if a.number == e.number]
    assert asked == [("one", "request"), ("two", "request"), ("two", "resumed")]
    told = [t for t in witness.events("response") if t.number == e.number]
    assert [t.plugin for t in told] == ["one", "two"]


@pytest.mark.parametrize("word,code", [("hold deny", Err.INVALID), ("hold error", Err.UNAUTHORIZED), ("hold target", None)])
async def test_held_and_then(make_bench, plugin_path, word, code):
    """What the second call says counts."""
    bench, witness = await watched(make_bench, plugin_path)
    c = await bench.client()
    for text in (f"SELECT a FROM ks.t /* one: {word} */", "INSERT INTO ks.t (k) VALUES ('%s') /* one: %s */" % ("x" * 3000, word)):
        answer = await c.query(text)
        if code is None:
            assert not answer.is_error()
        else:
            assert_error(answer, code)
    told = await witness.responses(2)
    assert [e.to for e in told] == ([2, 2] if code is None else [0, 0])
    assert [e.outcome for e in told] == [ANSWERED if code is None else DENIED] * 2
    await bench.settle(c)


@pytest.mark.parametrize("on_error", ["deny", "pass"])
@ways
async def test_held_for_ever(make_bench, plugin_path, on_error, version, compression):
    """The deadline is the plugin's error. Meanwhile its stream id is taken, and others are served."""
    bench, witness = await watched(make_bench, plugin_path, options={"on_error": on_error})
    c = await bench.client(version, compression)
    c.send_query("INSERT INTO ks.t (k) VALUES (1) /* one: forever */", stream=7)
    assert not (await c.query("SELECT a FROM ks.other")).is_error()
    c.send_query("SELECT a FROM ks.t", stream=7)
    assert_error(await c.next_answer(), Err.PROTOCOL_ERROR, "stream id 7 is in use")
    answer = await c.next_answer()
    if on_error == "deny":
        assert_error(answer, Err.UNAUTHORIZED, "refused by plugin one")
    else:
        assert answer.kind == Kind.VOID
    e = await witness.response(of="forever")
    # The deadline is 500 ms by libevent's clock, which is up to 10 ms behind (src/base/loop.c).
    assert e.outcome == (DENIED if on_error == "deny" else ANSWERED) and 200 <= e.ms < 8000
    assert [a.hook for a in witness.events("request", "resumed", of="forever")] == ["request"]
    await bench.proxy.until_logged("plugin one: on_request: what it held was not resumed in time")
    assert not (await c.query("SELECT a FROM ks.t")).is_error()


async def test_a_client_that_goes_while_held(make_bench, plugin_path):
    """Its requests are abandoned; the resume that comes afterwards does nothing."""
    bench, witness = await watched(make_bench, plugin_path)
    c = await bench.client()
    for i in range(5):
        c.send_query(f"INSERT INTO ks.t (k) VALUES ({i}) /* one: hold slowly */")

    async def asked():
        return len(witness.events("request")) == 5
    await bench.proxy.until(asked, "5 requests")
    c.abort()
    for e in await witness.responses(5):
        assert (e.outcome, e.answer, e.to) == (ABANDONED, 0, 0)
    other = await bench.client()
    await other.query("SELECT a FROM ks.t /* one: hold slowly */")
    await bench.settle(other)
    assert not [r for r in bench.origin.requests(Op.QUERY) if "INSERT" in r.statement and "hold" in r.statement]
    assert not witness.events("resumed", of="INSERT")


@ways
async def test_what_is_behind_a_use_that_is_held(make_bench, plugin_path, version, compression):
    """It is not dispatched before: it may mean another table."""
    bench, witness = await watched(make_bench, plugin_path)
    c = await bench.client(version, compression, keyspace="before")
    witness = Witness(bench)
    c.send_query("USE behind /* one: hold */")
    c.send_query("SELECT a FROM t")
    c.send_query("USE behind /* one: hold deny */")
    c.send_query("SELECT a FROM u")
    answers = [await c.next_answer() for _ in range(4)]
    assert [a.is_error() for a in sorted(answers, key=lambda a: a.stream)] == [False, False, True, False]
    order = [e.text[:15] for e in witness.events("request", "resumed")]
    assert order == ["USE behind /* o", "USE behind /* o", "SELECT a FROM t", "USE behind /* o", "USE behind /* o",
                     "SELECT a FROM u"]
    if bench.is_pooled:
        assert witness.events("request", of="FROM t")[0].keyspace == "behind"


async def test_the_drain_waits(make_bench, plugin_path):
    """What was held when the proxy was told to stop is served; what comes then is not."""
    bench, witness = await watched(make_bench, plugin_path, fresh=True)
    bench.may_be_down = True
    c = await bench.client()
    c.send_query("INSERT INTO ks.t (k) VALUES (1) /* one: forever */ ", stream=3)

    async def asked():
        return len(witness.events("request")) == 1
    await bench.proxy.until(asked, "it is held")
    stop = asyncio.ensure_future(bench.proxy.stop())
    assert_error(await c.answer(3), Err.UNAUTHORIZED, "plugin one")
    await c.closed_quietly()
    await stop
    assert [e.outcome for e in witness.events("response")] == [DENIED]


async def test_held_over_a_reload(make_bench, plugin_path):
    """It goes where the settings send it that are there when it goes on."""
    bench, witness = await watched(make_bench, plugin_path, fresh=True, options={"on_error": "pass"},
                                   sections={"routing": {"rule": "read ks.* target"}})
    c = await bench.client()
    prepared = await c.prepare("SELECT a FROM ks.t /* one: forever */")
    stream = c.send_execute(prepared)
    await bench.reload(routing={"rule": "read nothing.* target"})
    assert not (await c.answer(stream)).is_error()
    e = (await witness.responses(2))[-1]
    assert (e.outcome, e.to, e.decided) == (ANSWERED, 1, BY_DEFAULT) and e.ms >= 200


@ways
async def test_large_ones_are_held(make_bench, plugin_path, version, compression):
    """A megabyte, with what is behind it; on connections for large requests where there are such."""
    bench, witness = await watched(make_bench, plugin_path)
    c = await bench.client(version, compression)
    text = "INSERT INTO ks.t (k) VALUES ('%s') /* one: hold */" % ("0123456789abcdef" * 65536)
    streams = [c.send_query(text) for _ in range(3)]
    for stream in streams:
        assert (await c.answer(stream)).kind == Kind.VOID
    for cluster in bench.clusters:
        assert [r.statement == text for r in cluster.requests(Op.QUERY) if "hold" in r.statement] == [True] * 3


async def test_held_ones_count(make_bench, plugin_path):
    """max_requests_per_client: nothing more is read."""
    bench, witness = await watched(make_bench, plugin_path, sections={"proxy": {"max_requests_per_client": "4"}})
    c = await bench.client()
    for i in range(8):
        c.send_query(f"INSERT INTO ks.t (k) VALUES ({i}) /* one: hold */")
    answers = [await c.next_answer() for _ in range(8)]
    assert not any(a.is_error() for a in answers)
    hooks = [e.hook for e in witness.events()]
    most = held = 0
    for hook in hooks:
        held += {"request": 1, "resumed": -1, "response": 0}[hook]
        most = max(most, held)
    assert most == 4


async def test_a_payload_that_is_held(make_bench, plugin_path):
    """The body is read again with what stands in front of it."""
    bench, witness = await watched(make_bench, plugin_path)
    c = await bench.client(4, "lz4")
    stream = c.send_query("SELECT a FROM ks.t /* one: hold */", payload={"id": b"\1\2"})
    assert not (await c.answer(stream)).is_error()
    received = [r for r in bench.origin.requests(Op.QUERY) if "hold" in r.statement]
    assert received[0].payload == {"id": b"\1\2"}
    assert (await witness.response()).tables == "ks.t"
