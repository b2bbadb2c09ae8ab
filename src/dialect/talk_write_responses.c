/* talk_write_responses.c: a responses request, made of the middle model. It can say nearly all that chat can, in items that stand one
   behind the other: messages, calls, their outputs, reasoning. Nothing is kept there (store: false) unless the client asks for it. */
#include "talk.h"
#include "weir/sha256.h"

enum { LIMIT_LEAST = TRANSLATE_LEAST, USER_MOST = 64 };

/* ---- parts of a message, or of a tool's output */
static void text_part(struct json_writer *w, struct span type, struct span member, struct json text) {
  json_begin(w, '{');
  field_str(w, SPAN("type"), type);
  field_raw(w, member, text.text);
  json_end(w, '}');
}

static void image_part(struct json_writer *w, const struct part *p) {
  json_begin(w, '{');
  field_str(w, SPAN("type"), SPAN("input_image"));
  if (p->url.type == JSON_STRING) field_raw(w, SPAN("image_url"), p->url.text);
  else field_data_url(w, SPAN("image_url"), p->mime, p->data);
  if (p->detail.type == JSON_STRING) field_raw(w, SPAN("detail"), p->detail.text);
  else field_str(w, SPAN("detail"), SPAN("auto"));
  json_end(w, '}');
}

static void file_part(struct json_writer *w, const struct part *p) {
  bool inline_ = p->file.type != JSON_STRING && p->url.type != JSON_STRING;
  json_begin(w, '{');
  field_str(w, SPAN("type"), SPAN("input_file"));
  if (p->file.type == JSON_STRING) field_raw(w, SPAN("file_id"), p->file.text);
  else if (p->url.type == JSON_STRING) field_raw(w, SPAN("file_url"), p->url.text);
  else field_data_url(w, SPAN("file_data"), p->kind == PART_PDF ? SPAN("application/pdf") : p->mime, p->data);
  if (string_full(p->text)) field_raw(w, SPAN("filename"), p->text.text);
  else if (inline_) field_str(w, SPAN("filename"), p->kind == PART_PDF ? SPAN("document.pdf") : SPAN("file"));
  json_end(w, '}');
}

static bool is_input(const struct part *p) { return p->kind == PART_TEXT || p->kind == PART_IMAGE || p->kind == PART_PDF || p->kind == PART_FILE; }

static void input_part(struct talk *t, struct json_writer *w, const struct part *p) {
  part_lose_cache(t, p);
  if (p->kind == PART_TEXT) text_part(w, SPAN("input_text"), SPAN("text"), p->text);
  else if (p->kind == PART_IMAGE) image_part(w, p);
  else file_part(w, p);
}

/* ---- items */
static void item_begin(struct json_writer *w, struct span type) {
  json_begin(w, '{');
  field_str(w, SPAN("type"), type);
}

static void message_begin(struct json_writer *w, struct span role) {
  item_begin(w, SPAN("message"));
  field_str(w, SPAN("role"), role);
  json_key(w, SPAN("content"));
}

/* The parts from *p on that stand together in one message; *p is the first behind them. */
static void input_message(struct talk *t, struct json_writer *w, struct span role, const struct part **p) {
  const struct part *first = *p;
  message_begin(w, role);
  if (first->plain && (!first->next || !is_input(first->next))) {
    part_lose_cache(t, first);
    json_raw(w, first->text.text);
    *p = first->next;
  } else {
    json_begin(w, '[');
    for (; *p && is_input(*p); *p = (*p)->next) input_part(t, w, *p);
    json_end(w, ']');
  }
  json_end(w, '}');
}

static void result_item(struct talk *t, struct json_writer *w, const struct part *result) {
  const struct part *only = result->inner;
  struct span before = result->error ? SPAN("error: ") : SPAN("");
  if (result->error) talk_lose(t, result->place, SPAN("is_error"));
  part_lose_cache(t, result);
  item_begin(w, result->custom ? SPAN("custom_tool_call_output") : SPAN("function_call_output"));
  field_str(w, SPAN("call_id"), result->id);
  json_key(w, SPAN("output"));
  if (!only) {
    json_str(w, before);
  } else if (only->plain && !only->next) {
    json_raw(w, talk_joined(t, before, only->text, SPAN("")).text);
  } else {
    json_begin(w, '[');
    if (before.n) text_part(w, SPAN("input_text"), SPAN("text"), talk_quoted(t, before));
    for (const struct part *p = only; p; p = p->next)
      if (is_input(p)) input_part(t, w, p);
    json_end(w, ']');
  }
  json_end(w, '}');
}

static void user_items(struct talk *t, struct json_writer *w, const struct turn *turn) {
  for (const struct part *p = turn->parts; p;) {
    if (is_input(p)) { input_message(t, w, SPAN("user"), &p); continue; }
    if (p->kind == PART_RESULT) result_item(t, w, p);
    if (p->kind == PART_AUDIO) talk_refuse(t, p->place, SPAN("input_audio"), "send a transcript as a text part");
    p = p->next;
  }
  if (turn->parts) return;
  message_begin(w, SPAN("user"));
  json_str(w, SPAN(""));
  json_end(w, '}');
}

static void call_item(struct talk *t, struct json_writer *w, const struct part *p) {
  part_lose_cache(t, p);
  item_begin(w, p->custom ? SPAN("custom_tool_call") : SPAN("function_call"));
  field_str(w, SPAN("call_id"), p->id);
  field_raw(w, SPAN("name"), p->name.text);
  field_str(w, p->custom ? SPAN("input") : SPAN("arguments"), p->arguments);
  json_end(w, '}');
}

/* A signature of that dialect is the item's id and its encrypted content. What was not made there means nothing there, and an item that
   nothing of the model's follows is refused there. */
static void reasoning_item(struct talk *t, struct json_writer *w, const struct part *p) {
  struct json sealed = p->kind == PART_THINKING ? p->signature : p->text;
  struct span id, content = span_cut(talk_string(t, sealed), ':', &id);
  const struct part *next = p->next;
  while (next && talk_step(t) && (next->kind == PART_THINKING || next->kind == PART_REDACTED)) next = next->next;
  if (!content.n || !id.n || !next) { talk_lose(t, p->place, SPAN("thinking")); return; }
  item_begin(w, SPAN("reasoning"));
  field_str(w, SPAN("id"), id);
  field_array(w, SPAN("summary"));
  if (p->kind == PART_THINKING && string_full(p->text)) text_part(w, SPAN("summary_text"), SPAN("text"), p->text);
  json_end(w, ']');
  field_str(w, SPAN("encrypted_content"), content);
  json_end(w, '}');
}

static void assistant_items(struct talk *t, struct json_writer *w, const struct turn *turn) {
  for (const struct part *p = turn->parts; p;) {
    bool text = p->kind == PART_TEXT || p->kind == PART_REFUSAL;
    if (p->kind == PART_CALL) call_item(t, w, p);
    else if (p->kind == PART_THINKING || p->kind == PART_REDACTED) reasoning_item(t, w, p);
    else if (!text) talk_refuse(t, p->place, SPAN("image"), "images and documents are the user's alone");
    if (!text) { p = p->next; continue; }
    message_begin(w, SPAN("assistant"));
    json_begin(w, '[');
    for (; p && (p->kind == PART_TEXT || p->kind == PART_REFUSAL); p = p->next) {
      part_lose_cache(t, p);
      if (p->kind == PART_TEXT) text_part(w, SPAN("output_text"), SPAN("text"), p->text);
      else text_part(w, SPAN("refusal"), SPAN("refusal"), p->text);
    }
    json_end(w, ']');
    json_end(w, '}');
  }
}

/* ---- instructions: all that stand before the talk are one text */
static void instructions_check(struct talk *t, const struct part *parts) {
  for (const struct part *p = parts; p; p = p->next)
    if (p->kind != PART_TEXT) talk_refuse(t, p->place, SPAN("system"), "instructions hold text alone");
}

static void instructions_write(struct talk *t, struct json_writer *w) {
  struct buf all = { 0 };
  instructions_check(t, t->system);
  if (t->failed || !t->system || !t->turns) return;
  for (const struct part *p = t->system; p; p = p->next) {
    part_lose_cache(t, p);
    if (p->kind != PART_TEXT) continue;
    buf_add(&all, buf_size(&all) ? SPAN("\\n\\n") : SPAN("\""));
    buf_add(&all, string_raw(p->text));
  }
  if (buf_size(&all)) buf_byte(&all, '"'), field_raw(w, SPAN("instructions"), buf_span(&all));
  buf_free(&all);
}

static void system_item(struct talk *t, struct json_writer *w, const struct part *parts) {
  instructions_check(t, parts);
  if (!t->failed && parts && is_input(parts)) input_message(t, w, SPAN("system"), &parts);
}

static void input_write(struct talk *t, struct json_writer *w) {
  field_array(w, SPAN("input"));
  if (!t->turns) system_item(t, w, t->system);           /* there must be some */
  for (const struct turn *turn = t->turns; turn; turn = turn->next) {
    if (turn->role == ROLE_SYSTEM) system_item(t, w, turn->parts);
    else if (turn->role == ROLE_USER) user_items(t, w, turn);
    else if (turn->next || t->from == DIALECT_CHAT) assistant_items(t, w, turn);
    else talk_refuse(t, turn->place, SPAN("prefill"), "the last message must be the user's: an answer cannot be begun for the model");
  }
  json_end(w, ']');
}

/* ---- tools. What is not said of strictness means true there. */
static void custom_write(struct talk *t, struct json_writer *w, const struct tool *tool) {
  if (tool->grammar.type != JSON_OBJECT) return;
  struct object grammar;
  const struct place *place = place_in(t, NULL, "tools");
  if (!object_open(t, tool->grammar, place, &grammar)) return;
  struct json syntax = object_take_type(&grammar, "syntax", JSON_STRING), definition = object_take_type(&grammar, "definition", JSON_STRING);
  object_rest(&grammar);
  field_object(w, SPAN("format"));
  field_str(w, SPAN("type"), SPAN("grammar"));
  if (syntax.type == JSON_STRING) field_raw(w, SPAN("syntax"), syntax.text);
  if (definition.type == JSON_STRING) field_raw(w, SPAN("definition"), definition.text);
  json_end(w, '}');
}

static void tool_write(struct talk *t, struct json_writer *w, const struct tool *tool) {
  json_begin(w, '{');
  field_str(w, SPAN("type"), tool->custom ? SPAN("custom") : SPAN("function"));
  field_raw(w, SPAN("name"), tool->name.text);
  if (tool->description.type == JSON_STRING) field_raw(w, SPAN("description"), tool->description.text);
  if (tool->custom) {
    custom_write(t, w, tool);
  } else {
    field_raw(w, SPAN("parameters"), tool->schema.type == JSON_OBJECT ? tool->schema.text : SPAN("{\"type\":\"object\",\"properties\":{}}"));
    field_bool(w, SPAN("strict"), tool->strict.type == JSON_TRUE);
  }
  json_end(w, '}');
  if (json_given(tool->cache)) talk_lose(t, place_in(t, NULL, "tools"), SPAN("cache_control"));
}

static bool takes_text(struct talk *t, struct json name) {
  for (const struct tool *tool = t->tools; tool && talk_step(t); tool = tool->next)
    if (tool->custom && name.type == JSON_STRING && span_eq(string_raw(tool->name), string_raw(name))) return true;
  return false;
}

static void named_write(struct talk *t, struct json_writer *w, struct json name) {
  field_str(w, SPAN("type"), takes_text(t, name) ? SPAN("custom") : SPAN("function"));
  field_raw(w, SPAN("name"), name.text);
}

static void choice_write(struct talk *t, struct json_writer *w) {
  static const struct span words[] = { [CHOICE_UNTOLD] = SPAN("auto"), [CHOICE_AUTO] = SPAN("auto"), [CHOICE_NONE] = SPAN("none"), [CHOICE_ANY] = SPAN("required") };
  if (t->narrowed) {
    field_object(w, SPAN("tool_choice"));
    field_str(w, SPAN("type"), SPAN("allowed_tools"));
    field_str(w, SPAN("mode"), words[t->choice]);
    field_array(w, SPAN("tools"));
    for (const struct tool *tool = t->tools; tool; tool = tool->next) {
      if (tool->aside) continue;
      json_begin(w, '{');
      named_write(t, w, tool->name);
      json_end(w, '}');
    }
    json_end(w, ']');
    json_end(w, '}');
  } else if (t->choice == CHOICE_ONE) {
    field_object(w, SPAN("tool_choice"));
    named_write(t, w, t->choice_name);
    json_end(w, '}');
  } else if (t->choice) {
    field_str(w, SPAN("tool_choice"), words[t->choice]);
  }
}

static void tools_write(struct talk *t, struct json_writer *w) {
  if (!t->tools) return;
  field_array(w, SPAN("tools"));
  for (const struct tool *tool = t->tools; tool; tool = tool->next) tool_write(t, w, tool);
  json_end(w, ']');
  choice_write(t, w);
  if (t->one_call) field_bool(w, SPAN("parallel_tool_calls"), false);
}

/* ---- the rest */
static void text_write(struct talk *t, struct json_writer *w) {
  struct json verbosity = extra_take(t, "verbosity");
  if (t->format == FORMAT_TEXT && verbosity.type != JSON_STRING) return;
  field_object(w, SPAN("text"));
  if (t->format == FORMAT_JSON) field_raw(w, SPAN("format"), SPAN("{\"type\":\"json_object\"}"));
  if (t->format == FORMAT_SCHEMA) {
    field_object(w, SPAN("format"));
    field_str(w, SPAN("type"), SPAN("json_schema"));
    if (string_full(t->format_name)) field_raw(w, SPAN("name"), t->format_name.text);
    else field_str(w, SPAN("name"), SPAN("answer"));
    if (string_full(t->format_note)) field_raw(w, SPAN("description"), t->format_note.text);
    field_raw(w, SPAN("schema"), t->schema.text);
    field_bool(w, SPAN("strict"), t->format_strict.type == JSON_TRUE);
    json_end(w, '}');
  }
  if (verbosity.type == JSON_STRING) field_raw(w, SPAN("verbosity"), verbosity.text);
  json_end(w, '}');
}

/* Thoughts are told as a summary of them, when the client asked to see them; they come home in encrypted content alone, since nothing
   is kept. Models that do not think refuse to be asked for it. */
static bool reasoning_write(struct talk *t, struct json_writer *w) {
  static const char *const words[] = { NULL, "none", "minimal", "low", "medium", "high", "xhigh", "max" };
  bool thinks = t->how->reasoning > 0 || t->effort > EFFORT_NONE || t->shown;
  if (t->effort == EFFORT_NONE && t->how->reasoning == 0) return false;    /* it never does, and takes no word about it */
  if (!t->effort && !t->shown) return thinks;
  if (t->from != DIALECT_CHAT && t->effort > EFFORT_NONE) talk_lose(t, t->effort_place, SPAN("reasoning_effort"));
  field_object(w, SPAN("reasoning"));
  if (t->effort) field_str(w, SPAN("effort"), span_cstr(words[t->effort]));
  if (t->shown) field_str(w, SPAN("summary"), SPAN("auto"));
  json_end(w, '}');
  return thinks && t->effort != EFFORT_NONE;
}

static void include_write(struct talk *t, struct json_writer *w, bool thinks) {
  struct json probable = extra_take(t, "logprobs"), top = extra_take(t, "top_logprobs");
  if (probable.type == JSON_TRUE || thinks) field_array(w, SPAN("include"));
  if (thinks) json_str(w, SPAN("reasoning.encrypted_content"));
  if (probable.type == JSON_TRUE) json_str(w, SPAN("message.output_text.logprobs"));
  if (probable.type == JSON_TRUE || thinks) json_end(w, ']');
  if (top.type == JSON_NUMBER) field_raw(w, SPAN("top_logprobs"), top.text);
}

static void limit_write(struct talk *t, struct json_writer *w) {
  static const struct place place = { NULL, SPAN("max_tokens"), 0 };
  int64_t n;
  if (t->max_tokens.type != JSON_NUMBER) return;
  if (json_i64(t->max_tokens, &n) && n > 0 && n < LIMIT_LEAST) {
    talk_lose(t, &place, SPAN("max_tokens"));
    t->how->limit = LIMIT_LEAST;
    field_int(w, SPAN("max_output_tokens"), LIMIT_LEAST);
  } else {
    field_raw(w, SPAN("max_output_tokens"), t->max_tokens.text);
  }
}

static void stops_refuse(struct talk *t) {
  struct place place = { NULL, t->from == DIALECT_MESSAGES ? SPAN("stop_sequences") : SPAN("stop"), 0 };
  bool some = json_given(t->stops) && !(t->stops.type == JSON_ARRAY && json_iter(t->stops).at == json_iter(t->stops).end);
  if (some) talk_refuse(t, &place, SPAN("stop"), "it knows no stops; cut the text yourself, or ask at a provider of chat or messages");
}

/* Longer ones are refused there; the hash tells the same people apart. */
static void user_write(struct talk *t, struct json_writer *w) {
  struct span id = talk_string(t, t->user), name = t->user_place && span_eq(t->user_place->name, SPAN("safety_identifier")) ? SPAN("safety_identifier") : SPAN("user");
  struct json other = extra_take(t, "user");
  if (string_full(other)) field_raw(w, SPAN("user"), other.text);
  if (!id.n) return;
  if (t->from == DIALECT_MESSAGES && id.n > USER_MOST) {
    char hex[SHA256_HEX];
    sha256_hex_of(id, hex);
    talk_lose(t, t->user_place, SPAN("user_id"));
    field_str(w, name, span_cstr(hex));
  } else {
    field_raw(w, name, t->user.text);
  }
}

/* The same words mean the same there. */
static void same_write(struct talk *t, struct json_writer *w) {
  static const char *const words[] = { "metadata", "service_tier", "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options" };
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
    struct json v = extra_take(t, words[i]);
    if (json_given(v)) field_raw(w, span_cstr(words[i]), v.text);
  }
  if (t->tier) field_str(w, SPAN("service_tier"), t->tier == TIER_FIELD_AUTO ? SPAN("auto") : SPAN("default"));
  field_bool(w, SPAN("store"), extra_take(t, "store").type == JSON_TRUE);
}

void talk_write_responses(struct talk *t, struct buf *out) {
  struct json_writer w = { .out = out };
  json_begin(&w, '{');
  field_str(&w, SPAN("model"), t->how->model);
  instructions_write(t, &w);
  input_write(t, &w);
  tools_write(t, &w);
  limit_write(t, &w);
  if (t->temperature.type == JSON_NUMBER) field_raw(&w, SPAN("temperature"), t->temperature.text);
  if (t->top_p.type == JSON_NUMBER) field_raw(&w, SPAN("top_p"), t->top_p.text);
  stops_refuse(t);
  text_write(t, &w);
  include_write(t, &w, reasoning_write(t, &w));
  user_write(t, &w);
  same_write(t, &w);
  if (t->stream) field_bool(&w, SPAN("stream"), true);
  json_end(&w, '}');
}
