"""
What plugins hold: clients that have come, log-ins. What is held waits, alone; it goes on when the plugin resumes it, from a
thread of its own, and ends with the deadline, with handshake_timeout, with the client and with the process.
"""
import asyncio

import pytest

from cqlwire import Err, Op, requests
from cqlwire.requests import auth_response, plain_token
from helpers import WAY_IDS, WAYS, assert_alive, assert_error
from plugin_logins import SET_BOTH, auth, dialogue, logged_in, plugged, said, served, tokens, until_said

assert plugged  # a fixture

@pytest.fixture
def go(tmp_path):
    """The plugin resumes when this file is there."""
    return tmp_path / "go"


async def held(bench, where, count=1):
    """Waits until so many were held."""
    await until_said(bench, where, count=count)


# ---- clients that have come ----

@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_a_client_waits(plugged, go, version, compression):
    """Its first frame has come, and is answered when the plugin has made up its mind. Others are not kept waiting."""
    bench = await plugged([f"connect hold resume={go}"])
    c = await bench.open(version)
    asked = asyncio.ensure_future(c.startup(compression))
    await held(bench, "connect ")
    await bench.proxy.metrics()
    assert not asked.done() and not any(cluster.requests(Op.STARTUP)[1:] for cluster in bench.clusters)
    go.touch()
    assert (await asked).opcode == Op.READY
    await served(bench, c)
    await until_said(bench, "connect again")
    await c.close()
    await until_said(bench, "gone")
    assert [line.split()[0] for line in said(bench)] == ["connect", "connect", "startup", "login", "gone"]


async def test_a_client_that_waits_sends_more_than_one_frame(plugged, go):
    bench = await plugged([f"connect hold resume={go}"])
    c = await bench.open()
    streams = [c.send(Op.OPTIONS), c.send(Op.OPTIONS), c.send(Op.STARTUP, requests.startup({}))]
    await held(bench, "connect ")
    go.touch()
    answers = [await c.answer(stream) for stream in streams]
    assert [a.opcode for a in answers] == [Op.SUPPORTED, Op.SUPPORTED, Op.READY]
    await served(bench, c)


async def test_a_client_is_denied_after_all(plugged, go):
    bench = await plugged([f"connect hold resume={go}", "connect deny code=0x2100 text=thought_about_it"])
    c = await bench.open(5)
    stream = c.send(Op.OPTIONS)
    await held(bench, "connect ")
    go.touch()
    assert_error(await c.answer(stream), Err.UNAUTHORIZED, "thought about it")
    assert await c.closed() == []
    d = await bench.open()  # one that is denied before it has said anything
    await held(bench, "connect again", 2)
    assert_error(await d.ask(Op.OPTIONS), Err.UNAUTHORIZED, "thought about it")


@pytest.mark.parametrize("on_error", ["deny", "pass"])
async def test_a_client_is_held_for_too_long(plugged, on_error):
    """The plugin's error; with on_error = pass the next plugin is asked, which may hold as well."""
    bench = await plugged(["connect hold ms=50"], ["connect hold ms=50"], plugin={"on_error": on_error})
    c = await bench.open()
    stream = c.send(Op.STARTUP, requests.startup({}))
    answer = await c.answer(stream)
    if on_error == "deny":
        assert_error(answer, Err.UNAUTHORIZED, "plugin p0")
        assert await c.closed() == []
        assert said(bench, "p1") == []
    else:
        assert answer.opcode == Op.READY
        await served(bench, c)
        assert [line.split()[0] for line in said(bench, "p1")][:2] == ["connect", "startup"]
    assert "not resumed in time" in bench.proxy.log[bench.mark:]


async def test_a_held_client_and_handshake_timeout(plugged):
    bench = await plugged(["connect hold"], sections={"proxy": {"handshake_timeout": "300ms"}})
    c = await bench.open()
    assert_error(await c.ask(Op.OPTIONS), Err.SERVER_ERROR, "within handshake_timeout")
    assert await c.closed() == []
    await until_said(bench, "gone")


@pytest.mark.parametrize("speaks", [False, True])
async def test_a_held_client_goes_away(plugged, go, speaks):
    """Noticed at once, though nothing is read behind its first frame; the plugin's resume is harmless."""
    bench = await plugged([f"connect hold resume={go}"])
    c = await bench.open()
    if speaks:
        c.send(Op.STARTUP, requests.startup({}))
    await held(bench, "connect ")
    await c.close()
    await until_said(bench, "gone")
    go.touch()
    d = await bench.client()
    await served(bench, d)


async def test_held_clients_and_max_handshakes(plugged, go):
    """A client that is held has its place among them: the next one waits until it is through."""
    bench = await plugged([f"connect hold resume={go}"], fresh=True, sections={"proxy": {"max_handshakes": 1}})
    first, second = await bench.open(), await bench.open()
    streams = [c.send(Op.STARTUP, requests.startup({})) for c in (first, second)]
    await bench.proxy.until_metric("zdm_cqlferry_handshakes_waiting", 1)
    assert len(said(bench)) == 1
    go.touch()
    for c, stream in zip((first, second), streams):
        assert (await c.answer(stream)).opcode == Op.READY
    assert len(await until_said(bench, "connect", count=4)) == 4


@pytest.mark.parametrize("where", ["connect", "startup"])
async def test_a_held_client_that_goes_away_gives_its_place_back(plugged, go, where):
    """Also one that has sent more than the frame that waits, so that nothing is read from it."""
    bench = await plugged([f"{where} hold resume={go}"], fresh=True,
                          sections={"proxy": {"max_handshakes": 1, "handshake_timeout": "1m"}})
    first = await bench.open()
    first.send(Op.STARTUP, requests.startup({}))
    first.send(Op.OPTIONS)
    await held(bench, f"{where} ")
    second = await bench.open()
    stream = second.send(Op.STARTUP, requests.startup({}))
    await bench.proxy.until_metric("zdm_cqlferry_handshakes_waiting", 1)
    first.abort()
    await held(bench, f"{where} ", 2)
    go.touch()
    assert (await second.answer(stream)).opcode == Op.READY


async def test_the_process_ends_with_a_held_startup(plugged):
    """Whose frame waits for an answer gets one, and nobody is waited for."""
    bench = await plugged(["startup hold"], fresh=True, target=auth(), flags=("-DNO_CONNECT",))
    c = await bench.open()
    stream = c.send(Op.STARTUP, requests.startup({}))
    await held(bench, "startup")
    bench.may_be_down = True
    await bench.proxy.stop()
    assert_error(await c.answer(stream), Err.OVERLOADED, "Shutting down")
    assert [line.split()[0] for line in said(bench)] == ["startup", "login", "gone"]
    assert "login failed by=- code=0x1001" in said(bench)[1]


async def test_the_process_ends_with_a_client_that_has_come(plugged):
    bench = await plugged(["connect hold"], fresh=True)
    c = await bench.open()
    await held(bench, "connect ")
    bench.may_be_down = True
    await bench.proxy.stop()
    assert await c.closed() == []
    assert [line.split()[0] for line in said(bench)] == ["connect", "gone"]


async def test_the_process_ends_with_a_held_token(plugged):
    bench = await plugged(["token hold"], fresh=True, target=auth())
    c = await dialogue(bench)
    stream = c.send(Op.AUTH_RESPONSE, auth_response(plain_token("ann", "ann-secret")))
    await held(bench, "token")
    bench.may_be_down = True
    await bench.proxy.stop()
    assert_error(await c.answer(stream), Err.OVERLOADED, "Shutting down")
    assert [line for line in said(bench) if line.startswith("login failed by=- code=0x1001 said=ann ")], said(bench)


# ---- STARTUP ----

@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_startup_waits(plugged, go, version, compression):
    """What was set before the hold counts for nothing; what is set by the call that decides does."""
    bench = await plugged([f"startup hold name=early origin=role-o/wrong resume={go}", f"startup done name=late {SET_BOTH}"],
                          origin=auth(), target=auth())
    c = await bench.open(version)
    asked = asyncio.ensure_future(c.startup(compression))
    await held(bench, "startup user")
    assert not any(tokens(cluster) for cluster in bench.clusters)
    go.touch()
    assert (await asked).opcode == Op.READY
    await served(bench, c)
    assert (logged_in(bench.origin), logged_in(bench.target)) == (["role-o"], ["role-t"])
    await until_said(bench, "login ok .* is=late ")


async def test_startup_is_denied_after_all(plugged, go):
    bench = await plugged([f"startup hold resume={go}", "startup deny code=0x2100 text=no"], target=auth())
    c = await bench.open()
    stream = c.send(Op.STARTUP, requests.startup({}))
    await held(bench, "startup user")
    go.touch()
    assert_error(await c.answer(stream), Err.UNAUTHORIZED, "no")
    assert await c.closed() == []


async def test_startup_leads_to_the_dialogue_after_all(plugged, go):
    bench = await plugged([f"startup hold resume={go}", "startup next ask=yes"])
    c = await bench.open(5)
    asked = asyncio.ensure_future(c.startup("lz4"))
    await held(bench, "startup user")
    go.touch()
    assert (await asked).opcode == Op.AUTHENTICATE
    assert (await c.login("ann", "x")).opcode == Op.AUTH_SUCCESS
    await served(bench, c)


# ---- tokens ----

@pytest.mark.parametrize("version,compression", WAYS, ids=WAY_IDS)
async def test_a_token_waits(plugged, go, version, compression):
    bench = await plugged([f"token:ann hold resume={go}", f"token:ann done {SET_BOTH}"], origin=auth(), target=auth())
    other = await dialogue(bench)
    c = await dialogue(bench, version, compression)
    asked = asyncio.ensure_future(c.login("ann", "x"))
    await held(bench, "token user=ann")
    assert (await other.login("bob", "bob-secret")).opcode == Op.AUTH_SUCCESS  # nothing else waits
    await served(bench, other)
    assert not asked.done()
    go.touch()
    assert (await asked).opcode == Op.AUTH_SUCCESS
    await served(bench, c)
    assert logged_in(bench.origin)[-1] == "role-o" and logged_in(bench.target)[-1] == "role-t"
    assert (await until_said(bench, "token again user=ann"))[0].startswith("token again user=ann password=1 wants=11 ")


async def test_a_token_that_plugins_let_pass(plugged, go):
    """The copy that was kept goes to the cluster, as it was, also of a mechanism that is none of ours."""
    bench = await plugged([f"token hold resume={go}"], ["token next"], target=auth())
    c = await dialogue(bench)
    asked = asyncio.ensure_future(c.auth(b"boss\0ann\0ann-secret"))
    await held(bench, "token user=ann")
    go.touch()
    assert (await asked).opcode == Op.AUTH_SUCCESS
    assert tokens(bench.target)[-1] == b"boss\0ann\0ann-secret"
    await served(bench, c)
    d = await dialogue(bench)
    assert_error(await d.auth(b"\x60\x82\x00\xff\x00ticket"), Err.BAD_CREDENTIALS)
    assert tokens(bench.target)[-1] == b"\x60\x82\x00\xff\x00ticket"


async def test_a_token_is_denied_after_all(plugged, go):
    """And the driver tries again with another one, which is held as well."""
    bench = await plugged([f"token:eve hold resume={go}", "token:eve deny code=0x0100 text=wrong",
                           f"token:ann hold resume={go}"], target=auth())
    c = await dialogue(bench)
    asked = asyncio.ensure_future(c.login("eve", "x"))
    await held(bench, "token user=eve")
    go.touch()
    assert_error(await asked, Err.BAD_CREDENTIALS, "wrong")
    assert (await c.login("ann", "ann-secret")).opcode == Op.AUTH_SUCCESS
    await served(bench, c)
    assert tokens(bench.target)[-1] == plain_token("ann", "ann-secret")


async def test_tokens_one_behind_the_other(plugged, go):
    """The driver has not waited for the answer: its second try is asked about when the first one was denied."""
    bench = await plugged([f"token:eve hold resume={go}", "token:eve deny code=0x0100 text=wrong",
                           f"token:ann hold resume={go}"], target=auth())
    c = await dialogue(bench)
    first = c.send(Op.AUTH_RESPONSE, auth_response(plain_token("eve", "x")))
    await held(bench, "token user=eve")
    second = c.send(Op.AUTH_RESPONSE, auth_response(plain_token("ann", "ann-secret")))
    third = c.send_query("SELECT * FROM ks.t")
    go.touch()
    assert_error(await c.answer(first), Err.BAD_CREDENTIALS, "wrong")
    assert (await c.answer(second)).opcode == Op.AUTH_SUCCESS
    assert (await c.answer(third)).rows
    assert tokens(bench.target)[-1] == plain_token("ann", "ann-secret")


@pytest.mark.parametrize("on_error", ["deny", "pass"])
async def test_a_token_is_held_for_too_long(plugged, on_error):
    bench = await plugged(["token hold ms=50"], ["token next"], plugin={"on_error": on_error}, target=auth())
    c = await dialogue(bench)
    answer = await c.login("ann", "ann-secret")
    if on_error == "deny":
        assert_error(answer, Err.BAD_CREDENTIALS, "plugin p0")
        assert not tokens(bench.target)
        assert not [line for line in said(bench, "p1") if line.startswith("token")]
    else:
        assert answer.opcode == Op.AUTH_SUCCESS
        await served(bench, c)
        assert [line for line in said(bench, "p1") if line.startswith("token user=ann")]


@pytest.mark.parametrize("where", ["startup", "token"])
async def test_a_held_log_in_and_handshake_timeout(plugged, where):
    bench = await plugged([f"{where} hold"], sections={"proxy": {"handshake_timeout": "300ms"}}, target=auth())
    c = await bench.open()
    if where == "token":
        assert (await c.startup()).opcode == Op.AUTHENTICATE
        stream = c.send(Op.AUTH_RESPONSE, auth_response(plain_token("ann", "ann-secret")))
    else:
        stream = c.send(Op.STARTUP, requests.startup({}))
    answer = await c.answer(stream)
    assert_error(answer, Err.SERVER_ERROR, "plugin p0 has not decided about the log-in within 300 ms")
    assert await c.closed() == []
    assert not tokens(bench.target)
    await until_said(bench, "login failed by=- code=0x0 ")


@pytest.mark.parametrize("where", ["startup", "token"])
async def test_the_client_of_a_held_log_in_goes_away(plugged, go, where):
    """Noticed at once; nobody is refused, and the resume that comes later does nothing."""
    bench = await plugged([f"{where} hold resume={go}"], target=auth())
    c = await bench.open()
    if where == "token":
        assert (await c.startup()).opcode == Op.AUTHENTICATE
        c.send(Op.AUTH_RESPONSE, auth_response(plain_token("ann", "ann-secret")))
    else:
        c.send(Op.STARTUP, requests.startup({}))
    await held(bench, f"{where} user")
    await c.close()
    await until_said(bench, "gone")
    assert not [line for line in said(bench) if line.startswith("login")]
    go.touch()
    d = await dialogue(bench)
    assert (await d.login("ann", "ann-secret")).opcode == Op.AUTH_SUCCESS
    await assert_alive(d, bench)
    assert len([line for line in said(bench) if " again " in line]) == 1  # the second client's


async def test_many_are_held_at_a_time(plugged, go):
    """Each goes on with its own token."""
    bench = await plugged([f"token hold resume={go}"], target=auth({f"u{i}": f"w{i}" for i in range(40)}))
    clients = [await dialogue(bench) for _ in range(40)]
    streams = [c.send(Op.AUTH_RESPONSE, auth_response(plain_token(f"u{i}", f"w{i}"))) for i, c in enumerate(clients)]
    await held(bench, "token user", 40)
    go.touch()
    for c, stream in zip(clients, streams):
        assert (await c.answer(stream)).opcode == Op.AUTH_SUCCESS
    await until_said(bench, "login ok", count=40)
    # Connections that clients share may be made anew, with the same tokens.
    assert {plain_token(f"u{i}", f"w{i}") for i in range(40)} <= set(tokens(bench.target))
