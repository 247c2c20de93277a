#!/usr/bin/env python3
"""Counts what test runs left behind, for test.sh.

    results.py junit FILE ...     pytest's JUnit reports
    results.py automake DIR       the .trs and .log files of `make check` in a build folder

Prints "PASSED FAILED SKIPPED", then a line for every failed and every skipped test with its reason. A report that is
missing, unreadable or without any test counts as one failure.
"""

import pathlib
import re
import sys
import xml.etree.ElementTree

# The closing line of a program made with the library check.
_CHECK = re.compile(r"^\d+%: Checks: (\d+), Failures: (\d+), Errors: (\d+)", re.MULTILINE)
_CHECK_FAILURE = re.compile(r"^\S+:\d+:[FE]:.*", re.MULTILINE)


class Count:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.notes = []

    def fail(self, note, number=1):
        self.failed += number
        self.notes.append("FAILED  " + note)

    def skip(self, note):
        self.skipped += 1
        self.notes.append("SKIPPED " + note)

    @property
    def total(self):
        return self.passed + self.failed + self.skipped


def _first_line(text):
    return (text or "").strip().split("\n")[0][:200]


def count_junit(path, count):
    before = count.total
    try:
        root = xml.etree.ElementTree.parse(path).getroot()
    except (OSError, xml.etree.ElementTree.ParseError) as error:
        count.fail("%s: %s" % (path, error))
        return
    for case in root.iter("testcase"):
        name = "%s::%s" % (case.get("classname"), case.get("name"))
        bad = [child for child in case if child.tag in ("failure", "error")]
        skipped = case.find("skipped")
        if bad:
            count.fail("%s: %s" % (name, _first_line(bad[0].get("message") or bad[0].text)))
        elif skipped is not None:
            count.skip("%s: %s" % (name, _first_line(skipped.get("message"))))
        else:
            count.passed += 1
    if count.total == before:
        count.fail("%s: no test was run" % path)


def count_automake(directory, count):
    for result in sorted(pathlib.Path(directory).rglob("*.trs")):
        outcome = re.search(r"^:global-test-result: (\w+)", result.read_text(), re.MULTILINE)
        outcome = outcome.group(1) if outcome else "ERROR"
        log = result.with_suffix(".log")
        text = log.read_text(errors="replace") if log.exists() else ""
        name = str(result.relative_to(directory).with_suffix(""))
        checks = _CHECK.findall(text)
        if checks:
            ran, failures, errors = (sum(int(line[i]) for line in checks) for i in range(3))
            count.passed += ran - failures - errors
            if failures + errors:
                count.fail("%s: %s" % (name, "; ".join(_CHECK_FAILURE.findall(text))[:400]), failures + errors)
            elif outcome != "PASS":
                count.fail("%s: %s: %s" % (name, outcome, _first_line(text[-200:])))
        elif outcome == "PASS":
            count.passed += 1
        elif outcome == "SKIP":
            count.skip(name)
        else:
            count.fail("%s: %s: %s" % (name, outcome, _first_line(text[-200:])))
    if count.total == 0:
        count.fail("%s: `make check` ran no test" % directory)


def main(arguments):
    if len(arguments) < 2 or arguments[0] not in ("junit", "automake"):
        sys.stderr.write(__doc__)
        return 2
    count = Count()
    for path in arguments[1:]:
        (count_junit if arguments[0] == "junit" else count_automake)(path, count)
    print(count.passed, count.failed, count.skipped)
    for note in count.notes:
        print(note)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
