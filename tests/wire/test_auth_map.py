"""
plugins/auth_map: users of clients become users of the clusters. All of it holds in both modes of backend connections
and in both profiles, so what is looked at is who has logged in to the clusters, and what the driver was told.
"""
import asyncio
import re
import warnings
from pathlib import Path

import pytest

from certificates import Authority
from cqlwire import Closed, Err, Op, requests
from fakecluster import Auth
from helpers import assert_alive, assert_error
from proxy import ROOT

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import crypt

ORIGIN = {"proxy": "proxy-password", "o_app": "o-secret-1961", "other": "other-secret"}
TARGET = {"proxy": "proxy-password", "t_app": "t-secret-1962", "carol": "carol-secret", "ann": "ann-secret"}
WRONG = "user or password is wrong"
OWN = "origin_user = o_app\norigin_password = o-secret-1961\ntarget_user = t_app\ntarget_password = t-secret-1962\n"


def hashed(password, rounds=1000):
    return crypt.crypt(password, f"$6$rounds={rounds}$abcdefgh")


HASH = hashed("app-secret-1963")
MAP = f"""[user app]
hash = {HASH}
{OWN}
"""


class Stand:
    """A bench with a mapping."""

    def __init__(self, make_bench, plugin_path, folder):
        self.make_bench = make_bench
        self.plugin = plugin_path("auth_map")
        self.path = folder / "auth_map.ini"

    def write(self, text):
        new = self.path.with_suffix(".new")
        new.touch(0o600)
        new.write_text(text)
        new.rename(self.path)

    async def start(self, text=MAP, origin=ORIGIN, target=TARGET, options=None, sections=None, configure=None, **how):
        self.write(text)
        section = {"file": self.plugin, "map": self.path, "nice": 0} | (options or {})
        clusters = {"origin": {"auth": Auth(origin) if origin else None},
                    "target": {"auth": Auth(target) if target else None}}
        self.bench = await self.make_bench(fresh=True, sections={"plugin auth_map": section} | (sections or {}),
                                           configure=configure, **clusters, **how)
        return self.bench

    async def log_in(self, user, password, **how):
        c = await self.bench.open(**how)
        assert (await c.startup()).opcode == Op.AUTHENTICATE
        return c, await c.login(user, password)

    async def let_in(self, user="app", password="app-secret-1963", **how):
        c, answer = await self.log_in(user, password, **how)
        assert answer.opcode == Op.AUTH_SUCCESS, answer
        return c

    async def refused(self, user, password, text=WRONG, code=Err.BAD_CREDENTIALS):
        c, answer = await self.log_in(user, password)
        assert_error(answer, code, text)
        return c

    def users(self, cluster):
        """Who has tried to log in to it for clients."""
        return {r.request.token.split(b"\0")[1].decode() for r in cluster.requests(Op.AUTH_RESPONSE)}

    async def logins(self, result):
        return (await self.bench.proxy.metrics())[
            f'zdm_cqlferry_auth_map_logins_total{{plugin="auth_map",result="{result}"}}']

    async def hashes(self):
        """So many passwords were compared with a hash."""
        return (await self.bench.proxy.metrics())['zdm_cqlferry_auth_map_compare_seconds_count{plugin="auth_map"}']


@pytest.fixture
def stand(make_bench, plugin_path, tmp_path):
    return Stand(make_bench, plugin_path, tmp_path)


# ---- who gets what ----

@pytest.mark.parametrize("version", [3, 4, 5])
async def test_a_mapped_user(stand, version):
    """The clusters see users of their own, the application knows neither's password; a wrong one reaches no cluster."""
    bench = await stand.start()
    c = await bench.open(version)
    assert (await c.startup()).opcode == Op.AUTHENTICATE
    assert_error(await c.login("app", "wrong"), Err.BAD_CREDENTIALS, WRONG)
    assert not stand.users(bench.origin) and not stand.users(bench.target)
    assert (await c.login("app", "app-secret-1963")).opcode == Op.AUTH_SUCCESS  # it may try again
    await assert_alive(c, bench)
    assert stand.users(bench.origin) == {"o_app"} and stand.users(bench.target) == {"t_app"}
    assert await stand.logins("verified") == 1 and await stand.logins("wrong_password") == 1


async def test_no_cluster_demands_a_login(stand):
    """The proxy asks itself, and lets in whose hash fits."""
    bench = await stand.start(f"[user app]\nhash = {HASH}\naction = zdm\n", origin=None, target=None)
    await stand.refused("app", "wrong")
    await stand.refused("nobody", "app-secret-1963")
    await assert_alive(await stand.let_in(), bench)
    assert not bench.origin.requests(Op.AUTH_RESPONSE) and not bench.target.requests(Op.AUTH_RESPONSE)


async def test_a_cluster_compares_the_password(stand):
    """target = client: the application has target's password, and origin's from the mapping."""
    bench = await stand.start("[user carol]\norigin_user = o_app\norigin_password = o-secret-1961\ntarget = client\n")
    c, answer = await stand.log_in("carol", "wrong")
    assert_error(answer, Err.BAD_CREDENTIALS, "incorrect")
    assert not await stand.logins("verified")
    await assert_alive(await stand.let_in("carol", "carol-secret"), bench)
    assert stand.users(bench.origin) == {"o_app"} and stand.users(bench.target) == {"carol"}


async def test_nobody_would_compare(stand):
    """The cluster that gets the client's password demands none: the other's is not given away."""
    bench = await stand.start("[user carol]\norigin_user = o_app\norigin_password = o-secret-1961\ntarget = client\n",
                              target=None)
    await stand.refused("carol", "anything")
    await bench.proxy.until_logged('log-in of user "carol" from .* refused: nobody would compare its password')
    assert not stand.users(bench.origin)
    assert await stand.logins("unchecked") == 1


async def test_wildcards_groups_and_the_default(stand):
    """The most specific section first, groups for what it leaves out, ZDM's rule for all others."""
    bench = await stand.start(f"[default]\naction = zdm\n"
                              f"[user app_*]\nhash = {hashed('of-all')}\n"
                              f"[user app_1]\nhash = {hashed('of-one')}\n"
                              f"[group apps]\nmembers = app_*\n{OWN}"
                              f"[user banned]\naction = deny\n")
    await stand.refused("app_1", "of-all")
    await stand.let_in("app_1", "of-one")
    await stand.let_in("app_2", "of-all")
    await stand.refused("banned", "of-all")
    assert stand.users(bench.origin) == {"o_app"} and stand.users(bench.target) == {"t_app"}
    # Nobody's section: target compares, origin gets what is configured.
    await stand.let_in("carol", "carol-secret")
    assert stand.users(bench.origin) == {"o_app", "proxy"} and stand.users(bench.target) == {"t_app", "carol"}


async def test_the_name_of_the_mapped_user(stand):
    """Limits and scripts know the client by the name it has given."""
    bench = await stand.start(sections={"proxy": {"max_connections_per_user": 1}})
    await stand.let_in()
    c, answer = await stand.log_in("app", "app-secret-1963")
    assert answer.opcode == Op.ERROR and "max_connections_per_user" in answer.text, answer
    assert bench.proxy.running()


async def test_credentials_of_the_mapping_that_a_cluster_refuses(stand):
    """It is the mapping's fault: the client reads nothing about the role, and is not counted for a lock-out."""
    await stand.start(MAP.replace("o-secret-1961", "old"), options={"lockout_failures": 1})
    c, answer = await stand.log_in("app", "app-secret-1963")
    assert answer.opcode == Op.ERROR and "o_app" not in answer.text, answer
    c, answer = await stand.log_in("app", "app-secret-1963")
    assert "locked" not in answer.text and "too many" not in answer.text
    assert await stand.logins("refused_by_cluster") == 0


# ---- comparing ----

async def test_an_unknown_user_looks_like_a_wrong_password(stand):
    """The same words, after the same work."""
    await stand.start()
    _, wrong = await stand.log_in("app", "nonsense")
    assert await stand.hashes() == 1
    _, unknown = await stand.log_in("nobody", "nonsense")
    assert await stand.hashes() == 2
    assert (wrong.code, wrong.text) == (unknown.code, unknown.text)
    # The password of the section whose hash it was compared with is none of its.
    await stand.refused("nobody", "app-secret-1963")
    assert await stand.hashes() == 3
    assert await stand.logins("unknown_user") == 2


async def test_what_was_right_is_remembered(stand):
    """A good password costs one hash, a wrong one always costs one."""
    await stand.start()
    for _ in range(3):
        await stand.let_in()
    assert await stand.hashes() == 1 and await stand.logins("remembered") == 2
    for n in range(2):
        await stand.refused("app", "app-secret-196")
        assert await stand.hashes() == 2 + n


async def test_nothing_is_remembered(stand):
    await stand.start(options={"remember": 0})
    for _ in range(2):
        await stand.let_in()
    assert await stand.hashes() == 2


async def test_many_connections_of_one_application(stand):
    """They come at once: those that wait behind the first profit by it."""
    bench = await stand.start(MAP.replace(HASH, hashed("app-secret-1963", 100_000)), options={"threads": 1})
    clients = await asyncio.gather(*(stand.let_in() for _ in range(30)))
    assert await stand.hashes() == 1
    await assert_alive(clients[-1], bench)


async def test_the_queue_is_full(stand):
    """Who finds it full is told OVERLOADED at once. The worker serves others meanwhile: it waits for nobody."""
    slow = hashed("app-secret-1963", 500_000)
    bench = await stand.start(MAP.replace(HASH, slow) + f"[user quick]\naction = zdm\nhash = {HASH}\n",
                              options={"threads": 1, "queue": 1, "lockout_failures": 0}, origin=None, target=None,
                              sections={"proxy": {"workers": 1}})
    served = await stand.let_in("quick")
    logins = [asyncio.ensure_future(stand.log_in("app", f"wrong {n}")) for n in range(6)]

    async def overloaded():
        return await stand.logins("overloaded") >= 1
    await bench.proxy.until(overloaded, "a log-in that is refused")
    count = 0
    while not all(login.done() for login in logins):
        await assert_alive(served, bench)
        count += 1
    assert count >= 5  # while two hashes were made: a worker that waits serves one between them
    answers = [answer for _, answer in await asyncio.gather(*logins)]
    assert {(a.code, a.text) for a in answers} == {
        (Err.BAD_CREDENTIALS, WRONG), (Err.OVERLOADED, "too many log-ins are being checked; try again")}


async def test_a_login_that_waits_too_long(stand):
    slow = hashed("app-secret-1963", 400_000)
    await stand.start(MAP.replace(HASH, slow), options={"threads": 1, "wait": "20ms", "lockout_failures": 0})
    answers = [a for _, a in await asyncio.gather(*(stand.log_in("app", f"wrong {n}") for n in range(4)))]
    late = (Err.OVERLOADED, "too many log-ins are being checked; try again")
    assert late in {(a.code, a.text) for a in answers} <= {(Err.BAD_CREDENTIALS, WRONG), late}


async def test_clients_that_leave_while_they_are_held(stand):
    """Nothing of them stays, and the next one is served."""
    slow = hashed("app-secret-1963", 100_000)
    bench = await stand.start(MAP.replace(HASH, slow), options={"threads": 1, "lockout_failures": 0})
    for n in range(8):
        c = await bench.open()
        assert (await c.startup()).opcode == Op.AUTHENTICATE
        c.send(Op.AUTH_RESPONSE, requests.auth_response(requests.plain_token("app", f"wrong {n}")))
        c.abort()
    await assert_alive(await stand.let_in(), bench)


# ---- lock-out ----

async def test_lock_out(stand):
    """After three failures the address is refused, whatever it says, until its time is over."""
    bench = await stand.start(options={"lockout_failures": 3, "lockout_time": "4s"})
    first = await stand.let_in()
    await stand.refused("app", "wrong")
    await stand.refused("nobody", "wrong")
    await stand.refused("app", "wrong")
    await stand.refused("app", "app-secret-1963", "too many failed log-ins from this address")
    await bench.proxy.until_logged(r"127\.\S+ is locked out for 4 s: 3 log-ins have failed")
    metrics = await bench.proxy.metrics()
    assert metrics['zdm_cqlferry_auth_map_lockouts_total{plugin="auth_map"}'] == 1
    assert await stand.logins("locked_out") == 1
    await assert_alive(first, bench)  # who is in stays in

    async def is_over():
        c, answer = await stand.log_in("app", "app-secret-1963")
        return answer.opcode == Op.AUTH_SUCCESS
    await bench.proxy.until(is_over, "end of the lock-out")


async def test_lock_out_by_a_clusters_refusals(stand):
    """A password that a cluster compares counts, too."""
    bench = await stand.start("[default]\naction = zdm\n", options={"lockout_failures": 2})
    for _ in range(2):
        await stand.refused("carol", "wrong", "incorrect")
    await stand.refused("carol", "carol-secret", "too many failed log-ins from this address")
    assert await stand.logins("refused_by_cluster") == 2
    assert bench.proxy.running()


async def test_what_is_configured_and_refused_locks_nobody_out(stand):
    """Origin's password has changed: that is no failure of those who log in, and they read what it is."""
    bench = await stand.start("[default]\naction = zdm\n", options={"lockout_failures": 2})
    bench.origin.auth = Auth({"proxy": "another-one"})
    for _ in range(4):
        _, answer = await stand.log_in("carol", "carol-secret")
        assert answer.opcode == Op.ERROR and "origin" in answer.text, answer
    bench.origin.auth = Auth(ORIGIN)
    await stand.let_in("carol", "carol-secret")
    assert await stand.logins("refused_by_cluster") == 0 and await stand.logins("locked_out") == 0


# ---- reload ----

async def test_reload_under_load(stand):
    """Those who are in go on through it; who comes afterwards is compared with the new mapping."""
    bench = await stand.start()
    c = await stand.let_in()
    done = asyncio.Event()

    async def work():
        count = 0
        while not done.is_set():
            answer = await c.query("SELECT * FROM ks.t")
            assert not answer.is_error(), answer
            count += 1
        return count
    task = asyncio.ensure_future(work())
    for n in range(5):
        stand.write(MAP.replace(HASH, hashed(f"number {n}")))
        await bench.reload()
        await stand.let_in("app", f"number {n}")
        await stand.refused("app", f"number {n - 1}")
    stand.write(f"[user other]\nhash = {HASH}\n{OWN}")
    await bench.reload()
    await stand.refused("app", "number 4")
    await stand.let_in("other")
    done.set()
    assert await task > 10
    await assert_alive(c, bench)  # CQL has no way to ask it again


async def test_a_reload_that_is_refused(stand):
    """An error on line 17: it is named, and the old mapping stays."""
    bench = await stand.start()
    stand.write("; a line\n" * 14 + "[user app]\norigin = client\ntarget_pasword = x-secret\n")
    log = await bench.reload("refused")
    assert f"{stand.path}:17: [user app] target_pasword: unknown key; allowed: hash, origin" in log
    assert "x-secret" not in bench.proxy.log
    await stand.let_in()
    stand.path.unlink()
    log = await bench.reload("refused")
    assert f"{stand.path}: No such file or directory" in log
    await stand.let_in()


async def test_outdated_clients(stand):
    """outdated = deny: who logged in with another mapping is told so; the others do not notice."""
    other = f"[user other]\nhash = {HASH}\n{OWN}"
    bench = await stand.start(MAP + other, options={"outdated": "deny"})
    app, unchanged = await stand.let_in(), await stand.let_in("other")
    stand.write(other + f"[user app]\nhash = {HASH}\naction = zdm\n")
    await bench.reload()
    answer = await app.query("SELECT * FROM ks.t")
    assert_error(answer, Err.UNAUTHORIZED, "the mapping of this user has changed since it logged in; connect again")
    await assert_alive(unchanged, bench)
    stand.write(MAP + other)  # as it was
    await bench.reload()
    await assert_alive(app, bench)


# ---- wrong configurations ----

@pytest.mark.parametrize("text, options, message", [
    (f"[user app]\n{OWN}", {}, r"{map}:1: \[user app\] every client that names the user would get a cluster's password"),
    (MAP, {"verify": "off"}, r"{map}:1: .*verify = off; allowed: verify = optional"),
    ("[user app]\ntarget_password = env:NOT_SET_ANYWHERE\n", {}, r"{map}:2: .* env:NOT_SET_ANYWHERE: this variable is not set"),
    ("[user app]\ntarget_password = file:absent\n", {}, r"{map}:2: .*absent: No such file"),
    (MAP, {"map": "absent.ini"}, r"absent\.ini: No such file or directory"),
    (MAP, {"map": None}, r"\[plugin auth_map\] map: not set, but mandatory"),
    (MAP, {"threads": 0}, r"threads.*1.*64"),
    (MAP, {"queue": 100_000}, r"queue.*16384"),
    (MAP, {"verify": "maybe"}, r"verify.*off.*optional.*required"),
    (MAP, {"lockout_time": "2d"}, r"lockout_time"),
])
async def test_what_does_not_start(stand, text, options, message):
    """The message names file and line, or the option and what is allowed; exit 1."""
    stand.write(text)
    section = {"file": stand.plugin, "map": stand.path} | options
    bench = await stand.make_bench(fresh=True, wait=False, sections={"plugin auth_map": section})
    bench.may_be_down = True
    await bench.proxy.never_ready(message.replace("{map}", re.escape(str(stand.path))), exit_code=1)


async def test_any_password(stand):
    """Said explicitly, a mapping without a hash is taken, with a warning."""
    bench = await stand.start(f"[user app]\n{OWN}", options={"accept_any_password": "on"})
    await stand.let_in("app", "whatever")
    assert "where there is no hash, whoever knows the name of a user gets in" in bench.proxy.messages
    await stand.refused("nobody", "whatever")


async def test_a_mapping_that_others_may_read(stand):
    stand.write(MAP)

    def configure(bench):
        stand.path.chmod(0o666)
    bench = await stand.start(configure=configure)
    assert re.search(r"WARN.*others may change \S+auth_map\.ini \(its mode is 0666\): it should be 0600",
                     bench.proxy.messages)


async def test_the_example(stand, monkeypatch, tmp_path):
    """etc/auth_map.ini is read as it stands."""
    text = (ROOT / "etc" / "auth_map.ini").read_text()
    for name in re.findall(r"env:(\w+)", text):
        monkeypatch.setenv(name, HASH if "HASH" in name else "a-secret")
    for name in re.findall(r"^[^;#\n]*file:(\S+)", text, re.M):
        text = text.replace(f"file:{name}", f"file:{tmp_path / Path(name).name}")
        (tmp_path / Path(name).name).write_text("a-secret\n")
    await stand.start(text)
    await stand.refused("nobody", "x")
    await stand.refused("app_orders", "orders-of-yesterday")
    assert await stand.logins("wrong_password") == 1


# ---- certificates ----

@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("auth_map_ca"), "auth_map test CA")


def with_tls(authority, demand="tls_require_client_cert"):
    def configure(bench):
        cert, key = authority.certificate([bench.proxy.listen[0]])
        bench.sections["listener"] = {"tls_cert": cert, "tls_key": key, "tls_ca": authority.ca,
                                      demand: "true"}
    return configure


CERTIFICATES = f"[certificate CN=cqlferry*]\nuser = app\n{MAP}[user other]\nhash = {HASH}\n{OWN}"


async def test_a_certificate_in_place_of_a_password(stand, authority):
    """READY at once; the clusters get what is mapped."""
    bench = await stand.start(CERTIFICATES, configure=with_tls(authority), sections={"proxy": {"max_connections_per_user": 1}})
    context = authority.client(own=authority.certificate())
    c = await bench.open(ssl=context)
    assert (await c.startup()).opcode == Op.READY
    await assert_alive(c, bench)
    assert stand.users(bench.origin) == {"o_app"} and stand.users(bench.target) == {"t_app"}
    assert await stand.logins("certificate") == 1
    second = await bench.open(ssl=context)  # it is the user `app`, as limits know it
    answer = await second.startup()
    assert answer.opcode == Op.ERROR and "max_connections_per_user" in answer.text, answer


async def test_certificates_and_passwords_at_one_listener(stand, authority, tmp_path):
    """Who has one is in; who has none says a password; who has one of somebody else's is nobody."""
    bench = await stand.start(CERTIFICATES, configure=with_tls(authority, "tls_ask_client_cert"))
    c = await bench.open(ssl=authority.client(own=authority.certificate()))
    assert (await c.startup()).opcode == Op.READY
    await assert_alive(c, bench)
    await assert_alive(await stand.let_in(ssl=authority.client()), bench)
    other = Authority(tmp_path / "other", "another CA")
    with pytest.raises((OSError, Closed)):
        c = await bench.open(ssl=authority.client(own=other.certificate()))
        await c.startup()
    assert await stand.logins("certificate") == 1 and await stand.logins("verified") == 1


async def test_a_certificate_beside_the_password(stand, authority):
    """certificate = both: the right password of the certificate's user, and no other's."""
    bench = await stand.start(CERTIFICATES, configure=with_tls(authority), options={"certificate": "both"})
    context = authority.client(own=authority.certificate())
    await assert_alive(await stand.let_in(ssl=context), bench)
    for user, password in (("app", "wrong"), ("other", "app-secret-1963")):
        _, answer = await stand.log_in(user, password, ssl=context)
        assert_error(answer, Err.BAD_CREDENTIALS, WRONG)
    await bench.proxy.until_logged("its certificate is none of this user's")


@pytest.mark.parametrize("wanted", [True, False])
async def test_a_certificate_where_a_cluster_gets_the_clients_password(stand, authority, wanted):
    """It is asked for, and does not become what is configured for that cluster; unless the cluster wants none."""
    mapping = "[certificate CN=cqlferry*]\nuser = ann\n[user ann]\norigin = client\n" \
              "target_user = t_app\ntarget_password = t-secret-1962\n"
    bench = await stand.start(mapping, configure=with_tls(authority), origin=(ORIGIN | {"ann": "anns"}) if wanted else None)
    context = authority.client(own=authority.certificate())
    c = await bench.open(ssl=context)
    answer = await c.startup()
    if wanted:
        assert answer.opcode == Op.AUTHENTICATE
        assert_error(await c.login("carol", "anns"), Err.BAD_CREDENTIALS, WRONG)
        assert (await c.login("ann", "anns")).opcode == Op.AUTH_SUCCESS
        assert stand.users(bench.origin) == {"ann"}
    else:
        assert answer.opcode == Op.READY
    assert stand.users(bench.target) == {"t_app"}
    await assert_alive(c, bench)


@pytest.mark.parametrize("certificate", ["sufficient", "required", "both", "off"])
async def test_a_certificate_that_no_section_has(stand, authority, certificate):
    """Where one is required nobody gets in without; else the password decides."""
    bench = await stand.start(CERTIFICATES.replace("CN=cqlferry*", "CN=cqlferry"), configure=with_tls(authority),
                              options={"certificate": certificate})
    c = await bench.open(ssl=authority.client(own=authority.certificate()))
    answer = await c.startup()
    if certificate in ("required", "both"):
        assert_error(answer, Err.BAD_CREDENTIALS, WRONG)
        await bench.proxy.until_logged(r'"CN=cqlferry test" from .* refused: no \[certificate\] section has')
    else:
        assert answer.opcode == Op.AUTHENTICATE
        assert (await c.login("app", "app-secret-1963")).opcode == Op.AUTH_SUCCESS
        await assert_alive(c, bench)


async def test_a_certificate_that_is_anothers_by_now(stand, authority):
    """outdated = deny: the section that has let the client in has gone, or names another user; the mappings have not changed."""
    bench = await stand.start(CERTIFICATES, configure=with_tls(authority), options={"outdated": "deny"})
    c = await bench.open(ssl=authority.client(own=authority.certificate()))
    assert (await c.startup()).opcode == Op.READY
    for text in (CERTIFICATES.replace("CN=cqlferry*", "CN=other"), CERTIFICATES.replace("user = app", "user = other")):
        stand.write(text)
        await bench.reload()
        assert_error(await c.query("SELECT * FROM ks.t"), Err.UNAUTHORIZED, "the mapping of this user has changed")
        stand.write(CERTIFICATES)
        await bench.reload()
        await assert_alive(c, bench)


# ---- secrets ----

def dumped(pid, secrets):
    """Those that are in memory which a core dump would have."""
    found = set()
    with open(f"/proc/{pid}/smaps") as smaps, open(f"/proc/{pid}/mem", "rb") as memory:
        regions, last = [], None
        for line in smaps:
            match = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+)", line)
            if match:
                last = [int(match[1], 16), int(match[2], 16), match[3], ""]
                regions.append(last)
            elif line.startswith("VmFlags:"):
                last[3] = line
            elif line.startswith("Rss:") and line.split()[1] == "0":
                last[2] = "none"
        for start, end, rights, flags in regions:
            if not rights.startswith("rw") or " dd" in flags:
                continue
            try:
                memory.seek(start)
                content = memory.read(end - start)
            except OSError:
                continue
            found |= {s for s in secrets if s.encode() in content}
    return found


async def test_secrets_stay_secret(stand):
    """Neither the log, at level debug, nor the pages, nor what a core dump would hold has any of them."""
    secrets = ["o-secret-1961", "t-secret-1962", HASH.rpartition("$")[2]]
    bench = await stand.start()
    await assert_alive(await stand.let_in(), bench)
    await stand.refused("app", "nonsense-1964")
    await stand.refused("nobody", "nonsense-1965")
    await bench.reload()
    await stand.let_in()
    pages = "".join([(await bench.proxy.get(page))[1].decode() for page in ("/metrics", "/health/readiness")])
    for secret in secrets + ["app-secret-1963", "nonsense-1964", "nonsense-1965"]:
        assert secret not in bench.proxy.log and secret not in pages
    assert not dumped(bench.proxy.process.pid, secrets + ["app-secret-1963", "nonsense-1964", "nonsense-1965"])
