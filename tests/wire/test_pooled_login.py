"""
Log-in of clients whose requests go over pooled connections: whose credentials open these, what is asked of the
clusters and what is remembered, who shares a connection with whom.
"""
import asyncio

import pytest

import behaviour
from behaviour import Hold
from cqlwire import Err, Op, requests
from cqlwire.requests import plain_token
from fakecluster import Auth, DSE_AUTHENTICATOR, PASSWORD_AUTHENTICATOR
from helpers import assert_error

pytestmark = pytest.mark.native

PROXY = {"proxy": "proxy-password"}  # what the bench configures for both clusters
USERS = {"ann": "ann-secret", "bob": "bob-secret"}
KERBEROS = "com.example.auth.KerberosAuthenticator"


def auth(users=USERS, **more):
    return {"auth": Auth(PROXY | users, **more)}


def pooled(**more):
    """Idle connections go soon, so that the bench is swept soon; one worker, so that all clients meet."""
    return {"backend_connections": "pooled", "pool_idle_timeout": "50ms", "workers": 1} | more


def settings(sections=None, proxy=None, **clusters):
    return dict(clusters, sections={"proxy": pooled(**(proxy or {}))} | (sections or {}))


def both():
    """Both want a log-in: target gets the client's credentials, origin the configured ones."""
    return dict(origin=auth({}), target=auth())


FORWARD = {"routing": {"forward_client_credentials_to_origin": "true"}}
LONG = {"credentials_validity": "1h", "pool_idle_timeout": "1h"}
ALWAYS = {"credentials_validity": "0", "pool_idle_timeout": "1h"}


async def log_in(bench, user, password, version=4, compression=None):
    c = await bench.open(version)
    answer = await c.startup(compression)
    assert answer.opcode == Op.AUTHENTICATE, answer
    return c, await c.login(user, password)


async def ready(bench, user="ann", **how):
    c, answer = await log_in(bench, user, USERS[user], **how)
    assert answer.opcode == Op.AUTH_SUCCESS, answer
    return c


def logged_in(cluster):
    """Who has logged in on the connections that are open."""
    return sorted(c.user for c in cluster.connections() if c.authenticated)


async def reads(c, cluster):
    answer = await c.query("SELECT * FROM ks.t")
    assert answer.rows and answer.rows[0][0] == cluster.name, answer


async def writes(c, bench):
    answer = await c.query("INSERT INTO ks.t (k) VALUES (1)")
    assert not answer.is_error(), answer


async def end(bench):
    """Closes the clients and ends the proxy, whose pools would stay longer than the sweep waits."""
    for client in bench.clients:
        await client.close()
    bench.clients.clear()
    await bench.proxy.stop()
    bench.may_be_down = True


# ---- who needs what ----

@pytest.mark.parametrize("version,compression", [(3, None), (4, "lz4"), (4, "snappy"), (5, None), (5, "lz4")])
async def test_no_log_in_anywhere(make_bench, version, compression):
    """READY comes when both clusters have a connection; its STARTUP is ours."""
    bench = await make_bench(**settings())
    c = await bench.open(version)
    assert (await c.startup(compression, {"DRIVER_NAME": "x", "CQL_VERSION": "3.4.5"})).opcode == Op.READY
    for cluster in bench.clusters:
        startup, = cluster.requests(Op.STARTUP)
        assert startup.request.options["DRIVER_NAME"] == "cqlferry"
        assert startup.request.options.get("COMPRESSION") == compression
    await reads(c, bench.origin)
    await writes(c, bench)


@pytest.mark.parametrize("version,compression", [(3, None), (4, "lz4"), (5, None), (5, "lz4")])
async def test_both_demand_a_log_in(make_bench, version, compression):
    """The client's credentials are the target's; origin gets the configured ones."""
    bench = await make_bench(**settings(**both()))
    c = await ready(bench, version=version, compression=compression)
    assert c.authenticator == PASSWORD_AUTHENTICATOR
    assert (logged_in(bench.origin), logged_in(bench.target)) == (["proxy"], ["ann"])
    await reads(c, bench.origin)
    await writes(c, bench)


async def test_the_clients_credentials_may_be_origins(make_bench):
    bench = await make_bench(**settings(FORWARD, origin=auth(), target=auth({})))
    c = await ready(bench)
    assert (logged_in(bench.origin), logged_in(bench.target)) == (["ann"], ["proxy"])
    await writes(c, bench)


@pytest.mark.parametrize("where", ["origin", "target"])
async def test_one_demands_a_log_in(make_bench, where):
    bench = await make_bench(**settings(**{where: auth(authenticator="com.example.LdapAuthenticator")}))
    c = await ready(bench)
    assert c.authenticator == "com.example.LdapAuthenticator"
    cluster, other = (bench.origin, bench.target) if where == "origin" else (bench.target, bench.origin)
    assert logged_in(cluster) == ["ann"]
    assert not other.requests(Op.AUTH_RESPONSE)
    await writes(c, bench)


@pytest.mark.parametrize("origin_mode,target_mode,expected", [
    ("client", "client", ("ann", "ann")), ("configured", "client", ("proxy", "ann")),
    ("client", "configured", ("ann", "proxy")), ("configured", "configured", ("proxy", "proxy"))])
async def test_credentials_by_setting(make_bench, origin_mode, target_mode, expected):
    sections = {"origin": {"credentials": origin_mode}, "target": {"credentials": target_mode}}
    bench = await make_bench(**settings(sections, origin=auth(), target=auth()))
    c = await ready(bench)
    assert (logged_in(bench.origin), logged_in(bench.target)) == ([expected[0]], [expected[1]])
    await writes(c, bench)


async def test_an_authorization_id_is_kept(make_bench):
    bench = await make_bench(**settings(target=auth()))
    c = await bench.open()
    await c.startup()
    assert (await c.auth(b"boss\0ann\0ann-secret")).opcode == Op.AUTH_SUCCESS
    assert bench.target.requests(Op.AUTH_RESPONSE)[0].request.token == b"boss\0ann\0ann-secret"


async def test_nothing_is_opened_before_the_credentials_come(make_bench):
    bench = await make_bench(**settings(**both()))
    counts = [cluster.connection_count for cluster in bench.clusters]
    c = await bench.open()
    await c.options()
    assert (await c.startup()).opcode == Op.AUTHENTICATE
    await c.options()
    assert [cluster.connection_count for cluster in bench.clusters] == counts


@pytest.mark.parametrize("opcode,body", [(Op.QUERY, requests.query(4, "SELECT * FROM ks.t")),
                                         (Op.REGISTER, requests.register("SCHEMA_CHANGE")),
                                         (Op.STARTUP, requests.startup()), (Op.PREPARE, requests.prepare(4, "x"))],
                         ids=["QUERY", "REGISTER", "STARTUP", "PREPARE"])
async def test_nothing_of_a_client_that_has_not_logged_in_reaches_a_cluster(make_bench, opcode, body):
    bench = await make_bench(**settings(**both()))
    other = await ready(bench)
    before = [len(cluster.received) for cluster in bench.clusters]
    c = await bench.open()
    await c.startup()
    assert_error(await c.ask(opcode, body), Err.PROTOCOL_ERROR)
    assert await c.closed() == []
    assert [len(cluster.received) for cluster in bench.clusters] == before
    await reads(other, bench.origin)


# ---- refusals ----

async def test_a_wrong_password_for_the_deciding_cluster(make_bench):
    """The driver may try again on the same connection; the other cluster is not asked."""
    bench = await make_bench(**settings(FORWARD, origin=auth(), target=auth({})))
    c, answer = await log_in(bench, "ann", "wrong")
    assert_error(answer, Err.BAD_CREDENTIALS, "origin", bench.origin.nodes[0].address,
                 "Provided username ann and/or password are incorrect")
    assert not bench.target.requests()
    assert (await c.login("ann", "ann-secret")).opcode == Op.AUTH_SUCCESS
    await writes(c, bench)


async def test_a_wrong_password_for_the_other_cluster(make_bench):
    """That error, then the end; the configured user has not logged in on origin for it."""
    bench = await make_bench(**settings(**both()))
    c, answer = await log_in(bench, "ann", "wrong")
    assert_error(answer, Err.BAD_CREDENTIALS, "target", "Provided username ann and/or password are incorrect")
    assert await c.closed() == []
    assert not bench.origin.requests()


async def test_a_refused_configured_user(make_bench):
    """The password of origin's configured user is wrong: named, and the client's own was right."""
    bench = await make_bench(fresh=True, **settings(origin=auth({}), target=auth()))
    bench.origin.auth.users["proxy"] = "changed"
    c, answer = await log_in(bench, "ann", "ann-secret")
    assert_error(answer, Err.BAD_CREDENTIALS, "origin", "Provided username proxy")
    # origin is the deciding one: the driver may try again, and is told the same
    assert_error(await c.login("ann", "ann-secret"), Err.BAD_CREDENTIALS, "origin")


@pytest.mark.parametrize("where", ["origin", "target"])
async def test_other_errors_of_a_log_in_end_the_connection(make_bench, where):
    bench = await make_bench(**settings(FORWARD if where == "origin" else {}, **{where: auth()}))
    getattr(bench, where).on(Op.AUTH_RESPONSE, behaviour.error(Err.OVERLOADED, "too many"), times=1)
    c, answer = await log_in(bench, "ann", "ann-secret")
    assert_error(answer, Err.OVERLOADED, where, "too many")
    assert await c.closed() == []
    await ready(bench)


async def test_the_errors_stream_and_version(make_bench):
    bench = await make_bench(**settings(**both()))
    c = await bench.open(5)
    await c.startup(stream=3)
    stream = c.send(Op.AUTH_RESPONSE, requests.auth_response(plain_token("nobody", "x")), stream=4711)
    answer = await c.answer(stream)
    assert_error(answer, Err.BAD_CREDENTIALS)
    assert answer.version == 5


async def test_a_log_in_demanded_under_way(make_bench):
    """The control connection was let in without one; now the nodes want it: an error, never READY."""
    bench = await make_bench(fresh=True, **settings())
    bench.origin.auth = Auth(dict(USERS))
    c = await bench.open()
    answer = await c.startup()
    assert answer.is_error() and "origin" in answer.text, answer


# ---- who shares a connection with whom ----

async def test_each_user_has_connections_of_its_own(make_bench):
    bench = await make_bench(**settings(**both()))
    clients = {user: [await ready(bench, user) for _ in range(3)] for user in USERS}
    for user, of_user in clients.items():
        for c in of_user:
            answer = await c.query(f"INSERT INTO ks.{user} (k) VALUES (1)")
            assert not answer.is_error()
    for user in USERS:
        assert {r.conn.user for r in bench.target.requests(Op.QUERY) if r.statement.startswith(f"INSERT INTO ks.{user}")
                } == {user}
    # on origin all of them are the configured one, and share its connection
    assert logged_in(bench.origin) == ["proxy"]


async def test_the_same_user_with_another_password_is_another_user(make_bench):
    """Two passwords that the cluster accepts for one name (LDAP may): no connection in common."""
    bench = await make_bench(fresh=True, **settings(target=auth()))
    await ready(bench)
    bench.target.auth.users["ann"] = "second"
    c, answer = await log_in(bench, "ann", "second")
    assert answer.opcode == Op.AUTH_SUCCESS
    assert logged_in(bench.target) == ["ann", "ann"]


async def test_user_and_password_are_not_mixed_up(make_bench):
    bench = await make_bench(**settings(proxy=LONG, fresh=True, target=auth({"ab": "c"})))
    c, answer = await log_in(bench, "ab", "c")
    assert answer.opcode == Op.AUTH_SUCCESS
    c, answer = await log_in(bench, "a", "bc")
    assert_error(answer, Err.BAD_CREDENTIALS)
    await end(bench)


async def test_two_thousand_clients_of_two_hundred_users(make_bench):
    """Sockets by user and worker, not by client; the node sees each user's requests on connections of that user."""
    users = {f"user{n}": f"secret {n}" for n in range(200)}
    bench = await make_bench(fresh=True, primary="target",
                             **settings(proxy={"workers": 2, "pool_idle_timeout": "1h"}, origin=auth({}),
                                        target=auth(users)))
    seen = {}

    async def note(conn, got):
        owner = got.statement.rsplit(".", 1)[1]
        seen.setdefault(owner, set()).add(conn.user)
        conn.answer(got)
    bench.target.on("FROM ks.user", note)

    async def one(user, password):
        c, answer = await log_in(bench, user, password)
        assert answer.opcode == Op.AUTH_SUCCESS, answer
        answer = await c.query(f"SELECT * FROM ks.{user}")
        assert not answer.is_error(), answer
        return c
    for _ in range(10):
        await asyncio.gather(*(one(*user) for user in users.items()))
    assert seen == {user: {user} for user in users}
    assert set(logged_in(bench.target)) == set(users)
    # one for each user and worker, and a few that asked about a password and are not gone yet
    assert len(bench.target.connections()) <= 2 * len(users) + 20
    assert len(bench.origin.connections()) <= 2
    assert len(bench.clients) == 2000
    await end(bench)


# ---- what is remembered ----

async def metric(bench, name, where):
    return (await bench.proxy.metrics())[f'zdm_cqlferry_{name}_total{{cluster="{where}"}}']


async def test_the_second_client_needs_no_log_in(make_bench):
    bench = await make_bench(fresh=True, **settings(proxy=LONG, **both()))
    await ready(bench)
    first = len(bench.target.requests(Op.AUTH_RESPONSE))
    for _ in range(3):
        c = await ready(bench)
        await writes(c, bench)
    assert len(bench.target.requests(Op.AUTH_RESPONSE)) == first == 1
    assert await metric(bench, "logins_asked", "target") == 1
    assert await metric(bench, "logins_remembered", "target") == 3
    await end(bench)


async def test_a_wrong_password_is_never_answered_from_memory(make_bench):
    bench = await make_bench(fresh=True, **settings(proxy=LONG, **both()))
    await ready(bench)
    for _ in range(2):
        c, answer = await log_in(bench, "ann", "wrong")
        assert_error(answer, Err.BAD_CREDENTIALS, "target")
    assert len(bench.target.requests(Op.AUTH_RESPONSE)) == 3
    assert await metric(bench, "logins_refused", "target") == 2
    await end(bench)


async def test_the_cluster_is_asked_again_when_the_time_is_over(make_bench):
    bench = await make_bench(fresh=True, **settings(proxy=ALWAYS, **both()))
    old = await ready(bench)
    bench.target.auth.users["ann"] = "new-secret"
    c, answer = await log_in(bench, "ann", "ann-secret")
    assert_error(answer, Err.BAD_CREDENTIALS, "target")
    c, answer = await log_in(bench, "ann", "new-secret")
    assert answer.opcode == Op.AUTH_SUCCESS
    # as with Cassandra, what was open stays open
    await writes(old, bench)
    await writes(c, bench)
    await end(bench)


async def test_within_its_validity_an_old_password_is_good(make_bench):
    """As Cassandra's own cache has it."""
    bench = await make_bench(fresh=True, **settings(proxy=LONG, **both()))
    await ready(bench)
    bench.target.auth.users["ann"] = "new-secret"
    await ready(bench)
    await end(bench)


async def test_a_dropped_role_when_connections_are_opened_again(make_bench):
    """Its clients get one error that names the cluster, and are closed; others are not."""
    bench = await make_bench(fresh=True, **settings(proxy=LONG, **both()))
    ann, bob = await ready(bench), await ready(bench, "bob")
    await writes(ann, bench)
    await writes(bob, bench)
    del bench.target.auth.users["ann"]
    for conn in bench.target.connections():
        conn.close()
    await bench.target.until(lambda: not [c for c in bench.target.connections() if c.user == "ann"], "end")
    # any error until the lanes are opened again is about the lost connection; then the role is missed
    ann.send_query("INSERT INTO ks.t (k) VALUES (2)")
    answers = await ann.closed()
    assert answers and answers[-1].is_error(), answers
    assert "target" in answers[-1].text and "log-in" in answers[-1].text, answers[-1].text
    await writes(bob, bench)
    c, answer = await log_in(bench, "ann", "ann-secret")
    assert_error(answer, Err.BAD_CREDENTIALS, "target")
    await end(bench)


# ---- many at once ----

@pytest.mark.parametrize("proxy,most", [(LONG, 1), (ALWAYS, 3)], ids=["remembered", "always"])
async def test_a_storm_of_one_user_is_not_as_many_log_ins(make_bench, proxy, most):
    bench = await make_bench(fresh=True, **settings(proxy=proxy, **both()))
    hold = Hold()
    rule = bench.target.on(Op.AUTH_RESPONSE, hold)
    clients = []
    for _ in range(100):
        c = await bench.open()
        assert (await c.startup()).opcode == Op.AUTHENTICATE
        clients.append((c, c.send(Op.AUTH_RESPONSE, requests.auth_response(plain_token("ann", "ann-secret")))))
    await hold.arrived()
    bystander = await bench.open()
    await bystander.options()
    assert len(hold.waiting) == 1
    hold.release()
    for c, stream in clients:
        assert (await c.answer(stream)).opcode == Op.AUTH_SUCCESS
    assert rule.hits <= most
    await writes(clients[0][0], bench)
    await end(bench)


async def test_a_storm_with_a_wrong_password(make_bench):
    bench = await make_bench(fresh=True, **settings(**both()))
    hold = Hold()
    rule = bench.target.on(Op.AUTH_RESPONSE, hold)
    clients = []
    for _ in range(20):
        c = await bench.open()
        await c.startup()
        clients.append((c, c.send(Op.AUTH_RESPONSE, requests.auth_response(plain_token("ann", "wrong")))))
    await hold.arrived()
    hold.release()
    for c, stream in clients:
        assert_error(await c.answer(stream), Err.BAD_CREDENTIALS, "target")
        assert await c.closed() == []
    assert 1 <= rule.hits <= 20


async def test_the_one_that_asked_leaves(make_bench):
    """Those that wait for the same answer get it all the same."""
    bench = await make_bench(**settings(**both()))
    hold = Hold()
    rule = bench.target.on(Op.AUTH_RESPONSE, hold)
    token = requests.auth_response(plain_token("ann", "ann-secret"))
    first, second = await bench.open(), await bench.open()
    await first.startup()
    await second.startup()
    first.send(Op.AUTH_RESPONSE, token)
    await hold.arrived()
    stream = second.send(Op.AUTH_RESPONSE, token)
    await (await bench.open()).options()
    await first.close()
    await (await bench.open()).options()
    hold.release()
    assert (await second.answer(stream)).opcode == Op.AUTH_SUCCESS
    assert rule.hits == 1
    await writes(second, bench)


async def test_all_that_asked_leave(make_bench):
    bench = await make_bench(**settings(**both()))
    hold = Hold()
    bench.target.on(Op.AUTH_RESPONSE, hold)
    c = await bench.open()
    await c.startup()
    c.send(Op.AUTH_RESPONSE, requests.auth_response(plain_token("ann", "ann-secret")))
    await hold.arrived()
    await c.close()
    hold.release()
    await writes(await ready(bench), bench)


async def test_versions_share_the_answer_but_no_connection(make_bench):
    bench = await make_bench(fresh=True, **settings(proxy=LONG, **both()))
    for version in (3, 4, 5):
        await writes(await ready(bench, version=version), bench)
    assert await metric(bench, "logins_asked", "target") == 1
    versions = {r.conn.version for r in bench.target.requests(Op.QUERY)}
    assert versions == {3, 4, 5}
    await end(bench)


# ---- mechanisms ----

TWO = dict(authenticator=DSE_AUTHENTICATOR, two_step=True)


@pytest.mark.parametrize("version", [4, 5])
async def test_two_steps(make_bench, version):
    """The proxy plays the node's part with the driver, and the driver's with the node."""
    bench = await make_bench(**settings(origin=auth({}, **TWO), target=auth(**TWO)))
    c = await bench.open(version)
    assert (await c.startup()).authenticator == DSE_AUTHENTICATOR
    challenge = await c.auth(b"PLAIN")
    assert challenge.opcode == Op.AUTH_CHALLENGE and challenge.token == b"PLAIN-START"
    assert not bench.origin.requests() and not bench.target.requests()
    assert (await c.login("ann", "ann-secret")).opcode == Op.AUTH_SUCCESS
    assert [r.request.token for r in bench.target.requests(Op.AUTH_RESPONSE)] == [b"PLAIN", b"\0ann\0ann-secret"]
    await writes(c, bench)


@pytest.mark.parametrize("dse", ["origin", "target"])
async def test_two_steps_on_one(make_bench, dse):
    bench = await make_bench(**settings(origin=auth({}, **(TWO if dse == "origin" else {})),
                                        target=auth(**(TWO if dse == "target" else {}))))
    c = await bench.open()
    await c.startup()
    if dse == "origin":
        assert (await c.auth(b"PLAIN")).token == b"PLAIN-START"
    assert (await c.login("ann", "ann-secret")).opcode == Op.AUTH_SUCCESS
    await writes(c, bench)


async def test_two_steps_again_after_a_refusal(make_bench):
    bench = await make_bench(**settings(FORWARD, origin=auth(**TWO)))
    c = await bench.open()
    await c.startup()
    assert (await c.auth(b"PLAIN")).token == b"PLAIN-START"
    assert_error(await c.login("ann", "wrong"), Err.BAD_CREDENTIALS, "origin")
    assert (await c.auth(b"PLAIN")).token == b"PLAIN-START"
    assert_error(await c.auth(b"what is this"), Err.BAD_CREDENTIALS, "PLAIN")
    assert (await c.login("ann", "ann-secret")).opcode == Op.AUTH_SUCCESS


def kerberos(bench, cluster, rounds=2):
    """The node talks `rounds` times and then lets in whoever has said b"\\x60ticket-N" each time."""
    async def behave(conn, got):
        said = getattr(conn, "said", [])
        conn.said = said + [got.request.token]
        if got.request.token != b"\x60ticket-%d" % len(said):
            conn.reply(got, conn.error(Err.BAD_CREDENTIALS, "no such ticket"))
        elif len(conn.said) < rounds:
            conn.reply(got, behaviour.Answer(Op.AUTH_CHALLENGE, requests.auth_response(b"more-%d" % len(conn.said))))
        else:
            conn.authenticated = True
            conn.user = "by ticket"
            conn.reply(got, behaviour.Answer(Op.AUTH_SUCCESS, requests.auth_response(b"welcome")))
    cluster.on(Op.AUTH_RESPONSE, behave)


@pytest.mark.parametrize("version,compression", [(3, None), (4, "lz4"), (5, None), (5, "lz4")])
async def test_another_mechanism_gets_connections_of_its_own(make_bench, version, compression):
    """Its tokens pass as they are, its STARTUP too, and no other client uses what it has logged in on."""
    bench = await make_bench(**settings(FORWARD, origin=auth({}, authenticator=KERBEROS)))
    kerberos(bench, bench.origin)
    clients = []
    for _ in range(2):
        c = await bench.open(version)
        answer = await c.startup(compression, {"DRIVER_NAME": "kerberised", "CQL_VERSION": "3.0.0"})
        assert answer.authenticator == KERBEROS
        challenge = await c.auth(b"\x60ticket-0")
        assert (challenge.opcode, challenge.token) == (Op.AUTH_CHALLENGE, b"more-1")
        answer = await c.auth(b"\x60ticket-1")
        assert (answer.opcode, answer.token) == (Op.AUTH_SUCCESS, b"welcome")
        clients.append(c)
    for c in clients:
        await reads(c, bench.origin)
        await writes(c, bench)
    for cluster in bench.clusters:
        assert len(cluster.connections()) == 2
        assert {r.request.options["DRIVER_NAME"] for r in cluster.requests(Op.STARTUP)} == {"kerberised"}
        assert len({r.conn for r in cluster.requests(Op.QUERY)}) == 2


async def test_another_mechanism_is_refused_and_tries_again(make_bench):
    bench = await make_bench(**settings(FORWARD, origin=auth({}, authenticator=KERBEROS)))
    kerberos(bench, bench.origin, rounds=1)
    c = await bench.open()
    await c.startup()
    assert_error(await c.auth(b"\x60wrong\0\xff\0"), Err.BAD_CREDENTIALS, "no such ticket", "origin")
    bench.origin.connections()[0].said = []
    assert (await c.auth(b"\x60ticket-0")).opcode == Op.AUTH_SUCCESS
    await writes(c, bench)


async def test_another_mechanism_where_credentials_are_needed(make_bench):
    """Origin would get the configured user in place of the client's token: that needs SASL PLAIN."""
    bench = await make_bench(**settings(origin=auth({}, authenticator=KERBEROS), target=auth()))
    c = await bench.open()
    await c.startup()
    assert_error(await c.auth(b"\x60ticket-0"), Err.BAD_CREDENTIALS, "SASL PLAIN", "origin")
    assert await c.closed() == []
    assert not bench.origin.requests() and not bench.target.requests()


async def test_a_node_that_asks_for_more_than_a_password(make_bench):
    """That is a refusal; the node is not taken for one that is broken."""
    bench = await make_bench(**settings(FORWARD, origin=auth(authenticator=KERBEROS)))
    other = await ready(bench, "bob")
    bench.origin.on(lambda got: got.opcode == Op.AUTH_RESPONSE and b"ann" in got.request.token,
                    behaviour.answer(Op.AUTH_CHALLENGE, requests.auth_response(b"and your fingerprint?")))
    c, answer = await log_in(bench, "ann", "ann-secret")
    assert_error(answer, Err.BAD_CREDENTIALS, "origin", "something else than PLAIN")
    await writes(other, bench)
    await writes(await ready(bench, "bob"), bench)


@pytest.mark.parametrize("where", [None, "target"], ids=["no log-in", "log-in"])
async def test_options_that_change_the_connection(make_bench, where):
    """NO_COMPACT holds for a whole connection: not for a shared one. Written "false" it changes nothing."""
    bench = await make_bench(**settings(**({where: auth()} if where else {})))
    for value, is_passed in (("true", True), ("TRUE", True), ("false", False)):
        c = await bench.open()
        answer = await c.startup(None, {"CQL_VERSION": "3.0.0", "NO_COMPACT": value})
        if where:
            answer = await c.login("ann", "ann-secret")
        assert not answer.is_error(), answer
        await writes(c, bench)
        for cluster in bench.clusters:
            assert ("NO_COMPACT" in cluster.requests(Op.STARTUP)[-1].request.options) == is_passed


@pytest.mark.parametrize("token", [None, b"", b"PLAIN", b"no zero bytes", b"\0only one"])
async def test_a_token_that_is_no_log_in(make_bench, token):
    """The node's own answer, through a connection of the client's own; or, where that cannot be, ours."""
    bench = await make_bench(**settings(FORWARD, origin=auth()))
    c = await bench.open()
    await c.startup()
    assert_error(await c.auth(token), Err.BAD_CREDENTIALS)
    assert (await c.login("ann", "ann-secret")).opcode == Op.AUTH_SUCCESS


# ---- clusters that cannot be had ----

@pytest.mark.parametrize("primary", ["origin", "target"])
async def test_the_other_cluster_is_down(make_bench, primary):
    """READY all the same; what needs the other cluster is UNAVAILABLE, what does not is served."""
    bench = await make_bench(fresh=True, primary=primary, **settings())
    bench.secondary.nodes[0].refuse()
    for _ in range(2):
        c = await bench.client()
        await reads(c, bench.primary)
        answer = await c.query("INSERT INTO ks.t (k) VALUES (1)")
        assert_error(answer, Err.UNAVAILABLE, bench.secondary.name)


@pytest.mark.parametrize("primary", ["origin", "target"])
async def test_the_primary_is_down(make_bench, primary):
    bench = await make_bench(fresh=True, primary=primary, **settings())
    bench.primary.nodes[0].refuse()
    c = await bench.open()
    answer = await c.startup()
    assert_error(answer, Err.SERVER_ERROR, f"cannot connect to {primary}")
    assert await c.closed() == []


async def test_the_cluster_that_checks_the_password_is_down(make_bench):
    """Nobody gets in whose password nobody has checked."""
    bench = await make_bench(fresh=True, **settings(**both()))
    bench.target.nodes[0].refuse()
    c, answer = await log_in(bench, "ann", "ann-secret")
    assert_error(answer, Err.SERVER_ERROR, "cannot connect to target", "check the log-in")
    assert await c.closed() == []
    assert not bench.origin.requests()


async def test_the_cluster_that_does_not_check_the_password_is_down(make_bench):
    bench = await make_bench(fresh=True, primary="target", **settings(**both()))
    bench.origin.nodes[0].refuse()
    c = await ready(bench)
    await reads(c, bench.target)


async def test_the_other_cluster_is_mute(make_bench):
    """It is not waited for until the driver gives up."""
    bench = await make_bench(fresh=True, **settings())
    hold = Hold()
    bench.target.on(Op.STARTUP, hold)
    c = await bench.client()
    await reads(c, bench.origin)
    hold.release()
    await writes(c, bench)


async def test_the_primary_is_mute(make_bench):
    bench = await make_bench(fresh=True, **settings(proxy={"handshake_timeout": "300ms"}))
    hold = Hold()
    bench.origin.on(Op.STARTUP, hold)
    c = await bench.open()
    assert_error(await c.startup(), Err.SERVER_ERROR, "origin has not finished the log-in within 300 ms")
    assert await c.closed() == []
    hold.release()
    await writes(await bench.client(), bench)


async def test_the_time_for_a_log_in_is_over(make_bench):
    bench = await make_bench(fresh=True, **settings(proxy={"handshake_timeout": "300ms"}, **both()))
    hold = Hold()
    bench.target.on(Op.AUTH_RESPONSE, hold)
    c, answer = await log_in(bench, "ann", "ann-secret")
    assert_error(answer, Err.SERVER_ERROR, "target has not finished the log-in within 300 ms")
    assert await c.closed() == []
    hold.release()
    silent = await bench.open()
    await silent.startup()
    assert await silent.closed() == []  # it was the driver's turn


@pytest.mark.parametrize("version", [4, 5])
async def test_a_startup_that_fails_on_the_primary(make_bench, version):
    bench = await make_bench(fresh=True, **settings())
    bench.origin.on(Op.STARTUP, behaviour.error(Err.SERVER_ERROR, "no room"), times=1)
    c = await bench.open(version)
    answer = await c.startup()
    assert_error(answer, Err.SERVER_ERROR, "origin", bench.origin.nodes[0].address, "no room")
    assert answer.version == version


@pytest.mark.parametrize("where", ["origin", "target"])
async def test_a_version_that_a_node_does_not_take(make_bench, where):
    """PROTOCOL_ERROR on stream 0, by which a driver finds out to speak a lower one; that one is served."""
    bench = await make_bench(fresh=True, **settings())
    cluster = getattr(bench, where)
    cluster.on(lambda got: got.opcode == Op.STARTUP and got.version == 5,
               behaviour.error(Err.PROTOCOL_ERROR, "Beta version of the protocol"))
    c = await bench.open(5)
    c.send(Op.STARTUP, requests.startup(), stream=7)
    answer = await c.next_answer()
    assert answer.stream == 0
    assert_error(answer, Err.PROTOCOL_ERROR, where, "Beta version of the protocol")
    assert await c.closed() == []


async def test_the_other_cluster_was_never_there(make_bench):
    """ready_when = primary: clients are let in before the other cluster has ever been reached."""
    def no_target(bench):
        async def nothing():
            pass
        bench.target.start = nothing
    bench = await make_bench(fresh=True, configure=no_target, **settings({"http": {"ready_when": "primary"}}))
    c = await bench.client()
    await reads(c, bench.origin)
    answer = await c.query("INSERT INTO ks.t (k) VALUES (1)")
    assert_error(answer, Err.UNAVAILABLE, "target")
    await type(bench.target).start(bench.target)
    await bench.proxy.until_logged("target .*control connection is up")

    async def is_served():
        return not (await c.query("INSERT INTO ks.t (k) VALUES (2)")).is_error()
    await bench.proxy.until(is_served, "write of the client that was there before")


# ---- one piece, secrets ----

@pytest.mark.parametrize("version", [3, 4])
async def test_a_whole_log_in_in_one_piece(make_bench, version):
    bench = await make_bench(**settings(**both()))
    c = await bench.open(version)
    token = requests.auth_response(plain_token("ann", "ann-secret"))
    c.write(c.frame(Op.STARTUP, requests.startup(), stream=1) + c.frame(Op.AUTH_RESPONSE, token, stream=2) +
            c.frame(Op.QUERY, requests.query(version, "SELECT * FROM ks.t"), stream=3))
    answers = [await c.next_answer() for _ in range(3)]
    assert [(a.stream, a.opcode) for a in answers] == [(1, Op.AUTHENTICATE), (2, Op.AUTH_SUCCESS), (3, Op.RESULT)]


async def test_passwords_stay_out_of_the_log(make_bench):
    bench = await make_bench(fresh=True, **settings({"log": {"level": "trace"}}, **both()))
    await writes(await ready(bench), bench)
    await log_in(bench, "ann", "a-wrong-secret")
    for secret in ("proxy-password", "ann-secret", "a-wrong-secret"):
        assert secret not in bench.proxy.log


@pytest.mark.parametrize("sections,logged,not_logged", [
    ({}, "origin gets the configured user proxy", "target gets"),
    (FORWARD, "target gets the configured user proxy", "origin gets"),
    ({"target": {"credentials": "configured"}}, "target gets the configured user proxy", "whatever")])
async def test_the_log_says_where_users_share_a_role(make_bench, sections, logged, not_logged):
    bench = await make_bench(**settings(sections, origin=auth(), target=auth()))
    assert bench.proxy.messages.count(logged) == 1
    assert not_logged not in bench.proxy.messages


async def test_the_driver_is_named_in_the_log(make_bench):
    bench = await make_bench(**settings())
    c = await bench.open()
    await c.startup(None, {"CQL_VERSION": "3.0.0", "DRIVER_NAME": "Wire\nTest", "DRIVER_VERSION": "1.2.3"})
    await bench.proxy.until_logged(r"ready, Wire\?Test 1\.2\.3, protocol|ready, Wire\?Test 1\.2\.3")


async def test_without_pools_all_is_as_it_was(make_bench):
    """backend_connections = dedicated: one connection for each client, nothing remembered."""
    bench = await make_bench(**dict(both(), sections={"proxy": {"backend_connections": "dedicated"}}))
    for _ in range(2):
        c, answer = await log_in(bench, "ann", "ann-secret")
        assert answer.opcode == Op.AUTH_SUCCESS
    assert logged_in(bench.target) == ["ann", "ann"]
    assert len(bench.target.requests(Op.AUTH_RESPONSE)) == 2
