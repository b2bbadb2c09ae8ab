#include "room.h"

/* The table library. It reads and writes through metamethods, as Lua's own does, and takes steps by what it moves. */
enum { READS = 1, WRITES = 2, COUNTS = 4 };
enum { MOVE = 4, COMPARE = 8 };       /* steps */

static bool has_field(lua_State *L, int metatable, const char *name) {
  lua_pushstring(L, name);
  bool has = lua_rawget(L, metatable) != LUA_TNIL;
  lua_pop(L, 1);
  return has;
}

/* A table, or what can do as one. */
static void check_table(lua_State *L, int arg, int uses) {
  if (lua_type(L, arg) == LUA_TTABLE) return;
  bool well = lua_getmetatable(L, arg);
  int metatable = lua_gettop(L);
  if (uses & READS) well = well && has_field(L, metatable, "__index");
  if (uses & WRITES) well = well && has_field(L, metatable, "__newindex");
  if (uses & COUNTS) well = well && has_field(L, metatable, "__len");
  if (!well) luaL_checktype(L, arg, LUA_TTABLE);
  lua_pop(L, 1);
}

static lua_Integer count_of(lua_State *L, int arg, int uses) {
  check_table(L, arg, uses | COUNTS);
  return luaL_len(L, arg);
}

static void spend_moves(lua_State *L, lua_Integer n) {
  vm_spend(L, 4 + (n > 0 ? (uint64_t)n * MOVE : 0));
}

static int insert(lua_State *L) {
  lua_Integer end = (lua_Integer)((lua_Unsigned)count_of(L, 1, READS | WRITES) + 1), at = end;
  int args = lua_gettop(L);
  if (args != 2 && args != 3) return luaL_error(L, "wrong number of arguments to 'insert'");
  if (args == 3) {
    at = luaL_checkinteger(L, 2);
    luaL_argcheck(L, (lua_Unsigned)at - 1u < (lua_Unsigned)end, 2, "position out of bounds");
  }
  spend_moves(L, end - at);
  for (lua_Integer i = end; i > at; i--) {
    lua_geti(L, 1, i - 1);
    lua_seti(L, 1, i);
  }
  lua_seti(L, 1, at);
  return 0;
}

static int remove_one(lua_State *L) {
  lua_Integer count = count_of(L, 1, READS | WRITES), at = luaL_optinteger(L, 2, count);
  if (at != count) luaL_argcheck(L, (lua_Unsigned)at - 1u <= (lua_Unsigned)count, 2, "position out of bounds");
  lua_geti(L, 1, at);
  spend_moves(L, count - at);
  for (; at < count; at++) {
    lua_geti(L, 1, at + 1);
    lua_seti(L, 1, at);
  }
  lua_pushnil(L);
  lua_seti(L, 1, at);
  return 1;
}

static int move(lua_State *L) {
  lua_Integer from = luaL_checkinteger(L, 2), to = luaL_checkinteger(L, 3), at = luaL_checkinteger(L, 4);
  int target = lua_isnoneornil(L, 5) ? 1 : 5;
  check_table(L, 1, READS);
  check_table(L, target, WRITES);
  if (to >= from) {
    luaL_argcheck(L, from > 0 || to < LUA_MAXINTEGER + from, 3, "too many elements to move");
    lua_Integer n = to - from + 1;
    luaL_argcheck(L, at <= LUA_MAXINTEGER - n + 1, 4, "destination wrap around");
    spend_moves(L, n);
    bool upwards = at > to || at <= from || (target != 1 && !lua_compare(L, 1, target, LUA_OPEQ));
    for (lua_Integer k = 0; k < n; k++) {
      lua_Integer i = upwards ? k : n - 1 - k;
      lua_geti(L, 1, from + i);
      lua_seti(L, target, at + i);
    }
  }
  lua_pushvalue(L, target);
  return 1;
}

static void add_item(lua_State *L, luaL_Buffer *b, lua_Integer i) {
  lua_geti(L, 1, i);
  if (!lua_isstring(L, -1))
    luaL_error(L, "invalid value (%s) at index %I in table for 'concat'", luaL_typename(L, -1), (LUAI_UACINT)i);
  vm_spend(L, 6 + (lua_type(L, -1) == LUA_TNUMBER ? 50 : lua_rawlen(L, -1) / 32));
  luaL_addvalue(b);
}

static int concat(lua_State *L) {
  luaL_Buffer b;
  lua_Integer last = count_of(L, 1, READS);
  size_t n;
  const char *between = luaL_optlstring(L, 2, "", &n);
  lua_Integer i = luaL_optinteger(L, 3, 1);
  last = luaL_optinteger(L, 4, last);
  luaL_buffinit(L, &b);
  for (; i < last; i++) {
    add_item(L, &b, i);
    vm_spend(L, n / 32);
    luaL_addlstring(&b, between, n);
  }
  if (i == last) add_item(L, &b, i);
  luaL_pushresult(&b);
  return 1;
}

static int pack(lua_State *L) {
  int n = lua_gettop(L);
  spend_moves(L, n);
  lua_createtable(L, n, 1);
  lua_insert(L, 1);
  for (int i = n; i >= 1; i--) lua_seti(L, 1, i);
  lua_pushinteger(L, n);
  lua_setfield(L, 1, "n");
  return 1;
}

static int unpack(lua_State *L) {
  lua_Integer i = luaL_optinteger(L, 2, 1);
  lua_Integer last = lua_isnoneornil(L, 3) ? luaL_len(L, 1) : luaL_checkinteger(L, 3);
  if (i > last) return 0;
  lua_Unsigned n = (lua_Unsigned)last - (lua_Unsigned)i;             /* one less than the count, which may overflow */
  if (n >= 1000000) return luaL_error(L, "too many results to unpack");
  spend_moves(L, (lua_Integer)n);
  if (!lua_checkstack(L, (int)++n)) return luaL_error(L, "too many results to unpack");
  for (; i < last; i++) lua_geti(L, 1, i);
  lua_geti(L, 1, last);
  return (int)n;
}

/* ---- sort: quicksort with the median of three, in place on the table, so that equal elements end in the same order
   as with Lua's own. Argument 2 is the order or nil. */
static bool is_less(lua_State *L, int a, int b) {
  vm_spend(L, COMPARE);
  if (lua_isnil(L, 2)) {
    if (lua_type(L, a) == LUA_TSTRING && lua_type(L, b) == LUA_TSTRING) {
      size_t m = lua_rawlen(L, a), n = lua_rawlen(L, b);
      vm_spend(L, (m < n ? m : n) / 16);
    }
    return lua_compare(L, a, b, LUA_OPLT);
  }
  lua_pushvalue(L, 2);
  lua_pushvalue(L, a - 1);
  lua_pushvalue(L, b - 2);
  lua_call(L, 2, 1);
  bool less = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return less;
}

/* t[i] = the value on top, t[j] = the one below it. */
static void put_two(lua_State *L, lua_Integer i, lua_Integer j) {
  lua_seti(L, 1, i);
  lua_seti(L, 1, j);
}

static void get_two(lua_State *L, lua_Integer i, lua_Integer j) {
  lua_geti(L, 1, i);
  lua_geti(L, 1, j);
}

/* Puts t[low], t[high] in order. */
static void order_two(lua_State *L, lua_Integer low, lua_Integer high) {
  get_two(L, low, high);
  if (is_less(L, -1, -2)) put_two(L, low, high);
  else lua_pop(L, 2);
}

/* Puts t[low], t[middle], t[high] in order, where low and high already are. */
static void order_three(lua_State *L, lua_Integer low, lua_Integer middle, lua_Integer high) {
  get_two(L, middle, low);
  if (is_less(L, -2, -1)) return put_two(L, middle, low);
  lua_pop(L, 1);
  lua_geti(L, 1, high);
  if (is_less(L, -1, -2)) return put_two(L, middle, high);
  lua_pop(L, 2);
}

/* The pivot is on the top of the stack and in t[high - 1]. Gives its final place. */
static lua_Integer divide(lua_State *L, lua_Integer low, lua_Integer high) {
  lua_Integer i = low, j = high - 1;
  for (;;) {
    while (lua_geti(L, 1, ++i), is_less(L, -1, -2)) {
      if (i == high - 1) luaL_error(L, "invalid order function for sorting");
      lua_pop(L, 1);
    }
    while (lua_geti(L, 1, --j), is_less(L, -3, -1)) {
      if (j < i) luaL_error(L, "invalid order function for sorting");
      lua_pop(L, 1);
    }
    if (j < i) break;
    put_two(L, i, j);
  }
  lua_pop(L, 1);
  put_two(L, high - 1, i);
  return i;
}

/* Where parts came out too unequal the next pivot is taken from elsewhere in the middle half, always the same way. */
static lua_Integer pivot_place(lua_Integer low, lua_Integer high, bool unequal) {
  lua_Integer quarter = (high - low) / 4;
  if (!unequal || high - low < 100) return low + (high - low) / 2;
  return low + quarter + (lua_Integer)((lua_Unsigned)(high - low) * 2654435761u % (lua_Unsigned)(quarter * 2));
}

static void sort_range(lua_State *L, lua_Integer low, lua_Integer high, bool unequal) {
  while (low < high) {
    order_two(L, low, high);
    if (high - low == 1) return;
    lua_Integer middle = pivot_place(low, high, unequal), smaller;
    order_three(L, low, middle, high);
    if (high - low == 2) return;
    lua_geti(L, 1, middle);
    lua_pushvalue(L, -1);
    lua_geti(L, 1, high - 1);
    put_two(L, middle, high - 1);
    middle = divide(L, low, high);
    if (middle - low < high - middle) {              /* the smaller part by recursion: depth is by the logarithm */
      sort_range(L, low, middle - 1, unequal);
      smaller = middle - low;
      low = middle + 1;
    } else {
      sort_range(L, middle + 1, high, unequal);
      smaller = high - middle;
      high = middle - 1;
    }
    if ((high - low) / 128 > smaller) unequal = true;
  }
}

static int sort(lua_State *L) {
  lua_Integer n = count_of(L, 1, READS | WRITES);
  if (n < 2) return 0;
  luaL_argcheck(L, n < INT32_MAX, 1, "array too big");
  if (!lua_isnoneornil(L, 2)) luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_settop(L, 2);
  luaL_checkstack(L, 40, "too little stack to sort");
  sort_range(L, 1, n, false);
  return 0;
}

void library_table(lua_State *L) {
  static const luaL_Reg list[] = {
    { "concat", concat }, { "insert", insert }, { "move", move }, { "pack", pack }, { "remove", remove_one }, { "sort", sort },
    { "unpack", unpack }, { NULL, NULL }
  };
  luaL_newlib(L, list);
}
