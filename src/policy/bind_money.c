/* Money as policies see it: what usd(2.5) gives. A whole number of picodollars that no Lua number ever is, so that sums stay exact. */
#include "room.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "weir/money.h"

struct amount { const void *tag; picodollars v; };
static const char money_tag, metatable_key;

void amount_push(lua_State *L, picodollars v) {
  struct amount *m = lua_newuserdatauv(L, sizeof *m, 0);
  *m = (struct amount){ &money_tag, v };
  lua_rawgetp(L, LUA_REGISTRYINDEX, &metatable_key);
  lua_setmetatable(L, -2);
}

bool amount_at(lua_State *L, int at, picodollars *out) {
  const struct amount *m = lua_touserdata(L, at);
  if (!m || lua_type(L, at) != LUA_TUSERDATA || lua_rawlen(L, at) != sizeof *m || m->tag != &money_tag) return false;
  *out = m->v;
  return true;
}

static picodollars check_money(lua_State *L, int at, const char *call) {
  picodollars v = 0;
  if (!amount_at(L, at, &v)) luaL_error(L, "%s: money and a %s do not go together; write usd(…)", call, luaL_typename(L, at));
  return v;
}

/* The shortest text that reads back as the number is the text it was written with. */
static struct span number_text(double v, char text[48]) {
  int n = 0;
  for (int digits = 1; digits <= 17; digits++) {
    n = snprintf(text, 48, "%.*g", digits, v);
    if (strtod(text, NULL) == v) break;
  }
  return span_of(text, (size_t)n);
}

/* usd(2.5), usd("0.000001") */
static int usd_call(lua_State *L) {
  char text[48];
  const char *why;
  picodollars v;
  struct span given;
  if (lua_type(L, 1) == LUA_TSTRING) given = check_span(L, 1);
  else if (lua_type(L, 1) == LUA_TNUMBER) given = number_text(lua_tonumber(L, 1), text);
  else return luaL_error(L, "usd takes a number or its decimal text, not a %s", luaL_typename(L, 1));
  if (!money_read(given, &v, &why)) return luaL_error(L, "usd(…) %s", why);
  amount_push(L, v);
  return 1;
}

static int add_call(lua_State *L) {
  amount_push(L, money_sum(check_money(L, 1, "+"), check_money(L, 2, "+")));
  return 1;
}
static int sub_call(lua_State *L) {
  picodollars a = check_money(L, 1, "-"), b = check_money(L, 2, "-");
  amount_push(L, money_sum(a, b == INT64_MIN ? MONEY_MOST : -b));
  return 1;
}

static picodollars times(lua_State *L, picodollars v, double factor) {
  double product = nearbyint((double)v * factor);
  if (!isfinite(factor)) luaL_error(L, "money times what is no number");
  return product >= 9.2e18 ? MONEY_MOST : product <= -9.2e18 ? -MONEY_MOST : (picodollars)product;
}

/* Times a number; a share of an amount need not be exact. */
static int mul_call(lua_State *L) {
  bool first = lua_type(L, 1) == LUA_TNUMBER;
  if (!first && lua_type(L, 2) != LUA_TNUMBER) return luaL_error(L, "money can be multiplied by a number only");
  amount_push(L, times(L, check_money(L, first ? 2 : 1, "*"), lua_tonumber(L, first ? 1 : 2)));
  return 1;
}

/* Money by money is a number, money by a number is money. */
static int div_call(lua_State *L) {
  picodollars a = check_money(L, 1, "/"), b;
  if (amount_at(L, 2, &b)) lua_pushnumber(L, (double)a / (double)b);
  else if (lua_type(L, 2) == LUA_TNUMBER) amount_push(L, times(L, a, 1 / lua_tonumber(L, 2)));
  else return luaL_error(L, "money can be divided by money or a number only");
  return 1;
}

static int eq_call(lua_State *L) {
  picodollars a, b;
  lua_pushboolean(L, amount_at(L, 1, &a) && amount_at(L, 2, &b) && a == b);
  return 1;
}
static int lt_call(lua_State *L) { return lua_pushboolean(L, check_money(L, 1, "<") < check_money(L, 2, "<")), 1; }
static int le_call(lua_State *L) { return lua_pushboolean(L, check_money(L, 1, "<=") <= check_money(L, 2, "<=")), 1; }

static int text_call(lua_State *L) {
  char text[MONEY_TEXT];
  lua_pushlstring(L, text, money_text(check_money(L, 1, "tostring"), text));
  return 1;
}

void money_setup(lua_State *L) {
  static const luaL_Reg events[] = {
    { "__add", add_call }, { "__sub", sub_call }, { "__mul", mul_call }, { "__div", div_call },     { "__eq", eq_call },
    { "__lt", lt_call },   { "__le", le_call },   { "__tostring", text_call }, { NULL, NULL },
  };
  lua_newtable(L);
  luaL_setfuncs(L, events, 0);
  lua_pushliteral(L, "money");
  lua_setfield(L, -2, "__name");
  lua_pushliteral(L, "money");
  lua_setfield(L, -2, "__metatable");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &metatable_key);
  lua_pushcfunction(L, usd_call);
  lua_setglobal(L, "usd");
}

void policy_money_setup(lua_State *L) { money_setup(L); }
bool policy_money_at(lua_State *L, int at, picodollars *out) { return amount_at(L, at, out); }
