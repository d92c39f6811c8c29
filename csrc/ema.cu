// CUDA side of ema.h. No torch header: bare nvcc compiles this file.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <algorithm>

#include "ema.h"

namespace vreid_fast {
namespace {

constexpr int kThreads = 256;
constexpr int kChunk = 4096;  // elements a block takes at a time: 4 float4 loads in flight a thread and side
constexpr int kPairs = 736;

// The pointers travel as kernel arguments (up to 32,764 bytes since CUDA 12.1): nothing to upload, to keep
// in step with the tensors, or to keep alive for a graph replay.
struct Table {
  EmaPair pairs[kPairs];
  int first_chunk[kPairs + 1];  // chunks of pair i: first_chunk[i] .. first_chunk[i + 1]
  int count;
};
static_assert(sizeof(Table) + sizeof(EmaSchedule) + sizeof(bool) <= 32764,
              "the table must fit in the kernel arguments");

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

// One block, up to kChunk elements.
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
  if (aligned && pair.numel - begin >= kChunk) {
    TeacherVector t[kLoads];
    StudentVector s[kLoads];
#pragma unroll
    for (int load = 0; load < kLoads; ++load) {
      t[load] = reinterpret_cast<TeacherVector*>(teacher)[load * kThreads + threadIdx.x];
      s[load] = reinterpret_cast<const StudentVector*>(student)[load * kThreads + threadIdx.x];
    }
#pragma unroll
    for (int load = 0; load < kLoads; ++load) {
#pragma unroll
      for (int i = 0; i < kWidth; ++i) {
        t[load].values[i] = average(t[load].values[i], s[load].values[i], weight);
      }
      reinterpret_cast<TeacherVector*>(teacher)[load * kThreads + threadIdx.x] = t[load];
      if constexpr (std::is_same_v<T, float>) {
        if (to_half) {
          HalfVector rounded;
#pragma unroll
          for (int i = 0; i < kWidth; ++i) {
            const float value = t[load].values[i];
            rounded.values[i] = to_bfloat ? __bfloat16_as_ushort(__float2bfloat16(value))
                                          : __half_as_ushort(__float2half(value));
          }
          reinterpret_cast<HalfVector*>(half)[load * kThreads + threadIdx.x] = rounded;
        }
      }
    }
  } else {
    const int count = static_cast<int>(min(static_cast<int64_t>(kChunk), pair.numel - begin));
    for (int i = threadIdx.x; i < count; i += kThreads) {
      teacher[i] = average(teacher[i], student[i], weight);
      if (pair.copy) store(pair.copy, pair.copy_type, begin + i, teacher[i]);
    }
  }
}

template <class T>
__device__ void update_from(const EmaPair& pair, int64_t begin, double weight) {
  switch (pair.student_type) {
    case Element::float32:
      return update<T, float>(pair, begin, weight);
    case Element::float64:
      return update<T, double>(pair, begin, weight);
    case Element::float16:
      return update<T, __half>(pair, begin, weight);
    default:
      return update<T, __nv_bfloat16>(pair, begin, weight);
  }
}

// `last`: no launch of this update follows, so that the schedule advances.
__global__ void __launch_bounds__(kThreads)
    ema_update_kernel(const __grid_constant__ Table table, const EmaSchedule schedule, const bool last) {
  const double ceiling = schedule.rates[0];
  const double decay = schedule.warmup ? min(1.0 - 1.0 / (schedule.counters[0] + 1), ceiling) : ceiling;
  for (int chunk = blockIdx.x; chunk < table.first_chunk[table.count]; chunk += gridDim.x) {
    int low = 0, high = table.count;  // first_chunk[low] <= chunk < first_chunk[high]
    while (high - low > 1) {
      const int middle = (low + high) / 2;
      (table.first_chunk[middle] <= chunk ? low : high) = middle;
    }
    const EmaPair& pair = table.pairs[low];
    const int64_t begin = static_cast<int64_t>(chunk - table.first_chunk[low]) * kChunk;
    const double weight = pair.copied ? 1.0 : 1.0 - decay;
    switch (pair.teacher_type) {
      case Element::float32:
        update_from<float>(pair, begin, weight);
        break;
      case Element::float64:
        update_from<double>(pair, begin, weight);
        break;
      case Element::float16:
        update_from<__half>(pair, begin, weight);
        break;
      case Element::bfloat16:
        update_from<__nv_bfloat16>(pair, begin, weight);
        break;
      case Element::bytes:
        update<uint8_t, uint8_t>(pair, begin, weight);
        break;
    }
  }
  // The block that finishes last advances the schedule: by then all have read it.
  if (!last) return;
  __syncthreads();
  if (threadIdx.x == 0) {
    auto* finished = reinterpret_cast<unsigned long long*>(schedule.counters + 1);
    __threadfence();
    if (atomicAdd(finished, 1ULL) == gridDim.x - 1) {
      *finished = 0;
      schedule.rates[1] = decay;
      schedule.counters[0] += 1;
    }
  }
}

}  // namespace

void ema_update_cuda(const EmaPair* pairs, int64_t count, const EmaSchedule& schedule, CUstream_st* stream) {
  int device = 0, multiprocessors = 0, blocks = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device);
  cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, ema_update_kernel, kThreads, 0);
  int64_t begin = 0;
  do {
    Table table;
    table.count = static_cast<int>(std::min<int64_t>(kPairs, count - begin));
    table.first_chunk[0] = 0;
    for (int i = 0; i < table.count; ++i) {
      table.pairs[i] = pairs[begin + i];
      const int64_t chunks = (table.pairs[i].numel + kChunk - 1) / kChunk;
      table.first_chunk[i + 1] = table.first_chunk[i] + static_cast<int>(chunks);
    }
    begin += table.count;
    // At least one block, which advances the schedule.
    const int grid = std::max(1, std::min(table.first_chunk[table.count], multiprocessors * blocks));
    ema_update_kernel<<<grid, kThreads, 0, stream>>>(table, schedule, begin >= count);
  } while (begin < count);
}

}  // namespace vreid_fast
