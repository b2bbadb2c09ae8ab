/* The ledger without a gateway: records become rows once, orphans only where no record is, promises come back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "weir/zone.h"
#include "../../../src/store/room.h"

static char folder[64], cells_path[80], *dir;
static struct cells *cells;

static int64_t wall_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int setup(void **state) {
  struct cells_opened opened;
  const char *why;
  (void)state;
  strcpy(folder, "/tmp/weir-ledger-XXXXXX");
  if (!mkdtemp(folder)) return 1;
  snprintf(cells_path, sizeof cells_path, "%s/cells", folder);
  dir = folder;
  cells = cells_open(cells_path, &opened, &why);
  return !cells;
}

static int teardown(void **state) {
  char command[128];
  (void)state;
  cells_close(cells);
  snprintf(command, sizeof command, "rm -r %s", folder);
  return system(command);
}

static void append(const char *record) { assert_int_equal(cells_append(cells, span_cstr(record)), CELLS_OK); }

static struct ledger *opened_ledger(double keep, uint64_t max_size) {
  const char *why = "";
  struct ledger_options o = { .cells = cells, .dir = dir, .keep = keep, .max_size = max_size };
  struct ledger *l = ledger_open(&o, &why);
  if (!l) fail_msg("%s", why);
  return l;
}

struct seen { size_t count; struct { char id[32], end[16], notes[64], model[64]; int64_t cost, seq, orphan, stream; } rows[4096]; };

static bool see(void *arg, const struct ledger_row *row) {
  struct seen *s = arg;
  if (s->count == 4096) return false;
  snprintf(s->rows[s->count].id, 32, "%.*s", SPAN_FMT(row->text[L_ID]));
  snprintf(s->rows[s->count].end, 16, "%.*s", SPAN_FMT(row->text[L_END]));
  snprintf(s->rows[s->count].notes, 64, "%.*s", SPAN_FMT(row->text[L_NOTES]));
  snprintf(s->rows[s->count].model, 64, "%.*s", SPAN_FMT(row->text[L_MODEL]));
  s->rows[s->count].cost = row->number[L_COST];
  s->rows[s->count].seq = row->number[L_SEQUENCE];
  s->rows[s->count].orphan = row->number[L_ORPHAN];
  s->rows[s->count++].stream = row->number[L_STREAM];
  return true;
}

static struct seen seen;

static void read_all(void) {
  const char *why = "";
  struct ledger_reader *r = ledger_read_open(dir, &why);
  if (!r) fail_msg("%s", why);
  seen.count = 0;
  assert_true(ledger_read_range(r, 0, INT64_MAX, see, &seen, &why));
  ledger_read_close(r);
}

static void records_become_rows(void **state) {
  (void)state;
  append("{\"id\":\"a\",\"model\":\"m\\u00e9\\n\",\"stream\":true,\"cost\":\"0.0502\",\"notes\":{\"k\":\"v\"},\"end\":\"done\",\"sequence\":70,\"unheard\":[1,{}]}");
  append("{\"sequence\":71,\"id\":\"b\",\"cost\":null}");
  append("{\"id\":\"no sequence\"}");
  append("{\"id\":\"bad cost\",\"cost\":\"1.x\",\"sequence\":72}");
  append("no json");
  append("{\"id\":\"c\",\"cost\":\"9223372.036854775807\",\"sequence\":73}");
  struct ledger_figures f;
  struct ledger *l = opened_ledger(0, 1 << 30);
  ledger_figures(l, &f);
  assert_int_equal(f.records, 3);
  assert_int_equal(f.errors, 3);
  ledger_close(l);
  read_all();
  assert_int_equal(seen.count, 3);
  assert_string_equal(seen.rows[0].model, "m\xc3\xa9\n");
  assert_int_equal(seen.rows[0].cost, 50200000000);
  assert_int_equal(seen.rows[0].stream, 1);
  assert_string_equal(seen.rows[0].notes, "{\"k\":\"v\"}");
  assert_int_equal(seen.rows[1].cost, -1);
  assert_int_equal(seen.rows[2].cost, INT64_MAX);
}

/* Twice the same is one row; another exchange of the same sequence is not lost. */
static void drained_twice(void **state) {
  (void)state;
  for (int i = 0; i < 2; i++) {
    append("{\"id\":\"a\",\"sequence\":70}");
    append("{\"id\":\"b\",\"sequence\":70}");
    append("{\"id\":\"a\",\"sequence\":70}");
    ledger_close(opened_ledger(0, 1 << 30));
  }
  read_all();
  assert_int_equal(seen.count, 2);
  assert_string_equal(seen.rows[0].id, "a");
  assert_string_equal(seen.rows[1].id, "b");
}

/* ---- orphans: a process that dies with open slots */
static void open_slot(struct cells *c, int64_t sequence, const char *id, int64_t money) {
  char note[CELLS_NOTE];
  struct cells_held held;
  struct cells_scope s = { { SPAN("b"), SPAN("x"), CELL_MONEY, { WINDOW_TOTAL, 0, NULL } }, CELLS_NO_CAP, false };
  struct cells_amount amount = { .of = { [CELL_MONEY] = money } };
  size_t n = ledger_note(note, sequence, span_cstr(id), SPAN("key"), SPAN("a/x"), SPAN("model"));
  assert_int_equal(cells_reserve(c, &s, money ? 1 : 0, &amount, span_of(note, n), wall_ms(), &held), CELLS_OK);
}

static void orphans_become_rows(void **state) {
  struct cells_opened opened;
  const char *why;
  (void)state;
  struct cells *dead = cells_open(cells_path, &opened, &why);
  assert_non_null(dead);
  open_slot(dead, 80, "both", 0);
  open_slot(dead, 80, "both", 500);
  open_slot(dead, 81, "money alone", 700);
  open_slot(dead, 82, "recorded", 900);
  open_slot(dead, 83, "nothing known", 0);
  append("{\"id\":\"recorded\",\"sequence\":82,\"cost\":\"0.0000000003\",\"end\":\"done\"}");
  cells_close(dead);
  cells_tend(cells);
  ledger_close(opened_ledger(0, 1 << 30));
  read_all();
  assert_int_equal(seen.count, 4);
  const struct { const char *id, *end; int64_t cost, orphan; } want[] = {
    { "both", "internal", 500, 1 }, { "money alone", "internal", 700, 1 }, { "recorded", "done", 300, -1 }, { "nothing known", "internal", -1, 1 } };
  for (int i = 0; i < 4; i++) {
    assert_string_equal(seen.rows[i].id, want[i].id);
    assert_string_equal(seen.rows[i].end, want[i].end);
    assert_int_equal(seen.rows[i].cost, want[i].cost);
    assert_int_equal(seen.rows[i].orphan, want[i].orphan);
  }
  struct cells_orphan o;
  assert_false(cells_orphan(cells, &o));
}

/* ---- promises */
static struct cells_scope durable(enum window_kind k, uint32_t seconds, const struct zone *z) {
  return (struct cells_scope){ { SPAN("budget"), SPAN("all"), CELL_MONEY, { k, seconds, z } }, 1000, true };
}

static void spend(const struct cells_scope *s, int64_t amount, struct ledger *l) {
  struct cells_held held;
  struct cells_amount a = { .of = { [CELL_MONEY] = amount } };
  enum cells_result r;
  for (int i = 0; (r = cells_reserve(cells, s, 1, &a, SPAN("x"), wall_ms(), &held)) == CELLS_UNGRANTED && i < 1000; i++) {
    ledger_wanted(l);
    usleep(3000);
  }
  assert_int_equal(r, CELLS_OK);
  assert_int_equal(cells_settle(cells, held.slot, &a), CELLS_OK);
}

static void promises_come_back(void **state) {
  static const struct { enum window_kind kind; uint32_t seconds; } windows[] = {
    { WINDOW_TOTAL, 0 }, { WINDOW_DAY, 0 }, { WINDOW_MONTH, 0 }, { WINDOW_ROLLING, 3600 }, { WINDOW_FIXED, 100000000 }, { WINDOW_SESSION, 0 } };
  struct cells_opened opened;
  struct cell_state now;
  const char *why;
  (void)state;
  struct zone *zone = zone_load(SPAN("Pacific/Auckland"), &why), *zones[] = { NULL, zone };
  struct ledger *l = opened_ledger(0, 1 << 30);
  for (size_t i = 0; i < sizeof windows / sizeof *windows; i++)
    for (int z = 0; z < 2; z++) {
      struct cells_scope s = durable(windows[i].kind, windows[i].seconds, zones[z]);
      s.id.value = z ? SPAN("zone") : SPAN("utc");
      for (int k = 0; k < 7; k++) spend(&s, 100, l);
    }
  ledger_close(l);
  cells_close(cells);
  unlink(cells_path);
  cells = cells_open(cells_path, &opened, &why);
  assert_true(opened.fresh);
  ledger_close(opened_ledger(0, 1 << 30));
  for (size_t i = 0; i < sizeof windows / sizeof *windows; i++)
    for (int z = 0; z < 2; z++) {
      struct cells_scope s = durable(windows[i].kind, windows[i].seconds, zones[z]);
      s.id.value = z ? SPAN("zone") : SPAN("utc");
      assert_int_equal(cells_read(cells, &s.id, wall_ms(), &now), CELLS_OK);
      assert_in_range(now.spent, 700, 1000);
    }
  struct cells_scope s = durable(WINDOW_TOTAL, 0, NULL);   /* once: what came since counts on from there */
  s.id.value = SPAN("utc");
  cells_read(cells, &s.id, wall_ms(), &now);
  ledger_close(opened_ledger(0, 1 << 30));
  int64_t before = now.spent;
  cells_read(cells, &s.id, wall_ms(), &now);
  assert_int_equal(now.spent, before);
  zone_free(zone);
}

/* ---- bounds */
static void old_and_large_go(void **state) {
  char record[9000];
  (void)state;
  int64_t now = wall_ms();
  struct ledger *l = opened_ledger(3600, 1 << 20);
  for (int i = 0; i < 300; i++) {
    int64_t at = i < 100 ? now - 7200000 : now;
    snprintf(record, sizeof record, "{\"id\":\"%d\",\"sequence\":%lld,\"notes\":{\"n\":\"%08000d\"}}", i, (long long)((at << LEDGER_SEQUENCE_BITS) + i), 7);
    append(record);
    if (i % 100 == 99) ledger_close(l), l = opened_ledger(3600, 1 << 20);
  }
  for (int i = 0; i < 100; i++) {
    read_all();
    if (seen.count < 200) break;
    usleep(50000);
  }
  assert_true(seen.count < 200);
  for (size_t i = 0; i < seen.count; i++) assert_true(atoi(seen.rows[i].id) >= 100);
  ledger_close(l);
}

static void another_writer_is_refused(void **state) {
  const char *why = "";
  (void)state;
  struct ledger *l = opened_ledger(0, 1 << 30);
  struct ledger_options o = { .cells = cells, .dir = dir, .keep = 0, .max_size = 1 << 30 };
  assert_null(ledger_open(&o, &why));
  assert_non_null(strstr(why, "another weir writes the ledger there"));
  ledger_close(l);
}

/* ---- sources */
static void sources_are_kept(void **state) {
  char path[160], hash[16];
  (void)state;
  struct ledger_source good[] = { { SPAN("weir.lua"), SPAN("one") }, { SPAN("policies/a/b.lua"), SPAN("") } };
  struct ledger_source bad[] = { { SPAN("../weir.lua"), SPAN("x") } };
  for (int i = 0; i < LEDGER_GENERATIONS + 5; i++) {
    snprintf(hash, sizeof hash, "%x", i);
    assert_true(kept_write(dir, hash, good, 2));
    usleep(5000);
  }
  snprintf(path, sizeof path, "%s/generations/%s/policies/a/b.lua", dir, hash);
  assert_false(access(path, R_OK));
  snprintf(path, sizeof path, "%s/generations/0", dir);
  assert_true(access(path, R_OK));
  assert_false(kept_write(dir, "bad", bad, 1));
  assert_false(kept_write(dir, "a/b", good, 2));
  snprintf(path, sizeof path, "%s/generations/bad", dir);
  assert_true(access(path, R_OK));
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
  const struct CMUnitTest tests[] = {
    TEST(records_become_rows), TEST(drained_twice), TEST(orphans_become_rows), TEST(promises_come_back), TEST(old_and_large_go),
    TEST(another_writer_is_refused), TEST(sources_are_kept),
  };
  log_set_level(LOG_OFF);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
