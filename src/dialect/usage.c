#include "dialect_impl.h"
#include "weir/money.h"

const char *tier_word(enum service_tier t) {
  static const char *const words[TIER_COUNT] = { "", "standard", "priority", "flex", "batch" };
  return words[t < TIER_COUNT ? t : TIER_UNTOLD];
}

/* The providers' words for how they served it. What is bought in advance (scale, provisioned) is told as standard. */
void usage_tier(struct json tier, struct usage *out) {
  static const struct { struct span word; enum service_tier tier; } words[] = {
    { SPAN("default"), TIER_STANDARD }, { SPAN("standard"), TIER_STANDARD }, { SPAN("on_demand"), TIER_STANDARD },
    { SPAN("scale"), TIER_STANDARD }, { SPAN("priority"), TIER_PRIORITY }, { SPAN("performance"), TIER_PRIORITY },
    { SPAN("fast"), TIER_PRIORITY }, { SPAN("flex"), TIER_FLEX }, { SPAN("batch"), TIER_BATCH },
  };
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (span_eq(string_raw(tier), words[i].word)) out->tier = words[i].tier;
}

static void take(int64_t *into, int64_t newer) {
  if (newer >= 0) *into = newer;
}

static void take_word(uint16_t *into, uint16_t newer) {
  if (newer) *into = newer;
}

void usage_merge(struct usage *into, const struct usage *newer) {
  int64_t hour = into->cache_write_1h;
  take(&into->input, newer->input);
  take(&into->cache_read, newer->cache_read);
  take(&into->cache_write, newer->cache_write);
  take(&into->cache_write_1h, newer->cache_write_1h);
  take(&into->output, newer->output);
  take(&into->reasoning, newer->reasoning);
  take(&into->audio_in, newer->audio_in);
  take(&into->image_in, newer->image_in);
  take(&into->audio_out, newer->audio_out);
  take(&into->image_out, newer->image_out);
  take(&into->searches, newer->searches);
  take(&into->tool_calls, newer->tool_calls);
  take(&into->cost, newer->cost);
  take_word(&into->tier, newer->tier);
  take_word(&into->fast, newer->fast);
  take_word(&into->us, newer->us);
  if (newer->output >= 0) into->reasoning_place = newer->reasoning_place;
  /* All writes restated as one number: the split told before stands. */
  if (newer->cache_write >= 0 && newer->cache_write_1h < 0 && hour > 0) {
    into->cache_write_1h = hour < newer->cache_write ? hour : newer->cache_write;
    into->cache_write = newer->cache_write - into->cache_write_1h;
  }
}

void usage_reasoning(struct usage *u, enum reasoning_rule rule) {
  bool inside = u->reasoning_place == REASONING_INSIDE && rule != REASONING_ALWAYS_OUTSIDE;
  if (rule == REASONING_AS_TOLD || inside || u->reasoning_place == REASONING_ADDED) return;
  if (u->output < 0 || u->reasoning <= 0) return;
  u->output += u->reasoning;
  u->reasoning_place = REASONING_ADDED;
}

/* Which of the names a key is, or n. */
static size_t name_of(struct json key, const struct span *names, size_t n) {
  char room[64];
  for (;;) {
    for (size_t i = 0; i < n; i++)
      if (key_is(key, names[i])) return i;
    if (!key_escaped(key)) return n;
    key = key_plain(key, room);
    if (key_escaped(key)) return n;
  }
}

static void count_take(int64_t *into, struct json v) {
  int64_t count = json_count(v);
  if (count >= 0) *into = count;
}

/* The details of a count; words[i] is the name of counts[i]. */
static void read_counts(struct json object, const struct span *words, int64_t *counts, size_t n) {
  struct json_pull p;
  if (object.type != JSON_OBJECT) return;
  pull_begin(&p, object.text);
  for (bool on = pull_enter(&p); on; on = pull_more(&p, '}')) {
    struct json key = pull_key(&p), item = pull_value(&p);
    size_t i = item.type == JSON_NUMBER ? name_of(key, words, n) : n;
    if (i < n) count_take(&counts[i], item);
  }
}

static int64_t first_of(const int64_t *counts, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (counts[i] >= 0) return counts[i];
  return -1;
}
static int64_t zero_up(int64_t n) { return n > 0 ? n : 0; }

/* Cached tokens stand inside the input count everywhere but where there are more of them than input (xAI). Reasoning
   stands outside the output count where the total says so (xAI) or where it is the larger one (Perplexity). */
static void normalize(int64_t input, int64_t output, int64_t total, struct usage *u) {
  int64_t cached = zero_up(u->cache_read), written = zero_up(u->cache_write), reasoning = zero_up(u->reasoning);
  bool outside = cached > input;
  if (input >= 0) u->input = outside ? zero_up(input - written) : zero_up(input - cached - written);
  if (output < 0) return;
  int64_t apart = total - input - output;
  bool added = reasoning > 0 &&
               (reasoning > output || (input >= 0 && (apart == reasoning || (outside && apart == cached + reasoning))));
  u->output = output + (added ? reasoning : 0);
  if (added) u->reasoning_place = REASONING_ADDED;
  else if (input >= 0 && (apart == 0 || (outside && apart == cached))) u->reasoning_place = REASONING_INSIDE;
}

/* What some providers say it cost, in dollars; xAI in ten-billionths of one. With a key of the caller's own OpenRouter takes its fee, and
   the provider behind it the rest. */
static int64_t dollars(struct json v) {
  picodollars money;
  const char *why;
  return v.type == JSON_NUMBER && money_read_scaled(v.text, 0, &money, &why) ? money : -1;
}

static int64_t cost_of(struct json cost, int64_t ticks, struct json own_key, struct json details) {
  if (cost.type == JSON_OBJECT) cost = json_in(cost, SPAN("total_cost"));
  int64_t sum = dollars(cost);
  if (sum >= 0 && own_key.type == JSON_TRUE) {
    int64_t behind = dollars(json_in(details, SPAN("upstream_inference_cost")));
    sum = behind < 0 ? -1 : money_sum(sum, behind);
  }
  if (sum < 0 && ticks >= 0) sum = ticks > MONEY_MOST / 100 ? MONEY_MOST : ticks * 100;
  return sum;
}

void usage_pull_openai(struct json_pull *pull, const struct usage_names *names, struct usage *out) {
  enum { INPUT, OUTPUT, TOTAL, HIT, FLAT_CACHED, MISTRAL_CACHED, FLAT_REASONING, SEARCHES, TICKS, COUNTS };
  enum { IN_DETAILS, IN_DETAILS_TOO, OUT_DETAILS, COST, OWN_KEY, COST_DETAILS, OTHERS };
  const struct span top[COUNTS + OTHERS] = { names->input, names->output, SPAN("total_tokens"), SPAN("prompt_cache_hit_tokens"),
                                   SPAN("cached_tokens"), SPAN("num_cached_tokens"), SPAN("reasoning_tokens"),
                                   SPAN("num_search_queries"), SPAN("cost_in_usd_ticks"),
                                   names->input_details, SPAN("prompt_token_details"), names->output_details,
                                   SPAN("cost"), SPAN("is_byok"), SPAN("cost_details") };
  static const struct span details[] = { SPAN("cached_tokens"), SPAN("cache_write_tokens"),
                                         SPAN("cache_creation_input_tokens"), SPAN("audio_tokens"), SPAN("image_tokens") };
  static const struct span output_details[] = { SPAN("reasoning_tokens"), SPAN("audio_tokens"), SPAN("image_tokens") };
  int64_t t[COUNTS], d[5] = { -1, -1, -1, -1, -1 }, o[3] = { -1, -1, -1 };
  struct json others[OTHERS] = { 0 };
  struct json_pull p = *pull;
  for (size_t i = 0; i < COUNTS; i++) t[i] = -1;
  *out = USAGE_NONE;
  for (bool on = pull_enter(&p); on; on = pull_more(&p, '}')) {
    struct json key = pull_key(&p), item = pull_value(&p);
    size_t i = name_of(key, top, COUNTS + OTHERS);
    if (i < COUNTS) count_take(&t[i], item);
    else if (i < COUNTS + OTHERS && others[i - COUNTS].type == JSON_NONE) others[i - COUNTS] = item;
  }
  read_counts(others[others[IN_DETAILS].type == JSON_OBJECT ? IN_DETAILS : IN_DETAILS_TOO], details, d, 5);
  read_counts(others[OUT_DETAILS], output_details, o, 3);
  out->cache_read = d[0] >= 0 ? d[0] : first_of(&t[HIT], 3);
  out->cache_write = first_of(&d[1], 2);
  out->reasoning = o[0] >= 0 ? o[0] : t[FLAT_REASONING];
  out->audio_in = d[3], out->image_in = d[4];
  out->audio_out = o[1], out->image_out = o[2];
  out->searches = t[SEARCHES];
  out->cost = cost_of(others[COST], t[TICKS], others[OWN_KEY], others[COST_DETAILS]);
  normalize(t[INPUT], t[OUTPUT], t[TOTAL], out);
  *pull = p;
}

void usage_read_openai(struct json usage, const struct usage_names *names, struct usage *out) {
  struct json_pull p;
  pull_begin(&p, usage.text);
  if (pull_is(&p, '{')) usage_pull_openai(&p, names, out);
  else *out = USAGE_NONE;
}

void usage_read(enum dialect d, struct json usage, struct usage *out) {
  *out = USAGE_NONE;
  if (usage.type == JSON_OBJECT) dialect_impl(d)->usage(usage, out);
}
