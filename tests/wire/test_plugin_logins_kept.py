"""
What a plugin has set for a client is used for all that is opened for it later; and what plugins are told of how a client
has come: by a listener, through a load balancer, with a certificate.
"""
import socket
import subprocess

import pytest

from certificates import Authority
from cqlwire import Client, Err, Kind, Op
from helpers import assert_error
from plugin_logins import SET_BOTH, auth, dialogue, logged_in, plugged, said, served, until_said

assert plugged  # a fixture

BIG = b"b" * 1_200_000
ROLES_ONLY = {"role-o": "origin-word", "role-t": "target-word"}


async def ready(bench, user="ann", **how):
    c = await dialogue(bench, **how)
    assert (await c.login(user, "x")).opcode == Op.AUTH_SUCCESS
    return c


# ---- later connections ----

@pytest.mark.dedicated
@pytest.mark.parametrize("step", ["startup", "token"])
async def test_connections_for_large_requests(plugged, step):
    bench = await plugged([f"{step} done {SET_BOTH}"], origin=auth(), target=auth())
    if step == "token":
        c = await ready(bench)
    else:
        c = await bench.open()
        assert (await c.startup()).opcode == Op.READY
    assert (await c.query("INSERT INTO ks.t (k, v) VALUES (?, ?)", values=[b"k", BIG])).kind == Kind.VOID
    assert logged_in(bench.origin) == ["role-o"] * 2 and logged_in(bench.target) == ["role-t"] * 2


@pytest.mark.parametrize("version,compression", [(4, None), (5, "lz4")])
async def test_mirrors(plugged, version, compression):
    bench = await plugged([f"token done {SET_BOTH}"], origin=auth(), target=auth(),
                          sections={"routing": {"read_mode": "dual_async_on_secondary"}})
    c, mirror = await bench.mirrored_client(version=version, compression=compression, user="ann", password="x")
    await bench.target.until(lambda: mirror.authenticated, "the mirror's log-in")
    assert mirror.user == "role-t"
    await served(bench, c)


async def test_shared_connections_are_shared_by_what_was_set(plugged):
    """Two users that are one role share its connections; a third one has others, also when it names the same user."""
    bench = await plugged([f"token:ann done {SET_BOTH}", f"token:bob done {SET_BOTH}",
                           "token:carl done origin=role-o/origin-word target=ann/ann-secret"],
                          sections={"proxy": {"workers": 1}}, origin=auth(), target=auth())
    for user in ("ann", "bob", "carl"):
        await served(bench, await ready(bench, user))
    if bench.is_pooled:
        assert logged_in(bench.origin) == ["role-o"] and logged_in(bench.target) == ["ann", "role-t"]
    else:
        assert logged_in(bench.origin) == ["role-o"] * 3 and logged_in(bench.target) == ["ann", "role-t", "role-t"]
    await until_said(bench, "login ok .* said=bob is=bob ")


async def test_a_wrong_role_does_not_come_in_on_connections_of_the_right_one(plugged):
    """Same user, another password: not the same connections."""
    bench = await plugged([f"token:ann done {SET_BOTH}", "token:bob done origin=role-o/wrong target=role-t/target-word"],
                          sections={"proxy": {"workers": 1}}, origin=auth(ROLES_ONLY), target=auth(ROLES_ONLY))
    await served(bench, await ready(bench))
    c = await dialogue(bench)
    assert_error(await c.login("bob", "x"), Err.BAD_CREDENTIALS, "origin has refused the log-in that was set")


async def test_the_clients_own_set_by_a_plugin_is_checked_by_the_cluster(plugged):
    """What is byte for byte what the client gave is the client's to prove: its refusal names the client's user."""
    bench = await plugged(["token done target=ann/wrong"], target=auth())
    c = await dialogue(bench)
    assert_error(await c.login("ann", "wrong"), Err.BAD_CREDENTIALS, "Provided username ann")
    assert_error(await c.login("bob", "wrong"), Err.BAD_CREDENTIALS, "target has refused the log-in that was set")


# ---- how it has come ----

async def test_the_address_is_that_of_the_proxy_header(plugged):
    bench = await plugged([], sections={"listener": {"proxy_protocol": "v1", "proxy_protocol_from": "127.0.0.0/8"}})
    for address, shown in (("10.1.2.3", "10.1.2.3:40001"), ("2001:db8::7", "2001:db8::7:40001")):
        family, to = ("TCP6", "::1") if ":" in address else ("TCP4", "192.0.2.7")
        c = await bench.client(first=f"PROXY {family} {address} {to} 40001 9042\r\n".encode())
        await served(bench, c)
        await until_said(bench, f"connect {shown} tls=0 ")
    assert len([line for line in said(bench) if line.startswith("connect")]) == 2


async def test_the_name_of_the_listener(plugged, free_addresses):
    def second(bench):
        bench.other = (bench.proxy.listen[0], free_addresses.port(bench.proxy.listen[0]))
        bench.sections["listener other"] = {"address": bench.other[0], "port": bench.other[1]}
    bench = await plugged([], fresh=True, configure=second)
    c = await Client.open(*bench.other, 4)
    bench.clients.append(c)
    assert (await c.startup()).opcode == Op.READY
    assert " listener=other " in said(bench)[0]


def certificate(authority, subject):
    base = authority.folder / f"own{len(list(authority.folder.iterdir()))}"
    key, request, cert = (base.with_suffix(s) for s in (".key", ".csr", ".pem"))
    for command in (["req", "-new", "-utf8", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                     "-subj", subject, "-keyout", key, "-out", request],
                    ["x509", "-req", "-in", request, "-CA", authority.ca, "-CAkey", authority.key, "-CAcreateserial",
                     "-days", "1", "-out", cert]):
        subprocess.run(["openssl", *map(str, command)], check=True, capture_output=True, timeout=30)
    return cert, key


def listener(authority, required):
    cert, key = authority.certificate(["127.0.0.1"])
    section = {"tls_cert": str(cert), "tls_key": str(key)}
    return section | ({"tls_ca": str(authority.ca), "tls_require_client_cert": "true"} if required else {})


@pytest.mark.parametrize("subject,shown", [
    ("/O=Example/OU=billing/CN=app", "CN=app,OU=billing,O=Example"),
    ("/O=A, B\\+C/CN=x\\/y \"q\"", r'CN=x/y \"q\",O=A\, B\+C'),
    ("/CN=J\u00fcrgen", r"CN=J\C3\BCrgen")])
async def test_the_subject_of_a_certificate(plugged, tmp_path, subject, shown):
    """As RFC 2253 writes it, and as `openssl x509 -subject -nameopt RFC2253` does."""
    authority = Authority(tmp_path / "ca", "test CA")
    own = certificate(authority, subject)
    tool = subprocess.run(["openssl", "x509", "-in", own[0], "-noout", "-subject", "-nameopt", "RFC2253"],
                          check=True, capture_output=True, text=True, timeout=30).stdout.strip()
    assert tool == f"subject={shown}"
    bench = await plugged([], fresh=True, sections={"listener": listener(authority, True)})
    c = await bench.client(ssl=authority.client(own=own))
    await served(bench, c)
    assert f" tls=1 subject={shown} listener=" in said(bench)[0]
    await c.close()
    await until_said(bench, "gone user= tls=1 slot=kept")


async def test_a_resumed_session_has_the_subject_too(plugged, tmp_path):
    """The second handshake shows no certificate: what the first one has shown is in the ticket."""
    authority = Authority(tmp_path / "ca", "test CA")
    context = authority.client(own=certificate(authority, "/CN=app"))
    bench = await plugged([], fresh=True, sections={"listener": listener(authority, True)})
    address, port = bench.proxy.listen
    session = None
    for _ in range(2):
        with socket.create_connection((address, port), timeout=8) as raw:
            with context.wrap_socket(raw, session=session) as tls:
                tls.sendall(bytes([4, 0, 0, 1, 5, 0, 0, 0, 0]))
                assert tls.recv(9)[4] == Op.SUPPORTED
                tls.settimeout(8)
                resumed, session = tls.session_reused, tls.session
    assert resumed
    lines = await until_said(bench, "connect ", count=2)
    assert all(" tls=1 subject=CN=app listener=" in line for line in lines)


async def test_a_certificate_that_nobody_has_asked_for_is_nobodys(plugged, tmp_path):
    authority = Authority(tmp_path / "ca", "test CA")
    bench = await plugged([], fresh=True, sections={"listener": listener(authority, False)})
    c = await bench.client(ssl=authority.client(own=certificate(authority, "/CN=app")))
    await served(bench, c)
    assert " tls=1 subject= listener=" in said(bench)[0]
