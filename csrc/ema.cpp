// vreid_fast::ema_update_: schema, checks, CPU kernel and the call of the CUDA kernel.
#include "ema.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/autograd_not_implemented_fallback.h>
#include <torch/library.h>

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <vector>

#include "check.h"
#ifdef WITH_CUDA
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#endif

namespace vreid_fast {
namespace {

using at::Tensor;

constexpr const char* kOp = "ema";
constexpr int64_t kChunk = 16384;  // elements a CPU thread takes at a time

// teacher + weight * (student - teacher), weight = 1 - decay: written so that the compiler vectorises it.
template <class T, class S>
void average(void* teacher_memory, const void* student_memory, int64_t begin, int64_t count, double decay) {
  using A = std::conditional_t<std::is_same_v<T, double> || std::is_same_v<S, double>, double, float>;
  T* __restrict__ teacher = static_cast<T*>(teacher_memory) + begin;
  const S* __restrict__ student = static_cast<const S*>(student_memory) + begin;
  if (decay == 0) {
    for (int64_t i = 0; i < count; ++i) teacher[i] = static_cast<T>(static_cast<A>(student[i]));
    return;
  }
  const A weight = static_cast<A>(1 - decay);
  for (int64_t i = 0; i < count; ++i) {
    const A t = static_cast<A>(teacher[i]);
    teacher[i] = static_cast<T>(t + weight * (static_cast<A>(student[i]) - t));
  }
}

template <class T>
void average_from(const EmaPair& pair, int64_t begin, int64_t count, double decay) {
  switch (pair.student_type) {
    case Element::float32:
      return average<T, float>(pair.teacher, pair.student, begin, count, decay);
    case Element::float64:
      return average<T, double>(pair.teacher, pair.student, begin, count, decay);
    case Element::float16:
      return average<T, at::Half>(pair.teacher, pair.student, begin, count, decay);
    default:
      return average<T, at::BFloat16>(pair.teacher, pair.student, begin, count, decay);
  }
}

void update(const EmaPair& pair, int64_t begin, int64_t count, double decay) {
  if (pair.copied) decay = 0;
  switch (pair.teacher_type) {
    case Element::float32:
      return average_from<float>(pair, begin, count, decay);
    case Element::float64:
      return average_from<double>(pair, begin, count, decay);
    case Element::float16:
      return average_from<at::Half>(pair, begin, count, decay);
    case Element::bfloat16:
      return average_from<at::BFloat16>(pair, begin, count, decay);
    case Element::bytes:
      std::memcpy(static_cast<char*>(pair.teacher) + begin, static_cast<const char*>(pair.student) + begin,
                  count);
  }
}

Element element(const Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return Element::float32;
    case at::kDouble:
      return Element::float64;
    case at::kHalf:
      return Element::float16;
    case at::kBFloat16:
      return Element::bfloat16;
    default:
      return Element::bytes;
  }
}

// Whether walking the memory of `other` visits the same indices in the same order as walking the dense
// `tensor`.
bool same_order(const Tensor& tensor, const Tensor& other) {
  for (int64_t axis = 0; axis < tensor.dim(); ++axis) {
    if (tensor.size(axis) != 1 && tensor.stride(axis) != other.stride(axis)) return false;
  }
  return true;
}

void check_pair(const Tensor& teacher, const Tensor& student, bool copied, size_t index) {
  TORCH_CHECK_VALUE(student.sizes() == teacher.sizes(), kOp, ": student tensor ", index, " must have shape ",
                    teacher.sizes(), " like the teacher's, got ", student.sizes(),
                    "; use two equal networks");
  TORCH_CHECK_VALUE(student.device() == teacher.device(), kOp, ": student tensor ", index, " must be on ",
                    teacher.device(), " like the teacher's, got ", student.device(), "; move one of them");
  TORCH_CHECK_VALUE(teacher.is_non_overlapping_and_dense(), kOp, ": teacher tensor ", index,
                    " must be dense in memory, got shape ", teacher.sizes(), " with strides ",
                    teacher.strides(), "; make it contiguous");
  const bool averageable = element(teacher) != Element::bytes && element(student) != Element::bytes;
  TORCH_CHECK_TYPE(averageable || (copied && student.scalar_type() == teacher.scalar_type()), kOp,
                   ": student tensor ", index, " must be float16, bfloat16, float32 or float64 like the ",
                   "teacher's, or copied with equal dtypes, got ", dtype_name(student.scalar_type()), " for ",
                   dtype_name(teacher.scalar_type()), "; convert or copy it");
}

// The pairs that share memory order. A student laid out differently is first brought to the teacher's
// layout: correct, at the price of one copy. `staged` keeps those copies alive.
std::vector<EmaPair> pairs_of(at::TensorList teacher, at::TensorList student, const Tensor& decay,
                              int64_t averaged, std::vector<Tensor>& staged) {
  TORCH_CHECK_VALUE(teacher.size() == student.size(), kOp, ": student must hold ", teacher.size(),
                    " tensors like teacher, got ", student.size(), "; pass lists that correspond");
  check_one_element(kOp, "decay", decay);
  TORCH_CHECK_TYPE(decay.scalar_type() == at::kDouble, kOp, ": decay must be torch.float64, got ",
                   dtype_name(decay.scalar_type()), "; convert it (1 - decay loses digits in less)");
  std::vector<EmaPair> pairs;
  pairs.reserve(teacher.size());
  for (size_t i = 0; i < teacher.size(); ++i) {
    const bool copied = static_cast<int64_t>(i) >= averaged;
    check_pair(teacher[i], student[i], copied, i);
    TORCH_CHECK_VALUE(decay.device() == teacher[i].device(), kOp, ": decay must be on ", teacher[i].device(),
                      " like the teacher, got ", decay.device(), "; move it");
    Tensor source = student[i];
    if (!same_order(teacher[i], source)) {
      staged.push_back(at::empty_like(teacher[i], source.options()).copy_(source));
      source = staged.back();
    }
    const Element type = element(teacher[i]);
    pairs.push_back({teacher[i].mutable_data_ptr(), source.const_data_ptr(),
                     type == Element::bytes ? static_cast<int64_t>(teacher[i].nbytes()) : teacher[i].numel(),
                     type, element(source), copied});
  }
  return pairs;
}

// So that autograd notices a teacher tensor that it had saved.
void bump_versions(at::TensorList tensors) {
  for (const Tensor& tensor : tensors) {
    if (!tensor.is_inference()) tensor.unsafeGetTensorImpl()->bump_version();
  }
}

void ema_update_on_cpu(at::TensorList teacher, at::TensorList student, const Tensor& decay,
                       int64_t averaged) {
  std::vector<Tensor> staged;
  const std::vector<EmaPair> pairs = pairs_of(teacher, student, decay, averaged, staged);
  ema_update_cpu(pairs.data(), static_cast<int64_t>(pairs.size()), *decay.const_data_ptr<double>());
  bump_versions(teacher);
}

#ifdef WITH_CUDA
void ema_update_on_cuda(at::TensorList teacher, at::TensorList student, const Tensor& decay,
                        int64_t averaged) {
  const c10::cuda::CUDAGuard guard(decay.device());
  std::vector<Tensor> staged;
  const std::vector<EmaPair> pairs = pairs_of(teacher, student, decay, averaged, staged);
  ema_update_cuda(pairs.data(), static_cast<int64_t>(pairs.size()), decay.const_data_ptr<double>(),
                  c10::cuda::getCurrentCUDAStream());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  bump_versions(teacher);
}
#endif

void ema_update_on_meta(at::TensorList, at::TensorList, const Tensor&, int64_t) {}

}  // namespace

void ema_update_cpu(const EmaPair* pairs, int64_t count, double decay) {
  std::vector<int64_t> first_chunk(count + 1, 0);
  for (int64_t i = 0; i < count; ++i) {
    first_chunk[i + 1] = first_chunk[i] + (pairs[i].numel + kChunk - 1) / kChunk;
  }
  at::parallel_for(0, first_chunk[count], 1, [&](int64_t begin_chunk, int64_t end_chunk) {
    // The last pair that starts at or before begin_chunk; empty pairs before it share its start.
    int64_t i =
        std::upper_bound(first_chunk.begin(), first_chunk.end(), begin_chunk) - first_chunk.begin() - 1;
    for (int64_t chunk = begin_chunk; chunk < end_chunk; ++chunk) {
      while (first_chunk[i + 1] <= chunk) ++i;
      const int64_t begin = (chunk - first_chunk[i]) * kChunk;
      update(pairs[i], begin, std::min(kChunk, pairs[i].numel - begin), decay);
    }
  });
}

// teacher[i] = decay * teacher[i] + (1 - decay) * student[i] for i < averaged, = student[i] for the others.
TORCH_LIBRARY_FRAGMENT(vreid_fast, m) {
  m.def("ema_update_(Tensor(a!)[] teacher, Tensor[] student, Tensor decay, int averaged) -> ()");
}

TORCH_LIBRARY_IMPL(vreid_fast, CPU, m) { m.impl("ema_update_", &ema_update_on_cpu); }
#ifdef WITH_CUDA
TORCH_LIBRARY_IMPL(vreid_fast, CUDA, m) { m.impl("ema_update_", &ema_update_on_cuda); }
#endif
TORCH_LIBRARY_IMPL(vreid_fast, Meta, m) { m.impl("ema_update_", &ema_update_on_meta); }
TORCH_LIBRARY_IMPL(vreid_fast, Autograd, m) {
  m.impl("ema_update_", torch::autograd::autogradNotImplementedFallback());
}

}  // namespace vreid_fast
