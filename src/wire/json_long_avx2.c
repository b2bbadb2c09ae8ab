/* json_long_avx2.c: the long ways again for processors with AVX2, where bodies full of escapes and of
   characters outside ASCII take half the time. Only this file is compiled for them, and nothing in
   it may run before SCAN_BEST has asked the processor. */
#if defined(__x86_64__) && (!defined(WEIR_SIMD) || WEIR_SIMD > 1)

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC target("avx2")
#endif

#define BLOCK_AVX2
#define LONG(name) name##_avx2
#include "json_long.h"

#ifdef __clang__
#pragma clang attribute pop
#endif

#endif
