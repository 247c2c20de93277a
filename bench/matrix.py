"""
What bench/run measures: the scenarios, and the targets that their figures have to reach. Tables only.

A scenario's requests come from bench/cqlbench; `load` are its options. Scenarios of one group take turns, so that any two of their
cells can be compared. A variant (`base`) is its base but for one thing, and its figures are ratios to the base in the same row.
"""
from typing import NamedTuple

from guards import SCRIPT_STATIC, SCRIPT_TABLE

#: Rows. `peers` stands for all that were given on the command line.
DIRECT, HAPROXY, DEDICATED, POOLED, PEERS = "direct", "haproxy", "dedicated", "pooled", "peers"
OURS = (DEDICATED, POOLED)
#: HAProxy sends a connection's bytes to one cluster: there are no dual writes through it.
READS = (DIRECT, PEERS, HAPROXY, *OURS)
WRITES = (DIRECT, PEERS, *OURS)
#: Without peers, to save time.
ALONE = (DIRECT, HAPROXY, *OURS)

#: The windows of these have to be many, since what they compare are small differences of latencies.
PAIRED_TURNS = 20


class Scenario(NamedTuple):
    name: str
    group: str
    title: str
    rows: tuple
    load: dict
    base: str = ""
    #: Settings of ours, `section.key: value`; {cert}, {key}, {ca}, {plugins} and {folder} are filled in.
    settings: dict = {}
    #: Sections at the end of our configuration.
    sections: str = ""
    #: Files beside it.
    files: dict = {}
    #: Options of cqlbench in place of those of `load` where it talks to one cluster alone.
    direct: dict = {}
    #: A fixed rate: a share of the row's own rate in this scenario, if the rate itself is not among the options.
    share_of: tuple = ()
    turns: int = 0
    #: System calls are counted, too, in a run of their own.
    syscalls: bool = False

    def has_rate(self):
        """What counts are quantiles at a fixed rate."""
        return "rate" in self.load or bool(self.share_of)


def load(connections, depth, writes=0, value=100, **more):
    return {"connections": connections, "depth": depth, "write_percent": writes, "value_size": value, **more}


LUA = {"lua.script": "{folder}/policy.lua"}
PROMETHEUS = "[plugin prometheus]\nfile = {plugins}/prometheus.so\n"
ASYNC = {"routing.read_mode": "dual_async_on_secondary"}
TLS_CLIENTS = {"listener.tls_cert": "{cert}", "listener.tls_key": "{key}"}
TLS_NODES = {f"{cluster}.{key}": value for cluster in ("origin", "target")
             for key, value in (("tls", "ca"), ("tls_ca", "{ca}"))}

R64, R64P, W64, W64P, M64 = load(64, 1), load(64, 32), load(64, 1, 100), load(64, 32, 100), load(64, 1, 50)
LARGE = load(16, 4, 0, 65536)

PLAIN = [
    Scenario("R1", "R1", "reads, one at a time", READS, load(1, 1)),
    Scenario("R64", "R64", "reads", READS, R64, syscalls=True),
    Scenario("R64p", "R64p", "reads, pipelined", READS, R64P, syscalls=True),
    Scenario("R1000", "R1000", "reads", READS, load(1000, 1)),
    Scenario("W1", "R1", "dual writes, one at a time", WRITES, load(1, 1, 100)),
    Scenario("W64", "W64", "dual writes", WRITES, W64, syscalls=True),
    Scenario("W64p", "W64p", "dual writes, pipelined", WRITES, W64P, syscalls=True),
    Scenario("W1000", "R1000", "dual writes", WRITES, load(1000, 1, 100)),
    Scenario("M64", "M64", "half reads, half dual writes", WRITES, M64),
    Scenario("M1000", "M1000", "half reads, half dual writes", WRITES, load(1000, 1, 50), syscalls=True),
    Scenario("L-R", "L", "reads of 64 KiB", READS, LARGE, syscalls=True),
    Scenario("L-W", "L", "dual writes of 64 KiB", WRITES, {**LARGE, "write_percent": 100}, syscalls=True),
    Scenario("S64", "R64", "the reads of R64 as unprepared texts", OURS, {**R64, "form": "simple"}, "R64"),
    Scenario("B64", "W64", "batches of 10 prepared writes", OURS, {**W64, "form": "batch"}, "W64"),
]


def versions(name, group, base):
    """Protocol v5, and lz4 in v4 and in v5."""
    kinds = {"V5": ("v5", {"protocol": 5}), "V4lz4": ("v4 with lz4", {"compression": "lz4"}),
             "V5lz4": ("v5 with lz4", {"protocol": 5, "compression": "lz4"})}
    return [Scenario(f"{prefix}-{name}", group, f"{name} in {what}", OURS, {**base, **more}, name)
            for prefix, (what, more) in kinds.items()]


def tls(name, group, base):
    return [Scenario(f"T-{name}", group, f"{name}, clients with TLS", OURS, {**base, "tls": "clients"}, name, TLS_CLIENTS),
            Scenario(f"TT-{name}", group, f"{name}, TLS on both sides", OURS, {**base, "tls": "clients,origin,target"}, name,
                     {**TLS_CLIENTS, **TLS_NODES})]


def policies(name, group, base):
    return [Scenario(f"Lua-{name}", group, f"{name}, a script's verdict kept by table", OURS, base, name, LUA,
                     files={"policy.lua": SCRIPT_STATIC}),
            Scenario(f"LuaR-{name}", group, f"{name}, a script asked for each request", OURS, base, name, LUA,
                     files={"policy.lua": SCRIPT_TABLE}),
            Scenario(f"Plugin-{name}", group, f"{name}, the plugin prometheus", OURS, base, name, sections=PROMETHEUS)]


def copies(name, group, base):
    return Scenario(f"A-{name}", group, f"{name}, each read also sent to the secondary", OURS, {**base, "reads": "both"}, name, ASYNC)


#: First those that have targets: they follow their base at once.
VARIANTS = [
    *tls("R64", "R64", R64), *tls("W64p", "W64p", W64P),
    *versions("R64", "R64", R64), *versions("W64", "W64", W64), *versions("R64p", "R64p", R64P), *versions("L-R", "L", LARGE),
    *policies("M64", "M64", M64), *policies("R64p", "R64p", R64P),
    copies("R64", "R64", R64), copies("R64p", "R64p", R64P),
]

#: What a secondary in trouble does to reads: nothing.
TROUBLE = [
    Scenario("A-10k", "A", "10 k reads/s, each also sent to the secondary", OURS,
             load(64, 32, rate=10000, reads="both"), "", ASYNC),
    Scenario("A-slow", "A", "the same, the secondary answers after 10 ms", OURS,
             load(64, 32, rate=10000, reads="both", target_delay="10ms"), "A-10k", ASYNC),
    Scenario("A-dead", "A", "the same, the secondary never answers", OURS,
             load(64, 32, rate=10000, reads="both", target_delay="30s"), "A-10k", ASYNC),
    Scenario("D", "D", "W64, target answers after 2 ms and 1 % with an error", (DIRECT, *OURS),
             {**W64, "target_delay": "2ms", "target_errors": 1}, direct={**W64, "origin_delay": "2ms", "origin_errors": 1}),
    Scenario("C", "C", "500 clients/s come and go, 5 k reads/s", OURS, load(200, 4, rate=5000, churn=500)),
    Scenario("T-C", "C", "C with TLS", OURS, load(200, 4, rate=5000, churn=500, tls="clients"), "C", TLS_CLIENTS),
]

FIXED = [
    Scenario("F2k", "F2k", "2 k reads/s", ALONE, load(64, 32, rate=2000)),
    Scenario("F10k", "F10k", "10 k reads/s", ALONE, load(64, 32, rate=10000), turns=PAIRED_TURNS),
    Scenario("F10k-1000", "F10k-1000", "10 k reads/s of 1000 clients", ALONE, load(1000, 4, rate=10000)),
    Scenario("F70", "F70", "reads, 70 % of the row's own peak", ALONE, load(64, 32), share_of=(0.7, "R64")),
]

SCENARIOS = {scenario.name: scenario for scenario in [*PLAIN, *VARIANTS, *TROUBLE, *FIXED]}


class Target(NamedTuple):
    """
    A measured figure has to be at least (`ratio`) or at most (the others) the limit. `needs` has the limit by mode.

        ratio     requests per CPU-second, of the scenario in our mode to `versus`: (scenario, row); row None is the same row,
                  PEERS any peer of the same mode
        added     a quantile in us above that of `versus`, both above direct, of the same turn
        cpu_us    us of CPU time per request more than in the scenario `versus`
        guarded   instructions per request more, by bench/figures.txt; `scenario` is a pattern of names there, and the largest counts
    """
    text: str
    kind: str
    scenario: str
    versus: tuple
    needs: dict
    quantile: str = ""


def modes(dedicated, pooled):
    return {DEDICATED: dedicated, POOLED: pooled}


TARGETS = [
    Target("R64, requests per CPU-second, to HAProxy TCP", "ratio", "R64", ("R64", HAPROXY), modes(0.9, 1.7)),
    Target("R64p to HAProxy TCP", "ratio", "R64p", ("R64p", HAPROXY), modes(0.6, 0.9)),
    Target("W64 to a peer of the same mode", "ratio", "W64", ("W64", PEERS), modes(0.9, 0.9)),
    Target("W64p to a peer of the same mode", "ratio", "W64p", ("W64p", PEERS), modes(0.65, 0.65)),
    Target("M1000 to a peer of the same mode", "ratio", "M1000", ("M1000", PEERS), modes(0.9, 0.9)),
    Target("L-R to HAProxy TCP", "ratio", "L-R", ("L-R", HAPROXY), modes(0.7, 0.9)),
    Target("L-W, dual writes, to HAProxy TCP that reads", "ratio", "L-W", ("L-R", HAPROXY), modes(0.7, 0.9)),
    Target("S64 to R64", "ratio", "S64", ("R64", None), modes(0.9, 0.85)),
    Target("p50 at 10 k/s above HAProxy TCP, us", "added", "F10k", ("F10k", HAPROXY), modes(15, 15), "p50"),
    Target("p99 at 10 k/s above direct, us", "added", "F10k", ("F10k", DIRECT), modes(400, 400), "p99"),
    Target("client TLS at R64, us of CPU per request more", "cpu_us", "T-R64", ("R64", None), modes(2.5, 2.5)),
    Target("v5 to v4, one request in flight, instructions per request more", "guarded", "v5-*-1", ("", None), modes(250, 250)),
    Target("v5 to v4, 32 in flight, instructions per request more", "guarded", "v5-*-32", ("", None), modes(250, 250)),
]
