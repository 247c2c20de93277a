"""How clients are spread over the workers, each of which is a thread."""
import asyncio
import re
from collections import Counter

import pytest


async def worker_of(bench, client):
    """The number of the worker that serves this client, by the log."""
    address, port = client.transport.get_extra_info("sockname")[:2]
    line = await bench.proxy.until_logged(rf"client {address}:{port} #\d+: accepted by worker (\d+)\n")
    return int(line[1])


async def spread(bench, clients):
    return Counter([await worker_of(bench, c) for c in clients])


async def shown(bench, workers):
    """By the metrics page."""
    samples = await bench.proxy.metrics()
    return [samples[f'zdm_cqlferry_worker_clients{{worker="{i}"}}'] for i in range(workers)]


@pytest.mark.parametrize("workers,clients", [(2, 10), (3, 100)])
async def test_clients_are_spread_evenly(make_bench, workers, clients):
    bench = await make_bench(sections={"proxy": {"workers": workers}})
    many = await asyncio.gather(*[bench.client() for _ in range(clients)])
    held = await spread(bench, many)
    assert set(held) == set(range(workers)) and max(held.values()) - min(held.values()) <= 1
    assert await shown(bench, workers) == [held[i] for i in range(workers)]


@pytest.mark.parametrize("each", [1, 3])
async def test_what_drivers_send_requests_on_is_spread_evenly(make_bench, each):
    """Each driver opens a connection for events and behind it others, and works on those."""
    bench = await make_bench()
    busy = []
    for _ in range(6):
        listener = await bench.client()
        await listener.register("STATUS_CHANGE", "TOPOLOGY_CHANGE", "SCHEMA_CHANGE")
        busy += [await bench.client() for _ in range(each)]
    assert await spread(bench, busy) == {0: 3 * each, 1: 3 * each}


async def test_a_gap_is_filled(make_bench):
    """The clients of one worker leave; those that come go there until both have as many."""
    bench = await make_bench()
    clients = [await bench.client() for _ in range(8)]
    left = [c for c in clients if await worker_of(bench, c) == 0]
    for c in left:
        await c.close()

    async def gone():
        return await shown(bench, 2) == [0, 4]
    await bench.proxy.until(gone, "end of the clients")
    new = [await bench.client() for _ in range(6)]
    assert await spread(bench, new) == {0: 5, 1: 1}
    assert await shown(bench, 2) == [5, 5]


async def test_a_listener_that_leaves_takes_its_weight_with_it(make_bench):
    """Else a worker would look emptier, or fuller, with each of them."""
    bench = await make_bench()
    for _ in range(5):
        c = await bench.client()
        await c.register("STATUS_CHANGE")
        await c.register("SCHEMA_CHANGE")
        await c.close()

    async def gone():
        return await shown(bench, 2) == [0, 0]
    await bench.proxy.until(gone, "end of the clients")
    assert await spread(bench, [await bench.client() for _ in range(4)]) == {0: 2, 1: 2}


async def test_processor_time_by_worker(make_bench):
    """It grows where there is work."""
    bench = await make_bench()
    c = await bench.client()
    mine = await worker_of(bench, c)

    async def cpu():
        samples = await bench.proxy.metrics()
        return [samples[f'zdm_cqlferry_worker_cpu_seconds_total{{worker="{i}"}}'] for i in range(2)]
    before = await cpu()
    for _ in range(50):
        assert (await c.query("SELECT * FROM ks.t")).rows
    after = await cpu()
    grown = [b - a for a, b in zip(before, after)]
    assert grown[mine] > 0 and grown[mine] > grown[1 - mine]
    assert re.search(r"^zdm_cqlferry_workers 2$", (await bench.proxy.get("/metrics"))[1].decode(), re.M)
