/* answer.c: whole answers, read. */
#include "dialect_impl.h"

static void answer_error(enum dialect d, struct json error, struct answer_facts *out) {
  struct failure f;
  error_read(d, 0, error, &f);
  out->fault = f.fault;
}

/* A stream as one list: what counts of usage and model is what the last item with it says. */
static void each_read(const struct operation_info *o, struct json list, struct answer_parts *parts, struct pieces *p) {
  struct json_iter i = json_iter(list);
  for (struct json key, item; json_next(&i, &key, &item);) {
    struct answer_parts one = { 0 };
    if (item.type == JSON_OBJECT) dialect_impl(o->dialect)->answer(o, item, &one, p);
    parts->shaped |= one.shaped;
    if (one.error.type != JSON_NONE) parts->error = one.error;
    if (one.usage.type == JSON_OBJECT) parts->usage = one.usage;
    if (one.model.type == JSON_STRING) parts->model = one.model;
    if (one.searches) parts->searches = one.searches;
  }
}

void answer_read(const struct operation_info *o, struct span body, struct answer_facts *out) {
  const struct dialect_impl *d = dialect_impl(o->dialect);
  struct json document;
  struct answer_parts parts = { 0 };
  struct pieces p = { 0 };
  *out = (struct answer_facts){ .fault = FAULT_INVALID, .usage = USAGE_NONE };
  if (d->whole) {
    if (!d->whole(o, body, &parts, &p)) return;
  } else if (!json_read(body, &document, NULL)) {
    return;
  } else if (document.type == JSON_ARRAY && o->operation == OP_GENERATE_ARRAY) {
    each_read(o, document, &parts, &p);
  } else if (document.type == JSON_OBJECT) {
    d->answer(o, document, &parts, &p);
  } else {
    return;
  }
  out->finish = p.finish;
  out->has_tools = p.tools;
  out->model = string_raw(parts.model);
  if (parts.usage.type == JSON_OBJECT) {
    out->has_usage = true;
    if (parts.counted) out->usage = parts.counts;
    else d->usage(parts.usage, &out->usage);
    usage_tier(parts.tier, &out->usage);
    if (parts.searches) out->usage.searches = parts.searches;
    if (parts.tool_calls) out->usage.tool_calls = parts.tool_calls;
  }
  if (parts.pending) out->fault = FAULT_NONE;
  else if (parts.error.type != JSON_NONE && !p.real) answer_error(o->dialect, parts.error, out);
  else if (parts.shaped) out->fault = p.real ? FAULT_NONE : d->silence(p.finish);
}

void answer_text(const struct operation_info *o, struct json document, bool thinking, struct buf *out) {
  struct arena scratch = { 0 };
  struct answer_parts parts = { 0 };
  struct pieces p = { .text = out, .scratch = &scratch, .thinking = thinking, .last_choice = -1 };
  if (document.type == JSON_OBJECT) dialect_impl(o->dialect)->answer(o, document, &parts, &p);
  else if (document.type == JSON_ARRAY && o->operation == OP_GENERATE_ARRAY) each_read(o, document, &parts, &p);
  arena_end(&scratch);
}
