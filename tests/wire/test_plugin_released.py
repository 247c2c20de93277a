"""
Plugins that were built against the header of each released minor: all that these have works with this proxy. The fixture
tests/plugins/released/MINOR/everything.c uses every hook and every function, and says what it has got.
"""
import asyncio
import re
import signal
import subprocess

import pytest

from cqlwire import CL, Err, Op
from fakecluster import Auth
from helpers import assert_error
from plugin_logins import PROXY
from proxy import ROOT

pytestmark = pytest.mark.native

RELEASED = ROOT / "tests" / "plugins" / "released"
MINORS = sorted(path.name for path in RELEASED.iterdir())
minors = pytest.mark.parametrize("minor", MINORS)
ROLES = {"at-origin": "at-origin", "at-target": "at-target"}


def source(minor):
    return RELEASED / minor / "everything.c"


@pytest.fixture(scope="session")
def everything(tmp_path_factory):
    """everything(MINOR): the shared object, built with the header of that minor and no other."""
    folder, built = tmp_path_factory.mktemp("released"), {}

    def build(minor):
        if minor not in built:
            built[minor] = folder / f"everything-{minor}.so"
            done = subprocess.run(["cc", "-shared", "-fPIC", "-g", "-Wall", "-Wextra", "-Werror", f"-I{source(minor).parent}",
                                   "-o", built[minor], source(minor), "-pthread"], capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stderr
        return str(built[minor])
    return build


class Run:
    def __init__(self, bench):
        self.bench = bench
        self.begin = len(bench.proxy.log)

    def said(self, begin=None):
        text = self.bench.proxy.log[self.begin if begin is None else begin:]
        return re.findall(r"^everything all: (.*)$", text, re.M)

    async def until(self, pattern):
        async def there():
            return [line for line in self.said() if re.search(pattern, line)]
        return (await self.bench.proxy.until(there, f"{pattern!r}, {self.said()}"))[0]


@pytest.fixture
def run(make_bench, everything):
    """A proxy with the plugin; both clusters want a log-in, and know what the plugin sets only."""
    async def make(minor, fresh=True, **options):
        section = {"file": everything(minor), "secret": "hush", "many": ["a", "b"], **options}
        bench = await make_bench(fresh=fresh, sections={"plugin all": section}, origin={"auth": Auth(PROXY | ROLES)},
                                 target={"auth": Auth(PROXY | ROLES)})
        return Run(bench)
    return make


async def log_in(run):
    return await run.bench.client(user="ann", password="secret", options={"DRIVER_NAME": "d", "DRIVER_VERSION": "7"})


@minors
def test_the_fixture_uses_all_that_there_is(minor):
    """What the header of its minor has: each function of the host, each hook, each type of option."""
    header = (RELEASED / minor / "cqlferry" / "plugin.h").read_text()
    text = source(minor).read_text()
    host = re.search(r"^struct cqlferry_host \{(.*?)^\};", header, re.S | re.M).group(1)
    functions = [re.search(r"\(\*+(\w+)\)\(", part).group(1) for part in host.split(";") if "(*" in part]
    assert len(functions) >= 37
    assert [name for name in functions if f"host->{name}(" not in text] == []
    plugin = re.search(r"^struct cqlferry_plugin \{(.*?)^\};", header, re.S | re.M).group(1)
    hooks = [re.search(r"\(\*(\w+)\)\(", part).group(1) for part in plugin.split(";") if "(*" in part]
    assert len(hooks) >= 14
    assert [name for name in hooks if f"\t.{name} = on_" not in text] == []
    types = re.findall(r"#define (CQLFERRY_OPTION_\w+)", header)
    assert [name for name in types if name not in text] == []


@minors
async def test_life_and_options(run, minor):
    """open() with all types of options, timers in main and workers, reload, reopen, close."""
    r = await run(minor, many=["a", "b", "c d"], bool="off", choice="refuse")
    opened = r.said(0)
    assert opened[0] == f"open: size 1 minor {current_minor()} workers 2"
    assert opened[1:3] == ["options: a text -5 0 2000 4096 refuse=2 /a.file hush set 01 place 1", "many: 7 lines"]
    r.begin = 0
    for text in ("main has ticked", "worker 0 has ticked", "worker 1 has ticked"):
        await r.until(text)
    metrics = await r.bench.proxy.metrics()
    assert metrics["zdm_cqlferry_everything_shares"] == 10 + 11
    assert "what is wrong was taken" not in r.said()
    await r.bench.reload(**{"plugin all": {"text": "another"}})
    assert r.said()[-1] == "reload_end 1: another"
    text = await r.bench.reload("refused", **{"plugin all": {"text": "wrong"}})
    assert re.search(r"reload\(\): .*\.ini:\d+: this text is wrong", text)
    await r.bench.reload(**{"plugin all": {"text": "another"}})
    r.bench.proxy.signal(signal.SIGUSR1)
    await r.until("reopen")
    assert "hush" not in r.bench.proxy.log.replace("/a.file hush", "")
    r.bench.may_be_down = True
    await r.bench.proxy.stop()
    assert r.said()[-3:] == ["worker_close 1", "worker_close 0", "close"] or \
        r.said()[-3:] == ["worker_close 0", "worker_close 1", "close"]


def current_minor():
    return int(re.search(r"#define CQLFERRY_ABI_MINOR (\d+)", (ROOT / "include/cqlferry/plugin.h").read_text()).group(1))


@minors
async def test_clients_and_log_ins(run, minor):
    """Held when they come and when they log in; both clusters get what was set."""
    r = await run(minor)
    c = await log_in(r)
    for pattern in (r"connect: size 1 port 1 number 1 since 1 tls 0 address 127\.\d+\.\d+\.\d+$",
                    "startup: version 4 driver d 7 wanted 11$", "login: size 1 outcome 0 cluster 2 error 0x0 time 1 said ann "
                    "is someone: $", "released client$", "released log-in$"):
        await r.until(pattern)
    assert not (await c.query("INSERT INTO ks.t (k) VALUES (1)")).is_error()
    for cluster in r.bench.clusters:
        assert {x.user for x in cluster.connections() if x.authenticated} <= {f"at-{cluster.name}", "proxy"}
        assert cluster.requests(Op.QUERY)
    wrong = await r.bench.open()
    await wrong.startup()
    assert_error(await wrong.login("bob", "wrong"), Err.BAD_CREDENTIALS, "not you, bob")
    await r.until("login: size 1 outcome 2 cluster 2 error 0x100 time 1 said bob is : not you, bob")
    await c.close()
    await r.until("disconnect: slot")
    assert "resumed with something else" not in r.said()


@minors
async def test_requests(run, minor):
    """What each is told, with values, rows and slots; routes of its own and ours; denied, failed, held."""
    r = await run(minor)
    c = await log_in(r)
    await c.query("SELECT a FROM ks.t WHERE k = ?", values=[b"key"], consistency=CL.TWO)
    line = await r.until("response: .*text SELECT a FROM ks.t")
    assert line == ("response: sizes 111 opcode 7 kind 0 verb SELECT level 2 body 1 number 1 flags 000 tables 1 ks.t outcome 0 "
                    "answer 8 to 1 by 0 error 0x0 decided 0 - tag - time 1 parts 2/0/1 0/0/0 rows 1 value 1 key slot -1 "
                    "client someone message  text SELECT a FROM ks.t WHERE k = ?")
    insert = await c.prepare("INSERT INTO ks.t (k) VALUES (?) IF NOT EXISTS /* both */")
    for number in range(2):
        await c.execute(insert, values=[b"key"])
        line = await r.until(f"response: .*opcode 10 .* slot {number} ")
        assert " kind 1 verb INSERT " in line and " flags 111 " in line and " to 3 by 1 " in line, line
        assert "decided 4 all tag everything" in line and " parts 2/0/1 2/0/1 " in line, line
    await c.query("SELECT a FROM ks.t /* target */")
    assert " to 2 by 1 " in await r.until("text SELECT a FROM ks.t /. target")
    assert_error(await c.query("SELECT a FROM ks.t /* deny */"), Err.UNAUTHORIZED, "denied by all, text a text")
    assert " outcome 3 answer 0 to 0 by 2 error 0x2100 " in await r.until("text SELECT a FROM ks.t /. deny")
    assert_error(await c.query("SELECT a FROM ks.t /* fail */"), Err.UNAUTHORIZED, "plugin all")
    assert "told to fail" in r.bench.proxy.log
    answer = await c.query("SELECT a FROM ks.t /* hold */")
    assert not answer.is_error()
    await r.until("released request")
    assert "plugin all: resumes 1" in r.bench.proxy.log
    answered = await r.bench.proxy.metrics()
    assert answered['zdm_cqlferry_everything_answers_total{from="everything"}'] == 8
    assert answered["zdm_cqlferry_everything_seconds_count"] == 8
    assert "resumed with something else" not in r.said()


@minors
async def test_a_page(run, minor):
    """Its handler reads a header and all metrics."""
    r = await run(minor)
    status, body = await r.bench.proxy.get("/everything")
    assert status == 201
    assert body.decode() == 'counter zdm_cqlferry_everything_answers_total{from="everything"} 0 Answers.\nok\n'


@minors
async def test_many_clients_at_once(run, minor):
    """Each is held three times and none is lost."""
    r = await run(minor)
    clients = await asyncio.gather(*(log_in(r) for _ in range(20)))
    answers = await asyncio.gather(*(c.query("SELECT a FROM ks.t /* hold */") for c in clients for _ in range(5)))
    assert len(answers) == 100 and not any(answer.is_error() for answer in answers)
    metrics = await r.bench.proxy.metrics()
    assert metrics["zdm_cqlferry_plugin_held"] == 0
