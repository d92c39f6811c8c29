// vreid_fast::kmeans_cpu: schema, checks, and what comes before and after the iterations.
#include "kmeans.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/autograd_not_implemented_fallback.h>
#include <torch/library.h>

#include <algorithm>
#include <numeric>
#include <tuple>

#include "check.h"
#include "parallel.h"

namespace vreid_fast {
namespace {

using at::Tensor;

constexpr const char* kOp = "kmeans";
constexpr int64_t kMedianOf = 8;   // samples at least, less than twice as many at most
constexpr int64_t kColumns = 128;  // of the features that one thread works on at a time

using Found = std::tuple<Tensor, Tensor, Tensor, Tensor>;

void check(const Tensor& x, int64_t clusters, int64_t restarts, int64_t iterations,
           const std::optional<Tensor>& init, const Tensor& seed, int64_t candidates) {
  check_widened(kOp, "x", x);
  check_one_element(kOp, "seed", seed);
  TORCH_CHECK_VALUE(x.dim() == 3 && x.sym_size(2) > 0, kOp, ": x must be (B, N, D) with D >= 1, got ",
                    x.sym_sizes(), "; add an axis of problems");
  TORCH_CHECK_VALUE(clusters >= 1 && x.sym_size(1) >= clusters, kOp, ": clusters must be in 1..N, got ",
                    clusters, " for x ", x.sym_sizes(), "; pass more samples or ask for fewer clusters");
  TORCH_CHECK_VALUE(restarts >= 1 && iterations >= 1, kOp,
                    ": restarts and iterations must be at least 1, got ", restarts, " and ", iterations,
                    "; ask for more");
  TORCH_CHECK_VALUE(candidates >= 1, kOp, ": candidates must be at least 1, got ", candidates,
                    "; ask for more");
  if (init) {
    const c10::SymDimVector wanted{x.sym_size(0), clusters, x.sym_size(2)};
    TORCH_CHECK_VALUE(init->sym_sizes().equals(wanted), kOp, ": init must be (B, K, D) ", wanted, ", got ",
                      init->sym_sizes(), "; expand it");
  }
}

// Both less a middle of the samples. Distances do not see a shift; without it they would be small differences
// of large numbers. The middle is the median of a few samples: one far outlier would move a mean.
void centre(const float* samples, int64_t count, const float* init, int64_t clusters, int64_t width,
            float* centred, float* centred_init) {
  each((width + kColumns - 1) / kColumns, [&](int64_t task) {
    const int64_t begin = task * kColumns, columns = std::min(kColumns, width - begin);
    // By insertion, of all columns at once. NaN ends up anywhere.
    float sorted[2 * kMedianOf][kColumns] = {};
    const int64_t step = std::max<int64_t>(1, count / kMedianOf), few = (count + step - 1) / step;
    for (int64_t i = 0; i < few; ++i) {
      std::copy_n(samples + i * step * width + begin, columns, sorted[i]);
      for (int64_t place = 0; place < i; ++place) {
        float* __restrict less = sorted[place], * __restrict more = sorted[i];
        for (int64_t j = 0; j < kColumns; ++j) {
          const float one = less[j], other = more[j];
          less[j] = std::min(one, other);
          more[j] = std::max(one, other);
        }
      }
    }
    const float* middle = sorted[(few - 1) / 2];
    const auto shift = [&](const float* rows, int64_t number, float* out) {
      for (int64_t i = begin; i < number * width; i += width) subtract(rows + i, middle, columns, out + i);
    };
    shift(samples, count, centred);
    if (init != nullptr) shift(init, clusters, centred_init);
  });
}

// centroids (K, D): the means of the members among the samples as they came.
void average(const float* samples, int64_t width, const Run& best, int64_t clusters, float* centroids) {
  Grouping grouping;
  grouping.group(best.members, clusters);
  each((width + kColumns - 1) / kColumns, [&](int64_t task) {
    const int64_t begin = task * kColumns, columns = std::min(kColumns, width - begin);
    for (int64_t k = 0; k < clusters; ++k) {
      double sum[kColumns] = {};
      for (int64_t place = grouping.start[k]; place < grouping.start[k + 1]; ++place) {
        add_row(samples + grouping.order[place] * width + begin, columns, sum);
      }
      const double size = static_cast<double>(best.size(k));
      float* centroid = centroids + k * width + begin;
      for (int64_t j = 0; j < columns; ++j) centroid[j] = static_cast<float>(sum[j] / size);
    }
  });
}

float inertia_of(const float* samples, int64_t count, int64_t width, const Run& best,
                 const float* centroids) {
  std::vector<float> distances(count);
  each((count + kBlock - 1) / kBlock, [&](int64_t task) {
    for (int64_t i = task * kBlock; i < std::min(count, (task + 1) * kBlock); ++i) {
      distances[i] = squared_distance(samples + i * width, centroids + best.labels[i] * width, width);
    }
  });
  return static_cast<float>(std::accumulate(distances.begin(), distances.end(), 0.0));
}

Found empty_like_found(const Tensor& x, int64_t clusters) {
  const c10::SymInt problems = x.sym_size(0);
  const auto make = [&](c10::SymDimVector sizes, at::ScalarType type) {
    return at::empty_symint(sizes, x.options().dtype(type));
  };
  return {make({problems, x.sym_size(1)}, at::kLong), make({problems, clusters, x.sym_size(2)}, at::kFloat),
          make({problems}, at::kFloat), make({problems, clusters}, at::kLong)};
}

Found kmeans_on_cpu(const Tensor& x, int64_t clusters, int64_t restarts, int64_t iterations,
                    const std::optional<Tensor>& init, const Tensor& seed, int64_t candidates, bool on_gram) {
  check(x, clusters, restarts, iterations, init, seed, candidates);
  const int64_t count = x.size(1), width = x.size(2);
  const Tensor kept = x.to(at::kFloat).contiguous(), centred = at::empty_like(kept);
  const Tensor given = init ? init->to(at::kFloat).contiguous() : Tensor();
  const Tensor centred_given = init ? at::empty_like(given) : Tensor();
  std::vector<Problem> problems;
  for (int64_t b = 0; b < x.size(0); ++b) {
    const float* centroids = init ? given.const_data_ptr<float>() + b * clusters * width : nullptr;
    float* centred_centroids =
        init ? centred_given.mutable_data_ptr<float>() + b * clusters * width : nullptr;
    float* samples = centred.mutable_data_ptr<float>() + b * count * width;
    centre(kept.const_data_ptr<float>() + b * count * width, count, centroids, clusters, width, samples,
           centred_centroids);
    const int64_t runs = init ? 1 : restarts;
    problems.push_back(
        {samples, count, width, clusters, centred_centroids, runs, iterations, candidates, b * runs});
  }
  std::vector<Run> best(problems.size(), Run(0, 0));
  const int64_t number = seed.item<int64_t>();
  if (on_gram) {
    kmeans_on_gram(problems, number, best);
  } else {
    for (size_t b = 0; b < problems.size(); ++b) kmeans_on_samples(problems[b], number, best[b]);
  }
  const Found found = empty_like_found(x, clusters);
  const auto& [labels, centroids, inertia, counts] = found;
  counts.zero_();
  for (int64_t b = 0; b < x.size(0); ++b) {
    const float* samples = kept.const_data_ptr<float>() + b * count * width;
    float* means = centroids.mutable_data_ptr<float>() + b * clusters * width;
    average(samples, width, best[b], clusters, means);
    inertia.mutable_data_ptr<float>()[b] = inertia_of(samples, count, width, best[b], means);
    std::copy_n(best[b].labels.begin(), count, labels.mutable_data_ptr<int64_t>() + b * count);
    for (const int32_t label : best[b].labels) ++counts.mutable_data_ptr<int64_t>()[b * clusters + label];
  }
  return found;
}

Found kmeans_on_meta(const Tensor& x, int64_t clusters, int64_t restarts, int64_t iterations,
                     const std::optional<Tensor>& init, const Tensor& seed, int64_t candidates, bool) {
  check(x, clusters, restarts, iterations, init, seed, candidates);
  return empty_like_found(x, clusters);
}

}  // namespace

// labels (B, N) int64, centroids (B, K, D) float32, inertia (B,) float32 and counts (B, K) int64 of x (B, N,
// D) and init (B, K, D), computed on the inner products of the samples or on the samples.
TORCH_LIBRARY_FRAGMENT(vreid_fast, m) {
  m.def(
      "kmeans_cpu(Tensor x, int clusters, int restarts, int iterations, Tensor? init, Tensor seed, int "
      "candidates, bool on_gram) -> (Tensor labels, Tensor centroids, Tensor inertia, Tensor counts)");
}

TORCH_LIBRARY_IMPL(vreid_fast, CPU, m) { m.impl("kmeans_cpu", &kmeans_on_cpu); }
TORCH_LIBRARY_IMPL(vreid_fast, Meta, m) { m.impl("kmeans_cpu", &kmeans_on_meta); }
TORCH_LIBRARY_IMPL(vreid_fast, Autograd, m) {
  m.impl("kmeans_cpu", torch::autograd::autogradNotImplementedFallback());
}

}  // namespace vreid_fast
