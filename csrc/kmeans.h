// K-means on the CPU: the parts that both of its forms are made of. The rules are those of
// kernels/kmeans_reference.py. Letters: N samples, K clusters, D features; all memory is dense float32.
#pragma once

#include <cstdint>
#include <vector>

#include "counter_random.h"
#include "kmeans_loops.h"

namespace vreid_fast {

// One problem of an op call.
struct Problem {
  const float* samples;  // (N, D) less their mean
  int64_t count, width, clusters;
  const float* init;  // (K, D) less the mean of the samples, or null for k-means++
  int64_t restarts, iterations;
  int64_t candidates;  // samples drawn for each centroid but the first
  int64_t first_run;   // the row of the first restart's random numbers
};

// The samples by cluster, in order of their index within one.
struct Grouping {
  void group(const std::vector<int32_t>& labels, int64_t clusters);

  std::vector<int32_t> order;  // (N,) samples
  std::vector<int64_t> start;  // (K + 1,) of each cluster in `order`
};

// One run of Lloyd's iterations: labels, and the sums of rows (of samples or of inner products) by cluster.
class Run {
 public:
  Run(int64_t samples, int64_t clusters);

  // Makes the labels the members of the clusters, each empty one given the farthest sample that is not alone.
  void regroup();

  // Brings columns begin..end-1 of `sums` (K, width) from the members before the last regroup to those
  // after it, where `rows` is (N, width): by the rows that moved, or anew, so that rounding cannot pile up.
  void update_sums(const float* rows, int64_t width, int64_t begin, int64_t end, float* sums) const;

  // Members of a cluster; at least one after regroup.
  int64_t size(int64_t cluster) const { return counts_[cluster]; }

  std::vector<int32_t> labels;   // (N,) of the nearest centroid
  std::vector<float> distances;  // (N,) squared, to that centroid
  std::vector<int32_t> members;  // (N,) the cluster whose centroid a sample belongs to

 private:
  struct Move {
    int32_t sample, from, to;
  };

  void fill_empty(std::vector<int32_t>& members);

  int64_t clusters_;
  std::vector<int64_t> counts_;
  std::vector<int32_t> before_;
  std::vector<Move> moves_;
  int64_t moved_ = 0;  // samples since the sums were last made anew
  bool anew_ = false;
  Grouping grouping_;
};

// Greedy k-means++ of one run: draw, then take, for each centroid in turn. Inner products (N,) are of all
// samples with the one drawn; `squares` (N,) are those of the samples with themselves.
class Seeding {
 public:
  Seeding(const CounterRandom& random, int64_t row, int64_t candidates, const float* squares, Run& run);

  int64_t draw_first() const { return random_.below(count_, row_, 0); }
  void take_first(int64_t drawn, const float* inner);
  void draw(int64_t cluster, int64_t* drawn) const;
  // Takes the drawn sample that leaves the least sum of distances.
  void take(int64_t cluster, const int64_t* drawn, const float* const* inner);

 private:
  void take_one(int64_t cluster, int64_t drawn, const float* inner);

  CounterRandom random_;
  int64_t row_, candidates_, count_;
  const float* squares_;
  Run& run_;
  std::vector<float> sums_;  // of the distances of each kBlock samples
};

// The run of least inertia, of equals the first.
Run& least_inertia(Run* runs, int64_t count);

// The two forms. Both leave in `best` the restart of least inertia.
// On the inner products (N, N) of the samples: each restart by itself, in the memory of one thread.
void kmeans_on_gram(const std::vector<Problem>& problems, int64_t seed, std::vector<Run>& best);
// On the samples: all restarts at once over chunks of samples.
void kmeans_on_samples(const Problem& problem, int64_t seed, Run& best);

}  // namespace vreid_fast
