/* lent.h: bytes lent for the time of a callback. Under the address sanitizer a touch before or after is reported. */
#ifndef WEIR_IO_LENT_H
#define WEIR_IO_LENT_H

#if !defined(__SANITIZE_ADDRESS__) && defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define lent_show(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#define lent_hide(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#else
#define lent_show(p, n) ((void)(p), (void)(n))
#define lent_hide(p, n) ((void)(p), (void)(n))
#endif

#endif
