// The post office of a process: its sockets, the thread that takes letters in, and the boxes that
// hold letters which nobody expects yet, and expectations whose letter has not come.
#include "peers.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <thread>
#include <tuple>
#include <vector>

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace emulated::peers {
namespace {

struct Header {
  uint64_t communicator;
  int32_t source;
  int32_t channel;
  int32_t kind;
  int32_t spans;
  uint64_t bytes;
  uint64_t text_bytes;
};

struct RouteOrder {
  bool operator()(const Route& a, const Route& b) const {
    return std::tie(a.communicator, a.source, a.channel) <
           std::tie(b.communicator, b.source, b.channel);
  }
};

sockaddr_un address_of(const Name& name, socklen_t* size) {
  static const char kHex[] = "0123456789abcdef";
  std::string text = "vram-planner-nccl-";
  for (unsigned char byte : name) {
    text += kHex[byte >> 4];
    text += kHex[byte & 15];
  }
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path + 1, text.data(), text.size());  // the first byte 0: abstract
  *size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + text.size());
  return address;
}

// Guards everything here but writing to a connection. A thread that waits for a letter waits on the
// condition.
struct Guard {
  std::mutex mutex;
  std::condition_variable changed;
};
using Lock = std::unique_lock<std::mutex>;

class Arrival : public Content {
 public:
  Arrival(std::shared_ptr<Guard> guard, const Name& peer, const Route& route, int32_t kind,
          uint64_t bytes)
      : guard_(std::move(guard)), peer_(peer), route_(route), kind_(kind), bytes_wanted_(bytes) {}

  State state() override {
    Lock lock(guard_->mutex);
    return state_;
  }
  void await() override {
    Lock lock(guard_->mutex);
    guard_->changed.wait(lock, [this] { return state_ != State::kComing; });
  }
  bool await_for(int seconds) {
    Lock lock(guard_->mutex);
    return guard_->changed.wait_for(lock, std::chrono::seconds(seconds),
                                    [this] { return state_ != State::kComing; });
  }
  const KnownBytes& bytes() override { return content_; }
  std::string fault() override {
    Lock lock(guard_->mutex);
    return fault_;
  }

  // With the lock held.
  const Name& peer() const { return peer_; }
  void take(Letter letter) {
    if (letter.kind != kind_ || letter.bytes != bytes_wanted_) {
      lose("rank " + std::to_string(route_.source) + " has sent operation " +
           std::to_string(letter.kind) + " of " + std::to_string(letter.bytes) +
           " bytes, and operation " + std::to_string(kind_) + " of " +
           std::to_string(bytes_wanted_) + " bytes was expected");
      return;
    }
    content_ = std::move(letter.content);
    state_ = content_.spans.empty() ? State::kUnknown : State::kKnown;
  }
  void lose(std::string fault) {
    state_ = State::kLost;
    fault_ = std::move(fault);
  }
  void lose_peer() { lose("the process of rank " + std::to_string(route_.source) + " has ended"); }
  void give_up() { state_ = State::kUnknown; }

 private:
  const std::shared_ptr<Guard> guard_;
  const Name peer_;
  const Route route_;
  const int32_t kind_;
  const uint64_t bytes_wanted_;
  State state_ = State::kComing;
  KnownBytes content_;
  std::string fault_;
};

// To one peer. `has_ended` is guarded like all else, writing by a mutex of its own: a peer whose
// buffers are full must not keep our own letters from being taken in.
struct Connection {
  int socket = -1;
  bool has_ended = false;
  std::mutex writing;
};

struct Incoming {
  int socket = -1;
  std::string unread;
};

struct Box {
  std::deque<Letter> letters;
  std::deque<std::shared_ptr<Arrival>> expected;
};

bool write_all(int socket, const char* data, size_t size) {
  while (size > 0) {
    const ssize_t written = ::send(socket, data, size, MSG_NOSIGNAL);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    data += written;
    size -= static_cast<size_t>(written);
  }
  return true;
}

class Office {
 public:
  Office() {
    draw(name.data(), name.size());
    listener_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    socklen_t size = 0;
    const sockaddr_un address = address_of(name, &size);
    bind(listener_, reinterpret_cast<const sockaddr*>(&address), size);
    listen(listener_, 1024);
    wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    sigset_t all, before;
    sigfillset(&all);  // signals go to the threads of the program
    pthread_sigmask(SIG_BLOCK, &all, &before);
    std::thread([this] { run(); }).detach();
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  Name name{};
  const std::shared_ptr<Guard> guard = std::make_shared<Guard>();

  std::shared_ptr<Connection> connection(const Name& peer) {
    Lock lock(guard->mutex);
    auto& found = outgoing_[peer];
    if (found) return found;
    found = std::make_shared<Connection>();
    found->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t size = 0;
    const sockaddr_un address = address_of(peer, &size);
    int done;
    do {
      done = connect(found->socket, reinterpret_cast<const sockaddr*>(&address), size);
    } while (done != 0 && errno == EINTR);
    found->has_ended = done != 0;
    const uint64_t one = 1;
    if (::write(wake_, &one, sizeof one) < 0) return found;  // it is awake already
    return found;
  }

  bool has_ended(const Connection& connection) {
    Lock lock(guard->mutex);
    return connection.has_ended;
  }

  void deliver(const Route& route, Letter letter) {
    Lock lock(guard->mutex);
    boxes_[route].letters.push_back(std::move(letter));
    match(route);
    guard->changed.notify_all();
  }

  ContentPointer expect(const Name& peer, const Route& route, int32_t kind, uint64_t bytes) {
    auto arrival = std::make_shared<Arrival>(guard, peer, route, kind, bytes);
    Lock lock(guard->mutex);
    boxes_[route].expected.push_back(arrival);
    match(route);
    if (is_gone(peer)) lose_letters_of(peer);
    return arrival;
  }

  void close(uint64_t communicator) {
    Lock lock(guard->mutex);
    for (auto it = boxes_.begin(); it != boxes_.end();) {
      if (it->first.communicator != communicator) {
        ++it;
        continue;
      }
      for (auto& arrival : it->second.expected) arrival->give_up();
      it = boxes_.erase(it);
    }
    guard->changed.notify_all();
  }

  // In a child after fork: the sockets are the parent's, and it must be seen when that ends.
  void abandon() {
    ::close(listener_);
    ::close(wake_);
    for (auto& incoming : incoming_) ::close(incoming.socket);
    for (auto& [peer, connection] : outgoing_) ::close(connection->socket);
    for (auto& [route, box] : boxes_)
      for (auto& arrival : box.expected) arrival->give_up();
  }

 private:
  bool is_gone(const Name& peer) {
    auto it = outgoing_.find(peer);
    return it != outgoing_.end() && it->second->has_ended;
  }

  void match(const Route& route) {
    auto it = boxes_.find(route);
    Box& box = it->second;
    while (!box.letters.empty() && !box.expected.empty()) {
      box.expected.front()->take(std::move(box.letters.front()));
      box.letters.pop_front();
      box.expected.pop_front();
    }
    if (box.letters.empty() && box.expected.empty()) boxes_.erase(it);
  }

  void lose_letters_of(const Name& peer) {
    for (auto it = boxes_.begin(); it != boxes_.end();) {
      auto& expected = it->second.expected;
      const auto of_peer = [&](const auto& arrival) { return arrival->peer() == peer; };
      for (auto& arrival : expected)
        if (of_peer(arrival)) arrival->lose_peer();
      expected.erase(std::remove_if(expected.begin(), expected.end(), of_peer), expected.end());
      const bool is_empty = expected.empty() && it->second.letters.empty();
      it = is_empty ? boxes_.erase(it) : std::next(it);
    }
    guard->changed.notify_all();
  }

  void run() {
    for (;;) {
      std::vector<pollfd> watched = watched_sockets();
      if (poll(watched.data(), watched.size(), -1) < 0 && errno != EINTR) return;
      uint64_t times;
      while (::read(wake_, &times, sizeof times) > 0) {
      }
      Lock lock(guard->mutex);
      take_letters();
      see_who_has_ended();
    }
  }

  std::vector<pollfd> watched_sockets() {
    Lock lock(guard->mutex);
    std::vector<pollfd> watched{{listener_, POLLIN, 0}, {wake_, POLLIN, 0}};
    for (const auto& incoming : incoming_) watched.push_back({incoming.socket, POLLIN, 0});
    for (const auto& [peer, connection] : outgoing_)
      if (!connection->has_ended) watched.push_back({connection->socket, 0, 0});
    return watched;
  }

  void take_letters() {
    for (;;) {
      const int socket = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
      if (socket < 0) break;
      incoming_.push_back({socket, {}});
    }
    for (auto it = incoming_.begin(); it != incoming_.end();)
      it = take_from(*it) ? std::next(it) : incoming_.erase(it);
    guard->changed.notify_all();
  }

  // False once the peer has closed its end.
  bool take_from(Incoming& incoming) {
    static char buffer[1 << 18];
    for (;;) {
      const ssize_t got = recv(incoming.socket, buffer, sizeof buffer, 0);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return true;
      if (got <= 0) {
        ::close(incoming.socket);
        return false;
      }
      incoming.unread.append(buffer, static_cast<size_t>(got));
      open_letters(incoming.unread);
    }
  }

  void open_letters(std::string& unread) {
    size_t begin = 0;
    Header header;
    while (unread.size() - begin >= sizeof header) {
      memcpy(&header, unread.data() + begin, sizeof header);
      const size_t spans_bytes = header.spans * sizeof(Span);
      if (unread.size() - begin - sizeof header < spans_bytes + header.text_bytes) break;
      begin += sizeof header;
      Letter letter{header.kind, header.bytes, {}};
      letter.content.spans.resize(header.spans);
      memcpy(letter.content.spans.data(), unread.data() + begin, spans_bytes);
      begin += spans_bytes;
      letter.content.text = unread.substr(begin, header.text_bytes);
      begin += header.text_bytes;
      const Route route{header.communicator, header.source, static_cast<Channel>(header.channel)};
      boxes_[route].letters.push_back(std::move(letter));
      match(route);
    }
    unread.erase(0, begin);
  }

  // What a peer had sent before it ended is in our buffers by then: it is taken first.
  void see_who_has_ended() {
    std::vector<Name> ended;
    for (auto& [peer, connection] : outgoing_) {
      pollfd watched{connection->socket, 0, 0};
      if (connection->has_ended || poll(&watched, 1, 0) <= 0) continue;
      connection->has_ended = true;
      ended.push_back(peer);
    }
    if (ended.empty()) return;
    take_letters();
    for (const Name& peer : ended) lose_letters_of(peer);
  }

  int listener_ = -1;
  int wake_ = -1;
  std::map<Name, std::shared_ptr<Connection>> outgoing_;
  std::vector<Incoming> incoming_;
  std::map<Route, Box, RouteOrder> boxes_;
};

Office* g_office = nullptr;

std::mutex& office_mutex() {
  static auto* mutex = new std::mutex();
  return *mutex;
}

// A child has no postman: it begins anew, under another name.
void before_fork() {
  office_mutex().lock();
  if (g_office) g_office->guard->mutex.lock();
}
void in_parent() {
  if (g_office) g_office->guard->mutex.unlock();
  office_mutex().unlock();
}
void in_child() {
  if (g_office) {
    g_office->abandon();
    g_office->guard->mutex.unlock();
  }
  g_office = nullptr;  // leaked: its thread is not in this process
  office_mutex().unlock();
}

Office& office() {
  std::lock_guard<std::mutex> lock(office_mutex());
  static const int registered = pthread_atfork(before_fork, in_parent, in_child);
  (void)registered;
  if (!g_office) g_office = new Office();
  return *g_office;
}

}  // namespace

void draw(void* bytes, size_t size) {
  auto* begin = static_cast<char*>(bytes);
  while (size > 0) {
    const ssize_t got = getrandom(begin, size, 0);
    if (got < 0) continue;  // interrupted
    begin += got;
    size -= static_cast<size_t>(got);
  }
}

Name own_name() { return office().name; }

bool meet(const Name& peer) {
  if (peer == own_name()) return true;
  const auto connection = office().connection(peer);
  return !office().has_ended(*connection);
}

bool send(const Name& peer, const Route& route, const Letter& letter) {
  if (peer == own_name()) {
    office().deliver(route, letter);
    return true;
  }
  const auto connection = office().connection(peer);
  if (office().has_ended(*connection)) return false;
  const auto& [text, spans] = letter.content;
  const Header header{route.communicator,
                      route.source,
                      static_cast<int32_t>(route.channel),
                      letter.kind,
                      static_cast<int32_t>(spans.size()),
                      letter.bytes,
                      text.size()};
  std::string whole(reinterpret_cast<const char*>(&header), sizeof header);
  whole.append(reinterpret_cast<const char*>(spans.data()), spans.size() * sizeof(Span));
  whole += text;
  std::lock_guard<std::mutex> lock(connection->writing);
  return write_all(connection->socket, whole.data(), whole.size());
}

ContentPointer expect(const Name& peer, const Route& route, int32_t kind, uint64_t bytes) {
  return office().expect(peer, route, kind, bytes);
}

bool await(const ContentPointer& letter, int seconds) {
  return std::static_pointer_cast<Arrival>(letter)->await_for(seconds);
}

void close(uint64_t communicator) { office().close(communicator); }

}  // namespace emulated::peers
