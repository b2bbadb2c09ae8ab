/* Where prices come from: the word `prices`, the file it names, and the shipped table. */
#include "load.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* policies/prices.lua as it was when weir was built: there is a table even where no file of it is installed. */
__asm__(".pushsection .rodata\n"
        "conf_shipped_prices:\n.incbin \"policies/prices.lua\"\n.byte 0\nconf_shipped_prices_end:\n"
        ".popsection\n");
extern const char conf_shipped_prices[], conf_shipped_prices_end[];

/* ---- the word */
static bool read_unpriced(struct load *l, const struct field *f, void *into) {
  static const char *const words[] = { "refuse", "worst", "pass" };
  struct span word;
  struct field plain = { f->name, read_span, 0 };
  if (!read_span(l, &plain, &word)) return false;
  for (int i = 0; i < 3; i++)
    if (span_eq(word, span_cstr(words[i]))) return ((struct prices *)into)->unpriced = (enum unpriced)i, true;
  problem_add(l, "unpriced must be \"refuse\", \"worst\" or \"pass\", not \"%.*s\"", SPAN_FMT(word));
  return false;
}

static bool read_age(struct load *l, const struct field *f, void *into) {
  return read_number(l, f->name, "seconds", 1, 3650.0 * 86400, &((struct prices *)into)->max_age);
}

int word_prices(lua_State *L) {
  static const struct field fields[] = { { "max_age", read_age, 0 }, { "unpriced", read_unpriced, 0 } };
  struct load *l = word_enter(L);
  struct prices *p = &l->conf->prices;
  struct span name;
  struct field item = { "the file", read_span, 0 };
  lua_settop(L, 1);
  l->within = SPAN("prices");
  if (!word_once(l, ONCE_PRICES, "prices") || sink_is(L, 1)) return sink_push(L);
  if (lua_istable(L, 1)) {
    fields_read(l, 1, fields, 2, p, NULL, true);
    if (lua_rawlen(L, 1) > 1) problem_add(l, "it names more than one file");
    lua_rawgeti(L, 1, 1);
    if (lua_isnil(L, -1) && p->max_age > 0) warning_add(l, "max_age is about a file, and none is named");
    if (lua_isnil(L, -1)) return 0;
  } else {
    lua_pushvalue(L, 1);
  }
  if (read_span(l, &item, &name)) p->path = path_join(&l->conf->arena, path_folder(l->at.source->path), name);
  return 0;
}

/* ---- the file */
static void file_note(struct load *l, struct span text, const char *why, size_t at) {
  unsigned line = 1;
  for (size_t i = 0; i < at && i < text.n; i++) line += text.p[i] == '\n';
  problem_add(l, "'%.*s' is no price file: %s (line %u)", SPAN_FMT(l->conf->prices.path), why, line);
}

static void file_load(struct load *l) {
  struct conf *c = l->conf;
  struct prices *p = &c->prices;
  struct buf odd = { 0 };
  struct stat st;
  const char *why;
  size_t at;
  watch_add(c, p->path, false);
  const struct source *source = sources_read_at(&c->sources, p->path, &why);
  if (!source) return problem_add(l, "'%.*s': %s", SPAN_FMT(p->path), why);
  if (!stat(p->path.p, &st)) p->modified = st.st_mtim.tv_sec;
  if (!price_file_read(source->bytes, &c->arena, &p->file, &odd, &why, &at)) return file_note(l, source->bytes, why, at);
  for (size_t i = 0; i < p->file.count; i++) p->priced += p->file.models[i].price.count > 0;
  p->odd = arena_copy(&c->arena, buf_span(&odd));
  for (size_t i = 0; i < p->odd.n; i++) p->odd_count += p->odd.p[i] == '\n';
  buf_free(&odd);
  if (!p->priced) problem_add(l, "'%.*s' holds no price", SPAN_FMT(p->path));
}

bool conf_prices_old(const struct conf *c, int64_t now, struct buf *out) {
  const struct prices *p = &c->prices;
  double age = (double)(now - p->modified);
  if (!p->modified || p->max_age <= 0 || age <= p->max_age) return false;
  buf_printf(out, "prices: '%.*s' is %.0f days old, older than max_age (%.15g days)", SPAN_FMT(p->path), age / 86400, p->max_age / 86400);
  return true;
}

/* ---- the shipped table: { dated = "2026-08-01", openai = { ["gpt-5"] = { window = …, price = {…} } } } */
static void models_add(struct load *l, struct span provider, struct model_data *from, size_t count) {
  struct price_table *t = &l->conf->prices.shipped;
  for (size_t i = 0; i < count; i++) {
    t->models = list_add(&l->conf->arena, t->models, &t->count, sizeof *t->models);
    t->models[t->count - 1] = (struct price_model){
      .name = arena_printf(&l->conf->arena, "%.*s/%.*s", SPAN_FMT(provider), SPAN_FMT(from[i].name)), .provider = provider,
      .price = from[i].price, .window = from[i].window, .max_output = from[i].max_output, .reasoning = from[i].reasoning,
      .able = from[i].able, .deprecated = from[i].deprecated,
      .responses = from[i].responses,
    };
  }
}

static void shipped_provider(struct load *l, struct span name) {
  struct model_data *models = NULL;
  size_t count = 0;
  l->within = arena_printf(&l->scratch, "'%.*s'", SPAN_FMT(name));
  models_read(l, "models", &models, &count);
  models_add(l, name, models, count);
}

static void shipped_read(struct load *l) {
  struct prices *p = &l->conf->prices;
  lua_State *L = l->lua;
  size_t count;
  struct field dated = { "dated", read_span, offsetof(struct prices, dated) };
  if (!lua_istable(L, -1) || lua_getfield(L, -1, "dated") == LUA_TNIL)
    return problem_add(l, "a policies/prices.lua takes the place of the shipped prices and must return a table of them with their "
                       "date in `dated`; give a policy another name");
  bool good = read_span(l, &dated, p);
  lua_pop(L, 1);
  struct span *names = keys_sorted(l, lua_gettop(L), &count);
  for (size_t i = 0; good && i < count; i++) {
    if (span_eq(names[i], SPAN("dated"))) continue;
    lua_pushlstring(L, names[i].p, names[i].n);
    lua_rawget(L, -2);
    shipped_provider(l, names[i]);
    lua_pop(L, 1);
  }
  l->within = (struct span){ 0 };
  for (size_t i = 0; i < p->shipped.count; i++) table_set(&p->shipped.names, p->shipped.models[i].name, &p->shipped.models[i]);
}

static void shipped_load(struct load *l) {
  struct conf *c = l->conf;
  const char *why;
  size_t size = (size_t)(conf_shipped_prices_end - conf_shipped_prices) - 1;
  const struct source *source = sources_policy(&c->sources, SPAN("prices"), &why);
  if (source) watch_add(c, source->path, false);
  struct source *built_in = arena_zero(&c->arena, sizeof *built_in);
  *built_in = (struct source){ NULL, SPAN("built in"), span_of(conf_shipped_prices, size) };
  if (!source) source = built_in;
  c->prices.shipped_from = source->path;
  l->at = (struct place){ source, 0 };
  load_table(l, source, shipped_read);
}

void prices_finish(struct load *l) {
  struct conf *c = l->conf;
  struct buf old = { 0 };
  shipped_load(l);
  l->at = l->once[ONCE_PRICES];
  l->within = SPAN("prices");
  if (c->prices.path.n) file_load(l);
  l->within = (struct span){ 0 };
  if (conf_prices_old(c, time(NULL), &old)) warning_add(l, "%.*s", SPAN_FMT(buf_span(&old)));
  buf_free(&old);
  for (size_t i = 0; i < c->provider_count && c->prices.unpriced == UNPRICED_WORST; i++) {
    struct provider *p = &c->providers[i];
    struct span name = p->quirks->price_name ? span_cstr(p->quirks->price_name) : p->name;
    if (c->prices.file.count) price_table_worst(&c->prices.file, name, &c->arena, &p->worst);
    else price_table_worst(&c->prices.shipped, p->name, &c->arena, &p->worst);
  }
}
