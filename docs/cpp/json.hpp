// The JSON of a bundle's metadata, read into values: enough for what Pullback writes, and no more.
#pragma once

#include <cstdlib>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace json {

enum class Kind { null, boolean, number, string, array, object };

struct Value {
    Kind kind = Kind::null;
    bool boolean = false;
    double number = 0;
    std::string text;
    std::vector<Value> items;
    std::map<std::string, Value> members;

    // A member of an object; throws where there is none.
    const Value& operator[](const std::string& key) const { return members.at(key); }

    // A member that may be left out, as text; empty where it is left out or null.
    std::string text_of(const std::string& key) const {
        auto found = members.find(key);
        return found == members.end() ? "" : found->second.text;
    }
};

class Reader {
public:
    explicit Reader(const std::string& text) : text_(text) {}

    Value whole() {
        Value value = read();
        space();
        if (at_ != text_.size()) fail("there is more than one value");
        return value;
    }

private:
    [[noreturn]] void fail(const std::string& what) const {
        throw std::runtime_error("JSON, character " + std::to_string(at_) + ": " + what);
    }

    void space() {
        while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r')) ++at_;
    }

    bool take(char wanted) {
        space();
        if (at_ >= text_.size() || text_[at_] != wanted) return false;
        ++at_;
        return true;
    }

    void expect(char wanted) {
        if (!take(wanted)) fail(std::string("expected '") + wanted + "'");
    }

    bool word(const std::string& wanted) {
        if (text_.compare(at_, wanted.size(), wanted) != 0) return false;
        at_ += wanted.size();
        return true;
    }

    Value read() {
        space();
        if (at_ >= text_.size()) fail("it ends too early");
        Value value;
        if (take('{')) {
            value.kind = Kind::object;
            if (take('}')) return value;
            do {
                space();
                std::string key = string();
                expect(':');
                value.members[key] = read();
            } while (take(','));
            expect('}');
        } else if (take('[')) {
            value.kind = Kind::array;
            if (take(']')) return value;
            do value.items.push_back(read());
            while (take(','));
            expect(']');
        } else if (text_[at_] == '"') {
            value.kind = Kind::string;
            value.text = string();
        } else if (word("true") || word("false")) {
            value.kind = Kind::boolean;
            value.boolean = text_[at_ - 2] == 'u';
        } else if (!word("null")) {
            const char* start = text_.c_str() + at_;
            char* end = nullptr;
            value.kind = Kind::number;
            value.number = std::strtod(start, &end);
            if (end == start) fail("no value");
            at_ += static_cast<std::size_t>(end - start);
        }
        return value;
    }

    // Pullback writes ASCII: any other character is escaped, and names have none.
    std::string string() {
        expect('"');
        std::string found;
        while (at_ < text_.size() && text_[at_] != '"') {
            char next = text_[at_++];
            if (next == '\\') {
                if (at_ >= text_.size()) fail("it ends too early");
                next = text_[at_++];
                const std::string from = "nrtbf", to = "\n\r\t\b\f";
                if (next == 'u') fail("an escaped character, which no name has");
                if (auto place = from.find(next); place != std::string::npos) next = to[place];
            }
            found += next;
        }
        expect('"');
        return found;
    }

    const std::string& text_;
    std::size_t at_ = 0;
};

inline Value parse(const std::string& text) { return Reader(text).whole(); }

}  // namespace json
