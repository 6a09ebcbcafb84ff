// What a launch and an occupancy query need from either API.
#pragma once

namespace emulated {

void on_launch(const void* function);

// Blocks of `threads` that one multiprocessor holds, by threads and blocks alone: registers and
// shared memory of a kernel that is not there are unknown.
int resident_blocks(int threads);

}  // namespace emulated
