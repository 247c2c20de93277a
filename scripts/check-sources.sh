#!/bin/sh
# Every source, header and test of the tree is named in Makefile.am: what is not is neither built nor released.
set -eu
cd "$(dirname "$0")/.."

failed=0
for file in $(find src plugins include tests/unit tests/fuzz tests/classify -name '*.[ch]' | sort); do
	case $file in
	tests/*/test_*.c | tests/fuzz/fuzz_*.c) name=${file%.c} ;; # automake derives the source from the program
	*) name=$file ;;
	esac
	if ! grep -qE "(^|[[:space:]])$name([[:space:]]|\$)" Makefile.am; then
		echo "check-sources.sh: $file is not named in Makefile.am" >&2
		failed=1
	fi
done
for file in $(find lua -type f | sort); do
	if ! grep -qE "(^|[[:space:]])$file([[:space:]]|\$)" Makefile.am; then
		echo "check-sources.sh: $file is not named in Makefile.am: make install leaves it out" >&2
		failed=1
	fi
done
for file in $(find bench docs tests/fuzz tests/classify tests/*.py tests/*.txt -maxdepth 1 \
	\( -name '*.py' -o -name '*.md' -o -name '*.txt' -o -name '*.c' -o -name '*.java' \) | sort); do
	if ! grep -qE "(^|[[:space:]])${file%.c}(\.c)?([[:space:]]|\$)" Makefile.am; then
		echo "check-sources.sh: $file is not named in Makefile.am: make dist leaves it out" >&2
		failed=1
	fi
done
[ $failed -eq 0 ] || exit 1
echo "check-sources.sh: Makefile.am names every source"
