"""The same round trip by drivers in other languages, through the proxy: tables, 200 rows at once, pages, a batch,
conditional writes, a counter, an error. Each program prints what it saw as JSON; what was written is read from both
nodes.

A language whose tool chain is not there is skipped by name.
"""

import itertools
import json
import pathlib
import shutil
import subprocess

import pytest

import checklist as shown
import nodes

HERE = pathlib.Path(__file__).resolve().parent
WORK = nodes.cache_dir() / "drivers"
BUILD_TIMEOUT = 400
RUN_TIMEOUT = 120

JAVA_JARS = [("org.apache.cassandra", "java-driver-core", "4.19.0", ""), ("org.slf4j", "slf4j-nop", "1.7.36", ""),
             ("at.yawk.lz4", "lz4-java", "1.10.1", "")]
#: what gocql's second version is imported as
GOCQL2 = "github.com/apache/cassandra-gocql-driver/v2"

WANTED = {"rows": 200, "sum": 199 * 100, "applied": [True, False], "counter": 3, "refused": True}

_numbers = itertools.count(1)


def tool(name):
    found = shutil.which(name)
    if not found:
        pytest.skip("there is no %s: install it to run this driver" % name)
    return found


def run(command, timeout, **options):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, **options)
    assert done.returncode == 0, "%s: exit status %d\n%s\n%s" % (command, done.returncode, done.stdout, done.stderr)
    return done.stdout


def fresh_copy(name, *files):
    """A folder in the cache with these files: what a build leaves there is used again."""
    folder = WORK / name
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copy(file, folder)
    return folder


def build_go(name, import_path=None):
    folder = fresh_copy(name, HERE / "go" / "go.mod", HERE / "go" / "go.sum", HERE / "go" / "roundtrip.go")
    if import_path:
        source = (folder / "roundtrip.go").read_text()
        (folder / "roundtrip.go").write_text(source.replace('"github.com/gocql/gocql"', '"%s"' % import_path))
    run([tool("go"), "build", "-p", "2", "-o", "roundtrip", "."], BUILD_TIMEOUT, cwd=folder)
    return [str(folder / "roundtrip")]


def build_node():
    node, npm = tool("node"), tool("npm")
    folder = fresh_copy("node", HERE / "node" / "package.json", HERE / "node" / "roundtrip.js")
    version = json.loads((folder / "package.json").read_text())["dependencies"]["cassandra-driver"]
    installed = folder / "node_modules" / "cassandra-driver" / "package.json"
    if not installed.exists() or json.loads(installed.read_text())["version"] != version:
        quietly = ["--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"]
        run([npm, "install", *quietly], BUILD_TIMEOUT, cwd=folder)
    return [node, str(folder / "roundtrip.js")]


def build_java():
    """Cassandra brings a compiler for its functions, so that no JDK is needed."""
    jars = nodes.fetch_jars(WORK / "java-driver-4.19.0", JAVA_JARS)
    classes = fresh_copy("java")
    compiler, = nodes.fetch("5.0").glob("ecj-*.jar")
    path = ":".join(map(str, sorted(jars.glob("*.jar"))))
    run([nodes.find_java(), "-jar", str(compiler), "-source", "11", "-target", "11", "-encoding", "UTF-8", "-cp", path,
         "-d", str(classes), str(HERE / "java" / "RoundTrip.java")], BUILD_TIMEOUT)
    return [nodes.find_java(), "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
            "-cp", "%s:%s/*" % (classes, jars), "RoundTrip"]


BUILDERS = {"gocql 1.7": lambda: build_go("gocql1"), "gocql 2.1": lambda: build_go("gocql2", GOCQL2),
            "Node": build_node, "Java": build_java}
_built = {}


def program(driver):
    if driver not in _built:
        _built[driver] = BUILDERS[driver]()
    return _built[driver]


# The version of the protocol that a driver is told, 0 for none; for Java also the compression.
RUNS = [("gocql 1.7", "0"), ("gocql 1.7", "3"), ("gocql 1.7", "4"), ("gocql 2.1", "0"), ("gocql 2.1", "5"),
        ("Node", "0"), ("Node", "3"), ("Java", "0", "none"), ("Java", "5", "lz4"), ("Java", "4", "lz4")]


@pytest.mark.parametrize("primary", ["origin", "target"])
@pytest.mark.parametrize("driver", RUNS, ids=lambda run: "-".join(run).replace(" ", "-"))
def test_round_trip(request, stand, driver, primary):
    command = program(driver[0])
    keyspace = "trip%d" % next(_numbers)
    proxy = stand.proxy(primary)
    shown.note_profile(request.node, proxy.profile)
    sides = (stand.origin, stand.target)
    for side in sides:
        side.execute("CREATE KEYSPACE %s WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}"
                     % keyspace)
    seen = json.loads(run([*command, proxy.address, str(proxy.port), keyspace, *driver[1:]], RUN_TIMEOUT))
    assert seen == WANTED
    for side in sides:
        rows = side.execute("SELECT c, v, l, m, u, n FROM %s.rows WHERE p = 1" % keyspace).all()
        assert [(row.c, row.v, list(row.l), dict(row.m), row.n) for row in rows] == \
            [(c, "välue %d" % c, [c, 2 * c], {"k": c}, None) for c in range(200)]
        assert side.rows("SELECT p, c, v FROM %s.rows WHERE p IN (2, 3)" % keyspace) == \
            [(2, 1, "bound"), (2, 2, "text"), (3, 1, "once")]
        assert side.rows("SELECT n FROM %s.hits" % keyspace) == [(3,)]
    ids = [side.rows("SELECT c, u FROM %s.rows WHERE p = 1" % keyspace) for side in sides]
    assert ids[0] == ids[1]
