"""
Requests of every form by several clients, at random, while rules and script are others every tenth of a second and nodes
forget what they have prepared; with all that changes bodies on their way. A model in a few lines says where each may go: by one of the policies that counted between
its sending and its answer.
"""
import asyncio
import collections
import random

import pytest

import fakecluster
import policies
from cqlwire import CL, Err, Kind, Op

pytestmark = [pytest.mark.native, pytest.mark.own_profile]

TABLES = [f"{keyspace}.t{i}" for keyspace in ("ks", "other") for i in range(4)]
LEVELS = {CL.ONE: "origin", CL.TWO: "target", CL.QUORUM: None}
PRIMARY = "origin"
ROUTES = {"origin": {"origin"}, "target": {"target"}, "both": {"origin", "target"}}
DENIED, SPLIT = "denied", "split"

SCRIPT = """
local fixed = {%s}
local levels = { ONE = "origin", TWO = "target" }
local extra = { origin = proxy.route{ to = "origin", timeout = "5s", consistency = "ALL", tag = "o" },
                target = proxy.route{ to = "target", tag = "t" }, both = proxy.route{ to = "both", timeout = "6s" } }
local function by_table()
  proxy.on_request("fixed", { scope = "table", kinds = "read,write" }, function(req)
    local to = fixed[req:keyspace() .. "." .. req:table()]
    if to == "denied" then return req:deny("unauthorized", "frozen") end
    if to == "mirror" and req:kind() ~= "read" then return nil end
    return extra[to] or to
  end)
end
local function by_level()
  proxy.on_request("levels", { kinds = "read,write", tables = {%s} }, function(req)
    req:key_bucket(4)
    return extra[levels[req:consistency()] or ''] or nil
  end)
end
%s
"""


class Policy:
    """Rules and a script, made up; and what they mean."""

    def __init__(self, r):
        self.rules = {t: (r.choice(["read", "write", "all"]), r.choice(list(ROUTES))) for t in r.sample(TABLES, 4)}
        self.fixed = {t: r.choice([*ROUTES, "mirror", DENIED]) for t in r.sample(TABLES, 3)}
        self.by_level = r.sample(TABLES, 3)
        self.level_first = r.random() < 0.5

    def lines(self):
        return [f"{words} {table} {route}" for table, (words, route) in self.rules.items()]

    def script(self):
        order = ["by_level()", "by_table()"]
        return SCRIPT % (", ".join(f'["{t}"] = "{to}"' for t, to in self.fixed.items()),
                         ", ".join(f'"{t}"' for t in self.by_level),
                         "\n".join(order if self.level_first else reversed(order)))

    def by_rule(self, table, kind):
        words, route = self.rules.get(table, ("none", None))
        return route if words in (kind, "all") else PRIMARY if kind == "read" else "both"

    def by_table(self, table, kind):
        to = self.fixed.get(table)
        return None if to == "mirror" and kind != "read" else to

    def route(self, tables, kind, level):
        """A word of ROUTES, "mirror", DENIED or SPLIT."""
        fixed = {t: self.by_table(t, kind) for t in tables}
        asked = {t for t in tables if t in self.by_level and (self.level_first or not fixed[t])}
        by_level = LEVELS[level] if asked else None
        said = {t for t in tables if fixed[t]}
        is_first = said <= asked  # the hook "levels" comes before all that the other one has said
        if by_level and is_first:
            return by_level
        if DENIED in fixed.values():
            return DENIED
        if said:
            words = {fixed[t] for t in said} | ({by_level} if by_level else
                                                {self.by_rule(t, kind) for t in tables if t not in said})
        else:
            words = {self.by_rule(t, kind) for t in tables}
        return words.pop() if len(words) == 1 else SPLIT


def marks(got):
    """What the requests of this test carry, so that it is known which one reached a node."""
    if got.opcode == Op.QUERY:
        return got.text.partition("/* #")[2].partition(" ")[0]
    if got.opcode == Op.EXECUTE:
        return got.request.params.values[0].decode() if got.request.params.values else ""
    text, values = got.request.children[0]
    return values[0].decode() if values else text.partition("/* #")[2].partition(" ")[0]


class Chaos:
    def __init__(self, bench, seed):
        self.bench = bench
        self.random = random.Random(seed)
        self.policies = [Policy(self.random)]
        self.begun = self.confirmed = 0
        self.number = 0
        self.executed = collections.defaultdict(list)  # mark: (cluster, keyspace)
        self.allowed = {}  # mark: clusters
        self.prepared = {}
        self.outcomes = collections.Counter()
        self.stopped = False

    # ---- what happens meanwhile ----

    async def reloads(self):
        while not self.stopped:
            await asyncio.sleep(0.1)
            self.policies.append(Policy(self.random))
            policy = self.policies[-1]
            policies.rewrite(self.bench, {"a.lua": policy.script()})
            self.begun += 1
            await self.bench.reload(routing={"rule": policy.lines()})
            self.confirmed += 1

    async def forgets(self):
        while not self.stopped:
            await asyncio.sleep(0.1)
            for cluster in self.bench.clusters:
                for node in cluster.nodes:
                    for statement in list(node.prepared):
                        if self.random.random() < 0.2:
                            del node.prepared[statement]

    # ---- one request ----

    def text(self, table, kind, mark):
        if kind == "read":
            return f"SELECT * FROM {table} WHERE k = {mark}"
        return f"INSERT INTO {table} (k, id) VALUES ({mark}, now())"

    async def id_of(self, client, table, kind):
        """Of a statement that any client has prepared, under whatever policy."""
        text = self.text(table, kind, "?")
        if text not in self.prepared or self.random.random() < 0.05:
            answer = await client.prepare(text)
            assert answer.kind == Kind.PREPARED, answer
            self.prepared[text] = answer.prepared_id
        return self.prepared[text]

    async def child(self, client, table, mark):
        if self.random.random() < 0.5:
            return self.text(table, "write", "1") + f" /* #{mark} */", []
        return await self.id_of(client, table, "write"), [mark.encode()]

    async def send(self, client, mark, form, tables, kind, level, written):
        """The stream, or what sends it, once its statements are prepared. `written`: names without keyspace after USE."""
        if form == "query":
            return client.send_query(self.text(written[0], kind, "1") + f" /* #{mark} */", consistency=level)
        if form == "execute":
            statement = await self.id_of(client, tables[0], kind)
            return lambda: client.send_execute(statement, values=[mark.encode()], consistency=level)
        if form == "text":
            inner = "; ".join(self.text(t, kind, "1") for t in written)
            return client.send_query(f"BEGIN BATCH /* #{mark} */ {inner} APPLY BATCH", consistency=level)
        children = [await self.child(client, t, mark) for t in tables]
        return lambda: client.send_batch(children, consistency=level)

    async def one(self, client, keyspace=None):
        self.number += 1
        mark = str(self.number)
        form = self.random.choice(["query", "execute", "batch", "text"])
        kind = "write" if form in ("batch", "text") else self.random.choice(["read", "write"])
        tables = self.random.sample(TABLES, self.random.randint(1, 3) if form in ("batch", "text") else 1)
        level = self.random.choice(list(LEVELS))
        written = [t.split(".")[1] if keyspace == t.split(".")[0] else t for t in tables]
        since = self.confirmed
        stream = await self.send(client, mark, form, tables, kind, level, written)
        if callable(stream):
            since = self.confirmed
            stream = stream()
        answer = await client.answer(stream)
        said = {p.route(tables, kind, level) for p in self.policies[since:self.begun + 1]}
        self.check(mark, answer, said, (form, kind, tables, level))

    def check(self, mark, answer, said, what):
        done = [name for name, _ in self.executed[mark]]
        routes = [ROUTES.get(s) or {"origin", "target"} for s in said if s not in (DENIED, SPLIT)]
        self.allowed[mark] = set().union(*routes) if routes else set()
        if not answer.is_error():
            fits = [s for s in said if (s == "mirror" and PRIMARY in done) or ROUTES.get(s) == set(done)]
            assert fits, (what, said, done, answer)
            self.outcomes[fits[0]] += 1
            return
        if answer.code == Err.UNPREPARED or (answer.code == Err.WRITE_TIMEOUT and "not found" in answer.text):
            self.prepared.clear()  # lost more often than the proxy mends it, on one of both perhaps
            self.outcomes["unprepared"] += 1
            return
        assert done == [], (what, said, done, answer)
        self.allowed[mark] = set()
        if answer.code == Err.UNAUTHORIZED:
            assert DENIED in said, (what, said, answer)
            self.outcomes[DENIED] += 1
        else:
            assert answer.code == Err.INVALID and SPLIT in said, (what, said, answer)
            self.outcomes[SPLIT] += 1

    async def asks(self, client):
        while not self.stopped:
            await self.one(client)

    async def uses(self, client):
        while not self.stopped:
            keyspace = self.random.choice(["ks", "other"])
            await client.use(keyspace)
            for _ in range(3):
                await self.one(client, keyspace)

    # ---- the end ----

    def note(self, conn, got, answer):
        if got.opcode in (Op.QUERY, Op.EXECUTE, Op.BATCH) and answer.opcode != Op.ERROR and (mark := marks(got)):
            self.executed[mark].append((conn.cluster.name, conn.keyspace))

    def check_all(self):
        for mark, where in self.executed.items():
            names = [name for name, _ in where]
            assert len(set(names)) == len(names), (mark, where)
            assert set(names) <= self.allowed[mark], (mark, where, self.allowed[mark])


@pytest.mark.parametrize("backend", ["dedicated", "pooled"])
async def test_policies_that_change_under_any_requests(make_bench, monkeypatch, backend):
    chaos = None
    normal = fakecluster.Connection.normal_answer

    def noted(conn, got):
        answer = normal(conn, got)
        if chaos:
            chaos.note(conn, got, answer)
        return answer

    monkeypatch.setattr(fakecluster.Connection, "normal_answer", noted)
    seed = random.randrange(1 << 32)
    print("seed", seed)
    first = Policy(random.Random(seed))
    proxy = {"backend_connections": backend, "workers": 2, "tracing_enabled": "true"}
    if backend == "pooled":
        proxy["pool_idle_timeout"] = "10ms"
    routing = {"rule": first.lines(), "replace_cql_functions": "true", "timestamps": "add"}
    bench = await make_bench(fresh=True, profile="native", primary=PRIMARY,
                             configure=policies.settings({"a.lua": first.script()}),
                             sections={"proxy": proxy, "routing": routing, "origin": {"write_consistency": "ONE:ALL"}})
    chaos = Chaos(bench, seed)
    ways = [(3, None), (4, None), (4, "lz4"), (5, None), (5, "lz4")]
    clients = [await bench.client(*way) for way in ways]
    meanwhile = [asyncio.ensure_future(chaos.reloads()), asyncio.ensure_future(chaos.forgets())]
    asking = [asyncio.ensure_future(chaos.asks(c)) for c in clients[:-1] for _ in range(3)]
    asking.append(asyncio.ensure_future(chaos.uses(clients[-1])))
    done, _ = await asyncio.wait(asking + meanwhile, timeout=2, return_when=asyncio.FIRST_EXCEPTION)
    chaos.stopped = True
    await asyncio.gather(*asking, *meanwhile)
    assert not done, done
    for client in clients:
        await bench.settle(client)
    chaos.check_all()
    print(chaos.number, "requests,", chaos.confirmed, "reloads:", dict(chaos.outcomes))
    assert chaos.confirmed >= 5 and {"origin", "target", "both", DENIED, SPLIT} <= set(chaos.outcomes)
    assert chaos.outcomes["unprepared"] < chaos.number / 20

    async def gauges():
        metrics = await bench.proxy.metrics()
        return {name: value for name, value in metrics.items() if "inflight" in name and value}

    async def are_idle():
        while await gauges():
            await asyncio.sleep(0.02)

    await asyncio.wait_for(are_idle(), 10)
    assert all(not client.received for client in clients)
