"""
The tools of this folder against each other: the raw client talks to the fake cluster without a proxy between them. What
these tests show is what the other ones build on.
"""
import ssl

import pytest

import behaviour
from certificates import Authority
from cqlwire import (CL, Client, Closed, Column, Err, FrameFlag, Kind, Op, RowsFlag, Type, UNSET, WireError, framing,
                     requests, responses)
from fakecluster import Auth, DSE_AUTHENTICATOR, Cluster, markers_of, table_of

VERSIONS = [(3, None), (3, "lz4"), (3, "snappy"), (4, None), (4, "lz4"), (4, "snappy"), (5, None), (5, "lz4")]


@pytest.fixture
def lonely(loop, free_addresses):
    """Makes clusters that no proxy stands in front of."""
    clusters = []

    async def make(**settings):
        address, port = free_addresses.one()
        cluster = Cluster("lonely", [address], port, **settings)
        await cluster.start()
        clusters.append(cluster)
        return cluster
    yield make
    for cluster in clusters:
        loop.run_until_complete(cluster.stop())
        assert not cluster.complaints


def where(cluster):
    return cluster.nodes[0].address, cluster.port


def test_checksums_are_those_of_the_protocol():
    # CRC24: 0x875060 and 0x1974F0B as in Cassandra's Crc.java; the empty input gives the initial value
    assert framing.crc24(b"") == 0x875060
    assert framing.crc24(bytes.fromhex("000002")) == crc24_bit_by_bit(bytes.fromhex("000002"))
    assert framing.crc32(b"payload") == framing.zlib.crc32(bytes.fromhex("FA2D55CA") + b"payload")


def crc24_bit_by_bit(data):
    """The same polynomial division, written the long way: over the bits of the message."""
    register = 0x875060
    for byte in data:
        for bit in range(7, -1, -1):
            top = register >> 23 & 1 ^ byte >> bit & 1
            register = register << 1 & 0xFFFFFF
            if top:
                register ^= 0x974F0B
    return register


@pytest.mark.parametrize("version,compression", VERSIONS)
async def test_a_conversation(lonely, version, compression):
    cluster = await lonely()
    c = await Client.ready(*where(cluster), version, compression, keyspace="ks")
    answer = await c.query("SELECT * FROM t", values=[b"1", None, UNSET])
    assert answer.dicts() == [{"cluster": "lonely", "keyspace": "ks", "statement": "SELECT * FROM t"}]
    prepared = await c.prepare("INSERT INTO t (a, b) VALUES (?, :b)")
    assert [column.name for column in prepared.bind] == ["p0", "b"]
    assert (await c.execute(prepared, values=[b"1", None])).kind == Kind.VOID
    assert (await c.batch([("INSERT INTO t (a) VALUES (1)", []),
                           (prepared.prepared_id, [b"1", UNSET])])).kind == Kind.VOID
    assert (await c.register("SCHEMA_CHANGE")).opcode == Op.READY
    assert cluster.emit("SCHEMA_CHANGE", "CREATED", "TABLE", "ks", "t") == 1
    await c.until(lambda: c.events, "event")
    assert c.events[0].event == ("SCHEMA_CHANGE", "CREATED", "TABLE", "ks", "t")
    cluster.forget_prepared()
    lost = await c.execute(prepared, values=[b"1", None])
    assert lost.code == Err.UNPREPARED and lost.fields["id"] == prepared.prepared_id
    await c.close()
    seen = cluster.requests(Op.EXECUTE)
    assert seen[0].statement == "INSERT INTO t (a, b) VALUES (?, :b)"
    assert seen[0].params.values == [b"1", None] and seen[0].keyspace == "ks"
    assert cluster.requests(Op.QUERY)[1].params.values == [b"1", None, UNSET]


@pytest.mark.parametrize("version", [3, 4, 5])
async def test_every_parameter_survives(lonely, version):
    cluster = await lonely()
    c = await Client.ready(*where(cluster), version)
    params = dict(consistency=CL.QUORUM, values=[b"v"], names=["n"], skip_metadata=True, page_size=7, paging_state=None,
                  serial_consistency=CL.LOCAL_SERIAL, timestamp=1234567890123)
    if version == 5:
        params.update(keyspace="other", now_in_seconds=99)
    await c.query("SELECT * FROM ks.t", **params)
    assert cluster.requests(Op.QUERY)[0].params == requests.Params(**params)
    await c.close()


async def test_results_of_v5_carry_metadata_ids(lonely):
    cluster = await lonely()
    c = await Client.ready(*where(cluster), 5)
    prepared = await c.prepare("SELECT * FROM ks.t")
    same = await c.execute(prepared, skip_metadata=True)
    assert same.columns is None and same.column_count == 3
    other = await c.execute(prepared, skip_metadata=True, result_metadata_id=b"x" * 16)
    assert other.flags & RowsFlag.METADATA_CHANGED and other.new_metadata_id == prepared.result_metadata_id
    assert [column.name for column in other.columns] == ["cluster", "keyspace", "statement"]
    await c.close()


@pytest.mark.parametrize("auth,token,result", [
    (Auth({"u": "p"}), requests.plain_token("u", "p"), Op.AUTH_SUCCESS),
    (Auth({"u": "p"}), requests.plain_token("u", "x"), Op.ERROR),
    (Auth({"u": "p"}, DSE_AUTHENTICATOR, True), b"PLAIN", Op.AUTH_CHALLENGE),
    (Auth({"u": "p"}, DSE_AUTHENTICATOR, True), requests.plain_token("u", "p"), Op.ERROR),
])
@pytest.mark.parametrize("version", [4, 5])
async def test_authentication(lonely, auth, token, result, version):
    cluster = await lonely(auth=auth)
    c = await Client.open(*where(cluster), version)
    assert (await c.startup()).authenticator == auth.authenticator
    refused = await c.query("SELECT * FROM ks.t")
    assert refused.code == Err.PROTOCOL_ERROR
    assert (await c.auth(token)).opcode == result
    await c.close()


async def test_versions_that_a_cluster_lacks_are_refused(lonely):
    cluster = await lonely(versions=(3, 4))
    c = await Client.open(*where(cluster), 5)
    answer = await c.answer(c.send(Op.OPTIONS, stream=9) and 0)
    assert answer.code == Err.PROTOCOL_ERROR and answer.version == 4
    assert answer.text == "Invalid or unsupported protocol version (5); supported versions are (3/v3, 4/v4)"
    assert await c.closed() == []


async def test_large_and_split_segments(lonely):
    cluster = await lonely()
    for compression in (None, "lz4"):
        c = await Client.ready(*where(cluster), 5, compression)
        value = bytes(range(256)) * 2000
        cluster.on("big", behaviour.rows([Column("v", Type.BLOB)], [[value]]))
        answer = await c.query("SELECT big FROM ks.t", values=[value])
        assert answer.rows == [[value]]
        assert cluster.requests(Op.QUERY)[-1].params.values == [value]
        assert any(not s.self_contained for s in c.codec.segments)
        # two frames in one segment
        both = c.frame(Op.QUERY, requests.query(5, "SELECT 1 FROM ks.t"), stream=1)
        both += c.frame(Op.QUERY, requests.query(5, "SELECT 2 FROM ks.t"), stream=2)
        c.send_frame_bytes(both)
        assert [(await c.answer(s)).rows[0][2] for s in (1, 2)] == ["SELECT 1 FROM ks.t", "SELECT 2 FROM ks.t"]
        await c.close()


async def test_reading_is_strict(lonely):
    cluster = await lonely()
    bad = [
        dict(break_head=True), dict(break_payload=True), dict(cut=True),
    ]
    for how in bad:
        c = await Client.ready(*where(cluster), 5)
        frame = c.frame(Op.OPTIONS)
        c.send_segment(frame[:5] if how.pop("cut", False) else frame, **how)
        assert await c.closed() == []
        assert len(cluster.complaints) == 1
        cluster.complaints.clear()
    c = await Client.ready(*where(cluster), 4)
    cluster.on(Op.QUERY, behaviour.changed_answer(body=responses.void() + b"x"))
    with pytest.raises(WireError, match="1 bytes too many"):
        await c.query("SELECT * FROM ks.t")
    await c.close()


async def test_behaviours(lonely):
    cluster = await lonely()
    c = await Client.ready(*where(cluster), 4)
    hold = behaviour.Hold()
    cluster.on("held", hold)
    first = c.send_query("SELECT held FROM ks.t")
    assert (await c.query("SELECT other FROM ks.t")).rows[0][2] == "SELECT other FROM ks.t"
    assert [got.stream for got in await hold.arrived()] == [first]
    hold.release()
    assert (await c.answer(first)).rows[0][2] == "SELECT held FROM ks.t"

    cluster.on("warned", behaviour.normally(warnings=["w"], payload={"k": b"v"}))
    answer = await c.query("SELECT warned FROM ks.t", flags=FrameFlag.TRACING)
    assert answer.warnings == ["w"] and answer.payload == {"k": b"v"} and len(answer.tracing_id) == 16

    cluster.on("failing", behaviour.error(Err.WRITE_TIMEOUT, "slow", write_type="CAS"), times=1)
    assert (await c.query("INSERT failing INTO ks.t")).fields["write_type"] == "CAS"
    assert (await c.query("INSERT failing INTO ks.t")).kind == Kind.VOID

    cluster.on("double", behaviour.twice())
    await c.query("SELECT double FROM ks.t")
    await c.until(lambda: c.received, "second answer")
    with pytest.raises(WireError, match="nobody waited for"):
        await c.close()

    for broken in (behaviour.close(), behaviour.reset(), behaviour.half_answer("close"),
                   behaviour.half_answer("reset")):
        c = await Client.ready(*where(cluster), 4)
        cluster.on("broken", broken, times=1)
        with pytest.raises(Closed):
            await c.query("SELECT broken FROM ks.t")


async def test_complaints_are_kept(lonely):
    cluster = await lonely()
    c = await Client.ready(*where(cluster), 4)
    cluster.on("held", behaviour.mute())
    c.send_query("SELECT held FROM ks.t", stream=7)
    c.send_query("SELECT held FROM ks.t", stream=7)
    await c.closed()
    assert "stream id 7 is negative or in use" in cluster.complaints[0]
    cluster.complaints.clear()


def test_the_nodes_read_statements():
    assert table_of('SELECT * FROM "Ks"."T t" WHERE a = 1') == ("Ks", "T t")
    assert table_of("insert into Foo (a) values (1)") == (None, "foo")
    assert table_of("/* FROM x.y */ UPDATE a.b SET c = 1") == ("a", "b")
    assert markers_of("INSERT INTO t (a, b) VALUES (?, '?:x') USING TTL :ttl -- ?") == ["?", "ttl"]


@pytest.mark.parametrize("names", [(), ("127.0.0.1", "node.example.com")])
async def test_tls(lonely, names, tmp_path):
    authority = Authority(tmp_path, "CA")
    cluster = await lonely(ssl=authority.server(names, client_ca=authority))
    context = authority.client(own=authority.certificate())
    context.check_hostname = bool(names)
    for name in names or ("other.example.com",):
        c = await Client.ready(*where(cluster), 5, "lz4", ssl=context, server_hostname=name)
        assert (await c.query("SELECT * FROM ks.t")).rows
        await c.close()
    assert cluster.ssl.seen_names[-1] == (names or ("other.example.com",))[-1]
    with pytest.raises((OSError, Closed)):
        await Client.ready(*where(cluster), 5, ssl=authority.client())


async def test_expired_certificates(lonely, tmp_path):
    authority = Authority(tmp_path, "CA")
    cluster = await lonely(ssl=authority.server(days="-1"))
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        await Client.ready(*where(cluster), 4, ssl=authority.client())
