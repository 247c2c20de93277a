#!/usr/bin/env python3
"""Proves that the tests can fail: puts one-line faults into the program and shows that the named test turns red.

    mutants.py --build DIR [--junit FILE] [--python PYTHON] [--share K/N] [NAME ...]
    mutants.py --list

The faults are in the *.toml files beside this script:

    [[mutant]]
    name = "orphan-reused"
    file = "src/proxy/server.c"
    from = "..."        # occurs exactly once in the file
    to = "..."
    test = "unit test_server"                       # a program of tests/unit, or
    test = "wire test_timeouts.py::test_a_late..."  # arguments for pytest in tests/wire; all that match are run
    why = "what a user would suffer"

Works on copies of the tree in DIR, one per job, which stay for the next run. First all named tests must pass there without a fault;
then each fault must build, and its test must fail (or hang: a fault may end in a loop). A fault whose `from` is not
found is an error, so that the list follows the code.
"""

import argparse
import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import sys
import time
import tomllib
import xml.etree.ElementTree as ET

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent
KEYS = {"name", "file", "from", "to", "test", "why"}
BUILD_SECONDS = 300
TEST_SECONDS = 90
MINIMUM = 40


class Broken(Exception):
    """The list or the tree is wrong: no statement about a test."""


def load():
    mutants = []
    for path in sorted(HERE.glob("*.toml")):
        for entry in tomllib.loads(path.read_text())["mutant"]:
            if set(entry) != KEYS:
                raise Broken("%s: %s: the keys must be %s" % (path.name, entry.get("name"), ", ".join(sorted(KEYS))))
            mutants.append(entry)
    names = [m["name"] for m in mutants]
    twice = {n for n in names if names.count(n) > 1}
    if twice:
        raise Broken("names that occur twice: %s" % ", ".join(sorted(twice)))
    if len(mutants) < MINIMUM:
        raise Broken("%d faults, fewer than %d" % (len(mutants), MINIMUM))
    return mutants


def apply_to(text, mutant):
    found = text.count(mutant["from"])
    if found != 1:
        raise Broken("%s: `%s` occurs %d times in %s" % (mutant["name"], mutant["from"], found, mutant["file"]))
    if "\n" in mutant["from"] or "\n" in mutant["to"]:
        raise Broken("%s: more than one line" % mutant["name"])
    return text.replace(mutant["from"], mutant["to"])


def copy_tree(to):
    """The files that git knows or would know, so that neither builds nor caches are copied; unchanged ones stay."""
    names = subprocess.run(["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard"], check=True,
                           capture_output=True, text=True).stdout.splitlines()
    for name in names:
        source, copy = ROOT / name, to / name
        if not source.is_file():
            continue
        if copy.exists() and copy.read_bytes() == source.read_bytes():
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, copy)


def end_session(process):
    """Whatever a command has started: check puts each test into a process group of its own, and a fault may make it loop."""
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.getsid(int(entry.name)) == process.pid:
                os.kill(int(entry.name), 9)
        except (ProcessLookupError, PermissionError):
            pass  # it has ended meanwhile, or is not ours
    process.wait()


class Bench:
    def __init__(self, build, python):
        self.tree = build / "tree"
        self.build = build / "out"
        self.python = python
        self.tree.mkdir(parents=True, exist_ok=True)
        self.build.mkdir(parents=True, exist_ok=True)
        self.log = build / "log"

    def _run(self, command, cwd, limit, env=None):
        """Exit status, or None when it had to be ended."""
        with self.log.open("ab") as log:
            log.write(b"\n$ %s\n" % " ".join(map(str, command)).encode())
            log.flush()
            process = subprocess.Popen(command, cwd=cwd, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=env,
                                       start_new_session=True)
            try:
                return process.wait(limit)
            except subprocess.TimeoutExpired:
                return None
            finally:
                end_session(process)

    def prepare(self):
        self.log.write_bytes(b"")
        copy_tree(self.tree)
        if not (self.tree / "configure").exists() and self._run(["./autogen.sh"], self.tree, BUILD_SECONDS) != 0:
            raise Broken("autogen.sh failed, see %s" % self.log)
        if not (self.build / "Makefile").exists():
            command = [self.tree / "configure", "-q", "--enable-cassert", "CFLAGS=-O0"]
            if self._run(command, self.build, BUILD_SECONDS) != 0:
                raise Broken("configure failed, see %s" % self.log)

    def make(self, tests):
        targets = sorted({"tests/unit/" + t.split()[1] for t in tests if t.startswith("unit ")})
        if any(t.startswith("wire ") for t in tests):
            targets.append("cqlferry")
        return self._run(["make", "-s", *targets], self.build, BUILD_SECONDS) == 0

    def passes(self, test):
        kind, arguments = test.split(None, 1)
        if kind == "unit":
            return self._run(["./tests/unit/" + arguments], self.build, TEST_SECONDS,
                             dict(os.environ, srcdir=str(self.tree), CK_DEFAULT_TIMEOUT="20")) == 0
        if kind != "wire":
            raise Broken("`%s`: a test is a unit or a wire test" % test)
        words = ["tests/wire/" + word if ".py" in word else word for word in arguments.split()]
        status = self._run([self.python, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *words], self.tree,
                           TEST_SECONDS, dict(os.environ, CQLFERRY=str(self.build / "cqlferry")))
        if status in (2, 3, 4, 5):
            raise Broken("`%s` cannot be run: pytest ended with %d, see %s" % (test, status, self.log))
        return status == 0

    def check_sound(self, mutants):
        tests = sorted({m["test"] for m in mutants})
        if not self.make(tests):
            raise Broken("the tree does not build, see %s" % self.log)
        for test in tests:
            if not self.passes(test):
                raise Broken("`%s` fails without a fault, see %s" % (test, self.log))

    def is_killed(self, mutant):
        path = self.tree / mutant["file"]
        sound = path.read_text()
        try:
            path.write_text(apply_to(sound, mutant))
            if not self.make([mutant["test"]]):
                raise Broken("%s does not build, see %s" % (mutant["name"], self.log))
            return not self.passes(mutant["test"])
        finally:
            path.write_text(sound)
            later = time.time() + 1  # make compares times: what is restored must be newer than the fault's object
            os.utime(path, (later, later))


def write_junit(path, results):
    suite = ET.Element("testsuite", name="mutants", tests=str(len(results)))
    for name, problem, seconds in results:
        case = ET.SubElement(suite, "testcase", classname="mutants", name=name, time="%.1f" % seconds)
        if problem:
            ET.SubElement(case, "failure", message=problem)
    ET.ElementTree(suite).write(path)


def run_share(args, job, mutants):
    """One job's share of the faults, in a copy of its own: (name, problem or None, seconds) of each."""
    bench = Bench(args.build.resolve() / str(job), args.python)
    results = []
    bench.prepare()
    bench.check_sound(mutants)
    for mutant in mutants:
        started = time.monotonic()
        problem = None if bench.is_killed(mutant) else "no test saw it: %s passes" % mutant["test"]
        results.append((mutant["name"], problem, time.monotonic() - started))
        print("%-32s %s" % (mutant["name"], "SURVIVED: " + mutant["test"] if problem else "red: " + mutant["test"]),
              flush=True)
    return results


def share_of(text):
    first, step = (int(part) for part in text.split("/"))
    if not 0 <= first < step:
        raise ValueError(text)
    return first, step


def main():
    parser = argparse.ArgumentParser(description="puts faults into the program and runs the tests that must see them")
    parser.add_argument("--build", type=pathlib.Path, help="folder for the copy, its build and the log")
    parser.add_argument("--junit", type=pathlib.Path)
    parser.add_argument("--python", default=sys.executable, help="the interpreter that has pytest")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="how many faults at a time")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--share", type=share_of, default=(0, 1), metavar="K/N",
                        help="every Nth fault, from the Kth on (from 0); all are looked for in the files still")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these faults")
    args = parser.parse_args()
    results = []
    try:
        mutants = load()
        for mutant in mutants:
            apply_to((ROOT / mutant["file"]).read_text(), mutant)
        if args.list:
            for mutant in mutants:
                print("%-28s %s" % (mutant["name"], mutant["test"]))
            return 0
        if not args.build:
            parser.error("--build is needed")
        unknown = set(args.names) - {m["name"] for m in mutants}
        if unknown:
            parser.error("unknown: %s" % ", ".join(sorted(unknown)))
        first, step = args.share
        chosen = [m for m in mutants if not args.names or m["name"] in args.names][first::step]
        with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
            shares = [pool.submit(run_share, args, job, chosen[job::args.jobs]) for job in range(args.jobs)]
            for share in concurrent.futures.as_completed(shares):
                results += share.result()
    except Broken as error:
        print("mutants.py: %s" % error, file=sys.stderr)
        results.append(("the list", str(error), 0))
    if args.junit:
        write_junit(args.junit, results)
    survived = sum(1 for r in results if r[1])
    print("%d faults seen, %d not" % (len(results) - survived, survived))
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
