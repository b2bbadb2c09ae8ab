/* LiteLLM's price file. Numbers are read as the decimals they are written as. */
#include "weir/price.h"

/* A field is one of these names, perhaps with "_above_200k_tokens", perhaps with a tier's suffix behind. */
static const struct charge { struct span name; uint8_t meter; } charges[] = {
  { SPAN("input_cost_per_token"), METER_INPUT }, { SPAN("output_cost_per_token"), METER_OUTPUT },
  { SPAN("cache_read_input_token_cost"), METER_CACHE_READ }, { SPAN("cache_creation_input_token_cost"), METER_CACHE_WRITE },
  { SPAN("cache_creation_input_token_cost_above_1hr"), METER_CACHE_WRITE_1H },
  { SPAN("output_cost_per_reasoning_token"), METER_REASONING }, { SPAN("input_cost_per_audio_token"), METER_AUDIO_IN },
  { SPAN("output_cost_per_audio_token"), METER_AUDIO_OUT }, { SPAN("input_cost_per_image_token"), METER_IMAGE_IN },
  { SPAN("output_cost_per_image_token"), METER_IMAGE_OUT }, { SPAN("input_cost_per_request"), METER_REQUEST },
  { SPAN("input_cost_per_query"), METER_REQUEST }, { SPAN("input_cost_per_image"), METER_PICTURE_IN },
  { SPAN("output_cost_per_image"), METER_PICTURE_OUT }, { SPAN("input_cost_per_pixel"), METER_PIXEL_IN },
  { SPAN("output_cost_per_pixel"), METER_PIXEL_OUT }, { SPAN("input_cost_per_second"), METER_SECOND_IN },
  { SPAN("input_cost_per_audio_per_second"), METER_SECOND_IN }, { SPAN("output_cost_per_second"), METER_SECOND_OUT },
  { SPAN("input_cost_per_video_per_second"), METER_VIDEO_IN }, { SPAN("output_cost_per_video_per_second"), METER_VIDEO_OUT },
  { SPAN("input_cost_per_character"), METER_CHARACTER_IN }, { SPAN("output_cost_per_character"), METER_CHARACTER_OUT },
  { SPAN("ocr_cost_per_page"), METER_PAGE },
};
static const struct { struct span suffix; enum service_tier tier; } tiers[] = {
  { SPAN("_priority"), TIER_PRIORITY }, { SPAN("_flex"), TIER_FLEX }, { SPAN("_batches"), TIER_BATCH },
};
/* Known, and about what weir neither counts nor passes on: units of other currencies, storage, tools, cached audio, sizes of video. */
static const struct span passed_over[] = {
  SPAN("input_dbu_cost_per_token"), SPAN("output_dbu_cost_per_token"), SPAN("annotation_cost_per_page"), SPAN("ocr_cost_per_credit"),
  SPAN("citation_cost_per_token"), SPAN("code_interpreter_cost_per_session"), SPAN("computer_use_input_cost_per_1k_tokens"),
  SPAN("computer_use_output_cost_per_1k_tokens"), SPAN("file_search_cost_per_1k_calls"), SPAN("file_search_cost_per_gb_per_day"),
  SPAN("vector_store_cost_per_gb_per_day"), SPAN("cache_read_input_audio_token_cost"), SPAN("cache_creation_input_audio_token_cost"),
  SPAN("input_cost_per_video_per_second_above_15s_interval"), SPAN("input_cost_per_video_per_second_above_8s_interval"),
  SPAN("output_cost_per_second_1080p"), SPAN("output_cost_per_video_token"),
};
/* Modes whose answers are made of tokens. */
static const struct span talking[] = { SPAN("chat"), SPAN("completion"), SPAN("responses"), SPAN("realtime") };

struct reader {
  struct arena *arena;
  struct buf *odd;
  struct span name;                   /* of the entry */
  struct price_draft draft;
  struct price_model model;
  bool inclusive;                     /* its steps begin at the number, not above it */
  bool talks;
};

static struct span plain(struct reader *r, struct json v) {
  struct span text = { NULL, 0 };
  if (v.type == JSON_STRING) json_unescape(v, r->arena, &text);
  return text;
}

static bool one_of(struct span s, const struct span *list, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (span_eq(s, list[i])) return true;
  return false;
}

/* Names come from a file: what would break a line is shown as '?'. */
static void odd_text(struct buf *out, struct span s) {
  for (size_t i = 0; i < s.n && i < 120; i++) buf_byte(out, (unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f ? '?' : s.p[i]);
}

static void odd(struct reader *r, struct span field, const char *what) {
  odd_text(r->odd, r->name);
  buf_add(r->odd, SPAN(": "));
  odd_text(r->odd, field);
  buf_printf(r->odd, "%s%s\n", field.n ? " " : "", what);
}

/* Takes "_above_200k_tokens" off the end; -1 when a number stands there that is none. */
static int64_t step_cut(struct span *name) {
  static const struct span mark = SPAN("_above_"), tail = SPAN("k_tokens");
  uint64_t thousands;
  if (!span_ends(*name, tail)) return 0;
  size_t at = name->n - tail.n;
  while (at && name->p[at - 1] >= '0' && name->p[at - 1] <= '9') at--;
  struct span digits = span_of(name->p + at, name->n - tail.n - at), head = span_of(name->p, at);
  if (!span_ends(head, mark)) return 0;
  if (!span_u64(digits, &thousands) || !thousands || thousands > 1000000000) return -1;
  name->n = at - mark.n;
  return (int64_t)thousands * 1000;
}

static bool rate_read(struct reader *r, struct span field, struct json v, picodollars *out) {
  const char *why;
  struct span text = v.type == JSON_NUMBER ? v.text : plain(r, v);
  if (text.n && text.p[0] == '-') return odd(r, field, "is below zero; it is left out"), false;
  if (text.n && money_read_scaled(text, 6, out, &why)) return true;
  odd(r, field, "is no price; it is left out");
  return false;
}

static bool step_of(struct reader *r, struct span field, struct span *name, int64_t *step) {
  *step = step_cut(name);
  if (*step < 0) return odd(r, field, "has no step that can be read; it is left out"), false;
  if (*step && r->inclusive) --*step;
  return true;
}

/* base: the step of the row the field stands in. Whether it is a price at all. */
static bool charge_read(struct reader *r, struct span field, struct json v, int64_t base, unsigned hours) {
  enum service_tier tier = TIER_STANDARD;
  struct span name = field;
  picodollars rate;
  int64_t step;
  for (size_t i = 0; i < sizeof tiers / sizeof *tiers && tier == TIER_STANDARD; i++)
    if (span_ends(name, tiers[i].suffix)) name.n -= tiers[i].suffix.n, tier = tiers[i].tier;
  if (!step_of(r, field, &name, &step)) return true;
  if (!span_eq(name, SPAN("input_cost_per_token_cache_hit"))) {
    for (size_t i = 0; i < sizeof charges / sizeof *charges; i++) {
      if (!span_eq(name, charges[i].name)) continue;
      if (rate_read(r, field, v, &rate)) price_set(&r->draft, charges[i].meter, base > step ? base : step, tier, hours, rate);
      return true;
    }
    return false;
  }
  for (size_t i = 0; i < r->draft.count; i++)           /* an older name of the same */
    if (r->draft.items[i].meter == METER_CACHE_READ && !r->draft.items[i].above) return true;
  if (rate_read(r, field, v, &rate)) price_set(&r->draft, METER_CACHE_READ, base, tier, hours, rate);
  return true;
}

/* ---- what is no plain number */
/* [{ "range": [0, 256000], "input_cost_per_token": … }]: a row holds for all tokens of a request. Rows of search results are no such. */
static void rows_read(struct reader *r, struct json rows) {
  struct json_iter i = json_iter(rows), inner;
  struct json none, row, key, v;
  if (rows.type != JSON_ARRAY) return odd(r, SPAN("tiered_pricing"), "is no list; it is left out");
  while (json_next(&i, &none, &row)) {
    bool object = row.type == JSON_OBJECT;
    struct json low = object ? json_at(row, "range.0") : row;
    int64_t above;
    if (object && json_get(row, SPAN("max_results_range")).type != JSON_NONE) continue;
    if (!object || low.type != JSON_NUMBER || !json_i64(low, &above) || above < 0 || above > 1000000000000) {
      odd(r, SPAN("tiered_pricing"), "has a row without a range; it is left out");
      continue;
    }
    for (inner = json_iter(row); json_next(&inner, &key, &v);)
      if (v.type == JSON_NUMBER || v.type == JSON_STRING) charge_read(r, plain(r, key), v, above, 0);
  }
}

static bool clock_read(struct span text, unsigned *out) {
  struct span hours, minutes = span_cut(span_trim(text), ':', &hours);
  uint64_t h, m;
  if (!span_u64(hours, &h) || !span_u64(minutes, &m) || h > 24 || m > 59) return false;
  *out = (unsigned)(h * 60 + m) % 1440;
  return true;
}

/* { "hours_utc": "16:30-00:30", "input_cost_per_token": … } */
static void hours_read(struct reader *r, struct json block) {
  struct span from, to = span_cut(plain(r, json_get(block, SPAN("hours_utc"))), '-', &from);
  struct json_iter i = json_iter(block);
  struct json key, v;
  unsigned begin, end;
  if (block.type != JSON_OBJECT || !clock_read(from, &begin) || !clock_read(to, &end) || begin == end)
    return odd(r, SPAN("off_peak_pricing"), "has no hours_utc such as \"16:30-00:30\"; it is left out");
  unsigned hours = price_hours(&r->draft, begin, end);
  while (json_next(&i, &key, &v))
    if (v.type == JSON_NUMBER) charge_read(r, plain(r, key), v, 0, hours);
}

static bool mentions(struct span name, struct span word) { return span_search(name, word) < name.n; }

/* Models whose every request is a search and whose usage does not tell of it: Perplexity's, but for deep research, and OpenAI's that
   are made for it. */
static bool always_searches(const struct reader *r) {
  if (span_eq(r->model.provider, SPAN("perplexity"))) return !mentions(r->name, SPAN("deep-research"));
  return mentions(r->name, SPAN("search-preview")) || mentions(r->name, SPAN("search-api"));
}

/* By how much context a search brings: the middle one is what providers take when a request does not say. */
static void search_read(struct reader *r, struct json sizes) {
  picodollars rate;
  enum meter meter = always_searches(r) ? METER_REQUEST : METER_SEARCH;
  struct json medium = sizes.type == JSON_OBJECT ? json_get(sizes, SPAN("search_context_size_medium")) : sizes;
  struct json_iter i = json_iter(sizes);
  struct json key;
  if (medium.type == JSON_NONE && sizes.type == JSON_OBJECT) json_next(&i, &key, &medium);
  if (medium.type == JSON_NONE) return;
  if (rate_read(r, SPAN("search_context_cost_per_query"), medium, &rate)) price_set(&r->draft, meter, 0, TIER_STANDARD, 0, rate);
}

/* OpenAI and Anthropic charge 10 USD for a thousand searches whatever the model, and not each entry says so. */
static void search_usual(struct reader *r) {
  static const struct span same[] = { SPAN("openai"), SPAN("azure"), SPAN("anthropic") };
  bool tokens = false;
  for (size_t i = 0; i < r->draft.count; i++) {
    if (r->draft.items[i].meter == METER_SEARCH) return;
    tokens |= r->draft.items[i].meter == METER_INPUT;
  }
  if (r->talks && tokens && one_of(r->model.provider, same, 3)) price_set(&r->draft, METER_SEARCH, 0, TIER_STANDARD, 0, MONEY_USD / 100 * PRICE_PPM);
}

static void factor_read(struct reader *r, struct json entry, struct span name, uint32_t *out) {
  struct json v = json_get(entry, name);
  picodollars one;                                       /* read as money: a decimal without a float */
  const char *why;
  if (v.type != JSON_NUMBER) return;
  if (money_read_scaled(v.text, 0, &one, &why) && one && one <= 100 * MONEY_USD) *out = (uint32_t)((one + PRICE_PPM - 1) / PRICE_PPM);
  else odd(r, name, "is no factor; it is left out");
}

/* ---- the rest of an entry */
static int64_t tokens_read(struct json v) {
  int64_t n;
  return v.type == JSON_NUMBER && json_i64(v, &n) && n > 0 && n <= 1000000000000 ? n : 0;
}

static bool costs(struct span field) { return span_search(field, SPAN("cost")) < field.n; }

int32_t price_day(struct span text) {
  uint64_t y, m, d;
  if (text.n != 10 || text.p[4] != '-' || text.p[7] != '-' || !span_u64(span_of(text.p, 4), &y) || !span_u64(span_of(text.p + 5, 2), &m) ||
      !span_u64(span_of(text.p + 8, 2), &d) || m < 1 || m > 12 || d < 1 || d > 31) return 0;
  return (int32_t)(y * 10000 + m * 100 + d);
}

/* What the file says a model takes; what it does not name is not known. */
static bool ability_read(struct reader *r, struct span field, struct json v) {
  static const struct { struct span field; enum ability able; } known[] = {
    { SPAN("supports_vision"), ABLE_IMAGES }, { SPAN("supports_pdf_input"), ABLE_PDF }, { SPAN("supports_audio_input"), ABLE_AUDIO },
    { SPAN("supports_function_calling"), ABLE_TOOLS }, { SPAN("supports_parallel_function_calling"), ABLE_PARALLEL_TOOLS },
    { SPAN("supports_response_schema"), ABLE_JSON_SCHEMA }, { SPAN("supports_assistant_prefill"), ABLE_PREFILL },
    { SPAN("supports_sampling_params"), ABLE_TEMPERATURE },
  };
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    if (!span_eq(field, known[i].field)) continue;
    if (v.type == JSON_TRUE) r->model.able.can |= ABLE_BIT(known[i].able);
    if (v.type == JSON_FALSE) r->model.able.cannot |= ABLE_BIT(known[i].able);
    return true;
  }
  return false;
}

static void field_read(struct reader *r, struct span field, struct json v) {
  struct price_model *m = &r->model;
  if (v.type == JSON_NULL) return;
  if (span_eq(field, SPAN("litellm_provider")) || span_eq(field, SPAN("mode"))) return;       /* read before */
  if (span_eq(field, SPAN("max_input_tokens"))) m->window = tokens_read(v);
  else if (span_eq(field, SPAN("max_output_tokens"))) m->max_output = tokens_read(v);
  else if (span_eq(field, SPAN("supports_reasoning"))) m->reasoning = v.type == JSON_TRUE;
  else if (span_eq(field, SPAN("deprecation_date"))) m->deprecated = price_day(plain(r, v));
  else if (ability_read(r, field, v)) return;
  else if (span_eq(field, SPAN("tiered_pricing"))) rows_read(r, v);
  else if (span_eq(field, SPAN("off_peak_pricing"))) hours_read(r, v);
  else if (span_eq(field, SPAN("search_context_cost_per_query"))) search_read(r, v);
  else if (span_eq(field, SPAN("provider_specific_entry")) && v.type == JSON_OBJECT)
    factor_read(r, v, SPAN("fast"), &r->draft.fast), factor_read(r, v, SPAN("us"), &r->draft.us);
  else if (costs(field) && !charge_read(r, field, v, 0, 0) && !one_of(field, passed_over, sizeof passed_over / sizeof *passed_over))
    odd(r, field, "is not known to weir: it is not charged");
}

static bool entry_read(struct reader *r, struct json entry) {
  struct json_iter i = json_iter(entry);
  struct json key, v;
  const char *why;
  r->draft.count = r->draft.hours_count = 0;
  r->draft.fast = r->draft.us = 0;
  r->draft.overflow = false;
  r->model = (struct price_model){ .name = r->name, .reasoning = -1, .responses = -1 };
  if (entry.type != JSON_OBJECT) return odd(r, SPAN(""), "it is no object; it is left out"), false;
  r->model.provider = plain(r, json_get(entry, SPAN("litellm_provider")));
  struct span mode = plain(r, json_get(entry, SPAN("mode")));
  r->talks = !mode.n || one_of(mode, talking, sizeof talking / sizeof *talking);
  r->model.responses = !mode.n ? -1 : span_eq(mode, SPAN("responses"));
  r->inclusive = span_eq(r->model.provider, SPAN("xai"));
  while (json_next(&i, &key, &v)) field_read(r, plain(r, key), v);
  search_usual(r);
  if (!r->draft.count) return true;                      /* a model of which only sizes are known */
  if (!price_make(&r->draft, !r->talks, r->arena, &r->model.price, &why)) odd(r, SPAN(""), why);
  return true;
}

static size_t members(struct json object) {
  struct json_iter i = json_iter(object);
  struct json key, v;
  size_t n = 0;
  while (json_next(&i, &key, &v)) n++;
  return n;
}

/* Documentation, and rules without prices. */
static bool no_model(struct span name) { return span_eq(name, SPAN("sample_spec")) || span_eq(name, SPAN("fallback_generalizations")); }

bool price_file_read(struct span text, struct arena *a, struct price_table *out, struct buf *odd_lines, const char **why, size_t *at) {
  struct json document, key, v;
  struct json_error e = { 0 };
  *out = (struct price_table){ 0 };
  *at = 0;
  if (!json_read(text, &document, &e)) return *why = e.why, *at = e.at, false;
  if (document.type != JSON_OBJECT) return *why = "it is no object of models", false;
  struct reader *r = mem_zero(sizeof *r);
  struct json_iter i = json_iter(document);
  r->arena = a;
  r->odd = odd_lines;
  out->models = arena_alloc(a, (members(document) + 1) * sizeof *out->models);
  while (json_next(&i, &key, &v)) {
    r->name = plain(r, key);
    if (!r->name.n || no_model(r->name) || !entry_read(r, v)) continue;
    if (table_get(&out->names, r->name)) odd(r, SPAN(""), "it stands twice; the last one counts");
    out->models[out->count] = r->model;
    table_set(&out->names, r->name, &out->models[out->count]);
    out->count++;
  }
  mem_free(r);
  return true;
}
