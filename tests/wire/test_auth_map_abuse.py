"""plugins/auth_map and those who want in without a password, or want the proxy to be busy: none of it is given."""
import pytest

import behaviour
from cqlwire import Err, Op, requests
from helpers import WAY_IDS, WAYS, assert_alive, assert_error
from test_auth_map import MAP, authority, dumped, stand, with_tls

assert stand and authority  # fixtures

POOLED = {"proxy": {"backend_connections": "pooled", "pool_idle_timeout": "10ms"}}


async def test_another_plugin_decides_at_startup(stand, plugin_path):
    """So that this one hears of the log-in only when the password comes: it is compared nevertheless."""
    first = {"plugin first": {"file": plugin_path("logins"), "rule": "startup done", "order": -1}}
    bench = await stand.start(sections=first)
    await stand.refused("carol", "carol-secret")
    await stand.refused("app", "wrong")
    await assert_alive(await stand.let_in(), bench)
    assert stand.users(bench.origin) == {"o_app"} and stand.users(bench.target) == {"t_app"}


@pytest.mark.parametrize("backend", ["dedicated", "pooled"])
async def test_an_identity_to_act_as_is_no_way_round_the_password(stand, backend):
    """
    SASL PLAIN has a field for it, which nothing is made of (RFC 4616: authzid). With it, too, the cluster that compares
    the password comes first, and nobody gets in while that does not answer.
    """
    sections = {"proxy": POOLED["proxy"] | {"backend_connections": backend, "handshake_timeout": "2500ms"}}
    bench = await stand.start("[user carol]\norigin_user = o_app\norigin_password = o-secret-1961\ntarget = client\n",
                              sections=sections)
    hold = behaviour.Hold()
    bench.target.on(lambda got: got.opcode == Op.AUTH_RESPONSE and b"carol" in got.request.token, hold)
    c = await bench.open()
    assert (await c.startup()).opcode == Op.AUTHENTICATE
    answer = await c.auth(b"boss\0carol\0wrong")
    assert answer.opcode == Op.ERROR, answer
    hold.release()
    c = await bench.open()
    assert (await c.startup()).opcode == Op.AUTHENTICATE
    assert_error(await c.auth(b"boss\0carol\0wrong"), Err.BAD_CREDENTIALS)
    c = await bench.open()
    assert (await c.startup()).opcode == Op.AUTHENTICATE
    assert (await c.auth(b"boss\0carol\0carol-secret")).opcode == Op.AUTH_SUCCESS
    await assert_alive(c, bench)


@pytest.mark.parametrize("backend", ["dedicated", "pooled"])
async def test_a_node_that_demands_no_log_in_any_more(stand, backend):
    """The cluster does as far as is known; what this node answers says nothing about the password."""
    bench = await stand.start("[user carol]\norigin_user = o_app\norigin_password = o-secret-1961\ntarget = client\n",
                              sections={"proxy": POOLED["proxy"] | {"backend_connections": backend}})
    rule = bench.target.on(Op.STARTUP, behaviour.answer(Op.READY))
    _, answer = await stand.log_in("carol", "wrong")
    assert answer.opcode == Op.ERROR, answer
    bench.target.rules.remove(rule)
    await assert_alive(await stand.let_in("carol", "carol-secret"), bench)


async def test_names_and_passwords_that_are_too_long(stand):
    """A frame before log-in may have 128 KiB; no pattern is compared with so much, and crypt(3) takes 511 bytes."""
    bench = await stand.start(MAP.replace("[user app]", "[user a*]"), options={"lockout_failures": 0})
    await stand.let_in("a" * 1024)
    await stand.refused("a" * 1025, "app-secret-1963")
    await stand.refused("a" * 65536, "app-secret-1963")
    await stand.refused("app", "app-secret-1963" + "x" * 65536)
    assert await stand.logins("unknown_user") == 2 and await stand.logins("wrong_password") == 1
    await assert_alive(await stand.let_in(), bench)


@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
@pytest.mark.parametrize("tls", [False, True], ids=["clear", "tls"])
async def test_passwords_leave_nothing_where_they_came_in(stand, authority, version, compression, tls):
    """Compressed or in segments, one behind the other so that they wait, right, wrong or too long."""
    bench = await stand.start(sections={"proxy": {"workers": 1}}, configure=with_tls(authority) if tls else None)
    words = ["app-secret-1963", "nonsense-1964", "nonsense-1965", "nonsense-1966" + "x" * 70_000]
    c = await bench.open(version, ssl=authority.client(own=authority.certificate()) if tls else None)
    assert (await c.startup(compression)).opcode == Op.AUTHENTICATE
    streams = [c.send(Op.AUTH_RESPONSE, requests.auth_response(requests.plain_token("app", word)))
               for word in words[1:] + words[:1]]
    for stream in streams[:3]:
        assert_error(await c.answer(stream), Err.BAD_CREDENTIALS)
    assert (await c.answer(streams[3])).opcode == Op.AUTH_SUCCESS
    await assert_alive(c, bench)
    assert not dumped(bench.proxy.process.pid, {word[:13] for word in words})
