"""The load generator in front of clusters that are not its own."""

import json
import os
import subprocess

import pytest

import ferry as ferry_module

pytestmark = pytest.mark.pair("migration")

KEYS = 50
REQUESTS = 400
# "simple" writes its values into the statements, a BATCH has ten writes.
FORMS = [("4", "prepared"), ("4", "batch"), ("5", "prepared"), ("3", "simple")]


@pytest.fixture(scope="module")
def cqlbench():
    """Made where the proxy was; flags of a `make` around this run would make it wait for that one's jobs."""
    build = ferry_module.binary().parent
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    subprocess.run(["make", "-s", "bench/cqlbench"], cwd=build, env=environment, check=True, timeout=300)
    return build / "bench" / "cqlbench"


def measured(cqlbench, address, port, *options):
    done = subprocess.run([cqlbench, "--proxy", "%s:%s" % (address, port), "--create", "--keys", str(KEYS), "--write-percent", "50",
                           "--connections", "4", "--depth", "4", "--warmup", "20", "--requests", str(REQUESTS), "--json", "-", *options],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("version,form", FORMS)
def test_through_the_proxy(pair, ferry, cqlbench, tmp_path, version, form):
    keyspace = "bench_%s_%s" % (version, form)
    user, password = pair.client_login
    pid_file = tmp_path / "pid"
    pid_file.write_text(str(ferry.process.pid))
    result = measured(cqlbench, ferry.address, ferry.port, "--user", user, "--password", password, "--keyspace", keyspace,
                      "--protocol", version, "--form", form, "--pid-file", str(pid_file))
    assert (result["requests"], result["errors"], result["dropped"]) == (REQUESTS, 0, 0)
    assert result["options"]["password"] is True
    assert result["proxy"]["pid"] == ferry.process.pid
    assert result["latency_us"]["p50"] > 0
    rows = pair.rows("SELECT k, v FROM %s.t" % keyspace)
    assert len(rows) == KEYS
    # Each value begins with its key.
    assert all(value.startswith(key) and len(value) == 64 for key, value in rows)


def test_without_a_proxy(pair, cqlbench):
    node = pair.origin.node
    result = measured(cqlbench, node.address, node.port, "--keyspace", "bench_direct")
    assert (result["requests"], result["errors"], result["proxy"]) == (REQUESTS, 0, None)
    assert len(pair.origin.rows("SELECT k FROM bench_direct.t")) == KEYS


def test_nothing_is_made_unasked(pair, ferry, cqlbench):
    user, password = pair.client_login
    done = subprocess.run([cqlbench, "--proxy", "%s:%s" % (ferry.address, ferry.port), "--user", user, "--password", password,
                           "--keyspace", "bench_absent"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 1
    assert "bench_absent" in done.stderr
    assert pair.rows("SELECT * FROM system_schema.tables WHERE keyspace_name = 'bench_absent'") == []
