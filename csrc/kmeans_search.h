// The nearest centroids of chunks of samples, in memory that a thread's cache holds.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace vreid_fast {

// Samples that one thread takes at a time, of `samples` in all.
int64_t chunk_of(int64_t samples);

// centroids (sets, K, D): the same number for several runs, or one set.
struct CentroidSets {
  CentroidSets(const float* centroids, int64_t sets, int64_t clusters, int64_t width);

  const float* centroids;
  int64_t sets, clusters, width;
  std::vector<float> squares;  // (sets, K)
  std::vector<float> factors;  // (K,) of -2
};

// For each sample of a chunk and each set, the label of the nearest centroid (of equals the lowest; 0 where
// all distances are NaN) and its score: the squared distance less the square of the sample.
class NearestSearch {
 public:
  NearestSearch(const CentroidSets& targets, int64_t chunk);

  void operator()(const float* rows, int64_t count);  // rows (count, D), count <= chunk

  const int32_t* labels(int64_t set) const { return labels_.data() + set * chunk_; }
  const float* scores(int64_t set) const { return scores_.data() + set * chunk_; }

 private:
  const CentroidSets& targets_;
  int64_t chunk_;
  int64_t sets_at_once_, clusters_at_once_;  // of one matrix product
  at::Tensor inner_;
  std::vector<int32_t> labels_;  // (sets, chunk)
  std::vector<float> scores_;    // (sets, chunk)
};

}  // namespace vreid_fast
