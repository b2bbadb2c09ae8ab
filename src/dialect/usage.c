#include "dialect_impl.h"

static void take(int64_t *into, int64_t newer) {
  if (newer >= 0) *into = newer;
}

void usage_merge(struct usage *into, const struct usage *newer) {
  int64_t hour = into->cache_write_1h;
  take(&into->input, newer->input);
  take(&into->cache_read, newer->cache_read);
  take(&into->cache_write, newer->cache_write);
  take(&into->cache_write_1h, newer->cache_write_1h);
  take(&into->output, newer->output);
  take(&into->reasoning, newer->reasoning);
  /* All writes restated as one number: the split told before stands. */
  if (newer->cache_write >= 0 && newer->cache_write_1h < 0 && hour > 0) {
    into->cache_write_1h = hour < newer->cache_write ? hour : newer->cache_write;
    into->cache_write = newer->cache_write - into->cache_write_1h;
  }
}

/* Walks one level of a usage object into counts; words[i] is the name of counts[i]. */
static void read_counts(struct json object, const struct span *words, int64_t *counts, size_t n) {
  struct json_iter i = json_iter(object);
  struct json key, item;
  while (json_next(&i, &key, &item)) {
    if (item.type != JSON_NUMBER) continue;
    for (size_t k = 0; k < n; k++)
      if (json_string_is(key, words[k])) {
        int64_t count = json_count(item);
        if (count >= 0) counts[k] = count;
        break;
      }
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
}

void usage_read_openai(struct json usage, const struct usage_names *names, struct usage *out) {
  enum { INPUT, OUTPUT, TOTAL, HIT, FLAT_CACHED, MISTRAL_CACHED, FLAT_REASONING, TOP };
  const struct span top[TOP] = { names->input, names->output, SPAN("total_tokens"), SPAN("prompt_cache_hit_tokens"),
                                 SPAN("cached_tokens"), SPAN("num_cached_tokens"), SPAN("reasoning_tokens") };
  const struct span details[] = { SPAN("cached_tokens"), SPAN("cache_write_tokens"),
                                  SPAN("cache_creation_input_tokens") };
  const struct span output_details[] = { SPAN("reasoning_tokens") };
  int64_t t[TOP], d[3] = { -1, -1, -1 }, reasoning[1] = { -1 };
  for (size_t i = 0; i < TOP; i++) t[i] = -1;
  *out = USAGE_NONE;
  read_counts(usage, top, t, TOP);
  struct json inner = json_in(usage, names->input_details);
  if (inner.type != JSON_OBJECT) inner = json_in(usage, SPAN("prompt_token_details"));
  read_counts(inner, details, d, 3);
  read_counts(json_in(usage, names->output_details), output_details, reasoning, 1);
  out->cache_read = d[0] >= 0 ? d[0] : first_of(&t[HIT], 3);
  out->cache_write = first_of(&d[1], 2);
  out->reasoning = reasoning[0] >= 0 ? reasoning[0] : t[FLAT_REASONING];
  normalize(t[INPUT], t[OUTPUT], t[TOTAL], out);
}

void usage_read(enum dialect d, struct json usage, struct usage *out) {
  *out = USAGE_NONE;
  if (usage.type == JSON_OBJECT) dialect_impl(d)->usage(usage, out);
}
