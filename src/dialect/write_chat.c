/* write_chat.c: what weir itself says in the chat dialect and its older sibling. */
#include "told_impl.h"
#include "write_impl.h"

static void usage_zero(struct json_writer *w) {
  field_object(w, SPAN("usage"));
  field_int(w, SPAN("prompt_tokens"), 0);
  field_int(w, SPAN("completion_tokens"), 0);
  field_int(w, SPAN("total_tokens"), 0);
  json_end(w, '}');
}

static bool is_completions(const struct saying *s) { return s->operation->operation == OP_COMPLETIONS; }

static void head_write(struct json_writer *w, const struct saying *s, bool chunk) {
  bool completions = is_completions(s);
  struct span kind = chunk ? SPAN("chat.completion.chunk") : SPAN("chat.completion");
  const struct told *t = s->told;
  json_begin(w, '{');
  if (t && t->id.n) field_raw(w, SPAN("id"), t->id);
  else field_id(w, completions ? "cmpl-" : "chatcmpl-", s->id);
  field_str(w, SPAN("object"), completions ? SPAN("text_completion") : kind);
  if (t && t->created.n) field_raw(w, SPAN("created"), t->created);
  else field_int(w, SPAN("created"), s->created);
  if (t && t->model.n) field_raw(w, SPAN("model"), t->model);
  else field_str(w, SPAN("model"), s->model);
}

static void finish_write(struct json_writer *w, struct span finish) {
  field_null(w, SPAN("logprobs"));
  if (finish.n) field_str(w, SPAN("finish_reason"), finish);
  else field_null(w, SPAN("finish_reason"));
}

/* One chunk. role and text are left out when p is NULL. */
static void chunk_write(struct buf *out, const struct saying *s, int choice, struct span role, struct span text,
                        struct span finish, bool usage) {
  struct json_writer w = { .out = out };
  event_begin(out, SPAN(""));
  head_write(&w, s, true);
  field_array(&w, SPAN("choices"));
  json_begin(&w, '{');
  field_int(&w, SPAN("index"), choice);
  if (is_completions(s)) {
    field_str(&w, SPAN("text"), text);
  } else {
    field_object(&w, SPAN("delta"));
    if (role.p) field_str(&w, SPAN("role"), role);
    if (text.p) field_str(&w, SPAN("content"), text);
    json_end(&w, '}');
  }
  finish_write(&w, finish);
  json_end(&w, '}');
  json_end(&w, ']');
  if (usage) usage_zero(&w);
  json_end(&w, '}');
  event_end(out);
}

static const struct span none = { NULL, 0 };

void chat_stream(const struct saying *s, struct buf *out) {
  if (is_completions(s)) {
    chunk_write(out, s, 0, none, s->text, SPAN("stop"), true);
  } else {
    chunk_write(out, s, 0, SPAN("assistant"), SPAN(""), none, false);
    if (s->text.n) chunk_write(out, s, 0, none, s->text, none, false);
    chunk_write(out, s, 0, none, none, SPAN("stop"), true);
  }
  sse_write(out, none, SPAN("[DONE]"));
}

void chat_stop(const struct saying *s, const struct event_state *state, bool filter, struct buf *out) {
  struct span finish = filter ? SPAN("content_filter") : SPAN("length");
  bool any = state->finished;
  for (int choice = 0; choice < EVENT_OPEN_CHOICES; choice++) {
    if (!(state->choices[choice / 64] >> (choice % 64) & 1)) continue;
    chunk_write(out, s, choice, none, none, finish, false);
    any = true;
  }
  if (!any) chunk_write(out, s, 0, is_completions(s) ? none : SPAN("assistant"), none, finish, false);
  sse_write(out, none, SPAN("[DONE]"));
}

void chat_whole(const struct saying *s, struct buf *out) {
  struct json_writer w = { .out = out };
  head_write(&w, s, false);
  field_array(&w, SPAN("choices"));
  json_begin(&w, '{');
  field_int(&w, SPAN("index"), 0);
  if (is_completions(s)) {
    field_str(&w, SPAN("text"), s->text);
  } else {
    field_object(&w, SPAN("message"));
    field_str(&w, SPAN("role"), SPAN("assistant"));
    field_str(&w, SPAN("content"), s->text);
    field_null(&w, SPAN("refusal"));
    field_raw(&w, SPAN("annotations"), SPAN("[]"));
    json_end(&w, '}');
  }
  finish_write(&w, SPAN("stop"));
  json_end(&w, '}');
  json_end(&w, ']');
  usage_zero(&w);
  json_end(&w, '}');
}

/* A text is no vector: the list is empty. */
void embeddings_whole(const struct saying *s, struct buf *out) {
  struct json_writer w = { .out = out };
  json_begin(&w, '{');
  field_str(&w, SPAN("object"), SPAN("list"));
  field_raw(&w, SPAN("data"), SPAN("[]"));
  field_str(&w, SPAN("model"), s->model);
  field_raw(&w, SPAN("usage"), SPAN("{\"prompt_tokens\":0,\"total_tokens\":0}"));
  json_end(&w, '}');
}
