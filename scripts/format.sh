#!/bin/sh
# Checks the layout of all C files against .clang-format; --fix changes them. The layout differs between versions of
# clang-format, so it is version 14 or none.
#
# usage: format.sh [--fix] [FILE...]
set -eu
cd "$(dirname "$0")/.."

mode="--dry-run -Werror"
if [ "${1-}" = --fix ]; then
	mode=-i
	shift
fi

for tool in clang-format-14 clang-format none; do
	if "$tool" --version 2>/dev/null | grep -q 'version 14\.'; then
		break
	fi
done
if [ $tool = none ]; then
	echo "format.sh: clang-format 14 is missing (Debian package: clang-format-14)" >&2
	exit 1
fi

if [ $# -eq 0 ]; then
	# shellcheck disable=SC2046
	set -- $(find bench include plugins src tests -name '*.[ch]' 2>/dev/null | sort)
fi
# shellcheck disable=SC2086
if ! "$tool" --style=file $mode "$@"; then
	echo "format.sh: run scripts/format.sh --fix" >&2
	exit 1
fi
echo "format.sh: $# files $([ "$mode" = -i ] && echo formatted || echo "have the right layout")"
