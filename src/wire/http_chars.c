#include "http_chars.h"
#include "weir/http.h"

enum {
  V = CHAR_VALUE,
  VT = CHAR_VALUE | CHAR_TARGET,
  VTB = VT | CHAR_BOUNDARY,
  PLAIN = VT | CHAR_TOKEN,
  ALL = PLAIN | CHAR_HOST | CHAR_BOUNDARY,
  ALL_P = ALL | CHAR_PATH,
  VTB_P = VTB | CHAR_PATH,
};
const unsigned char http_chars[256] = {
  ['\t'] = V, [' '] = V | CHAR_BOUNDARY, ['!'] = PLAIN, ['"'] = V, ['#'] = V | CHAR_TOKEN, ['$' ... '&'] = PLAIN,
  ['\''] = PLAIN | CHAR_BOUNDARY, ['(' ... ')'] = VTB, ['*'] = PLAIN, ['+'] = PLAIN | CHAR_BOUNDARY, [','] = VTB,
  ['-'] = ALL_P, ['.'] = ALL, ['/'] = VTB_P, ['0' ... '9'] = ALL_P, [':'] = VTB_P, [';'] = VT, ['<'] = V, ['='] = VTB, ['>'] = V,
  ['?'] = VTB, ['@'] = VT, ['A' ... 'Z'] = ALL_P, ['['] = VT, ['\\'] = V, [']'] = VT, ['^'] = PLAIN, ['_'] = ALL_P,
  ['`'] = PLAIN, ['a' ... 'z'] = ALL_P, ['{'] = VT, ['|'] = PLAIN, ['}'] = VT, ['~'] = PLAIN, [0x80 ... 0xff] = V,
};

const unsigned char http_hex[256] = {
  [0 ... '0' - 1] = 16, ['0'] = 0, ['1'] = 1, ['2'] = 2, ['3'] = 3, ['4'] = 4, ['5'] = 5, ['6'] = 6, ['7'] = 7,
  ['8'] = 8, ['9'] = 9, ['9' + 1 ... 'A' - 1] = 16, ['A'] = 10, ['B'] = 11, ['C'] = 12, ['D'] = 13, ['E'] = 14,
  ['F'] = 15, ['F' + 1 ... 'a' - 1] = 16, ['a'] = 10, ['b'] = 11, ['c'] = 12, ['d'] = 13, ['e'] = 14, ['f'] = 15,
  ['f' + 1 ... 255] = 16,
};

static bool all_are(struct span s, unsigned kind) {
  for (size_t i = 0; i < s.n; i++)
    if (!char_is(s.p[i], kind)) return false;
  return true;
}

bool http_value_ok(struct span value) { return all_are(value, CHAR_VALUE); }
bool http_token_ok(struct span token) { return token.n && all_are(token, CHAR_TOKEN); }
