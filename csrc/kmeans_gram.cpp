// K-means on the inner products of the samples: seeding and Lloyd's iterations touch rows of N numbers only,
// whatever the width of the samples.
#include <ATen/ops/empty.h>

#include <algorithm>

#include "kmeans.h"
#include "parallel.h"

namespace vreid_fast {
namespace {

constexpr int64_t kMemory = int64_t{64} << 20;  // bytes of the problems that are worked on at once

// gram (problems, N, N): the lower half in tiles, each mirrored.
void multiply(const Problem* problems, int64_t count, float* gram) {
  const int64_t samples = problems->count, width = problems->width;
  const int64_t tile = std::clamp<int64_t>((samples + 63) / 64 * 16, 32, 256);
  const int64_t tiles = (samples + tile - 1) / tile;
  share(count * tiles * tiles, [&] {
    return [&](int64_t task) {
      const int64_t row = task / tiles % tiles, column = task % tiles;
      if (column > row) return;
      const float* x = problems[task / tiles / tiles].samples;
      float* out = gram + task / tiles / tiles * samples * samples;
      const int64_t top = row * tile, left = column * tile;
      const int64_t bottom = std::min(samples, top + tile), right = std::min(samples, left + tile);
      inner_products(x + top * width, bottom - top, x + left * width, right - left, width,
                     out + top * samples + left, samples);
      if (row == column) return;
      for (int64_t j = left; j < right; ++j) {
        for (int64_t i = top; i < bottom; ++i) out[j * samples + i] = out[i * samples + j];
      }
    };
  });
}

// One restart on a thread, with the buffers that all restarts of the thread use.
class Restart {
 public:
  Restart(int64_t samples, int64_t clusters)
      : sums_(at::empty({clusters, samples}, at::kFloat)),
        diagonal_(samples),
        scores_(samples),
        norms_(clusters),
        squares_(clusters),
        factors_(clusters) {}

  void operator()(const Problem& problem, const float* gram, const CounterRandom& random, int64_t restart,
                  Run& run) {
    const int64_t samples = problem.count;
    for (int64_t i = 0; i < samples; ++i) diagonal_[i] = gram[i * (samples + 1)];
    if (problem.init == nullptr) {
      seed(problem, gram, random, restart, run);
    } else {
      nearest_of_given(problem, run);
    }
    std::vector<int32_t> before;
    for (int64_t iteration = 0; iteration < problem.iterations; ++iteration) {
      run.regroup();
      run.update_sums(gram, samples, 0, samples, sums_.mutable_data_ptr<float>());
      before = run.labels;
      nearest_of_means(problem, run);
      if (run.labels == before) break;
    }
  }

 private:
  void seed(const Problem& problem, const float* gram, const CounterRandom& random, int64_t restart,
            Run& run) {
    Seeding seeding(random, problem.first_run + restart, problem.candidates, diagonal_.data(), run);
    std::vector<int64_t> drawn(problem.candidates);
    std::vector<const float*> inner(drawn.size());
    const int64_t first = seeding.draw_first();
    seeding.take_first(first, gram + first * problem.count);
    for (int64_t cluster = 1; cluster < problem.clusters; ++cluster) {
      seeding.draw(cluster, drawn.data());
      for (size_t trial = 0; trial < drawn.size(); ++trial)
        inner[trial] = gram + drawn[trial] * problem.count;
      seeding.take(cluster, drawn.data(), inner.data());
    }
  }

  void nearest_of_given(const Problem& problem, Run& run) {
    float* sums = sums_.mutable_data_ptr<float>();
    inner_products(problem.init, problem.clusters, problem.samples, problem.count, problem.width, sums,
                   problem.count);
    for (int64_t k = 0; k < problem.clusters; ++k) {
      squares_[k] = squared_norm(problem.init + k * problem.width, problem.width);
      factors_[k] = -2;
    }
    find_nearest(problem, run);
  }

  // The inner product of a sample with a mean is the mean of those with its members.
  void nearest_of_means(const Problem& problem, Run& run) {
    const float* sums = sums_.const_data_ptr<float>();
    std::fill(norms_.begin(), norms_.end(), 0.0);
    for (int64_t i = 0; i < problem.count; ++i) {
      norms_[run.members[i]] += sums[run.members[i] * problem.count + i];
    }
    for (int64_t k = 0; k < problem.clusters; ++k) {
      const double size = static_cast<double>(run.size(k));
      squares_[k] = static_cast<float>(norms_[k] / (size * size));
      factors_[k] = static_cast<float>(-2 / size);
    }
    find_nearest(problem, run);
  }

  void find_nearest(const Problem& problem, Run& run) {
    nearest(sums_.const_data_ptr<float>(), problem.count, problem.clusters, squares_.data(), factors_.data(),
            problem.count, scores_.data(), run.labels.data());
    to_distances(scores_.data(), diagonal_.data(), problem.count, run.distances.data());
  }

  at::Tensor sums_;              // (K, N)
  std::vector<float> diagonal_;  // (N,)
  std::vector<float> scores_;    // (N,)
  std::vector<double> norms_;    // (K,) squared, of the sums of the members
  std::vector<float> squares_, factors_;
};

}  // namespace

void kmeans_on_gram(const std::vector<Problem>& problems, int64_t seed, std::vector<Run>& best) {
  const CounterRandom random(seed);
  const int64_t all = static_cast<int64_t>(problems.size());
  if (all == 0) return;
  const int64_t samples = problems[0].count, clusters = problems[0].clusters, restarts = problems[0].restarts;
  const int64_t bytes = samples * (4 * samples + static_cast<int64_t>(10 * sizeof(int32_t)) * restarts);
  const int64_t at_once = std::clamp<int64_t>(kMemory / bytes, 1, all);
  const at::Tensor gram = at::empty({at_once, samples, samples}, at::kFloat);
  float* memory = gram.mutable_data_ptr<float>();
  for (int64_t first = 0; first < all; first += at_once) {
    const int64_t count = std::min(at_once, all - first);
    multiply(&problems[first], count, memory);
    std::vector<Run> runs(count * restarts, Run(samples, clusters));
    share(count * restarts, [&] {
      return [&, restart = Restart(samples, clusters)](int64_t task) mutable {
        const int64_t problem = task / restarts;
        restart(problems[first + problem], memory + problem * samples * samples, random, task % restarts,
                runs[task]);
      };
    });
    for (int64_t problem = 0; problem < count; ++problem) {
      best[first + problem] = std::move(least_inertia(&runs[problem * restarts], restarts));
    }
  }
}

}  // namespace vreid_fast
