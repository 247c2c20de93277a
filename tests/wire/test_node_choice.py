"""Which node a driver's connection goes to when the cluster has nodes that are down."""
import collections

import pytest

from helpers import assert_alive


def spread(cluster):
    counts = collections.Counter(c.node.index for c in cluster.connections())
    return [counts[node.index] for node in cluster.nodes]


@pytest.mark.dedicated
async def test_a_node_that_refuses_is_left_alone_for_a_while(make_bench):
    """One refusal is enough: the clients that follow go to the other nodes at once."""
    bench = await make_bench(fresh=True, origin={"nodes": 3})
    bench.origin.nodes[2].refuse()
    for _ in range(9):
        await assert_alive(await bench.client(), bench)
    assert spread(bench.origin)[2] == 0 and sum(spread(bench.origin)) == 9
    assert bench.proxy.log.count("trying another node") == 1


@pytest.mark.native
async def test_a_node_that_the_cluster_calls_down_is_not_tried(make_bench):
    bench = await make_bench(fresh=True, origin={"nodes": 3})
    node = bench.origin.nodes[1]
    bench.origin.emit("STATUS_CHANGE", "DOWN", node.address, bench.origin.port, control=True)
    async def passed_over():
        before = spread(bench.origin)
        clients = [await bench.client() for _ in range(3)]
        after = spread(bench.origin)
        for c in clients:
            await c.close()
        return after[1] == before[1]
    await bench.proxy.until(passed_over, "a choice without the node")
    bench.origin.emit("STATUS_CHANGE", "UP", node.address, bench.origin.port, control=True)
    async def back():
        before = spread(bench.origin)
        clients = [await bench.client() for _ in range(3)]
        after = spread(bench.origin)
        for c in clients:
            await c.close()
        return after[1] > before[1]
    await bench.proxy.until(back, "a choice with the node")
