package peer;

import jakarta.websocket.Session;

import java.io.IOException;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * The sessions of the users, as in the articles, with two repairs without which the server loses
 * messages under this load: two threads never write to one session at the same time, which Tomcat
 * answers with {@code TEXT_FULL_WRITING}, and a session that fails does not end a message to everyone.
 */
final class SessionPool {
    private static final Map<String, Session> SESSIONS = new ConcurrentHashMap<>();

    private SessionPool() {}

    static void open(String userId, Session session) {
        SESSIONS.put(userId, session);
    }

    static void close(String sessionId) {
        for (Map.Entry<String, Session> entry : SESSIONS.entrySet()) {
            if (entry.getValue().getId().equals(sessionId)) {
                SESSIONS.remove(entry.getKey(), entry.getValue());
                break;
            }
        }
    }

    static void sendToUser(String userId, String message) throws IOException {
        Session session = SESSIONS.get(userId);
        if (session != null) {
            send(session, message);
        }
    }

    static void sendToAll(String message) {
        for (Session session : SESSIONS.values()) {
            try {
                send(session, message);
            } catch (IOException | IllegalStateException error) {
                // This session is closing.
            }
        }
    }

    static void send(Session session, String message) throws IOException {
        synchronized (session) {
            session.getBasicRemote().sendText(message);
        }
    }
}
