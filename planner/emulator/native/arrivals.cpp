// Contents on their way, in lists for each stream and event. Empty where no other rank exists.
#include "arrivals.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <vector>

#include "status.h"

namespace emulated::arrivals {
namespace {

using List = std::vector<ContentPointer>;

std::atomic<bool> g_any{false};

std::mutex& lists_mutex() {
  static auto* mutex = new std::mutex();
  return *mutex;
}

std::map<const void*, List>& lists() {
  static auto* all = new std::map<const void*, List>();
  return *all;
}

using Lock = std::lock_guard<std::mutex>;

void drop_what_came(List& list) {
  list.erase(std::remove_if(list.begin(), list.end(),
                            [](const ContentPointer& content) {
                              const auto state = content->state();
                              return state == Content::State::kKnown ||
                                     state == Content::State::kUnknown;
                            }),
             list.end());
}

void append(List& list, const List& more) {
  drop_what_came(list);
  for (const auto& content : more) {
    if (std::find(list.begin(), list.end(), content) == list.end()) list.push_back(content);
  }
}

List taken(const void* key) {
  Lock lock(lists_mutex());
  auto it = lists().find(key);
  if (it == lists().end()) return {};
  List list = std::move(it->second);
  lists().erase(it);
  return list;
}

cudaError_t await(const List& list) {
  bool is_lost = false;
  for (const auto& content : list) {
    content->await();
    is_lost = is_lost || content->state() == Content::State::kLost;
  }
  return is_lost ? report(cudaErrorExternalDevice) : cudaSuccess;
}

}  // namespace

void add(cudaStream_t stream, const ContentPointer& content) {
  Lock lock(lists_mutex());
  g_any.store(true);
  append(lists()[stream], {content});
}

void record(cudaEvent_t event, cudaStream_t stream) {
  if (!g_any.load()) return;
  Lock lock(lists_mutex());
  lists().erase(event);
  auto it = lists().find(stream);
  if (it == lists().end()) return;
  drop_what_came(it->second);
  if (it->second.empty()) return;
  const List now = it->second;
  lists()[event] = now;
}

void wait(cudaStream_t stream, cudaEvent_t event) {
  if (!g_any.load()) return;
  Lock lock(lists_mutex());
  auto it = lists().find(event);
  if (it == lists().end()) return;
  const List now = it->second;
  append(lists()[stream], now);
}

void forget(const void* stream_or_event) {
  if (!g_any.load()) return;
  taken(stream_or_event);
}

cudaError_t query(const void* stream_or_event) {
  if (!g_any.load()) return cudaSuccess;
  Lock lock(lists_mutex());
  auto it = lists().find(stream_or_event);
  if (it == lists().end()) return cudaSuccess;
  drop_what_came(it->second);
  return it->second.empty() ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t synchronize(const void* stream_or_event) {
  if (!g_any.load()) return cudaSuccess;
  return await(taken(stream_or_event));
}

cudaError_t synchronize_all() {
  if (!g_any.load()) return cudaSuccess;
  List all;
  {
    Lock lock(lists_mutex());
    for (auto& [key, list] : lists()) append(all, list);
    lists().clear();
  }
  return await(all);
}

}  // namespace emulated::arrivals
