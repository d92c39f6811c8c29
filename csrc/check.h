// Argument checks of the ops, in one wording: "op: argument must be X, got Y; do Z".
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/ScalarType.h>
#include <c10/util/Exception.h>

#include <string>

namespace vreid_fast {

// The dtype as Python prints it: "torch.float32".
inline std::string dtype_name(at::ScalarType type) {
  return "torch." + std::string(c10::getDtypeNames(type).first);
}

inline void check_floating(const char* op, const char* argument, const at::Tensor& tensor) {
  TORCH_CHECK_TYPE(tensor.is_floating_point(), op, ": ", argument, " must be a floating-point tensor, got ",
                   dtype_name(tensor.scalar_type()), "; convert it first");
}

// The types of the ops that compute in float32 whatever they are given.
inline void check_widened(const char* op, const char* argument, const at::Tensor& tensor) {
  const at::ScalarType type = tensor.scalar_type();
  TORCH_CHECK_TYPE(type == at::kFloat || type == at::kBFloat16 || type == at::kHalf, op, ": ", argument,
                   " must be float32, bfloat16 or float16 on backend 'cpp', got ", dtype_name(type),
                   "; use backend='reference'");
}

inline void check_one_element(const char* op, const char* argument, const at::Tensor& tensor) {
  TORCH_CHECK_VALUE(tensor.sym_numel() == 1, op, ": ", argument, " must hold one element, got shape ",
                    tensor.sym_sizes(), "; pass a 0-d tensor");
}

inline void check_no_gradient(const char* op, const char* argument, const at::Tensor& tensor) {
  TORCH_CHECK_VALUE(!tensor.requires_grad(), op, ": ", argument,
                    " must not require a gradient, got one that does; detach it");
}

}  // namespace vreid_fast
