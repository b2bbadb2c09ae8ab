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

# A fuzz target: fuzz/fuzz_X.c, built with clang against all folders it can reach.
FUZZCC := clang
$(BUILD)/fuzz/%: fuzz/%.c
	@mkdir -p $(@D)
	$(FUZZCC) -std=gnu17 -D_GNU_SOURCE -DWEIR_VERSION='"$(VERSION)"' -Iinclude -I/usr/include/lua5.4 -pthread -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined -o $@ $< $(shell sed -n 's|^// *links: *||p' fuzz/$*.c) -Wl,--start-group $(ARCHIVES) -Wl,--end-group -lcares -lz -lm -ljansson

.PHONY: all units
.DELETE_ON_ERROR:
