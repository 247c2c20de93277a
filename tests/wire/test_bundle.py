"""Secure connect bundles: the metadata service, the SNI proxy, and what goes wrong with them."""
import asyncio
import json
import re
import signal

import pytest

from astra import Astra
from certificates import Authority
from helpers import PRIMARIES, assert_alive
from proxy import binary

#: a proxy that tries again soon
QUICK = {"heartbeat_interval": "200ms", "heartbeat_retry_interval_min": "50ms", "heartbeat_retry_interval_max": "200ms"}


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("astra"), "Astra test CA")


@pytest.fixture(scope="session")
def stranger(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("astra-stranger"), "another CA")


@pytest.fixture
def make_astra(loop, make_bench, authority, free_addresses, tmp_path):
    """
    await make_astra(clusters, change, ...) gives a bench whose clusters of these names are reached by bundles, and their
    Astras by name. change(astra) is called before anything runs.
    """
    made = []

    async def make(names=PRIMARIES, change=None, sections=None, zdm=False, **how):
        astras = {}

        def configure(bench):
            for name in names:
                astra = astras[name] = Astra(tmp_path, free_addresses, authority, getattr(bench, name))
                made.append(astra)
                if change is not None:
                    change(astra)
                loop_tasks.append(astra)
                if zdm:
                    prefix = f"ZDM_{name.upper()}_"
                    bench.variables.update({prefix + "CONTACT_POINTS": "",
                                            prefix + "SECURE_CONNECT_BUNDLE_PATH": str(astra.path)})
                else:
                    bench.sections.setdefault(name, {}).update(contact_points=None, port=None,
                                                               secure_connect_bundle=astra.path)
            if not zdm:
                bench.sections.setdefault("proxy", {}).update(QUICK, **(sections or {}))
            start_proxy = bench.start_proxy

            async def start(wait=True):
                while loop_tasks:
                    await loop_tasks.pop().start()
                await start_proxy(wait)
            bench.start_proxy = start
        loop_tasks = []
        bench = await make_bench(fresh=True, configure=configure, **({"profile": "zdm"} if zdm else {}), **how)
        return bench, astras
    yield make
    for astra in made:
        loop.run_until_complete(astra.stop())


def assert_reached_by_sni(astra):
    """Every connection that a node has had came through the SNI proxy, under the node's host id."""
    assert not astra.proxy.strays
    assert astra.proxy.passed
    assert len(astra.proxy.passed) == sum(node.accepted for node in astra.cluster.nodes)
    for node in astra.cluster.nodes:
        assert astra.proxy.passed.count(str(node.host_id)) == node.accepted


@pytest.mark.connections(137, 138, 139)
@pytest.mark.connections(137, 138, 139)
@pytest.mark.parametrize("zdm", [False, True], ids=["ini", "zdm"])
async def test_both_clusters_by_bundles(make_astra, zdm):
    """Control and request connections go to the SNI proxy with SNI = host id; health and metrics say host ids. The service
    is asked for /metadata, with our certificate."""
    bench, astras = await make_astra(zdm=zdm, origin={"nodes": 3}, target={"nodes": 2})
    clients = [await bench.client() for _ in range(6)]
    for c in clients:
        await assert_alive(c, bench)
    status, health = await bench.proxy.readiness()
    metrics = await bench.proxy.metrics()
    for name, astra in astras.items():
        assert_reached_by_sni(astra)
        # Found by system.peers: only the first is a contact point.
        assert {str(conn.node.host_id) for conn in astra.cluster.connections()} == set(astra.ids())
        assert health[f"{name.capitalize()}Status"]["Addr"] == astra.ids()[0]
        labels = {key for key in metrics if key.startswith(f"zdm_{name}_open_connections_total")
                  or (f"zdm_{name}_" in key and "node=" in key)}
        assert labels and all(any(f'node="{i}"' in key for i in astra.ids()) for key in labels)
        (line, headers, certificate, sni), = astra.service.requests
        assert line == "GET /metadata HTTP/1.1"
        assert certificate
        assert headers["host"] == f"{astra.service.address}:{astra.service.port}"
        assert sni is None  # an address


@pytest.mark.parametrize("where", PRIMARIES)
async def test_one_cluster_by_a_bundle(make_astra, where):
    bench, astras = await make_astra([where])
    await assert_alive(await bench.client(5, "lz4"), bench)
    assert_reached_by_sni(astras[where])


@pytest.mark.connections(138)
async def test_names_instead_of_addresses(make_astra):
    """The certificate is checked against the SNI proxy's name, not against what is sent as SNI; the name is resolved,
    and an address of it that leads nowhere is passed over."""
    def change(astra):
        astra.service.address = astra.proxy.address = "127.0.0.1"
        astra.service.port, astra.proxy.port = (astra.addresses.port("127.0.0.1") for _ in range(2))
        astra.service.context = astra.authority.server(["localhost"], astra.client_ca)
        astra.proxy.context = astra.authority.server(["localhost"], astra.client_ca)
        astra.proxy.context.sni_callback = astra.proxy._on_sni
        astra.config.update(host="localhost", port=str(astra.service.port))
        astra.proxy_host = "localhost"
    bench, astras = await make_astra(change=change)
    await assert_alive(await bench.client(), bench)
    for astra in astras.values():
        assert_reached_by_sni(astra)
        assert [r[3] for r in astra.service.requests] == ["localhost"] * len(astra.service.requests)


@pytest.mark.connections(139)
@pytest.mark.connections(139)
async def test_the_datacenter_of_the_metadata(make_astra):
    """local_dc is the datacenter, although the contact point is in another one."""
    bench, astras = await make_astra(["origin"], origin={"nodes": 3, "datacenters": {0: "dc2"}})
    for _ in range(4):
        await assert_alive(await bench.client(), bench)
    assert {conn.node.index for conn in bench.origin.connections()} == {1, 2}
    assert [conn.node.index for conn in bench.origin.control_connections()] == [0]


async def endless(writer):
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    for _ in range(10_000):
        writer.write(b"[" * 10_000)
        await writer.drain()


async def cut(writer):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{}")


def body(text):
    return ("200 OK", text.encode())


def info(astra, **changes):
    return ("200 OK", astra.metadata(**changes))


BAD_ANSWERS = {
    "500": (lambda a: ("500 Internal Server Error", a.metadata()), "HTTP status 500"),
    "404": (lambda a: ("404 Not Found", b""), "HTTP status 404"),
    "redirect": (lambda a: ("302 Found", b""), "302, and redirects are not followed"),
    "garbage": (lambda a: body("<html>"), "malformed JSON in line 1"),
    "nothing": (lambda a: body(""), "malformed JSON"),
    "null": (lambda a: body("null"), "a JSON object is expected, not null"),
    "list": (lambda a: body("[]"), "a JSON object is expected"),
    "no info": (lambda a: body("{}"), '"contact_info" is missing'),
    "no points": (lambda a: info(a, contact_points=[]), "contact_points\" is an empty list"),
    "null points": (lambda a: info(a, contact_points=None), "contact_points\" is missing"),
    "no id": (lambda a: info(a, contact_points=["10.0.0.1"]), "no host id"),
    "no proxy": (lambda a: info(a, sni_proxy_address=None), '"sni_proxy_address" is missing'),
    "no port": (lambda a: info(a, sni_proxy_address="proxy.example"), "not host:port"),
    "no such name": (lambda a: info(a, sni_proxy_address="no.such.name.invalid:1"), "the name cannot be resolved"),
    "endless": (lambda a: endless, "the answer is longer than"),
    "cut": (lambda a: cut, "transfer closed|closed|remaining"),
}


@pytest.mark.connections(137)
@pytest.mark.connections(137)
@pytest.mark.parametrize("what", BAD_ANSWERS)
async def test_a_service_that_says_nonsense_and_recovers(make_astra, what):
    """And no crash as with ZDM: said with the reason, tried again, and good as soon as the answer is."""
    answer, pattern = BAD_ANSWERS[what]

    def change(astra):
        astra.service.answer = answer(astra)
    bench, astras = await make_astra(["target"], change, wait=False)
    await bench.proxy.until_logged(rf"target {astras['target'].service.address}:\d+: .*({pattern}).*next try")
    assert not astras["target"].proxy.passed
    astras["target"].heal()
    await bench.proxy.ready()
    await assert_alive(await bench.client(), bench)


@pytest.mark.connections(137)
@pytest.mark.connections(137)
@pytest.mark.parametrize("what", ["another authority", "another name", "expired", "no certificate of ours"])
async def test_a_service_that_is_not_trusted(make_astra, authority, stranger, what):
    """The certificate and the host name are verified, by the bundle's ca.crt only."""
    def change(astra):
        if what == "another authority":
            astra.service.context = stranger.server([astra.service.address], authority)
        elif what == "another name":
            astra.service.context = authority.server(["elsewhere.example"], authority)
        elif what == "expired":
            astra.service.context = authority.server([astra.service.address], authority, days="-1")
        else:
            astra.members.update(cert=None, key=None)
    bench, astras = await make_astra(["origin"], change, wait=False)
    await bench.proxy.until_logged(r"origin .*metadata service gave nothing of use: .*"
                                   r"(certificate|alternative).*next try")
    assert not astras["origin"].service.requests and not astras["origin"].proxy.names
    assert bench.proxy.running()
    bench.may_be_down = True


async def test_no_service(make_astra):
    """It comes later: the start waits for it."""
    bench, astras = await make_astra(["origin"], lambda a: setattr(a.service, "port", a.service.port), wait=False)
    await bench.proxy.ready()
    await bench.proxy.stop()
    await astras["origin"].service.stop()
    start = len(bench.proxy.log)
    await bench.start_proxy(wait=False)
    await bench.proxy.until_logged("origin .*metadata service gave nothing of use: .*(refused|connect).*next try")
    assert start < len(bench.proxy.log)
    await astras["origin"].service.start()
    await bench.proxy.ready()
    await assert_alive(await bench.client(), bench)


async def test_a_mute_service_does_not_hold_up_the_end(make_astra):
    """The thread that waits for it ends with the process, at once."""
    held = asyncio.Event()

    async def mute(writer):
        held.set()
        await asyncio.sleep(50)
    bench, _ = await make_astra(["origin"], lambda a: setattr(a.service, "answer", mute), wait=False)
    await asyncio.wait_for(held.wait(), 10)
    status, health = await bench.proxy.readiness()
    assert status == 503 and health["Status"] == "STARTUP"
    await bench.proxy.stop()  # has a limit, which is shorter than the service is mute
    bench.may_be_down = True


@pytest.mark.connections(138)
@pytest.mark.connections(138)
@pytest.mark.parametrize("what", ["another authority", "another name"])
async def test_an_sni_proxy_that_is_not_trusted(make_astra, authority, stranger, what):
    """Its certificate must be for the host in sni_proxy_address, by the bundle's authority."""
    def change(astra):
        other = stranger if what == "another authority" else authority
        names = astra.ids() if what == "another name" else [astra.proxy.address]
        astra.proxy.context = other.server(names, authority)
        astra.proxy.context.sni_callback = astra.proxy._on_sni
    bench, astras = await make_astra(["origin"], change, wait=False)
    bench.may_be_down = True
    await bench.proxy.never_ready("origin .*certificate verify failed", exit_code=1)
    assert astras["origin"].proxy.names and set(astras["origin"].proxy.names) == {astras["origin"].ids()[0]}
    assert not astras["origin"].proxy.passed


@pytest.mark.connections(140)
@pytest.mark.connections(140)
async def test_an_sni_proxy_that_is_dead_and_moves(make_astra):
    """The metadata are read again after a failed open, and the SNI proxy that they name then is used."""
    bench, astras = await make_astra(["target"], wait=False)
    astra = astras["target"]
    await astra.proxy.stop()
    await bench.proxy.until_logged(r"target [0-9a-f-]{36}: .*refused|target .*reset|target .*closed")
    seen = len(astra.service.requests)
    second = await astra.another_proxy()
    try:
        astra.service.answer = ("200 OK", astra.metadata(sni_proxy_address=f"{second.address}:{second.port}"))
        await bench.proxy.ready()
        await assert_alive(await bench.client(), bench)
        assert len(astra.service.requests) > seen
        assert second.passed
    finally:
        await second.stop()


@pytest.mark.dedicated
@pytest.mark.connections(140)
async def test_a_move_of_a_cluster_in_use(make_astra):
    """Nodes stay the same ones although everything about their address changes; the service being away for a while only
    delays it."""
    bench, astras = await make_astra(origin={"nodes": 2}, target={"nodes": 2})
    astra = astras["origin"]
    c = await bench.client()
    await assert_alive(c, bench)
    second = await astra.another_proxy()
    try:
        astra.service.answer = ("503 Service Unavailable", b"")
        await astra.proxy.stop()
        await bench.proxy.until_logged("HTTP status 503; going on with what it said before")
        astra.service.answer = ("200 OK", astra.metadata(sni_proxy_address=f"{second.address}:{second.port}"))
        await bench.origin.until(lambda: bench.origin.control_connections(), "control connection")
        await bench.proxy.ready()
        for _ in range(4):
            await assert_alive(await bench.client(), bench)
        assert set(second.passed) == set(astra.ids())
        metrics = await bench.proxy.metrics()
        nodes = {key.split('node="')[1].split('"')[0] for key in metrics if "zdm_origin_" in key and "node=" in key}
        assert nodes == set(astra.ids())
        await c.closed()
    finally:
        await second.stop()


BAD_BUNDLES = {
    "missing": (lambda a: setattr(a, "path", a.path.with_name("nowhere.zip")), "cannot open .*bundle-origin"),
    "no config": (lambda a: a.members.update({"config.json": None}), r"bundle-origin.*no member config\.json"),
    "no host": (lambda a: a.config.pop("host"), r'bundle-origin.*config\.json: "host" is missing'),
    "no port": (lambda a: a.config.pop("port"), r'bundle-origin.*config\.json: "port" is missing'),
    "no ca": (lambda a: a.members.update({"ca.crt": None}), r"bundle-origin.*no member ca\.crt"),
    "bad ca": (lambda a: a.members.update({"ca.crt": b"nonsense"}), r"bundle-origin.*ca\.crt: no certificate"),
    "no key": (lambda a: a.members.update({"key": None}), "bundle-origin.*a member cert and no key"),
    "another key": (lambda a: a.members.update({"key": a.authority.certificate()[1].read_bytes()}),
                    "bundle-origin.*key: the key does not belong"),
}


@pytest.mark.connections(136)
@pytest.mark.connections(136)
@pytest.mark.parametrize("what", BAD_BUNDLES)
async def test_a_bad_bundle_ends_the_start(make_astra, what):
    """What is wrong in the file is a mistake in the configuration, and no reason to try again for ever."""
    spoil, pattern = BAD_BUNDLES[what]

    def change(astra):
        if what != "missing":
            spoil(astra)
    bench, astras = await make_astra(["origin"], change, wait=False) if what != "missing" else \
        await make_astra(["origin"], lambda a: setattr(a, "write", lambda: None), wait=False)
    bench.may_be_down = True
    await bench.proxy.never_ready(pattern, exit_code=1)
    assert not astras["origin"].service.requests
    process = await asyncio.create_subprocess_exec(*(bench_check(bench)), stdout=asyncio.subprocess.PIPE,
                                                   stderr=asyncio.subprocess.STDOUT)
    output, _ = await process.communicate()
    assert process.returncode == 1
    assert re.search(pattern, output.decode()), output


def bench_check(bench):
    return [binary(), "-c", str(bench.proxy.folder / f"{bench.proxy.name}.ini"), "--check-config"]


@pytest.mark.connections(136)
@pytest.mark.connections(136)
async def test_a_bad_bundle_under_zdm(make_astra):
    bench, _ = await make_astra(["target"], lambda a: a.config.pop("host"), zdm=True, wait=False)
    bench.may_be_down = True
    await bench.proxy.never_ready('config.json: "host" is missing', exit_code=255)


async def test_nothing_of_the_bundle_is_written_or_shown(make_astra, tmp_path):
    """The key stays in memory: no line of it is in the log, no file of it beside the bundle."""
    bench, astras = await make_astra(["origin"])
    await assert_alive(await bench.client(), bench)
    key = astras["origin"].members["key"].decode().splitlines()[1]
    assert key not in bench.proxy.log
    for folder in (bench.proxy.folder, tmp_path):
        for path in folder.iterdir():
            if path.is_file() and path.suffix != ".zip":
                assert key.encode() not in path.read_bytes(), path
    assert json.loads(astras["origin"].metadata())["contact_info"]["contact_points"] == astras["origin"].ids()


async def test_a_bundle_with_renewed_certificates(make_astra, stranger):
    """SIGHUP reads the file again: connections made from then on show and trust what stands in it."""
    bench, astras = await make_astra(["target"])
    astra = astras["target"]
    await assert_alive(await bench.client(), bench)
    cert, key = stranger.certificate()
    astra.members.update({"ca.crt": stranger.ca.read_bytes(), "cert": cert.read_bytes(), "key": key.read_bytes()})
    astra.write()
    bench.proxy.signal(signal.SIGHUP)
    await bench.proxy.until_logged("the configuration was reloaded")
    await astra.service.stop()
    await astra.proxy.stop()
    astra.authority = astra.client_ca = stranger
    astra.service.context = stranger.server([astra.service.address], stranger)
    second = await astra.another_proxy()
    try:
        await astra.service.start()
        astra.heal(sni_proxy_address=f"{second.address}:{second.port}")
        await bench.target.until(lambda: bench.target.control_connections(), "control connection")
        await bench.proxy.ready()
        await assert_alive(await bench.client(), bench)
        assert second.passed
    finally:
        await second.stop()


async def test_a_damaged_bundle_at_a_reload(make_astra):
    """Nothing changes, and the line says what is wrong with the file."""
    bench, astras = await make_astra(["origin"])
    astras["origin"].members["ca.crt"] = None
    astras["origin"].write()
    bench.proxy.signal(signal.SIGHUP)
    await bench.proxy.until_logged(r"bundle-origin.*no member ca\.crt")
    await bench.proxy.until_logged("the configuration was not reloaded; nothing has changed")
    await assert_alive(await bench.client(), bench)
