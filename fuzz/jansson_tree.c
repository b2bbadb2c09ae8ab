#include "jansson_tree.h"
#include <jansson.h>

void *tree_read(struct span document, bool *on_purpose) {
  json_error_t e;
  json_t *tree = json_loadb(document.n ? document.p : "", document.n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &e);
  if (tree) return tree;
  enum json_error_code code = json_error_code(&e);
  *on_purpose = code == json_error_numeric_overflow || code == json_error_null_byte_in_key ||
                code == json_error_null_character || strstr(e.text, "invalid Unicode '\\u") != NULL;
  return NULL;
}

void tree_free(void *tree) { json_decref(tree); }

enum tree_type tree_type(const void *v) {
  switch (json_typeof((const json_t *)v)) {
  case JSON_OBJECT:  return TREE_OBJECT;
  case JSON_ARRAY:   return TREE_ARRAY;
  case JSON_STRING:  return TREE_STRING;
  case JSON_INTEGER: return TREE_INTEGER;
  case JSON_REAL:    return TREE_REAL;
  case JSON_TRUE:    return TREE_TRUE;
  case JSON_FALSE:   return TREE_FALSE;
  default:           return TREE_NULL;
  }
}

size_t tree_count(const void *v) { return json_is_array((const json_t *)v) ? json_array_size(v) : json_object_size(v); }
void *tree_item(const void *array, size_t i) { return json_array_get(array, i); }
void *tree_member(const void *object, struct span name) { return json_object_getn(object, name.p, name.n); }
struct span tree_string(const void *v) { return span_of(json_string_value(v), json_string_length(v)); }
long long tree_integer(const void *v) { return json_integer_value(v); }
double tree_real(const void *v) { return json_real_value(v); }
