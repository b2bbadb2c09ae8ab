/* key.c: weir key: client keys as files beside weir.lua. A key's text is printed once, on standard output alone; all that is
   said about it goes to standard error. */
#include "cmd.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "../gateway/gateway.h"

enum { LONGEST_GRACE_H = 24 * 365, MOST_LISTED = 64 };

static const char usage_text[] =
    "weir key mint NAME [--team T] [--user U] [--models a,b] [--tag k=v]… [--expires DATE]\n"
    "    a new key: it is printed once, keys/NAME.lua beside weir.lua holds its hash\n"
    "weir key list\n"
    "    name, team, models and end of every key\n"
    "weir key revoke NAME\n"
    "    the key is good no more: its file is removed\n"
    "weir key rotate NAME [--grace HOURS]\n"
    "    a new key in its place; the old one stays good for HOURS (else it ends at once)\n"
    "\nEach takes --config FILE, and has a running weir load its files again. NAME: letters, digits, '.', '_', '-'.\n"
    "DATE: 2027-01-31, to the end of that day, UTC. A name in --models may end in '*': openai/*.\n";

struct command {
  struct args *args;
  struct arena arena;
  struct conf *conf;                  /* keys, listeners and runtime directory alone */
  struct span folder;                 /* keys/ beside weir.lua */
  struct span name;
  int64_t now;
};

static int say(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int say(int code, const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  vfprintf(stderr, fmt, args);
  va_end(args);
  fputc('\n', stderr);
  return code;
}

/* ---- words of the command line */
/* Takes the name, which must be the only word left. */
static bool name_take(struct command *c, const char *verb) {
  struct args *a = c->args;
  const char *why;
  if (!a->count) return say(0, "weir key %s: a name is missing", verb), false;
  if (a->count > 1 || !strncmp(a->words[0], "--", 2)) {
    const char *odd = strncmp(a->words[0], "--", 2) ? a->words[1] : a->words[0];
    return say(0, "weir key %s: '%s' is not understood; see weir key help", verb, odd), false;
  }
  c->name = span_cstr(a->words[0]);
  if (!(why = key_name_refused(c->name))) return true;
  return say(0, "weir key %s: %s", verb, why), false;
}

/* What weir.lua would take for a text. */
static bool plain(const char *what, struct span s) {
  bool good = s.n > 0 && span_utf8(s);
  for (size_t i = 0; i < s.n; i++) good &= (unsigned char)s.p[i] >= 0x20 && s.p[i] != 0x7f;
  return good || (say(0, "weir key: %s is empty, or holds control characters or bytes that are not UTF-8", what), false);
}

static bool text_option(struct command *c, const char *option, struct span *out) {
  const char *value = args_value(c->args, option);
  *out = span_cstr(value);
  return !value || plain(option, *out);
}

static bool models_option(struct command *c, struct key *k) {
  const char *value = args_value(c->args, "--models"), *why;
  k->models = arena_zero(&c->arena, MOST_LISTED * sizeof *k->models);
  for (struct span rest = span_cstr(value), one; rest.p;) {
    rest = span_cut(rest, ',', &one);
    one = span_trim(one);
    if (k->model_count == MOST_LISTED) return say(0, "weir key: --models has more than %d names; write them into the file", MOST_LISTED), false;
    if (!plain("a name in --models", one)) return false;
    if ((why = key_pattern_refused(one))) return say(0, "weir key: --models: %s", why), false;
    k->models[k->model_count++] = one;
  }
  return true;
}

static bool tag_options(struct command *c, struct key *k) {
  const char *value, *why;
  k->tags = arena_zero(&c->arena, MOST_LISTED * sizeof *k->tags);
  while ((value = args_value(c->args, "--tag"))) {
    struct key_tag t;
    size_t at = 0;
    t.value = span_cut(span_cstr(value), '=', &t.name);
    if (!t.value.p) return say(0, "weir key: --tag %s has no '=': it is --tag name=value", value), false;
    if ((why = key_name_refused(t.name))) return say(0, "weir key: --tag: %s", why), false;
    if (!plain("the value of a tag", t.value)) return false;
    if (k->tag_count == MOST_LISTED) return say(0, "weir key: more than %d tags", MOST_LISTED), false;
    while (at < k->tag_count && span_cmp(k->tags[at].name, t.name) < 0) at++;
    if (at < k->tag_count && span_eq(k->tags[at].name, t.name)) return say(0, "weir key: tag '%.*s' is given twice", SPAN_FMT(t.name)), false;
    memmove(&k->tags[at + 1], &k->tags[at], (k->tag_count++ - at) * sizeof t);
    k->tags[at] = t;
  }
  return true;
}

static bool expires_option(struct command *c, struct key *k) {
  const char *value = args_value(c->args, "--expires");
  k->expires = span_cstr(value);
  k->until = KEY_FOREVER;
  if (!value) return true;
  if (!key_until_read(k->expires, &k->until)) return say(0, "weir key: --expires must be a day such as 2027-01-31, not '%s'", value), false;
  return k->until > c->now || (say(0, "weir key: --expires %s is over already", value), false);
}

/* ---- what is there */
/* false: the file is refused, and that was said. */
static bool load(struct command *c, const char *file) {
  struct buf errors = { 0 };
  c->conf = conf_load_keys(file, &errors);
  fprintf(stderr, "%.*s", SPAN_FMT(buf_span(&errors)));
  buf_free(&errors);
  if (!c->conf) return false;
  struct span beside = c->conf->sources.folder;
  bool here = span_eq(beside, SPAN(".")), slash = span_ends(beside, SPAN("/"));
  c->folder = here ? SPAN("keys") : arena_printf(&c->arena, "%.*s%skeys", SPAN_FMT(beside), slash ? "" : "/");
  return true;
}

static const struct key *key_named(const struct conf *conf, struct span name) {
  for (size_t i = 0; i < conf->keys.count; i++)
    if (span_eq(conf->keys.list[i].name, name)) return &conf->keys.list[i];
  return NULL;
}

/* The key, when it has a file to itself that may be removed or written anew; else NULL, and why was said. */
static const struct key *own_key(struct command *c) {
  const struct keys *all = &c->conf->keys;
  const struct key *k = key_named(c->conf, c->name);
  if (!k) {
    struct buf text = { 0 };
    const char **names = arena_alloc(&c->arena, (all->count + 1) * sizeof *names);
    for (size_t i = 0; i < all->count; i++) names[i] = arena_cstr(&c->arena, all->list[i].name);
    if (all->count) unknown_word(&text, "key", c->name, names, all->count);
    else buf_printf(&text, "there is no key at all");
    say(0, "weir key: %.*s", SPAN_FMT(buf_span(&text)));
    buf_free(&text);
    return NULL;
  }
  bool alone = span_eq(k->file, key_file_path(c->folder, k->name, &c->arena));
  for (size_t i = 0; i < all->count; i++) alone &= &all->list[i] == k || !span_eq(all->list[i].file, k->file);
  if (alone) return k;
  say(0, "weir key: key '%.*s' is written at %.*s:%u, not in a file of its own: change it there, then weir reload", SPAN_FMT(k->name), SPAN_FMT(k->file), k->line);
  return NULL;
}

/* Tells a running weir; `still`: what is true while it has not heard. */
static int reload(struct command *c, const char *still) {
  struct buf out = { 0 };
  const char *runtime = arena_cstr(&c->arena, c->conf->runtime_dir);
  int code = control_ask(runtime, "reload", &out);
  if (!code) say(0, "the running weir knows");
  else if (code == 1) say(0, "the running weir refuses its files as they are now, so %s:\n%.*s", still, SPAN_FMT(buf_span(&out)));
  else if (code == 2) say(0, "no weir runs on %s: it counts from the next start", runtime);
  else say(0, "%.*sif one runs there, %s: have it reload (weir reload, SIGHUP)", SPAN_FMT(buf_span(&out)), still);
  buf_free(&out);
  return code == 0 || code == 2 ? 0 : 1;
}

/* Once, to standard output, past any buffer of stdio. Wipes it. */
static bool print_text(char *text) {
  char line[KEY_MINTED + 1];
  memcpy(line, text, KEY_MINTED);
  line[KEY_MINTED] = '\n';
  secret_wipe(text, KEY_MINTED);
  bool good = write(STDOUT_FILENO, line, sizeof line) == (ssize_t)sizeof line;
  secret_wipe(line, sizeof line);
  return good;
}

/* Writes the key's file, prints the key, tells a running weir. */
static int put(struct command *c, const struct key *k, char *text, bool replace) {
  struct buf out = { 0 };
  const char *why = NULL;
  bool taken = false;
  buf_printf(&out, "-- By weir key; the key itself was printed once and is kept nowhere.\n");
  key_write(k, &out);
  bool written = key_file_write(c->folder, k->name, buf_span(&out), replace, &c->arena, &why, &taken);
  buf_free(&out);
  if (!written) {
    secret_wipe(text, KEY_MINTED);
    return say(1, "weir key: %s%s", why, taken ? ": no key of that name is in it; look at that file, or take another name" : "");
  }
  bool printed = print_text(text);
  if (printed) say(0, "key '%.*s' stands in %.*s; it is shown this once", SPAN_FMT(k->name), SPAN_FMT(key_file_path(c->folder, k->name, &c->arena)));
  if (!c->conf->keys.count) say(0, "it is the first key: from now on every listener that is not open asks for one");
  int code = reload(c, replace ? "the old key is still good and the new one is not" : "the key is not good yet");
  return printed ? code : say(1, "weir key: the key could not be printed, so nobody has it: weir key rotate %.*s makes another", SPAN_FMT(k->name));
}

/* ---- the four */
static int run_mint(struct command *c, const char *file) {
  struct key k = { 0 };
  struct key_hash hash = { .until = KEY_FOREVER };
  char text[KEY_MINTED + 1];
  if (!text_option(c, "--team", &k.team) || !text_option(c, "--user", &k.user) || !models_option(c, &k) || !tag_options(c, &k) ||
      !expires_option(c, &k) || !name_take(c, "mint"))
    return 2;
  if (!load(c, file)) return 1;
  const struct key *there = key_named(c->conf, c->name);
  if (there)
    return say(1, "weir key: key '%.*s' is there already, at %.*s:%u; weir key rotate gives it a new secret", SPAN_FMT(c->name), SPAN_FMT(there->file), there->line);
  if (!key_mint(text, hash.digest)) return say(1, "weir key: no randomness from the kernel");
  k.name = c->name;
  k.hashes = &hash;
  k.hash_count = 1;
  return put(c, &k, text, false);
}

static int run_rotate(struct command *c, const char *file) {
  const char *grace = args_value(c->args, "--grace");
  double hours = 0;
  char text[KEY_MINTED + 1];
  struct key_hash hashes[KEY_MOST_HASHES] = { { .until = KEY_FOREVER } };
  if (grace && (!span_double(span_cstr(grace), &hours) || !(hours >= 0 && hours <= LONGEST_GRACE_H)))
    return say(2, "weir key rotate: --grace is a number of hours up to %d, not '%s'", LONGEST_GRACE_H, grace);
  if (!name_take(c, "rotate")) return 2;
  if (!load(c, file)) return 1;
  const struct key *old = own_key(c);
  if (!old) return 1;
  if (old->until <= c->now) return say(1, "weir key: key '%.*s' has expired: revoke it and mint a new one", SPAN_FMT(c->name));
  if (!key_mint(text, hashes[0].digest)) return say(1, "weir key: no randomness from the kernel");
  struct key k = *old;
  int64_t end = c->now + (int64_t)ceil(hours * 3600);
  k.hashes = hashes;
  k.hash_count = 1;
  for (size_t i = 0; hours > 0 && i < old->hash_count && k.hash_count < KEY_MOST_HASHES; i++) {
    struct key_hash h = old->hashes[i];
    if (h.until > end) h.until = end;
    if (h.until > c->now) hashes[k.hash_count++] = h;
  }
  return put(c, &k, text, true);
}

static int run_revoke(struct command *c, const char *file) {
  const char *why = NULL;
  if (!name_take(c, "revoke")) return 2;
  if (!load(c, file)) return 1;
  const struct key *k = own_key(c);
  if (!k) return 1;
  if (!key_file_remove(c->folder, c->name, &c->arena, &why)) return say(1, "weir key: %s: the key is still good", why);
  say(0, "key '%.*s' is revoked: %.*s is removed", SPAN_FMT(k->name), SPAN_FMT(k->file));
  int code = reload(c, "the key is STILL GOOD there");
  for (size_t i = 0; c->conf->keys.count == 1 && i < c->conf->listener_count; i++) {
    const struct listener *l = &c->conf->listeners[i];
    if (!l->open) say(0, "it was the last key: %.*s %s", SPAN_FMT(l->spec), l->local ? "asks for none now" : "lets nobody in, and weir does not start without a key");
  }
  return code;
}

static struct span models_text(struct command *c, const struct key *k) {
  struct buf out = { 0 };
  if (!k->model_count) return SPAN("all");
  for (size_t i = 0; i < k->model_count; i++) buf_printf(&out, "%s%.*s", i ? "," : "", SPAN_FMT(k->models[i]));
  struct span text = arena_copy(&c->arena, buf_span(&out));
  buf_free(&out);
  return text;
}

enum { COLUMNS = 4 };
static int run_list(struct command *c, const char *file) {
  if (!args_done(c->args, "key list")) return 2;
  if (!load(c, file)) return 1;
  const struct keys *all = &c->conf->keys;
  if (!all->count) return say(0, "there is no key");
  struct span(*rows)[COLUMNS] = arena_alloc(&c->arena, (all->count + 1) * sizeof *rows);
  int width[COLUMNS] = { 0 };
  memcpy(rows[0], (struct span[COLUMNS]){ SPAN("name"), SPAN("team"), SPAN("models"), SPAN("expires") }, sizeof *rows);
  for (size_t i = 0; i < all->count; i++) {
    const struct key *k = &all->list[i];
    struct span end = !k->expires.n ? SPAN("never") : k->until > c->now ? k->expires : arena_printf(&c->arena, "%.*s (expired)", SPAN_FMT(k->expires));
    memcpy(rows[i + 1], (struct span[COLUMNS]){ k->name, k->team.n ? k->team : SPAN("-"), models_text(c, k), end }, sizeof *rows);
  }
  for (size_t i = 0; i <= all->count; i++)
    for (int j = 0; j < COLUMNS; j++)
      if ((int)rows[i][j].n > width[j]) width[j] = (int)rows[i][j].n;
  for (size_t i = 0; i <= all->count; i++) {
    for (int j = 0; j < COLUMNS - 1; j++) printf("%-*.*s  ", width[j], SPAN_FMT(rows[i][j]));
    printf("%.*s\n", SPAN_FMT(rows[i][COLUMNS - 1]));
  }
  return 0;
}

int cmd_key(struct args *a) {
  static const struct { const char *name; int (*run)(struct command *c, const char *file); } verbs[] = {
    { "mint", run_mint }, { "list", run_list }, { "revoke", run_revoke }, { "rotate", run_rotate },
  };
  const char *file = args_value(a, "--config"), *names[4];
  struct command c = { .args = a, .now = time(NULL) };
  const char *verb = a->count ? a->words[0] : "";
  if (!*verb) return fputs(usage_text, stderr), 2;
  if (!strcmp(verb, "help") || !strcmp(verb, "--help") || !strcmp(verb, "-h")) return fputs(usage_text, stdout), 0;
  a->words++, a->count--;
  for (size_t i = 0; i < 4; i++) {
    names[i] = verbs[i].name;
    if (strcmp(verb, verbs[i].name)) continue;
    int code = verbs[i].run(&c, file);
    if (c.conf) conf_drop(c.conf);
    arena_end(&c.arena);
    return code;
  }
  const char *nearest = span_nearest(span_cstr(verb), names, 4);
  return say(2, "weir key: unknown command '%s'; %s%s%s", verb, nearest ? "did you mean '" : "see weir key help", nearest ? nearest : "", nearest ? "'?" : "");
}
