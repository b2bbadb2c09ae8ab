/* write_impl.h: what weir itself has to say, one file per dialect; write.c picks. */
#ifndef WEIR_DIALECT_WRITE_IMPL_H
#define WEIR_DIALECT_WRITE_IMPL_H

#include "dialect_impl.h"

struct saying {
  const struct operation_info *operation;
  struct span id, model, text;
  int64_t created;                    /* unix seconds */
  const struct told *told;            /* of the stream that is closed, or NULL */
};

/* "id": the prefix of that kind of object and the request's id. */
void field_id(struct json_writer *w, const char *prefix, struct span id);

void chat_whole(const struct saying *s, struct buf *out);
void chat_stream(const struct saying *s, struct buf *out);
void chat_stop(const struct saying *s, const struct event_state *state, bool filter, struct buf *out);
void embeddings_whole(const struct saying *s, struct buf *out);

void responses_whole(const struct saying *s, struct buf *out);
void responses_stream(const struct saying *s, struct buf *out);
void responses_stop(const struct saying *s, const struct event_state *state, bool filter, struct buf *out);

/* The response object without items: reason is that of an incomplete one, else empty. */
void responses_bare(struct json_writer *w, const struct saying *s, struct span status, struct span reason);

void messages_whole(const struct saying *s, struct buf *out);
void messages_stream(const struct saying *s, struct buf *out);
void gemini_whole(const struct saying *s, struct buf *out);
void gemini_stream(const struct saying *s, struct buf *out);
void gemini_stop(const struct saying *s, const struct event_state *state, bool filter, struct buf *out);

void messages_stop(const struct saying *s, const struct event_state *state, bool filter, struct buf *out);

#endif
