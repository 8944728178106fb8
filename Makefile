# Postern: build, test, run. `make help` lists the targets.

CC ?= cc
BUILD ?= build
# By one name, or what it depends on is forgotten under the other.
override BUILD := $(subst $(CURDIR)/,,$(BUILD))
PREFIX ?= /usr/local
DESTDIR ?=
UNITDIR ?= $(PREFIX)/lib/systemd/system
SHARE = $(PREFIX)/share/postern
DOC = $(PREFIX)/share/doc/postern
MAN = $(PREFIX)/share/man
BASHDIR ?= $(PREFIX)/share/bash-completion/completions
ZSHDIR ?= $(PREFIX)/share/zsh/site-functions
PYTHON ?= /usr/bin/python3
PKG_CONFIG ?= pkg-config
VERSION := $(shell sed -n 's/^## \([0-9][^ ]*\).*/\1/p' CHANGES.md | head -n 1)
# libjwt 3 has no more what token.c calls; 2 was never tried.
PACKAGES := fcgi libpq libcrypto json-c 'libjwt < 2'
# The operator's tool has one more, which the server never loads.
TOOL_PACKAGES := libcurl
Q := $(if $(V),,@)

# The same sources make the same programs, wherever they are built: no paths of
# this machine, nothing by the order of a directory.
SAME := '-ffile-prefix-map=$(CURDIR)=.'
# Hidden symbols: json-c's and libjwt's JSON library look names up in the
# program before themselves.
CFLAGS_ALL := -std=gnu11 -O2 -g -Wall -Wextra -Wshadow -Wstrict-prototypes \
	-Wmissing-prototypes -Wcast-qual -Wwrite-strings -Wformat=2 -Wvla \
	-Wundef -fstack-protector-strong -fstack-clash-protection \
	-fPIE -fvisibility=hidden $(SAME) \
	-D_GNU_SOURCE -DPOSTERN_VERSION='"$(VERSION)"' -Iinclude \
	$(if $(WERROR),-Werror)
LDFLAGS_ALL := -pie -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed \
	-Wl,--build-id=sha1
ifdef SANITIZE
CFLAGS_ALL += -fsanitize=$(SANITIZE) -fno-sanitize-recover=all \
	-fno-omit-frame-pointer
LDFLAGS_ALL += -fsanitize=$(SANITIZE)
else
CFLAGS_ALL += -D_FORTIFY_SOURCE=2
endif
# Asked for once, when something is built: `make run` installs it first.
PKG_CFLAGS = $(eval PKG_CFLAGS := $(call ask,--cflags,$(PACKAGES) \
	$(TOOL_PACKAGES)))$(PKG_CFLAGS)
PKG_LIBS = $(eval PKG_LIBS := $(call ask,--libs,$(PACKAGES)))$(PKG_LIBS)
TOOL_LIBS = $(eval TOOL_LIBS := $(call ask,--libs,$(TOOL_PACKAGES)))$(TOOL_LIBS)
ask = $(shell $(PKG_CONFIG) $(1) $(2))$(if \
	$(filter-out 0,$(.SHELLSTATUS)),$(error $(not_here)))
libjwt = $(shell $(PKG_CONFIG) --modversion libjwt 2>/dev/null)
not_here = Postern needs libfcgi, libpq, OpenSSL, json-c, libcurl and libjwt 1 \
	(here is $(or $(addprefix libjwt ,$(libjwt)),no libjwt)): what is missing stands \
	above, where they all are in docs/platforms.md

SHARED := $(sort $(wildcard src/base/*.c src/data/*.c src/http/*.c \
	src/auth/*.c))
SERVER := $(sort $(wildcard src/api/*.c src/serve/*.c))
TOOL := $(sort $(wildcard src/cli/*.c))
UNITS := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(wildcard tests/unit/*.c))
objects = $(patsubst src/%.c,$(BUILD)/%.o,$(1))
SHARED_O := $(call objects,$(SHARED)) $(BUILD)/migrations.o
SERVER_O := $(call objects,$(SERVER)) $(BUILD)/openapi.o
TOOL_O := $(call objects,$(TOOL))
UNIT_FILES := $(wildcard contrib/systemd/postern.*)
EXAMPLES := lighttpd.conf.example $(filter-out $(UNIT_FILES) \
	contrib/bundle/% contrib/container/%,$(wildcard contrib/*.md contrib/*/* docs/* \
	examples/*.md examples/*/*))
PROGRAMS := $(BUILD)/postern.fcgi $(BUILD)/postern

.PHONY: all help run check test test-long test-unit test-http test-fronts \
	test-faults test-cluster test-browser test-packages test-people \
	test-trust test-release \
	check-asan units vectors fuzz fuzz-corpus fuzz-coverage fuzzers bench \
	bench-scale bench-freshness bench-micro soak lint format house deps-run \
	deps-test deps-bench install bundle clean
.DELETE_ON_ERROR:

all: $(PROGRAMS)

help:
	@echo 'make            the two programs, in $(BUILD)/'
	@echo 'make run        install what is missing, build, serve on PORT'
	@echo 'make check      the tests whose names have T, such as T=test_users'
	@echo 'make test       all tests in their short form; test-long: long'
	@echo 'make bench      beside what others would use; BENCH_S=2 shortens it'
	@echo 'make bench-scale  to a million apps, and with two nodes'
	@echo 'make bench-freshness  how soon every worker knows of a change'
	@echo 'make bench-micro  instructions and system calls of a request'
	@echo 'make test-fronts  behind each web server, with a table'
	@echo 'make test-release RELEASE=trixie  on another Debian, as root'
	@echo 'make soak       mixed traffic for SOAK_S seconds, and overload'
	@echo 'make test-faults  what clients see when something fails'
	@echo 'make test-cluster  on three Postgres under Patroni'
	@echo 'make fuzz       for FUZZ_S seconds a target; fuzz-coverage: a table;'
	@echo '                fuzz-corpus: the corpus anew, with what was found'
	@echo 'make lint       style and structure; format: apply the style'
	@echo 'make house      the list of files in CONTRIBUTING.md, and its picture'
	@echo 'make install    to DESTDIR and PREFIX'
	@echo 'make bundle     a tarball for a shared host, without root'

$(BUILD)/postern.fcgi: $(SHARED_O) $(SERVER_O)
$(BUILD)/postern: $(SHARED_O) $(TOOL_O)
$(BUILD)/postern $(BUILD)/unit/test_client: OWN_LIBS = $(TOOL_LIBS)
$(PROGRAMS):
	@echo "  LD    $@"
	$(Q)$(CC) $(LDFLAGS_ALL) $(LDFLAGS) -o $@ $^ $(PKG_LIBS) $(OWN_LIBS)

$(BUILD)/%.o: src/%.c
	@mkdir -p $(@D) && [ -w $(@D) ] || { echo "$(@D) is another user's: \
	give BUILD=, or remove it as that user" >&2; exit 1; }
	@echo "  CC    $<"
	$(Q)$(CC) $(CFLAGS_ALL) $(PKG_CFLAGS) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# The version is CHANGES.md's.
$(call objects,$(shell grep -l POSTERN_VERSION src/*/*.c)): CHANGES.md

$(BUILD)/completion.%: $(BUILD)/postern
	$(Q)$< completion $* >$@

$(BUILD)/migrations.c: tools/embed $(wildcard sql/*.sql)
	@mkdir -p $(@D)
	$(Q)tools/embed migrations $(sort $(filter %.sql,$^)) >$@

$(BUILD)/openapi.c: tools/embed src/api/openapi.json
	@mkdir -p $(@D)
	$(Q)tools/embed openapi src/api/openapi.json >$@

$(BUILD)/migrations.o $(BUILD)/openapi.o: %.o: %.c
	$(Q)$(CC) $(CFLAGS_ALL) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/unit/test_client: $(BUILD)/cli/http.o
$(BUILD)/unit/%: tests/unit/%.c $(SHARED_O) $(SERVER_O)
	@mkdir -p $(@D)
	@echo "  LD    $@"
	$(Q)$(CC) $(CFLAGS_ALL) $(PKG_CFLAGS) $(CPPFLAGS) $(CFLAGS) -MMD -MP $(LDFLAGS_ALL) \
		$(LDFLAGS) -o $@ $(filter-out %/main.o %.h,$^) $(PKG_LIBS) \
		$(OWN_LIBS) -lcmocka

units: $(UNITS)

# Drivers of the tests, under the layers that they ask.
$(BUILD)/vectors/%: tests/vectors/%.c $(SHARED_O)
	@mkdir -p $(@D)
	@echo "  LD    $@"
	$(Q)$(CC) $(CFLAGS_ALL) $(PKG_CFLAGS) $(CPPFLAGS) $(CFLAGS) -MMD -MP \
		$(LDFLAGS_ALL) $(LDFLAGS) -o $@ $(filter-out %.h,$^) $(PKG_LIBS)

$(BUILD)/timing: tests/timing/timing.c $(SHARED_O)
	@echo "  LD    $@"
	$(Q)$(CC) $(CFLAGS_ALL) $(PKG_CFLAGS) $(CPPFLAGS) $(CFLAGS) -MMD -MP \
		$(LDFLAGS_ALL) $(LDFLAGS) -o $@ $(filter-out %.h,$^) $(PKG_LIBS)

vectors: $(BUILD)/vectors/driver

$(BUILD)/faults/starve.so: tests/faults/starve.c
	@mkdir -p $(@D)
	@echo "  LD    $@"
	$(Q)$(CC) $(filter-out -fPIE,$(CFLAGS_ALL)) -fPIC -shared $(CPPFLAGS) \
		$(CFLAGS) -o $@ $<

# The server, but for the table of verdicts.
$(BUILD)/faults/planted: tests/faults/plant.c $(SHARED_O) $(SERVER_O)
	@mkdir -p $(@D)
	@echo "  LD    $@"
	$(Q)$(CC) $(CFLAGS_ALL) $(PKG_CFLAGS) $(CPPFLAGS) $(CFLAGS) -MMD -MP \
		$(LDFLAGS_ALL) -Wl,--wrap=verdicts_find $(LDFLAGS) -o $@ \
		$(filter-out %.h,$^) $(PKG_LIBS)

# Fuzz targets, by tools/fuzz, which sets the compiler and its flags.
FUZZERS := $(patsubst tests/fuzz/%.c,%,$(filter-out %/fuzz.c %/oracle.c, \
	$(wildcard tests/fuzz/*.c)))
$(BUILD)/fuzz/%.o: tests/fuzz/%.c
	@mkdir -p $(@D)
	@echo "  CC    $<"
	$(Q)$(CC) $(CFLAGS_ALL) $(PKG_CFLAGS) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<
$(BUILD)/fuzz/%: $(BUILD)/fuzz/%.o $(BUILD)/fuzz/fuzz.o $(BUILD)/fuzz/oracle.o \
		$(SHARED_O) $(SERVER_O)
	@echo "  LD    $@"
	$(Q)$(CC) $(LDFLAGS_ALL) $(LDFLAGS) -o $@ $(filter-out %/main.o,$^) \
		$(PKG_LIBS) -ljansson -lm
.PRECIOUS: $(BUILD)/fuzz/%.o
fuzzers: $(addprefix $(BUILD)/fuzz/,$(FUZZERS))

deps-run deps-test deps-bench:
	@tools/deps $(@:deps-%=%)

# A second make: what is asked of pkg-config is there only now.
run: deps-run
	@$(MAKE) --no-print-directory -j"$$(nproc)" all
	@exec env BUILD=$(BUILD) tools/run

check:
	@tools/test check "$$T"

test: deps-test
	@tools/test short

test-long: deps-test
	@tools/test long

test-release: deps-test
	@tools/release all $(RELEASE)

test-unit test-http test-fronts test-faults test-cluster test-browser \
test-packages test-people test-trust: all
	@tools/test short $(@:test-%=%)

bench bench-scale: deps-bench
	@$(MAKE) --no-print-directory all
	@BUILD= POSTERN_BUILD=$(BUILD) PYTHONDONTWRITEBYTECODE=1 $(PYTHON) \
		tests/bench/$(if $(filter bench,$@),compare,scale).py

fuzz: deps-test
	@tools/fuzz long

fuzz-coverage: deps-test
	@tools/fuzz coverage

fuzz-corpus: deps-test
	@tools/fuzz minimise

bench-freshness: deps-test all
	@BUILD= POSTERN_BUILD=$(BUILD) $(PYTHON) tests/bench/freshness.py

bench-micro: deps-test all
	@POSTERN_BUILD=$(BUILD) $(PYTHON) tests/bench/micro.py

SOAK_S ?= 3600
soak: deps-test all
	@SOAK_S=$(SOAK_S) tools/test short load

check-asan:
	@tools/test short asan

lint:
	@tools/lint

format:
	clang-format -i $(wildcard src/*/*.c include/*/*.h tests/unit/*.c \
		tests/timing/*.c tests/vectors/*.c tests/faults/*.c \
		tests/fuzz/*.[ch])

house:
	@tools/house

# Examples and units name the paths of this installation.
install: all $(BUILD)/completion.bash $(BUILD)/completion.zsh
	install -d $(addprefix $(DESTDIR),$(PREFIX)/bin $(PREFIX)/lib/postern \
		$(SHARE)/www $(SHARE)/sql $(DOC) $(UNITDIR) $(BASHDIR) $(ZSHDIR) \
		$(addprefix $(MAN)/man,1 5 8))
	install -m 755 $(BUILD)/postern $(DESTDIR)$(PREFIX)/bin/
	install -m 755 $(BUILD)/postern.fcgi $(DESTDIR)$(PREFIX)/lib/postern/
	install -m 644 $(BUILD)/completion.bash $(DESTDIR)$(BASHDIR)/postern
	install -m 644 $(BUILD)/completion.zsh $(DESTDIR)$(ZSHDIR)/_postern
	install -m 644 $(wildcard www/*) $(DESTDIR)$(SHARE)/www/
	install -m 644 $(wildcard sql/*.sql) $(DESTDIR)$(SHARE)/sql/
	install -m 644 README.md CHANGES.md SECURITY.md LICENSE $(DESTDIR)$(DOC)/
	install -m 644 man/postern.1 $(DESTDIR)$(MAN)/man1/
	install -m 644 man/postern.conf.5 $(DESTDIR)$(MAN)/man5/
	install -m 644 man/postern.fcgi.8 $(DESTDIR)$(MAN)/man8/
	for f in $(EXAMPLES); do \
		install -D -m 644 $$f $(DESTDIR)$(DOC)/$$f || exit; \
	done
	install -m 644 $(UNIT_FILES) $(DESTDIR)$(UNITDIR)/
	sed -i 's|/usr/local/|$(PREFIX)/|g' \
		$(addprefix $(DESTDIR)$(DOC)/,$(EXAMPLES)) \
		$(addprefix $(DESTDIR)$(UNITDIR)/,$(notdir $(UNIT_FILES)))

bundle:
	@tools/bundle $(BUILD) $(VERSION)

clean:
	rm -rf build build-asan build-lint build-fuzz build-cov

-include $(wildcard $(BUILD)/*/*.d $(BUILD)/*.d)
