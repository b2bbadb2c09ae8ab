# weir: see README.md. `make run` is the way in; `make deps` installs what the build needs.
VERSION := 0.1.0
ifeq ($(origin CC),default)
CC      := gcc
endif
BUILD   ?= build
CFLAGS  ?= -O2 -g
WARN    := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla
ALLFLAGS = -std=gnu17 -D_GNU_SOURCE -DWEIR_VERSION='"$(VERSION)"' -Iinclude -I/usr/include/lua5.4 -pthread $(WARN) $(TUNE) $(CFLAGS) $(SAN)
# Structs of some hundred bytes are copied and cleared on every event: GCC's "rep movs" starts slowly on many processors.
TUNE    := -mmemcpy-strategy=unrolled_loop:256:noalign,libcall:-1:noalign -mmemset-strategy=unrolled_loop:256:noalign,libcall:-1:noalign
TUNE    := $(if $(shell $(CC) $(TUNE) -Werror -E -x c /dev/null >/dev/null 2>&1 && echo yes),$(TUNE))
# Nothing unwinds at run time; debuggers read the same from the debug information. A tenth of the binary.
TUNE    += $(if $(SAN),,-fno-asynchronous-unwind-tables)
ARCHIVES := -l:libbearssl.a -l:liblua5.4.a -l:liburing.a
LIBS     = $(ARCHIVES) -lcares -lm -lz -lsqlite3 -pthread $(SAN)

# The folders of src, lowest first: an archive may use those before it, never those after it.
FOLDERS := base cells wire lua dialect price auth conf route io tls store watch policy gateway cmd
SOURCES := $(foreach d,$(FOLDERS),$(wildcard src/$(d)/*.c))
LIBFILES := $(foreach d,$(FOLDERS),$(BUILD)/lib/$(d).a)
reverse = $(if $(1),$(call reverse,$(wordlist 2,$(words $(1)),$(1))) $(firstword $(1)))
LINKED  := $(call reverse,$(LIBFILES))

# Commands are shown with V=1.
say = $(if $(V),,@$(if $(findstring s,$(filter-out -%,$(firstword $(MAKEFLAGS)))),:,echo '  $(@:$(BUILD)/%=%)');)
# A make in a recipe: two jobs, unless the one who typed make has said how many.
JOBS ?= 2
submake = $(MAKE) --no-print-directory $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(JOBS))

all: $(BUILD)/weir $(BUILD)/weir-mock
	@:

# What was built with other flags is built again, and an archive that holds an object whose source is gone is packed again.
ifneq ($(filter-out clean tidy format deps deps-build deps-fuzz deps-package package test-package,$(or $(MAKECMDGOALS),all)),)
ifneq ($(strip $(file <$(BUILD)/flags)),$(strip $(CC) $(ALLFLAGS)))
$(shell mkdir -p $(BUILD))$(file >$(BUILD)/flags,$(CC) $(ALLFLAGS))
endif
gone = $(filter-out $(patsubst %.c,$(1)/obj/%.o,$(wildcard src/*/*.c)),$(wildcard $(1)/obj/src/*/*.o))
$(foreach b,$(BUILD) $(BUILD)/fuzz,$(foreach o,$(call gone,$(b)),\
  $(shell rm -f $(o) $(o:.o=.d) $(b)/lib/$(notdir $(patsubst %/,%,$(dir $(o)))).a)))
endif

# The debug information goes into a file beside the program, where debuggers look for it. Who packages weir takes it out alone: SPLIT=.
SPLIT ?= yes
$(BUILD)/weir: $(BUILD)/obj/src/main.o $(LIBFILES)
	$(say)$(CC) $(ALLFLAGS) -o $@ $< $(LINKED) $(LIBS)
	@$(if $(SAN)$(if $(SPLIT),,no),:,objcopy --only-keep-debug $@ $@.debug && objcopy --strip-all --add-gnu-debuglink=$@.debug $@)

MOCK := $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard src/mock/*.c))
$(BUILD)/weir-mock: $(MOCK) $(LIBFILES)
	$(say)$(CC) $(ALLFLAGS) -o $@ $(MOCK) $(LINKED) $(LIBS)

$(BUILD)/obj/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(say)$(CC) $(ALLFLAGS) -MMD -MP -c -o $@ $<

# What is taken into an object beside its sources.
$(BUILD)/obj/src/conf/prices.o $(BUILD)/fuzz/obj/src/conf/prices.o: policies/prices.lua

# The archive of folder $(2) below $(1), which is the build folder or the one of the fuzz targets.
define folder
$(1)/lib/$(2).a: $(patsubst %.c,$(1)/obj/%.o,$(wildcard src/$(2)/*.c))
	@mkdir -p $$(@D)
	@rm -f $$@
	@ar rcs $$@ $$^
endef
$(foreach d,$(FOLDERS),$(eval $(call folder,$(BUILD),$(d))))

-include $(shell find $(BUILD)/obj $(BUILD)/fuzz/obj -name '*.d' 2>/dev/null)

# A unit test of folder F lies in tests/unit/F and links F and the folders below it.
UNITS := $(wildcard tests/unit/*/test_*.c)
below = $(foreach d,$(FOLDERS),$(if $(filter $(1),$(d)),$(d) STOP,$(d)))
upto  = $(call reverse,$(foreach d,$(call cutstop,$(call below,$(1))),$(BUILD)/lib/$(d).a))
cutstop = $(if $(filter STOP,$(firstword $(1))),,$(firstword $(1)) $(call cutstop,$(wordlist 2,$(words $(1)),$(1))))
define unit
$(BUILD)/$(basename $(1)): $(BUILD)/obj/$(1:.c=.o) $(call upto,$(word 3,$(subst /, ,$(1))))
	@mkdir -p $$(@D)
	$$(say)$$(CC) $$(ALLFLAGS) -o $$@ $$^ $$(LIBS) -lcmocka
endef
$(foreach u,$(UNITS),$(eval $(call unit,$(u))))
UNITBINS := $(patsubst %.c,$(BUILD)/%,$(UNITS))
units: $(UNITBINS)
	@:

# The whole gateway among misbehaving peers on the simulated loop. Allocations that may fail do so there.
STORM := $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard tests/torture/*.c))
$(BUILD)/tests/storm: $(STORM) $(LIBFILES)
	@mkdir -p $(@D)
	$(say)$(CC) $(ALLFLAGS) -Wl,--wrap=mem_try,--wrap=check_failed -o $@ $(STORM) $(LINKED) $(LIBS)

# One unit program: make unit-wire/test_sse
unit-%: $(BUILD)/tests/unit/%
	$<

# A fuzz target links what it uses of the sources below, all built for fuzzing, and the other files of fuzz/.
FUZZCC := clang
FUZZFLAGS := -std=gnu17 -D_GNU_SOURCE -DWEIR_VERSION='"$(VERSION)"' -Iinclude -I/usr/include/lua5.4 -pthread -g -O1 \
  -fsanitize=address,undefined -fno-sanitize-recover=undefined
FUZZES := $(patsubst fuzz/%.c,%,$(wildcard fuzz/fuzz_*.c))
FUZZ_SECONDS ?= 60
FUZZLIBS := $(LINKED:$(BUILD)/%=$(BUILD)/fuzz/%)
$(foreach d,$(FOLDERS),$(eval $(call folder,$(BUILD)/fuzz,$(d))))
$(BUILD)/fuzz/lib/helpers.a: $(patsubst %.c,$(BUILD)/fuzz/obj/%.o,$(filter-out $(FUZZES:%=fuzz/%.c),$(wildcard fuzz/*.c)))
	@mkdir -p $(@D)
	@rm -f $@
	@ar rcs $@ $^
$(BUILD)/fuzz/obj/%.o: %.c
	@mkdir -p $(@D)
	$(say)$(FUZZCC) $(FUZZFLAGS) -fsanitize=fuzzer-no-link -MMD -MP -c -o $@ $<
$(FUZZES:%=$(BUILD)/fuzz/%): $(BUILD)/fuzz/%: $(BUILD)/fuzz/obj/fuzz/%.o $(BUILD)/fuzz/lib/helpers.a $(FUZZLIBS)
	$(say)$(FUZZCC) $(FUZZFLAGS) -fsanitize=fuzzer -o $@ $^ $(ARCHIVES) -lcares -lz -lm -lsqlite3 -ljansson

# Every target for FUZZ_SECONDS on its corpus and its old crashes; the canary must fail.
fuzz-targets: $(FUZZES:%=$(BUILD)/fuzz/%)
	@:
fuzz: deps-fuzz
	@$(submake) fuzz-targets
	@tests/fuzz $(BUILD)/fuzz $(FUZZ_SECONDS)

# ---- what people type
PACKAGES := build-essential pkg-config liburing-dev libbearssl-dev liblua5.4-dev libc-ares-dev zlib1g-dev libsqlite3-dev
TEST_PACKAGES := libcmocka-dev python3 python3-venv curl openssl ca-certificates
DEB_PACKAGES := debhelper dpkg-dev fakeroot lintian python3
FUZZ_PACKAGES := clang llvm libclang-rt-14-dev libjansson-dev

deps:
	@packaging/deps $(PACKAGES) $(TEST_PACKAGES)
deps-build:
	@packaging/deps $(PACKAGES) curl
deps-package:
	@packaging/deps $(PACKAGES) $(DEB_PACKAGES)
deps-fuzz:
	@packaging/deps $(FUZZ_PACKAGES) $(PACKAGES)

# Build, start the mock and weir on loopback, say what to try, stay in the foreground.
run: deps-build
	@$(submake) all
	@packaging/demo/run $(BUILD)

# Unit tests, policy tests, end-to-end tests; the last line is "N passed, N failed, N skipped".
# LOOP=epoll: the end-to-end tests with every weir and mock on epoll.
# With TORTURE=1 instead: storms, and end-to-end tests of a weir that reads, sends and queues in tiny pieces.
test: deps
ifdef TORTURE
	@$(submake) TORTURE= torture
	@$(submake) BUILD=$(BUILD)/torture CFLAGS="-O2 -g -DWEIR_TORTURE" TORTURE= all
	@tests/torture/run $(BUILD)/torture
else
	@$(submake) all units
	@$(if $(LOOP),WEIR_LOOP=$(LOOP) )tests/all $(BUILD)
endif

# The same under AddressSanitizer and UBSan, in a build folder of its own.
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
test-sanitize: deps
	@$(submake) BUILD=$(BUILD)/sanitize SAN="$(SANITIZE)" CFLAGS="-O1 -g" all units
	@WEIR_SDK='$(abspath $(BUILD))/sdk' tests/all $(BUILD)/sanitize

# What threads share, under the thread sanitizer.
test-threads: deps
	@$(submake) BUILD=$(BUILD)/threads SAN="-fsanitize=thread" CFLAGS="-O1 -g" all units
	@tests/threads $(BUILD)/threads

# Storms and unit programs under valgrind, where it is installed.
test-valgrind: deps
	@$(submake) all units $(BUILD)/tests/storm
	@tests/valgrind $(BUILD)

# Mixed load with faults, reloads and leaving clients: memory and descriptors stay flat. SECONDS=600
soak: deps
	@$(submake) all
	@tests/soak.py --build $(BUILD) --seconds $(or $(SECONDS),600)

# What an open stream costs, plain and with TLS to the provider: N=9000
N ?= 9000
streams: deps
	@$(submake) all
	@bench/streams.py $(BUILD) $(N)

# Storms: seeds for TORTURE_SECONDS, or SEED=n once more, under the same sanitizers.
TORTURE_SECONDS ?= 60
torture: deps
	@$(submake) BUILD=$(BUILD)/sanitize SAN="$(SANITIZE)" CFLAGS="-O1 -g" $(BUILD)/sanitize/tests/storm
	@$(BUILD)/sanitize/tests/storm --seconds $(TORTURE_SECONDS) $(if $(SEED),--seed $(SEED) --verbose)

tidy:
	@python3 tests/tidy.py

format:
	clang-format -i $(wildcard src/*/*.[ch] src/*.c include/weir/*.h)

# weir beside nginx and haproxy on this machine: tables. QUICK=1 is a look, doc/performance.md says how to read them.
BENCHES := $(patsubst bench/%.c,$(BUILD)/bench/%,$(wildcard bench/*.c))
$(BENCHES): $(BUILD)/bench/%: $(BUILD)/obj/bench/%.o $(LIBFILES)
	@mkdir -p $(@D)
	$(say)$(CC) $(ALLFLAGS) -o $@ $< $(LINKED) $(LIBS)
bench: all $(BENCHES)
	@bench/run $(BUILD)

PREFIX ?= /usr
install: all
	@DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" SYSTEMD="$(SYSTEMD)" CONFIG="$(CONFIG)" packaging/install $(BUILD) $(VERSION)

# Packages for Debian, in $(BUILD)/package; the same sources give the same bytes.
package: deps-package
	@packaging/package $(BUILD)/package $(VERSION)
# They are installed into a bare Debian below $(BUILD)/bare, started as the unit would, asked, reloaded and removed. Needs root and a mirror.
test-package: package
	@packaging/test-package $(BUILD)/package $(BUILD)/bare

clean:
	rm -rf $(BUILD)

.PHONY: all units deps deps-build deps-fuzz run test test-sanitize test-threads test-valgrind torture soak streams tidy fuzz fuzz-targets format bench install package test-package deps-package clean
.DELETE_ON_ERROR:
