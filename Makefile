# mongo_migrate: PGXS makefile.
#
#   make                build
#   make install        install (honours DESTDIR)
#   make installcheck   pg_regress against a running server
#   make demo           set-up, build, private servers, a migration to watch
#   make check          set-up, build, private servers, every test
#   make check-faults   the fault suite in full: kills, networks, full disks
#   make check-asan     some of the tests under AddressSanitizer and UBSan
#   make bench          documents per second beside the raw drain

ifneq ($(filter demo check check-faults check-asan bench,$(MAKECMDGOALS)),)

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

.PHONY: demo check check-faults check-asan bench

else

EXTENSION = mongo_migrate
MODULE_big = mongo_migrate
DATA = mongo_migrate--1.0.sql
OBJS = mongo_migrate.o $(patsubst %.c,%.o,$(sort $(wildcard src/*/*.c)))
MM_HEADERS = $(wildcard src/*.h src/*/*.h)

REGRESS = $(patsubst sql/%.sql,%,$(sort $(wildcard sql/*.sql)))
REGRESS_OPTS = --inputdir=. --load-extension=mongo_migrate

MONGOC ?= $(shell pkg-config --exists libmongoc-1.0 && echo libmongoc-1.0 || echo mongoc2)
PG_CPPFLAGS = -I$(srcdir)/src $(shell pkg-config --cflags $(MONGOC))
PG_CFLAGS = -std=gnu11 -Wall -Wextra -Werror -Wno-unused-parameter \
	-Wno-missing-field-initializers -Wno-sign-compare -Wno-declaration-after-statement \
	-fvisibility=hidden
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

$(OBJS): $(MM_HEADERS)

# Programs of the demo, the tests and the benchmark; not installed.
PROGRAMS = scripts/bin/generate scripts/bin/drain

programs: $(PROGRAMS)

scripts/bin/generate: bench/generate.c bench/generate_hostile.c bench/generate.h
scripts/bin/drain: bench/drain.c

$(PROGRAMS):
	@mkdir -p scripts/bin
	$(CC) -std=gnu11 -O2 -Wall -Wextra -Werror $(shell pkg-config --cflags $(MONGOC)) -o $@ $(filter %.c,$^) \
		$(shell pkg-config --libs $(MONGOC))

clean: clean-programs
clean-programs:
	rm -rf scripts/bin

.PHONY: programs clean-programs

endif
