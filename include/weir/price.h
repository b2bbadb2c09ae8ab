/* price.h: usage to money. A price is data: rates for disjoint meters, perhaps other ones for long input, for a service tier, for
   hours of the day. Pure: the time is an argument. An unknown price is PRICE_UNKNOWN, never zero; what to do about it is the
   caller's (INTERFACE: prices { unpriced = … }). */
#ifndef WEIR_PRICE_H
#define WEIR_PRICE_H

#include "weir/dialect.h"
#include "weir/measure.h"
#include "weir/money.h"
#include "weir/table.h"

/* What is counted. Tokens first: each token stands in one meter alone. Then what is charged beside them. */
enum meter {
  METER_INPUT, METER_CACHE_READ, METER_CACHE_WRITE, METER_CACHE_WRITE_1H, METER_AUDIO_IN, METER_IMAGE_IN,
  METER_OUTPUT, METER_REASONING, METER_AUDIO_OUT, METER_IMAGE_OUT,
  METER_TOKENS,
  METER_REQUEST = METER_TOKENS, METER_SEARCH, METER_PICTURE_IN, METER_PICTURE_OUT, METER_PIXEL_IN, METER_PIXEL_OUT,
  METER_SECOND_IN, METER_SECOND_OUT, METER_VIDEO_IN, METER_VIDEO_OUT, METER_CHARACTER_IN, METER_CHARACTER_OUT, METER_PAGE,
  METER_COUNT
};
/* As a price in weir.lua names it: "input", "cache_write_1h", …; beside tokens "per_request", "per_second_out", … */
const char *meter_word(enum meter m);
#define METER_BIT(m) (1u << (m))
#define METERS_OF_INPUT ((1u << METER_OUTPUT) - 1)
#define METERS_OF_OUTPUT (((1u << METER_TOKENS) - 1) & ~METERS_OF_INPUT)

/* The counts of a usage, absent ones zero; METER_REQUEST is 1. Parts that are larger than their whole are cut to it, the dearer
   kinds first (audio, image; reasoning, audio, image). */
void usage_meters(const struct usage *u, int64_t n[METER_COUNT]);
/* All tokens that came in: what long-context rates go by. */
int64_t usage_input_total(const struct usage *u);

/* ---- prices */
enum { PRICE_UNKNOWN = -1, PRICE_PPM = 1000000, PRICE_MOST_STEPS = 8, PRICE_MOST_HOURS = 4, PRICE_MOST_ITEMS = 160 };
/* A web search whose price nobody stated: the dearest of the known lists (OpenAI's large search context, 50 USD per thousand). */
#define PRICE_SEARCH_ASSUMED (MONEY_USD / 20)

struct price_rates {
  int64_t above;                      /* for input of more than so many tokens, all of it */
  uint16_t tier;                      /* enum service_tier, TIER_STANDARD for all that have none of their own */
  uint16_t from, to;                  /* minutes of the day, UTC, [from, to) and over midnight; equal: all day */
  uint32_t assumed;                   /* METER_BIT: nobody stated it; it is another meter's */
  picodollars of[METER_COUNT];        /* per million of what the meter counts */
};
struct price {
  struct price_rates *rates;          /* the first one: any input, standard, all day. Lent from the arena it was made in */
  size_t count;                       /* 0: unknown */
  uint32_t stated;                    /* METER_BIT that stand in the source, for any input, tier or hour */
  uint32_t tiers;                     /* bit per enum service_tier that has rates of its own */
  uint32_t discount;                  /* own factor in millionths: provider { discount = 0.9 } is 900000 */
  uint32_t fast, us;                  /* factors for usage.fast, usage.us; PRICE_PPM: none */
};

/* What a source says, one price after the other; then price_make fills in what it left out: cache_read, cache_write, audio_in and
   image_in cost as input, cache_write_1h as cache_write, reasoning, audio_out and image_out as output; a tier or hour what the
   standard costs; rates above a step what stands below it. */
struct price_item {
  int64_t above;
  uint8_t meter, tier, hours;         /* hours: 0 all day, else number of price_draft.hours + 1 */
  picodollars rate;
};
struct price_draft {                  /* zeroed: empty */
  struct price_item items[PRICE_MOST_ITEMS];
  size_t count;
  struct { uint16_t from, to; } hours[PRICE_MOST_HOURS];
  size_t hours_count;
  uint32_t fast, us;                  /* 0: none */
  bool overflow;
};
void price_set(struct price_draft *d, enum meter m, int64_t above, enum service_tier tier, unsigned hours, picodollars per_million);
/* Number for price_set; 0 and draft->overflow when there are too many. */
unsigned price_hours(struct price_draft *d, unsigned from, unsigned to);
/* false: *why says what is missing or too much. `no_output`: a kind of model that makes no tokens (embeddings): output may be missing. */
bool price_make(const struct price_draft *d, bool no_output, struct arena *a, struct price *out, const char **why);

/* The rates that hold; NULL for an unknown price. */
const struct price_rates *price_rates_at(const struct price *p, int64_t input_total, enum service_tier tier, int64_t now);
/* Exact sum in 128 bit, all factors, then rounded up once; saturates at MONEY_MOST. PRICE_UNKNOWN for an unknown price, and for one
   that names neither tokens nor requests (of images, of speech), as price_worst.
   now: unix seconds, for hours of the day. */
picodollars price_of(const struct price *p, const struct usage *u, int64_t now);
/* As price_of for counts that no usage tells: images, seconds, characters. input_total chooses long-context rates. */
picodollars price_of_meters(const struct price *p, const int64_t n[METER_COUNT], int64_t input_total, enum service_tier tier, int64_t now);
/* What of price_of is charged beside tokens: for the request as such, for searches. 0: nothing, or it is not known. */
picodollars price_fees(const struct price *p, const struct usage *u, int64_t now);

/* The dearest that a request within the bounds can cost: over all rates it can reach, any mix of the meters it can use, any hour.
   price_of(u) <= price_worst(b) for each usage with usage_input_total(u) <= b.input, u.output <= b.output, u.searches <= b.searches,
   whose meters and tier are in the masks. */
struct price_bounds {
  int64_t input, output;              /* tokens */
  int64_t searches;
  uint32_t meters;                    /* METER_BIT of tokens that can occur: without METER_CACHE_WRITE_1H when the request asks for none */
  uint32_t tiers;                     /* bit per enum service_tier it can be served at; untold counts as standard */
  bool fast;                          /* it asks for speed "fast" */
};
#define PRICE_BOUNDS(in, out) ((struct price_bounds){ .input = (in), .output = (out), .meters = ~0u, .tiers = ~0u, .fast = true })
picodollars price_worst(const struct price *p, const struct price_bounds *b);

/* ---- tables: what a source knows of its models */
struct price_model {
  struct span name;                   /* as the source has it: "gpt-5", "azure/eu/gpt-5" */
  struct span provider;               /* the source's own word for who serves it; empty: unknown */
  struct price price;                 /* count 0: it states none that can be used */
  int64_t window, max_output;         /* most tokens in and out; 0 unknown */
  int8_t reasoning;                   /* 1 it may think, 0 it does not, -1 untold */
  struct abilities able;
  int32_t deprecated;                 /* the day its provider ends it: 20260514; 0 untold */
  int8_t responses;                   /* 1 served in the dialect responses alone, 0 not, -1 untold */
};
struct price_table {                  /* zeroed: empty. All in the arena it was read into, but for `names`; stays where it was made */
  struct table names;
  struct price_model *models;
  size_t count;
};
const struct price_model *price_table_find(const struct price_table *t, struct span name);
void price_table_free(struct price_table *t);
/* For a model that nobody prices: of each meter the dearest rate among the models priced by token of that provider (empty, or none
   of it known: of all). Rates for long input, tiers and hours are in it, so it has none of its own. */
void price_table_worst(const struct price_table *t, struct span provider, struct arena *a, struct price *out);

/* LiteLLM's model_prices_and_context_window.json: names to objects of prices in USD per unit. false: it is no such file, *why and
   *at (byte) say where. An entry or a field that makes no sense is left out and told in *odd, one a line ("NAME: what"); a model
   whose price cannot be made whole is kept without one, and told. Lends from `json`. */
/* "2026-05-14" as 20260514; 0 for anything else. */
int32_t price_day(struct span text);
bool price_file_read(struct span json, struct arena *a, struct price_table *out, struct buf *odd, const char **why, size_t *at);

#endif
