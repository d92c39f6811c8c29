// K-means on the samples: the centroids of all restarts that still run are multiplied with chunks of samples.
#include <ATen/ops/empty.h>

#include <algorithm>
#include <atomic>
#include <numeric>

#include "interrupt.h"
#include "kmeans.h"
#include "kmeans_search.h"
#include "parallel.h"

namespace vreid_fast {
namespace {

constexpr int64_t kColumns = 128;               // of the sums that one thread brings up to date at a time
constexpr int64_t kMemory = int64_t{64} << 20;  // bytes of inner products with drawn samples

class Restarts {
 public:
  Restarts(const Problem& problem, std::vector<Run>& runs)
      : problem_(problem),
        runs_(runs),
        blocks_((problem.count + kBlock - 1) / kBlock),
        squares_(problem.count) {
    each(blocks_, [&](int64_t block) {
      for (int64_t i = block * kBlock; i < end(block); ++i)
        squares_[i] = squared_norm(row(i), problem_.width);
    });
  }

  void seed(const CounterRandom& random);
  void iterate();

  // Assigns the samples to sets of centroids, one set a run of `running`; drops the runs where no label
  // changed.
  void assign(const float* centroids, std::vector<int64_t>& running);

 private:
  void update_means(const std::vector<int64_t>& running);
  void multiply(const float* drawn, int64_t count, float* inner) const;

  const float* row(int64_t sample) const { return problem_.samples + sample * problem_.width; }
  int64_t end(int64_t block) const { return std::min(problem_.count, (block + 1) * kBlock); }

  const Problem& problem_;
  std::vector<Run>& runs_;
  int64_t blocks_;              // of samples
  std::vector<float> squares_;  // (N,)
  at::Tensor sums_;             // (R, K, D)
  at::Tensor means_;            // (running, K, D)
};

// inner (count, N) = drawn (count, D) times the samples
void Restarts::multiply(const float* drawn, int64_t count, float* inner) const {
  share(blocks_, [&] {
    return [&](int64_t block) {
      const int64_t begin = block * kBlock;
      inner_products(drawn, count, row(begin), end(block) - begin, problem_.width, inner + begin,
                     problem_.count);
    };
  });
}

void Restarts::seed(const CounterRandom& random) {
  const int64_t samples = problem_.count, width = problem_.width, trials = problem_.candidates;
  const int64_t restarts = static_cast<int64_t>(runs_.size());
  const int64_t at_once = std::clamp<int64_t>(kMemory / 4 / (trials * samples), 1, restarts);
  const at::Tensor picked = at::empty({at_once * trials, width}, at::kFloat);
  const at::Tensor products = at::empty({at_once * trials, samples}, at::kFloat);
  float* rows = picked.mutable_data_ptr<float>();
  float* inner = products.mutable_data_ptr<float>();
  for (int64_t first = 0; first < restarts; first += at_once) {
    const int64_t count = std::min(at_once, restarts - first);
    std::vector<Seeding> seedings;
    for (int64_t i = 0; i < count; ++i) {
      seedings.emplace_back(random, problem_.first_run + first + i, problem_.candidates, squares_.data(),
                            runs_[first + i]);
    }
    std::vector<int64_t> firsts(count), drawn(count * trials);
    for (int64_t i = 0; i < count; ++i) {
      firsts[i] = seedings[i].draw_first();
      std::copy_n(row(firsts[i]), width, rows + i * width);
    }
    for (int64_t cluster = 0; cluster < problem_.clusters; ++cluster) {
      raise_if_interrupted();
      multiply(rows, cluster == 0 ? count : count * trials, inner);
      each(count, [&](int64_t i) {
        if (cluster == 0) {
          seedings[i].take_first(firsts[i], inner + i * samples);
        } else {
          std::vector<const float*> of_trials(trials);
          for (int64_t j = 0; j < trials; ++j) of_trials[j] = inner + (i * trials + j) * samples;
          seedings[i].take(cluster, &drawn[i * trials], of_trials.data());
        }
        if (cluster + 1 == problem_.clusters) return;
        seedings[i].draw(cluster + 1, &drawn[i * trials]);
        for (int64_t j = i * trials; j < (i + 1) * trials; ++j)
          std::copy_n(row(drawn[j]), width, rows + j * width);
      });
    }
  }
}

void Restarts::update_means(const std::vector<int64_t>& running) {
  const int64_t size = problem_.clusters * problem_.width, count = static_cast<int64_t>(running.size());
  float* sums = sums_.mutable_data_ptr<float>();
  float* means = means_.mutable_data_ptr<float>();
  each(count, [&](int64_t i) { runs_[running[i]].regroup(); });
  const int64_t blocks = (problem_.width + kColumns - 1) / kColumns;
  each(count * blocks, [&](int64_t task) {
    const int64_t i = task / blocks, begin = task % blocks * kColumns;
    const int64_t end = std::min(problem_.width, begin + kColumns);
    const Run& run = runs_[running[i]];
    run.update_sums(problem_.samples, problem_.width, begin, end, sums + running[i] * size);
    for (int64_t k = 0; k < problem_.clusters; ++k) {
      const float* sum = sums + running[i] * size + k * problem_.width;
      float* mean = means + i * size + k * problem_.width;
      const float members = static_cast<float>(run.size(k));
      for (int64_t column = begin; column < end; ++column) mean[column] = sum[column] / members;
    }
  });
}

void Restarts::assign(const float* centroids, std::vector<int64_t>& running) {
  const int64_t sets = static_cast<int64_t>(running.size());
  const CentroidSets targets(centroids, sets, problem_.clusters, problem_.width);
  std::vector<std::atomic<bool>> changed(sets);
  const int64_t chunk = targets.chunk_of(problem_.count);
  share((problem_.count + chunk - 1) / chunk, [&] {
    return [&, search = NearestSearch(targets, chunk)](int64_t task) mutable {
      raise_if_interrupted();
      const int64_t begin = task * chunk, count = std::min(chunk, problem_.count - begin);
      search(row(begin), count);
      for (int64_t set = 0; set < sets; ++set) {
        Run& run = runs_[running[set]];
        const int32_t* labels = search.labels(set);
        if (!std::equal(labels, labels + count, &run.labels[begin])) changed[set] = true;
        std::copy_n(labels, count, &run.labels[begin]);
        to_distances(search.scores(set), &squares_[begin], count, &run.distances[begin]);
      }
    };
  });
  std::vector<int64_t> still;
  for (int64_t set = 0; set < sets; ++set) {
    if (changed[set]) still.push_back(running[set]);
  }
  running.swap(still);
}

void Restarts::iterate() {
  const std::vector<int64_t> sizes{static_cast<int64_t>(runs_.size()), problem_.clusters, problem_.width};
  sums_ = at::empty(sizes, at::kFloat);
  means_ = at::empty(sizes, at::kFloat);
  std::vector<int64_t> running(runs_.size());
  std::iota(running.begin(), running.end(), 0);
  for (int64_t iteration = 0; iteration < problem_.iterations && !running.empty(); ++iteration) {
    update_means(running);
    assign(means_.const_data_ptr<float>(), running);
  }
}

}  // namespace

void kmeans_on_samples(const Problem& problem, int64_t seed, Run& best) {
  std::vector<Run> runs(problem.restarts, Run(problem.count, problem.clusters));
  Restarts restarts(problem, runs);
  if (problem.init == nullptr) {
    restarts.seed(CounterRandom(seed));
  } else {
    std::vector<int64_t> running{0};
    restarts.assign(problem.init, running);
  }
  restarts.iterate();
  best = std::move(least_inertia(runs.data(), problem.restarts));
}

}  // namespace vreid_fast
