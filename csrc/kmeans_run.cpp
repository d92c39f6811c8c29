// The state of one run of Lloyd's iterations.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kmeans.h"

namespace vreid_fast {

void Grouping::group(const std::vector<int32_t>& labels, int64_t clusters) {
  start.assign(clusters + 1, 0);
  for (const int32_t label : labels) ++start[label + 1];
  std::partial_sum(start.begin(), start.end(), start.begin());
  order.resize(labels.size());
  for (size_t i = 0; i < labels.size(); ++i) order[start[labels[i]]++] = static_cast<int32_t>(i);
  // Every start is now the next one's.
  std::copy_backward(start.begin(), start.end() - 1, start.end());
  start[0] = 0;
}

Run::Run(int64_t samples, int64_t clusters)
    : labels(samples), distances(samples), members(samples, -1), clusters_(clusters) {}

void Run::regroup() {
  before_.swap(members);
  members = labels;
  counts_.assign(clusters_, 0);
  for (const int32_t label : labels) ++counts_[label];
  fill_empty(members);
  moves_.clear();
  for (size_t i = 0; i < members.size(); ++i) {
    if (members[i] != before_[i]) moves_.push_back({static_cast<int32_t>(i), before_[i], members[i]});
  }
  moved_ += static_cast<int64_t>(moves_.size());
  // A move costs two rows, a sum anew one row for each sample. At first every sample moves, from -1.
  anew_ = 2 * moved_ > static_cast<int64_t>(members.size());
  if (anew_) {
    moved_ = 0;
    grouping_.group(members, clusters_);
  }
}

void Run::fill_empty(std::vector<int32_t>& members) {
  const int64_t empty = std::count(counts_.begin(), counts_.end(), 0);
  if (empty == 0) return;
  const int64_t samples = static_cast<int64_t>(members.size());
  const auto distance = [&](int32_t i) {
    return std::isnan(distances[i]) ? std::numeric_limits<float>::infinity() : distances[i];
  };
  std::vector<int32_t> order(samples);
  std::iota(order.begin(), order.end(), 0);
  // Of those in front at most one a cluster stays because it is the last of its cluster.
  const auto end = order.begin() + std::min(samples, empty + clusters_);
  std::partial_sort(order.begin(), end, order.end(), [&](int32_t a, int32_t b) {
    return distance(a) > distance(b) || (distance(a) == distance(b) && a < b);
  });
  auto farthest = order.begin();
  for (int64_t cluster = 0; cluster < clusters_; ++cluster) {
    if (counts_[cluster] > 0) continue;
    while (counts_[members[*farthest]] == 1) ++farthest;
    --counts_[members[*farthest]];
    members[*farthest++] = static_cast<int32_t>(cluster);
    counts_[cluster] = 1;
  }
}

void Run::update_sums(const float* rows, int64_t width, int64_t begin, int64_t end, float* sums) const {
  const int64_t columns = end - begin;
  rows += begin;
  sums += begin;
  if (!anew_) {
    for (const Move& move : moves_) {
      move_row(rows + move.sample * width, columns, sums + move.from * width, sums + move.to * width);
    }
    return;
  }
  for (int64_t cluster = 0; cluster < clusters_; ++cluster) {
    float* sum = sums + cluster * width;
    std::fill(sum, sum + columns, 0.0f);
    const auto row = [&](int64_t place) { return rows + grouping_.order[place] * width; };
    int64_t place = grouping_.start[cluster];
    const int64_t last = grouping_.start[cluster + 1];
    for (; place + 4 <= last; place += 4) {
      add_four(row(place), row(place + 1), row(place + 2), row(place + 3), columns, sum);
    }
    for (; place < last; ++place) add_row(row(place), columns, sum);
  }
}

Run& least_inertia(Run* runs, int64_t count) {
  int64_t best = 0;
  double least = std::numeric_limits<double>::infinity();
  for (int64_t i = 0; i < count; ++i) {
    const double inertia = std::accumulate(runs[i].distances.begin(), runs[i].distances.end(), 0.0);
    if (inertia < least) {
      least = inertia;
      best = i;
    }
  }
  return runs[best];
}

}  // namespace vreid_fast
