/* Clocks and bounds: their words, units, ranges and defaults. */
#include "load.h"

enum { DAY = 86400, YEAR = 365 * DAY };
#define KB 1024.0
#define MB (1024 * KB)
#define GB (1024 * MB)

#define NUMBERS \
  "connect", "tls", "head", "first_event", "first_event_reasoning", "between_events", "total", "hold_head", \
  "idle_pool", "queue", "drain", "header_time", "client_idle", "max_head", "max_body", "hold_answer", \
  "max_answer", "warm"
const char *const setting_words[SET_COUNT] = { NUMBERS, "loss", "minimal", "low", "medium", "high", "xhigh", "max" };

static const char seconds[] = "seconds", bytes[] = "bytes", count[] = "";
static const struct spec { const char *unit; double low, high, usual; } specs[SET_BUDGET] = {
  [SET_CONNECT] = { seconds, 0.001, DAY, 3 },
  [SET_TLS] = { seconds, 0.001, DAY, 5 },
  [SET_HEAD] = { seconds, 0.001, YEAR, 600 },
  [SET_FIRST_EVENT] = { seconds, 0.001, YEAR, 120 },
  [SET_FIRST_EVENT_REASONING] = { seconds, 0.001, YEAR, 600 },
  [SET_BETWEEN_EVENTS] = { seconds, 0.001, YEAR, 60 },
  [SET_TOTAL] = { seconds, 0.001, YEAR, 1800 },
  [SET_HOLD_HEAD] = { seconds, 0, YEAR, 15 },
  [SET_IDLE_POOL] = { seconds, 0, YEAR, 55 },
  [SET_QUEUE] = { seconds, 0, DAY, 2 },
  [SET_DRAIN] = { seconds, 0, YEAR, 600 },
  [SET_HEADER_TIME] = { seconds, 0.001, DAY, 10 },
  [SET_CLIENT_IDLE] = { seconds, 0.001, YEAR, 75 },
  [SET_MAX_HEAD] = { bytes, KB, 16 * MB, 64 * KB },
  [SET_MAX_BODY] = { bytes, 1, 64 * GB, 64 * MB },
  [SET_HOLD_ANSWER] = { bytes, 0, 64 * GB, 256 * KB },
  [SET_MAX_ANSWER] = { bytes, 1, 64 * GB, 16 * MB },
  [SET_WARM] = { count, 0, 10000, 2 },
  [SET_LOSS] = { count, 0, 1, 0 },
};

/* Where a word can have an effect. Those about clients are needed before it is known what is asked for; connections are an endpoint's,
   whatever model they are used for. */
static const uint32_t of_clients =
  1u << SET_DRAIN | 1u << SET_HEADER_TIME | 1u << SET_CLIENT_IDLE | 1u << SET_MAX_HEAD | 1u << SET_MAX_BODY;
static const uint32_t of_connections = 1u << SET_IDLE_POOL | 1u << SET_WARM;

/* Words beside the numbers. Where they are no settings, their other values belong to later versions. */
static const struct choice { const char *word, *usual, *other; int setting; } choices[] = {
  { "whole", "buffer", "assemble", -1 }, { "loss", "tell", "strict", SET_LOSS }, { "on_store_loss", "refuse", "pass", -1 },
};
enum { CHOICES = sizeof choices / sizeof *choices };

/* budgets = { low = 2048, … } */
static bool budgets_read(struct load *l, struct settings *s) {
  lua_State *L = l->lua;
  size_t given;
  if (sink_is(L, -1)) return false;
  if (!lua_istable(L, -1)) return problem_type(l, "budgets", "a table such as { low = 2048, medium = 8192 }"), false;
  struct span *names = keys_sorted(l, lua_gettop(L), &given);
  struct place at = l->at;
  for (size_t i = 0; i < given; i++, l->at = at) {
    int effort = 0;
    uint64_t tokens;
    l->at = place_of_key(l, names[i]);
    while (effort < TRANSLATE_BUDGETS && !span_eq(names[i], span_cstr(translate_efforts[effort]))) effort++;
    if (effort == TRANSLATE_BUDGETS) { problem_unknown(l, "effort", names[i], translate_efforts, TRANSLATE_BUDGETS); continue; }
    lua_pushlstring(L, names[i].p, names[i].n);
    lua_rawget(L, -2);
    if (read_whole(l, arena_printf(&l->scratch, "budgets.%s", translate_efforts[effort]).p, "tokens", 1, 10000000, &tokens)) {
      s->value[SET_BUDGET + effort] = (double)tokens;
      s->given |= 1u << (SET_BUDGET + effort);
    }
    lua_pop(L, 1);
  }
  return true;
}

const char *const *setting_names(size_t *n) {
  static const char *const names[] = { NUMBERS, "whole", "loss", "on_store_loss", "budgets" };
  *n = sizeof names / sizeof *names;
  return names;
}

void settings_fill(struct settings *s) {
  for (int i = 0; i < TRANSLATE_BUDGETS; i++)
    if (!(s->given & 1u << (SET_BUDGET + i))) s->value[SET_BUDGET + i] = (double)translate_budgets[i], s->given |= 1u << (SET_BUDGET + i);
  for (int i = 0; i < SET_BUDGET; i++)
    if (!(s->given & 1u << i)) s->value[i] = specs[i].usual;
  s->given = (1u << SET_COUNT) - 1;
}

static bool choice_read(struct load *l, const struct choice *c, struct settings *s) {
  size_t n;
  const char *p = lua_type(l->lua, -1) == LUA_TSTRING ? lua_tolstring(l->lua, -1, &n) : NULL;
  if (!p && sink_is(l->lua, -1)) return false;
  bool usual = p && !strcmp(p, c->usual), other = p && !strcmp(p, c->other), store = !strcmp(c->word, "on_store_loss");
  if (p && store && l->level != LEVEL_DEFAULTS) return problem_add(l, "on_store_loss has no effect here, since it is about weir's own store; write it in defaults"), false;
  if (!usual && !other) return problem_add(l, "%s must be \"%s\" or \"%s\"", c->word, c->usual, c->other), false;
  if (store && other) return l->conf->pass_on_store_loss = true;
  if (c->setting < 0 && other) return problem_add(l, "%s = \"%s\" is not in this version", c->word, c->other), false;
  if (c->setting < 0) return true;
  s->value[c->setting] = other;
  s->given |= 1u << c->setting;
  return true;
}

static bool misplaced(struct load *l, int setting) {
  uint32_t bit = 1u << setting;
  if (l->level != LEVEL_DEFAULTS && of_clients & bit)
    return problem_add(l, "%s has no effect here, since it is about clients; write it in defaults", setting_words[setting]), true;
  if (l->level == LEVEL_MODEL && of_connections & bit)
    return problem_add(l, "%s has no effect here, since connections are a provider's; write it there or in defaults", setting_words[setting]), true;
  return false;
}

bool setting_read(struct load *l, struct span word, struct settings *s) {
  for (int i = 0; i < CHOICES; i++)
    if (span_eq(word, span_cstr(choices[i].word))) return choice_read(l, &choices[i], s);
  if (span_eq(word, SPAN("budgets"))) return budgets_read(l, s);
  for (int i = 0; i < SET_BUDGET; i++) {
    const struct spec *spec = &specs[i];
    uint64_t whole;
    double v;
    if (!span_eq(word, span_cstr(setting_words[i]))) continue;
    if (s->given & 1u << i) return problem_add(l, "%s stands twice", setting_words[i]), false;
    if (spec->unit == seconds) {
      if (!read_number(l, setting_words[i], spec->unit, spec->low, spec->high, &v)) return false;
    } else {
      if (!read_whole(l, setting_words[i], spec->unit, (uint64_t)spec->low, (uint64_t)spec->high, &whole)) return false;
      v = (double)whole;
    }
    if (misplaced(l, i)) return false;
    s->value[i] = v;
    s->given |= 1u << i;
    return true;
  }
  return false;
}

int word_defaults(lua_State *L) {
  struct load *l = word_enter(L);
  l->within = SPAN("defaults");
  l->level = LEVEL_DEFAULTS;
  lua_settop(L, 1);
  if (lua_istable(L, 1)) fields_read(l, 1, NULL, 0, NULL, &l->conf->defaults, false);
  else if (!sink_is(L, 1)) problem_add(l, "a table { … } must follow, not %s", kind_of(L, 1));
  return 0;
}
