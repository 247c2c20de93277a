#!/usr/bin/env python3
"""The tutorial of the README is what the demo really prints.

    check-readme.py README.md DEMO-OUTPUT

Every console block of the README must occur in the demo's output, line by line and in order; a line "..." stands for
lines left out. Addresses that the demo had to exchange for free ones are compared by their role.
"""

import re
import sys


def console_blocks(text):
    return [block.strip("\n").split("\n") for block in re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)]


def by_role(lines):
    """The lines with the three addresses named by what they are, in the order in which they first come up as such."""
    text = "\n".join(line.rstrip() for line in lines)
    roles = {}
    for role, pattern in (("ORIGIN", r"ZDM_ORIGIN_CONTACT_POINTS=(\S+)"), ("TARGET", r"ZDM_TARGET_CONTACT_POINTS=(\S+)"),
                          ("PROXY", r"ZDM_PROXY_LISTEN_ADDRESS=(\S+)")):
        found = re.search(pattern, text)
        if found:
            roles[found.group(1)] = role
    # Except where an address is only asked for: the node then says which it got.
    return [re.sub(r"\b127(?:\.\d+){3}\b(?<!--address )", lambda m: roles.get(m.group(), m.group()), line)
            if "--address" not in line else line for line in text.split("\n")]


def missing(block, output, position):
    """The first line of the block that the output lacks from position on, and where the block ends."""
    skipping = True
    for line in block:
        if line == "...":
            skipping = True
            continue
        if skipping:
            if line not in output[position:]:
                return line, position
            position = output.index(line, position) + 1
            skipping = False
        elif position < len(output) and output[position] == line:
            position += 1
        else:
            return line, position
    return None, position


def main(arguments):
    if len(arguments) != 2:
        sys.stderr.write(__doc__)
        return 2
    with open(arguments[0]) as readme, open(arguments[1]) as demo:
        blocks = console_blocks(readme.read())
        output = by_role(demo.read().split("\n"))
    if not blocks:
        sys.stderr.write("check-readme.py: %s has no console block\n" % arguments[0])
        return 1
    position = 0
    flat = by_role("\n\0\n".join("\n".join(block) for block in blocks).split("\n"))
    for block in "\n".join(flat).split("\n\0\n"):
        line, position = missing(block.split("\n"), output, position)
        if line is not None:
            sys.stderr.write("check-readme.py: the demo does not print this line of the README here:\n%s\n" % line)
            sys.stderr.write("what it prints there:\n%s\n" % "\n".join(output[position:position + 5]))
            return 1
    print("check-readme.py: %d console blocks are what the demo prints" % len(blocks))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
