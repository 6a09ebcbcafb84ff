// Sums, products, minima, maxima and means, element by element in the order of the ranks.
#include "nccl_reduction.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <mutex>

namespace emulated {
namespace {

template <typename Element>
Element combined(Element a, Element b, ncclRedOp_t operation) {
  switch (operation) {
    case ncclProd:
      return a * b;
    case ncclMax:
      return std::max(a, b);
    case ncclMin:
      return std::min(a, b);
    default:  // the mean is divided at the end
      return a + b;
  }
}

template <typename Element>
std::string reduced(const std::vector<ContentPointer>& parts, ncclRedOp_t operation) {
  std::string result = parts.front()->bytes().text;
  const size_t count = result.size() / sizeof(Element);
  for (size_t i = 0; i < count; i++) {
    Element all, next;
    memcpy(&all, &result[i * sizeof all], sizeof all);
    for (size_t part = 1; part < parts.size(); part++) {
      memcpy(&next, &parts[part]->bytes().text[i * sizeof next], sizeof next);
      all = combined(all, next, operation);
    }
    if (operation == ncclAvg) all = all / static_cast<Element>(parts.size());
    memcpy(&result[i * sizeof all], &all, sizeof all);
  }
  return result;
}

// False for a type that is not computed here.
bool reduce(const std::vector<ContentPointer>& parts, ncclDataType_t type, ncclRedOp_t operation,
            std::string* result) {
  switch (type) {
    case ncclInt8:
      *result = reduced<int8_t>(parts, operation);
      return true;
    case ncclUint8:
      *result = reduced<uint8_t>(parts, operation);
      return true;
    case ncclInt32:
      *result = reduced<int32_t>(parts, operation);
      return true;
    case ncclUint32:
      *result = reduced<uint32_t>(parts, operation);
      return true;
    case ncclInt64:
      *result = reduced<int64_t>(parts, operation);
      return true;
    case ncclUint64:
      *result = reduced<uint64_t>(parts, operation);
      return true;
    case ncclFloat32:
      *result = reduced<float>(parts, operation);
      return true;
    case ncclFloat64:
      *result = reduced<double>(parts, operation);
      return true;
    default:
      return false;
  }
}

class ReducedContent : public Content {
 public:
  ReducedContent(std::vector<ContentPointer> parts, ncclDataType_t type, ncclRedOp_t operation)
      : parts_(std::move(parts)), type_(type), operation_(operation) {}

  State state() override {
    std::lock_guard<std::mutex> lock(mutex_);
    if (state_ == State::kComing) settle();
    return state_;
  }
  void await() override {
    std::vector<ContentPointer> parts;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      parts = parts_;
    }
    for (const auto& part : parts) part->await();
  }
  const KnownBytes& bytes() override { return bytes_; }
  std::string fault() override { return fault_; }

 private:
  void settle() {
    bool are_known = true;
    for (const auto& part : parts_) {
      const State state = part->state();
      if (state == State::kComing) return;
      if (state == State::kLost) {
        fault_ = part->fault();
        state_ = State::kLost;
        parts_.clear();
        return;
      }
      are_known = are_known && state == State::kKnown && part->bytes().are_all();
    }
    std::string result;
    state_ = State::kUnknown;
    if (are_known && operation_ < ncclNumOps && reduce(parts_, type_, operation_, &result)) {
      bytes_ = all_known(std::move(result));
      state_ = State::kKnown;
    }
    parts_.clear();
  }

  std::mutex mutex_;
  std::vector<ContentPointer> parts_;
  const ncclDataType_t type_;
  const ncclRedOp_t operation_;
  State state_ = State::kComing;
  KnownBytes bytes_;
  std::string fault_;
};

}  // namespace

size_t bytes_of_type(ncclDataType_t type) {
  switch (static_cast<int>(type)) {
    case ncclInt8:
    case ncclUint8:
    case 10:  // ncclFloat8e4m3 and ncclFloat8e5m2: headers before NCCL 2.24 lack the names
    case 11:
      return 1;
    case ncclFloat16:
    case 9:  // ncclBfloat16
      return 2;
    case ncclInt32:
    case ncclUint32:
    case ncclFloat32:
      return 4;
    case ncclInt64:
    case ncclUint64:
    case ncclFloat64:
      return 8;
    default:
      return 0;
  }
}

ContentPointer reduced_content(std::vector<ContentPointer> parts, ncclDataType_t type,
                               ncclRedOp_t operation) {
  return std::make_shared<ReducedContent>(std::move(parts), type, operation);
}

}  // namespace emulated
