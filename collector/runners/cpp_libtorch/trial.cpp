#include "trial.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <stdexcept>
#include <string_view>
#include <utility>

namespace {

using Supported = std::vector<std::pair<std::string, std::vector<std::string>>>;

const Supported kSupported = {
    {"data.format", {"idx", "cifar10_binary"}},
    {"device", {"cpu", "cuda"}},
    {"dtype", {"fp32", "tf32", "bf16"}},
    {"loader", {"resident"}},
    {"loss", {"softmax_cross_entropy"}},
    {"mode", {"train", "steps", "infer", "gate"}},
    {"model", {"mlp", "lenet5", "cnn", "keras_cnn", "resnet18", "resnet50"}},
    {"optimizer", {"sgd", "adam", "adamw"}},
    {"optimizer.schedule", {"constant", "cosine"}},
    {"variant", {"default"}},
};

std::string join(const std::vector<std::string>& words) {
    std::string joined;
    for (const auto& word : words) joined += (joined.empty() ? "" : ", ") + word;
    return joined;
}

template <typename Number>
bool parse(std::string_view text, Number& number) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    return error == std::errc() && end == text.data() + text.size();
}

// Returns what stands between each pair of quotes: strings of the contract hold no escapes.
std::vector<std::string> quoted(const std::string& raw) {
    std::vector<std::string> texts;
    for (std::size_t open = raw.find('"'); open != std::string::npos; open = raw.find('"', open + 1)) {
        const std::size_t close = raw.find('"', open + 1);
        texts.push_back(raw.substr(open + 1, close - open - 1));
        open = close;
    }
    return texts;
}

}  // namespace

Trial::Trial(const std::filesystem::path& path) : path_(path) {
    std::ifstream file(path);
    if (!file) throw std::runtime_error(path.string() + ": cannot be read; expected a trial file");
    for (std::string line; std::getline(file, line);) {
        const std::size_t middle = line.find("\": ");
        if (middle == std::string::npos) continue;  // a brace
        if (line.back() == ',') line.pop_back();
        values_[line.substr(1, middle - 1)] = line.substr(middle + 3);
    }
}

const std::string& Trial::raw(const std::string& key) const {
    const auto found = values_.find(key);
    if (found == values_.end()) throw std::runtime_error(path_.string() + ": " + key + ": is missing");
    return found->second;
}

std::string Trial::text(const std::string& key) const {
    const auto texts = quoted(raw(key));
    if (texts.size() != 1)
        throw std::runtime_error(path_.string() + ": " + key + ": got " + raw(key) + "; expected a string");
    return texts.front();
}

std::vector<std::string> Trial::texts(const std::string& key) const {
    return quoted(raw(key));
}

std::int64_t Trial::integer(const std::string& key) const {
    std::int64_t value = 0;
    if (!parse(raw(key), value))
        throw std::runtime_error(path_.string() + ": " + key + ": got " + raw(key) + "; expected an integer");
    return value;
}

double Trial::number(const std::string& key) const {
    double value = 0;
    if (!parse(raw(key), value))
        throw std::runtime_error(path_.string() + ": " + key + ": got " + raw(key) + "; expected a number");
    return value;
}

bool Trial::flag(const std::string& key) const {
    return raw(key) == "true";
}

std::vector<double> Trial::numbers(const std::string& key) const {
    std::vector<double> values;
    const std::string_view list = raw(key);
    for (std::size_t start = 1; start < list.size();) {
        const std::size_t stop = list.find_first_of(",]", start);
        if (!parse(list.substr(start, stop - start), values.emplace_back()))
            throw std::runtime_error(path_.string() + ": " + key + ": got " + raw(key) + "; expected numbers");
        start = list.find_first_not_of(' ', stop + 1);
    }
    return values;
}

Trial Trial::with(const std::string& key, const std::string& value) const {
    Trial changed = *this;
    changed.values_[key] = value;
    return changed;
}

std::string reason_unsupported(const Trial& trial) {
    for (const auto& [key, values] : kSupported) {
        const std::string asked = trial.text(key);
        if (std::find(values.begin(), values.end(), asked) == values.end())
            return key + ": got " + asked + "; this runner supports " + join(values);
    }
    return "";
}
