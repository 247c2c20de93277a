"""SIGHUP: what changes in a running proxy, what refuses the whole reload, and the switch of the primary under load."""
import asyncio

import pytest

import behaviour
from certificates import Authority
from cqlwire import Closed, Op
from fakecluster import Auth
from helpers import PRIMARIES, reached

READ = "SELECT * FROM ks.t WHERE k = ?"
WRITE = "INSERT INTO ks.t (k) VALUES (?)"

pytestmark = pytest.mark.native  # zdm has a test of its own below


def other(name):
    return "target" if name == "origin" else "origin"


async def answered_by(client, text="SELECT * FROM ks.t"):
    answer = await client.query(text)
    assert not answer.is_error(), answer
    return answer.rows[0][0]


# ---- the primary ----

@pytest.mark.parametrize("primary", PRIMARIES)
async def test_the_primary_is_switched(make_bench, primary):
    """After the confirmation all reads go to the other cluster, prepared before or not, on old and new connections."""
    bench = await make_bench(fresh=True, primary=primary)
    c = await bench.client()
    prepared = await c.prepare(READ)
    write = await c.prepare(WRITE)
    assert (await c.execute(prepared, values=[b"k"])).rows[0][0] == primary
    text = await bench.reload(routing={"primary": other(primary)})
    assert f"[routing] primary: {other(primary)}, was {primary}" in text
    assert f"the primary is {other(primary)} now (epoch 2)" in text
    assert await answered_by(c) == other(primary)
    assert (await c.execute(prepared, values=[b"k"])).rows[0][0] == other(primary)
    assert await answered_by(await bench.client(), "SELECT a FROM ks.t") == other(primary)
    assert not (await c.execute(write, values=[b"k"])).is_error()
    await bench.settle(c)
    assert reached(bench, Op.EXECUTE, WRITE) == "both"
    status, body = await bench.proxy.readiness()
    assert status == 200
    assert list(body)[-2:] == ["Primary", "PrimaryEpoch"]
    assert (body["Primary"], body["PrimaryEpoch"]) == (other(primary).upper(), 2)
    metrics = await bench.proxy.metrics()
    assert metrics["zdm_cqlferry_primary_epoch"] == 2
    assert metrics[f'zdm_cqlferry_primary{{cluster="{primary}"}}'] == 0
    assert metrics[f'zdm_cqlferry_primary{{cluster="{other(primary)}"}}'] == 1
    assert metrics['zdm_cqlferry_reloads_total{result="ok"}'] == 1
    assert metrics["zdm_cqlferry_reload_last_successful"] == 1


async def test_the_answer_to_a_write_is_the_primarys(make_bench):
    """Of two applied writes that say different things the client gets what the primary of the time says."""
    bench = await make_bench(fresh=True)
    c = await bench.client()
    text = "INSERT INTO ks.t (k) VALUES (1) IF NOT EXISTS"
    prepared = await c.prepare(text)
    for name in ("origin", "target", "origin"):
        await bench.reload(routing={"primary": name})
        assert (await c.query(text)).rows[0][1] == name
        assert (await c.execute(prepared)).rows[0][1] == name


async def test_requests_in_flight_keep_their_cluster(make_bench):
    """A read that waits for its answer while the primary is switched gets it; so does a write."""
    bench = await make_bench(fresh=True)
    c = await bench.client()
    hold = behaviour.Hold()
    bench.origin.on("FROM ks.held", hold)
    bench.origin.on("INTO ks.held", hold)
    read = c.send_query("SELECT * FROM ks.held")
    write = c.send_query("INSERT INTO ks.held (k) VALUES (1)")
    await hold.arrived(2)
    await bench.reload(routing={"primary": "target"})
    assert await answered_by(c) == "target"
    hold.release()
    answer = await c.answer(read)
    assert answer.rows[0][0] == "origin"
    assert not (await c.answer(write)).is_error()
    assert bench.target.statements().count("SELECT * FROM ks.held") == 0


class Load:
    """One client that reads and writes in every way until it is told to stop, and looks at each answer."""

    def __init__(self, client, number):
        self.client = client
        self.number = number
        self.count = 0
        self.seen = set()
        self.stop = False

    def text(self, what):
        self.count += 1
        return f"{what} /* {self.number}.{self.count} */"

    async def start(self):
        self.read = await self.client.prepare(f"SELECT * FROM ks.t WHERE k = ? AND n = {self.number}")
        self.write = await self.client.prepare(f"INSERT INTO ks.t (k, n) VALUES (?, {self.number})")
        self.paged = await self.client.prepare("SELECT * FROM ks.paged")

    def check_read(self, answer):
        assert not answer.is_error(), answer
        assert len(answer.rows) == 1
        self.seen.add(answer.rows[0][0])

    async def pages(self, how):
        state, names = None, []
        for number in range(3):
            params = dict(page_size=1, paging_state=state)
            if how == "query":
                answer = await self.client.query("SELECT * FROM ks.paged", **params)
            else:
                answer = await self.client.execute(self.paged, **params)
            assert not answer.is_error(), answer
            names.append(answer.rows[0][0])
            assert answer.rows[0][2] == f"page {number}"
            state = answer.paging_state
        assert state is None and len(set(names)) == 1, names

    async def run(self):
        c = self.client
        while not self.stop:
            many = [c.send_query(self.text("SELECT * FROM ks.t")), c.send_execute(self.read, values=[b"k"]),
                    c.send_query(self.text("INSERT INTO ks.t (k) VALUES (1)")), c.send_execute(self.write, values=[b"k"]),
                    c.send_batch([("INSERT INTO ks.t (k) VALUES (2)", []), (self.write.prepared_id, [b"k"])])]
            answers = [await c.answer(stream) for stream in many]
            self.check_read(answers[0])
            self.check_read(answers[1])
            for answer in answers[2:]:
                assert not answer.is_error(), answer
            await self.pages("query" if self.count % 4 else "execute")


@pytest.mark.parametrize("backend", ["dedicated", "pooled"])
async def test_twenty_switches_under_load(make_bench, backend):
    """
    Reads and writes, simple and prepared, batches and pages, on protocols 3 to 5, while the primary is switched twenty
    times: none fails, each read reaches one cluster once, pages come from the cluster they began on, and after each
    confirmation reads of every connection go to the new primary. The epoch counts.
    """
    bench = await make_bench(fresh=True, configure=lambda b: b.sections.update(proxy=dict(BACKENDS[backend])))
    ways = [(3, None), (4, None), (4, "lz4"), (5, None), (5, "lz4"), (4, "snappy")]
    loads = [Load(await bench.client(*way), i) for i, way in enumerate(ways)]
    probes = [await bench.client() for _ in range(4)]
    prepared = await probes[0].prepare(READ)
    for load in loads:
        await load.start()
    tasks = [asyncio.ensure_future(load.run()) for load in loads]
    for turn in range(20):
        name = "target" if turn % 2 == 0 else "origin"
        text = await bench.reload(routing={"primary": name})
        assert f"(epoch {turn + 2})" in text
        for probe in probes:
            assert await answered_by(probe, f"SELECT * FROM ks.probe /* {turn} */") == name
            assert (await probe.execute(prepared, values=[b"k"])).rows[0][0] == name
        at_that_time = [load.count for load in loads]
        while any(load.count == count for load, count in zip(loads, at_that_time)) and not any(t.done() for t in tasks):
            await asyncio.sleep(0)
    for load in loads:
        load.stop = True
    await asyncio.gather(*tasks)
    assert all(load.seen == {"origin", "target"} for load in loads)
    arrived = {}
    for cluster in bench.clusters:
        for request in cluster.requests(Op.QUERY):
            if request.statement.startswith("SELECT * FROM ks.t /*"):
                arrived.setdefault(request.statement, []).append(cluster.name)
    assert len(arrived) >= 20 * len(loads) and all(len(names) == 1 for names in arrived.values())
    for load in loads:
        await bench.settle(load.client)
    assert all(reached_counts(bench, READ))
    writes = reached_counts(bench, "INSERT INTO ks.t (k, n) VALUES (?, 0)")
    assert writes[0] == writes[1] > 0
    assert (await bench.proxy.readiness())[1]["PrimaryEpoch"] == 21
    assert (await bench.proxy.metrics())["zdm_cqlferry_primary_epoch"] == 21


def reached_counts(bench, text):
    return [sum(1 for r in cluster.requests(Op.EXECUTE) if r.statement == text) for cluster in bench.clusters]


@pytest.mark.parametrize("version", [4, 5])
async def test_clients_in_the_handshake(make_bench, version):
    """The primary, credentials and the compression of a leg change while a client waits for a cluster: it becomes ready."""
    def configure(bench):
        for cluster in bench.clusters:
            cluster.auth = Auth({"app": "secret", "proxy": "proxy-password"})
    bench = await make_bench(fresh=True, configure=configure)
    for what, name, mode in ((Op.STARTUP, "target", "configured"), (Op.AUTH_RESPONSE, "origin", "auto")):
        hold = behaviour.Hold()
        bench.origin.on(what, hold)
        bench.target.on(what, hold)
        waiting = asyncio.ensure_future(bench.client(version, user="app", password="secret"))
        await hold.arrived(1)
        await bench.reload(routing={"primary": name}, target={"credentials": mode, "compression": "lz4"})
        hold.release()
        c = await waiting
        assert await answered_by(c) == name
        await bench.settle(c)
        for cluster in bench.clusters:
            cluster.rules.clear()


async def test_pages_of_a_read_that_began_before_the_switch(make_bench):
    """The second page comes from the cluster of the first one; a new read begins on the new primary."""
    bench = await make_bench(fresh=True)
    c = await bench.client()
    state = (await c.query("SELECT * FROM ks.paged", page_size=1)).paging_state
    await bench.reload(routing={"primary": "target"})
    assert (await c.query("SELECT * FROM ks.paged", page_size=1, paging_state=state)).rows[0] == ["origin", None, "page 1"]
    assert (await c.query("SELECT * FROM ks.paged", page_size=1)).rows[0] == ["target", None, "page 0"]


async def test_the_mirror_follows(make_bench):
    """Copies of reads go to the cluster that reads do not go to, also after the switch, with the client's keyspace."""
    bench = await make_bench(fresh=True, sections={"routing": {"read_mode": "dual_async_on_secondary"}})
    c, _ = await bench.mirrored_client(keyspace="ks")
    prepared = await c.prepare("SELECT * FROM ks.m WHERE k = ?")
    for name in ("target", "origin"):
        bench.clusters[0].received.clear()
        bench.clusters[1].received.clear()
        await bench.reload(routing={"primary": name})
        copies = bench.secondary
        assert await answered_by(c, "SELECT * FROM m") == name
        assert (await c.execute(prepared, values=[b"k"])).rows[0][0] == name
        await copies.until(lambda: "SELECT * FROM m" in copies.statements(Op.QUERY), "the copy")
        await copies.until_received(1, Op.EXECUTE)
        assert [r.keyspace for r in copies.requests(Op.QUERY) if r.statement == "SELECT * FROM m"] == ["ks"]
        assert bench.primary.statements().count("SELECT * FROM m") == 1
        assert len(bench.primary.requests(Op.EXECUTE)) == 1
    # without the mode it ends
    await bench.reload(routing={"read_mode": "primary_only"})
    await bench.secondary.until(lambda: len(bench.secondary.connections()) == 1, "end of the mirror")
    assert await answered_by(c, "SELECT * FROM m") == "origin"


async def test_a_trace_is_found_where_it_was_made(make_bench):
    """system_queries_mode is switched, too: an old trace is read from its cluster, other system tables from the new one."""
    bench = await make_bench(fresh=True)
    c = await bench.client()
    trace = bytes(range(16))
    bench.origin.on("FROM ks.traced", behaviour.normally(tracing_id=trace))
    answer = await c.answer(c.send_query("SELECT * FROM ks.traced", flags=2))
    assert answer.tracing_id == trace
    await bench.reload(routing={"system_queries_mode": "target", "primary": "target"})
    text = "SELECT * FROM system_traces.sessions WHERE session_id = ?"
    assert not (await c.query(text, values=[trace])).is_error()
    assert not (await c.query("SELECT * FROM system_schema.tables")).is_error()
    assert reached(bench, Op.QUERY, text) == "origin"
    assert reached(bench, Op.QUERY, "SELECT * FROM system_schema.tables") == "target"


# ---- other settings ----

async def test_limits_and_log_level(make_bench):
    """max_client_connections, max_frame_size, request_timeout and the log level count at once."""
    bench = await make_bench(fresh=True)
    c = await bench.client()
    await bench.reload(proxy={"max_client_connections": 1, "request_timeout": "1s", "max_frame_size": "128KiB"},
                       log={"level": "info"})
    answer = await (await bench.open()).startup()
    assert answer.is_error() and "max_client_connections (1)" in answer.text
    bench.origin.on("FROM ks.mute", behaviour.mute(), times=1)
    answer = await c.query("SELECT * FROM ks.mute")
    assert "no answer from origin" in answer.text and "within 1000 ms" in answer.text
    before = len(bench.proxy.log)
    await bench.reload(proxy={"max_client_connections": 10}, log={"level": "debug"})
    assert " DEBUG " not in bench.proxy.log[before:].split("reloaded")[0]
    await bench.client()
    await bench.proxy.until_logged("DEBUG client .* ready")
    await bench.reload(listener={"deny": "127.0.0.0/8"})
    with pytest.raises((Closed, ConnectionError)):
        await bench.client()
    assert await answered_by(c) == "origin"


async def test_what_waits_gets_the_new_time_out(make_bench):
    """A request in flight waits for the new, shorter request_timeout from the reload on, and no longer."""
    bench = await make_bench(fresh=True, sections={"proxy": {"request_timeout": "1h"}})
    c = await bench.client()
    bench.origin.on("FROM ks.mute", behaviour.mute(), times=1)
    stream = c.send_query("SELECT * FROM ks.mute")
    await bench.origin.until_received(1, Op.QUERY)
    await bench.reload(proxy={"request_timeout": "100ms"})
    assert (await c.answer(stream)).is_error()
    await bench.reload(proxy={"request_timeout": "10s"})
    assert await answered_by(c) == "origin"


async def test_timestamps_for_statements_prepared_before(make_bench):
    """timestamps = add and consistency maps concern an old prepared statement, too."""
    bench = await make_bench(fresh=True)
    c = await bench.client()
    prepared = await c.prepare(WRITE)
    await c.execute(prepared, values=[b"k"], consistency=1)
    await bench.reload(routing={"timestamps": "add"}, target={"write_consistency": "LOCAL_QUORUM"})
    await c.execute(prepared, values=[b"k"], consistency=1)
    await bench.settle(c)
    origin, target = ([r.params for r in cluster.requests(Op.EXECUTE)] for cluster in bench.clusters)
    assert [p.timestamp is None for p in origin] == [True, False]
    assert origin[1].timestamp == target[1].timestamp
    assert [p.consistency for p in origin] == [1, 1]
    assert [p.consistency for p in target] == [1, 6]


async def test_credentials_of_a_cluster(make_bench):
    """A changed password is used by new connections of clients and by the next control connection; nobody is cut off."""
    def configure(bench):
        for cluster in bench.clusters:
            cluster.auth = Auth({"app": "secret", "proxy": "proxy-password"})
    bench = await make_bench(fresh=True, configure=configure)
    c = await bench.client(user="app", password="secret")
    bench.origin.auth.users["proxy"] = "pw-after-7"
    text = await bench.reload(origin={"password": "pw-after-7"})
    assert "[origin] password: ***, was ***" in text and "pw-after-7" not in bench.proxy.log
    assert await answered_by(c) == "origin"
    await bench.client(user="app", password="secret")
    for conn in bench.origin.control_connections():
        conn.close()
    await bench.origin.until(lambda: bench.origin.control_connections(), "a control connection with the new password")
    assert await answered_by(await bench.client(user="app", password="secret")) == "origin"


BACKENDS = {"dedicated": {"backend_connections": "dedicated"},
            "pooled": {"backend_connections": "pooled", "pool_idle_timeout": "10ms"}}


@pytest.mark.parametrize("backend", BACKENDS)
async def test_other_contact_points(make_bench, backend):
    """
    Contact points that lead elsewhere: a new control connection, and requests go to the new node. A client with
    connections of its own is drained, one that shares them does not notice.
    """
    def configure(bench):
        bench.target.hidden.update(bench.target.nodes)
        bench.sections["proxy"] = dict(BACKENDS[backend])
    bench = await make_bench(fresh=True, target={"nodes": 2}, configure=configure)
    first, second = bench.target.nodes
    c = await bench.client()
    assert not (await c.query("INSERT INTO ks.t (k) VALUES (1)")).is_error()
    assert {conn.node for conn in bench.target.connections()} == {first}
    text = await bench.reload(target={"contact_points": second.address})
    assert "connecting anew" in text
    await bench.target.until(lambda: [x.node for x in bench.target.control_connections()] == [second], "control connection")
    if backend == "dedicated":
        await c.closed()
        c = await bench.client()
    await bench.target.until(lambda: not [x for x in first.connections], "end of the connections to the old node")
    bench.target.received.clear()
    assert not (await c.query("INSERT INTO ks.t (k) VALUES (2)")).is_error()
    assert {r.node for r in bench.target.requests(Op.QUERY)} == {second}


@pytest.mark.parametrize("backend", BACKENDS)
async def test_encryption_of_open_connections(make_bench, tmp_path, backend):
    """Another authority for a cluster: shared connections are replaced, those of a client alone stay with it."""
    authority = Authority(tmp_path / "ca", "an authority")
    copy = tmp_path / "copy.pem"
    copy.write_bytes(authority.ca.read_bytes())

    def configure(bench):
        bench.target.ssl = authority.server(["10.0.0.1"])
        bench.sections["target"] = {"tls": "ca", "tls_ca": authority.ca}
        bench.sections["proxy"] = dict(BACKENDS[backend], pool_idle_timeout="60s" if backend == "pooled" else None)
    bench = await make_bench(fresh=True, configure=configure)
    c = await bench.client()
    hold = behaviour.Hold()
    bench.target.on("INTO ks.held", hold)
    held = c.send_query("INSERT INTO ks.held (k) VALUES (1)")
    await hold.arrived()
    before = set(bench.target.connections())
    await bench.reload(target={"tls_ca": copy})
    assert not (await c.query("INSERT INTO ks.t (k) VALUES (1)")).is_error()
    used = {r.conn for r in bench.target.requests(Op.QUERY) if r.statement == "INSERT INTO ks.t (k) VALUES (1)"}
    assert used and (used.isdisjoint(before) if backend == "pooled" else used <= before)
    hold.release()
    assert not (await c.answer(held)).is_error()
    await bench.reload(proxy={"pool_idle_timeout": "10ms"} if backend == "pooled" else {})


async def test_topology_that_drivers_see(make_bench):
    """topology_addresses is what drivers read from then on, and those that want to know are told of what has changed."""
    bench = await make_bench(fresh=True)
    c = await bench.client()
    deaf = await bench.client()
    own = bench.proxy.listen[0]
    await c.register("TOPOLOGY_CHANGE", "SCHEMA_CHANGE")
    assert len((await c.query("SELECT * FROM system.peers")).rows) == 0
    await bench.reload(proxy={"topology_addresses": f"{own}, 127.0.0.9, 127.0.0.10"})
    assert len((await c.query("SELECT * FROM system.peers")).rows) == 2
    await c.until(lambda: len(c.events) >= 2, "events")
    assert [e.event[1:3] for e in c.events] == [("NEW_NODE", "127.0.0.9"), ("NEW_NODE", "127.0.0.10")]
    await bench.reload(proxy={"topology_addresses": f"127.0.0.11, {own}, 127.0.0.10", "topology_index": 1})
    await c.until(lambda: len(c.events) >= 4, "events")
    assert [e.event[1:3] for e in c.events[2:]] == [("NEW_NODE", "127.0.0.11"), ("REMOVED_NODE", "127.0.0.9")]
    await bench.reload(routing={"primary": "target"})
    assert len((await c.query("SELECT * FROM system.peers")).rows) == 2
    assert await answered_by(deaf) == "target"
    assert len(c.events) == 4 and deaf.events == []


async def test_control_connections_have_the_new_heartbeats(make_bench):
    """heartbeat_interval: at once, not when the old, longer one is over."""
    bench = await make_bench(fresh=True, sections={"proxy": {"heartbeat_interval": "1h"}})

    def beats():
        return [len(cluster.control_requests(Op.OPTIONS)) for cluster in bench.clusters]
    assert beats() == [1, 1]  # before the log-in
    await bench.reload(proxy={"heartbeat_interval": "20ms"})
    for cluster in bench.clusters:
        await cluster.until(lambda c=cluster: len(c.control_requests(Op.OPTIONS)) > 2, "two heartbeats")
