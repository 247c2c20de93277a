"""The system tables that the proxy answers: the same questions to origin's node and to the proxy in front of it."""

import asyncio
import pathlib

import pytest

import cqlwire
from cqlwire import Err

PAIRS = ["4.1-5.0", "5.0-4.1"]
_LIST = pathlib.Path(__file__).resolve().parents[1] / "system_queries.txt"
# Values are the proxy's own here, so another number of rows may match.
_BY_VALUE = ("rack", "tokens CONTAINS")


def known_queries():
    lines = [line for line in _LIST.read_text().splitlines() if line and not line.startswith("#")]
    return [tuple(field.strip() for field in line.split(" | ")) for line in lines]


def told(answer):
    """An answer as far as it must be the same."""
    return Err(answer.code).name if answer.is_error() else [(column.name, column.type) for column in answer.columns]


async def ask(client, text, rows):
    prepared = await client.prepare(text)
    direct = await client.query(text) if rows != "?" else None
    bind = None if prepared.is_error() else [(column.name, column.type) for column in prepared.bind]
    return prepared, bind, direct


def difference(text, result, rows, node, proxy):
    """What differs, None when nothing that matters does."""
    if result.endswith("!"):
        return None if told(proxy[0]) == result.rstrip("!") else "the list says " + result
    for of_node, of_proxy in ((node[0], proxy[0]), (node[2], proxy[2])):
        if of_node is None or told(of_node) == told(of_proxy):
            continue
        # A function that only the newer Cassandra knows.
        if of_node.is_error() and of_node.code == Err.INVALID and result not in ("INVALID", "SYNTAX_ERROR"):
            continue
        return "node %s, proxy %s" % (of_node, of_proxy)
    if node[1] is not None and node[1] != proxy[1]:
        return "bind variables of node %s, of proxy %s" % (node[1], proxy[1])
    if node[2] is not None and not node[2].is_error() and not any(word in text for word in _BY_VALUE):
        if len(node[2].rows) != len(proxy[2].rows):
            return "rows of node %s, of proxy %s" % (node[2].rows, proxy[2].rows)
    return None


@pytest.mark.checklist(164, 171, 172, 177)
def test_the_proxy_says_what_the_node_says(link):
    node = link.origin.node

    async def conversation(client):
        direct = await cqlwire.Client.ready(node.address, node.port, link.version)
        found = []
        for text, result, rows, _ in known_queries():
            what = difference(text, result, rows, await ask(direct, text, rows), await ask(client, text, rows))
            if what:
                found.append("%s: %s" % (text, what))
        await direct.close()
        assert not found, "\n".join(found)

    link.raw(conversation)


def test_pages_metadata_and_traces(link):
    async def conversation(client):
        prepared = await client.prepare("SELECT key, rack FROM system.local")
        answer = await client.execute(prepared, skip_metadata=True, page_size=1)
        assert answer.columns is None and answer.rows == [[b"local", b"rack0"]] and answer.paging_state is None
        answer = await client.query("SELECT key FROM system.local", flags=cqlwire.FrameFlag.TRACING)
        assert answer.rows == [["local"]] and answer.tracing_id
        return bytes(answer.tracing_id)

    session = link.raw(conversation).hex()
    uuid = "-".join((session[:8], session[8:12], session[12:16], session[16:20], session[20:]))

    async def look():
        direct = await cqlwire.Client.ready(link.origin.node.address, link.origin.node.port, link.version)
        for _ in range(50):
            answer = await direct.query("SELECT command FROM system_traces.sessions WHERE session_id = " + uuid)
            if answer.rows:
                break
            await asyncio.sleep(0.2)
        await direct.close()
        return answer.rows

    assert asyncio.run(look()) == [["QUERY"]]
