"""Request ids in the custom payload (tracing_enabled)."""
import asyncio
import re
import uuid

import pytest

from behaviour import error
from cqlwire import Err, FrameFlag, Kind, Op, requests
from cqlwire.primitives import Writer
from helpers import PRIMARIES, assert_error, assert_one_protocol_error
from test_start import GOOD, lone_proxy  # noqa: F401

ON = {"proxy": {"tracing_enabled": "true"}}
KEY = "request-id"
INSERT, PREPARED = "INSERT INTO ks.t (k, v) VALUES (1, 2)", "INSERT INTO ks.t (k, v) VALUES (?, ?)"
WITH_PAYLOADS = [(4, None), (4, "lz4"), (4, "snappy"), (5, None), (5, "lz4")]
IDS = [f"v{version}-{compression or 'plain'}" for version, compression in WITH_PAYLOADS]
BOTH = [{"sections": ON}, {"profile": "zdm", "variables": {"ZDM_TRACING_ENABLED": "true"}}]
BOTH_IDS = ["native", "zdm"]


async def one_of_each(c, payload=None):
    """QUERY, PREPARE, EXECUTE, BATCH with this payload. Returns the opcodes."""
    assert (await c.answer(c.send_query(INSERT, payload=payload))).kind == Kind.VOID
    prepared = await c.prepare(PREPARED, payload=payload)
    assert (await c.answer(c.send_execute(prepared, values=[b"1", b"2"], payload=payload))).kind == Kind.VOID
    children = [(prepared.prepared_id, [b"1", b"2"]), (INSERT, [])]
    assert (await c.answer(c.send_batch(children, payload=payload))).kind == Kind.VOID
    return Op.QUERY, Op.PREPARE, Op.EXECUTE, Op.BATCH


def payloads(cluster, *opcodes):
    return [r.payload for r in cluster.requests(*opcodes)]


@pytest.mark.connections(167)
@pytest.mark.checklist(248)
@pytest.mark.parametrize("settings", BOTH, ids=BOTH_IDS)
@pytest.mark.parametrize("primary", PRIMARIES)
@pytest.mark.parametrize("version,compression", WITH_PAYLOADS, ids=IDS)
async def test_every_kind_of_request(make_bench, version, compression, primary, settings):
    bench = await make_bench(primary=primary, **settings)
    c = await bench.client(version, compression)
    opcodes = await one_of_each(c)
    found = payloads(bench.origin, *opcodes)
    assert payloads(bench.target, *opcodes) == found and len(found) == 4
    assert all(set(payload) == {KEY} for payload in found)
    ids = [uuid.UUID(bytes=payload[KEY]) for payload in found]
    assert len(set(ids)) == 4 and all(i.version == 4 and i.variant == uuid.RFC_4122 for i in ids)
    for cluster in bench.clusters:
        assert cluster.requests(Op.EXECUTE)[0].params.values == [b"1", b"2"]
        assert cluster.requests(Op.BATCH)[0].children == [(cluster.prepared_id(PREPARED, None), [b"1", b"2"]),
                                                          (INSERT, [])]


@pytest.mark.connections(171)
@pytest.mark.checklist(248)
@pytest.mark.parametrize("version,compression", WITH_PAYLOADS, ids=IDS)
async def test_other_entries_stay(make_bench, version, compression):
    bench = await make_bench(sections=ON)
    c = await bench.client(version, compression)
    for payload in ({"a": b"1", "b": b"", "c": None, KEY + "x": b"z" * 500}, {}, {"long": b"y" * 30000}):
        for cluster in bench.clusters:
            cluster.received.clear()
        opcodes = await one_of_each(c, payload)
        found = payloads(bench.origin, *opcodes)
        assert payloads(bench.target, *opcodes) == found
        for got in found:
            assert len(got.pop(KEY)) == 16
            assert got == payload


@pytest.mark.connections(168)
@pytest.mark.checklist(249)
@pytest.mark.parametrize("settings", BOTH, ids=BOTH_IDS)
@pytest.mark.parametrize("own", [b"x" * 16, b"short", b"", None, bytes(range(256)) * 8])
@pytest.mark.parametrize("version,compression", WITH_PAYLOADS, ids=IDS)
async def test_the_clients_own_is_kept(make_bench, version, compression, own, settings):
    bench = await make_bench(**settings)
    c = await bench.client(version, compression)
    payload = {"a": b"1", KEY: own, "z": b"2"}
    opcodes = await one_of_each(c, payload)
    for cluster in bench.clusters:
        assert payloads(cluster, *opcodes) == [payload] * 4
        # byte for byte: the entries are in the order in which they came
        assert all(r.frame.body.startswith(Writer().bytes_map(payload).done()) for r in cluster.requests(*opcodes))


@pytest.mark.connections(168)
@pytest.mark.checklist(247)
@pytest.mark.parametrize("version,compression", WITH_PAYLOADS, ids=IDS)
async def test_off_in_the_zdm_profile(make_bench, version, compression):
    """The entry of that key goes, the others stay, and so does the flag."""
    bench = await make_bench(profile="zdm")
    c = await bench.client(version, compression)
    for payload in ({"a": b"1", KEY: b"x" * 16, "b": None}, {KEY: b""}, {KEY: None}, {"a": b"1"}, {}, None):
        for cluster in bench.clusters:
            cluster.received.clear()
        opcodes = await one_of_each(c, payload)
        rest = None if payload is None else {k: v for k, v in payload.items() if k != KEY}
        for cluster in bench.clusters:
            assert payloads(cluster, *opcodes) == [rest] * 4
    # several entries of the key: Cassandra would take the last one
    body = Writer().short(3)
    for key, value in ((KEY, b"1"), ("a", b"2"), (KEY, b"3")):
        body.string(key).bytes(value)
    text = INSERT.encode()
    body = body.done() + len(text).to_bytes(4, "big") + text + b"\0\1" + bytes(4 if version == 5 else 1)
    assert (await c.ask(Op.QUERY, body, flags=FrameFlag.CUSTOM_PAYLOAD)).kind == Kind.VOID
    for cluster in bench.clusters:
        assert cluster.requests(Op.QUERY)[-1].payload == {"a": b"2"}


@pytest.mark.native
@pytest.mark.parametrize("version,compression", WITH_PAYLOADS, ids=IDS)
async def test_off_in_the_native_profile(bench, version, compression):
    """Payloads are the application's."""
    c = await bench.client(version, compression)
    payload = {"a": b"1", KEY: b"x" * 16}
    opcodes = await one_of_each(c, payload)
    for cluster in bench.clusters:
        assert payloads(cluster, *opcodes) == [payload] * 4
    assert not re.search("request id", bench.proxy.log)


@pytest.mark.connections(168, 169)
@pytest.mark.checklist(250)
@pytest.mark.parametrize("settings", [
    {"sections": {"proxy": {"tracing_enabled": "true", "tracing_rate_limit": "5"}}},
    {"profile": "zdm", "variables": {"ZDM_TRACING_ENABLED": "true", "ZDM_TRACING_RATE_LIMIT": "5"}}], ids=BOTH_IDS)
@pytest.mark.parametrize("own", [None, b"mine"])
async def test_the_rate_limit(make_bench, own, settings):
    """On all workers together; beyond it a client's own id is lost, too."""
    bench = await make_bench(fresh=True, **settings)
    clients = [await bench.client() for _ in range(3)]
    payload = {"a": b"1", **({KEY: own} if own else {})}
    streams = [(c, c.send_query(INSERT, payload=payload)) for c in clients for _ in range(5)]
    for c, stream in streams:
        assert (await c.answer(stream)).kind == Kind.VOID
    found = payloads(bench.origin, Op.QUERY)
    tagged = [p for p in found if KEY in p]
    assert len(found) == 15 and 1 <= len(tagged) <= 6  # one more when the 15 took 200 ms
    assert all(p == {"a": b"1"} for p in found if KEY not in p)
    assert own is None or all(p[KEY] == own for p in tagged)
    key = (lambda p: p.get(KEY, b""))
    assert sorted(payloads(bench.target, Op.QUERY), key=key) == sorted(found, key=key)
    await asyncio.sleep(0.5)  # two and a half more
    await clients[0].query(INSERT)
    assert KEY in bench.origin.requests(Op.QUERY)[-1].payload


@pytest.mark.parametrize("limit", ["0", "-3"])
async def test_no_rate_limit(make_bench, limit):
    bench = await make_bench(profile="zdm", variables={"ZDM_TRACING_ENABLED": "true", "ZDM_TRACING_RATE_LIMIT": limit})
    c = await bench.client()
    streams = [c.send_query(INSERT) for _ in range(50)]
    for stream in streams:
        await c.answer(stream)
    assert len({p[KEY] for p in payloads(bench.origin, Op.QUERY)}) == 50


@pytest.mark.connections(170)
@pytest.mark.checklist(251)
@pytest.mark.parametrize("profile", ["native", "zdm"])
@pytest.mark.parametrize("versions", [((3,), (3, 4, 5)), ((3, 4, 5), (3,)), ((3,), (3,))])
async def test_clusters_below_v4(make_bench, profile, versions):
    """No id is added. Clients speak v3 with such clusters, so there is none of theirs to remove."""
    how = {"variables": {"ZDM_TRACING_ENABLED": "true"}} if profile == "zdm" else {"sections": ON}
    bench = await make_bench(profile=profile, origin={"versions": versions[0]}, target={"versions": versions[1]}, **how)
    refused = await bench.open(4)
    refused.send(Op.STARTUP, requests.startup())
    assert_one_protocol_error(await refused.closed(), "version", streams=[0])
    c = await bench.client(3)
    opcodes = await one_of_each(c)
    for cluster in bench.clusters:
        assert payloads(cluster, *opcodes) == [None] * 4


@pytest.mark.checklist(252)
@pytest.mark.parametrize("settings", BOTH, ids=BOTH_IDS)
@pytest.mark.parametrize("compression", [None, "lz4", "snappy"])
async def test_a_v3_client_on_v4_clusters(make_bench, compression, settings):
    """v3 has no payloads: every request is served, without an id."""
    bench = await make_bench(**settings)
    c = await bench.client(3, compression)
    opcodes = await one_of_each(c)
    for cluster in bench.clusters:
        assert payloads(cluster, *opcodes) == [None] * 4
    assert_error(await c.answer(c.send_query(INSERT, payload={KEY: b"1"})), Err.PROTOCOL_ERROR, "custom payload")


@pytest.mark.connections(171)
@pytest.mark.checklist(253)
@pytest.mark.parametrize("key", ["x", "ein anderer Schlüssel", "k" * 150])
@pytest.mark.parametrize("version", [4, 5])
async def test_another_key(make_bench, version, key):
    for settings in ({"sections": {"proxy": {"tracing_enabled": "true", "tracing_request_id_key": key}}},
                     {"profile": "zdm", "variables": {"ZDM_TRACING_ENABLED": "true",
                                                      "ZDM_TRACING_REQUEST_ID_KEY": key}}):
        bench = await make_bench(**settings)
        c = await bench.client(version)
        opcodes = await one_of_each(c, {KEY: b"1"})
        for cluster in bench.clusters:
            assert all(set(p) == {KEY, key} and p[KEY] == b"1" and len(p[key]) == 16
                       for p in payloads(cluster, *opcodes))
    bench = await make_bench(profile="zdm", variables={"ZDM_TRACING_REQUEST_ID_KEY": key})
    c = await bench.client(version)
    opcodes = await one_of_each(c, {KEY: b"1", key: b"2"})
    assert payloads(bench.target, *opcodes) == [{KEY: b"1"}] * 4


async def test_repairs_and_errors(make_bench):
    """A request that is sent again has the id it had; the PREPARE that mends has none."""
    bench = await make_bench(sections=ON)
    c = await bench.client(5, "lz4")
    prepared = await c.prepare(PREPARED)
    bench.target.forget_prepared()
    assert (await c.execute(prepared, values=[b"1", b"2"])).kind == Kind.VOID
    assert len({p[KEY] for cluster in bench.clusters for p in payloads(cluster, Op.EXECUTE)}) == 1
    assert len(payloads(bench.target, Op.EXECUTE)) == 2
    assert [p is None for p in payloads(bench.target, Op.PREPARE)] == [False, True]
    bench.origin.on("INSERT", error(Err.INVALID, "no"))
    assert_error(await c.query(INSERT), Err.INVALID, "no")


@pytest.mark.connections(172)
async def test_other_opcodes_and_local_answers(make_bench):
    """Nothing of them is tagged or logged: OPTIONS, REGISTER, system tables, ids that nobody knows."""
    bench = await make_bench(fresh=True, sections={"proxy": {"tracing_enabled": "true", "tracing_rate_limit": "1"}})
    c = await bench.client()
    await c.options()
    await c.register("SCHEMA_CHANGE")
    for _ in range(5):
        assert (await c.query("SELECT * FROM system.local")).kind == Kind.ROWS
        local = await c.prepare("SELECT * FROM system.local")
        assert (await c.execute(local)).kind == Kind.ROWS
        assert_error(await c.execute(b"x" * 16), Err.UNPREPARED)
    assert "request id" not in bench.proxy.log
    await c.query(INSERT)  # the one id of this second was not used up
    assert KEY in bench.origin.requests(Op.QUERY)[0].payload
    assert all(r.payload is None for cluster in bench.clusters for r in cluster.requests(Op.REGISTER))


@pytest.mark.connections(167)
async def test_the_log(make_bench):
    """One line when it goes out, one per answer."""
    bench = await make_bench(fresh=True, sections=ON)
    c = await bench.client()
    await c.answer(c.send_query(INSERT, stream=77, payload={KEY: b"\x01\xab"}))
    await c.answer(c.send_query("SELECT * FROM ks.t", stream=78, payload={KEY: b"\x02" * 100}))
    await bench.settle(c)
    lines = [line.split("request id ")[1] for line in bench.proxy.log.splitlines() if "request id 01ab:" in line]
    assert re.fullmatch(r"01ab: QUERY on stream 77 of 127[.\d]+:\d+ goes to both", lines[0])
    assert sorted(line.split(" at ")[0] for line in lines[1:]) == ["01ab: origin", "01ab: target"]
    assert all(re.search(r" at 127[.\d]+:\d+ has answered QUERY on stream 77 with RESULT$", line) for line in lines[1:])
    lines = [line for line in bench.proxy.log.splitlines() if "request id " + "02" * 64 + ":" in line]
    assert len(lines) == 2 and lines[0].endswith("goes to origin") and "origin at" in lines[1]


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("payload", [b"", b"\0", b"\0\1", b"\0\1\0\1a", b"\0\1\0\1a\0\0\0\5abcd", b"\xff\xff\0\0\0\0\0\0",
                                     b"\0\1\xff\xffrequest-id"])
async def test_a_malformed_payload_is_refused(make_bench, version, payload):
    for settings in BOTH + [{"profile": "zdm"}]:
        bench = await make_bench(**settings)
        c = await bench.client(version)
        answer = await c.ask(Op.QUERY, payload, flags=FrameFlag.CUSTOM_PAYLOAD)
        assert_error(answer, Err.PROTOCOL_ERROR, "custom payload")
        assert (await c.query(INSERT)).kind == Kind.VOID


async def test_a_full_payload_has_no_room_for_an_id(make_bench):
    """65535 entries are all that the map can have: the request passes as it is."""
    bench = await make_bench(sections=ON)
    c = await bench.client()
    payload = {str(i): b"" for i in range(65535)}
    assert (await c.answer(c.send_query(INSERT, payload=payload))).kind == Kind.VOID
    assert payloads(bench.origin, Op.QUERY) == [payload]


@pytest.mark.parametrize("key,value,allowed", [
    ("tracing_enabled", "maybe", "allowed: true, false"), ("tracing_rate_limit", "fast", "allowed: 0 to 2147483647"),
    ("tracing_rate_limit", "-1", "allowed: 0 to 2147483647"),
])
async def test_mistakes(lone_proxy, key, value, allowed):  # noqa: F811
    proxy = lone_proxy()
    await proxy.start(sections={**GOOD, "proxy": {key: value}}, wait=False)
    assert await proxy.wait() == 1
    assert f"[proxy] {key}: " in proxy.log and allowed in proxy.log
