"""The plugin of docs/plugins.md that holds clients while it asks for their names, as it stands there."""
import asyncio
import re
import socket

import pytest

from cqlwire import Err, Op
from helpers import assert_alive, assert_error
from proxy import ROOT

pytestmark = pytest.mark.native


@pytest.fixture(scope="session")
def door(plugin_path, tmp_path_factory):
    page = (ROOT / "docs" / "plugins.md").read_text()
    path = tmp_path_factory.mktemp("manual") / "door.c"
    path.write_text(re.search(r"^```c\n(/\* door\.c - .*?)^```$", page, re.S | re.M).group(1))
    return plugin_path("door", source=str(path))


async def start(make_bench, door, domain):
    return await make_bench(fresh=True, sections={"plugin door": {"file": door, "domain": domain}})


async def test_a_name_in_the_domain(make_bench, door):
    """The system's own name of the loopback address: many come at once, and each is served."""
    name = socket.gethostbyaddr("127.0.0.1")[0]
    bench = await start(make_bench, door, name[1:].upper())
    clients = await asyncio.gather(*(bench.client() for _ in range(30)))
    for client in clients[:3]:
        await assert_alive(client, bench)
    metrics = await bench.proxy.metrics()
    assert metrics["zdm_cqlferry_plugin_held"] == 0


async def test_a_name_elsewhere(make_bench, door):
    """The first frame is answered with what the plugin says."""
    bench = await start(make_bench, door, ".nowhere.invalid")
    for _ in range(3):
        client = await bench.open()
        assert_error(await client.ask(Op.OPTIONS), Err.UNAUTHORIZED, "clients from 127.0.0.1 are not let in")
        await client.closed()


async def test_clients_that_do_not_wait(make_bench, door):
    """They go while they are held, or before they are: nothing is left, and the process ends in peace."""
    bench = await start(make_bench, door, ".nowhere.invalid")
    for _ in range(50):
        (await bench.open()).abort()
    await bench.proxy.until_metric("zdm_cqlferry_plugin_held", 0)
    bench.may_be_down = True
    await bench.proxy.stop()
