"""The programs of test_drivers.py: how each is built, and the conversation with one that runs."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading

import pytest

import nodes

HERE = pathlib.Path(__file__).resolve().parent
WORK = nodes.cache_dir() / "drivers"
BUILD_TIMEOUT = 500
RUN_TIMEOUT = 120

JAVA_DRIVER = "4.19.0"
JAVA_JARS = [("org.apache.cassandra", "java-driver-core", JAVA_DRIVER, ""), ("org.slf4j", "slf4j-nop", "1.7.36", ""),
             ("at.yawk.lz4", "lz4-java", "1.10.1", "")]
#: what gocql's second version is imported as
GOCQL2 = "github.com/apache/cassandra-gocql-driver/v2"
#: the oldest compiler that the crate scylla takes
RUST = (1, 88)


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
    """A folder in the cache with these files: what a build leaves there is used again. A file that has not changed
    keeps its time."""
    folder = WORK / name
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        copy = folder / file.name
        if not copy.exists() or copy.read_bytes() != file.read_bytes():
            shutil.copyfile(file, copy)
    return folder


def build_go(name, import_path=None):
    folder = fresh_copy(name, HERE / "go" / "go.mod", HERE / "go" / "go.sum")
    source = (HERE / "go" / "roundtrip.go").read_text()
    if import_path:
        source = source.replace('"github.com/gocql/gocql"', '"%s"' % import_path)
    (folder / "roundtrip.go").write_text(source)
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
    jars = nodes.fetch_jars(WORK / ("java-driver-" + JAVA_DRIVER), JAVA_JARS)
    classes = fresh_copy("java")
    compiler, = nodes.fetch("5.0").glob("ecj-*.jar")
    path = ":".join(map(str, sorted(jars.glob("*.jar"))))
    run([nodes.find_java(), "-jar", str(compiler), "-source", "11", "-target", "11", "-encoding", "UTF-8", "-cp", path,
         "-d", str(classes), str(HERE / "java" / "RoundTrip.java")], BUILD_TIMEOUT)
    return [nodes.find_java(), "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
            "-cp", "%s:%s/*" % (classes, jars), "RoundTrip"]


def build_rust():
    cargo = tool("cargo")
    version = re.search(r"(\d+)\.(\d+)", run([tool("rustc"), "--version"], 60))
    if tuple(map(int, version.groups())) < RUST:
        pytest.skip("rustc is %s, and this driver needs %d.%d: Debian's package cargo-web has it" % (version[0], *RUST))
    folder = fresh_copy("rust", *(HERE / "rust" / name for name in ("Cargo.toml", "roundtrip.rs")))
    run([cargo, "build", "-q", "-j", "2"], BUILD_TIMEOUT, cwd=folder)
    return [str(folder / "target" / "debug" / "roundtrip")]


def build_python():
    return [sys.executable, str(HERE / "python" / "roundtrip.py")]


BUILDERS = {"Python": build_python, "gocql-1.7": lambda: build_go("gocql1"),
            "gocql-2.1": lambda: build_go("gocql2", GOCQL2), "Java": build_java, "Node": build_node, "Rust": build_rust}
_built = {}


def program(driver):
    if driver not in _built:
        _built[driver] = BUILDERS[driver]()
    return _built[driver]


def build(drivers):
    """Builds programs that are needed later. What cannot be built is told where it is needed."""
    for driver in drivers:
        with contextlib.suppress(Exception, pytest.skip.Exception):
            program(driver)


class Trip:
    """A program that runs. It prints a line of JSON for each step, and after some waits for a line."""

    def __init__(self, driver, log, **options):
        variables = {"TRIP_" + name: str(value) for name, value in options.items()}
        self._log = log
        with open(log, "w") as stderr:
            self._process = subprocess.Popen(program(driver), env=dict(os.environ, **variables), text=True,
                                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr,
                                             preexec_fn=nodes.die_with_parent)
        self._timer = threading.Timer(RUN_TIMEOUT, self._process.kill)
        self._timer.start()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._timer.cancel()
        self._process.kill()
        self._process.communicate()

    def step(self, name):
        """What the program says of its next step, which must be this one."""
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait()
            raise AssertionError("it ended with status %d before the step %s\n%s" % (
                status, name, self._log.read_text(errors="replace")[-6000:]))
        seen = json.loads(line)
        assert seen.pop("step") == name
        return seen

    def go_on(self):
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def wait_end(self):
        status = self._process.wait(RUN_TIMEOUT)
        assert status == 0, "it ended with status %d\n%s" % (status, self._log.read_text(errors="replace")[-6000:])
