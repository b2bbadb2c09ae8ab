/* weir why ID: the story of an exchange as the ledger has it; then its route and the decisions of its policies again, with the very
   files that served it and with those of now. */
#include "cmd.h"
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include "../gateway/gateway.h"
#include "again.h"
#include "weir/vm.h"

struct why {
  struct arena arena;
  struct span id;
  const char *dir;
  struct ledger_reader *reader;
  struct ledger_kept kept;            /* of the row that is told */
  bool kept_whole;
  struct conf *now;                   /* the configuration at hand; NULL: there is none */
  size_t found;
};

/* Names come from clients and providers: no control characters to a terminal. */
static void say(const char *what, struct span s) {
  if (!s.n) return;
  printf("  %-12s ", what);
  for (size_t i = 0; i < s.n; i++) putchar((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f ? '?' : s.p[i]);
  printf("\n");
}

static struct span money_span(picodollars v, char text[MONEY_TEXT]) { return span_of(text, money_text(v, text)); }

static void say_times(const struct ledger_row *row) {
  char when[32];
  int64_t begun = ledger_begun_ms(row->number[L_SEQUENCE]);
  time_t at = (time_t)(begun / 1000);
  struct tm tm;
  strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", gmtime_r(&at, &tm));
  printf("  %-12s %s.%03dZ", "begun", when, (int)(begun % 1000));
  if (row->number[L_MS] >= 0) printf(", took %lld ms", (long long)row->number[L_MS]);
  if (row->number[L_FIRST_EVENT_MS] >= 0) printf(", first content after %lld ms", (long long)row->number[L_FIRST_EVENT_MS]);
  if (row->number[L_OVERHEAD_US] >= 0) printf(", weir's part before the first try %lld us", (long long)row->number[L_OVERHEAD_US]);
  printf("\n");
}

static void say_asked(struct why *w, const struct ledger_row *row) {
  struct span model = row->text[L_MODEL];
  say("asked for", arena_printf(&w->arena, "%.*s%s (%.*s%s%s, %.*s %.*s)", SPAN_FMT(model), model.n ? "" : "no model", SPAN_FMT(row->text[L_DIALECT]),
                                row->number[L_STREAM] == 1 ? ", stream" : "", row->number[L_RAW] == 1 ? ", streamed through unread" : "",
                                SPAN_FMT(row->text[L_METHOD]), SPAN_FMT(row->text[L_PATH])));
  static const struct { const char *label; enum ledger_column column; } who[] = {
    { "parent", L_PARENT }, { "asked by", L_POLICY }, { "from", L_IP }, { "key", L_KEY }, { "team", L_TEAM }, { "user", L_USER }, { "session", L_SESSION },
    { "prompt", L_PROMPT }, { "tags", L_TAGS }, { "key tags", L_KEY_TAGS } };
  for (size_t i = 0; i < sizeof who / sizeof *who; i++) say(who[i].label, row->text[who[i].column]);
}

static struct span text_at(struct why *w, struct json v, const char *name) {
  struct span s = { 0 };
  struct json j = json_get(v, span_cstr(name));
  if (j.type == JSON_STRING) json_unescape(j, &w->arena, &s);
  else if (j.type != JSON_NONE) s = j.text;
  return s;
}

static void say_tries(struct why *w, const struct ledger_row *row) {
  struct json failed, one, key;
  int n = 0;
  if (row->text[L_FAILED].n && json_read(row->text[L_FAILED], &failed, NULL))
    for (struct json_iter i = json_iter(failed); json_next(&i, &key, &one);) {
      struct span status = text_at(w, one, "status"), cost = text_at(w, one, "cost");
      say("tried", arena_printf(&w->arena, "%d. %.*s: %.*s%s%.*s after %.*s ms%s%.*s", ++n, SPAN_FMT(text_at(w, one, "target")), SPAN_FMT(text_at(w, one, "fault")),
                                status.n ? ", status " : "", SPAN_FMT(status), SPAN_FMT(text_at(w, one, "ms")), cost.n ? ", cost USD " : "", SPAN_FMT(cost)));
    }
  struct span target = row->text[L_TARGET], served = row->text[L_SERVED];
  if (target.n && row->number[L_ORPHAN] != 1)
    say("answer from", arena_printf(&w->arena, "%.*s%s%.*s", SPAN_FMT(target), served.n ? ", which says it is " : "", SPAN_FMT(served)));
  else if (target.n) say("was asking", target);
  else if (!n) printf("  %-12s no provider was asked\n", "tried");
}

/* What providers charge for beside tokens. */
static void say_beside(const struct ledger_row *row) {
  struct buf out = { 0 };
  char text[MONEY_TEXT];
  if (row->number[L_SEARCHES] > 0) buf_printf(&out, "web searches %lld", (long long)row->number[L_SEARCHES]);
  if (row->number[L_TOOL_CALLS] > 0) buf_printf(&out, "%scalls of the provider's own tools %lld", buf_size(&out) ? ", " : "", (long long)row->number[L_TOOL_CALLS]);
  if (row->number[L_FEES] > 0)
    buf_printf(&out, "%sUSD %.*s of the cost", buf_size(&out) ? ": " : "for the request ", SPAN_FMT(money_span(row->number[L_FEES], text)));
  say("beside", buf_span(&out));
  buf_free(&out);
}

static void say_end(struct why *w, const struct ledger_row *row) {
  int64_t status = row->number[L_STATUS], limit = row->number[L_OUTPUT_LIMIT];
  say("end", arena_printf(&w->arena, "%.*s%s", SPAN_FMT(row->text[L_END]), row->number[L_ORPHAN] == 1 ? ": weir was killed while it was under way; what is known stood in its reservation" : ""));
  if (status >= 0) say("status", arena_printf(&w->arena, "%lld", (long long)status));
  static const enum ledger_column classes[] = { L_INPUT, L_CACHE_READ, L_CACHE_WRITE, L_CACHE_WRITE_1H, L_OUTPUT, L_REASONING };
  struct buf tokens = { 0 };
  for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
    if (row->number[classes[i]] >= 0) buf_printf(&tokens, "%s%s %lld", buf_size(&tokens) ? ", " : "", ledger_column_name(classes[i]), (long long)row->number[classes[i]]);
  if (buf_size(&tokens)) buf_add(&tokens, row->number[L_REPORTED] == 1 ? SPAN(" (as the provider reported)") : SPAN(" (not reported)"));
  say("tokens", buf_span(&tokens));
  buf_free(&tokens);
  char text[MONEY_TEXT];
  say_beside(row);
  if (row->number[L_COST] >= 0) say("cost", arena_printf(&w->arena, "USD %.*s%s", SPAN_FMT(money_span(row->number[L_COST], text)), row->number[L_ORPHAN] == 1 ? ", as it was reserved" : ""));
  if (row->number[L_UNPRICED] == 1) say("cost", SPAN("of some attempt it is not known: no price, or no usage"));
  if (row->number[L_ESTIMATE] >= 0) say("at most", arena_printf(&w->arena, "USD %.*s for one attempt, as it was estimated before", SPAN_FMT(money_span(row->number[L_ESTIMATE], text))));
  if (limit >= 0) say("limit", arena_printf(&w->arena, "%lld tokens of output, set by weir", (long long)limit));
  say("left out", row->text[L_LOSS]);
  say("notes", row->text[L_NOTES]);
  say("read", row->text[L_READS]);
}

static void say_contents(struct why *w, const struct ledger_row *row) {
  w->kept = (struct ledger_kept){ 0 };
  bool there = ledger_read_contents(w->reader, row->text[L_ID], row->number[L_SEQUENCE], &w->arena, &w->kept);
  w->kept_whole = there && !w->kept.cut && w->kept.request.n;
  say("request", w->kept.request);
  say("answer", w->kept.answer);
  if (w->kept.cut) say("", SPAN("(cut: there was more than is kept)"));
}

/* ---- the route again */
static void say_clocks(struct why *w, const struct conf *c, const struct alias *alias, const struct candidate *t) {
  static const enum setting clocks[] = { SET_CONNECT, SET_HEAD, SET_FIRST_EVENT, SET_BETWEEN_EVENTS, SET_TOTAL };
  struct buf out = { 0 };
  for (size_t i = 0; i < sizeof clocks / sizeof *clocks; i++)
    buf_printf(&out, "%s%s %.6g s", i ? ", " : "", setting_words[clocks[i]], conf_setting(c, alias, t->provider, clocks[i]));
  say("", arena_printf(&w->arena, "   %.*s", SPAN_FMT(buf_span(&out))));
  buf_free(&out);
}

static void route_again(struct why *w, const struct conf *c, const struct ledger_row *row) {
  const struct operation_info *o = operation_by_path(row->text[L_PATH]);
  struct route *route = arena_zero(&w->arena, sizeof *route);
  int status = 0;
  if (row->number[L_RAW] == 1 || !row->text[L_MODEL].n) {
    say("route", SPAN("its path alone decided"));
    return;
  }
  const char *refused = route_model(c, o ? o : operation_info(OP_CHAT), row->text[L_MODEL], &w->arena, route, &status);
  if (refused) {
    say("route", arena_printf(&w->arena, "refused with %d: %s", status, refused));
    return;
  }
  for (size_t i = 0; i < route->count; i++) {
    say(i ? "" : "route", arena_printf(&w->arena, "%zu. %.*s", i + 1, SPAN_FMT(route->candidates[i].name)));
    say_clocks(w, c, route->alias, &route->candidates[i]);
  }
}

/* ---- the decision again */
static void say_again(struct why *w, const char *what, const struct again *g, const struct ledger_row *row) {
  struct span was = again_was(row), end = row->text[L_END];
  for (const struct again_step *s = g->steps; s; s = s->next) say(s == g->steps ? what : "", s->text);
  bool counted = span_eq(end, SPAN("capped")) || span_eq(end, SPAN("limited"));
  bool later = span_eq(end, SPAN("client_gone")) || span_eq(end, SPAN("drained")) || span_eq(end, SPAN("stopped")) || span_eq(end, SPAN("internal"));
  if (span_eq(g->outcome, was)) say("", arena_printf(&w->arena, "as it was: %.*s", SPAN_FMT(was)));
  else if (counted) say("", SPAN("then a budget or limit had no room for what it might need, which is not reserved again"));
  else if (!later) say("differs", arena_printf(&w->arena, "it was %.*s, and would be %.*s", SPAN_FMT(was), SPAN_FMT(g->outcome)));
  if (g->unjudged) say("not known", arena_printf(&w->arena, "what on_response decides: %s", g->unjudged));
  if (g->chunks) say("not run", SPAN("on_chunk, which sees each piece of a stream"));
  if (g->missing) say("not known", arena_printf(&w->arena, "%u reading%s that policies made now and not then", g->missing, g->missing == 1 ? "" : "s"));
  if (g->cut) say("not known", SPAN("some of what policies read then: it was more than is kept"));
}

/* For a question of a policy none of them runs. */
static bool policies_decided(const struct conf *c, const struct ledger_row *row) {
  return c->use_count && row->number[L_ORPHAN] != 1 && !row->text[L_PARENT].n;
}

static void decide_again(struct why *w, const struct ledger_row *row, const char *what, struct conf *c) {
  struct again g;
  if (!policies_decided(c, row)) return;
  if (again_run(&g, &w->arena, c, row, &w->kept)) say_again(w, what, &g, row);
  else for (const struct again_step *s = g.steps; s; s = s->next) say("not run", s->text);
}

static void say_unseen(struct why *w, const struct conf *c) {
  struct buf names = { 0 };
  const struct span secret = SPAN("[secret]");
  bool hidden = span_search(w->kept.request, secret) < w->kept.request.n || span_search(w->kept.answer, secret) < w->kept.answer.n;
  for (size_t i = 0; i < c->use_count; i++) buf_printf(&names, "%s%.*s", i ? ", " : "", SPAN_FMT(c->uses[i].name));
  if (c->use_count)
    say("not seen", arena_printf(&w->arena, "by the policies %.*s: the %sheaders of the request and of the answer, which are not kept%s", SPAN_FMT(buf_span(&names)),
                                  w->kept_whole ? "" : "messages and ", hidden ? "; and what stands as [secret]" : ""));
  buf_free(&names);
}

static void again(struct why *w, const struct ledger_row *row) {
  struct span hash = row->text[L_CONF];
  struct buf errors = { 0 };
  if (!hash.n) return;
  struct span path = arena_printf(&w->arena, "%s/generations/%.*s/weir.lua", w->dir, SPAN_FMT(hash));
  printf("  %-12s %lld, files %.12s\n", "generation", (long long)row->number[L_GENERATION], hash.p);
  if (access(path.p, R_OK)) {
    say("not run", arena_printf(&w->arena, "the route: its files are not in %s/generations any more (or weir had none)", w->dir));
    return;
  }
  struct conf *c = conf_load_story(path.p, &errors);
  if (c) {
    route_again(w, c, row);
    decide_again(w, row, "again", c);
    if (policies_decided(c, row)) say_unseen(w, c);
  }
  else say("not run", arena_printf(&w->arena, "the route: its files do not load alone: %.*s", SPAN_FMT(buf_span(&errors))));
  conf_drop(c);
  buf_free(&errors);
}

/* With the files as they are now, when they are others. */
static void now(struct why *w, const struct ledger_row *row) {
  struct again g;
  if (!w->now || row->number[L_ORPHAN] == 1 || row->text[L_PARENT].n || row->number[L_RAW] == 1 || !row->text[L_MODEL].n || span_eq(span_cstr(w->now->hash), row->text[L_CONF])) return;
  if (again_run(&g, &w->arena, w->now, row, &w->kept)) say_again(w, "now", &g, row);
  else for (const struct again_step *s = g.steps; s; s = s->next) say("not run", s->text);
}

static bool tell(void *arg, const struct ledger_row *row) {
  struct why *w = arg;
  printf("%s%.*s\n", w->found++ ? "\n" : "", SPAN_FMT(row->text[L_ID]));
  say_times(row);
  say_asked(w, row);
  say_tries(w, row);
  say_end(w, row);
  say_contents(w, row);
  again(w, row);
  now(w, row);
  return true;
}

int cmd_why(struct args *a) {
  const char *config = args_value(a, "--config"), *state = args_value(a, "--state"), *why = "";
  if (a->count != 1) return fprintf(stderr, "weir why ID [--config FILE] [--state FOLDER]: ID is the answer's x-request-id\n"), 2;
  struct why w = { .id = span_cstr(a->words[0]) };
  struct conf *c = NULL;
  struct ledger_reader *r = report_open(config, state, &c, "why");
  if (r && state) w.dir = state;
  else if (r) w.dir = arena_cstr(&w.arena, c->state_dir);
  w.now = c;
  w.reader = r;
  vm_thread_enter();
  bool good = r && ledger_read_id(r, w.id, tell, &w, &why);
  if (r && !good) fprintf(stderr, "weir why: %s\n", why);
  if (good && !w.found) fprintf(stderr, "weir why: %s has no request '%.*s' (it is written within a tenth of a second of its end, and kept as `ledger` says)\n", w.dir, SPAN_FMT(w.id));
  ledger_read_close(r);
  arena_end(&w.arena);
  conf_drop(c);
  return good && w.found ? 0 : 1;
}
