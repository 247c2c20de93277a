"""Questions that many tests ask."""
import asyncio
import hashlib
import uuid

from cqlwire import Err, Op
from cqlwire.client import PATIENCE
from fakecluster import BARRIER

PRIMARIES = ("origin", "target")
#: every way a driver may speak: (version, compression)
WAYS = [(3, None), (3, "lz4"), (3, "snappy"), (4, None), (4, "lz4"), (4, "snappy"), (5, None), (5, "lz4")]
WAY_IDS = [f"v{version}-{compression or 'plain'}" for version, compression in WAYS]


def reached(bench, opcode, statement=None):
    """Which clusters have received this: "origin", "target", "both" or "none"; each at most once."""
    names = []
    for cluster in bench.clusters:
        found = [r for r in cluster.requests(opcode) if statement is None or r.statement == statement]
        assert len(found) <= 1, f"{cluster.name} received it {len(found)} times: {found}"
        if found:
            names.append(cluster.name)
    return "both" if len(names) == 2 else names[0] if names else "none"


def assert_error(answer, code, *texts):
    """An ERROR with this code whose text contains all of these."""
    assert answer.opcode == Op.ERROR, answer
    assert answer.code == code, answer
    for text in texts:
        assert text in answer.text, (text, answer)


def assert_one_protocol_error(answers, *texts, streams=None):
    """Exactly one answer came before the end: PROTOCOL_ERROR."""
    assert len(answers) == 1, answers
    assert_error(answers[0], Err.PROTOCOL_ERROR, *texts)
    if streams is not None:
        assert answers[0].stream in streams, answers[0]


def assert_broken_off(bench, answers, *texts, streams=None):
    """The connection ended, in the native profile with one PROTOCOL_ERROR before; as ZDM does it, without a frame."""
    if bench.is_zdm:
        assert answers == []
    else:
        assert_one_protocol_error(answers, *texts, streams=streams)


async def assert_alive(client, bench):
    """The connection still serves requests, on both clusters."""
    text = "SELECT * FROM ks.alive"
    answer = await client.query(text)
    assert answer.rows and answer.rows[0][0] == bench.primary.name, answer
    await bench.settle(client)


async def assert_lost_connection(client, bench):
    """
    A connection to a cluster that its requests went over is lost. If that was its own the client's ends, too, without a
    further frame; a client of pooled ones goes on.
    """
    if bench.is_pooled:
        await assert_alive(client, bench)
    else:
        assert await client.closed() == []


async def until_served(client):
    """Until both clusters serve the client: a node that refused a pooled connection is tried again after a pause."""
    async def ask():
        while (answer := await client.query(BARRIER)).is_error():
            assert answer.code == Err.UNAVAILABLE, answer
            await asyncio.sleep(0.02)
    await asyncio.wait_for(ask(), PATIENCE)


async def client_of_both(bench, version=4, compression=None):
    """A client whom both clusters serve; while its log-in fails it connects again, as drivers do."""
    async def connect():
        while True:
            c = await bench.open(version)
            if (await c.startup(compression)).opcode == Op.READY:
                return c
            await c.close()
            bench.clients.remove(c)
            await asyncio.sleep(0.02)
    c = await asyncio.wait_for(connect(), PATIENCE)
    await until_served(c)
    return c


def warned(cluster_name):
    """The preamble that tells an answer's origin: behaviour.normally(**warned("origin"))."""
    return {"warnings": [f"from {cluster_name}"]}


def schema_version(bench, system="origin"):
    """What drivers see when all is well: in the native profile made of both clusters' versions."""
    if bench.is_zdm:
        return getattr(bench, system).schema_version
    text = bytes(16) + bench.origin.schema_version.bytes + bench.target.schema_version.bytes + bytes(1)
    return uuid.UUID(bytes=hashlib.sha1(text).digest()[:16], version=5)
