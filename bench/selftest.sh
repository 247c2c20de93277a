#!/bin/sh
# A test of `make check`: what the load generator counts is true, and it notices what a proxy does wrong.
exec bench/cqlbench --selftest
