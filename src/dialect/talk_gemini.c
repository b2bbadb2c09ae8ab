/* talk_gemini.c: a generateContent request, read into the middle model. Names may be written in either of two ways, maxOutputTokens and
   max_output_tokens, as JSON of protocol buffers has it. */
#include "gemini.h"
#include "talk.h"

static bool is(struct json v, const char *word) { return v.type == JSON_STRING && json_string_is(v, span_cstr(word)); }

static struct json take(struct object *o, const char *camel, const char *snake) {
  struct json v = object_take(o, camel), other = object_take(o, snake);
  return json_given(v) ? v : other;
}

static struct json take_type(struct object *o, const char *camel, const char *snake, enum json_type type) {
  struct json v = object_take_type(o, camel, type), other = object_take_type(o, snake, type);
  return json_given(v) ? v : other;
}

static bool empty(struct json v) { return (v.type == JSON_ARRAY || v.type == JSON_OBJECT) && json_iter(v).at == json_iter(v).end; }

/* ---- schemas: Google's own subset is JSON Schema with types in capitals, and numbers that may be written as strings */
static void schema_write(struct buf *out, struct json v);

static void type_write(struct buf *out, struct json type, bool nullable) {
  struct span word = string_raw(type);
  if (nullable) buf_byte(out, '[');
  buf_byte(out, '"');
  for (size_t i = 0; i < word.n; i++) buf_byte(out, ascii_lower(word.p[i]));
  buf_byte(out, '"');
  if (nullable) buf_add(out, SPAN(",\"null\"]"));
}

static void schemas_write(struct buf *out, struct json v) {
  struct json_iter i = json_iter(v);
  bool first = true, list = v.type == JSON_ARRAY;
  if (!list && v.type != JSON_OBJECT) { buf_add(out, v.text); return; }
  buf_byte(out, list ? '[' : '{');
  for (struct json key, item; json_next(&i, &key, &item); first = false) {
    if (!first) buf_byte(out, ',');
    if (!list) buf_add(out, key.text), buf_byte(out, ':');
    schema_write(out, item);
  }
  buf_byte(out, list ? ']' : '}');
}

static bool of_numbers(struct json key) {
  static const char *const names[] = { "minItems", "maxItems", "minProperties", "maxProperties", "minLength", "maxLength" };
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (json_string_is(key, span_cstr(names[i]))) return true;
  return false;
}

static void schema_write(struct buf *out, struct json v) {
  struct json_iter i = json_iter(v);
  bool first = true, nullable = json_in(v, SPAN("nullable")).type == JSON_TRUE;
  uint64_t n;
  if (v.type != JSON_OBJECT) { buf_add(out, v.text); return; }
  buf_byte(out, '{');
  for (struct json key, item; json_next(&i, &key, &item);) {
    if (json_string_is(key, SPAN("nullable")) || json_string_is(key, SPAN("propertyOrdering")) || is(item, "TYPE_UNSPECIFIED")) continue;
    if (!first) buf_byte(out, ',');
    first = false;
    buf_add(out, key.text);
    buf_byte(out, ':');
    if (json_string_is(key, SPAN("type")) && item.type == JSON_STRING) type_write(out, item, nullable);
    else if (json_string_is(key, SPAN("properties")) || json_string_is(key, SPAN("anyOf")) || json_string_is(key, SPAN("defs"))) schemas_write(out, item);
    else if (json_string_is(key, SPAN("items"))) schema_write(out, item);
    else if (of_numbers(key) && item.type == JSON_STRING && span_u64(string_raw(item), &n)) buf_add(out, string_raw(item));
    else buf_add(out, item.text);
  }
  buf_byte(out, '}');
}

static struct json schema_of(struct talk *t, struct json plain, struct json own) {
  struct buf out = { 0 };
  if (plain.type == JSON_OBJECT || own.type != JSON_OBJECT) return plain;
  schema_write(&out, own);
  struct json v = { JSON_OBJECT, arena_copy(t->arena, buf_span(&out)) };
  buf_free(&out);
  return v;
}

/* ---- parts */
static void data_read(struct talk *t, struct json v, const struct place *place, struct part ***end) {
  struct object o;
  if (!object_open(t, v, place, &o)) return;
  struct json mime = take_type(&o, "mimeType", "mime_type", JSON_STRING), data = object_take_type(&o, "data", JSON_STRING);
  struct span kind = talk_string(t, mime);
  struct json title = take_type(&o, "displayName", "display_name", JSON_STRING);
  object_rest(&o);
  if (!kind.n || data.type != JSON_STRING) { talk_wrong(t, place, "must have mimeType and data"); return; }
  if (span_istarts(kind, SPAN("text/"))) { talk_refuse(t, place, SPAN("document"), "send the text as a text part"); return; }
  bool image = span_istarts(kind, SPAN("image/")), audio = span_istarts(kind, SPAN("audio/")), pdf = span_ieq(kind, SPAN("application/pdf"));
  if (!image && !audio && !pdf) { talk_refuse(t, place, span_istarts(kind, SPAN("video/")) ? SPAN("video_url") : SPAN("document"), "only images, PDFs and audio can be sent inline"); return; }
  struct part *p = part_add(t, end, image ? PART_IMAGE : pdf ? PART_PDF : PART_AUDIO, place);
  p->mime = kind;
  p->data = talk_string(t, data);
  p->text = pdf ? title : json_absent;
  if (!pdf && string_full(title)) talk_lose(t, place, SPAN("filename"));
}

static void file_read(struct talk *t, struct json v, const struct place *place, struct part ***end) {
  struct span uri = talk_string(t, json_in(v, SPAN("fileUri"))), mime = talk_string(t, json_in(v, SPAN("mimeType")));
  if (!uri.n) uri = talk_string(t, json_in(v, SPAN("file_uri"))), mime = talk_string(t, json_in(v, SPAN("mime_type")));
  bool own = span_istarts(uri, SPAN("https://generativelanguage.googleapis.com/")) || !span_istarts(uri, SPAN("https://"));
  if (own || !span_istarts(mime, SPAN("image/"))) {
    talk_refuse(t, place, SPAN("file_id"), "a file lives where it was uploaded; send its bytes as inlineData");
    return;
  }
  part_add(t, end, PART_IMAGE, place)->url = talk_quoted(t, uri);
}

static struct span made_id(struct talk *t, size_t n) { return arena_printf(t->arena, "call_%zu", n); }

/* Calls without an id have one made of their number in the talk. */
static void call_read(struct talk *t, struct json v, const struct place *place, struct part ***end, size_t *calls) {
  struct object o;
  if (!object_open(t, v, place, &o)) return;
  struct part *p = part_add(t, end, PART_CALL, place);
  struct json id = object_take_type(&o, "id", JSON_STRING), arguments = object_take_type(&o, "args", JSON_OBJECT);
  p->name = object_take_type(&o, "name", JSON_STRING);
  p->id = string_full(id) ? talk_string(t, id) : made_id(t, *calls);
  p->arguments = arguments.type == JSON_OBJECT ? arguments.text : SPAN("{}");
  ++*calls;
  if (p->name.type != JSON_STRING) talk_wrong(t, object_place(&o, "name"), "is missing");
  object_rest(&o);
}

/* The first call of that name that has no result yet. */
static struct span id_of_call(struct talk *t, struct json name) {
  struct span plain = talk_string(t, name);
  for (const struct turn *turn = t->turns; turn; turn = turn->next)
    for (struct part *p = turn->parts; p; p = p->next) {
      if (!talk_step(t)) return (struct span){ NULL, 0 };
      if (p->kind != PART_CALL || p->answered || !json_string_is(p->name, plain)) continue;
      p->answered = true;
      return p->id;
    }
  return (struct span){ NULL, 0 };
}

/* {"output": "text"} is the text, {"error": "text"} that of a tool that failed; anything else is told as JSON. */
static void response_read(struct talk *t, struct json response, const struct place *place, struct part *p) {
  struct json output = json_in(response, SPAN("output")), error = json_in(response, SPAN("error"));
  struct json_iter i = json_iter(response);
  struct json key, item;
  size_t members = 0;
  while (response.type == JSON_OBJECT && json_next(&i, &key, &item)) members++;
  bool failed = members == 1 && error.type != JSON_NONE;
  struct json only = failed ? error : members == 1 && output.type != JSON_NONE ? output : response;
  if (response.type != JSON_OBJECT) { talk_wrong(t, place, "must be an object"); return; }
  struct part *text = part_add(t, &p->inner_end, PART_TEXT, place);
  text->plain = true;
  text->text = only.type == JSON_STRING ? only : talk_quoted(t, only.text);
  p->error = failed;
}

static void part_read(struct talk *t, struct json v, const struct place *place, struct turn *turn, struct part ***end, size_t *calls);

static void result_read(struct talk *t, struct json v, const struct place *place, struct part ***end) {
  struct object o;
  if (!object_open(t, v, place, &o)) return;
  struct part *p = part_add(t, end, PART_RESULT, place);
  struct json id = object_take_type(&o, "id", JSON_STRING), name = object_take_type(&o, "name", JSON_STRING), parts = object_take_type(&o, "parts", JSON_ARRAY), key, item;
  struct span known = id_of_call(t, name);
  p->id = string_full(id) ? talk_string(t, id) : known;
  if (!p->id.n) talk_wrong(t, object_place(&o, "name"), "answers a call that stands nowhere before it");
  response_read(t, object_take(&o, "response"), object_place(&o, "response"), p);
  struct json_iter i = json_iter(parts);
  for (size_t n = 0; parts.type == JSON_ARRAY && json_next(&i, &key, &item); n++) part_read(t, item, place_at(t, object_place(&o, "parts"), n), NULL, &p->inner_end, NULL);
  if (p->inner && p->inner->next && !string_full(p->inner->text)) p->inner = p->inner->next;
  object_take(&o, "scheduling");
  object_rest(&o);
}

/* What another provider signed came here in Gemini's field, and goes home as its own again; what Gemini signed is for Gemini alone. */
static void signature_read(struct talk *t, struct json signature, struct json text, const struct place *place, struct part ***end) {
  enum wrapped kind;
  struct json own;
  if (text.type != JSON_STRING) text = (struct json){ JSON_STRING, SPAN("\"\"") };
  if (!signature_wrapped(t->arena, signature, &kind, &own)) { talk_lose(t, place, SPAN("thinking")); return; }
  bool redacted = kind == REDACTED_BY_MESSAGES;
  if (!talk_unseal(t, &own, redacted ? json_absent : text, place)) return;
  struct part *p = part_add(t, end, redacted ? PART_REDACTED : PART_THINKING, place);
  p->text = redacted ? own : text;
  if (!redacted) p->signature = own;
}

/* Streams say a thought in pieces, and sign the last one: they are one. */
static struct json thought_over(struct talk *t) {
  struct part *p = t->thought_part;
  if (!p) return json_absent;
  struct span raw = buf_span(&t->thought);
  p->text = (struct json){ JSON_STRING, arena_printf(t->arena, "\"%.*s\"", SPAN_FMT(raw)) };
  buf_free(&t->thought);
  t->thought_part = NULL;
  return p->text;
}

static void thought_read(struct talk *t, struct json text, struct json signature, const struct place *place, struct turn *turn, struct part ***end) {
  struct part *last = t->thought_part && **end == NULL && *end == &t->thought_part->next ? t->thought_part : NULL;
  if (!last) thought_over(t);
  if (!string_full(signature)) {
    if (!last) t->thought_part = part_add(t, end, PART_THINKING, place);
    buf_add(&t->thought, string_raw(text));
    return;
  }
  if (last) {
    buf_add(&t->thought, string_raw(text));
    text = thought_over(t);
    *end = &turn->parts;
    while (**end != last && talk_step(t)) *end = &(**end)->next;
    **end = NULL;                                        /* the signed one takes its place */
  }
  signature_read(t, signature, text, place, end);
}

static void text_read(struct talk *t, struct json text, bool thought, struct json signature, const struct place *place, struct turn *turn, struct part ***end) {
  if (thought && turn) {
    thought_read(t, text, signature, place, turn, end);
    return;
  }
  if (string_full(text)) part_add(t, end, PART_TEXT, place)->text = text;
  if (string_full(signature)) signature_read(t, signature, json_absent, place, end);
}

static void part_read(struct talk *t, struct json v, const struct place *place, struct turn *turn, struct part ***end, size_t *calls) {
  struct object o;
  if (!object_open(t, v, place, &o)) return;
  struct json text = object_take_type(&o, "text", JSON_STRING), thought = object_take_type(&o, "thought", JSON_TRUE);
  struct json signature = take_type(&o, "thoughtSignature", "thought_signature", JSON_STRING);
  struct json data = take(&o, "inlineData", "inline_data"), file = take(&o, "fileData", "file_data");
  struct json call = take(&o, "functionCall", "function_call"), result = take(&o, "functionResponse", "function_response");
  if (json_given(take(&o, "mediaResolution", "media_resolution"))) talk_lose(t, object_place(&o, "mediaResolution"), SPAN("detail"));
  if (text.type == JSON_STRING) {
    text_read(t, text, thought.type == JSON_TRUE, signature, place, turn, end);
  } else if (json_given(data)) {
    data_read(t, data, object_place(&o, "inlineData"), end);
  } else if (json_given(file)) {
    file_read(t, file, object_place(&o, "fileData"), end);
  } else if (json_given(call) && turn && turn->role == ROLE_ASSISTANT) {
    if (string_full(signature)) signature_read(t, signature, json_absent, place, end);
    call_read(t, call, object_place(&o, "functionCall"), end, calls);
  } else if (json_given(result) && turn && turn->role == ROLE_USER) {
    result_read(t, result, object_place(&o, "functionResponse"), end);
  } else if (string_full(signature) && turn) {
    signature_read(t, signature, json_absent, place, end);
  } else {
    talk_refuse(t, place, SPAN("tools"), "parts of tools that run at one provider, and those not known here, exist there alone; say it as text");
    return;
  }
  object_rest(&o);
}

static void content_read(struct talk *t, struct json v, const struct place *place, size_t *calls) {
  struct object o;
  if (!object_open(t, v, place, &o)) return;
  struct json role = object_take_type(&o, "role", JSON_STRING), parts = object_take_type(&o, "parts", JSON_ARRAY), key, item;
  struct json_iter i = json_iter(parts);
  bool model = is(role, "model");
  if (json_given(role) && !model && !is(role, "user") && !is(role, "function")) { talk_wrong(t, object_place(&o, "role"), "must be user or model"); return; }
  struct turn *turn = turn_add(t, model ? ROLE_ASSISTANT : ROLE_USER, place);
  for (size_t n = 0; parts.type == JSON_ARRAY && json_next(&i, &key, &item); n++) part_read(t, item, place_at(t, object_place(&o, "parts"), n), turn, &turn->end, calls);
  thought_over(t);
  if (turn->parts && !turn->parts->next) turn->parts->plain = turn->parts->kind == PART_TEXT;
  object_rest(&o);
}

static void system_read(struct talk *t, struct object *b) {
  struct json v = take(b, "systemInstruction", "system_instruction"), parts = json_in(v, SPAN("parts")), key, item;
  const struct place *place = place_in(t, object_place(b, "systemInstruction"), "parts");
  struct json_iter i = json_iter(parts);
  for (size_t n = 0; parts.type == JSON_ARRAY && json_next(&i, &key, &item); n++) part_read(t, item, place_at(t, place, n), NULL, &t->system_end, NULL);
  if (t->system && !t->system->next) t->system->plain = true;
}

/* ---- tools */
static void function_read(struct talk *t, struct json v, const struct place *place) {
  struct object o;
  if (!object_open(t, v, place, &o)) return;
  struct tool *tool = tool_add(t);
  tool->name = object_take_type(&o, "name", JSON_STRING);
  tool->description = object_take_type(&o, "description", JSON_STRING);
  struct json plain = take_type(&o, "parametersJsonSchema", "parameters_json_schema", JSON_OBJECT);
  tool->schema = schema_of(t, plain, object_take_type(&o, "parameters", JSON_OBJECT));
  if (tool->name.type != JSON_STRING) talk_wrong(t, object_place(&o, "name"), "is missing");
  object_rest(&o);
}

static void tool_read(struct talk *t, struct json v, const struct place *place) {
  struct object o;
  if (!object_open(t, v, place, &o)) return;
  struct json list = take_type(&o, "functionDeclarations", "function_declarations", JSON_ARRAY), key, item;
  struct json_iter i = json_iter(list);
  for (size_t n = 0; list.type == JSON_ARRAY && json_next(&i, &key, &item); n++) function_read(t, item, place_at(t, object_place(&o, "functionDeclarations"), n));
  for (size_t k = 0; k < o.count; k++) {
    if (o.taken[k] || !json_given(o.members[k].value)) continue;
    struct span name = talk_string(t, o.members[k].key);
    bool search = span_istarts(name, SPAN("google"));
    talk_refuse(t, place_in(t, place, arena_cstr(t->arena, name)), search ? SPAN("web_search") : SPAN("tools"), "tools that run at one provider exist there alone; use a function of your own");
  }
}

static void narrow(struct talk *t, struct json names, const struct place *place) {
  size_t left = 0;
  if (names.type != JSON_ARRAY || empty(names)) return;
  struct json_iter i = json_iter(names);
  struct span *plain = arena_alloc(t->arena, list_length(names) * sizeof *plain);
  size_t count = 0;
  for (struct json key, item; json_next(&i, &key, &item);)
    if (item.type == JSON_STRING) plain[count++] = talk_string(t, item);
  tools_keep(t, plain, count);
  for (struct tool *tool = t->tools; tool; tool = tool->next) {
    left += !tool->aside;
    if (!tool->aside) t->choice_name = tool->name;
  }
  if (left == 1 && t->choice == CHOICE_ANY) {            /* one that must be called: every dialect has a word for that */
    t->choice = CHOICE_ONE;
    for (struct tool *tool = t->tools; tool; tool = tool->next) tool->aside = false;
  } else {
    t->narrowed = place;
  }
}

static void tools_read(struct talk *t, struct object *b) {
  struct json tools = object_take_type(b, "tools", JSON_ARRAY), config = take_type(b, "toolConfig", "tool_config", JSON_OBJECT), key, item;
  const struct place *place = object_place(b, "toolConfig");
  struct json_iter i = json_iter(tools);
  struct object o, calling;
  for (size_t n = 0; tools.type == JSON_ARRAY && json_next(&i, &key, &item); n++) tool_read(t, item, place_at(t, object_place(b, "tools"), n));
  if (!json_given(config) || !object_open(t, config, place, &o)) return;
  struct json how = take(&o, "functionCallingConfig", "function_calling_config");
  object_rest(&o);
  if (!json_given(how) || !object_open(t, how, object_place(&o, "functionCallingConfig"), &calling)) return;
  struct json mode = object_take_type(&calling, "mode", JSON_STRING), names = take_type(&calling, "allowedFunctionNames", "allowed_function_names", JSON_ARRAY);
  if (is(mode, "AUTO")) t->choice = CHOICE_AUTO;
  else if (is(mode, "NONE")) t->choice = CHOICE_NONE;
  else if (is(mode, "ANY")) t->choice = CHOICE_ANY;
  else if (is(mode, "VALIDATED")) t->choice = CHOICE_AUTO, talk_lose(t, object_place(&calling, "mode"), SPAN("strict"));
  else if (json_given(mode) && !is(mode, "MODE_UNSPECIFIED")) talk_wrong(t, object_place(&calling, "mode"), "must be AUTO, ANY, NONE or VALIDATED");
  narrow(t, names, object_place(&calling, "allowedFunctionNames"));
  object_rest(&calling);
}

/* ---- generationConfig */
static void thinking_read(struct talk *t, struct json v, const struct place *place) {
  static const char *const words[] = { "MINIMAL", "LOW", "MEDIUM", "HIGH" };
  struct object o;
  t->effort_place = place;
  if (!json_given(v) || !object_open(t, v, place, &o)) return;
  struct json budget = take_type(&o, "thinkingBudget", "thinking_budget", JSON_NUMBER), level = take_type(&o, "thinkingLevel", "thinking_level", JSON_STRING);
  int64_t n = 0;
  take(&o, "includeThoughts", "include_thoughts");       /* they are told where there are any */
  object_rest(&o);
  if (budget.type == JSON_NUMBER && json_i64(budget, &n)) {
    if (n < 0) talk_lose(t, place, SPAN("thinking"));    /* as much as the model likes */
    else if (!n) t->effort = EFFORT_NONE;
    else t->effort = effort_of_budget(t, n), t->budget = n;
  }
  for (int i = 0; i < 4; i++)
    if (level.type == JSON_STRING && span_ieq(string_raw(level), span_cstr(words[i]))) t->effort = (enum effort)(EFFORT_MINIMAL + i);
}

static void format_read(struct talk *t, struct object *c) {
  struct json mime = take_type(c, "responseMimeType", "response_mime_type", JSON_STRING);
  struct json plain = take_type(c, "responseJsonSchema", "response_json_schema", JSON_OBJECT), own = take_type(c, "responseSchema", "response_schema", JSON_OBJECT);
  struct json other = object_take_type(c, "_responseJsonSchema", JSON_OBJECT);
  t->format_place = object_place(c, json_given(own) ? "responseSchema" : "responseJsonSchema");
  t->schema = schema_of(t, json_given(plain) ? plain : other, own);
  t->format_strict = (struct json){ JSON_TRUE, SPAN("true") };
  if (t->schema.type == JSON_OBJECT) t->format = FORMAT_SCHEMA;
  else if (is(mime, "application/json")) t->format = FORMAT_JSON, t->format_place = object_place(c, "responseMimeType");
  else if (json_given(mime) && !is(mime, "text/plain")) talk_refuse(t, object_place(c, "responseMimeType"), SPAN("response_format"), "ask for text/plain or application/json");
}

/* What no dialect but this one and chat has a word for. */
static void more_read(struct talk *t, struct object *c) {
  static const struct { const char *camel, *snake, *word, *instead; } fields[] = {
    { "seed", "seed", "seed", NULL }, { "presencePenalty", "presence_penalty", "presence_penalty", NULL }, { "frequencyPenalty", "frequency_penalty", "frequency_penalty", NULL },
    { "topK", "top_k", "top_k", NULL }, { "responseLogprobs", "response_logprobs", "logprobs", "no answer elsewhere has them" },
    { "logprobs", "logprobs", "top_logprobs", "no answer elsewhere has them" },
    { "speechConfig", "speech_config", "audio", "ask for text" }, { "imageConfig", "image_config", "modalities", "ask for text" },
    { "mediaResolution", "media_resolution", "detail", NULL }, { "enableEnhancedCivicAnswers", "enable_enhanced_civic_answers", "safety_settings", NULL },
  };
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
    struct json v = take(c, fields[i].camel, fields[i].snake);
    if (json_given(v) && v.type != JSON_FALSE) extra_value(t, object_place(c, fields[i].camel), span_cstr(fields[i].word), fields[i].instead, v);
  }
  struct json n = take(c, "candidateCount", "candidate_count"), modes = take(c, "responseModalities", "response_modalities");
  if (json_given(n) && json_count(n) != 1) extra_value(t, object_place(c, "candidateCount"), SPAN("n"), "ask several times", n);
  bool text_alone = modes.type == JSON_ARRAY && span_ieq(string_raw(json_under(modes, "0")), SPAN("TEXT")) && json_under(modes, "1").type == JSON_NONE;
  if (json_given(modes) && !empty(modes) && !text_alone) extra_value(t, object_place(c, "responseModalities"), SPAN("modalities"), "ask for text", modes);
}

static void config_read(struct talk *t, struct object *b) {
  struct json v = take(b, "generationConfig", "generation_config");
  struct object c;
  if (!json_given(v) || !object_open(t, v, object_place(b, "generationConfig"), &c)) return;
  t->max_tokens = take_type(&c, "maxOutputTokens", "max_output_tokens", JSON_NUMBER);
  t->temperature = object_take_type(&c, "temperature", JSON_NUMBER);
  t->top_p = take_type(&c, "topP", "top_p", JSON_NUMBER);
  t->stops = take_type(&c, "stopSequences", "stop_sequences", JSON_ARRAY);
  thinking_read(t, take(&c, "thinkingConfig", "thinking_config"), object_place(&c, "thinkingConfig"));
  format_read(t, &c);
  more_read(t, &c);
  object_rest(&c);
}

static void rest_read(struct talk *t, struct object *b) {
  struct json safety = take(b, "safetySettings", "safety_settings"), cached = take(b, "cachedContent", "cached_content"), tier = take(b, "serviceTier", "service_tier");
  struct json labels = object_take(b, "labels");
  if (json_given(safety) && !empty(safety)) talk_lose(t, object_place(b, "safetySettings"), SPAN("safety_settings"));
  if (json_given(cached)) talk_refuse(t, object_place(b, "cachedContent"), SPAN("cached_content"), "it lives where it was made; send the content itself");
  if (json_given(labels) && !empty(labels)) talk_lose(t, object_place(b, "labels"), SPAN("metadata"));
  if (is(tier, "standard")) t->tier = TIER_FIELD_STANDARD;
  else if (json_given(tier) && !is(tier, "unspecified")) extra_value(t, object_place(b, "serviceTier"), SPAN("service_tier"), NULL, tier);
}

void talk_read_gemini(struct talk *t, struct object *b) {
  struct json contents = object_take(b, "contents"), key, item;
  struct json_iter i = json_iter(contents);
  size_t calls = 0;
  object_take(b, "model");
  if (contents.type == JSON_OBJECT) content_read(t, contents, object_place(b, "contents"), &calls);
  else if (contents.type != JSON_ARRAY) talk_wrong(t, object_place(b, "contents"), "is missing");
  for (size_t n = 0; contents.type == JSON_ARRAY && json_next(&i, &key, &item); n++) content_read(t, item, place_at(t, object_place(b, "contents"), n), &calls);
  system_read(t, b);
  tools_read(t, b);
  config_read(t, b);
  rest_read(t, b);
  t->stream = t->how->stream;
  object_rest(b);
}
