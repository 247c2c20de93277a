"""
Listeners: several side by side, who may connect to which, the header of a load balancer in front, TLS of all kinds; and that
nothing is opened towards the clusters before a driver has said STARTUP.
"""
import asyncio
import socket
import ssl
import struct

import pytest

from certificates import Authority
from cqlwire import Client, Closed, Err, Op, requests
from helpers import assert_alive, assert_error

REFUSED = 'zdm_cqlferry_clients_refused_total{reason="%s"}'
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
HERE, ELSEWHERE = "127.9.0.1", "127.9.0.2"  # where clients of these tests come from


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("listeners"), "cqlferry test CA")


@pytest.fixture(scope="session")
def stranger(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("stranger"), "another CA")


def v1(source, destination, source_port=40001, port=9042):
    family = "TCP6" if ":" in source else "TCP4"
    return f"PROXY {family} {source} {destination} {source_port} {port}\r\n".encode()


def v2(source=None, destination=None, source_port=40001, port=9042, more=b""):
    """LOCAL without addresses."""
    if source is None:
        return SIGNATURE + b"\x20\0" + struct.pack(">H", len(more)) + more
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    body = socket.inet_pton(family, source) + socket.inet_pton(family, destination) + struct.pack(">HH", source_port, port)
    body += more
    return SIGNATURE + (b"\x21\x21" if ":" in source else b"\x21\x11") + struct.pack(">H", len(body)) + body


class Doors:
    """A bench with further listeners, by name; how to come in by them."""

    def __init__(self, bench, ports):
        self.bench = bench
        self.ports = ports

    async def open(self, name, **how):
        c = await Client.open(self.bench.proxy.listen[0], self.ports[name], how.pop("version", 4), **how)
        self.bench.clients.append(c)
        return c

    async def client(self, name, compression=None, **how):
        c = await self.open(name, **how)
        assert (await c.startup(compression)).opcode == Op.READY
        await assert_alive(c, self.bench)
        return c

    async def refused(self, name, reason, **how):
        """Closed at once, without a byte, and counted; nothing has reached a cluster."""
        before = await self.count(reason)
        backends = [len(cluster.connections()) for cluster in self.bench.clusters]
        try:
            c = await self.open(name, **how)
            c.send(Op.STARTUP, requests.startup())
            assert await c.closed() == []
            self.bench.clients.remove(c)
        except OSError:
            assert how.get("ssl")  # during its handshake
        assert await self.count(reason) == before + 1
        assert [len(cluster.connections()) for cluster in self.bench.clusters] == backends

    async def count(self, reason):
        return (await self.bench.proxy.metrics())[REFUSED % reason]


@pytest.fixture
def doors(make_bench, free_addresses):
    async def make(sections, proxy=None, **more):
        ports = {}

        def configure(bench):
            if proxy:
                bench.sections["proxy"] = proxy
            for name, section in sections.items():
                address = section.get("address", bench.proxy.listen[0])
                ports[name] = free_addresses.port(address)
                bench.sections[f"listener {name}"] = {"address": address, "port": ports[name], **section}
        return Doors(await make_bench(fresh=True, configure=configure, **more), ports)
    return make


# ---- allow and deny ----

async def test_lists_of_addresses(doors):
    """deny wins; with an allow list all others are refused; each listener has lists of its own."""
    d = await doors({
        "allowed": {"allow": f"10.0.0.0/8, {HERE}/32"},
        "network": {"allow": "127.9.0.0/31"},
        "denied": {"deny": HERE},
        "both": {"allow": "127.9.0.0/16", "deny": "127.9.0.2/31, ::/0"},
    })
    await d.client("allowed", local_address=HERE)
    await d.refused("allowed", "access", local_address=ELSEWHERE)
    await d.client("network", local_address=HERE)
    await d.refused("network", "access", local_address=ELSEWHERE)
    await d.refused("denied", "access", local_address=HERE)
    await d.client("denied", local_address=ELSEWHERE)
    await d.client("both", local_address=HERE)
    await d.refused("both", "access", local_address=ELSEWHERE)
    await d.refused("both", "access", local_address="127.8.255.255")
    await assert_alive(await d.bench.client(local_address=ELSEWHERE), d.bench)
    log = d.bench.proxy.messages
    assert "was turned away by allow of [listener allowed]" in log
    assert "was turned away by deny of [listener both]" in log


async def test_lists_and_ipv6(doors):
    """An IPv6 client, and an IPv4 client at an IPv6 socket, whose address looks like an IPv6 one there."""
    d = await doors({
        "six": {"address": "::1", "allow": "::1, 10.0.0.0/8"},
        "no-six": {"address": "::1", "deny": "::/0"},
        "mapped": {"address": f"::ffff:{HERE}", "allow": "127.9.0.0/30", "deny": "::/0"},
    })

    async def come(name, address):
        c = await Client.open(address, d.ports[name], local_address=address)
        d.bench.clients.append(c)
        return c
    c = await come("six", "::1")
    assert (await c.startup()).opcode == Op.READY
    await assert_alive(c, d.bench)
    c = await come("no-six", "::1")
    assert await c.closed() == []
    c = await come("mapped", HERE)
    assert (await c.startup()).opcode == Op.READY
    await assert_alive(c, d.bench)
    assert await d.count("access") == 1


async def test_a_storm_of_those_who_may_not(doors):
    """A thousand refusals cost no worker anything, and not a line of the log each."""
    d = await doors({"denied": {"deny": "127.9.0.0/16"}})
    good = await d.bench.client()

    async def one():
        sock = socket.socket()
        sock.setblocking(False)
        sock.bind((ELSEWHERE, 0))
        try:
            await asyncio.get_running_loop().sock_connect(sock, (d.bench.proxy.listen[0], d.ports["denied"]))
            return await asyncio.get_running_loop().sock_recv(sock, 10)
        except ConnectionError:
            return b""
        finally:
            sock.close()
    for _ in range(10):
        assert set(await asyncio.gather(*(one() for _ in range(100)))) == {b""}
    await assert_alive(good, d.bench)
    assert await d.count("access") == 1000
    assert d.bench.proxy.messages.count("was turned away by deny") <= 40


# ---- the PROXY protocol ----

V1 = {"proxy_protocol": "v1", "proxy_protocol_from": f"{HERE}, 127.9.1.0/24"}
V2 = {"proxy_protocol": "v2", "proxy_protocol_from": f"{HERE}, 127.9.1.0/24"}


async def where(c):
    """What system.local says of the address that the driver has reached."""
    return (await c.query("SELECT rpc_address FROM system.local")).rows[0][0]


async def test_the_address_in_the_header_counts(doors):
    """In the log, and in what drivers are told of the address at which they came in; with and without pieces of the header."""
    d = await doors({"one": V1, "two": V2})
    for name, make in (("one", v1), ("two", v2)):
        for source, destination, shown in (("10.1.2.3", "192.0.2.7", "10.1.2.3:40001"),
                                           ("2001:db8::7", "2001:db8::9042", r"\[2001:db8::7\]:40001")):
            c = await d.client(name, local_address=HERE, first=make(source, destination))
            await d.bench.proxy.until_logged(f"client {shown} #\\d+: comes through {HERE}:")
            assert await where(c) == destination
            await c.close()
            await d.bench.proxy.until_logged(f"client {shown} #\\d+: closed after")


@pytest.mark.parametrize("name,header", [
    ("one", v1("10.1.2.3", "192.0.2.7")), ("one", b"PROXY UNKNOWN\r\n"), ("two", v2("10.1.2.3", "192.0.2.7")),
    ("two", v2("2001:db8::7", "::1", more=b"\x02\0\5hello\x04\0\1x")), ("two", v2())])
async def test_the_header_in_pieces(doors, name, header):
    """Cut at every byte, and with the first frame right behind it in one packet."""
    d = await doors({"one": V1, "two": V2})
    frame = Client(4).frame(Op.STARTUP, requests.startup(), stream=5)
    for split in range(1, len(header) + 1, 7):
        c = await d.open(name, local_address=HERE)
        c.write(header[:split])
        await asyncio.sleep(0.002)
        c.write(header[split:] + frame)
        assert (await c.answer(5)).opcode == Op.READY
        await assert_alive(c, d.bench)
        await c.close()
    c = await d.open(name, local_address=HERE)
    for i in range(len(header)):
        c.write(header[i:i + 1])
        if i % 8 == 0:
            await asyncio.sleep(0.001)
    assert (await c.startup()).opcode == Op.READY


@pytest.mark.parametrize("header", [
    b"", b"\x16\x03\x01\x02\0", v1("10.1.2.3", "192.0.2.7"), SIGNATURE + b"\x11\x11\0\0", SIGNATURE + b"\x21\x12\0\x0c" + bytes(12),
    SIGNATURE + b"\x21\x11\0\3abc", b"GET / HTTP/1.1\r\n\r\n"], ids=lambda b: b[:20].hex() or "none")
async def test_no_header_or_a_bad_one(doors, header):
    """From a sender that is trusted, too: the connection ends, and its bytes are no frames."""
    d = await doors({"two": V2})
    await d.refused("two", "proxy_protocol", local_address=HERE, first=header)
    await d.client("two", local_address=HERE, first=v2("10.1.2.3", "192.0.2.7"))


async def test_the_other_version(doors):
    d = await doors({"one": V1, "two": V2})
    await d.refused("one", "proxy_protocol", local_address=HERE, first=v2("10.1.2.3", "192.0.2.7"))
    await d.refused("one", "proxy_protocol", local_address=HERE)
    await d.refused("one", "proxy_protocol", local_address=HERE, first=b"PROXY UNKNOWN " + b"x" * 200 + b"\r\n")


async def test_headers_of_strangers(doors):
    """Whoever may send a header may claim any address: only those in proxy_protocol_from may connect."""
    d = await doors({"two": V2, "plain": {}})
    await d.refused("two", "proxy_protocol", local_address=ELSEWHERE, first=v2(HERE, "192.0.2.7"))
    await d.client("two", local_address="127.9.1.200", first=v2("10.1.2.3", "192.0.2.7"))
    # without proxy_protocol the header is no frame
    c = await d.open("plain", local_address=HERE, first=v2("10.1.2.3", "192.0.2.7"))
    answers = await c.closed()
    assert len(answers) <= 1 and all(a.is_error() for a in answers)


async def test_lists_are_about_the_address_in_the_header(doors):
    """The trusted senders are those of the sockets, allow and deny those of the clients, where the header tells them."""
    d = await doors({"two": {**V2, "allow": "10.0.0.0/8, 2001:db8::/32", "deny": "10.9.0.0/16"},
                     "probe": {**V2, "allow": f"10.0.0.0/8, {HERE}"}})
    await d.client("two", local_address=HERE, first=v2("10.1.2.3", "192.0.2.7"))
    await d.client("two", local_address=HERE, first=v2("2001:db8::1", "::1"))
    await d.refused("two", "access", local_address=HERE, first=v2("10.9.2.3", "192.0.2.7"))
    await d.refused("two", "access", local_address=HERE, first=v2(HERE, "192.0.2.7"))
    # a check of the load balancer itself
    await d.refused("two", "access", local_address=HERE, first=v2())
    await d.client("probe", local_address=HERE, first=v2())
    assert "client 10.9.2.3:40001 was turned away by deny of [listener two]" in d.bench.proxy.messages


@pytest.mark.native
async def test_limits_are_about_the_address_in_the_header(doors):
    d = await doors({"two": V2, "one": V1}, proxy={"max_connections_per_address": 2, "max_client_connections": 6},
                    profile="native")

    async def told(name, *texts, first):
        c = await d.open(name, local_address=HERE, first=first)
        c.send(Op.STARTUP, requests.startup(), stream=9)
        answer, = await c.closed()
        assert answer.stream == 9
        assert_error(answer, Err.OVERLOADED, *texts)
    mine = [await d.client("two", local_address=HERE, first=v2("10.1.2.3", "192.0.2.7"))]
    mine.append(await d.client("one", local_address=HERE, first=v1("10.1.2.3", "192.0.2.7", source_port=7)))
    await told("two", "max_connections_per_address (2)", first=v2("10.1.2.3", "192.0.2.7", more=b"\4\0\0"))
    others = [await d.client("two", local_address=HERE, first=v2(f"10.1.2.{n}", "192.0.2.7")) for n in range(4, 8)]
    await told("two", "max_client_connections (6)", first=v2("10.1.2.9", "192.0.2.7"))
    await others[0].close()
    await d.bench.proxy.until_metric("zdm_client_connections_total", 5)
    await told("one", "max_connections_per_address (2)", first=v1("10.1.2.3", "192.0.2.7"))
    await mine[0].close()
    await d.bench.proxy.until_metric("zdm_client_connections_total", 4)
    await d.client("two", local_address=HERE, first=v2("10.1.2.3", "192.0.2.7"))


async def test_silence_instead_of_a_header(doors):
    """handshake_timeout is for the header, too; a part of it is as good as nothing."""
    d = await doors({"one": V1, "two": V2}, proxy={"handshake_timeout": "2s"})
    for c in [await d.open(name, local_address=HERE, first=first) for name, first in (
            ("one", b""), ("two", b""), ("one", b"PROXY TCP4 1"), ("two", SIGNATURE), ("two", v2()[:15]))]:
        assert await c.closed() == []
    assert all(not cluster.connections() for cluster in d.bench.clusters)
    await d.client("two", local_address=HERE, first=v2("10.1.2.3", "192.0.2.7"))


@pytest.mark.parametrize("how", ["one packet", "pieces", "no header", "in TLS"])
async def test_the_header_before_tls(doors, authority, how):
    """It comes in plain text, and TLS begins with the next byte."""
    cert, key = authority.certificate([HERE])
    d = await doors({"two": {**V2, "tls_cert": cert, "tls_key": key}})
    header = v2("10.1.2.3", "192.0.2.7", more=b"\x20\0\x08\1\0\0\0\0xyz")
    context = authority.client()
    if how == "one packet":
        c = await d.client("two", local_address=HERE, first=header, ssl=context)
        assert await where(c) == "192.0.2.7"
    elif how == "pieces":
        host, port = d.bench.proxy.listen[0], d.ports["two"]
        sock = socket.socket()
        sock.setblocking(False)
        sock.bind((HERE, 0))
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, (host, port))
        for at in range(0, len(header), 5):
            await loop.sock_sendall(sock, header[at:at + 5])
            await asyncio.sleep(0.002)
        _, c = await loop.create_connection(lambda: Client(5), sock=sock, ssl=context, server_hostname="")
        d.bench.clients.append(c)
        assert (await c.startup("lz4")).opcode == Op.READY
        await assert_alive(c, d.bench)
    elif how == "no header":
        await d.refused("two", "proxy_protocol", local_address=HERE, ssl=context)
    else:
        c = await d.open("two", local_address=HERE, first=header)
        c.write(v2("10.1.2.4", "192.0.2.7"))  # what should be TLS is not
        with pytest.raises(Exception):
            while True:
                await c.next_answer()
        c.failure = None
        d.bench.clients.remove(c)
    await d.client("two", local_address=HERE, first=header, ssl=context, compression="lz4")


# ---- TLS towards drivers ----

@pytest.mark.connections(132)
@pytest.mark.parametrize("sni", [None, "ferry.example.com", "somebody.else.example"])
async def test_with_and_without_a_server_name(doors, authority, sni):
    """A TLS listener takes clients with and without SNI, whatever name that is."""
    cert, key = authority.certificate(["ferry.example.com"])
    d = await doors({"tls": {"tls_cert": cert, "tls_key": key}})
    await d.client("tls", ssl=authority.client(), server_hostname=sni)


@pytest.mark.connections(132, 133, 134)
async def test_one_way_mutual_and_plain_side_by_side(doors, authority, stranger):
    """All in one process: each listener has its own demands."""
    cert, key = authority.certificate([HERE])
    tls = {"tls_cert": cert, "tls_key": key}
    d = await doors({"plain": {}, "one-way": tls, "trusting": {**tls, "tls_ca": authority.ca},
                     "mutual": {**tls, "tls_ca": authority.ca, "tls_require_client_cert": "true"}})
    nobody, known, unknown = (authority.client(), authority.client(own=authority.certificate()),
                              authority.client(own=stranger.certificate()))
    await d.client("plain")
    # a client's certificate is not asked for, so it does not matter whose it is
    for context in (nobody, known, unknown):
        await d.client("one-way", ssl=context)
        await d.client("trusting", ssl=context)
    await d.client("mutual", ssl=known)
    for context in (nobody, unknown):
        with pytest.raises((OSError, Closed)):  # in TLS 1.3 the client hears of it after its handshake
            c = await Client.open(d.bench.proxy.listen[0], d.ports["mutual"], 4, ssl=context)
            await c.startup()
    for name in ("one-way", "mutual"):
        c = await d.open(name)
        c.send(Op.OPTIONS)
        with pytest.raises(Exception):
            while True:
                await c.next_answer()
        c.failure = None
        d.bench.clients.remove(c)
    await d.client("mutual", ssl=known)


@pytest.mark.connections(135)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@pytest.mark.parametrize("version,taken", [(ssl.TLSVersion.TLSv1, False), (ssl.TLSVersion.TLSv1_1, False),
                                           (ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_3, True)])
async def test_versions_of_tls(doors, authority, version, taken):
    """TLS 1.1 is refused, 1.2 and 1.3 are taken."""
    cert, key = authority.certificate([HERE])
    d = await doors({"tls": {"tls_cert": cert, "tls_key": key}})
    context = authority.client(minimum=version, maximum=version)
    context.set_ciphers("ALL:@SECLEVEL=0")  # else our own side would refuse it first
    if taken:
        c = await d.client("tls", ssl=context)
        assert c.transport.get_extra_info("ssl_object").version() == version.name.replace("_", ".")
    else:
        with pytest.raises(OSError):
            await d.open("tls", ssl=context)
        await d.bench.proxy.until_logged("(?i)closed after .*(unsupported protocol|version)")


# ---- before STARTUP ----

async def test_nothing_is_opened_before_startup(doors, authority):
    """Two hundred that have connected, made their TLS handshake, asked for OPTIONS cost the clusters nothing."""
    cert, key = authority.certificate([HERE])
    d = await doors({"tls": {"tls_cert": cert, "tls_key": key}, "two": V2})
    silent = [await d.bench.open() for _ in range(150)]
    silent += [await d.open("tls", ssl=authority.client()) for _ in range(10)]
    silent += [await d.open("two", local_address=HERE, first=v2("10.1.2.3", "192.0.2.7")) for _ in range(10)]
    asking = [await d.bench.open() for _ in range(30)]
    await d.bench.proxy.until_metric("zdm_client_connections_total", 200)
    for c in asking:
        assert (await c.options()).opcode == Op.SUPPORTED
    await assert_alive(await d.bench.client(), d.bench)
    assert sum(len(cluster.connections()) for cluster in d.bench.clusters) == 2  # of the one that is ready
    for c in silent + asking:
        c.abort()


@pytest.mark.connections(152)
async def test_a_restart_on_the_same_ports(doors):
    """With connections that were open at the end, the ports are free at once."""
    d = await doors({"two": V2})
    clients = [await d.bench.client(), await d.client("two", local_address=HERE, first=v2("10.1.2.3", "192.0.2.7"))]
    await d.bench.restart_proxy()
    for c in clients:
        await c.closed()
        c.received.clear()
    await assert_alive(await d.bench.client(), d.bench)
    await d.client("two", local_address=HERE, first=v2("10.1.2.3", "192.0.2.7"))
