"""Starting as ZDM Proxy starts: the order of things, ports that are taken, what HTTP says before there is anything to say."""
import asyncio
import re
import socket

import pytest

import checklist as shown
from cqlwire import Op
from fakecluster import Auth
from helpers import assert_alive
from proxy import binary

pytestmark = pytest.mark.own_profile

QUICK = {"ZDM_HEARTBEAT_INTERVAL_MS": "100", "ZDM_HEARTBEAT_RETRY_INTERVAL_MIN_MS": "20",
         "ZDM_HEARTBEAT_RETRY_INTERVAL_MAX_MS": "100"}


def only(*names):
    """A configure function: just these clusters are there at the start."""
    def configure(bench):
        async def start_some():
            for name in names:
                await getattr(bench, name).start()
        bench.start_clusters = start_some
    return configure


async def output_of(*arguments):
    process = await asyncio.create_subprocess_exec(binary(), *arguments, stdout=asyncio.subprocess.PIPE,
                                                   stderr=asyncio.subprocess.PIPE, env={"ZDM_LOG_LEVEL": "nonsense"})
    out, err = await asyncio.wait_for(process.communicate(), 20)
    return process.returncode, out.decode(), err.decode()


@pytest.mark.connections(1)
@pytest.mark.parametrize("arguments", [("-version",), ("--version",), ("-config", "/nowhere.yaml", "-version")])
async def test_the_version(request, arguments):
    """One line, whatever the configuration would be."""
    shown.note_profile(request.node, "zdm")
    code, out, err = await output_of(*arguments)
    assert code == 0 and err == ""
    assert re.fullmatch(r"cqlferry \d+\.\d+\.\d+\S*\n", out)


@pytest.mark.connections(2)
@pytest.mark.parametrize("arguments,code", [(("-frobnicate",), 2), (("--frobnicate=1",), 2), (("-h",), 0), (("-help",), 0)])
async def test_usage(request, arguments, code):
    shown.note_profile(request.node, "zdm")
    result, out, err = await output_of(*arguments)
    assert result == code and "usage: cqlferry" in (err if code else out)


@pytest.mark.connections(15, 16)
@pytest.mark.parametrize("level,config", [("DEBUG", True), ("INFO", False), ("ERROR", False)])
async def test_what_is_logged_of_the_configuration(make_bench, level, config):
    """The version whatever the level, the configuration at debug, never the passwords."""
    bench = await make_bench(fresh=True, profile="zdm", variables={"ZDM_LOG_LEVEL": level})
    assert ("config: password = ***" in bench.proxy.log) is config
    assert re.search(r"INFO +cqlferry \d+\.\d+", bench.proxy.log)
    assert "proxy-password" not in bench.proxy.log


@pytest.mark.connections(18)
async def test_origin_comes_first(make_bench):
    """Target hears nothing as long as origin is not there."""
    bench = await make_bench(fresh=True, profile="zdm", configure=only("target"), wait=False)
    await bench.proxy.until_logged(f"origin.*{bench.origin.nodes[0].address}")
    assert not bench.target.control_requests() and not bench.target.control_connections()
    await bench.origin.start()
    await bench.proxy.ready()
    assert bench.target.control_requests(Op.STARTUP)


@pytest.mark.connections(19, 20, 154, 155, 161)
async def test_before_the_clusters_are_there(make_bench):
    """Liveness is good from the first moment; readiness and metrics have nothing to say; no CQL port."""
    bench = await make_bench(fresh=True, profile="zdm", configure=only(), wait=False, variables=QUICK)

    async def liveness():
        return await bench.proxy.get("/health/liveness") == (200, b"OK")
    await bench.proxy.until(liveness, "liveness")
    startup = b'{"OriginStatus":null,"TargetStatus":null,"Status":"STARTUP"}'
    for started in ((), ("origin",)):
        for name in started:
            await getattr(bench, name).start()
            await bench.proxy.until_logged(f"{name}.*control connection is up")
        assert await bench.proxy.get("/health/readiness") == (503, startup)
        assert await bench.proxy.get("/metrics") == (503, b"Proxy metrics haven't been initialized yet.\n")
        with pytest.raises(OSError):
            await bench.open()
    await bench.target.start()
    await bench.proxy.ready()
    assert (await bench.proxy.get("/metrics"))[0] == 200
    await assert_alive(await bench.client(), bench)


@pytest.mark.connections(161)
async def test_metrics_that_are_switched_off(make_bench):
    bench = await make_bench(fresh=True, profile="zdm", variables={"ZDM_METRICS_ENABLED": "false"})
    assert await bench.proxy.get("/metrics") == (404, b"Metrics are disabled on this proxy instance.\n")
    assert (await bench.proxy.get("/health/readiness"))[0] == 200


@pytest.mark.connections(20, 59)
async def test_pauses_between_attempts_grow(make_bench):
    """From heartbeat_retry_interval_min to _max, as the log tells them."""
    bench = await make_bench(fresh=True, profile="zdm", configure=only(), wait=False, variables={
        "ZDM_HEARTBEAT_RETRY_INTERVAL_MIN_MS": "100", "ZDM_HEARTBEAT_RETRY_INTERVAL_MAX_MS": "400",
        "ZDM_HEARTBEAT_RETRY_BACKOFF_FACTOR": "2"})

    async def pauses():
        said = [float(s) for s in re.findall(r"origin .*next try in ([0-9.]+) s", bench.proxy.messages)]
        # A pause is random below its bound: that twenty stay in the lower half does not happen.
        return said if len(said) >= 6 and (max(said) > 0.2 or len(said) >= 20) else None
    said = await bench.proxy.until(pauses, "attempts enough")
    assert all(0.1 <= pause <= 0.4 for pause in said), said
    assert said[0] <= 0.2 and max(said) > 0.2
    for cluster in bench.clusters:
        await cluster.start()
    await bench.proxy.ready()


def occupy(address):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(address)
    sock.listen()
    return sock


@pytest.mark.connections(22)
async def test_the_http_port_is_taken(make_bench):
    """CQL is served all the same."""
    sockets = []

    def configure(bench):
        sockets.append(occupy(bench.proxy.http))
    bench = await make_bench(fresh=True, profile="zdm", configure=configure, wait=False)
    try:
        await bench.proxy.until_logged("ready for CQL clients")
        await assert_alive(await bench.client(), bench)
        assert f"{bench.proxy.http[0]}:{bench.proxy.http[1]}" in bench.proxy.log
    finally:
        sockets[0].close()


@pytest.mark.connections(23)
async def test_the_cql_port_is_taken_for_a_while(make_bench):
    sockets = []

    def configure(bench):
        sockets.append(occupy(bench.proxy.listen))
    bench = await make_bench(fresh=True, profile="zdm", configure=configure, wait=False)
    await bench.proxy.until_logged(f"{bench.proxy.listen[0]}:{bench.proxy.listen[1]}.*next try in")
    assert bench.proxy.running()
    sockets[0].close()
    await bench.proxy.until_logged("ready for CQL clients")
    await assert_alive(await bench.client(), bench)


@pytest.mark.connections(153)
@pytest.mark.parametrize("count", ["1", "20"])
async def test_worker_settings_of_zdm(make_bench, count):
    """They have no effect; twenty clients log in at once."""
    names = ("REQUEST_RESPONSE", "WRITE", "READ", "LISTENER")
    users = Auth({"app": "secret", "proxy": "proxy-password"})
    bench = await make_bench(profile="zdm", origin={"auth": users}, target={"auth": users},
                             variables={f"ZDM_{name}_MAX_WORKERS": count for name in names})
    clients = await asyncio.gather(*[bench.client(user="app", password="secret") for _ in range(20)])
    for answer in await asyncio.gather(*[c.query("SELECT * FROM ks.t") for c in clients]):
        assert answer.rows


@pytest.mark.connections(157, 158)
@pytest.mark.parametrize("where", ["origin", "target"])
async def test_the_failure_threshold(make_bench, where):
    """Ready until the fifth failure in a row, of which the other cluster knows nothing; one success, and it begins anew."""
    bench = await make_bench(fresh=True, profile="zdm",
                             variables={**QUICK, "ZDM_HEARTBEAT_FAILURE_THRESHOLD": "5"})
    cluster = getattr(bench, where)
    name, other = (f"{n.capitalize()}Status" for n in (where, "target" if where == "origin" else "origin"))
    seen = set()
    await cluster.stop()

    async def down():
        status, report = await bench.proxy.readiness()
        count = report[name]["CurrentFailureCount"]
        seen.add(count)
        assert (status, report["Status"], report[name]["Status"]) == (
            (200, "UP", "UP") if count < 5 else (503, "DOWN", "DOWN"))
        assert report[name]["FailureCountThreshold"] == 5
        assert (report[other]["Status"], report[other]["CurrentFailureCount"]) == ("UP", 0)
        return count >= 5
    await bench.proxy.until(down, "the fifth failure")
    assert seen & {1, 2, 3, 4}
    await cluster.start()
    await bench.proxy.ready()
    _, report = await bench.proxy.readiness()
    assert report[name]["CurrentFailureCount"] == 0
