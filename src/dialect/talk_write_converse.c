/* talk_write_converse.c: a request of Bedrock's Converse, made of the middle model. Model and stream stand in its path. What only the
   models of one maker take goes into additionalModelRequestFields. */
#include "talk.h"
#include "weir/sha256.h"

enum { ID_MOST = 64, NAME_MOST = 200, BUDGET_LEAST = 1024 };

static bool is(struct json v, const char *word) { return v.type == JSON_STRING && json_string_is(v, span_cstr(word)); }

/* An application's inference profile (an ARN) does not tell whose model it is. */
static bool by(struct span model, const char *maker) { return span_search(model, span_cstr(maker)) < model.n; }
bool converse_is_claude(struct span model) { return by(model, "anthropic.") || by(model, "claude"); }

/* ---- cache marks */
static void cache_write(struct json_writer *w, struct json cache) {
  if (cache.type != JSON_OBJECT) return;
  json_begin(w, '{');
  field_object(w, SPAN("cachePoint"));
  field_str(w, SPAN("type"), SPAN("default"));
  if (is(json_in(cache, SPAN("ttl")), "1h")) field_str(w, SPAN("ttl"), SPAN("1h"));
  json_end(w, '}');
  json_end(w, '}');
}

/* ---- parts */
static void text_write(struct json_writer *w, struct json text) {
  json_begin(w, '{');
  field_raw(w, SPAN("text"), text.text);
  json_end(w, '}');
}

static void bytes_write(struct json_writer *w, struct span data) {
  field_object(w, SPAN("source"));
  field_str(w, SPAN("bytes"), data);
  json_end(w, '}');
}

/* What the bytes begin with, in base64, goes before what is said of them: Bedrock looks. */
static struct span image_format(const struct part *p) {
  static const struct { struct span mime, starts, format; } kinds[] = {
    { SPAN("image/png"), SPAN("iVBORw0KGgo"), SPAN("png") }, { SPAN("image/jpeg"), SPAN("/9j/"), SPAN("jpeg") },
    { SPAN("image/gif"), SPAN("R0lGOD"), SPAN("gif") }, { SPAN("image/webp"), SPAN("UklGR"), SPAN("webp") },
    { SPAN("image/jpg"), SPAN("/9j/"), SPAN("jpeg") },
  };
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    if (span_starts(p->data, kinds[i].starts)) return kinds[i].format;
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    if (span_ieq(p->mime, kinds[i].mime)) return kinds[i].format;
  return (struct span){ NULL, 0 };
}

static void image_write(struct talk *t, struct json_writer *w, const struct part *p) {
  struct span format = image_format(p);
  if (p->url.type == JSON_STRING) { talk_refuse(t, p->place, SPAN("image"), "no image is fetched from an address: send its bytes"); return; }
  if (!format.n) { talk_refuse(t, p->place, SPAN("image"), "an image must be image/jpeg, image/png, image/gif or image/webp"); return; }
  json_begin(w, '{');
  field_object(w, SPAN("image"));
  field_str(w, SPAN("format"), format);
  bytes_write(w, p->data);
  json_end(w, '}');
  json_end(w, '}');
}

/* Names of documents hold letters, digits, '-', brackets and single spaces, and no two are the same. */
static struct span name_safe(struct talk *t, struct span title) {
  char *p = arena_alloc(t->arena, NAME_MOST);
  size_t n = 0;
  for (size_t i = 0; i < title.n && n < NAME_MOST - 8; i++) {
    char c = title.p[i];
    bool letter = (c >= '0' && c <= '9') || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z');
    if (!letter && !(c && strchr("-()[] ", c))) c = '-';
    if (c == ' ' && (!n || p[n - 1] == ' ')) continue;
    p[n++] = c;
  }
  while (n && p[n - 1] == ' ') n--;
  return span_of(p, n);
}

static void pdf_write(struct talk *t, struct json_writer *w, const struct part *p) {
  size_t before = t->documents++;
  struct span title = talk_string(t, p->text), name = name_safe(t, title.n ? title : SPAN("document"));
  if (before) name = arena_printf(t->arena, "%.*s (%zu)", SPAN_FMT(name), before + 1);
  if (title.n && !span_eq(title, name)) talk_lose(t, p->place, SPAN("title"));
  json_begin(w, '{');
  field_object(w, SPAN("document"));
  field_str(w, SPAN("format"), SPAN("pdf"));
  field_str(w, SPAN("name"), name);
  bytes_write(w, p->data);
  json_end(w, '}');
  json_end(w, '}');
}

/* Ids are of 64 characters at most. A longer one only has to be the same at the call and at its result. */
static struct span id_of(struct talk *t, struct span id) {
  struct span narrow = id_narrow(t->arena, id);
  if (narrow.n <= ID_MOST) return narrow;
  char hex[SHA256_HEX];
  sha256_hex_of(id, hex);
  return arena_printf(t->arena, "weirh_%.*s", ID_MOST - 6, hex);
}

static void call_write(struct talk *t, struct json_writer *w, const struct part *p) {
  json_begin(w, '{');
  field_object(w, SPAN("toolUse"));
  field_str(w, SPAN("toolUseId"), id_of(t, p->id));
  field_raw(w, SPAN("name"), p->name.text);
  field_raw(w, SPAN("input"), p->arguments);
  json_end(w, '}');
  json_end(w, '}');
}

static void thinking_write(struct talk *t, struct json_writer *w, const struct part *p) {
  if (p->kind == PART_THINKING && p->signature.type != JSON_STRING) {   /* nobody could verify it */
    talk_lose(t, p->place, SPAN("thinking"));
    return;
  }
  json_begin(w, '{');
  field_object(w, SPAN("reasoningContent"));
  if (p->kind == PART_REDACTED) {
    field_raw(w, SPAN("redactedContent"), p->text.text);
  } else {
    field_object(w, SPAN("reasoningText"));
    field_raw(w, SPAN("text"), p->text.text);
    field_raw(w, SPAN("signature"), p->signature.text);
    json_end(w, '}');
  }
  json_end(w, '}');
  json_end(w, '}');
}

static void part_write(struct talk *t, struct json_writer *w, const struct part *p);

/* A mark within a result stands behind it: its content has none. */
static void result_write(struct talk *t, struct json_writer *w, const struct part *p) {
  struct json cache = p->cache;
  json_begin(w, '{');
  field_object(w, SPAN("toolResult"));
  field_str(w, SPAN("toolUseId"), id_of(t, p->id));
  field_array(w, SPAN("content"));
  for (struct part *in = p->inner; in; in = in->next) {
    if (json_given(in->cache)) cache = in->cache;
    in->cache = json_absent;
    part_write(t, w, in);
  }
  json_end(w, ']');
  if (p->error) field_str(w, SPAN("status"), SPAN("error"));
  json_end(w, '}');
  json_end(w, '}');
  cache_write(w, cache);
}

static void part_write(struct talk *t, struct json_writer *w, const struct part *p) {
  if (part_says_nothing(p)) return;                      /* blank blocks are refused there */
  switch (p->kind) {
  case PART_REFUSAL: talk_lose(t, p->place, SPAN("refusal")); text_write(w, p->text); break;
  case PART_TEXT: text_write(w, p->text); break;
  case PART_IMAGE: image_write(t, w, p); break;
  case PART_PDF: pdf_write(t, w, p); break;
  case PART_AUDIO: talk_refuse(t, p->place, SPAN("input_audio"), "send a transcript as a text part"); break;
  case PART_FILE: break;                                 /* CAN_FILES */
  case PART_THINKING: case PART_REDACTED: thinking_write(t, w, p); break;
  case PART_CALL: call_write(t, w, p); break;
  case PART_RESULT: result_write(t, w, p); return;
  }
  cache_write(w, p->cache);
}

/* ---- turns */
static void turns_write(struct talk *t, struct json_writer *w) {
  if (!talk_alternates(t)) return;
  field_array(w, SPAN("messages"));
  for (const struct turn *turn = t->turns; turn; turn = turn->next) {
    json_begin(w, '{');
    field_str(w, SPAN("role"), turn->role == ROLE_USER ? SPAN("user") : SPAN("assistant"));
    field_array(w, SPAN("content"));
    for (const struct part *p = turn->parts; p; p = p->next) part_write(t, w, p);
    json_end(w, ']');
    json_end(w, '}');
    if (!turn->next && turn->role == ROLE_ASSISTANT) talk_lose(t, turn->place, SPAN("prefill"));   /* it will be continued, not answered */
  }
  json_end(w, ']');
}

static void system_write(struct talk *t, struct json_writer *w) {
  if (!talk_instructs(t)) return;
  field_array(w, SPAN("system"));
  for (const struct part *p = t->system; p; p = p->next) part_write(t, w, p);
  json_end(w, ']');
}

/* ---- tools */
static bool has_history(const struct talk *t) {
  for (const struct turn *turn = t->turns; turn; turn = turn->next)
    for (const struct part *p = turn->parts; p; p = p->next)
      if (p->kind == PART_CALL || p->kind == PART_RESULT) return true;
  return false;
}

/* A talk with calls in it is refused without a list of tools: those it calls, then. */
static void tools_recall(struct talk *t) {
  struct place tools = { NULL, SPAN("tools"), 0 };
  talk_lose(t, &tools, SPAN("tools"));
  for (const struct turn *turn = t->turns; turn; turn = turn->next)
    for (const struct part *p = turn->parts; p; p = p->next) {
      bool known = p->kind != PART_CALL;
      for (const struct tool *tool = t->tools; tool && !known && talk_step(t); tool = tool->next) known = span_eq(tool->name.text, p->name.text);
      if (!known) *tool_add(t) = (struct tool){ .name = p->name };
    }
}

static void tool_write(struct json_writer *w, const struct tool *tool) {
  json_begin(w, '{');
  field_object(w, SPAN("toolSpec"));
  field_raw(w, SPAN("name"), tool->name.text);
  if (string_full(tool->description)) field_raw(w, SPAN("description"), tool->description.text);
  field_object(w, SPAN("inputSchema"));
  field_raw(w, SPAN("json"), tool->schema.type == JSON_OBJECT ? tool->schema.text : SPAN("{\"type\":\"object\"}"));
  json_end(w, '}');
  if (tool->strict.type == JSON_TRUE) field_bool(w, SPAN("strict"), true);
  json_end(w, '}');
  json_end(w, '}');
  cache_write(w, tool->cache);
}

static void tools_write(struct talk *t, struct json_writer *w) {
  struct place choice = { NULL, SPAN("tool_choice"), 0 }, parallel = { NULL, SPAN("parallel_tool_calls"), 0 };
  bool history = has_history(t);
  if (!t->tools && history) tools_recall(t);
  if (!t->tools || (t->choice == CHOICE_NONE && !history)) return;
  if (t->choice == CHOICE_NONE) talk_lose(t, &choice, SPAN("tool_choice"));       /* it has no word for it, and the talk needs its tools */
  if (t->one_call) talk_lose(t, &parallel, SPAN("parallel_tool_calls"));
  field_object(w, SPAN("toolConfig"));
  field_array(w, SPAN("tools"));
  for (const struct tool *tool = t->tools; tool; tool = tool->next) tool_write(w, tool);
  json_end(w, ']');
  if (t->choice == CHOICE_AUTO || t->choice == CHOICE_ANY || t->choice == CHOICE_ONE) {
    field_object(w, SPAN("toolChoice"));
    field_object(w, t->choice == CHOICE_AUTO ? SPAN("auto") : t->choice == CHOICE_ANY ? SPAN("any") : SPAN("tool"));
    if (t->choice == CHOICE_ONE) field_raw(w, SPAN("name"), t->choice_name.text);
    json_end(w, '}');
    json_end(w, '}');
  }
  json_end(w, '}');
}

/* ---- numbers, and what they depend on */
struct asked {
  bool thinks;                        /* the model will show its thinking */
  int64_t budget;                     /* of tokens for it; 0: as the client wrote it, or none */
  int64_t limit;                      /* of output, where the request gave none and thinking needs one; 0: none */
  struct span effort;                 /* a word for outputConfig; empty: none */
};

/* Claude takes thinking as messages say it. Of other models Converse knows an effort by name. */
static void effort_ask(struct talk *t, struct asked *a) {
  static const struct span words[] = { [EFFORT_MINIMAL] = SPAN("low"), [EFFORT_LOW] = SPAN("low"), [EFFORT_MEDIUM] = SPAN("medium"), [EFFORT_HIGH] = SPAN("high"),
                                       [EFFORT_XHIGH] = SPAN("xhigh"), [EFFORT_MAX] = SPAN("max") };
  if (t->thinking.type == JSON_OBJECT) a->thinks = !is(json_in(t->thinking, SPAN("type")), "disabled");
  if (t->effort == EFFORT_NONE && !t->claude) talk_lose(t, t->effort_place, SPAN("reasoning_effort"));
  if (t->effort <= EFFORT_NONE) return;
  if (t->effort_named || !t->claude) {
    a->effort = words[t->effort];
    if (t->effort_counted || t->effort == EFFORT_MINIMAL) talk_lose(t, t->effort_place, SPAN("reasoning_effort"));
    return;
  }
  int64_t given = 0, most;
  if (t->max_tokens.type == JSON_NUMBER && !json_i64(t->max_tokens, &given)) given = 0;
  a->budget = effort_budget(t, t->effort);
  most = t->max_tokens.type == JSON_NUMBER ? given : t->how->max_output > 0 ? t->how->max_output : a->budget + TRANSLATE_LIMIT;
  talk_lose(t, t->effort_place, SPAN("reasoning_effort"));
  if (a->budget >= most) a->budget = most - 1;
  if (a->budget < BUDGET_LEAST) { a->budget = 0; return; }               /* less is refused there, and it must leave room for the answer */
  a->thinks = true;
  if (t->max_tokens.type != JSON_NUMBER) a->limit = most;
}

static void sampling_write(struct talk *t, struct json_writer *w, bool thinks) {
  static const struct place temperature = { NULL, SPAN("temperature"), 0 }, top_p = { NULL, SPAN("top_p"), 0 };
  double v;
  if (t->temperature.type == JSON_NUMBER) {
    bool above = !json_f64(t->temperature, &v) || v > 1;
    if (above || (thinks && v != 1)) talk_lose(t, &temperature, SPAN("temperature"));
    if (!thinks) field_raw(w, SPAN("temperature"), above ? SPAN("1") : t->temperature.text);
  }
  if (t->top_p.type != JSON_NUMBER) return;
  if (!thinks || (json_f64(t->top_p, &v) && v >= 0.95)) field_raw(w, SPAN("topP"), t->top_p.text);
  else talk_lose(t, &top_p, SPAN("top_p"));
}

static void stops_write(struct talk *t, struct json_writer *w) {
  struct json key, item;
  field_array(w, SPAN("stopSequences"));
  if (t->stops.type == JSON_STRING) json_raw(w, t->stops.text);
  struct json_iter i = json_iter(t->stops);
  while (t->stops.type == JSON_ARRAY && json_next(&i, &key, &item)) {
    if (item.type == JSON_STRING) json_raw(w, item.text);
    else talk_wrong(t, place_in(t, NULL, "stop"), "must be a string or a list of strings");
  }
  json_end(w, ']');
}

static bool has_stops(const struct talk *t) { return t->stops.type == JSON_STRING || (t->stops.type == JSON_ARRAY && json_iter(t->stops).at != json_iter(t->stops).end); }

static void inference_write(struct talk *t, struct json_writer *w, const struct asked *a) {
  if (json_given(t->stops) && t->stops.type != JSON_STRING && t->stops.type != JSON_ARRAY) talk_wrong(t, place_in(t, NULL, "stop"), "must be a string or a list of strings");
  if (t->max_tokens.type != JSON_NUMBER && !a->limit && !json_given(t->temperature) && !json_given(t->top_p) && !has_stops(t)) return;
  field_object(w, SPAN("inferenceConfig"));
  if (t->max_tokens.type == JSON_NUMBER) field_raw(w, SPAN("maxTokens"), t->max_tokens.text);
  if (a->limit) {
    field_int(w, SPAN("maxTokens"), a->limit);
    t->how->limit = a->limit;
    talk_lose(t, place_in(t, NULL, "max_tokens"), SPAN("max_tokens"));
  }
  sampling_write(t, w, a->thinks);
  if (has_stops(t)) stops_write(t, w);
  json_end(w, '}');
}

/* ---- fields of one maker's models */
static void more_write(struct talk *t, struct json_writer *w, const struct asked *a) {
  bool nova = by(t->how->model, "amazon.nova"), disabled = t->claude && t->effort == EFFORT_NONE;
  struct json top_k = t->claude || nova ? extra_take(t, "top_k") : json_absent;
  if (!a->budget && !disabled && t->thinking.type != JSON_OBJECT && top_k.type != JSON_NUMBER) return;
  field_object(w, SPAN("additionalModelRequestFields"));
  if (t->thinking.type == JSON_OBJECT) field_raw(w, SPAN("thinking"), t->thinking.text);
  else if (disabled) field_raw(w, SPAN("thinking"), SPAN("{\"type\":\"disabled\"}"));
  else if (a->budget) {
    field_object(w, SPAN("thinking"));
    field_str(w, SPAN("type"), SPAN("enabled"));
    field_int(w, SPAN("budget_tokens"), a->budget);
    json_end(w, '}');
  }
  if (top_k.type == JSON_NUMBER) {
    if (nova) field_object(w, SPAN("inferenceConfig"));
    field_raw(w, nova ? SPAN("topK") : SPAN("top_k"), top_k.text);
    if (nova) json_end(w, '}');
  }
  json_end(w, '}');
}

/* Which of the stops was hit only the model's own answer tells: a pointer into it, which is another one in streams. */
static void told_write(struct talk *t, struct json_writer *w) {
  if (t->claude && has_stops(t)) field_raw(w, SPAN("additionalModelResponseFieldPaths"), t->stream ? SPAN("[\"/delta/stop_sequence\"]") : SPAN("[\"/stop_sequence\"]"));
}

/* ---- the form of the answer */
static void output_write(struct talk *t, struct json_writer *w, const struct asked *a) {
  if (t->format != FORMAT_SCHEMA && !a->effort.n) return;
  field_object(w, SPAN("outputConfig"));
  if (t->format == FORMAT_SCHEMA) {
    if (t->format_strict.type != JSON_TRUE) talk_lose(t, place_in(t, t->format_place, "json_schema"), SPAN("strict"));   /* it always is, there */
    field_object(w, SPAN("textFormat"));
    field_str(w, SPAN("type"), SPAN("json_schema"));
    field_object(w, SPAN("structure"));
    field_object(w, SPAN("jsonSchema"));
    field_str(w, SPAN("schema"), t->schema.text);        /* a text that holds JSON */
    if (string_full(t->format_name)) field_raw(w, SPAN("name"), t->format_name.text);
    else field_str(w, SPAN("name"), SPAN("answer"));
    json_end(w, '}');
    json_end(w, '}');
    json_end(w, '}');
  }
  if (a->effort.n) field_str(w, SPAN("effort"), a->effort);
  json_end(w, '}');
}

static void tier_write(struct talk *t, struct json_writer *w) {
  struct json tier = json_member_of(t->body->members, t->body->count, SPAN("service_tier"));
  bool same = is(tier, "flex") || is(tier, "priority");
  if (same) extra_take(t, "service_tier");
  if (!same && t->tier != TIER_FIELD_STANDARD) return;
  field_object(w, SPAN("serviceTier"));
  if (same) field_raw(w, SPAN("type"), tier.text);
  else field_str(w, SPAN("type"), SPAN("default"));
  json_end(w, '}');
}

void talk_write_converse(struct talk *t, struct buf *out) {
  struct json_writer w = { .out = out };
  struct asked asked = { 0 };
  json_begin(&w, '{');
  turns_write(t, &w);
  system_write(t, &w);
  effort_ask(t, &asked);
  inference_write(t, &w, &asked);
  tools_write(t, &w);
  output_write(t, &w, &asked);
  more_write(t, &w, &asked);
  told_write(t, &w);
  tier_write(t, &w);
  if (string_full(t->user)) talk_lose(t, t->user_place, t->user_place->name);
  json_end(&w, '}');
}
