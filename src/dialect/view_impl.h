/* view_impl.h: what view.c and view_write.c share: pieces of JSON text put together. */
#ifndef WEIR_VIEW_IMPL_H
#define WEIR_VIEW_IMPL_H

#include "dialect_impl.h"
#include "weir/view.h"

static inline bool is_word(struct json v, struct span word) { return v.type == JSON_STRING && json_string_is(v, word); }

/* Members of an object that is being written, with their commas. */
struct object_out { struct buf *to; bool any; };
static inline struct object_out object_begin(struct buf *to) {
  buf_byte(to, '{');
  return (struct object_out){ to, false };
}
static inline void object_key(struct object_out *o, struct span name) {
  if (o->any) buf_byte(o->to, ',');
  o->any = true;
  json_write_string(o->to, name);
  buf_byte(o->to, ':');
}
static inline void object_put(struct object_out *o, struct span name, struct span text) {
  object_key(o, name);
  buf_add(o->to, text);
}
static inline void object_end(struct object_out *o) { buf_byte(o->to, '}'); }
/* All members but those. */
void object_copy(struct object_out *o, struct json from, const struct span *but, size_t count);
#define OBJECT_COPY(o, from, ...) object_copy((o), (from), (const struct span[]){ __VA_ARGS__ }, sizeof((const struct span[]){ __VA_ARGS__ }) / sizeof(struct span))
static inline void item_comma(struct buf *to) {
  if (buf_size(to) && buf_span(to).p[buf_size(to) - 1] != '[') buf_byte(to, ',');
}
struct span text_keep(struct buf *text, struct arena *a);                /* a copy; the buf is freed */
bool has_type(struct json part, struct span word);
size_t list_length(struct json list);
/* A list of parts with the type of its texts said otherwise; anything else as it is. */
void parts_renamed(struct buf *to, struct json content, const struct span *from, size_t count, struct span into);

/* view_gemini.c */
void gemini_view(struct json system, struct json contents, struct arena *a, void (*add)(void *to, struct span text, int from), void *to);
void gemini_tools_view(struct json tools, struct arena *a, void (*add)(void *to, struct span text, int from), void *to);
void gemini_parts_add(struct buf *to, struct json content);              /* a content as parts, without their list */
void gemini_result_add(struct buf *to, struct json message);             /* of a tool: one part */
bool gemini_message_add(struct buf *to, struct json message, struct arena *a, const char **why);
struct span gemini_tools_write(struct json was, const struct view_new *now, size_t n, struct arena *a);

#endif
