"""
ZDM Proxy's 71 settings, one by one: as a variable, in its YAML file, in our INI file; the default, a good value, a bad
one. What the program understood is read from --print-config.
"""
import asyncio
import os

import pytest

import checklist as shown
from proxy import binary, ini_text

pytestmark = pytest.mark.own_profile

NUMBER = "is not a"  # number, integer
RANGE = "is out of range"
BOOLEAN = "is not a boolean"
WORD = "unknown word"
BUCKETS = "1, 4, 7, 10, 25, 40, 60, 80, 100, 150, 250, 500, 1000, 2500, 5000, 10000, 15000"
SPECS = {}


def setting(name, key, default, good, printed=None, bad=None, why=None, yaml=None, ini=None, native=None):
    """
    name: of the variable, without ZDM_. key: "section.key" of the INI file. default: as --print-config shows it in the
    zdm profile, None for "not set"; native: the same in the native profile. good: a value as variables have it, shown as
    `printed`; `yaml` and `ini` where it is written in another way there. bad: what is refused, and why.
    """
    SPECS[name] = {"key": key, "default": default, "native": native or default, "good": good, "printed": printed or good,
                   "bad": bad, "why": why, "yaml": yaml or good, "ini": ini or printed or good}


setting("PRIMARY_CLUSTER", "routing.primary", "origin", "TARGET", "target", "BOTH", WORD)
setting("READ_MODE", "routing.read_mode", "primary_only", "DUAL_ASYNC_ON_SECONDARY", "dual_async_on_secondary",
        "DUAL_SYNC", WORD)
setting("REPLACE_CQL_FUNCTIONS", "routing.replace_cql_functions", "false", "true", bad="maybe", why=BOOLEAN)
setting("ASYNC_HANDSHAKE_TIMEOUT_MS", "routing.async_handshake_timeout", "4s", "2500", "2500ms", "x", NUMBER)
setting("LOG_LEVEL", "log.level", "info", "DEBUG", "debug", "verbose", WORD)
setting("CONTROL_CONN_MAX_PROTOCOL_VERSION", "proxy.control_conn_max_protocol_version", "DseV2", "dsev1", "DseV1", "v4",
        "unknown protocol version")
setting("BLOCKED_PROTOCOL_VERSIONS", "proxy.blocked_protocol_versions", None, "v2,3", "2, 3", "v1",
        "unknown protocol version")
setting("TRACING_ENABLED", "proxy.tracing_enabled", "false", "true", bad="maybe", why=BOOLEAN)
setting("TRACING_RATE_LIMIT", "proxy.tracing_rate_limit", "0", "7", bad="x", why=NUMBER)
setting("TRACING_REQUEST_ID_KEY", "proxy.tracing_request_id_key", "request-id", "my-id")
setting("PROXY_TOPOLOGY_INDEX", "proxy.topology_index", "0", "1", bad="2", why="is not below the number")
setting("PROXY_TOPOLOGY_ADDRESSES", "proxy.topology_addresses", None, "10.0.0.1, ::1", bad="localhost",
        why="is not an IP address")
setting("PROXY_TOPOLOGY_NUM_TOKENS", "proxy.topology_num_tokens", "8", "256", bad="257", why=RANGE)
for cluster in ("ORIGIN", "TARGET"):
    section = cluster.lower()
    setting(f"{cluster}_CONTACT_POINTS", f"{section}.contact_points", None, "10.0.0.1, c", bad="a:9042",
            why="has a port")
    setting(f"{cluster}_PORT", f"{section}.port", "9042", "9043", bad="0", why=RANGE)
    setting(f"{cluster}_SECURE_CONNECT_BUNDLE_PATH", f"{section}.secure_connect_bundle", None, "bundle.zip")
    setting(f"{cluster}_LOCAL_DATACENTER", f"{section}.local_datacenter", None, "dc1")
    setting(f"{cluster}_USERNAME", f"{section}.username", "", "me", native=None)
    setting(f"{cluster}_PASSWORD", f"{section}.password", "", "secret", "***", ini="secret")
    setting(f"{cluster}_CONNECTION_TIMEOUT_MS", f"{section}.connection_timeout", "30s", "1500", "1500ms", "x", NUMBER)
    setting(f"{cluster}_TLS_SERVER_CA_PATH", f"{section}.tls_ca", None, "ca.pem")
    setting(f"{cluster}_TLS_CLIENT_CERT_PATH", f"{section}.tls_cert", None, "cert.pem")
    setting(f"{cluster}_TLS_CLIENT_KEY_PATH", f"{section}.tls_key", None, "key.pem")
setting("PROXY_LISTEN_ADDRESS", "listener.address", "localhost", "10.1.2.3", native="127.0.0.1")
setting("PROXY_LISTEN_PORT", "listener.port", "14002", "9999", bad="65536", why=RANGE)
setting("PROXY_REQUEST_TIMEOUT_MS", "proxy.request_timeout", "10s", "20000", "20s", "-1", RANGE)
setting("PROXY_MAX_CLIENT_CONNECTIONS", "proxy.max_client_connections", "1000", "77", bad="0", why=RANGE,
        native="10000")
setting("PROXY_MAX_STREAM_IDS", "proxy.max_stream_ids", "2048", "100", bad="0", why=RANGE, native="32768")
setting("PROXY_TLS_CA_PATH", "listener.tls_ca", None, "ca.pem")
setting("PROXY_TLS_CERT_PATH", "listener.tls_cert", None, "cert.pem")
setting("PROXY_TLS_KEY_PATH", "listener.tls_key", None, "key.pem")
setting("PROXY_TLS_REQUIRE_CLIENT_AUTH", "listener.tls_require_client_cert", "false", "true", bad="maybe", why=BOOLEAN)
setting("METRICS_ENABLED", "http.metrics_enabled", "true", "false", bad="maybe", why=BOOLEAN)
setting("METRICS_ADDRESS", "http.address", "localhost", "10.1.2.3", native="127.0.0.1")
setting("METRICS_PORT", "http.port", "14001", "9998", bad="x", why=NUMBER)
setting("METRICS_PREFIX", "http.metrics_prefix", "zdm", "ferry", bad="a-b", why="is not a valid start of a metric name")
for name, key in (("ORIGIN", "origin"), ("TARGET", "target"), ("ASYNC_READ", "async_read")):
    setting(f"METRICS_{name}_LATENCY_BUCKETS_MS", f"http.{key}_latency_buckets_ms", BUCKETS, "1,2.5 , 100",
            "1, 2.5, 100", "1, x", "is not")
setting("HEARTBEAT_INTERVAL_MS", "proxy.heartbeat_interval", "30s", "250", "250ms", "x", NUMBER)
setting("HEARTBEAT_RETRY_INTERVAL_MIN_MS", "proxy.heartbeat_retry_interval_min", "250ms", "300", "300ms", "x", NUMBER)
setting("HEARTBEAT_RETRY_INTERVAL_MAX_MS", "proxy.heartbeat_retry_interval_max", "30s", "3000", "3s", "x", NUMBER)
setting("HEARTBEAT_RETRY_BACKOFF_FACTOR", "proxy.heartbeat_retry_backoff_factor", "2", "1.5", bad="x",
        why="is not a number")
setting("HEARTBEAT_FAILURE_THRESHOLD", "proxy.heartbeat_failure_threshold", "1", "5", bad="x", why=NUMBER)
setting("SYSTEM_QUERIES_MODE", "routing.system_queries_mode", "origin", "target", bad="both", why=WORD)
setting("FORWARD_CLIENT_CREDENTIALS_TO_ORIGIN", "routing.forward_client_credentials_to_origin", "false", "true",
        bad="maybe", why=BOOLEAN)
for cluster in ("ORIGIN", "TARGET"):
    setting(f"{cluster}_ENABLE_HOST_ASSIGNMENT", f"{cluster.lower()}.enable_host_assignment", "true", "false",
            bad="maybe", why=BOOLEAN)
WITHOUT_EFFECT = ["REQUEST_WRITE_QUEUE_SIZE_FRAMES", "REQUEST_WRITE_BUFFER_SIZE_BYTES",
                  "REQUEST_READ_BUFFER_SIZE_BYTES", "RESPONSE_WRITE_QUEUE_SIZE_FRAMES",
                  "RESPONSE_WRITE_BUFFER_SIZE_BYTES", "RESPONSE_READ_BUFFER_SIZE_BYTES",
                  "REQUEST_RESPONSE_MAX_WORKERS", "WRITE_MAX_WORKERS", "READ_MAX_WORKERS", "LISTENER_MAX_WORKERS",
                  "EVENT_QUEUE_SIZE_FRAMES", "ASYNC_CONNECTOR_WRITE_QUEUE_SIZE_FRAMES",
                  "ASYNC_CONNECTOR_WRITE_BUFFER_SIZE_BYTES"]
for name in WITHOUT_EFFECT:
    setting(name, f"zdm.{name.lower()}", None, "20", bad="x", why=NUMBER)

MANDATORY = {"ORIGIN_CONTACT_POINTS": "a", "TARGET_CONTACT_POINTS": "b", "ORIGIN_USERNAME": "", "ORIGIN_PASSWORD": "",
             "TARGET_USERNAME": "", "TARGET_PASSWORD": ""}
#: what a setting needs beside it to be good, or to be wrong in the way that is meant
BESIDE = {"PROXY_TOPOLOGY_INDEX": {"PROXY_TOPOLOGY_ADDRESSES": "10.0.0.1, 10.0.0.2"},
          "PROXY_TLS_CA_PATH": {"PROXY_TLS_CERT_PATH": "c", "PROXY_TLS_KEY_PATH": "k"},
          "PROXY_TLS_CERT_PATH": {"PROXY_TLS_CA_PATH": "a", "PROXY_TLS_KEY_PATH": "k"},
          "PROXY_TLS_KEY_PATH": {"PROXY_TLS_CERT_PATH": "c", "PROXY_TLS_CA_PATH": "a"},
          "PROXY_TLS_REQUIRE_CLIENT_AUTH": {"PROXY_TLS_CERT_PATH": "c", "PROXY_TLS_KEY_PATH": "k",
                                            "PROXY_TLS_CA_PATH": "a"}}
for cluster in ("ORIGIN", "TARGET"):
    ca, cert, key = (f"{cluster}_TLS_{what}_PATH" for what in ("SERVER_CA", "CLIENT_CERT", "CLIENT_KEY"))
    BESIDE[cert] = {ca: "a", key: "k"}
    BESIDE[key] = {ca: "a", cert: "c"}
    BESIDE[f"{cluster}_USERNAME"] = {f"{cluster}_PASSWORD": "secret"}
    BESIDE[f"{cluster}_PASSWORD"] = {f"{cluster}_USERNAME": "me"}
FORMS = ["variables", "yaml", "ini"]


class Outcome:
    def __init__(self, code, text):
        self.code = code
        self.text = text

    def value(self, key):
        """What --print-config shows for section.key; None: not set."""
        section, _, name = key.partition(".")
        within = None
        for line in self.text.splitlines():
            if line.startswith("["):
                within = line.strip("[]")
            elif within == section and line.startswith(f"{name} ="):
                return line.split("=", 1)[1].split("  ; ")[0].strip()
            elif within == section and line.startswith(f";{name} ="):
                return None
        raise AssertionError(f"no {key} in\n{self.text}")


@pytest.fixture
def config(request, tmp_path):
    """await config(form, {variable without ZDM_: value}) runs --print-config, or what `arguments` say."""
    async def run(form, values, arguments=("--print-config",), text=None, environment=None):
        command = [binary(), *arguments]
        env = {k: v for k, v in os.environ.items() if not k.startswith("ZDM_")}
        env.update(environment or {})
        if form == "variables":
            env.update({f"ZDM_{name}": value for name, value in values.items()})
        elif form == "yaml":
            path = tmp_path / "zdm.yaml"
            path.write_text(text if text is not None else
                            "".join(f"{name.lower()}: {quoted(value)}\n" for name, value in values.items()))
            command += ["-config", str(path)]
        else:
            sections = {}
            for name, value in values.items():
                where, _, key = SPECS[name]["key"].partition(".")
                sections.setdefault(where, {})[key] = value
                if "_TLS_" in name and "PROXY" not in name:  # which ZDM Proxy concludes from the files
                    sections[where]["tls"] = "ca"
            path = tmp_path / "cqlferry.ini"
            path.write_text(ini_text(sections))
            command += ["--config", str(path)]
        process = await asyncio.create_subprocess_exec(*command, env=env, cwd=tmp_path,
                                                       stdin=asyncio.subprocess.DEVNULL,
                                                       stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
        output, _ = await asyncio.wait_for(process.communicate(), 20)
        shown.note_profile(request.node, "native" if form == "ini" else "zdm")
        assert "Sanitizer" not in output.decode(), output.decode()
        return Outcome(process.returncode, output.decode())
    return run


def quoted(value):
    """A YAML scalar: numbers and booleans as they are."""
    plain = value.replace(".", "").replace("-", "").isdigit() or value in ("true", "false", "maybe", "x")
    return value if plain else f'"{value}"'


def mandatory(form):
    return {name: value for name, value in MANDATORY.items() if form == "variables" or "CONTACT" in name}


def test_there_are_71():
    assert len(SPECS) == 71


@pytest.mark.connections(9)
@pytest.mark.parametrize("form", FORMS)
async def test_defaults(config, form):
    outcome = await config(form, mandatory(form))
    assert outcome.code == 0, outcome.text
    for name, spec in SPECS.items():
        if name not in MANDATORY and spec["key"].partition(".")[0] != "zdm":
            assert outcome.value(spec["key"]) == spec["native" if form == "ini" else "default"], name


def written(form, name):
    return SPECS[name][{"variables": "good", "yaml": "yaml", "ini": "ini"}[form]]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", SPECS)
async def test_good_values(config, form, name):
    values = {**mandatory(form), **BESIDE.get(name, {}), name: written(form, name)}
    if "BUNDLE" in name:
        del values[name.replace("SECURE_CONNECT_BUNDLE_PATH", "CONTACT_POINTS")]
    outcome = await config(form, values)
    assert outcome.code == 0, outcome.text
    if name in WITHOUT_EFFECT:
        assert f"; ZDM_{name} = 20  ; from" in outcome.text and "without effect" in outcome.text
    else:
        assert outcome.value(SPECS[name]["key"]) == SPECS[name]["printed"]


@pytest.mark.connections(12)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", [n for n in SPECS if SPECS[n]["bad"]])
async def test_bad_values(config, form, name):
    """Refused with the name as it is written in that form; exit 255 as ZDM Proxy, 1 for an INI file."""
    spec = SPECS[name]
    if form == "ini" and name.endswith("_MS") and "BUCKETS" not in name:
        spec = dict(spec, why="")  # durations are said to have no unit, or a wrong one
    values = {**mandatory(form), **BESIDE.get(name, {}), name: spec["bad"]}
    outcome = await config(form, values)
    assert outcome.code == (1 if form == "ini" else 255), outcome.text
    said = {"variables": f"ZDM_{name}", "yaml": f"zdm.yaml:{list(values).index(name) + 1}: {name.lower()}",
            "ini": f"[{spec['key'].partition('.')[0]}] {spec['key'].partition('.')[2]}"}[form]
    assert f"{said}: " in outcome.text and spec["why"] in outcome.text, outcome.text


async def test_settings_without_effect_are_said_so_at_debug(make_bench):
    """One line each, and only for those that are set."""
    bench = await make_bench(fresh=True, profile="zdm", variables={"ZDM_WRITE_MAX_WORKERS": "4",
                                                                   "ZDM_EVENT_QUEUE_SIZE_FRAMES": "3"})
    lines = [line for line in bench.proxy.log.splitlines() if "without effect" in line]
    assert len(lines) == 2 and all(" DEBUG " in line for line in lines)
    assert "ZDM_WRITE_MAX_WORKERS = 4" in "".join(lines) and "ZDM_EVENT_QUEUE_SIZE_FRAMES = 3" in "".join(lines)


# ---- rules about more than one value ----

async def refused(config, values, name, form="variables", environment=None):
    """The message names this variable."""
    outcome = await config(form, {**mandatory(form), **values}, environment=environment)
    assert outcome.code == 255 and f"ZDM_{name}: " in outcome.text, outcome.text
    return outcome


@pytest.mark.connections(3)
@pytest.mark.parametrize("missing", ["ORIGIN_USERNAME", "ORIGIN_PASSWORD", "TARGET_USERNAME", "TARGET_PASSWORD"])
async def test_missing_credentials(config, missing):
    outcome = await config("variables", {n: v for n, v in MANDATORY.items() if n != missing})
    assert outcome.code == 255 and f"ZDM_{missing}: missing" in outcome.text


@pytest.mark.connections(4, 11)
async def test_empty_credentials_and_unknown_variables(config):
    outcome = await config("variables", {**MANDATORY, "SOMETHING_ELSE": "x", "METRICS_ENABLE": "x"})
    assert outcome.code == 0 and outcome.value("origin.username") == outcome.value("target.password") == ""
    assert outcome.value("http.metrics_enabled") == "true"


@pytest.mark.connections(5, 6, 10, 14)
async def test_the_yaml_file(config):
    """No credentials, a null, an unknown key, a word for a boolean; variables beside it do not count."""
    text = ("origin_contact_points: a\ntarget_contact_points: b\norigin_port: null\nunknown: 5\n"
            "metrics_enabled: no\nreplace_cql_functions: yes\n")
    outcome = await config("yaml", {}, text=text, environment={"ZDM_TARGET_PORT": "1", "ZDM_LOG_LEVEL": "x"})
    assert outcome.code == 0, outcome.text
    assert outcome.value("origin.port") == outcome.value("target.port") == "9042"
    assert outcome.value("http.metrics_enabled") == "false"
    assert outcome.value("routing.replace_cql_functions") == "true"
    assert outcome.value("origin.username") is None and outcome.value("log.level") == "info"
    assert (await config("variables", {**MANDATORY, "METRICS_ENABLED": "yes"})).code == 255


@pytest.mark.connections(7, 8)
@pytest.mark.parametrize("text,said", [("", "no settings"), ("# nothing\n", "no settings"), (None, "nowhere.yaml")])
async def test_yaml_files_that_are_none(config, tmp_path, text, said):
    if text is None:
        outcome = await config("variables", {}, ("-config", str(tmp_path / "nowhere.yaml")))
    else:
        outcome = await config("yaml", {}, text=text)
    assert outcome.code == 255 and said in outcome.text


@pytest.mark.connections(13)
@pytest.mark.parametrize("written_as,value", [("0x10", "16"), ("010", "8"), ("0b11", "3"), ("1_000", "1000")])
async def test_integers(config, written_as, value):
    outcome = await config("variables", {**MANDATORY, "PROXY_LISTEN_PORT": written_as})
    assert outcome.code == 0 and outcome.value("listener.port") == value


@pytest.mark.connections(17)
@pytest.mark.parametrize("word,level", [("warning", "warn"), (" warn ", "warn"), ("FATAL", "error"), ("tRaCe", "trace"),
                                        ("verbose", None), ("", None)])
async def test_log_levels(config, word, level):
    outcome = await config("variables", {**MANDATORY, "LOG_LEVEL": word})
    assert (outcome.code, level and outcome.value("log.level")) == ((0, level) if level else (255, None))


@pytest.mark.connections(26)
@pytest.mark.parametrize("cluster", ["ORIGIN", "TARGET"])
async def test_neither_contact_points_nor_bundle(config, cluster):
    for form in ("variables", "yaml"):
        outcome = await config(form, {n: v for n, v in mandatory(form).items() if n != f"{cluster}_CONTACT_POINTS"})
        assert outcome.code == 255 and f"{cluster}_contact_points".lower() in outcome.text.lower()


@pytest.mark.connections(25, 27, 28)
@pytest.mark.parametrize("cluster", ["ORIGIN", "TARGET"])
@pytest.mark.parametrize("beside", ["CONTACT_POINTS", "LOCAL_DATACENTER", "TLS_SERVER_CA_PATH", "TLS_CLIENT_CERT_PATH",
                                    "TLS_CLIENT_KEY_PATH"])
async def test_what_a_bundle_excludes(config, cluster, beside):
    values = dict(MANDATORY, **{f"{cluster}_SECURE_CONNECT_BUNDLE_PATH": "bundle.zip"})
    del values[f"{cluster}_CONTACT_POINTS"]
    outcome = await config("variables", {**values, f"{cluster}_{beside}": "x"})
    assert outcome.code == 255 and f"ZDM_{cluster}_" in outcome.text


@pytest.mark.connections(29)
@pytest.mark.parametrize("cluster", ["ORIGIN", "TARGET"])
async def test_ports_of_clusters(config, cluster):
    await refused(config, {f"{cluster}_PORT": "0"}, f"{cluster}_PORT")
    outcome = await config("variables", MANDATORY)
    assert outcome.value(f"{cluster.lower()}.port") == "9042"


@pytest.mark.connections(30)
@pytest.mark.parametrize("cluster", ["ORIGIN", "TARGET"])
async def test_a_datacenter_without_host_assignment(config, cluster):
    await refused(config, {f"{cluster}_LOCAL_DATACENTER": "dc", f"{cluster}_ENABLE_HOST_ASSIGNMENT": "false"},
                  f"{cluster}_LOCAL_DATACENTER")


@pytest.mark.connections(31)
@pytest.mark.parametrize("cluster", ["ORIGIN", "TARGET"])
@pytest.mark.parametrize("given", [("CLIENT_CERT",), ("CLIENT_KEY",), ("CLIENT_CERT", "CLIENT_KEY"),
                                   ("SERVER_CA", "CLIENT_CERT"), ("SERVER_CA", "CLIENT_KEY")])
async def test_tls_files_of_a_cluster(config, cluster, given):
    outcome = await config("variables", {**MANDATORY, **{f"{cluster}_TLS_{what}_PATH": "x" for what in given}})
    assert outcome.code == 255 and f"ZDM_{cluster}_TLS_" in outcome.text and "missing" in outcome.text


@pytest.mark.connections(32, 33)
@pytest.mark.parametrize("given", [("CA",), ("CERT",), ("KEY",), ("CA", "CERT"), ("CA", "KEY"), ("CERT", "KEY"), ()])
async def test_tls_files_of_the_listener(config, given):
    """Without any: client certificates cannot be demanded."""
    values = {**MANDATORY, **{f"PROXY_TLS_{what}_PATH": "x" for what in given}}
    if not given:
        values["PROXY_TLS_REQUIRE_CLIENT_AUTH"] = "true"
    outcome = await config("variables", values)
    assert outcome.code == 255 and "ZDM_PROXY_TLS_" in outcome.text


@pytest.mark.connections(34)
async def test_blanks_in_lists(config):
    outcome = await config("variables", {**MANDATORY, "ORIGIN_CONTACT_POINTS": " 10.0.0 .1 , c ",
                                         "PROXY_TOPOLOGY_ADDRESSES": " 10.0.0.1 ,10.0.0.2"})
    assert outcome.value("origin.contact_points") == "10.0.0.1, c"
    assert outcome.value("proxy.topology_addresses") == "10.0.0.1, 10.0.0.2"


@pytest.mark.connections(35, 36, 37)
@pytest.mark.parametrize("name,value,good", [("INDEX", "2", False), ("INDEX", "-1", False), ("INDEX", "1", True),
                                             ("ADDRESSES", "localhost", False), ("NUM_TOKENS", "0", False),
                                             ("NUM_TOKENS", "257", False), ("NUM_TOKENS", "1", True),
                                             ("NUM_TOKENS", "256", True)])
async def test_the_topology_of_instances(config, name, value, good):
    values = {**MANDATORY, "PROXY_TOPOLOGY_ADDRESSES": "10.0.0.1,::1", f"PROXY_TOPOLOGY_{name}": value}
    outcome = await config("variables", values)
    assert outcome.code == (0 if good else 255), outcome.text
    assert good or f"ZDM_PROXY_TOPOLOGY_{name}: " in outcome.text


@pytest.mark.connections(38, 39)
@pytest.mark.parametrize("name,good,bad", [("PRIMARY_CLUSTER", "tArGeT", "BOTH"), ("SYSTEM_QUERIES_MODE", "Target", ""),
                                           ("READ_MODE", "Dual_Async_On_Secondary", "DUAL_SYNC"),
                                           ("READ_MODE", "primary_only", ""), ("PRIMARY_CLUSTER", "ORIGIN", " ORIGIN")])
async def test_words(config, name, good, bad):
    outcome = await config("variables", {**MANDATORY, name: good})
    assert outcome.value(SPECS[name]["key"]) == good.lower()
    await refused(config, {name: bad}, name)


@pytest.mark.connections(40)
async def test_the_highest_version(config):
    for word, value in (("2", "2"), ("5", "5"), ("DseV1", "DseV1"), ("dsev2", "DseV2")):
        outcome = await config("variables", {**MANDATORY, "CONTROL_CONN_MAX_PROTOCOL_VERSION": word})
        assert outcome.value("proxy.control_conn_max_protocol_version") == value
    for word in ("1", "6", "v4", "Dsev123", "Dse_V2", ""):
        await refused(config, {"CONTROL_CONN_MAX_PROTOCOL_VERSION": word}, "CONTROL_CONN_MAX_PROTOCOL_VERSION")


@pytest.mark.connections(41)
async def test_blocked_versions(config):
    for word, value in ((", ,  ,", ""), ("2,V3,5", "2, 3, 5"), ("Dse_V1", "DseV1"), ("dsev2,2,2", "2, DseV2")):
        outcome = await config("variables", {**MANDATORY, "BLOCKED_PROTOCOL_VERSIONS": word})
        assert outcome.value("proxy.blocked_protocol_versions") == value
    await refused(config, {"BLOCKED_PROTOCOL_VERSIONS": "2,v1"}, "BLOCKED_PROTOCOL_VERSIONS")


@pytest.mark.connections(42)
@pytest.mark.parametrize("cluster", ["ORIGIN", "TARGET", "ASYNC_READ"])
@pytest.mark.parametrize("value", ["", "1, a", "2, 1"])
async def test_buckets(config, cluster, value):
    """ZDM Proxy finds out later, or never, about those of mirrored reads and about falling numbers."""
    name = f"METRICS_{cluster}_LATENCY_BUCKETS_MS"
    await refused(config, {name: value}, name)


@pytest.mark.connections(43)
async def test_the_first_mistake_is_reported(config):
    """All of them at once; when one is mended the next one in ZDM Proxy's order is named."""
    mistakes = [("LOG_LEVEL", "x"), ("TARGET_CONTACT_POINTS", ""), ("ORIGIN_CONTACT_POINTS", ""),
                ("METRICS_ORIGIN_LATENCY_BUCKETS_MS", "x"), ("METRICS_TARGET_LATENCY_BUCKETS_MS", "x"),
                ("PROXY_TOPOLOGY_INDEX", "7"), ("ORIGIN_TLS_CLIENT_CERT_PATH", "x"),
                ("TARGET_TLS_CLIENT_CERT_PATH", "x"), ("PROXY_TLS_KEY_PATH", "x"), ("PRIMARY_CLUSTER", "x"),
                ("SYSTEM_QUERIES_MODE", "x"), ("READ_MODE", "x"), ("CONTROL_CONN_MAX_PROTOCOL_VERSION", "x"),
                ("BLOCKED_PROTOCOL_VERSIONS", "x")]
    for n, (name, _) in enumerate(mistakes):
        outcome = await config("variables", {**MANDATORY, **dict(mistakes[n:])})
        about = name.split("_TLS_")[0]
        assert outcome.code == 255 and f"ZDM_{about}" in outcome.text, (name, outcome.text)


@pytest.mark.connections(44)
@pytest.mark.parametrize("name", ["REQUEST_RESPONSE", "WRITE", "READ", "LISTENER"])
async def test_no_workers(config, name):
    outcome = await config("variables", {**MANDATORY, f"{name}_MAX_WORKERS": "0"})
    assert outcome.code == 0 and f"WARN  ZDM_{name}_MAX_WORKERS: 0 is no number of workers" in outcome.text
