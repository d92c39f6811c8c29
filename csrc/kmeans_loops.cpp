#include "kmeans_loops.h"

#include <ATen/Functions.h>
#include <ATen/ops/mm_cpu_dispatch.h>

#include <algorithm>
#include <limits>

#include "parallel.h"

namespace vreid_fast {

void inner_products(const float* a, int64_t rows, const float* b, int64_t columns, int64_t width, float* out,
                    int64_t stride) {
  const auto tensor = [](const float* data, at::IntArrayRef sizes, at::IntArrayRef strides) {
    return at::from_blob(const_cast<float*>(data), sizes, strides, at::kFloat);
  };
  at::Tensor product = tensor(out, {rows, columns}, {stride, 1});
  at::cpu::mm_out(product, tensor(a, {rows, width}, {width, 1}), tensor(b, {width, columns}, {1, width}));
}

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Where score < least[i] holds, least[i] = score and labels[i] = label; in bits, since of a conditional
// expression the compiler makes a branch.
inline void take_if_less(float score, int32_t label, float& least, int32_t& chosen) {
  const int32_t less = -static_cast<int32_t>(score < least);
  chosen = (label & less) | (chosen & ~less);
  least = score < least ? score : least;
}

}  // namespace

VREID_VECTORISED
void nearest(const float* inner, int64_t stride, int64_t clusters, const float* squares, const float* factors,
             int64_t samples, float* __restrict__ scores, int32_t* __restrict__ labels) {
  constexpr int64_t kSpan = 64;  // samples whose least scores and labels stay in registers
  for (int64_t begin = 0; begin < samples; begin += kSpan) {
    float least[kSpan];
    int32_t chosen[kSpan] = {};
    std::fill(least, least + kSpan, kInfinity);
    const int64_t count = std::min(kSpan, samples - begin);
    for (int64_t k = 0; k < clusters; ++k) {
      const float* row = inner + k * stride + begin;
      const float square = squares[k], factor = factors[k];
      const int32_t label = static_cast<int32_t>(k);
      if (count == kSpan) {
#pragma omp simd
        for (int64_t i = 0; i < kSpan; ++i)
          take_if_less(square + factor * row[i], label, least[i], chosen[i]);
      } else {
#pragma omp simd
        for (int64_t i = 0; i < count; ++i)
          take_if_less(square + factor * row[i], label, least[i], chosen[i]);
      }
    }
    std::copy_n(least, count, scores + begin);
    std::copy_n(chosen, count, labels + begin);
  }
}

VREID_VECTORISED
void nearest_in_rows(const float* inner, int64_t stride, int64_t samples, const float* squares,
                     int64_t padded, int32_t first, float* __restrict__ scores,
                     int32_t* __restrict__ labels) {
  constexpr int32_t kNone = std::numeric_limits<int32_t>::max();
  for (int64_t i = 0; i < samples; ++i) {
    const float* row = inner + i * stride;
    // Lane l looks at clusters l, l + kLanes, ...
    float least[kLanes];
    int32_t chosen[kLanes] = {};
    std::fill(least, least + kLanes, kInfinity);
    for (int64_t k = 0; k < padded; k += kLanes) {
#pragma omp simd
      for (int64_t lane = 0; lane < kLanes; ++lane) {
        take_if_less(squares[k + lane] - 2 * row[k + lane], static_cast<int32_t>(k), least[lane],
                     chosen[lane]);
      }
    }
    float score = kInfinity;
#pragma omp simd reduction(min : score)
    for (int64_t lane = 0; lane < kLanes; ++lane) score = least[lane] < score ? least[lane] : score;
    if (!(score < scores[i])) continue;
    int32_t label = kNone;
#pragma omp simd reduction(min : label)
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      const int32_t candidate = least[lane] == score ? chosen[lane] + static_cast<int32_t>(lane) : kNone;
      label = candidate < label ? candidate : label;
    }
    scores[i] = score;
    labels[i] = first + label;
  }
}

VREID_VECTORISED
void to_distances(const float* scores, const float* squares, int64_t samples, float* __restrict__ distances) {
#pragma omp simd
  for (int64_t i = 0; i < samples; ++i) {
    const float distance = scores[i] + squares[i];
    distances[i] = distance < 0 ? 0 : distance;
  }
}

VREID_VECTORISED
float sum_nearer(const float* inner, float square, const float* squares, const float* distances,
                 int64_t samples) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < samples; ++i) {
    float distance = squares[i] + square - 2 * inner[i];
    distance = distance < 0 ? 0 : distance;
    sum += distance < distances[i] ? distance : distances[i];
  }
  return sum;
}

VREID_VECTORISED
float take_nearer(const float* inner, float square, const float* squares, int32_t label, int64_t samples,
                  float* __restrict__ distances, int32_t* __restrict__ labels) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < samples; ++i) {
    float distance = squares[i] + square - 2 * inner[i];
    distance = distance < 0 ? 0 : distance;
    take_if_less(distance, label, distances[i], labels[i]);
    sum += distances[i];
  }
  return sum;
}

VREID_VECTORISED
void add_four(const float* a, const float* b, const float* c, const float* d, int64_t width,
              float* __restrict__ sums) {
#pragma omp simd
  for (int64_t i = 0; i < width; ++i) sums[i] += (a[i] + b[i]) + (c[i] + d[i]);
}

VREID_VECTORISED
void add_row(const float* row, int64_t width, float* __restrict__ to) {
#pragma omp simd
  for (int64_t i = 0; i < width; ++i) to[i] += row[i];
}

VREID_VECTORISED
void add_row(const float* row, int64_t width, double* __restrict__ to) {
#pragma omp simd
  for (int64_t i = 0; i < width; ++i) to[i] += row[i];
}

VREID_VECTORISED
void subtract(const float* row, const float* shift, int64_t width, float* __restrict__ out) {
#pragma omp simd
  for (int64_t i = 0; i < width; ++i) out[i] = row[i] - shift[i];
}

VREID_VECTORISED
void move_row(const float* row, int64_t width, float* __restrict__ from, float* __restrict__ to) {
#pragma omp simd
  for (int64_t i = 0; i < width; ++i) {
    from[i] -= row[i];
    to[i] += row[i];
  }
}

VREID_VECTORISED
float squared_norm(const float* row, int64_t width) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < width; ++i) sum += row[i] * row[i];
  return sum;
}

VREID_VECTORISED
float squared_distance(const float* a, const float* b, int64_t width) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < width; ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}

}  // namespace vreid_fast
