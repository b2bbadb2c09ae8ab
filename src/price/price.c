/* Rates and counts to money, in whole numbers. */
#include "weir/price.h"

typedef unsigned __int128 wide;
static const int64_t most_count = 1000000000000000;      /* as many as a usage can tell of one kind */

const char *meter_word(enum meter m) {
  static const char *const words[METER_COUNT] = {
    "input", "cache_read", "cache_write", "cache_write_1h", "audio_in", "image_in", "output", "reasoning", "audio_out",
    "image_out", "per_request", "per_search", "per_image_in", "per_image_out", "per_pixel_in", "per_pixel_out",
    "per_second_in", "per_second_out", "per_video_second_in", "per_video_second_out", "per_character_in",
    "per_character_out", "per_page",
  };
  return m < METER_COUNT ? words[m] : "";
}

static int64_t known(int64_t n) { return n < 0 ? 0 : n > most_count ? most_count : n; }

static int64_t part(int64_t told, int64_t *whole) {
  int64_t n = known(told) < *whole ? known(told) : *whole;
  *whole -= n;
  return n;
}

void usage_meters(const struct usage *u, int64_t n[METER_COUNT]) {
  int64_t in = known(u->input), out = known(u->output);
  memset(n, 0, METER_COUNT * sizeof *n);
  n[METER_AUDIO_IN] = part(u->audio_in, &in);
  n[METER_IMAGE_IN] = part(u->image_in, &in);
  n[METER_INPUT] = in;
  n[METER_CACHE_READ] = known(u->cache_read);
  n[METER_CACHE_WRITE] = known(u->cache_write);
  n[METER_CACHE_WRITE_1H] = known(u->cache_write_1h);
  n[METER_REASONING] = part(u->reasoning, &out);
  n[METER_AUDIO_OUT] = part(u->audio_out, &out);
  n[METER_IMAGE_OUT] = part(u->image_out, &out);
  n[METER_OUTPUT] = out;
  n[METER_SEARCH] = known(u->searches);
  n[METER_REQUEST] = 1;
}

int64_t usage_input_total(const struct usage *u) {
  return known(u->input) + known(u->cache_read) + known(u->cache_write) + known(u->cache_write_1h);
}

/* ---- which rates */
static bool in_hours(const struct price_rates *r, unsigned minute) {
  if (r->from == r->to) return true;
  return r->from < r->to ? minute >= r->from && minute < r->to : minute >= r->from || minute < r->to;
}

static enum service_tier tier_of(const struct price *p, enum service_tier t) {
  return p->tiers & 1u << t ? t : TIER_STANDARD;
}

const struct price_rates *price_rates_at(const struct price *p, int64_t input_total, enum service_tier tier, int64_t now) {
  unsigned minute = (unsigned)((now % 86400 + 86400) % 86400 / 60);
  const struct price_rates *best = NULL;
  if (!p || !p->count) return NULL;
  tier = tier_of(p, tier);
  for (size_t i = 0; i < p->count; i++) {
    const struct price_rates *r = &p->rates[i];
    if (r->tier != tier || (r->above && r->above >= input_total) || !in_hours(r, minute)) continue;
    bool narrower = best && r->above == best->above && r->from != r->to && best->from == best->to;
    if (!best || r->above > best->above || narrower) best = r;
  }
  return best ? best : p->rates;
}

/* ---- money */
static wide sum_of(const struct price_rates *r, const int64_t n[METER_COUNT]) {
  wide sum = 0;
  for (int m = 0; m < METER_COUNT; m++)
    if (n[m]) sum += (wide)known(n[m]) * (wide)r->of[m];
  return sum;
}

/* sum is picodollars times a million; factors are in millionths. Rounded up once, here. */
static picodollars round_up(wide sum, const uint32_t *factors, size_t count) {
  wide divide = PRICE_PPM;
  for (size_t i = 0; i < count; i++) {
    if (factors[i] == PRICE_PPM) continue;
    if (__builtin_mul_overflow(sum, (wide)factors[i], &sum)) return MONEY_MOST;
    divide *= PRICE_PPM;
  }
  if (divide == PRICE_PPM && sum <= INT64_MAX) return (picodollars)(((uint64_t)sum + PRICE_PPM - 1) / PRICE_PPM);       /* nearly always */
  wide whole = sum / divide + (sum % divide != 0);
  return whole > MONEY_MOST ? MONEY_MOST : (picodollars)whole;
}

/* A price by images or seconds alone says nothing about tokens. */
static bool by_tokens(const struct price *p) {
  return p && p->count && p->stated & (METERS_OF_INPUT | METERS_OF_OUTPUT | METER_BIT(METER_REQUEST));
}

static picodollars cost(const struct price *p, const int64_t n[METER_COUNT], int64_t input_total, enum service_tier tier,
                        bool fast, bool us, int64_t now) {
  const struct price_rates *r = price_rates_at(p, input_total, tier, now);
  if (!r) return PRICE_UNKNOWN;
  uint32_t factors[] = { p->discount, fast ? p->fast : PRICE_PPM, us ? p->us : PRICE_PPM };
  return round_up(sum_of(r, n), factors, 3);
}

picodollars price_of(const struct price *p, const struct usage *u, int64_t now) {
  int64_t n[METER_COUNT];
  if (!by_tokens(p)) return PRICE_UNKNOWN;
  usage_meters(u, n);
  return cost(p, n, usage_input_total(u), u->tier, u->fast == 1, u->us == 1, now);
}

picodollars price_fees(const struct price *p, const struct usage *u, int64_t now) {
  int64_t n[METER_COUNT];
  if (!by_tokens(p) || (u->searches <= 0 && !(p->stated & METER_BIT(METER_REQUEST)))) return 0;
  usage_meters(u, n);
  memset(n, 0, METER_TOKENS * sizeof *n);
  return cost(p, n, usage_input_total(u), u->tier, u->fast == 1, u->us == 1, now);
}

picodollars price_of_meters(const struct price *p, const int64_t n[METER_COUNT], int64_t input_total, enum service_tier tier, int64_t now) {
  return cost(p, n, input_total, tier, false, false, now);
}

/* ---- the dearest */
static picodollars dearest(const struct price_rates *r, uint32_t meters) {
  picodollars most = 0;
  for (int m = 0; m < METER_TOKENS; m++)
    if (meters & METER_BIT(m) && r->of[m] > most) most = r->of[m];
  return most;
}

/* Input that is charged at these rates is at most what the next step begins above. */
static int64_t input_most(const struct price *p, const struct price_rates *r, int64_t input) {
  for (size_t i = 0; i < p->count; i++)
    if (p->rates[i].above > r->above && p->rates[i].above < input) input = p->rates[i].above;
  return input;
}

static bool tier_reached(const struct price *p, const struct price_rates *r, uint32_t tiers) {
  for (int t = 0; t < TIER_COUNT; t++)
    if (tiers & 1u << t && tier_of(p, (enum service_tier)t) == r->tier) return true;
  return false;
}

picodollars price_worst(const struct price *p, const struct price_bounds *b) {
  picodollars worst = 0;
  int64_t input = known(b->input);
  if (!by_tokens(p)) return PRICE_UNKNOWN;
  uint32_t tiers = b->tiers & ((1u << TIER_COUNT) - 1) ? b->tiers : 1u << TIER_STANDARD;
  uint32_t factors[] = { p->discount, b->fast && p->fast > PRICE_PPM ? p->fast : PRICE_PPM, p->us > PRICE_PPM ? p->us : PRICE_PPM };
  for (size_t i = 0; i < p->count; i++) {
    const struct price_rates *r = &p->rates[i];
    if ((r->above && r->above >= input) || !tier_reached(p, r, tiers)) continue;
    wide sum = (wide)input_most(p, r, input) * (wide)dearest(r, b->meters & METERS_OF_INPUT);
    sum += (wide)known(b->output) * (wide)dearest(r, b->meters & METERS_OF_OUTPUT);
    sum += (wide)known(b->searches) * (wide)r->of[METER_SEARCH] + (wide)r->of[METER_REQUEST];
    picodollars this = round_up(sum, factors, 3);
    if (this > worst) worst = this;
  }
  return worst;
}
