// The nearest centroids of chunks of samples, in memory that a thread's cache holds.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace vreid_fast {

// centroids (sets, K, D): the same number for several runs, or one set.
struct CentroidSets {
  CentroidSets(const float* centroids, int64_t sets, int64_t clusters, int64_t width);

  // Samples that one thread takes at a time, of `samples` in all: a function of sizes alone.
  int64_t chunk_of(int64_t samples) const;

  const float* centroids;
  int64_t sets, clusters, width;
  int64_t sets_at_once, clusters_at_once;  // of one matrix product: several whole sets, or a part of one
  int64_t padded;                          // K to a multiple of kLanes
  std::vector<float> squares;              // (sets, padded), with infinity where padded
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
  at::Tensor inner_;             // (chunk, centroids of one product), and kLanes more
  std::vector<int32_t> labels_;  // (sets, chunk)
  std::vector<float> scores_;    // (sets, chunk)
};

}  // namespace vreid_fast
