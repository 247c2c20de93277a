#!/bin/sh
# Each header compiles alone, with every compiler named (default: gcc and clang), and so can be included first.
# The one for plugins compiles as C99 and as C++, too.
#
# usage: check-headers.sh [COMPILER...]
set -eu
cd "$(dirname "$0")/.."

warnings="-Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Werror"
# The packages' own headers may be warned about by nobody.
packages=$(pkg-config --cflags libevent_core libevent_extra openssl liblz4 snappy libisal libxxhash inih yaml-0.1 libcurl libzip jansson luajit)
[ $# -gt 0 ] || set -- gcc clang

failed=0
count=0
for header in $(find include src -name '*.h' 2>/dev/null | sort); do
	count=$((count + 1))
	for compiler in "$@"; do
		# From standard input, because a header as the main file makes `static inline` functions unused.
		# shellcheck disable=SC2086
		if ! printf '#include "%s"\n#include "%s"\n' "${header#src/}" "${header#src/}" |
			"$compiler" -std=gnu11 -D_GNU_SOURCE=1 -fsyntax-only $warnings $packages -Isrc -Iinclude -x c -; then
			echo "check-headers.sh: $header does not compile alone with $compiler" >&2
			failed=1
		fi
	done
done

# Plugins are written in other dialects, too.
declaration='const struct cqlferry_plugin cqlferry_plugin = { CQLFERRY_ABI_MAJOR, CQLFERRY_ABI_MINOR,
	sizeof(struct cqlferry_plugin), sizeof(struct cqlferry_option) };'
for dialect in "gcc -xc -std=c99" "gcc -xc -std=c11" "clang -xc -std=c99" "g++ -xc++ -std=c++11" "g++ -xc++ -std=c++20" \
	"clang++ -xc++ -std=c++11"; do
	# shellcheck disable=SC2086
	if ! printf '#include <cqlferry/plugin.h>\n#include <cqlferry/plugin.h>\n%s\n' "$declaration" |
		$dialect -pedantic -Wall -Wextra -Wno-missing-field-initializers -Werror -fsyntax-only -Iinclude -; then
		echo "check-headers.sh: include/cqlferry/plugin.h does not compile with $dialect" >&2
		failed=1
	fi
done
if [ $count -eq 0 ]; then
	echo "check-headers.sh: no header found" >&2
	exit 1
fi
[ $failed -eq 0 ] || exit 1
echo "check-headers.sh: $count headers compile alone with $*"
