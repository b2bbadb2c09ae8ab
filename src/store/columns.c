/* columns.c: what a record may have, by its name in JSON, in the view `exchanges`, and in the table of that name in older databases. */
#include "room.h"

#define COLUMN(name, kind) { name, ",\"" name "\":", sizeof name + 3, kind }

const struct column columns[L_COLUMNS] = {
  [L_SEQUENCE] = COLUMN("seq", COLUMN_NUMBER),
  [L_ENDED] = COLUMN("ended", COLUMN_NUMBER),
  [L_ID] = COLUMN("id", COLUMN_TEXT),
  [L_PARENT] = COLUMN("parent", COLUMN_TEXT),
  [L_POLICY] = COLUMN("policy", COLUMN_TEXT),
  [L_IP] = COLUMN("ip", COLUMN_TEXT),
  [L_KEY] = COLUMN("key", COLUMN_TEXT),
  [L_TEAM] = COLUMN("team", COLUMN_TEXT),
  [L_USER] = COLUMN("user", COLUMN_TEXT),
  [L_KEY_TAGS] = COLUMN("key_tags", COLUMN_JSON),
  [L_METHOD] = COLUMN("method", COLUMN_TEXT),
  [L_PATH] = COLUMN("path", COLUMN_TEXT),
  [L_MODEL] = COLUMN("model", COLUMN_TEXT),
  [L_STATUS] = COLUMN("status", COLUMN_NUMBER),
  [L_END] = COLUMN("end", COLUMN_TEXT),
  [L_TARGET] = COLUMN("target", COLUMN_TEXT),
  [L_SERVED] = COLUMN("served", COLUMN_TEXT),
  [L_LOSS] = COLUMN("loss", COLUMN_TEXT),
  [L_RAW] = COLUMN("raw", COLUMN_NUMBER),
  [L_STREAM] = COLUMN("stream", COLUMN_NUMBER),
  [L_MS] = COLUMN("ms", COLUMN_NUMBER),
  [L_FIRST_EVENT_MS] = COLUMN("first_event_ms", COLUMN_NUMBER),
  [L_BYTES] = COLUMN("bytes", COLUMN_NUMBER),
  [L_INPUT] = COLUMN("input", COLUMN_NUMBER),
  [L_CACHE_READ] = COLUMN("cache_read", COLUMN_NUMBER),
  [L_CACHE_WRITE] = COLUMN("cache_write", COLUMN_NUMBER),
  [L_CACHE_WRITE_1H] = COLUMN("cache_write_1h", COLUMN_NUMBER),
  [L_OUTPUT] = COLUMN("output", COLUMN_NUMBER),
  [L_REASONING] = COLUMN("reasoning", COLUMN_NUMBER),
  [L_COST] = COLUMN("cost", COLUMN_NUMBER),
  [L_FAILED] = COLUMN("failed", COLUMN_JSON),
  [L_NOTES] = COLUMN("notes", COLUMN_JSON),
  [L_GENERATION] = COLUMN("generation", COLUMN_NUMBER),
  [L_SESSION] = COLUMN("session", COLUMN_TEXT),
  [L_TAGS] = COLUMN("tags", COLUMN_JSON),
  [L_PROMPT] = COLUMN("prompt", COLUMN_TEXT),
  [L_ALIAS] = COLUMN("alias", COLUMN_TEXT),
  [L_DIALECT] = COLUMN("dialect", COLUMN_TEXT),
  [L_ATTEMPTS] = COLUMN("attempts", COLUMN_NUMBER),
  [L_REPORTED] = COLUMN("reported", COLUMN_NUMBER),
  [L_UNPRICED] = COLUMN("unpriced", COLUMN_NUMBER),
  [L_ESTIMATE] = COLUMN("estimate", COLUMN_NUMBER),
  [L_OUTPUT_LIMIT] = COLUMN("output_limit", COLUMN_NUMBER),
  [L_OVERHEAD_US] = COLUMN("overhead_us", COLUMN_NUMBER),
  [L_CONF] = COLUMN("conf", COLUMN_TEXT),
  [L_ORPHAN] = COLUMN("orphan", COLUMN_NUMBER),
  [L_AUDIO_IN] = COLUMN("audio_in", COLUMN_NUMBER),
  [L_IMAGE_IN] = COLUMN("image_in", COLUMN_NUMBER),
  [L_AUDIO_OUT] = COLUMN("audio_out", COLUMN_NUMBER),
  [L_IMAGE_OUT] = COLUMN("image_out", COLUMN_NUMBER),
  [L_SEARCHES] = COLUMN("searches", COLUMN_NUMBER),
  [L_READS] = COLUMN("reads", COLUMN_JSON),
  [L_TOOL_CALLS] = COLUMN("tool_calls", COLUMN_NUMBER),
  [L_FEES] = COLUMN("fees", COLUMN_NUMBER),
};

const char *ledger_column_name(enum ledger_column c) { return columns[c].name; }

bool ledger_column_is_text(enum ledger_column c) { return columns[c].kind == COLUMN_TEXT || columns[c].kind == COLUMN_JSON; }

/* What a record leaves out because it follows from what is there. Older records have it themselves. */
static const char *column_sql(enum ledger_column c) {
  switch (c) {
  case L_ENDED: return "coalesce(json_extract(value,'$.ended'),(json_extract(value,'$.seq')>>22)+json_extract(value,'$.ms'))";
  case L_CONF: return "coalesce(json_extract(value,'$.conf'),batches.conf)";
  case L_GENERATION: return "coalesce(json_extract(value,'$.generation'),batches.generation)";
  default: return NULL;
  }
}
_Static_assert(LEDGER_SEQUENCE_BITS == 22, "as column_sql has it");

/* Of one part alone unless there are older rows: of several SQLite works out all columns of each row, whatever is asked for. */
void columns_view(struct buf *sql, bool older) {
  buf_add(sql, SPAN("CREATE VIEW exchanges AS SELECT "));
  for (int i = 0; i < L_COLUMNS; i++) {
    const char *own = column_sql((enum ledger_column)i);
    if (own) buf_printf(sql, "%s%s AS \"%s\"", i ? "," : "", own, columns[i].name);
    else buf_printf(sql, "%sjson_extract(value,'$.%s') AS \"%s\"", i ? "," : "", columns[i].name, columns[i].name);
  }
  buf_add(sql, SPAN(" FROM batches,json_each(batches.records)"));
  if (!older) return;
  buf_add(sql, SPAN(" UNION ALL SELECT "));
  columns_older(sql);
  for (int i = L_ORPHAN + 1; i < L_COLUMNS; i++) buf_add(sql, SPAN(",NULL"));
  buf_add(sql, SPAN(" FROM exchanges_1"));
}

void columns_older(struct buf *sql) {
  for (int i = 0; i <= L_ORPHAN; i++) buf_printf(sql, "%s\"%s\"", i ? "," : "", columns[i].name);
}
