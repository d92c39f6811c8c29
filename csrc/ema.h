// Exponential moving average of one network's state by another, over raw memory.
#pragma once

#include <cstdint>

struct CUstream_st;  // *cudaStream_t, named without a CUDA header so that CPU builds need none

namespace vreid_fast {

// What the elements of a tensor are. `bytes`: anything that is only ever copied (integers, booleans).
enum class Element : uint8_t { float32, float64, float16, bfloat16, bytes };

// A teacher tensor, the student tensor it follows and, if wanted, a copy of the teacher in another type:
// dense memory in one common element order.
struct EmaPair {
  void* teacher;         // numel elements, read and written
  const void* student;   // numel elements, read; not overlapping the others
  void* copy;            // numel elements, written with the teacher's new values; or null
  int64_t numel;         // elements; of `bytes` pairs, bytes
  Element teacher_type;  // `bytes` on all sides or on none
  Element student_type;
  Element copy_type;
  bool copied;  // take the student as it is, whatever the decay
};

// The decay of this update is min(1 - 1 / (counters[0] + 1), rates[0]) with warm-up, rates[0] without. The
// update leaves it in rates[1] and adds 1 to counters[0]. counters[1] is scratch of the CUDA kernel, 0
// between updates.
struct EmaSchedule {
  int64_t* counters;
  double* rates;
  bool warmup;
};

// teacher = a * teacher + (1 - a) * student for each of `count` pairs, a the decay of this update, computed
// in float32, or in float64 where either side is float64. A decay of 0 copies, NaN and infinity in the
// teacher included.
void ema_update_cpu(const EmaPair* pairs, int64_t count, const EmaSchedule& schedule);

// The same on the current device. `pairs` is host memory, read before the call returns; its pointers and
// those of `schedule` are device memory. Asynchronous on `stream`; allocates and copies nothing, so that it
// can be captured in a CUDA graph. One launch for up to 736 pairs.
void ema_update_cuda(const EmaPair* pairs, int64_t count, const EmaSchedule& schedule, CUstream_st* stream);

}  // namespace vreid_fast
