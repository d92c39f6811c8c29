// vreid_fast._C: importing it registers the ops; its functions say how it was built.
#include <pybind11/pybind11.h>

PYBIND11_MODULE(_C, m) {
  m.doc() = "The compiled ops of vreid_fast.kernels: torch.ops.vreid_fast.*";
#ifdef WITH_CUDA
  constexpr bool with_cuda = true;
#else
  constexpr bool with_cuda = false;
#endif
  m.def("has_cuda", [] { return with_cuda; }, "Whether the CUDA kernels were built.");
  m.def(
      "build_facts",
      [] {
        pybind11::dict facts;
        facts["torch"] = VREID_TORCH_VERSION;
        facts["cuda"] = VREID_CUDA_VERSION;
        facts["architectures"] = VREID_CUDA_ARCHITECTURES;
        return facts;
      },
      "torch version, CUDA version and CUDA architectures of the build; the last two are empty without "
      "CUDA.");
}
