/* fuzz_view.c: messages and tools of any body in the shape that policies see, and back. Byte 0 chooses operation and what is done.
   What comes out is JSON; handed back untouched the list is the client's, item by item and byte for byte. */
#include "weir/log.h"
#include "weir/measure.h"
#include "weir/view.h"

enum { MEMBERS = 64, MOST = 256 };

/* The list with nothing between its items but commas. */
static void plain_list(struct json list, struct buf *out) {
  struct json_iter i = json_iter(list);
  bool first = true;
  buf_byte(out, '[');
  for (struct json key, item; json_next(&i, &key, &item); first = false) {
    if (!first) buf_byte(out, ',');
    buf_add(out, item.text);
  }
  buf_byte(out, ']');
}

static size_t news_of(const struct view *v, unsigned how, struct view_new *now) {
  size_t n = 0;
  for (size_t i = 0; i < v->count && n < MOST; i++) {
    require(json_read(v->items[i].text, &now[n].value, NULL));
    if (how & 1 && i % 3 == 1) continue;                 /* left out */
    now[n++].same = how & 2 && i % 2 ? -1 : (int)i;      /* or made anew as it is */
  }
  return n;
}

static void messages(const struct operation_info *o, const struct json_member *members, size_t count, unsigned how) {
  struct arena a = { 0 };
  struct view v;
  struct view_new now[MOST];
  struct view_written w;
  struct json list;
  const char *why = NULL;
  if (view_messages(o, members, count, &a, &v) && v.count <= MOST) {
    size_t n = news_of(&v, how, now);
    bool good = view_messages_write(o, members, count, &v, now, n, &a, &w, &why);
    require(good == !why);
    struct json was = json_member_of(members, count, span_cstr(request_member(o, members, count, SPAN("messages"))));
    if (good) require(json_read(w.list, &list, NULL));
    if (good && w.instructions.p) require(json_read(w.instructions, &list, NULL));
    if (good && !(how & 3) && was.type == JSON_ARRAY) {
      struct buf plain = { 0 };
      plain_list(was, &plain);
      require(span_eq(w.list, buf_span(&plain)));
      require(!w.instructions_set || json_member_of(members, count, SPAN("system")).type > JSON_NULL || json_member_of(members, count, SPAN("instructions")).type > JSON_NULL);
      buf_free(&plain);
    }
  }
  arena_end(&a);
}

static void tools(const struct operation_info *o, struct json list, unsigned how) {
  struct arena a = { 0 };
  struct view v;
  struct view_new now[MOST];
  struct json out;
  if (view_tools(o, list, &a, &v) && v.count <= MOST) {
    size_t n = news_of(&v, how, now);
    require(json_read(view_tools_write(o, list, now, n, &a), &out, NULL));
  }
  arena_end(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct json_member members[MEMBERS];
  struct request_measure m;
  uint64_t keys;
  size_t count;
  if (!size) return 0;
  const struct operation_info *o = operation_info((enum operation)(data[0] % OP_COUNT));
  if (!json_read_object_keys(span_of((const char *)data + 1, size - 1), members, MEMBERS, &count, NULL, &keys)) return 0;
  unsigned how = data[0] / OP_COUNT % 4;
  messages(o, members, count, how);
  tools(o, json_member_of(members, count, SPAN("tools")), how);
  request_measure(members, count, &m);
  for (int i = 0; i < PART_COUNT; i++) require(m.of[i] >= 0 && m.of[i] < 1e15);
  require((request_needs(o, members, count, keys) & ~request_needs(o, members, count, ~0ull)) == 0);
  return 0;
}
