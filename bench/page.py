"""
The results as tables: on the terminal, and in docs/performance.md between two markers. What stands around them is written by hand.

The page shows bench/results/matrix.json, which bench/run writes, and after it each other file of bench/results, in the order of
their names:

    {"title": "Memory", "command": "bench/...", "text": ["a paragraph", ...],
     "tables": [{"head": ["column", ...], "rows": [["cell", ...], ...]}, ...],
     "targets": [{"text": "...", "mode": "pooled", "need": "<= 1 KiB", "measured": "0.9 KiB", "is_met": true}, ...]}

Cells are text or numbers. Its targets stand in the table of all targets. All but the title may be left out.
"""
import copy
import difflib
import json
import sys
import tempfile
from pathlib import Path

import figures_of as figures
from matrix import DEDICATED, DIRECT, FIXED, HAPROXY, OURS, PLAIN, POOLED, SCENARIOS, TROUBLE, VARIANTS

BEGIN = "<!-- bench/run --page writes what follows -->"
END = "<!-- end of what bench/run --page writes -->"
NAMES = {DIRECT: "direct", HAPROXY: "HAProxy TCP", DEDICATED: "dedicated", POOLED: "pooled"}
NOTHING = "-"
MET = {True: "yes", False: "**no**", None: NOTHING}


# ---- cells ----

def number(value):
    """Three digits, with k and M."""
    for unit, name in ((1e6, " M"), (1e3, " k")):
        if abs(value) >= unit:
            return f"{value / unit:.{2 if abs(value) < 10 * unit else 1 if abs(value) < 100 * unit else 0}f}{name}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}" if abs(value) < 100 else f"{value:.0f}"


def plain(value):
    return NOTHING if value is None else number(value.median)


def ranged(value, show=number):
    if value is None:
        return NOTHING
    return show(value.median) if value.count == 1 else f"{show(value.median)} ({show(value.least)} to {show(value.most)})"


def ratio(value):
    return ranged(value, "{:.2f}".format)


def us(value):
    return f"{value:.0f}" if abs(value) >= 10 else f"{value:.1f}"


def table(head, rows):
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in [head, ["---"] * len(head), *rows]]
    return "\n".join(lines) if rows else ""


# ---- parts ----

def measured(results, scenarios):
    return [scenario for scenario in scenarios if figures.rows_of(results, scenario.name)]


def columns(results, scenarios, without=()):
    """Rows of the matrix, which are columns of the tables: the known ones, then the peers."""
    seen = {row for scenario in scenarios for row in figures.rows_of(results, scenario.name)}
    order = [DIRECT, HAPROXY, DEDICATED, POOLED, *results["peers"]]
    return [row for row in order if row in seen and row not in without]


def by_row(results, scenarios, cell, without=()):
    """A table with a line for each scenario and a column for each row; cell(scenario, row) is a text."""
    scenarios = measured(results, scenarios)
    rows = columns(results, scenarios, without)
    lines = [[s.name, s.title, shape(s), *(cell(s, row) for row in rows)] for s in scenarios]
    return table(["", "", "", *(NAMES.get(row, row) for row in rows)], lines)


def shape(scenario):
    return f"{scenario.load['connections']} x {scenario.load['depth']}"


def targets(results, others):
    lines = []
    for o in figures.outcomes(results):
        text = f"{o.text} ({o.versus})" if o.versus else o.text
        show = us if o.need.startswith("<=") else "{:.2f}".format
        lines.append([text, o.mode, o.need, ranged(o.measured, show) if o.measured else "not measured", MET[o.is_met]])
    for other in others:
        lines += [[t["text"], t["mode"], t["need"], t["measured"], MET[t["is_met"]]] for t in other.get("targets", [])]
    return table(["target", "mode", "limit", "measured", "met"], lines)


def per_cpu_second(results):
    return by_row(results, PLAIN, lambda s, row: plain(figures.figure(results, s.name, row, "per_cpu_second")), [DIRECT])


def shares_of_kernel(results):
    def cell(scenario, row):
        cells = [c for c in figures.cells(results, scenario.name, row) if c and c.get("cpu_user_s") is not None]
        share = figures.spread(c["cpu_system_s"] / max(c["cpu_user_s"] + c["cpu_system_s"], 1e-9) for c in cells)
        calls = results["scenarios"][scenario.name].get("system_calls", {}).get(row)
        return f"{share.median:.0%}{f', {calls:.2f}' if calls is not None else ''}" if share else NOTHING
    return by_row(results, [s for s in PLAIN if s.syscalls], cell, [DIRECT])


def ratios(results):
    """Ours to HAProxy and to the peers."""
    others = [HAPROXY, *results["peers"]]
    lines = []
    for scenario in measured(results, PLAIN):
        for mode in OURS:
            known = [figures.ratio(results, (scenario.name, mode), (scenario.name, other)) for other in others]
            if any(known):
                lines.append([scenario.name, mode, *map(ratio, known)])
    return table(["", "", *(f"to {NAMES.get(other, other)}" for other in others)], lines)


def variants(results):
    lines = []
    for scenario in measured(results, [s for s in SCENARIOS.values() if s.base and "rate" not in s.load]):
        line = [scenario.name, scenario.title]
        for mode in OURS:
            one, base = (scenario.name, mode), (scenario.base, mode)
            more = figures.paired(results, one, base, "per_cpu_second", lambda a, b: 1e6 / a - 1e6 / b)
            line += [ratio(figures.ratio(results, one, base)), f"{more.median:+.2f}" if more else NOTHING]
        lines.append(line)
    return table(["", "", "dedicated: ratio to its base", "us more", "pooled: ratio to its base", "us more"], lines)


def latencies(results):
    def cell(scenario, row):
        known = [figures.figure(results, scenario.name, row, key) for key in ("p50", "p99")]
        return " / ".join(us(value.median) for value in known) if all(known) else NOTHING
    return by_row(results, [*PLAIN, *TROUBLE, *FIXED], cell)


def added(results):
    lines = []
    for scenario in measured(results, FIXED):
        for row in columns(results, [scenario], [DIRECT]):
            known = [figures.added(results, scenario.name, row, DIRECT, quantile) for quantile in ("p50", "p99", "p99.9")]
            if any(known):
                lines.append([scenario.name, scenario.title, NAMES.get(row, row), *(ranged(value, us) for value in known),
                              known[0].count if known[0] else 0])
    return table(["", "", "", "p50", "p99", "p99.9", "turns"], lines)


def peaks(results):
    def cell(scenario, row):
        rate = figures.figure(results, scenario.name, row, "rate")
        limits = [c["bottleneck"] for c in figures.cells(results, scenario.name, row) if c]
        return f"{plain(rate)} ({max(sorted(set(limits)), key=limits.count)})" if rate else NOTHING
    return by_row(results, PLAIN, cell)


def memory(results):
    def cell(scenario, row):
        value = figures.figure(results, scenario.name, row, "rss_peak_kib")
        return f"{value.median / 1024:.1f}" if value else NOTHING
    return by_row(results, PLAIN, cell, [DIRECT])


def troubles(results):
    def cell(scenario, row):
        cells = [c for c in figures.cells(results, scenario.name, row) if c]
        if not cells:
            return NOTHING
        told = [f"{sum(c[key] for c in cells)} {key}" for key in ("errors", "dropped", "reconnects") if any(c[key] for c in cells)]
        return f"{plain(figures.figure(results, scenario.name, row, 'per_cpu_second'))}{''.join(', ' + text for text in told)}"
    return by_row(results, TROUBLE, cell, [DIRECT])


def instructions(results):
    known = results.get("added_instructions", {})
    names = sorted({name.removeprefix("pooled-") for name in known})

    def cell(key):
        return f"{known[key]:+.0f}" if key in known else NOTHING

    return table(["", "dedicated", "pooled"], [[name, cell(name), cell(f"pooled-{name}")] for name in names])


def machine(results):
    facts = [(name, text) for part in ("machine", "versions") for name, text in results[part].items() if isinstance(text, str)]
    holes = "; ".join(f"{name}: {text}" for name, text in results["machine"]["mitigations"].items())
    return table(["", ""], [["measured", results["date"]], *facts, ["mitigations", holes or "none needed"]])


def windows(results):
    known = [s for s in results["scenarios"].values() if s["turns"] and "window_s" in s]
    if not known:
        return ""
    shortest, longest = (pick(s["window_s"] for s in known) for pick in (min, max))
    turns = sorted({len(s["turns"]) for s in known})
    return (f"Windows of {shortest:g} to {longest:g} s after a warm-up of a fifth of that; "
            f"{' or '.join(map(str, turns))} turns. Command: `{results['command']}`.")


def commands(results):
    lines = []
    for scenario in measured(results, SCENARIOS.values()):
        told = results["scenarios"][scenario.name].get("commands") or {}
        row = next((row for row in (DEDICATED, *told) if row in told), None)
        if row:
            lines += [f"# {scenario.name}", *told[row]]
    return "```\n" + "\n".join(lines) + "\n```" if lines else ""


def configurations(results):
    return "\n\n".join(f"{name}:\n\n```\n{text.rstrip()}\n```" for name, text in results["configurations"].items())


def failed(results):
    rows = [f"- {name}, {row}: {why}" for name, row, why in results["failures"]]
    return "\n".join(["Runs that gave no figures:", "", *rows]) if rows else ""


# ---- the whole ----

#: title, what to say, the part
PARTS = [
    ("Requests per CPU-second of the proxy",
     "User and system time of all its threads; medians. `C x D`: connections, and requests in flight on each.", per_cpu_second),
    ("Ratios", "Of requests per CPU-second in the same turn: median (least to most).", ratios),
    ("Variants", "The same requests but for one thing: the ratio of requests per CPU-second, and us of CPU time more per request.",
     variants),
    ("Time in the kernel", "The share of system time, and system calls per request.", shares_of_kernel),
    ("Peak", "Answers per second, and who was above 95 % of a core.", peaks),
    ("Latency", "p50 / p99, us; medians of the turns. With one cluster alone (direct, HAProxy) a write goes to that one.", latencies),
    ("Added latency", "us above direct in the same turn, at fixed rates: median (least to most).", added),
    ("Trouble", "Requests per CPU-second, and what happened in all turns together.", troubles),
    ("Instructions", "In user space, per request more than the same without, as `bench/guards.py` guards them in `bench/figures.txt`.",
     instructions),
    ("Memory under load", "The most resident memory, MiB.", memory),
]


def other_section(other):
    parts = [f"### {other['title']}", *other.get("text", [])]
    parts += [table(t["head"], t["rows"]) for t in other.get("tables", [])]
    if "command" in other:
        parts.append(f"Command: `{other['command']}`.")
    return parts


def generated(results, others):
    parts = ["### Targets", windows(results), targets(results, others), failed(results)]
    for title, text, make in PARTS:
        made = make(results)
        if made:
            parts += [f"### {title}", text, made]
    for other in others:
        parts += other_section(other)
    parts += ["### Machine, versions, command lines", machine(results), configurations(results), commands(results)]
    return "\n\n".join(part for part in parts if part) + "\n"


def summary(results):
    """For the terminal."""
    return "\n\n".join(part for part in (per_cpu_second(results), ratios(results), variants(results), added(results),
                                         targets(results, []), failed(results)) if part)


def dumped(results):
    """JSON with a line for each cell, so that differences can be read."""
    shown = copy.deepcopy(results)
    cells = {}
    for scenario in shown["scenarios"].values():
        for turn in scenario["turns"]:
            for row, cell in turn.items():
                mark = f"cell {len(cells)}"
                cells[json.dumps(mark)] = json.dumps(cell)
                turn[row] = mark
    text = json.dumps(shown, indent=1)
    for mark, cell in cells.items():
        text = text.replace(mark, cell, 1)
    return text + "\n"


def with_part(text, part):
    """The page with another generated part."""
    before, begin, rest = text.partition(BEGIN + "\n")
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit("docs/performance.md has lost the marks of its generated part")
    return f"{before}{begin}\n{part}\n{end}{after}"


def write(root, file, is_check):
    """Writes the generated part, or says how it differs: then 1."""
    path = root / "docs" / "performance.md"
    others = [json.loads(other.read_text()) for other in sorted(file.parent.glob("*.json")) if other != file]
    text = path.read_text()
    made = with_part(text, generated(json.loads(file.read_text()), others))
    if not is_check:
        path.write_text(made)
        return 0
    changes = list(difflib.unified_diff(text.splitlines(), made.splitlines(), path.name, "bench/results", lineterm="", n=1))
    if changes:
        print("\n".join(changes[:40]), file=sys.stderr)
        print("bench/run: docs/performance.md does not show bench/results: bench/run --page", file=sys.stderr)
        return 1
    print("bench/run: docs/performance.md shows bench/results")
    return 0


def self_test(root):
    """A figure that is changed in the results or on the page is noticed."""
    with tempfile.TemporaryDirectory() as folder:
        copy_root = Path(folder)
        for name in ("docs/performance.md", *(f"bench/results/{p.name}" for p in (root / "bench/results").glob("*.json"))):
            (copy_root / name).parent.mkdir(parents=True, exist_ok=True)
            (copy_root / name).write_text((root / name).read_text())
        file = copy_root / "bench/results/matrix.json"
        docs = copy_root / "docs/performance.md"
        results = json.loads(file.read_text())
        assert dumped(results) == file.read_text(), "matrix.json is not as bench/run writes it"
        write(copy_root, file, is_check=False)
        good = docs.read_text()
        assert good == with_part(good, "x").replace("\nx\n", good.partition(BEGIN + "\n")[2].partition(END)[0], 1)
        for turn in figures.turns_of(results, "R64"):
            turn[POOLED]["per_cpu_second"] *= 2
        made = with_part(good, generated(results, []))
        assert made != good and with_part(made, "x") == with_part(good, "x")
