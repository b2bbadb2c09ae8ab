/* talk_write_chat.c: a chat completions request, made of the middle model. */
#include "talk.h"
#include "weir/sha256.h"

enum { STOPS_MOST = 4, USER_MOST = 64 };

/* ---- parts of a user's message */
static void text_part(struct json_writer *w, struct json text) {
  json_begin(w, '{');
  field_str(w, SPAN("type"), SPAN("text"));
  field_raw(w, SPAN("text"), text.text);
  json_end(w, '}');
}

static void image_part(struct json_writer *w, const struct part *p) {
  json_begin(w, '{');
  field_str(w, SPAN("type"), SPAN("image_url"));
  field_object(w, SPAN("image_url"));
  if (p->url.type == JSON_STRING) field_raw(w, SPAN("url"), p->url.text);
  else field_data_url(w, SPAN("url"), p->mime, p->data);
  json_end(w, '}');
  json_end(w, '}');
}

static void pdf_part(struct json_writer *w, const struct part *p) {
  json_begin(w, '{');
  field_str(w, SPAN("type"), SPAN("file"));
  field_object(w, SPAN("file"));
  field_data_url(w, SPAN("file_data"), SPAN("application/pdf"), p->data);
  if (string_full(p->text)) field_raw(w, SPAN("filename"), p->text.text);
  else field_str(w, SPAN("filename"), SPAN("document.pdf"));
  json_end(w, '}');
  json_end(w, '}');
}

static void audio_part(struct talk *t, struct json_writer *w, const struct part *p) {
  static const struct { struct span mime, format; } kinds[] = {
    { SPAN("audio/wav"), SPAN("wav") }, { SPAN("audio/x-wav"), SPAN("wav") }, { SPAN("audio/mp3"), SPAN("mp3") }, { SPAN("audio/mpeg"), SPAN("mp3") },
  };
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    if (!span_ieq(p->mime, kinds[i].mime)) continue;
    json_begin(w, '{');
    field_str(w, SPAN("type"), SPAN("input_audio"));
    field_object(w, SPAN("input_audio"));
    field_str(w, SPAN("data"), p->data);
    field_str(w, SPAN("format"), kinds[i].format);
    json_end(w, '}');
    json_end(w, '}');
    return;
  }
  talk_refuse(t, p->place, SPAN("input_audio"), "audio must be wav or mp3");
}

static bool is_user_part(const struct part *p) { return p->kind == PART_TEXT || p->kind == PART_IMAGE || p->kind == PART_PDF || p->kind == PART_AUDIO; }

static void user_part(struct talk *t, struct json_writer *w, const struct part *p) {
  part_lose_cache(t, p);
  if (p->kind == PART_TEXT) text_part(w, p->text);
  else if (p->kind == PART_IMAGE) image_part(w, p);
  else if (p->kind == PART_PDF) pdf_part(w, p);
  else if (p->kind == PART_AUDIO) audio_part(t, w, p);
}

/* ---- results: text alone; what else a tool gave follows as the user's */
static void result_text(struct talk *t, const struct part *result, struct json_writer *w) {
  const struct part *only = result->inner;
  struct span before = result->error ? SPAN("error: ") : SPAN("");
  if (result->error) talk_lose(t, result->place, SPAN("is_error"));
  if (!only) { json_str(w, before); return; }
  if (only->plain && !only->next) { json_raw(w, talk_joined(t, before, only->text, SPAN("")).text); return; }
  json_begin(w, '[');
  if (before.n) text_part(w, talk_quoted(t, before));
  for (const struct part *p = only; p; p = p->next) {
    part_lose_cache(t, p);
    if (p->kind == PART_TEXT) { text_part(w, p->text); continue; }
    talk_lose(t, p->place, SPAN("image"));
    text_part(w, talk_quoted(t, p->kind == PART_IMAGE ? SPAN("(an image: it follows in the next message)") : SPAN("(a document: it follows in the next message)")));
  }
  json_end(w, ']');
}

static void results_write(struct talk *t, struct json_writer *w, const struct turn *turn) {
  for (const struct part *p = turn->parts; p; p = p->next) {
    if (p->kind != PART_RESULT) continue;
    part_lose_cache(t, p);
    json_begin(w, '{');
    field_str(w, SPAN("role"), SPAN("tool"));
    field_str(w, SPAN("tool_call_id"), p->id);
    json_key(w, SPAN("content"));
    result_text(t, p, w);
    json_end(w, '}');
  }
}

static bool result_has_media(const struct part *p) {
  for (const struct part *in = p->inner; p->kind == PART_RESULT && in; in = in->next)
    if (in->kind != PART_TEXT) return true;
  return false;
}

static void user_write(struct talk *t, struct json_writer *w, const struct turn *turn) {
  bool any = !turn->parts;
  const struct part *first = turn->parts;
  results_write(t, w, turn);
  for (const struct part *p = first; p; p = p->next) any |= is_user_part(p) || result_has_media(p);
  if (!any) return;
  json_begin(w, '{');
  field_str(w, SPAN("role"), SPAN("user"));
  json_key(w, SPAN("content"));
  if (!first) json_str(w, SPAN(""));
  else if (first->plain && !first->next) part_lose_cache(t, first), json_raw(w, first->text.text);
  else {
    json_begin(w, '[');
    for (const struct part *p = first; p; p = p->next)
      for (const struct part *in = p->inner; p->kind == PART_RESULT && in; in = in->next)
        if (in->kind != PART_TEXT) user_part(t, w, in);
    for (const struct part *p = first; p; p = p->next)
      if (is_user_part(p)) user_part(t, w, p);
    json_end(w, ']');
  }
  json_end(w, '}');
}

/* ---- the assistant's */
static void call_write(struct json_writer *w, const struct part *p) {
  json_begin(w, '{');
  field_str(w, SPAN("id"), p->id);
  field_str(w, SPAN("type"), SPAN("function"));
  field_object(w, SPAN("function"));
  field_raw(w, SPAN("name"), p->name.text);
  field_str(w, SPAN("arguments"), p->arguments);
  json_end(w, '}');
  json_end(w, '}');
}

static void assistant_text(struct json_writer *w, const struct turn *turn, size_t texts) {
  json_key(w, SPAN("content"));
  if (!texts) { json_null(w); return; }
  if (texts > 1) json_begin(w, '[');
  for (const struct part *p = turn->parts; p; p = p->next) {
    if (p->kind != PART_TEXT) continue;
    if (texts > 1) text_part(w, p->text);
    else json_raw(w, p->text.text);
  }
  if (texts > 1) json_end(w, ']');
}

static void assistant_write(struct talk *t, struct json_writer *w, const struct turn *turn) {
  size_t texts = 0, calls = 0;
  for (const struct part *p = turn->parts; p; p = p->next) {
    part_lose_cache(t, p);
    texts += p->kind == PART_TEXT;
    calls += p->kind == PART_CALL;
    if (p->kind == PART_THINKING || p->kind == PART_REDACTED) talk_lose(t, p->place, SPAN("thinking"));   /* another model could make nothing of it */
    if (p->kind == PART_IMAGE || p->kind == PART_PDF) talk_refuse(t, p->place, SPAN("image"), "images and documents are the user's alone");
  }
  if (!texts && !calls) return;
  json_begin(w, '{');
  field_str(w, SPAN("role"), SPAN("assistant"));
  assistant_text(w, turn, texts);
  if (calls) field_array(w, SPAN("tool_calls"));
  for (const struct part *p = turn->parts; p; p = p->next)
    if (p->kind == PART_CALL) call_write(w, p);
  if (calls) json_end(w, ']');
  json_end(w, '}');
}

/* ---- instructions */
static void system_message(struct talk *t, struct json_writer *w, const struct part *parts) {
  if (!parts) return;
  json_begin(w, '{');
  field_str(w, SPAN("role"), SPAN("system"));
  json_key(w, SPAN("content"));
  bool one = parts->plain && !parts->next;
  if (one) json_raw(w, parts->text.text);
  else json_begin(w, '[');
  for (const struct part *p = parts; p; p = p->next) {
    part_lose_cache(t, p);
    if (p->kind != PART_TEXT) talk_refuse(t, p->place, SPAN("system"), "instructions hold text alone");
    else if (!one) text_part(w, p->text);
  }
  if (!one) json_end(w, ']');
  json_end(w, '}');
}

static void turns_write(struct talk *t, struct json_writer *w) {
  field_array(w, SPAN("messages"));
  system_message(t, w, t->system);
  for (const struct turn *turn = t->turns; turn; turn = turn->next) {
    if (turn->role == ROLE_SYSTEM) system_message(t, w, turn->parts);
    else if (turn->role == ROLE_USER) user_write(t, w, turn);
    else if (turn->next) assistant_write(t, w, turn);
    else talk_refuse(t, turn->place, SPAN("prefill"), "the last message must be the user's: an answer cannot be begun for the model");
  }
  json_end(w, ']');
}

/* ---- tools */
static void tools_write(struct talk *t, struct json_writer *w) {
  static const struct span words[] = { [CHOICE_AUTO] = SPAN("auto"), [CHOICE_NONE] = SPAN("none"), [CHOICE_ANY] = SPAN("required") };
  if (!t->tools) return;
  field_array(w, SPAN("tools"));
  for (const struct tool *tool = t->tools; tool; tool = tool->next) {
    json_begin(w, '{');
    field_str(w, SPAN("type"), SPAN("function"));
    field_object(w, SPAN("function"));
    field_raw(w, SPAN("name"), tool->name.text);
    if (tool->description.type == JSON_STRING) field_raw(w, SPAN("description"), tool->description.text);
    if (tool->schema.type == JSON_OBJECT) field_raw(w, SPAN("parameters"), tool->schema.text);
    if (tool->strict.type == JSON_TRUE) field_bool(w, SPAN("strict"), true);
    json_end(w, '}');
    json_end(w, '}');
    if (json_given(tool->cache)) talk_lose(t, place_in(t, NULL, "tools"), SPAN("cache_control"));
  }
  json_end(w, ']');
  if (t->choice == CHOICE_ONE) {
    field_object(w, SPAN("tool_choice"));
    field_str(w, SPAN("type"), SPAN("function"));
    field_object(w, SPAN("function"));
    field_raw(w, SPAN("name"), t->choice_name.text);
    json_end(w, '}');
    json_end(w, '}');
  } else if (t->choice) {
    field_str(w, SPAN("tool_choice"), words[t->choice]);
  }
  if (t->one_call) field_bool(w, SPAN("parallel_tool_calls"), false);
}

/* ---- the rest */
static void format_write(struct talk *t, struct json_writer *w) {
  if (t->format == FORMAT_JSON) field_raw(w, SPAN("response_format"), SPAN("{\"type\":\"json_object\"}"));
  if (t->format != FORMAT_SCHEMA) return;
  field_object(w, SPAN("response_format"));
  field_str(w, SPAN("type"), SPAN("json_schema"));
  field_object(w, SPAN("json_schema"));
  if (string_full(t->format_name)) field_raw(w, SPAN("name"), t->format_name.text);
  else field_str(w, SPAN("name"), SPAN("answer"));
  field_raw(w, SPAN("schema"), t->schema.text);
  if (t->format_strict.type == JSON_TRUE) field_bool(w, SPAN("strict"), true);
  json_end(w, '}');
  json_end(w, '}');
}

static void stops_write(struct talk *t, struct json_writer *w) {
  struct json_iter i = json_iter(t->stops);
  struct json key, item;
  size_t n = 0;
  if (t->stops.type != JSON_ARRAY) return;
  while (json_next(&i, &key, &item)) {
    if (item.type != JSON_STRING) { talk_wrong(t, place_in(t, NULL, "stop_sequences"), "must be a list of strings"); return; }
    n++;
  }
  if (!n) return;
  if (n > STOPS_MOST) { talk_refuse(t, place_in(t, NULL, "stop_sequences"), SPAN("stop"), "at most 4 are taken"); return; }
  field_raw(w, SPAN("stop"), t->stops.text);
}

/* Longer ones are refused there; the hash tells the same people apart. */
static void user_write_id(struct talk *t, struct json_writer *w) {
  struct span id = talk_string(t, t->user);
  if (!id.n) return;
  if (id.n <= USER_MOST) { field_raw(w, SPAN("user"), t->user.text); return; }
  char hex[SHA256_HEX];
  sha256_hex_of(id, hex);
  talk_lose(t, t->user_place, SPAN("user_id"));
  field_str(w, SPAN("user"), span_cstr(hex));
}

static void effort_write(struct talk *t, struct json_writer *w) {
  static const char *const words[] = { NULL, "none", "minimal", "low", "medium", "high", "xhigh", "max" };
  if (!t->effort) return;
  field_str(w, SPAN("reasoning_effort"), span_cstr(words[t->effort]));
  if (t->effort != EFFORT_NONE) talk_lose(t, t->effort_place, SPAN("reasoning_effort"));
}

/* What messages has no word for and gemini has. */
static void number_write(struct talk *t, struct json_writer *w, const char *word) {
  struct json v = extra_take(t, word);
  if (v.type == JSON_NUMBER) field_raw(w, span_cstr(word), v.text);
}

/* What is told there of tokens beyond their texts (tokenId) chat has no word for. */
static void answers_write(struct talk *t, struct json_writer *w) {
  struct json n = extra_take(t, "n"), probable = extra_take(t, "logprobs"), top = extra_take(t, "top_logprobs");
  if (json_given(n) && json_count(n) < 1) talk_wrong(t, place_in(t, NULL, "candidateCount"), "must be a whole number above zero");
  else if (json_given(n)) field_raw(w, SPAN("n"), n.text);
  if (json_given(probable) && probable.type != JSON_TRUE) talk_wrong(t, place_in(t, NULL, "responseLogprobs"), "must be true or false");
  if (json_given(top) && top.type != JSON_NUMBER) talk_wrong(t, place_in(t, NULL, "logprobs"), "must be a number");
  if (probable.type == JSON_TRUE) field_bool(w, SPAN("logprobs"), true);
  if (top.type == JSON_NUMBER) field_raw(w, SPAN("top_logprobs"), top.text);
  if (probable.type == JSON_TRUE || top.type == JSON_NUMBER) talk_lose(t, place_in(t, NULL, "responseLogprobs"), SPAN("logprobs"));
}

void talk_write_chat(struct talk *t, struct buf *out) {
  struct json_writer w = { .out = out };
  json_begin(&w, '{');
  field_str(&w, SPAN("model"), t->how->model);
  turns_write(t, &w);
  tools_write(t, &w);
  if (t->max_tokens.type == JSON_NUMBER) field_raw(&w, t->how->old_limit_name ? SPAN("max_tokens") : SPAN("max_completion_tokens"), t->max_tokens.text);
  if (t->temperature.type == JSON_NUMBER) field_raw(&w, SPAN("temperature"), t->temperature.text);
  if (t->top_p.type == JSON_NUMBER) field_raw(&w, SPAN("top_p"), t->top_p.text);
  number_write(t, &w, "seed");
  number_write(t, &w, "presence_penalty");
  number_write(t, &w, "frequency_penalty");
  answers_write(t, &w);
  stops_write(t, &w);
  format_write(t, &w);
  effort_write(t, &w);
  user_write_id(t, &w);
  struct json tier = extra_take(t, "service_tier");
  if (tier.type == JSON_STRING) field_raw(&w, SPAN("service_tier"), tier.text), talk_lose(t, place_in(t, NULL, "serviceTier"), SPAN("service_tier"));
  if (t->tier) field_str(&w, SPAN("service_tier"), t->tier == TIER_FIELD_AUTO ? SPAN("auto") : SPAN("default"));
  if (t->stream) field_bool(&w, SPAN("stream"), true);
  if (t->stream && t->how->ask_usage) field_raw(&w, SPAN("stream_options"), SPAN("{\"include_usage\":true}"));
  json_end(&w, '}');
}
