/* talk_write_gemini.c: a generateContent request, made of the middle model. Model and stream stand in its path. */
#include "gemini.h"
#include "talk.h"

enum { STOPS_MOST = 5, BUDGET_MOST = 24576, BUDGET_MOST_PRO = 32768, BUDGET_LEAST_PRO = 128 };

/* How a model is told how much to think: those before 2.5 are not, 2.5 takes a budget of tokens, newer ones a level. */
enum thinks { THINKS_NOT, THINKS_BUDGET, THINKS_LEVEL };
static enum thinks thinks_of(struct span model) {
  static const struct span none[] = { SPAN("gemini-1."), SPAN("gemini-2.0"), SPAN("gemma") };
  for (size_t i = 0; i < sizeof none / sizeof *none; i++)
    if (span_search(model, none[i]) < model.n) return THINKS_NOT;
  return span_search(model, SPAN("gemini-2.5")) < model.n ? THINKS_BUDGET : THINKS_LEVEL;
}

static bool is_pro(struct span model) { return span_search(model, SPAN("-pro")) < model.n; }

/* ---- parts */
/* raw: content of a JSON string */
static void signature_write(struct json_writer *w, struct span raw) {
  if (raw.n) field_quoted(w, SPAN("thoughtSignature"), raw);
}

static void text_write(struct json_writer *w, struct json text, struct span signature) {
  json_begin(w, '{');
  field_raw(w, SPAN("text"), text.text);
  signature_write(w, signature);
  json_end(w, '}');
}

static void data_write(struct json_writer *w, struct span mime, struct span data) {
  json_begin(w, '{');
  field_object(w, SPAN("inlineData"));
  field_str(w, SPAN("mimeType"), mime);
  field_str(w, SPAN("data"), data);
  json_end(w, '}');
  json_end(w, '}');
}

/* Google fetches what lies with Google; nothing else. */
static void address_write(struct talk *t, struct json_writer *w, const struct part *p) {
  static const struct span own[] = { SPAN("https://generativelanguage.googleapis.com/"), SPAN("gs://"), SPAN("https://www.youtube.com/"), SPAN("https://youtu.be/") };
  struct span url = talk_string(t, p->url);
  for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
    if (!span_istarts(url, own[i])) continue;
    json_begin(w, '{');
    field_object(w, SPAN("fileData"));
    field_raw(w, SPAN("fileUri"), p->url.text);
    json_end(w, '}');
    json_end(w, '}');
    return;
  }
  talk_refuse(t, p->place, SPAN("image"), "Gemini fetches no image from an address: send its bytes as data:image/…;base64,…");
}

static void media_write(struct talk *t, struct json_writer *w, const struct part *p) {
  bool jpg = span_ieq(p->mime, SPAN("image/jpg"));
  if (p->kind == PART_PDF && p->titled) talk_lose(t, p->place, SPAN("title"));
  else if (p->kind == PART_PDF && string_full(p->text)) talk_lose(t, p->place, SPAN("filename"));   /* displayName is Vertex AI's alone */
  if (p->url.type == JSON_STRING) address_write(t, w, p);
  else data_write(w, p->kind == PART_PDF ? SPAN("application/pdf") : jpg ? SPAN("image/jpeg") : p->mime, p->data);
}

static bool is_media(const struct part *p) { return p->kind == PART_IMAGE || p->kind == PART_PDF || p->kind == PART_AUDIO; }

static bool is_text(const struct part *p) { return (p->kind == PART_TEXT || p->kind == PART_REFUSAL) && string_full(p->text); }

/* ---- calls and their results */
/* What a model signed must come back, and calls of another model no one signed: then Google's documented stand-in takes the place. */
static const struct span stand_in = SPAN("c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I=");

static void call_write(struct json_writer *w, const struct part *p, struct span signature) {
  json_begin(w, '{');
  field_object(w, SPAN("functionCall"));
  if (p->id.n) field_str(w, SPAN("id"), p->id);
  field_raw(w, SPAN("name"), p->name.text);
  field_raw(w, SPAN("args"), p->arguments);
  json_end(w, '}');
  signature_write(w, signature);
  json_end(w, '}');
}

/* The nearest call before the turn. */
static struct json name_of_call(struct talk *t, const struct turn *until, struct span id) {
  struct json name = json_absent;
  for (const struct turn *turn = t->turns; turn && turn != until; turn = turn->next)
    for (const struct part *p = turn->parts; p; p = p->next)
      if (!talk_step(t)) return json_absent;
      else if (p->kind == PART_CALL && span_eq(p->id, id)) name = p->name;
  return name;
}

/* One text, whatever it looks like: "3" stays the text "3". */
static void result_text(struct json_writer *w, const struct part *result) {
  struct buf text = { 0 };
  buf_byte(&text, '"');
  for (const struct part *p = result->inner; p; p = p->next) {
    if (!is_text(p)) continue;
    if (buf_size(&text) > 1) buf_add(&text, SPAN("\\n"));
    buf_add(&text, string_raw(p->text));
  }
  buf_byte(&text, '"');
  field_object(w, SPAN("response"));
  field_raw(w, result->error ? SPAN("error") : SPAN("output"), buf_span(&text));
  json_end(w, '}');
  buf_free(&text);
}

static void result_write(struct talk *t, struct json_writer *w, const struct turn *turn, const struct part *p, bool holds_media) {
  struct json name = name_of_call(t, turn, p->id);
  bool any = false;
  if (name.type != JSON_STRING) { talk_wrong(t, p->place, "answers a call that stands nowhere before it"); return; }
  part_lose_cache(t, p);
  json_begin(w, '{');
  field_object(w, SPAN("functionResponse"));
  if (p->id.n) field_str(w, SPAN("id"), p->id);
  field_raw(w, SPAN("name"), name.text);
  result_text(w, p);
  for (const struct part *in = p->inner; in; in = in->next) {
    part_lose_cache(t, in);
    if (!is_media(in) || !holds_media) continue;
    if (!any) field_array(w, SPAN("parts"));
    any = true;
    media_write(t, w, in);
  }
  if (any) json_end(w, ']');
  json_end(w, '}');
  json_end(w, '}');
}

/* Results stand first; what older models take in none follows behind them. */
static void results_write(struct talk *t, struct json_writer *w, const struct turn *turn) {
  bool holds_media = thinks_of(t->how->model) == THINKS_LEVEL;
  for (const struct part *p = turn->parts; p; p = p->next)
    if (p->kind == PART_RESULT) result_write(t, w, turn, p, holds_media);
  for (const struct part *p = turn->parts; p && !holds_media; p = p->next)
    for (const struct part *in = p->inner; p->kind == PART_RESULT && in; in = in->next)
      if (is_media(in)) talk_lose(t, in->place, SPAN("image")), media_write(t, w, in);
}

/* ---- turns: neighbours of one role are one; instructions in the middle are the user's, marked as what they are */
static void mark_system(struct talk *t, struct turn *turn) {
  talk_lose(t, turn->place, SPAN("system"));
  turn->role = ROLE_USER;
  for (struct part *p = turn->parts; p; p = p->next)
    if (p->kind == PART_TEXT) p->text = talk_joined(t, SPAN("<system>\n"), p->text, SPAN("\n</system>"));
}

static bool has_parts(const struct turn *turn) {
  for (const struct part *p = turn->parts; p; p = p->next)
    if (is_text(p) || is_media(p) || p->kind == PART_CALL || p->kind == PART_RESULT) return true;
  return false;
}

static void turns_merge(struct talk *t) {
  struct turn *last = NULL, **link = &t->turns;
  for (struct turn *turn = t->turns; turn; turn = turn->next) {
    if (turn->role == ROLE_SYSTEM) mark_system(t, turn);
    if (!has_parts(turn)) continue;
    if (last && last->role == turn->role) {
      *last->end = turn->parts;
      last->end = turn->end;
      continue;
    }
    *link = last = turn;
    link = &turn->next;
  }
  *link = NULL;
}

static void user_write(struct talk *t, struct json_writer *w, const struct turn *turn) {
  results_write(t, w, turn);
  for (const struct part *p = turn->parts; p; p = p->next) {
    if (p->kind == PART_RESULT) continue;
    part_lose_cache(t, p);
    if (is_text(p)) text_write(w, p->text, (struct span){ NULL, 0 });
    else if (is_media(p)) media_write(t, w, p);
  }
}

/* Signatures of calls in their order, before the calls they belong to or at the start of the turn. */
struct signed_turn {
  const struct part *text;            /* the last one, which a signature of text belongs to */
  struct span of_text;
  const struct part *next_call;       /* the thinking part with the next signature of a call */
  bool called;
};

static const struct part *next_signed(const struct part *p) {
  enum signature_of of;
  struct span raw;
  for (; p; p = p->next)
    if (p->kind == PART_THINKING && signature_marked(p->signature, &of, &raw) && of == SIGNED_CALL) return p;
  return NULL;
}

static struct span call_signature(struct talk *t, struct signed_turn *s, const struct part *call) {
  enum signature_of of;
  struct span raw = { NULL, 0 };
  bool before = false, first = !s->called;
  s->called = true;
  for (const struct part *p = s->next_call; p && !before && talk_step(t); p = p->next) before = p == call;
  if (s->next_call && before) {
    signature_marked(s->next_call->signature, &of, &raw);
    s->next_call = next_signed(s->next_call->next);
    return raw;
  }
  return first && thinks_of(t->how->model) == THINKS_LEVEL ? stand_in : raw;
}

/* Thoughts that were not Gemini's own mean nothing to it. */
static void thought_write(struct talk *t, struct json_writer *w, const struct part *p) {
  enum signature_of of;
  struct span raw;
  if (p->kind == PART_REDACTED || !signature_marked(p->signature, &of, &raw)) { talk_lose(t, p->place, SPAN("thinking")); return; }
  if (!string_full(p->text)) return;                     /* the signature stands on a text or a call */
  json_begin(w, '{');
  field_raw(w, SPAN("text"), p->text.text);
  field_bool(w, SPAN("thought"), true);
  if (of == SIGNED_THOUGHT) signature_write(w, raw);
  json_end(w, '}');
}

static struct signed_turn signed_of(const struct turn *turn) {
  struct signed_turn s = { .next_call = next_signed(turn->parts) };
  enum signature_of of;
  struct span raw;
  for (const struct part *p = turn->parts; p; p = p->next) {
    if (is_text(p)) s.text = p;
    if (p->kind == PART_THINKING && signature_marked(p->signature, &of, &raw) && of == SIGNED_TEXT) s.of_text = raw;
  }
  return s;
}

static void model_write(struct talk *t, struct json_writer *w, const struct turn *turn) {
  struct signed_turn s = signed_of(turn);
  for (const struct part *p = turn->parts; p; p = p->next) {
    part_lose_cache(t, p);
    if (p->kind == PART_REFUSAL) talk_lose(t, p->place, SPAN("refusal"));
    if (is_text(p)) text_write(w, p->text, p == s.text ? s.of_text : (struct span){ NULL, 0 });
    else if (p->kind == PART_CALL) call_write(w, p, call_signature(t, &s, p));
    else if (p->kind == PART_THINKING || p->kind == PART_REDACTED) thought_write(t, w, p);
    else if (is_media(p)) media_write(t, w, p);
  }
  if (!s.text && s.of_text.n) text_write(w, (struct json){ JSON_STRING, SPAN("\"\"") }, s.of_text);
  if (!turn->next) talk_lose(t, turn->place, SPAN("prefill"));           /* it will be continued, not answered */
}

static void turns_write(struct talk *t, struct json_writer *w) {
  struct place messages = { NULL, SPAN("messages"), 0 };
  turns_merge(t);
  if (!t->turns) { talk_refuse(t, &messages, (struct span){ 0 }, "there must be a message that is no instruction"); return; }
  field_array(w, SPAN("contents"));
  for (const struct turn *turn = t->turns; turn; turn = turn->next) {
    json_begin(w, '{');
    field_str(w, SPAN("role"), turn->role == ROLE_USER ? SPAN("user") : SPAN("model"));
    field_array(w, SPAN("parts"));
    if (turn->role == ROLE_USER) user_write(t, w, turn);
    else model_write(t, w, turn);
    json_end(w, ']');
    json_end(w, '}');
  }
  json_end(w, ']');
}

static void system_write(struct talk *t, struct json_writer *w) {
  bool any = false;
  for (const struct part *p = t->system; p; p = p->next) {
    part_lose_cache(t, p);
    if (p->kind != PART_TEXT) talk_refuse(t, p->place, SPAN("system"), "instructions hold text alone");
    else any |= string_full(p->text);
  }
  if (!any) return;
  field_object(w, SPAN("systemInstruction"));
  field_array(w, SPAN("parts"));
  for (const struct part *p = t->system; p; p = p->next)
    if (is_text(p)) text_write(w, p->text, (struct span){ NULL, 0 });
  json_end(w, ']');
  json_end(w, '}');
}

/* ---- tools */
static void allowed_write(const struct talk *t, struct json_writer *w) {
  field_array(w, SPAN("allowedFunctionNames"));
  if (t->choice == CHOICE_ONE) json_raw(w, t->choice_name.text);
  for (const struct tool *tool = t->tools; tool && t->choice != CHOICE_ONE; tool = tool->next)
    if (!tool->aside) json_raw(w, tool->name.text);
  json_end(w, ']');
}

static void choice_write(struct talk *t, struct json_writer *w) {
  bool strict = false, all_strict = true;
  for (const struct tool *tool = t->tools; tool; tool = tool->next) {
    strict |= tool->strict.type == JSON_TRUE;
    all_strict &= tool->strict.type == JSON_TRUE;
  }
  bool free = t->choice == CHOICE_UNTOLD || t->choice == CHOICE_AUTO;
  if (strict) talk_lose(t, place_in(t, NULL, "tools"), SPAN("strict"));   /* it is said of the whole request, where it is said at all */
  if (t->choice == CHOICE_UNTOLD && !strict && !t->narrowed) return;
  field_object(w, SPAN("toolConfig"));
  field_object(w, SPAN("functionCallingConfig"));
  field_str(w, SPAN("mode"), t->choice == CHOICE_NONE ? SPAN("NONE") : !free ? SPAN("ANY") : (strict && all_strict) || t->narrowed ? SPAN("VALIDATED") : SPAN("AUTO"));
  if (t->choice == CHOICE_ONE || t->narrowed) allowed_write(t, w);
  json_end(w, '}');
  json_end(w, '}');
}

static void tools_write(struct talk *t, struct json_writer *w) {
  if (!t->tools) return;
  field_array(w, SPAN("tools"));
  json_begin(w, '{');
  field_array(w, SPAN("functionDeclarations"));
  for (const struct tool *tool = t->tools; tool; tool = tool->next) {
    json_begin(w, '{');
    field_raw(w, SPAN("name"), tool->name.text);
    if (tool->description.type == JSON_STRING) field_raw(w, SPAN("description"), tool->description.text);
    if (tool->schema.type == JSON_OBJECT) field_raw(w, SPAN("parametersJsonSchema"), tool->schema.text);
    json_end(w, '}');
    if (json_given(tool->cache)) talk_lose(t, place_in(t, NULL, "tools"), SPAN("cache_control"));
  }
  json_end(w, ']');
  json_end(w, '}');
  json_end(w, ']');
  choice_write(t, w);
  t->how->one_call = t->one_call;                        /* Gemini cannot be kept to that */
  if (t->one_call) talk_lose(t, place_in(t, NULL, "parallel_tool_calls"), SPAN("parallel_tool_calls"));
}

/* ---- generationConfig */
static struct span level_word(enum effort effort, bool pro) {
  if (effort <= EFFORT_MINIMAL) return pro ? SPAN("LOW") : SPAN("MINIMAL");
  if (effort == EFFORT_LOW) return SPAN("LOW");
  return effort == EFFORT_MEDIUM ? SPAN("MEDIUM") : SPAN("HIGH");
}

static int64_t budget_of(const struct talk *t, bool pro, bool *exact) {
  int64_t most = pro ? BUDGET_MOST_PRO : BUDGET_MOST, n = t->budget > 0 ? t->budget : t->effort < EFFORT_MINIMAL ? 0 : effort_budget(t, t->effort);
  *exact = t->budget > 0 && n <= most;
  if (t->effort == EFFORT_NONE) n = pro ? BUDGET_LEAST_PRO : 0, *exact = !pro;
  return n < most ? n : most;
}

static void thinking_write(struct talk *t, struct json_writer *w) {
  enum thinks thinks = thinks_of(t->how->model);
  bool pro = is_pro(t->how->model), exact = false;
  if (!t->effort) return;
  if (thinks == THINKS_NOT) {
    if (t->effort != EFFORT_NONE) talk_lose(t, t->effort_place, SPAN("reasoning_effort"));
    return;
  }
  field_object(w, SPAN("thinkingConfig"));
  if (thinks == THINKS_BUDGET) field_int(w, SPAN("thinkingBudget"), budget_of(t, pro, &exact));
  else field_str(w, SPAN("thinkingLevel"), level_word(t->effort, pro));
  if (t->effort != EFFORT_NONE) field_bool(w, SPAN("includeThoughts"), true);
  json_end(w, '}');
  if (!exact) talk_lose(t, t->effort_place, SPAN("reasoning_effort"));
}

static void stops_write(struct talk *t, struct json_writer *w) {
  static const struct place place = { NULL, SPAN("stop"), 0 };
  struct json key, item;
  size_t n = 0;
  if (!json_given(t->stops)) return;
  if (t->stops.type == JSON_STRING) {
    field_array(w, SPAN("stopSequences"));
    json_raw(w, t->stops.text);
    json_end(w, ']');
    return;
  }
  struct json_iter i = json_iter(t->stops);
  for (; t->stops.type == JSON_ARRAY && json_next(&i, &key, &item); n++)
    if (item.type != JSON_STRING) { talk_wrong(t, &place, "must be a string or a list of strings"); return; }
  if (t->stops.type != JSON_ARRAY) talk_wrong(t, &place, "must be a string or a list of strings");
  else if (n > STOPS_MOST) talk_refuse(t, &place, SPAN("stop"), "at most 5 are taken");
  else if (n) field_raw(w, SPAN("stopSequences"), t->stops.text);
}

static void number_write(struct talk *t, struct json_writer *w, const char *word, struct span name) {
  struct json v = extra_take(t, word);
  int64_t n;
  bool whole = span_eq(name, SPAN("seed")) || span_eq(name, SPAN("topK"));
  if (v.type == JSON_NUMBER && (!whole || (json_i64(v, &n) && n >= INT32_MIN && n <= INT32_MAX))) field_raw(w, name, v.text);
  else if (json_given(v)) talk_lose(t, place_in(t, NULL, word), span_cstr(word));
}

/* Several answers, and how likely their words were; the bytes of those are not told there. */
static void answers_write(struct talk *t, struct json_writer *w) {
  struct json n = extra_take(t, "n"), probable = extra_take(t, "logprobs"), top = extra_take(t, "top_logprobs");
  if (json_given(n) && json_count(n) < 1) talk_wrong(t, place_in(t, NULL, "n"), "must be a whole number above zero");
  else if (json_given(n)) field_raw(w, SPAN("candidateCount"), n.text);
  if (json_given(probable) && probable.type != JSON_TRUE) talk_wrong(t, place_in(t, NULL, "logprobs"), "must be true or false");
  if (json_given(top) && top.type != JSON_NUMBER) talk_wrong(t, place_in(t, NULL, "top_logprobs"), "must be a number");
  if (probable.type == JSON_TRUE) field_bool(w, SPAN("responseLogprobs"), true);
  if (top.type == JSON_NUMBER) field_raw(w, SPAN("logprobs"), top.text);
  if (probable.type == JSON_TRUE || top.type == JSON_NUMBER) talk_lose(t, place_in(t, NULL, "logprobs"), SPAN("logprobs"));
}

static void format_write(struct talk *t, struct json_writer *w) {
  if (t->format == FORMAT_TEXT) return;
  field_str(w, SPAN("responseMimeType"), SPAN("application/json"));
  if (t->format != FORMAT_SCHEMA) return;
  if (t->format_strict.type != JSON_TRUE) talk_lose(t, place_in(t, t->format_place, "json_schema"), SPAN("strict"));   /* it always is, there */
  field_raw(w, SPAN("responseJsonSchema"), t->schema.text);
}

static void config_write(struct talk *t, struct json_writer *out) {
  struct buf members = { 0 };
  struct json_writer w = { .out = &members };
  json_begin(&w, '{');
  if (t->max_tokens.type == JSON_NUMBER) field_raw(&w, SPAN("maxOutputTokens"), t->max_tokens.text);
  if (t->temperature.type == JSON_NUMBER) field_raw(&w, SPAN("temperature"), t->temperature.text);
  if (t->top_p.type == JSON_NUMBER) field_raw(&w, SPAN("topP"), t->top_p.text);
  number_write(t, &w, "top_k", SPAN("topK"));
  number_write(t, &w, "seed", SPAN("seed"));
  number_write(t, &w, "presence_penalty", SPAN("presencePenalty"));
  number_write(t, &w, "frequency_penalty", SPAN("frequencyPenalty"));
  answers_write(t, &w);
  stops_write(t, &w);
  format_write(t, &w);
  thinking_write(t, &w);
  json_end(&w, '}');
  if (buf_size(&members) > 2) field_raw(out, SPAN("generationConfig"), buf_span(&members));
  buf_free(&members);
}

static void tier_write(struct talk *t, struct json_writer *w) {
  struct json tier = extra_take(t, "service_tier");
  bool known = tier.type == JSON_STRING && (json_string_is(tier, SPAN("flex")) || json_string_is(tier, SPAN("priority")));
  if (known) field_raw(w, SPAN("serviceTier"), tier.text);
  if (json_given(tier)) talk_lose(t, place_in(t, NULL, "service_tier"), SPAN("service_tier"));
  if (t->tier == TIER_FIELD_STANDARD) field_str(w, SPAN("serviceTier"), SPAN("standard"));
}

void talk_write_gemini(struct talk *t, struct buf *out) {
  struct json_writer w = { .out = out };
  json_begin(&w, '{');
  turns_write(t, &w);
  system_write(t, &w);
  tools_write(t, &w);
  config_write(t, &w);
  tier_write(t, &w);
  if (string_full(t->user)) talk_lose(t, t->user_place, t->user_place->name);
  json_end(&w, '}');
}
