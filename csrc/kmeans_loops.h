// The inner loops of k-means on the CPU, over dense float32 memory.
#pragma once

#include <cstdint>

namespace vreid_fast {

// Samples whose distances are summed in float32; such sums are added in float64.
constexpr int64_t kBlock = 256;

// out[i][j] = a[i] . b[j] for a (rows, width) and b (columns, width); rows of `out` are `stride` apart.
void inner_products(const float* a, int64_t rows, const float* b, int64_t columns, int64_t width, float* out,
                    int64_t stride);

// For each sample the least of squares[k] + factors[k] * inner[k][sample], where rows of `inner` are `stride`
// apart, and its k, of equals the lowest. NaN is never the least; infinity and 0 where there is nothing else.
void nearest(const float* inner, int64_t stride, int64_t clusters, const float* squares, const float* factors,
             int64_t samples, float* scores, int32_t* labels);

// The same of squares[k] - 2 * inner[sample][k] over k in 0..padded-1, where what is padded, to a multiple of
// kLanes, has a square of infinity (and of `inner` anything readable); taken over into `scores` and `labels`
// (as first + k) where it is less than what they hold.
constexpr int64_t kLanes = 16;
void nearest_in_rows(const float* inner, int64_t stride, int64_t samples, const float* squares,
                     int64_t padded, int32_t first, float* scores, int32_t* labels);

// distances[i] = max(0, scores[i] + squares[i]); NaN stays.
void to_distances(const float* scores, const float* squares, int64_t samples, float* distances);

// The sum over up to kBlock samples of min(distances[i], |x[i] - x[picked]|^2), from inner[i] = x[i] .
// x[picked] and the squares of the samples.
float sum_nearer(const float* inner, float square, const float* squares, const float* distances,
                 int64_t samples);

// The same, written to `distances`, with `label` in `labels` where it is nearer.
float take_nearer(const float* inner, float square, const float* squares, int32_t label, int64_t samples,
                  float* distances, int32_t* labels);

// sums[i] += a[i] + b[i] + c[i] + d[i]
void add_four(const float* a, const float* b, const float* c, const float* d, int64_t width, float* sums);

// to[i] += row[i]
void add_row(const float* row, int64_t width, float* to);
void add_row(const float* row, int64_t width, double* to);

// out[i] = row[i] - shift[i]
void subtract(const float* row, const float* shift, int64_t width, float* out);

// from[i] -= row[i]; to[i] += row[i]
void move_row(const float* row, int64_t width, float* from, float* to);

float squared_norm(const float* row, int64_t width);
float squared_distance(const float* a, const float* b, int64_t width);

}  // namespace vreid_fast
