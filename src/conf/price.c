/* price = { input = usd(3), output = usd(15), … }: the words of a price, in weir.lua and in the shipped table. */
#include "load.h"
#include <math.h>

/* A table of rates, and where in the price it stands. */
struct level {
  struct price_draft *draft;
  int64_t above;
  enum service_tier tier;
  unsigned hours;
  int64_t from, to;                   /* off_peak: minutes of the day, -1 not given */
};

static bool read_rate(struct load *l, const struct field *f, void *into) {
  struct level *v = into;
  enum meter meter = (enum meter)f->offset;
  picodollars rate;
  if (!money_at(l->lua, -1, &rate)) return problem_type(l, f->name, "money such as usd(2.5)"), false;
  if (meter >= METER_TOKENS && __builtin_mul_overflow(rate, (picodollars)PRICE_PPM, &rate))
    return problem_add(l, "%s is more than 9 dollars for one", f->name), false;
  if (meter > METER_SEARCH) warning_add(l, "%s is not charged in this version: what it prices goes by unread, and counts as unpriced", f->name);
  price_set(v->draft, meter, v->above, v->tier, v->hours, rate);
  return true;
}

static bool read_factor(struct load *l, const struct field *f, void *into) {
  double v;
  if (!read_number(l, f->name, "", 0.000001, 100, &v)) return false;
  *(uint32_t *)((char *)into + f->offset) = (uint32_t)lround(v * PRICE_PPM);
  return true;
}

/* discount = 0.9: stands in a provider, beside its price. */
bool read_discount(struct load *l, const struct field *f, void *into) { return read_factor(l, f, into); }

static bool read_fast(struct load *l, const struct field *f, void *into) {
  struct field at = { f->name, NULL, offsetof(struct price_draft, fast) };
  return read_factor(l, &at, ((struct level *)into)->draft);
}

static bool read_us(struct load *l, const struct field *f, void *into) {
  struct field at = { f->name, NULL, offsetof(struct price_draft, us) };
  return read_factor(l, &at, ((struct level *)into)->draft);
}

static bool read_above(struct load *l, const struct field *f, void *into) {
  uint64_t n;
  if (!read_whole(l, f->name, "tokens", 1, 1000000000, &n)) return false;
  ((struct level *)into)->above = (int64_t)n;
  return true;
}

static bool read_clock(struct load *l, const struct field *f, void *into) {
  struct span text, hour, minute;
  struct field plain = { f->name, read_span, 0 };
  uint64_t h, m;
  if (!read_span(l, &plain, &text)) return false;
  minute = span_cut(text, ':', &hour);
  if (!span_u64(hour, &h) || !span_u64(minute, &m) || h > 24 || m > 59 || minute.n != 2)
    return problem_add(l, "%s must be a time of the day in UTC such as \"16:30\"", f->name), false;
  *(int64_t *)((char *)into + f->offset) = (int64_t)(h * 60 + m) % 1440;
  return true;
}

#define RATES \
  { "input", read_rate, METER_INPUT }, { "output", read_rate, METER_OUTPUT }, { "cache_read", read_rate, METER_CACHE_READ }, \
  { "cache_write", read_rate, METER_CACHE_WRITE }, { "cache_write_1h", read_rate, METER_CACHE_WRITE_1H }, \
  { "reasoning", read_rate, METER_REASONING }, { "audio_in", read_rate, METER_AUDIO_IN }, { "audio_out", read_rate, METER_AUDIO_OUT }, \
  { "image_in", read_rate, METER_IMAGE_IN }, { "image_out", read_rate, METER_IMAGE_OUT }
#define RATES_COUNT 10

static bool table_at_top(struct load *l, const char *name, const char *example) {
  if (lua_istable(l->lua, -1)) return true;
  problem_type(l, name, example);
  return false;
}

static void step_read(struct load *l, const struct level *outer) {
  static const struct field fields[] = { { "above", read_above, 0 }, RATES };
  struct level v = *outer;
  lua_getfield(l->lua, -1, "above");
  bool given = !lua_isnil(l->lua, -1);
  lua_pop(l->lua, 1);
  if (!given) return problem_add(l, "long: above is missing: from how many tokens of input it holds");
  fields_read(l, -1, fields, RATES_COUNT + 1, &v, NULL, false);
}

/* long = { above = 200000, input = … }, or a list of such. */
static bool read_long(struct load *l, const struct field *f, void *into) {
  lua_State *L = l->lua;
  if (!table_at_top(l, f->name, "a table such as { above = 200000, input = usd(6) }")) return false;
  size_t n = lua_rawlen(L, -1);
  if (!n) step_read(l, into);
  for (size_t i = 1; i <= n; i++) {
    lua_rawgeti(L, -1, (lua_Integer)i);
    if (table_at_top(l, f->name, "a list of tables")) step_read(l, into);
    lua_pop(L, 1);
  }
  return true;
}

static bool read_tier(struct load *l, const struct field *f, void *into) {
  static const struct field fields[] = { { "long", read_long, 0 }, RATES };
  struct level v = *(struct level *)into;
  v.tier = (enum service_tier)f->offset;
  if (!table_at_top(l, f->name, "a table such as { input = usd(5), output = usd(30) }")) return false;
  fields_read(l, -1, fields, RATES_COUNT + 1, &v, NULL, false);
  return true;
}

static bool read_off_peak(struct load *l, const struct field *f, void *into) {
  static const struct field times[] = { { "from", read_clock, offsetof(struct level, from) }, { "to", read_clock, offsetof(struct level, to) } };
  static const struct field fields[] = { { "from", read_clock, offsetof(struct level, from) }, { "to", read_clock, offsetof(struct level, to) }, RATES };
  struct level v = *(struct level *)into;
  v.from = v.to = -1;
  if (!table_at_top(l, f->name, "a table such as { from = \"16:30\", to = \"00:30\", output = usd(1) }")) return false;
  size_t before = l->error_count;
  for (int i = 0; i < 2; i++) {
    if (lua_getfield(l->lua, -1, times[i].name) != LUA_TNIL) read_clock(l, &times[i], &v);
    lua_pop(l->lua, 1);
  }
  if (l->error_count > before) return false;
  if (v.from < 0 || v.to < 0 || v.from == v.to) return problem_add(l, "off_peak: from and to must be two times of the day"), false;
  v.hours = price_hours(v.draft, (unsigned)v.from, (unsigned)v.to);
  fields_read(l, -1, fields, RATES_COUNT + 2, &v, NULL, false);
  return true;
}

static const struct field price_fields[] = {
  RATES, { "per_request", read_rate, METER_REQUEST }, { "per_search", read_rate, METER_SEARCH },
  { "per_image_in", read_rate, METER_PICTURE_IN }, { "per_image_out", read_rate, METER_PICTURE_OUT },
  { "per_second_in", read_rate, METER_SECOND_IN }, { "per_second_out", read_rate, METER_SECOND_OUT },
  { "per_character_in", read_rate, METER_CHARACTER_IN }, { "per_character_out", read_rate, METER_CHARACTER_OUT },
  { "per_page", read_rate, METER_PAGE }, { "long", read_long, 0 }, { "priority", read_tier, TIER_PRIORITY },
  { "flex", read_tier, TIER_FLEX }, { "batch", read_tier, TIER_BATCH }, { "off_peak", read_off_peak, 0 },
  { "fast", read_fast, 0 }, { "us", read_us, 0 },
};

bool read_price(struct load *l, const struct field *f, void *into) {
  struct price_draft *draft = arena_zero(&l->scratch, sizeof *draft);
  struct level v = { draft, 0, TIER_STANDARD, 0, -1, -1 };
  size_t before = l->error_count;
  const char *why;
  if (!table_at_top(l, f->name, "a table such as { input = usd(3), output = usd(15) }")) return false;
  fields_read(l, -1, price_fields, sizeof price_fields / sizeof *price_fields, &v, NULL, false);
  if (l->error_count > before) return false;
  if (price_make(draft, false, &l->conf->arena, (struct price *)((char *)into + f->offset), &why)) return true;
  problem_add(l, "%s: %s (a price of nothing is usd(0))", f->name, why);
  return false;
}
