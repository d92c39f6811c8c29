#include "kmeans_search.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <limits>

#include "kmeans_loops.h"
#include "parallel.h"

namespace vreid_fast {
namespace {

constexpr int64_t kCentroids = 1024;  // of one matrix product
constexpr int64_t kScores = 1 << 19;  // of one chunk of samples and those centroids: 2 MB
constexpr float kInfinity = std::numeric_limits<float>::infinity();

}  // namespace

CentroidSets::CentroidSets(const float* centroids, int64_t sets, int64_t clusters, int64_t width)
    : centroids(centroids),
      sets(sets),
      clusters(clusters),
      width(width),
      sets_at_once(std::clamp<int64_t>(kCentroids / clusters, 1, sets)),
      clusters_at_once(std::min(clusters, kCentroids)),
      padded((clusters + kLanes - 1) / kLanes * kLanes),
      squares(sets * padded, kInfinity) {
  // On one thread: next to the products with the samples it is nothing.
  for (int64_t i = 0; i < sets * clusters; ++i) {
    squares[i / clusters * padded + i % clusters] = squared_norm(centroids + i * width, width);
  }
}

int64_t CentroidSets::chunk_of(int64_t samples) const {
  // Enough chunks for many threads, unless they were too small for an efficient matrix product.
  const int64_t shared = std::clamp<int64_t>((samples + 127) / 128 * 16, 32, 512);
  return std::min(shared, kScores / (sets_at_once * clusters_at_once));
}

NearestSearch::NearestSearch(const CentroidSets& targets, int64_t chunk)
    : targets_(targets),
      chunk_(chunk),
      inner_(at::empty({chunk * targets.sets_at_once * targets.clusters_at_once + kLanes}, at::kFloat)),
      labels_(targets.sets * chunk),
      scores_(targets.sets * chunk) {}

void NearestSearch::operator()(const float* rows, int64_t count) {
  const CentroidSets& t = targets_;
  float* inner = inner_.mutable_data_ptr<float>();
  std::fill(labels_.begin(), labels_.end(), 0);
  std::fill(scores_.begin(), scores_.end(), kInfinity);
  for (int64_t set = 0; set < t.sets; set += t.sets_at_once) {
    const int64_t sets = std::min(t.sets_at_once, t.sets - set);
    for (int64_t first = 0; first < t.clusters; first += t.clusters_at_once) {
      const int64_t part = std::min(t.clusters_at_once, t.clusters - first), columns = sets * part;
      const int64_t padded = (part + kLanes - 1) / kLanes * kLanes;
      inner_products(rows, count, t.centroids + (set * t.clusters + first) * t.width, columns, t.width, inner,
                     columns);
      for (int64_t i = set; i < set + sets; ++i) {
        nearest_in_rows(inner + (i - set) * part, columns, count, &t.squares[i * t.padded + first], padded,
                        static_cast<int32_t>(first), &scores_[i * chunk_], &labels_[i * chunk_]);
      }
    }
  }
}

}  // namespace vreid_fast
