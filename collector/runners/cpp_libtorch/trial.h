// The trial file: one flat JSON object, one key a line, whose keys are those of the contract, section 1.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

class Trial {
  public:
    explicit Trial(const std::filesystem::path& path);

    std::string text(const std::string& key) const;
    std::int64_t integer(const std::string& key) const;
    double number(const std::string& key) const;
    bool flag(const std::string& key) const;
    std::vector<double> numbers(const std::string& key) const;
    std::vector<std::string> texts(const std::string& key) const;

    // Returns the same trial with another value for one key.
    Trial with(const std::string& key, const std::string& value) const;

  private:
    const std::string& raw(const std::string& key) const;

    std::filesystem::path path_;
    std::map<std::string, std::string> values_;  // as they stand in the file
};

// Returns why this runner cannot do a trial, or an empty string.
std::string reason_unsupported(const Trial& trial);
