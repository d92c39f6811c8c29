// Random numbers as a function of (seed, row, column): the bits of kernels/counter_random.py.
#pragma once

#include <cstdint>

namespace vreid_fast {

class CounterRandom {
 public:
  explicit CounterRandom(int64_t seed) {
    const auto bits = static_cast<uint64_t>(seed);
    key_ = mix(static_cast<uint32_t>(bits) ^ mix(static_cast<uint32_t>(bits >> 32) ^ kNonzero));
  }

  // Uniform in [0, 2**32).
  uint32_t bits(uint32_t row, uint32_t column) const { return mix(mix(key_ + row) ^ mix(column)); }

  // In [0, 1), from the upper 24 bits.
  float uniform(uint32_t row, uint32_t column) const {
    return static_cast<float>(bits(row, column) >> 8) * 0x1p-24f;
  }

  // In 0..count-1.
  int64_t below(int64_t count, uint32_t row, uint32_t column) const {
    return static_cast<int64_t>((static_cast<uint64_t>(bits(row, column)) * static_cast<uint64_t>(count)) >>
                                32);
  }

 private:
  static constexpr uint32_t kNonzero = 0x9E3779B9;  // mix(0) is 0

  // The finaliser "lowbias32" (https://github.com/skeeto/hash-prospector).
  static constexpr uint32_t mix(uint32_t x) {
    x = (x ^ (x >> 16)) * 0x7FEB352D;
    x = (x ^ (x >> 15)) * 0x846CA68B;
    return x ^ (x >> 16);
  }

  uint32_t key_;
};

}  // namespace vreid_fast
