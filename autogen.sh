#!/bin/sh
# Makes ./configure from configure.ac; needed once in a git checkout, not in a release tarball.
set -eu
cd "$(dirname "$0")"

for tool in autoconf automake libtoolize pkg-config; do
	if ! command -v "$tool" >/dev/null 2>&1; then
		echo "autogen.sh: $tool is missing: apt-get install autoconf automake libtool pkg-config" >&2
		exit 1
	fi
done
mkdir -p build-aux/m4
exec autoreconf --install --force --warnings=all,no-obsolete
