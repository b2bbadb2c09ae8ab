#include "weir/http.h"

static const struct {
  int status;
  const char *text;
} errors[] = {
  [HTTP_OK] = { 200, "no error" },
  [HTTP_BAD_REQUEST_LINE] = { 400, "the request line is not METHOD SP /target SP HTTP/1.1 CRLF" },
  [HTTP_BAD_HEADER] = { 400, "a header line is not name, colon, value, CRLF" },
  [HTTP_BAD_HOST] = { 400, "there must be exactly one valid Host header" },
  [HTTP_BAD_FRAMING] = { 400, "Content-Length and Transfer-Encoding do not give one body length" },
  [HTTP_BAD_CHUNK] = { 400, "the chunked body is malformed" },
  [HTTP_TARGET_TOO_LONG] = { 414, "the request target is longer than 8192 bytes" },
  [HTTP_EXPECTATION] = { 417, "only Expect: 100-continue is supported" },
  [HTTP_HEAD_TOO_LARGE] = { 431, "the head has too many or too large headers" },
  [HTTP_TRANSFER_CODING] = { 501, "the only supported Transfer-Encoding is chunked" },
  [HTTP_VERSION] = { 505, "only HTTP/1.0 and HTTP/1.1 are spoken here" },
  [HTTP_BAD_STATUS_LINE] = { 502, "the status line is not HTTP/1.1 SP status SP reason CRLF" },
};

int http_error_status(enum http_error e) { return errors[e].status; }
const char *http_error_text(enum http_error e) { return errors[e].text; }

const char *http_reason(int status) {
  switch (status) {
  case 100: return "Continue";
  case 101: return "Switching Protocols";
  case 102: return "Processing";
  case 103: return "Early Hints";
  case 200: return "OK";
  case 201: return "Created";
  case 202: return "Accepted";
  case 203: return "Non-Authoritative Information";
  case 204: return "No Content";
  case 205: return "Reset Content";
  case 206: return "Partial Content";
  case 300: return "Multiple Choices";
  case 301: return "Moved Permanently";
  case 302: return "Found";
  case 303: return "See Other";
  case 304: return "Not Modified";
  case 307: return "Temporary Redirect";
  case 308: return "Permanent Redirect";
  case 400: return "Bad Request";
  case 401: return "Unauthorized";
  case 402: return "Payment Required";
  case 403: return "Forbidden";
  case 404: return "Not Found";
  case 405: return "Method Not Allowed";
  case 406: return "Not Acceptable";
  case 407: return "Proxy Authentication Required";
  case 408: return "Request Timeout";
  case 409: return "Conflict";
  case 410: return "Gone";
  case 411: return "Length Required";
  case 412: return "Precondition Failed";
  case 413: return "Content Too Large";
  case 414: return "URI Too Long";
  case 415: return "Unsupported Media Type";
  case 416: return "Range Not Satisfiable";
  case 417: return "Expectation Failed";
  case 421: return "Misdirected Request";
  case 422: return "Unprocessable Content";
  case 424: return "Failed Dependency";
  case 425: return "Too Early";
  case 426: return "Upgrade Required";
  case 428: return "Precondition Required";
  case 429: return "Too Many Requests";
  case 431: return "Request Header Fields Too Large";
  case 451: return "Unavailable For Legal Reasons";
  case 498: return "Invalid Token";
  case 499: return "Client Closed Request";
  case 500: return "Internal Server Error";
  case 501: return "Not Implemented";
  case 502: return "Bad Gateway";
  case 503: return "Service Unavailable";
  case 504: return "Gateway Timeout";
  case 505: return "HTTP Version Not Supported";
  case 507: return "Insufficient Storage";
  case 529: return "Overloaded";
  default: return "";
  }
}
