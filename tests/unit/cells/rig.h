/* A file of cells in a folder of its own, and short words for what tests ask of it. */
#ifndef CELLS_RIG_H
#define CELLS_RIG_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "weir/cells.h"

static char folder[64], path[96];
static struct cells *cells;
static struct cells_opened opened;
static const int64_t T0 = 1700000000000;               /* 2023-11-14 22:13:20 UTC */

static struct cells *open_cells(void) {
  const char *why = NULL;
  struct cells *c = cells_open(path, &opened, &why);
  if (!c) fail_msg("%s", why);
  return c;
}

static int rig_up(void **state) {
  (void)state;
  snprintf(folder, sizeof folder, "/tmp/weir-cells-XXXXXX");
  if (!mkdtemp(folder)) return 1;
  snprintf(path, sizeof path, "%s/cells", folder);
  cells = open_cells();
  return 0;
}

static int rig_down(void **state) {
  (void)state;
  cells_close(cells);
  cells = NULL;
  unlink(path);
  return rmdir(folder);
}

static inline struct cells_scope scope_of(const char *name, enum cell_kind k, enum window_kind w, uint32_t seconds, int64_t cap) {
  return (struct cells_scope){ .id = { span_cstr(name), SPAN("team"), k, { w, seconds, NULL } }, .cap = cap };
}

static inline struct cells_amount money(int64_t n) { return (struct cells_amount){ .of = { [CELL_MONEY] = n } }; }
static inline struct cells_amount all(int64_t n) { return (struct cells_amount){ .of = { n, n, n, n } }; }

static inline struct cell_state state_at(struct cells *c, const struct cells_scope *s, int64_t now) {
  struct cell_state out;
  assert_int_equal(cells_read(c, &s->id, now, &out), CELLS_OK);
  return out;
}

static inline void holds(struct cells *c, const struct cells_scope *s, int64_t now, int64_t spent, int64_t reserved) {
  struct cell_state x = state_at(c, s, now);
  if (x.spent != spent || x.reserved != reserved)
    fail_msg("%.*s: spent %ld reserved %ld, not %ld and %ld", SPAN_FMT(s->id.name), x.spent, x.reserved, spent, reserved);
}

#endif
