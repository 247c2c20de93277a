"""Drivers as an application uses them: one place that connects, so that every test connects the same way."""

import contextlib
import os
import ssl
import subprocess

from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable
from cassandra.policies import FallthroughRetryPolicy

import nodes


def tls_context(ca, cert=None, key=None, check_names=False):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = check_names
    context.load_verify_locations(ca)
    if cert:
        context.load_cert_chain(cert, key)
    return context


def new_cluster(address, port, login=None, context=None, **options):
    """A Cluster that retries nothing behind the test's back. `options` are the driver's own."""
    profile = options.pop("profile", None) or ExecutionProfile(retry_policy=FallthroughRetryPolicy(), request_timeout=30)
    options.setdefault("connect_timeout", 30)
    return Cluster([address], port=port, auth_provider=PlainTextAuthProvider(*login) if login else None,
                   ssl_context=context, execution_profiles={EXEC_PROFILE_DEFAULT: profile},
                   control_connection_timeout=30, **options)


@contextlib.contextmanager
def connected(address, port, login=None, context=None, **options):
    cluster = new_cluster(address, port, login, context, **options)
    try:
        yield cluster.connect()
    finally:
        cluster.shutdown()


def direct(node, login=None, protocol_version=5):
    """A Cluster on a node itself, past the proxy, as its superuser unless told otherwise."""
    context = tls_context(node.tls.ca, node.tls.client_cert, node.tls.client_key) if node.tls else None
    if login is None and node.auth:
        login = (node.username, node.password)
    return new_cluster(node.address, node.port, login, context, protocol_version=protocol_version,
                       schema_metadata_enabled=False, token_metadata_enabled=False)


def connect_error(*arguments, **options):
    """The text of the error with which a connect ends; fails when it succeeds."""
    cluster = new_cluster(*arguments, **options)
    try:
        cluster.connect()
    except NoHostAvailable as error:
        return str(error)
    finally:
        cluster.shutdown()
    raise AssertionError("the connect should have failed")


def rows(result):
    """Rows as a sorted list of tuples: the order over partitions says nothing here."""
    return sorted(tuple(row) for row in result)


def cqlsh(ferry, *arguments, login=None, text=None, ok=True):
    """Runs cqlsh against the proxy; returns what it printed to standard output."""
    command = [str(nodes.cache_dir() / "venv" / "bin" / "cqlsh"), "--no-color"]
    if login:
        command += ["-u", login[0], "-p", login[1]]
    command += [*arguments, ferry.address, str(ferry.port)]
    done = subprocess.run(command, input=text, stdin=None if text else subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=120, env=dict(os.environ, CQLSH_NO_BUNDLED="", TERM="dumb"))
    assert (done.returncode == 0) == ok, "cqlsh: exit status %d\n%s\n%s" % (done.returncode, done.stdout, done.stderr)
    return done.stdout if ok else done.stderr
