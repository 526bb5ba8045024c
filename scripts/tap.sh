# TAP tests, for the scripts that run them; sourced behind common.sh.
#
#   chosen FOLDER     its files, of those in $TESTS if that is set
#   run_tap FILE...   each with servers of its own; adds to $passed, $failed
#   run_faults        the fault suite, on a build with fault points; short, or
#                     in full with MM_LONG=1
#   end_check         the failures once more, and the last line; false when
#                     anything failed
#
# Tests run as a plain role (t/lib/MongoTest.pm), with PLAIN= as a superuser.

passed=0
failed=0
failures=

# What may be cut of a long output is its beginning.
note_failure() { failures+="$*"$'\n'; }

chosen()
{
	local file
	(cd "$root" && for file in ${TESTS:-t/*.pl t/faults/*.pl}; do
		[[ $(dirname "$file") != "$1" ]] || echo "$file"
	done)
}

as_root_chown() { [[ $(id -u) != 0 ]] || chown postgres: "$1"; }

run_tap()
{
	local file perl_lib
	local -x PATH=$(bindir):$PATH MM_PLAIN=${PLAIN-yes}
	perl_lib=$(dirname "$("$PG_CONFIG" --pgxs)")/../../src/test/perl
	for file in "$@"; do
		local name out began=$SECONDS
		name=$(basename "$file" .pl)
		out=$work/tap/$name
		mkdir -p "$out"
		as_root_chown "$work/tap"
		as_root_chown "$out"
		(cd "$out" && as_user env -u PGHOST -u PGPORT -u PGUSER -u PGDATABASE -u PGOPTIONS \
			PG_REGRESS="$(dirname "$("$PG_CONFIG" --pgxs)")/../../src/test/regress/pg_regress" \
			TESTDIR="$out" TESTDATADIR="$out/tmp_check" TESTLOGDIR="$out/log" \
			MONGOD="$(find_mongod)" MM_ROOT="$root" MM_TEST_MODULE="$root/t/module/mm_test" \
			PYTHONDONTWRITEBYTECODE=1 \
			timeout "${TAP_TIMEOUT:-1500}" perl -I "$perl_lib" -I "$root/t/lib" "$root/$file") >"$out/out" 2>"$out/err" || true
		report_tap "$name" "$out" "$((SECONDS - began))"
	done
}

report_tap()
{
	local ok bad planned
	ok=$(grep -cE '^ok ' "$2/out" || true)
	bad=$(grep -cE '^not ok ' "$2/out" || true)
	planned=$(sed -nE 's/^1\.\.([0-9]+).*/\1/p' "$2/out" | tail -n 1)
	[[ -n $planned && $planned == $((ok + bad)) && $planned -gt 0 ]] || bad=$((bad + 1))
	passed=$((passed + ok))
	failed=$((failed + bad))
	if [[ $bad == 0 ]]; then
		echo "$1: $ok passed in $3 s"
		grep '^# figure' "$2/out" || true
	else
		echo "$1: $ok passed, $bad FAILED in $3 s"
		note_failure "$1: $bad FAILED" "$(grep -E '^not ok' "$2/out" || tail -n 2 "$2/err")"
		grep -A 12 -E '^not ok' "$2/out" || tail -n 5 "$2/out"
		tail -n 30 "$2/err"
		# in one place before 16, in the other since
		tail -n 30 "$2"/tmp_check/log/* "$2"/log/* 2>/dev/null || true
	fi
}

# Names of the fault points' machinery in an installed library.
count_points() { nm -D "$("$1" --pkglibdir)/mongo_migrate_engine.so" | grep -c mm_debug || true; }

run_faults()
{
	local normal=$PG_CONFIG
	local PG_CONFIG=$PG_CONFIG
	local -x MM_LONG=${MM_LONG-}
	use_variant faults FAULTS=1
	if [[ $(count_points "$normal") == 0 && $(count_points "$PG_CONFIG") -gt 0 ]]; then
		passed=$((passed + 1))
	else
		note_failure "fault points: FAILED, not in the one build that should have them"
		failed=$((failed + 1))
	fi
	# shellcheck disable=SC2046
	run_tap $(chosen t/faults)
}

end_check()
{
	printf '%s' "$failures"
	echo "$passed passed, $failed failed"
	checked=yes
	[[ $failed == 0 && $passed -gt 0 ]]
}
