// The event writer: one JSON line per event, with the monotonic clock in nanoseconds.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

struct Field {
    std::string_view name;
    std::variant<std::int64_t, double, bool, std::string> value;
};

std::int64_t monotonic_ns();
std::int64_t unix_ns();

class EventWriter {
  public:
    explicit EventWriter(const std::filesystem::path& path);
    ~EventWriter();
    EventWriter(const EventWriter&) = delete;
    EventWriter& operator=(const EventWriter&) = delete;

    // The clock is read before the line is made, so that the writing lies behind the timed edge.
    void write(std::string_view kind, const std::vector<Field>& fields = {}, std::int64_t at_ns = monotonic_ns());

  private:
    int file_;  // unbuffered: a line is with the kernel when `write` returns
};
