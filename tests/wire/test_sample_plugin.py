"""
plugins/sample, as a stranger meets it: built by the line of its README with what `make install` has put below a prefix, named in
a section, found out, reloaded. What it refuses, no cluster sees.
"""
import asyncio
import fcntl
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cqlwire import Err, Op, requests
from helpers import assert_error, reached
from proxy import ROOT, binary

pytestmark = pytest.mark.native

SAMPLE = ROOT / "plugins" / "sample"
DENIED = "zdm_cqlferry_sample_denied_total"
#: make install of what is built, or of what has still to be
INSTALL_LIMIT = 300


@pytest.fixture(scope="session")
def prefix(tmp_path_factory):
    """What `make install` of the proxy's build has put below a folder of our own."""
    build = Path(binary()).resolve().parent
    assert (build / "Makefile").is_file(), f"{build} has no Makefile: nothing can be installed from there"
    folder = tmp_path_factory.mktemp("install")
    with open(build / "plugins.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(["make", "-s", "install", f"DESTDIR={folder}"], cwd=build, capture_output=True, text=True,
                              timeout=INSTALL_LIMIT)
    assert done.returncode == 0, f"make install\n{done.stdout}\n{done.stderr}"
    return folder


def environment(prefix):
    """That of somebody who has installed it: pkg-config finds it there, and nothing of this tree is known."""
    pc = next(prefix.rglob("cqlferry-plugin.pc"))
    return {"PATH": os.environ["PATH"], "PKG_CONFIG_PATH": str(pc.parent), "PKG_CONFIG_SYSROOT_DIR": str(prefix)}


def command_of(page):
    """The first line of shell on a page."""
    return re.search(r"^```sh\n(.*)\n", page.read_text(), re.M).group(1)


@pytest.fixture(scope="session")
def sample(prefix, tmp_path_factory):
    """The shared object, made by the line of the README where nothing else is."""
    folder = tmp_path_factory.mktemp("stranger")
    shutil.copy(SAMPLE / "sample.c", folder)
    done = subprocess.run(command_of(SAMPLE / "README.md"), shell=True, cwd=folder, env=environment(prefix),
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return folder / "sample.so"


async def start(make_bench, sample, tables=("ks.t",), **more):
    return await make_bench(sections={"plugin no_scans": {"file": str(sample), "table": list(tables)}}, **more)


# ---- building ----

def test_the_line_is_the_same_everywhere():
    line = command_of(SAMPLE / "README.md")
    assert line.startswith("cc -shared -fPIC ") and line.endswith("$(pkg-config --cflags cqlferry-plugin)")
    assert command_of(ROOT / "docs" / "plugins.md") == line
    header = (ROOT / "include" / "cqlferry" / "plugin.h").read_text()
    for text in ((ROOT / "README.md").read_text(), header):
        assert line.replace("sample", "mine") in text


def test_what_is_installed(prefix):
    """The header, its .pc file, plugins without a trace of libtool, the sample's text to begin with."""
    def variable(name):
        return subprocess.run(["pkg-config", f"--variable={name}", "cqlferry-plugin"], env=environment(prefix), text=True,
                              capture_output=True, check=True, timeout=10).stdout.strip()
    installed = prefix / variable("plugindir").removeprefix(str(prefix)).lstrip("/")
    assert (installed / "sample.so").is_file()
    assert not list(prefix.rglob("*.la"))
    assert len(list(prefix.rglob("cqlferry/plugin.h"))) == 1
    assert [path.read_text() for path in prefix.rglob("sample/sample.c")] == [(SAMPLE / "sample.c").read_text()]


def test_plugin_info(sample):
    done = subprocess.run([binary(), "--plugin-info", "./sample.so"], cwd=sample.parent, capture_output=True, text=True,
                          timeout=10)
    assert done.returncode == 0, done.stderr
    assert "name: sample" in done.stdout and "table = a text; mandatory; may be repeated" in done.stdout


# ---- what it does ----

async def test_what_it_refuses(make_bench, sample):
    """SELECT and TRUNCATE without a WHERE, on the tables of its section only, and whoever names them how."""
    bench = await start(make_bench, sample, tables=("ks.t", "shop.orders"))
    c = await bench.client()
    in_shop = await bench.client(keyspace="shop")
    for client, text, verb, table in ((c, "SELECT a FROM ks.t", "SELECT", "ks.t"), (c, "TRUNCATE ks.t", "TRUNCATE", "ks.t"),
                                      (c, "select * from KS.T limit 5", "SELECT", "ks.t"),
                                      (in_shop, "SELECT count(*) FROM orders", "SELECT", "shop.orders")):
        assert_error(await client.query(text), Err.INVALID, f"{verb} of {table} needs a WHERE")
        assert reached(bench, Op.QUERY, text) == "none"
    for client, text in ((c, "SELECT a FROM ks.t WHERE k = 1"), (c, "SELECT a FROM ks.t\nwhere k = 1"),
                         (c, "SELECT a FROM ks.tt"), (c, "SELECT a FROM s.t"), (c, "INSERT INTO ks.t (k) VALUES (1)"),
                         (in_shop, "SELECT a FROM t"), (c, "DELETE FROM ks.t WHERE k = 1"), (c, "SELECT * FROM system.local")):
        assert not (await client.query(text)).is_error(), text
    assert not (await c.batch([("INSERT INTO ks.t (k) VALUES (1)", [])])).is_error()
    metrics = await bench.proxy.metrics()
    assert metrics[DENIED] == 4


async def test_prepared_statements(make_bench, sample):
    """PREPARE is refused, and an EXECUTE of what was prepared before its table was named."""
    bench = await start(make_bench, sample)
    c = await bench.client()
    assert_error(await c.ask(Op.PREPARE, requests.prepare(4, "SELECT a FROM ks.t")), Err.INVALID, "SELECT of ks.t needs a WHERE")
    assert reached(bench, Op.PREPARE) == "none"
    scan = await c.prepare("SELECT a FROM ks.other")
    one = await c.prepare("SELECT a FROM ks.other WHERE k = ?")
    assert not (await c.execute(scan)).is_error()
    await bench.reload(**{"plugin no_scans": {"table": ["ks.other"]}})
    assert_error(await c.execute(scan), Err.INVALID, "SELECT of ks.other needs a WHERE")
    assert not (await c.execute(one, values=[b"k"])).is_error()
    assert not (await c.query("SELECT a FROM ks.t")).is_error(), "no longer named"



async def test_two_sections_of_one_file(make_bench, sample):
    """Each has its own tables; the counter, which has no label, is that of both."""
    section = {"file": str(sample)}
    bench = await make_bench(sections={"plugin a": {**section, "table": "ks.a"}, "plugin b": {**section, "table": "ks.b"}})
    c = await bench.client()
    for table in ("ks.a", "ks.b"):
        assert_error(await c.query(f"SELECT x FROM {table}"), Err.INVALID, f"SELECT of {table}")
    assert not (await c.query("SELECT x FROM ks.c")).is_error()
    assert (await bench.proxy.metrics())[DENIED] == 2


# ---- its option ----

async def test_a_reload_under_load(make_bench, sample):
    """Each statement gets one answer, and never another than the list before or after the reload gives."""
    bench = await start(make_bench, sample, tables=("ks.t",))
    clients = [await bench.client() for _ in range(4)]
    ends, answers = asyncio.Event(), {"ks.t": [], "ks.u": [], "ks.free": []}

    async def ask(client):
        while not ends.is_set():
            for table, seen in answers.items():
                answer = await client.query(f"SELECT x FROM {table}")
                seen.append(answer.is_error())
                if answer.is_error():
                    assert_error(answer, Err.INVALID, f"SELECT of {table} needs a WHERE")
    load = [asyncio.ensure_future(ask(client)) for client in clients]
    for _ in range(5):
        for tables in (["ks.u"], ["ks.u", "ks.t"], ["ks.t"]):
            await bench.reload(**{"plugin no_scans": {"table": tables}})
    ends.set()
    await asyncio.gather(*load)
    assert True in answers["ks.u"] and False in answers["ks.u"], "it came and went"
    assert not any(answers["ks.free"])
    assert_error(await clients[0].query("SELECT x FROM ks.t"), Err.INVALID)
    assert not (await clients[0].query("SELECT x FROM ks.u")).is_error()


async def test_a_wrong_table(make_bench, sample):
    """At the start it ends the process; on reload all stays as it is. The message has the line."""
    bench = await start(make_bench, sample)
    text = await bench.reload("refused", **{"plugin no_scans": {"table": ["ks.u", "orders"]}})
    assert re.search(r"plugin no_scans .*: reload\(\): .*\.ini:\d+: orders is no KEYSPACE\.TABLE", text)
    c = await bench.client()
    assert_error(await c.query("SELECT x FROM ks.t"), Err.INVALID, "SELECT of ks.t")
    assert not (await c.query("SELECT x FROM ks.u")).is_error()
    await bench.reload(**{"plugin no_scans": {"table": ["ks.t"]}})


def test_no_table(sample, tmp_path):
    path = tmp_path / "sample.ini"
    path.write_text(f"[origin]\ncontact_points = 127.0.0.1\n[target]\ncontact_points = 127.0.0.1\n[plugin x]\nfile = {sample}\n")
    done = subprocess.run([binary(), "--check-config", "-c", path], capture_output=True, text=True, timeout=10)
    assert done.returncode == 1 and "sample.ini:6: [plugin x] table: not set, but mandatory" in done.stderr
    path.write_text(path.read_text() + "table = ks.t\ntable = orders\n")
    done = subprocess.run([binary(), "--check-config", "-c", path], capture_output=True, text=True, timeout=10)
    assert done.returncode == 1 and "sample.ini:8: orders is no KEYSPACE.TABLE" in done.stderr
