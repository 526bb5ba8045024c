# mongo_migrate: PGXS makefile.
#
#   make                build
#   make install        install (honours DESTDIR)
#   make installcheck   pg_regress against a running server
#   make demo           set-up, build, private servers, a migration to watch
#   make check          set-up, build, private servers, every test
#   make check-faults   the fault suite in full: kills at every step
#   make check-asan     tests that load, with sanitizers
#   make bench          what a migration costs, beside its bounds and its peers
#   make fuzz           damaged documents, with sanitizers

ifneq ($(filter demo check check-faults check-asan bench fuzz,$(MAKECMDGOALS)),)

# These set up a machine that may have neither PostgreSQL nor pkg-config yet,
# so that nothing of PGXS is read for them.
demo:
	@scripts/demo

check:
	@scripts/check

check-faults:
	@scripts/check-faults

check-asan:
	@scripts/check-asan

bench:
	@bench/run

fuzz:
	@scripts/fuzz

.PHONY: demo check check-faults check-asan bench fuzz

else

EXTENSION = mongo_migrate
# What shared_preload_libraries may name, without the driver; and the engine.
MODULES = mongo_migrate
MODULE_big = mongo_migrate_engine
DATA = mongo_migrate--1.0.sql
OBJS = src/engine.o $(patsubst %.c,%.o,$(sort $(wildcard src/*/*.c)))
MM_HEADERS = $(wildcard src/*.h src/*/*.h)

REGRESS = $(patsubst sql/%.sql,%,$(sort $(wildcard sql/*.sql)))
REGRESS_OPTS = --inputdir=. --load-extension=mongo_migrate

MONGOC ?= $(shell pkg-config --exists libmongoc-1.0 && echo libmongoc-1.0 || echo mongoc2)
PG_CPPFLAGS = -I$(srcdir)/src $(shell pkg-config --cflags $(MONGOC))
# libbson 2 calls array functions deprecated that 1.23 has no others for.  -O3:
# 4 to 6 % less CPU of the loaders than -O2, which is PostgreSQL's.
PG_CFLAGS = -Wno-deprecated-declarations -std=gnu11 -Wall -Wextra -Werror -Wno-unused-parameter \
	-Wno-missing-field-initializers -Wno-sign-compare -Wno-declaration-after-statement \
	-fvisibility=hidden -O3
SHLIB_LINK = $(shell pkg-config --libs $(MONGOC))

# For tests, in a copy of this directory (scripts/common.sh): objects of
# different builds are not told apart.
ifdef FAULTS
PG_CPPFLAGS += -DMM_DEBUG_POINTS
endif
ifdef SANITIZE
SANITIZERS = -fsanitize=address,undefined -fno-sanitize-recover=undefined
PG_CFLAGS += $(SANITIZERS) -fno-omit-frame-pointer -O1 -g
SHLIB_LINK += $(SANITIZERS)
endif

# No bitcode: nothing here is worth inlining into a query.
override with_llvm := no

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

PRELOAD_OBJS = mongo_migrate.o launcher.o src/source/hosts.o
EXTRA_CLEAN = launcher.o

$(OBJS) $(PRELOAD_OBJS): $(MM_HEADERS) launcher.h

mongo_migrate$(DLSUFFIX): $(PRELOAD_OBJS)
	$(CC) $(CFLAGS) $^ $(LDFLAGS) $(LDFLAGS_SL) -shared -o $@

# Programs of the demo, the tests and the benchmark; not installed.
PROGRAMS = scripts/bin/generate scripts/bin/rival

programs: $(PROGRAMS)

scripts/bin/generate: bench/generate.c bench/generate_hostile.c bench/generate.h
scripts/bin/rival: bench/rival.c bench/rival_row.c bench/rival_json.c bench/reader.c bench/rival_row.h bench/reader.h
scripts/bin/rival: PROGRAM_CFLAGS = -I$(shell $(PG_CONFIG) --includedir)
scripts/bin/rival: PROGRAM_LIBS = -L$(shell $(PG_CONFIG) --libdir) -lpq -lm

$(PROGRAMS):
	@mkdir -p scripts/bin
	$(CC) -std=gnu11 -O2 -Wall -Wextra -Werror $(PROGRAM_CFLAGS) $(shell pkg-config --cflags $(MONGOC)) -o $@ \
		$(filter %.c,$^) $(PROGRAM_LIBS) $(shell pkg-config --libs $(MONGOC))

clean: clean-programs
clean-programs:
	rm -rf scripts/bin

.PHONY: programs clean-programs

endif
