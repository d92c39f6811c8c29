// Work on the CPU threads, and loops compiled for several instruction sets.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

// The extension is built for any x86-64; a function so marked is compiled for wider vectors as well, and
// the loader picks what the machine has.
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__gnu_linux__)
#define VREID_VECTORISED __attribute__((target_clones("default", "avx2", "avx512f")))
#else
#define VREID_VECTORISED
#endif

namespace vreid_fast {

// make_worker()(task) for each task in 0..tasks-1, on all threads: each makes a worker (its buffers) and
// takes the next task when it is free. What a task computes must not depend on the thread: then neither do
// results on the number of threads. MKL is sequential inside, since there is a parallel region (of two
// threads) even for one task. What a task throws, this throws, and no further task is begun.
template <class MakeWorker>
void share(int64_t tasks, const MakeWorker& make_worker) {
  std::atomic<int64_t> next{0};
  const int64_t threads = std::max<int64_t>(2, std::min<int64_t>(tasks, at::get_num_threads()));
  at::parallel_for(0, threads, 1, [&](int64_t, int64_t) {
    int64_t task = next++;
    if (task >= tasks) return;
    try {
      auto worker = make_worker();
      for (; task < tasks; task = next++) worker(task);
    } catch (...) {
      next = tasks;
      throw;
    }
  });
}

// work(task) for each task, without buffers and without MKL: one task alone waits for no other thread.
template <class Work>
void each(int64_t tasks, const Work& work) {
  if (tasks == 1) return work(0);
  share(tasks, [&] { return [&](int64_t task) { work(task); }; });
}

}  // namespace vreid_fast
