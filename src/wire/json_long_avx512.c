/* json_long_avx512.c: the long ways once more for processors whose AVX-512 has all that came with Ice Lake and Zen 4: those before them
   slow down for it. A block is one part there, and a test of it one instruction. As with AVX2, nothing in here may run before SCAN_BEST
   has asked the processor. */
#if defined(__x86_64__) && (!defined(WEIR_SIMD) || WEIR_SIMD > 1)

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,avx512f,avx512bw,avx512vl,avx512dq"))), apply_to = function)
#else
#pragma GCC target("avx2,avx512f,avx512bw,avx512vl,avx512dq")
#endif

#define BLOCK_AVX512
#define LONG(name) name##_avx512
#include "json_long.h"

#ifdef __clang__
#pragma clang attribute pop
#endif

#endif
