// One ONNX file of a Pullback bundle: what it computes, from its own metadata, and its numbers, by ONNX Runtime.
#pragma once

#include <onnxruntime_cxx_api.h>

#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "json.hpp"

namespace pullback {

// A size that is known, or the name of a free one: "B" is the batch.
struct Axis {
    std::int64_t size = -1;
    std::string name;
};

struct Tensor {
    std::string name, dtype;
    std::vector<Axis> shape;
};

struct Derivative {
    std::string request, kind, name, of, seed;
    std::vector<std::string> wrt;
};

struct Function {
    std::string name;
    std::vector<Tensor> inputs, outputs;
    std::vector<Derivative> derivatives;
};

// Numbers in C order. The model computes in its own dtype; float32 goes into double and back without loss.
struct Array {
    std::vector<std::int64_t> shape;
    std::vector<double> data;
};

namespace detail {

inline std::vector<Tensor> tensors(const json::Value& list) {
    std::vector<Tensor> found;
    for (const json::Value& item : list.items) {
        Tensor tensor{item["name"].text, item["dtype"].text, {}};
        for (const json::Value& axis : item["shape"].items) {
            bool known = axis.kind == json::Kind::number;
            tensor.shape.push_back(known ? Axis{static_cast<std::int64_t>(axis.number), ""} : Axis{-1, axis.text});
        }
        found.push_back(std::move(tensor));
    }
    return found;
}

inline Function function(const json::Value& value) {
    Function found{value["name"].text, tensors(value["inputs"]), tensors(value["outputs"]), {}};
    for (const json::Value& item : value["derivatives"].items) {
        Derivative derivative{item["request"].text, item["kind"].text, item["name"].text, item["of"].text, item.text_of("seed"), {}};
        for (const json::Value& name : item["wrt"].items) derivative.wrt.push_back(name.text);
        found.derivatives.push_back(std::move(derivative));
    }
    return found;
}

template <typename T>
Ort::Value to_onnx(const Array& array, std::vector<T>& held) {
    auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    held.assign(array.data.begin(), array.data.end());
    return Ort::Value::CreateTensor<T>(memory, held.data(), held.size(), array.shape.data(), array.shape.size());
}

inline Array from_onnx(const Ort::Value& value, const std::string& dtype) {
    auto info = value.GetTensorTypeAndShapeInfo();
    Array array{info.GetShape(), {}};
    std::size_t count = info.GetElementCount();
    if (dtype == "float32") {
        const float* first = value.GetTensorData<float>();
        array.data.assign(first, first + count);
    } else {
        const double* first = value.GetTensorData<double>();
        array.data.assign(first, first + count);
    }
    return array;
}

}  // namespace detail

class Model {
public:
    // Opens evaluate.onnx, vjp.onnx, ...; throws for a file that Pullback did not write in version 1 of its format.
    explicit Model(const std::string& path, int threads = 1) : environment_(ORT_LOGGING_LEVEL_WARNING, "pullback") {
        Ort::SessionOptions options;
        options.SetIntraOpNumThreads(threads);
#ifdef _WIN32
        session_ = Ort::Session(environment_, std::wstring(path.begin(), path.end()).c_str(), options);
#else
        session_ = Ort::Session(environment_, path.c_str(), options);
#endif
        if (metadata("pullback.format_version") != "1") throw std::runtime_error(path + ": not of format version 1");
        function_ = detail::function(json::parse(metadata("pullback.function")));
    }

    const Function& function() const { return function_; }

    // Results by name; with `fetch`, of these alone, and what does not lead to them is not computed.
    std::map<std::string, Array> operator()(const std::map<std::string, Array>& inputs, std::vector<std::string> fetch = {}) {
        std::vector<const char*> input_names, output_names;
        std::vector<Ort::Value> values;
        std::map<std::string, std::vector<float>> singles;
        std::map<std::string, std::vector<double>> doubles;
        for (const Tensor& tensor : function_.inputs) {
            auto given = inputs.find(tensor.name);
            if (given == inputs.end()) throw std::runtime_error("input " + tensor.name + " is missing");
            refuse_unknown(tensor);
            input_names.push_back(tensor.name.c_str());
            values.push_back(tensor.dtype == "float32" ? detail::to_onnx(given->second, singles[tensor.name])
                                                       : detail::to_onnx(given->second, doubles[tensor.name]));
        }
        std::map<std::string, std::string> dtypes;
        for (const Tensor& tensor : function_.outputs) {
            dtypes[tensor.name] = tensor.dtype;
            if (fetch.empty()) output_names.push_back(tensor.name.c_str());
            refuse_unknown(tensor);
        }
        for (const std::string& name : fetch) output_names.push_back(name.c_str());
        Ort::RunOptions options;
        options.AddConfigEntry("only_execute_path_to_fetches", "1");
        auto results = session_.Run(options, input_names.data(), values.data(), values.size(), output_names.data(), output_names.size());
        std::map<std::string, Array> found;
        for (std::size_t i = 0; i < results.size(); ++i) {
            found[output_names[i]] = detail::from_onnx(results[i], dtypes.at(output_names[i]));
        }
        return found;
    }

private:
    std::string metadata(const char* key) {
        Ort::AllocatorWithDefaultOptions allocator;
        auto found = session_.GetModelMetadata().LookupCustomMetadataMapAllocated(key, allocator);
        if (!found) throw std::runtime_error(std::string("no ") + key + " in the file: Pullback did not write it");
        return found.get();
    }

    static void refuse_unknown(const Tensor& tensor) {
        if (tensor.dtype != "float32" && tensor.dtype != "float64") {
            throw std::runtime_error(tensor.name + " is " + tensor.dtype + "; this example knows float32 and float64");
        }
    }

    Ort::Env environment_;
    Ort::Session session_{nullptr};
    Function function_;
};

}  // namespace pullback
