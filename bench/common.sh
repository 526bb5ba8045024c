# Shared by run and scale; sourced, not run.
#
#   bench_begin      builds, starts both servers, sets $server_arguments
#
# The settings are those of the published figures.  WAL files are kept for
# reuse, so that no run has to make them; no checkpoint and no vacuum comes by
# itself.

. "$(dirname "${BASH_SOURCE[0]}")/../scripts/common.sh"

bench_begin()
{
	"$root/scripts/setup" --bench
	private_begin
	make_readable
	say "building"
	build_and_install
	make -s -C "$root/bench/module" PG_CONFIG="$PG_CONFIG" >"$work/module.log" 2>&1 ||
		{ tail -n 30 "$work/module.log" >&2; die "the build of the module failed"; }
	SHARED_BUFFERS=1GB MAX_WAL_SIZE=8GB POSTGRES_SETTINGS="min_wal_size = 4GB
checkpoint_timeout = 1h
autovacuum = off
maintenance_work_mem = 256MB
mongo_migrate.max_workers = 12
mongo_migrate.max_workers_per_job = 12" start_postgres shop
	MONGOD_CACHE_GB=${MONGOD_CACHE_GB:-4} start_mongod
	export PYTHONDONTWRITEBYTECODE=1
	server_arguments=(--uri "$MONGODB_URI" --dsn "host=$PGHOST port=$PGPORT user=$PGUSER dbname=$PGDATABASE"
		--postmaster "$(head -n 1 "$postgres_data/postmaster.pid")" --mongod "$mongod_pid" --programs "$root/scripts/bin")
}
