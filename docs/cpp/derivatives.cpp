// What an ONNX file of a bundle computes, and its numbers:  derivatives FILE.onnx [NAME=NUMBER,NUMBER,...]...
//
// Without inputs it prints the signature alone. Numbers are in C order; one free axis of an input follows from them.

#include <cstdio>
#include <exception>
#include <sstream>

#include "pullback.hpp"

namespace {

std::string shape_text(const std::vector<pullback::Axis>& shape) {
    std::string text = "(";
    for (const pullback::Axis& axis : shape) {
        text += (text.size() > 1 ? ", " : "") + (axis.name.empty() ? std::to_string(axis.size) : axis.name);
    }
    return text + ")";
}

void print(const char* role, const pullback::Tensor& tensor, const std::string& what) {
    std::printf("%s %s %s %s%s\n", role, tensor.name.c_str(), tensor.dtype.c_str(), shape_text(tensor.shape).c_str(), what.c_str());
}

void print_signature(const pullback::Function& function) {
    std::map<std::string, const pullback::Derivative*> by_name;
    for (const pullback::Derivative& derivative : function.derivatives) by_name[derivative.name] = &derivative;
    std::printf("function %s\n", function.name.c_str());
    for (const pullback::Tensor& tensor : function.inputs) print("input", tensor, "");
    for (const pullback::Tensor& tensor : function.outputs) {
        auto found = by_name.find(tensor.name);
        bool is_value = found == by_name.end();
        print(is_value ? "value" : found->second->kind.c_str(), tensor, is_value ? "" : " = " + found->second->request);
    }
}

pullback::Array array(const pullback::Tensor& tensor, const std::string& numbers) {
    pullback::Array found;
    std::stringstream stream(numbers);
    for (std::string part; std::getline(stream, part, ',');) found.data.push_back(std::stod(part));
    std::int64_t known = 1;
    int free = 0;
    for (const pullback::Axis& axis : tensor.shape) axis.name.empty() ? void(known *= axis.size) : void(++free);
    auto count = static_cast<std::int64_t>(found.data.size());
    if (free > 1 || known == 0 || count % known != 0 || (free == 0 && count != known)) {
        throw std::runtime_error(numbers + " does not fill " + tensor.name + " " + shape_text(tensor.shape));
    }
    for (const pullback::Axis& axis : tensor.shape) found.shape.push_back(axis.name.empty() ? axis.size : count / known);
    return found;
}

void print_numbers(const std::string& name, const pullback::Array& array, bool single) {
    std::printf("%s (", name.c_str());
    for (std::size_t i = 0; i < array.shape.size(); ++i) std::printf("%s%lld", i ? ", " : "", static_cast<long long>(array.shape[i]));
    std::printf("):");
    for (double number : array.data) std::printf(single ? " %.9g" : " %.17g", number);
    std::printf("\n");
}

}  // namespace

int main(int count, char** arguments) try {
    if (count < 2) throw std::runtime_error("usage: derivatives FILE.onnx [NAME=NUMBER,NUMBER,...]...");
    pullback::Model model(arguments[1]);
    print_signature(model.function());
    if (count == 2) return 0;
    std::map<std::string, std::string> given;
    for (int i = 2; i < count; ++i) {
        std::string text = arguments[i];
        given[text.substr(0, text.find('='))] = text.substr(text.find('=') + 1);
    }
    std::map<std::string, pullback::Array> inputs;
    for (const pullback::Tensor& tensor : model.function().inputs) {
        if (given.count(tensor.name)) inputs[tensor.name] = array(tensor, given[tensor.name]);
    }
    auto results = model(inputs);
    for (const pullback::Tensor& tensor : model.function().outputs) {
        print_numbers(tensor.name, results.at(tensor.name), tensor.dtype == "float32");
    }
    return 0;
} catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
}
