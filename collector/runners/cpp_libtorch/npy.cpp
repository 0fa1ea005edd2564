#include "npy.h"

#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

const std::string kMagic{"\x93NUMPY\x01\x00", 8};
constexpr std::size_t kPrefixBytes = 10;  // the magic string and the header's length
constexpr std::size_t kAlignment = 64;

struct Type {
    const char* descr;
    torch::ScalarType type;
};
constexpr Type kTypes[] = {{"'<f4'", torch::kFloat32}, {"'<f8'", torch::kFloat64}, {"'<i4'", torch::kInt32}};

std::vector<std::int64_t> shape_of(const std::string& header) {
    const std::size_t open = header.find('('), close = header.find(')');
    std::vector<std::int64_t> shape;
    for (std::size_t at = open + 1; at < close; at = header.find_first_of(",)", at) + 1) {
        if (header.find_first_of("0123456789", at) < close) shape.push_back(std::stoll(header.substr(at)));
    }
    return shape;
}

}  // namespace

torch::Tensor read_npy(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    std::string prefix(kPrefixBytes, '\0');
    file.read(prefix.data(), kPrefixBytes);
    if (!file || prefix.compare(0, kMagic.size(), kMagic) != 0)
        throw std::runtime_error(path.string() + ": cannot be read as .npy version 1.0");
    std::string header(static_cast<unsigned char>(prefix[8]) + 256 * static_cast<unsigned char>(prefix[9]), '\0');
    file.read(header.data(), static_cast<std::streamsize>(header.size()));
    for (const auto& [descr, type] : kTypes) {
        if (header.find(descr) == std::string::npos) continue;
        if (header.find("'fortran_order': False") == std::string::npos) break;
        torch::Tensor array = torch::empty(shape_of(header), type);
        if (!file.read(static_cast<char*>(array.data_ptr()), static_cast<std::streamsize>(array.nbytes())))
            throw std::runtime_error(path.string() + ": ends before its last element");
        return array;
    }
    throw std::runtime_error(path.string() + ": header is " + header + "; expected <f4, <f8 or <i4 in C order");
}

void write_npy(const std::filesystem::path& path, const torch::Tensor& array) {
    const torch::Tensor written = array.detach().cpu().contiguous();
    std::string header;
    for (const auto& [descr, type] : kTypes) {
        if (written.scalar_type() == type) header = std::string("{'descr': ") + descr;
    }
    if (header.empty()) throw std::invalid_argument(path.string() + ": an array of this type cannot be written");
    header += ", 'fortran_order': False, 'shape': (";
    for (const std::int64_t size : written.sizes()) header += std::to_string(size) + ",";
    header += "), }";
    header.append(kAlignment - (kPrefixBytes + header.size() + 1) % kAlignment, ' ');
    header += '\n';
    std::ofstream file(path, std::ios::binary);
    file << kMagic << static_cast<char>(header.size() % 256) << static_cast<char>(header.size() / 256) << header;
    file.write(static_cast<const char*>(written.const_data_ptr()), static_cast<std::streamsize>(written.nbytes()));
    if (!file.flush()) throw std::runtime_error(path.string() + ": cannot be written");
}
