#!/usr/bin/env python3
"""Whether README.md, docs/ and plugins/*/README.md say what is so.

    CQLFERRY=./cqlferry scripts/check-docs.py               exit 1 and a list of what is wrong
    CQLFERRY=./cqlferry scripts/check-docs.py --self-test   plants mistakes in a copy and expects each to be found

- Every ```ini block passes `cqlferry --print-config` (which opens no certificates); one without [origin] or [target] is completed first.
- Every relative link leads to a file, and its #anchor to a heading.
- Every path of the tree that stands in code exists, or is a program that is built from one that does.
- Every name_with_underscores and function() in code is a word of the sources, every ZDM_ variable a setting.
- `[section] key` and `key = value` in code name an option of that section, or of any.
- The metrics of docs/operations.md are those of src/control/metrics_page.c, metrics_figures.c, metrics_tables.c,
  metrics_limits.c and metrics_nodes.c, with the same type.
- The same for metrics that are made by counters_register(), in src/policy and src/proxy.
- docs/lua.md: see docs_lua.py. docs/plugins.md: see docs_plugins.py.
- docs/protocol-table.md has each line of tests/checklist.txt once, and a letter for each version of the protocol.
"""

import fnmatch
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import docs_lua
import docs_plugins

ROOT = pathlib.Path(__file__).resolve().parent.parent
PREFIX = "zdm_"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.S | re.M)
INLINE = re.compile(r"`([^`\n]+)`")
FOLDERS = "src|tests|scripts|docs|etc|bench|include|lua|plugins"


class Page:
    def __init__(self, root, path):
        self.path = path
        self.name = str(path.relative_to(root))
        self.text = path.read_text()
        self.blocks = [(m.group(1), m.group(2), self.text.count("\n", 0, m.start()) + 1) for m in FENCE.finditer(self.text)]
        # Prose keeps its line numbers.
        self.prose = FENCE.sub(lambda m: "\n" * m.group(0).count("\n"), self.text)
        self.code = [(m.group(1), self.prose.count("\n", 0, m.start()) + 1) for m in INLINE.finditer(self.prose)]

    def at(self, line, problem):
        return f"{self.name}:{line}: {problem}"


def pages_of(root):
    return [Page(root, path) for path in
            [root / "README.md", *sorted((root / "docs").glob("*.md")), *sorted((root / "plugins").glob("*/README.md"))]]


# ---- INI blocks ----

def runnable(text, folder, plugins):
    """
    The block as a whole configuration: secrets from files of our own, plugins as they were built, the two clusters if it
    leaves them out.
    """
    def secret(match):
        path = folder / "secret"
        path.write_text("secret\n")
        return f"= file:{path}"
    text = re.sub(r"= *file:\S+", secret, text)
    text = text.replace(docs_lua.INSTALLED, str(ROOT / "lua"))
    text = re.sub(r"^file = (\w+\.so)$", rf"file = {plugins}/\1", text, flags=re.M)
    for cluster in ("origin", "target"):
        if not re.search(rf"^\[{cluster}\]", text, re.M):
            text += f"\n[{cluster}]\ncontact_points = 127.0.0.1\n"
    return text


def check_ini(pages, program):
    checked = 0
    plugins = docs_plugins.make(program, pages)
    for page in pages:
        for language, text, line in page.blocks:
            if language != "ini":
                continue
            checked += 1
            with tempfile.TemporaryDirectory() as folder:
                path = pathlib.Path(folder) / "example.ini"
                docs_lua.write_scripts(page, path.parent)
                path.write_text(runnable(text, pathlib.Path(folder), plugins))
                environment = {name: "secret" for name in re.findall(r"= *env:(\w+)", text)}
                run = subprocess.run([program, "--print-config", "-c", path], env=environment, text=True,
                                     capture_output=True)
                if run.returncode != 0 or run.stderr:
                    yield page.at(line, f"cqlferry --print-config: {run.stderr.strip() or run.returncode}")
    if checked == 0:
        yield "no ```ini block was found at all"


# ---- links and paths ----

def anchors(text):
    """What GitHub makes of headings."""
    found = set()
    for heading in re.findall(r"^#+ +(.+)$", FENCE.sub("", text), re.M):
        words = re.sub(r"[^\w\- ]", "", heading.lower().replace("`", ""))
        found.add(words.replace(" ", "-"))
    return found


def check_links(pages, root):
    for page in pages:
        for match in re.finditer(r"\]\(([^)\s]+)\)", page.prose):
            line = page.prose.count("\n", 0, match.start()) + 1
            if re.match(r"[a-z]+:", match.group(1)):
                continue
            name, _, anchor = match.group(1).partition("#")
            target = page.path.parent / name if name else page.path
            if not target.exists():
                yield page.at(line, f"the link leads to {name}, which does not exist")
            elif anchor and anchor not in anchors(target.read_text()):
                yield page.at(line, f"{target.name} has no heading #{anchor}")


def code_with_lines(page):
    yield from page.code
    for _, text, line in page.blocks:
        for offset, row in enumerate(text.split("\n"), 1):
            yield row, line + offset


def check_paths(pages, root):
    for page in pages:
        for code, line in code_with_lines(page):
            for path in re.findall(rf"(?<![\w/.$-])((?:{FOLDERS})/[\w./*-]*\w)", code):
                if not any([*ROOT.glob(path), *ROOT.glob(path + ".c"), (root / path).exists()]):
                    yield page.at(line, f"{path} does not exist")


# ---- names ----

def source_words():
    words = set()
    for folder in ("src", "include", "plugins", "tests", "bench", "etc", "scripts", "lua"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".c", ".h", ".py", ".sh", ".ini", ".lua") and path != pathlib.Path(__file__).resolve():
                words.update(re.findall(r"\w+", path.read_text(errors="replace")))
    return words


def options(program):
    """{section: its keys} as the program prints them; of plugins also those of the rows of all that are shipped."""
    text = subprocess.run([program, "--print-options"], text=True, capture_output=True, check=True).stdout
    found, sections = {}, []
    for row in text.splitlines():
        if row.startswith("### "):
            sections = re.findall(r"`\[(\w+)(?: \w+)?\]`", row)
        elif row.startswith("| `"):
            for section in sections:
                found.setdefault(section, set()).add(row.split("`")[1])
    found.setdefault("plugin", set()).update(docs_plugins.options())
    return found


def variables():
    """All ZDM_ names, from the rows of the table of settings."""
    text = (ROOT / "src/control/setting.c").read_text()
    found = set()
    for section, name in re.findall(r'\{ (SECTION_\w+), (?:"\w+"|NULL), "([A-Z_]+)"', text):
        found.update(f"ZDM_{c}_{name}" for c in ("ORIGIN", "TARGET")) if section == "SECTION_CLUSTER" else found.add(f"ZDM_{name}")
    found.update(f"ZDM_{name}" for name in re.findall(r'ZDM_(?:SIZE|WORKERS)\("\w+", "([A-Z_]+)"', text))
    return found


def unknown_option(code, known):
    """The option that `[section] key ...` or `key = value` names and that does not exist, else None."""
    match = re.fullmatch(r"(?:\[(\w+)(?: \w+)?\] )?([a-z_]+)(?: = .*)?", code)
    if not match or not (match.group(1) or " = " in code):
        return None
    section, key = match.groups()
    if not section and (len(key) == 1 or ' = "' in code):  # a column in a piece of CQL, a word of Lua
        return None
    keys = known.get(section, set()) if section else set().union(*known.values())
    # A duration may also be given in milliseconds.
    return None if key in keys or (key.endswith("_ms") and key[:-3] in keys) else code


def check_names(pages, program):
    words, known, zdm = source_words(), options(program), variables()
    for page in pages:
        for code, line in page.code:
            if unknown_option(code, known):
                yield page.at(line, f"`{code}`: there is no such option")
            for name in re.findall(r"\bZDM_[A-Z_*]+", code):
                if not fnmatch.filter(zdm, name):
                    yield page.at(line, f"{name} is no variable")
            name = re.fullmatch(r"([a-z]\w*)\(\)|([a-z0-9]+(?:_[a-z0-9]+)+)", code)
            name = name and (name.group(1) or name.group(2))
            if name and not name.startswith(PREFIX) and name not in words:
                yield page.at(line, f"`{code}` is no word of the sources")


# ---- metrics ----

ROLES = ("origin", "target", "async")


def counters_of_source():
    """Those that scripts and plugins make, by counters_register()."""
    text = "".join(path.read_text() for folder in ("policy", "proxy") for path in (ROOT / "src" / folder).glob("*.c"))
    kinds = {"PLAIN": "counter", "SECONDS": "counter", "GAUGE": "gauge"}
    return {f"{PREFIX}cqlferry_{name}": kinds[kind] for name, kind in
            re.findall(r'\bcounters_register\([^;]*?"(\w+)",[^;]*\bCOUNTER_(\w+)\);', text)}


def metrics_of_source():
    text = "".join((ROOT / "src/control" / name).read_text() for name in ("metrics_page.c", "metrics_figures.c",
                                                                                  "metrics_tables.c", "metrics_limits.c"))
    gauges = re.findall(r'\bwrite_gauge\(w, "(\w+)"', text)
    return counters_of_source() | dict.fromkeys((PREFIX + name for name in gauges), "gauge") | {PREFIX + name: kind for name, kind in re.findall(
        r'\b(?:write_plain|write_labelled|write_by_cluster|write_by_table|write_pair|metrics_page_family)\(\s*w,\s*"(\w+)", "(\w+)"', text)}


def node_metrics_of_source():
    """Those by node: each is there for every role, but the table has them for one."""
    text = (ROOT / "src/control/metrics_nodes.c").read_text()
    return dict(re.findall(r'\b(?:write_numbers|start)\(&?p, "(\w+)", "(\w+)"', text))


def check_metrics(pages):
    page = next(p for p in pages if p.name == "docs/operations.md")
    source = metrics_of_source()
    by_node = node_metrics_of_source()
    rows = dict(re.findall(rf"^\| `({PREFIX}\w+)` \| (\w+)", page.text, re.M))
    if len(source) < 5 or len(by_node) < 5:
        yield "src/control/metrics_page.c, metrics_nodes.c: the metrics cannot be found in them any more"
    for suffix, kind in by_node.items():
        names = {f"{PREFIX}{role}_{suffix}": kind for role in ROLES}
        if not names.keys() & rows.keys():
            yield f"{page.name}: ..._{suffix} is missing in the table of metrics"
        source.update(names)
    for name in sorted(metrics_of_source().keys() - rows.keys()):
        yield f"{page.name}: {name} is missing in the table of metrics"
    for name in sorted(rows.keys() & source.keys()):
        if rows[name] != source[name]:
            yield f"{page.name}: {name} is a {source[name]}, not a {rows[name]}"
    for other in pages:
        for code, line in other.code:
            for name in re.findall(rf"(?<!:)\b{PREFIX}[a-z_]+[a-z]\b(?!_?\.\.\.|_?<)", code):  # :zdm__now is a marker
                if name not in source and name.removeprefix(f"{PREFIX}cqlferry_") not in docs_plugins.metrics():
                    yield other.at(line, f"there is no metric {name}")


# ---- the table of the protocol ----

def check_table(pages):
    """Rows are `| situation | a cell for each of six versions | lines |`."""
    page = next(p for p in pages if p.name == "docs/protocol-table.md")
    places = {}
    for line, row in enumerate(page.text.split("\n"), 1):
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        if not row.startswith("|") or cells[0] in ("Situation", "---"):
            continue
        if len(cells) != 8 or not all(re.fullmatch(r"-|[fwar](/[fwar])?", cell) for cell in cells[1:7]):
            yield page.at(line, "a row has a situation, six cells out of f, w, a, r and -, and lines")
            continue
        for first, last in re.findall(r"(\d+)(?:-(\d+))?", cells[7]):
            for number in range(int(first), int(last or first) + 1):
                places.setdefault(number, []).append(line)
    known = {int(n) for n in re.findall(r"^(\d+) ", (ROOT / "tests/checklist.txt").read_text(), re.M)}
    for number in sorted(known | set(places)):
        where = places.get(number, [])
        if number not in known:
            yield page.at(where[0], f"the checklist has no line {number}")
        elif len(where) != 1:
            yield f"{page.name}: line {number} of the checklist stands there {len(where)} times: {where}"


# ---- all of it ----

def check(root, program):
    pages = pages_of(root)
    return [*check_ini(pages, program), *check_links(pages, root), *check_paths(pages, root),
            *check_names(pages, program), *check_metrics(pages), *check_table(pages), *docs_lua.check(pages, program),
            *docs_plugins.check(pages, program, docs_lua.check_commands)]


#: what is put at the end of a page, and what has to be said about it
MISTAKES = [
    ("```ini\n[proxy]\nrequest_timeuot = 10s\n```\n", "request_timeuot"),
    ("[text](nowhere.md)\n", "nowhere.md"),
    ("[text](config.md#no-such-heading)\n", "no-such-heading"),
    ("`src/proxy/no_such_file.c`\n", "no_such_file.c does not exist"),
    ("```sh\nscripts/no-such-script.sh\n```\n", "no-such-script.sh does not exist"),
    ("`request_timeuot`\n", "request_timeuot"),
    ("`no_such_function()`\n", "no_such_function"),
    ("`[routing] port`\n", "[routing] port"),
    ("`request_timeuot = 10s`\n", "no such option"),
    ("`ZDM_NO_SUCH_NAME`\n", "ZDM_NO_SUCH_NAME"),
    ("`zdm_no_such_metric_total`\n", "zdm_no_such_metric_total"),
]


#: what is changed in the table of the protocol, and what has to be said about it
TABLE_MISTAKES = [
    (r"\| 1, 2, 11 \|$", "| 1, 11 |", "line 2 of the checklist stands there 0 times"),
    (r"\| 1, 2, 11 \|$", "| 1, 2, 3, 11 |", "line 3 of the checklist stands there 2 times"),
    (r"\| 1, 2, 11 \|$", "| 1, 2, 11, 270 |", "no line 270"),
    (r"\| f \| f \| f \|", "| f | f |", "six cells"),
    (r"\| f \| f \| f \|", "| f | x | f |", "six cells"),
]


#: what is changed in docs/lua.md, and what has to be said about it
LUA_MISTAKES = [
    ("local permille = proxy.option(", "local promille = proxy.option(", "not what lua/examples/canary.lua says"),
    ("-- canary.lua - ", "-- canaries.lua - ", "lua/examples has no canaries.lua"),
    ("-- canary.lua - ", "-- a share - ", "canary.lua is missing"),
    ("-- routing.lua\n", "-- routing.lua\nproxy.on_requst()\n", "on_requst"),
    ("by: a rule\n", "by: the default\n", "decided by: a rule"),
    ("#### `proxy.rate(", "#### `proxy.rates(", "proxy.rate is missing"),
    ("| `req:size()`", "| `req:length()`", "there is no req:length"),
]


#: what is changed in docs/plugins.md, and what has to be said about it
PLUGIN_MISTAKES = [
    ("| `hold(host, timeout_ms)`", "| `holds(host, timeout_ms)`", "hold() has no row"),
    ("| `hold(host, timeout_ms)`", "| `holds(host, timeout_ms)`", "there is no holds()"),
    ("| `on_disconnect` |", "| `on_leave` |", "on_disconnect() has no row"),
    ("`CQLFERRY_ABANDONED`", "`CQLFERRY_GONE`", "CQLFERRY_ABANDONED is missing"),
    ("`CQLFERRY_ABANDONED`", "`CQLFERRY_GONE`", "plugin.h has no CQLFERRY_GONE"),
    ("`is_lwt`", "`is_conditional`", "is_lwt of struct cqlferry_request_info is missing"),
    ("\t.worker_open = sample_worker_open,\n", "", "not in plugins/sample/sample.c"),
    ("static void job_drop(void *data)", "static void job_drop(int data)", "cc: "),
    ("  table = a text; mandatory", "  table = a number; mandatory", "table = a text"),
    ("\n### 1.0\n", "\n### 1.1\n", "nothing about 1.0"),
]


def self_test(program):
    missed = []
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        shutil.copy(ROOT / "README.md", root)
        shutil.copytree(ROOT / "docs", root / "docs")
        for path in (ROOT / "plugins").glob("*/README.md"):
            (root / "plugins" / path.parent.name).mkdir(parents=True)
            shutil.copy(path, root / "plugins" / path.parent.name)
        for name in ("CHANGELOG.md", "LICENSE"):
            shutil.copy(ROOT / name, root)
        page = root / "docs/operations.md"
        good = page.read_text()
        before = check(root, program)
        for text, expected in MISTAKES:
            page.write_text(good + "\n" + text)
            if not any(expected in problem for problem in set(check(root, program)) - set(before)):
                missed.append(text)
        page.write_text(good.replace("| `zdm_pscache_miss_total` | counter", "| `zdm_pscache_miss_total` | gauge"))
        if not any("is a counter, not a gauge" in problem for problem in check(root, program)):
            missed.append("a wrong type of metric")
        page.write_text(re.sub(r"^\| `zdm_pscache_miss_total`.*\n", "", good, flags=re.M))
        if not any("missing in the table" in problem for problem in check(root, program)):
            missed.append("a missing metric")
        page.write_text(good)
        page = root / "docs/protocol-table.md"
        good = page.read_text()
        for pattern, text, expected in TABLE_MISTAKES:
            bad = re.sub(pattern, text, good, count=1, flags=re.M)
            page.write_text(bad)
            if bad == good or not any(expected in problem for problem in check_table(pages_of(root))):
                missed.append(expected)
        page = root / "docs/lua.md"
        good = page.read_text()
        for text, mistake, expected in LUA_MISTAKES:
            page.write_text(good.replace(text, mistake, 1))
            if text not in good or not any(expected in problem for problem in docs_lua.check(pages_of(root), program)):
                missed.append(expected)
        page.write_text(good)
        page = root / "docs/plugins.md"
        good = page.read_text()
        for text, mistake, expected in PLUGIN_MISTAKES:
            page.write_text(good.replace(text, mistake))
            problems = docs_plugins.check(pages_of(root), program, docs_lua.check_commands)
            if text not in good or not any(expected in problem for problem in problems):
                missed.append(expected)
    return [f"not found by the check: {text!r}" for text in missed]


def main():
    program = os.environ.get("CQLFERRY")
    if not program or sys.argv[1:] not in ([], ["--self-test"]):
        sys.exit(__doc__)
    program = os.path.abspath(program)
    if not os.access(program, os.X_OK):
        sys.exit(f"check-docs: {program} is no program that can be run")
    problems = self_test(program) if sys.argv[1:] else check(ROOT, program)
    for problem in problems:
        print(f"check-docs: {problem}", file=sys.stderr)
    if problems:
        sys.exit(1)
    print("check-docs: " + ("every planted mistake is found" if sys.argv[1:] else "the documentation is in order"))


if __name__ == "__main__":
    main()
