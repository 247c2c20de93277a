"""TLS towards the clusters and towards drivers."""
import asyncio
import ssl
import warnings

import pytest

import behaviour
from certificates import Authority
from cqlwire import Client, Closed, Column, Err, Kind, Op, Type, requests
from fakecluster import Auth
from helpers import PRIMARIES, WAY_IDS, WAYS, assert_alive


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"), "cqlferry test CA")


@pytest.fixture(scope="session")
def stranger(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("stranger"), "another CA")


def clusters_with(authority, mode="ca", names=(), **more):
    """A configure function: both clusters speak TLS, the proxy trusts the authority."""
    def configure(bench):
        for cluster in bench.clusters:
            addresses = [node.address for node in cluster.nodes]
            cluster.ssl = authority.server(names or addresses, more.get("client_ca"), more.get("days", "1"))
            section = {"tls": mode, "tls_ca": more.get("trusted", authority).ca}
            if "own" in more:
                section["tls_cert"], section["tls_key"] = more["own"]
            section.update(more.get("section", {}))
            bench.sections.setdefault(cluster.name, {}).update(section)
    return configure


async def round_trip(bench, c):
    value = bytes(range(256)) * 2000
    bench.origin.on("ks.big", behaviour.rows([Column("v", Type.BLOB)], [[value]]))
    assert (await c.query("SELECT v FROM ks.big", values=[value])).rows == [[value]]
    assert (await c.query("INSERT INTO ks.t (k) VALUES (?)", values=[value])).kind == Kind.VOID
    assert bench.target.requests(Op.QUERY)[-1].params.values == [value]
    await assert_alive(c, bench)


# ---- towards the clusters ----

@pytest.mark.connections(125)
@pytest.mark.parametrize("mode", ["ca", "full"])
async def test_clusters_with_tls(make_bench, authority, mode):
    bench = await make_bench(fresh=True, configure=clusters_with(authority, mode))
    for way in WAYS:
        await round_trip(bench, await bench.client(*way))
    for cluster in bench.clusters:
        assert all(conn.ssl_object for node in cluster.nodes for conn in node.connections)
        assert cluster.ssl.seen_names and set(cluster.ssl.seen_names) == {None}  # addresses are no names


@pytest.mark.connections(125, 131)
@pytest.mark.parametrize("where", PRIMARIES)
async def test_one_cluster_with_tls_and_a_login(make_bench, authority, where):
    def configure(bench):
        cluster = getattr(bench, where)
        cluster.ssl = authority.server(["10.0.0.1"])  # the wrong name does not matter with tls = ca
        cluster.auth = Auth({"app": "secret", "proxy": "proxy-password"})
        bench.sections[where] = {"tls": "ca", "tls_ca": authority.ca}
    bench = await make_bench(fresh=True, configure=configure)
    await round_trip(bench, await bench.client(5, "lz4", user="app", password="secret"))


async def test_a_server_name(make_bench, authority):
    bench = await make_bench(fresh=True, configure=clusters_with(authority, "full", names=["nodes.example.com"],
                                                                 section={"tls_server_name": "nodes.example.com"}))
    await assert_alive(await bench.client(), bench)
    assert set(bench.origin.ssl.seen_names) == {"nodes.example.com"}


@pytest.mark.connections(125)
async def test_our_own_certificate(make_bench, authority):
    bench = await make_bench(fresh=True, configure=clusters_with(authority, client_ca=authority,
                                                                 own=authority.certificate()))
    await assert_alive(await bench.client(), bench)
    for conn in bench.origin.connections() + bench.origin.control_connections():
        assert conn.ssl_object.getpeercert()


@pytest.mark.connections(125)
@pytest.mark.parametrize("target", ["plain", "one-way", "mutual"])
@pytest.mark.parametrize("origin", ["plain", "one-way", "mutual"])
async def test_every_mixture(make_bench, authority, stranger, origin, target):
    """Each cluster as it likes, with an authority of its own."""
    def configure(bench):
        for cluster, kind, ca in ((bench.origin, origin, authority), (bench.target, target, stranger)):
            if kind == "plain":
                continue
            cluster.ssl = ca.server(["10.0.0.1"], ca if kind == "mutual" else None)
            section = bench.sections.setdefault(cluster.name, {})
            section.update(tls="ca", tls_ca=ca.ca)
            if kind == "mutual":
                section["tls_cert"], section["tls_key"] = ca.certificate()
    bench = await make_bench(fresh=True, configure=configure)
    await assert_alive(await bench.client(), bench)
    for cluster, kind in ((bench.origin, origin), (bench.target, target)):
        for conn in cluster.connections() + cluster.control_connections():
            assert bool(conn.ssl_object) == (kind != "plain")
            assert kind != "mutual" or conn.ssl_object.getpeercert()


@pytest.mark.connections(128)
async def test_a_certificate_that_nobody_asks_for(make_bench, authority):
    """Ours is configured, the cluster does not ask for one."""
    bench = await make_bench(fresh=True, configure=clusters_with(authority, own=authority.certificate()))
    await assert_alive(await bench.client(), bench)
    for conn in bench.origin.connections() + bench.target.control_connections():
        assert not conn.ssl_object.getpeercert()


async def not_ready(make_bench, configure, pattern, exit_code=None):
    """The proxy does not come up with this; what it says names the reason."""
    bench = await make_bench(fresh=True, wait=False, configure=configure)
    bench.may_be_down = True
    await bench.proxy.never_ready(pattern, exit_code)
    for cluster in bench.clusters:
        assert not cluster.requests(Op.QUERY)  # a control connection that is on its way there has asked nothing yet
        cluster.complaints.clear()


@pytest.mark.connections(129)
async def test_a_certificate_of_somebody_else(make_bench, authority, stranger):
    await not_ready(make_bench, clusters_with(stranger, trusted=authority), "(?i)(origin|target).*certificate", exit_code=1)


async def test_a_wrong_certificate_beside_a_node_that_is_down(make_bench, authority, stranger):
    """The other contact point may come back, and its certificate may be good: the proxy goes on trying."""
    def configure(bench):
        bench.origin.ssl = stranger.server([bench.origin.nodes[0].address])
        bench.sections["origin"] = {"tls": "ca", "tls_ca": authority.ca,
                                    "contact_points": f"{bench.origin.nodes[0].address}, 127.255.255.254"}
    bench = await make_bench(fresh=True, wait=False, configure=configure)
    bench.may_be_down = True
    await bench.proxy.until_logged("origin .*next try in")
    assert bench.proxy.running()
    for cluster in bench.clusters:
        cluster.complaints.clear()


async def test_a_certificate_for_another_name(make_bench, authority):
    await not_ready(make_bench, clusters_with(authority, "full", names=["elsewhere.example.com"]),
                    "(?i)(origin|target).*(mismatch|name|certificate)", exit_code=1)


@pytest.mark.connections(130)
async def test_a_certificate_that_has_expired(make_bench, authority):
    await not_ready(make_bench, clusters_with(authority, days="-1"), "(?i)(origin|target).*expired", exit_code=1)


@pytest.mark.connections(127)
async def test_a_cluster_that_demands_a_certificate(make_bench, authority):
    await not_ready(make_bench, clusters_with(authority, client_ca=authority),
                    "(?i)(origin|target).*(certificate|alert|handshake|closed|reset)")


@pytest.mark.connections(126)
@pytest.mark.parametrize("where", PRIMARIES)
async def test_plain_towards_a_cluster_with_tls(make_bench, authority, where):
    def configure(bench):
        getattr(bench, where).ssl = authority.server(["10.0.0.1"])
    await not_ready(make_bench, configure, f"(?i){where}.*(closed|tls|reset|version)")


async def test_tls_towards_a_plain_cluster(make_bench, authority):
    def configure(bench):
        bench.sections["origin"] = {"tls": "ca", "tls_ca": authority.ca}
    await not_ready(make_bench, configure, "(?i)origin.*(tls|ssl)|(tls|ssl).*origin")


@pytest.mark.connections(24)
@pytest.mark.parametrize("key", ["tls_ca", "tls_cert", "tls_key"])
async def test_files_that_do_not_exist(make_bench, authority, key):
    cert, private = authority.certificate()
    section = {"tls": "ca", "tls_ca": authority.ca, "tls_cert": cert, "tls_key": private, key: "/nowhere/at/all.pem"}

    def configure(bench):
        bench.sections["target"] = section
    await not_ready(make_bench, configure, "/nowhere/at/all.pem", exit_code=1)


@pytest.mark.connections(125, 131)
async def test_zdm_names_for_tls(make_bench, authority):
    def configure(bench):
        for cluster in bench.clusters:
            cluster.ssl = authority.server(["10.0.0.1"], authority)
            prefix = f"ZDM_{cluster.name.upper()}_TLS_"
            cert, key = authority.certificate()
            bench.variables.update({prefix + "SERVER_CA_PATH": str(authority.ca),
                                    prefix + "CLIENT_CERT_PATH": str(cert),
                                    prefix + "CLIENT_KEY_PATH": str(key)})
    bench = await make_bench(fresh=True, profile="zdm", configure=configure)
    await assert_alive(await bench.client(), bench)


async def test_a_node_that_is_mute_in_the_tls_handshake(make_bench):
    """A driver must not wait for ever because a node takes the connection and says nothing."""
    bench = await make_bench(fresh=True, sections={"proxy": {"handshake_timeout": "500ms", "request_timeout": "500ms"},
                                                   "target": {"connection_timeout": "500ms"}})
    node = bench.target.nodes[0]
    node.refuse()
    server = await asyncio.start_server(lambda r, w: asyncio.sleep(60), node.address, bench.target.port)
    try:
        c = await bench.open()
        stream = c.send(Op.STARTUP, requests.startup())
        if bench.is_pooled:  # it is served without that cluster
            assert (await c.answer(stream)).opcode == Op.READY
            answer = await c.query("INSERT INTO ks.t (k) VALUES (1)")
            assert answer.is_error() and answer.code in (Err.UNAVAILABLE, Err.OVERLOADED), answer
            assert "nothing was sent" in answer.text
        else:
            assert all(a.is_error() for a in await c.closed())
    finally:
        server.close()


# ---- towards drivers ----

def listener_with(authority, **more):
    def configure(bench):
        cert, key = authority.certificate([bench.proxy.listen[0]])
        section = {"tls_cert": cert, "tls_key": key}
        section.update(more)
        bench.sections["listener"] = section
    return configure


@pytest.mark.connections(132)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_drivers_with_tls(make_bench, authority, version):
    bench = await make_bench(fresh=True, configure=listener_with(authority))
    context = authority.client(minimum=version, maximum=version)
    context.check_hostname = True
    for way, name in zip(WAYS, WAY_IDS):
        c = await bench.client(*way, ssl=context, server_hostname=bench.proxy.listen[0])
        assert c.transport.get_extra_info("ssl_object").version() == version.name.replace("_", "."), name
        await round_trip(bench, c)


@pytest.mark.connections(132)
async def test_a_plain_driver_at_a_tls_listener(make_bench, authority):
    bench = await make_bench(fresh=True, configure=listener_with(authority))
    c = await bench.open()
    c.write(b"\x04\0\0\1\5\0\0\0\0" * 3)
    with pytest.raises(Exception):
        while True:
            await c.next_answer()
    assert c.is_closed or c.failure
    c.failure = None
    bench.clients.remove(c)
    await assert_alive(await bench.client(ssl=authority.client()), bench)


async def test_silence_at_a_tls_listener(make_bench, authority):
    bench = await make_bench(fresh=True, sections={"proxy": {"handshake_timeout": "400ms"}},
                             configure=listener_with(authority))
    for sent in (b"", b"\x16\x03\x01"):
        c = await bench.open()
        c.write(sent)
        await c.closed()
    await assert_alive(await bench.client(ssl=authority.client()), bench)


@pytest.mark.connections(133)
async def test_drivers_must_show_a_certificate(make_bench, authority, stranger):
    bench = await make_bench(fresh=True, configure=listener_with(authority, tls_ca=authority.ca,
                                                                 tls_require_client_cert="true"))
    good = authority.client(own=authority.certificate())
    await round_trip(bench, await bench.client(ssl=good))
    for context in (authority.client(), authority.client(own=stranger.certificate())):
        with pytest.raises((OSError, Closed)):  # in TLS 1.3 a refusal comes after the client thinks it is through
            c = await Client.open(*bench.proxy.listen, 4, ssl=context)
            await c.startup()
    await assert_alive(await bench.client(ssl=good), bench)


@pytest.mark.connections(134)
async def test_a_drivers_certificate_that_is_not_asked_for(make_bench, authority, stranger):
    """Whoever signed it."""
    bench = await make_bench(fresh=True, configure=listener_with(authority))
    context = authority.client(own=stranger.certificate())
    await assert_alive(await bench.client(ssl=context), bench)


@pytest.mark.connections(132)
@pytest.mark.parametrize("name", ["proxy.example.com", "anything.else.example", None])
async def test_a_drivers_sni_does_not_matter(make_bench, authority, name):
    bench = await make_bench(fresh=True, configure=listener_with(authority))
    more = {"server_hostname": name} if name else {}
    await assert_alive(await bench.client(ssl=authority.client(), **more), bench)


@pytest.mark.connections(135)
async def test_drivers_with_old_tls(make_bench, authority):
    """TLS 1.1 is refused, and the next driver is served."""
    bench = await make_bench(fresh=True, configure=listener_with(authority))
    context = authority.client()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError, match="(?i)version|alert"):
        await Client.open(*bench.proxy.listen, 4, ssl=context)
    await bench.proxy.until_logged("(?i)neither TLS 1.2 nor 1.3|protocol version")
    await assert_alive(await bench.client(ssl=authority.client()), bench)


async def test_listeners_side_by_side(make_bench, authority, free_addresses):
    def configure(bench):
        cert, key = authority.certificate([bench.proxy.listen[0]])
        bench.secure_port = free_addresses.port(bench.proxy.listen[0])
        bench.sections["listener secure"] = {"address": bench.proxy.listen[0], "port": bench.secure_port,
                                             "tls_cert": cert,
                                             "tls_key": key}
    bench = await make_bench(fresh=True, configure=configure)
    await assert_alive(await bench.client(), bench)
    c = await Client.ready(bench.proxy.listen[0], bench.secure_port, 5, "lz4", ssl=authority.client())
    bench.clients.append(c)
    await round_trip(bench, c)


async def test_tls_on_both_sides_under_load(make_bench, authority):
    def configure(bench):
        clusters_with(authority)(bench)
        listener_with(authority)(bench)
    bench = await make_bench(fresh=True, configure=configure)
    clients = [await bench.client(*WAYS[i % len(WAYS)], ssl=authority.client()) for i in range(8)]
    streams = [(c, c.send_query(f"SELECT {i} FROM ks.t WHERE v = ?", values=[b"x" * (i * 997 % 40_000)]), i)
               for c in clients for i in range(60)]
    for c, stream, i in streams:
        assert (await c.answer(stream)).rows == [["origin", None, f"SELECT {i} FROM ks.t WHERE v = ?"]]
