#!/bin/sh
# parity.sh - which lines of the conformance checklist the tests of a run have shown; see parity.py for its arguments.
exec python3 "$(dirname "$0")/parity.py" "$@"
