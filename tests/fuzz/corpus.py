#!/usr/bin/env python3
"""Writes the vectors of the unit tests as one file each: a first corpus for the programs of ./configure --enable-fuzzer.

    tests/fuzz/corpus.py DIRECTORY

makes DIRECTORY/frames (for fuzz_frame, fuzz_message, fuzz_rows) and DIRECTORY/texts (for fuzz_rewrite, fuzz_statement, fuzz_system).
"""

import pathlib
import sys

VECTORS = pathlib.Path(__file__).resolve().parent.parent / "unit" / "vectors"


def frames():
    for path in sorted(VECTORS.glob("*.hex")):
        name, digits = None, ""
        for line in path.read_text().splitlines() + ["end:"]:
            if line.startswith("\t"):
                digits += line.partition("#")[0]
            elif line and not line.startswith("#"):
                if name:
                    yield name, bytes.fromhex(digits)
                name, _, rest = line.partition(":")
                digits = rest.partition("#")[0]


def texts():
    for number, line in enumerate((VECTORS / "statements.txt").read_text().splitlines(), 1):
        if line and not line.startswith("#"):
            yield f"line-{number}", line.split("|", 5)[5].encode()


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    for folder, inputs in (("frames", frames()), ("texts", texts())):
        out = pathlib.Path(sys.argv[1]) / folder
        out.mkdir(parents=True, exist_ok=True)
        for name, data in inputs:
            (out / name).write_bytes(data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
