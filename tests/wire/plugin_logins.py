"""For tests of plugins and log-ins: benches with instances of the fixture `logins`, and what these have said."""
import re

import pytest

from cqlwire import Op
from fakecluster import Auth

PROXY = {"proxy": "proxy-password"}  # what the bench configures for both clusters
USERS = {"ann": "ann-secret", "bob": "bob-secret"}
ROLES = {"role-o": "origin-word", "role-t": "target-word"}
SET_BOTH = "origin=role-o/origin-word target=role-t/target-word"


def auth(users=None, **more):
    return {"auth": Auth(PROXY | (USERS | ROLES if users is None else users), **more)}


@pytest.fixture
def plugged(make_bench, plugin_path):
    """A bench whose plugins have these rules: one instance for each list of them."""
    async def make(*rules, flags=(), sections=None, plugin=None, **settings):
        plugins = {f"plugin p{i}": {"file": plugin_path("logins", *flags), "rule": list(lines)} | (plugin or {})
                   for i, lines in enumerate(rules)}
        bench = await make_bench(sections=plugins | (sections or {}), **settings)
        bench.mark = len(bench.proxy.log)
        return bench
    return make


def said(bench, name="p0"):
    """What an instance was called with in this test."""
    return re.findall(rf"^logins {name}: (.*)$", bench.proxy.log[bench.mark:], re.M)


async def until_said(bench, pattern, name="p0", count=1):
    async def find():
        found = [line for line in said(bench, name) if re.match(pattern, line)]
        return found if len(found) >= count else None
    return await bench.proxy.until(find, f"{count} x {pattern!r} of plugin {name}, which has said {said(bench, name)}")


def logged_in(cluster):
    """Who has logged in on the connections of clients that are open."""
    return sorted(c.user for c in cluster.connections() if c.authenticated and c.user)


def tokens(cluster):
    return [r.request.token for r in cluster.requests(Op.AUTH_RESPONSE)]


async def served(bench, c):
    answer = await c.query("INSERT INTO ks.t (k) VALUES (1)")
    assert not answer.is_error(), answer
    return c


async def dialogue(bench, version=4, compression=None):
    c = await bench.open(version)
    answer = await c.startup(compression)
    assert answer.opcode == Op.AUTHENTICATE, answer
    return c


def no_secret_in_the_log(bench):
    log = bench.proxy.log[bench.mark:]
    assert not [secret for secret in (USERS | ROLES).values() if secret in log.replace("rule", "")]
