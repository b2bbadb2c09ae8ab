/* req.messages and req.tools: in one shape whatever dialect came in (weir/view.h). What a policy hands back is compared with what it was
   given, item by item, so that what it did not touch keeps the client's bytes. */
#include "room.h"
#include "weir/view.h"

static const struct json absent = { JSON_NONE, { NULL, 0 } };

static struct json member_of(const struct policy_req *r, const char *word) {
  size_t count;
  const struct json_member *members = req_members(r, &count);
  const char *name = r->operation ? request_member(r->operation, members, count, span_cstr(word)) : NULL;
  struct json v = name ? json_member_of(members, count, span_cstr(name)) : absent;
  return v.type == JSON_NULL ? absent : v;
}

static struct arena *arena_fresh(lua_State *L) {
  struct arena *a = &policy_of(L)->view;
  arena_end(a);
  return a;
}

static bool messages_of(lua_State *L, const struct policy_req *r, struct arena *a, struct view *out) {
  size_t count;
  const struct json_member *members = req_members(r, &count);
  vm_spend(L, r->body.n / 16);
  return r->operation && view_messages(r->operation, members, count, a, out);
}

/* weir.json.array's mark, so that an empty list stays one. */
static void list_push(lua_State *L) {
  struct json_error e;
  json_document_push(L, SPAN("[]"), &e);
}

static int view_push(lua_State *L, const struct view *v) {
  struct json_error e;
  list_push(L);
  for (size_t i = 0; i < v->count; i++) {
    if (!check(json_document_push(L, v->items[i].text, &e))) lua_newtable(L);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

int messages_get(lua_State *L, struct frame *f) {
  struct policy_req *r = f->subject->req;
  struct view v;
  if (messages_of(L, r, arena_fresh(L), &v)) return view_push(L, &v);
  json_push(L, member_of(r, "messages"));
  return 1;
}

int tools_get(lua_State *L, struct frame *f) {
  struct policy_req *r = f->subject->req;
  struct json tools = member_of(r, "tools");
  struct view v;
  if (r->operation && view_tools(r->operation, tools, arena_fresh(L), &v)) return view_push(L, &v);
  json_push(L, tools);
  return 1;
}

/* ---- writing */
/* The items of the view as a policy would hand them back if it did nothing. */
static struct span *as_given(lua_State *L, const struct view *v, struct arena *a) {
  struct span *texts = arena_alloc(a, (v->count + 1) * sizeof *texts);
  struct json_error e;
  for (size_t i = 0; i < v->count; i++) {
    texts[i] = (struct span){ NULL, 0 };
    if (!json_document_push(L, v->items[i].text, &e)) continue;
    texts[i] = json_encode_arena(L, lua_gettop(L), a);
    lua_pop(L, 1);
  }
  return texts;
}

static int find_same(lua_State *L, const struct span *given, size_t count, size_t from, struct span text) {
  for (size_t k = 0; k < count; k++) {
    size_t i = (from + k) % count;
    if (given[i].p && span_eq(given[i], text)) return vm_spend(L, k / 8), (int)i;
  }
  vm_spend(L, count / 8);
  return -1;
}

static struct view_new *news_of(lua_State *L, int value, const struct view *v, struct arena *a, size_t *count) {
  struct span *given = as_given(L, v, a);
  size_t n = lua_rawlen(L, value), next = 0;
  struct view_new *news = arena_alloc(a, (n + 1) * sizeof *news);
  for (size_t i = 0; i < n; i++) {
    lua_rawgeti(L, value, (lua_Integer)i + 1);
    struct span text = json_encode_arena(L, lua_gettop(L), a);
    lua_pop(L, 1);
    news[i].same = find_same(L, given, v->count, next, text);
    if (news[i].same >= 0) next = (size_t)news[i].same + 1;
    if (!check(json_read(text, &news[i].value, NULL))) news[i].value = absent;
  }
  *count = n;
  return news;
}

bool messages_write(lua_State *L, struct frame *f, int value) {
  struct policy_req *r = f->subject->req;
  struct arena *a = arena_fresh(L);
  struct view_written w;
  struct view v;
  size_t count, n;
  const char *why;
  if (!messages_of(L, r, a, &v)) return false;
  struct view_new *news = news_of(L, lua_absindex(L, value), &v, a, &n);
  const struct json_member *members = req_members(r, &count);
  if (!view_messages_write(r->operation, members, count, &v, news, n, a, &w, &why)) luaL_error(L, "req.messages cannot be said in a request of %s: %s", r->operation->path, why);
  req_edit(L, f, "messages", arena_copy(r->arena, w.list));
  if (w.instructions_set) req_edit(L, f, "system", w.instructions.p ? arena_copy(r->arena, w.instructions) : w.instructions);
  return true;
}

bool tools_write(lua_State *L, struct frame *f, int value) {
  struct policy_req *r = f->subject->req;
  struct arena *a = arena_fresh(L);
  struct json tools = member_of(r, "tools"), none = { JSON_ARRAY, SPAN("[]") };
  struct view v;
  size_t n;
  if (tools.type == JSON_NONE) tools = none;
  if (!r->operation || !view_tools(r->operation, tools, a, &v)) return false;
  struct view_new *news = news_of(L, lua_absindex(L, value), &v, a, &n);
  req_edit(L, f, "tools", arena_copy(r->arena, view_tools_write(r->operation, tools, news, n, a)));
  return true;
}
