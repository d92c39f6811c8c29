// Exponential moving average of one network's state by another, over raw memory.
#pragma once

#include <cstdint>

struct CUstream_st;  // *cudaStream_t, named without a CUDA header so that CPU builds need none

namespace vreid_fast {

// What the elements of a tensor are. `bytes`: anything that is only ever copied (integers, booleans).
enum class Element : uint8_t { float32, float64, float16, bfloat16, bytes };

// A teacher tensor and the student tensor it follows: dense memory in one common element order.
struct EmaPair {
  void* teacher;         // numel elements, read and written
  const void* student;   // numel elements, read; not overlapping the teacher's
  int64_t numel;         // elements; of `bytes` pairs, bytes
  Element teacher_type;  // `bytes` on both sides or on none
  Element student_type;
  bool copied;  // take the student as it is, whatever the decay
};

// teacher = decay * teacher + (1 - decay) * student for each of `count` pairs, computed in float32, or in
// float64 where either side is float64. A decay of 0 copies, NaN and infinity in the teacher included.
void ema_update_cpu(const EmaPair* pairs, int64_t count, double decay);

// The same on the current device. `pairs` is host memory, read before the call returns; its pointers and
// `decay` (one float64) are device memory. Asynchronous on `stream`; allocates and copies nothing, so that
// it can be captured in a CUDA graph. One launch for up to 896 pairs.
void ema_update_cuda(const EmaPair* pairs, int64_t count, const double* decay, CUstream_st* stream);

}  // namespace vreid_fast
