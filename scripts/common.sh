# Shared by the scripts of this folder; sourced, not run.
#
#   private_begin            a temporary directory, removed at exit with all
#                            that was started in it
#   start_mongod             sets MONGODB_URI; a replica set of one
#   start_postgres DATABASE  sets PGHOST, PGPORT, PGUSER, PGDATABASE
#   make_readable            for tests that run as another user
#   as_user COMMAND...       runs a command as the user PostgreSQL runs as
#   use_variant NAME VARIABLE=VALUE...
#                            a copy of the PostgreSQL installation with the
#                            extension built so; sets PG_CONFIG
#
# PostgreSQL refuses to run as root, so root's servers run as "postgres".

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=$root/.tools
PG_CONFIG=${PG_CONFIG:-pg_config}
# Settings of the caller must not reach the private servers.
unset PGHOST PGPORT PGUSER PGDATABASE PGOPTIONS PGSERVICE PGPASSFILE PGDATA
work=
mongod_pid=
postgres_data=
# Set when the tests have run: then they say themselves what failed.
checked=

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

as_user()
{
	if [[ $(id -u) == 0 ]]; then
		runuser -u postgres -- env "PATH=$PATH" "$@"
	else
		"$@"
	fi
}

as_root()
{
	if [[ $(id -u) == 0 ]]; then "$@"; else sudo "$@"; fi
}

# Tests run as another user, who may not be let into root's checkout: then they run in a copy.
make_readable()
{
	as_user test -r "$root/Makefile" 2>/dev/null && return
	cp -r "$root" "$work/project"
	chmod -R a+rX "$work/project"
	root=$work/project
	tools=$root/.tools
}

bindir() { "$PG_CONFIG" --bindir; }

find_mongod()
{
	if [[ -n ${MONGOD-} ]]; then echo "$MONGOD"
	elif command -v mongod; then :
	else echo "$tools/mongod"; fi
}

free_port()
{
	python3 -c 'import socket
s = socket.socket()
s.bind(("127.0.0.1", 0))
print(s.getsockname()[1])'
}

private_begin()
{
	work=$(mktemp -d "${TMPDIR:-/tmp}/mongo_migrate.XXXXXX")
	chmod 755 "$work"
	trap private_end EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
}

private_end()
{
	local status=$?
	set +e
	[[ -n $postgres_data ]] && as_user "$(bindir)/pg_ctl" -D "$postgres_data" -m immediate stop >/dev/null 2>&1
	[[ -n $mongod_pid ]] && kill "$mongod_pid" 2>/dev/null && wait "$mongod_pid" 2>/dev/null
	if [[ $status != 0 && -z $checked && -e $work/postgres.log ]]; then
		say "last lines of the server log:"
		tail -n 20 "$work/postgres.log" >&2
	fi
	cd /
	rm -rf "$work"
	exit "$status"
}

start_mongod()
{
	local mongod port
	mongod=$(find_mongod)
	port=$(free_port)
	mkdir "$work/mongo"
	"$mongod" --dbpath "$work/mongo" --port "$port" --bind_ip 127.0.0.1 --replSet rs0 \
		--wiredTigerCacheSizeGB "${MONGOD_CACHE_GB:-1}" --setParameter enableTestCommands=1 \
		>"$work/mongod.log" 2>&1 &
	mongod_pid=$!
	MONGODB_URI="mongodb://127.0.0.1:$port/?directConnection=true"
	export MONGODB_URI
	"$root/scripts/bin/generate" --initiate "$MONGODB_URI" ||
		{ tail -n 5 "$work/mongod.log" >&2; die "mongod did not start"; }
}

start_postgres()
{
	postgres_data=$work/postgres/data
	mkdir "$work/postgres"
	[[ $(id -u) == 0 ]] && chown postgres: "$work/postgres"
	: >"$work/postgres.log"
	chmod 666 "$work/postgres.log"
	as_user "$(bindir)/initdb" -D "$postgres_data" -U "$(as_user id -un)" --auth=trust --encoding=UTF8 \
		--locale=C.UTF-8 --no-sync >"$work/initdb.log" 2>&1 || { cat "$work/initdb.log" >&2; die "initdb failed"; }
	cat >"$work/postgres.conf" <<-EOF
		listen_addresses = ''
		unix_socket_directories = '$work/postgres'
		max_worker_processes = 16
		shared_buffers = ${SHARED_BUFFERS:-256MB}
		max_wal_size = ${MAX_WAL_SIZE:-4GB}
		log_line_prefix = '%m [%p] %b '
		fsync = ${FSYNC:-on}
		${POSTGRES_SETTINGS-}
	EOF
	as_user bash -c "cat '$work/postgres.conf' >>'$postgres_data/postgresql.conf'"
	as_user "$(bindir)/pg_ctl" -D "$postgres_data" -l "$work/postgres.log" -w start >"$work/pg_ctl.log" 2>&1 ||
		die "PostgreSQL did not start"
	PATH=$(bindir):$PATH
	PGHOST=$work/postgres
	PGPORT=5432
	PGUSER=$(as_user id -un)
	PGDATABASE=$1
	export PATH PGHOST PGPORT PGUSER PGDATABASE
	createdb --maintenance-db=postgres "$PGDATABASE"
}

# Compiles the extension and our programs, and installs the extension.
build_and_install()
{
	make -s -C "$root" PG_CONFIG="$PG_CONFIG" all programs >"$work/build.log" 2>&1 ||
		{ tail -n 30 "$work/build.log" >&2; die "the build failed"; }
	as_root make -s -C "$root" PG_CONFIG="$PG_CONFIG" install >"$work/install.log" 2>&1 ||
		{ tail -n 30 "$work/install.log" >&2; die "the installation failed"; }
}

# PostgreSQL finds its files relative to its programs, wherever these are.
copy_installation()
{
	local dir
	for dir in --bindir --pkglibdir --sharedir; do
		dir=$("$PG_CONFIG" "$dir")
		mkdir -p "$1$dir"
		cp -a "$dir/." "$1$dir"
	done
}

# Objects of different builds must not meet, so that this one is apart.
use_variant()
{
	local name=$1 build=$work/build-$1 copy=$work/$1
	shift
	mkdir "$build"
	cp -r "$root/Makefile" "$root"/{mongo_migrate,launcher}*.[ch] "$root"/mongo_migrate*.{control,sql} "$root/src" "$build"
	find "$build" -name '*.o' -delete
	make -s -j2 -C "$build" PG_CONFIG="$PG_CONFIG" "$@" >"$work/build.log" 2>&1 ||
		{ tail -n 30 "$work/build.log" >&2; die "the build \"$name\" failed"; }
	copy_installation "$copy"
	PG_CONFIG=$copy$(bindir)/pg_config
	make -s -C "$build" PG_CONFIG="$PG_CONFIG" "$@" install >"$work/install.log" 2>&1 ||
		{ tail -n 30 "$work/install.log" >&2; die "the installation failed"; }
}
