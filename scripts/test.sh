#!/bin/bash
# test.sh - every test there is, on a bare Debian 12 as root or with sudo. Ends with one line
#
#   N passed, N failed, N skipped
#
# and with exit status 0 only when nothing failed (with CI=true: and when no test on real clusters was skipped).
#
#   scripts/test.sh                   all stages, under 30 minutes on 2 cores
#   scripts/test.sh --all             also the long forms
#   scripts/test.sh STAGE ...         only these, and the builds they stand on; --list names them
#
# Each stage's output is in $CQLFERRY_BUILD/reports/STAGE.log (default: build/reports). What runs is ended with the
# script, however that ends. Downloads are kept in ~/.cache/cqlferry ($CQLFERRY_CACHE).
set -u
# shellcheck source=scripts/setup.sh
. "$(dirname "$0")/setup.sh"

REPORTS=$CQLFERRY_BUILD/reports
STAGES="static build-gcc unit classify build-asan unit-asan docs guards cluster wire-asan pairs wire-pooled drivers wire-zdm failover mutants demo build-clang dist parity"
LONG_STAGES="wire mutants-all cluster-asan pairs-asan build-tsan unit-tsan wire-tsan build-fuzz fuzz distcheck"
PASSED=0
FAILED=0
SKIPPED=0
NOTES=()

# ---- the stages ----------------------------------------------------------------
# Each is a function stage_NAME with dashes as underscores; output goes to its log. It leaves its counts in
# $REPORTS/NAME.count as results.py prints them, or none: then it counts as one test.

# run_checks STAGE reads lines, each a script with its arguments: one test each.
run_checks() {
	local passed=0 notes='' line
	while read -r line; do
		printf '\n== scripts/%s\n' "$line"
		# shellcheck disable=SC2086
		if "$ROOT"/scripts/$line </dev/null; then # else one that reads would swallow those behind it
			passed=$((passed + 1))
		else
			notes+="FAILED  scripts/$line"$'\n'
		fi
	done
	printf '%s %s 0\n%s' "$passed" "$(grep -c . <<<"$notes")" "$notes" >"$REPORTS/$1.count"
	[ -z "$notes" ]
}

stage_static() {
	run_checks static <<-END
		check-includes.sh
		check-includes.sh --self-test
		check-headers.sh
		check-abi.py
		check-abi.py --self-test
		check-sources.sh
		format.sh
		../bench/guards.py --self-test
		../bench/memory.py --self-test
		../bench/run --self-test
		parity.sh --self-test
	END
}

# What the documentation says is what the program knows and what was measured; the measuring itself goes on to work.
stage_docs() {
	export CQLFERRY=$CQLFERRY_BUILD/gcc/cqlferry
	make -C "$CQLFERRY_BUILD/gcc" -j"$(nproc)" bench/cqlbench || return 1
	run_checks docs <<-END
		check-options.sh
		check-docs.py
		check-docs.py --self-test
		../bench/run --check-page
		../bench/run --quick --scenario R64 --build $CQLFERRY_BUILD/gcc
	END
}

built() {
	setup_build "$@" || {
		tail -n 40 "$CQLFERRY_BUILD/$1/build.log"
		return 1
	}
}

stage_build_gcc() {
	built gcc CC=gcc --enable-cassert --enable-werror
}

stage_build_asan() {
	built asan CC=gcc --enable-cassert --enable-werror --enable-sanitizer=address,undefined CFLAGS='-O1 -g'
}

stage_build_tsan() {
	built tsan CC=gcc --enable-cassert --enable-werror --enable-sanitizer=thread CFLAGS='-O1 -g'
}

stage_build_fuzz() {
	built fuzz CC=clang --enable-fuzzer --enable-sanitizer=address,undefined
}

stage_build_clang() {
	built clang CC=clang --enable-cassert --enable-werror
}

# unit_tests BUILD STAGE
unit_tests() {
	local status=0
	find "$CQLFERRY_BUILD/$1" -name '*.trs' -delete
	make -C "$CQLFERRY_BUILD/$1" -j"$(nproc)" -k check || status=$?
	"$ROOT/scripts/results.py" automake "$CQLFERRY_BUILD/$1" >"$REPORTS/$2.count"
	return "$status"
}

stage_unit() {
	unit_tests gcc unit
}

stage_unit_asan() {
	unit_tests asan unit-asan
}

stage_unit_tsan() {
	unit_tests tsan unit-tsan
}

# python_tests BUILD STAGE FOLDER [PYTEST ARGUMENTS]
python_tests() {
	local status=0 build=$1 stage=$2 folder=$3
	shift 3
	rm -f "$REPORTS/$stage.xml"
	CQLFERRY=$CQLFERRY_BUILD/$build/cqlferry \
		"$VENV/bin/python" -m pytest -p no:cacheprovider -q -ra \
		-o junit_family=xunit1 --junitxml="$REPORTS/$stage.xml" "$@" "$ROOT/tests/$folder" || status=$?
	"$ROOT/scripts/results.py" junit "$REPORTS/$stage.xml" >"$REPORTS/$stage.count"
	return "$status"
}

# wire_tests BUILD STAGE [PYTEST ARGUMENTS]: they wait more than they work, so one more of them than there are cores.
wire_tests() {
	local build=$1 stage=$2
	shift 2
	python_tests "$build" "$stage" wire -n $(($(nproc) + 1)) --dist loadfile "$@"
}

stage_wire() {
	wire_tests gcc wire
}

# The same over connections that clients share, but for what is about those of a client's own.
stage_wire_pooled() {
	CQLFERRY_BACKEND=pooled wire_tests gcc wire-pooled -m 'not dedicated and not own_profile'
}

# What the checklists ask for, in the profile that is ZDM Proxy's twin.
stage_wire_zdm() {
	CQLFERRY_PROFILE=zdm wire_tests gcc wire-zdm -m '(checklist or connections) and not native and not own_profile'
}

stage_wire_asan() {
	wire_tests asan wire-asan
}

stage_wire_tsan() {
	wire_tests tsan wire-tsan
}

# A minute of libFuzzer for each program; `make check` runs the same programs briefly on vectors and random input.
stage_fuzz() {
	local program name passed=0 notes='' work=$CQLFERRY_BUILD/fuzz/corpus
	"$VENV/bin/python" "$ROOT/tests/fuzz/corpus.py" "$work" || return 1
	for program in "$CQLFERRY_BUILD"/fuzz/tests/fuzz/fuzz_*; do
		[ -f "$program" ] && [ -x "$program" ] || continue
		name=$(basename "$program")
		mkdir -p "$work/$name"
		if (cd "$work" && "$program" -max_total_time=60 -timeout=10 -rss_limit_mb=1024 \
			"$name" "$([[ $name = fuzz_statement || $name = fuzz_rewrite || $name = fuzz_system ]] && echo texts || echo frames)"); then
			passed=$((passed + 1))
		else
			notes+="FAILED  $name: its input is in $work"$'\n'
		fi
	done
	printf '%s %s 0\n%s' "$passed" "$(grep -c . <<<"$notes")" "$notes" >"$REPORTS/fuzz.count"
	[ -z "$notes" ] && [ "$passed" -gt 0 ]
}

# cluster_tests BUILD STAGE FOLDER LINE... runs tests on nodes of these lines of Cassandra.
cluster_tests() {
	local status=0 skipped
	/usr/bin/python3 "$ROOT/tests/cluster/nodes.py" fetch "${@:4}" || return 1
	python_tests "$1" "$2" "$3" || status=$?
	read -r _ _ skipped <"$REPORTS/$2.count"
	if [ "${CI-}" = true ] && [ "$skipped" -ne 0 ]; then
		echo "with CI=true no test on real clusters may be skipped"
		return 1
	fi
	return "$status"
}

# Our view of CQL texts against that of Cassandra's own parsers.
stage_classify() {
	make -C "$CQLFERRY_BUILD/gcc" -j"$(nproc)" tests/classify/classify tests/classify/rewritten || return 1
	/usr/bin/python3 "$ROOT/tests/cluster/nodes.py" fetch 3.11 4.1 5.0 || return 1
	CLASSIFY=$CQLFERRY_BUILD/gcc/tests/classify/classify REWRITTEN=$CQLFERRY_BUILD/gcc/tests/classify/rewritten \
		python_tests gcc classify classify
}

# Instructions, system calls and mallocs per request, in a build of its own with the flags of bench/figures.txt.
stage_guards() {
	local status=0
	rm -f "$REPORTS/guards.xml"
	/usr/bin/python3 "$ROOT/bench/guards.py" --build "$CQLFERRY_BUILD/guards" --junit "$REPORTS/guards.xml" || status=$?
	"$ROOT/scripts/results.py" junit "$REPORTS/guards.xml" >"$REPORTS/guards.count"
	return "$status"
}

# The tests can fail: each fault of tests/mutants turns the test that it names red. mutants STAGE SHARE
mutants() {
	local status=0
	rm -f "$REPORTS/$1.xml"
	/usr/bin/python3 "$ROOT/tests/mutants/mutants.py" --build "$CQLFERRY_BUILD/mutants" --python "$VENV/bin/python" \
		--junit "$REPORTS/$1.xml" --share "$2" || status=$?
	"$ROOT/scripts/results.py" junit "$REPORTS/$1.xml" >"$REPORTS/$1.count"
	return "$status"
}

# A tenth of them, another one each day: all would take as long as everything else together.
stage_mutants() {
	mutants mutants "$((10#$(date +%j) % 10))/10"
}

stage_mutants_all() {
	mutants mutants-all 0/1
}

stage_cluster() {
	cluster_tests gcc cluster cluster 4.1 5.0
}

# Clusters of two nodes each, of which one dies, hangs, comes back or leaves under load.
stage_failover() {
	cluster_tests gcc failover failover 4.1 5.0
}

stage_cluster_asan() {
	cluster_tests asan cluster-asan cluster 4.1 5.0
}

# Which lines of the checklists the stages before have shown. Alone it has nothing to count: name them with it.
stage_parity() {
	local files
	mapfile -t files < <(parity_files)
	[ ${#files[@]} -gt 0 ] || {
		echo "no tests were run before: scripts/test.sh wire wire-zdm parity"
		return 2
	}
	"$ROOT/scripts/parity.sh" --run "$REPORTS/run" "${files[@]}"
}

parity_files() {
	local stage
	for stage in wire wire-asan wire-pooled wire-zdm cluster pairs; do
		[ -z "${STATUS[$stage]-}" ] || echo "$REPORTS/$stage.xml"
	done
}

# One suite for each pair of Cassandra versions, in every protocol version that both speak.
stage_pairs() {
	setup_java11 || return 1
	cluster_tests gcc pairs pairs 3.11 4.1 5.0
}

# Drivers in other languages, as far as their tool chains are there.
stage_drivers() {
	setup_drivers
	cluster_tests gcc drivers drivers 4.1 5.0
}

stage_pairs_asan() {
	setup_java11 || return 1
	cluster_tests asan pairs-asan pairs 3.11 4.1 5.0
}

# The tutorial, and that the README shows what it really prints.
stage_demo() {
	"$ROOT/scripts/demo.sh" --check >"$REPORTS/demo.out" || {
		cat "$REPORTS/demo.out"
		return 1
	}
	cat "$REPORTS/demo.out"
	"$ROOT/scripts/check-readme.py" "$ROOT/README.md" "$REPORTS/demo.out"
}

# A tarball that builds on its own, and installs.
stage_dist() {
	local work=$CQLFERRY_BUILD/dist
	rm -rf "$work" && mkdir -p "$work/tarball" "$work/build" || return 1
	rm -f "$CQLFERRY_BUILD"/gcc/cqlferry-*.tar.*
	make -C "$CQLFERRY_BUILD/gcc" dist || return 1
	tar -xf "$CQLFERRY_BUILD"/gcc/cqlferry-*.tar.xz -C "$work/tarball" --strip-components=1 || return 1
	cd "$work/build" && ../tarball/configure --prefix=/usr && make -j"$(nproc)" &&
		make install DESTDIR="$work/root" && "$work/root/usr/bin/cqlferry" --version
}

stage_distcheck() {
	make -C "$CQLFERRY_BUILD/gcc" distcheck
}

# ---- running them --------------------------------------------------------------

# The build that a stage stands on.
needs() {
	case $1 in
	static | guards | mutants* | parity | build-*) ;;
	*-asan) echo build-asan ;;
	*-tsan) echo build-tsan ;;
	fuzz) echo build-fuzz ;;
	demo) ;; # builds as a person does, without checks
	*) echo build-gcc ;;
	esac
}

# No stage may hang: seconds after which it is ended. Several times what it takes on 2 cores.
limit() {
	case $1 in
	mutants) echo 1200 ;;
	mutants-all) echo 3600 ;;
	cluster* | failover | drivers | pairs* | wire* | distcheck) echo 1200 ;;
	*) echo 600 ;;
	esac
}

# Stages of different lanes run beside each other, those of one lane in order. Tests on real nodes wait half of their time,
# which the others can use. What builds for others, or counts what a core does, runs alone.
lane() {
	case $1 in
	cluster* | failover | pairs* | drivers | demo) echo nodes ;;
	build-clang) echo rest ;;
	guards | parity | build-*) echo alone ;;
	*) echo rest ;;
	esac
}

declare -A STATUS=()  # of the stages that have ended: their exit status
declare -A STARTED=() # of those that were begun: when
declare -A RUNNING=() # by lane: the stage
declare -A CHILD=()   # by stage that runs: its process

# run_stages STAGE...: each once, as soon as there is room for it.
run_stages() {
	local waiting=("$@") left name
	while [ ${#waiting[@]} -gt 0 ]; do
		left=()
		for name in "${waiting[@]}"; do
			if [ -n "${STARTED[$name]-}" ]; then
				continue
			elif has_room "$name" "${left[@]}"; then
				start_stage "$name"
			else
				left+=("$name")
			fi
		done
		waiting=("${left[@]}")
		[ ${#CHILD[@]} -eq 0 ] || await_stage
	done
	while [ ${#CHILD[@]} -gt 0 ]; do
		await_stage
	done
}

# has_room STAGE EARLIER...: whether it may start now; EARLIER are those before it that may not.
has_room() {
	local name lane
	lane=$(lane "$1")
	shift
	if [ "$lane" = alone ]; then
		[ $# -eq 0 ] && [ ${#RUNNING[@]} -eq 0 ]
		return
	fi
	[ -z "${RUNNING[alone]-}${RUNNING[$lane]-}" ] || return 1
	for name in "$@"; do
		[ "$(lane "$name")" != alone ] || return 1
	done
}

start_stage() {
	local name=$1 build
	STARTED[$name]=$SECONDS
	build=$(needs "$name")
	if [ -n "$build" ] && [ "${STATUS[$build]-1}" -ne 0 ]; then
		NOTES+=("FAILED  $name: not run, $build has failed")
		FAILED=$((FAILED + 1))
		STATUS[$name]=1
		printf '%-12s not run, %s has failed\n' "$name" "$build"
		return
	fi
	rm -f "$REPORTS/$name.count"
	with_limit "$name" >"$REPORTS/$name.log" 2>&1 </dev/null &
	CHILD[$name]=$!
	RUNNING[$(lane "$name")]=$name
}

# Waits until a stage ends, and takes in what it says.
await_stage() {
	local status=0 name ended
	wait -n -p ended "${CHILD[@]}" || status=$?
	for name in "${!CHILD[@]}"; do
		# A stage that was killed while nobody waited is not among those that wait -n still knows.
		if [ -z "${ended-}" ] && ! kill -0 "${CHILD[$name]}" 2>/dev/null; then
			status=0
			wait "${CHILD[$name]}" || status=$?
			break
		fi
		[ "${CHILD[$name]}" != "${ended-}" ] || break
	done
	unset "CHILD[$name]" "RUNNING[$(lane "$name")]"
	STATUS[$name]=$status
	count_stage "$name" "$status"
}

# count_stage NAME STATUS adds a stage that has ended to the result and prints its line.
count_stage() {
	local name=$1 status=$2 log=$REPORTS/$1.log passed=0 failed=0 skipped=0 line
	if [ -s "$REPORTS/$name.count" ]; then
		read -r passed failed skipped <"$REPORTS/$name.count"
		while read -r line; do
			NOTES+=("$line")
		done < <(sed -n "2,\$s/^\([A-Z]* *\) /\1 $name: /p" "$REPORTS/$name.count")
	elif [ "$status" -eq 0 ]; then
		passed=1
	fi
	if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then
		failed=1
		NOTES+=("FAILED  $name: exit status $status, see $log")
	fi
	PASSED=$((PASSED + passed))
	FAILED=$((FAILED + failed))
	SKIPPED=$((SKIPPED + skipped))
	printf '%-12s %4d passed, %d failed, %d skipped in %d s\n' "$name" "$passed" "$failed" "$skipped" \
		$((SECONDS - STARTED[$name]))
	if [ "$status" -ne 0 ]; then
		printf -- '---- the end of %s:\n' "$log"
		tail -n 40 "$log"
		printf -- '----\n'
	fi
}

# Runs a stage in a process group of its own and ends that group when the time is over or this shell is told to end.
with_limit() {
	local name=$1 job status=0 ended=0
	set -m
	"stage_${name//-/_}" &
	job=$!
	set +m
	trap 'end_group $job; exit 143' TERM INT
	while kill -0 "$job" 2>/dev/null; do
		if [ "$ended" -eq "$(limit "$name")" ]; then
			echo "the stage is ended after $ended s"
			end_group "$job"
			return 124
		fi
		ended=$((ended + 1))
		sleep 1 &
		wait $!
	done
	wait "$job" || status=$?
	return "$status"
}

# Ends a process group and returns when the last of it is gone: the stage's shell ends at once, but what it started has
# nodes and proxies to stop.
end_group() {
	local tries=0
	kill -TERM -- "-$1" 2>/dev/null
	while kill -0 -- "-$1" 2>/dev/null; do
		tries=$((tries + 1))
		[ "$tries" -ne 600 ] || kill -KILL -- "-$1" 2>/dev/null
		sleep 0.1
	done
}

finish() {
	trap - EXIT INT TERM
	[ ${#CHILD[@]} -eq 0 ] || {
		kill "${CHILD[@]}" 2>/dev/null
		wait "${CHILD[@]}"
	}
}

main() {
	local builds=() wanted=() long=
	while [ $# -gt 0 ]; do
		case $1 in
		--all) long=$LONG_STAGES ;;
		--list)
			say "$STAGES $LONG_STAGES"
			exit 0
			;;
		-h | --help)
			sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | sed '$d'
			exit 0
			;;
		*)
			[[ " $STAGES $LONG_STAGES " = *" $1 "* ]] || die "unknown stage $1; --list names them"
			builds+=("$(needs "$1")")
			wanted+=("$1")
			;;
		esac
		shift
	done
	# shellcheck disable=SC2206
	[ ${#wanted[@]} -gt 0 ] || wanted=($STAGES $long)

	mkdir -p "$REPORTS"
	: >"$REPORTS/run" # older reports are none of this run
	# shellcheck disable=SC2086
	setup_packages $PACKAGES_BUILD $PACKAGES_RUN $PACKAGES_TEST
	setup_python
	setup_configure
	trap finish EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	# shellcheck disable=SC2068
	run_stages ${builds[@]} "${wanted[@]}"

	printf '\n'
	[ ${#NOTES[@]} -eq 0 ] || printf '%s\n' "${NOTES[@]}" ''
	printf 'in %d minutes and %d seconds\n' $((SECONDS / 60)) $((SECONDS % 60))
	printf '%d passed, %d failed, %d skipped\n' "$PASSED" "$FAILED" "$SKIPPED"
	[ "$FAILED" -eq 0 ] && [ "$PASSED" -gt 0 ]
}

main "$@"
