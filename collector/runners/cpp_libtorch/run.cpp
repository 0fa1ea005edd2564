// LibTorch runner: the kernels of PyTorch without Python. The whole run on one screen.
#include <ATen/Version.h>
#include <c10/util/Exception.h>
#include <torch/cuda.h>
#include <torch/version.h>
#include <unistd.h>

#include <exception>
#include <iostream>
#include <regex>
#include <string>
#include <vector>

#include "data.h"
#include "events.h"
#include "gate.h"
#include "loop.h"
#include "schedule.h"
#include "train.h"
#include "trial.h"

namespace {

// Prints the versions of compiler, LibTorch and the libraries that hold its kernels.
void describe() {
    const std::string build = at::show_config();
    std::cout << R"({"language": "C++", "language_version": ")" << __cplusplus / 100 % 100 << R"(, )" COMPILER
              << R"(", "framework": "LibTorch", "framework_version": ")" << TORCH_VERSION << R"(", "devices": ["cpu")"
              << (torch::cuda::is_available() ? R"(, "cuda"])" : "]");
    const std::pair<const char*, std::regex> libraries[] = {
        {"mkl", std::regex(R"(oneAPI Math Kernel Library Version (\S+))")},
        {"onednn", std::regex(R"(MKL-DNN v(\S+))")},
        {"cpu_capability", std::regex(R"(CPU capability usage: (\S+))")},
    };
    for (const auto& [name, pattern] : libraries) {
        std::smatch found;
        if (std::regex_search(build, found, pattern)) std::cout << ", \"" << name << "\": \"" << found[1] << '"';
    }
    std::cout << "}\n";
}

// Returns false where the run diverged.
bool measure(Trainer& trainer, const Weights& weights, EventWriter& events) {
    warm_up(trainer, weights);
    events.write("compile_stop");
    if (trainer.trial().text("mode") != "infer") return train(trainer, events);
    infer(trainer, events);
    return true;
}

void work(const Trial& trial, EventWriter& events) {
    const Files files = read_files(trial);
    events.write("load_stop");
    if (const std::string reason = reason_uncut(trial, files.order.size(1)); !reason.empty())
        return events.write("unsupported", {{"message", reason}});
    const Data data = place_data(trial, files);
    synchronise(data.train_images.device());
    events.write("preprocess_stop");
    const bool proves = trial.text("mode") == "gate";
    Trainer trainer(trial, data, files.weights, trial.number(proves ? "gate.dropout_rate" : "model.dropout_rate"));
    events.write("build_stop", {{"parameters", trainer.parameters()}});
    if (proves) {
        prove(trial, data, files.weights);
    } else if (!measure(trainer, files.weights, events)) {
        return;
    }
    events.write("run_stop", trainer.report());
}

void run(const char* trial_path, const char* events_path, std::int64_t at_ns, std::int64_t at_unix_ns, bool is_first) {
    EventWriter events(events_path);
    events.write("run_start", {{"unix_ns", at_unix_ns}, {"pid", std::int64_t{getpid()}}}, at_ns);
    const Trial trial(trial_path);
    if (const std::string reason = reason_unsupported(trial); !reason.empty())
        return events.write("unsupported", {{"message", reason}});
    if (const std::string reason = reason_impossible(trial); !reason.empty())
        return events.write("unsupported", {{"message", reason}});
    if (is_first) initialise(trial);
    events.write("import_stop");
    work(trial, events);
}

}  // namespace

int main(int count, char** arguments) try {
    std::int64_t at_ns = monotonic_ns(), at_unix_ns = unix_ns();
    const std::vector<std::string> given(arguments + 1, arguments + count);
    if (given == std::vector<std::string>{"--describe"}) {
        describe();
        return 0;
    }
    if (given.empty() || given.size() % 2 != 0) {
        std::cerr << "expected pairs of <trial.json> <events.jsonl>, or --describe\n";
        return 2;
    }
    for (std::size_t i = 0; i < given.size(); i += 2) {
        if (i > 0) at_ns = monotonic_ns(), at_unix_ns = unix_ns();
        run(given[i].c_str(), given[i + 1].c_str(), at_ns, at_unix_ns, i == 0);
    }
    return 0;
} catch (const c10::Error& error) {
    std::cerr << error.what_without_backtrace() << '\n';
    return 1;
} catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
}
