"""
Requests of any form, and two plugins that decide about them by the throw of dice: hold, resume from a thread, deny, fail,
send elsewhere; under reloads, with clients that vanish. Each request has one answer, and each frame is told of once.
"""
import asyncio
import random
import re

import pytest

from cqlwire import Closed, Op

WAYS = [(3, None), (3, "lz4"), (4, None), (4, "lz4"), (5, None), (5, "lz4")]
CLIENTS = 36
SAID = re.compile(r"^chance p(\d): asked (\d+) told (\d+) twice (\d+) unasked (\d+) kept (-?\d+) held (\d+) again (\d+) "
                  r"outcomes (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)$", re.M)


class Chaos:
    def __init__(self, bench, seed, vanishes):
        self.bench = bench
        self.random = random.Random(seed)
        self.vanishes = vanishes
        self.sent = self.answered = 0
        self.is_over = False

    def text(self, widths=(0, 0, 0, 10, 3000, 70000, 400000)):
        r = self.random
        wide = "x" * r.choice(widths)
        texts = ["SELECT a FROM ks.t WHERE k = 1", "SELECT a FROM t", "INSERT INTO ks.t (k, v) VALUES (1, '%s')",
                 "UPDATE u SET v = '%s' WHERE k = 1 IF v = 2", "SELECT * FROM system.local", "gibberish",
                 "SELECT * FROM system.peers", "CREATE TABLE ks.x (k int)", "DELETE FROM ks.t WHERE k = 'a'"]
        # A USE that only one cluster takes ends the connection: its keyspaces differ then. Who stays does without.
        return r.choice(texts + (["USE ks", "USE other"] if self.vanishes else [])).replace("%s", wide)

    def send(self, client, prepared):
        r = self.random
        self.sent += 1
        form = r.choice(["query", "query", "prepare", "execute", "execute", "batch", "broken"])
        if form == "prepare":
            return client.send_prepare(self.text((0, 1000)))
        if form == "execute":
            statement = r.choice(prepared) if prepared and r.random() < 0.9 else b"no such statement"
            return client.send_execute(statement, values=[b"k"] * r.choice([0, 1, 3]))
        if form == "batch":
            children = [(self.text(), []) for _ in range(r.randint(0, 3))]
            if prepared:
                children.append((r.choice(prepared).prepared_id, [b"k"]))
            return client.send_batch(children)
        if form == "broken":
            return client.send(r.choice([Op.QUERY, Op.EXECUTE, Op.BATCH, Op.PREPARE]), b"\0\0\0")
        return client.send_query(self.text(), values=[b"v"] if r.random() < 0.3 else None)

    async def visit(self):
        r = self.random
        version, compression = r.choice(WAYS)
        client = await self.bench.client(version, compression)
        prepared = []
        try:
            for _ in range(r.randint(1, 4)):
                streams = [self.send(client, prepared) for _ in range(r.randint(1, 25))]
                if self.vanishes and r.random() < 0.3:
                    await asyncio.sleep(r.random() * 0.03)
                    client.abort()
                    return
                for stream in streams:
                    answer = await client.answer(stream, 20)
                    self.answered += 1
                    if answer.opcode == Op.RESULT and getattr(answer, "prepared_id", None):
                        prepared.append(answer)
        except Closed:
            assert self.vanishes or self.is_over
        finally:
            if not client.is_closed and not self.vanishes:
                await client.close()
            client.abort()
            client.received.clear()
            self.bench.clients.remove(client)

    async def reloads(self):
        number = 0
        while not self.is_over:
            await asyncio.sleep(0.1)
            number += 1
            await self.bench.reload(**{"plugin p0": {"seed": number}})
        return number


@pytest.mark.native
@pytest.mark.parametrize("vanishes", [False, True], ids=["stay", "vanish"])
async def test_requests(make_bench, plugin_path, vanishes):
    seed = random.randrange(1 << 32)
    print("seed", seed)
    sections = {f"plugin p{i}": {"file": plugin_path("chance"), "seed": seed % 1000 + i, "on_error": on_error}
                for i, on_error in enumerate(("deny", "pass"))}
    sections["proxy"] = {"request_timeout": "20s"}
    bench = await make_bench(fresh=True, sections=sections)
    chaos = Chaos(bench, seed, vanishes)
    reloads = asyncio.ensure_future(chaos.reloads())
    for _ in range(2):
        await asyncio.gather(*(chaos.visit() for _ in range(CLIENTS // 2)))
    chaos.is_over = True
    assert await reloads >= 1
    await bench.proxy.until_metric("zdm_client_connections_total", 0)
    metrics = await bench.proxy.metrics()
    assert metrics["zdm_cqlferry_plugin_held"] == 0
    assert not {name: value for name, value in metrics.items() if "inflight" in name and value}
    bench.may_be_down = True
    await bench.proxy.stop()
    assert "was never told of" not in bench.proxy.log
    said = SAID.findall(bench.proxy.log)
    assert len(said) == 2
    for numbers in said:
        _, asked, told, twice, _, kept, held, again, *outcomes = map(int, numbers)
        assert twice == 0 and kept == 0 and again > 0 and held > 0
        assert sum(outcomes) == told and chaos.answered <= told <= chaos.sent
        assert vanishes or told == chaos.sent == chaos.answered
