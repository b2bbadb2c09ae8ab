/* columns.c: the table `exchanges`: a column for each member that a record may have. The order is that in which src/gateway/record.c
   writes them, so that each is found at the first look. */
#include "room.h"

const struct column columns[L_COLUMNS] = {
  [L_SEQUENCE] = { "seq", "sequence", COLUMN_NUMBER },
  [L_ENDED] = { "ended", "ended", COLUMN_NUMBER },
  [L_ID] = { "id", "id", COLUMN_TEXT },
  [L_PARENT] = { "parent", "parent", COLUMN_TEXT },
  [L_POLICY] = { "policy", "policy", COLUMN_TEXT },
  [L_IP] = { "ip", "ip", COLUMN_TEXT },
  [L_KEY] = { "key", "key", COLUMN_TEXT },
  [L_TEAM] = { "team", "team", COLUMN_TEXT },
  [L_USER] = { "user", "user", COLUMN_TEXT },
  [L_KEY_TAGS] = { "key_tags", "key_tags", COLUMN_JSON },
  [L_METHOD] = { "method", "method", COLUMN_TEXT },
  [L_PATH] = { "path", "path", COLUMN_TEXT },
  [L_MODEL] = { "model", "model", COLUMN_TEXT },
  [L_STATUS] = { "status", "status", COLUMN_NUMBER },
  [L_END] = { "end", "end", COLUMN_TEXT },
  [L_TARGET] = { "target", "target", COLUMN_TEXT },
  [L_SERVED] = { "served", "served", COLUMN_TEXT },
  [L_LOSS] = { "loss", "loss", COLUMN_TEXT },
  [L_RAW] = { "raw", "raw", COLUMN_FLAG },
  [L_STREAM] = { "stream", "stream", COLUMN_FLAG },
  [L_MS] = { "ms", "ms", COLUMN_NUMBER },
  [L_FIRST_EVENT_MS] = { "first_event_ms", "first_event_ms", COLUMN_NUMBER },
  [L_BYTES] = { "bytes", "bytes", COLUMN_NUMBER },
  [L_INPUT] = { "input", "input", COLUMN_NUMBER },
  [L_CACHE_READ] = { "cache_read", "cache_read", COLUMN_NUMBER },
  [L_CACHE_WRITE] = { "cache_write", "cache_write", COLUMN_NUMBER },
  [L_CACHE_WRITE_1H] = { "cache_write_1h", "cache_write_1h", COLUMN_NUMBER },
  [L_OUTPUT] = { "output", "output", COLUMN_NUMBER },
  [L_REASONING] = { "reasoning", "reasoning", COLUMN_NUMBER },
  [L_COST] = { "cost", "cost", COLUMN_MONEY },
  [L_FAILED] = { "failed", "failed", COLUMN_JSON },
  [L_NOTES] = { "notes", "notes", COLUMN_JSON },
  [L_GENERATION] = { "generation", "generation", COLUMN_NUMBER },
  [L_SESSION] = { "session", "session", COLUMN_TEXT },
  [L_TAGS] = { "tags", "tags", COLUMN_JSON },
  [L_PROMPT] = { "prompt", "prompt", COLUMN_TEXT },
  [L_ALIAS] = { "alias", "alias", COLUMN_TEXT },
  [L_DIALECT] = { "dialect", "dialect", COLUMN_TEXT },
  [L_ATTEMPTS] = { "attempts", "attempts", COLUMN_NUMBER },
  [L_REPORTED] = { "reported", "reported", COLUMN_FLAG },
  [L_UNPRICED] = { "unpriced", "unpriced", COLUMN_FLAG },
  [L_ESTIMATE] = { "estimate", "estimate", COLUMN_MONEY },
  [L_OUTPUT_LIMIT] = { "output_limit", "output_limit", COLUMN_NUMBER },
  [L_OVERHEAD_US] = { "overhead_us", "overhead_us", COLUMN_NUMBER },
  [L_CONF] = { "conf", "conf", COLUMN_TEXT },
  [L_ORPHAN] = { "orphan", "orphan", COLUMN_FLAG },
};

const char *ledger_column_name(enum ledger_column c) { return columns[c].name; }

bool ledger_column_is_text(enum ledger_column c) { return columns[c].kind == COLUMN_TEXT || columns[c].kind == COLUMN_JSON; }

void columns_create(struct buf *sql) {
  buf_add(sql, SPAN("CREATE TABLE IF NOT EXISTS exchanges("));
  for (int i = 0; i < L_COLUMNS; i++)
    buf_printf(sql, "%s\"%s\" %s", i ? "," : "", columns[i].name, i == L_SEQUENCE ? "INTEGER PRIMARY KEY" : ledger_column_is_text((enum ledger_column)i) ? "TEXT" : "INTEGER");
  buf_add(sql, SPAN(")"));
}

void columns_list(struct buf *sql) {
  for (int i = 0; i < L_COLUMNS; i++) buf_printf(sql, "%s\"%s\"", i ? "," : "", columns[i].name);
}
