/* check_providers.c: weir check --providers: each endpoint is connected to as weir would: name, TCP, TLS. No request is sent, so no key is. */
#include <stdio.h>
#include <stdlib.h>
#include "cmd.h"
#include "link.h"
#include "weir/conf.h"
#include "weir/translate.h"
#include "weir/vm.h"

static void print_account(const struct endpoint *e) {
  size_t keys = 0;
  for (size_t i = 0; i < e->account_count; i++) keys += e->accounts[i].key != NULL;
  if (!keys) printf("    key: none\n");
  else printf("    key: %zu account%s\n", keys, keys == 1 ? "" : "s");
}

static bool check_endpoint(const struct conf *c, const struct provider *p, const struct endpoint *e, struct names *names) {
  char why[256] = "";
  struct link_to to = { .tls_name = e->tls_name };
  struct link k = { .fd = -1 };
  uint64_t begun = link_now_ns();
  bool good = names_find_endpoint(names, e, &to, why, sizeof why);
  double name_ms = (double)(link_now_ns() - begun) / 1e6;
  printf("  %.*s%s%.*s\n", SPAN_FMT(e->text), e->region.n ? "  region " : "", SPAN_FMT(e->region));
  print_account(e);
  if (good && e->url.tls) {
    char *ca = e->ca.n ? mem_cstr(e->ca) : NULL;
    to.trust = tls_trust_load(ca, why, sizeof why);
    good = to.trust != NULL;
    mem_free(ca);
  }
  if (good && !link_open(&k, &to, conf_setting(c, NULL, p, SET_CONNECT), conf_setting(c, NULL, p, SET_TLS))) {
    snprintf(why, sizeof why, "%s", k.why);
    good = false;
  }
  if (e->proxy) printf("    through the proxy %.*s\n", SPAN_FMT(e->proxy->name));
  if (!good) printf("    FAILED: %s\n", why);
  else printf("    connected%s: %.1f ms for the name (%d address%s), %.1f ms for TCP\n", e->proxy ? " to the proxy" : "", name_ms, to.count, to.count == 1 ? "" : "es", k.connect_ms);
  if (good && k.tls) {
    struct buf bye = { 0 };
    printf("    TLS 1.2, %s, chain good for %.*s, %.1f ms\n", tls_suite(k.tls), SPAN_FMT(e->tls_name), k.tls_ms);
    tls_close_notify(k.tls, &bye);
    buf_free(&bye);
  } else if (good) {
    printf("    no TLS: keys and texts travel as they are\n");
  }
  if (good) link_close(&k);
  if (to.trust) tls_trust_drop(to.trust);
  return good;
}

/* ---- what a provider can do */
static const char *proof(const struct catalogue_quirks *q) { return q->proven ? "proven" : "declared"; }

/* The paths on which clients reach it: as it is, or in another dialect. */
static void print_operations(enum dialect d, const char *what, bool own) {
  bool any = false;
  for (int o = 0; o < OP_COUNT; o++) {
    const struct operation_info *asked = operation_info((enum operation)o), *at = operation_at(asked, d);
    if (!at || (at == asked) != own || (strchr(asked->path, '{') && (!own || d == DIALECT_CONVERSE))) continue;     /* no client comes by it */
    printf("%s%s", any ? " " : what, asked->path);
    any = true;
  }
  if (any) printf("\n");
}

const char *usage_words(const struct provider *p) {
  if (provider_takes_usage_option(p)) return "is asked for usage in streams";
  return p->quirks->usage_always || p->dialect != DIALECT_CHAT ? "tells usage in streams unasked" : "tells no usage in streams";
}

const char *cancel_words(const struct provider *p) { return p->quirks->bills_cancelled ? "goes on and charges" : "stops and charges no more"; }

static void print_provider(const struct provider *p) {
  printf("%.*s speaks %s, ", SPAN_FMT(p->name), dialect_word(p->dialect));
  if (p->catalogue) printf("%s in the catalogue\n", proof(p->quirks));
  else printf("not in the catalogue\n");
  print_operations(p->dialect, "  as it is: ", true);
  print_operations(p->dialect, "  translated: ", false);
  printf("  streams; %s; %s after a cancel", usage_words(p), cancel_words(p));
  if (p->dialect == DIALECT_CHAT)
    printf("; takes %s", p->quirks->old_limit_name ? "max_tokens alone" : p->quirks->new_limit_name ? "max_completion_tokens" : "either name of the output limit");
  printf("; key in %s\n", p->auth_header);
}

static void print_key(const struct catalogue_provider *k) {
  const char *value = k->key_variable ? getenv(k->key_variable) : NULL;
  if (k->key_variable) printf("  %-22s %-8s", k->key_variable, value && *value ? "set" : k->quirks->local ? "optional" : "not set");
  else printf("  %-22s %-8s", "needs no key", "");
}

static void print_catalogue(const struct conf *c) {
  printf("catalogue (proven: its recorded answers go through weir's tests; declared: as it says of itself):\n");
  const struct catalogue_provider *k;
  for (size_t i = 0; (k = catalogue_at(i)); i++) {
    printf("  %-11s %-9s %-9s", k->name, dialect_word(k->dialect), proof(k->quirks));
    print_key(k);
    printf(" %s%s", k->url ? k->url : "needs a url: ", k->url ? "" : k->quirks->url_form ? k->quirks->url_form : "your own");
    printf("%s\n", conf_provider(c, span_cstr(k->name)) ? "  (configured)" : k->quirks->local ? "  (only when named)" : "");
  }
}

int check_providers(const char *file) {
  struct buf errors = { 0 }, warnings = { 0 };
  const char *why = "";
  unsigned failed = 0, count = 0;
  vm_thread_enter();
  struct conf *c = conf_load(file, &errors, &warnings);
  fprintf(stderr, "%.*s%.*s", SPAN_FMT(buf_span(&warnings)), SPAN_FMT(buf_span(&errors)));
  buf_free(&errors);
  buf_free(&warnings);
  if (!c) return 1;
  struct names *names = names_open(&why);
  if (!names) fprintf(stderr, "names cannot be asked for: %s\n", why);
  for (size_t i = 0; i < c->provider_count; i++) {
    const struct provider *p = &c->providers[i];
    print_provider(p);
    for (size_t k = 0; k < p->endpoint_count; k++, count++) failed += !check_endpoint(c, p, &p->endpoints[k], names);
  }
  if (!c->provider_count) printf("no providers\n");
  printf("%u of %u endpoints can be reached. No request was sent. weir speaks TLS 1.2 to providers, no TLS 1.3\n", count - failed, count);
  print_catalogue(c);
  names_close(names);
  conf_drop(c);
  return failed ? 1 : 0;
}
