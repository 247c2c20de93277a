"""
Plugins and clients: coming, logging in and going, by the fixture `logins`, which says what it is called with and does what
its rules say. All in the mode of connections that the suite runs in.
"""
import pytest

import behaviour
from behaviour import Hold
from cqlwire import Err, Op, requests
from cqlwire.requests import plain_token
from fakecluster import DSE_AUTHENTICATOR, PASSWORD_AUTHENTICATOR
from helpers import WAY_IDS, WAYS, assert_error
from plugin_logins import (SET_BOTH, auth, dialogue, logged_in, no_secret_in_the_log, plugged, said, served, tokens,
                           until_said)

assert plugged  # a fixture

# ---- coming and going ----

async def test_a_client_comes_and_goes(plugged):
    bench = await plugged([], sections={"listener": {}})
    c = await bench.client(options={"DRIVER_NAME": "a driver"})
    await served(bench, c)
    peer = c.transport.get_extra_info("sockname")
    assert said(bench) == [f"connect {peer[0]}:{peer[1]} tls=0 subject= listener= user= version=0",
                           "startup user= password=0 wants=00 driver=a driver version=4",
                           "login ok by=- code=0x0 said= is= time=sane error="]
    await c.close()
    await until_said(bench, "gone user= tls=0 slot=kept")
    assert len(said(bench)) == 4


async def test_without_on_connect_all_that_come_are_told_to_have_gone(plugged):
    bench = await plugged([], flags=("-DNO_CONNECT", "-DNO_CREDENTIALS"))
    c = await bench.open()
    await c.options()
    await c.close()
    assert await until_said(bench, "") == ["gone user= tls=0 slot=empty"]


@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_a_denied_client_is_told_why(plugged, version, compression):
    """The first frame is answered, in its version and on its stream; then the connection ends."""
    bench = await plugged(["connect deny code=0x2100 text=not_from_here"], [])
    before = (await bench.proxy.metrics())['zdm_cqlferry_clients_refused_total{reason="plugin"}']
    for opcode, body in ((Op.OPTIONS, b""), (Op.STARTUP, requests.startup({}))):
        c = await bench.open(version)
        assert_error(await c.ask(opcode, body), Err.UNAUTHORIZED, "not from here")
        assert await c.closed() == []
    assert not any(cluster.requests(Op.STARTUP) for cluster in bench.clusters)
    await until_said(bench, "gone", count=2)
    assert [line.split()[0] for line in said(bench)] == ["connect", "gone"] * 2
    assert said(bench, "p1") == []  # it was not asked, so it is not told
    metrics = await bench.proxy.metrics()
    assert metrics['zdm_cqlferry_clients_refused_total{reason="plugin"}'] == before + 2


async def test_a_denied_client_that_speaks_another_version(plugged):
    """Drivers look for a version first."""
    bench = await plugged(["connect deny code=0x0100 text=no"])
    c = await bench.open(2)
    c.send(Op.OPTIONS)
    assert_error(await c.next_answer(), Err.PROTOCOL_ERROR, "Invalid or unsupported protocol version (2)")
    d = await bench.open(4)
    assert_error(await d.ask(Op.OPTIONS), Err.BAD_CREDENTIALS, "no")


async def test_a_denied_client_that_says_nothing(plugged):
    bench = await plugged(["connect deny"])
    c = await bench.open()
    assert await c.closed() == []
    await until_said(bench, "gone")


@pytest.mark.parametrize("on_error", ["deny", "pass"])
async def test_an_error_about_a_client(plugged, on_error):
    bench = await plugged(["connect error"], [], plugin={"on_error": on_error})
    c = await bench.open()
    if on_error == "deny":
        assert_error(await c.ask(Op.OPTIONS), Err.UNAUTHORIZED, "plugin p0")
        assert await c.closed() == []
        assert said(bench, "p1") == []
    else:
        assert (await c.startup()).opcode == Op.READY
        await until_said(bench, "login ok", "p1")
    assert "told to fail" in bench.proxy.log[bench.mark:]


# ---- log-ins without a dialogue ----

@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_decided_at_startup(plugged, version, compression):
    """READY at once; the clusters get what was set, and the client is who it was said to be."""
    bench = await plugged([f"startup done name=cn-ann {SET_BOTH}"], origin=auth(), target=auth())
    c = await bench.open(version)
    assert (await c.startup(compression)).opcode == Op.READY
    await served(bench, c)
    assert (logged_in(bench.origin), logged_in(bench.target)) == (["role-o"], ["role-t"])
    assert said(bench)[1:] == [f"startup user= password=0 wants=11 driver= version={version}",
                               "login ok by=- code=0x0 said= is=cn-ann time=sane error="]
    await c.close()
    await until_said(bench, "gone user=cn-ann tls=0 slot=kept")
    no_secret_in_the_log(bench)


async def test_decided_at_startup_for_one_cluster_of_two(plugged):
    """The other one is open, so the dialogue follows; what was set stays in force."""
    bench = await plugged(["startup done name=cn origin=role-o/origin-word"], origin=auth(), target=auth())
    c = await dialogue(bench)
    assert (await c.login("ann", "ann-secret")).opcode == Op.AUTH_SUCCESS
    await served(bench, c)
    assert (logged_in(bench.origin), logged_in(bench.target)) == (["role-o"], ["ann"])
    await until_said(bench, "login ok .* said=ann is=cn ")


async def test_decided_at_startup_where_the_rest_is_configured(plugged):
    sections = {"target": {"credentials": "configured"}}
    bench = await plugged(["startup done origin=role-o/origin-word"], sections=sections, origin=auth(), target=auth())
    c = await bench.open()
    assert (await c.startup()).opcode == Op.READY
    await served(bench, c)
    assert (logged_in(bench.origin), logged_in(bench.target)) == (["role-o"], ["proxy"])


async def test_what_is_set_without_done_is_nothing(plugged):
    bench = await plugged([f"startup next name=cn {SET_BOTH}", f"token next name=cn {SET_BOTH}"], [],
                          origin=auth({}), target=auth())
    c = await dialogue(bench)
    assert (await c.login("ann", "ann-secret")).opcode == Op.AUTH_SUCCESS
    await served(bench, c)
    assert (logged_in(bench.origin), logged_in(bench.target)) == (["proxy"], ["ann"])
    await until_said(bench, "login ok .* said=ann is=ann ")


@pytest.mark.parametrize("code,expected", [("0x2100", Err.UNAUTHORIZED), ("0x0100", Err.BAD_CREDENTIALS)])
async def test_denied_at_startup(plugged, code, expected):
    """There is nothing that the driver could try again: the end."""
    bench = await plugged([f"startup deny code={code} text=not_you"], target=auth())
    c = await bench.open(5)
    assert_error(await c.startup(), expected, "not you")
    assert await c.closed() == []
    await until_said(bench, "gone")
    assert said(bench)[2:] == [f"login denied by=- code={code.replace('0x0', '0x')} said= is= time=sane error=not you",
                               "gone user= tls=0 slot=kept"]


# ---- with user and password ----

@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_credentials_for_both_clusters(plugged, version, compression):
    """Neither cluster knows the client's user, and neither gets its password."""
    bench = await plugged([f"token:carl done {SET_BOTH}"], origin=auth(), target=auth())
    c = await dialogue(bench, version, compression)
    assert c.authenticator == PASSWORD_AUTHENTICATOR
    assert (await c.login("carl", "carl-secret")).opcode == Op.AUTH_SUCCESS
    await served(bench, c)
    assert (logged_in(bench.origin), logged_in(bench.target)) == (["role-o"], ["role-t"])
    assert not [t for cluster in bench.clusters for t in tokens(cluster) if b"carl" in t]
    assert said(bench)[2] == f"token user=carl password=11 wants=11 driver= version={version}"
    await until_said(bench, "login ok by=- code=0x0 said=carl is=carl ")
    assert "carl-secret" not in bench.proxy.log[bench.mark:]
    no_secret_in_the_log(bench)


@pytest.mark.parametrize("where", ["origin", "target"])
async def test_credentials_for_one_cluster(plugged, where):
    """The other gets what it would have got anyway: origin the configured ones, target the client's."""
    role = {"origin": "role-o/origin-word", "target": "role-t/target-word"}[where]
    bench = await plugged([f"token done {where}={role}"], origin=auth(), target=auth())
    c = await dialogue(bench)
    assert (await c.login("ann", "ann-secret")).opcode == Op.AUTH_SUCCESS
    await served(bench, c)
    expected = (["role-o"], ["ann"]) if where == "origin" else (["proxy"], ["role-t"])
    assert (logged_in(bench.origin), logged_in(bench.target)) == expected


async def test_a_cluster_that_wants_no_log_in_gets_none(plugged):
    bench = await plugged([f"token done {SET_BOTH}"], target=auth())
    c = await dialogue(bench)
    assert (await c.login("ann", "whatever")).opcode == Op.AUTH_SUCCESS
    await served(bench, c)
    assert not tokens(bench.origin) and logged_in(bench.target) == ["role-t"]


async def test_the_driver_may_try_again(plugged):
    """What was set for one attempt is forgotten with the next."""
    bench = await plugged(["token:eve deny code=0x0100 text=no_such_user", f"token:ann done {SET_BOTH}"],
                          origin=auth(), target=auth())
    c = await dialogue(bench, 5, "lz4")
    for _ in range(2):
        assert_error(await c.login("eve", "eve-secret"), Err.BAD_CREDENTIALS, "no such user")
    assert not any(tokens(cluster) for cluster in bench.clusters)
    assert (await c.login("ann", "any")).opcode == Op.AUTH_SUCCESS
    await served(bench, c)
    assert [line.split()[1] for line in said(bench) if line.startswith("login ")] == ["denied", "denied", "ok"]
    assert "login denied by=- code=0x100 said=eve is= time=sane error=no such user" in said(bench)
    assert "eve-secret" not in bench.proxy.log[bench.mark:]


async def test_what_was_set_for_the_first_try_is_not_for_the_second(plugged):
    bench = await plugged(["token:ann done name=anna target=role-t/wrong"], target=auth())
    c = await dialogue(bench)
    assert_error(await c.login("ann", "x"), Err.BAD_CREDENTIALS, "target has refused")
    assert (await c.login("bob", "bob-secret")).opcode == Op.AUTH_SUCCESS
    await served(bench, c)
    assert logged_in(bench.target) == ["bob"]
    await until_said(bench, "login ok .* said=bob is=bob ")


async def test_another_denial_is_the_end(plugged):
    bench = await plugged(["token deny code=0x1001 text=too_many"], target=auth())
    c = await dialogue(bench)
    assert_error(await c.login("ann", "ann-secret"), Err.OVERLOADED, "too many")
    assert await c.closed() == []
    assert not tokens(bench.target)
    await until_said(bench, "login denied by=- code=0x1001 said=ann ")


async def test_a_denial_without_words(plugged):
    bench = await plugged(["token deny"], target=auth())
    c = await dialogue(bench)
    assert_error(await c.login("ann", "ann-secret"), Err.BAD_CREDENTIALS, "plugin p0")


async def test_what_was_set_is_refused(plugged):
    """The client may not read the name of the role; the log has it. The deciding cluster's refusal may be tried again."""
    bench = await plugged(["token:ann done origin=role-o/wrong target=role-t/target-word",
                           f"token:bob done {SET_BOTH}"], origin=auth(), target=auth())
    c = await dialogue(bench)
    answer = await c.login("ann", "ann-secret")
    assert_error(answer, Err.BAD_CREDENTIALS, "origin has refused the log-in that was set for this client")
    assert "role-o" not in answer.text
    assert "Provided username role-o" in bench.proxy.log[bench.mark:]
    await until_said(bench, "login refused by=origin code=0x100 said=ann ")
    assert (await c.login("bob", "x")).opcode == Op.AUTH_SUCCESS
    await served(bench, c)


async def test_what_was_set_is_refused_by_the_other_cluster(plugged):
    bench = await plugged(["token done origin=role-o/origin-word target=role-t/wrong"], origin=auth(), target=auth())
    c = await dialogue(bench)
    answer = await c.login("ann", "ann-secret")
    assert_error(answer, Err.BAD_CREDENTIALS, "target has refused the log-in that was set for this client")
    assert "role-t" not in answer.text
    assert await c.closed() == []
    assert (await until_said(bench, "login")) == [
        "login refused by=target code=0x100 said=ann is= time=sane error=target has refused the log-in that was set "
        "for this client"]


async def test_what_was_set_at_startup_is_refused(plugged):
    """There is no dialogue in which the driver could try again."""
    bench = await plugged(["startup done origin=role-o/wrong target=role-t/target-word"], origin=auth(), target=auth())
    c = await bench.open()
    assert_error(await c.startup(), Err.BAD_CREDENTIALS, "origin has refused")
    assert await c.closed() == []
    await until_said(bench, "login refused by=origin code=0x100 said= ")


@pytest.mark.parametrize("which", ["set", "name"])
async def test_a_zero_byte_is_an_error(plugged, which):
    bench = await plugged(["token done target=role-t/zero"], target=auth())
    c = await dialogue(bench)
    assert_error(await c.login("ann", "ann-secret"), Err.BAD_CREDENTIALS, "plugin p0")
    assert not tokens(bench.target)
    assert "a zero byte" in bench.proxy.log[bench.mark:]


@pytest.mark.parametrize("on_error", ["deny", "pass"])
async def test_an_error_about_a_log_in(plugged, on_error):
    """on_error = pass goes on as if the plugin had no opinion, with nothing that it has set."""
    bench = await plugged([f"token error {SET_BOTH}"], plugin={"on_error": on_error}, target=auth())
    c = await dialogue(bench)
    answer = await c.login("ann", "ann-secret")
    if on_error == "deny":
        assert_error(answer, Err.BAD_CREDENTIALS, "plugin p0")
    else:
        assert answer.opcode == Op.AUTH_SUCCESS
        assert tokens(bench.target)[-1] == plain_token("ann", "ann-secret")
    assert "told to fail" in bench.proxy.log[bench.mark:]


# ---- the proxy's own AUTHENTICATE ----

async def test_what_the_log_says_at_start(plugged):
    """Who checks passwords is not known where plugins may."""
    sections = {name: {"credentials": "configured"} for name in ("origin", "target")}
    bench = await plugged([], fresh=True, sections=sections, origin=auth(), target=auth())
    assert "origin gets the configured user proxy for every client for which no plugin sets another" in bench.proxy.messages
    assert "no client's password is checked" not in bench.proxy.messages


@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_asked_where_no_cluster_wants_a_log_in(plugged, version, compression):
    bench = await plugged(["startup next ask=yes", "token:eve deny code=0x0100 text=wrong",
                           "token:ann done name=anna"])
    c = await dialogue(bench, version, compression)
    assert c.authenticator == PASSWORD_AUTHENTICATOR
    assert_error(await c.login("eve", "x"), Err.BAD_CREDENTIALS, "wrong")
    assert (await c.login("ann", "y")).opcode == Op.AUTH_SUCCESS
    await served(bench, c)
    assert not any(tokens(cluster) for cluster in bench.clusters)
    await until_said(bench, "login ok by=- code=0x0 said=ann is=anna ")


async def test_a_password_that_plugins_let_pass(plugged):
    bench = await plugged(["startup next ask=yes"], [])
    c = await dialogue(bench)
    assert (await c.login("bob", "y")).opcode == Op.AUTH_SUCCESS
    await served(bench, c)
    await until_said(bench, "login ok by=- code=0x0 said=bob is=bob ", "p1")


async def test_a_token_without_a_password_where_only_plugins_ask(plugged):
    bench = await plugged(["startup next ask=yes"])
    c = await dialogue(bench)
    assert_error(await c.auth(b"GSSAPI\xff\xfe"), Err.BAD_CREDENTIALS, "SASL PLAIN")
    assert_error(await c.auth(None), Err.BAD_CREDENTIALS, "SASL PLAIN")
    assert (await c.login("bob", "y")).opcode == Op.AUTH_SUCCESS


@pytest.mark.parametrize("wanted", [False, True])
async def test_a_user_without_a_name(plugged, wanted):
    """A plugin that takes it for the first step, and has no opinion, lets nobody in."""
    sections = {name: {"credentials": "configured"} for name in ("origin", "target")}
    bench = await plugged(["startup next ask=yes"], sections=sections, **({"target": auth()} if wanted else {}))
    c = await dialogue(bench)
    assert_error(await c.login("", "x"), Err.BAD_CREDENTIALS, "names no user")
    assert (await until_said(bench, "token"))[0].startswith("token user= password=1 ")
    await until_said(bench, "login failed by=- code=0x100 said= ")
    assert not tokens(bench.target)


async def test_who_asks_first_is_heard(plugged):
    """The one has asked for a dialogue, the next one has decided: the driver is asked."""
    bench = await plugged(["startup next ask=yes"], [f"startup done {SET_BOTH}", f"token done {SET_BOTH}"],
                          origin=auth(), target=auth())
    c = await dialogue(bench)
    assert (await c.login("ann", "y")).opcode == Op.AUTH_SUCCESS
    await served(bench, c)
    assert (logged_in(bench.origin), logged_in(bench.target)) == (["role-o"], ["role-t"])


# ---- other mechanisms ----

@pytest.mark.parametrize("version", [4, 5])
async def test_dse_names_the_mechanism_first(plugged, version):
    """The proxy plays that step itself, at both ends: the plugin is asked once the password has come."""
    dse = auth(authenticator=DSE_AUTHENTICATOR, two_step=True)
    bench = await plugged([f"token:ann done {SET_BOTH}"], origin=dse, target=auth())
    c = await dialogue(bench, version)
    assert c.authenticator == DSE_AUTHENTICATOR
    answer = await c.auth(b"PLAIN")
    assert answer.opcode == Op.AUTH_CHALLENGE
    assert (await c.login("ann", "x")).opcode == Op.AUTH_SUCCESS
    await served(bench, c)
    assert (logged_in(bench.origin), logged_in(bench.target)) == (["role-o"], ["role-t"])
    assert len([line for line in said(bench) if line.startswith("token")]) == 1


async def test_dse_with_the_clients_own(plugged):
    dse = auth(authenticator=DSE_AUTHENTICATOR, two_step=True)
    bench = await plugged([], target=dse)
    c = await dialogue(bench)
    assert (await c.auth(b"PLAIN")).opcode == Op.AUTH_CHALLENGE
    assert_error(await c.login("ann", "wrong"), Err.BAD_CREDENTIALS, "Provided username ann")
    assert (await c.auth(b"PLAIN")).opcode == Op.AUTH_CHALLENGE
    assert (await c.login("ann", "ann-secret")).opcode == Op.AUTH_SUCCESS
    await served(bench, c)
    assert [line.split()[1] for line in said(bench) if line.startswith("login ")] == ["refused", "ok"]


async def test_another_mechanism(plugged):
    """The plugin sees neither user nor password; what it lets pass goes to the cluster as it is."""
    bench = await plugged([], target=auth(authenticator="com.example.auth.KerberosAuthenticator"))
    bench.target.on(Op.AUTH_RESPONSE, behaviour.error(Err.BAD_CREDENTIALS, "no ticket"))
    c = await dialogue(bench)
    answer = await c.auth(b"\x60\x82\x00\xff\x00ticket")
    assert_error(answer, Err.BAD_CREDENTIALS, "no ticket")
    assert tokens(bench.target)[-1] == b"\x60\x82\x00\xff\x00ticket"
    assert (await until_said(bench, "token"))[0].startswith("token user= password=0 wants=01 ")
    await until_said(bench, "login refused by=target code=0x100 said= ")


async def test_another_mechanism_may_be_denied(plugged):
    bench = await plugged(["token deny code=0x0100 text=only_passwords"], target=auth())
    c = await dialogue(bench)
    assert_error(await c.auth(b"\x60\x82\x00\xff\x00ticket"), Err.BAD_CREDENTIALS, "only passwords")
    assert not tokens(bench.target)


# ---- what on_login is told ----

async def test_a_wrong_password(plugged):
    bench = await plugged([], target=auth())
    c = await dialogue(bench)
    assert_error(await c.login("ann", "wrong"), Err.BAD_CREDENTIALS)
    assert (await c.login("ann", "ann-secret")).opcode == Op.AUTH_SUCCESS
    first, second = await until_said(bench, "login", count=2)
    assert first.startswith("login refused by=target code=0x100 said=ann is= time=sane error=")
    assert "Provided username ann" in first
    assert second == "login ok by=- code=0x0 said=ann is=ann time=sane error="


async def test_a_limit_counts_by_the_plugins_name(plugged):
    bench = await plugged([f"token done name=team {SET_BOTH}"], sections={"proxy": {"max_connections_per_user": 1}},
                          origin=auth(), target=auth())
    first = await dialogue(bench)
    assert (await first.login("ann", "x")).opcode == Op.AUTH_SUCCESS
    second = await dialogue(bench)
    assert_error(await second.login("bob", "x"), Err.OVERLOADED, "of user team are open")
    assert await second.closed() == []
    await until_said(bench, r"login failed by=- code=0x1001 said=bob is= time=sane error=max_connections_per_user \(1\)")
    await served(bench, first)


async def test_a_cluster_that_cannot_be_asked(plugged):
    bench = await plugged([], fresh=True, target=auth())
    c = await dialogue(bench)
    bench.target.on(Op.AUTH_RESPONSE, behaviour.close())
    if bench.is_zdm:  # as ZDM Proxy ends it
        c.send(Op.AUTH_RESPONSE, requests.auth_response(plain_token("ann", "ann-secret")))
        assert await c.closed() == []
    else:
        assert_error(await c.login("ann", "ann-secret"), Err.SERVER_ERROR, "cannot connect to target")
    await until_said(bench, "login failed by=target code=0x0 said=ann ")


async def test_a_cluster_that_does_not_answer(plugged):
    bench = await plugged([], sections={"proxy": {"handshake_timeout": "300ms"}}, target=auth())
    hold = Hold()
    bench.target.on(Op.AUTH_RESPONSE, hold)
    c = await dialogue(bench)
    assert_error(await c.login("ann", "ann-secret"), Err.SERVER_ERROR, "has not finished the log-in within 300 ms")
    assert len(await until_said(bench, "login failed by=target code=0x0 said=ann ")) == 1
    hold.release()


async def test_a_driver_that_does_not_go_on(plugged):
    """No frame waits for an answer, so nothing is sent; the plugin is told."""
    bench = await plugged([], sections={"proxy": {"handshake_timeout": "300ms"}}, target=auth())
    c = await dialogue(bench)
    assert await c.closed() == []
    await until_said(bench, "login failed by=- code=0x0 said= is= time=sane error=not ready within 300 ms")


async def test_a_driver_that_goes_away(plugged):
    """Nobody has refused it."""
    bench = await plugged([], target=auth())
    c = await dialogue(bench)
    await c.close()
    await until_said(bench, "gone")
    assert not [line for line in said(bench) if line.startswith("login")]
