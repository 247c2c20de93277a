"""Scripts at the start: what is loaded in which order, what is refused and how that is said, and what pages show."""
import re

import pytest

import policies
from cqlwire import Err, Op
from helpers import reached

pytestmark = pytest.mark.own_profile

READ = "SELECT * FROM ks.t"

BAD = [
    ("syntax", "local x =\nreturn return", r"scripts/bad\.lua:2: .*near 'return'"),
    ("error", "\nerror('no such day')", r"scripts/bad\.lua:2: no such day; in 'error'; scripts/bad\.lua:2: in the script\n"),
    ("nothing", "local t = nil\n\nt.x = 1", r"scripts/bad\.lua:3: attempt to index"),
    ("a global of another library", "os.exit(1)", r"scripts/bad\.lua:1: .*'os'"),
    ("bytecode", b"\x1bLJ\x02\x08", r"scripts/bad\.lua: .*only the text of a script is loaded"),
    ("an error without a place", "error('no such day', 0)", r"scripts/bad\.lua: no such day"),
    ("an endless loop", "while true do end", r"scripts/bad\.lua.*time"),
    ("an endless loop in pcall", "while true do pcall(function() while true do end end) end", r"scripts/bad\.lua.*time"),
    ("too much memory", "local s = ('x'):rep(1.5e7)", r"scripts/bad\.lua.*memory"),
    ("an unknown hook", "proxy.on_event('x', {}, print)", r"scripts/bad\.lua:1: .*on_event"),
    ("an unknown key", "\nproxy.on_request('x', { kind = 'read' }, function() end)", r"scripts/bad\.lua:2: .*kind"),
    ("an unknown word", "proxy.on_request('x', { kinds = 'reads' }, function() end)", r"scripts/bad\.lua:1: .*reads.*schema"),
    ("a name twice", "for i = 1, 2 do\nproxy.on_request('x', {}, function() end)\nend", r"scripts/bad\.lua:2: .*'x'"),
    ("a wrong route", "proxy.route { to = 'nowhere' }", r"scripts/bad\.lua:1: .*nowhere"),
    ("no module", "require 'missing'", r"scripts/bad\.lua:1: .*missing"),
    ("an option of another type", "proxy.option('share', 5)", r"scripts/bad\.lua:1: t\.ini:10: share = many: not a number"),
]


def sections(**lua):
    return {"lua": {"script": ["scripts/good.lua", "scripts/bad.lua"], "share": "many", **lua}}


def good(folder, **more):
    policies.write(folder, {"scripts/good.lua": 'proxy.option("share", "")', **more})


@pytest.mark.parametrize("text,why", [pytest.param(text, why, id=name) for name, text, why in BAD])
def test_a_script_that_does_not_load(tmp_path, text, why):
    """Nothing is started; the message begins with the place."""
    policies.write(tmp_path, {"scripts/good.lua": 'proxy.option("share", "")', "scripts/bad.lua": text})
    for arguments in (["--check-config"], []):
        done = policies.run(tmp_path, *arguments, sections=sections())
        assert done.returncode == 1, done
        assert re.search(rf" ERROR {why}", done.stderr), done.stderr
        assert "good" not in done.stdout
        assert "Sanitizer" not in done.stderr and "[warn]" not in done.stderr


def test_an_option_that_nobody_asks_for(tmp_path):
    """It may be a setting with a typing error."""
    policies.write(tmp_path, {"a.lua": 'proxy.option("share", 1)'})
    lines = {"script": "a.lua", "share": "3", "time_limt": "5ms"}
    done = policies.run(tmp_path, "--check-config", sections={"lua": lines})
    assert done.returncode == 1, done
    assert re.search(r" ERROR t\.ini:10: .*time_limt", done.stderr), done.stderr
    lines.pop("time_limt")
    assert policies.run(tmp_path, "--check-config", sections={"lua": lines}).returncode == 0


def test_check_config_notes_keyspaces(tmp_path):
    """Whether they exist only a cluster could say: that is no error."""
    policies.write(tmp_path, {"a.lua": """
        proxy.on_request("one", { keyspaces = "billing, shop" }, function() end)
        proxy.on_request("all", {}, function() end)
    """})
    rules = ["read billing.* target", "write log_*.* target"]
    done = policies.run(tmp_path, "--check-config", sections={"routing": {"rule": rules}, "lua": {"script": "a.lua"}})
    assert done.returncode == 0, done
    notes = done.stdout.splitlines()
    assert notes[:3] == [
        'note: t.ini:8: rule "read billing.* target" names keyspace billing; not checked, no cluster was asked',
        "note: a.lua:2: hook 'one' names keyspaces billing, shop; not checked, no cluster was asked",
        "the configuration is good"]


def test_check_config_with_zdm_variables(tmp_path):
    variables = {f"ZDM_{c}_{k}": v for c in ("ORIGIN", "TARGET") for k, v in
                 {"CONTACT_POINTS": "127.0.0.1", "PORT": "9042", "USERNAME": "", "PASSWORD": ""}.items()}
    policies.write(tmp_path, {"a.lua": "x = = 1"})
    done = policies.run(tmp_path, "--check-config", "--set", "lua.script=a.lua", variables=variables)
    assert done.returncode == 255, done
    assert " ERROR a.lua:1: " in done.stderr
    policies.write(tmp_path, {"a.lua": ""})
    done = policies.run(tmp_path, "--check-config", "--set", "lua.script=a.lua", variables=variables)
    assert done.returncode == 0, done


def test_print_config(tmp_path):
    """Scripts and options with their places, and what folders stand for; no script runs."""
    policies.write(tmp_path, {"lua/b.lua": "error('not to be run')", "lua/a.lua": "", "c.lua": ""})
    done = policies.run(tmp_path, "--print-config", "--set", "lua.time_limit=700us",
                        sections={"lua": {"script": ["lua", "c.lua"], "share": '"a ; b"'}})
    assert done.returncode == 0, done
    text = done.stdout[done.stdout.index("[lua]"):done.stdout.index("\n[http]")]
    assert text.splitlines() == [
        "[lua]", "script = lua  ; from t.ini:8", "script = c.lua  ; from t.ini:9", ";lua_path =  ; not set",
        "time_limit = 700us  ; from --set", "memory_limit = 32MiB  ; default", "fail_limit = 100  ; default",
        "jit = false  ; default", 'share = "a ; b"  ; from t.ini:10', "; script 1: lua/a.lua", "; script 2: lua/b.lua",
        "; script 3: c.lua"]


# ---- a running proxy ----

ORDER = {
    "20-second.lua": 'proxy.on_request("second", { kinds = "read" }, function() return "target" end)',
    "10-first.lua": """
        local help = require "helpers.tables"
        local name = proxy.option("only", "nothing")
        proxy.on_request("first", { kinds = "read" }, function(req)
          if help.same(req:table(), name) then return "both" end
        end)
    """,
    ".hidden.lua": "error('hidden')",
    "not-lua.txt": "error('no script')",
}


async def test_a_folder_in_order(make_bench):
    """By name, the first opinion counts; helpers come from lua_path alone; names count from the INI file's folder."""
    def configure(bench):
        policies.write(bench.proxy.folder / "order", ORDER)
        policies.write(bench.proxy.folder / "lib", {"helpers/tables.lua": "return { same = function(a, b) return a == b end }"})
        bench.sections["lua"] = {"script": "order", "lua_path": "lib", "only": "t"}
    bench = await make_bench(fresh=True, profile="native", configure=configure)
    c = await bench.client()
    assert not (await c.query(READ)).is_error()
    assert reached(bench, Op.QUERY, READ) == "both"
    other = "SELECT * FROM ks.other"
    assert (await c.query(other)).rows[0][0] == "target"
    assert reached(bench, Op.QUERY, other) == "target"
    assert re.search(r" INFO +2 scripts loaded, with 2 hooks", bench.proxy.messages)
    status = await policies.status(bench)
    assert [(h["name"], h["calls"], h["errors"], h["denials"], h["workers_off"]) for h in status["policy"]["hooks"]] == [
        ("first", 2, 0, 0, 0), ("second", 1, 0, 0, 0)]
    folder = bench.proxy.folder / "order"
    assert status["policy"]["scripts"] == [f"{folder}/10-first.lua", f"{folder}/20-second.lua"]
    assert status["policy"]["hooks"][0]["place"] == f"{folder}/10-first.lua:4"


async def test_status_page(make_bench):
    """What it says beside hooks; the page is of the native profile, whose readiness stays as it is."""
    bench = await make_bench(fresh=True, profile="native",
                             sections={"routing": {"rule": ["read a.* target", "all b.* target"]}})
    body = await policies.status(bench)
    address = f"{bench.origin.nodes[0].address}:{bench.origin.port}"
    assert body == {
        "status": "UP", "started": True, "draining": False,
        "origin": {"address": address, "failures": 0, "threshold": 1, "status": "UP"},
        "target": {"address": f"{bench.target.nodes[0].address}:{bench.target.port}", "failures": 0, "threshold": 1,
                   "status": "UP"},
        "primary": "origin", "primary_epoch": 1, "reload": {"succeeded": 0, "failed": 0, "last_failed": False},
        "policy": {"rules": 2, "scripts": [], "hooks": []}, "plugins": []}
    assert (await bench.proxy.get("/health/status", "POST"))[0] == 404
    zdm = await make_bench(profile="zdm")
    assert (await zdm.proxy.get("/health/status"))[0] == 404


async def test_names_in_json(make_bench):
    """A hook's name may hold what JSON has to escape."""
    script = r"""proxy.on_request('a "quoted" \\ name', {}, function(req) return req:deny("invalid", "no") end)"""
    bench = await make_bench(fresh=True, profile="native", configure=policies.settings({"a.lua": script}))
    c = await bench.client()
    assert (await c.query(READ)).code == Err.INVALID
    hook = await policies.hook(bench, 'a "quoted" \\ name')
    assert (hook["calls"], hook["denials"]) == (1, 1)


async def test_zdm_start_with_a_script(make_bench):
    """ZDM's variables have no scripts; --set gives one all the same."""
    def configure(bench):
        policies.write(bench.proxy.folder, {
            "zdm.lua": 'proxy.on_request("z", { kinds = "read" }, function() return "target" end)'})
        bench.arguments = ["--set", "lua.script=zdm.lua"]
    bench = await make_bench(fresh=True, profile="zdm", configure=configure)
    c = await bench.client()
    assert (await c.query(READ)).rows[0][0] == "target"
    assert reached(bench, Op.QUERY, READ) == "target"
