/* contents.c: what was asked and answered, of those for whom weir.lua says so: in a table of its own, with its own time to stay. It takes
   another way than records do, through memory alone: a killed process loses what was on it. */
#include "room.h"

enum { WAITING_MOST = 8 << 20 };

struct content { struct content *next; int64_t sequence; bool cut; struct span id, request, answer; char bytes[]; };

bool contents_push(struct contents *c, int64_t sequence, struct span id, struct span request, struct span answer, bool cut) {
  const struct span parts[] = { id, request, answer };
  struct span *places[3];
  size_t n = id.n + request.n + answer.n;
  if (c->waiting + n > WAITING_MOST) return false;
  struct content *k = mem_alloc(sizeof *k + n);
  char *at = k->bytes;
  *k = (struct content){ .sequence = sequence, .cut = cut };
  places[0] = &k->id, places[1] = &k->request, places[2] = &k->answer;
  for (int i = 0; i < 3; i++) {
    *places[i] = span_of(at, parts[i].n);
    if (parts[i].n) memcpy(at, parts[i].p, parts[i].n);
    at += parts[i].n;
  }
  *(c->last ? c->last : &c->first) = k;
  c->last = &k->next;
  c->waiting += n;
  return true;
}

static bool content_save(struct base *b, const struct content *k) {
  struct buf texts[2] = { { 0 }, { 0 } };
  secrets_hide(k->request, &texts[0]);
  secrets_hide(k->answer, &texts[1]);
  sqlite3_bind_int64(b->content, 1, k->sequence);
  sqlite3_bind_text(b->content, 2, k->id.p, (int)k->id.n, SQLITE_STATIC);
  for (int i = 0; i < 2; i++) {
    struct span s = buf_span(&texts[i]);
    sqlite3_bind_text(b->content, 3 + i, s.p ? s.p : "", (int)s.n, SQLITE_STATIC);
  }
  sqlite3_bind_int(b->content, 5, k->cut);
  int r = sqlite3_step(b->content);
  sqlite3_reset(b->content);
  buf_free(&texts[0]);
  buf_free(&texts[1]);
  return r == SQLITE_DONE;
}

void contents_drop(struct contents *c) {
  for (struct content *k = c->first, *next; k; k = next) {
    next = k->next;
    mem_free(k);
  }
  *c = (struct contents){ 0 };
}

bool contents_save(struct base *b, struct contents *c) {
  if (!c->first) return true;
  bool good = base_begin(b, false);
  for (struct content *k = c->first; good && k; k = k->next) good = content_save(b, k);
  contents_drop(c);
  return good && base_commit(b);
}
