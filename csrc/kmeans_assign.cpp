// vreid_fast::kmeans_assign_cpu: schema, checks and CPU kernel.
#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/autograd_not_implemented_fallback.h>
#include <torch/library.h>

#include <algorithm>
#include <tuple>

#include "check.h"
#include "kmeans_loops.h"
#include "kmeans_search.h"
#include "parallel.h"

namespace vreid_fast {
namespace {

using at::Tensor;

constexpr const char* kOp = "kmeans_assign";

void check(const Tensor& x, const Tensor& centroids) {
  check_widened(kOp, "x", x);
  TORCH_CHECK_VALUE(x.dim() == 3 && centroids.dim() == 3 && x.sym_size(0) == centroids.sym_size(0) &&
                        x.sym_size(2) == centroids.sym_size(2) && centroids.sym_size(1) > 0,
                    kOp, ": centroids must be (B, K, D) with K >= 1 for x (B, N, D) ", x.sym_sizes(),
                    ", got ", centroids.sym_sizes(), "; give both the same problems and features");
}

std::tuple<Tensor, Tensor> assign_on_cpu(const Tensor& x, const Tensor& centroids) {
  check(x, centroids);
  const int64_t samples = x.size(1), clusters = centroids.size(1), width = x.size(2);
  const Tensor labels = at::empty({x.size(0), samples}, at::kLong);
  const Tensor distances = at::empty({x.size(0), samples}, at::kFloat);
  for (int64_t problem = 0; problem < x.size(0); ++problem) {
    const Tensor rows = x.select(0, problem);
    const Tensor kept = centroids.select(0, problem).to(at::kFloat).contiguous();
    const CentroidSets targets(kept.const_data_ptr<float>(), 1, clusters, width);
    const int64_t chunk = targets.chunk_of(samples);
    int64_t* label = labels.mutable_data_ptr<int64_t>() + problem * samples;
    float* distance = distances.mutable_data_ptr<float>() + problem * samples;
    share((samples + chunk - 1) / chunk, [&] {
      return [&, search = NearestSearch(targets, chunk)](int64_t task) mutable {
        const int64_t begin = task * chunk, count = std::min(chunk, samples - begin);
        const Tensor widened = rows.narrow(0, begin, count).to(at::kFloat).contiguous();
        const float* row = widened.const_data_ptr<float>();
        search(row, count);
        for (int64_t i = 0; i < count; ++i) {
          const int32_t nearest = search.labels(0)[i];
          label[begin + i] = nearest;
          distance[begin + i] = squared_distance(row + i * width, targets.centroids + nearest * width, width);
        }
      };
    });
  }
  return {labels, distances};
}

std::tuple<Tensor, Tensor> assign_on_meta(const Tensor& x, const Tensor& centroids) {
  check(x, centroids);
  const c10::SymDimVector sizes{x.sym_size(0), x.sym_size(1)};
  return {at::empty_symint(sizes, x.options().dtype(at::kLong)),
          at::empty_symint(sizes, x.options().dtype(at::kFloat))};
}

}  // namespace

// labels (B, N) int64 and squared distances (B, N) float32 of x (B, N, D) and centroids (B, K, D).
TORCH_LIBRARY_FRAGMENT(vreid_fast, m) {
  m.def("kmeans_assign_cpu(Tensor x, Tensor centroids) -> (Tensor labels, Tensor distances)");
}

TORCH_LIBRARY_IMPL(vreid_fast, CPU, m) { m.impl("kmeans_assign_cpu", &assign_on_cpu); }
TORCH_LIBRARY_IMPL(vreid_fast, Meta, m) { m.impl("kmeans_assign_cpu", &assign_on_meta); }
TORCH_LIBRARY_IMPL(vreid_fast, Autograd, m) {
  m.impl("kmeans_assign_cpu", torch::autograd::autogradNotImplementedFallback());
}

}  // namespace vreid_fast
