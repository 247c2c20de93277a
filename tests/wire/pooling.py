"""Benches over pooled connections, and questions about what is sent on these."""
import asyncio

from cqlwire import Op

#: of one worker, so that all clients meet; idle connections stay, so that a test finds what it has opened
PROXY = {"backend_connections": "pooled", "pool_idle_timeout": "1h", "workers": 1}


def sections(proxy=None, **more):
    return {"proxy": PROXY | (proxy or {})} | more


async def end(bench):
    """Closes the clients and ends the proxy, whose pools would stay longer than the sweep waits."""
    for client in bench.clients:
        await client.close()
    bench.clients.clear()
    await bench.proxy.stop()
    bench.may_be_down = True


def on_node(cluster, node, *opcodes, statement=None):
    """What this node has received outside control connections."""
    node = cluster.nodes[node] if isinstance(node, int) else node
    return [r for r in cluster.requests(*opcodes) if r.node is node and (statement is None or r.statement == statement)]


def lanes(cluster, keyspace=None, node=None):
    """The pooled connections that have logged in, of those in this keyspace."""
    return [c for c in cluster.connections() if c.version is not None and c.keyspace == keyspace
            and (node is None or c.node is cluster.nodes[node])]


async def counter(bench, name, cluster):
    metrics = await bench.proxy.metrics()
    return metrics[f'zdm_cqlferry_{name}{{cluster="{cluster.name}"}}']


async def warm(bench, client, text="SELECT * FROM ks.warm", cluster=None):
    """Sends reads until every node of the cluster has taken one: connections are opened when they are wanted."""
    cluster = cluster or bench.primary

    async def all_nodes():
        await client.query(text)
        return {r.node for r in cluster.requests(Op.QUERY)} >= set(cluster.nodes)
    await bench.proxy.until(all_nodes, "a connection to every node")


async def warm_both(bench, client):
    async def all_nodes():
        await client.query("INSERT INTO ks.warm (k) VALUES (1)")
        return all({r.node for r in c.requests(Op.QUERY)} >= set(c.nodes) for c in bench.clusters)
    await bench.proxy.until(all_nodes, "connections to all nodes")
    for cluster in bench.clusters:
        cluster.received.clear()


def stop_tasks(tasks):
    for task in tasks:
        task.cancel()
    return asyncio.gather(*tasks, return_exceptions=True)
