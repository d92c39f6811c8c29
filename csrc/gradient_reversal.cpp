// Gradient reversal (Ganin and Lempitsky 2015): the identity, whose gradient is multiplied by -strength.
//
// Composite of a view and, in the backward, one multiplication: torch.compile sees both, and nothing is
// copied. There is no kernel to launch, hence no gradient_reversal.h and .cu.
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "check.h"

namespace vreid_fast {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr const char* kOp = "gradient_reversal";

struct ReversalByNumber : torch::autograd::Function<ReversalByNumber> {
  static Tensor forward(AutogradContext* context, const Tensor& x, double strength) {
    context->saved_data["strength"] = strength;
    return x.view_as(x);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    return {gradients[0].mul(-context->saved_data["strength"].toDouble()), Tensor()};
  }
};

// The strength is saved by reference: autograd raises if it changes in place before the backward has run.
struct ReversalByTensor : torch::autograd::Function<ReversalByTensor> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& strength) {
    context->save_for_backward({strength});
    return x.view_as(x);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    return {gradients[0].mul(context->get_saved_variables()[0].neg()), Tensor()};
  }
};

Tensor gradient_reversal(const Tensor& x, double strength) {
  check_floating(kOp, "x", x);
  return ReversalByNumber::apply(x, strength);
}

Tensor gradient_reversal_tensor(const Tensor& x, const Tensor& strength) {
  check_floating(kOp, "x", x);
  check_one_element(kOp, "strength", strength);
  check_no_gradient(kOp, "strength", strength);
  return ReversalByTensor::apply(x, strength.reshape({}));
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(vreid_fast, m) {
  m.def("gradient_reversal(Tensor(a) x, float strength) -> Tensor(a)", &gradient_reversal);
  m.def("gradient_reversal.tensor(Tensor(a) x, Tensor strength) -> Tensor(a)", &gradient_reversal_tensor);
}

}  // namespace vreid_fast
