"""
Figures from the results of bench/run: medians and ratios of cells of the same turn, added latencies, whether targets are met.
Nothing here measures or prints.

Results are {"scenarios": {name: {"turns": [{row: cell}], ...}}}; a cell is what bench/run keeps of a run, or {"failed": why}.
"""
import fnmatch
import statistics
from typing import NamedTuple

from matrix import DEDICATED, DIRECT, HAPROXY, OURS, PEERS, POOLED, SCENARIOS, TARGETS

#: Of the machine's time, taken by other machines. Above it a turn says nothing about small differences of latencies.
STEAL_MAX = 1.0

class Spread(NamedTuple):
    """Of at least one value."""
    median: float
    least: float
    most: float
    count: int


def spread(values):
    values = [value for value in values if value is not None]
    return Spread(statistics.median(values), min(values), max(values), len(values)) if values else None


def turns_of(results, scenario):
    return results["scenarios"].get(scenario, {}).get("turns", [])


def rows_of(results, scenario):
    """Those that have figures, in the order of measuring."""
    rows = {}
    for turn in turns_of(results, scenario):
        rows.update({row: True for row, cell in turn.items() if "failed" not in cell})
    return list(rows)


def cells(results, scenario, row):
    """One for each turn, None where it has failed or was not measured."""
    return [cell if cell and "failed" not in cell else None for cell in (turn.get(row) for turn in turns_of(results, scenario))]


def figure(results, scenario, row, key):
    return spread(cell.get(key) if cell else None for cell in cells(results, scenario, row))


def same_run(results, one, other):
    """Whether two scenarios were measured in turns of the same run."""
    return len({results["scenarios"].get(name, {}).get("run") for name in (one, other)}) == 1


def paired(results, one, other, key, combine):
    """combine(value of `one`, value of `other`) for each turn that has both; they are (scenario, row). None: in different runs."""
    if not same_run(results, one[0], other[0]):
        return None
    pairs = zip(cells(results, *one), cells(results, *other))
    return spread(combine(a[key], b[key]) for a, b in pairs if a and b and a.get(key) and b.get(key))


def ratio(results, one, other, key="per_cpu_second"):
    return paired(results, one, other, key, lambda a, b: a / b)


def quiet(turn):
    return all("failed" not in cell and cell["steal_percent"] <= STEAL_MAX for cell in turn.values())


def added(results, scenario, row, versus, quantile):
    """us by which a quantile of latency is above that of the row `versus`, in turns that no other machine has disturbed."""
    turns = [turn for turn in turns_of(results, scenario) if row in turn and versus in turn and quiet(turn)]
    return spread(turn[row][quantile] - turn[versus][quantile] for turn in turns)


def per_request_us(cell):
    return 1e6 / cell["per_cpu_second"]


def mode_of(peer):
    """The mode with which a peer is to be compared, by the end of its name; None: with both."""
    return next((mode for mode in OURS if peer.endswith("-" + mode)), None)


def peers_for(results, scenario, mode):
    known = results["peers"]
    return [row for row in rows_of(results, scenario) if row in known and mode_of(row) in (None, mode)]


# ---- targets ----

class Outcome(NamedTuple):
    """A target in one mode: what was measured and whether that is enough, None when it was not; against which peer."""
    text: str
    mode: str
    need: str
    measured: object
    is_met: object
    versus: str = ""


def guarded(results, pattern, mode):
    """Instructions per request that fitting scenarios of the guards add to the same without; those of pooled connections say so."""
    known = {name.removeprefix("pooled-"): count for name, count in results.get("added_instructions", {}).items()
             if name.startswith("pooled-") == (mode == POOLED)}
    return spread(count for name, count in known.items() if fnmatch.fnmatch(name, pattern) and "lz4" not in name)


def _measure(results, target, mode, versus):
    if target.kind == "guarded":
        return guarded(results, target.scenario, mode)
    if target.kind == "ratio":
        return ratio(results, (target.scenario, mode), versus)
    if target.kind == "cpu_us":
        return paired(results, (target.scenario, mode), versus, "per_cpu_second", lambda a, b: 1e6 / a - 1e6 / b)
    return added(results, target.scenario, mode, versus[1], target.quantile)


def outcomes(results):
    """Of every target of the matrix whose scenario was measured."""
    found = []
    for target in TARGETS:
        if target.kind != "guarded" and not turns_of(results, target.scenario):
            continue
        for mode, need in target.needs.items():
            scenario, row = target.versus
            rows = {None: [mode], PEERS: peers_for(results, scenario, mode)}.get(row, [row])
            for versus in rows or [row]:
                value = _measure(results, target, mode, (scenario, versus))
                is_least = target.kind == "ratio"
                is_met = value and (value.median >= need if is_least else
                                    (value.most if target.kind == "guarded" else value.median) <= need)
                found.append(Outcome(target.text, mode, f"{'>=' if is_least else '<='} {need:g}", value, is_met,
                                     versus if row == PEERS and versus != PEERS else ""))
    return found


def variants(results, base):
    return [s for s in SCENARIOS.values() if s.base == base and turns_of(results, s.name)]


# ---- self-test ----

def _planted(*values):
    """Results of R64 with these (haproxy, dedicated, pooled) in each turn."""
    def cell(value):
        return {"failed": "planted"} if value is None else {"per_cpu_second": value, "steal_percent": 0, "p50": 1e8 / value}
    rows = (HAPROXY, *OURS)
    return {"peers": [], "scenarios": {"R64": {"turns": [{row: cell(v) for row, v in zip(rows, turn)} for turn in values]}}}


def self_test():
    results = _planted((100, 90, 200), (200, 190, 340), (100, None, 160))
    met = {outcome.mode: outcome for outcome in outcomes(results) if outcome.text.startswith("R64,")}
    assert met[DEDICATED].measured[:3] == (0.925, 0.9, 0.95) and met[DEDICATED].is_met, met
    assert met["pooled"].measured == (1.7, 1.6, 2.0, 3) and met["pooled"].is_met, met
    worse = _planted((100, 80, 160), (200, 170, 330), (100, 95, 180))
    assert not any(outcome.is_met for outcome in outcomes(worse)), outcomes(worse)
    nothing = _planted((None, 90, 200))
    assert all(outcome.measured is None and not outcome.is_met for outcome in outcomes(nothing))
    nothing["added_instructions"] = {"v5-a-1": 300, "v5-b-1": 9, "v5-a-32": 250, "pooled-v5-a-1": 9, "v5-lz4-1": 999, "lua-1": 999}
    assert [o.is_met for o in outcomes(nothing) if "v5" in o.text] == [False, True, True, None], outcomes(nothing)
    both = results["scenarios"] | {"S64": dict(results["scenarios"]["R64"], run="b")}
    assert ratio({"scenarios": both}, ("S64", "pooled"), ("R64", "pooled")) is None, "of different runs"
    both["R64"]["run"] = "b"
    assert ratio({"scenarios": both}, ("S64", "pooled"), ("R64", "pooled")).median == 1
    turns = results["scenarios"]["R64"]["turns"][:2]
    results = {"peers": [], "scenarios": {"R64": {"turns": turns}}}
    assert added(results, "R64", "pooled", HAPROXY, "p50").count == 2
    turns[0][HAPROXY]["steal_percent"] = 5
    assert added(results, "R64", "pooled", HAPROXY, "p50").count == 1
    assert mode_of("x-pooled") == "pooled" and mode_of("x") is None
    assert DIRECT not in rows_of(results, "R64")
