"""--explain: where a request goes and why, without a cluster. The last line is for programs, the others for people."""
import re

import pytest

import policies
from cqlwire import Op
from helpers import reached

pytestmark = pytest.mark.own_profile

SECTIONS = {
    "routing": {"rule": ["read billing.* target", "read billing.invoices both", "all log_*.* target",
                         "read shop.orders mirror"]},
    "lua": {"script": ["scripts/freeze.lua", "scripts/users.lua"], "who": "ann"},
}
FREEZE = """
proxy.on_request("freeze", { kinds = "write,schema", keyspaces = "billing", scope = "table" }, function(req)
  if req:table() == "ledger" then return req:deny("unauthorized", "%s is frozen", req:table()) end
end)
"""
USERS = """
local canary = proxy.route { to = "both", answer_from = "target", consistency = "LOCAL_QUORUM", timeout = "500ms",
                             tag = "canary" }
local who = proxy.option("who", "nobody")
proxy.on_request("users", { kinds = "read" }, function(req)
  if req:user() == who then return canary end
  if req:user() == "eve" then return req:deny("invalid", "%s from %s", req:user(), req:client_addr()) end
  if req:client_driver() == "DataStax Java" and req:client_driver_version() == "4.17.0" then return "target" end
  if req:consistency() == "QUORUM" then return "mirror" end
  if req:is_prepared() and req:opcode() == "EXECUTE" then return "both" end
end)
proxy.on_request("broken", { users = "bob", kinds = "write", on_error = "deny" }, function(req)
  return req.nothing.more
end)
"""
ROUTES = [
    # the default
    ("SELECT * FROM ks.t", [], "origin", "the default"),
    ("INSERT INTO ks.t (a) VALUES (1)", [], "both (answer from origin)", "the default"),
    ("CREATE TABLE ks.x (a int PRIMARY KEY)", [], "both (answer from origin)", "the default"),
    ("NONSENSE", [], "both (answer from origin)", "the default"),
    ("", [], "both (answer from origin)", "the default"),
    ("SELECT * FROM ks.t", ["--set", "routing.primary=target"], "target", "the default"),
    ("SELECT * FROM ks.t", ["--set", "routing.read_mode=dual_async_on_secondary"], "origin (mirror to target)",
     "the default"),
    # protocol rules
    ("SELECT * FROM system.local", [], "answered by the proxy", "a protocol rule"),
    ("SELECT key FROM peers_v2", ["--keyspace", "system"], "answered by the proxy", "a protocol rule"),
    ("SELECT * FROM system_schema.tables", ["--user", "ann"], "origin", "a protocol rule"),
    ("LIST ROLES", ["--set", "routing.system_queries_mode=target"], "target", "a protocol rule"),
    # rules
    ("SELECT * FROM billing.x", [], "target", "a rule"),
    ("SELECT * FROM x", ["--keyspace", "Billing"], "target", "a rule"),
    ("SELECT * FROM x", ["--keyspace", '"Billing"'], "origin", "the default"),
    ("SELECT * FROM billing.invoices", [], "both (answer from origin)", "a rule"),
    ("SELECT * FROM shop.orders", [], "origin (mirror to target)", "a rule"),
    ("USE log_a", [], "target", "a rule"),
    ("BEGIN BATCH INSERT INTO log_a.x (a) VALUES (1); DELETE FROM log_b.x WHERE a = 1; APPLY BATCH", [], "target",
     "a rule"),
    # hooks
    ("SELECT * FROM billing.x", ["--user", "ann"], "both (answer from target)", "hook users"),
    ("SELECT * FROM billing.x", ["--user", "ann", "--set", "lua.who=jim"], "target", "a rule"),
    ("SELECT * FROM ks.t", ["--driver", "DataStax Java", "--driver-version", "4.17.0"], "target", "hook users"),
    ("SELECT * FROM ks.t", ["--driver", "DataStax Java"], "origin", "the default"),
    ("SELECT * FROM ks.t", ["--consistency", "quorum"], "origin (mirror to target)", "hook users"),
    ("SELECT * FROM ks.t WHERE a = ?", ["--prepared"], "both (answer from origin)", "hook users"),
    ("SELECT * FROM ks.t", ["--user", "eve", "--address", "10.0.0.1"], "denied (invalid): eve from 10.0.0.1",
     "hook users"),
    ("DROP TABLE billing.ledger", [], "denied (unauthorized): ledger is frozen", "hook freeze"),
    ("UPDATE ledger SET b = 1 WHERE a = 1", ["--keyspace", "billing"], "denied (unauthorized): ledger is frozen",
     "hook freeze"),
    ("BEGIN BATCH INSERT INTO billing.x (a) VALUES (1); DELETE FROM billing.ledger WHERE a = 1; APPLY BATCH", [],
     "denied (unauthorized): ledger is frozen", "hook freeze"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explain")
    policies.write(folder, {"scripts/freeze.lua": FREEZE, "scripts/users.lua": USERS})
    return folder


def explain(folder, *arguments, status=0):
    done = policies.run(folder, "--explain", *arguments, sections=SECTIONS)
    assert done.returncode == status, done
    assert "Sanitizer" not in done.stderr, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("text,arguments,route,decided", ROUTES)
def test_route(folder, text, arguments, route, decided):
    """The last line is the route, exactly; the one that decided is named."""
    lines = explain(folder, text, *arguments)
    assert lines[-1] == f"route: {route}", lines
    assert f"decided by: {decided}" in lines, lines


def test_each_step(folder):
    """Every hook, asked or not, with its place; every rule, those that fit and of these the one that counts first."""
    assert explain(folder, "SELECT * FROM billing.invoices", "--user", "ann") == [
        "statement: select, kind read, about billing.invoices",
        "protocol: no rule",
        "hook freeze (scripts/freeze.lua:2): not asked: kinds = write, schema",
        "hook users (scripts/users.lua:5): both (answer_from target, consistency LOCAL_QUORUM, timeout 500 ms, tag canary)",
        "hook broken (scripts/users.lua:12): not asked: kinds = write",
        "rule t.ini:9: read billing.invoices both",
        "rule t.ini:8: read billing.* target",
        "rule t.ini:11: read shop.orders mirror: does not fit",
        "rule t.ini:10: all log_*.* target: does not fit",
        "default: reads go to the primary, origin",
        "decided by: hook users",
        "with: both (answer_from target, consistency LOCAL_QUORUM, timeout 500 ms, tag canary)",
        "route: both (answer from target)",
    ]


def test_a_hook_that_fails(folder):
    """Its message with the place, on one line; its on_error decides."""
    lines = explain(folder, "INSERT INTO ks.t (a) VALUES (1)", "--user", "bob")
    broken = next(line for line in lines if line.startswith("hook broken"))
    assert "error: scripts/users.lua:13: " in broken
    assert lines[-2] == "decided by: hook broken"
    assert lines[-1].startswith("route: denied (unauthorized): denied: the hook 'broken' failed")


def test_tables_that_disagree(folder):
    lines = explain(folder, "BEGIN BATCH INSERT INTO log_a.x (a) VALUES (1); INSERT INTO b.x (a) VALUES (1); APPLY BATCH")
    assert lines[-1].startswith("route: denied (invalid): ")
    assert "log_a.x (target" in lines[-1] and "b.x (both" in lines[-1]
    assert "rule t.ini:10: all log_*.* target, for log_a.x" in lines


def test_hooks_that_disagree(tmp_path):
    """A hook of scope table is asked for each table of a batch by itself."""
    policies.write(tmp_path, {"a.lua": """
        proxy.on_request("by-table", { scope = "table" }, function(req) if req:table() == "a" then return "target" end end)
    """})
    batch = "BEGIN BATCH INSERT INTO ks.a (a) VALUES (1); INSERT INTO ks.b (a) VALUES (1); APPLY BATCH"
    done = policies.run(tmp_path, "--explain", batch, sections={"lua": {"script": "a.lua"}})
    lines = done.stdout.splitlines()
    assert "hook by-table (a.lua:2): ks.a: target; ks.b: no opinion" in lines, lines
    assert lines[-2] == "decided by: the hooks, which disagree about the tables", lines
    assert lines[-1].startswith("route: denied (invalid): ") and "ks.a (target), ks.b" in lines[-1]
    # a rule may send the other table to the same place
    done = policies.run(tmp_path, "--explain", batch, sections={"lua": {"script": "a.lua"},
                                                                "routing": {"rule": "write ks.b target"}})
    assert done.stdout.splitlines()[-2:] == ["decided by: hook by-table", "route: target"], done.stdout


def test_a_trace(folder):
    lines = explain(folder, "SELECT * FROM system_traces.sessions WHERE session_id = ?")
    assert lines[1].startswith("protocol: a trace is read from the cluster that made it")
    assert lines[-1] == "route: origin"


def test_without_scripts_and_rules(tmp_path):
    done = policies.run(tmp_path, "--explain", "SELECT * FROM t", sections={})
    assert done.returncode == 0
    assert done.stdout == ("statement: select, kind read, about t, in no keyspace (see --keyspace)\nprotocol: no rule\n"
                           "default: reads go to the primary, origin\ndecided by: the default\nroute: origin\n")


def test_with_zdm_variables(tmp_path):
    """Any source of settings will do; scripts come by --set."""
    policies.write(tmp_path, {"a.lua": 'proxy.on_request("a", {}, function() return "target" end)'})
    variables = {f"ZDM_{c}_{k}": v for c in ("ORIGIN", "TARGET") for k, v in
                 {"CONTACT_POINTS": "127.0.0.1", "PORT": "9042", "USERNAME": "", "PASSWORD": ""}.items()}
    done = policies.run(tmp_path, "--explain", "SELECT * FROM t", "--set", "lua.script=a.lua", variables=variables)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "route: target"), done
    policies.write(tmp_path, {"a.lua": "x ="})
    done = policies.run(tmp_path, "--explain", "SELECT * FROM t", "--set", "lua.script=a.lua", variables=variables)
    assert done.returncode == 255, done


@pytest.mark.parametrize("arguments,why", [
    (["--address", "somewhere"], "--address somewhere: no IP address"),
    (["--keyspace", "a.b"], "--keyspace a.b: no name of a keyspace"),
    (["--keyspace", ""], "--keyspace : no name of a keyspace"),
    (["--consistency", "MOST"], "--consistency MOST: no consistency level of a request; allowed: ANY, ONE"),
    (["more"], "unexpected argument 'more'"),
    (["--drivers", "x"], "drivers"),
    (["--explain", "SELECT * FROM u"], "at a time, and one statement"),
    (["--check-config"], "one of --explain, --plugin-info, --check-config, --print-config and --print-options at a time"),
    (["--print-config"], "one of --explain, --plugin-info, --check-config, --print-config and --print-options at a time"),
])
def test_wrong_usage(tmp_path, arguments, why):
    done = policies.run(tmp_path, "--explain", "SELECT * FROM t", *arguments, sections={})
    assert done.returncode == 2, done
    assert why in done.stderr


@pytest.mark.parametrize("arguments", [["--keyspace", "x"], ["--prepared"], ["--user", "x", "--check-config"]])
def test_words_that_belong_to_explain(tmp_path, arguments):
    done = policies.run(tmp_path, *arguments, sections={})
    assert done.returncode == 2, done
    assert "belong to --explain" in done.stderr


@pytest.mark.parametrize("text", ["INSERT INTO billing.invoices (a) VALUES (1)", "SELEC * FROM billing.invoices"])
def test_no_rule_fits(folder, text):
    lines = [line for line in explain(folder, text) if line.startswith("rule ")]
    assert len(lines) == 4 and all(line.endswith(": does not fit") for line in lines), lines


@pytest.mark.parametrize("text,arguments,line", [
    ("SELECT * FROM t", [], "statement: select, kind read, about t, in no keyspace (see --keyspace)"),
    ("SELECT * FROM t", ["--keyspace", "ks"], "statement: select, kind read, about ks.t"),
    ("SELECT FROM", [], "statement: select, kind read, its text was not understood"),
    ("SELEC * FROM ks.t", [], "statement: unknown, kind unknown, its text was not understood"),
    ("BEGIN BATCH DELETE FROM ks.t WHERE a = 1; DELETE t WHERE a = 1; APPLY BATCH", [],
     "statement: batch, kind unknown, about ks.t, and others that were not understood"),
    ("USE ks", [], "statement: use, kind use, about ks"),
    ("LIST ROLES", [], "statement: list, kind read"),
])
def test_what_was_understood(folder, text, arguments, line):
    """Whoever types a statement wrong, or forgets its keyspace, sees it in the first line."""
    assert explain(folder, text, *arguments)[0] == line


@pytest.mark.parametrize("scripts,why", [
    ({"a.lua": "return return"}, "a.lua:1: "),
    ({"a.lua": "\n\nerror('no')"}, "a.lua:3: no"),
])
def test_a_script_that_does_not_load(tmp_path, scripts, why):
    policies.write(tmp_path, scripts)
    done = policies.run(tmp_path, "--explain", "SELECT * FROM t", sections={"lua": {"script": "a.lua"}})
    assert (done.returncode, done.stdout) == (1, ""), done
    assert why in done.stderr


def test_a_denial_of_several_lines(tmp_path):
    """The last line says all of it: programs read that."""
    policies.write(tmp_path, {"a.lua": """
        proxy.on_request("no", {}, function(req) return req:deny("invalid", "not\\nhere\\tand %s", "now") end)
    """})
    done = policies.run(tmp_path, "--explain", "SELECT * FROM ks.t", sections={"lua": {"script": "a.lua"}})
    assert done.stdout.splitlines()[-1] == "route: denied (invalid): not; here and now"


def test_the_first_opinion_wins(tmp_path):
    """Those behind it are shown, too."""
    policies.write(tmp_path, {"a.lua": """
        proxy.on_request("one", {}, function() end)
        proxy.on_request("two", {}, function() return "target" end)
        proxy.on_request("three", {}, function() return "both" end)
    """})
    done = policies.run(tmp_path, "--explain", "SELECT * FROM t", sections={"lua": {"script": "a.lua"}})
    lines = done.stdout.splitlines()
    assert lines[2:5] == ["hook one (a.lua:2): no opinion", "hook two (a.lua:3): target", "hook three (a.lua:4): both"]
    assert lines[-2:] == ["decided by: hook two", "route: target"], lines


@pytest.mark.parametrize("first,lines", [
    ('"target"', ["decided by: the hooks, which disagree about the tables",
                  "route: denied (invalid): a batch cannot be routed whose tables are routed differently: ks.a (target), the "
                  "batch for another table (origin)"]),
    ('req:deny("unauthorized", "frozen")', ["decided by: hook a", "route: denied (unauthorized): frozen"]),
])
def test_a_later_hook_about_another_table(tmp_path, first, lines):
    policies.write(tmp_path, {"a.lua": f"""
        proxy.on_request("a", {{ scope = "table", tables = "ks.a" }}, function(req) return {first} end)
        proxy.on_request("b", {{ tables = "ks.b" }}, function() return "origin" end)
    """})
    batch = "BEGIN BATCH INSERT INTO ks.b (a) VALUES (1); INSERT INTO ks.a (a) VALUES (1); APPLY BATCH"
    done = policies.run(tmp_path, "--explain", batch, sections={"lua": {"script": "a.lua"}})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-len(lines):] == lines, done.stdout


async def test_it_is_what_requests_do(make_bench):
    """The same statements through a running proxy with the same configuration: each goes where --explain says."""
    def configure(bench):
        policies.write(bench.proxy.folder / "scripts", {"freeze.lua": FREEZE, "users.lua": USERS})
        bench.sections.update(routing=dict(SECTIONS["routing"]), lua=dict(SECTIONS["lua"]))
    bench = await make_bench(fresh=True, profile="native", configure=configure)
    java = {"DRIVER_NAME": "DataStax Java", "DRIVER_VERSION": "4.17.0"}
    clients = {"plain": await bench.client(), "java": await bench.client(options=java)}
    wrong, seen = [], set()
    for number, (text, arguments, _, _) in enumerate(ROUTES):
        if not text or {"--user", "--set", "--keyspace", "--prepared", "--address"} & set(arguments):
            continue
        level = 4 if "--consistency" in arguments else 1
        client = clients["java" if "--driver-version" in arguments else "plain"]
        said = policies.run(bench.proxy.folder, "-c", f"{bench.name}.ini", "--explain", text, *arguments)
        route = said.stdout.splitlines()[-1].removeprefix("route: ")
        text = f"{text} /* {number} */"
        answer = await client.query(text, consistency=level)
        if route.endswith(")") and "mirror" in route:
            await bench.secondary.until(lambda t=text: any(r.statement == t for r in bench.secondary.received), "mirrored read")
        await bench.settle(client)
        went = reached(bench, Op.QUERY, text)
        name = route.split(" ")[0]
        seen.add(name)
        expected = {"denied": "none", "answered": "none", "origin": "both" if "mirror" in route else "origin"}.get(name, name)
        if went != expected or answer.is_error() != (name == "denied"):
            wrong.append(f"{text}: {route}, but it went to {went}: {answer!r}")
        elif not answer.is_error() and text.startswith("SELECT") and expected != "none" and "system" not in text:
            by = answer.rows[0][0]
            if by != (re.search(r"answer from (\w+)", route) or re.search(r"(\w+)", route)).group(1):
                wrong.append(f"{text}: {route}, but it was answered by {by}")
    assert not wrong, "\n".join(wrong)
    assert seen == {"origin", "target", "both", "denied", "answered"}
