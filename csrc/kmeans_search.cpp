#include "kmeans_search.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <limits>

#include "kmeans_loops.h"
#include "parallel.h"

namespace vreid_fast {

namespace {
constexpr int64_t kCentroids = 1024;  // of one matrix product: with 256 samples 1 MB of inner products
}

// Small problems in enough chunks for some threads, whatever their number here.
int64_t chunk_of(int64_t samples) { return std::clamp<int64_t>((samples + 127) / 128 * 16, 32, 256); }

CentroidSets::CentroidSets(const float* centroids, int64_t sets, int64_t clusters, int64_t width)
    : centroids(centroids),
      sets(sets),
      clusters(clusters),
      width(width),
      squares(sets * clusters),
      factors(clusters, -2.0f) {
  constexpr int64_t kRows = 64;
  const int64_t count = sets * clusters;
  share((count + kRows - 1) / kRows, [&] {
    return [&](int64_t task) {
      for (int64_t i = task * kRows; i < std::min(count, (task + 1) * kRows); ++i) {
        squares[i] = squared_norm(centroids + i * width, width);
      }
    };
  });
}

NearestSearch::NearestSearch(const CentroidSets& targets, int64_t chunk)
    : targets_(targets),
      chunk_(chunk),
      sets_at_once_(std::clamp<int64_t>(kCentroids / targets.clusters, 1, targets.sets)),
      clusters_at_once_(std::min(targets.clusters, kCentroids)),
      inner_(at::empty({sets_at_once_ * clusters_at_once_, chunk}, at::kFloat)),
      labels_(targets.sets * chunk),
      scores_(targets.sets * chunk) {}

void NearestSearch::operator()(const float* rows, int64_t count) {
  const int64_t clusters = targets_.clusters, width = targets_.width;
  float* inner = inner_.mutable_data_ptr<float>();
  std::fill(labels_.begin(), labels_.end(), 0);
  std::fill(scores_.begin(), scores_.end(), std::numeric_limits<float>::infinity());
  for (int64_t set = 0; set < targets_.sets; set += sets_at_once_) {
    const int64_t sets = std::min(sets_at_once_, targets_.sets - set);
    // Either several whole sets at once, or a part of one.
    for (int64_t first = 0; first < clusters; first += clusters_at_once_) {
      const int64_t part = std::min(clusters_at_once_, clusters - first);
      const int64_t centroid = set * clusters + first;
      inner_products(targets_.centroids + centroid * width, sets * part, rows, count, width, inner, count);
      for (int64_t i = 0; i < sets; ++i) {
        nearest(inner + i * part * count, count, part, &targets_.squares[centroid + i * part],
                targets_.factors.data(), static_cast<int32_t>(first), count, &scores_[(set + i) * chunk_],
                &labels_[(set + i) * chunk_]);
      }
    }
  }
}

}  // namespace vreid_fast
