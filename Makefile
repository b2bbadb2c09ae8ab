# weir: see README.md. `make run` is the way in; `make deps` installs what the build needs.
VERSION := 0.1.0
CC      ?= gcc
BUILD   ?= build
CFLAGS  ?= -O2 -g
WARN    := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla
ALLFLAGS = -std=gnu17 -D_GNU_SOURCE -DWEIR_VERSION='"$(VERSION)"' -Iinclude -I/usr/include/lua5.4 -pthread $(WARN) $(CFLAGS) $(SAN)
ARCHIVES := -l:libbearssl.a -l:liblua5.4.a -l:liburing.a
LIBS     = $(ARCHIVES) -lcares -lm -lz -pthread $(SAN)

# The folders of src, lowest first: an archive may use those before it, never those after it.
FOLDERS := base wire lua dialect conf route io tls watch policy gateway cmd
SOURCES := $(foreach d,$(FOLDERS),$(wildcard src/$(d)/*.c))
LIBFILES := $(foreach d,$(FOLDERS),$(BUILD)/lib/$(d).a)
reverse = $(if $(1),$(call reverse,$(wordlist 2,$(words $(1)),$(1))) $(firstword $(1)))
LINKED  := $(call reverse,$(LIBFILES))

# Commands are shown with V=1.
say = $(if $(V),,@echo '  $(@:$(BUILD)/%=%)';)

all: $(BUILD)/weir $(BUILD)/weir-mock

$(BUILD)/weir: $(BUILD)/obj/src/main.o $(LIBFILES)
	$(say)$(CC) $(ALLFLAGS) -o $@ $< $(LINKED) $(LIBS)

MOCK := $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard src/mock/*.c))
$(BUILD)/weir-mock: $(MOCK) $(LIBFILES)
	$(say)$(CC) $(ALLFLAGS) -o $@ $(MOCK) $(LINKED) $(LIBS)

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(say)$(CC) $(ALLFLAGS) -MMD -MP -c -o $@ $<

define folder
$(BUILD)/lib/$(1).a: $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard src/$(1)/*.c))
	@mkdir -p $$(@D)
	@rm -f $$@
	@ar rcs $$@ $$^
endef
$(foreach d,$(FOLDERS),$(eval $(call folder,$(d))))

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)

# A unit test of folder F lies in tests/unit/F and links F and the folders below it.
UNITS := $(wildcard tests/unit/*/test_*.c)
below = $(foreach d,$(FOLDERS),$(if $(filter $(1),$(d)),$(d) STOP,$(d)))
upto  = $(call reverse,$(foreach d,$(call cutstop,$(call below,$(1))),$(BUILD)/lib/$(d).a))
cutstop = $(if $(filter STOP,$(firstword $(1))),,$(firstword $(1)) $(call cutstop,$(wordlist 2,$(words $(1)),$(1))))
define unit
$(BUILD)/$(basename $(1)): $(1) $(call upto,$(word 3,$(subst /, ,$(1))))
	@mkdir -p $$(@D)
	$$(say)$$(CC) $$(ALLFLAGS) -o $$@ $(1) $(call upto,$(word 3,$(subst /, ,$(1)))) $$(LIBS) -lcmocka
endef
$(foreach u,$(UNITS),$(eval $(call unit,$(u))))
UNITBINS := $(patsubst %.c,$(BUILD)/%,$(UNITS))
units: $(UNITBINS)

# One unit program: make unit-wire/test_sse
unit-%: $(BUILD)/tests/unit/%
	$<

# A fuzz target: fuzz/fuzz_X.c names the sources it takes in lines "// links: …".
FUZZCC := clang
FUZZES := $(patsubst fuzz/%.c,%,$(wildcard fuzz/fuzz_*.c))
FUZZ_SECONDS ?= 60
links = $(shell sed -n 's|^// *links: *||p' $(1))
.SECONDEXPANSION:
$(BUILD)/fuzz/%: fuzz/%.c $$(call links,fuzz/$$*.c) $$(wildcard include/weir/*.h)
	@mkdir -p $(@D)
	$(say)$(FUZZCC) -std=gnu17 -D_GNU_SOURCE -DWEIR_VERSION='"$(VERSION)"' -Iinclude -I/usr/include/lua5.4 -pthread -g -O1 \
	  -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined -o $@ $< $(call links,fuzz/$*.c) \
	  -Wl,--start-group $(ARCHIVES) -Wl,--end-group -lcares -lz -lm -ljansson

# Every target for FUZZ_SECONDS on its corpus and its old crashes; the canary must fail.
fuzz: $(FUZZES:%=$(BUILD)/fuzz/%)
	tests/fuzz $(BUILD)/fuzz $(FUZZ_SECONDS)

# ---- what people type
PACKAGES := build-essential pkg-config liburing-dev libbearssl-dev liblua5.4-dev libc-ares-dev zlib1g-dev
TEST_PACKAGES := libcmocka-dev python3 python3-venv curl openssl ca-certificates
FUZZ_PACKAGES := clang llvm libclang-rt-14-dev libjansson-dev

deps:
	packaging/deps $(PACKAGES) $(TEST_PACKAGES)
deps-build:
	@packaging/deps $(PACKAGES) curl
deps-fuzz:
	@packaging/deps $(FUZZ_PACKAGES) $(PACKAGES)

# Build, start the mock and weir on loopback, say what to try, stay in the foreground.
run: deps-build
	@$(MAKE) --no-print-directory all
	@packaging/demo/run $(BUILD)

# Unit tests, policy tests, end-to-end tests; the last line is "N passed, N failed, N skipped".
test: deps
	@$(MAKE) --no-print-directory all units
	@tests/all $(BUILD)

# The same under AddressSanitizer and UBSan, in a build folder of its own.
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
test-sanitize: deps
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/sanitize SAN="$(SANITIZE)" CFLAGS="-O1 -g" all units
	@tests/all $(BUILD)/sanitize

tidy:
	@python3 tests/tidy.py

format:
	clang-format -i $(wildcard src/*/*.[ch] src/*.c include/weir/*.h)

# weir beside nginx and haproxy on this machine: tables. QUICK=1 is a look, doc/performance.md says how to read them.
BENCHES := $(patsubst bench/%.c,$(BUILD)/bench/%,$(wildcard bench/*.c))
$(BUILD)/bench/%: bench/%.c $(LIBFILES)
	@mkdir -p $(@D)
	$(say)$(CC) $(ALLFLAGS) -o $@ $< $(LINKED) $(LIBS)
bench: all $(BENCHES)
	@bench/run $(BUILD)

PREFIX ?= /usr
install: all
	install -D -m 755 $(BUILD)/weir $(DESTDIR)$(PREFIX)/bin/weir
	install -D -m 755 $(BUILD)/weir-mock $(DESTDIR)$(PREFIX)/bin/weir-mock
	install -d $(DESTDIR)$(PREFIX)/share/weir/policies
	install -m 644 policies/*.lua $(DESTDIR)$(PREFIX)/share/weir/policies

clean:
	rm -rf $(BUILD)

.PHONY: all units deps deps-build deps-fuzz run test test-sanitize tidy fuzz format bench install clean
.DELETE_ON_ERROR:
