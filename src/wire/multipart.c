#include "http_chars.h"
#include "http_fields.h"

/* Whoever checks the part and whoever serves it must find the same one. So what readers of forms
   differ about is refused: padding behind a boundary, LF line ends, a boundary in the middle of a
   line, escapes in a name, a file or an encoding where a text is looked for. */

enum { LONGEST_BOUNDARY = 70 };
static const struct step more = { STEP_MORE, 0 }, bad = { STEP_BAD, 0 };

struct part {
  struct span name;
  bool has_name, is_file, is_encoded;
};

static bool boundary_ok(struct span boundary) {
  if (!boundary.n || boundary.n > LONGEST_BOUNDARY || boundary.p[boundary.n - 1] == ' ') return false;
  for (size_t i = 0; i < boundary.n; i++)
    if (!char_is(boundary.p[i], CHAR_BOUNDARY)) return false;
  return true;
}

/* MORE while `text` may still come at `at`, EVENT when it is there (used: behind it), else BAD. */
static struct step expect(struct span window, size_t at, struct span text) {
  size_t have = window.n - at;
  if (memcmp(window.p + at, text.p, have < text.n ? have : text.n) != 0) return bad;
  return have < text.n ? more : (struct step){ STEP_EVENT, at + text.n };
}

/* What stands behind a boundary: EVENT for CRLF, DONE for the "--" that ends the form. */
static struct step boundary_end(struct span window, size_t at) {
  if (at < window.n && window.p[at] == '-') {
    struct step s = expect(window, at, SPAN("--"));
    return s.kind == STEP_EVENT ? (struct step){ STEP_DONE, s.used } : s;
  }
  return expect(window, at, SPAN("\r\n"));
}

static bool is_plain(struct span encoding) {
  return span_ieq(encoding, SPAN("7bit")) || span_ieq(encoding, SPAN("8bit")) || span_ieq(encoding, SPAN("binary"));
}

static bool disposition_note(struct part *part, struct span value) {
  struct span type, ignored;
  span_cut(value, ';', &type);
  if (part->has_name || !span_ieq(span_trim(type), SPAN("form-data"))) return false;
  if (params_seek(value, SPAN("name"), &part->name) != 1 || params_seek(value, SPAN("name*"), &ignored)) return false;
  if (span_find(part->name, '\\') < part->name.n) return false;
  part->has_name = true;
  part->is_file = params_seek(value, SPAN("filename"), &ignored) || params_seek(value, SPAN("filename*"), &ignored);
  return true;
}

static bool header_note(struct part *part, struct span line) {
  struct span name, value = span_cut(line, ':', &name);
  if (!value.p || !http_token_ok(name) || !http_value_ok(value)) return false;
  value = span_trim(value);
  if (span_ieq(name, SPAN("content-disposition"))) return disposition_note(part, value);
  if (span_ieq(name, SPAN("content-transfer-encoding")) && !is_plain(value)) part->is_encoded = true;
  return true;
}

/* EVENT when the part's headers are whole (used: where its content starts). */
static struct step headers_read(struct span window, size_t at, struct part *part) {
  *part = (struct part){ 0 };
  for (;;) {
    size_t n = span_find(span_from(window, at), '\n');
    if (at + n == window.n) return more;
    if (!n || window.p[at + n - 1] != '\r') return bad;
    struct span line = span_of(window.p + at, n - 1);
    at += n + 1;
    if (!line.n) return part->has_name ? (struct step){ STEP_EVENT, at } : bad;
    if (!header_note(part, line)) return bad;
  }
}

/* EVENT when the content that starts at `at` has its closing boundary (used: behind the boundary's
   name). `mark` is CRLF and the dashed boundary. */
static struct step content_end(struct span window, size_t at, struct span mark) {
  struct span dashed = span_from(mark, 2);
  size_t n = span_search(span_from(window, at), dashed), found = at + n;
  if (found == window.n) return more;
  if (n < 2 || memcmp(window.p + found - 2, "\r\n", 2) != 0) return bad;
  return (struct step){ STEP_EVENT, found + dashed.n };
}

static struct step parts_search(struct span window, size_t at, struct span mark, struct span name, struct span *out) {
  for (struct part part;;) {
    struct step s = boundary_end(window, at);
    if (s.kind != STEP_EVENT) return s;
    s = headers_read(window, s.used, &part);
    if (s.kind != STEP_EVENT) return s;
    size_t content = s.used;
    bool wanted = span_eq(part.name, name);
    if (wanted && (part.is_file || part.is_encoded)) return bad;
    s = content_end(window, content, mark);
    if (s.kind != STEP_EVENT) return s;
    at = s.used;
    if (!wanted) continue;
    s = boundary_end(window, at);
    if (s.kind == STEP_MORE || s.kind == STEP_BAD) return s;
    *out = span_of(window.p + content, at - mark.n - content);
    return (struct step){ STEP_EVENT, at - mark.n };
  }
}

struct step multipart_find(struct span window, struct span boundary, struct span name, struct span *out) {
  char text[LONGEST_BOUNDARY + 4] = "\r\n--";
  if (!boundary_ok(boundary)) return bad;
  if (!window.n) return more;
  memcpy(text + 4, boundary.p, boundary.n);
  struct span mark = span_of(text, boundary.n + 4);
  struct step s = window.p[0] == '\r' ? expect(window, 0, mark) : expect(window, 0, span_from(mark, 2));
  return s.kind == STEP_EVENT ? parts_search(window, s.used, mark, name, out) : s;
}
