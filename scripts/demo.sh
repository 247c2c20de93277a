#!/bin/bash
# demo.sh - the migration tutorial on two real clusters: Cassandra 4.1 without authentication (origin), Cassandra 5.0
# with passwords and TLS (target), cqlferry between them and cqlsh. Prints each command as a person would type it and
# what it really answers.
#
#   scripts/demo.sh           leaves everything running and says how to go on
#   scripts/demo.sh --stop    ends what an earlier run left running
#   scripts/demo.sh --check   ends everything it started; exit status 0 when every step gave what it should
#
# Runs on a bare Debian 12 as root or with sudo. Downloads are kept in ~/.cache/cqlferry ($CQLFERRY_CACHE).
set -u
# shellcheck source=scripts/setup.sh
. "$(dirname "$0")/setup.sh"

MODE=run
case ${1-} in
'') ;;
--check) MODE=check ;;
--stop) MODE=stop ;;
-h | --help)
	sed -n '2,/^set/s/^# \{0,1\}//p' "$0"
	exit 0
	;;
*) die "unknown argument $1; see --help" ;;
esac
[ $# -le 1 ] || die "one argument at most; see --help"

NODES=tests/cluster/nodes.py
RUNNING=$CQLFERRY_CACHE/demo
STEPS=0
EXPECTATIONS=0
D=

# ---- running and checking ------------------------------------------------------

step() {
	STEPS=$((STEPS + 1))
	printf '\n== %d. %s\n\n' "$STEPS" "$*"
}

# show COMMAND prints what a person would type.
show() {
	printf '$ %s\n' "$1"
}

# run COMMAND shows it, runs it in this shell, prints what it prints and keeps that in OUT. Left out are cqlsh's warnings
# about its own version and about passwords on command lines, unless it fails.
run() {
	local status
	show "$1"
	eval "$1" >"$D/out" 2>"$D/err" </dev/null
	status=$?
	OUT=$(sed '/^WARNING: cqlsh was built against/d' "$D/out")
	[ -z "$OUT" ] || printf '%s\n' "$OUT"
	[ "$status" -eq 0 ] || fail "exit status $status: $(cat "$D/err")"
}

fail() {
	printf '\ndemo.sh: step %d failed: %s\n' "$STEPS" "$*" >&2
	[ ! -s "$D/ferry.log" ] || {
		printf 'the end of the proxy'\''s log:\n' >&2
		tail -n 20 "$D/ferry.log" >&2
	}
	exit 1
}

# expect WHAT WANTED GOT
expect() {
	[ "$2" = "$3" ] || fail "$1: expected \"$2\", got \"$3\""
	EXPECTATIONS=$((EXPECTATIONS + 1))
}

# rows: the two columns of the table in OUT, as "1/42 2/44", sorted by key.
rows() {
	sed -n 's,^ *\([0-9][0-9]*\) | *\([0-9][0-9]*\) *$,\1/\2,p' <<<"$OUT" | sort -n | paste -s -d ' '
}

# ---- the end -------------------------------------------------------------------

stop_in() {
	local pid
	pid=$(cat "$1/ferry.pid" 2>/dev/null)
	[ -z "$pid" ] || stop_process "$pid" "$(cat "$1/ferry.exe")"
	/usr/bin/python3 "$ROOT/$NODES" stop "$1/origin" "$1/target"
}

finish() {
	local status=$?
	trap - EXIT
	trap '' INT TERM
	[ -n "$D" ] || exit "$status"
	if [ "$MODE" = check ] || [ "$status" -ne 0 ]; then
		stop_in "$D" >/dev/null
		if [ "$status" -eq 0 ] || [ "$status" -gt 128 ]; then
			rm -rf "$D"
		else
			printf 'demo.sh: everything is stopped; logs are in %s\n' "$D" >&2
		fi
	fi
	exit "$status"
}

if [ "$MODE" = stop ]; then
	stop_in "$RUNNING"
	say "nothing of the demo in $RUNNING is running any more"
	exit 0
fi

# ---- preparation ---------------------------------------------------------------

cd "$ROOT" || exit 1
# shellcheck disable=SC2086
setup_packages $PACKAGES_BUILD $PACKAGES_RUN
setup_python
say "building cqlferry"
setup_configure
setup_build demo || die "it does not build, see $CQLFERRY_BUILD/demo/build.log: $(tail -n 15 "$CQLFERRY_BUILD/demo/build.log")"
say "fetching Cassandra 4.1 and 5.0, unless they are in $CQLFERRY_CACHE already"
/usr/bin/python3 $NODES fetch 4.1 5.0 || exit 1

trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
if [ "$MODE" = check ]; then
	D=$(mktemp -d "$CQLFERRY_CACHE/demo-check.XXXXXX") || exit 1
else
	if [ -e "$RUNNING/ferry.pid" ] && is_running "$(cat "$RUNNING/ferry.pid")" "$(cat "$RUNNING/ferry.exe")"; then
		die "the demo is running already: scripts/demo.sh --stop ends it"
	fi
	stop_in "$RUNNING" >/dev/null
	rm -rf "$RUNNING"
	mkdir -p "$RUNNING" || exit 1
	D=$RUNNING
fi

# ---- the tutorial --------------------------------------------------------------

start_proxy() {
	run 'cqlferry >>$D/ferry.log 2>&1 & ferry=$!'
	echo "$ferry" >"$D/ferry.pid"
	readlink -f "$CQLFERRY_BUILD/demo/cqlferry" >"$D/ferry.exe"
	show "curl -s http://$PROXY:14001/health/readiness"
	for _ in $(seq 100); do
		OUT=$(curl -s -m 2 "http://$PROXY:14001/health/readiness")
		case $OUT in *'"Status":"UP"}') break ;; esac
		kill -0 "$ferry" 2>/dev/null || fail "the proxy has ended"
		sleep 0.1
	done
	printf '%s\n' "$OUT"
	case $OUT in *'"Status":"UP"}') ;; *) fail "the proxy is not ready: $OUT" ;; esac
}

SELECT='SELECT * FROM test_migration.data'
CREATE="CREATE KEYSPACE test_migration WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1};
  CREATE TABLE test_migration.data (n_id int PRIMARY KEY, value int);"

say
say "Commands are typed in $ROOT, after:"
show "D=$D"
show "PATH=$CQLFERRY_BUILD/demo:$VENV/bin:\$PATH"
PATH=$CQLFERRY_BUILD/demo:$VENV/bin:$PATH

step "Two clusters: origin (4.1, open) and target (5.0, passwords and TLS)"
run "$NODES start \$D/origin --line 4.1 --cluster origin --address 127.0.0.2"
ORIGIN=$OUT
run "$NODES start \$D/target --line 5.0 --cluster target --address 127.0.0.3 --auth --tls \$D/certs"
TARGET=$OUT
PROXY=$($NODES free-address 127.0.0.1 14002 14001) || exit 1
ON_ORIGIN="cqlsh $ORIGIN"
ON_TARGET="SSL_CERTFILE=\$D/certs/ca.pem cqlsh --ssl -u cassandra -p cassandra $TARGET"
ON_PROXY="cqlsh -u cassandra -p cassandra $PROXY 14002"

step "The same table on both, the data on origin only"
run "$ON_ORIGIN -e \"$CREATE\""
run "$ON_TARGET -e \"$CREATE\""
run "$ON_ORIGIN -e \"INSERT INTO test_migration.data (n_id, value) VALUES (1, 42);
  INSERT INTO test_migration.data (n_id, value) VALUES (2, 44);
  INSERT INTO test_migration.data (n_id, value) VALUES (3, 46);\""
run "$ON_ORIGIN -e \"$SELECT\""
expect "rows on origin" "1/42 2/44 3/46" "$(rows)"
run "$ON_TARGET -e \"$SELECT\""
expect "rows on target" "" "$(rows)"

step "The proxy between them, set up by the variables of ZDM Proxy"
run "export ZDM_ORIGIN_CONTACT_POINTS=$ORIGIN ZDM_ORIGIN_USERNAME=none ZDM_ORIGIN_PASSWORD=none"
run "export ZDM_TARGET_CONTACT_POINTS=$TARGET ZDM_TARGET_USERNAME=cassandra ZDM_TARGET_PASSWORD=cassandra"
run "export ZDM_TARGET_TLS_SERVER_CA_PATH=\$D/certs/ca.pem"
run "export ZDM_PROXY_LISTEN_ADDRESS=$PROXY ZDM_METRICS_ADDRESS=$PROXY"
start_proxy

step "cqlsh through the proxy, with the target's password: reads come from origin"
run "$ON_PROXY -e \"SHOW VERSION\""
expect "protocol version" "Native protocol v5" "$(grep -o 'Native protocol v[0-9]*' <<<"$OUT")"
run "$ON_PROXY -e \"$SELECT\""
expect "rows through the proxy" "1/42 2/44 3/46" "$(rows)"

step "Writes go to both clusters"
run "$ON_PROXY -e \"INSERT INTO test_migration.data (n_id, value) VALUES (4, 48);
  INSERT INTO test_migration.data (n_id, value) VALUES (5, 50);\""
run "$ON_ORIGIN -e \"$SELECT\""
expect "rows on origin" "1/42 2/44 3/46 4/48 5/50" "$(rows)"
run "$ON_TARGET -e \"$SELECT\""
expect "rows on target" "4/48 5/50" "$(rows)"

step "The primary is flipped: reads come from target"
run 'kill $ferry; wait $ferry'
run 'export ZDM_PRIMARY_CLUSTER=TARGET'
start_proxy
run "$ON_PROXY -e \"$SELECT\""
expect "rows through the proxy" "4/48 5/50" "$(rows)"

if [ "$MODE" = check ]; then
	run 'kill $ferry; wait $ferry'
	printf '\ndemo: %d steps, %d results as expected\n' "$STEPS" "$EXPECTATIONS"
	exit 0
fi

cat <<END

Everything is still running. To go on, in $ROOT:

  D=$D
  PATH=$CQLFERRY_BUILD/demo:$VENV/bin:\$PATH
  $ON_PROXY                 # type CQL: writes go to both, reads come from target
  $ON_ORIGIN
  $ON_TARGET
  curl -s http://$PROXY:14001/metrics
  tail -f $D/ferry.log

To stop: scripts/demo.sh --stop
END
