/* talk_messages.c: a messages request, read into the middle model. */
#include "talk.h"

static bool is(struct json v, const char *word) { return v.type == JSON_STRING && json_string_is(v, span_cstr(word)); }

static void read_content(struct talk *t, struct json content, const struct place *place, struct turn *turn, struct part ***end);

/* ---- parts */
static void image_read(struct talk *t, struct object *block, const struct place *place, struct part ***end) {
  struct object source;
  if (!object_open(t, object_take(block, "source"), object_place(block, "source"), &source)) return;
  struct json type = object_take(&source, "type"), url = object_take_type(&source, "url", JSON_STRING);
  struct json mime = object_take_type(&source, "media_type", JSON_STRING), data = object_take_type(&source, "data", JSON_STRING);
  struct json file = object_take(&source, "file_id");
  object_rest(&source);
  if (is(type, "file") || json_given(file)) {
    talk_refuse(t, object_place(&source, "file_id"), SPAN("file_id"), "a file lives where it was uploaded; send its bytes as base64");
    return;
  }
  struct part *p = part_add(t, end, PART_IMAGE, place);
  if (is(type, "url") && string_full(url)) p->url = url;
  else if (is(type, "base64") && string_full(mime) && data.type == JSON_STRING) p->mime = talk_string(t, mime), p->data = talk_string(t, data);
  else talk_wrong(t, object_place(block, "source"), "must be base64 with media_type and data, or a url");
}

/* Title, context and text of a document that stands here as text. */
static void document_text(struct talk *t, struct json title, struct json context, struct json text, const struct place *place, struct part ***end) {
  if (string_full(title)) text = talk_joined(t, talk_string(t, title), talk_quoted(t, SPAN("\n")), talk_string(t, text));
  if (string_full(context)) text = talk_joined(t, talk_string(t, context), talk_quoted(t, SPAN("\n")), talk_string(t, text));
  talk_lose(t, place, SPAN("document"));
  part_add(t, end, PART_TEXT, place)->text = text;
}

static void document_read(struct talk *t, struct object *block, const struct place *place, struct part ***end) {
  struct object source;
  struct json title = object_take(block, "title"), context = object_take(block, "context"), citations = object_take(block, "citations");
  if (json_in(citations, SPAN("enabled")).type == JSON_TRUE) talk_lose(t, object_place(block, "citations"), SPAN("citations"));
  if (!object_open(t, object_take(block, "source"), object_place(block, "source"), &source)) return;
  struct json type = object_take(&source, "type"), mime = object_take(&source, "media_type"), data = object_take(&source, "data");
  if (is(type, "base64") && is(mime, "application/pdf") && string_full(data)) {
    struct part *p = part_add(t, end, PART_PDF, place);
    p->text = title;
    p->titled = string_full(title);
    p->data = talk_string(t, data);
    if (string_full(context)) talk_lose(t, object_place(block, "context"), SPAN("context"));
  } else if (is(type, "text") && data.type == JSON_STRING) {
    document_text(t, title, context, data, place, end);
  } else if (is(type, "content")) {
    talk_lose(t, place, SPAN("document"));
    if (string_full(title)) part_add(t, end, PART_TEXT, place)->text = title;
    if (string_full(context)) part_add(t, end, PART_TEXT, place)->text = context;
    read_content(t, object_take(&source, "content"), object_place(&source, "content"), NULL, end);
  } else if (is(type, "file")) {
    object_take(&source, "file_id");
    talk_refuse(t, object_place(&source, "file_id"), SPAN("file_id"), "a file lives where it was uploaded; send its bytes as base64");
  } else if (is(type, "url") && t->can & CAN_FILES) {
    struct part *p = part_add(t, end, PART_FILE, place);
    p->url = object_take_type(&source, "url", JSON_STRING);
    p->text = title;
    if (p->url.type != JSON_STRING) talk_wrong(t, object_place(&source, "url"), "is missing");
    if (string_full(context)) talk_lose(t, object_place(block, "context"), SPAN("context"));
  } else {
    object_take(&source, "url");
    talk_refuse(t, object_place(block, "source"), SPAN("document"), "send the document's bytes as base64, or its text");
  }
  object_rest(&source);
}

static void search_read(struct talk *t, struct object *block, const struct place *place, struct part ***end) {
  struct json title = object_take(block, "title"), source = object_take(block, "source"), content = object_take(block, "content");
  talk_lose(t, place, SPAN("search_result"));
  object_take(block, "citations");
  if (string_full(title)) part_add(t, end, PART_TEXT, place)->text = title;
  if (string_full(source)) part_add(t, end, PART_TEXT, place)->text = source;
  read_content(t, content, object_place(block, "content"), NULL, end);
}

static void call_read(struct talk *t, struct object *block, const struct place *place, struct part ***end) {
  struct part *p = part_add(t, end, PART_CALL, place);
  struct json input = object_take_type(block, "input", JSON_OBJECT);
  p->id = id_widen(t->arena, talk_string(t, object_take_type(block, "id", JSON_STRING)));
  p->name = object_take_type(block, "name", JSON_STRING);
  p->arguments = input.type == JSON_OBJECT ? input.text : SPAN("{}");
  object_take(block, "caller");
  if (p->name.type != JSON_STRING) talk_wrong(t, object_place(block, "name"), "is missing");
}

static void result_read(struct talk *t, struct object *block, const struct place *place, struct part ***end) {
  struct part *p = part_add(t, end, PART_RESULT, place);
  struct json id = object_take_type(block, "tool_use_id", JSON_STRING);
  p->id = id_widen(t->arena, talk_string(t, id));
  p->error = object_take_type(block, "is_error", JSON_TRUE).type == JSON_TRUE;
  if (id.type != JSON_STRING) talk_wrong(t, object_place(block, "tool_use_id"), "is missing");
  read_content(t, object_take(block, "content"), object_place(block, "content"), NULL, &p->inner_end);
}

static void thinking_read(struct object *block, struct json type, const struct place *place, struct part ***end) {
  bool redacted = is(type, "redacted_thinking");
  struct json signature = object_take(block, "signature"), text = object_take_type(block, redacted ? "data" : "thinking", JSON_STRING);
  signature = string_full(signature) ? signature : json_absent;
  if (text.type != JSON_STRING) text = (struct json){ JSON_STRING, SPAN("\"\"") };
  if (!talk_unseal(block->talk, redacted ? &text : &signature, redacted ? json_absent : text, place)) return;
  struct part *p = part_add(block->talk, end, redacted ? PART_REDACTED : PART_THINKING, place);
  p->text = text;
  p->signature = signature;
}

static void block_read(struct talk *t, struct json v, const struct place *place, struct turn *turn, struct part ***end) {
  struct object block;
  struct part **last = *end;
  if (!object_open(t, v, place, &block)) return;
  struct json type = object_take_type(&block, "type", JSON_STRING), cache = object_take_type(&block, "cache_control", JSON_OBJECT);
  if (is(type, "text")) {
    struct json text = object_take_type(&block, "text", JSON_STRING), citations = object_take(&block, "citations");
    if (json_given(citations) && json_under(citations, "0").type != JSON_NONE) talk_lose(t, object_place(&block, "citations"), SPAN("citations"));
    if (text.type == JSON_STRING) part_add(t, end, PART_TEXT, place)->text = text;
    else talk_wrong(t, object_place(&block, "text"), "is missing");
  } else if (is(type, "image")) {
    image_read(t, &block, place, end);
  } else if (is(type, "document")) {
    document_read(t, &block, place, end);
  } else if (is(type, "search_result")) {
    search_read(t, &block, place, end);
  } else if (is(type, "tool_use") && turn && turn->role == ROLE_ASSISTANT) {
    call_read(t, &block, place, end);
  } else if (is(type, "tool_result") && turn && turn->role == ROLE_USER) {
    result_read(t, &block, place, end);
  } else if ((is(type, "thinking") || is(type, "redacted_thinking")) && turn) {
    thinking_read(&block, type, place, end);
  } else {
    talk_refuse(t, place_in(t, place, "type"), SPAN("tools"), "blocks of tools that run at one provider, and those not known here, exist there alone; say it as text");
    return;
  }
  if (*last && json_given(cache)) (*last)->cache = cache;
  object_rest(&block);
}

static void read_content(struct talk *t, struct json content, const struct place *place, struct turn *turn, struct part ***end) {
  struct json_iter i = json_iter(content);
  struct json key, item;
  if (content.type == JSON_STRING) {
    struct part *p = part_add(t, end, PART_TEXT, place);
    p->text = content;
    p->plain = true;
  } else if (content.type == JSON_ARRAY) {
    for (size_t n = 0; json_next(&i, &key, &item); n++) block_read(t, item, place_at(t, place, n), turn, end);
  } else if (json_given(content)) {
    talk_wrong(t, place, "must be a string or a list of blocks");
  }
}

static void message_read(struct talk *t, struct json v, const struct place *place) {
  struct object m;
  if (!object_open(t, v, place, &m)) return;
  struct json role = object_take_type(&m, "role", JSON_STRING);
  enum role r = is(role, "assistant") ? ROLE_ASSISTANT : is(role, "system") ? ROLE_SYSTEM : ROLE_USER;
  if (r == ROLE_USER && !is(role, "user")) { talk_wrong(t, object_place(&m, "role"), "must be user or assistant"); return; }
  struct turn *turn = turn_add(t, r, place);
  read_content(t, object_take(&m, "content"), object_place(&m, "content"), turn, &turn->end);
  object_rest(&m);
}

/* ---- tools */
static void tool_read(struct talk *t, struct json v, const struct place *place) {
  struct object o;
  if (!object_open(t, v, place, &o)) return;
  struct json type = object_take(&o, "type");
  if (json_given(type) && !is(type, "custom")) {
    bool search = span_starts(string_raw(type), SPAN("web_search"));
    talk_refuse(t, place_in(t, place, "type"), search ? SPAN("web_search") : SPAN("tools"), "tools that run at one provider exist there alone; use a tool of your own");
    return;
  }
  struct tool *tool = tool_add(t);
  *tool = (struct tool){ .name = object_take_type(&o, "name", JSON_STRING), .description = object_take_type(&o, "description", JSON_STRING),
                         .schema = object_take_type(&o, "input_schema", JSON_OBJECT), .strict = object_take_type(&o, "strict", JSON_TRUE),
                         .cache = object_take_type(&o, "cache_control", JSON_OBJECT) };
  if (tool->name.type != JSON_STRING) talk_wrong(t, object_place(&o, "name"), "is missing");
  object_rest(&o);
}

static void tools_read(struct talk *t, struct object *b) {
  struct json tools = object_take_type(b, "tools", JSON_ARRAY), key, item;
  struct json choice = object_take_type(b, "tool_choice", JSON_OBJECT), type = json_in(choice, SPAN("type"));
  struct json_iter i = json_iter(tools);
  for (size_t n = 0; json_next(&i, &key, &item); n++) tool_read(t, item, place_at(t, object_place(b, "tools"), n));
  t->one_call = json_in(choice, SPAN("disable_parallel_tool_use")).type == JSON_TRUE;
  if (is(type, "auto")) t->choice = CHOICE_AUTO;
  else if (is(type, "any")) t->choice = CHOICE_ANY;
  else if (is(type, "none")) t->choice = CHOICE_NONE;
  else if (is(type, "tool")) t->choice = CHOICE_ONE, t->choice_name = json_in(choice, SPAN("name"));
  else if (json_given(choice)) talk_wrong(t, object_place(b, "tool_choice"), "must be of type auto, any, tool or none");
  if (t->choice == CHOICE_ONE && t->choice_name.type != JSON_STRING) talk_wrong(t, object_place(b, "tool_choice"), "names no tool");
}

/* ---- the rest */
static void thinking_option_read(struct talk *t, struct object *b) {
  struct object o;
  struct json thinking = object_take_type(b, "thinking", JSON_OBJECT);
  t->effort_place = object_place(b, "thinking");
  if (!json_given(thinking) || !object_open(t, thinking, t->effort_place, &o)) return;
  if (t->claude) { t->thinking = thinking; return; }
  struct json type = object_take(&o, "type"), display = object_take(&o, "display");
  int64_t budget = json_count(object_take(&o, "budget_tokens"));
  if (json_given(display) && !(t->can & CAN_DISPLAY)) talk_lose(t, object_place(&o, "display"), SPAN("display"));
  object_rest(&o);
  t->shown = !is(type, "disabled") && !is(display, "omitted");
  if (is(type, "disabled")) t->effort = EFFORT_NONE;
  else if (is(type, "enabled")) t->effort = effort_of_budget(t, budget), t->budget = budget, t->effort_counted = true;
  else if (is(type, "adaptive")) talk_lose(t, t->effort_place, SPAN("thinking"));
  else talk_wrong(t, object_place(&o, "type"), "must be enabled, adaptive or disabled");
}

static void format_read(struct talk *t, struct json format, const struct place *place) {
  struct object o;
  if (!json_given(format) || !object_open(t, format, place, &o)) return;
  struct json type = object_take(&o, "type");
  t->format = FORMAT_SCHEMA;
  t->format_place = place;
  t->schema = object_take_type(&o, "schema", JSON_OBJECT);
  t->format_strict = (struct json){ JSON_TRUE, SPAN("true") };
  if (!is(type, "json_schema") || t->schema.type != JSON_OBJECT) talk_wrong(t, place, "must be of type json_schema, with a schema");
  object_rest(&o);
}

/* An effort that is named goes before what a budget would come to. */
static void output_read(struct talk *t, struct object *b) {
  static const char *const words[] = { "low", "medium", "high", "xhigh", "max" };
  struct object o;
  struct json config = object_take_type(b, "output_config", JSON_OBJECT);
  format_read(t, object_take(b, "output_format"), object_place(b, "output_format"));
  if (!json_given(config) || !object_open(t, config, object_place(b, "output_config"), &o)) return;
  struct json effort = object_take(&o, "effort");
  format_read(t, object_take(&o, "format"), object_place(&o, "format"));
  object_rest(&o);
  for (int i = 0; i < 5; i++)
    if (is(effort, words[i]) && t->effort != EFFORT_NONE) {
      t->effort = (enum effort)(EFFORT_LOW + i), t->effort_place = object_place(&o, "effort");
      t->effort_named = true, t->effort_counted = false;
    }
}

static void who_read(struct talk *t, struct object *b) {
  struct object o;
  struct json metadata = object_take_type(b, "metadata", JSON_OBJECT), tier = object_take(b, "service_tier");
  if (is(tier, "auto")) t->tier = TIER_FIELD_AUTO;
  else if (is(tier, "standard_only")) t->tier = TIER_FIELD_STANDARD;
  else if (json_given(tier)) talk_lose(t, object_place(b, "service_tier"), SPAN("service_tier"));
  if (!json_given(metadata) || !object_open(t, metadata, object_place(b, "metadata"), &o)) return;
  t->user = object_take_type(&o, "user_id", JSON_STRING);
  t->user_place = object_place(&o, "user_id");
  object_take(&o, "session_id");                         /* weir's own reading of it */
  object_rest(&o);
}

/* What chat has no word for. */
static void extras_read(struct talk *t, struct object *b) {
  static const struct { const char *name, *instead; } fields[] = {
    { "container", "what lives there cannot be reached from elsewhere" }, { "mcp_servers", "use tools of your own" },
    { "context_management", "shorten the messages yourself" }, { "inference_geo", "choose a provider that keeps to the place" },
    { "top_k", NULL }, { "cache_control", NULL }, { "fallbacks", NULL }, { "speed", NULL }, { "diagnostics", NULL },
  };
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
    struct json v = object_take(b, fields[i].name);
    bool nothing = v.type == JSON_ARRAY && json_iter(v).at == json_iter(v).end;
    if (json_given(v) && !nothing) extra_add(t, object_place(b, fields[i].name), span_cstr(fields[i].name), fields[i].instead);
  }
}

/* A conversation that the provider keeps. Its first turn holds all of it; a later one only what is new. */
static void thread_read(struct talk *t, struct object *b) {
  struct json v = object_take(b, "thread");
  const struct place *at = object_place(b, "thread");
  if (!json_given(v)) return;
  if (json_string_is(json_in(v, SPAN("type")), SPAN("create"))) talk_lose(t, at, SPAN("thread"));
  else talk_refuse(t, place_in(t, at, "previous_message_id"), SPAN("thread"), "what came before lies with another provider; send the whole talk");
}

void talk_read_messages(struct talk *t, struct object *b) {
  struct json messages = object_take_type(b, "messages", JSON_ARRAY), key, item;
  struct json_iter i = json_iter(messages);
  object_take(b, "model");
  if (messages.type != JSON_ARRAY) talk_wrong(t, object_place(b, "messages"), "is missing");
  read_content(t, object_take(b, "system"), object_place(b, "system"), NULL, &t->system_end);
  for (size_t n = 0; json_next(&i, &key, &item); n++) message_read(t, item, place_at(t, object_place(b, "messages"), n));
  tools_read(t, b);
  thinking_option_read(t, b);
  output_read(t, b);
  who_read(t, b);
  t->max_tokens = object_take_type(b, "max_tokens", JSON_NUMBER);
  t->temperature = object_take_type(b, "temperature", JSON_NUMBER);
  t->top_p = object_take_type(b, "top_p", JSON_NUMBER);
  t->stops = object_take_type(b, "stop_sequences", JSON_ARRAY);
  t->stream = object_take(b, "stream").type == JSON_TRUE;
  thread_read(t, b);
  extras_read(t, b);
  object_rest(b);
}
