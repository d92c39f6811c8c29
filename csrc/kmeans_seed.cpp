// Greedy k-means++.
#include <algorithm>
#include <limits>
#include <numeric>

#include "kmeans.h"

namespace vreid_fast {

Seeding::Seeding(const CounterRandom& random, int64_t row, int64_t candidates, const float* squares, Run& run)
    : random_(random),
      row_(row),
      candidates_(candidates),
      count_(static_cast<int64_t>(run.labels.size())),
      squares_(squares),
      run_(run),
      sums_((count_ + kBlock - 1) / kBlock) {}

void Seeding::take_first(int64_t drawn, const float* inner) {
  std::fill(run_.distances.begin(), run_.distances.end(), std::numeric_limits<float>::infinity());
  take_one(0, drawn, inner);
}

// The first sample whose cumulated distance exceeds a uniform share of the total.
void Seeding::draw(int64_t cluster, int64_t* drawn) const {
  const double total = std::accumulate(sums_.begin(), sums_.end(), 0.0);
  for (int64_t trial = 0; trial < candidates_; ++trial) {
    const float uniform =
        random_.uniform(static_cast<uint32_t>(row_), static_cast<uint32_t>(cluster * candidates_ + trial));
    const double share = uniform * static_cast<float>(total);
    const int64_t blocks = static_cast<int64_t>(sums_.size());
    double cumulated = 0;
    int64_t block = 0;
    for (; block < blocks - 1 && !(cumulated + sums_[block] > share); ++block) cumulated += sums_[block];
    const int64_t last = std::min(count_, (block + 1) * kBlock) - 1;
    int64_t sample = block * kBlock;
    for (; sample < last; ++sample) {
      cumulated += run_.distances[sample];
      if (cumulated > share) break;
    }
    drawn[trial] = sample;
  }
}

void Seeding::take(int64_t cluster, const int64_t* drawn, const float* const* inner) {
  double least = std::numeric_limits<double>::infinity();
  int64_t best = 0;
  for (int64_t trial = 0; trial < candidates_; ++trial) {
    double sum = 0;
    for (int64_t begin = 0; begin < count_; begin += kBlock) {
      sum += sum_nearer(inner[trial] + begin, squares_[drawn[trial]], squares_ + begin,
                        run_.distances.data() + begin, std::min(kBlock, count_ - begin));
    }
    if (sum < least) {
      least = sum;
      best = trial;
    }
  }
  take_one(cluster, drawn[best], inner[best]);
}

void Seeding::take_one(int64_t cluster, int64_t drawn, const float* inner) {
  for (size_t block = 0; block < sums_.size(); ++block) {
    const int64_t begin = static_cast<int64_t>(block) * kBlock;
    sums_[block] = take_nearer(inner + begin, squares_[drawn], squares_ + begin,
                               static_cast<int32_t>(cluster), std::min(kBlock, count_ - begin),
                               run_.distances.data() + begin, run_.labels.data() + begin);
  }
}

}  // namespace vreid_fast
