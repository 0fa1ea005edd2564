#include "events.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <ctime>
#include <system_error>
#include <type_traits>

namespace {

std::int64_t clock_ns(clockid_t clock) {
    timespec now;
    clock_gettime(clock, &now);
    return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

template <typename Value>
std::string json(const Value& value) {
    if constexpr (std::is_same_v<Value, bool>) {
        return value ? "true" : "false";
    } else if constexpr (std::is_same_v<Value, std::string>) {
        return '"' + value + '"';  // messages hold neither quotes nor backslashes
    } else {
        char digits[32];
        return {digits, std::to_chars(digits, digits + sizeof digits, value).ptr};
    }
}

}  // namespace

std::int64_t monotonic_ns() {
    return clock_ns(CLOCK_MONOTONIC);
}

std::int64_t unix_ns() {
    return clock_ns(CLOCK_REALTIME);
}

EventWriter::EventWriter(const std::filesystem::path& path)
    : file_(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)) {
    if (file_ < 0) throw std::system_error(errno, std::generic_category(), path.string());
}

EventWriter::~EventWriter() {
    close(file_);
}

void EventWriter::write(std::string_view kind, const std::vector<Field>& fields, std::int64_t at_ns) {
    std::string line = "{\"kind\": \"" + std::string(kind) + "\", \"at_ns\": " + std::to_string(at_ns);
    for (const auto& [name, value] : fields)
        line += ", \"" + std::string(name) + "\": " + std::visit([](const auto& held) { return json(held); }, value);
    line += "}\n";
    if (::write(file_, line.data(), line.size()) != static_cast<ssize_t>(line.size()))
        throw std::system_error(errno, std::generic_category(), "events file");
}
