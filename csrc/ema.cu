// CUDA side of ema.h. No torch header: bare nvcc compiles this file.
#include <cuda_runtime.h>

#include <algorithm>

#include "ema.h"
#include "ema_chunk.h"

namespace vreid_fast {
namespace {

constexpr int kPairs = 736;
// Of a multiprocessor. Without a bound the compiler would keep more in registers for the rare types; with 4
// blocks, 64 a thread, it spills for Ampere.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
constexpr int kBlocks = 3;
#else
constexpr int kBlocks = 4;
#endif

// The pointers travel as kernel arguments (up to 32,764 bytes since CUDA 12.1): nothing to upload, to keep
// in step with the tensors, or to keep alive for a graph replay.
struct Table {
  EmaPair pairs[kPairs];
  int first_chunk[kPairs + 1];  // chunks of pair i: first_chunk[i] .. first_chunk[i + 1]
  int count;
};
static_assert(sizeof(Table) + sizeof(EmaSchedule) + sizeof(bool) <= 32764,
              "the table must fit in the kernel arguments");

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
__global__ void __launch_bounds__(kThreads, kBlocks)
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
