"""STARTUP and authentication: whose credentials go where, what the driver sees, when it is ready."""
import pytest

import behaviour
from behaviour import Hold
from cqlwire import Err, FrameFlag, Op, requests
from fakecluster import Auth, DSE_AUTHENTICATOR, PASSWORD_AUTHENTICATOR
from helpers import assert_alive, assert_error, client_of_both, until_served

PROXY = ("proxy", "proxy-password")  # what the bench configures for both clusters
CUSTOM = "com.example.auth.LdapAuthenticator"


def auth(user, password, **more):
    """A cluster that knows the proxy's user and one of its own."""
    return {"auth": Auth({PROXY[0]: PROXY[1], user: password}, **more)}


ORIGIN_USER = ("origin-user", "origin-secret")
TARGET_USER = ("target-user", "target-secret")
BOTH = dict(origin=auth(*ORIGIN_USER), target=auth(*TARGET_USER))
FORWARD = {"routing": {"forward_client_credentials_to_origin": "true"}}


def users(bench):
    """Who has logged in on the client's connections."""
    return tuple(cluster.connections()[-1].user if cluster.connections() else None for cluster in bench.clusters)


async def log_in(bench, credentials, version=4, compression=None):
    c = await bench.open(version)
    answer = await c.startup(compression)
    if answer.opcode == Op.AUTHENTICATE:
        answer = await c.login(*credentials)
    return c, answer


@pytest.mark.connections(79)
@pytest.mark.checklist(44, 45, 52)
@pytest.mark.parametrize("version,compression", [(3, None), (4, "lz4"), (5, None), (5, "lz4")])
async def test_no_authentication_anywhere(bench, version, compression):
    options = {"DRIVER_NAME": "wire test", "DRIVER_VERSION": "1.2.3", "APPLICATION_NAME": "\u00fc",
               "CQL_VERSION": "3.4.5"}
    c = await bench.open(version)
    assert (await c.startup(compression, options)).opcode == Op.READY
    for cluster in bench.clusters:
        seen = cluster.requests()
        assert [r.opcode for r in seen] == [Op.STARTUP]
        sent = dict(seen[0].request.options)
        if bench.is_pooled:  # the proxy's own
            assert sent["DRIVER_NAME"] == "cqlferry" and "APPLICATION_NAME" not in sent
            assert sent.get("COMPRESSION") == compression
        else:
            assert sent == options | ({"COMPRESSION": compression} if compression else {})


@pytest.mark.connections(88)
@pytest.mark.checklist(44)
@pytest.mark.parametrize("slow", ["origin", "target"])
async def test_ready_comes_when_both_are(bench, slow):
    cluster = getattr(bench, slow)
    other = bench.target if cluster is bench.origin else bench.origin
    hold = Hold()
    cluster.on(Op.STARTUP, hold)
    c = await bench.open()
    stream = c.send(Op.STARTUP, requests.startup())
    await hold.arrived()
    await other.until_received(1, Op.STARTUP)
    bystander = await bench.open()
    assert (await bystander.options()).opcode == Op.SUPPORTED  # a round trip later ...
    assert not c.received                                      # ... still nothing
    hold.release()
    assert (await c.answer(stream)).opcode == Op.READY


async def test_nothing_is_opened_before_startup(bench):
    counts = [cluster.connection_count for cluster in bench.clusters]
    c = await bench.open()
    await c.options()
    assert [cluster.connection_count for cluster in bench.clusters] == counts
    await c.startup()
    assert [cluster.connection_count for cluster in bench.clusters] == [n + 1 for n in counts]


@pytest.mark.connections(80)
@pytest.mark.checklist(46)
@pytest.mark.parametrize("version,compression", [(3, None), (4, "lz4"), (5, None), (5, "lz4")])
async def test_both_demand_a_login(make_bench, version, compression):
    """The client's credentials are the target's; origin gets the configured ones."""
    bench = await make_bench(**BOTH)
    c, answer = await log_in(bench, TARGET_USER, version, compression)
    assert answer.opcode == Op.AUTH_SUCCESS
    assert c.authenticator == PASSWORD_AUTHENTICATOR
    assert users(bench) == (PROXY[0], TARGET_USER[0])
    await assert_alive(c, bench)
    for cluster in bench.clusters:
        assert len(cluster.requests(Op.AUTH_RESPONSE)) == 1


@pytest.mark.connections(81)
@pytest.mark.checklist(47, 57, 58, 62)
async def test_both_demand_a_login_and_target_refuses(make_bench):
    bench = await make_bench(**BOTH)
    other, _ = await log_in(bench, TARGET_USER)
    c, answer = await log_in(bench, ORIGIN_USER)
    assert_error(answer, Err.BAD_CREDENTIALS, "target", "Provided username origin-user and/or password are incorrect")
    assert await c.closed() == []
    await assert_alive(other, bench)


@pytest.mark.connections(82, 83)
@pytest.mark.checklist(48, 49)
async def test_the_clients_credentials_may_be_origins(make_bench):
    bench = await make_bench(**BOTH, sections=FORWARD)
    c, answer = await log_in(bench, ORIGIN_USER)
    assert answer.opcode == Op.AUTH_SUCCESS
    assert users(bench) == (ORIGIN_USER[0], PROXY[0])
    await assert_alive(c, bench)
    c, answer = await log_in(bench, TARGET_USER)
    assert_error(answer, Err.BAD_CREDENTIALS, "Provided username target-user", "" if bench.is_zdm else "origin")


@pytest.mark.connections(84, 85)
@pytest.mark.checklist(50, 51)
@pytest.mark.parametrize("sections", [{}, FORWARD], ids=["default", "forward"])
@pytest.mark.parametrize("where", ["origin", "target"])
async def test_one_demands_a_login(make_bench, where, sections):
    """The client's credentials go there whatever the setting; the other one sees a STARTUP only."""
    user = ORIGIN_USER if where == "origin" else TARGET_USER
    settings = {where: auth(*user, authenticator=CUSTOM)}
    if sections:
        settings["sections"] = sections
    bench = await make_bench(**settings)
    c, answer = await log_in(bench, user)
    assert answer.opcode == Op.AUTH_SUCCESS and c.authenticator == CUSTOM
    assert users(bench) == ((user[0], None) if where == "origin" else (None, user[0]))
    other = bench.target if where == "origin" else bench.origin
    assert [r.opcode for r in other.requests()] == [Op.STARTUP]
    await assert_alive(c, bench)
    c, answer = await log_in(bench, (user[0], "wrong"))
    assert_error(answer, Err.BAD_CREDENTIALS, "Provided username")


@pytest.mark.parametrize("origin_mode,target_mode,sent,expected", [
    ("client", "client", ("both-know", "me"), ("both-know", "both-know")),
    ("configured", "client", ("both-know", "me"), ("proxy", "both-know")),
    ("client", "configured", ("both-know", "me"), ("both-know", "proxy")),
])
async def test_credentials_by_setting(make_bench, origin_mode, target_mode, sent, expected):
    bench = await make_bench(origin=auth("both-know", "me"), target=auth("both-know", "me"),
                             sections={"origin": {"credentials": origin_mode}, "target": {"credentials": target_mode}})
    c, answer = await log_in(bench, sent)
    assert answer.opcode == Op.AUTH_SUCCESS, answer
    assert users(bench) == expected
    await assert_alive(c, bench)
    for cluster, mode in zip(bench.clusters, (origin_mode, target_mode)):
        if mode == "client":
            token = cluster.requests(Op.AUTH_RESPONSE)[0].request.token
            assert token == b"\0both-know\0me"


@pytest.mark.connections(87)
@pytest.mark.checklist(52)
async def test_credentials_nobody_asks_for(bench):
    """READY at once; a driver with credentials just does not send them."""
    c, answer = await log_in(bench, ("u", "p"))
    assert answer.opcode == Op.READY


@pytest.mark.connections(86)
@pytest.mark.checklist(53)
async def test_a_client_without_credentials(make_bench):
    bench = await make_bench(**BOTH)
    c = await bench.open()
    assert (await c.startup()).opcode == Op.AUTHENTICATE
    for cluster in bench.clusters:
        assert not cluster.requests(Op.AUTH_RESPONSE)


@pytest.mark.checklist(54, 55)
@pytest.mark.parametrize("version", [4, 5])
async def test_two_steps_on_both(make_bench, version):
    two = dict(authenticator=DSE_AUTHENTICATOR, two_step=True)
    bench = await make_bench(origin=auth(*ORIGIN_USER, **two), target=auth(*TARGET_USER, **two))
    c = await bench.open(version)
    assert (await c.startup()).authenticator == DSE_AUTHENTICATOR
    challenge = await c.auth(b"PLAIN")
    assert challenge.opcode == Op.AUTH_CHALLENGE and challenge.token == b"PLAIN-START"
    assert (await c.login(*TARGET_USER)).opcode == Op.AUTH_SUCCESS
    assert users(bench) == (PROXY[0], TARGET_USER[0])
    await assert_alive(c, bench)


@pytest.mark.connections(91)
@pytest.mark.checklist(54, 55)
@pytest.mark.parametrize("dse", ["origin", "target"])
async def test_two_steps_on_one(make_bench, dse):
    """The deciding cluster (origin) sets the driver's dialogue; with the other one the proxy plays its part."""
    two = dict(authenticator=DSE_AUTHENTICATOR, two_step=True)
    bench = await make_bench(origin=auth(*ORIGIN_USER, **(two if dse == "origin" else {})),
                             target=auth(*TARGET_USER, **(two if dse == "target" else {})))
    c = await bench.open()
    answer = await c.startup()
    assert answer.authenticator == (DSE_AUTHENTICATOR if dse == "origin" else PASSWORD_AUTHENTICATOR)
    if dse == "origin":
        assert (await c.auth(b"PLAIN")).token == b"PLAIN-START"
    assert (await c.login(*TARGET_USER)).opcode == Op.AUTH_SUCCESS
    assert users(bench) == (PROXY[0], TARGET_USER[0])
    tokens = [r.request.token for r in getattr(bench, dse).requests(Op.AUTH_RESPONSE)]
    assert tokens[0] == b"PLAIN" and len(tokens) == 2


@pytest.mark.checklist(56)
async def test_other_classes_get_credentials_at_once(make_bench):
    bench = await make_bench(origin=auth(*ORIGIN_USER), target=auth(*TARGET_USER, authenticator=CUSTOM))
    c, answer = await log_in(bench, TARGET_USER)
    assert answer.opcode == Op.AUTH_SUCCESS
    assert len(bench.target.requests(Op.AUTH_RESPONSE)) == 1


@pytest.mark.connections(90)
@pytest.mark.checklist(60)
async def test_a_second_attempt_on_the_same_connection(make_bench):
    """Where the node keeps the connection the driver may try again; where the proxy ends it, it says why first."""
    bench = await make_bench(target=auth(*TARGET_USER))
    c, answer = await log_in(bench, (TARGET_USER[0], "wrong"))
    assert_error(answer, Err.BAD_CREDENTIALS)
    c.send(Op.AUTH_RESPONSE, requests.auth_response(requests.plain_token(*TARGET_USER)))
    await c.until(lambda: c.is_closed or c.received, "answer or end")
    for answer in c.take_all():
        assert answer.opcode == Op.AUTH_SUCCESS, answer


@pytest.mark.connections(89)
@pytest.mark.checklist(57)
async def test_an_error_of_the_login_has_the_requests_stream_and_version(make_bench):
    bench = await make_bench(**BOTH)
    c = await bench.open(5)
    await c.startup(stream=3)
    stream = c.send(Op.AUTH_RESPONSE, requests.auth_response(requests.plain_token("nobody", "x")), stream=4711)
    answer = await c.answer(stream)
    assert_error(answer, Err.BAD_CREDENTIALS)
    assert answer.version == 5


@pytest.mark.connections(92)
@pytest.mark.checklist(59)
@pytest.mark.parametrize("behave", [behaviour.error(Err.SERVER_ERROR, "broken"),
                                    behaviour.error(Err.OVERLOADED, "broken"),
                                    behaviour.close(), behaviour.reset(), behaviour.half_answer("close")],
                         ids=["SERVER_ERROR", "OVERLOADED", "close", "reset", "half"])
@pytest.mark.parametrize("where", ["origin", "target"])
async def test_a_login_that_fails_for_other_reasons(make_bench, where, behave):
    bench = await make_bench(**BOTH)
    getattr(bench, where).on(Op.AUTH_RESPONSE, behave, times=1)
    c = await bench.open()
    await c.startup()
    c.send(Op.AUTH_RESPONSE, requests.auth_response(requests.plain_token(*TARGET_USER)))
    await c.until(lambda: c.is_closed or c.received, "answer or end")
    answers = c.take_all()
    assert len(answers) <= 1 and all(a.is_error() for a in answers)
    if bench.is_pooled:
        await bench.until_nodes_up()
    c, answer = await log_in(bench, TARGET_USER)
    assert answer.opcode == Op.AUTH_SUCCESS


@pytest.mark.connections(92)
@pytest.mark.checklist(61)
@pytest.mark.parametrize("where", ["origin", "target"])
@pytest.mark.parametrize("version", [4, 5])
async def test_a_startup_that_fails_on_one_cluster(bench, where, version):
    getattr(bench, where).on(Op.STARTUP, behaviour.error(Err.SERVER_ERROR, "no room"), times=1)
    c = await bench.open(version)
    answer = await c.startup()
    if bench.is_pooled and where != bench.primary.name:  # it is served without that cluster, until it is back
        assert answer.opcode == Op.READY
        await until_served(c)
        return
    assert_error(answer, Err.SERVER_ERROR, where, "no room")
    assert answer.version == version


@pytest.mark.parametrize("where", ["origin", "target"])
async def test_authentication_switched_on_under_way(make_bench, where):
    """A node that asks for a login although the control connection needed none: an answer or the end, never READY."""
    bench = await make_bench()
    async def demand(conn, got):
        conn.authenticated = False
        conn.reply(got, behaviour.Answer(Op.AUTHENTICATE, b"\0\1x"))
    getattr(bench, where).on(Op.STARTUP, demand, times=1)
    getattr(bench, where).on(Op.AUTH_RESPONSE, behaviour.error(Err.BAD_CREDENTIALS, "no"), times=1)
    c = await bench.open()
    c.send(Op.STARTUP, requests.startup())
    await c.until(lambda: c.is_closed or c.received, "answer or end")
    assert all(a.opcode != Op.READY for a in c.take_all())


@pytest.mark.checklist(64)
@pytest.mark.parametrize("version", [4, 5])
async def test_requests_of_the_handshake_in_one_piece(bench, version):
    c = await bench.open(version)
    c.write(c.frame(Op.OPTIONS, stream=1) + c.frame(Op.OPTIONS, stream=2) +
            c.frame(Op.STARTUP, requests.startup(), stream=3))
    answers = [await c.next_answer() for _ in range(3)]
    assert [(a.stream, a.opcode) for a in answers] == [(1, Op.SUPPORTED), (2, Op.SUPPORTED), (3, Op.READY)]
    await assert_alive(c, bench)


@pytest.mark.checklist(64)
@pytest.mark.parametrize("version", [3, 4])
async def test_requests_behind_startup_wait_for_ready(bench, version):
    """One after the other, in their order, whatever arrives in one piece."""
    hold = Hold()
    bench.target.on(Op.STARTUP, hold)
    c = await bench.open(version)
    write = "INSERT INTO ks.t (k) VALUES (1) IF NOT EXISTS"
    c.write(c.frame(Op.STARTUP, requests.startup(), stream=1) + c.frame(Op.OPTIONS, stream=2) +
            c.frame(Op.QUERY, requests.query(version, write), stream=3) +
            c.frame(Op.QUERY, requests.query(version, "SELECT * FROM ks.t"), stream=4))
    await hold.arrived()
    bystander = await bench.open(version)
    assert (await bystander.options()).opcode == Op.SUPPORTED
    assert not c.received and not bench.origin.requests(Op.QUERY)
    hold.release()
    first = await c.next_answer()
    assert (first.stream, first.opcode) == (1, Op.READY)
    assert (await c.answer(2)).opcode == Op.SUPPORTED
    assert (await c.answer(3)).rows == [[True, "origin"]]
    assert (await c.answer(4)).rows[0][0] == "origin"
    await assert_alive(c, bench)


@pytest.mark.checklist(64)
@pytest.mark.parametrize("version", [3, 4])
async def test_a_whole_login_in_one_piece(make_bench, version):
    bench = await make_bench(**BOTH)
    c = await bench.open(version)
    token = requests.auth_response(requests.plain_token(*TARGET_USER))
    c.write(c.frame(Op.STARTUP, requests.startup(), stream=1) + c.frame(Op.AUTH_RESPONSE, token, stream=2) +
            c.frame(Op.QUERY, requests.query(version, "SELECT * FROM ks.t"), stream=3))
    answers = [await c.next_answer() for _ in range(3)]
    assert [(a.stream, a.opcode) for a in answers] == [(1, Op.AUTHENTICATE), (2, Op.AUTH_SUCCESS), (3, Op.RESULT)]
    assert users(bench) == (PROXY[0], TARGET_USER[0])
    await assert_alive(c, bench)


async def test_a_frame_before_its_turn_that_is_none(make_bench):
    """It is judged when its turn has come: a second STARTUP, a QUERY where credentials are due."""
    bench = await make_bench(**BOTH)
    for opcode, body in ((Op.STARTUP, requests.startup()), (Op.QUERY, requests.query(4, "SELECT * FROM ks.t"))):
        c = await bench.open()
        c.write(c.frame(Op.STARTUP, requests.startup(), stream=1) + c.frame(opcode, body, stream=2))
        assert (await c.answer(1)).opcode == Op.AUTHENTICATE
        assert_error(await c.answer(2), Err.PROTOCOL_ERROR)
        assert await c.closed() == []


@pytest.mark.dedicated
@pytest.mark.parametrize("leaves", [True, False])
async def test_a_frame_before_its_turn_that_never_comes(make_bench, leaves):
    """A cluster is mute: what waits goes with the client, or with the time-out."""
    bench = await make_bench(sections={"proxy": {"handshake_timeout": "1500ms"}})
    bench.target.on(Op.STARTUP, behaviour.mute(), times=1)
    c = await bench.open()
    c.write(c.frame(Op.STARTUP, requests.startup(), stream=1) +
            c.frame(Op.QUERY, requests.query(4, "INSERT INTO ks.t (k) VALUES (1)"), stream=2))
    await bench.target.until_received(1, Op.STARTUP)
    if leaves:
        c.abort()
    else:
        answers = await c.closed()
        assert [a.stream for a in answers] == [1]
        assert_error(answers[0], Err.SERVER_ERROR, "target")
    await bench.until_backends_gone()
    assert not bench.origin.requests(Op.QUERY)


async def test_a_handshake_that_arrives_byte_by_byte(bench):
    c = await bench.open()
    for byte in c.frame(Op.STARTUP, requests.startup({"COMPRESSION": "lz4"}), stream=3):
        c.write(bytes([byte]))
        await behaviour.asyncio.sleep(0)
    c.codec.compression = "lz4"
    assert (await c.answer(3)).opcode == Op.READY
    await assert_alive(c, bench)


@pytest.mark.checklist(67, 68)
@pytest.mark.parametrize("where", ["origin", "target"])
async def test_a_cluster_that_cannot_be_reached(make_bench, where):
    bench = await make_bench(fresh=True, sections={where: {"connection_timeout": "500ms"}})
    before = await bench.client()
    cluster = getattr(bench, where)
    cluster.nodes[0].refuse()
    c = await bench.open()
    stream = c.send(Op.STARTUP, requests.startup())
    served = bench.is_pooled and where != bench.primary.name
    answers = [await c.answer(stream)] if served else await c.closed()
    if bench.is_zdm:
        assert answers == []
    elif served:
        assert [a.opcode for a in answers] == [Op.READY]
        assert_error(await c.query("INSERT INTO ks.t (k) VALUES (1)"), Err.UNAVAILABLE, where)
    else:
        assert len(answers) == 1
        assert_error(answers[0], Err.SERVER_ERROR, f"cannot connect to {where}")
    if bench.is_pooled:  # it is tried again and again
        await cluster.nodes[0].start()
        await until_served(before)
        await assert_alive(await client_of_both(bench), bench)
        return
    await bench.proxy.until_metric(f'zdm_proxy_failed_connections_total{{cluster="{where}"}}', 1)
    await assert_alive(before, bench)
    await cluster.nodes[0].start()
    await assert_alive(await bench.client(), bench)


async def test_passwords_stay_out_of_the_log(make_bench):
    bench = await make_bench(fresh=True, **BOTH, sections={"log": {"level": "trace"}})
    c, answer = await log_in(bench, TARGET_USER)
    assert answer.opcode == Op.AUTH_SUCCESS
    await assert_alive(c, bench)
    c2, _ = await log_in(bench, ("target-user", "a-wrong-secret"))
    c3 = await bench.open()
    await c3.startup()
    await c3.auth(b"no-plain-secret-token")
    for secret in ("proxy-password", "target-secret", "a-wrong-secret", "no-plain-secret-token"):
        assert secret not in bench.proxy.log


@pytest.mark.parametrize("flags", [FrameFlag.USE_BETA, FrameFlag.TRACING, FrameFlag.WARNING])
async def test_flags_that_mean_nothing_in_the_handshake(bench, flags):
    c = await bench.open(4)
    stream = c.send(Op.OPTIONS, flags=flags)
    assert (await c.answer(stream)).opcode == Op.SUPPORTED
