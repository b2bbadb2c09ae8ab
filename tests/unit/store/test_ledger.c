/* The ledger without a gateway: records become rows once, orphans only where no record is, promises come back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "weir/dialect.h"
#include "weir/record.h"
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

static void append(struct record *r) {
  struct span whole = record_end(r);
  assert_true(whole.n);
  assert_int_equal(cells_append(cells, whole), CELLS_OK);
}

static char room[CELLS_RECORD];

static struct record begun(int64_t sequence, const char *id) {
  struct record r;
  record_begin(&r, room, sizeof room, sequence);
  record_text(&r, L_ID, span_cstr(id));
  return r;
}

static void append_id(int64_t sequence, const char *id) {
  struct record r = begun(sequence, id);
  append(&r);
}

static struct ledger *opened_ledger(double keep, uint64_t max_size) {
  const char *why = "";
  struct ledger_options o = { .cells = cells, .dir = dir, .limits = { .keep = keep, .max_size = max_size } };
  struct ledger *l = ledger_open(&o, &why);
  if (!l) fail_msg("%s", why);
  return l;
}

struct seen { size_t count; struct { char id[32], end[16], notes[64], model[64], failed[128], prompt[32], dialect[16]; int64_t cost, seq, orphan, stream, ended; } rows[4096]; };

static bool see(void *arg, const struct ledger_row *row) {
  struct seen *s = arg;
  if (s->count == 4096) return false;
  snprintf(s->rows[s->count].id, 32, "%.*s", SPAN_FMT(row->text[L_ID]));
  snprintf(s->rows[s->count].end, 16, "%.*s", SPAN_FMT(row->text[L_END]));
  snprintf(s->rows[s->count].notes, 64, "%.*s", SPAN_FMT(row->text[L_NOTES]));
  snprintf(s->rows[s->count].model, 64, "%.*s", SPAN_FMT(row->text[L_MODEL]));
  snprintf(s->rows[s->count].failed, 128, "%.*s", SPAN_FMT(row->text[L_FAILED]));
  snprintf(s->rows[s->count].prompt, 32, "%.*s", SPAN_FMT(row->text[L_PROMPT]));
  snprintf(s->rows[s->count].dialect, 16, "%.*s", SPAN_FMT(row->text[L_DIALECT]));
  s->rows[s->count].ended = row->number[L_ENDED];
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
  const int64_t at = (int64_t)1700000000000 << LEDGER_SEQUENCE_BITS;
  struct record r = begun(at, "a");
  record_text(&r, L_MODEL, SPAN("m\xc3\xa9\n\xff"));
  record_number(&r, L_STREAM, 1);
  record_number(&r, L_COST, 50200000000);
  record_number(&r, L_INPUT, -1);
  record_text(&r, L_DIALECT, SPAN("messages"));
  record_prompt(&r, UINT64_MAX);
  record_number(&r, L_MS, 1234);
  record_text(&r, L_END, SPAN("done"));
  record_pairs(&r, L_NOTES);
  record_pair(&r, SPAN("k"), SPAN("\"new\""));
  record_pair(&r, SPAN("empty"), SPAN(""));
  record_pairs_end(&r);
  record_failed(&r);
  for (int i = 0; i < 2; i++) record_try(&r, SPAN("a/x"), i ? FAULT_TIMEOUT : FAULT_OVERLOADED, i ? 0 : 503, 300, i ? 1000000 : 0);
  record_failed_end(&r);
  append(&r);
  append_id(at + 1, "b");
  r = begun(at + 2, "c");
  record_number(&r, L_COST, INT64_MAX);
  append(&r);
  struct ledger_figures f;
  struct ledger *l = opened_ledger(0, 1 << 30);
  ledger_figures(l, &f);
  assert_int_equal(f.records, 3);
  assert_int_equal(f.errors, 0);
  ledger_close(l);
  read_all();
  assert_int_equal(seen.count, 3);
  assert_string_equal(seen.rows[0].model, "m\xc3\xa9\n\xef\xbf\xbd");
  assert_int_equal(seen.rows[0].cost, 50200000000);
  assert_int_equal(seen.rows[0].stream, 1);
  assert_int_equal(seen.rows[0].seq, at);
  assert_int_equal(seen.rows[0].ended, 1700000001234);
  assert_string_equal(seen.rows[0].notes, "{\"k\":\"\\\"new\\\"\"}");
  assert_string_equal(seen.rows[0].failed, "[{\"target\":\"a/x\",\"fault\":\"overloaded\",\"status\":503,\"ms\":300},"
                                           "{\"target\":\"a/x\",\"fault\":\"timeout\",\"ms\":300,\"cost\":\"0.000001\"}]");
  assert_string_equal(seen.rows[0].prompt, "#ffffffffffffffff");
  assert_string_equal(seen.rows[0].dialect, "messages");
  assert_int_equal(seen.rows[1].cost, -1);
  assert_int_equal(seen.rows[2].cost, INT64_MAX);
}

/* What is cut, or has another head, is no record: it is left out and counted, what follows it is read. */
static void bad_records(void **state) {
  (void)state;
  struct record r = begun(70, "whole");
  record_text(&r, L_MODEL, SPAN("model"));
  record_pairs(&r, L_NOTES);
  record_pair(&r, SPAN("k"), SPAN("v"));
  record_pairs_end(&r);
  record_number(&r, L_COST, 1 << 20);
  struct span good = record_end(&r);
  char copy[512];
  size_t bad = 0;
  for (; bad < good.n; bad++) assert_int_equal(cells_append(cells, span_of(good.p, bad)), CELLS_OK);
  for (size_t i = 0; i < 32; i++, bad++) {                 /* version and size */
    memcpy(copy, good.p, good.n);
    copy[offsetof(struct record_head, version) + i / 8] ^= (char)(1 << i % 8);
    assert_int_equal(cells_append(cells, span_of(copy, good.n)), CELLS_OK);
  }
  append_id(71, "last");
  struct ledger_figures f;
  struct ledger *l = opened_ledger(0, 1 << 30);
  ledger_figures(l, &f);
  assert_int_equal(f.errors, bad);
  assert_int_equal(f.records, 1);
  assert_false(f.lost);
  ledger_close(l);
  read_all();
  assert_int_equal(seen.count, 1);
  assert_string_equal(seen.rows[0].id, "last");
}

/* A record that finds no room is none, wherever that happens; one that does is valid, whatever its texts are. */
static void room_for_records(void **state) {
  static char space[CELLS_RECORD];
  static const char *const texts[] = { "plain", "eight by", "\"", "a long one, with a \\ in it", "\xc3\xa9", "\xff\xfe", "\n\t\x01", "0123456789abcdef0123456789abcdef" };
  size_t whole = 0, last = 0;
  (void)state;
  for (size_t size = sizeof(struct record_head); size < 1400; size++) {
    struct record r;
    struct json j;
    memset(space, '!', sizeof space);
    record_begin(&r, space, size, INT64_MAX);
    for (size_t i = 0; i < 8; i++) record_text(&r, (enum ledger_column)(L_ID + i), span_cstr(texts[i]));
    record_number(&r, L_COST, INT64_MAX);
    record_pairs(&r, L_TAGS);
    for (size_t i = 0; i < 8; i++) record_pair(&r, span_cstr(texts[7 - i]), span_cstr(texts[i]));
    record_pairs_end(&r);
    record_failed(&r);
    for (int i = 0; i < 3; i++) record_try(&r, span_cstr(texts[i + 2]), FAULT_TIMEOUT, INT32_MAX, INT64_MAX, INT64_MAX);
    record_failed_end(&r);
    struct span record = record_end(&r);
    for (size_t i = size; i < sizeof space; i++) assert_int_equal(space[i], '!');
    if (!record.n) continue;
    whole++;
    assert_true(record.n <= size && (!last || record.n == last) && json_read(span_from(record, sizeof(struct record_head)), &j, NULL) && j.type == JSON_OBJECT);
    last = record.n;
  }
  assert_true(whole > 100 && whole < 1000);
  static char long_text[UINT16_MAX];
  struct record r = begun(1, "x");
  record_text(&r, L_USER, span_of(memset(long_text, 'x', sizeof long_text), sizeof long_text));
  assert_int_equal(record_end(&r).n, 0);
  r = begun(1, "x");
  r.most = 256;
  for (int i = 0; i < 20; i++) record_text(&r, (enum ledger_column)(L_IP + i), span_of(memset(long_text, i % 2 ? 'x' : 1, sizeof long_text), sizeof long_text));
  assert_in_range(record_end(&r).n, 20 * 200, 20 * 300);
}

/* The configuration stands in the batch; records of another one, or of none, say so themselves. */
struct confs { size_t count; char conf[8][RECORD_CONF + 1]; int64_t generation[8], ended[8]; };

static bool see_conf(void *arg, const struct ledger_row *row) {
  struct confs *c = arg;
  snprintf(c->conf[c->count], sizeof c->conf[0], "%.*s", SPAN_FMT(row->text[L_CONF]));
  c->generation[c->count] = row->number[L_GENERATION];
  c->ended[c->count++] = row->number[L_ENDED];
  return c->count < 8;
}

static void what_a_batch_has_in_common(void **state) {
  static const char *const hashes[] = { "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", "" };
  static const struct { int hash; unsigned generation; } records[] = { { 0, 1 }, { 0, 1 }, { 1, 2 }, { 2, 0 }, { 0, 3 }, { 0, 1 } };
  struct confs c = { 0 };
  const char *why = "";
  char path[128];
  sqlite3 *db;
  sqlite3_stmt *s;
  (void)state;
  for (int i = 0; i < 6; i++) {
    struct record r = begun(((int64_t)1000 << LEDGER_SEQUENCE_BITS) + i, "x");
    record_conf(&r, records[i].generation, span_cstr(hashes[records[i].hash]));
    record_number(&r, L_MS, i);
    append(&r);
  }
  ledger_close(opened_ledger(0, 1 << 30));
  struct ledger_reader *l = ledger_read_open(dir, &why);
  assert_true(ledger_read_range(l, 0, INT64_MAX, see_conf, &c, &why));
  ledger_read_close(l);
  assert_int_equal(c.count, 6);
  snprintf(path, sizeof path, "%s/" LEDGER_FILE, dir);
  assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
  assert_int_equal(sqlite3_prepare_v2(db, "SELECT coalesce(conf,''),generation,ended,(SELECT count(*) FROM batches) FROM exchanges ORDER BY seq", -1, &s, NULL), SQLITE_OK);
  for (int i = 0; i < 6; i++) {
    assert_string_equal(c.conf[i], hashes[records[i].hash]);
    assert_int_equal(c.generation[i], records[i].generation);
    assert_int_equal(c.ended[i], 1000 + i);
    assert_int_equal(sqlite3_step(s), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(s, 0), hashes[records[i].hash]);
    assert_int_equal(sqlite3_column_int64(s, 1), records[i].generation);
    assert_int_equal(sqlite3_column_int64(s, 2), 1000 + i);
    assert_int_equal(sqlite3_column_int64(s, 3), 1);
  }
  sqlite3_finalize(s);
  sqlite3_close(db);
}

/* A process that dies between its commit and its word to the ring: what it had is not taken again. A ring of another file is. */
static void drained_twice(void **state) {
  struct cells_opened opened;
  struct base b;
  const char *why;
  (void)state;
  for (int round = 0; round < 2; round++) {
    struct batch k = { 0 };
    struct span record;
    append_id(70, "a");
    append_id(70, "b");
    assert_true(base_open(&b, dir, &why));
    assert_true(cells_drain_begin(cells));
    cells_drain_skip(cells, b.place);
    assert_true(cells_drain(cells, &record) && batch_add(&k, record));
    assert_true(base_begin(&b, false) && batch_save(&b, &k, wall_ms()) && drained_save(&b, cells_ring_name(cells), cells_drain_place(cells)) && base_commit(&b));
    base_close(&b);
    buf_free(&k.text);
    ledger_close(opened_ledger(0, 1 << 30));
  }
  read_all();
  assert_int_equal(seen.count, 4);
  for (int i = 0; i < 4; i++) assert_string_equal(seen.rows[i].id, i % 2 ? "b" : "a");
  cells_close(cells);
  unlink(cells_path);
  cells = cells_open(cells_path, &opened, &why);
  append_id(71, "c");
  ledger_close(opened_ledger(0, 1 << 30));
  read_all();
  assert_int_equal(seen.count, 5);
}

/* The clock is set forward by a day, and back: batches stay in order, records are found by the time they have. */
static void clock_goes_back(void **state) {
  struct base b;
  const char *why = "";
  const int64_t now = wall_ms(), day = 86400000, times[] = { now, now + day, now + 1, now + 2 };
  (void)state;
  assert_true(base_open(&b, dir, &why));
  assert_true(base_begin(&b, false));
  for (int i = 0; i < 4; i++) {
    struct batch k = { 0 };
    struct record r = begun(times[i] << LEDGER_SEQUENCE_BITS, "x");
    assert_true(batch_add(&k, record_end(&r)) && batch_save(&b, &k, times[i]));
    buf_free(&k.text);
  }
  assert_true(base_commit(&b));
  base_close(&b);
  struct ledger_reader *l = ledger_read_open(dir, &why);
  seen.count = 0;
  assert_true(ledger_read_range(l, now, now + 1000, see, &seen, &why));
  assert_int_equal(seen.count, 3);
  seen.count = 0;
  assert_true(ledger_read_range(l, now + 1, now + 2, see, &seen, &why));
  assert_int_equal(seen.count, 1);
  seen.count = 0;
  assert_true(ledger_read_range(l, now + 1000, INT64_MAX, see, &seen, &why));
  assert_int_equal(seen.count, 1);
  ledger_read_close(l);
}

/* ---- layout 1: a row of a table for each */
static void older_layout(void **state) {
  (void)state;
  char path[128];
  sqlite3 *db;
  snprintf(path, sizeof path, "%s/" LEDGER_FILE, dir);
  struct buf sql = { 0 };
  buf_add(&sql, SPAN("CREATE TABLE exchanges("));
  for (int i = 0; i <= L_ORPHAN; i++)
    buf_printf(&sql, "%s\"%s\" %s", i ? "," : "", columns[i].name, i == L_SEQUENCE ? "INTEGER PRIMARY KEY" : columns[i].kind == COLUMN_NUMBER ? "INTEGER" : "TEXT");
  int64_t now = wall_ms();
  buf_printf(&sql, ");CREATE INDEX exchanges_id ON exchanges(id);INSERT INTO exchanges(seq,id,cost,notes) VALUES(%lld,'old',5,'{\"a\":\"b\"}'),(%lld,'older',6,NULL);"
             "PRAGMA user_version=1", (long long)(now << LEDGER_SEQUENCE_BITS), (long long)((now - 7200000) << LEDGER_SEQUENCE_BITS));
  buf_byte(&sql, 0);
  assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
  assert_int_equal(sqlite3_exec(db, buf_span(&sql).p, NULL, NULL, NULL), SQLITE_OK);
  sqlite3_close(db);
  buf_free(&sql);
  read_all();                                            /* also before any weir of today had it */
  assert_int_equal(seen.count, 2);
  append_id((now << LEDGER_SEQUENCE_BITS) + 1, "new");
  for (int i = 0; i < 2; i++) ledger_close(opened_ledger(i ? 3600 : 0, 1 << 30));
  read_all();
  assert_int_equal(seen.count, 2);
  assert_string_equal(seen.rows[0].id, "old");
  assert_string_equal(seen.rows[0].notes, "{\"a\":\"b\"}");
  assert_int_equal(seen.rows[0].cost, 5);
  assert_string_equal(seen.rows[1].id, "new");
  sqlite3_stmt *s = NULL;
  assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
  assert_int_equal(sqlite3_prepare_v2(db, "SELECT id,notes FROM exchanges ORDER BY seq", -1, &s, NULL), SQLITE_OK);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(sqlite3_step(s), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(s, 0), i ? "new" : "old");
  }
  sqlite3_finalize(s);
  sqlite3_close(db);
}

/* ---- layouts 3 and 4: a view without the newer columns, batches that hold in each record what is in common today */
static void older_view(void **state) {
  (void)state;
  char path[128];
  sqlite3 *db;
  snprintf(path, sizeof path, "%s/" LEDGER_FILE, dir);
  append_id((wall_ms() << LEDGER_SEQUENCE_BITS) + 1, "kept");
  ledger_close(opened_ledger(3600, 1 << 30));
  assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
  assert_int_equal(sqlite3_exec(db, "DROP VIEW exchanges;ALTER TABLE batches DROP COLUMN conf;ALTER TABLE batches DROP COLUMN generation;"
                                    "CREATE VIEW exchanges AS SELECT json_extract(value,'$.id') AS id FROM batches,json_each(batches.records);"
                                    "UPDATE batches SET records='[{\"seq\":77,\"id\":\"kept\",\"ms\":5,\"generation\":2,\"conf\":\"c\",\"ended\":9}]';"
                                    "INSERT INTO orphans VALUES(7,'waits',1,1);PRAGMA user_version=3", NULL, NULL, NULL), SQLITE_OK);
  read_all();                                            /* also before any weir of today had it */
  assert_int_equal(seen.count, 1);
  assert_int_equal(seen.rows[0].ended, 9);
  ledger_close(opened_ledger(3600, 1 << 30));
  read_all();
  assert_int_equal(seen.rows[0].ended, 9);
  sqlite3_stmt *s = NULL;
  assert_int_equal(sqlite3_prepare_v2(db, "SELECT id,fees,tool_calls,(SELECT count(*) FROM orphans) FROM exchanges WHERE ended=9 AND conf='c' AND generation=2", -1, &s, NULL), SQLITE_OK);
  assert_int_equal(sqlite3_step(s), SQLITE_ROW);
  assert_string_equal((const char *)sqlite3_column_text(s, 0), "kept");
  sqlite3_finalize(s);
  sqlite3_close(db);
}

/* ---- orphans: a process that dies with open slots */
static void open_slot(struct cells *c, int64_t sequence, const char *id, int64_t money) {
  char note[CELLS_NOTE];
  struct cells_held held;
  struct cells_scope s = { { SPAN("b"), SPAN("x"), CELL_MONEY, { WINDOW_TOTAL, 0, NULL }, NULL }, CELLS_NO_CAP, false };
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
  struct record r = begun(82, "recorded");
  record_number(&r, L_COST, 300);
  record_text(&r, L_END, SPAN("done"));
  append(&r);
  cells_close(dead);
  cells_tend(cells);
  ledger_close(opened_ledger(0, 1 << 30));
  read_all();
  assert_int_equal(seen.count, 4);
  const struct { const char *id, *end; int64_t cost, orphan; } want[] = {
    { "recorded", "done", 300, -1 }, { "both", "internal", 500, 1 }, { "money alone", "internal", 700, 1 }, { "nothing known", "internal", -1, 1 } };
  for (int i = 0, k = 0; i < 4; i++) {
    for (k = 0; k < 4 && strcmp(seen.rows[k].id, want[i].id); k++) {}
    if (k == 4) fail_msg("no row of '%s'", want[i].id);
    assert_string_equal(seen.rows[k].end, want[i].end);
    assert_int_equal(seen.rows[k].cost, want[i].cost);
    assert_int_equal(seen.rows[k].orphan, want[i].orphan);
  }
  struct cells_orphan o;
  assert_false(cells_orphan(cells, &o));
}

/* What another slot of an exchange reserved comes to its row later too, and less does not; what is another's exchange stays apart. */
static void orphans_grow(void **state) {
  struct base b;
  const char *why = "";
  bool fresh;
  const struct { const char *id; int64_t money; bool fresh; } found[] = { { "a", 0, true }, { "a", 500, false }, { "a", 300, false }, { "b", 900, false } };
  (void)state;
  assert_true(base_open(&b, dir, &why));
  for (size_t i = 0; i < sizeof found / sizeof *found; i++) {
    struct recent recent = { 0 };
    struct cells_orphan o = { .slot = i, .amount = { .of = { [CELL_MONEY] = found[i].money } } };
    o.note_size = ledger_note(o.note, 80, span_cstr(found[i].id), SPAN("key"), SPAN("a/x"), SPAN("m\"\n"));
    assert_true(base_begin(&b, false) && orphan_save(&b, &o, wall_ms(), &recent, &fresh) && base_commit(&b));
    assert_int_equal(fresh, found[i].fresh);
    recent_free(&recent);
  }
  base_close(&b);
  read_all();
  assert_int_equal(seen.count, 1);
  assert_string_equal(seen.rows[0].id, "a");
  assert_int_equal(seen.rows[0].cost, 500);
  assert_string_equal(seen.rows[0].model, "m\"\n");
}

/* ---- promises */
static struct cells_scope durable(enum window_kind k, uint32_t seconds, const struct zone *z) {
  return (struct cells_scope){ { SPAN("budget"), SPAN("all"), CELL_MONEY, { k, seconds, z }, NULL }, 1000, true };
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
  static char long_text[8000];
  char id[16];
  (void)state;
  memset(long_text, 'x', sizeof long_text);
  int64_t now = wall_ms();
  struct ledger *l = opened_ledger(3600, 1 << 20);
  for (int i = 0; i < 300; i++) {
    int64_t at = i < 100 ? now - 7200000 : now;
    snprintf(id, sizeof id, "%d", i);
    struct record r = begun((at << LEDGER_SEQUENCE_BITS) + i, id);
    record_text(&r, L_SESSION, span_of(long_text, sizeof long_text));
    append(&r);
    if (i % 100 == 99) ledger_close(l), l = opened_ledger(3600, 1 << 20);
  }
  for (int i = 0; i < 100; i++) {
    read_all();
    if (seen.count < 150) break;
    usleep(50000);
  }
  assert_in_range(seen.count, 50, 150);                  /* a MB of them; batches that hold old ones alone went first */
  for (size_t i = 0; i < seen.count; i++) assert_true(atoi(seen.rows[i].id) >= 150);
  ledger_close(l);
}

static void another_writer_is_refused(void **state) {
  const char *why = "";
  (void)state;
  struct ledger *l = opened_ledger(0, 1 << 30);
  struct ledger_options o = { .cells = cells, .dir = dir, .limits = { .max_size = 1 << 30 } };
  assert_null(ledger_open(&o, &why));
  assert_non_null(strstr(why, "another weir writes the ledger there"));
  ledger_close(l);
}

/* ---- contents */
static void secrets_are_hidden(void **state) {
  (void)state;
  const struct { const char *in, *out; } cases[] = {
    { "key sk-proj-0123456789abcdefghij, and so on", "key [secret], and so on" }, { "sk-short", "sk-short" }, { "ask-0123456789abcdefghij", "ask-0123456789abcdefghij" },
    { "{\"a\":\"AKIAIOSFODNN7EXAMPLE\\nghp_0123456789abcdefghijABCDEF\"}", "{\"a\":\"[secret]\\n[secret]\"}" },
    { "x eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P. Done", "x [secret]. Done" },
    { "-----BEGIN RSA PRIVATE KEY-----\\nMIIE\\n-----END RSA PRIVATE KEY----- after", "[secret] after" },
    { "-----BEGIN PRIVATE KEY-----\\nMIIE", "[secret]" }, { "-----BEGIN CERTIFICATE-----", "-----BEGIN CERTIFICATE-----" }, { "", "" }, { "weir_", "weir_" } };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct buf out = { 0 };
    secrets_hide(span_cstr(cases[i].in), &out);
    if (!span_eq(buf_span(&out), span_cstr(cases[i].out))) fail_msg("%s: %.*s", cases[i].in, SPAN_FMT(buf_span(&out)));
    buf_free(&out);
  }
}

static size_t kept(const char *id, int64_t sequence) {
  const char *why = "";
  struct arena a = { 0 };
  struct ledger_kept k = { 0 };
  struct ledger_reader *r = ledger_read_open(dir, &why);
  bool there = ledger_read_contents(r, span_cstr(id), sequence, &a, &k);
  size_t n = there ? k.request.n + k.answer.n + k.cut : 0;
  ledger_read_close(r);
  arena_end(&a);
  return n;
}

static void contents_are_bounded(void **state) {
  static char large[1 << 20];
  (void)state;
  memset(large, 'y', sizeof large);
  int64_t now = wall_ms() << LEDGER_SEQUENCE_BITS, old = (wall_ms() - 7200000) << LEDGER_SEQUENCE_BITS;
  struct ledger *l = opened_ledger(0, 1 << 30);
  struct ledger_limits limits = { .max_size = 1 << 30, .contents_keep = 3600 };
  assert_true(ledger_contents(l, now, SPAN("a"), SPAN("asked"), SPAN("answered"), true));
  assert_true(ledger_contents(l, old, SPAN("b"), SPAN("asked"), SPAN("answered"), false));
  ledger_close(l);
  assert_int_equal(kept("a", now), 14);
  assert_int_equal(kept("b", old), 13);
  assert_int_equal(kept("a", old), 0);
  l = opened_ledger(0, 1 << 30);
  ledger_limit(l, &limits);
  int taken = 0;
  while (taken < 1000 && ledger_contents(l, now + 1, SPAN("c"), span_of(large, sizeof large), SPAN(""), false)) taken++;
  assert_in_range(taken, 7, 999);                        /* 8 MB at most wait */
  ledger_close(l);
  assert_int_equal(kept("b", old), 0);                   /* its time is over */
  assert_int_equal(kept("c", now + 1), sizeof large);
}

/* ---- promises to windows that are over */
static void old_promises_go(void **state) {
  static const struct { enum window_kind kind; int seconds, days; bool stays; } all[] = {
    { WINDOW_DAY, 0, 3, true }, { WINDOW_DAY, 0, 5, false }, { WINDOW_MONTH, 0, 60, true }, { WINDOW_MONTH, 0, 80, false },
    { WINDOW_SESSION, 0, 29, true }, { WINDOW_SESSION, 0, 31, false }, { WINDOW_ROLLING, 86400, 3, true }, { WINDOW_ROLLING, 86400, 5, false },
    { WINDOW_FIXED, 3600, 2, false }, { WINDOW_TOTAL, 0, 4000, true },
  };
  char path[128], sql[200];
  sqlite3 *db;
  sqlite3_stmt *s = NULL;
  (void)state;
  ledger_close(opened_ledger(0, 1 << 30));
  snprintf(path, sizeof path, "%s/" LEDGER_FILE, dir);
  assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    snprintf(sql, sizeof sql, "INSERT INTO grants VALUES('b','%zu',0,%d,%d,0,1,5,%lld)", i, all[i].kind, all[i].seconds,
             (long long)(wall_ms() - all[i].days * 86400000ll));
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
  }
  ledger_close(opened_ledger(0, 1 << 30));
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    snprintf(sql, sizeof sql, "SELECT count(*) FROM grants WHERE value='%zu'", i);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &s, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(s), SQLITE_ROW);
    if (sqlite3_column_int(s, 0) != all[i].stays) fail_msg("promise %zu", i);
    sqlite3_finalize(s);
  }
  sqlite3_close(db);
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
    TEST(records_become_rows), TEST(bad_records), TEST(room_for_records), TEST(what_a_batch_has_in_common), TEST(drained_twice), TEST(clock_goes_back), TEST(older_layout), TEST(older_view), TEST(orphans_become_rows), TEST(orphans_grow), TEST(promises_come_back), TEST(old_promises_go), TEST(old_and_large_go),
    TEST(secrets_are_hidden), TEST(contents_are_bounded), TEST(another_writer_is_refused), TEST(sources_are_kept),
  };
  log_set_level(LOG_OFF);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
