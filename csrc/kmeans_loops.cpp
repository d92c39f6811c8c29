#include "kmeans_loops.h"

#include <ATen/Functions.h>
#include <ATen/ops/mm_cpu_dispatch.h>

#include <algorithm>

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

VREID_VECTORISED
void nearest(const float* inner, int64_t stride, int64_t clusters, const float* squares, const float* factors,
             int32_t first, int64_t samples, float* __restrict__ least, int32_t* __restrict__ labels) {
  constexpr int64_t kSpan = 1024;  // samples whose `least` and `labels` stay in the first cache
  for (int64_t begin = 0; begin < samples; begin += kSpan) {
    const int64_t end = std::min(samples, begin + kSpan);
    for (int64_t k = 0; k < clusters; ++k) {
      const float* __restrict__ row = inner + k * stride;
      const float square = squares[k], factor = factors[k];
      const int32_t label = first + static_cast<int32_t>(k);
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) {
        const float score = square + factor * row[i];
        const bool nearer = score < least[i];
        least[i] = nearer ? score : least[i];
        labels[i] = nearer ? label : labels[i];
      }
    }
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
    const bool nearer = distance < distances[i];
    distances[i] = nearer ? distance : distances[i];
    labels[i] = nearer ? label : labels[i];
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
