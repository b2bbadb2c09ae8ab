/* json_pull.c: the rare ways of json_pull.h. */
#include "json_pull.h"

const char pull_nothing[1] = { 0x7F };

const char *pull_far(const char *start, const char *at, const char *end, unsigned depth) {
  struct reader r = { start, end, { 0, NULL }, 0 };
  return reader_value(&r, at, depth);
}

/* Every key is hashed once, however many share a bit. */
bool pull_name_far(struct pull_names *n, const struct json_member *members, size_t count) {
  for (; n->hashed <= count; n->hashed++) n->hash[n->hashed] = scan_name_hash(members[n->hashed].key, (uintptr_t)n);
  for (size_t i = 0; i < count; i++)
    if (n->hash[i] == n->hash[count] && scan_same_name(members[i].key, members[count].key)) return false;
  return true;
}
