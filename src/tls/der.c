#include "inside.h"

enum {
  DER_BOOLEAN = 0x01, DER_INTEGER = 0x02, DER_BITS = 0x03, DER_OCTETS = 0x04, DER_OID = 0x06, DER_UTC_TIME = 0x17,
  DER_TIME = 0x18, DER_SEQUENCE = 0x30, DER_SAN_ADDRESS = 0x87, DER_VERSION = 0xA0, DER_EXTENSIONS = 0xA3,
};

/* Takes one element off the start of *from. *whole is the element, *value its contents. */
static bool der_any(struct span *from, unsigned *tag, struct span *whole, struct span *value) {
  const unsigned char *p = (const unsigned char *)from->p;
  if (from->n < 2) return false;
  size_t head = 2, n = p[1];
  if (n & 0x80) {
    size_t digits = n & 0x7F;
    if (digits < 1 || digits > 3 || from->n < 2 + digits) return false;
    n = 0;
    for (size_t i = 0; i < digits; i++) n = n << 8 | p[2 + i];
    head += digits;
  }
  if (n > from->n - head) return false;
  *tag = p[0];
  *whole = span_of(from->p, head + n);
  *value = span_of(from->p + head, n);
  *from = span_from(*from, head + n);
  return true;
}

static bool der_take(struct span *from, unsigned tag, struct span *value) {
  struct span rest = *from, whole;
  unsigned found;
  if (!der_any(&rest, &found, &whole, value) || found != tag) return false;
  *from = rest;
  return true;
}

static bool der_whole(struct span *from, unsigned tag, struct span *whole) {
  struct span rest = *from, value;
  unsigned found;
  if (!der_any(&rest, &found, whole, &value) || found != tag) return false;
  *from = rest;
  return true;
}

static bool der_skip(struct span *from) {
  struct span whole, value;
  unsigned tag;
  return der_any(from, &tag, &whole, &value);
}

static bool two_digits(struct span *s, unsigned most, unsigned *out) {
  if (s->n < 2 || s->p[0] < '0' || s->p[0] > '9' || s->p[1] < '0' || s->p[1] > '9') return false;
  *out = (unsigned)(s->p[0] - '0') * 10 + (unsigned)(s->p[1] - '0');
  *s = span_from(*s, 2);
  return *out <= most;
}

/* Days from 1970-01-01 to a date of the Gregorian calendar. The year is counted from March, so that a leap day is its
   last day. */
static int64_t days_since_1970(int64_t year, unsigned month, unsigned day) {
  if (month <= 2) year--;
  int64_t era = year / 400, of_era = year % 400;
  int64_t of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
  return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static bool der_time(struct span *from, int64_t *out) {
  struct span s;
  unsigned century, year, month, day, hour, minute, second = 0;
  if (der_take(from, DER_UTC_TIME, &s)) {
    if (!two_digits(&s, 99, &year)) return false;
    century = year >= 50 ? 19 : 20;
  } else if (!der_take(from, DER_TIME, &s) || !two_digits(&s, 99, &century) || !two_digits(&s, 99, &year)) {
    return false;
  }
  if (!two_digits(&s, 12, &month) || !two_digits(&s, 31, &day) || !month || !day || !two_digits(&s, 23, &hour) ||
      !two_digits(&s, 59, &minute) || !two_digits(&s, 60, &second) || !s.n || s.p[0] != 'Z')
    return false;
  *out = days_since_1970(century * 100 + year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
  return true;
}

bool tls_cert_read(struct span der, struct cert *out) {
  struct span cert, tbs, skipped, validity, rest;
  *out = (struct cert){ 0 };
  if (!der_take(&der, DER_SEQUENCE, &cert) || !der_take(&cert, DER_SEQUENCE, &tbs)) return false;
  der_take(&tbs, DER_VERSION, &skipped);
  if (!der_take(&tbs, DER_INTEGER, &skipped) || !der_take(&tbs, DER_SEQUENCE, &skipped)) return false;
  if (!der_whole(&tbs, DER_SEQUENCE, &out->issuer) || !der_take(&tbs, DER_SEQUENCE, &validity)) return false;
  if (!der_time(&validity, &out->not_before) || !der_time(&validity, &out->not_after)) return false;
  if (!der_whole(&tbs, DER_SEQUENCE, &out->subject) || !der_take(&tbs, DER_SEQUENCE, &out->spki)) return false;
  while (tbs.n) {
    if (der_take(&tbs, DER_EXTENSIONS, &rest)) return der_take(&rest, DER_SEQUENCE, &out->extensions);
    if (!der_skip(&tbs)) return false;
  }
  return true;
}

/* An unsigned integer without its leading zeros. */
static bool der_number(struct span *from, struct span *out) {
  if (!der_take(from, DER_INTEGER, out)) return false;
  while (out->n && !out->p[0]) *out = span_from(*out, 1);
  return out->n > 0;
}

static int curve_of(struct span oid) {
  static const struct { struct span oid; int curve; } curves[] = {
    { SPAN("\x2A\x86\x48\xCE\x3D\x03\x01\x07"), BR_EC_secp256r1 },
    { SPAN("\x2B\x81\x04\x00\x22"), BR_EC_secp384r1 },
    { SPAN("\x2B\x81\x04\x00\x23"), BR_EC_secp521r1 },
  };
  for (size_t i = 0; i < sizeof curves / sizeof *curves; i++)
    if (span_eq(oid, curves[i].oid)) return curves[i].curve;
  return 0;
}

bool tls_cert_key(const struct cert *c, br_x509_pkey *out) {
  struct span spki = c->spki, algorithm, oid, bits, pair, n, e;
  if (!der_take(&spki, DER_SEQUENCE, &algorithm) || !der_take(&algorithm, DER_OID, &oid)) return false;
  if (!der_take(&spki, DER_BITS, &bits) || bits.n < 2 || bits.p[0]) return false;   /* p[0]: bits to leave out */
  bits = span_from(bits, 1);
  if (span_eq(oid, SPAN("\x2A\x86\x48\x86\xF7\x0D\x01\x01\x01"))) {
    if (!der_take(&bits, DER_SEQUENCE, &pair) || !der_number(&pair, &n) || !der_number(&pair, &e)) return false;
    *out = (br_x509_pkey){ .key_type = BR_KEYTYPE_RSA };
    out->key.rsa = (br_rsa_public_key){ (unsigned char *)n.p, n.n, (unsigned char *)e.p, e.n };
    return true;
  }
  if (!span_eq(oid, SPAN("\x2A\x86\x48\xCE\x3D\x02\x01")) || !der_take(&algorithm, DER_OID, &oid)) return false;
  *out = (br_x509_pkey){ .key_type = BR_KEYTYPE_EC };
  out->key.ec = (br_ec_public_key){ curve_of(oid), (unsigned char *)bits.p, bits.n };
  return out->key.ec.curve != 0;
}

/* The value of the extension with that OID. Where extensions cannot be read to their end there is none. */
static bool cert_extension(const struct cert *c, struct span oid, struct span *value) {
  struct span all = c->extensions, one, found, critical;
  while (all.n) {
    if (!der_take(&all, DER_SEQUENCE, &one) || !der_take(&one, DER_OID, &found)) return false;
    der_take(&one, DER_BOOLEAN, &critical);
    if (!der_take(&one, DER_OCTETS, value)) return false;
    if (span_eq(found, oid)) return true;
  }
  return false;
}

bool tls_cert_is_ca(const struct cert *c) {
  struct span value, constraints, flag;
  return cert_extension(c, SPAN("\x55\x1D\x13"), &value) && der_take(&value, DER_SEQUENCE, &constraints) &&
         der_take(&constraints, DER_BOOLEAN, &flag) && flag.n == 1 && flag.p[0];
}

bool tls_cert_has_address(const struct cert *c, struct span address) {
  struct span value, names, one;
  if (!cert_extension(c, SPAN("\x55\x1D\x11"), &value) || !der_take(&value, DER_SEQUENCE, &names)) return false;
  while (names.n) {
    if (!der_take(&names, DER_SAN_ADDRESS, &one)) {
      if (!der_skip(&names)) return false;
    } else if (span_eq(one, address)) {
      return true;
    }
  }
  return false;
}

bool tls_cert_is_for_servers(const struct cert *c) {
  static const struct span server = SPAN("\x2B\x06\x01\x05\x05\x07\x03\x01"), any = SPAN("\x55\x1D\x25\x00");
  struct span value, uses, use;
  if (!cert_extension(c, SPAN("\x55\x1D\x25"), &value)) return true;
  if (!der_take(&value, DER_SEQUENCE, &uses)) return false;
  while (der_take(&uses, DER_OID, &use))
    if (span_eq(use, server) || span_eq(use, any)) return true;
  return false;
}
