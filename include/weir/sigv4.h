/* sigv4.h: requests signed for AWS (Signature Version 4, header form; docs.aws.amazon.com, "Create a signed AWS API request").
   What is signed are the head's own lines as they are sent, so that nothing can be signed that is sent otherwise. Pure: time is an
   argument. */
#ifndef WEIR_SIGV4_H
#define WEIR_SIGV4_H

#include "weir/http.h"
#include "weir/mem.h"
#include "weir/sha256.h"

enum { SIGV4_DATE = 17, SIGV4_HEADERS_MOST = 64 };       /* "20260102T030405Z" and NUL */
void sigv4_date(int64_t unix_time, char out[SIGV4_DATE]);

struct sigv4_key {
  struct span id;                     /* access key id: public */
  struct span key;                    /* secret access key: lent by a secret */
  struct span region, service;
};
struct sigv4_request {
  struct span method, path, query;    /* path and query as sent; each byte of the path but '/' and unreserved ones is encoded once more (all services but S3) */
  const struct http_header *headers;  /* those that are signed; x-amz-date is one of them. At most SIGV4_HEADERS_MOST */
  size_t count;
  const char *body_hash;              /* SHA-256 of the body, hex */
};
/* The canonical request, and the names of what it holds ("host;x-amz-date"). */
void sigv4_canonical(const struct sigv4_request *r, struct buf *out, struct buf *names);
/* "authorization: AWS4-HMAC-SHA256 Credential=…\r\n", appended. date: that of x-amz-date. */
void sigv4_write(const struct sigv4_request *r, const struct sigv4_key *k, const char date[SIGV4_DATE], struct buf *out);

#endif
