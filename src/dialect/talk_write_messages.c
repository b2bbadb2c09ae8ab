/* talk_write_messages.c: a messages request, made of the middle model. */
#include "gemini.h"
#include "talk.h"

enum { BUDGET_LEAST = 1024 };

static void cache_write(struct json_writer *w, struct json cache) {
  if (cache.type == JSON_OBJECT) field_raw(w, SPAN("cache_control"), cache.text);
}

static void text_write(struct json_writer *w, struct json text, struct json cache) {
  json_begin(w, '{');
  field_str(w, SPAN("type"), SPAN("text"));
  field_raw(w, SPAN("text"), text.text);
  cache_write(w, cache);
  json_end(w, '}');
}

static void image_write(struct talk *t, struct json_writer *w, const struct part *p) {
  static const struct span kinds[] = { SPAN("image/jpeg"), SPAN("image/png"), SPAN("image/gif"), SPAN("image/webp") };
  struct span mime = span_ieq(p->mime, SPAN("image/jpg")) ? kinds[0] : p->mime;
  bool known = p->url.type == JSON_STRING;
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    if (span_ieq(mime, kinds[i])) mime = kinds[i], known = true;
  if (!known) {
    talk_refuse(t, p->place, SPAN("image"), "an image must be image/jpeg, image/png, image/gif or image/webp");
    return;
  }
  json_begin(w, '{');
  field_str(w, SPAN("type"), SPAN("image"));
  field_object(w, SPAN("source"));
  if (p->url.type == JSON_STRING) {
    field_str(w, SPAN("type"), SPAN("url"));
    field_raw(w, SPAN("url"), p->url.text);
  } else {
    field_str(w, SPAN("type"), SPAN("base64"));
    field_str(w, SPAN("media_type"), mime);
    field_str(w, SPAN("data"), p->data);
  }
  json_end(w, '}');
  cache_write(w, p->cache);
  json_end(w, '}');
}

static void pdf_write(struct json_writer *w, const struct part *p) {
  json_begin(w, '{');
  field_str(w, SPAN("type"), SPAN("document"));
  field_object(w, SPAN("source"));
  field_str(w, SPAN("type"), SPAN("base64"));
  field_str(w, SPAN("media_type"), SPAN("application/pdf"));
  field_str(w, SPAN("data"), p->data);
  json_end(w, '}');
  if (string_full(p->text)) field_raw(w, SPAN("title"), p->text.text);
  cache_write(w, p->cache);
  json_end(w, '}');
}

static void call_write(struct talk *t, struct json_writer *w, const struct part *p) {
  json_begin(w, '{');
  field_str(w, SPAN("type"), SPAN("tool_use"));
  field_str(w, SPAN("id"), id_narrow(t->arena, p->id));
  field_raw(w, SPAN("name"), p->name.text);
  field_raw(w, SPAN("input"), p->arguments);
  cache_write(w, p->cache);
  json_end(w, '}');
}

static void thinking_write(struct talk *t, struct json_writer *w, const struct part *p) {
  enum signature_of of;
  struct span raw;
  if (p->kind == PART_THINKING && (p->signature.type != JSON_STRING || signature_marked(p->signature, &of, &raw))) {   /* nobody could verify it */
    talk_lose(t, p->place, SPAN("thinking"));
    return;
  }
  json_begin(w, '{');
  field_str(w, SPAN("type"), p->kind == PART_THINKING ? SPAN("thinking") : SPAN("redacted_thinking"));
  field_raw(w, p->kind == PART_THINKING ? SPAN("thinking") : SPAN("data"), p->text.text);
  if (p->kind == PART_THINKING) field_raw(w, SPAN("signature"), p->signature.text);
  json_end(w, '}');
}

bool part_says_nothing(const struct part *p) { return (p->kind == PART_TEXT || p->kind == PART_REFUSAL) && !string_full(p->text); }

static void part_write(struct talk *t, struct json_writer *w, const struct part *p);

static void content_write(struct talk *t, struct json_writer *w, const struct part *parts) {
  json_key(w, SPAN("content"));
  if (parts && !parts->next && parts->plain && !json_given(parts->cache)) { json_raw(w, parts->text.text); return; }
  json_begin(w, '[');
  for (const struct part *p = parts; p; p = p->next) part_write(t, w, p);
  json_end(w, ']');
}

static void result_write(struct talk *t, struct json_writer *w, const struct part *p) {
  json_begin(w, '{');
  field_str(w, SPAN("type"), SPAN("tool_result"));
  field_str(w, SPAN("tool_use_id"), id_narrow(t->arena, p->id));
  if (p->inner) content_write(t, w, p->inner);
  if (p->error) field_bool(w, SPAN("is_error"), true);
  cache_write(w, p->cache);
  json_end(w, '}');
}

static void part_write(struct talk *t, struct json_writer *w, const struct part *p) {
  if (part_says_nothing(p)) return;                           /* empty blocks are refused there */
  switch (p->kind) {
  case PART_REFUSAL: talk_lose(t, p->place, SPAN("refusal")); text_write(w, p->text, p->cache); break;
  case PART_TEXT: text_write(w, p->text, p->cache); break;
  case PART_IMAGE: image_write(t, w, p); break;
  case PART_PDF: pdf_write(w, p); break;
  case PART_AUDIO: talk_refuse(t, p->place, SPAN("input_audio"), "send a transcript as a text part"); break;
  case PART_THINKING: case PART_REDACTED: thinking_write(t, w, p); break;
  case PART_CALL: call_write(t, w, p); break;
  case PART_RESULT: result_write(t, w, p); break;
  case PART_FILE: break;                                 /* CAN_FILES */
  }
}

/* ---- turns: neighbours of one role are one; instructions in the middle are the user's, marked as what they are */
static void mark_system(struct talk *t, struct turn *turn) {
  talk_lose(t, turn->place, SPAN("system"));
  turn->role = ROLE_USER;
  for (struct part *p = turn->parts; p; p = p->next)
    if (p->kind == PART_TEXT) p->text = talk_joined(t, SPAN("<system>\n"), p->text, SPAN("\n</system>"));
}

static bool has_words(const struct turn *turn) {
  for (const struct part *p = turn->parts; p; p = p->next)
    if (!part_says_nothing(p)) return true;
  return false;
}

static void turns_merge(struct talk *t) {
  struct turn *last = NULL, **link = &t->turns;
  for (struct turn *turn = t->turns; turn; turn = turn->next) {
    if (turn->role == ROLE_SYSTEM) mark_system(t, turn);
    if (!has_words(turn)) continue;
    if (last && last->role == turn->role) {
      if (last->parts) last->parts->plain = false;       /* the others are not, since it had several */
      for (struct part *p = turn->parts; p; p = p->next) p->plain = false;
      *last->end = turn->parts;
      last->end = turn->end;
      continue;
    }
    *link = last = turn;
    link = &turn->next;
  }
  *link = NULL;
}

bool talk_alternates(struct talk *t) {
  struct place messages = { NULL, SPAN("messages"), 0 };
  turns_merge(t);
  if (t->turns && t->turns->role == ROLE_USER) return true;
  talk_refuse(t, t->turns ? t->turns->place : &messages, (struct span){ 0 }, "the first message that is no instruction must be the user's");
  return false;
}

static void turns_write(struct talk *t, struct json_writer *w) {
  if (!talk_alternates(t)) return;
  field_array(w, SPAN("messages"));
  for (const struct turn *turn = t->turns; turn; turn = turn->next) {
    json_begin(w, '{');
    field_str(w, SPAN("role"), turn->role == ROLE_USER ? SPAN("user") : SPAN("assistant"));
    content_write(t, w, turn->parts);
    json_end(w, '}');
    if (!turn->next && turn->role == ROLE_ASSISTANT) talk_lose(t, turn->place, SPAN("prefill"));   /* it will be continued, not answered */
  }
  json_end(w, ']');
}

static void ask_json(struct talk *t) {
  if (t->format != FORMAT_JSON) return;
  talk_lose(t, t->format_place, SPAN("response_format"));
  part_add(t, &t->system_end, PART_TEXT, t->format_place)->text =
    talk_quoted(t, SPAN("Answer with one JSON object and nothing else: no text before or behind it, no code fence."));
}

bool talk_instructs(struct talk *t) {
  bool any = false;
  ask_json(t);
  for (const struct part *p = t->system; p; p = p->next) {
    any |= !part_says_nothing(p);
    if (p->kind != PART_TEXT) talk_refuse(t, p->place, SPAN("system"), "instructions hold text alone");
  }
  return any;
}

static void system_write(struct talk *t, struct json_writer *w) {
  if (!talk_instructs(t)) return;
  json_key(w, SPAN("system"));
  if (!t->system->next && t->system->plain) { json_raw(w, t->system->text.text); return; }
  json_begin(w, '[');
  for (const struct part *p = t->system; p; p = p->next) part_write(t, w, p);
  json_end(w, ']');
}

/* ---- tools */
static void tools_write(struct talk *t, struct json_writer *w) {
  static const struct span words[] = { SPAN("auto"), SPAN("auto"), SPAN("none"), SPAN("any"), SPAN("tool") };
  if (!t->tools) return;
  field_array(w, SPAN("tools"));
  for (const struct tool *tool = t->tools; tool; tool = tool->next) {
    json_begin(w, '{');
    field_raw(w, SPAN("name"), tool->name.text);
    if (tool->description.type == JSON_STRING) field_raw(w, SPAN("description"), tool->description.text);
    field_raw(w, SPAN("input_schema"), tool->schema.type == JSON_OBJECT ? tool->schema.text : SPAN("{\"type\":\"object\",\"properties\":{}}"));
    if (tool->strict.type == JSON_TRUE) field_bool(w, SPAN("strict"), true);
    cache_write(w, tool->cache);
    json_end(w, '}');
  }
  json_end(w, ']');
  if (t->choice == CHOICE_UNTOLD && !t->one_call) return;
  field_object(w, SPAN("tool_choice"));
  field_str(w, SPAN("type"), words[t->choice]);
  if (t->choice == CHOICE_ONE) field_raw(w, SPAN("name"), t->choice_name.text);
  if (t->one_call && t->choice != CHOICE_NONE) field_bool(w, SPAN("disable_parallel_tool_use"), true);
  json_end(w, '}');
}

/* ---- numbers */
static int64_t limit_write(struct talk *t, struct json_writer *w) {
  int64_t n = t->how->max_output > 0 ? t->how->max_output : TRANSLATE_LIMIT;
  if (t->max_tokens.type == JSON_NUMBER) {
    field_raw(w, SPAN("max_tokens"), t->max_tokens.text);
    return json_i64(t->max_tokens, &n) ? n : 0;
  }
  field_int(w, SPAN("max_tokens"), n);
  t->how->limit = n;
  talk_lose(t, place_in(t, NULL, "max_tokens"), SPAN("max_tokens"));
  return n;
}

/* Gives whether the model will think. */
static bool thinking_option_write(struct talk *t, struct json_writer *w, int64_t limit) {
  if (!t->effort) return false;
  if (t->effort == EFFORT_NONE) {
    field_raw(w, SPAN("thinking"), SPAN("{\"type\":\"disabled\"}"));
    return false;
  }
  int64_t budget = effort_budget(t, t->effort) < limit ? effort_budget(t, t->effort) : limit - 1;
  talk_lose(t, t->effort_place, SPAN("reasoning_effort"));
  if (budget < BUDGET_LEAST) return false;               /* less is refused there, and it must leave room for the answer */
  field_object(w, SPAN("thinking"));
  field_str(w, SPAN("type"), SPAN("enabled"));
  field_int(w, SPAN("budget_tokens"), budget);
  json_end(w, '}');
  return true;
}

static void sampling_write(struct talk *t, struct json_writer *w, bool thinks) {
  static const struct place temperature = { NULL, SPAN("temperature"), 0 }, top_p = { NULL, SPAN("top_p"), 0 };
  double v;
  if (t->temperature.type == JSON_NUMBER) {
    bool read = json_f64(t->temperature, &v), above = !read || v > 1;
    if (above || (thinks && v != 1)) talk_lose(t, &temperature, SPAN("temperature"));
    if (!thinks) field_raw(w, SPAN("temperature"), above ? SPAN("1") : t->temperature.text);
  }
  if (t->top_p.type != JSON_NUMBER) return;
  if (!thinks || (json_f64(t->top_p, &v) && v >= 0.95)) field_raw(w, SPAN("top_p"), t->top_p.text);
  else talk_lose(t, &top_p, SPAN("top_p"));
}

static void stop_write_one(struct talk *t, struct json_writer *w, struct json stop, const struct place *place) {
  struct span text = talk_string(t, stop);
  size_t i = 0;
  while (i < text.n && memchr(" \t\r\n", text.p[i], 4)) i++;
  if (stop.type != JSON_STRING) talk_wrong(t, place, "must be a string or a list of strings");
  else if (i == text.n) talk_refuse(t, place, SPAN("stop"), "a stop of white space alone is not taken; use one with a visible character");
  else json_raw(w, stop.text);
}

static void stops_write(struct talk *t, struct json_writer *w) {
  static const struct place place = { NULL, SPAN("stop"), 0 };
  struct json key, item;
  if (!json_given(t->stops)) return;
  field_array(w, SPAN("stop_sequences"));
  struct json_iter i = json_iter(t->stops);
  if (t->stops.type != JSON_ARRAY) stop_write_one(t, w, t->stops, &place);
  else while (json_next(&i, &key, &item)) stop_write_one(t, w, item, &place);
  json_end(w, ']');
}

static void format_write(struct talk *t, struct json_writer *w) {
  if (t->format != FORMAT_SCHEMA) return;
  if (t->format_strict.type != JSON_TRUE) talk_lose(t, place_in(t, t->format_place, "json_schema"), SPAN("strict"));   /* it always is, there */
  field_object(w, SPAN("output_config"));
  field_object(w, SPAN("format"));
  field_str(w, SPAN("type"), SPAN("json_schema"));
  field_raw(w, SPAN("schema"), t->schema.text);
  json_end(w, '}');
  json_end(w, '}');
}

static void who_write(struct talk *t, struct json_writer *w) {
  if (string_full(t->user)) {
    field_object(w, SPAN("metadata"));
    field_raw(w, SPAN("user_id"), t->user.text);
    json_end(w, '}');
  }
  if (t->tier) field_str(w, SPAN("service_tier"), t->tier == TIER_FIELD_AUTO ? SPAN("auto") : SPAN("standard_only"));
}

void talk_write_messages(struct talk *t, struct buf *out) {
  struct json_writer w = { .out = out };
  json_begin(&w, '{');
  field_str(&w, SPAN("model"), t->how->model);
  int64_t limit = limit_write(t, &w);
  system_write(t, &w);
  turns_write(t, &w);
  tools_write(t, &w);
  format_write(t, &w);
  sampling_write(t, &w, thinking_option_write(t, &w, limit));
  struct json top_k = json_absent;
  for (const struct extra *e = t->extras; e; e = e->next)
    if (span_eq(e->word, SPAN("top_k")) && e->v.type == JSON_NUMBER) top_k = extra_take(t, "top_k");         /* gemini's */
  if (top_k.type == JSON_NUMBER) field_raw(&w, SPAN("top_k"), top_k.text);
  stops_write(t, &w);
  who_write(t, &w);
  if (t->stream) field_bool(&w, SPAN("stream"), true);
  json_end(&w, '}');
}
