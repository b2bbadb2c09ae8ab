/* talk_chat.c: a chat completions request, read into the middle model. */
#include "talk.h"

static bool is(struct json v, const char *word) { return v.type == JSON_STRING && json_string_is(v, span_cstr(word)); }

/* ---- parts */
/* "data:image/png;base64,AAAA" */
static bool data_url(struct span raw, struct span *mime, struct span *data) {
  struct span head;
  if (!span_istarts(raw, SPAN("data:"))) return false;
  *data = span_cut(span_from(raw, 5), ',', &head);
  struct span kind = span_cut(head, ';', mime);
  return data->p && span_ieq(kind, SPAN("base64")) && mime->n;
}

/* Base64 may come with "\/", which means the same. */
static struct span plain_raw(struct talk *t, struct json v) {
  struct span raw = string_raw(v);
  return raw.n && memchr(raw.p, '\\', raw.n) ? talk_string(t, v) : raw;
}

static void read_image(struct talk *t, struct object *part, const struct place *place, struct part ***end) {
  struct object image;
  struct json holder = object_take(part, "image_url");
  if (holder.type == JSON_STRING) {
    talk_wrong(t, object_place(part, "image_url"), "must be an object with a url");
    return;
  }
  if (!object_open(t, holder, object_place(part, "image_url"), &image)) return;
  struct json url = object_take_type(&image, "url", JSON_STRING), detail = object_take(&image, "detail");
  if (json_given(detail) && !is(detail, "auto") && !(t->can & CAN_DETAIL)) talk_lose(t, object_place(&image, "detail"), SPAN("detail"));
  object_rest(&image);
  struct span raw = plain_raw(t, url);
  struct part *p = part_add(t, end, PART_IMAGE, place);
  if (detail.type == JSON_STRING) p->detail = detail;
  if (span_istarts(raw, SPAN("data:"))) {
    if (!data_url(raw, &p->mime, &p->data)) talk_wrong(t, object_place(&image, "url"), "must be an address or data:image/…;base64,…");
  } else if (span_istarts(raw, SPAN("https://")) || span_istarts(raw, SPAN("http://"))) {
    p->url = url;
  } else {
    talk_wrong(t, object_place(&image, "url"), "must be an address or data:image/…;base64,…");
  }
}

static void read_file(struct talk *t, struct object *part, const struct place *place, struct part ***end) {
  struct object file;
  if (!object_open(t, object_take(part, "file"), object_place(part, "file"), &file)) return;
  struct json id = object_take(&file, "file_id"), data = object_take(&file, "file_data"), name = object_take(&file, "filename");
  object_rest(&file);
  if (json_given(id) && t->can & CAN_FILES) {
    if (id.type != JSON_STRING) talk_wrong(t, object_place(&file, "file_id"), "must be a string");
    else part_add(t, end, PART_FILE, place)->file = id;
    return;
  }
  if (json_given(id)) {
    talk_refuse(t, object_place(&file, "file_id"), SPAN("file_id"), "a file lives where it was uploaded; send its bytes as file_data");
    return;
  }
  struct span mime = { 0 }, bytes = { 0 };
  if (!data_url(plain_raw(t, data), &mime, &bytes)) { talk_wrong(t, object_place(&file, "file_data"), "must be data:application/pdf;base64,…"); return; }
  bool pdf = span_ieq(mime, SPAN("application/pdf"));
  if (!pdf && !(t->can & CAN_FILES)) {
    talk_refuse(t, object_place(&file, "file_data"), SPAN("document"), "only application/pdf can be sent as a file; send its text as a text part");
    return;
  }
  struct part *p = part_add(t, end, pdf ? PART_PDF : PART_FILE, place);
  p->mime = pdf ? SPAN("application/pdf") : mime;
  p->data = bytes;
  p->text = name;
}

static void read_audio(struct talk *t, struct object *part, struct part ***end) {
  struct object audio;
  const struct place *place = object_place(part, "input_audio");
  if (!object_open(t, object_take(part, "input_audio"), place, &audio)) return;
  struct json data = object_take_type(&audio, "data", JSON_STRING), format = object_take_type(&audio, "format", JSON_STRING);
  object_rest(&audio);
  if (!string_full(data) || !string_full(format)) { talk_wrong(t, place, "must have data and format"); return; }
  struct part *p = part_add(t, end, PART_AUDIO, place);
  p->mime = arena_printf(t->arena, "audio/%.*s", SPAN_FMT(talk_string(t, format)));
  p->data = talk_string(t, data);
}

static struct json cache_of(struct talk *t, struct object *part) {
  struct json cache = object_take_type(part, "cache_control", JSON_OBJECT);
  struct json mark = object_take(part, "prompt_cache_breakpoint");
  if (!json_given(mark)) return cache;
  talk_lose(t, object_place(part, "prompt_cache_breakpoint"), SPAN("cache_control"));
  return json_given(cache) ? cache : (struct json){ JSON_OBJECT, SPAN("{\"type\":\"ephemeral\"}") };
}

static void read_part(struct talk *t, struct json v, const struct place *place, struct part ***end) {
  struct object part;
  struct part **last = *end;
  if (!object_open(t, v, place, &part)) return;
  struct json type = object_take_type(&part, "type", JSON_STRING), cache = cache_of(t, &part);
  if (is(type, "text") || is(type, "refusal")) {
    struct json text = object_take_type(&part, is(type, "text") ? "text" : "refusal", JSON_STRING);
    if (text.type == JSON_STRING) part_add(t, end, is(type, "text") ? PART_TEXT : PART_REFUSAL, place)->text = text;
    else talk_wrong(t, place, "has no text");
  } else if (is(type, "image_url")) {
    read_image(t, &part, place, end);
  } else if (is(type, "file")) {
    read_file(t, &part, place, end);
  } else if (is(type, "input_audio")) {
    read_audio(t, &part, end);
  } else if (is(type, "video_url")) {
    object_take(&part, "video_url");
    talk_refuse(t, place_in(t, place, "video_url"), talk_string(t, type), "send a transcript as a text part");
  } else {
    talk_wrong(t, place_in(t, place, "type"), "is no kind of part that is known: text, image_url, file, input_audio");
  }
  if (*last && json_given(cache)) (*last)->cache = cache;
  object_rest(&part);
}

static void read_content(struct talk *t, struct json content, const struct place *place, struct part ***end) {
  struct json_iter i = json_iter(content);
  struct json key, item;
  if (content.type == JSON_STRING) {
    struct part *p = part_add(t, end, PART_TEXT, place);
    p->text = content;
    p->plain = true;
  } else if (content.type == JSON_ARRAY) {
    for (size_t n = 0; json_next(&i, &key, &item); n++) read_part(t, item, place_at(t, place, n), end);
  } else if (json_given(content)) {
    talk_wrong(t, place, "must be a string or a list of parts");
  }
}

/* ---- thinking that weir told the client, and gets back (said_chat.c) */
static void signed_thinking(struct talk *t, struct object *block, struct span *left, const struct place *place, struct part ***end) {
  struct json signature = object_take(block, "signature"), text = object_take(block, "thinking");
  int64_t bytes = json_count(object_take(block, "bytes"));
  if (text.type != JSON_STRING) {
    if (bytes < 0 || (uint64_t)bytes > left->n || !span_utf8(span_of(left->p, (size_t)bytes))) { talk_lose(t, place, SPAN("thinking")); return; }
    text = talk_quoted(t, span_of(left->p, (size_t)bytes));
    *left = span_from(*left, (size_t)bytes);
  }
  signature = string_full(signature) ? signature : json_absent;
  if (!talk_unseal(t, &signature, text, place)) return;
  struct part *p = part_add(t, end, PART_THINKING, place);
  p->text = text;
  p->signature = signature;
}

static void thinking_blocks(struct talk *t, struct json blocks, struct span *left, const struct place *place, struct part ***end) {
  struct json_iter i = json_iter(blocks);
  struct json key, item;
  for (size_t n = 0; blocks.type == JSON_ARRAY && json_next(&i, &key, &item); n++) {
    const struct place *at = place_at(t, place, n);
    struct object block;
    if (!object_open(t, item, at, &block)) return;
    struct json data = object_take(&block, "data");
    bool redacted = is(object_take(&block, "type"), "redacted_thinking") && data.type == JSON_STRING;
    if (!redacted) signed_thinking(t, &block, left, at, end);
    else if (talk_unseal(t, &data, json_absent, at)) part_add(t, end, PART_REDACTED, at)->text = data;
  }
}

static void read_thinking(struct talk *t, struct object *m, struct turn *turn) {
  struct json text = object_take(m, "reasoning_content"), other = object_take(m, "reasoning"), details = object_take(m, "reasoning_details");
  struct json ours = object_take(m, "weir"), theirs = object_take(m, "thinking_blocks");
  struct span left = talk_string(t, string_full(text) ? text : other);
  struct json mine = json_in(ours, SPAN("thinking"));
  if (mine.type == JSON_ARRAY) thinking_blocks(t, mine, &left, place_in(t, object_place(m, "weir"), "thinking"), &turn->end);
  else if (theirs.type == JSON_ARRAY) thinking_blocks(t, theirs, &left, object_place(m, "thinking_blocks"), &turn->end), left.n = 0;
  if (left.n || (json_given(details) && mine.type != JSON_ARRAY && theirs.type != JSON_ARRAY)) talk_lose(t, object_place(m, "reasoning_content"), SPAN("thinking"));
}

/* ---- calls */
static void read_arguments(struct talk *t, struct json arguments, const struct place *place, struct part *p) {
  struct json document;
  struct span whole = talk_string(t, arguments), text = span_trim(whole);
  if (!text.n) text = whole = SPAN("{}");
  p->arguments = t->can & CAN_ARGUMENTS ? whole : text;
  if (t->can & CAN_ARGUMENTS) return;
  if (!json_read(text, &document, NULL) || document.type != JSON_OBJECT)
    talk_refuse(t, place, (struct span){ 0 }, "arguments must be a JSON object; say what the model wrote as text instead");
}

static void read_call(struct talk *t, struct json v, const struct place *place, struct turn *turn) {
  struct object call, about;
  if (!object_open(t, v, place, &call)) return;
  struct json type = object_take(&call, "type"), id = object_take_type(&call, "id", JSON_STRING);
  bool custom = is(type, "custom");
  const char *member = custom ? "custom" : "function";
  object_take(&call, "index");
  if (!object_open(t, object_take(&call, member), object_place(&call, member), &about)) return;
  struct part *p = part_add(t, &turn->end, PART_CALL, place);
  p->id = talk_string(t, id);
  p->name = object_take_type(&about, "name", JSON_STRING);
  if (p->name.type != JSON_STRING) talk_wrong(t, object_place(&about, "name"), "is missing");
  if (custom && t->can & CAN_CUSTOM) {
    p->custom = t->custom_calls = true;
    p->arguments = talk_string(t, object_take_type(&about, "input", JSON_STRING));
  } else if (custom) {
    p->arguments = talk_joined(t, SPAN(""), object_take_type(&about, "input", JSON_STRING), SPAN("")).text;
    p->arguments = arena_printf(t->arena, "{\"input\":%.*s}", SPAN_FMT(p->arguments));
    talk_lose(t, place, SPAN("custom"));
  } else {
    read_arguments(t, object_take_type(&about, "arguments", JSON_STRING), object_place(&about, "arguments"), p);
  }
  object_rest(&about);
  object_rest(&call);
}

static void read_assistant(struct talk *t, struct object *m, struct turn *turn) {
  struct json calls = object_take_type(m, "tool_calls", JSON_ARRAY), refusal = object_take(m, "refusal");
  struct json_iter i = json_iter(calls);
  struct json key, item;
  read_thinking(t, m, turn);
  read_content(t, object_take(m, "content"), object_place(m, "content"), &turn->end);
  if (string_full(refusal)) part_add(t, &turn->end, PART_REFUSAL, object_place(m, "refusal"))->text = refusal;
  if (json_given(object_take(m, "audio"))) talk_refuse(t, object_place(m, "audio"), SPAN("audio"), "send its transcript as text");
  if (json_given(object_take(m, "function_call"))) talk_refuse(t, object_place(m, "function_call"), SPAN("function_call"), "use tool_calls");
  object_take(m, "annotations");                         /* what the answer told beside its text: no part of what was said */
  for (size_t n = 0; json_next(&i, &key, &item); n++) read_call(t, item, place_at(t, object_place(m, "tool_calls"), n), turn);
}

static void read_result(struct talk *t, struct object *m, struct turn *turn) {
  struct part *p = part_add(t, &turn->end, PART_RESULT, m->place);
  struct json id = object_take_type(m, "tool_call_id", JSON_STRING);
  p->id = talk_string(t, id);
  for (const struct turn *turns = t->custom_calls ? t->turns : NULL; turns; turns = turns->next)
    for (const struct part *call = turns->parts; call; call = call->next)
      if (!talk_step(t)) return;
      else if (call->kind == PART_CALL && span_eq(call->id, p->id)) p->custom = call->custom;
  if (id.type != JSON_STRING) talk_wrong(t, object_place(m, "tool_call_id"), "is missing");
  read_content(t, object_take(m, "content"), object_place(m, "content"), &p->inner_end);
}

static void read_message(struct talk *t, struct json v, const struct place *place) {
  struct object m;
  if (!object_open(t, v, place, &m)) return;
  struct json role = object_take_type(&m, "role", JSON_STRING);
  if (json_given(object_take(&m, "name"))) talk_lose(t, object_place(&m, "name"), SPAN("name"));
  if (is(role, "system") || is(role, "developer")) {
    struct part ***end = t->turns ? &turn_add(t, ROLE_SYSTEM, place)->end : &t->system_end;
    read_content(t, object_take(&m, "content"), object_place(&m, "content"), end);
  } else if (is(role, "user")) {
    read_content(t, object_take(&m, "content"), object_place(&m, "content"), &turn_add(t, ROLE_USER, place)->end);
  } else if (is(role, "assistant")) {
    read_assistant(t, &m, turn_add(t, ROLE_ASSISTANT, place));
  } else if (is(role, "tool")) {
    read_result(t, &m, turn_add(t, ROLE_USER, place));
  } else if (is(role, "function")) {
    talk_refuse(t, object_place(&m, "role"), SPAN("functions"), "use tools: role tool with a tool_call_id");
  } else {
    talk_wrong(t, object_place(&m, "role"), "must be system, developer, user, assistant or tool");
  }
  object_rest(&m);
}

/* ---- tools */
/* "format": { "type": "grammar", "grammar": { "syntax": …, "definition": … } }, or { "type": "text" } */
static void read_custom(struct talk *t, struct object *about, const struct place *place, struct tool *tool) {
  struct json format = object_take_type(about, "format", JSON_OBJECT), grammar = json_in(format, SPAN("grammar"));
  if (json_given(format) && !is(json_in(format, SPAN("type")), "text") && grammar.type != JSON_OBJECT)
    talk_wrong(t, object_place(about, "format"), "must be of type text, or grammar with a grammar");
  tool->custom = true;
  tool->grammar = grammar;
  if (t->can & CAN_CUSTOM) return;
  if (grammar.type == JSON_OBJECT) talk_refuse(t, object_place(about, "format"), SPAN("custom"), "no grammar can be asked for; describe it in the tool's description, or use a function tool");
  else talk_lose(t, place, SPAN("custom"));
  tool->custom = false;
  tool->wrapped = true;
  tool->schema = (struct json){ JSON_OBJECT, SPAN("{\"type\":\"object\",\"properties\":{\"input\":{\"type\":\"string\"}},\"required\":[\"input\"],\"additionalProperties\":false}") };
}

static void read_tool(struct talk *t, struct json v, const struct place *place) {
  struct object holder, about;
  if (!object_open(t, v, place, &holder)) return;
  struct json type = object_take(&holder, "type");
  bool custom = is(type, "custom");
  if (json_given(type) && !custom && !is(type, "function")) {
    talk_refuse(t, place_in(t, place, "type"), SPAN("tools"), "tools that run at one provider exist there alone; use a function tool");
    return;
  }
  const char *member = custom ? "custom" : "function";
  struct json cache = object_take_type(&holder, "cache_control", JSON_OBJECT);
  if (!object_open(t, object_take(&holder, member), object_place(&holder, member), &about)) return;
  struct tool *tool = tool_add(t);
  *tool = (struct tool){ .name = object_take_type(&about, "name", JSON_STRING), .description = object_take_type(&about, "description", JSON_STRING), .cache = cache };
  if (tool->name.type != JSON_STRING) talk_wrong(t, object_place(&about, "name"), "is missing");
  if (custom) {
    read_custom(t, &about, place, tool);
  } else {
    tool->schema = object_take_type(&about, "parameters", JSON_OBJECT);
    tool->strict = object_take_type(&about, "strict", JSON_TRUE);
  }
  object_rest(&about);
  object_rest(&holder);
}

/* Only the tools that are named may be called. */
static void keep_tools(struct talk *t, struct json names) {
  struct json_iter i = json_iter(names);
  struct span *plain = arena_alloc(t->arena, (list_length(names) + 1) * sizeof *plain);
  size_t count = 0;
  for (struct json key, item; names.type == JSON_ARRAY && json_next(&i, &key, &item);) {
    struct json name = json_under(item, is(json_in(item, SPAN("type")), "custom") ? "custom.name" : "function.name");
    if (string_full(name)) plain[count++] = talk_string(t, name);
  }
  tools_keep(t, plain, count);
}

static void read_choice(struct talk *t, struct json v, const struct place *place) {
  struct json type = json_in(v, SPAN("type")), list = json_in(v, SPAN("allowed_tools"));
  if (is(v, "auto")) t->choice = CHOICE_AUTO;
  else if (is(v, "none")) t->choice = CHOICE_NONE;
  else if (is(v, "required")) t->choice = CHOICE_ANY;
  else if (is(type, "function") || is(type, "custom")) {
    t->choice = CHOICE_ONE;
    t->choice_name = json_under(v, is(type, "function") ? "function.name" : "custom.name");
    if (t->choice_name.type != JSON_STRING) talk_wrong(t, place, "names no function");
  } else if (is(type, "allowed_tools")) {
    t->narrowed = place;
    t->choice = is(json_in(list, SPAN("mode")), "required") ? CHOICE_ANY : CHOICE_AUTO;
    keep_tools(t, json_in(list, SPAN("tools")));
  } else if (json_given(v)) {
    talk_wrong(t, place, "must be \"auto\", \"none\", \"required\" or name a function");
  }
}

static void read_tools(struct talk *t, struct object *b) {
  struct json tools = object_take_type(b, "tools", JSON_ARRAY), key, item;
  struct json_iter i = json_iter(tools);
  for (size_t n = 0; json_next(&i, &key, &item); n++) read_tool(t, item, place_at(t, object_place(b, "tools"), n));
  read_choice(t, object_take(b, "tool_choice"), object_place(b, "tool_choice"));
  t->one_call = object_take_type(b, "parallel_tool_calls", JSON_TRUE).type == JSON_FALSE;
}

/* ---- the rest */
static void read_format(struct talk *t, struct object *b) {
  struct json format = object_take_type(b, "response_format", JSON_OBJECT), type = json_in(format, SPAN("type"));
  struct object holder, about;
  t->format_place = object_place(b, "response_format");
  if (!json_given(format) || is(type, "text")) return;
  if (is(type, "json_object")) { t->format = FORMAT_JSON; return; }
  if (!is(type, "json_schema")) { talk_wrong(t, t->format_place, "must be of type text, json_object or json_schema"); return; }
  if (!object_open(t, format, t->format_place, &holder)) return;
  object_take(&holder, "type");
  if (!object_open(t, object_take(&holder, "json_schema"), object_place(&holder, "json_schema"), &about)) return;
  t->format = FORMAT_SCHEMA;
  t->format_name = object_take(&about, "name");
  t->schema = object_take_type(&about, "schema", JSON_OBJECT);
  t->format_strict = object_take_type(&about, "strict", JSON_TRUE);
  if (t->can & CAN_FORMAT_NOTE) t->format_note = object_take_type(&about, "description", JSON_STRING);
  if (t->schema.type != JSON_OBJECT) talk_wrong(t, object_place(&about, "schema"), "is missing");
  object_rest(&about);
  object_rest(&holder);
}

static void read_effort(struct talk *t, struct object *b) {
  static const char *const words[] = { NULL, "none", "minimal", "low", "medium", "high", "xhigh", "max" };
  struct json v = object_take_type(b, "reasoning_effort", JSON_STRING);
  t->effort_place = object_place(b, "reasoning_effort");
  for (int i = EFFORT_NONE; i <= EFFORT_MAX; i++)
    if (is(v, words[i])) t->effort = (enum effort)i;
  if (json_given(v) && !t->effort) talk_wrong(t, t->effort_place, "must be none, minimal, low, medium, high, xhigh or max");
}

static void read_user(struct talk *t, struct object *b) {
  struct json user = object_take_type(b, "user", JSON_STRING), safety = object_take_type(b, "safety_identifier", JSON_STRING);
  bool newer = string_full(safety);
  t->user = newer ? safety : user;
  t->user_place = object_place(b, newer ? "safety_identifier" : "user");
  if (newer && string_full(user)) extra_add(t, object_place(b, "user"), SPAN("user"), NULL);
  struct json tier = object_take(b, "service_tier");
  if (is(tier, "auto")) t->tier = TIER_FIELD_AUTO;
  else if (is(tier, "default")) t->tier = TIER_FIELD_STANDARD;
  else if (json_given(tier)) extra_add(t, object_place(b, "service_tier"), SPAN("service_tier"), NULL);
}

/* What messages has no word for. */
static void read_extras(struct talk *t, struct object *b) {
  static const struct { const char *name, *instead; } fields[] = {
    { "logit_bias", "ask for the words in the instructions" }, { "logprobs", "no answer in it has them" }, { "top_logprobs", "no answer in it has them" },
    { "audio", "ask for text" }, { "functions", "use tools" }, { "function_call", "use tool_choice" },
    { "web_search_options", "use a tool of your own that searches" },
    { "seed", NULL }, { "presence_penalty", NULL }, { "frequency_penalty", NULL }, { "metadata", NULL }, { "prediction", NULL }, { "verbosity", NULL },
    { "prompt_cache_key", NULL }, { "prompt_cache_retention", NULL }, { "prompt_cache_options", NULL }, { "top_k", NULL },
  };
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
    struct json v = object_take(b, fields[i].name);
    bool nothing = v.type == JSON_FALSE || (v.type == JSON_NUMBER && json_count(v) == 0 && strcmp(fields[i].name, "seed") != 0) ||
                   ((v.type == JSON_OBJECT || v.type == JSON_ARRAY) && json_iter(v).at == json_iter(v).end && !span_eq(span_cstr(fields[i].name), SPAN("web_search_options")));
    if (json_given(v) && !nothing) extra_add(t, object_place(b, fields[i].name), span_cstr(fields[i].name), fields[i].instead);
  }
  struct json n = object_take(b, "n"), store = object_take(b, "store"), modes = object_take(b, "modalities");
  if (json_given(n) && json_count(n) != 1) extra_add(t, object_place(b, "n"), SPAN("n"), "ask several times");
  if (store.type == JSON_TRUE) extra_add(t, object_place(b, "store"), SPAN("store"), NULL);
  if (json_given(modes) && !(is(json_under(modes, "0"), "text") && json_under(modes, "1").type == JSON_NONE))
    extra_add(t, object_place(b, "modalities"), SPAN("modalities"), "ask for text");
}

void talk_read_chat(struct talk *t, struct object *b) {
  struct json messages = object_take_type(b, "messages", JSON_ARRAY), key, item, limit;
  struct json_iter i = json_iter(messages);
  object_take(b, "model");
  if (messages.type != JSON_ARRAY) talk_wrong(t, object_place(b, "messages"), "is missing");
  for (size_t n = 0; json_next(&i, &key, &item); n++) read_message(t, item, place_at(t, object_place(b, "messages"), n));
  read_tools(t, b);
  read_format(t, b);
  read_effort(t, b);
  read_user(t, b);
  limit = object_take_type(b, "max_tokens", JSON_NUMBER);
  t->max_tokens = object_take_type(b, "max_completion_tokens", JSON_NUMBER);
  if (t->max_tokens.type != JSON_NUMBER) t->max_tokens = limit;
  t->temperature = object_take_type(b, "temperature", JSON_NUMBER);
  t->top_p = object_take_type(b, "top_p", JSON_NUMBER);
  t->stops = object_take(b, "stop");
  t->stream = object_take(b, "stream").type == JSON_TRUE;
  object_take(b, "stream_options");                      /* the writer of the stream keeps them */
  read_extras(t, b);
  object_rest(b);
}
