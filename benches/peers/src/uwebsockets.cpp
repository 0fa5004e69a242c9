/* uWebSockets as its authors mean it to be used: a topic for everyone, a map for users. One-to-one
 * messages are found by a scan for two keys, not by a JSON parser: the work it saves is a gift. */

#include "App.h"

#include <cstdio>
#include <string>
#include <string_view>
#include <unordered_map>

namespace {

constexpr std::string_view PONG = R"({"type":"pong"})";
constexpr std::string_view ALL = "all";

struct User {
    std::string id;
};

using Socket = uWS::WebSocket<false, true, User>;

/* Keys are the ids inside the sockets' own data. */
std::unordered_map<std::string_view, Socket *> users;

/* The JSON value of `key`, from its first byte to the end of `text`. */
std::string_view value_of(std::string_view text, std::string_view key) {
    size_t at = text.find(key);
    return at == std::string_view::npos ? std::string_view() : text.substr(at + key.size());
}

/* Appends the inside of a JSON string. */
void append_escaped(std::string &out, std::string_view text) {
    for (char c : text) {
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if ((unsigned char) c < 0x20) {
            char escaped[8];
            snprintf(escaped, sizeof escaped, "\\u%04x", c);
            out += escaped;
        } else {
            out += c;
        }
    }
}

/* Whether an id can stand in JSON as it is; others are refused. */
bool is_plain(std::string_view id) {
    std::string escaped;
    append_escaped(escaped, id);
    return escaped == id;
}

void on_message(uWS::App *app, Socket *ws, std::string_view text) {
    if (text == "ping") {
        ws->send(PONG, uWS::OpCode::TEXT);
        return;
    }
    /* Kept from message to message, so that it need not grow again. */
    static std::string out;
    out.clear();
    const std::string &from = ws->getUserData()->id;
    if (!text.starts_with('{')) {
        out += R"({"type":"broadcast","formUserId":")";
        out += from;
        out += R"(","message":")";
        append_escaped(out, text);
        out += R"("})";
        app->publish(ALL, out, uWS::OpCode::TEXT);
        return;
    }
    std::string_view to = value_of(text, R"("toUserId":")");
    std::string_view message = value_of(text, R"("message":)");
    if (to.data() && message.data()) {
        to = to.substr(0, to.find('"'));
        auto receiver = users.find(to);
        if (receiver == users.end()) {
            return;
        }
        out += R"({"type":"message","formUserId":")";
        out += from;
        out += R"(","toUserId":")";
        out += to;
        out += R"(","message":)";
        out += message;
        receiver->second->send(out, uWS::OpCode::TEXT);
    } else if (message.data()) {
        out += R"({"formUserId":")";
        out += from;
        out += R"(",)";
        out += text.substr(1);
        app->publish(ALL, out, uWS::OpCode::TEXT);
    }
}

} // namespace

/* Listens on 127.0.0.1:`port` and serves until the process ends. */
extern "C" void uwebsockets_serve(int port) {
    uWS::App app;
    /* The limits are those of longlink. */
    app.ws<User>("/websocket/:user", {
        .compression = uWS::DISABLED,
        .maxPayloadLength = 64 * 1024,
        .idleTimeout = 60,
        .maxBackpressure = 256 * 1024,
        .closeOnBackpressureLimit = true,
        .resetIdleTimeoutOnSend = true,
        .sendPingsAutomatically = true,
        .upgrade = [](auto *res, auto *req, auto *context) {
            if (!is_plain(req->getParameter(0))) {
                res->writeStatus("400 Bad Request")->end();
                return;
            }
            res->template upgrade<User>({std::string(req->getParameter(0))},
                req->getHeader("sec-websocket-key"), req->getHeader("sec-websocket-protocol"),
                req->getHeader("sec-websocket-extensions"), context);
        },
        .open = [](Socket *ws) {
            ws->subscribe(ALL);
            users.erase(ws->getUserData()->id);
            users.emplace(ws->getUserData()->id, ws);
        },
        .message = [&app](Socket *ws, std::string_view text, uWS::OpCode opcode) {
            if (opcode == uWS::OpCode::TEXT) {
                on_message(&app, ws, text);
            }
        },
        .close = [](Socket *ws, int, std::string_view) {
            auto found = users.find(ws->getUserData()->id);
            if (found != users.end() && found->second == ws) {
                users.erase(found);
            }
        },
    });
    app.listen("127.0.0.1", port, [](us_listen_socket_t *listener) {
        if (!listener) {
            fprintf(stderr, "cannot listen\n");
            exit(1);
        }
        printf("listening on 127.0.0.1:%d\n", us_socket_local_port(0, (us_socket_t *) listener));
        fflush(stdout);
    });
    app.run();
}
