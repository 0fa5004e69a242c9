package peer;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import jakarta.websocket.OnClose;
import jakarta.websocket.OnError;
import jakarta.websocket.OnMessage;
import jakarta.websocket.OnOpen;
import jakarta.websocket.Session;
import jakarta.websocket.server.PathParam;
import jakarta.websocket.server.ServerEndpoint;
import org.springframework.stereotype.Component;

import java.io.IOException;

/**
 * Answers the heartbeat, and sends a message to the user that it names, or to everyone. The answers have
 * the bytes that all servers of this comparison send.
 */
@ServerEndpoint("/websocket/{userId}")
@Component
public class WebSocketEndPoint {
    private static final ObjectMapper JSON = new ObjectMapper();

    private String userId;

    @OnOpen
    public void onOpen(Session session, @PathParam("userId") String userId) {
        this.userId = userId;
        SessionPool.open(userId, session);
    }

    @OnClose
    public void onClose(Session session) {
        SessionPool.close(session.getId());
    }

    /** A connection that breaks is closed afterwards. */
    @OnError
    public void onError(Throwable error) {}

    @OnMessage
    public void onMessage(String message, Session session) throws IOException {
        if (message.equalsIgnoreCase("ping")) {
            SessionPool.send(session, "{\"type\":\"pong\"}");
            return;
        }
        JsonNode fields = read(message);
        if (fields == null) {
            ObjectNode frame = JSON.createObjectNode();
            frame.put("type", "broadcast").put("formUserId", userId).put("message", message);
            SessionPool.sendToAll(frame.toString());
            return;
        }
        ObjectNode frame = JSON.createObjectNode();
        String text = fields.path("message").asText();
        String toUserId = fields.path("toUserId").asText("");
        if (toUserId.isEmpty()) {
            SessionPool.sendToAll(frame.put("formUserId", userId).put("message", text).toString());
        } else {
            frame.put("type", "message").put("formUserId", userId);
            SessionPool.sendToUser(toUserId, frame.put("toUserId", toUserId).put("message", text).toString());
        }
    }

    /** The object that a message is, or null if the message is plain text. */
    private static JsonNode read(String message) {
        if (!message.startsWith("{")) {
            return null;
        }
        try {
            return JSON.readTree(message);
        } catch (IOException error) {
            return null;
        }
    }
}
