// What the threads of a block of ema.cu do with a chunk of one pair of tensors. Without CUDA it compiles for
// the host, where tests run it a thread at a time.
#pragma once

#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

#include <type_traits>

#include "ema.h"

namespace vreid_fast {
namespace {

constexpr int kThreads = 256;
constexpr int kChunk = 4096;  // elements a block takes at a time: 4 float4 loads in flight a thread and side

template <class T, int N>
struct alignas(sizeof(T) * N) Vector {
  T values[N];
};

__device__ float widen(float x) { return x; }
__device__ double widen(double x) { return x; }
__device__ float widen(__half x) { return __half2float(x); }
__device__ float widen(__nv_bfloat16 x) { return __bfloat162float(x); }

template <class T, class A>
__device__ T narrow(A x) {
  if constexpr (std::is_same_v<T, __half>) {
    return __float2half(static_cast<float>(x));
  } else if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    return __float2bfloat16(static_cast<float>(x));
  } else {
    return static_cast<T>(x);
  }
}

// teacher + weight * (student - teacher), weight = 1 - decay.
template <class T, class S>
__device__ T average(T teacher, S student, double weight) {
  if constexpr (std::is_same_v<T, uint8_t>) {
    return student;
  } else {
    using A = decltype(widen(teacher) + widen(student));
    const A t = widen(teacher), s = widen(student), w = static_cast<A>(weight);
    return narrow<T>(weight == 1.0 ? s : t + w * (s - t));
  }
}

// The teacher's new value in the type of its copy.
template <class T>
__device__ void store(void* copy, Element type, int64_t at, T value) {
  if constexpr (std::is_same_v<T, uint8_t>) {
    static_cast<uint8_t*>(copy)[at] = value;
  } else {
    switch (type) {
      case Element::float32:
        static_cast<float*>(copy)[at] = static_cast<float>(widen(value));
        break;
      case Element::float64:
        static_cast<double*>(copy)[at] = static_cast<double>(widen(value));
        break;
      case Element::float16:
        static_cast<__half*>(copy)[at] = narrow<__half>(widen(value));
        break;
      default:
        static_cast<__nv_bfloat16*>(copy)[at] = narrow<__nv_bfloat16>(widen(value));
    }
  }
}

// A thread's part of up to kChunk elements that begin at `begin`.
template <class T, class S>
__device__ void update(const EmaPair& pair, int64_t begin, double weight) {
  T* teacher = static_cast<T*>(pair.teacher) + begin;
  const S* student = static_cast<const S*>(pair.student) + begin;
  constexpr int kWidth = 16 / static_cast<int>(sizeof(T) > sizeof(S) ? sizeof(T) : sizeof(S));
  constexpr int kLoads = kChunk / (kThreads * kWidth);
  using TeacherVector = Vector<T, kWidth>;
  using StudentVector = Vector<S, kWidth>;
  using HalfVector = Vector<uint16_t, kWidth>;
  uint16_t* half = static_cast<uint16_t*>(pair.copy) + begin;
  // Of the copies, a half-precision one of a float32 teacher is the one that matters, and the one that is
  // vectorised.
  const bool to_bfloat = pair.copy_type == Element::bfloat16;
  const bool to_half =
      std::is_same_v<T, float> && pair.copy && (to_bfloat || pair.copy_type == Element::float16);
  const bool aligned =
      reinterpret_cast<uintptr_t>(teacher) % alignof(TeacherVector) == 0 &&
      reinterpret_cast<uintptr_t>(student) % alignof(StudentVector) == 0 &&
      (!pair.copy || (to_half && reinterpret_cast<uintptr_t>(half) % alignof(HalfVector) == 0));
  const int count = static_cast<int>(min(static_cast<int64_t>(kChunk), pair.numel - begin));
  const auto teachers = reinterpret_cast<TeacherVector*>(teacher);
  const auto students = reinterpret_cast<const StudentVector*>(student);
  const auto write = [&](TeacherVector t, const StudentVector& s, int at) {
#pragma unroll
    for (int i = 0; i < kWidth; ++i) t.values[i] = average(t.values[i], s.values[i], weight);
    teachers[at] = t;
    if constexpr (std::is_same_v<T, float>) {
      if (to_half) {
        HalfVector rounded;
#pragma unroll
        for (int i = 0; i < kWidth; ++i) {
          rounded.values[i] = to_bfloat ? __bfloat16_as_ushort(__float2bfloat16(t.values[i]))
                                        : __half_as_ushort(__float2half(t.values[i]));
        }
        reinterpret_cast<HalfVector*>(half)[at] = rounded;
      }
    }
  };
  int first = 0;  // of what is done element by element
  if (aligned && count == kChunk) {
    TeacherVector t[kLoads];
    StudentVector s[kLoads];
#pragma unroll
    for (int load = 0; load < kLoads; ++load) {
      t[load] = teachers[load * kThreads + threadIdx.x];
      s[load] = students[load * kThreads + threadIdx.x];
    }
#pragma unroll
    for (int load = 0; load < kLoads; ++load) write(t[load], s[load], load * kThreads + threadIdx.x);
    first = kChunk;
  } else if (aligned) {
    for (int at = threadIdx.x; at < count / kWidth; at += kThreads) write(teachers[at], students[at], at);
    first = count / kWidth * kWidth;
  }
  for (int i = first + threadIdx.x; i < count; i += kThreads) {
    teacher[i] = average(teacher[i], student[i], weight);
    if (pair.copy) store(pair.copy, pair.copy_type, begin + i, teacher[i]);
  }
}

}  // namespace
}  // namespace vreid_fast
