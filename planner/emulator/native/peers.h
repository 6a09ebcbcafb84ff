// Letters between the processes of this machine that play the ranks of a job.
//
// Each process listens on an abstract unix socket under a random name, and connects to each peer in
// one direction: letters of one process to another arrive in order. A thread takes them in, so that
// no sender waits for long, and sees when a peer has ended. Nothing of it is left on the machine.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "contents.h"

namespace emulated::peers {

using Name = std::array<unsigned char, 16>;
constexpr Name kAnybody{};

enum class Channel : int32_t { kJoin, kTable, kSplit, kCollective, kPointToPoint };

// Letters of one route are taken in the order in which they were sent.
struct Route {
  uint64_t communicator = 0;
  int32_t source = 0;  // rank
  Channel channel = Channel::kCollective;
};

struct Letter {
  int32_t kind = 0;    // of the operation; both sides must mean the same
  uint64_t bytes = 0;  // of the operation; the same
  KnownBytes content;  // empty if none of them is known
};

// Random bytes for names that no other process has.
void draw(void* bytes, size_t size);

Name own_name();
// Connects to a peer; false if it has ended.
bool meet(const Name& peer);
// Returns when the letter is in the peer's hands; false if it has ended.
bool send(const Name& peer, const Route& route, const Letter& letter);
// The next letter of the route that nobody has expected yet. It is lost if the peer ends before it
// has sent it, or if it means another operation.
ContentPointer expect(const Name& peer, const Route& route, int32_t kind, uint64_t bytes);
// Waits for a letter; false if it did not come in that time. For peers whose name is not known.
bool await(const ContentPointer& letter, int seconds);
// Nobody waits any more for letters of this communicator.
void close(uint64_t communicator);

}  // namespace emulated::peers
