// vreid_fast::ema_update_: schema, checks, CPU kernel and the call of the CUDA kernel.
#include "ema.h"

#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/autograd_not_implemented_fallback.h>
#include <torch/custom_class.h>
#include <torch/library.h>

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <vector>

#include "check.h"
#include "parallel.h"
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

// teacher + weight * (student - teacher), weight = 1 - decay.
template <class T, class S>
VREID_VECTORISED void average(T* __restrict__ teacher, const S* __restrict__ student, int64_t count,
                              double decay) {
  using A = std::conditional_t<std::is_same_v<T, double> || std::is_same_v<S, double>, double, float>;
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

// `act` on the memory of floating-point elements of `type`, from element `begin` on.
template <class Memory, class Act>
void with_type(Element type, Memory* memory, int64_t begin, const Act& act) {
  const auto as = [&]<class T>(T*) {
    act(static_cast<std::conditional_t<std::is_const_v<Memory>, const T*, T*>>(memory) + begin);
  };
  switch (type) {
    case Element::float32:
      return as(static_cast<float*>(nullptr));
    case Element::float64:
      return as(static_cast<double*>(nullptr));
    case Element::float16:
      return as(static_cast<at::Half*>(nullptr));
    default:
      return as(static_cast<at::BFloat16*>(nullptr));
  }
}

void update(const EmaPair& pair, int64_t begin, int64_t count, double decay) {
  if (pair.teacher_type == Element::bytes) {
    std::memcpy(static_cast<char*>(pair.teacher) + begin, static_cast<const char*>(pair.student) + begin,
                count);
    if (pair.copy)
      std::memcpy(static_cast<char*>(pair.copy) + begin, static_cast<char*>(pair.teacher) + begin, count);
    return;
  }
  with_type(pair.teacher_type, pair.teacher, begin, [&](auto* teacher) {
    with_type(pair.student_type, pair.student, begin,
              [&](const auto* student) { average(teacher, student, count, pair.copied ? 0.0 : decay); });
    if (!pair.copy) return;
    with_type(pair.copy_type, pair.copy, begin, [&](auto* copy) { average(copy, teacher, count, 0.0); });
  });
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

void check_like_teacher(const char* role, const Tensor& tensor, const Tensor& teacher, bool copied,
                        size_t index) {
  TORCH_CHECK_VALUE(tensor.sizes() == teacher.sizes(), kOp, ": ", role, " tensor ", index,
                    " must have shape ", teacher.sizes(), " like the teacher's, got ", tensor.sizes(),
                    "; use equal networks");
  TORCH_CHECK_VALUE(tensor.device() == teacher.device(), kOp, ": ", role, " tensor ", index, " must be on ",
                    teacher.device(), " like the teacher's, got ", tensor.device(), "; move one of them");
  const bool averageable = element(teacher) != Element::bytes && element(tensor) != Element::bytes;
  TORCH_CHECK_TYPE(averageable || (copied && tensor.scalar_type() == teacher.scalar_type()), kOp, ": ", role,
                   " tensor ", index, " must be float16, bfloat16, float32 or float64 like the ",
                   "teacher's, or copied with equal dtypes, got ", dtype_name(tensor.scalar_type()), " for ",
                   dtype_name(teacher.scalar_type()), "; convert or copy it");
}

// The memory of pair i; `copy` may be null. A student laid out differently is first brought to the teacher's
// layout: correct, at the price of one copy, which `staged` keeps alive.
EmaPair pair_of(const Tensor& teacher, const Tensor& student, const Tensor* copy, bool copied, size_t index,
                std::vector<Tensor>& staged) {
  TORCH_CHECK_VALUE(teacher.is_non_overlapping_and_dense(), kOp, ": teacher tensor ", index,
                    " must be dense in memory, got shape ", teacher.sizes(), " with strides ",
                    teacher.strides(), "; make it contiguous");
  check_like_teacher("student", student, teacher, copied, index);
  if (copy) {
    check_like_teacher("copy", *copy, teacher, true, index);
    TORCH_CHECK_VALUE(same_order(teacher, *copy), kOp, ": copy tensor ", index, " must have strides ",
                      teacher.strides(), " like the teacher's, got ", copy->strides(),
                      "; use one memory format for both");
  }
  const Tensor* source = &student;
  if (!same_order(teacher, student)) {
    const at::NoGradGuard no_grad;
    staged.push_back(at::empty_like(teacher, student.options()).copy_(student));
    source = &staged.back();
  }
  const Element type = element(teacher);
  return {teacher.mutable_data_ptr(),
          source->const_data_ptr(),
          copy ? copy->mutable_data_ptr() : nullptr,
          type == Element::bytes ? static_cast<int64_t>(teacher.nbytes()) : teacher.numel(),
          type,
          element(student),
          copy ? element(*copy) : type,
          copied};
}

void check_schedule(const char* name, const Tensor& tensor, at::ScalarType type, const c10::Device& device) {
  TORCH_CHECK_VALUE(tensor.numel() == 2 && tensor.is_contiguous(), kOp, ": ", name,
                    " must hold 2 elements, got shape ", tensor.sizes(), "; pass those of one EmaUpdater");
  TORCH_CHECK_TYPE(tensor.scalar_type() == type, kOp, ": ", name, " must be ", dtype_name(type), ", got ",
                   dtype_name(tensor.scalar_type()), "; convert it");
  TORCH_CHECK_VALUE(tensor.device() == device, kOp, ": ", name, " must be on ", device,
                    " like the teacher, got ", tensor.device(), "; move it");
}

// So that autograd notices a tensor that it had saved.
void bump_version(const Tensor& tensor) {
  if (!tensor.is_inference()) tensor.unsafeGetTensorImpl()->bump_version();
}

void ema_update(at::TensorList teacher, at::TensorList student, at::TensorList copies, const Tensor& counters,
                const Tensor& rates, int64_t averaged, bool warmup) {
  TORCH_CHECK_VALUE(teacher.size() == student.size(), kOp, ": student must hold ", teacher.size(),
                    " tensors like teacher, got ", student.size(), "; pass lists that correspond");
  TORCH_CHECK_VALUE(copies.empty() || copies.size() == teacher.size(), kOp, ": copies must be empty or hold ",
                    teacher.size(), " tensors like teacher, got ", copies.size(),
                    "; pass lists that correspond");
  const c10::Device device = teacher.empty() ? rates.device() : teacher[0].device();
  check_schedule("counters", counters, at::kLong, device);
  check_schedule("rates", rates, at::kDouble, device);
  std::vector<Tensor> staged;
  staged.reserve(teacher.size());
  std::vector<EmaPair> pairs;
  pairs.reserve(teacher.size());
  for (size_t i = 0; i < teacher.size(); ++i) {
    TORCH_CHECK_VALUE(teacher[i].device() == device, kOp, ": teacher tensor ", i, " must be on ", device,
                      " like the first, got ", teacher[i].device(), "; use one device");
    const bool copied = static_cast<int64_t>(i) >= averaged;
    pairs.push_back(
        pair_of(teacher[i], student[i], copies.empty() ? nullptr : &copies[i], copied, i, staged));
  }
  const auto count = static_cast<int64_t>(pairs.size());
  const EmaSchedule schedule = {counters.mutable_data_ptr<int64_t>(), rates.mutable_data_ptr<double>(),
                                warmup};
  if (device.is_cpu()) {
    ema_update_cpu(pairs.data(), count, schedule);
  } else {
#ifdef WITH_CUDA
    const c10::cuda::CUDAGuard guard(device);
    ema_update_cuda(pairs.data(), count, schedule, c10::cuda::getCurrentCUDAStream());
    C10_CUDA_KERNEL_LAUNCH_CHECK();
#else
    TORCH_CHECK(false, kOp, ": this extension was built without CUDA, got tensors on ", device);
#endif
  }
  for (const Tensor& tensor : teacher) bump_version(tensor);
  for (const Tensor& tensor : copies) bump_version(tensor);
  bump_version(counters);
  bump_version(rates);
}

void ema_update_on_meta(at::TensorList, at::TensorList, at::TensorList, const Tensor&, const Tensor&, int64_t,
                        bool) {}

// The lists of ema_update_, kept: to hand hundreds of tensors from Python to the dispatcher takes longer than
// to update them. The memory of each is looked up anew at every update.
struct EmaPlan : torch::CustomClassHolder {
  std::vector<Tensor> teacher, student, copies;
  int64_t averaged;

  EmaPlan(std::vector<Tensor> teacher, std::vector<Tensor> student, std::vector<Tensor> copies,
          int64_t averaged)
      : teacher(std::move(teacher)),
        student(std::move(student)),
        copies(std::move(copies)),
        averaged(averaged) {}

  void update(const Tensor& counters, const Tensor& rates, bool warmup) {
    ema_update(teacher, student, copies, counters, rates, averaged, warmup);
  }
};

}  // namespace

void ema_update_cpu(const EmaPair* pairs, int64_t count, const EmaSchedule& schedule) {
  const double decay =
      schedule.warmup ? std::min(1 - 1.0 / (schedule.counters[0] + 1), schedule.rates[0]) : schedule.rates[0];
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
  schedule.rates[1] = decay;
  schedule.counters[0] += 1;
}

// One update k = counters[0] of the average (see ema.h): teacher[i] = a * teacher[i] + (1 - a) * student[i]
// for i < averaged, = student[i] for the others; copies[i] = teacher[i]. counters[1] is 0 between calls.
TORCH_LIBRARY_FRAGMENT(vreid_fast, m) {
  m.def(
      "ema_update_(Tensor(a!)[] teacher, Tensor[] student, Tensor(b!)[] copies, Tensor(c!) counters, "
      "Tensor(d!) rates, int averaged, bool warmup) -> ()");
  m.class_<EmaPlan>("EmaPlan")
      .def(torch::init<std::vector<Tensor>, std::vector<Tensor>, std::vector<Tensor>, int64_t>())
      .def("update", &EmaPlan::update);
}

TORCH_LIBRARY_IMPL(vreid_fast, CPU, m) { m.impl("ema_update_", &ema_update); }
#ifdef WITH_CUDA
TORCH_LIBRARY_IMPL(vreid_fast, CUDA, m) { m.impl("ema_update_", &ema_update); }
#endif
TORCH_LIBRARY_IMPL(vreid_fast, Meta, m) { m.impl("ema_update_", &ema_update_on_meta); }
TORCH_LIBRARY_IMPL(vreid_fast, Autograd, m) {
  m.impl("ema_update_", torch::autograd::autogradNotImplementedFallback());
}

}  // namespace vreid_fast
