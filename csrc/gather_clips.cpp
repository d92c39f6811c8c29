// vreid_fast::gather_clips_cpu_: schema, checks and CPU kernel.
#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>
#include <torch/csrc/autograd/autograd_not_implemented_fallback.h>
#include <torch/library.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <vector>

#include "check.h"
#include "parallel.h"

namespace vreid_fast {
namespace {

using at::Tensor;

constexpr const char* kOp = "gather_clips";
constexpr int64_t kColours = 3;

// Round to nearest, ties to even, in integers that the compiler vectorises; finite values only.
inline uint16_t bfloat16_bits(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// A row of interleaved colours; mean and scale (1 / std) are repeated along it.
VREID_VECTORISED void normalise(const uint8_t* row, const float* mean, const float* scale, int64_t values,
                                float* out) {
  for (int64_t i = 0; i < values; ++i) out[i] = (static_cast<float>(row[i]) - mean[i]) * scale[i];
}

VREID_VECTORISED void split_colours(const float* row, int64_t pixels, float* red, float* green, float* blue) {
  for (int64_t x = 0; x < pixels; ++x) {
    red[x] = row[kColours * x];
    green[x] = row[kColours * x + 1];
    blue[x] = row[kColours * x + 2];
  }
}

VREID_VECTORISED void narrow(const float* values, int64_t count, uint16_t* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = bfloat16_bits(values[i]);
}

inline void convert(const float* values, int64_t count, float* out) {
  std::memcpy(out, values, static_cast<size_t>(count) * sizeof(float));
}
inline void convert(const float* values, int64_t count, c10::BFloat16* out) {
  narrow(values, count, reinterpret_cast<uint16_t*>(out));
}
inline void convert(const float* values, int64_t count, c10::Half* out) { std::copy_n(values, count, out); }

// One clip's row of `augmentations`; see kernels/gather_clips.py.
struct Augmentation {
  int64_t flip, down, right, top, left, height, width;
  explicit Augmentation(const int32_t* row)
      : flip(row[0]), down(row[1]), right(row[2]), top(row[3]), left(row[4]), height(row[5]), width(row[6]) {}
};

// What a kernel needs, all contiguous but the clips' colours.
struct Job {
  const uint8_t* frames;         // (N, H, W, 3)
  const int64_t* rows;           // (B, T)
  const int32_t* augmentations;  // (B, 7)
  int64_t clips, length, height, width;
  at::ArrayRef<double> mean, std;
  bool channels_last, parallel;
};

// Writes frames; holds buffers of one row.
template <class Number>
class FrameWriter {
 public:
  explicit FrameWriter(const Job& job)
      : height_(job.height),
        width_(job.width),
        channels_last_(job.channels_last),
        flipped_(static_cast<size_t>(kColours * width_)),
        mean_(flipped_.size()),
        scale_(flipped_.size()),
        values_(flipped_.size()),
        planes_(flipped_.size()) {
    for (size_t i = 0; i < flipped_.size(); ++i) {
      mean_[i] = static_cast<float>(job.mean[i % kColours]);
      scale_[i] = static_cast<float>(1 / job.std[i % kColours]);
    }
  }

  // frame: (H, W, 3) uint8; out: (3, H, W), or (H, W, 3) in memory where channels_last.
  void operator()(const uint8_t* frame, const Augmentation& how, Number* out) {
    const int64_t first = std::clamp<int64_t>(-how.right, 0, width_);
    const int64_t last = std::clamp<int64_t>(width_ - how.right, first, width_);
    for (int64_t y = 0; y < height_; ++y) {
      const int64_t from = y + how.down;
      if (from < 0 || from >= height_ || first == last) {
        clear(out, y, 0, width_);
        continue;
      }
      const uint8_t* row = frame + from * width_ * kColours;
      if (how.flip) row = flip(row);
      normalise(row + (first + how.right) * kColours, mean_.data(), scale_.data(), (last - first) * kColours,
                values_.data());
      write(out, y, first, last);
      clear(out, y, 0, first);
      clear(out, y, last, width_);
      if (y >= how.top && y < how.top + how.height) {
        const int64_t left = std::clamp<int64_t>(how.left, 0, width_);
        clear(out, y, left, std::clamp<int64_t>(how.left + how.width, left, width_));
      }
    }
  }

 private:
  const uint8_t* flip(const uint8_t* row) {
    for (int64_t x = 0; x < width_; ++x)
      std::memcpy(&flipped_[kColours * x], row + kColours * (width_ - 1 - x), kColours);
    return flipped_.data();
  }

  void write(Number* out, int64_t y, int64_t first, int64_t last) {
    const int64_t pixels = last - first;
    if (channels_last_) {
      convert(values_.data(), pixels * kColours, out + (y * width_ + first) * kColours);
      return;
    }
    float* plane = planes_.data();
    split_colours(values_.data(), pixels, plane, plane + width_, plane + 2 * width_);
    for (int64_t c = 0; c < kColours; ++c)
      convert(plane + c * width_, pixels, out + (c * height_ + y) * width_ + first);
  }

  void clear(Number* out, int64_t y, int64_t first, int64_t last) {
    const auto zero = [&](Number* begin, int64_t count) { std::fill_n(begin, count, Number(0)); };
    if (channels_last_) return zero(out + (y * width_ + first) * kColours, (last - first) * kColours);
    for (int64_t c = 0; c < kColours; ++c) zero(out + (c * height_ + y) * width_ + first, last - first);
  }

  int64_t height_, width_;
  bool channels_last_;
  std::vector<uint8_t> flipped_;
  std::vector<float> mean_, scale_, values_, planes_;
};

// clips (B, T, 3, H, W), contiguous or with the colours innermost.
bool is_channels_last(const Tensor& clips) { return clips.permute({0, 1, 3, 4, 2}).is_contiguous(); }

void check(const Tensor& clips, const Tensor& frames, const Tensor& rows, const Tensor& augmentations,
           at::ArrayRef<double> mean, at::ArrayRef<double> std) {
  check_widened(kOp, "clips", clips);
  TORCH_CHECK_VALUE(frames.dim() == 4 && frames.size(3) == kColours && frames.scalar_type() == at::kByte, kOp,
                    ": frames must be (N, H, W, 3) uint8, got ", frames.sizes(), " ",
                    dtype_name(frames.scalar_type()));
  TORCH_CHECK_VALUE(rows.dim() == 2 && rows.scalar_type() == at::kLong, kOp,
                    ": rows must be (B, T) int64, got ", rows.sizes(), " ", dtype_name(rows.scalar_type()));
  const std::array<int64_t, 5> wanted{rows.size(0), rows.size(1), kColours, frames.size(1), frames.size(2)};
  TORCH_CHECK_VALUE(clips.sizes() == at::IntArrayRef(wanted), kOp, ": clips must be ",
                    at::IntArrayRef(wanted), ", got ", clips.sizes());
  TORCH_CHECK_VALUE(clips.is_contiguous() || is_channels_last(clips), kOp,
                    ": clips must be contiguous or have the colours innermost, got strides ",
                    clips.strides());
  TORCH_CHECK_VALUE(augmentations.dim() == 2 && augmentations.size(0) == rows.size(0) &&
                        augmentations.size(1) == 7 && augmentations.scalar_type() == at::kInt,
                    kOp, ": augmentations must be (", rows.size(0), ", 7) int32, got ", augmentations.sizes(),
                    " ", dtype_name(augmentations.scalar_type()));
  TORCH_CHECK_VALUE(mean.size() == kColours && std.size() == kColours, kOp,
                    ": mean and std must be 3 numbers");
}

template <class Number>
void run(const Job& job, Number* out) {
  const int64_t size = job.height * job.width * kColours;
  // One worker a task of some clips: its row buffers are made once.
  at::parallel_for(0, job.clips, job.parallel ? 1 : job.clips, [&](int64_t begin, int64_t end) {
    FrameWriter<Number> write(job);
    for (int64_t clip = begin; clip < end; ++clip) {
      const Augmentation how(job.augmentations + clip * 7);
      for (int64_t t = 0; t < job.length; ++t) {
        const int64_t place = clip * job.length + t;
        write(job.frames + job.rows[place] * size, how, out + place * size);
      }
    }
  });
}

void gather(const Tensor& clips, const Tensor& frames, const Tensor& rows, const Tensor& augmentations,
            at::ArrayRef<double> mean, at::ArrayRef<double> std, bool parallel) {
  check(clips, frames, rows, augmentations, mean, std);
  const Tensor source = frames.contiguous(), numbers = rows.contiguous(), drawn = augmentations.contiguous();
  const int64_t* number = numbers.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < numbers.numel(); ++i)
    TORCH_CHECK_INDEX(number[i] >= 0 && number[i] < frames.size(0), kOp, ": rows must be 0 to ",
                      frames.size(0) - 1, ", got ", number[i]);
  if (clips.numel() == 0) return;
  const Job job{source.const_data_ptr<uint8_t>(),
                number,
                drawn.const_data_ptr<int32_t>(),
                rows.size(0),
                rows.size(1),
                frames.size(1),
                frames.size(2),
                mean,
                std,
                !clips.is_contiguous(),
                parallel};
  switch (clips.scalar_type()) {
    case at::kBFloat16:
      return run(job, clips.mutable_data_ptr<c10::BFloat16>());
    case at::kHalf:
      return run(job, clips.mutable_data_ptr<c10::Half>());
    default:
      return run(job, clips.mutable_data_ptr<float>());
  }
}

void gather_on_meta(const Tensor&, const Tensor&, const Tensor&, const Tensor&, at::ArrayRef<double>,
                    at::ArrayRef<double>, bool) {}

}  // namespace

TORCH_LIBRARY_FRAGMENT(vreid_fast, m) {
  m.def(
      "gather_clips_cpu_(Tensor(a!) clips, Tensor frames, Tensor rows, Tensor augmentations, float[] mean, "
      "float[] std, bool parallel) -> ()");
}

TORCH_LIBRARY_IMPL(vreid_fast, CPU, m) { m.impl("gather_clips_cpu_", &gather); }
TORCH_LIBRARY_IMPL(vreid_fast, Meta, m) { m.impl("gather_clips_cpu_", &gather_on_meta); }
TORCH_LIBRARY_IMPL(vreid_fast, Autograd, m) {
  m.impl("gather_clips_cpu_", torch::autograd::autogradNotImplementedFallback());
}

}  // namespace vreid_fast
