#!/usr/bin/env bash
# mongoexport's CSV into COPY, as one would do it by hand.
#
#   export.sh MONGOEXPORT URI DATABASE COLLECTION FIELDS_FILE DSN COPY_STATEMENT
#
# ObjectId(5f...) becomes its digits on the way, as the tables have it.  Prints
# "COPY documents" and the seconds.
set -euo pipefail
mongoexport=$1 uri=$2 database=$3 collection=$4 fields=$5 dsn=$6 statement=$7

export PGOPTIONS="-c synchronous_commit=off -c default_toast_compression=lz4"
began=$EPOCHREALTIME
"$mongoexport" --quiet --type=csv --noHeaderLine --fieldFile="$fields" --db="$database" --collection="$collection" "$uri" |
	LC_ALL=C sed 's/^ObjectId(\([0-9a-f]*\))/\1/' |
	psql -XAt -v ON_ERROR_STOP=1 -d "$dsn" -c "$statement"
python3 -c "print(f'{$EPOCHREALTIME - $began:.3f}')"
