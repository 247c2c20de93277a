"""Two proxy instances for one pair of clusters, which drivers see as two nodes."""
import contextlib
import copy

from proxy import Proxy


@contextlib.asynccontextmanager
async def two_instances(make_bench, free_addresses, **settings):
    """(bench, addresses, port): the first instance is the bench's; the second one ends with the block."""
    addresses = free_addresses.take(2)
    port = free_addresses.port(*addresses)

    def configure(bench):
        bench.proxy.listen = (addresses[0], port)
        bench.proxy.http = (addresses[0], free_addresses.port(*addresses))
    sections = {"proxy": {"topology_addresses": ", ".join(addresses), "topology_index": 0}}
    bench = await make_bench(fresh=True, configure=configure, profile="native", sections=sections, **settings)
    sections = copy.deepcopy(bench.ini())
    sections["listener"]["address"] = sections["http"]["address"] = addresses[1]
    sections["proxy"]["topology_index"] = 1
    other = Proxy(bench.proxy.folder, f"{bench.name}-1")
    other.listen, other.http = (addresses[1], port), (addresses[1], bench.proxy.http[1])
    await other.start(sections=sections)
    try:
        yield bench, addresses, port
    finally:
        try:
            await other.stop()
        finally:
            await other.kill()
