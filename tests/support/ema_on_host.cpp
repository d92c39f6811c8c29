// Runs csrc/ema_chunk.h on the host, a thread at a time: sizes, alignments, types and copies against the
// formula, element by element. Prints what differs; the exit status is 1 then.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

// What CUDA gives to the header.
#define __device__
static struct {
  int x;
} threadIdx;
using std::min;

static uint32_t bits_of(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

static float float_of(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// Two types of two bytes, the upper half of a float. `__half` is rounded to other numbers, to be told apart.
struct __nv_bfloat16 {
  uint16_t bits;
};
struct __half {
  uint16_t bits;
};
static float __bfloat162float(__nv_bfloat16 value) { return float_of(uint32_t{value.bits} << 16); }
static float __half2float(__half value) { return float_of(uint32_t{value.bits} << 16); }
static __nv_bfloat16 __float2bfloat16(float value) {
  return {static_cast<uint16_t>((bits_of(value) + 0x8000) >> 16)};
}
static __half __float2half(float value) { return {static_cast<uint16_t>(bits_of(value) >> 16)}; }
static uint16_t __bfloat16_as_ushort(__nv_bfloat16 value) { return value.bits; }
static uint16_t __half_as_ushort(__half value) { return value.bits; }

#include "ema_chunk.h"

using namespace vreid_fast;

template <class T>
constexpr Element kElement = std::is_same_v<T, float>           ? Element::float32
                             : std::is_same_v<T, double>        ? Element::float64
                             : std::is_same_v<T, __half>        ? Element::float16
                             : std::is_same_v<T, __nv_bfloat16> ? Element::bfloat16
                                                                : Element::bytes;

static std::mt19937 numbers;
static int wrong = 0;

// `size` elements from `offset` on, in memory that reaches beyond them on both sides.
template <class T>
std::vector<T> drawn(int size, int offset) {
  std::vector<T> values(offset + size + 64);
  for (T& value : values) {
    if constexpr (std::is_same_v<T, uint8_t>) {
      value = static_cast<uint8_t>(numbers());
    } else {
      value = narrow<T>(std::normal_distribution<float>()(numbers));
    }
  }
  return values;
}

template <class T>
bool same(T one, T other) {
  return std::memcmp(&one, &other, sizeof(T)) == 0;
}

// The formula, with no more than the types of either side.
template <class T, class S>
T expected(T teacher, S student, double weight) {
  if constexpr (std::is_same_v<T, uint8_t>) {
    return student;
  } else {
    auto t = widen(teacher);
    auto s = widen(student);
    if constexpr (std::is_same_v<T, double> || std::is_same_v<S, double>) {
      return narrow<T>(static_cast<double>(t) + weight * (static_cast<double>(s) - static_cast<double>(t)));
    } else {
      return narrow<T>(t + static_cast<float>(weight) * (s - t));
    }
  }
}

template <class T, class S, class C>
void try_one(int size, int offset) {
  constexpr double kWeight = 0.3;
  constexpr bool kCopied = !std::is_same_v<C, void>;
  using Copy = std::conditional_t<kCopied, C, uint8_t>;
  std::vector<T> teacher = drawn<T>(size, offset);
  const std::vector<T> before = teacher;
  const std::vector<S> student = drawn<S>(size, offset);
  std::vector<Copy> copy = drawn<Copy>(size, offset);
  const std::vector<Copy> copy_before = copy;
  const EmaPair pair{teacher.data() + offset,
                     student.data() + offset,
                     kCopied ? copy.data() + offset : nullptr,
                     size,
                     kElement<T>,
                     kElement<S>,
                     kElement<Copy>,
                     false};
  for (int64_t begin = 0; begin < size; begin += kChunk) {
    for (threadIdx.x = 0; threadIdx.x < kThreads; ++threadIdx.x) update<T, S>(pair, begin, kWeight);
  }
  for (int i = 0; i < static_cast<int>(teacher.size()); ++i) {
    const bool inside = i >= offset && i < offset + size;
    const T wanted = inside ? expected(before[i], student[i], kWeight) : before[i];
    bool right = same(teacher[i], wanted);
    if constexpr (kCopied && !std::is_same_v<T, uint8_t>) {
      right = right && same(copy[i], inside ? narrow<Copy>(widen(wanted)) : copy_before[i]);
    }
    if (!right && wrong++ < 10) {
      std::printf("element %d of %d from %d on, types %d %d %d\n", i, size, offset,
                  static_cast<int>(kElement<T>), static_cast<int>(kElement<S>),
                  static_cast<int>(kElement<Copy>));
    }
  }
}

template <class T, class S>
void try_copies(int size, int offset) {
  try_one<T, S, void>(size, offset);
  try_one<T, S, float>(size, offset);
  try_one<T, S, double>(size, offset);
  try_one<T, S, __half>(size, offset);
  try_one<T, S, __nv_bfloat16>(size, offset);
}

int main() {
  for (const int size : {1, 3, 4, 5, 8, 63, 255, 256, 257, 1000, 1024, 2048, 4095, 4096, 4097, 8192, 9408}) {
    for (const int offset : {0, 1, 4}) {
      try_copies<float, float>(size, offset);
      try_copies<float, __nv_bfloat16>(size, offset);
      try_copies<float, double>(size, offset);
      try_copies<double, float>(size, offset);
      try_copies<__half, float>(size, offset);
      try_copies<__nv_bfloat16, __nv_bfloat16>(size, offset);
      try_one<uint8_t, uint8_t, void>(size, offset);
    }
  }
  std::printf("%d wrong\n", wrong);
  return wrong != 0;
}
